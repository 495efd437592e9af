"""What every store must do with campaign cards."""

import itertools

from sesight.domain.card import MULTIPLE_SUBJECTS, Card
from sesight.domain.event import better_name
from sesight.domain.ports import Store
from sesight.domain.rollup import RollupKey
from sesight.domain.tally import COUNTERS
from tests.store.contract import Count, put


class Cards:
    """Cards join what batches say of a campaign, in any order."""

    def test_cards(self, store: Store, count: Count) -> None:
        """Cards are joined field by field in any order; their totals are those of the day rows."""
        some = [
            Card("outreach", "c", None, "ses", "b@x", "Z", None, 5, 5, None),
            Card("outreach", "c", "Name", "legacy", "a@x", "ä", "t", 7, 7, 3),
            Card("outreach", "c", "Other", "ses", None, "Z", "s", None, 2, 9),
        ]
        one = Card("outreach", "c", "Name", "legacy", "a@x", MULTIPLE_SUBJECTS, "s", 5, 7, 9)
        finance = Card("finance", "c", "F")
        for order in itertools.permutations(some):
            for card in order:
                put(store, cards={("outreach", "c"): card})
        put(store, cards={("finance", "c"): finance})
        for bucket in (3, 4):
            key = RollupKey("day", "outreach", "c", bucket, "", "")
            dimension = RollupKey("day", "outreach", "c", bucket, "mailbox", "gmail")
            count(store, {key: list(range(len(COUNTERS))), dimension: [1] * len(COUNTERS)})
        totals = tuple(2 * n for n in range(len(COUNTERS)))
        store.settle()
        nothing = (0,) * len(COUNTERS)
        found = {card: tuple(counts) for card, counts in store.cards(["outreach", "finance"])}
        assert found == {one: totals, finance: nothing}
        assert [card for card, _ in store.cards(["finance"])] == [finance]
        assert (store.card("outreach", "c"), store.card("outreach", "d")) == (one, None)

    def test_names_of_campaigns(self, store: Store) -> None:
        """A campaign's card shows the name its owner gave it, not the form that fits in a tag, in
        any order of events.
        """
        names = [
            "Über",
            "Uber-3f2a9c10",
            "Spring-20261001",
            "Spring-deadbeef",
            "a-DEADBEEF",
            "-deadbeef",
            "x y-deadbeef",
            None,
        ]
        pairs = list(itertools.permutations(names, 2))
        for n, pair in enumerate(pairs):
            for name in pair:
                put(store, cards={("outreach", f"c{n}"): Card("outreach", f"c{n}", name)})
        shown = {card.campaign: card.name for card, _ in store.cards(["outreach"])}
        assert shown == {f"c{n}": better_name(*pair) for n, pair in enumerate(pairs)}
