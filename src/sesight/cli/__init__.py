"""The command line: `sesight`, for people by tables and progress bars, for programs by --json."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

INTERRUPTED = 130
"""What Typer makes of Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process: 0 done, 1 failed, 2 misused."""
    from typer.exceptions import TyperException

    from sesight.cli.program import program
    from sesight.cli.usage_errors import usage_message
    from sesight.domain.errors import InvalidRequest, SesightError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a locale cannot write is no reason to fail
            stream.reconfigure(errors="replace")
    code: str | int | None = 0
    try:
        # what ends a command early is its code; misuse is raised
        code = program(arguments, prog_name="sesight", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    except TyperException as error:
        if str(error):  # else the help was printed
            print(usage_message(error), file=sys.stderr)
        code = 2
    except InvalidRequest as error:
        print(error, file=sys.stderr)
        code = 2
    except SesightError as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        print("Stopped.", file=sys.stderr)
        code = 1
    sys.exit(code)
