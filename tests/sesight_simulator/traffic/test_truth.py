"""The truth against a recount that knows only the JSON of the events and docs/reference/measures.md."""

import json
from collections import defaultdict
from datetime import datetime

import pytest

from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import COUNTERS, Truth, counters_of

END = 1_795_500_000_000  # 2026-11-24T06:00Z

MACHINE_AGENTS = (
    *("Barracuda Sentinel", "python-requests", "Go-http-client", "HeadlessChrome"),
    *("SkypeUriPreview", "curl/", "aiohttp/"),
)
GMAIL_PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
HUMAN_AGENTS = (
    *("GoogleImageProxy", "YahooMailProxy", "Microsoft Outlook", "Thunderbird/", "Chrome/"),
    *("Firefox/", "Safari/", "(KHTML, like Gecko)"),
)
NOT_SENT = {"OnAccountSuppressionList", "OnTenantSuppressionList", "EmailValidationSuppressed"}


def ms(timestamp):
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def who(body, delivered_at):
    """Classify an open or click: by its user agent, then by the time since the delivery."""
    agent = body["userAgent"]
    if agent in {"Mozilla/5.0", GMAIL_PREFETCH} or any(name in agent for name in MACHINE_AGENTS):
        return "machine"
    assert body.get("isBotEvent") != "Likely"
    assert any(name in agent for name in HUMAN_AGENTS)
    if delivered_at is None:
        return "human"
    after = ms(body["timestamp"]) - delivered_at
    assert after >= 30_000 or 1_000 <= after <= 4_000
    return "human" if after >= 30_000 else "unknown"


def occurrence(event):
    """Return the identity of an event as law 2 defines it: type, time and key."""
    kind = event["eventType"]
    body = event.get(kind.lower() if kind not in {"Rendering Failure", "DeliveryDelay"} else "", {})
    body = event.get("deliveryDelay", body) if kind == "DeliveryDelay" else body
    more = {
        "Click": ("link", "userAgent", "ipAddress"),
        "Open": ("userAgent", "ipAddress"),
        "Bounce": ("bounceType", "bounceSubType"),
        "Subscription": ("contactList",),
    }.get(kind, ())
    return kind, body.get("timestamp"), *(body[name] for name in more)


def named(event):
    """Return the recipients of an event; `*` is not a recipient."""
    everybody = event["mail"]["destination"]
    kind = event["eventType"]
    if kind == "Delivery":
        return event["delivery"]["recipients"]
    if kind == "Bounce":
        return [item["emailAddress"] for item in event["bounce"]["bouncedRecipients"]]
    if kind == "DeliveryDelay":
        return [item["emailAddress"] for item in event["deliveryDelay"]["delayedRecipients"]]
    if kind == "Complaint":
        candidates = [item["emailAddress"] for item in event["complaint"]["complainedRecipients"]]
        return candidates if len(candidates) == 1 else ["*"]
    if kind in {"Open", "Click"} and len(everybody) > 1:
        return ["*"]
    return everybody


def count_recipient(events, sums):
    sums["recipients"] += 1
    sums["sent"] += 1
    by_kind = defaultdict(list)
    for event in events:
        by_kind[event["eventType"]].append(event)
    bounces = [event["bounce"] for event in by_kind["Bounce"]]
    complaints = [event["complaint"] for event in by_kind["Complaint"]]
    suppressed = [b for b in bounces if b["bounceSubType"] in NOT_SENT] + [
        c for c in complaints if c["complaintSubType"] in NOT_SENT
    ]
    hard = [
        b
        for b in bounces
        if b["bounceType"] == "Permanent"
        and b["bounceSubType"] not in NOT_SENT
        and not b["bouncedRecipients"][0].get("status", "").startswith("4")
    ]
    other = [b for b in bounces if b["bounceType"] != "Permanent"]
    with_report = [b for b in other if "status" in b["bouncedRecipients"][0] or "reportingMTA" in b]
    complained = [
        c
        for c in complaints
        if c["complaintSubType"] is None and c.get("complaintFeedbackType") != "not-spam"
    ]
    delivered_at = min(
        (ms(event["delivery"]["timestamp"]) for event in by_kind["Delivery"]), default=None
    )
    opens = [who(event["open"], delivered_at) for event in by_kind["Open"]]
    clicks = [who(event["click"], delivered_at) for event in by_kind["Click"]]
    by_people = {"human", "unknown"} & {*opens, *clicks}
    reached = bool(by_kind["Delivery"] or complained or by_kind["Subscription"] or by_people)
    ranks = (
        ("rejected", by_kind["Reject"]),
        ("failed", by_kind["Rendering Failure"]),
        ("bounced", hard),
        ("suppressed", suppressed),
        ("softBounced", with_report),
        ("delivered", reached),
        ("pending", True),
    )
    outcome = next(name for name, holds in ranks if holds)
    sums[outcome] += 1
    sums["attempted"] += outcome not in {"suppressed", "rejected", "failed"}
    sums["reached"] += reached
    sums["everDelayed"] += bool(by_kind["DeliveryDelay"])
    sums["autoReplied"] += len(other) > len(with_report)
    sums["complained"] += bool(complained)
    sums["unsubscribed"] += bool(by_kind["Subscription"])
    if not reached:
        return
    for fact, event, verdicts in (
        ("opened", "Opened", opens + clicks),
        ("clicked", "Clicked", clicks),
    ):
        best = next((v for v in ("human", "unknown", "machine") if v in verdicts), None)
        if best:
            sums[fact] += 1
            sums[("machineOnly" if best == "machine" else best) + event] += 1
    sums["opens"] += len(opens)
    sums["clicks"] += len(clicks)
    sums["machineOpens"] += opens.count("machine")
    sums["machineClicks"] += clicks.count("machine")


