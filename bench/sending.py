"""Sending without SES's own time: messages rendered, tagged, checked and recorded in a second."""

from __future__ import annotations

import itertools
import json
import sqlite3
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

from bench.figures import Figure, median_seconds
from sesight.app import App
from sesight.app.sending import SendingComponents
from sesight.domain.sending import CampaignDetails, SendState, TemplateMail, TemplateRecipient
from sesight.send.stream_secrets import SesSecrets
from sesight.settings import SendingSettings, Settings, StoreSettings

WORKERS = (1, 8, 32)
MESSAGES = {1: 400, 8: 1_600, 32: 3_200}
EXAMPLES = Path(__file__).parent.parent / "src" / "sesight" / "send" / "templates" / "examples"
TEMPLATE = "spring-launch"
SAMPLE: dict[str, Any] = json.loads((EXAMPLES / TEMPLATE / "sample.json").read_text())


class InstantSes:
    """An SES client that answers at once, so that only the rest is measured."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def send_email(self, **_: Any) -> dict[str, str]:
        now, number = time_ns() // 1_000_000, next(self._numbers)
        return {"MessageId": f"0102{now:012x}-{number:08x}-6a7b-4c8d-9e0f-1a2b3c4d0001-000000"}

    def get_account(self) -> dict[str, Any]:
        return {"SendQuota": {"Max24HourSend": -1.0, "MaxSendRate": 1e6, "SentLast24Hours": 0.0}}


def figures(folder: Path) -> list[Figure]:
    """Return messages a second by number of workers, next to the rendering alone."""
    commits, rendering = _commits(folder), _rendering()
    results = [
        Figure("floor: a durable commit of 100 bytes, alone", commits, "commits/s"),
        Figure("floor: an example rendered, one thread", rendering, "messages/s"),
    ]
    for workers in WORKERS:
        rate = _rate(folder, workers)
        name = f"send without SES's time, {workers} worker{'s' if workers > 1 else ''}"
        results.append(Figure(name, rate, "messages/s", rendering, "rendering alone"))
    return results


def _rate(folder: Path, workers: int) -> float:
    """Return messages a second through a sender of so many workers, from draft to result."""
    path = folder / "sending.db"
    for file in folder.glob("sending.db*"):
        file.unlink()
    sender = SesSecrets(
        stream="outreach",
        from_address="news@example.com",
        public_url="https://mail.example.com",
        postal_address="Example Ltd, 1 Example Street",
        unsubscribe_keys={"k1": "11" * 32},
    )
    sending = SendingSettings(senders=[sender], templates=str(EXAMPLES), workers=workers)
    app = App(
        Settings(region="eu-west-1", store=StoreSettings(url=f"sqlite:///{path}"), sending=sending)
    )
    recipients = [
        TemplateRecipient(f"p{n}@example.org", f"Person {n}", {**SAMPLE, "first_name": f"P{n}"})
        for n in range(MESSAGES[workers])
    ]
    try:
        app.sending = SendingComponents(app, InstantSes())
        service = app.sending.service
        mail = TemplateMail(TEMPLATE, CampaignDetails("bench", "A bench"), recipients)
        mailing = service.mail_command("outreach", mail, None)
        started = perf_counter()
        results = service.send(mailing)
        seconds = perf_counter() - started
        assert {result.state for result in results} == {SendState.SENT}
    finally:
        app.close()
    return len(recipients) / seconds


def _rendering() -> float:
    from sesight.send.templates.folder import TemplateFolder

    template = TemplateFolder(EXAMPLES).load(TEMPLATE)
    variables = {
        **SAMPLE,
        "email": "ana@example.org",
        "name": "Ana",
        "unsubscribe_url": "https://mail.example.com/api/unsubscribe/k1.0123456789",
        "postal_address": "Example Ltd, 1 Example Street",
        "campaign": "A bench",
    }
    return 1 / median_seconds(lambda: template.body(variables), 200)


def _commits(folder: Path) -> float:
    path = folder / "floor.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body BLOB)")
    try:
        return 1 / median_seconds(
            lambda: connection.execute("INSERT INTO bare (body) VALUES (?)", (b"x" * 100,)), 200
        )
    finally:
        connection.close()
        path.unlink()
