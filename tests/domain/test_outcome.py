"""What became of a message for a recipient."""

from itertools import combinations, permutations

import pytest

from sesight.domain.event import Accepted, Bounce, Complaint, Send, Subscription
from sesight.domain.outcome import (
    NOT_DELIVERED,
    PENDING,
    SUPPRESSION_SUB_TYPES,
    Facts,
    Outcome,
    bounce_outcome,
    derive_facts,
    is_auto_reply,
    is_complaint,
)
from tests.builders import (
    APPLE_MPP,
    NOW,
    bounce,
    clicked,
    complaint,
    delay,
    delivery,
    event,
    not_rendered,
    opened,
    record,
    rejected,
    sent,
    unsubscribed,
)

AT = NOW

# One event of each outcome, in the order of their rank.
RANKED = {
    Outcome.ACCEPTED: event(Accepted(AT)),
    Outcome.SENT: sent(),
    Outcome.DELAYED: delay(),
    Outcome.DELIVERED: delivery(),
    Outcome.SOFT_BOUNCED: bounce(kind="Transient", sub_type="MailboxFull", status="4.2.2"),
    Outcome.SUPPRESSED: bounce(sub_type="OnAccountSuppressionList", after=2_001),
    Outcome.BOUNCED: bounce(after=2_002),
    Outcome.FAILED: not_rendered(),
    Outcome.REJECTED: rejected(),
}


def test_words() -> None:
    """The API writes outcomes in lower case with underscores."""
    assert [outcome.word for outcome in Outcome] == [
        "accepted",
        "sent",
        "delayed",
        "delivered",
        "soft_bounced",
        "suppressed",
        "bounced",
        "failed",
        "rejected",
    ]


def test_groups() -> None:
    """Accepted, sent and delayed are pending; what ends without a delivery is not delivered."""
    assert sorted(PENDING) == [Outcome.ACCEPTED, Outcome.SENT, Outcome.DELAYED]
    assert sorted({*Outcome} - PENDING - NOT_DELIVERED) == [Outcome.DELIVERED]


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.word)
def test_alone(outcome: Outcome) -> None:
    """Each outcome has an event that alone gives it."""
    assert derive_facts(record(RANKED[outcome]).timeline).outcome is outcome


@pytest.mark.parametrize(
    ("lower", "higher"),
    list(combinations(Outcome, 2)),
    ids=lambda outcome: outcome.word,
)
def test_rank(lower: Outcome, higher: Outcome) -> None:
    """Of two outcomes the higher one holds, whichever came last."""
    for order in permutations((RANKED[lower], RANKED[higher])):
        assert derive_facts(record(*order).timeline).outcome is higher


