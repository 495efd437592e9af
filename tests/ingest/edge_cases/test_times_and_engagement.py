"""Edge cases 43 to 54 and 73 to 78: times, machines, links, and what else an event may hold."""

import json
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from sesight.domain.event import Click, Delivery, DeliveryDelay, Open, Reject, Subscription
from sesight.domain.outcome import Outcome, derive_facts
from sesight.domain.stream import OUTREACH
from sesight.domain.suppression.item import SuppressionScope
from sesight.domain.timestamps import DAY, HOUR
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.reader import read
from sesight.services.quarantine import RetryResult, retry, take_due
from tests.builders import NOW, POLICY
from tests.payload import GONE, body, payload, raw
from tests.reception import Reception, expires_at

SENT = payload("send")["mail"]["messageId"]
ANA = "ana@example.org"
SENT_AT = 1_794_644_130_412


def delivered(**changes: object) -> Delivery:
    """Return the delivery that a changed payload tells of."""
    return told("delivery", Delivery, **changes)


def told(name: str, kind: type, **changes: object):
    """Return the only occurrence that a changed payload tells of, of the kind it must be."""
    key = {"delivery_delay": "deliveryDelay"}.get(name, name.partition("_")[0])
    [reading] = read(
        body(name, {f"{key}.{field}": value for field, value in changes.items()}), "file"
    )
    assert reading.event is not None
    [report] = reading.event.reports
    assert type(report.occurrence) is kind
    return report.occurrence


@pytest.mark.parametrize(
    ("written", "at", "clock"),
    [
        ("2026-11-14T08:15:31.690Z", SENT_AT + 1_278, None),
        ("2026-11-14T08:15:31Z", SENT_AT + 588, None),
        ("2026-11-14T08:15:31.6Z", SENT_AT + 1_188, None),
        ("2026-11-14T03:15:31.690-05:00", SENT_AT + 1_278, None),
        ("2026-11-14T08:15:31 +0000", SENT_AT + 588, None),
        ("2026-11-14T08:15:31.690", SENT_AT + 1_278, "zoneless"),
        ("2026-11-14 08:15:31.690", SENT_AT + 1_278, "zoneless"),
        ("2026-11-14T08:15:31.690123456Z", SENT_AT + 1_278, None),
        ("yesterday", SENT_AT, "sent"),
        ("", SENT_AT, "sent"),
        (None, SENT_AT, "sent"),
        (GONE, SENT_AT, "sent"),
        (1_794_644_131, SENT_AT, "sent"),
        (["2026-11-14T08:15:31.690Z"], SENT_AT, "sent"),
    ],
)
def test_43_forms_of_time(written: object, at: int, clock: str | None) -> None:
    """A time in any of SES's forms is read; what is none is the send time, flagged, and nothing
    raises. The time of receipt never enters a record.
    """
    found = delivered(timestamp=written)
    assert (found.at, found.clock) == (at, clock)


def test_43_send_time_from_the_message_id(reception: Reception) -> None:
    """A send time that cannot be read is the one that SES writes into its message ids."""
    made_at = int(SENT[4:16], 16)
    assert reception.take(body("send", {"mail.timestamp": "?"})) == ["expired"]
    reception.now = made_at + DAY
    assert reception.take(body("send", {"mail.timestamp": "?"})) == ["created"]
    assert reception.record(SENT, ANA).sent_at == made_at
    assert reception.take(
        body("send", {"mail.timestamp": None, "mail.messageId": "not-of-ses"})
    ) == ["quarantined no-send-time"]


@pytest.mark.parametrize(
    ("written", "age"),
    [("2031-01-01T00:00:00Z", 72), ("2026-11-13T00:00:00Z", 0), ("1999-01-01T00:00:00Z", 0)],
)
def test_44_time_out_of_bounds(reception: Reception, written: str, age: int) -> None:
    """An event of the future or from before its send is kept as it is told, and counted on the day
    of the send at an age that is never negative.
    """
    reception.take(body("delivery", {"delivery.timestamp": written}))
    record = reception.record(SENT, ANA)
    assert record.tally is not None
    assert record.tally.ages == (age, None, None, None)
    assert [row.key.bucket for row in reception.store.rollups("day", "outreach", dimension="")] == [
        SENT_AT // DAY
    ]


