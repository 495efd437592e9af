"""The quarantine's second chance, and what is said of a body that does not take it."""

from sesight.domain.stream import OUTREACH
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.services.quarantine import BATCH_BODIES, RetryResult, retry
from tests.payload import raw
from tests.reception import Reception

MANY = BATCH_BODIES + 5


def tried(reception: Reception, reason: str | None = None) -> RetryResult:
    """Try again by the reception's rules of now."""
    pipeline = Pipeline(reception.store, reception.rules, lambda: reception.now, lambda _: None)
    return retry(reception.store, pipeline, reception.rules.known_sets, reason)


def foreign(number: int) -> bytes:
    """Return an event of a set that no stream has."""
    body = raw("delivery.json").replace(b"outreach-tracking", b"somebody-else")
    return b" " * number + body


def test_another_reason(reception: Reception) -> None:
    """A body that is quarantined again for another reason has the newer reason and sentence, and the
    time it came first; it is tried once, however many reasons there are to go through.
    """
    reception.change(streams={"outreach": OUTREACH})
    some = [foreign(number) for number in range(MANY)]
    assert set(reception.take(*some)) == {"quarantined unknown-set"}
    first = {each.id: each.at for each in reception.store.quarantine(MANY)}
    reception.now += DAY
    reception.change(accounts=frozenset({"222222222222"}))
    quarantined = {"quarantined": MANY}
    assert tried(reception) == RetryResult(MANY, 0, quarantined, {"unknown-account": MANY})
    after = reception.store.quarantine(MANY)
    assert {each.id: each.at for each in after} == first
    assert {each.detail for each in after} == {
        "The event is of an AWS account that the settings do not name."
    }
    assert tried(reception, "unknown-set").bodies == 0
    reception.change(accounts=frozenset())
    assert reception.take(foreign(MANY)) == ["quarantined unknown-set"]
    assert tried(reception) == RetryResult(
        MANY + 1, 0, {"quarantined": MANY + 1}, {"unknown-set": MANY + 1}
    )
    assert reception.store.quarantine_counts() == {"unknown-set": MANY + 1}
