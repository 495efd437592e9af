"""What somebody decides of addresses and domains: joined like events, told truthfully."""

from itertools import permutations
from typing import Any

import pytest

from sesight.domain.errors import InvalidRequest
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.item import (
    CAUSES_KEPT,
    REMOVALS_KEPT,
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    suppression_keys,
    unlifted_causes,
    with_cause,
    with_removal,
)
from sesight.domain.suppression.manual import (
    AddSuppression,
    RemoveSuppression,
    RestoreSuppression,
    ResultStatus,
    SuppressionChange,
    SuppressionRequest,
    add_command,
    addition_result,
    affected_streams,
    apply_command,
    is_covered,
    normalized_note,
    remove_command,
    restore_command,
    suppression_key,
)
from sesight.domain.suppression.policy import (
    SuppressionPolicy,
    active_suppression,
    highest_priority,
)
from sesight.domain.timestamps import DAY
from tests.builders import NOW, POLICY

ANA = "ana@contoso.example"
PARTNERS = Stream("partners", "Partners", "marketing", "partners-tracking")
STREAMS = {each.id: each for each in (OUTREACH, PARTNERS, FINANCE)}


def manual(change: str = "c-1", at: int = NOW, **more: Any) -> AddSuppression:
    """Return that Ana is suppressed in outreach by hand."""
    values = {"address": ANA, "scope": SuppressionScope.STREAM, "stream": "outreach", **more}
    return AddSuppression(change=change, at=at, **values)


def after(*decisions: Any, of: Suppression | None = None) -> Suppression:
    """Return an item in outreach after decisions."""
    for each in decisions:
        of = apply_command(of, "outreach", each)
    assert of is not None
    return of


def reason_now(item: Suppression, now: int = NOW) -> str | None:
    """Return why an item blocks."""
    found = active_suppression(item, now, POLICY)
    return None if found is None else found.cause.reason


@pytest.mark.parametrize(
    ("scope", "stream", "expected"),
    [
        ("stream", "finance", ["finance"]),
        ("marketing", None, ["outreach", "partners"]),
        ("marketing", "finance", ["outreach", "partners", "finance"]),
        ("all", None, ["outreach", "partners", "finance"]),
        ("all", "outreach", ["outreach", "partners", "finance"]),
    ],
)
def test_reach(scope: str, stream: str | None, expected: list[str]) -> None:
    """An addition is kept in its own stream's table and in those its scope reaches; a removal and its
    restoration in the one they name.
    """
    wanted = manual(scope=SuppressionScope(scope), stream=stream)
    assert list(affected_streams(wanted, STREAMS)) == expected
    lift = RemoveSuppression(change="c", at=NOW, address=ANA, stream="finance", lifts=())
    restore = RestoreSuppression(restores="c", at=NOW, address=ANA, stream="finance")
    assert (
        list(affected_streams(lift, STREAMS))
        == list(affected_streams(restore, STREAMS))
        == ["finance"]
    )


def test_addition() -> None:
    """An addition is a cause of its own, with its note, and keeps how the address is spelled."""
    wanted = manual(note="asked by phone", spelling="Ana@contoso.example", until=NOW + DAY)
    assert after(wanted) == Suppression(
        "outreach",
        ANA,
        (
            Cause(
                NOW, "manual:c-1", "manual", NOW, "stream", None, None, "outreach",
                "asked by phone", NOW + DAY,
            ),
        ),
        spelling="Ana@contoso.example",
    )  # fmt: skip
    assert after(wanted, wanted) == after(wanted)


def test_order_and_repetition() -> None:
    """Additions, removals, restorations and causes of events end in one item in any order, and told
    again change nothing.
    """
    bounced = Cause(NOW - DAY, "bounced:m-1:1", "bounced", NOW - DAY, "all", "m-1")
    told: list[Any] = [
        manual("c-1", NOW - 9),
        manual("c-2", NOW - 5, reason=SuppressionReason.IMPORT),
        RemoveSuppression(
            change="c-3", at=NOW - 3, address=ANA, stream="outreach", lifts=("manual:c-1",)
        ),
        RemoveSuppression(
            change="c-4", at=NOW - 2, address=ANA, stream="outreach", lifts=("import:c-2",)
        ),
        RestoreSuppression(restores="c-3", at=NOW - 1, address=ANA, stream="outreach"),
        bounced,
    ]
    items = set()
    for order in permutations(told):
        item = None
        for each in (*order, order[0], order[3]):
            if isinstance(each, Cause):
                item = with_cause(item, "outreach", ANA, each)
            else:
                item = apply_command(item, "outreach", each)
        items.add(item)
    [only] = items
    assert [held.id for held in unlifted_causes(only)] == ["manual:c-1"]
    assert only.removals == (
        Removal(NOW - 3, "c-3", ("manual:c-1",), None, NOW - 1),
        Removal(NOW - 2, "c-4", ("import:c-2",)),
    )


