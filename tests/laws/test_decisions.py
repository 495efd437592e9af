"""Law 7, and laws 2 and 4 of what people decide: order does not matter, twice is once, totals telescope."""

from random import Random

from hypothesis import given

from sesight.domain.event import Event
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope, unlifted_causes
from sesight.domain.suppression.manual import (
    AddSuppression,
    RemoveSuppression,
    RestoreSuppression,
    SuppressionCommand,
)
from sesight.domain.suppression.policy import active_suppression
from sesight.domain.timestamps import DAY
from tests.builders import COUNTING, NOW, POLICY
from tests.laws.happenings import again, histories, seeds
from tests.laws.ledger import Ledger, told_one_by_one

KEYS = ("ana@gmail.com", "bo@yahoo.com", "@gmail.com", "new@contoso.example")
REASONS = (
    SuppressionReason.MANUAL,
    SuppressionReason.IMPORT,
    SuppressionReason.COMPLAINT,
    SuppressionReason.BOUNCED,
    SuppressionReason.BLOCKED,
)


def decisions_on(told: list[Event], random: Random) -> list[SuppressionCommand]:
    """Return decisions on the addresses of a history: additions, removals of some of the causes there
    will be, and restorations.
    """
    decisions: list[SuppressionCommand] = [
        AddSuppression(
            change=f"add-{n}",
            at=NOW - random.choice((0, 1, DAY, 30 * DAY)),
            address=random.choice(KEYS),
            reason=(reason := random.choice(REASONS)),
            scope=random.choice(list(SuppressionScope)),
            stream=random.choice(list(COUNTING.streams)),
            until=NOW + DAY if reason is SuppressionReason.BLOCKED else None,
            note=random.choice((None, "by phone")),
        )
        for n in range(random.randrange(4))
    ]
    known = told_one_by_one(told)
    known.decide(*decisions)
    for n in range(random.randrange(4)):
        for (stream, address), item in sorted(known.items.items()):
            if random.random() < 0.5:
                ids = [held.id for held in item.causes]
                lifts = random.sample(ids, random.randrange(len(ids) + 1))
                at = NOW - random.choice((0, 1, 3 * DAY))
                more = {"change": f"lift-{n}", "at": at, "address": address, "stream": stream}
                decisions.append(RemoveSuppression(**more, lifts=tuple(lifts), note="asked"))
                if random.random() < 0.4:
                    back = {"address": address, "stream": stream, "at": NOW}
                    decisions.append(RestoreSuppression(restores=f"lift-{n}", **back))
    return decisions


@given(histories(), seeds)
def test_order_repetition_and_batches(told: list[Event], seed: int) -> None:
    """Events and decisions in any order, repeated and in any batches, give the same items and totals,
    and after each the counts of suppressed addresses are what the items say.
    """
    random = Random(seed)
    decisions = decisions_on(told, random)
    expected = told_one_by_one(told)
    expected.decide(*decisions)
    ledger = Ledger()
    steps = [(ledger.take, (batch,)) for batch in again(told, seed)]
    repeated = decisions + random.choices(decisions, k=len(decisions) and random.randrange(4))
    random.shuffle(repeated)
    while repeated:
        size = random.choice((1, 3))
        steps.insert(random.randrange(len(steps) + 1), (ledger.decide, tuple(repeated[:size])))
        repeated = repeated[size:]
    for act, given_to_it in steps:
        act(*given_to_it)
        assert ledger.rows == ledger.recount
    assert ledger.state == expected.state


@given(histories(), seeds)
def test_a_replay_undoes_no_removal(told: list[Event], seed: int) -> None:
    """Everything that stood against everybody is removed: the whole history told again, in any order,
    suppresses nobody.
    """
    ledger = told_one_by_one(told)
    ledger.decide(
        *[
            RemoveSuppression(
                change="all",
                at=NOW,
                address=item.address,
                stream=item.stream,
                lifts=tuple(held.id for held in unlifted_causes(item)),
            )
            for item in ledger.items.values()
        ]
    )
    before = ledger.state
    for batch in again(told, seed):
        ledger.take(batch)
    assert ledger.state == before
    assert all(active_suppression(item, NOW, POLICY) is None for item in ledger.items.values())
    assert all(item.counted is None for item in ledger.items.values())
