"""Feed the messages of an SQS queue in, such as a dead-letter queue once its cause is fixed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.ingest.replay.replay import ReplayCounter, Summary
from sesight.ingest.transport.sqs_batch import process_messages, read_sqs_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sesight.ingest.pipeline import Pipeline

RECEIVED = 10
"""Messages of one ReceiveMessage or DeleteMessageBatch: the most that SQS allows."""

TRANSACTION = 500
"""Messages of one transaction."""

WAIT_SECONDS = 5
"""How long SQS waits for a message before it answers that there is none. Any wait makes SQS ask all of
its servers; without one it asks a sample and may miss messages.
"""

HIDDEN_SECONDS = 300
"""The visibility timeout: how long SQS hides a received message, so that none is received twice."""


class ReceivedMessage(NamedTuple):
    """A received message: its id, the receipt handle for deleting it, and its body."""

    id: str
    receipt: str
    body: str


class Queue:
    """An SQS queue over a botocore client."""

    def __init__(
        self, client: Any, url: str, errors: tuple[type[Exception], ...], wait: int = WAIT_SECONDS
    ) -> None:
        """`errors` are the exceptions of the client."""
        self._client = client
        self._url = url
        self._errors = errors
        self._wait = wait

    def size(self) -> int:
        """Return the approximate number of messages in the queue."""
        names = ["ApproximateNumberOfMessages"]
        answer = self._call("get_queue_attributes", AttributeNames=names)
        return int(answer["Attributes"][names[0]])

    def messages(self) -> Iterator[ReceivedMessage]:
        """Receive messages until there are none. Each stays hidden for `HIDDEN_SECONDS`."""
        while True:
            messages = self._call(
                "receive_message",
                MaxNumberOfMessages=RECEIVED,
                WaitTimeSeconds=self._wait,
                VisibilityTimeout=HIDDEN_SECONDS,
            ).get("Messages", [])
            if not messages:
                return
            for message in messages:
                yield ReceivedMessage(
                    message["MessageId"], message["ReceiptHandle"], message["Body"]
                )

    def delete(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Delete messages; return those that SQS could not delete."""
        return self._in_batches("delete_message_batch", messages, {})

    def show_again(self, messages: list[ReceivedMessage]) -> None:
        """Make messages visible at once."""
        self._in_batches("change_message_visibility_batch", messages, {"VisibilityTimeout": 0})

    def _in_batches(
        self, operation: str, messages: list[ReceivedMessage], parameters: dict[str, int]
    ) -> list[ReceivedMessage]:
        """Call an operation for all messages; return those for which it failed."""
        failed: list[ReceivedMessage] = []
        for start in range(0, len(messages), RECEIVED):
            batch = messages[start : start + RECEIVED]
            entries = [
                {"Id": str(n), "ReceiptHandle": message.receipt, **parameters}
                for n, message in enumerate(batch)
            ]
            answer = self._call(operation, Entries=entries)
            failed += [batch[int(entry["Id"])] for entry in answer.get("Failed", [])]
        return failed

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except self._errors as error:
            raise SettingsError(f"The queue {self._url} cannot be used: {error}") from None


class QueueSummary(Summary, kw_only=True):
    """What was done: `messages` received, `left` of them still in the queue."""

    messages: int
    left: int


def drain(
    queue: Queue,
    pipeline: Pipeline,
    known_sets: Collection[str],
    *,
    stream: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> QueueSummary:
    """Feed the messages of a queue into a pipeline until it is empty; delete those that are stored.

    Quarantined messages are stored, too. Those that could not be stored become visible again at the
    end. `progress` is called with the messages and readings done. Raises SettingsError for a queue
    that cannot be used, and StoreUnavailable; messages deleted by then are stored.
    """
    counter = ReplayCounter()
    messages = queue.messages()
    received = 0
    left: list[ReceivedMessage] = []
    while batch := list(islice(messages, TRANSACTION)):
        received += len(batch)
        read = [read_sqs_message(message.id, message.body, known_sets, stream) for message in batch]
        result = process_messages(pipeline, read, lambda: True, at_rest=True)
        counter.add(result.processed)
        failed = set(result.failed)
        left += [message for message in batch if message.id in failed]
        left += queue.delete([message for message in batch if message.id not in failed])
        if result.store_error is not None:
            queue.show_again(left)
            raise StoreUnavailable(
                f"{result.store_error} Messages that were not stored are still in the queue."
            )
        if progress is not None:
            progress(received, counter.read)
    queue.show_again(left)
    return QueueSummary(*counter.figures(), messages=received, left=len(left))
