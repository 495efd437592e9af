"""A suppression item: causes and removals joined, and what follows from them."""

from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from sesight.domain.suppression.item import (
    CAUSES_KEPT,
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    is_lifted,
    with_cause,
    with_positive_signal,
    with_removal,
)
from sesight.domain.suppression.policy import ActiveSuppression, active_suppression, with_counted
from sesight.domain.timestamps import DAY
from tests.builders import APPLE_MPP, NOW, POLICY, delivery, opened, record, sent

ANA = "ana@contoso.example"


def a_cause(
    reason: SuppressionReason = SuppressionReason.BOUNCED,
    at: int = NOW,
    message: str = "m-1",
    **more: Any,
) -> Cause:
    """Return a cause of a message sent a second before it."""
    more.setdefault("sent_at", at - 1_000)
    return Cause(at, f"{reason}:{message}:{at}", reason, message_id=message, **more)


def item(
    *held: Cause, removals: tuple[Removal, ...] = (), positive_at: int | None = None
) -> Suppression:
    """Return Ana's item in outreach with such causes."""
    found = None
    for cause in held:
        found = with_cause(found, "outreach", ANA, cause)
    found = found or Suppression("outreach", ANA)
    for removal in removals:
        found = with_removal(found, removal)
    return replace(found, positive_at=positive_at)


def reason_now(of: Suppression, now: int = NOW) -> str | None:
    """Return the reason an item blocks for."""
    found = active_suppression(of, now, POLICY)
    return found.cause.reason if found else None


def test_causes_are_joined() -> None:
    """An item holds its causes by time, each once, in whatever order they came."""
    held = [a_cause(at=NOW + 2), a_cause(at=NOW), a_cause(SuppressionReason.COMPLAINT, NOW + 1)]
    for order in permutations([*held, held[0]]):
        assert item(*order) == Suppression("outreach", ANA, (held[1], held[2], held[0]))


def test_known_cause() -> None:
    """A cause that is known gives back the same item."""
    known = item(a_cause())
    assert with_cause(known, "outreach", ANA, a_cause()) is known


def test_two_reports_of_one_cause() -> None:
    """Two reports of one cause are joined field by field, whichever came first: a feedback
    notification knows no campaign and cuts the send time to seconds.
    """
    event = a_cause(sent_at=412, campaign="winter", detail="b", scope="all")
    feedback = a_cause(sent_at=0, detail="a", scope="stream")
    joined = a_cause(sent_at=0, campaign="winter", detail="a", scope="all")
    assert item(event, feedback) == item(feedback, event) == item(joined)


def test_causes_are_bounded() -> None:
    """The latest 32 causes of each reason are kept, in any order, and no reason pushes out another."""
    first = a_cause(SuppressionReason.COMPLAINT, NOW)
    later = [a_cause(SuppressionReason.BLOCKED, NOW + n, until=NOW + n + DAY) for n in range(1, 41)]
    expected = (first, *later[-CAUSES_KEPT:])
    assert item(first, *later).causes == expected
    assert item(*reversed(later), first).causes == expected
    assert item(*later, first, *later).causes == expected
    assert reason_now(item(first, *later), NOW + 99 * DAY) == "complaint"


def test_priorities() -> None:
    """Of several causes the one shown is the first in the list of reasons, then the earliest."""
    held = [
        a_cause(reason, NOW - n)
        for n, reason in enumerate(SuppressionReason)
        if reason != "soft-bounces"
    ]
    while held:
        assert active_suppression(item(*held), NOW, POLICY) == ActiveSuppression(
            held[0], held[-1].at, None
        )
        held = held[1:]
    assert list(SuppressionReason) == [
        "complaint",
        "complaint-candidate",
        "unsubscribed",
        "bounced",
        "account-list",
        "validation",
        "manual",
        "import",
        "soft-bounces",
        "blocked",
    ]


def test_nothing_blocks() -> None:
    """An item without causes blocks nobody."""
    assert active_suppression(item(), NOW, POLICY) is None