def recount(bodies):
    """Count from the events alone: {stream: {"totals", "days", "campaigns"}}."""
    messages = {}
    for body in bodies:
        event = json.loads(body)
        mail = event["mail"]
        message = messages.setdefault(
            mail["messageId"], {"mail": mail, "campaigns": set(), "of": {}}
        )
        assert message["mail"]["timestamp"] == mail["timestamp"]
        message["campaigns"].update(mail["tags"].get("campaign_id", ()))
        for recipient in named(event):
            message["of"].setdefault(recipient, {}).setdefault(occurrence(event), event)

    streams = {}
    for message in messages.values():
        mail = message["mail"]
        stream = mail["tags"]["ses:configuration-set"][0].removesuffix("-tracking")
        campaign = min(message["campaigns"], default="~untagged")
        sums = dict.fromkeys(COUNTERS, 0)
        for recipient, events in message["of"].items():
            if recipient == "*":
                kinds = [event["eventType"] for event in events.values()]
                sums["unattributedOpens"] += kinds.count("Open")
                sums["unattributedClicks"] += kinds.count("Click")
                sums["complained"] += "Complaint" in kinds
            else:
                count_recipient(events.values(), sums)
        day = mail["timestamp"][:10]
        whole = streams.setdefault(stream, {"totals": {}, "days": {}, "campaigns": {}})
        part = whole["campaigns"].setdefault(campaign, {"totals": {}, "days": {}})
        for rows, key in (
            (whole, "totals"),
            (whole["days"], day),
            (part, "totals"),
            (part["days"], day),
        ):
            row = rows.setdefault(key, {}) or dict.fromkeys(COUNTERS, 0)
            rows[key] = {name: row[name] + sums[name] for name in COUNTERS}
    return streams


def without_names(streams):
    return {
        stream: whole
        | {
            "campaigns": {
                ident: {"totals": part["totals"], "days": part["days"]}
                for ident, part in whole["campaigns"].items()
            }
        }
        for stream, whole in streams.items()
    }


PLANS = {
    "ordinary": Plan(seed=1, end=END, messages=4_000),
    "another seed": Plan(seed=2, end=END, messages=4_000),
    "noisy": Plan(seed=3, end=END, messages=3_000, duplicates=0.3, disorder=0.5),
    "held back for days": Plan(
        seed=4, end=END, days=20, messages=3_000, disorder=0.4, disorder_ms=10 * 86_400_000
    ),
    "all for several recipients": Plan(
        seed=5, end=END, days=30, messages=2_000, multi_recipient=1.0, duplicates=0.1, disorder=0.1
    ),
    "all goes wrong": Plan(
        seed=6, end=END, days=60, messages=3_000, bounces=12.0, complaints=40.0, disorder=0.2
    ),
    "all ambiguous": Plan(seed=7, end=END, messages=2_000, ambiguous=1.0, disorder=0.3),
    "people only": Plan(seed=8, end=END, messages=2_000, machines=0.0, ambiguous=0.0),
    "before isBotEvent": Plan(seed=9, end=1_785_000_000_000, days=30, messages=2_000),
    "one day": Plan(seed=10, end=END, days=1, messages=1_500, campaigns=3, engagement=1.6),
    "one stream": Plan(seed=11, end=END, messages=500, outreach_share=1.0, campaigns=1),
    "a single message": Plan(seed=12, end=END, messages=1),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_recount(plan):
    """The truth equals a recount from the bodies of the events, in every row."""
    truth = Truth()
    bodies = [event.body for event in generate(plan, truth)]
    document = truth.document()
    assert without_names(document["streams"]) == recount(bodies)
    assert document["events"] == len(bodies)
    assert document["duplicates"] == len(bodies) - len(set(bodies))


def test_outcomes_sum_to_recipients():
    """Outcomes and classes are exclusive, and rare events occur in ordinary traffic."""
    truth = Truth()
    for _ in generate(Plan(seed=1, end=END, messages=30_000), truth):
        pass
    streams = truth.document()["streams"]
    for totals in (whole["totals"] for whole in streams.values()):
        outcomes = ("delivered", "softBounced", "bounced", "suppressed")
        outcomes += ("rejected", "failed", "pending")
        assert totals["recipients"] == sum(totals[name] for name in outcomes)
        for fact, what in (("opened", "Opened"), ("clicked", "Clicked")):
            verdicts = ("human", "unknown", "machineOnly")
            assert totals[fact] == sum(totals[verdict + what] for verdict in verdicts)
    assert [name for name in COUNTERS if not streams["outreach"]["totals"][name]] == []


def test_ambiguous_is_reported_apart():
    """Only the plan's ambiguous opens and clicks have the class unknown."""
    for share in (0.0, 0.2):
        truth = Truth()
        for _ in generate(Plan(seed=2, end=END, messages=5_000, ambiguous=share), truth):
            pass
        document = truth.document()
        unknown = sum(w["totals"]["unknownOpened"] for w in document["streams"].values())
        assert document["ambiguous"]["recipients"] == document["ambiguous"]["opens"] == unknown
        assert (unknown > 0) == (share > 0)


def test_counted_is_plain():
    """A recipient with a Send only is pending, and counts as sent and attempted."""
    assert counters_of(1) == ("recipients", "pending", "sent", "attempted")
