"""Text from outside, made safe and short."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.text import LONG, SHORT, clean, network

FEWER = settings(max_examples=500)
"""Parsing is not the place where order and repetition could go wrong."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("Grüße 🎉", "Grüße 🎉"),
        ("a\x00b", "a b"),
        ("a\r\n\tb", "a b"),
        ("\x00", ""),
        ("cut\ud83d", "cut"),
        ("a\ud800b\udfffc", "a b c"),
        ("\x7f\x9fx", "x"),
        (5, "5"),
        (True, "True"),
        (0.5, "0.5"),
        (None, None),
        ({}, None),
        ([], None),
        (["a"], None),
        (b"a", None),
    ],
)
def test_clean(value: object, expected: str | None) -> None:
    """Control characters and lone surrogates go, numbers become text, what is no text is nothing."""
    assert clean(value) == expected


def test_cut() -> None:
    """A cut text keeps its beginning and a hash of all of it; one that fits is not touched."""
    assert clean("x" * SHORT) == "x" * SHORT
    assert clean("x" * (SHORT + 1)) == "x" * 239 + "~542ad3213e51c376"
    assert clean("x" * 300, 20) == "xxx~" + clean("x" * 300).rpartition("~")[2]


def test_two_long_ones_never_meet() -> None:
    """Texts that differ only beyond the cut stay different."""
    assert clean("x" * 999 + "a") != clean("x" * 999 + "b")


@FEWER
@given(st.text(st.characters(codec=None), max_size=600), st.integers(32, LONG))
def test_cleaned_is_storable(text: str, limit: int) -> None:
    """Whatever comes in, what goes on fits, can be written as UTF-8, and stays itself."""
    found = clean(text, limit)
    assert found is not None
    assert len(found) <= limit
    assert found.encode().decode() == found
    assert clean(found, limit) == found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("198.51.100.201", "198.51.100.0"),
        ("203.0.113.9, 10.0.0.1", "203.0.113.0"),
        (" 203.0.113.9 ", "203.0.113.0"),
        ("2001:db8:4:5::a1", "2001:db8:4::"),
        ("fe80::1%eth0", "fe80::"),
        ("", None),
        ("unknown", None),
        ("999.1.1.1", None),
        ("1" * 5_000, None),
    ],
)
def test_networks(value: str, expected: str | None) -> None:
    """Of an IP address only the network is kept, /24 or /48; what is none is nothing."""
    assert network(value) == expected
