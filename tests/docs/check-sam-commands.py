"""Checks commands of SAM CLI by its own parser; runs nothing.

Reads a JSON list of argument lists. Prints a JSON list: for each what is wrong, or null.
"""

import json
import sys

import click
from samcli.cli.context import Context
from samcli.cli.main import cli


def check(arguments):
    command, rest = cli, list(arguments)
    # SAM CLI loads a command only where its own context is set.
    context = click.Context(cli, info_name="sam", obj=Context())
    try:
        while isinstance(command, click.Group):
            name, command, rest = command.resolve_command(context, rest)
            context = click.Context(command, info_name=name, parent=context)
        values, _, _ = command.make_parser(context).parse_args(rest)
        for option in command.params:
            # A path may be that of a file which the reader has made just before.
            if option.name in values and not isinstance(option.type, click.Path):
                option.type_cast_value(context, values[option.name])
    except click.UsageError as error:
        return error.format_message()
    return None


print(json.dumps([check(arguments) for arguments in json.load(sys.stdin)]))
