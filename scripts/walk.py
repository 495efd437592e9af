"""The walk of docs/ses-analytics-pipeline.md: one real notification through the product's own code.

The notification takes the path of the server: `parse` and `verify`, then `Committer.commit`, which calls
`Pipeline.process`, then `Metrics.count`. `WatchedBatch` records the state between the pipeline's steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from sesight.app import App
from sesight.domain.errors import Untrusted
from sesight.domain.outcome import Outcome, derive_facts
from sesight.domain.ports import Changes, RecordKey
from sesight.domain.suppression.policy import active_suppression
from sesight.domain.tally import COUNTERS, FACTS
from sesight.domain.timestamps import iso
from sesight.ingest.event_batch import EventBatch
from sesight.ingest.http.commit_process import ORIGIN, Committer
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.reader import read
from sesight.ingest.reading import Reading
from sesight.ingest.transport.envelope import open_notification
from sesight.ingest.transport.sns import parse, parse_topic, string_to_sign, verify
from sesight.services import messages
from sesight.services.campaigns import campaign_figures
from sesight.settings import Settings

PAYLOADS = Path(__file__).parent.parent / "tests" / "payloads"
BOUNCE = "sns_http_notification_sigv2.json"
TOPIC = "arn:aws:sns:us-east-1:000000000000:ses-email-events"

NOW = 1_794_644_133_500
"""14 November 2026, 08:15:33.500 UTC: 0.3 s after SNS signed the notification."""

_TIMES = frozenset({"at", "sent_at", "until", "since", "positive_at"})


# -- how values are shown ----------------------------------------------------------------------


def shown(value: Any, indent: int = 0, name: str = "") -> str:
    """Return a value as Python code, without fields at their default; times get a comment."""
    pad = "    " * (indent + 1)
    if isinstance(value, Struct):
        lines = [
            f"{pad}{field.name}={shown(member, indent + 1, field.name)},{_time(field.name, member)}"
            for field in fields(value)
            if (member := getattr(value, field.name)) != field.default or field.default is NODEFAULT
        ]
        return "\n".join([f"{type(value).__name__}(", *lines, "    " * indent + ")"])
    if isinstance(value, tuple) and value and any(isinstance(item, Struct) for item in value):
        lines = [f"{pad}{shown(item, indent + 1)}," for item in value]
        return "\n".join(["(", *lines, "    " * indent + ")"])
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, Outcome):
        return f"Outcome.{value.name}"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _time(name: str, value: Any) -> str:
    return f"  # {iso(value)}" if name in _TIMES and isinstance(value, int) else ""


def block(text: str, language: str = "python") -> str:
    """Return a fenced block."""
    return f"```{language}\n{text}\n```\n"


def _json(value: Any) -> str:
    return block(json.dumps(value, indent=2, ensure_ascii=False), "json")


# -- the walk ----------------------------------------------------------------------------------


def _as_json(answer: Struct) -> dict[str, Any]:
    """Return an answer as JSON decodes it."""
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return decoded


class Walk:
    """The values that the page shows, from one run."""

    def __init__(self, folder: Path) -> None:
        """Run the walk with a new store in the folder."""
        pem = x509.load_pem_x509_certificate((PAYLOADS / "sns_test_cert.pem").read_bytes())
        self.topics = {TOPIC: parse_topic(TOPIC, pem.public_key())}
        settings = msgspec.convert(
            {
                "store": {"url": f"sqlite:///{folder}/walk.db"},
                "recipient_key": bytes(32).hex(),
                "region": "us-east-1",
            },
            Settings,
        )
        self.lines: list[bytes] = []
        self.app = App(settings, clock=lambda: NOW, durability="off", journal=self.lines.append)
        self.raw = (PAYLOADS / BOUNCE).read_bytes()
        self.notification = parse(self.raw, {})
        self.topic = verify(self.notification, self.topics, _no_certificates())
        [self.envelope] = open_notification("Notification", self.notification.message, ORIGIN)
        self._commit()
        self.metrics = self.app.metrics.text().decode()
        self.again = self.app.pipeline.process(
            read((PAYLOADS / "lambda_sqs_event_eventbridge.json").read_bytes(), "lambda")
        )
        services = self.app.services()
        self.figures = _as_json(campaign_figures(services, "outreach", "digest-2026-11"))
        self.message = _as_json(messages.message(services, self.reading.event.message_id))
        self.waiting = self._unrouted()
        self.app.close()

    def _commit(self) -> None:
        """Commit the bounce as the server's commit process does, and record each step of the pipeline."""
        walk = self

        class WatchedBatch(EventBatch):
            def load_records(self, readings: Any) -> None:
                super().load_records(readings)
                walk.loaded = dict(self.records.current)

            def fold_routed_events(self) -> None:
                super().fold_routed_events()
                walk.folded = dict(self.records.current)

            def tally_records(self) -> None:
                super().tally_records()
                walk.tallied = dict(self.records.current)

            def changes(self) -> Changes:
                walk.changes = super().changes()
                return walk.changes

        app = self.app
        pipeline = Pipeline(app.store, app.rules, lambda: NOW, app.pipeline._observe, WatchedBatch)  # noqa: SLF001

        def process(readings: Sequence[Reading]) -> list[Processed]:
            [self.reading] = readings
            self.processed = pipeline.process(readings)
            return self.processed

        committed = Committer(process, lambda: None).commit(
            [(self.notification.type, self.notification.message)]
        )
        for counts in committed.counts:
            app.metrics.count(counts)

    def _unrouted(self) -> list[tuple[str, list[Processed]]]:
        """Process a feedback notification before and after its message is known."""
        feedback = (PAYLOADS / "feedback_bounce.json").read_bytes()
        send = json.loads((PAYLOADS / "send.json").read_bytes())
        mail = json.loads(feedback)["mail"]
        for name in ("messageId", "timestamp", "destination"):
            send["mail"][name] = mail[name]
        return [
            ("feedback_bounce.json", self.app.pipeline.process(read(feedback, "file"))),
            (
                "send.json, of the same message",
                self.app.pipeline.process(read(json.dumps(send).encode(), "file")),
            ),
            ("feedback_bounce.json again", self.app.pipeline.process(read(feedback, "file"))),
        ]

    @property
    def key(self) -> RecordKey:
        """Return the key of the one record."""
        return next(iter(self.folded))


