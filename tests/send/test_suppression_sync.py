"""SES's account-level suppression list and the local lists: each gets what the other has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from sesight.domain.suppression.item import SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import AddSuppression, remove_command
from sesight.domain.suppression.policy import active_suppression
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.rules import Rules
from sesight.send.account_suppression_list import AccountSuppressionList
from sesight.send.ses import AccountUnknown
from sesight.send.suppression_sync import (
    LocalSuppressions,
    SyncAction,
    SyncDifference,
    SyncResult,
    sync,
)
from sesight.store.sqlite.store import SqliteStore
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.builders import COUNTING, NOW, POLICY
from tests.mailing import ses_client, simulated_ses

STREAMS = COUNTING.streams
LISTED_AT = NOW - DAY


class Bench(NamedTuple):
    """A simulated SES, its list, and a store."""

    ses: SimulatedSes
    account: AccountSuppressionList
    store: SqliteStore
    pipeline: Pipeline

    @property
    def local(self) -> LocalSuppressions:
        return LocalSuppressions(
            streams=tuple(STREAMS),
            items_of=self.store.suppressions_of,
            active_items=self.store.suppressions_counted,
            commit=self.pipeline.decide,
            is_test=COUNTING.is_test,
            policy=POLICY,
        )

    def suppress(self, address: str, *additions: AddSuppression) -> None:
        self.pipeline.decide([replace(each, address=address) for each in additions])

    def remove(self, address: str) -> None:
        """Lift all that stands against an address."""
        items = [self.store.suppression(stream, address) for stream in STREAMS]
        found = [
            None if item is None else remove_command(item, "removal1", NOW, None) for item in items
        ]
        self.pipeline.decide([each for each in found if each is not None])

    def reasons(self, address: str) -> list[str | None]:
        """Return why each stream does not send to an address."""
        held = [self.store.suppression(stream, address) for stream in STREAMS]
        found = [None if item is None else active_suppression(item, NOW, POLICY) for item in held]
        return [None if each is None else each.cause.reason for each in found]

    def put(self, spelling: str, reason: str = "BOUNCE") -> None:
        """Put an address on SES's list."""
        self.ses.account.suppressions.suppress(spelling, reason)

    @property
    def listed(self) -> dict[str, str]:
        """Return the reasons on SES's list, by its own spelling."""
        return {
            each.address: each.reason for each in self.ses.account.suppressions.suppressed.values()
        }

    def sync(self, *, apply: bool) -> tuple[SyncResult, list[SyncDifference]]:
        rows: list[SyncDifference] = []
        done = sync(
            self.account,
            self.local,
            apply=apply,
            now=NOW,
            wait=lambda: None,
            on_difference=rows.append,
        )
        return done, rows


def because(
    reason: SuppressionReason, scope: SuppressionScope = SuppressionScope.ALL, **more: Any
) -> AddSuppression:
    return AddSuppression(
        change="addition1",
        at=NOW - DAY,
        address="",
        reason=reason,
        scope=scope,
        stream="outreach",
        **more,
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = SqliteStore(tmp_path / "sesight.db", clock=lambda: NOW)
    rules = Rules(counting=COUNTING, suppression=POLICY, live_from=store.live_from)
    pipeline = Pipeline(store, rules, lambda: NOW, None)
    with simulated_ses(clock=lambda: LISTED_AT) as ses:
        account = AccountSuppressionList(ses_client(ses), lambda _: None)
        yield Bench(ses, account, store, pipeline)
    store.close()


def test_dry_run_is_what_is_then_done(bench: Bench) -> None:
    """Without `apply` a sync tells what it would do and writes nothing; with it, it does that; again,
    it finds nothing to do.
    """
    bench.put("Listed@example.org")
    bench.put("angry@example.org", "COMPLAINT")
    bench.suppress(
        "gone@example.org", because(SuppressionReason.BOUNCED, spelling="Gone@example.org")
    )
    dry = bench.sync(apply=False)
    assert dry == (
        SyncResult(2, {SyncAction.TAKEN: 2, SyncAction.PUT: 1}),
        [
            SyncDifference("Listed@example.org", SyncAction.TAKEN, "BOUNCE"),
            SyncDifference("angry@example.org", SyncAction.TAKEN, "COMPLAINT"),
            SyncDifference("Gone@example.org", SyncAction.PUT, "BOUNCE"),
        ],
    )
    assert bench.reasons("listed@example.org") == [None, None]
    assert "Gone@example.org" not in bench.listed
    assert bench.sync(apply=True) == dry
    assert bench.reasons("listed@example.org") == ["account-list", "account-list"]
    assert bench.listed == {
        "Listed@example.org": "BOUNCE",
        "angry@example.org": "COMPLAINT",
        "Gone@example.org": "BOUNCE",
    }
    assert bench.sync(apply=True) == (SyncResult(3, {}), [])


def test_removals_stay(bench: Bench) -> None:
    """What was removed here stays removed, and is told; SES listing it anew suppresses it again."""
    bench.put("ana@example.org")
    bench.sync(apply=True)
    bench.remove("ana@example.org")
    told = [SyncDifference("ana@example.org", SyncAction.LIFTED, "BOUNCE")]
    assert bench.sync(apply=True) == (SyncResult(1, {SyncAction.LIFTED: 1}), told)
    assert bench.reasons("ana@example.org") == [None, None]
    bench.ses.account.suppressions.suppressed["ana@example.org"].at = NOW + 1
    assert bench.sync(apply=True)[0] == SyncResult(1, {SyncAction.TAKEN: 1})
    assert bench.reasons("ana@example.org") == ["account-list", "account-list"]


def test_what_ends_here_is_taken(bench: Bench) -> None:
    """What blocks here only for a while is suppressed for good when SES lists it."""
    bench.suppress("ana@example.org", because(SuppressionReason.MANUAL, until=NOW + DAY))
    bench.put("ana@example.org")
    assert bench.sync(apply=True)[0] == SyncResult(1, {SyncAction.TAKEN: 1})
    assert bench.sync(apply=True)[0] == SyncResult(1, {})


def test_what_left_ses_list_does_not_return(bench: Bench) -> None:
    """What is suppressed only since SES listed it is not put back when somebody took it off there."""
    bench.put("ana@example.org")
    bench.sync(apply=True)
    bench.ses.account.suppressions.suppressed.clear()
    assert bench.sync(apply=True) == (SyncResult(0, {}), [])
    assert bench.listed == {}


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        ([because(SuppressionReason.BOUNCED)], "BOUNCE"),
        ([because(SuppressionReason.COMPLAINT)], "COMPLAINT"),
        ([because(SuppressionReason.COMPLAINT_CANDIDATE)], "COMPLAINT"),
        ([because(SuppressionReason.MANUAL)], "COMPLAINT"),
        ([because(SuppressionReason.IMPORT)], "COMPLAINT"),
        ([because(SuppressionReason.BOUNCED), because(SuppressionReason.COMPLAINT)], "COMPLAINT"),
        ([because(SuppressionReason.UNSUBSCRIBED), because(SuppressionReason.BOUNCED)], "BOUNCE"),
        ([because(SuppressionReason.UNSUBSCRIBED)], None),
        ([because(SuppressionReason.VALIDATION)], None),
        ([because(SuppressionReason.ACCOUNT_LIST)], None),
        ([because(SuppressionReason.MANUAL, until=NOW + DAY)], None),
        ([because(SuppressionReason.COMPLAINT, SuppressionScope.MARKETING)], None),
        ([because(SuppressionReason.MANUAL, SuppressionScope.STREAM)], None),
    ],
)
def test_what_ses_is_told(bench: Bench, causes: list[AddSuppression], told: str | None) -> None:
    """SES is told only of what all streams suppress for good, and for which it has a word."""
    bench.suppress("ana@example.org", *causes)
    bench.sync(apply=True)
    assert bench.listed.get("ana@example.org") == told


