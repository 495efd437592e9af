"""What somebody is told who misused a command: a sentence of ours, and where the help is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from sesight.domain.validation import expectation

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def usage_message(error: TyperException) -> str:
    """Return what is wrong with the arguments of a command, in one line."""
    command = getattr(getattr(error, "ctx", None), "command_path", "sesight")
    return f"{_sentence(error)} See {command} --help."


def _sentence(error: Any) -> str:
    param = getattr(error, "param", None)
    if type(error).__name__ == "NoSuchOption":
        near = " or ".join(getattr(error, "possibilities", None) or ())
        meant = f" Did you mean {near}?" if near else ""
        return f"There is no option {error.option_name} here.{meant}"
    if param is None:
        said = str(error.format_message())
        _, _, extra = said.partition("unexpected extra argument(s) (")
        if extra:
            return f"There are too many arguments: {extra.rstrip(')')}."
        return said if said.endswith((".", "?")) else f"{said}."
    name = param.opts[-1] if param.param_type_name == "option" else _word(param)
    if type(error).__name__ == "MissingParameter":
        return f"{name} is missing."
    return f"{name} must be {_expected(param)}."


def _word(param: Any) -> str:
    return str(param.metavar or param.name.upper()).rstrip(".")


def _expected(param: Any) -> str:
    of = param.type_descriptor.annotation
    if param.min is not None or param.max is not None:
        of = Annotated[of, Meta(ge=param.min, le=param.max)]
    return expectation(of)[0]
