"""Statements from CSV and JSON files: read whole, or refused with what is wrong."""

import pytest

from sesight.domain.errors import InvalidRequest
from sesight.send.statements import files
from sesight.send.statements.files import (
    RefusedStatement,
    StatementDefaults,
    from_csv,
    from_json,
    from_objects,
)
from sesight.send.statements.model import Statement
from tests.send.statements.test_model import OCTOBER, one, with_

# CSV

HEADER = "statement,recipient,name,month,currency,locale,section,label,quantity,unit_price,amount,subtotal,total"
ROWS = """\
PS-1,zoe@example.com,Zoë,2026-10,EUR,de-DE,Sales,Mug,3,412.5,1237.50,1237.50,1199.99
PS-2,bo@example.com,,2026-10,USD,en-US,,"Sales, all",,,5.00,,5.00
PS-1,,,,,,Fees,Card fees,,,-37.51,-37.51,
"""


def test_csv() -> None:
    """Rows of one statement need not stand together; what it has once stands in its first row."""
    first, second = from_csv(f"{HEADER}\n{ROWS}".encode())
    assert first == one(OCTOBER)
    assert isinstance(second, Statement)
    assert (second.id, second.name, second.lines[0].label) == ("PS-2", None, "Sales, all")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace('"Sales, all"', "Sales").replace(",", ";"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text + ",,,,,,,,,,,,\n",
    ],
    ids=["a mark at its beginning", "CRLF", "semicolons", "empty lines", "a row of nothing"],
)
def test_csv_as_spreadsheets_write_it(change) -> None:
    """Files are read as spreadsheets write them."""
    entries = from_csv(change(f"{HEADER}\n{ROWS}").encode())
    assert [type(each) for each in entries] == [Statement, Statement]


def test_defaults() -> None:
    """What the command says holds where a file says nothing."""
    text = "statement,recipient,label,amount,total\nA,a@example.com,Fee,1500,1500\n"
    found = from_csv(
        text.encode(), StatementDefaults(month="2026-10", currency="JPY", locale="ja-JP")
    )
    [entry] = found
    assert isinstance(entry, Statement)
    assert (entry.month, str(entry.total)) == ("2026-10", "1500")
    [without] = from_csv(text.encode())
    assert isinstance(without, RefusedStatement)
    assert [fault.code for fault in without.problems] == ["month", "locale", "currency"]


def test_csv_faults_by_line() -> None:
    """A bad row is told by its line, refuses its own statement whole, and no other."""
    rows = [
        "A,a@example.com,,2026-10,EUR,de-DE,,One,,,1.00,,2.00",
        "B,b@example.com,,2026-10,EUR,de-DE,,One,,,1.00,,1.00",
        'A,,,,,,,"Two\nlines",,,1.00,,',
        "A,other@example.com,,,,,,Three,,,x,,",
        "C,c@example.com",
        ",d@example.com,,2026-10,EUR,de-DE,,One,,,1.00,,1.00",
        "E,e@example.com,,2026-10,EUR,de-DE,,One,,,1.00,,1.10",
    ]
    entries = from_csv("\n".join([HEADER, *rows]).encode())
    told = [
        [(fault.line, fault.code) for fault in each.problems]
        if isinstance(each, RefusedStatement)
        else each.id
        for each in entries
    ]
    assert told == [
        [(6, "recipient"), (4, "label"), (6, "amount")],
        "B",
        [(7, "row")],
        [(8, "row")],
        [(9, "figures")],
    ]


NO_FILE = {
    "nothing": b"",
    "no header": b"PS-1,zoe@example.com\n",
    "a column missing": b"statement,recipient,label,amount\n",
    "a column that is none": b"statement,recipient,label,amount,total,iban\n",
    "a column twice": b"statement,recipient,label,amount,total,total\n",
    "Latin-1": "statement,recipient,label,amount,total\nA,ä,x,1,1\n".encode("latin-1"),
}


@pytest.mark.parametrize("content", NO_FILE.values(), ids=NO_FILE)
def test_what_is_no_csv(content: bytes) -> None:
    """What is no file of statements is refused whole, in a sentence."""
    with pytest.raises(InvalidRequest):
        from_csv(content)


def test_a_quote_left_open() -> None:
    """A file with a broken quote is refused whole: the rows it swallowed could be any statement's."""
    text = f'{HEADER}\n{ROWS}PS-3,"x\nPS-4,a@example.com,,,,,,,,,,,\n'
    with pytest.raises(InvalidRequest, match="Line 5: A quote opens in this line"):
        from_csv(text.encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2",
        b"\xff",
        b"NaN",
        b'{"id": 1, "id": 2}',
        b"[" * 100_000,
        b'{"total": NaN}',
    ],
)
def test_what_is_no_json(content: bytes) -> None:
    """What is no JSON, has a name twice or is nested without end is refused in a sentence."""
    with pytest.raises(InvalidRequest):
        from_json(content)


@pytest.mark.parametrize("value", [None, 1, "x", [], [[]]])
def test_what_is_no_statement(value: object) -> None:
    """Whatever else stands among statements is refused, in its place."""
    first, second, third = from_objects([OCTOBER, value, with_(id="PS-9")])
    assert [type(each) for each in (first, second, third)] == [
        Statement,
        RefusedStatement,
        Statement,
    ]


def test_limits() -> None:
    """A file has at most so many rows and bytes, and a request so many lines."""
    rows = "PS-1,,,,,,,,,,,,\n" * (files.ROWS + 1)
    with pytest.raises(InvalidRequest, match="more than 200,000 rows"):
        from_csv(f"{HEADER}\n{rows}".encode())
    with pytest.raises(InvalidRequest, match="more than 200,000 lines"):
        from_objects([OCTOBER, with_(lines=[{}] * files.ROWS)])
    with pytest.raises(InvalidRequest, match="split"):
        from_csv(b" " * (files.FILE_LIMIT + 1))


def test_sentence() -> None:
    """The sentence of a refused statement has the line of its first problem, and how many there are."""
    rows = "A,a@example.com,,2026-10,EUR,de-DE,,One,,,1.00,,2.00\nA,,,,,,,Two,,,x,,\n"
    [found] = from_csv(f"{HEADER}\n{rows}".encode())
    assert isinstance(found, RefusedStatement)
    assert found.sentence.startswith("Line 3: The amount is no number such as 1234.50")
    [more] = from_objects([with_(total="1", id="", name="x" * 300)])
    assert isinstance(more, RefusedStatement)
    assert more.sentence == "The id is empty. (1 more)"
