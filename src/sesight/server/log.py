"""What the server says on standard error: each record begins a line of its own, and only records do."""

from __future__ import annotations

import logging

from sesight.domain.text import printable


class Layout(logging.Formatter):
    """Lays a record out so that no text in it, of an error or of a request, can pass for another record
    or tell a terminal what to do.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record; its further lines, as those of a trace, are indented."""
        return "\n  ".join(printable(line) for line in super().format(record).splitlines())


def lay_out() -> None:
    """Have warnings and errors of this process written so, where nobody set anything else up."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Layout())
