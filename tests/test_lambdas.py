"""The Lambda functions over AWS's own DynamoDB engine: events in, rollups, upkeep, the API."""

import base64
import csv
import io
import json
import logging
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from sesight import lambdas
from sesight.app import App, now_ms
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.ports import Changes
from sesight.domain.quarantine import Quarantined
from sesight.domain.timestamps import DAY, iso
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.lambdas import gateway
from sesight.lambdas.invocation import SPARE
from sesight.lambdas.metrics import METRICS
from sesight.lambdas.processor import EventsNotStored, Processor
from sesight.lambdas.send import SendFunction
from sesight.send.stream_secrets import SesSecrets
from sesight.send.unsubscribe_link import Tokens
from sesight.settings import SendingSettings, ServerSettings, Settings, StoreSettings
from sesight.store.dynamodb.client import GRACE
from sesight.store.dynamodb.connection import session_of
from sesight.store.dynamodb.rollup_aggregator import Aggregator
from sesight.store.dynamodb.store import DynamoStore
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from tests.asgi import ask as ask_api
from tests.aws import client
from tests.builders import NOW, fill, sent
from tests.invocation import (
    Context,
    event_loop,
    failed,
    feed_events,
    http_event,
    ids_of,
    settings_of,
    sqs_event,
)
from tests.mailing import simulated_ses
from tests.payload import body, payload
from tests.send.office import EXAMPLES
from tests.store.dynamodb.test_faults import make_faulty, refusal
from tests.store.engine import url_of

END = NOW


def traffic(messages: int, **plan: Any) -> list[bytes]:
    """Return the events of some messages as SES publishes them."""
    return [each.body for each in generate(Plan(seed=3, end=END, messages=messages, **plan))]


@pytest.fixture
def url(dynamodb: str) -> str:
    """Where a store's tables are to be."""
    return url_of(dynamodb)


