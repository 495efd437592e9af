"""Rows of CSV, and what a stray quote costs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.csv_rows import (
    MAX_ROW_LINES,
    BrokenQuote,
    CsvRow,
    CsvRows,
    decode_csv,
    split_lines,
    valid_rows,
)
from sesight.domain.errors import InvalidRequest


def rows(text: str) -> list[CsvRow | BrokenQuote]:
    """Return the rows of a text."""
    return list(CsvRows(split_lines(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a,b\r\nc\n", [CsvRow(1, ["a", "b"]), CsvRow(2, ["c"])]),
        ("\na\n", [CsvRow(1, []), CsvRow(2, ["a"])]),
        ('"a\n\nb",c\nd\n', [CsvRow(3, ["a\n\nb", "c"]), CsvRow(4, ["d"])]),
        ('"a ""b"" c"\n', [CsvRow(1, ['a "b" c'])]),
        ("a\u2028b,c\x0bd\n", [CsvRow(1, ["a\u2028b", "c\x0bd"])]),
        ('5" wide,b\n', [CsvRow(1, ['5" wide', "b"])]),
    ],
)
def test_rows(text: str, expected: list[CsvRow]) -> None:
    """Rows are those of RFC 4180, each with its last line."""
    assert rows(text) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiters(delimiter: str, mark: str) -> None:
    """The first line tells whether commas, semicolons or tabs divide cells, after a byte order mark too."""
    text = f'{mark}email,name\na@x.example,"a,b;c"\n'.replace(",", delimiter, 2)
    assert [row.cells for row in valid_rows(text)] == [["email", "name"], ["a@x.example", "a,b;c"]]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines(end: str) -> None:
    """A line ends with CR, LF or both; Unicode's other separators are part of the text."""
    assert list(split_lines(f"a\u2028b{end}{end}c\x0bd")) == [f"a\u2028b{end}", end, "c\x0bd"]
    assert list(split_lines("")) == []


def test_decode() -> None:
    """A file is UTF-8, with or without a byte order mark; else it is refused with the line."""
    assert decode_csv("\ufeffä".encode()) == decode_csv("ä".encode()) == "ä"
    with pytest.raises(InvalidRequest, match="Line 2 of the file is not UTF-8"):
        decode_csv("a\nä".encode("latin-1"))


def test_valid_rows() -> None:
    """A file with a broken quote is refused with the line in which the quote opens."""
    with pytest.raises(InvalidRequest, match="Line 2: A quote opens"):
        list(valid_rows('a\n"b\nc\n'))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a\n"b\nc\nd\n', [CsvRow(1, ["a"]), BrokenQuote(2), CsvRow(3, ["c"]), CsvRow(4, ["d"])]),
        ('"b\nc\nd"e\nf\n', [BrokenQuote(1), *[CsvRow(n, [c]) for n, c in ((2, "c"), (3, 'd"e'))]]),
        ('"b"c\nd\n', [BrokenQuote(1), CsvRow(2, ["d"])]),
        ('"a\nb",c,"d ""e""\nf\n', [BrokenQuote(2), CsvRow(3, ["f"])]),
        ('x,"a ""b\n""c\nd\n', [BrokenQuote(1), BrokenQuote(2), CsvRow(3, ["d"])]),
        ('"', [BrokenQuote(1)]),
    ],
)
def test_broken(text: str, expected: list[CsvRow | BrokenQuote]) -> None:
    """A quote that is not closed properly costs the line it opened in, and is told by that line."""
    assert rows(text)[: len(expected)] == expected


@pytest.mark.parametrize("closing", ["", 'z"@example.com\n', '"z\n'])
def test_a_stray_quote(closing: str) -> None:
    """A stray quote swallows no rows: all but its own are read, however many follow."""
    people = [f"p{n}@example.com" for n in range(5_000)]
    people[7] = f'"{people[7]}'
    found = rows("\n".join(people) + "\n" + closing)
    assert [row.cells[0] for row in found if isinstance(row, CsvRow)][:4_999] == [
        each for each in people if not each.startswith('"')
    ]
    assert next(row for row in found if isinstance(row, BrokenQuote)) == BrokenQuote(8)


def test_long_rows() -> None:
    """A row may have many lines, but not without end."""
    lines = "x\n" * (MAX_ROW_LINES - 2)
    assert rows(f'"{lines}x"\ny\n') == [
        CsvRow(MAX_ROW_LINES - 1, [f"{lines}x"]),
        CsvRow(MAX_ROW_LINES, ["y"]),
    ]
    assert rows(f'"{lines}{lines}x"\n')[0] == BrokenQuote(1)


@given(st.lists(st.lists(st.text('a",;\n\r x', max_size=5), min_size=1, max_size=3), max_size=6))
def test_what_was_written(table: list[list[str]]) -> None:
    """Whatever cells are written below a header, the same cells are read."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    assert [row.cells for row in valid_rows(text.getvalue())] == [["a", "b"], *table]


@given(st.text('a",\n', max_size=40))
def test_anything(text: str) -> None:
    """Whatever a text is, every line is read or told, and lines only grow."""
    found = [row.line for row in rows(text)]
    assert found == sorted(set(found))
    assert not text or found[-1] == len(text.splitlines())
