"""Suppressions as CSV: read what others wrote, write what can be read again."""

from typing import Any

import pytest

from sesight.domain.errors import InvalidRequest
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.suppression.csv import (
    COLUMNS,
    BlockingItem,
    InvalidRow,
    SuppressionDefaults,
    SuppressionFile,
    SuppressionRow,
    address_rows,
    file_lines,
    parse_time,
)
from sesight.domain.suppression.item import Cause, Suppression, SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import SuppressionRequest
from sesight.domain.suppression.policy import ActiveSuppression
from sesight.domain.timestamps import DAY, day_number, iso
from tests.builders import NOW

STREAMS = {each.id: each for each in (OUTREACH, FINANCE)}
DAY_24 = day_number("2026-11-24") * DAY


def read(text: str, **defaults: Any) -> list[SuppressionRow | InvalidRow]:
    """Return the rows of a file."""
    return list(SuppressionFile(text.splitlines(keepends=True), SuppressionDefaults(**defaults)))


def wish(address: str = "a@x.example", **more: Any) -> SuppressionRequest:
    """Return a wish as an import makes it."""
    return SuppressionRequest(address=address, **{"reason": SuppressionReason.IMPORT, **more})


def test_whole_row() -> None:
    """Every column is read, by name, in any order and case; empty rows are none."""
    text = (
        "\ufeffNote,EMAIL,Stream,reason,Scope,until,First_At\r\n"
        '"asked, twice",a@x.example,outreach,Complaint,MARKETING,2026-11-24,2026-11-24T09:00:00Z\r\n'
        "\r\n,,,\r\n"
        ",@x.example\r\n"
    )
    assert read(text) == [
        SuppressionRow(
            2,
            wish(
                note="asked, twice",
                stream="outreach",
                reason=SuppressionReason.COMPLAINT,
                scope=SuppressionScope.MARKETING,
                until=DAY_24 + DAY,
                at=DAY_24 + 9 * 3_600_000,
            ),
        ),
        SuppressionRow(5, wish("@x.example")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "email\na@x.example\n",
        "Email Address\na@x.example",
        "a@x.example\n",
        "email;note\na@x.example;\n",
        "email\tstatus\na@x.example\tbounced\n",
        'email\n"a@x.example"\n',
        '"email"\n a@x.example \n',
        "email,email\na@x.example,b@x.example\n",
    ],
)
def test_forms(text: str) -> None:
    """A file may be a list of addresses, with a head or not, and separated by what its maker likes."""
    [row] = read(text)
    assert isinstance(row, SuppressionRow)
    assert row.request == wish()


def test_defaults() -> None:
    """What a row does not say is as asked for the file; what it says holds."""
    rows = read(
        "email,reason,stream\na@x.example,,\nb@x.example,bounce,finance\n",
        reason=SuppressionReason.UNSUBSCRIBED,
        stream="outreach",
        scope=SuppressionScope.STREAM,
        note="from the old tool",
    )
    common = {"scope": SuppressionScope.STREAM, "note": "from the old tool"}
    assert rows == [
        SuppressionRow(2, wish(reason=SuppressionReason.UNSUBSCRIBED, stream="outreach", **common)),
        SuppressionRow(
            3, wish("b@x.example", reason=SuppressionReason.BOUNCED, stream="finance", **common)
        ),
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a@x.example,nonsense,,", "reason: unknown value"),
        ("a@x.example,,everywhere,", "scope: unknown value"),
        ("a@x.example,,,soon", "until: this is not a time"),
        ("a@x.example,,,2026-13-01", "until: this is not a time"),
        ("a@x.example,,,99999999999999", "until: this is not a time"),
        ("a@x.example,,,2999-01-01", "until: this is not a time"),
        ('"' + "x" * 140_000, "A quote opens in this line"),
    ],
)
def test_bad_rows(row: str, sentence: str) -> None:
    """A row that cannot be read is told with its line and why, and the next one is read."""
    bad, good = read(f"email,reason,scope,until\n{row}\nb@x.example,,,\n")
    assert isinstance(bad, InvalidRow)
    assert bad.line == 2
    assert bad.reason.startswith(sentence)
    assert bad.reason.endswith(".")
    assert "a@x" not in bad.reason
    assert good == SuppressionRow(3, wish("b@x.example"))