@pytest.mark.parametrize(("name", "kind"), [("reject", Reject)])
def test_45_no_time_of_its_own(name: str, kind: type) -> None:
    """A Reject happens at the send, flagged as such."""
    found = told(name, kind)
    assert (found.at, found.clock) == (SENT_AT, "sent")


@pytest.mark.parametrize(
    ("value", "bot"),
    [
        ("Likely", "Likely"),
        ("Unlikely", "Unlikely"),
        (True, "Likely"),
        (False, "Unlikely"),
        ("likely", None),
        ("LIKELY", None),
        ("Certain", None),
        (1, None),
        ({}, None),
        (None, None),
        (GONE, None),
    ],
)
def test_46_is_bot_event(value: object, bot: str | None) -> None:
    """An isBotEvent has three values: only the exact words count, booleans are taken, all else is unknown."""
    assert told("open", Open, isBotEvent=value).bot == bot
    assert told("click", Click, isBotEvent=value).bot == bot


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_apple_mpp", {"opens": 1, "machineOpens": 1, "opened": 1, "machineOnlyOpened": 1}),
        (
            "open_gmail_prefetch_before_isbotevent",
            {"opens": 1, "machineOpens": 1, "opened": 1, "machineOnlyOpened": 1},
        ),
        (
            "click_security_scanner",
            {
                "clicks": 1,
                "machineClicks": 1,
                "opened": 1,
                "machineOnlyOpened": 1,
                "clicked": 1,
                "machineOnlyClicked": 1,
            },
        ),
    ],
)
def test_47_machines(reception: Reception, name: str, said: dict[str, int]) -> None:
    """Apple's proxy, Gmail's prefetch and scanners count as machines, and their raw event is kept."""
    message = payload(name)["mail"]["messageId"]
    sent = payload(name)["mail"]["timestamp"]
    reception.take(
        body(
            "delivery",
            {"mail.messageId": message, "mail.timestamp": sent, "delivery.timestamp": sent},
        ),
        raw(f"{name}.json"),
    )
    delivered = {"recipients", "delivered", "sent", "attempted", "reached"}
    assert {k: n for k, n in reception.totals().items() if k not in delivered} == said
    key = name.partition("_")[0]
    assert reception.record(message, ANA).timeline[-1].agent == payload(name)[key]["userAgent"]


FUTURE = {"mail.timestamp": "2099-01-01T00:00:00.000Z"}


def test_44_a_send_time_in_the_future(reception: Reception) -> None:
    """An event of a message that was not sent yet waits in the quarantine, whatever comes first, so that
    no list is led by it; what it says of an address holds at once. It is taken once its time has come.
    """
    bounced = payload("bounce_permanent_general", FUTURE)
    [to] = [each["emailAddress"] for each in bounced["bounce"]["bouncedRecipients"]]
    waits = "quarantined future-send-time"
    told = [body("send", FUTURE), json.dumps(bounced).encode(), raw("delivery.json")]
    assert reception.take(*told) == [waits, waits, "created"]
    assert reception.take(told[0]) == [waits]
    assert reception.suppressed(to) == "bounced"
    assert reception.totals()["recipients"] == 1
    assert [bool(each.body) for each in reception.store.quarantine(9)] == [True, True]
    reception.now = 4_070_908_800_000 - DAY - 1
    assert again(reception).released == 0
    reception.now += 1
    assert again(reception).dispositions == {"created": 1, "updated": 1}
    assert reception.quarantine() == []


def test_44_a_clock_that_was_behind(reception: Reception) -> None:
    """What seemed to come from the future by a clock that was behind is taken by itself once it is right;
    what still does stays.
    """
    now = reception.now
    reception.now = SENT_AT - 40 * DAY
    assert (
        reception.take(raw("send.json"), body("send", FUTURE))
        == ["quarantined future-send-time"] * 2
    )
    reception.now = now
    pipeline = Pipeline(reception.store, reception.rules, lambda: reception.now, None)
    take_due(reception.store, pipeline, reception.now)
    assert reception.totals()["recipients"] == 1
    assert reception.store.quarantine_counts() == {"future-send-time": 1}


