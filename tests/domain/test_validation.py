"""A mismatch is found exactly where msgspec finds one."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.validation import Mismatch, closest_match, find_mismatch
from sesight.settings import Settings

WORDS = """
store server url retention_days port topics arn signature_versions sending rate rendering guard complaint
senders unsubscribe_keys stream from_address suppression bounced soft_days region nonsense
"""
NAMES = st.sampled_from(WORDS.split())
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), st.floats(-2, 2), st.just(["2"]),
    st.sampled_from(["", "5", "true", "0.5", "all", "local", "a" * 64, "http", "-1", "1"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_as_msgspec(values: dict[str, object]) -> None:
    """There is no mismatch in what msgspec takes, and one in what it does not."""
    taken = True
    try:
        msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError:
        taken = False
    assert (find_mismatch(values, Settings) is None) is taken


def test_first() -> None:
    """A mismatch has the way to it, the value and what would do."""
    found = find_mismatch({"topics": [{"arn": "a", "signature_versions": ["2", "3"]}]}, Settings)
    assert found == Mismatch(
        "wrong", ("topics", 0, "signature_versions", 1), "3", "one of `1`, `2`", ("1", "2")
    )


def test_nearest() -> None:
    """The nearest name is the one meant, whatever its case; nothing is near nonsense."""
    assert closest_match("ulr", ["url", "retention_days"]) == "url"
    assert closest_match("LOCAL", ["local", "ses"]) == "local"
    assert closest_match("xyzzy", ["url", "retention_days"]) is None
