"""Checks commands of the AWS CLI by its own parser and the models of the services; calls nothing.

Reads a JSON list of argument lists. Prints a JSON list: for each what is wrong, or null. Commands that only read what
the local cloud has are made for real, where AWS_ENDPOINT_URL says where it is.
"""

import contextlib
import io
import json
import os
import sys

from awscli import clidriver

try:
    import botocore.client
    from botocore.exceptions import ParamValidationError
    from botocore.validate import ParamValidator
except ModuleNotFoundError:
    # Newer versions of the CLI carry it inside themselves.
    from awscli import botocore
    import awscli.botocore.client
    from awscli.botocore.exceptions import ParamValidationError
    from awscli.botocore.validate import ParamValidator

READ = {
    ("dynamodb", "query"),
    ("dynamodb", "scan"),
    ("acm", "list-certificates"),
    ("ssm", "describe-instance-information"),
}


class NotCalled(Exception):
    """In place of a call to AWS."""


def validate_only(self, service_name, operation_name, parameters, parsed_globals):
    # --max-items and its like are the CLI's own.
    parameters = {name: value for name, value in parameters.items() if name != "PaginationConfig"}
    model = self._session.get_service_model(service_name).operation_model(operation_name)
    if model.input_shape:
        report = ParamValidator().validate(parameters, model.input_shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
    return 0


stopped_calls = []


def refuse_call(self, operation_name, api_params):
    stopped_calls.append(operation_name)
    raise NotCalled(operation_name)


# One for all commands: it keeps the models that it has read.
driver = clidriver.create_clidriver()
really_invoke = clidriver.CLIOperationCaller.invoke
really_call = botocore.client.BaseClient._make_api_call


def check(arguments):
    real = os.environ.get("AWS_ENDPOINT_URL") and tuple(arguments[:2]) in READ
    clidriver.CLIOperationCaller.invoke = really_invoke if real else validate_only
    # Customisations (s3 cp, cloudformation wait) make calls of their own.
    botocore.client.BaseClient._make_api_call = really_call if real else refuse_call
    stopped_calls.clear()
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = driver.main(list(arguments))
        except SystemExit as stop:
            status = stop.code
    message = errors.getvalue().strip()
    # A customisation that came to a call of its own had parsed everything.
    if status and not stopped_calls:
        return message[-400:] or f"exit status {status}"
    return None


print(json.dumps([check(arguments) for arguments in json.load(sys.stdin)]))
