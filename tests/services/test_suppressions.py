"""The suppression list as people work on it, over a true store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import Event
from sesight.domain.ports import Store
from sesight.domain.suppression.csv import (
    InvalidRow,
    SuppressionDefaults,
    SuppressionFile,
    SuppressionRow,
    file_lines,
)
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import ResultStatus, SuppressionRequest, SuppressionResult
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.reading import EventReading
from sesight.services.recount import recount
from sesight.services.suppressions import BATCH_ADDRESSES, SuppressionService
from sesight.store import open_store
from tests.builders import COUNTING, NOW, POLICY, bounce, complaint
from tests.reception import RULES
from tests.store.engine import url_of

ANA, BO, DOMAIN = "ana@contoso.example", "bo@contoso.example", "@contoso.example"
BOTH = ("outreach", "finance")


class Office:
    """A list over a store of its own, with a clock that is set by hand."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Open a new store."""
        self.now = NOW
        clock = lambda: self.now  # noqa: E731
        self.store: Store = open_store(
            url or f"sqlite:///{folder}/office.db", clock=clock, streams=COUNTING.streams
        )
        self.pipeline = Pipeline(self.store, RULES, clock, None)
        self.list = SuppressionService(self.store, self.pipeline.decide, COUNTING, POLICY, clock)

    def add(
        self, *addresses: str, change: str = "change-1", **more: Any
    ) -> list[SuppressionResult]:
        """Suppress addresses."""
        return self.list.add(
            [SuppressionRequest(address=each, **more) for each in addresses], change
        )

    def hear(self, *told: tuple[str, Event]) -> None:
        """Take in events."""
        sets = {name: stream.configuration_set for name, stream in COUNTING.streams.items()}
        self.pipeline.process(
            [
                EventReading("file", replace(each, configuration_set=sets[name]))
                for name, each in told
            ]
        )

    def blocked(self, address: str) -> dict[str, str]:
        """Return why which streams must not send to an address."""
        [(_, whys)] = self.list.check([address], BOTH)
        return {name: why.cause.reason for name, why in whys.items() if why is not None}

    def take(self, text: str, *, dry_run: bool = False, **defaults: Any) -> list[Any]:
        """Import a file; return what became of each row."""
        file = SuppressionFile(text.splitlines(keepends=True), SuppressionDefaults(**defaults))
        self.imports = getattr(self, "imports", 0) + 1
        done = self.list.take(file, f"import-{self.imports}", dry_run=dry_run)
        return [row if told is None else (told.address, told.status) for row, told in done]

    def file(self, streams: tuple[str, ...] = BOTH, **filters: Any) -> str:
        """Return the file of what is suppressed."""
        return "".join(file_lines(self.list.exported(streams, **filters)))

    def agrees(self) -> bool:
        """Return whether the counts of suppressed addresses are what the items say."""
        self.store.settle()
        found = recount(self.store, COUNTING, self.now, BOTH)
        return not found.differences


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    yield opened
    opened.store.close()


def told(
    address: str, status: ResultStatus, *streams: str, detail: str | None = None
) -> SuppressionResult:
    return SuppressionResult(address=address, status=status, streams=streams, detail=detail)


def test_add(office: Office) -> None:
    """Addresses and whole domains are suppressed where asked, each told; again, they are known."""
    assert office.add("Ana@contoso.example", "@Fabrikam.example", "nobody") == [
        told(ANA, ResultStatus.ADDED, *BOTH),
        told("@fabrikam.example", ResultStatus.ADDED, *BOTH),
        told(
            "nobody",
            ResultStatus.INVALID,
            detail="This is not an address: write name@domain, or @domain for a whole domain.",
        ),
    ]
    assert office.blocked(ANA) == dict.fromkeys(BOTH, "manual")
    assert office.blocked("x@fabrikam.example") == dict.fromkeys(BOTH, "manual")
    assert office.add(BO, stream="finance") == [told(BO, ResultStatus.ADDED, "finance")]
    assert office.blocked(BO) == {"finance": "manual"}
    assert office.add(BO, change="change-2") == [told(BO, ResultStatus.ADDED, "outreach")]
    assert office.add(BO, change="change-3") == [told(BO, ResultStatus.KNOWN, *BOTH)]
    assert office.agrees()


def test_test_recipients(office: Office) -> None:
    """Test recipients are never suppressed, nor is their domain."""
    for each in ("bounce@simulator.amazonses.com", "@simulator.amazonses.com"):
        [found] = office.add(each)
        assert (found.status, "test recipient" in (found.detail or "")) == (
            ResultStatus.INVALID,
            True,
        )


def test_the_same_change_twice(office: Office) -> None:
    """The same act told twice is once."""
    office.add(ANA)
    before = office.store.suppression("finance", ANA)
    office.now += 5
    office.add(ANA)
    assert office.store.suppression("finance", ANA) == before


