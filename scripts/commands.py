"""The command line's page: every command with its arguments and options, read out of the program."""

from __future__ import annotations

from collections.abc import Iterator
from enum import EnumType
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.main

from sesight.cli.program import program


def reference() -> str:
    """Return a section for each command, in the order of `sesight --help`."""
    root = typer.main.get_command(program)
    return "\n".join(_sections(root, "sesight"))


def _sections(group: Any, name: str) -> Iterator[str]:
    panels: dict[str, list[tuple[str, Any]]] = {}
    for word, command in group.commands.items():
        panels.setdefault(getattr(command, "rich_help_panel", "") or "", []).append((word, command))
    for word, command in (pair for pairs in panels.values() for pair in pairs):
        if hasattr(command, "commands"):
            yield from _sections(command, f"{name} {word}")
        else:
            yield from _section(f"{name} {word}", command)


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and each.rich_help_panel != "Everywhere"
    ]
    words = [_placeholder(each) for each in arguments]
    yield f"### `{' '.join([name, *words])}`\n"
    yield f"{' '.join(command.help.split())}\n"
    if arguments or options:
        yield "| | what | default |\n|---|---|---|"
        for each in (*arguments, *options):
            yield f"| {_named(each)} | {_cell(each.help or '')} | {_default(each)} |"
        yield ""


def _placeholder(argument: Any) -> str:
    word = argument.metavar or argument.name.upper()
    return word if argument.required else f"[{word}]"


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    return f"`{', '.join(parameter.opts)}{value}`"


_WORDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def _value(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    kind = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return r"\|".join(get_args(kind))
    return r"\|".join(kind) if isinstance(kind, EnumType) else _WORDS[kind]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default is None or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
