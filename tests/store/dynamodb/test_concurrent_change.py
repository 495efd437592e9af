"""The DynamoDB store when another batch commits in the middle of one, at the worst moment."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from sesight.domain.event import Event
from sesight.domain.ports import RecordKey
from sesight.ingest.pipeline import Pipeline
from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from tests.builders import COUNTING, NOW, Told, bounce, complaint, delivery, opened, sent
from tests.laws.happenings import reading
from tests.laws.ledger import told_one_by_one
from tests.reception import RULES
from tests.store.engine import url_of

ANA = "ana@contoso.example"


def routed(told: Told) -> Event:
    """Return an event that names its configuration set."""
    return replace(told[1], configuration_set="outreach-tracking")


def unrouted(told: Told) -> Event:
    """Return an event of a feedback notification: it waits until its message is known."""
    return told[1]


def soft_bounce(message: str) -> Event:
    """Return a bounce of a full mailbox."""
    return routed(bounce(kind="Transient", sub_type="MailboxFull", status="4.2.2", message=message))


class Several:
    """Processors of the same tables. Other processors may act just before a call of the first one."""

    def __init__(self, url: str) -> None:
        """Open two stores."""
        self.first = open_store(url, clock=lambda: NOW, streams=COUNTING.streams)
        self.other = open_store(url, clock=lambda: NOW, streams=COUNTING.streams)
        self.told: list[Event] = []
        self._before: dict[str, list[list[Event]]] = {}
        self.first.client.botocore = _Preceded(self.first.client.botocore, self._come_before)

    def take(self, events: list[Event], **before: list[list[Event]]) -> list[str]:
        """Process a batch with the first processor; before its first, second … call of an
        operation, the other processes a batch of its own (none if empty). Return the dispositions.
        """
        self._before = before
        return self._take(self.first, events)

    def _take(self, store: DynamoStore, events: list[Event]) -> list[str]:
        pipeline = Pipeline(store, RULES, lambda: NOW, lambda _: None)
        processed = pipeline.process([reading(each) for each in events])
        self.told += events
        return [str(each.disposition) for each in processed]

    def _come_before(self, operation: str) -> None:
        if left := self._before.get(operation):
            events = left.pop(0)
            if events:
                self._take(self.other, events)

    def assert_as_told(self) -> None:
        """Compare what is stored with the ledger of the same events, each in a batch of its own."""
        ledger = told_one_by_one(self.told)
        held = {
            RecordKey(record.message_id, record.recipient): record
            for message in ("m-1", "m-2", "m-3")
            for record in self.first.message(message, NOW)
        }
        items = {
            (stream, ANA): item
            for stream in COUNTING.streams
            if (item := self.first.suppression(stream, ANA)) is not None
        }
        waiting = {each.id for each in self.first.quarantine(99)}
        assert (held, items, waiting) == (ledger.held, ledger.items, set(ledger.waiting))
        for before in self._before.values():
            assert before == [], "a moment that did not come"


class _Preceded:
    def __init__(self, client: object, before: Callable[[str], None]) -> None:
        self._client = client
        self._before = before

    def __getattr__(self, name: str) -> object:
        true = getattr(self._client, name)

        def call(**arguments: object) -> object:
            self._before(name)
            return true(**arguments)

        return call


@pytest.fixture
def several(dynamodb: str) -> Several:
    """Two processors of new tables."""
    return Several(url_of(dynamodb))


def test_waiting_event_and_two_writers(several: Several) -> None:
    """A batch that stores a message folds in an event that began to wait for it meanwhile, even if
    a third writer changes the record first.
    """
    several.take(
        [routed(sent())],
        batch_execute_statement=[[unrouted(bounce())], [routed(opened())]],
    )
    several.assert_as_told()


def test_waiting_event_that_another_let_go(several: Several) -> None:
    """A batch that is decided again folds in the waiting event again, even if another batch has
    found the event in the record and released it: its suppression is not lost.
    """
    several.take([unrouted(bounce())])
    several.take(
        [routed(sent()), routed(complaint())],
        batch_execute_statement=[[routed(opened())]],
    )
    several.assert_as_told()


def test_created_before_another_changed_it(several: Several) -> None:
    """A record that a batch created is reported as created, even if others changed it before the
    batch folds in an event that waited.
    """
    dispositions = several.take(
        [routed(sent())],
        batch_execute_statement=[[unrouted(bounce())], [routed(delivery(after=1_000))]],
    )
    assert dispositions == ["created"]
    several.assert_as_told()


def test_waiting_event_that_another_folded_in(several: Several) -> None:
    """An event that a batch quarantined, and that another batch folds in before the first looks
    again, is reported as an update by the first: no one else reports it.
    """
    dispositions = several.take([unrouted(bounce())], query=[[], [], [], [routed(sent())]])
    assert dispositions == ["updated"]
    several.assert_as_told()


@pytest.mark.parametrize("operation", ["put_item", "batch_execute_statement"])
@pytest.mark.parametrize("bounced_first", [True, False])
def test_good_sign_and_soft_bounce(
    several: Several, operation: str, *, bounced_first: bool
) -> None:
    """Of a soft bounce and a delivery stored at the same time, the later writer sees the other."""
    both = [soft_bounce("m-1"), routed(delivery(message="m-2"))]
    first, second = both if bounced_first else reversed(both)
    several.take([first], **{operation: [[second]]})
    several.assert_as_told()


def test_good_sign_taken_back(several: Several) -> None:
    """An open that counted as a positive signal before its record was written is discarded when
    another batch's delivery shows that it came too soon.
    """
    several.take([soft_bounce("m-2")])
    several.take(
        [routed(opened(after=5_000))], batch_execute_statement=[[routed(delivery(after=1_000))]]
    )
    several.assert_as_told()


def test_weighed_until_right(several: Several) -> None:
    """A delivery is weighed again when another batch changes the suppression first."""
    several.take([soft_bounce("m-1")])
    several.take([routed(delivery(message="m-2"))], put_item=[[routed(bounce(message="m-3"))]])
    several.assert_as_told()


def test_weighed_again(several: Several) -> None:
    """A batch that broke off before it weighed soft bounces weighs them when it is redelivered,
    although its record is stored already.
    """
    several.take([soft_bounce("m-1")])
    weighing = several.first.client.botocore

    class Cut(BaseException):
        """The process ends here."""

    def cut(operation: str) -> None:
        if operation == "put_item" and several.first.message("m-2", NOW):
            raise Cut

    several.first.client.botocore = _Preceded(weighing, cut)
    with pytest.raises(Cut):
        several.take([routed(delivery(message="m-2"))])
    several.first.client.botocore = weighing
    assert several.take([routed(delivery(message="m-2"))]) == ["duplicate"]
    several.assert_as_told()


def test_conflict_without_end(several: Several) -> None:
    """A waiting event is not released if the record it was folded into could not be written."""
    several.take([unrouted(bounce())])
    true = several.first.client.botocore

    class Busy:
        """A client on which another writer always changes the records first."""

        def __getattr__(self, name: str) -> object:
            if name != "batch_execute_statement":
                return getattr(true, name)
            return lambda Statements, **_: {  # noqa: N803 - as AWS names it
                "Responses": [{"Error": {"Code": "DuplicateItem"}} for _ in Statements]
            }

    several.first.client.botocore = Busy()
    assert several.take([routed(sent())]) == ["refused"]
    several.first.client.botocore = true
    assert several.first.quarantine_counts() == {"unrouted": 1}
    several.take([routed(sent())])
    several.assert_as_told()
