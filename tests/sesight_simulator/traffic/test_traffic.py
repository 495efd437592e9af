"""Traffic: what arrives, when, and that the same plan always gives the same bytes."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise

import pytest

from sesight_simulator.traffic.campaigns import apportion
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import Traffic, generate
from sesight_simulator.traffic.truth import Truth

END = 1_795_500_000_000  # 2026-11-24T06:00Z
MESSAGE_ID = re.compile(r"0102[0-9a-f]{12}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000")


def ms(timestamp):
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def own_time(event):
    """Return when an event happened, according to its own body."""
    for kind in (
        "delivery",
        "bounce",
        "complaint",
        "open",
        "click",
        "deliveryDelay",
        "subscription",
    ):
        if kind in event:
            return ms(event[kind]["timestamp"])
    return ms(event["mail"]["timestamp"])


def digest(plan):
    whole = hashlib.sha256()
    for event in generate(plan):
        whole.update(b"%d " % event.at + event.body)
    return whole.hexdigest()


@pytest.fixture(scope="module")
def events():
    plan = Plan(seed=1, end=END, messages=8_000)
    return [(event.at, json.loads(event.body)) for event in generate(plan)]


def test_deterministic():
    """The same plan gives the same bytes, with or without truth; another seed gives others."""
    plan = Plan(seed=1, end=END, messages=2_000)
    counted = hashlib.sha256()
    for event in generate(plan, Truth()):
        counted.update(b"%d " % event.at + event.body)
    assert digest(plan) == digest(plan) == counted.hexdigest()
    assert digest(plan) != digest(Plan(seed=2, end=END, messages=2_000))


@pytest.mark.parametrize(
    ("messages", "campaigns", "days", "share"),
    [
        (1, None, 90, 0.7),
        (999, 1, 1, 0.7),
        (2_000, 300, 7, 0.5),
        (700, 40, 400, 0.0),
        (50, 2, 2, 1.0),
    ],
)
def test_messages_are_exact(messages, campaigns, days, share):
    """All messages of a plan are sent once, within its days, in at most its number of campaigns."""
    plan = Plan(
        seed=5, end=END, messages=messages, campaigns=campaigns, days=days, outreach_share=share,
        duplicates=0.0, disorder=0.0,
    )  # fmt: skip
    mails = [json.loads(event.body)["mail"] for event in generate(plan) if b'"Send"' in event.body]
    assert len({mail["messageId"] for mail in mails}) == len(mails) == messages
    assert all(plan.begin <= ms(mail["timestamp"]) <= plan.end for mail in mails)
    sent = {(mail["source"], mail["tags"]["campaign_id"][0]) for mail in mails}
    assert len(sent) <= max(2, campaigns or 2)


def test_order(events):
    """Events arrive in order of arrival, never after the end and never before they happen."""
    arrivals = [at for at, _ in events]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] <= END
    late = [at - own_time(event) for at, event in events]
    assert min(late) == 0
    assert 0.02 < sum(by > 0 for by in late) / len(late) < 0.05


def test_shape(events):
    """Every body has the shape of SES's: ids, lists of tags, nine headers, one event object."""
    for _, event in events:
        mail = event["mail"]
        kind = event["eventType"]
        assert MESSAGE_ID.fullmatch(mail["messageId"])
        assert int(mail["messageId"][4:16], 16) == ms(mail["timestamp"])
        assert mail["sendingAccountId"] == "000000000000"
        assert all(type(values) is list for values in mail["tags"].values())
        assert len(event) == 3
        if kind == "Rendering Failure":
            assert list(mail["tags"]) == ["ses:configuration-set"]
        elif kind != "DeliveryDelay":
            assert len(mail["headers"]) == 9
            assert mail["commonHeaders"]["messageId"] == mail["messageId"]
        bot = event.get(kind.lower(), {}).get("isBotEvent")
        if kind in {"Open", "Click"}:
            assert (bot in {"Likely", "Unlikely"}) == (own_time(event) >= 1_786_060_800_000)
    sizes = [len(json.dumps(event)) for _, event in events]
    assert 1_500 < sum(sizes) / len(sizes) < 2_200