def test_removal() -> None:
    """A removal names what stands, also what does not block at the moment, and once is enough."""
    item = after(manual(), manual("c-2", until=NOW - 1), manual("c-3", NOW + 1))
    lift = remove_command(item, "r-1", NOW + 2, "a mistake")
    assert lift == RemoveSuppression(
        change="r-1",
        at=NOW + 2,
        address=ANA,
        stream="outreach",
        lifts=("manual:c-1", "manual:c-2", "manual:c-3"),
        note="a mistake",
    )
    free = after(lift, of=item)
    assert reason_now(free) is None
    assert remove_command(free, "r-2", NOW + 3, "again") is None
    again = remove_command(free, "r-1", NOW + 3, "a mistake")
    assert after(again, of=free) is free


def test_removal_of_some() -> None:
    """Of several causes those named are lifted, and the others go on blocking."""
    item = after(manual(), manual("c-2", reason=SuppressionReason.COMPLAINT))
    lift = remove_command(item, "r-1", NOW, None, ("complaint:c-2", "nothing"))
    assert lift is not None
    assert lift.lifts == ("complaint:c-2",)
    assert reason_now(after(lift, of=item)) == "manual"
    assert remove_command(item, "r-1", NOW, None, ("nothing",)) is None


def test_no_removal_is_undone_by_a_replay() -> None:
    """The cause that a removal lifted, told again, lifts itself: so does the same act, and a bounce
    of a message sent before the removal that was not known then.
    """
    item = after(manual())
    free = after(remove_command(item, "r-1", NOW + DAY, None), of=item)
    assert after(manual(), of=free) is free
    late = Cause(NOW + 2 * DAY, "bounced:m-1:9", "bounced", NOW, "all", "m-1")
    assert reason_now(with_cause(free, "outreach", ANA, late), NOW + 3 * DAY) is None
    assert reason_now(after(manual("c-2", NOW + 2 * DAY), of=free), NOW + 3 * DAY) == "manual"


def test_restoration() -> None:
    """A removal taken back lifts nothing any more, neither what it names nor bounces before it; the
    same removal told late does not lift again, another one does.
    """
    bounced = Cause(NOW - DAY, "bounced:m-1:1", "bounced", NOW - DAY, "all", "m-1")
    item = with_cause(after(manual(reason=SuppressionReason.COMPLAINT)), "outreach", ANA, bounced)
    lift = remove_command(item, "r-1", NOW, "a mistake")
    free = after(lift, of=item)
    assert reason_now(free) is None
    back = restore_command(free, "r-1", NOW + 5)
    assert back is not None
    restored = after(back, of=free)
    assert reason_now(restored) == "complaint"
    assert unlifted_causes(restored) == item.causes
    assert after(lift, of=restored) is restored
    assert restored.removals == (Removal(NOW, "r-1", lift.lifts, "a mistake", NOW + 5),)
    again = remove_command(restored, "r-2", NOW + 9, None)
    assert reason_now(after(again, of=restored)) is None
    assert restore_command(free, "other", NOW) is None


def test_removals_are_kept() -> None:
    """However many removals there are, none is forgotten, so no cause returns; nobody is removed
    without end.
    """
    item = after(manual("c-stands"))
    for n in range(REMOVALS_KEPT):
        item = with_removal(item, Removal(NOW + n, f"r-{n}", (f"manual:c-{n}",)))
    assert len(item.removals) == REMOVALS_KEPT
    assert unlifted_causes(after(manual("c-0"), of=item)) == unlifted_causes(item)
    with pytest.raises(InvalidRequest, match="250 times"):
        remove_command(item, "r-x", NOW, None)


