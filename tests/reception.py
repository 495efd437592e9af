"""The way bytes go: read as from a transport, through the true pipeline, into a true store."""

from collections import Counter
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sesight.domain.ports import RecordKey, Store
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.policy import active_suppression
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.reader import read
from sesight.ingest.reading import Reading
from sesight.ingest.rules import Rules
from sesight.store import open_store
from tests.builders import COUNTING, NOW, POLICY

RETENTION = 90


def expires_at(day: int) -> int:
    """Return when the records of a UTC send day expire, as the default settings say."""
    return (day + RETENTION + 1) * DAY


def live_from(now: int) -> int:
    """Return the first UTC send day that is not expired, as the default settings say."""
    return now // DAY - RETENTION


RULES = Rules(counting=COUNTING, suppression=POLICY, live_from=live_from)


class Reception:
    """A store of its own and the pipeline into it; `now` may be set."""

    def __init__(self, folder: Path, rules: Rules = RULES, now: int = NOW) -> None:
        """Open a new store in the folder."""
        self.now = now
        self.rules = rules
        self.store: Store = open_store(
            f"sqlite:///{folder / 'events.db'}", clock=lambda: self.now, durability="off"
        )

    def change(self, **rules: Any) -> None:
        """Change rules of intake; those of counting by their own names."""
        counting = {
            name: rules.pop(name)
            for name in ("streams", "tags", "test_recipients")
            if name in rules
        }
        self.rules = replace(self.rules, counting=replace(self.rules.counting, **counting), **rules)

    def process(self, readings: list[Reading]) -> list[Processed]:
        """Take in readings as one batch."""
        pipeline = Pipeline(self.store, self.rules, lambda: self.now, lambda _: None)
        return pipeline.process(readings)

    def take(self, *bodies: bytes, origin: str = "file") -> list[str]:
        """Take in bodies as one batch; return the dispositions, with their reasons if any."""
        readings = [
            reading
            for each in bodies
            for reading in read(each, origin, known_sets=self.rules.known_sets)
        ]
        return [
            str(each.disposition) if each.reason is None else f"{each.disposition} {each.reason}"
            for each in self.process(readings)
        ]

    def records(self, message_id: str) -> list[Record]:
        """Return the records of a message."""
        return self.store.message(message_id, self.now)

    def record(self, message_id: str, recipient: str) -> Record:
        """Return one record."""
        return {
            RecordKey(each.message_id, each.recipient): each for each in self.records(message_id)
        }[RecordKey(message_id, recipient)]

    def totals(self, stream: str = "outreach", campaign: str = "") -> dict[str, int]:
        """Return the counters that are not zero of a stream or campaign, over all days."""
        self.store.settle()
        found: Counter[str] = Counter()
        for row in self.store.rollups("day", stream, campaign, dimension=""):
            found.update(dict(zip(COUNTERS, row.counts, strict=True)))
        return {name: n for name, n in found.items() if n}

    def suppressed(self, address: str, stream: str = "outreach") -> str | None:
        """Return the reason for which an address is suppressed in a stream."""
        item = self.item(address, stream)
        found = (
            active_suppression(item, self.now, self.rules.suppression) if item is not None else None
        )
        return found.cause.reason if found is not None else None

    def item(self, address: str, stream: str = "outreach") -> Suppression | None:
        """Return the suppression item of an address."""
        return self.store.suppression(stream, address)

    def quarantine(self) -> list[tuple[str, bytes]]:
        """Return reasons and bodies of the quarantine, in order."""
        return sorted((each.reason, each.body) for each in self.store.quarantine(1_000))