def again(reception: Reception) -> RetryResult:
    """Try the quarantined bodies again."""
    pipeline = Pipeline(reception.store, reception.rules, lambda: reception.now, None)
    return retry(reception.store, pipeline, reception.rules.known_sets)


@pytest.mark.parametrize(
    "at", ["2036-11-20T00:00:00.000Z", "2099-01-01T00:00:00.000Z", "9999-12-31T00:00:00Z"]
)
def test_44_an_event_long_after_its_message(at: str) -> None:
    """A time ten years after the send is no usable one: the event has the send time, flagged."""
    for name, kind in (("delivery", Delivery), ("open", Open), ("click", Click)):
        held = told(name, kind, timestamp=at)
        assert (held.at, held.clock) == (SENT_AT, "sent")
    assert told("delivery", Delivery, timestamp="2031-11-20T00:00:00.000Z").clock is None


def test_48_a_click_is_no_unsubscribe(reception: Reception) -> None:
    """A scanner that fetches the unsubscribe link unsubscribes nobody."""
    assert "/o/" in payload("click_security_scanner")["click"]["link"]
    reception.take(raw("click_security_scanner.json"))
    assert "unsubscribed" not in reception.totals()
    assert reception.item(ANA) is None


def test_49_very_long_link() -> None:
    """A very long link counts under its short form, whatever hangs on it."""
    long = f"https://www.example.com/p/a?blob={'x' * 8_000}"
    assert told("click", Click, link=long, linkTags=None).link == "https://www.example.com/p/a"
    deep = "https://www.example.com/" + "a/" * 4_000
    one, other = (told("click", Click, link=deep + end, linkTags={}).link for end in "bc")
    assert one != other
    assert max(len(one), len(other)) <= 512


@pytest.mark.parametrize(
    "link",
    [
        "https://www.example.com/p?email=ana@example.org&token=8d969eef6ecad3c2",
        "https://www.example.com/p#ana@example.org",
        "https://ana:secret@www.example.com/p",
    ],
)
def test_50_personal_data_in_a_link(reception: Reception, link: str) -> None:
    """Nothing personal in a link reaches the store."""
    reception.take(body("click", {"click.link": link, "click.linkTags": None}))
    [record] = reception.records(payload("click")["mail"]["messageId"])
    assert record.timeline[0].link == "https://www.example.com/p"


@pytest.mark.parametrize(
    ("link", "key"),
    [
        ("javascript:alert(1)", "javascript:"),
        ("JavaScript:alert(1)", "javascript:"),
        ("data:text/html;base64,PHNjcmlwdD4=", "data:"),
        ('"><script>alert(1)</script>', "~unreadable"),
        ("java\nscript:alert(1)", "~unreadable"),
        (5, "~unreadable"),
        (None, "~unreadable"),
        ({}, "~unreadable"),
    ],
)
def test_51_link_of_another_scheme(link: object, key: str) -> None:
    """Of a link that is no web address only its scheme is stored: nothing that could be run."""
    assert told("click", Click, link=link, linkTags=None).link == key


def test_49_link_tags() -> None:
    """A link with SES's link tags counts under these."""
    assert told("click", Click).link == "product:p42;slot:hero"