def test_blocked_ends() -> None:
    """A block ends, at the latest of its ends, and a lasting cause makes it last."""
    one = a_cause(SuppressionReason.BLOCKED, NOW, until=NOW + DAY)
    two = a_cause(SuppressionReason.BLOCKED, NOW + 5, until=NOW + 2 * DAY)
    assert active_suppression(item(one, two), NOW, POLICY) == ActiveSuppression(
        one, NOW, NOW + 2 * DAY
    )
    assert active_suppression(item(one, two), NOW + DAY, POLICY) == ActiveSuppression(
        two, NOW + 5, NOW + 2 * DAY
    )
    assert active_suppression(item(one, two), NOW + 2 * DAY, POLICY) is None
    manual = a_cause(SuppressionReason.MANUAL, NOW + 9)
    assert active_suppression(item(one, two, manual), NOW, POLICY) == ActiveSuppression(
        manual, NOW, None
    )


LATER = NOW + DAY


@pytest.mark.parametrize(
    ("cause", "lifts", "lifted"),
    [
        (a_cause(), True, True),
        (a_cause(), False, True),
        (a_cause(sent_at=LATER - 1), False, True),
        (a_cause(sent_at=LATER), False, False),
        (a_cause(sent_at=LATER + 1), False, False),
        (a_cause(sent_at=LATER + 1), True, True),
        (a_cause(at=LATER + 9, sent_at=LATER - 1), False, True),
        *[
            (a_cause(reason), False, True)
            for reason in (
                SuppressionReason.ACCOUNT_LIST,
                SuppressionReason.VALIDATION,
                SuppressionReason.BLOCKED,
            )
        ],
        *[
            (a_cause(reason), named, named)
            for named in (True, False)
            for reason in (
                SuppressionReason.COMPLAINT,
                SuppressionReason.COMPLAINT_CANDIDATE,
                SuppressionReason.UNSUBSCRIBED,
                SuppressionReason.MANUAL,
                SuppressionReason.IMPORT,
            )
        ],
    ],
)
def test_removals(cause: Cause, lifts: bool, lifted: bool) -> None:
    """A named cause never returns; an unnamed bounce does if its message was sent at the time of the
    removal or after, for at equal times suppression wins; any other unnamed cause always does.
    """
    removal = Removal(LATER, "r-1", (cause.id,) if lifts else ())
    assert is_lifted(cause, (removal,)) is lifted
    assert (reason_now(item(cause, removals=(removal,))) is None) is lifted


def test_a_replayed_cause_never_undoes_a_removal() -> None:
    """The same cause told again after its removal leaves the item as it was."""
    cause = a_cause(SuppressionReason.COMPLAINT)
    removed = item(cause, removals=(Removal(LATER, "r-1", (cause.id,)),))
    assert with_cause(removed, "outreach", ANA, cause) is removed


def test_a_removal_may_come_first() -> None:
    """A removal holds against a cause that it names though it comes before it."""
    cause = a_cause(SuppressionReason.COMPLAINT)
    removed = with_removal(item(), Removal(LATER, "r-1", (cause.id,)))
    assert reason_now(with_cause(removed, "outreach", ANA, cause)) is None


def test_history() -> None:
    """Removals are kept by time, each once."""
    one, two = Removal(NOW, "r-1", note="asked to"), Removal(NOW + 1, "r-2")
    assert item(removals=(two, one, two)).removals == (one, two)
    assert with_removal(item(removals=(one,)), one).removals == (one,)


def soft(day: int, message: str | None = None, hour: int = 0) -> Cause:
    """Return a soft bounce so many days after NOW."""
    at = NOW + day * DAY + hour * 3_600_000
    return a_cause(SuppressionReason.SOFT_BOUNCES, at, message or f"m-{day}-{hour}")


AFTER = NOW + 31 * DAY


