"""A stream that is added to the settings, and lists of an earlier version: nobody suppressed is free."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from sesight.domain.errors import StoreUnavailable
from sesight.domain.ports import Changes
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.item import Cause, Suppression, SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import InheritSuppression, SuppressionRequest
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.services.recount import recount
from sesight.services.suppressions import SuppressionService
from sesight.store import open_store
from tests.builders import COUNTING, NOW, POLICY
from tests.reception import RULES
from tests.store.engine import url_of

ANA, BO, CY = "ana@contoso.example", "bo@contoso.example", "cy@contoso.example"
PARTNERS = Stream("partners", "Partners", "marketing", "partners-tracking")
RECEIPTS = Stream("receipts", "Receipts", "transactional", "receipts-tracking")
TWO = (OUTREACH, FINANCE)


@pytest.fixture(params=["sqlite", "dynamodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return url_of(request.getfixturevalue("dynamodb"))


class Lists:
    """The lists of some streams, over a store that stays."""

    def __init__(self, url: str, *streams: Stream) -> None:
        counting = replace(COUNTING, streams={each.id: each for each in streams})
        self.streams = tuple(counting.streams)
        self.counting = counting
        self.store = open_store(url, clock=lambda: NOW, streams=counting.streams)
        rules = replace(RULES, counting=counting)
        self.pipeline = Pipeline(self.store, rules, lambda: NOW, None)
        self.list = SuppressionService(
            self.store, self.pipeline.decide, counting, POLICY, lambda: NOW
        )

    def blocked(self, address: str) -> list[str]:
        """Return which streams must not send to an address."""
        [(_, whys)] = self.list.check([address], self.streams)
        return [name for name, why in whys.items() if why is not None]

    def close(self) -> None:
        self.store.close()


def begin(url: str, act: Callable[[SuppressionService], object]) -> None:
    """Do something with the lists of two streams, which have nothing to take over any more."""
    before = Lists(url, *TWO)
    before.list.inherit()
    act(before.list)
    before.close()


def test_a_third_stream(url: str) -> None:
    """A stream added to the settings starts with the suppressions whose scope reaches it, those of
    whole domains too; it counts them, and what is removed there stays removed.
    """

    def act(held: SuppressionService) -> None:
        held.add(
            [
                SuppressionRequest(address=ANA, reason=SuppressionReason.BOUNCED),
                SuppressionRequest(address="@x.example"),
            ],
            "add-00001",
        )
        held.add(
            [SuppressionRequest(address=BO, scope=SuppressionScope.MARKETING, stream="outreach")],
            "add-00002",
        )
        held.add(
            [SuppressionRequest(address=CY, scope=SuppressionScope.STREAM, stream="outreach")],
            "add-00003",
        )

    begin(url, act)
    after = Lists(url, *TWO, PARTNERS, RECEIPTS)
    assert after.blocked(ANA) == ["outreach", "finance"]
    after.list.inherit()
    assert {each: after.blocked(each)[1:] for each in (ANA, BO, CY, "z@x.example")} == {
        ANA: ["finance", "partners", "receipts"],
        BO: ["partners"],
        CY: [],
        "z@x.example": ["finance", "partners", "receipts"],
    }
    after.store.settle()
    assert not recount(after.store, after.counting, NOW, after.streams).differences
    after.list.remove([ANA], "remove-01", "a mistake", ["partners"])
    after.list.inherit()
    assert after.blocked(ANA) == ["outreach", "finance", "receipts"]
    after.close()


def test_a_stream_that_was_away(url: str) -> None:
    """What reaches a stream while it is not in the settings suppresses there once it is back."""
    three = Lists(url, *TWO, PARTNERS)
    three.list.inherit()
    three.close()
    begin(
        url,
        lambda held: held.add(
            [SuppressionRequest(address=ANA, reason=SuppressionReason.BOUNCED)], "add-00001"
        ),
    )
    again = Lists(url, *TWO, PARTNERS)
    again.list.inherit()
    assert again.blocked(ANA) == ["outreach", "finance", "partners"]
    again.close()


def test_what_was_removed(url: str) -> None:
    """What was removed everywhere stays removed in the new stream; what still blocks anywhere blocks."""

    def act(held: SuppressionService) -> None:
        held.add(
            [
                SuppressionRequest(address=ANA),
                SuppressionRequest(address=BO),
                SuppressionRequest(address=CY),
            ],
            "add-00001",
        )
        held.remove([ANA, CY], "remove-01", "asked", ["outreach", "finance"])
        held.restore([CY], "remove-01", ["finance"])
        held.remove([BO], "remove-02", "asked", ["outreach"])

    begin(url, act)
    after = Lists(url, *TWO, PARTNERS)
    after.list.inherit()
    assert {each: after.blocked(each) for each in (ANA, BO, CY)} == {
        ANA: [],
        BO: ["finance", "partners"],
        CY: ["finance", "partners"],
    }
    after.list.add([SuppressionRequest(address=ANA)], "add-00001")  # a replay of what was removed
    assert after.blocked(ANA) == []
    after.close()


def test_cut_off(url: str) -> None:
    """Cut off, it is not noted as done, and the next time all is taken over."""
    begin(url, lambda held: held.add([SuppressionRequest(address=ANA)], "add-00001"))
    after = Lists(url, *TWO, PARTNERS)

    def away(_: object) -> list[object]:
        raise StoreUnavailable("away")

    broken = SuppressionService(after.store, away, after.counting, POLICY, lambda: NOW)
    with pytest.raises(StoreUnavailable):
        broken.inherit()
    assert after.blocked(ANA) == ["outreach", "finance"]
    after.list.inherit()
    assert after.blocked(ANA) == ["outreach", "finance", "partners"]
    after.close()


OLD_KEYS = {
    "x@ｅｘａｍｐｌｅ.org": "x@example.org",
    "ana@ofﬁce.org": "ana@office.org",
    "ana@ΟΔΟΣ.example": "ana@xn--pxavbq.example",
}
"""Spellings of which an earlier version made other keys than today's."""


