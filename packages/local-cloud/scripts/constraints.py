"""Writes src/services/constraints.json: the demands of botocore's models on the requests and answers of every operation
that the local cloud models.

    python constraints.py           writes the file
    python constraints.py --check   fails if the file is not what would be written

Runs with the botocore that the file names as its source. An operation that the local cloud learns is added to OPERATIONS.
"""

import json
import pathlib
import sys

import botocore
from botocore.loaders import Loader
from botocore.model import ServiceModel

FILE = pathlib.Path(__file__).parent.parent / "src/services/constraints.json"

# By the name of the service's model.
OPERATIONS = {
    "acm": [
        "AddTagsToCertificate",
        "DescribeCertificate",
        "ExportCertificate",
        "ListCertificates",
        "ListTagsForCertificate",
        "RenewCertificate",
        "RequestCertificate",
        "RevokeCertificate",
    ],
    "cloudformation": ["DescribeStacks"],
    "dynamodb": [
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "UpdateItem",
    ],
    "ec2": ["DescribeInstances"],
    "events": ["PutEvents"],
    "iam": ["GetInstanceProfile", "GetRole", "ListAttachedRolePolicies"],
    "lambda": ["Invoke"],
    "route53": [
        "ChangeResourceRecordSets",
        "GetChange",
        "GetHostedZone",
        "ListHostedZonesByName",
        "ListResourceRecordSets",
    ],
    "secretsmanager": [
        "CreateSecret",
        "DeleteSecret",
        "DescribeSecret",
        "GetRandomPassword",
        "GetResourcePolicy",
        "GetSecretValue",
        "ListSecrets",
        "PutResourcePolicy",
        "PutSecretValue",
        "RestoreSecret",
        "TagResource",
        "UpdateSecretVersionStage",
    ],
    "sns": ["ListSubscriptionsByTopic", "Publish"],
    "sqs": ["DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage", "SendMessage"],
    "ssm": [
        "AddTagsToResource",
        "DescribeInstanceInformation",
        "GetAutomationExecution",
        "GetCommandInvocation",
        "GetDocument",
        "ListCommandInvocations",
        "ListCommands",
        "SendCommand",
        "StartAutomationExecution",
        "StopAutomationExecution",
    ],
    "stepfunctions": ["DescribeExecution", "ListExecutions", "StartExecution", "StopExecution"],
    "sts": ["AssumeRole", "GetCallerIdentity"],
    "xray": ["PutTelemetryRecords", "PutTraceSegments"],
}

# AWS does not keep to its models everywhere. These values take the place of the model's, by service and shape; None
# removes one.
AMENDMENTS = {
    # "BEGIN ENCRYPTED PRIVATE KEY" in the user guide's example, "Export a public certificate".
    ("acm", "PrivateKey"): {"pattern": None},
    # "PT0.091S" of ExecutionElapsedTime in the AWS CLI reference's example, and the empty string of the API reference.
    ("ssm", "StringDateTime"): {"pattern": None},
    # As secret as the key that it comes with.
    ("sts", "tokenType"): {"sensitive": True},
}

# The same for the shape of one member, where other members of that shape keep to the model.
MEMBER_AMENDMENTS = {
    # Answers write RSA-2048 (examples in the AWS CLI reference) where requests write RSA_2048.
    ("acm", "CertificateDetail", "KeyAlgorithm"): {"enum": None},
    ("acm", "CertificateSummary", "KeyAlgorithm"): {"enum": None},
    # "If there are no unprocessed items remaining, the response contains an empty UnprocessedItems map" (API reference).
    ("dynamodb", "BatchGetItemOutput", "UnprocessedKeys"): {"min": None},
    ("dynamodb", "BatchWriteItemOutput", "UnprocessedItems"): {"min": None},
    # "/hostedzone/" and an id of up to 22 characters (moto#8984 has the lengths) are more than the 32 of the model, which hold
    # for the id alone, in requests.
    ("route53", "HostedZone", "Id"): {"max": None},
    # An automation without outputs has an empty map; a step's Output is as long as what the command printed, 2,500
    # characters, or empty. UNCONFIRMED.
    ("ssm", "AutomationExecution", "Outputs"): {"min": None},
    ("ssm", "StepExecution", "Outputs"): {"value": {"shape": "ParameterValueList"}},
}


def service_model(name):
    """The model of botocore, amended."""
    model = Loader().load_service_model(name, "service-2")
    shapes = model["shapes"]
    for (service, shape), changes in AMENDMENTS.items():
        if service == name:
            shapes[shape] = amended(shapes[shape], changes)
    for (service, structure, member), changes in MEMBER_AMENDMENTS.items():
        if service == name:
            reference = shapes[structure]["members"][member]
            own_name = f"{structure}.{member}"
            shapes[own_name] = amended(shapes[reference["shape"]], changes)
            reference["shape"] = own_name
    return ServiceModel(model, name)


def amended(shape, changes):
    return {name: value for name, value in {**shape, **changes}.items() if value is not None}


def wire_name(model):
    """The part before the dot in an operation's name: X-Amz-Target, or the service where there is no target."""
    return model.metadata.get("targetPrefix", model.service_name)


def constraints_of(shape):
    """One shape without its documentation. Shapes that it refers to stand by their names."""
    found = {"type": shape.type_name}
    for name in ("required", "min", "max", "pattern", "enum", "sensitive"):
        if name in shape.metadata:
            found[name] = shape.metadata[name]
    if shape.type_name == "structure":
        found["members"] = {name: member.name for name, member in shape.members.items()}
    elif shape.type_name == "list":
        found["member"] = shape.member.name
    elif shape.type_name == "map":
        found.update(key=shape.key.name, value=shape.value.name)
    return found


def referred(shape):
    if shape.type_name == "structure":
        return list(shape.members.values())
    if shape.type_name == "list":
        return [shape.member]
    return [shape.key, shape.value] if shape.type_name == "map" else []


def service_constraints(name, operations):
    model = service_model(name)
    shapes = {}
    waiting = []
    found = {}
    for operation in operations:
        of_operation = model.operation_model(operation)
        ends = {"input": of_operation.input_shape, "output": of_operation.output_shape}
        found[operation] = {end: shape.name for end, shape in ends.items() if shape}
        waiting += [shape for shape in ends.values() if shape]
    while waiting:
        shape = waiting.pop()
        if shape.name not in shapes:
            shapes[shape.name] = constraints_of(shape)
            waiting += referred(shape)
    protocol = model.metadata["protocol"]
    return wire_name(model), {"protocol": protocol, "operations": found, "shapes": shapes}


def one_a_line(values, indent):
    lines = [f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in sorted(values.items())]
    return "{\n" + ",\n".join(indent + line for line in lines) + "\n" + indent[:-1] + "}"


def rendered():
    services = []
    for name, operations in OPERATIONS.items():
        wire, service = service_constraints(name, operations)
        services.append(
            f' {json.dumps(wire)}:{{"protocol":{json.dumps(service["protocol"])},\n'
            f'  "operations":{one_a_line(service["operations"], "   ")},\n'
            f'  "shapes":{one_a_line(service["shapes"], "   ")}}}'
        )
    source = (
        f"Service models of botocore {botocore.__version__} (Copyright Amazon.com, Inc. or its affiliates; "
        "Apache License 2.0), cut down and amended by scripts/constraints.py, which writes this file"
    )
    return f'{{"source":{json.dumps(source)},\n"services":{{\n' + ",\n".join(services) + "}}\n"


def main():
    text = rendered()
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != text:
            sys.exit(f"{FILE.name} is not what botocore {botocore.__version__} gives: run scripts/constraints.py")
    else:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