def test_addresses_are_reserved(events):
    """Every address, link and IP is reserved for documentation."""
    for _, event in events:
        for address in event["mail"]["destination"]:
            assert re.fullmatch(r"[a-z]+\.[0-9a-f]+@[a-z0-9-]+\.example\.(com|net|org)", address)
        for kind in ("open", "click"):
            ip = event.get(kind, {}).get("ipAddress", "192.0.2.1")
            assert ip.startswith(("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:"))


def test_everything_happens(events):
    """All ten event types and both streams are in ordinary traffic, in sensible shares."""
    kinds = Counter(event["eventType"] for _, event in events)
    assert len(kinds) == 10
    assert kinds["Delivery"] > 0.9 * kinds["Send"]
    assert kinds["Open"] > kinds["Click"] > kinds["Bounce"] > kinds["Complaint"]
    sets = Counter(event["mail"]["tags"]["ses:configuration-set"][0] for _, event in events)
    assert set(sets) == {"outreach-tracking", "finance-tracking"}
    gmail = [
        event for _, event in events
        if event["eventType"] == "Complaint" and event["complaint"]["complaintSubType"] is None
        and event["mail"]["destination"][0].endswith("@gmail.example.com")
    ]  # fmt: skip
    assert gmail == []


def test_statements_name_their_month(events):
    """A statement has the month before its send, and its attempt."""
    attempts = set()
    for _, event in events:
        tags = event["mail"]["tags"]
        if "campaign_month" in tags:
            sent = event["mail"]["timestamp"]
            year, month = map(int, tags["campaign_month"][0].split("-"))
            assert (year * 12 + month) == int(sent[:4]) * 12 + int(sent[5:7]) - 1
            attempts.add(tags["campaign_attempt"][0])
    assert attempts == {"1", "2"}


def test_people_do_not_look_like_machines():
    """No person opens or clicks within 30 s of delivery, nor clicks two links within 10 s."""
    plan = Plan(seed=3, end=END, messages=8_000, ambiguous=0.0, machines=0.0, multi_recipient=0.0)
    delivered, clicks = {}, defaultdict(list)
    for arrival in generate(plan):
        event = json.loads(arrival.body)
        ident, at = event["mail"]["messageId"], own_time(event)
        if event["eventType"] == "Delivery":
            delivered[ident] = at
        elif event["eventType"] in {"Open", "Click"}:
            assert ident not in delivered or at - delivered[ident] >= 30_000
            if event["eventType"] == "Click":
                clicks[ident].append((at, event["click"]["link"]))
    for times in clicks.values():
        ordered = sorted(set(times))
        for (before, link), (after, other) in pairwise(ordered):
            assert link == other or after - before >= 10_000


def test_live_continues():
    """Live traffic has the pending events of the history, and new messages at the given rate."""
    traffic = Traffic(Plan(seed=1, end=END, messages=3_000, days=10))
    with pytest.raises(RuntimeError):
        traffic.live()
    past = {json.loads(event.body)["mail"]["messageId"] for event in traffic.history()}
    now = END
    live = traffic.live(rate=2.0, clock=lambda: now)
    assert live.due() == []
    arrived = []
    for now in range(END, END + 600_000, 1_000):
        due = live.due()
        assert all(now - 1_000 < event.at <= now for event in due)
        arrived += due
    mails = [json.loads(event.body) for event in arrived]
    new = {e["mail"]["messageId"] for e in mails if e["mail"]["messageId"] not in past}
    assert 1_000 < len(new) < 1_400
    assert any(e["mail"]["messageId"] in past for e in mails)
    assert [event.at for event in arrived] == sorted(event.at for event in arrived)


def test_memory_holds_only_the_future():
    """Pending events are a small part of all events."""
    traffic = Traffic(Plan(seed=1, end=END, messages=20_000))
    most = 0
    for place, _ in enumerate(traffic.history()):
        if place % 100 == 0:
            most = max(most, len(traffic.heap))
    assert most < 8_000


def test_apportion():
    """Shares are whole numbers that follow the weights and sum to the total."""
    assert apportion(10, [1, 1, 2]) == [2, 3, 5]
    assert sum(apportion(7, [0.3, 0.0, 5.5, 1.1])) == 7