@pytest.fixture
def processor(url: str) -> Iterator[Processor]:
    """An outreach processor with a store of its own."""
    made = Processor(settings_of(url), "outreach", lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def store(processor: Processor) -> DynamoStore:
    """The processor's store."""
    return processor._store  # noqa: SLF001


def held(store: DynamoStore, bodies: list[bytes]) -> set[str]:
    """Return which of the bodies' messages have a record."""
    names = {json.loads(each)["mail"]["messageId"] for each in bodies}
    return {name for name in names if store.message(name, NOW)}


# Mail out


def test_send(url: str) -> None:
    """A function that sends tells of each recipient, once for a key, and its mail is in the records
    that the processor keeps.
    """
    with simulated_ses() as ses:
        sender = SesSecrets(
            stream="outreach",
            from_address="news@example.com",
            public_url="https://mail.example.com",
            postal_address="1 Example Street",
            unsubscribe_keys={"k1": "11" * 32},
        )
        sending = SendingSettings(senders=[sender], endpoint=ses.url, templates=str(EXAMPLES))
        app = App(replace(settings_of(url), sending=sending), lasting=False)
        try:
            send = SendFunction(app, "outreach").handle
            asked = {
                "template": "spring-launch",
                "campaign": {"id": "spring"},
                "recipients": [{"email": "ana@example.org"}, {"email": "nobody"}],
                "context": json.loads((EXAMPLES / "spring-launch" / "sample.json").read_text()),
                "idempotencyKey": "order-1",
            }
            first = send(asked, Context())
            assert (first["status"], first["counts"]) == (207, {"sent": 1, "invalid": 1})
            assert send(asked, Context()) == first
            assert len(ses.messages()) == 1
            (record,) = app.store.message(first["results"][0]["messageId"], now_ms())
            assert (record.recipient, record.campaign) == ("ana@example.org", "spring")
            for nonsense in ({"template": "spring-launch"}, {"idempotencyKey": 7}, {}, [1], None):
                wrong = send(nonsense, Context())
                assert (wrong["status"], wrong["type"]) == (422, "invalid-request")
            asked.pop("idempotencyKey")
            status, told = ask_api(
                app.api(), "/api/outreach/send/jobs", body=json.dumps(asked).encode(), key="job-1"
            )
            assert status == 503
            assert b"no jobs" in told
        finally:
            app.close()


def _sent_by_function(url: str, aws: str, ses_url: str, name: str, event: Any) -> Any:
    """Return the answer of a send function in a process of its own."""
    program = """
import json, sys
from sesight import lambdas
from tests.invocation import Context
name, event = json.load(sys.stdin)
print(json.dumps(getattr(lambdas, name)(event, Context())))
"""
    environment = {
        "_HANDLER": f"sesight.lambdas.{name}",
        "SESIGHT_SENDING_SECRET": "send/{stream}",
        "SESIGHT_SENDING_ENDPOINT": ses_url,
        "SESIGHT_SENDING_TEMPLATES": str(EXAMPLES),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    return json.loads(_in_a_function(program, url, [name, event], **environment)[-1])


def test_send_handlers(url: str, aws: str) -> None:
    """`outreach_send` sends template mail and `finance_send` statements, each with its stream's secret."""
    for stream in ("outreach", "finance"):
        secret = {
            "from_address": f"{stream}@example.com",
            "region": "eu-west-1",
            "public_url": "https://mail.example.com",
            "postal_address": "1 Example Street",
            "unsubscribe_keys": {"k1": "11" * 32},
        }
        client("secretsmanager", aws).create_secret(
            Name=f"send/{stream}", SecretString=json.dumps(secret)
        )
    outreach = {
        "template": "spring-launch",
        "campaign": {"id": "spring"},
        "recipients": [{"email": "ana@example.org"}],
        "context": json.loads((EXAMPLES / "spring-launch" / "sample.json").read_text()),
    }
    statement = json.loads((EXAMPLES / "payout-statement" / "statements.json").read_text())
    finance = {"month": statement["month"], "statements": [statement]}
    with simulated_ses() as ses:
        sent = [
            _sent_by_function(url, aws, ses.url, "outreach_send", outreach),
            _sent_by_function(url, aws, ses.url, "finance_send", finance),
        ]
        senders = sorted(message.source for message in ses.messages())
    assert [(answer["status"], answer["counts"]) for answer in sent] == [(200, {"sent": 1})] * 2
    assert senders == ["finance@example.com", "outreach@example.com"]


# Events in


def test_batch(processor: Processor, store: DynamoStore) -> None:
    """A batch that is stored whole reports nobody, and none of it is new when it comes again."""
    bodies = traffic(60)
    event = sqs_event(bodies)
    assert processor.handle(event, Context()) == {"batchItemFailures": []}
    assert held(store, bodies) == {json.loads(each)["mail"]["messageId"] for each in bodies}
    before = sum(len(each["Records"]) for each in feed_events(store))
    assert processor.handle(event, Context()) == {"batchItemFailures": []}
    assert sum(len(each["Records"]) for each in feed_events(store)) == before > 0


@pytest.mark.parametrize("name", ["lambda_sqs_event_raw_delivery", "lambda_sqs_event_sns_envelope"])
def test_transports(processor: Processor, store: DynamoStore, name: str) -> None:
    """Raw messages and SNS's envelopes are the same to it; what is no event is quarantined."""
    assert failed(processor.handle(payload(name), Context())) == []
    assert store.newest_at() == NOW // 1_000 * 1_000
    assert set(store.quarantine_counts()) <= {"not-json"}


@pytest.mark.parametrize("name", ["lambda_sns_event", "eventbridge_email_opened"])
def test_direct(processor: Processor, store: DynamoStore, name: str) -> None:
    """An event that SNS or EventBridge hands over directly is stored, and nothing is answered."""
    assert processor.handle(payload(name), Context()) is None
    assert store.newest_at() == NOW // 1_000 * 1_000


def poisoned(processor: Processor, message: str) -> None:
    """Let one message's events break the pipeline, whatever else is in their batch."""
    pipeline = processor._app.pipeline  # noqa: SLF001
    true = pipeline.process

    def process(readings, **how):
        if any(one.event is not None and one.event.message_id == message for one in readings):
            raise ValueError("a case that nobody thought of")
        return true(readings, **how)

    pipeline.process = process


def test_one_poison_of_500(processor: Processor, store: DynamoStore) -> None:
    """Of 500 messages of which one cannot be processed, exactly that one is returned and all others
    are stored.
    """
    bodies = [
        body("delivery", {"mail.messageId": f"m-{n:04d}", "mail.timestamp": _sent(n)})
        for n in range(499)
    ]
    poison = body("delivery", {"mail.messageId": "m-poison", "mail.timestamp": _sent(0)})
    poisoned(processor, "m-poison")
    event = sqs_event([*bodies[:321], poison, *bodies[321:]])
    assert failed(processor.handle(event, Context())) == [ids_of(event)[321]]
    assert held(store, bodies) == {f"m-{n:04d}" for n in range(499)}


def _sent(n: int) -> str:
    return f"2026-11-23T12:00:{n // 10 % 60:02d}.{n % 10}00Z"


def test_not_understood(processor: Processor, store: DynamoStore) -> None:
    """What cannot be understood is quarantined with its reason, however large, not returned; a greeting
    is ignored.
    """
    bodies = [
        b"{no json",
        body("unknown_event_type"),
        b"Successfully validated SNS topic for Amazon SES event publishing.",
        b'{"neither": "event", "nor": "envelope"}',
        base64.b85encode(random.Random(1).randbytes(800_000)),
    ]
    assert failed(processor.handle(sqs_event(bodies), Context())) == []
    assert store.quarantine_counts() == {"not-an-event": 1, "not-json": 2, "unknown-type": 1}


def away(true: Callable, **_: object) -> dict:
    """Be a DynamoDB that cannot be reached."""
    raise EndpointConnectionError(endpoint_url="http://x")


def test_outage(processor: Processor, store: DynamoStore) -> None:
    """While DynamoDB is away every message comes back before the time is over; later all are stored."""
    bodies = traffic(20)
    event = sqs_event(bodies)
    client = store.client.botocore
    names = ("batch_get_item", "get_item", "put_item", "query", "batch_execute_statement")
    make_faulty(store, **dict.fromkeys(names, away))
    context = Context(SPARE + 1)
    assert failed(processor.handle(event, context)) == ids_of(event)
    assert context.get_remaining_time_in_millis() > 1_000
    with pytest.raises(EventsNotStored):
        processor.handle(payload("lambda_sns_event"), Context(SPARE + 0.5))
    store.client.botocore = client
    assert failed(processor.handle(event, Context())) == []
    assert held(store, bodies) == {json.loads(each)["mail"]["messageId"] for each in bodies}


def test_some_lost(processor: Processor, store: DynamoStore) -> None:
    """When some records cannot be written in time, the messages that speak of them come back alone."""
    bodies = [
        body("delivery", {"mail.messageId": f"m-{n}", "mail.timestamp": _sent(n)}) for n in range(9)
    ]
    event = sqs_event(bodies)

    def without_one(true: Callable, **arguments: list) -> dict:
        good = [one for one in arguments["Statements"] if {"S": "m-4"} not in one["Parameters"]]
        answers = true(Statements=good)["Responses"] if good else []
        throttled = {"Error": {"Code": "ThrottlingError"}}
        return {
            "Responses": [
                answers.pop(0) if one in good else throttled for one in arguments["Statements"]
            ]
        }

    make_faulty(store, batch_execute_statement=without_one)
    assert failed(processor.handle(event, Context(SPARE + 1))) == [ids_of(event)[4]]
    store.limit_time(lambda: 60.0)  # the invocation's time is up, the test's is not
    assert held(store, bodies) == {f"m-{n}" for n in range(9)} - {"m-4"}


class Crash(BaseException):
    """The process ends here."""


def test_no_call_outlasts_a_function(processor: Processor, store: DynamoStore) -> None:
    """A call to AWS gives up within what a function spares for its answer, and in that time none is
    begun.
    """
    config = session_of("eu-west-1", None)[1]["config"]
    assert config.connect_timeout + config.read_timeout + GRACE < SPARE
    bodies = traffic(3)
    event = sqs_event(bodies)

    def begun(true: Callable, **_: object) -> dict:
        raise Crash

    client = store.client.botocore
    make_faulty(
        store, **dict.fromkeys(("batch_get_item", "query", "batch_execute_statement"), begun)
    )
    assert failed(processor.handle(event, Context(SPARE - GRACE))) == ids_of(event)
    store.client.botocore = client
    assert failed(processor.handle(event, Context())) == []


@pytest.mark.parametrize("crashes_after", ["put_item", "batch_execute_statement"])
def test_crash(processor: Processor, store: DynamoStore, crashes_after: str) -> None:
    """A function that ends after a write and before its answer finds on redelivery what it left: the
    suppression and the record are both there, and a record written already is not written again.
    """
    bodies = [body("bounce_permanent_general")]
    event = sqs_event(bodies)

    def crash(true: Callable, **arguments: object) -> dict:
        true(**arguments)
        raise Crash

    client = store.client.botocore
    make_faulty(store, **{crashes_after: crash})
    with pytest.raises(Crash):
        processor.handle(event, Context())
    store.client.botocore = client
    written = _changes(store, "tracking")
    assert written == (crashes_after == "batch_execute_statement")
    assert failed(processor.handle(event, Context())) == []
    assert _changes(store, "tracking") == 1
    assert _changes(store, "suppression") == 2
    message = json.loads(bodies[0])["mail"]
    (record,) = store.message(message["messageId"], NOW)
    assert store.suppression("finance", record.recipient) is not None


def _changes(store: DynamoStore, kind: str) -> int:
    """Return how many changes the feeds of the tables of a kind have."""
    return sum(
        len(event["Records"])
        for event in feed_events(store)
        if f"-{kind}" in event["Records"][0]["eventSourceARN"]
    )


def test_expired(processor: Processor, store: DynamoStore) -> None:
    """A message redriven after its record has expired is dropped as expired; totals stay as they are."""
    sent_at = "2026-07-01T12:00:00.000Z"
    event = sqs_event([body("delivery", {"mail.timestamp": sent_at, "mail.messageId": "m-old"})])
    assert failed(processor.handle(event, Context())) == []
    assert store.message("m-old", NOW - 100 * DAY) == []
    assert _changes(store, "tracking") == 0


def test_throttled(
    processor: Processor, store: DynamoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Throttling is waited out, nothing is lost, and a metric names the index that throttled."""
    left = [3]

    def throttled(true: Callable, **arguments: object) -> dict:
        if left[0] > 0:
            left[0] -= 1
            reasons = [{"reason": "x", "resource": "arn:…/index/CampaignIndex"}]
            raise refusal("ProvisionedThroughputExceededException", ThrottlingReasons=reasons)
        return true(**arguments)

    make_faulty(store, batch_execute_statement=throttled)
    bodies = traffic(5)
    assert failed(processor.handle(sqs_event(bodies), Context())) == []
    assert held(store, bodies) == {json.loads(each)["mail"]["messageId"] for each in bodies}
    said = [each for each in _metrics(capsys) if "Throttled" in each]
    assert [(each["Resource"], each["Throttled"]) for each in said] == [
        ("arn:…/index/CampaignIndex", [3.0])
    ]


def _metrics(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """Return the embedded metrics that were written."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


# Lines and metrics


def test_lines(url: str) -> None:
    """Every event writes its line, the contract's fields and no other, and counts as a metric by stream
    and type and by stream and disposition; an event without a campaign's tag counts.
    """
    program = """
import sys, json, logging
logging.basicConfig(stream=sys.stdout, level="INFO", format="twice? %(message)s")  # as Lambda's runtime
from sesight.lambdas import outreach_events
from tests.invocation import Context
print(outreach_events(json.load(sys.stdin), Context()))
"""
    bodies = [
        body("delivery", {"mail.messageId": "m-1"}),
        body("delivery", {"mail.messageId": "m-1"}),
        body("delivery", {"mail.messageId": "m-2", "mail.tags.campaign_id": []}),
    ]
    out = _in_a_function(program, url, sqs_event(bodies))
    assert out[-1] == "{'batchItemFailures': []}"
    lines = [json.loads(line) for line in out[:-1]]
    events = [line for line in lines if "_aws" not in line]
    assert [line["message"] for line in events] == ["SES_EVENT_PROCESSED"] * 3
    assert list(events[0]) == [
        "message", "disposition", "stream", "eventType", "messageId", "recipientId",
        "recipientDomain", "campaign", "missingCampaignTag", "source", "sentAt", "eventAt", "lagMs",
    ]  # fmt: skip
    assert [line["disposition"] for line in events] == ["created", "duplicate", "created"]
    assert all(line["recipientId"].startswith("r_") for line in events)
    for line in lines:
        for one in line.get("_aws", {"CloudWatchMetrics": []})["CloudWatchMetrics"]:
            for name in (each["Name"] for each in one["Metrics"]):
                assert sorted(map(tuple, one["Dimensions"])) == sorted(METRICS[name][0])
    metrics = [line for line in lines if "SES_EVENT_PROCESSED" in line]
    (about,) = metrics[0]["_aws"]["CloudWatchMetrics"]
    assert about["Namespace"] == "Sesight"
    assert about["Dimensions"] == [["Stream", "EventType"], ["Stream", "Disposition"]]
    quiet = _in_a_function(program, url, sqs_event(bodies), AWS_LAMBDA_LOG_LEVEL="WARN")
    assert not [line for line in quiet if "lagMs" in line]
    counted = {
        (each["EventType"], each["Disposition"]): each["SES_EVENT_PROCESSED"] for each in metrics
    }
    assert counted == {("Delivery", "created"): [2.0], ("Delivery", "duplicate"): [1.0]}


def _in_a_function(program: str, url: str, event: Any, **more: str | None) -> list[str]:
    """Run a program in a process with a function's environment; return its lines."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "SESIGHT_STORE_URL": url,
        "SESIGHT_RECIPIENT_KEY": "5e" * 32,
        "AWS_DEFAULT_REGION": "eu-west-1",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        env={name: text for name, text in environment.items() if text is not None},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import(url: str) -> None:
    """The functions come without a web framework, cryptography and Prometheus, also when a batch has been
    processed and an aggregator was asked; without a key for recipient ids lines have none.
    """
    program = """
import sys, json
from sesight import lambdas
class Context:
    def get_remaining_time_in_millis(self): return 60_000
heavy = {"boto3", "cryptography", "litestar", "mangum", "prometheus_client", "pydantic", "rich", "typer", "uvicorn"}
print(sorted(heavy & set(sys.modules)))
lambdas.finance_events(json.load(sys.stdin), Context())
print(lambdas.rollups({"Records": [], "isFinalInvokeForWindow": True}, Context()))
print(sorted(heavy & set(sys.modules)))
"""
    event = sqs_event([body("delivery")])
    out = _in_a_function(program, url, event, SESIGHT_RECIPIENT_KEY=None)
    lines = [line for line in out if not line.startswith('{"')]
    assert lines == ["[]", "{'state': {}}", "[]"]
    (event_line,) = [json.loads(line) for line in out if "lagMs" in line]
    assert event_line["recipientId"] is None


def test_reads_load_no_letters(url: str) -> None:
    """The API comes, and answers reads, without what only mail and statements need."""
    program = """
import sys, json
from sesight import lambdas
class Context:
    def get_remaining_time_in_millis(self): return 60_000
heavy = {"babel", "css_inline", "email_validator", "fontTools", "fpdf", "idna", "jinja2", "PIL"}
statuses = [lambdas.api(event, Context())["statusCode"] for event in json.load(sys.stdin)]
print(statuses, sorted(heavy & set(sys.modules)), "sesight.api.application" in sys.modules)
"""
    paths = ("/provider", "/campaigns", "/messages", "/overview", "/suppressions", "/health/intake")
    out = _in_a_function(program, url, [http_event(path) for path in paths], **LOADED["api"])
    assert out == [f"{[200] * len(paths)} [] True"]


LOADED = {
    name: {"_HANDLER": f"sesight.lambdas.{name}"} for name in ("outreach_events", "rollups", "api")
}
"""The environment of functions as Lambda loads them."""


@pytest.mark.parametrize("name", list(LOADED))
def test_made_when_loaded(url: str, name: str) -> None:
    """A function that Lambda loads has made its clients before its first invocation."""
    program = """
import json, sys
import botocore.session
from sesight import lambdas
from tests.invocation import Context, sqs_event
def never(*_, **__):
    raise AssertionError("a client")
botocore.session.Session.create_client = never
name, event = json.load(sys.stdin)
print(getattr(lambdas, name)(event, Context()))
"""
    events = {
        "outreach_events": sqs_event([body("delivery")]),
        "rollups": None,
        "api": http_event("/messages"),
    }
    assert _in_a_function(program, url, [name, events[name]], **LOADED[name])


def test_sender_made_when_loaded(url: str, aws: str) -> None:
    """A function that sends has read its secret and made its client of SES when Lambda has loaded it."""
    program = """
import botocore.session
from sesight import lambdas
def never(*_, **__):
    raise AssertionError("a client")
botocore.session.Session.create_client = never
print(type(lambdas._app()[0].sending.sender("outreach")).__name__)
"""
    secret = json.dumps({"from_address": "news@example.com", "region": "eu-west-1"})
    client("secretsmanager", aws).create_secret(Name="loaded/outreach", SecretString=secret)
    out = _in_a_function(
        program,
        url,
        None,
        _HANDLER="sesight.lambdas.outreach_send",
        SESIGHT_SENDING_SECRET="loaded/{stream}",
        AWS_ENDPOINT_URL_SECRETS_MANAGER=aws,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
    )
    assert out == ["Sender"]


@pytest.mark.parametrize(
    "name",
    [
        "outreach_events",
        "finance_events",
        "rollups",
        "upkeep",
        "api",
        "outreach_send",
        "finance_send",
    ],
)
def test_time_limit(name: str) -> None:
    """A function whose time limit is too short says so, and does nothing."""
    with pytest.raises(
        SettingsError, match=r"has 7 seconds .* set its timeout to 8 seconds or more"
    ):
        getattr(lambdas, name)({}, Context(7))


PINGS: list[Any] = [
    {},
    None,
    {"Records": []},
    {"warmer": True, "concurrency": 3},
    {"source": "serverless-plugin-warmup"},
    {"ping": 1},
    {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
]


@pytest.mark.parametrize("event", PINGS)
def test_pings(
    processor: Processor, store: DynamoStore, event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only keeps a function warm is ignored, and so counted."""
    assert processor.handle(event, Context()) is None
    said = [each for each in _metrics(capsys) if "SES_EVENT_PROCESSED" in each]
    assert [(each["Disposition"], each["SES_EVENT_PROCESSED"]) for each in said] == [
        ("ignored", [1.0])
    ]
    assert store.quarantine_counts() == {}


def test_ping_of_the_api() -> None:
    """The API ignores what only keeps it warm."""
    assert [lambdas.api(event, Context()) for event in PINGS[:-1]] == [{}] * (len(PINGS) - 1)


@pytest.mark.parametrize("event", [[1], "text", {"orders": [1]}, {"Records": [3]}])
def test_odd_events(processor: Processor, store: DynamoStore, event: Any) -> None:
    """What somebody hands over that is no event and no ping is quarantined."""
    assert processor.handle(event, Context()) is None
    assert sum(store.quarantine_counts().values()) == 1


def test_messages_without_a_body(processor: Processor, store: DynamoStore) -> None:
    """A message of a queue that has no body is quarantined; those beside it are stored."""
    good, bad, worse = (body("delivery"), b"", b"")
    event = sqs_event([good, bad, worse])
    del event["Records"][1]["body"]
    event["Records"][2]["body"] = None
    assert failed(processor.handle(event, Context())) == []
    assert held(store, [good])
    assert store.quarantine_counts() == {"not-json": 1}


def test_disk(tmp_path: Path) -> None:
    """A function refuses to keep what it takes in on its own disk."""
    with pytest.raises(SettingsError, match="dynamodb://REGION"):
        Processor(settings_of(f"sqlite:///{tmp_path}/sesight.db"), "outreach")


# Rollups and upkeep


def test_rollups(url: str) -> None:
    """The aggregator applies windowed batches of the feeds, answers with a state, and refuses a batch
    that does not say its shard before anything of it is applied.
    """
    program = """
import sys, json
from sesight.domain.errors import SesightError
from sesight.lambdas import rollups
class Context:
    def get_remaining_time_in_millis(self): return 60_000
for event in json.load(sys.stdin):
    try:
        print(rollups(event, Context()))
    except SesightError as error:
        print(type(error).__name__)
"""
    processor = Processor(settings_of(url), "outreach", lambda: NOW)
    store = processor._store  # noqa: SLF001
    processor.handle(sqs_event([body("delivery"), body("bounce_permanent_general")]), Context())
    events = list(feed_events(store))
    blind = [{name: part for name, part in each.items() if name != "shardId"} for each in events]
    out = _in_a_function(program, url, blind)
    assert [line for line in out if not line.startswith('{"')] == ["ShardUnknown"] * len(events)
    assert store.rollups("day", "outreach") == []
    out = _in_a_function(program, url, [*events, *events])
    assert [line for line in out if "state" in line] == ["{'state': {}}"] * 2 * len(events)
    rows = [row for row in store.rollups("day", "outreach", dimension="") if any(row.counts)]
    assert sum(row.counts[0] for row in rows) == 2
    assert sum(row.counts[0] for row in store.rollups("suppressed", "finance")) == 1
    processor.close()


def test_rollups_while_away(processor: Processor, store: DynamoStore) -> None:
    """A batch that cannot be applied whole fails, and comes to the same when it is given again."""
    processor.handle(sqs_event(traffic(8)), Context())
    aggregator = Aggregator(store.client, store.tables, lambda: NOW)
    aggregator.client.remaining = lambda: 0.1
    client = aggregator.client.botocore
    left = [3]

    def some_only(true: Callable, **arguments: object) -> dict:
        left[0] -= 1
        return away(true) if left[0] < 0 else true(**arguments)

    events = list(feed_events(store))
    make_faulty(store, update_item=some_only)
    with pytest.raises(StoreUnavailable):
        _take_all(aggregator, events)
    store.client.botocore = client
    aggregator.client.remaining = lambda: 20.0
    _take_all(aggregator, events)
    applied = {row.key: list(row.counts) for row in store.rollups("day", "outreach")}
    store.settle()
    assert {row.key: list(row.counts) for row in store.rollups("day", "outreach")} == applied != {}


def _take_all(aggregator: Aggregator, events: list[dict]) -> None:
    for event in events:
        aggregator.take(event)


def test_upkeep(url: str) -> None:
    """Upkeep ends suppressions whose time is over, lets old quarantined bodies go, and folds in what was
    left waiting for a message that is known, also when it does not come to the end of its work.
    """
    then = now_ms() - 40 * DAY
    processor = Processor(settings_of(url), "outreach", lambda: then)
    store = processor._store  # noqa: SLF001
    at = iso(then - DAY)
    refused = {
        "mail.timestamp": at,
        "bounce.timestamp": at,
        "bounce.bouncedRecipients": [
            {"emailAddress": "ana@example.org", "status": "5.7.1", "action": "failed"}
        ],
        "mail.destination": ["ana@example.org"],
        "mail.commonHeaders.to": ["ana@example.org"],
    }
    processor.handle(sqs_event([body("bounce_permanent_general", refused), b"{no json"]), Context())
    before = store.suppression("outreach", "ana@example.org")
    assert before is not None
    assert before.counted is not None
    assert store.quarantine_counts() == {"not-json": 1}
    name = json.loads(body("bounce_permanent_general"))["mail"]["messageId"]
    waits = body(
        "feedback_delivery",
        {"mail.messageId": name, "mail.timestamp": at, "delivery.timestamp": at},
    )
    left = Quarantined("x", "unrouted", "", waits, now_ms(), name)
    store.transact(lambda _: Changes({}, {}, {}, {}, [left], []))
    store.sweep(now_ms() - DAY, 0)  # the clock was seen for a day
    program = """
import json, sys
from botocore.exceptions import EndpointConnectionError
from sesight import lambdas
from sesight.domain.errors import StoreUnavailable
seconds, compacts = json.load(sys.stdin)
class Context:
    def get_remaining_time_in_millis(self): return seconds * 1_000
def send(request, **_):
    if not compacts and b'"total"' in request.body:
        raise EndpointConnectionError(endpoint_url=request.url)
lambdas._app()[1].client.botocore.meta.events.register("before-send.dynamodb.Query", send)
try:
    print(lambdas.upkeep({}, Context()))
except StoreUnavailable:
    print("cut off")
"""
    assert _in_a_function(program, url, [9, False])[-1] == "cut off"
    (record,) = store.message(name, now_ms())
    assert [each.type for each in record.timeline] == ["Delivery", "Bounce"]
    assert _in_a_function(program, url, [60, True])[-1] == "None"
    after = store.suppression("outreach", "ana@example.org")
    assert after is not None
    assert after.counted is None
    assert store.quarantine_counts() == {}
    processor.close()


# The API


@pytest.fixture
def ask(processor: Processor) -> Iterator[Callable[..., dict]]:
    """Ask the API through API Gateway."""
    with event_loop():
        handler = gateway(processor._app)  # noqa: SLF001
        yield lambda *about, **more: handler(http_event(*about, **more), Context())


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("/messages", "$default"),
        ("/api/messages", "$default"),
        ("/messages", "prod"),
        ("/api/messages", "prod"),
    ],
)
def test_paths(processor: Processor, ask: Callable[..., dict], path: str, stage: str) -> None:
    """The API answers under API Gateway's own paths and CloudFront's, with a stage or without."""
    processor.handle(sqs_event([body("delivery")]), Context())
    answer = ask(path, {"limit": "1"}, stage=stage)
    assert answer["statusCode"] == 200
    assert len(json.loads(answer["body"])["data"]) == 1
    assert answer["headers"]["cache-control"] == "no-store"
    assert answer["isBase64Encoded"] is False


def test_decoded_once(processor: Processor, ask: Callable[..., dict]) -> None:
    """A path is decoded once, by whoever does: an HTTP API has done it, others hand it over as asked."""
    told = body("delivery", {"mail.messageId": "m%41"})
    processor.handle(sqs_event([told]), Context())
    assert ask("/messages/m%41")["statusCode"] == 200
    assert ask("/messages/mA")["statusCode"] == 404
    of_a_url = http_event("/messages/m%2541")
    of_a_url["requestContext"]["domainName"] = "abc.lambda-url.eu-west-1.on.aws"
    of_rest = {
        "resource": "/{proxy+}",
        "path": "/messages/m%2541",
        "httpMethod": "GET",
        "headers": {"host": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"},
        "requestContext": {"authorizer": {"principalId": "me"}, "identity": {"sourceIp": "::1"}},
    }
    handler = gateway(processor._app)  # noqa: SLF001
    for event in (of_a_url, of_rest):
        assert handler(event, Context())["statusCode"] == 200


@pytest.mark.parametrize(
    ("path", "authorizer", "status"),
    [
        ("/messages", {}, 401),
        ("/nowhere", {}, 401),
        ("/health", {}, 200),
        ("/messages", {"lambda": {"ok": True}}, 200),
        ("/nowhere", {"lambda": {"ok": True}}, 404),
        ("/messages/m-0", {"lambda": {"ok": True}}, 404),
    ],
)
def test_authorizer(
    ask: Callable[..., dict], path: str, authorizer: dict[str, Any], status: int
) -> None:
    """Without an authorizer nothing but whether it is alive is answered; problems are problems."""
    answer = ask(path, authorizer=authorizer)
    assert answer["statusCode"] == status
    if status >= 400:
        problem = json.loads(answer["body"])
        assert (problem["status"], bool(problem["requestId"])) == (status, True)
        assert answer["headers"]["content-type"] == "application/problem+json"


OWN_ORIGIN = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (OWN_ORIGIN, 422),
        (f"{OWN_ORIGIN}:443", 422),
        ("https://mail.example.com", 422),
        (f"{OWN_ORIGIN}:8443", 403),
        ("http://mail.example.com", 403),
        ("https://mail.example.com:8443", 403),
        ("https://mail.example.com.evil.example", 403),
        ("https://localhost", 403),
        ("http://localhost", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_origins(url: str, origin: str, status: int) -> None:
    """A page of API Gateway's host, or of one that the settings name as ours, may ask; no other's."""
    settings = settings_of(url, server=ServerSettings(allowed_hosts=["Mail.example.com"]))
    app = App(settings, clock=lambda: NOW)
    with event_loop():
        asked = http_event("/recipients/lookup", body={"address": "x"}, origin=origin)
        answer = gateway(app)(asked, Context())
    app.close()
    assert answer["statusCode"] == status


def test_long_answers(tmp_path: Path) -> None:
    """What is longer than Lambda takes (6 MB) comes in parts: a file with a link to the next, a page of
    JSON with its cursor. No row is missing or twice.
    """
    settings = Settings(
        store=StoreSettings(url=f"sqlite:///{tmp_path / 'sesight.db'}"), recipient_key="07" * 32
    )
    app = App(settings, clock=lambda: NOW, lasting=False)
    about = {"tags": {f"tag-{n}": "é" * 200 for n in range(16)}}
    ids = [f"m{n:04}" for n in range(1_200)]
    fill(app.store, [sent(message=id_, sent_at=NOW - n, **about) for n, id_ in enumerate(ids)])
    parts, asked = [], {"format": "csv"}
    with event_loop():
        handler = gateway(app)
        while True:
            answer = handler(http_event("/messages", asked), Context())
            assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
            assert len(json.dumps(answer)) < 6_000_000
            parts.append(list(csv.DictReader(io.StringIO(answer["body"], newline=""))))
            if "link" not in answer["headers"]:
                break
            following = answer["headers"]["link"].partition(">")[0].removeprefix("<?")
            asked = dict(parse_qsl(following))
            assert asked["cursor"] == answer["headers"]["sesight-next-cursor"]
        page = handler(http_event("/messages", {"limit": "500"}), Context())
    assert [row["messageId"] for part in parts for row in part] == ids
    assert len(parts) > 2
    assert len(json.dumps(page)) < 6_000_000
    listed = json.loads(page["body"])
    assert [row["messageId"] for row in listed["data"]] == ids[: len(listed["data"])]
    assert listed["nextCursor"] is not None
    app.close()


def test_head(ask: Callable[..., dict]) -> None:
    """HEAD is answered as GET is, without a body."""
    given, head = (ask("/health", method=method) for method in ("GET", "HEAD"))
    assert (given["statusCode"], given["body"]) == (200, '{"status":"ok"}')
    assert (head["statusCode"], head["body"]) == (200, "")
    assert head["headers"]["content-length"] == given["headers"]["content-length"]


def test_unsubscribe(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody who has a link may open and use it, whoever the authorizer lets in; no line of a log has
    its token, though the function logs all it can.
    """
    leave = UnsubscribeTarget("outreach", "jo@example.com", "spring", 20_000, "0a" * 10)
    token = Tokens({"k1": "11" * 32}).make(leave)
    sender = SesSecrets(
        stream="outreach", from_address="news@example.org", unsubscribe_keys={"k1": "11" * 32}
    )
    app = App(
        replace(settings_of(url), sending=SendingSettings(senders=[sender])), clock=lambda: NOW
    )
    asked = http_event(f"/unsubscribe/{token}", authorizer={}, stage="prod")
    posted = http_event(f"/api/unsubscribe/{token}", authorizer={}, body="")
    posted["body"] = "List-Unsubscribe=One-Click"
    posted["headers"]["content-type"] = "application/x-www-form-urlencoded"
    posted["headers"]["origin"] = "null"  # what a browser says of a page that sends no referrer
    others = [http_event(path, authorizer={}) for path in ("/unsubscribe/k1.AA", "/unsubscribe")]
    caplog.set_level(logging.DEBUG)
    with event_loop():
        handler = gateway(app)
        answers = [handler(each, Context()) for each in (asked, posted, posted, *others)]
    item = app.store.suppression("outreach", "jo@example.com")
    app.close()
    assert [each["statusCode"] for each in answers] == [200, 200, 200, 404, 401]
    assert answers[1]["headers"]["content-type"] == "text/html; charset=utf-8"
    assert item is not None
    assert [(each.reason, each.campaign) for each in item.causes] == [("unsubscribed", "spring")]
    assert "dynamodb" in caplog.text
    assert token.partition(".")[2][:24] not in caplog.text


def test_secret_failures(url: str, aws: str) -> None:
    """A secret that a function cannot read is a metric of its stream, for an alarm."""
    program = """
from sesight import lambdas
from sesight.domain.errors import SettingsError
app, _ = lambdas._app()
try:
    app.secrets.get_ses_secrets("outreach")
except SettingsError:
    pass
"""
    (line,) = _in_a_function(
        program,
        url,
        {},
        SESIGHT_SENDING_SECRET="nowhere",
        AWS_ENDPOINT_URL_SECRETS_MANAGER=aws,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
    )
    said = json.loads(line)
    assert (said["Stream"], said["SecretFailures"]) == ("outreach", [1])


def test_api(url: str, aws: str) -> None:
    """The function answers by the environment's settings, its key for recipient ids from a secret. It
    does not show what its own container has counted as what all have.
    """
    program = """
import sys, json
from sesight.lambdas import api
class Context:
    def get_remaining_time_in_millis(self): return 60_000
print(json.dumps([api(event, Context()) for event in json.load(sys.stdin)]))
"""
    client("secretsmanager", aws).create_secret(Name="ids", SecretString="5e" * 32)
    (line,) = _in_a_function(
        program,
        url,
        [
            http_event("/provider"),
            http_event("/recipients/lookup", body={"address": "a@b.example"}),
            http_event("/health/intake"),
            http_event("/metrics"),
        ],
        SESIGHT_RECIPIENT_KEY=None,
        SESIGHT_RECIPIENT_KEY_SECRET="ids",
        AWS_ENDPOINT_URL_SECRETS_MANAGER=aws,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
    )
    provider, person, intake, metrics = json.loads(line)
    assert json.loads(provider["body"])["region"] == "eu-west-1"
    assert person["statusCode"] in (200, 404)
    told = json.loads(intake["body"])
    assert (told["dispositions"], told["refusals"], told["waiting"]) == (None, None, None)
    assert "CloudWatch" in told["sentences"][-1]
    assert (metrics["statusCode"], "CloudWatch" in metrics["body"]) == (404, True)