def _no_certificates() -> Any:
    """Return nothing: the topic's certificate is pinned, so none is fetched."""
    return None


@cache
def walk() -> Walk:
    """Run the walk once and return it."""
    with tempfile.TemporaryDirectory() as folder:
        return Walk(Path(folder))


# -- what the page shows, step by step -----------------------------------------------------------


def request() -> str:
    """Return the HTTP request of SNS."""
    headers = json.loads((PAYLOADS / "sns_http_request_headers.json").read_bytes())
    body = json.loads(walk().raw)
    body["Message"] = body["Message"][:96] + "…"
    body["Signature"] = body["Signature"][:24] + "…"
    del body["UnsubscribeURL"]
    lines = ["POST /ses/events HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    return block("\n".join(lines) + "\n\n" + json.dumps(body, indent=2, ensure_ascii=False), "http")


def inner() -> str:
    """Return the SES event within the notification."""
    event = json.loads(walk().notification.message)
    event["mail"]["headers"] = ["…"]
    event["mail"].pop("sourceArn")
    return _json(event)


def proof() -> str:
    """Return the lines that SNS signed."""
    signed = string_to_sign(walk().notification).decode()
    lines = [line if len(line) < 80 else line[:80] + "…" for line in signed.splitlines()]
    return block("\n".join(line for line in lines if line), "text")


def forged() -> str:
    """Return the error for a notification whose body was changed."""
    body = walk().raw.replace(b"gone@example.org", b"ana@example.org")
    try:
        verify(parse(body, {}), walk().topics, _no_certificates())
    except Untrusted as error:
        return block(f"Untrusted: {error}  reason={error.reason!r} status={error.status}", "text")
    raise AssertionError("A forged notification was accepted.")


def envelope() -> str:
    """Return the envelope."""
    return block(shown(walk().envelope))


def event() -> str:
    """Return the event."""
    return block(shown(walk().reading.event))


def loaded() -> str:
    """Return the records that were loaded."""
    return block(repr(walk().loaded))


def folded() -> str:
    """Return the record after the fold."""
    return block(shown(walk().folded[walk().key]))


def derived() -> str:
    """Return facts derived from the record."""
    facts = derive_facts(walk().folded[walk().key].timeline)
    lines = [
        f"outcome={facts.outcome.word!r}",
        f"sent={facts.sent}",
        f"reached={facts.reached}",
        f"decisive=Bounce(kind={facts.decisive.kind!r}, status={facts.decisive.status!r}, …)",
    ]
    return block("\n".join(lines))


def tallied() -> str:
    """Return the tally."""
    tally = walk().tallied[walk().key].tally
    names = [name for n, name in enumerate(FACTS) if tally.facts >> n & 1]
    return block(shown(tally) + f"\n# facts: {', '.join(names)}")


def suppressed() -> str:
    """Return the suppression items."""
    rows = []
    for (stream, address), item in sorted(walk().changes.suppressions.items()):
        cause = active_suppression(item, NOW, walk().app.rules.suppression).cause
        rows.append(f"{stream:9} {address}  {cause.reason}, scope {cause.scope}")
    first = walk().changes.suppressions["outreach", "gone@example.org"]
    return block("\n".join(rows), "text") + "\n" + block(shown(first))


def rollups() -> str:
    """Return the rollup rows that change."""
    lines = []
    for key, counts in sorted(walk().changes.rollups.items()):
        head = ", ".join(
            f"{name}={shown(value)}"
            for name, value in zip(key._fields, key, strict=True)
            if value != ""
        )
        changes = ", ".join(f"{name} {n:+}" for name, n in zip(COUNTERS, counts, strict=True) if n)
        lines.append(f"{head.replace('family=', '', 1)}\n    {changes}")
    return block("\n".join(lines), "text")


def dispositions() -> str:
    """Return the disposition of the bounce."""
    [bounce] = walk().processed
    return block(
        f"disposition={bounce.disposition.value!r}, stream={bounce.stream!r}, "
        f"campaign={bounce.campaign!r}"
    )


def journal() -> str:
    """Return the log line."""
    return block(walk().lines[0].decode().strip(), "json")


def metrics() -> str:
    """Return the samples of the event and batch metrics."""
    names = ("sesight_events_total{", "sesight_batch_events_count", "sesight_batch_events_sum")
    lines = [line for line in walk().metrics.splitlines() if line.startswith(names)]
    return block("\n".join(lines), "text")


def again() -> str:
    """Return the disposition of the same bounce by another transport."""
    [bounce] = walk().again
    return block(f"origin={bounce.reading.origin!r}, disposition={bounce.disposition.value!r}")


def figures() -> str:
    """Return the campaign's figures as the API answers them, shortened."""
    answer = walk().figures
    return _json(
        {
            **{name: answer[name] for name in ("stream", "campaign", "subject", "state")},
            "totals": {name: n for name, n in answer["totals"].items() if n},
            "rates": {name: answer["rates"][name] for name in ("delivery", "bounce", "open")},
            "breakdowns": {"reason": answer["breakdowns"]["reason"]},
        }
    )


def message() -> str:
    """Return the record as the API answers it, without null members."""
    [record] = walk().message["data"]
    shortened = {
        name: value
        for name, value in record.items()
        if value not in (None, [], 0) and name != "timeline"
    }
    shortened["timeline"] = [
        {name: value for name, value in occurrence.items() if value is not None}
        for occurrence in record["timeline"]
    ]
    return _json(shortened)


def waiting() -> str:
    """Return the dispositions of an event without a configuration set, and of its message's."""
    lines = [
        f"{name:32} {event.disposition.value}{f' ({event.reason})' if event.reason else ''}"
        for name, processed in walk().waiting
        for event in processed
    ]
    return block("\n".join(lines), "text")
