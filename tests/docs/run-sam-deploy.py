"""Runs `sam deploy` in the current folder as far as the change set, with an AWS that notes calls and makes none.

Reads JSON: the words behind `sam`, and the parameters of the stack that is there (null: there is none). Prints JSON:
the change set that was asked for, what was uploaded to S3 and where, as whom and in which Regions AWS was called.
"""

import contextlib
import io
import json
import sys

import botocore.client
from botocore.exceptions import ClientError
from samcli.cli.main import cli
from samcli.yamlhelper import yaml_parse

given = json.load(sys.stdin)
found = {"callers": set()}

# The stack in which SAM CLI keeps its bucket; it would make it where it is not there.
BUCKET_STACK = {
    "StackName": "aws-sam-cli-managed-default",
    "StackStatus": "CREATE_COMPLETE",
    "Tags": [{"Key": "ManagedStackSource", "Value": "AwsSamCli"}],
    "Outputs": [{"OutputKey": "SourceBucket", "OutputValue": "bucket-of-the-caller"}],
}


def answer(operation, parameters):
    if operation == "DescribeStacks" and parameters["StackName"] == BUCKET_STACK["StackName"]:
        return {"Stacks": [BUCKET_STACK]}
    if operation == "DescribeStacks":
        if given["stack"] is None:
            error = {"Code": "ValidationError", "Message": f"Stack with id {parameters['StackName']} does not exist"}
            raise ClientError({"Error": error}, operation)
        return {"Stacks": [{"StackName": parameters["StackName"], "StackStatus": "UPDATE_COMPLETE"}]}
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
    raise ClientError({"Error": {"Code": "NotModelled", "Message": operation}}, operation)


def note(self, operation, parameters):
    credentials = self._request_signer._credentials
    found["callers"].add((self.meta.region_name, credentials.access_key))
    return answer(operation, parameters)


botocore.client.BaseClient._make_api_call = note
output = io.TextIOWrapper(io.BytesIO())
with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
    try:
        status = cli.main(args=given["words"] + ["--no-execute-changeset"], prog_name="sam", standalone_mode=False)
    except SystemExit as stop:
        status = stop.code
    except Exception as error:
        status = f"{type(error).__name__}: {error}"
output.flush()
if status:
    sys.exit(f"{status}\n{output.buffer.getvalue().decode()}")

found["callers"] = sorted(found["callers"])
found["template"] = yaml_parse(found.pop("uploaded"))
print(json.dumps(found, default=str))