def old_key(text: str) -> str:
    """Return the key that an earlier version made of a domain: NFC, lower case, Punycode."""
    local, _, domain = text.partition("@")
    labels = [
        each if each.isascii() else f"xn--{each.encode('punycode').decode()}"
        for each in map(str.lower, domain.split("."))
    ]
    return f"{local}@{'.'.join(labels)}"


@pytest.mark.parametrize("kept", ["spelling", "key alone"])
def test_old_keys(url: str, kept: str) -> None:
    """Who is suppressed under a key that an earlier version made is suppressed under today's too."""
    before = Lists(url, *TWO)
    cause = Cause(NOW - DAY, "complaint:m-1", "complaint", NOW - DAY, "marketing", "m-1")
    spellings = list(OLD_KEYS)
    if kept == "key alone":  # Greek that was in capitals shows in the spelling only
        spellings = spellings[:2]
    items = {
        ("outreach", old_key(each)): Suppression(
            "outreach", old_key(each), (cause,), spelling=each if kept == "spelling" else None
        )
        for each in spellings
    }
    before.store.transact(lambda _: Changes({}, items, {}, {}, [], []))
    today = [key for each, key in OLD_KEYS.items() if each in spellings]
    assert [before.blocked(each) for each in today] == [[]] * len(today)
    before.list.inherit()
    assert [before.blocked(each) for each in today] == [["outreach"]] * len(today)
    before.close()


def test_twice_is_once(url: str) -> None:
    """What is taken over again changes nothing."""
    lists = Lists(url, *TWO)
    cause = Cause(NOW - DAY, "manual:c", "manual", NOW - DAY, "all")
    first, second = (
        lists.pipeline.decide([InheritSuppression("finance", ANA, (cause,))])[0][0]
        for _ in range(2)
    )
    assert (first.before, first.after) == (None, second.before)
    assert second.before == second.after
    lists.close()
