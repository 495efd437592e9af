"""The send log in DynamoDB: the contract, lost answers, throttling, crashes, and the cost of a
send.
"""

import random
from collections import Counter
from collections.abc import Callable

import pytest
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from sesight.domain.errors import StoreUnavailable
from sesight.domain.sending import INTENTS_KEPT, Intent, Pause, Resumption, SendState
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb.send_log import STORE_UNAVAILABLE
from sesight.store.dynamodb.send_log_codec import SHARDS
from sesight.store.dynamodb.store import DynamoStore
from tests.store import capacity, contract_send_log
from tests.store.contract import NOW
from tests.store.contract_send_log import all_of, batch_of, blocks, intent_of, sent, suppress
from tests.store.faulty import LostAnswers, make_faulty, never, refusal


class TestBatches(contract_send_log.Batches):
    """The contract."""


class TestClaims(contract_send_log.Claims):
    """The contract."""


class TestResults(contract_send_log.Results):
    """The contract."""

    EXAMPLES = 50


class TestPauses(contract_send_log.Pauses):
    """The contract."""


class TestKeeping(contract_send_log.Keeping):
    """The contract."""


def people(number: int, batch: str = "b") -> list[Intent]:
    """Return intents of ordinary mail."""
    return [
        intent_of(
            f"alexandra.papadopoulou{n}@subsidiary{n % 7}.example.org",
            batch,
            send_id=f"{n:020x}",
            campaign="spring-partners-2026",
        )
        for n in range(number)
    ]


def test_lost_answers(store: DynamoStore) -> None:
    """A write whose answer was lost is carried out once: the claim holds, and counts are exact."""
    rng = random.Random(1)
    lost = Counter()

    def losing(true: Callable, **arguments: object) -> dict:
        answer = true(**arguments)
        token = arguments["ClientRequestToken"]
        if lost[token] < 2 and rng.random() < 0.7:
            lost[token] += 1
            raise EndpointConnectionError(endpoint_url="http://x")
        return answer

    make_faulty(store, transact_write_items=losing)
    log, wanted = store.sending, people(80)
    suppress(store, "outreach", wanted[3].address)
    one = batch_of(1)
    assert log.begin(one) == one
    found = log.claim(wanted, blocks)
    assert [n for n, each in enumerate(found) if each != wanted[n]] == [3]
    log.settle([sent(each) for each in found if each.state is SendState.INTENDED])
    assert log.progress("b") == {SendState.SENT: 79, SendState.SUPPRESSED: 1}
    assert log.withheld("outreach", "spring-partners-2026") == {SendState.SUPPRESSED: 1}
    assert len(lost) > 3


def test_resume_whose_answer_is_lost(store: DynamoStore) -> None:
    """A resumption returns the pause that it ended, even if an answer was lost."""
    pause = Pause(stream="outreach", at=5, by="reputation", detail="Too many bounces.")
    store.sending.pause(pause)
    lost = LostAnswers(store, "UpdateItem")
    assert store.sending.resume(Resumption(stream="outreach", at=9)) == pause
    assert (lost.lost, store.sending.pauses()) == (1, {})
    assert store.sending.resume(Resumption(stream="outreach", at=10)) is None


def test_throttled(store: DynamoStore) -> None:
    """Throttled calls, and transactions in conflict with others, are retried."""
    rng = random.Random(2)

    def sometimes(true: Callable, **arguments: object) -> dict:
        if rng.random() < 0.5:
            raise refusal(
                "TransactionCanceledException",
                CancellationReasons=[{"Code": "None"}, {"Code": "TransactionConflict"}],
            )
        return true(**arguments)

    def throttled(true: Callable, **arguments: object) -> dict:
        if rng.random() < 0.5:
            raise refusal("ThrottlingException")
        return true(**arguments)

    make_faulty(store, transact_write_items=sometimes, batch_get_item=throttled, query=throttled)
    log, wanted = store.sending, people(80)
    assert log.claim(wanted, blocks) == wanted
    assert len(all_of(log, "b", limit=50)) == 80
    assert log.progress("b") == {SendState.INTENDED: 80}


def test_refused(store: DynamoStore) -> None:
    """A transaction that is refused for a reason other than a conflict is not retried."""

    def refusing(true: Callable, **_: object) -> dict:
        raise refusal(
            "TransactionCanceledException", CancellationReasons=[{"Code": "ValidationError"}]
        )

    make_faulty(store, transact_write_items=refusing)
    with pytest.raises(store.client.failure):
        store.sending.claim(people(1), blocks)


