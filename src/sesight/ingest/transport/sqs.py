"""A queue's messages fed in again: those of a dead-letter queue, once what was wrong is mended."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.ingest.replay.replay import Account, Summary
from sesight.ingest.transport.sqs_batch import read_delivery, take

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sesight.ingest.pipeline import Pipeline

RECEIVED = 10
"""Messages of one ReceiveMessage or DeleteMessageBatch: the most that SQS allows."""

AT_ONCE = 500
"""Messages of one transaction."""

WAIT_SECONDS = 5
"""How long SQS waits for a message before it says that there is none: long enough that it asks all
of its servers, which a wait of 0 does not.
"""

HIDDEN_SECONDS = 300
"""How long a received message is kept from others, and from us: none is seen twice."""


class Message(NamedTuple):
    """A message received: its id, by what it is deleted, and its body."""

    id: str
    receipt: str
    body: str


class Queue:
    """An SQS queue, over a botocore client that it is given."""

    def __init__(
        self, client: Any, url: str, broken: tuple[type[Exception], ...], wait: int = WAIT_SECONDS
    ) -> None:
        """Take a client, the queue's URL, and what the client raises."""
        self._client = client
        self._url = url
        self._broken = broken
        self._wait = wait

    def size(self) -> int:
        """Return about how many messages wait."""
        names = ["ApproximateNumberOfMessages"]
        answer = self._call("get_queue_attributes", AttributeNames=names)
        return int(answer["Attributes"][names[0]])

    def messages(self) -> Iterator[Message]:
        """Yield messages, each hidden from others for a while, until there is none."""
        while True:
            found = self._call(
                "receive_message",
                MaxNumberOfMessages=RECEIVED,
                WaitTimeSeconds=self._wait,
                VisibilityTimeout=HIDDEN_SECONDS,
            ).get("Messages", [])
            if not found:
                return
            for each in found:
                yield Message(each["MessageId"], each["ReceiptHandle"], each["Body"])

    def delete(self, messages: list[Message]) -> list[Message]:
        """Delete messages; return those that SQS could not delete."""
        return self._each_ten("delete_message_batch", messages, {})

    def show_again(self, messages: list[Message]) -> None:
        """Let others see messages at once."""
        self._each_ten("change_message_visibility_batch", messages, {"VisibilityTimeout": 0})

    def _each_ten(
        self, operation: str, messages: list[Message], more: dict[str, int]
    ) -> list[Message]:
        left: list[Message] = []
        for at in range(0, len(messages), RECEIVED):
            some = messages[at : at + RECEIVED]
            entries = [
                {"Id": str(n), "ReceiptHandle": each.receipt, **more} for n, each in enumerate(some)
            ]
            answer = self._call(operation, Entries=entries)
            left += [some[int(failed["Id"])] for failed in answer.get("Failed", [])]
        return left

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except self._broken as error:
            raise SettingsError(f"The queue {self._url} cannot be used: {error}") from None


class QueueSummary(Summary, kw_only=True):
    """What feeding a queue in did: `messages` received, `left` of them still in the queue."""

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
    """Feed a queue's messages into a pipeline until it is empty, deleting those that are stored.

    What is quarantined is stored, too. What could not be stored stays, to be seen again by others when
    this ends. `progress` is told messages and readings done. Raises SettingsError for a queue that
    cannot be used and StoreUnavailable; what was deleted by then is stored.
    """
    account = Account()
    waiting = queue.messages()
    received = 0
    left: list[Message] = []
    while some := list(islice(waiting, AT_ONCE)):
        received += len(some)
        deliveries = [read_delivery(each.id, each.body, known_sets, stream) for each in some]
        taken = take(pipeline, deliveries, lambda: True, at_rest=True)
        account.add(taken.processed)
        failed = set(taken.failed)
        left += [each for each in some if each.id in failed]
        left += queue.delete([each for each in some if each.id not in failed])
        if taken.away is not None:
            queue.show_again(left)
            raise StoreUnavailable(f"{taken.away} What was not stored is still in the queue.")
        if progress is not None:
            progress(received, account.read)
    queue.show_again(left)
    return QueueSummary(*account.figures(), messages=received, left=len(left))