def test_temporary_ones_never_push_out_a_lasting_one() -> None:
    """Many suppressions that end leave one that does not where it is."""
    lasting = manual("c-0", NOW - 1)
    many = [manual(f"d-{n}", NOW + n, until=NOW + DAY + n) for n in range(CAUSES_KEPT + 8)]
    item = after(lasting, *many)
    assert len(item.causes) == CAUSES_KEPT + 1
    assert reason_now(item, NOW + 99 * DAY) == "manual"


def test_soft_bounces_from_elsewhere() -> None:
    """Soft bounces that escalated elsewhere, and say until when, block until then."""
    item = after(manual(reason=SuppressionReason.SOFT_BOUNCES, until=NOW + DAY))
    assert (reason_now(item), reason_now(item, NOW + DAY)) == ("soft-bounces", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ana@Contoso.Example", (ANA, "Ana@Contoso.Example", True)),
        (" ana@contoso.example ", (ANA, None, True)),
        ("Ana B. <ana@contoso.example>", (ANA, None, True)),
        ('"B, Ana" <ana@contoso.example>', (ANA, None, True)),
        ("@Contoso.Example", ("@contoso.example", "@Contoso.Example", True)),
        ("@bücher.example", ("@xn--bcher-kva.example", "@bücher.example", True)),
        ('"john.doe"@contoso.example', ("john.doe@contoso.example", None, True)),
        ("Ana Bee ana@contoso.example", (ANA, None, True)),
        ("Ana 👩\u200d💻 <ana@contoso.example>", (ANA, None, True)),
        ("ana@contoso", ("ana@contoso", None, False)),
        ("undisclosed-recipients:;", ("undisclosed-recipients:;", None, False)),
    ],
)
def test_keys(text: str, expected: tuple[str, str | None, bool]) -> None:
    """An address, or a whole domain, is known by its normal form, other text as it is spelled."""
    assert suppression_key(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "ana", "ana@", "@", "@contoso", "a@x.example, b@x.example", "a@b@"),
        *("a@x.example;b@x.example", "a@x.example b@x.example", "ana@con\ntoso.example"),
        "<a@x.example> <b@x.example>",
    ],
)
def test_no_addition(text: str) -> None:
    """What is no single address is refused in a sentence that does not repeat it."""
    with pytest.raises(InvalidRequest) as caught:
        add_command(SuppressionRequest(address=text), "change-1", NOW, STREAMS, POLICY)
    assert str(caught.value).endswith(".")
    assert "contoso" not in str(caught.value)


def test_keys_of() -> None:
    """An address can be blocked by its own item and by its domain's, a domain by its own."""
    assert suppression_keys(ANA) == (ANA, "@contoso.example")
    assert suppression_keys("@contoso.example") == ("@contoso.example",)


def test_foremost() -> None:
    """Of what blocks an address and its domain, the first of the reasons is shown."""
    own = after(manual())
    domain = after(manual(address="@contoso.example", reason=SuppressionReason.COMPLAINT))
    for items in ([own, domain], [domain, own]):
        found = highest_priority(items, NOW, POLICY)
        assert found is not None
        assert found.cause.reason == "complaint"
    assert highest_priority([after(manual(until=NOW))], NOW, POLICY) is None


@pytest.mark.parametrize(
    ("reason", "stream", "scope"),
    [
        ("manual", None, "all"),
        ("manual", "finance", "stream"),
        ("import", None, "all"),
        ("import", "outreach", "stream"),
        ("bounced", "outreach", "all"),
        ("account-list", None, "all"),
        ("validation", None, "all"),
        ("complaint", "outreach", "marketing"),
        ("complaint-candidate", None, "marketing"),
        ("unsubscribed", "outreach", "stream"),
    ],
)
def test_default_scopes(reason: str, stream: str | None, scope: str) -> None:
    """Where nobody says how far, the policy of the reason does; by hand, the stream named, else all."""
    wish = SuppressionRequest(address=ANA, reason=SuppressionReason(reason), stream=stream)
    assert add_command(wish, "c-1", NOW, STREAMS, POLICY).scope == scope
    wider = SuppressionPolicy(SuppressionScope.ALL, SuppressionScope.ALL, SuppressionScope.ALL)
    if reason not in ("manual", "import"):
        assert add_command(wish, "c-1", NOW, STREAMS, wider).scope == "all"


