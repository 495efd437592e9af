"""The usual shape is read in one go; the event is the one that the reader of every shape gives."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.errors import Unreadable
from sesight.domain.event import Event
from sesight.ingest.ses.fast_parser import parse_common_event
from sesight.ingest.ses.parser import parse_event

PAYLOADS = Path(__file__).parents[2] / "payloads"
USUAL = ("send.json", "delivery.json", "open.json", "click.json")
ODD = ("bounce_permanent_general.json", "delivery_partial_of_multi_recipient.json")


def load(name: str) -> dict[str, Any]:
    return json.loads((PAYLOADS / name).read_bytes())


def slowly(body: bytes) -> Event | str | None:
    try:
        return parse_event(body)
    except Unreadable as error:
        return error.reason


@pytest.mark.parametrize("name", USUAL)
def test_usual(name: str) -> None:
    """A Send, Delivery, Open or Click as AWS sends it is of the usual shape."""
    body = (PAYLOADS / name).read_bytes()
    assert parse_common_event(body) == parse_event(body)


@pytest.mark.parametrize("name", ODD)
def test_odd(name: str) -> None:
    """Other types and messages to several are left to the reader of every shape."""
    assert parse_common_event((PAYLOADS / name).read_bytes()) is None


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += paths(inner, (*path, name))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            found += paths(inner, (*path, n))
    return found


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**14),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "", " ", "Likely", "likely", "2026-11-14T08:15:30Z", "2026-11-14T08:15:60.000Z",
            "1969-11-14T08:15:30.000Z", "２０２６-11-14T08:15:30.412Z", "2026-11-14T08:15:３0.412Z",
            "Ana B <Ana@Example.ORG>", "a@b.example, c@d.example", "x" * 600, "a\u0007b", [], {},
            ["a", "b"], [1], {"a": []}, {"a": ["b"], "c": ["d", "e"]}, "javascript:x", "2001:db8::1",
        ]
    ),
).map(deepcopy)  # fmt: skip
"""Copies, since what is drawn is changed further."""


@given(st.data())
def test_both_readers_agree(data: st.DataObject) -> None:
    """Whatever is changed in a body, what is read in one go is what every shape's reader reads."""
    body = load(data.draw(st.sampled_from(USUAL)))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths(body)))
        inside: Any = body
        for step in way:
            inside = inside[step]
        if data.draw(st.booleans()):
            inside[last] = data.draw(ANYTHING)
        elif isinstance(inside, dict):
            del inside[last]
            inside[data.draw(st.text(max_size=8))] = data.draw(ANYTHING)
        if not paths(body):
            break
    text = json.dumps(body).encode()
    plain = parse_common_event(text)
    assert plain is None or plain == slowly(text)
