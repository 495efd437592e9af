"""A dead-letter queue's messages fed in again: stored ones are deleted, others stay."""

import json

import pytest

from sesight.app.aws import open_queue
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.transport.sqs import Queue, drain
from sesight.lambdas.processor import Processor
from tests.aws import client, new_name
from tests.builders import NOW
from tests.invocation import Context, failed, settings_of, sqs_event
from tests.payload import body, payload
from tests.reception import Reception
from tests.store.engine import url_of


class Letters:
    """A queue of its own, whose messages given up go to a dead-letter queue."""

    def __init__(self, address: str) -> None:
        """Make both."""
        self.sqs = client("sqs", address)
        name = new_name()
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
            "maxReceiveCount": "5",
        }
        self.url = self.sqs.create_queue(
            QueueName=name,
            Attributes={"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": "0"},
        )["QueueUrl"]

    def put(self, *bodies: bytes, url: str | None = None) -> None:
        """Send messages, to the dead-letter queue unless another is named."""
        for each in bodies:
            self.sqs.send_message(QueueUrl=url or self.dead, MessageBody=each.decode())

    def receive(self, url: str) -> list[dict]:
        """Receive up to ten messages."""
        return self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        ).get("Messages", [])

    @property
    def left(self) -> list[str]:
        """Return the bodies that are still to be seen in the dead-letter queue."""
        return [each["Body"] for each in self.receive(self.dead)]

    def queue(self) -> Queue:
        """Return the dead-letter queue as a source, without waiting for what never comes."""
        queue = open_queue(self.dead, "eu-west-1")
        queue._wait = 0  # noqa: SLF001
        return queue


@pytest.fixture
def letters(aws: str) -> Letters:
    """A queue and its dead-letter queue."""
    return Letters(aws)


def pipeline_of(reception: Reception) -> Pipeline:
    """Return the pipeline of a reception."""
    return Pipeline(reception.store, reception.rules, lambda: NOW, lambda _: None)


def told(n: int) -> list[bytes]:
    """Return the deliveries of some messages."""
    return [
        body("delivery", {"mail.messageId": f"m-{at}", "mail.timestamp": "2026-11-23T12:00:00Z"})
        for at in range(n)
    ]


def test_drained(letters: Letters, reception: Reception) -> None:
    """A queue is fed in to its end: what is stored or quarantined is deleted, of any envelope."""
    sns = {"Type": "Notification", "Message": body("click").decode(), "TopicArn": "arn:aws:sns:x"}
    given_up = {"version": "1.0", "requestPayload": payload("lambda_sns_event")}
    letters.put(*told(23), json.dumps(sns).encode(), json.dumps(given_up).encode(), b"{no json")
    heard = []
    summary = drain(
        letters.queue(),
        pipeline_of(reception),
        (),
        progress=lambda done, read: heard.append((done, read)),
    )
    assert (summary.messages, summary.left, summary.read) == (26, 0, 26)
    assert summary.dispositions == {"created": 25, "quarantined": 1}
    assert summary.reasons == {"not-json": 1}
    assert heard == [(26, 26)]
    assert (letters.left, reception.quarantine()) == ([], [("not-json", b"{no json")])
    assert drain(letters.queue(), pipeline_of(reception), ()).messages == 0


def test_what_fails_stays(letters: Letters, reception: Reception) -> None:
    """A message that cannot be processed stays in the queue, is seen again at once, and is said."""
    pipeline = pipeline_of(reception)
    true = pipeline.process

    def process(readings, **how):
        if any(one.event.message_id == "m-2" for one in readings):
            raise ValueError("a case that nobody thought of")
        return true(readings, **how)

    pipeline.process = process
    bodies = told(12)
    letters.put(*bodies)
    summary = drain(letters.queue(), pipeline, ())
    assert (summary.messages, summary.left, summary.read) == (12, 1, 11)
    assert letters.left == [bodies[2].decode()]


def test_store_away(letters: Letters, reception: Reception) -> None:
    """When the store is away nothing is deleted, and all of it is seen again at once."""
    pipeline = pipeline_of(reception)

    def away(readings, **how):
        raise StoreUnavailable("The store is away.")

    pipeline.process = away
    letters.put(*told(3))
    with pytest.raises(StoreUnavailable, match="still in the queue"):
        drain(letters.queue(), pipeline, ())
    assert len(letters.left) == 3


def test_redrive(letters: Letters, dynamodb: str) -> None:
    """A message that a function fails on comes back five times, then is in the dead-letter queue as it
    was sent; once the fault is mended it is fed in from there. The others of its batch are stored.
    """
    processor = Processor(settings_of(url_of(dynamodb)), "outreach", lambda: NOW)
    pipeline = processor._app.pipeline  # noqa: SLF001
    true = pipeline.process

    def process(readings, **how):
        if any(one.event.message_id == "m-1" for one in readings):
            raise ValueError("a case that nobody thought of")
        return true(readings, **how)

    pipeline.process = process
    bodies = told(3)
    letters.put(*bodies, url=letters.url)
    times = 0
    while messages := letters.receive(letters.url):
        times += 1
        event = sqs_event([each["Body"] for each in messages])
        lost = failed(processor.handle(event, Context()))
        for record, message in zip(event["Records"], messages, strict=True):
            if record["messageId"] not in lost:
                letters.sqs.delete_message(
                    QueueUrl=letters.url, ReceiptHandle=message["ReceiptHandle"]
                )
    assert times == 5
    pipeline.process = true
    summary = drain(letters.queue(), pipeline, ())
    assert (summary.messages, summary.dispositions) == (1, {"created": 1})
    processor.close()


@pytest.mark.parametrize("url", ["dlq", "sqs://x/y", "https://sqs.eu-west-1.amazonaws.com"])
def test_no_url(url: str) -> None:
    """What is no queue's URL is said to be none."""
    with pytest.raises(SettingsError, match="no queue's URL"):
        open_queue(url, None)


def test_no_queue(aws: str, reception: Reception) -> None:
    """A queue that is not there is said so."""
    with pytest.raises(SettingsError, match="cannot be used"):
        drain(open_queue(f"{aws}/123456789012/nowhere", None), pipeline_of(reception), ())