def test_what_is_left_alone(bench: Bench) -> None:
    """Whole domains and test addresses are not put, test addresses not taken; what cannot be read is
    told.
    """
    bench.suppress("@example.org", because(SuppressionReason.MANUAL))
    bench.suppress("bounce@simulator.amazonses.com", because(SuppressionReason.BOUNCED))
    bench.put("complaint@simulator.amazonses.com", "COMPLAINT")
    bench.put("no address")
    told = [SyncDifference("no address", SyncAction.UNREADABLE, "BOUNCE")]
    assert bench.sync(apply=True) == (SyncResult(2, {SyncAction.UNREADABLE: 1}), told)
    assert len(bench.listed) == 2


def test_another_spelling_is_the_same(bench: Bench) -> None:
    """SES's list is compared without case, so one mailbox is not put there twice."""
    bench.put("ANA@Example.org")
    bench.suppress("ana@example.org", because(SuppressionReason.BOUNCED))
    assert bench.sync(apply=True) == (SyncResult(1, {}), [])
    assert bench.listed == {"ANA@Example.org": "BOUNCE"}


def test_pages(bench: Bench) -> None:
    """All of a long list is read, and all of ours is looked at, a call at a turn."""
    for n in range(2_345):
        bench.put(f"a{n}@example.org")
    for n in range(3):
        bench.suppress(f"b{n}@example.org", because(SuppressionReason.BOUNCED))
    waited: list[None] = []
    done = sync(
        bench.account,
        bench.local,
        apply=False,
        now=NOW,
        wait=lambda: waited.append(None),
        on_difference=lambda _: None,
    )
    assert done == SyncResult(2_345, {SyncAction.TAKEN: 2_345, SyncAction.PUT: 3})
    assert len(waited) == 3


def test_sandbox(bench: Bench) -> None:
    """In the sandbox nothing is put, what SES lists is taken over all the same."""
    bench.ses.account.production = False
    bench.put("ana@example.org")
    bench.suppress("bo@example.org", because(SuppressionReason.BOUNCED))
    with pytest.raises(AccountUnknown, match="sandbox"):
        bench.sync(apply=True)
    assert bench.reasons("ana@example.org") == ["account-list", "account-list"]
    assert bench.listed == {"ana@example.org": "BOUNCE"}


def test_refused(bench: Bench) -> None:
    """What SES does not take is told with its code, and the rest goes on."""
    bench.ses.account.suppressions.production = False  # as if it were refused, one by one
    for name in "ab":
        bench.suppress(f"{name}@example.org", because(SuppressionReason.BOUNCED))
    assert bench.sync(apply=True) == (
        SyncResult(0, {SyncAction.REFUSED: 2}),
        [
            SyncDifference(
                f"{name}@example.org", SyncAction.REFUSED, "BOUNCE", "BadRequestException"
            )
            for name in "ab"
        ],
    )


def test_cut_off_and_made_again(bench: Bench) -> None:
    """A sync that SES cut off has done what it told, and goes on when it is made again."""
    for name in "abc":
        bench.suppress(f"{name}@example.org", because(SuppressionReason.BOUNCED))
    bench.ses.fail(
        Fault.ERROR,
        operations=("PutSuppressedDestination",),
        matches=lambda given: given["EmailAddress"] == "b@example.org",
    )
    with pytest.raises(AccountUnknown):
        bench.sync(apply=True)
    assert list(bench.listed) == ["a@example.org"]
    assert bench.sync(apply=True)[0].differences == {SyncAction.PUT: 2}
    assert sorted(bench.listed) == [f"{name}@example.org" for name in "abc"]