@pytest.mark.parametrize(
    ("held", "last"),
    [
        ([soft(0), soft(3), soft(7)], soft(7)),
        ([soft(0), soft(3), soft(30)], soft(30)),
        ([soft(0), soft(3), soft(7), soft(9)], soft(9)),
        ([soft(0), soft(3), soft(7), soft(50)], soft(7)),
        ([soft(0), soft(7)], None),
        ([soft(0), soft(3), soft(6, hour=11)], None),
        ([soft(0), soft(7), soft(7, hour=1)], None),
        ([soft(0, "m"), soft(3, "m"), soft(7, "m")], None),
        ([soft(0, "m"), soft(3, "n"), soft(7, "m")], None),
        ([soft(0), soft(3), soft(31)], None),
        ([soft(0), soft(20), soft(40), soft(60)], None),
        ([soft(0), soft(20), soft(29), soft(60)], soft(29)),
    ],
    ids=str,
)
def test_soft_bounces(held: list[Cause], last: Cause | None) -> None:
    """Three messages on three days, spanning seven days within thirty, suppress for ninety days."""
    until = None if last is None else last.at + 90 * DAY
    expected = (
        None if last is None else ActiveSuppression(replace(last, until=until), last.at, until)
    )
    assert active_suppression(item(*held), AFTER, POLICY) == expected
    assert active_suppression(item(*reversed(held)), AFTER, POLICY) == expected


def test_soft_bounces_end() -> None:
    """Ninety days after the last soft bounce the address is free again."""
    held = item(soft(0), soft(3), soft(7))
    assert reason_now(held, NOW + 97 * DAY - 1) == "soft-bounces"
    assert reason_now(held, NOW + 97 * DAY) is None


@pytest.mark.parametrize(
    ("good", "reason"), [(-1, "soft-bounces"), (0, None), (3, None), (7, None), (8, None)]
)
def test_something_good_since(good: int, reason: str | None) -> None:
    """Only soft bounces after the latest delivery or human engagement count."""
    held = item(soft(0), soft(3), soft(7), positive_at=NOW + good * DAY)
    assert reason_now(held, AFTER) == reason


def test_lifted_soft_bounces() -> None:
    """Soft bounces of messages sent before a removal count no more."""
    held = item(soft(0), soft(3), soft(7), removals=(Removal(NOW + DAY, "r-1"),))
    assert reason_now(held, AFTER) is None


def never(_: int) -> bool:
    """Say that no record has expired."""
    return False


def test_good_signs() -> None:
    """Good signs are deliveries and what people did; machines and sends are none."""
    none = item(soft(0))
    sent_at = NOW - DAY
    for told, positive_at in (
        ([sent()], None),
        ([opened(agent=APPLE_MPP)], None),
        ([opened(agent=None)], None),
        ([delivery(after=1_300)], sent_at + 1_300),
        ([delivery(), opened(after=99_000)], sent_at + 99_000),
        ([delivery(after=99_000), opened(after=70_000)], sent_at + 99_000),
    ):
        known = None if positive_at is None else sent_at
        good = replace(none, positive_at=positive_at, positive_sent_at=known)
        assert with_positive_signal(none, [record(*told)], never) == good


def test_good_sign_taken_back() -> None:
    """An open that its Delivery shows to be too soon is no good sign any more."""
    early = record(opened(after=5_000))
    both = record(opened(after=5_000), delivery(after=1_000))
    first = with_positive_signal(item(soft(0)), [early], never)
    assert first.positive_at == NOW - DAY + 5_000
    assert with_positive_signal(first, [both], never).positive_at == NOW - DAY + 1_000
    assert with_positive_signal(first, [], never).positive_at is None


def test_good_sign_of_an_expired_record() -> None:
    """A good sign of a record that may have expired stays until a later one comes."""
    expired = replace(item(soft(0)), positive_at=NOW - DAY, positive_sent_at=NOW - 80 * DAY)
    unknown = replace(expired, positive_sent_at=None)
    for held in (expired, unknown):
        assert with_positive_signal(held, [], NOW.__gt__).positive_at == NOW - DAY
        assert (
            with_positive_signal(held, [record(delivery())], NOW.__gt__).positive_at
            == NOW - DAY + 1_300
        )
        early = record(delivery(sent_at=NOW - 3 * DAY))
        assert with_positive_signal(held, [early], NOW.__gt__).positive_at == NOW - DAY


def test_counted() -> None:
    """An item counts under the day it began and its reason, and not while it does not block."""
    cause = a_cause(SuppressionReason.BLOCKED, NOW, until=NOW + DAY)
    held = with_counted(item(cause), NOW, POLICY)
    assert held.counted == (NOW // DAY, "blocked")
    assert with_counted(held, NOW, POLICY) is held
    assert with_counted(held, NOW + DAY, POLICY).counted is None
