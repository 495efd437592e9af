"""CSV that keeps every value and runs nothing."""

import csv
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.stats import Rate
from sesight.services.csv_table import cell, csv_text, flat


@given(st.text())
def test_text_comes_back(text) -> None:
    """A cell holds its text, but for the apostrophe before what a spreadsheet would run."""
    (_, [held]) = csv.reader(StringIO(csv_text(["a"], [{"a": text or "x"}]), newline=""))
    assert held.removeprefix("'") == (text or "x").removeprefix("'")
    assert not held.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_cells() -> None:
    """Numbers stay numbers, null is empty."""
    assert [cell(value) for value in (None, -1, 0.5, True, "-1", "a")] == [
        "",
        "-1",
        "0.5",
        "true",
        "'-1",
        "a",
    ]


def test_flat() -> None:
    """Objects are spread, rates are their value, lists are written out."""
    row = {"a": {"b": 1}, "rates": {"open": Rate(0.5, 1, 2)}, "tags": {"x": ["1", "2"]}, "l": ["c"]}
    assert flat(row) == {"a.b": 1, "rates.open": 0.5, "tags": "x=1,2", "l": "c"}