def test_not_looked_up(store: DynamoStore) -> None:
    """When the suppressions of an address cannot be read, the claim is given back, and the
    recipient may be claimed again.
    """
    store.limit_time(lambda: 0.2)
    suppressions = store.tables["outreach"].suppression.name

    def away(true: Callable, **arguments: dict) -> dict:
        if suppressions in arguments["RequestItems"]:
            raise EndpointConnectionError(endpoint_url="http://x")
        return true(**arguments)

    client = store.client.botocore
    make_faulty(store, batch_get_item=away)
    log, wanted = store.sending, people(3)
    with pytest.raises(StoreUnavailable):
        log.claim(wanted, blocks)
    store.client.botocore = client
    assert [(each.state, each.code) for each in all_of(log, "b")] == [
        (SendState.THROTTLED, STORE_UNAVAILABLE)
    ] * 3
    again = [replace(each, send_id=f"t{n}") for n, each in enumerate(wanted)]
    assert log.claim(again, blocks) == again


class Crash(BaseException):
    """The process ends here."""


def test_crash(store: DynamoStore) -> None:
    """A claim that broke off before it was returned stays open: no one else gets it."""
    suppressions = store.tables["outreach"].suppression.name

    def ends(true: Callable, **arguments: dict) -> dict:
        if suppressions in arguments["RequestItems"]:
            raise Crash
        return true(**arguments)

    client = store.client.botocore
    make_faulty(store, batch_get_item=ends)
    log, wanted = store.sending, people(3)
    with pytest.raises(Crash):
        log.claim(wanted, blocks)
    store.client.botocore = client
    assert log.claim([replace(each, send_id="t") for each in wanted], blocks) == wanted


def test_spread(store: DynamoStore) -> None:
    """Intents of a batch are spread over all of its keys and expire with its counts; the batch
    itself stays as long after its lease, so that it outlives its intents.
    """
    one = batch_of(1, id="b")
    store.sending.begin(one)
    store.sending.claim(people(200), blocks)
    client = store.client.botocore
    client.meta.events.unregister("before-call.dynamodb.Scan", never)
    items = client.scan(TableName=store._parts.metadata.table)["Items"]  # noqa: SLF001
    ours = [item for item in items if item["pk"]["S"].startswith(("BATCH", "INTENTS#"))]
    keys = {item["pk"]["S"] for item in ours}
    assert keys == {"BATCH#b", "BATCHES#outreach", *(f"INTENTS#b#{n}" for n in range(SHARDS))}
    kept = INTENTS_KEPT * DAY
    batch_key = {"pk": {"S": "BATCH#b"}, "sk": {"S": "-"}}
    expiries = {
        name: {
            int(item["expirationTime"]["N"])
            for item in ours
            if (item.items() >= batch_key.items()) == is_batch
        }
        for name, is_batch in (("batch", True), ("others", False))
    }
    assert expiries == {
        "batch": {(one.leased_until + kept) // 1000},
        "others": {(NOW + kept) // 1000},
    }
    later = NOW + 9 * DAY
    assert store.sending.hold("b", one.holder, later)
    held = store.client.get(store._parts.metadata.table, batch_key)  # noqa: SLF001
    assert held["expirationTime"]["N"] == str((later + kept) // 1000)


def test_rare_state(store: DynamoStore) -> None:
    """Intents in a rare state are found by one call for each key of the batch."""
    log = store.sending
    many = [sent(each) for each in people(400)]
    rare = replace(many[7], state=SendState.REFUSED)
    log.settle([*many[:7], rare, *many[8:]])
    asked = []

    def counting(true: Callable, **arguments: object) -> dict:
        asked.append(1)
        return true(**arguments)

    make_faulty(store, query=counting)
    assert log.intents("b", 2, None, [SendState.REFUSED]) == [rare]
    assert len(asked) == SHARDS


def units_of(part: dict) -> int:
    """Return the write units of one item of a transaction: 2 for each KiB."""
    size = capacity.size_of(part["Put"]["Item"]) if "Put" in part else 1
    return 2 * -(-size // 1_024)


def test_write_units(store: DynamoStore) -> None:
    """A send costs 4.2 write units in a large batch, claim and result together, and 8 alone."""
    spent = []

    def counting(true: Callable, **arguments: list) -> dict:
        # the engine tells of a transaction what one of its items consumes
        spent.extend(map(units_of, arguments["TransactItems"]))
        return true(**arguments)

    make_faulty(store, transact_write_items=counting)
    log = store.sending
    costs = []
    for number in (256, 1):
        spent.clear()
        found = log.claim(people(number, f"b{number}"), blocks)
        log.settle([sent(each) for each in found])
        costs.append(sum(spent) / number)
    assert costs == [4.125, 8]
