"""The rows in which a change of tallies lands."""

from typing import Any

import pytest
from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.rollup import Deltas, RollupKey, Rollups, add_suppressed
from sesight.domain.suppression.item import Suppression
from sesight.domain.tally import (
    COUNTERS,
    Tally,
    counter_values,
)
from sesight.domain.timestamps import DAY
from tests.builders import (
    COUNTING,
    NOW,
    Told,
    bounce,
    clicked,
    delivery,
    folded,
    opened,
    record,
    sent,
)

SENT_AT = NOW - DAY
SEND_DAY = SENT_AT // DAY
Said = dict[str, int]


def named(counters: Any) -> Said:
    """Return the counters that are not zero, by name."""
    return {name: n for name, n in zip(COUNTERS, counters, strict=True) if n}


def counted(*told: Told) -> Said:
    """Return what the only record of the events counts as."""
    tally = record(*told).tally
    assert tally is not None
    return named(counter_values(tally))


def deltas(*changes: tuple[Tally | None, Tally]) -> Rollups:
    """Return the rows that changes of tallies make."""
    sums = Deltas()
    for before, after in changes:
        sums.add(before, after)
    return sums.rows()


def of(*told: Told) -> Tally:
    """Return the tally of the only record of the events."""
    tally = record(*told).tally
    assert tally is not None
    return tally


def rows(*told: Told) -> dict[tuple[str, ...], Said]:
    """Return the rows of events alone in the world: (family, campaign, bucket, dimension, value)."""
    found = deltas(*[(None, each.tally) for each in folded(told).values() if each.tally])
    return {
        (key.family, key.campaign, key.bucket, key.dimension, key.value): named(row)
        for key, row in found.items()
    }


PENDING = {"recipients": 1, "pending": 1, "sent": 1, "attempted": 1}
DELIVERED = {"recipients": 1, "delivered": 1, "sent": 1, "attempted": 1, "reached": 1}
HUMAN_OPEN = {"opened": 1, "humanOpened": 1}
HUMAN_CLICK = {**HUMAN_OPEN, "clicked": 1, "humanClicked": 1}


def test_rows() -> None:
    """One message lands in every row that its place names, with the counters each keeps."""
    told = [
        delivery(
            "ana@gmail.com",
            campaign="w",
            template="news-1",
            tags={"campaign_step": "2", "other": "x"},
        ),
        clicked("ana@gmail.com", campaign="w", link="https://example.com/a"),
    ]
    whole = {**DELIVERED, **HUMAN_CLICK, "clicks": 1}
    dimension = {
        "sent": 1,
        "attempted": 1,
        "delivered": 1,
        "reached": 1,
        "humanOpened": 1,
        "humanClicked": 1,
    }
    assert rows(*told) == {
        ("day", "", SEND_DAY, "", ""): whole,
        ("day", "w", SEND_DAY, "", ""): whole,
        ("day", "", SEND_DAY, "mailbox", "gmail"): dimension,
        ("day", "w", SEND_DAY, "mailbox", "gmail"): dimension,
        ("day", "", SEND_DAY, "senderDomain", "news.example.com"): dimension,
        ("day", "", SEND_DAY, "template", "news-1"): dimension,
        ("day", "w", SEND_DAY, "tag:campaign_step", "2"): dimension,
        ("hour", "", SEND_DAY * 24 + 12, "", ""): {"recipients": 1, "sent": 1, "delivered": 1},
        ("age", "w", 0, "", ""): {"delivered": 1},
        ("age", "w", 3, "", ""): {"humanOpened": 1, "humanClicked": 1},
        ("link", "w", 0, "link", "https://example.com/a"): {"humanClicked": 1, "clicks": 1},
    }


def test_reason_row() -> None:
    """What was not delivered counts one recipient under its reason, in its campaign."""
    found = rows(bounce(campaign="w"))
    assert found["day", "w", SEND_DAY, "reason", "no-such-mailbox"] == {"recipients": 1}


def test_untagged_rows() -> None:
    """A message without campaign tags counts once in its stream and once in `~untagged`."""
    found = rows(sent(campaign=None), sent("bo@contoso.example", campaign=""))
    assert {key: said for key, said in found.items() if key[0] == "day" and not key[3]} == {
        ("day", "", SEND_DAY, "", ""): {name: 2 * n for name, n in PENDING.items()},
        ("day", "~untagged", SEND_DAY, "", ""): {name: 2 * n for name, n in PENDING.items()},
    }


def test_in_place() -> None:
    """A change that stays in its place adds only what changed."""
    before, after = of(sent()), of(sent(), delivery())
    assert named(deltas((before, after))[RollupKey("day", "outreach", "", SEND_DAY, "", "")]) == {
        "delivered": 1,
        "reached": 1,
        "pending": -1,
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([sent(campaign=None)], [sent(campaign="w"), opened(campaign="w")]),
        ([sent()], [sent(), bounce()]),
        ([bounce(kind="Transient", sub_type="MailboxFull")], [bounce()]),
        ([opened()], [sent(sent_at=SENT_AT - DAY), opened()]),
        ([clicked(link="a")], [clicked(link="a"), clicked(link="b"), clicked(agent="curl/8")]),
    ],
)
def test_moves_sum_to_zero(before: list[Told], after: list[Told]) -> None:
    """Going from one tally to another and back changes nothing, and there alone is all there is."""
    one, other = of(*before), of(*after)
    assert deltas((one, other), (other, one)) == {}
    assert deltas((None, one), (one, other)) == deltas((None, other))


def test_becoming_a_test_recipient() -> None:
    """A recipient that is now for tests is taken out of every row, and comes back whole."""
    counting = replace(COUNTING, test_recipients=frozenset({"@contoso.example"}))
    held = record(delivery(), clicked())
    assert held.tally is not None
    none = tally_of(held, counting)
    assert deltas((None, held.tally), (held.tally, none)) == {}
    assert deltas((None, none)) == deltas((none, none)) == {}
    assert deltas((none, held.tally)) == deltas((None, held.tally))


def test_one_increment_a_row() -> None:
    """Many records of one head make one increment per row."""
    many = [of(delivery(f"u{n}@contoso.example")) for n in range(9)]
    found = deltas(*[(None, tally) for tally in many])
    assert named(found[RollupKey("day", "outreach", "", SEND_DAY, "", "")]) == dict.fromkeys(
        DELIVERED, 9
    )


def test_suppressed_rows() -> None:
    """An item counts under the day it became active and its reason, and moves when these change."""
    found: Rollups = {}
    none = Suppression("outreach", "a@b.example")
    first = replace(none, counted=(20_780, "bounced"))
    second = replace(none, counted=(20_779, "complaint"))
    add_suppressed(found, None, none)
    add_suppressed(found, none, first)
    add_suppressed(found, first, second)
    assert {(key[0], key[3], key[4], key[5]): named(row) for key, row in found.items()} == {
        ("suppressed", 20_780, "reason", "bounced"): {},
        ("suppressed", 20_779, "reason", "complaint"): {"recipients": 1},
    }
