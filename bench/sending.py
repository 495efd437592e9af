"""Sending with SES's time taken out: messages rendered, tagged, checked and recorded a second."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

from bench.figures import Figure, median_seconds
from sesight.app import App
from sesight.domain.sending import Campaign, Addressee, TemplateMail
from sesight.settings import (
    CountingSettings,
    SendingSettings,
    Settings,
    StoreSettings,
)
from sesight.send.secrets import SesSecrets

WORKERS = (1, 8, 32)
EACH = 150
"""Messages for each worker of a run."""

EXAMPLES = Path(__file__).parent.parent / "src" / "sesight" / "send" / "examples"
CAMPAIGN = Campaign(id="bench", name="A bench")


class Instant:
    """A client of SES that answers at once, as SES would."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def send_email(self, **asked: Any) -> dict[str, str]:
        now = time_ns() // 1_000_000
        number = next(self._numbers)
        return {"MessageId": f"0102{now:012x}-{number:08x}-6a7b-4c8d-9e0f-1a2b3c4d0001-000000"}

    def get_account(self) -> dict[str, Any]:
        return {"SendQuota": {"Max24HourSend": -1.0, "MaxSendRate": 1e6, "SentLast24Hours": 0.0}}


def figures(folder: Path) -> list[Figure]:
    """Return messages a second for several numbers of workers, beside bare durable commits."""
    commits = _commits(folder)
    found = [Figure("floor: durable commits of 100 bytes", commits, "commits/s")]
    rendering = _rendering(folder)
    found.append(Figure("floor: an example template rendered, one thread", rendering, "messages/s"))
    for workers in WORKERS:
        rate = _rate(folder, workers)
        name = f"send, SES's time taken out, {workers} worker{'s' if workers > 1 else ''}"
        found.append(Figure(name, rate, "messages/s", rendering, "rendering alone"))
    return found


def _opened(folder: Path, workers: int) -> App:
    path = folder / "sending.db"
    for each in folder.glob("sending.db*"):
        each.unlink()
    sender = SesSecrets(
        stream="outreach",
        from_address="news@example.com",
        public_url="https://mail.example.com",
        postal_address="Example Ltd, 1 Example Street",
        unsubscribe_keys={"k1": "11" * 32},
    )
    return App(
        Settings(
            region="eu-west-1",
            store=StoreSettings(url=f"sqlite:///{path}"),
            counting=CountingSettings(),
            sending=SendingSettings(senders=[sender], templates=str(EXAMPLES), workers=workers),
        )
    )


def _mail(people: int) -> TemplateMail:
    named = [
        Addressee(f"p{n}@example.org", f"Person {n}", SAMPLE | {"first_name": f"P{n}"})
        for n in range(people)
    ]
    return TemplateMail("spring-launch", CAMPAIGN, named)
