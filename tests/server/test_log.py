"""What a server writes to standard error can be read line by line."""

import logging
import sys

from sesight.server.log import SafeFormatter


def laid_out(message: str, *arguments: object, exc_info=None) -> list[str]:
    """Lay a record out as its lines."""
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, arguments, exc_info)
    return SafeFormatter().format(record).split("\n")


def test_a_record_is_one_line() -> None:
    """Whatever is in it: line ends of any kind, what terminals obey, marks of direction."""
    assert laid_out("API_FAILED %s", "/a\nINTAKE_REFUSED b\r\x1b[31mc\u2028d\x85e\u202ef\x00") == [
        "API_FAILED /a",
        "  INTAKE_REFUSED b",
        "  \N{REPLACEMENT CHARACTER}[31mc",
        "  d",
        "  e\N{REPLACEMENT CHARACTER}f\N{REPLACEMENT CHARACTER}",
    ]
    assert laid_out("as it is: é, 漢字, “”") == ["as it is: é, 漢字, “”"]


def test_a_trace_goes_on_in_lines_of_its_own() -> None:
    """It is indented, and so is what its error says: nothing in it begins a line as a record does."""
    try:
        raise ValueError("bad\nAPI_FAILED forged\x1b[2J")
    except ValueError:
        first, *further = laid_out("API_FAILED %s", "1", exc_info=sys.exc_info())
    assert first == "API_FAILED 1"
    assert further[-2:] == ["  ValueError: bad", "  API_FAILED forged\N{REPLACEMENT CHARACTER}[2J"]
    assert all(line.startswith("  ") for line in further)
