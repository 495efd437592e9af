"""Strategies: bytes that no transport should hand over, from noise to payloads with one thing wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.laws.happenings import Choice
from tests.payload import PAYLOADS

SAMPLES = [path.read_bytes() for path in sorted(PAYLOADS.glob("*.*son"))]

WORDS = [
    *("eventType", "notificationType", "mail", "messageId", "timestamp", "destination", "tags"),
    *("source", "headers", "commonHeaders", "subject", "name", "value", "sendingAccountId"),
    *("bounce", "bounceType", "bounceSubType", "bouncedRecipients", "emailAddress", "status"),
    *("complaint", "complainedRecipients", "complaintSubType", "delivery", "recipients"),
    *("open", "click", "link", "linkTags", "ipAddress", "userAgent", "isBotEvent", "reject"),
    *("failure", "deliveryDelay", "delayedRecipients", "subscription", "newTopicPreferences"),
    *("Type", "Message", "MessageId", "TopicArn", "Records", "records", "Messages", "body"),
    *("Body", "Sns", "detail", "detail-type", "data", "recordId", "ses:configuration-set"),
    *("Send", "Delivery", "Bounce", "Complaint", "Open", "Click", "Rendering Failure"),
    *("kinesis", "eventSource", "receipt", "Received", "content", "requestPayload"),
    *("Notification", "SubscriptionConfirmation", "aws.ses", "Email Sent", "outreach-tracking"),
    *("2026-11-14T08:15:30.412Z", "ana@example.org", "Permanent", "General", "Likely"),
]

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**400), "", " ", "\x00", "\ud800", "a\udfffb"),
    *([], {}, [None], [[]], [{}], {"": None}, "x" * 70_000, "é" * 300, "\u202e", "🎉", "}{"),
    *("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59-14:00", "2026-11-14T08:15:30+99:99"),
    *("a@b", '"a b"@c.d', "@", "<>", "a@[::1]", "::1", "https://[", "javascript:x", "1" * 5_000),
    *(list(range(200)), [f"u{n}@example.org" for n in range(120)], {str(n): n for n in range(99)}),
]

DEEP = "~deep~"
"""Stands for thousands of brackets."""

LEAVES = [*ODD, *WORDS]

keys = st.integers(0, len(WORDS) - 1).map(lambda at: WORDS[at]) | st.text(max_size=6)
leaves = (
    st.integers(0, len(LEAVES) - 1).map(lambda at: LEAVES[at])
    | st.integers()
    | st.floats(allow_nan=False)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=12,
)
json_texts = trees.map(lambda tree: json.dumps(tree).encode())


def _places(tree: Any) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a tree."""
    found: list[tuple[Any, ...]] = []
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    while waiting:
        path, inner = waiting.pop()
        if path:
            found.append(path)
        if isinstance(inner, dict):
            waiting += [((*path, key), value) for key, value in inner.items()]
        elif isinstance(inner, list):
            waiting += [((*path, n), value) for n, value in enumerate(inner[:40])]
    return found


def _inner(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def _change(tree: Any, choose: Choice) -> None:
    """Take out, replace, wrap, move or repeat one thing in a tree."""
    places = _places(tree)
    if not places:
        return
    place = places[(choose.of(range(256)) * 256 + choose.of(range(256))) % len(places)]
    *parents, last = place
    parent = _inner(tree, tuple(parents))
    kind = choose.of(("remove", "replace", "replace", "wrap", "text", "rename", "swap"))
    if kind == "remove":
        del parent[last]
    elif kind == "replace":
        parent[last] = deepcopy(choose.of(ODD))  # a later change must not alter what ODD holds
    elif kind == "wrap":
        parent[last] = choose.of(([parent[last]], [[parent[last]]], {"x": parent[last]}, DEEP))
    elif kind == "text":
        parent[last] = json.dumps(parent[last])
    elif kind == "rename" and isinstance(parent, dict):
        parent[choose.of(WORDS)] = parent.pop(last)
    else:
        parent[last] = deepcopy(_inner(tree, places[choose.of(range(256)) % len(places)]))


def _spoil(text: bytes, choose: Choice) -> bytes:
    """Do one thing to the bytes themselves."""
    at = (choose.of(range(256)) * 256 + choose.of(range(256))) % (len(text) + 1)
    kind = choose.of(("none", "none", "none", "cut", "flip", "insert", "mark", "twice", "key"))
    if kind == "cut":
        return text[:at]
    if kind == "flip":
        return text[:at] + bytes([choose.of(range(256))]) + text[at + 1 :]
    if kind == "insert":
        return (
            text[:at]
            + choose.of((b"\x00", b"\xff", b'"', b"\\ud83d", b"NaN", b"[" * 9_000))
            + text[at:]
        )
    if kind == "mark":
        return b"\xef\xbb\xbf" + text
    if kind == "twice":
        return text + choose.of((b"", b"\n", b" ")) + text
    if kind == "key":
        return text.replace(b"{", b'{"eventType":"Open",', choose.of((1, 2, 99)))
    return text


def _dump(tree: Any) -> bytes:
    """Return a tree as JSON, nested deeper than Python itself would write where it says DEEP."""
    deep = b"[" * 9_000 + b"]" * 9_000
    return json.dumps(tree).encode().replace(json.dumps(DEEP).encode(), deep)


def mutated(data: bytes, samples: list[bytes]) -> bytes:
    """Return a sample with a few things wrong, decided by the bytes."""
    choose = Choice(data)
    sample = samples[choose.of(range(256)) % len(samples)]
    try:
        tree = json.loads(sample)
    except ValueError:  # NDJSON
        return _spoil(sample, choose)
    for _ in range(choose.of((0, 1, 1, 2, 3))):
        _change(tree, choose)
    if isinstance(tree, dict) and isinstance(tree.get("Message"), str) and choose.of((0, 1)):
        tree["Message"] = _spoil(tree["Message"].encode("utf-8", "replace"), choose).decode(
            "utf-8", "replace"
        )
    return _spoil(_dump(tree), choose)


def mutants(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for samples with a few things wrong."""
    return st.binary(min_size=48, max_size=48).map(lambda data: mutated(data, samples))


anything = st.one_of(st.binary(max_size=400), json_texts, mutants(SAMPLES), mutants(SAMPLES))