def test_remove_and_restore(office: Office) -> None:
    """A removal lifts all that stands, in the streams asked for; taken back, all of it stands again."""
    office.hear(bounce(), complaint())
    office.now += DAY
    assert office.list.remove([ANA, BO, "x"], "remove-1", "a mistake", BOTH)[:2] == [
        told(ANA, ResultStatus.REMOVED, *BOTH),
        told(BO, ResultStatus.ABSENT),
    ]
    assert office.blocked(ANA) == {}
    assert office.agrees()
    assert office.list.remove([ANA], "remove-2", "again", BOTH) == [told(ANA, ResultStatus.ABSENT)]
    assert office.list.restore([ANA, BO], "remove-1", ("finance",)) == [
        told(ANA, ResultStatus.RESTORED, "finance"),
        told(BO, ResultStatus.ABSENT),
    ]
    assert office.blocked(ANA) == {"finance": "bounced"}
    assert office.list.restore([ANA], "remove-1", BOTH)[0].streams == BOTH
    assert office.blocked(ANA) == {"outreach": "complaint", "finance": "bounced"}
    assert office.list.restore([ANA], "remove-9", BOTH) == [told(ANA, ResultStatus.ABSENT)]
    assert office.agrees()


def test_remove_some(office: Office) -> None:
    """Of several causes one may be lifted by its id, and the others go on."""
    office.add(ANA)
    office.add(ANA, change="change-2", reason=SuppressionReason.COMPLAINT)
    done = office.list.remove([ANA], "remove-1", "they wrote", BOTH, ["complaint:change-2"])
    assert done[0].status is ResultStatus.REMOVED
    assert office.blocked(ANA) == dict.fromkeys(BOTH, "manual")


def test_remove_from_a_suppressed_domain(office: Office) -> None:
    """Who removes an address of a suppressed domain is told that the domain still blocks."""
    office.add(ANA, DOMAIN)
    [found] = office.list.remove([ANA], "remove-1", "a mistake", BOTH)
    assert (found.status, found.detail) == (
        ResultStatus.REMOVED,
        "Its whole domain is still suppressed in outreach, finance.",
    )
    assert office.blocked(ANA) == dict.fromkeys(BOTH, "manual")
    assert office.list.remove([DOMAIN], "remove-2", "too", BOTH)[0].detail is None
    assert office.blocked(ANA) == {}


def test_a_removal_says_why(office: Office) -> None:
    """A removal without a reason is refused, and nothing is removed."""
    office.add(ANA)
    with pytest.raises(InvalidRequest, match="Say why"):
        office.list.remove([ANA], "remove-1", "  ", BOTH)
    assert office.blocked(ANA)


def test_nothing_undoes_a_removal(office: Office) -> None:
    """The events told again, the same act again and an old list again do not; a new act does."""
    told_of = [bounce(), complaint()]
    old = f"email,reason,firstAt\n{ANA},bounced,2026-11-01\n{ANA},complaint,2026-11-02\n"
    office.hear(*told_of)
    office.add(ANA)
    office.take(old)
    office.now += DAY
    office.list.remove([ANA], "remove-1", "a mistake", BOTH)
    office.now += DAY
    office.hear(*told_of)
    office.add(ANA)
    assert office.take(old) == [(ANA, ResultStatus.LIFTED), (ANA, ResultStatus.LIFTED)]
    assert office.blocked(ANA) == {}
    office.add(ANA, change="change-2", reason=SuppressionReason.COMPLAINT)
    assert office.blocked(ANA) == {"outreach": "complaint"}


def test_import(office: Office) -> None:
    """Rows are suppressed as they say, bad ones are told by line, and a file read again adds nothing."""
    text = (
        "email,stream,reason,scope,until,note\n"
        "Ana@contoso.example,outreach,unsubscribed,,,left\n"
        "@fabrikam.example,,import,all,,\n"
        "nobody,,,,,\n"
        f"{BO},,bounced,,2026-12-24,\n"
        f"{BO},,nonsense,,,\n"
        f"{BO},,bounced,,2026-12-24,\n"
    )
    expected = [
        (ANA, ResultStatus.ADDED),
        ("@fabrikam.example", ResultStatus.ADDED),
        ("nobody", ResultStatus.INVALID),
        (BO, ResultStatus.ADDED),
        InvalidRow(6, "reason: unknown value. Write complaint, complaint-candidate, "
                  "unsubscribed, bounced, account-list, validation, manual, import, soft-bounces, "
                  "blocked, bounce, unsubscribe, or leave it empty."),
        (BO, ResultStatus.KNOWN),
    ]  # fmt: skip
    assert office.take(text, dry_run=True) == expected
    assert list(office.list.listed(BOTH)) == []
    assert office.take(text) == expected
    assert office.blocked(ANA) == {"outreach": "unsubscribed"}
    assert office.blocked(BO) == dict.fromkeys(BOTH, "bounced")
    assert office.blocked("x@fabrikam.example") == dict.fromkeys(BOTH, "import")
    before = list(office.list.listed(BOTH))
    office.now += 5
    assert [each[1] for each in office.take(text) if not isinstance(each, InvalidRow)] == [
        *(
            ResultStatus.KNOWN,
            ResultStatus.KNOWN,
            ResultStatus.INVALID,
            ResultStatus.KNOWN,
            ResultStatus.KNOWN,
        ),
    ]
    assert list(office.list.listed(BOTH)) == before
    assert office.agrees()


