"""What every store must do with rollup rows."""

import random

from msgspec.structs import replace

from sesight.domain.ports import Changes, Store, View
from sesight.domain.rollup import RollupKey, RollupRow, Rollups, add_suppressed
from sesight.domain.suppression.item import Cause, Suppression
from sesight.domain.tally import COUNTERS
from tests.store.contract import Count, changes, totals_of


class RollupRows:
    """Totals are the sum of tallies, kept for ever."""

    def test_sums(self, store: Store, count: Count) -> None:
        """Rows are the sum of their increments, found by family, scope, bucket and dimension."""
        rng = random.Random(3)
        keys = [
            RollupKey(*key)
            for key in [
                ("day", "outreach", "", 10, "", ""),
                ("day", "outreach", "c", 10, "", ""),
                ("day", "outreach", "c", 11, "", ""),
                ("day", "outreach", "c", 10, "mailbox", "gmail"),
                ("day", "outreach", "c", 10, "tag:x", ""),
                ("day", "finance", "c", 10, "", ""),
                ("age", "outreach", "c", 72, "", ""),
                ("link", "outreach", "c", 0, "link", "https://example.org/ä"),
                ("month", "finance", "", 24_300, "", ""),
                ("month", "finance", "", 24_300, "attempt", "first"),
                ("hour", "outreach", "", 240, "", ""),
                ("suppressed", "outreach", "", 10, "reason", "complaint"),
            ]
        ]
        sums = {key: [0] * len(COUNTERS) for key in keys}
        for _ in range(20):
            rollups = {
                key: [rng.choice([0, 0, 1, 5, -1]) for _ in COUNTERS] for key in rng.sample(keys, 5)
            }
            count(store, rollups)
            for key, more in rollups.items():
                sums[key] = [one + other for one, other in zip(sums[key], more, strict=True)]
        store.repair({keys[0]: [1] * len(COUNTERS)})
        sums[keys[0]] = [one + 1 for one in sums[keys[0]]]
        store.settle()

        def read(*args: object, **kwargs: object) -> dict[RollupKey, list[int]]:
            rows: list[RollupRow] = store.rollups(*args, **kwargs)
            return {row.key: list(row.counts) for row in rows}

        found = {}
        for family, stream, campaign in {key[:3] for key in keys}:
            found |= read(family, stream, campaign)
        assert found == sums
        some = lambda *at: {keys[n]: sums[keys[n]] for n in at}  # noqa: E731
        assert read("day", "outreach", "c", dimension="") == some(1, 2)
        assert read("day", "outreach", "c", dimension="mailbox") == some(3)
        assert read("day", "outreach", "c", since=11) == some(2)
        assert read("day", "outreach", "c", until=11, dimension="") == some(1)
        assert (read("day", "nowhere"), read("day", "outreach", "d")) == ({}, {})

    def test_nothing_left(self, store: Store, count: Count) -> None:
        """A row whose counts have all returned to 0 is never shown: whether it exists depends on
        how changes were cut into batches.
        """
        n = len(COUNTERS)
        keys = [
            RollupKey("day", "outreach", "c", 9, "", ""),
            RollupKey("day", "outreach", "c", 9, "tag:x", "v"),
            RollupKey("day", "outreach", "c", 9, "reason", "policy"),
            RollupKey("month", "finance", "", 24_300, "", ""),
            RollupKey("link", "outreach", "c", 0, "link", "https://example.org/a"),
        ]
        count(store, {key: [4] * n for key in keys})
        count(store, {key: [-4] * n for key in keys})
        store.settle()
        found = [row for key in keys for row in store.rollups(*key[:3])]
        found += store.rollups("day", "outreach", "c", since=9, until=10, dimension="")
        assert (found, store.campaign_totals("outreach", "c")) == ([], [])

    def test_nobody_left(self, store: Store) -> None:
        """When an address is suppressed and the suppression lifted, in one batch or two, no row
        shows it.
        """
        cause = Cause(5, "c1", "manual", 4)
        item = Suppression("outreach", "jo@example.org", (cause,), counted=(3, "manual"))
        for after in (item, replace(item, counted=None)):

            def suppress(view: View, after: Suppression = after) -> Changes:
                key = ("outreach", "jo@example.org")
                rollups: Rollups = {}
                add_suppressed(rollups, view.suppressions([key]).get(key), after)
                return changes(suppressions={key: after}, rollups=rollups)

            store.transact(suppress)
        store.settle()
        assert store.rollups("suppressed", "outreach") == []

    def test_campaign_totals(self, store: Store, count: Count) -> None:
        """A campaign's totals are its day rows summed over the days, by dimension and value, with
        values beyond the bound as `~other`; other families, campaigns and the stream's rows do not
        count.
        """
        rng, n = random.Random(5), len(COUNTERS)
        places = [("", ""), ("mailbox", "gmail"), ("mailbox", "other"), ("reason", "policy")]
        places += [("tag:x", f"v{number:04d}") for number in range(1_003)]
        sums: Rollups = {}
        for some in (places, *(places[:4] + places[-5:] for _ in range(5))):
            rollups: Rollups = {
                RollupKey("day", "outreach", "c", bucket, *place): [
                    rng.choice([0, 1, 5, -1]) for _ in COUNTERS
                ]
                for place in some
                for bucket in rng.sample(range(-2, 90), 1 if some is places else 3)
            }
            others: Rollups = {
                RollupKey("day", "outreach", "", 1, "", ""): [7] * n,
                RollupKey("day", "outreach", "d", 1, "", ""): [7] * n,
                RollupKey("day", "finance", "c", 1, "", ""): [7] * n,
                RollupKey("age", "outreach", "c", 1, "", ""): [7] * n,
                RollupKey("link", "outreach", "c", 0, "link", "https://x.example"): [7] * n,
            }
            for key, more in store.bounded(rollups).items():
                total = key._replace(bucket=0)
                held = sums.get(total, [0] * n)
                sums[total] = [one + other for one, other in zip(held, more, strict=True)]
            count(store, rollups | others)
        store.settle()
        assert totals_of(store, "outreach", "c") == sums
        assert RollupKey("day", "outreach", "c", 0, "tag:x", "~other") in sums
        assert [row.key for row in store.campaign_totals("outreach", "c")] == sorted(sums)
        assert totals_of(store, "outreach", "e") == totals_of(store, "nowhere", "c") == {}

    def test_campaign_totals_are_repaired(self, store: Store, count: Count) -> None:
        """A repair adds to days and to their totals; a repair by nothing makes no row."""
        n = len(COUNTERS)
        whole, mailbox = (
            RollupKey("day", "outreach", "c", 9, *of) for of in (("", ""), ("mailbox", "gmail"))
        )
        count(store, {whole: [4] * n, mailbox: [3] * n})
        nothing = RollupKey("day", "outreach", "d", 0, "", "")
        store.repair({mailbox: [2] * n, nothing: [0] * n})
        store.settle()
        assert totals_of(store, "outreach", "c") == {
            whole._replace(bucket=0): [4] * n,
            mailbox._replace(bucket=0): [5] * n,
        }
        assert (store.rollups("day", "outreach", "d"), totals_of(store, "outreach", "d")) == (
            [],
            {},
        )

    def test_bounded_values(self, store: Store, count: Count) -> None:
        """A scope has rows for 1,000 values of an open dimension. Later values share `~other` for
        ever, and a value that has a row keeps it.
        """
        bound, n = 1_000, len(COUNTERS)

        def link(number: int) -> RollupKey:
            return RollupKey("link", "outreach", "c", 0, "link", f"https://x.example/{number:04d}")

        count(store, {link(number): [1] * n for number in range(bound + 5)})
        count(store, {link(bound - 1): [2] * n, link(bound + 3): [-1] * n})
        other = link(0)._replace(value="~other")
        expected = {link(number): [1] * n for number in range(bound)}
        expected |= {link(bound - 1): [3] * n, other: [4] * n}
        rows = store.rollups("link", "outreach", "c")
        assert {row.key: list(row.counts) for row in rows} == expected
        later = {link(bound + 7): [1] * n, link(7): [1] * n}
        assert store.bounded(later) == {other: [1] * n, link(7): [1] * n}
        mailboxes = {
            RollupKey("day", "outreach", "", 1, "reason", f"r{m}"): [1] * n for m in range(3)
        }
        assert store.bounded(mailboxes) == mailboxes
