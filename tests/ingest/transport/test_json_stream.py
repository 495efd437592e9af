"""Documents in a stream: found whole however they are written, never torn."""

import io
import json
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.ingest.transport.envelope import MAX_BODY
from sesight.ingest.transport.json_stream import MAX_DOCUMENT, MAX_TEXT, TooLarge, documents
from tests.payload import body, payload

FEWER = settings(max_examples=200)

ONE = body("send", {"mail.commonHeaders.subject": 'a}{b "c" \\ {"eventType":'})
TWO = body("bounce_two_of_three_recipients_mixed_status")
PRETTY = json.dumps(payload("click"), indent=2).encode()
FLAT = json.dumps(payload("click"), indent=0).encode()


def found(data: bytes) -> list[bytes]:
    """Return the documents in some bytes."""
    return list(documents(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ONE + b"\n" + TWO + b"\n", [ONE, TWO]),
        (b"\r\n\n" + ONE + b"\r\n\r\n" + TWO, [ONE, TWO]),
        (ONE + TWO + ONE, [ONE, TWO, ONE]),
        (ONE + b" " + TWO + b"\t" + ONE, [ONE, TWO, ONE]),
        (ONE + b",\n" + TWO + b",\n", [ONE, TWO]),
        (PRETTY, [PRETTY]),
        (PRETTY + b"\n" + ONE + b"\n" + FLAT + b"\n\n" + PRETTY, [PRETTY, ONE, FLAT, PRETTY]),
        (PRETTY + PRETTY, [PRETTY, PRETTY]),
        (b"[" + ONE + b"," + TWO + b"]", [b"[" + ONE + b"," + TWO + b"]"]),
        (
            b"[\n  " + ONE + b",\n  " + PRETTY + b"\n]\n",
            [b"[\n  " + ONE + b",\n  " + PRETTY + b"\n]"],
        ),
        (b"[" + ONE + b"]\n[" + TWO + b"]\n" + ONE, [b"[" + ONE + b"]", b"[" + TWO + b"]", ONE]),
        (b"[" + ONE + b"][" + TWO + b"]", [b"[" + ONE + b"]", b"[" + TWO + b"]"]),
        (b'["{\\"a\\": [1, 2]}", "{}"]', [b'["{\\"a\\": [1, 2]}", "{}"]']),
        (b"[]", [b"[]"]),
        (b"[1, 2, [3]]\n" + ONE, [b"[1, 2, [3]]", ONE]),
        (b"[[" + ONE + b"]]", [b"[[" + ONE + b"]]"]),
        (b'{"a":{}\n,"b":{}\n}\n' + ONE, [b'{"a":{}\n,"b":{}\n}', ONE]),
        (b'{"a":{}\n}\n' + ONE + b"\n,\n" + TWO, [b'{"a":{}\n}', ONE, TWO]),
        (b"", []),
        (b" \n\t\n", []),
    ],
    ids=range(20),
)
def test_forms(data: bytes, expected: list[bytes]) -> None:
    """One a line, glued, over many lines and in arrays: each document comes whole."""
    assert found(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ONE[:89] + b"\n" + TWO, [ONE[:89], TWO]),
        (ONE[:-9] + b"\n" + TWO + b"\n" + ONE, [ONE[:-9], TWO, ONE]),
        (b'{"a": {"b": 1,\n' + ONE + b"\n" + TWO, [b'{"a": {"b": 1,', ONE, TWO]),
        (b'{"a": [1, 2,\n' + ONE + b"\n" + TWO, [b'{"a": [1, 2,', ONE, TWO]),
        (b'{"a":\n' + ONE + b"\n" + TWO, [b'{"a":', ONE, TWO]),
        (b'{"a": 1]\n' + ONE, [b'{"a": 1]', ONE]),
        (b'{"a": 1,}\n' + ONE, [b'{"a": 1,}', ONE]),
        (PRETTY[:300] + b"\n" + PRETTY + b"\n" + ONE, [PRETTY[:300].strip(), PRETTY, ONE]),
        (ONE + b"\n" + PRETTY[:500], [ONE, PRETTY[:500].strip()]),
        (b"[\n" + ONE + b",\n" + TWO[:99] + b"\n", [ONE, TWO[:99]]),
        (b"[" + ONE + b", 5, " + TWO + b"}", [ONE, b"5", TWO, b"}"]),
        (b'["{\\"a\\": [1, 2]}", "{}"}', [b'"{\\"a\\": [1, 2]}"', b'"{}"', b"}"]),
        (b'{"a":' * 200 + b"\n" + ONE, [b'{"a":' * 200, ONE]),
        (b"hello\n" + ONE + b"\n} [\nworld", [b"hello", ONE, b"} [", b"world"]),
        (b"2026-11-24T12:00:00Z " + ONE + b"\n" + TWO, [b"2026-11-24T12:00:00Z " + ONE, TWO]),
        (b'{"a": "\\\n' + ONE, [b'{"a": "\\', ONE]),
    ],
    ids=range(16),
)
def test_broken_ones(data: bytes, expected: list[bytes]) -> None:
    """A document that is broken or cut off is one body, and hides no other."""
    assert found(data) == expected


