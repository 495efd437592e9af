"""Recipient ids open under their own key only, and hide the address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.errors import InvalidRequest
from sesight.services.recipient_id import decode, encode

KEY = bytes(range(64))


def test_deterministic() -> None:
    """One address has one id under one key, so that a link to a person lasts."""
    rid = encode("ana@contoso.example", KEY)
    assert rid == encode("ana@contoso.example", KEY)
    assert rid.startswith("r_")
    assert "ana" not in rid
    assert rid != encode("ana@contoso.example", bytes(64))
    assert decode(encode("ana@contoso.example", bytes(32)), bytes(32)) == "ana@contoso.example"


@given(st.text(max_size=80))
def test_round_trip(address) -> None:
    """Every address comes back."""
    assert decode(encode(address, KEY), KEY) == address


@given(st.integers(2, 60), st.sampled_from("AaZz09-_"))
def test_tampering(at, letter) -> None:
    """An id with any letter changed is not ours."""
    rid = encode("ana@contoso.example", KEY)
    at = min(at, len(rid) - 1)
    changed = rid[:at] + letter + rid[at + 1 :]
    if changed != rid:
        with pytest.raises(InvalidRequest):
            decode(changed, KEY)


@pytest.mark.parametrize("rid", ["", "r_", "r_é", "ana@contoso.example", "r_" + "A" * 50, "x_AAAA"])
def test_other_text(rid) -> None:
    """What was never an id is refused."""
    with pytest.raises(InvalidRequest):
        decode(rid, KEY)


def test_other_key() -> None:
    """An id of another server is refused."""
    with pytest.raises(InvalidRequest):
        decode(encode("ana@contoso.example", KEY), bytes(64))
