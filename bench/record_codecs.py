"""What the two record codecs cost: bytes a record, and microseconds to encode and decode one.

Run it with `python -m bench.record_codecs`; decision 33 has the result.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.ports import RecordKey
from sesight.domain.record import Record, fold
from sesight.store.dynamodb.record_codec import RecordBody, read_record, record_body, record_key
from sesight.store.sqlite.connection import open_writer
from sesight.store.sqlite.interning import Interning
from sesight.store.sqlite.message_id import pack
from sesight.store.sqlite.record_codec import decode, encode
from tests.store.capacity import WAVES, waves
from tests.store.contract import COUNTING

MESSAGES = 20_000

_encode_plain = msgspec.msgpack.Encoder().encode
_decode_plain = msgspec.msgpack.Decoder(RecordBody).decode


def records(messages: int) -> tuple[list[Record], list[Record]]:
    """Return the records of ordinary mail after their deliveries, and after all their events."""
    events = waves(random.Random(7), messages, "outreach", 0.0)
    folded: dict[RecordKey, Record] = {}
    stages = []
    for wave in WAVES:
        for event in events[wave]:
            for report in event.reports:
                key = RecordKey(event.message_id, report.recipient)
                folded[key] = fold(folded.get(key), event, report, "outreach")
        stages.append({key: replace(r, tally=tally_of(r, COUNTING)) for key, r in folded.items()})
    return list(stages[1].values()), list(stages[-1].values())


def with_stored_parts(record: Record, stored: Record) -> Record:
    """Return the record as if folded from the stored one: it keeps the objects that did not change."""
    unchanged = {occurrence: occurrence for occurrence in stored.timeline}
    return replace(
        record,
        identity=stored.identity if stored.identity == record.identity else record.identity,
        timeline=tuple([unchanged.get(one, one) for one in record.timeline]),
    )


def timed(run: Callable[[], list[object]], number: int) -> float:
    """Return the microseconds that one of `number` takes, at best of five runs."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times) / number * 1e6


def rows(connection: sqlite3.Connection, some: Sequence[Record]) -> Iterator[tuple[str, float]]:
    """Yield the figures of the SQLite codec, shared values included."""
    interning = Interning(connection)
    earlier, final = records(len(some))
    packed = {record.message_id: pack(record.message_id) for record in final}

    def encoded(these: Sequence[Record]) -> list[bytes]:
        return [
            encode(r, packed[r.message_id][1], interning.value_ids(r.identity.sent_at))[0]
            for r in these
        ]

    def decoded(bodies: Sequence[bytes], these: Sequence[Record]) -> list:
        return [
            decode(
                packed[r.message_id][0],
                body,
                r.identity.sent_at,
                "outreach",
                interning.values,
                (r.message_id, packed[r.message_id][1]),
            )
            for body, r in zip(bodies, these, strict=True)
        ]

    bodies = encoded(final)
    shared, number = connection.execute(
        "SELECT sum(length(value)) + 20 * count(*), count(*) FROM string"
    ).fetchone()
    before = decoded(encoded(earlier), earlier)
    by_id = {stored.record.message_id: stored for stored in before}
    changed = [with_stored_parts(r, by_id[r.message_id].record) for r in final]

    def again() -> list:
        return [
            encode(
                r,
                packed[r.message_id][1],
                interning.value_ids(r.identity.sent_at),
                by_id[r.message_id],
            )
            for r in changed
        ]

    yield "bytes a record", sum(map(len, bodies)) / len(final)
    yield f"bytes a record of {number:,} shared values", shared / len(final)
    yield "µs to encode", timed(lambda: encoded(final), len(final))
    yield "µs to encode after a change", timed(again, len(final))
    yield "µs to decode", timed(lambda: decoded(bodies, final), len(final))


def main() -> None:
    """Print all figures."""
    _, final = records(MESSAGES)
    with TemporaryDirectory() as folder:
        connection = open_writer(Path(folder) / "codec.db", 1_000, "off")
        connection.execute("BEGIN")
        for name, figure in rows(connection, final):
            print(f"SQLite    {figure:8.2f} {name}")
        connection.close()
    items = [
        {**record_key(r.message_id, r.recipient), "body": {"B": record_body(r)}} for r in final
    ]
    size = sum(len(item["body"]["B"]) for item in items) / len(final)
    print(f"DynamoDB  {size:8.2f} bytes a record")
    encode_time = timed(lambda: [record_body(r) for r in final], len(final))
    print(f"DynamoDB  {encode_time:8.2f} µs to encode")
    decode_time = timed(lambda: [read_record(item, "outreach") for item in items], len(final))
    print(f"DynamoDB  {decode_time:8.2f} µs to decode")
    bodies = [RecordBody(r.identity, r.timeline, r.tally, r.capped, r.spelling) for r in final]
    plain = [_encode_plain(body) for body in bodies]
    print(f"msgpack   {sum(map(len, plain)) / len(final):8.2f} bytes a record")
    print(
        f"msgpack   {timed(lambda: list(map(_encode_plain, bodies)), len(final)):8.2f} µs to encode"
    )
    print(
        f"msgpack   {timed(lambda: list(map(_decode_plain, plain)), len(final)):8.2f} µs to decode"
    )


if __name__ == "__main__":
    main()