written = st.sampled_from(
    [
        ("\n", json.dumps),
        ("\n", lambda each: json.dumps(each, indent=2)),
        ("\n", lambda each: json.dumps(each, indent=0, ensure_ascii=False)),
        ("", lambda each: json.dumps(each, separators=(",", ":"))),
        (" \r\n", lambda each: json.dumps(each, indent="\t")),
    ]
)
texts = st.text(st.sampled_from('{}[]",:\\\n é\u2028a'), max_size=12)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(texts, trees, max_size=5)


@FEWER
@given(st.lists(objects, max_size=6), written, st.booleans())
def test_any_objects(
    values: list[dict[str, object]], how: tuple[str, object], in_array: bool
) -> None:
    """Objects with anything in them come out as they went in, in every way of writing them."""
    glue, write = how
    texts = [write(each) for each in values]  # type: ignore[operator]
    text = f"[{','.join(texts)}]" if in_array and texts else glue.join(texts)
    read = [json.loads(each) for each in found(text.encode())]
    assert (read[0] if in_array and texts else read) == values


@FEWER
@given(st.lists(st.binary(max_size=40) | st.sampled_from([ONE, TWO, PRETTY, b"[", b"]", b"\n"])))
def test_nothing_is_lost(parts: list[bytes]) -> None:
    """Whatever the bytes are, all of them but blanks, commas and an array's brackets come out, in
    order.
    """
    data = b"".join(parts)
    unimportant = b" \t\r\n\x0b\x0c,[]"
    kept = b"".join(found(data)).translate(None, unimportant)
    assert kept == data.translate(None, unimportant)


def test_long_lines() -> None:
    """Documents on one line longer than a body can be are found, also across what is read at once."""
    many = [ONE] * (2 * MAX_BODY // len(ONE))
    assert found(b"".join(many)) == many
    assert found(b"[" + b", ".join(many) + b"]") == many
    assert found(b"[\n" + b",\n".join(many) + b"\n]\n" + ONE) == [*many, ONE]


def test_no_end() -> None:
    """A document that does not end within the bound is said to be too large."""
    with pytest.raises(TooLarge):
        found(b'{"a":"' + b"x" * (MAX_TEXT + 2 * MAX_BODY))
    with pytest.raises(TooLarge):
        found(b"{" + (b'"a":"' + b"x" * MAX_BODY + b'",\n') * (MAX_DOCUMENT // MAX_BODY + 1))


def test_broken_lines_cost_no_more() -> None:
    """A file of nothing but broken documents is read in one go, each line a body."""
    lines = list(chain.from_iterable([ONE[:50], b'{"a":[', b'{"b":{"c":1,'] for _ in range(3_000)))
    assert found(b"\n".join(lines)) == lines