def test_wish() -> None:
    """A wish comes to a decision of now; what was known elsewhere before keeps its time, and is one
    cause whatever the act that brings it.
    """
    wish = SuppressionRequest(
        address="Ana@contoso.example", note="  asked \n twice ", until=NOW + 1
    )
    assert add_command(wish, "c-1", NOW, STREAMS, POLICY) == AddSuppression(
        change="c-1",
        at=NOW,
        address=ANA,
        scope=SuppressionScope.ALL,
        until=NOW + 1,
        note="asked twice",
        spelling="Ana@contoso.example",
    )
    old = SuppressionRequest(address=ANA, reason=SuppressionReason.BOUNCED, at=NOW - DAY)
    one, other = (add_command(old, change, NOW, STREAMS, POLICY) for change in ("c-1", "c-2"))
    assert one == other
    assert one.cause.id == f"bounced:import:{NOW - DAY}"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"address": "ana"}, "not an address"),
        ({"stream": "nope"}, "no stream 'nope'. The streams are: outreach, partners, finance"),
        ({"scope": SuppressionScope.STREAM}, "name the stream"),
        ({"reason": SuppressionReason.UNSUBSCRIBED}, "name the stream"),
        ({"until": NOW}, "in the past"),
        ({"reason": SuppressionReason.BLOCKED, "stream": "outreach"}, "temporary"),
        ({"reason": SuppressionReason.SOFT_BOUNCES, "stream": "outreach"}, "temporary"),
        ({"at": NOW + 1}, "in the future"),
        ({"note": "x" * 513}, "512 characters"),
        ({"note": "\x00"}, "control character"),
    ],
)
def test_invalid_requests(wrong: dict[str, Any], sentence: str) -> None:
    """A wish that makes no sense is refused with what is wrong with it."""
    with pytest.raises(InvalidRequest, match=sentence):
        add_command(SuppressionRequest(**{"address": ANA, **wrong}), "c-1", NOW, STREAMS, POLICY)


def test_notes() -> None:
    """An empty note is none."""
    assert (normalized_note(None), normalized_note(" \n"), normalized_note(" a  b ")) == (
        None,
        None,
        "a b",
    )


def test_covers() -> None:
    """An addition is known where the item is suppressed for its reason at least as long already; for
    another reason it is not, since that one may be lifted alone.
    """
    for_good, for_a_day = after(manual()), after(manual(until=NOW + DAY))
    assert is_covered(for_good, manual())
    assert is_covered(for_good, manual(until=NOW + 9))
    assert is_covered(for_a_day, manual(until=NOW + DAY))
    assert not is_covered(for_a_day, manual(until=NOW + DAY + 1))
    assert not is_covered(for_a_day, manual())
    assert not is_covered(for_good, manual(reason=SuppressionReason.COMPLAINT))
    assert not is_covered(None, manual())
    lift = remove_command(for_good, "r-1", NOW + 1, None)
    assert not is_covered(after(lift, of=for_good), manual("c-2", NOW + 2))


def test_what_became_of_an_addition() -> None:
    """It is said in which streams an address is suppressed newly, where it was already, and where a
    later removal holds.
    """
    wanted = manual(reason=SuppressionReason.BOUNCED, at=NOW - DAY, scope=SuppressionScope.ALL)
    blocked = after(manual("c-0"))
    removed = with_removal(Suppression("finance", ANA), Removal(NOW, "r-1"))

    def told(
        *before: tuple[str, Suppression | None],
    ) -> tuple[ResultStatus, tuple[str, ...], str | None]:
        changes = [
            SuppressionChange(name, item, apply_command(item, name, wanted))
            for name, item in before
        ]
        found = addition_result(wanted, changes, NOW, POLICY)
        assert found.address == ANA
        return found.status, found.streams, found.detail

    stays = "A later removal in finance lifts this cause there."
    assert told(("outreach", None), ("partners", blocked)) == (
        ResultStatus.ADDED,
        ("outreach",),
        None,
    )
    assert told(("outreach", blocked)) == (ResultStatus.KNOWN, ("outreach",), None)
    assert told(("finance", removed)) == (ResultStatus.LIFTED, (), stays)
    assert told(("outreach", None), ("finance", removed)) == (
        ResultStatus.ADDED,
        ("outreach",),
        stays,
    )
