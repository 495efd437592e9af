"""What every store must do with quarantined bodies."""

import random

from msgspec.structs import replace

from sesight.domain.ports import Store
from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from tests.store.contract import changes, put


class Quarantine:
    """Quarantined bodies are stored once, listed and bounded."""

    def test_quarantine(self, store: Store) -> None:
        """A body is stored once, with its latest reason and its first time; bodies are listed
        newest first and counted by reason until they are released.
        """
        first = Quarantined("1", "odd", "Again.", b"{", 5)
        second = Quarantined("2", "unrouted", "No set.", b"{}", 6, "m", None, b"\x90")
        put(store, quarantined=[Quarantined("1", "odder", "Odd.", b"{", 5, "m"), second])
        assert store.quarantine_counts() == {"odder": 1, "unrouted": 1}
        put(store, quarantined=[Quarantined("1", "odd", "Again.", b"{", 9)])
        assert store.quarantine(9) == [second, first]
        assert store.quarantine(9, "odd") == [first]
        assert store.quarantine_counts() == {"odd": 1, "unrouted": 1}
        seen = []
        store.transact(lambda view: seen.append(view.awaiting(["m", "n"])) or changes())
        put(store, released=["2"])
        store.transact(lambda view: seen.append(view.awaiting(["m", "n"])) or changes())
        assert (seen, store.quarantine(9)) == ([[second], []], [first])

    def test_large_bodies(self, store: Store) -> None:
        """A body too large for one item of a database is stored whole like any other."""
        noise = random.Random(7)
        large = Quarantined("1", "odd", "Large.", noise.randbytes(1_000_000), 5)
        waits = Quarantined("2", "unrouted", "L.", noise.randbytes(400_000), 6, "m", None, b"\x90")
        put(store, quarantined=[large, waits])
        assert store.quarantine(9) == [waits, large]
        put(store, quarantined=[replace(large, reason="odder", at=9)])
        assert store.quarantine(9, "odder") == [replace(large, reason="odder")]
        seen = []
        store.transact(lambda view: seen.append(view.awaiting(["m"])) or changes())
        assert seen == [[waits]]
        put(store, released=["1", "2"])
        assert (store.quarantine(9), store.quarantine_counts()) == ([], {})

    def test_room(self, store: Store) -> None:
        """The quarantine reports how many more bodies and bytes of a reason it accepts."""
        rooms = []
        look = lambda view: rooms.append((view.room("a"), view.room("b"))) or changes()  # noqa: E731
        store.transact(look)
        put(store, quarantined=[Quarantined(f"{n}", "a", "", b"{", n) for n in range(3)])
        put(store, quarantined=[Quarantined("big", "b", "", bytes(64 << 20), 1)])
        store.transact(look)
        whole = QUARANTINE_BODIES, QUARANTINE_BYTES
        (before, beside), (after, full) = rooms
        assert (before, beside, after[0], full[0]) == (whole, whole, whole[0] - 3, whole[0] - 1)
        assert full[1] <= 0 < after[1] < whole[1]
