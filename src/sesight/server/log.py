"""The format of warnings and errors on standard error: one record a line, control characters escaped."""

from __future__ import annotations

import logging

from sesight.domain.text import printable


class SafeFormatter(logging.Formatter):
    """Formats records so that text from a request or an error can neither forge another record nor send
    escape sequences to a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record; continuation lines, such as those of a traceback, are indented."""
        return "\n  ".join(printable(line) for line in super().format(record).splitlines())


def configure_logging() -> None:
    """Format the records of loggers for which nothing else is configured."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(SafeFormatter())