def test_large_import(office: Office) -> None:
    """A long file is read some rows at a time, and stopped in the middle what was read stays."""
    file = (f"{n}@x.example\n" for n in range(2 * BATCH_ADDRESSES + 5))
    rows = office.list.take(SuppressionFile(file, SuppressionDefaults()), "import-1")
    for _ in range(BATCH_ADDRESSES + 1):
        row, _ = next(rows)
    rows.close()
    assert isinstance(row, SuppressionRow)
    assert len(list(office.list.listed(BOTH))) == 2 * BATCH_ADDRESSES
    file = (f"{n}@x.example\n" for n in range(2 * BATCH_ADDRESSES + 5))
    again = office.list.take(SuppressionFile(file, SuppressionDefaults()), "import-2")
    fates = [done.status for _, done in again if done is not None]
    assert (fates.count(ResultStatus.KNOWN), fates.count(ResultStatus.ADDED)) == (
        2 * BATCH_ADDRESSES,
        5,
    )
    assert office.agrees()


def test_round_trip(office: Office, tmp_path: Path) -> None:
    """What is exported and imported elsewhere blocks the same streams, for the same reasons, since and
    until; exported from there it is the same file.
    """
    office.hear(
        bounce(),
        complaint(BO, message="m-2"),
        bounce("cy@contoso.example", message="m-3", status="5.7.1"),
    )
    office.add("=dd@contoso.example", note="-1 by phone", stream="finance")
    office.add("Eve@contoso.example", until=NOW + DAY, scope=SuppressionScope.MARKETING)
    office.add("@fabrikam.example")
    office.now += 1
    office.list.remove([ANA], "remove-1", "works again", ("outreach",))
    text = office.file()
    assert text.count("\r\n") == 7
    (tmp_path / "other").mkdir()
    other = Office(tmp_path / "other")
    other.now = office.now
    assert {each[1] for each in other.take(text)} == {ResultStatus.ADDED}
    for address in (ANA, BO, "cy@contoso.example", "x@fabrikam.example", "eve@contoso.example"):
        assert other.blocked(address) == office.blocked(address)
    assert other.file() == text
    assert other.agrees()
    other.store.close()


def test_pages(office: Office) -> None:
    """Addresses come in order, each once with its items in all streams, page by page."""
    for n in range(25):
        office.add(f"{n:02d}@x.example", stream=("outreach", "finance", None)[n % 3])
    found, after, pages = [], None, 0
    while True:
        page, after = office.list.page(BOTH, 4, after)
        assert len(page) <= 4
        found += page
        pages += 1
        if after is None:
            break
    assert [address for address, _ in found] == [f"{n:02d}@x.example" for n in range(25)]
    assert [len(items) for _, items in found] == [(1, 1, 2)[n % 3] for n in range(25)]
    assert found == list(office.list.listed(BOTH))
    assert pages >= 7


def test_short_pages(office: Office) -> None:
    """Where one stream has much to look through and another little, each address still comes once,
    with all its items.
    """
    office.add(*[f"{n:02d}@x.example" for n in range(45)], stream="outreach")
    office.add("40@x.example", "99@x.example", change="change-2")
    office.list.remove(["40@x.example", "99@x.example"], "remove-1", "a mistake", BOTH)
    found, after = [], None
    while True:
        page, after = office.list.page(BOTH, 2, after, active=False)
        found += page
        if after is None:
            break
    assert [(address, len(items)) for address, items in found] == [
        ("40@x.example", 2),
        ("99@x.example", 2),
    ]


def test_dynamodb(dynamodb: str, tmp_path: Path) -> None:
    """Over DynamoDB the list does what it does over SQLite, and its counts agree."""
    here, there = Office(tmp_path), Office(tmp_path, url_of(dynamodb))
    told_of = []
    for office in (here, there):
        office.hear(bounce(), complaint(BO, message="m-2"))
        office.now += 1
        said: list[Any] = [office.add(ANA, BO, "@fabrikam.example", stream="finance")]
        said.append(office.list.remove([ANA, BO], "remove-1", "a mistake", BOTH))
        said.append(office.list.restore([BO], "remove-1", BOTH))
        said.append(office.take("".join(f"{n}@x.example\n" for n in range(230))))
        said.append([office.blocked(each) for each in (ANA, BO, "x@fabrikam.example")])
        said.append(office.file())
        said.append(office.file(reason="import", prefix="1"))
        said.append(office.list.page(BOTH, 7, "100@x.example")[0])
        told_of.append(said)
        assert office.agrees()
        office.store.close()
    assert told_of[0] == told_of[1]
