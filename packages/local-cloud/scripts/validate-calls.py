"""Holds the calls that local clouds recorded (RECORD_CALLS=<folder>) against the models of botocore.

    python validate-calls.py <folder>

botocore's own validator checks requests and answers; it does not know largest lengths, patterns and enumerations, which
are checked here. A refusal must be an error that the model declares for the operation. The script prints each fault and
the number of calls. It fails when there is a fault, and when there is no call.
"""

import base64
import collections
import json
import pathlib
import re
import sys

import botocore
import regex
from botocore.validate import ParamValidator

sys.dont_write_bytecode = True
import constraints

# "Common errors" of the API references, and the errors by which AWS refuses a request to any service.
COMMON_ERRORS = re.compile(
    r"(AccessDenied|ExpiredToken|IncompleteSignature|InternalFailure|InternalServerError|InvalidClientTokenId"
    r"|InvalidSignature|MissingAuthenticationToken|Serialization|ServiceUnavailable|SignatureDoesNotMatch"
    r"|Throttling|UnrecognizedClient|Validation)(Error|Exception)?"
)

MODELS = {constraints.wire_name(model): model for model in map(constraints.service_model, constraints.OPERATIONS)}


def from_form(value, shape):
    """Turns the texts of a form into the values that the client gave. A text that does not fit stays a text."""
    if shape.type_name == "structure" and isinstance(value, dict):
        members = shape.members
        return {name: from_form(item, members[name]) if name in members else item for name, item in value.items()}
    if shape.type_name == "list":
        return [from_form(item, shape.member) for item in value or []]
    if shape.type_name in ("integer", "long") and re.fullmatch(r"-?\d+", value):
        return int(value)
    return {"true": True, "false": False}.get(value, value) if shape.type_name == "boolean" else value


def constraint_faults(value, shape, path, is_masked=False, is_base64=True):
    """Lengths, patterns and enumerations. A masked value keeps its length and nothing else."""
    is_masked = is_masked or shape.metadata.get("sensitive", False)
    limits = shape.metadata
    if shape.type_name in ("integer", "long", "float", "double"):
        size = value
    elif shape.type_name == "blob":
        size = len(base64.b64decode(value, validate=True)) if is_base64 else len(value.encode())
    elif isinstance(value, (str, list, dict)):
        size = len(value)
    else:
        size = None
    if size is not None and shape.type_name != "structure":
        if not limits.get("min", size) <= size <= limits.get("max", size):
            yield f"{path}: {size} is not within {limits.get('min')} to {limits.get('max')}"
    if isinstance(value, str) and not is_masked:
        if "enum" in limits and value not in limits["enum"]:
            yield f"{path}: {value} is none of {limits['enum']}"
        if "pattern" in limits and not regex.fullmatch(limits["pattern"], value):
            yield f"{path}: {value} does not match {limits['pattern']}"
    inner = []
    if shape.type_name == "structure":
        inner = [(shape.members[name], item, name) for name, item in value.items() if name in shape.members]
    elif shape.type_name == "list":
        inner = [(shape.member, item, "member") for item in value]
    elif shape.type_name == "map":
        inner = [pair for key, item in value.items() for pair in ((shape.key, key, "key"), (shape.value, item, "value"))]
    for member, item, name in inner:
        yield from constraint_faults(item, member, f"{path}.{name}", is_masked, is_base64)


def value_faults(value, shape, path, is_base64):
    report = ParamValidator().validate(value, shape)
    # A value of a wrong type has no length to check.
    if report.has_errors():
        return [f"{path}: {line}" for line in report.generate_report().splitlines()]
    return list(constraint_faults(value, shape, path, is_base64=is_base64))


def call_faults(call):
    prefix, name = call["operation"].split(".")
    model = MODELS.get(prefix)
    if model is None or name not in model.operation_names:
        return [f"{call['operation']}: no such operation"]
    operation = model.operation_model(name)
    protocol = model.metadata["protocol"]
    is_base64 = protocol != "rest-json"
    faults = []
    if operation.input_shape:
        given = from_form(call["input"], operation.input_shape) if protocol == "query" else call["input"]
        faults += value_faults(given, operation.input_shape, "input", is_base64)
    if "output" in call and operation.output_shape:
        faults += value_faults(call["output"], operation.output_shape, "output", is_base64)
    if "error" in call:
        declared = {shape.name for shape in operation.error_shapes} | {shape.error_code for shape in operation.error_shapes}
        if call["error"] not in declared and not COMMON_ERRORS.fullmatch(call["error"]):
            faults.append(f"error {call['error']}: the model declares {sorted(declared)}")
    return [f"{call['operation']}: {fault}" for fault in faults]


def main():
    (folder,) = sys.argv[1:]
    seen = collections.Counter()
    faults = collections.Counter()
    for file in sorted(pathlib.Path(folder).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            call = json.loads(line)
            seen[call["operation"]] += 1
            faults.update(call_faults(call))
    for fault, times in faults.items():
        print(f"{fault} ({times} times)")
    print(
        f"{seen.total()} calls of {len(seen)} operations held against botocore {botocore.__version__}: "
        f"{faults.total()} faults"
    )
    sys.exit(1 if faults or not seen else 0)


if __name__ == "__main__":
    main()
