"""What every store must do with suppressions."""

from sesight.domain.ports import Changes, Store, View
from sesight.domain.suppression.item import Cause, Removal, Suppression
from tests.store.contract import NOW, an_item, changes, put


class Suppressions:
    """Suppressions are stored, listed and found when due."""

    def test_suppressions(self, store: Store) -> None:
        """An item is stored as it is, by stream and address, and replaced by a later one."""
        cause = Cause(5, "c1", "complaint", 4, "marketing", "m", "camp", "outreach", "abuse")
        item = Suppression("outreach", "jo@example.org", (cause,), spelling="Jo@example.org")
        later = Suppression(
            "outreach",
            "jo@example.org",
            (cause, Cause(6, "c2", "manual", 6)),
            (Removal(9, "r1", ("c1",), "asked"),),
            7,
            None,
            (3, "manual"),
        )
        seen = []
        key = ("outreach", "jo@example.org")

        def look(view: View) -> Changes:
            seen.append(view.suppressions([key, ("finance", key[1]), ("outreach", "x@y")]))
            return changes(suppressions={key: later})

        put(store, suppressions={key: item})
        store.transact(look)
        assert (seen, store.suppression(*key)) == ([{key: item}], later)
        assert store.suppression("finance", key[1]) is None

    def test_due(self, store: Store) -> None:
        """Exactly the counted items whose time to block is over are due."""

        def item(name: str, until: int | None, counted: tuple[int, str] | None) -> Suppression:
            cause = Cause(5, name, "blocked", 4, until=until)
            return Suppression("outreach", name, (cause,), counted=counted)

        items = [
            item("over", NOW - 5, (0, "blocked")),
            item("soon", NOW + 5, (0, "blocked")),
            item("later", NOW + 9, (0, "blocked")),
            item("for-good", None, (0, "blocked")),
            item("uncounted", NOW - 5, None),
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        assert [one.address for one in store.suppressions_due(NOW, 9)] == ["over"]
        assert [one.address for one in store.suppressions_due(NOW + 5, 9)] == ["over", "soon"]
        assert len(store.suppressions_due(NOW + 9, 2)) == 2

    def test_counted(self, store: Store) -> None:
        """Every counted item of a stream is returned once, however many there are."""
        cause = Cause(5, "c", "complaint", 4)
        items = [
            Suppression(
                stream, f"{n}@x.example", (cause,), counted=(n % 3, "complaint") if n else None
            )
            for stream, many in (("outreach", 1_101), ("finance", 3))
            for n in range(many)
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        for stream, many in (("outreach", 1_100), ("finance", 2), ("nowhere", 0)):
            found = list(store.suppressions_counted(stream))
            assert len(found) == many
            assert {one.address: one for one in found} == {
                one.address: one for one in items if one.stream == stream and one.counted
            }

    def test_of_addresses(self, store: Store) -> None:
        """For many addresses, a store returns the items of each address and of its whole domain, in
        one stream, and nothing else.
        """
        items = [
            an_item("outreach", "jo@example.org"),
            an_item("outreach", "@example.com"),
            an_item("outreach", "al@example.com"),
            an_item("outreach", "@org"),
            an_item("finance", "@example.org"),
            *[an_item("outreach", f"{n}@x.example") for n in range(250)],
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        wanted = ["jo@example.org", "bo@example.com", "bo@example.com", "@x.example", "~a@x.y"]
        wanted += [f"{n}@x.example" for n in range(0, 400, 2)]
        assert store.suppressions_of("outreach", wanted) == {
            items[0].address: items[0],
            items[1].address: items[1],
            **{item.address: item for item in items[5::2]},
        }
        assert store.suppressions_of("finance", wanted) == {"@example.org": items[4]}
        assert (
            store.suppressions_of("nowhere", wanted) == store.suppressions_of("finance", []) == {}
        )

    def test_list(self, store: Store) -> None:
        """Items are listed in the order of their addresses, by prefix, reason and whether they count,
        page by page, each once.
        """
        counted = (None, (7, "manual"), (8, "bounced"))
        items = [
            *[
                an_item("outreach", f"{name}{n:03d}@x.example", counted[n % 3])
                for name in ("al", "bo", "b")
                for n in range(60)
            ],
            an_item("outreach", "@x.example", counted[1]),
            an_item("finance", "al@x.example", counted[1]),
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})

        def listed(limit: int, stream: str = "outreach", **filters: object) -> list[Suppression]:
            found: list[Suppression] = []
            after = None
            while True:
                page = store.suppressions(stream, limit, after, **filters)
                assert len(page.items) <= limit
                found += page.items
                after = page.after
                if after is None:
                    return found

        def expected(prefix: str = "", active: bool | None = None, reason: str | None = None):
            return sorted(
                (
                    each
                    for each in items
                    if each.stream == "outreach"
                    and each.address.startswith(prefix)
                    and active in (None, each.counted is not None)
                    and (reason is None or (each.counted and each.counted[1] == reason))
                ),
                key=lambda each: each.address,
            )

        for limit in (7, 500):
            assert listed(limit) == expected()
            for prefix in ("b", "bo", "al0", "@", "@x", "c", "~"):
                assert listed(limit, prefix=prefix) == expected(prefix)
            for active in (True, False):
                assert listed(limit, active=active) == expected(active=active)
            for reason in ("manual", "bounced", "complaint"):
                assert listed(limit, reason=reason) == expected(reason=reason)
            found = listed(limit, prefix="al", reason="manual", active=True)
            assert found == expected("al", active=True, reason="manual")
        assert listed(7, "finance") == [items[-1]]
        assert listed(7, "nowhere") == []
        assert listed(1, prefix="al", active=False) == expected("al", active=False)
