"""A message's record is found by its send id."""

from sesight.domain.event import Identity
from sesight.domain.timestamps import DAY
from sesight.services import Services
from sesight.services.sent_messages import PAGE, PAGES, find_by_send_id
from tests.builders import NOW
from tests.store.contract import put, record

ANA = "ana@example.org"


def test_found(services: Services) -> None:
    """A record is found by stream, address and send id, within the times of the search only."""
    sent = record(at=NOW - DAY, recipient=ANA, identity=Identity(NOW - DAY, send_id="s-1"))
    put(services.store, sent)

    def find(send_id: str, stream: str = "outreach", address: str = ANA, **times: int) -> bool:
        times = {"since": NOW - 2 * DAY, **times}
        found = find_by_send_id(services.store, stream, address, send_id, now=NOW, **times)
        return found is not None and found.message_id == sent.message_id

    assert find("s-1")
    assert not find("s-2")
    assert not find("s-1", stream="finance")
    assert not find("s-1", address="bo@example.org")
    assert not find("s-1", since=NOW)
    assert not find("s-1", until=NOW - DAY)


def test_beyond_one_page(services: Services) -> None:
    """A record is found behind a page of newer ones, but not behind any number of them."""
    newer = [
        record(at=NOW - n, number=n, recipient=ANA, identity=Identity(NOW - n, send_id=f"s-{n}"))
        for n in range(PAGE * PAGES + 1)
    ]
    put(services.store, *newer)
    for n, is_found in ((PAGE, True), (PAGE * PAGES - 1, True), (PAGE * PAGES, False)):
        found = find_by_send_id(services.store, "outreach", ANA, f"s-{n}", since=NOW - DAY, now=NOW)
        assert (found is not None) is is_found