def test_no_column() -> None:
    """A file in which no column holds addresses is refused."""
    for text in ("name,reason\nana,x\n", "", "\n"):
        with pytest.raises(InvalidRequest, match="no column with addresses"):
            read(text)


def test_broken_head() -> None:
    """A file whose first line has a broken quote is refused with that line."""
    with pytest.raises(InvalidRequest, match="Line 1: A quote opens"):
        read('email,"note\na@x.example,x\n')


def test_ignored_columns() -> None:
    """Columns that are not read are named, but for the one we write for people."""
    file = SuppressionFile(["email,scop, ,lastAt\n"], SuppressionDefaults())
    assert file.ignored == ["scop"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24", DAY_24),
        ("2026-11-24T01:00:00Z", DAY_24 + 3_600_000),
        ("2026-11-24 01:00:00", DAY_24 + 3_600_000),
        ("2026-11-24T02:00:00+01:00", DAY_24 + 3_600_000),
        ("1795478400", 1_795_478_400_000),
        ("1795478400123", 1_795_478_400_123),
        ("17954784", None),
        ("today", None),
        ("1969-12-31", None),
    ],
)
def test_times(text: str, at: int | None) -> None:
    """Times are dates, instants, or counts of seconds or milliseconds."""
    assert parse_time(text, 0) == at


def blocked(stream: str = "outreach", scope: str = "stream", **more: Any) -> BlockingItem:
    """Return what blocks an address in a stream."""
    origin = more.pop("origin", stream)
    until = more.pop("until", None)
    cause = Cause(NOW, "c", "complaint", NOW, scope, None, None, origin, more.pop("detail", None))
    item = Suppression(stream, more.pop("address", "a@x.example"), (cause,), **more)
    return BlockingItem(item, ActiveSuppression(cause, NOW, until))


def test_rows_written() -> None:
    """An address is written in as few rows as say exactly which streams it blocks."""
    at = iso(NOW)
    assert list(address_rows([blocked(detail="spam", until=NOW + 1)], STREAMS)) == [
        ("a@x.example", "outreach", "complaint", "stream", iso(NOW + 1), "spam", at, at)
    ]
    everywhere = [blocked(scope="all", origin=None), blocked("finance", "all", origin=None)]
    assert [row[1:4] for row in address_rows(everywhere, STREAMS)] == [("", "complaint", "all")]
    removed_in_one = everywhere[1:]
    assert [row[1:4] for row in address_rows(removed_in_one, STREAMS)] == [
        ("finance", "complaint", "stream")
    ]
    two_reasons = [blocked(), blocked("finance", detail="other")]
    assert sorted(row[1] for row in address_rows(two_reasons, STREAMS)) == ["finance", "outreach"]


def test_round_trip() -> None:
    """What is written is read as it was, whatever the cells hold, and nothing in it runs in a
    spreadsheet.
    """
    cells = [
        *("@x.example", "=1+1", "+49", "-1", "'=a", "''@b", "'tis", "a,b", 'a"b', "x\ny", "\tz"),
    ]
    for cell in cells:
        lines = list(file_lines([("a@x.example", "", "import", "all", "", cell, "", "")]))
        assert lines[0] == ",".join(COLUMNS) + "\r\n"
        [row] = list(
            SuppressionFile("".join(lines).splitlines(keepends=True), SuppressionDefaults())
        )
        assert isinstance(row, SuppressionRow)
        assert row.request.note == cell.strip()
        assert not lines[1].split(",")[5].startswith(("=", "+", "-", "@"))
    [domain] = read("".join(file_lines([("@x.example", "", "import", "all", "", "", "", "")])))
    assert isinstance(domain, SuppressionRow)
    assert domain.request.address == "@x.example"
