"""Law 7, at its root: whoever reads an address, the sender or an event, knows the same person by it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.address import normalize_address
from sesight.domain.errors import InvalidRequest
from sesight.domain.suppression.manual import suppression_key
from sesight.send.addresses import parse_address
from sesight.send.message import Unsendable

PLANE = 0x10000
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def disagreement(text: str) -> str | None:
    """Return how the readings of one text differ, None if the sender refuses it or all agree."""
    if not normalize_address(text)[2]:
        return None  # as test_unread shows
    try:
        sent = parse_address(text)
    except Unsendable:
        return None
    keys = {
        sent.address,
        normalize_address(text)[0],
        normalize_address(sent.mailbox)[0],
        normalize_address(sent.header)[0],
    }
    try:
        keys.add(suppression_key(text)[0])
    except InvalidRequest:
        keys.add("refused by hand")  # it would be mailed and could not be suppressed
    return None if len(keys) == 1 else f"{text!r}: {sorted(keys)}"


def spellings(character: str) -> set[str]:
    """Return a character as it is and composed and decomposed in every way."""
    return {character, *(unicodedata.normalize(form, character) for form in FORMS)}


@pytest.mark.parametrize("plane", range(17))
def test_every_code_point(plane: int) -> None:
    """Whatever code point is in a local part or a domain, composed or decomposed, what the sender
    sends to is what events, lists and people's look-ups know it by; else the sender refuses it.
    """
    found = [
        disagreement(text)
        for code_point in range(plane * PLANE, (plane + 1) * PLANE)
        for spelled in spellings(chr(code_point))
        for text in (f"a{spelled}n@example.org", f"ana@ex{spelled}ample.org")
    ]
    assert [each for each in found if each] == []


@given(st.text(max_size=30), st.text("a@.b<>,", max_size=9))
def test_unread(text: str, rest: str) -> None:
    """The sender sends to nothing that events and lists cannot read."""
    for given_text in (text, rest, f"ana@{text}", f"{text}@example.org", f"ana@x.{text}{rest}"):
        if not normalize_address(given_text)[2]:
            with pytest.raises(Unsendable):
                parse_address(given_text)


EDGE_POINTS = [chr(n) for n in range(0x3100)] + [chr(n) for n in range(0xF900, 0x10000)]


@pytest.mark.parametrize(
    "place", ["{}ana@example.org", "ana{}@example.org", "ana@{}example.org", "ana@example.org{}"]
)
def test_every_edge(place: str) -> None:
    """The same holds at the edges, where a reader may take something off."""
    found = [disagreement(place.format(each)) for each in EDGE_POINTS]
    assert [each for each in found if each] == []


odd = st.text(st.sampled_from('ab.@"\\,;:<>()[] \t') | st.characters(codec="utf-8"), max_size=12)


@given(
    odd,
    st.sampled_from(["example.org", "bücher.example", "ｅｘａｍｐｌｅ。org", "ΟΔΟΣ.example"]),
    odd,
)
def test_any_address(before: str, domain: str, after: str) -> None:
    """The same holds for whatever stands before and after an address."""
    for text in (f"{before}@{domain}", f"{before} <ana@{domain}>", f"{before}ana@{domain}{after}"):
        assert disagreement(text) is None
