"""`make bench`: every figure of the issues beside its floor. BENCH_EVENTS and BENCH_ONLY narrow it."""

from __future__ import annotations

import os
from pathlib import Path

from bench import dynamodb, floors, functions, http, inputs, reads, replays, sending
from bench.figures import Figure, Report

FOLDER = Path(os.environ.get("BENCH_FOLDER", ".bench")).absolute()
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "370000"))
ONLY = os.environ.get("BENCH_ONLY", "replay,http,reads,dynamodb,sending").split(",")
SIGNED = int(os.environ.get("BENCH_SIGNED", "80000"))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    report = Report()
    events = inputs.events_file(FOLDER, MESSAGES)
    signed, certificate = inputs.signed_bodies(FOLDER, events, SIGNED)
    found = floors.measure(inputs.lines_of(signed, 10_000), certificate, FOLDER)
    report.add(
        Figure("floor: JSON scan, event alone", found.scan_event, "events/s"),
        Figure("floor: JSON scan, both layers", found.scan_both, "events/s"),
        Figure("floor: insert of whole envelopes", found.insert_envelope, "events/s"),
        Figure("floor: insert of 100 bytes", found.insert_100, "events/s"),
        Figure("floor: RSA verify, one thread", found.verify, "events/s"),
    )
    if "replay" in ONLY:
        _replays(report, events, found)
    if "http" in ONLY:
        _http(report, signed, certificate, found)
    if "reads" in ONLY:
        _reads(report)
    if "dynamodb" in ONLY:
        report.add(*dynamodb.figures(), *functions.figures())
    if "sending" in ONLY:
        report.add(*sending.figures(FOLDER))
    report.show()
    report.write(FOLDER / "figures.json")


def _replays(report: Report, events: Path, found: floors.Floors) -> None:
    store = FOLDER / "replay.db"
    for name, path, target in (
        ("in order", events, 35_000),
        ("shuffled", inputs.shuffled_file(events), 20_000),
    ):
        done = replays.replay(path, store)
        wrong = replays.check_truth(events, store)
        report.add(
            Figure(
                f"replay {name}", done["eventsPerSecond"], "events/s", found.scan_both, "JSON scan",
                target, note=f"{done['read']:,} events; {wrong} totals differ from the truth",
            ),
            Figure(f"replay {name}: peak memory, both processes", done["peakMb"], "MB", None, "", 300, most=True),
        )  # fmt: skip
    records = done["dispositions"]["created"]
    per_event = done["megabytes"] / done["read"] * 1e6
    per_record = done["read"] / records
    report.add(
        Figure(
            "store: size per million events at 3.2 events a record",
            per_event * per_record / 3.2, "MB", None, "", 120, most=True,
            note=f"measured {per_event:.1f} MB at {per_record:.2f} events a record",
        )
    )  # fmt: skip
    replays.remove(store)
    spent = replays.shares(inputs.lines_of(events, 200_000), store, 16_384)
    whole = sum(spent.values())
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        report.add(
            Figure(
                f"share of {name}",
                seconds / 200_000 * 1e6,
                "µs/event",
                note=f"{seconds / whole:.0%}",
            )
        )


def _http(report: Report, signed: Path, certificate: Path, found: floors.Floors) -> None:
    with http.raw_asgi() as address:
        floor = http.post(address, signed, 64, 4, 0, 5_000)
    report.add(
        Figure(
            "floor: raw ASGI, 64 connections",
            floor["rate"],
            "requests/s",
            note=f"p99 {floor['p99']:.1f} ms",
        )
    )
    with http.server(FOLDER, certificate) as address:
        http.post(address, signed, 8, 1, SIGNED - 2_000, SIGNED)
        first = 0
        for connections, seconds, share in (
            (1, 3, 4_000),
            (32, 4, 16_000),
            (64, 4, SIGNED - 22_000),
        ):
            done = http.post(address, signed, connections, seconds, first, first + share)
            first += share
            target = 5_000 if connections == 64 else None
            name = f"signed HTTP intake, {connections} connection{'s' if connections > 1 else ''}"
            report.add(
                Figure(name, done["rate"], "events/s", floor["rate"], "raw ASGI", target,
                       note=f"{done['requests']:,} posts of {share:,} events, {done['errors']} errors"),
                Figure(f"{name}: p50", done["p50"], "ms"),
                Figure(f"{name}: p99", done["p99"], "ms", None, "", 60 if connections == 64 else None, most=True),
            )  # fmt: skip
    report.add(
        Figure(
            "signed HTTP intake, of RSA verify alone",
            done["rate"],
            "events/s",
            found.verify,
            "RSA verify",
        )
    )


def _reads(report: Report) -> None:
    sizes = {}
    for messages in (100_000, 1_000_000):
        store = FOLDER / f"reads-{messages}.db"
        if not store.exists():
            replays.replay(inputs.events_file(FOLDER, messages), store, "normal")
        sizes[messages] = reads.measure(store)
    small, large = sizes[100_000], sizes[1_000_000]
    for name, target in (
        ("stats", 1), ("stats_daily", 1), ("page", 5), ("page_campaign", 5), ("page_address", 5), ("page_rare", 5),
        ("api_page", None), ("api_stats", None),
    ):  # fmt: skip
        report.add(
            Figure(
                f"{name.replace('_', ', ')} at 1 million records", getattr(large, name), "ms",
                getattr(small, name), "at 100 thousand", target, most=True,
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