@pytest.mark.parametrize(
    ("written", "agent"),
    [
        ("x" * 5_000, "x" * 495 + "~"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("cut\ud83d", "cut"),
        ("\udc00", ""),
        ("🎉", "🎉"),
    ],
)
def test_53_odd_user_agents(reception: Reception, written: str, agent: str) -> None:
    """A huge user agent is cut, and control characters, NUL and lone surrogates do no harm."""
    data = json.dumps(payload("open", {"open.userAgent": written})).encode()
    assert reception.take(data) == ["created"]
    [record] = reception.records(payload("open")["mail"]["messageId"])
    assert record.timeline[0].agent.startswith(agent)
    assert len(record.timeline[0].agent) <= 512


@pytest.mark.parametrize(
    ("written", "ip"),
    [
        ("198.51.100.201", "198.51.100.0"),
        ("2001:db8:4::a1", "2001:db8:4::"),
        ("203.0.113.9, 10.0.0.1", "203.0.113.0"),
        ("", None),
        ("unknown", None),
        (None, None),
        (5, None),
        ([], None),
    ],
)
def test_54_addresses_of_networks(written: object, ip: str | None) -> None:
    """An IP address is kept as its network only; what is none is nothing."""
    assert told("open", Open, ipAddress=written).ip == ip


def test_73_mailbox_simulator(reception: Reception) -> None:
    """SES's mailbox simulator is no recipient: in no total, on no list, but its record can be seen."""
    simulator = "bounce+x@simulator.amazonses.com"
    reception.take(
        body(
            "bounce_permanent_general",
            {
                "mail.destination": [simulator],
                "bounce.bouncedRecipients": [{"emailAddress": simulator, "status": "5.1.1"}],
            },
        )
    )
    assert reception.totals() == {}
    assert reception.item(simulator) is None
    [record] = reception.records(payload("bounce_permanent_general")["mail"]["messageId"])
    assert derive_facts(record.timeline).outcome is Outcome.BOUNCED


@pytest.mark.parametrize("empty", [[], None, GONE, "x"])
def test_74_delivery_to_nobody(empty: object) -> None:
    """A Delivery that names nobody is the only recipient's, or nobody's of several."""
    changes = {"delivery.recipients": empty}
    [one] = read(body("delivery", changes), "file")
    [several] = read(body("delivery_partial_of_multi_recipient", changes), "file")
    assert one.event is not None
    assert several.event is not None
    assert [report.recipient for report in one.event.reports] == [ANA]
    assert [report.recipient for report in several.event.reports] == ["*"]


@pytest.mark.parametrize(
    ("written", "millis"),
    [
        (1278, 1278),
        (1278.9, 1278),
        ("1278", 1278),
        (0, 0),
        (-5, None),
        ("soon", None),
        (None, None),
        (GONE, None),
        ([], None),
        (14 * DAY, 14 * DAY),
        (14 * DAY + 1, None),
        (10**30, None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_75_processing_time(written: object, millis: int | None) -> None:
    """A processing time that is none, negative or beyond two weeks is unknown."""
    assert delivered(processingTimeMillis=written).millis == millis


def test_76_late_open(reception: Reception) -> None:
    """An open past retention is expired and creates nothing; a complaint still suppresses."""
    day = SENT_AT // DAY
    reception.now = expires_at(day)
    assert reception.take(raw("delivery.json"), raw("open.json")) == ["expired", "expired"]
    assert reception.take(raw("complaint.json")) == ["expired"]
    assert reception.totals() == {}
    assert reception.records(SENT) == []
    assert reception.suppressed(ANA) == "complaint"
    reception.now = expires_at(day) - 1
    assert reception.take(raw("delivery.json")) == ["created"]


def test_76_backfill(reception: Reception) -> None:
    """Backfill takes events past retention, in any number of runs, and none of a day that was held."""
    day = SENT_AT // DAY
    reception.now = expires_at(day) + 5 * DAY
    assert reception.take(raw("delivery.json")) == ["expired"]
    reception.change(backfill=True)
    assert reception.take(raw("delivery.json")) == ["created"]
    reception.now += DAY
    assert reception.take(raw("delivery.json"), raw("open.json")) == ["duplicate", "created"]
    assert reception.totals()["delivered"] == 2


def test_76_backfill_of_a_held_day(reception: Reception) -> None:
    """Of a day that the store held itself and whose records expired, backfill takes nothing."""
    assert reception.take(raw("send.json")) == ["created"]
    reception.now = expires_at(SENT_AT // DAY)
    reception.change(backfill=True)
    assert reception.take(raw("delivery.json")) == ["expired frozen-day"]
    assert reception.totals() == {"recipients": 1, "pending": 1, "sent": 1, "attempted": 1}


def test_77_delays(reception: Reception) -> None:
    """Many delays are kept, and none after the delivery takes it back."""
    message = payload("delivery_delay")["mail"]["messageId"]
    bo = "bo@example.net"
    times = [f"2026-11-14T0{hour}:45:40.095Z" for hour in (8, 9)]
    reception.take(*[body("delivery_delay", {"deliveryDelay.timestamp": at}) for at in times])
    assert derive_facts(reception.record(message, bo).timeline).outcome is Outcome.DELAYED
    to_bo = {"mail.messageId": message, "mail.destination": [bo], "delivery.recipients": [bo]}
    reception.take(body("delivery", to_bo))
    reception.take(body("delivery_delay", {"deliveryDelay.timestamp": "2026-11-14T10:00:00Z"}))
    record = reception.record(message, bo)
    assert derive_facts(record.timeline).outcome is Outcome.DELIVERED
    assert [held.at for held in record.timeline if isinstance(held, DeliveryDelay)] == [
        1_794_645_940_095,
        1_794_645_940_095 + HOUR,
        1_794_650_400_000,
    ]
    assert reception.totals()["everDelayed"] == 1


OPTED = {"topicName": "digest", "subscriptionStatus": "OptOut"}


@pytest.mark.parametrize(
    ("preferences", "left"),
    [
        ({"unsubscribeAll": True, "topicSubscriptionStatus": []}, ("*",)),
        ({"unsubscribeAll": True, "topicSubscriptionStatus": [OPTED]}, ("*",)),
        ({"unsubscribeAll": "true"}, ("*",)),
        ({"unsubscribeAll": False, "topicSubscriptionStatus": [OPTED]}, ("digest",)),
        (
            {"topicSubscriptionStatus": [{**OPTED, "subscriptionStatus": "OPT_OUT"}, OPTED]},
            ("digest",),
        ),
        (
            {
                "topicSubscriptionStatus": [
                    {"topicName": "z", "subscriptionStatus": "OptOut"},
                    {"topicName": "b", "subscriptionStatus": "OptIn"},
                    {"topicName": "c", "subscriptionStatus": "OPT_IN"},
                    {"topicName": "a", "subscriptionStatus": "OptOut"},
                    {"subscriptionStatus": "OptOut"},
                    "odd",
                ]
            },
            ("a", "z", "~unnamed"),
        ),
        ({"unsubscribeAll": False}, ()),
        (None, ()),
        ([], ()),
        ("x", ()),
    ],
)
def test_78_preferences(preferences: object, left: tuple[str, ...]) -> None:
    """Leaving everything wins over the topics; both spellings of the status are understood."""
    assert told("subscription", Subscription, newTopicPreferences=preferences).left == left


OUT, IN = "OptOut", "OptIn"


def prefers(everything: bool = False, default: str = IN, **topics: str) -> dict[str, Any]:
    """Return preferences as SES writes them, those of the topic `digest` by default."""
    return {
        "unsubscribeAll": everything,
        "topicSubscriptionStatus": [
            {"topicName": name, "subscriptionStatus": status} for name, status in topics.items()
        ],
        "topicDefaultSubscriptionStatus": [{"topicName": "digest", "subscriptionStatus": default}],
    }


@pytest.mark.parametrize(
    ("old", "new", "left", "joined"),
    [
        (prefers(digest=IN), prefers(digest=OUT), ("digest",), ()),
        (prefers(), prefers(digest=OUT), ("digest",), ()),
        (prefers(digest=OUT), prefers(digest=OUT), (), ()),
        (prefers(digest=OUT), prefers(digest=OUT, tips=OUT), ("tips",), ()),
        (prefers(digest=OUT), prefers(digest=IN), (), ("*", "digest")),
        (prefers(digest=OUT), prefers(), (), ("*", "digest")),
        (prefers(digest=OUT, tips=OUT), prefers(digest=IN, tips=OUT), (), ("digest",)),
        (prefers(digest=OUT, tips=IN), prefers(digest=IN, tips=OUT), ("tips",), ("digest",)),
        (prefers(default=OUT), prefers(default=OUT, digest=OUT), (), ()),
        (prefers(default=OUT), prefers(default=OUT, digest=IN), (), ("digest",)),
        (prefers(), prefers(True), ("*",), ()),
        (prefers(digest=OUT), prefers(True, digest=OUT), ("*",), ()),
        (prefers(True), prefers(True, digest=OUT), (), ()),
        (prefers(True), prefers(), (), ("*", "digest")),
        (prefers(True), prefers(digest=OUT), (), ()),
        (prefers(True, digest=OUT), prefers(digest=OUT, tips=IN), (), ("tips",)),
        (prefers(), prefers(), (), ()),
        (None, prefers(digest=OUT), ("digest",), ()),
        (prefers(True), None, (), ()),
        (prefers(True), [], (), ()),
    ],
)
def test_78_old_and_new(
    old: object, new: object, left: tuple[str, ...], joined: tuple[str, ...]
) -> None:
    """Preferences are states: left is what the contact is out of now and was not before, and joined
    what it was out of and is in again.
    """
    said = told("subscription", Subscription, oldTopicPreferences=old, newTopicPreferences=new)
    assert (said.left, said.joined) == (left, joined)


def change(minute: int, old: object, new: object) -> bytes:
    """Return the event of a contact that changed its preferences, by a message of its own."""
    return body(
        "subscription",
        {
            "mail.messageId": f"m-{minute}",
            "subscription.timestamp": f"2026-11-14T20:{minute:02d}:00.000Z",
            "subscription.oldTopicPreferences": old,
            "subscription.newTopicPreferences": new,
        },
    )


LEAVES = change(1, prefers(), prefers(digest=OUT))
JOINS = change(2, prefers(digest=OUT), prefers(digest=IN))
LEAVES_AGAIN = change(3, prefers(digest=IN), prefers(True))


@pytest.mark.parametrize("events", list(permutations([LEAVES, JOINS])))
def test_78_who_joins_again(reception: Reception, events: tuple[bytes, ...]) -> None:
    """Who joins the list again is not suppressed any more, in whatever order the events come."""
    reception.take(*events, events[0])
    assert reception.suppressed(ANA) is None
    assert reception.totals()["unsubscribed"] == 1


@pytest.mark.parametrize("events", list(permutations([LEAVES, JOINS, LEAVES_AGAIN])))
def test_78_who_leaves_again(reception: Reception, events: tuple[bytes, ...]) -> None:
    """Who leaves after that is suppressed again, in whatever order the events come."""
    for each in events:
        reception.take(each)
    assert reception.suppressed(ANA) == "unsubscribed"


def test_78_an_opt_in_suppresses_nobody(reception: Reception) -> None:
    """A change that leaves nothing makes no unsubscribe, though other topics are opted out of."""
    reception.take(change(1, prefers(tips=OUT), prefers(tips=OUT, digest=IN)))
    assert (reception.item(ANA), reception.totals().get("unsubscribed")) == (None, None)


def test_78_joining_in_another_stream(reception: Reception) -> None:
    """However far an unsubscribe reaches, only joining again in its own stream lifts it."""
    reception.change(
        streams={
            "outreach": OUTREACH,
            "offers": replace(OUTREACH, id="offers", configuration_set="o"),
        },
        suppression=replace(POLICY, unsubscribed=SuppressionScope.MARKETING),
    )
    reception.take(LEAVES)
    reception.take(JOINS.replace(b"outreach-tracking", b"o"))
    assert [reception.suppressed(ANA, name) for name in ("outreach", "offers")] == [
        "unsubscribed"
    ] * 2
    reception.take(JOINS)
    assert [reception.suppressed(ANA, name) for name in ("outreach", "offers")] == [None, None]


def test_78_joining_lifts_no_complaint(reception: Reception) -> None:
    """Joining again lifts no complaint."""
    complaint = {
        "mail.destination": [ANA],
        "complaint.complainedRecipients": [{"emailAddress": ANA}],
    }
    reception.take(LEAVES, body("complaint", complaint), JOINS)
    assert reception.suppressed(ANA) == "complaint"


def test_78_unsubscribe(reception: Reception) -> None:
    """Leaving a topic unsubscribes in the stream, and nothing is said of other streams."""
    reception.take(raw("subscription.json"))
    assert reception.totals()["unsubscribed"] == 1
    assert (reception.suppressed(ANA), reception.suppressed(ANA, "finance")) == (
        "unsubscribed",
        None,
    )


def test_43_no_time_of_receipt(reception: Reception) -> None:
    """The same events received another day make the same record."""
    reception.take(body("delivery", {"delivery.timestamp": "?"}))
    first = reception.records(SENT)
    reception.now = NOW + 3 * DAY
    assert reception.take(body("delivery", {"delivery.timestamp": "?"})) == ["duplicate"]
    assert reception.records(SENT) == first
