"""Runs `sam deploy` in the current folder with an AWS that notes calls and makes none.

Reads JSON: the words behind `sam`, the parameters of the stack that is there (null: there is none), and the status in
which the stack ends (without it, nothing follows the change set). Prints JSON: the change set that was asked for, what
was uploaded to S3 and where, as whom and in which Regions AWS was called, the stack that was deleted, and what SAM CLI
said.
"""

import contextlib
import io
import json
import sys
from datetime import datetime, timezone

import botocore.client
from botocore.exceptions import ClientError
from samcli.cli.main import cli
from samcli.yamlhelper import yaml_parse

given = json.load(sys.stdin)
found = {"callers": set()}
ends = given.get("ends")
status_of_stack = "UPDATE_COMPLETE"

# The stack in which SAM CLI keeps its bucket; it would make it where it is not there.
BUCKET_STACK = {
    "StackName": "aws-sam-cli-managed-default",
    "StackStatus": "CREATE_COMPLETE",
    "Tags": [{"Key": "ManagedStackSource", "Value": "AwsSamCli"}],
    "Outputs": [{"OutputKey": "SourceBucket", "OutputValue": "bucket-of-the-caller"}],
}


def answer(operation, parameters):
    global status_of_stack
    if operation == "DescribeStacks" and parameters["StackName"] == BUCKET_STACK["StackName"]:
        return {"Stacks": [BUCKET_STACK]}
    if operation == "DescribeStacks":
        if given["stack"] is None and "changeSet" not in found:
            error = {"Code": "ValidationError", "Message": f"Stack with id {parameters['StackName']} does not exist"}
            raise ClientError({"Error": error}, operation)
        return {"Stacks": [{"StackName": parameters["StackName"], "StackStatus": status_of_stack}]}
    if operation == "GetTemplateSummary":
        return {"Parameters": [{"ParameterKey": name} for name in given["stack"]]}
    if operation == "HeadObject":
        raise ClientError({"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, operation)
    if operation == "PutObject":
        body = parameters["Body"]
        found["uploaded"] = (body if isinstance(body, bytes) else body.read()).decode()
        found["size"] = len(found["uploaded"].encode())
        found["place"] = f"{parameters['Bucket']}/{parameters['Key']}"
        return {}
    if operation == "CreateChangeSet":
        found["changeSet"] = parameters
        return {"Id": "arn:of:change-set", "StackId": "arn:of:stack"}
    if operation == "DescribeChangeSet":
        return {"Status": "CREATE_COMPLETE", "Changes": []}
    if operation == "ExecuteChangeSet":
        status_of_stack = ends
        return {}
    if operation == "DescribeStackEvents":
        event = {"EventId": ends, "ResourceStatus": status_of_stack, "Timestamp": datetime.now(timezone.utc)}
        names = {"LogicalResourceId": parameters["StackName"], "StackName": parameters["StackName"]}
        ids = {"PhysicalResourceId": "arn:of:stack", "StackId": "arn:of:stack"}
        return {"StackEvents": [{**event, **names, **ids, "ResourceType": "AWS::CloudFormation::Stack"}]}
    if operation == "DeleteStack":
        found["deleted"] = parameters["StackName"]
        status_of_stack = "DELETE_COMPLETE"
        return {}
    raise ClientError({"Error": {"Code": "NotModelled", "Message": operation}}, operation)


def note(self, operation, parameters):
    credentials = self._request_signer._credentials
    found["callers"].add((self.meta.region_name, credentials.access_key))
    return answer(operation, parameters)


botocore.client.BaseClient._make_api_call = note
output = io.TextIOWrapper(io.BytesIO())
with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
    try:
        last = "--no-confirm-changeset" if ends else "--no-execute-changeset"
        status = cli.main(args=given["words"] + [last], prog_name="sam", standalone_mode=False)
    except SystemExit as stop:
        status = stop.code
    except Exception as error:
        status = f"{type(error).__name__}: {error}"
output.flush()
found["said"] = f"{output.buffer.getvalue().decode()}{status or ''}"
if status and not ends:
    sys.exit(found["said"])

found["callers"] = sorted(found["callers"])
found["template"] = yaml_parse(found.pop("uploaded"))
print(json.dumps(found, default=str))
