"""One blast: all the mail of one campaign within an hour, and its events as SQS hands them over.

Run as a program it takes a store's URL, how many messages and a share of them to tell, and says how many
events it told and the peak of its memory, MB.
"""

import contextlib
import io
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from sesight.lambdas.processor import Processor
from tests.builders import NOW
from tests.invocation import Context, batches, settings_of
from tests.payload import payload

CAMPAIGN = "winter-blast"
MIX = {"send": 1.0, "delivery": 0.97, "bounce": 0.02, "open": 0.6, "click": 0.1}
"""Events of each type a message, 2.69 in all."""

HOUR = 3_600_000
SENT_AT = NOW - 3 * HOUR


def events(first: int, last: int) -> Iterator[bytes]:
    """Yield the events of messages by their numbers, mixed up but for those far apart."""
    rng = random.Random(first)
    names = {"bounce": "bounce_permanent_general"}
    samples = {kind: payload(names.get(kind, kind)) for kind in MIX}
    waiting: list[bytes] = []
    for n in range(first, last):
        for kind, share in MIX.items():
            if rng.random() < share:
                waiting.append(_event(samples[kind], n))
        if len(waiting) > 4_000:
            rng.shuffle(waiting)
            yield from waiting[2_000:]
            del waiting[2_000:]
    rng.shuffle(waiting)
    yield from waiting


def _event(sample: dict, n: int) -> bytes:
    at = SENT_AT + n * 7 % HOUR
    mail = {
        **sample["mail"],
        "messageId": f"0102019f2c{n:06x}-{n % 9973:08d}-6a7b-4c8d-9e0f-1a2b3c4d000e-000000",
        "timestamp": _iso(at),
        "destination": [f"reader{n}@example.org"],
        "commonHeaders": {
            **sample["mail"].get("commonHeaders", {}),
            "to": [f"reader{n}@example.org"],
        },
        "tags": {"ses:configuration-set": ["outreach-tracking"], "campaign_id": [CAMPAIGN]},
    }
    told = {**sample, "mail": mail}
    if "delivery" in told:
        told["delivery"] = {**told["delivery"], "recipients": mail["destination"]}
    if "bounce" in told:
        held = [{**told["bounce"]["bouncedRecipients"][0], "emailAddress": mail["destination"][0]}]
        told["bounce"] = {**told["bounce"], "bouncedRecipients": held}
    return json.dumps(told).encode()


def _iso(ms: int) -> str:
    from sesight.domain.timestamps import iso

    return str(iso(ms))


def main(url: str, first: int, last: int) -> None:
    """Tell the events of some messages and say what that took."""
    processor = Processor(settings_of(url), "outreach", lambda: NOW)
    told = 0
    with contextlib.redirect_stdout(io.StringIO()):
        for batch in batches(events(first, last)):
            answer = processor.handle(batch, Context())
            assert answer == {"batchItemFailures": []}, answer
            told += len(
                batch["Records"]
            )  # not closed: a local store would follow its own feed then
    print(json.dumps({"events": told, "peak": _peak()}))


def _peak() -> float:
    """Return this process's peak of memory, MB; getrusage tells its parent's where that was higher."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1_024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