@pytest.mark.parametrize(
    ("bounced", "outcome"),
    [
        (Bounce(AT, kind="Permanent", sub_type="General"), Outcome.BOUNCED),
        (Bounce(AT, kind="Permanent", sub_type="NoEmail", status="5.1.1"), Outcome.BOUNCED),
        (Bounce(AT, kind="Permanent", sub_type="Suppressed"), Outcome.BOUNCED),
        (Bounce(AT, kind="Permanent", sub_type="NewThing"), Outcome.BOUNCED),
        (Bounce(AT, kind="Permanent", sub_type="General", status="4.0.0"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Transient", sub_type="General", status="4.4.7"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Transient", sub_type="General", action="failed"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Transient", sub_type="General", mta="dns; a"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Transient", sub_type="General"), None),
        (Bounce(AT, kind="Transient"), None),
        (Bounce(AT, kind="Transient", sub_type="MailboxFull"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Transient", sub_type="CustomTimeoutExceeded"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="Undetermined", sub_type="Undetermined"), Outcome.SOFT_BOUNCED),
        (Bounce(AT, kind="SomethingNew"), Outcome.SOFT_BOUNCED),
        (Bounce(AT), Outcome.SOFT_BOUNCED),
        *[
            (Bounce(AT, kind=kind, sub_type=sub_type, status="5.1.1"), Outcome.SUPPRESSED)
            for sub_type in sorted(SUPPRESSION_SUB_TYPES)
            for kind in ("Permanent", "Transient")
        ],
    ],
    ids=lambda value: (
        f"{value.kind}-{value.sub_type}-{value.status}" if isinstance(value, Bounce) else None
    ),
)
def test_bounces(bounced: Bounce, outcome: Outcome | None) -> None:
    """A bounce is hard, soft, a send that SES did not attempt, or an auto-reply: no bounce at all."""
    assert bounce_outcome(bounced) is outcome
    assert is_auto_reply(bounced) is (outcome is None)


@pytest.mark.parametrize(
    ("complained", "genuine"),
    [
        (Complaint(AT), True),
        (Complaint(AT, kind="abuse"), True),
        (Complaint(AT, kind="virus"), True),
        (Complaint(AT, kind="something-new"), True),
        (Complaint(AT, kind="not-spam"), False),
        *[(Complaint(AT, sub_type=each), False) for each in sorted(SUPPRESSION_SUB_TYPES)],
    ],
)
def test_complaints(complained: Complaint, genuine: bool) -> None:
    """A correction and a send that SES did not attempt are no complaints."""
    assert is_complaint(complained) is genuine


def test_nothing_but_accepted() -> None:
    """What only our own sender knows of is accepted, not sent."""
    assert derive_facts(record(event(Accepted(AT))).timeline) == Facts(
        Outcome.ACCEPTED, False, False, None, None, False, None, None, None, ()
    )


@pytest.mark.parametrize(
    "told",
    [sent(), delay(), delivery(), bounce(), complaint(), opened(), unsubscribed(), rejected()],
    ids=lambda told: told[1].type.value,
)
def test_any_event_implies_sent(told) -> None:
    """Whatever SES says of a message, it has accepted the message before."""
    assert derive_facts(record(told).timeline).sent


@pytest.mark.parametrize(
    ("told", "reached"),
    [
        (sent(), False),
        (delay(), False),
        (delivery(), True),
        (bounce(), False),
        (complaint(), True),
        (event(Complaint(AT, kind="not-spam")), False),
        (event(Complaint(AT, sub_type="OnAccountSuppressionList")), False),
        (unsubscribed(), True),
        (event(Subscription(AT, contact_list="news", left=())), False),
        (opened(), True),
        (opened(agent=None), True),
        (opened(agent=APPLE_MPP), False),
        (clicked(), True),
        (clicked(agent="unheard of"), True),
        (clicked(agent="curl/8.7.1"), False),
    ],
)
def test_implied_reached(told, reached: bool) -> None:
    """A complaint, an unsubscribe and an open or click not by a machine imply that it was reached,
    and so delivered; a machine's implies nothing, for gateways fetch before they refuse.
    """
    said = derive_facts(record(told).timeline)
    assert said.reached is reached
    assert (said.outcome is Outcome.DELIVERED) is reached
    assert (said.delivered_at is not None) is (told[1].type == "Delivery")


def test_implied_delivery_does_not_beat_a_bounce() -> None:
    """An open implies delivered only where no higher outcome is present; reached it was all the same."""
    said = derive_facts(record(sent(), bounce(), opened()).timeline)
    assert (said.outcome, said.reached) == (Outcome.BOUNCED, True)


def test_delivery_then_bounce() -> None:
    """A later bounce takes the delivered outcome but not that it was reached, and both times stay."""
    said = derive_facts(record(delivery(), bounce()).timeline)
    assert (said.outcome, said.reached, said.delivered_at) == (
        Outcome.BOUNCED,
        True,
        NOW - 86_400_000 + 1_300,
    )


def test_auto_reply() -> None:
    """An out-of-office answer is a fact beside a delivery and no bounce."""
    away = event(Bounce(AT, kind="Transient", sub_type="General"))
    said = derive_facts(record(sent(), delivery(), away).timeline)
    assert (said.outcome, said.auto_replied, said.decisive) == (Outcome.DELIVERED, True, None)


@pytest.mark.parametrize(
    "told",
    [
        event(Bounce(AT, kind="Transient", sub_type="General")),
        event(Complaint(AT, kind="abuse")),
        event(Complaint(AT, kind="not-spam")),
        delivery(),
    ],
    ids=["auto-reply", "complaint", "not-spam", "delivery"],
)
def test_nothing_decided_what_was_not_refused(told) -> None:
    """Only what was not delivered has an event that decided it, even before its Send has come."""
    assert derive_facts(record(told).timeline).decisive is None


def test_decisive() -> None:
    """The first of the events that give the outcome is the one that decided it."""
    first, second = bounce(after=2_000, status="5.1.1"), bounce(after=9_000, status="5.7.1")
    soft = bounce(kind="Transient", sub_type="MailboxFull", status="4.2.2", after=1_000)
    assert (
        derive_facts(record(second, soft, first).timeline).decisive
        == first[1].reports[0].occurrence
    )


def test_first_times() -> None:
    """Of repeated facts the first counts."""
    said = derive_facts(
        record(
            delay(after=900_000),
            delay(after=600_000),
            delivery(after=7_000),
            delivery(after=5_000),
            complaint(after=50_000),
            complaint(after=40_000),
            unsubscribed(after=70_000),
            unsubscribed(after=60_000),
        ).timeline
    )
    sent_at = NOW - 86_400_000
    assert (
        said.delayed_at,
        said.delivered_at,
        said.complained_at,
        said.unsubscribed_at,
    ) == (sent_at + 600_000, sent_at + 5_000, sent_at + 40_000, sent_at + 60_000)


def test_joining_a_list_is_no_unsubscribe() -> None:
    """A Subscription that leaves nothing is no unsubscribe."""
    joined = event(Subscription(AT, contact_list="news", left=()))
    assert derive_facts(record(sent(), joined).timeline).unsubscribed_at is None


def test_suppressed_complaint() -> None:
    """A complaint by which SES says that it did not send has the outcome suppressed."""
    said = derive_facts(record(event(Complaint(AT, sub_type="OnTenantSuppressionList"))).timeline)
    assert (said.outcome, said.complained_at) == (Outcome.SUPPRESSED, None)


def test_send_has_no_other_fact() -> None:
    """A message that was only sent says just that."""
    held = record(event(Send(AT)))
    assert derive_facts(held.timeline) == Facts(
        Outcome.SENT, True, False, None, None, False, None, None, None, ()
    )
