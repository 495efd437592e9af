"""Which event suppresses whom: for what reason, how far, until when."""

from typing import Any

import pytest

from sesight.domain.event import (
    AnyOccurrence,
    Bounce,
    Complaint,
    Delivery,
    Event,
    Identity,
    Open,
    Reject,
    Report,
    Send,
    Subscription,
)
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.item import Cause, SuppressionScope
from sesight.domain.suppression.policy import SuppressionPolicy, causes_of, streams_in_scope
from sesight.domain.timestamps import DAY
from tests.builders import NOW, POLICY

ANA = "ana@contoso.example"
PARTNERS = Stream("partners", "Partners", "marketing", "partners-tracking", topic="offers")
STREAMS = {each.id: each for each in (OUTREACH, PARTNERS, FINANCE)}


def causes(
    occurrence: AnyOccurrence,
    stream: Stream = OUTREACH,
    policy: SuppressionPolicy = POLICY,
    *,
    to: str = ANA,
    mailable: bool = True,
) -> list[tuple[str, Cause]]:
    """Return what one report causes."""
    report = Report(to, occurrence, None, mailable)
    event = Event("m-1", Identity(NOW - DAY), (report,))
    return list(causes_of(event, report, stream, "winter", policy))


def said(occurrence: AnyOccurrence, **more: Any) -> list[tuple[str, str, str, int | None]]:
    """Return (address, reason, scope, until) of what one report causes."""
    return [
        (address, cause.reason, cause.scope, cause.until)
        for address, cause in causes(occurrence, **more)
    ]


BOUNCED = [(ANA, "bounced", "all", None)]
BLOCKED = [(ANA, "blocked", "stream", NOW + 7 * DAY)]
LISTED = [(ANA, "account-list", "all", None)]
SOFT = [(ANA, "soft-bounces", "stream", None)]
NOTHING: list[Any] = []


@pytest.mark.parametrize(
    ("kind", "sub_type", "status", "expected"),
    [
        ("Permanent", "General", None, BOUNCED),
        ("Permanent", "General", "5.1.1", BOUNCED),
        ("Permanent", "NoEmail", "5.0.0", BOUNCED),
        ("Permanent", "Suppressed", "5.1.1", BOUNCED),
        ("Permanent", "NewThing", None, BOUNCED),
        ("Permanent", "General", "5.3.0", BOUNCED),
        ("Permanent", "General", "5.7.1", BLOCKED),
        ("Permanent", "General", "5.7.26", BLOCKED),
        ("Permanent", "General", "5.6.0", BLOCKED),
        ("Permanent", "General", "5.3.4", BLOCKED),
        ("Permanent", "General", "5.70.1", BOUNCED),
        ("Permanent", "General", "5.3.40", BOUNCED),
        ("Permanent", "General", "4.0.0", NOTHING),
        ("Permanent", "General", "4.2.2", SOFT),
        ("Permanent", "OnAccountSuppressionList", "5.1.1", LISTED),
        ("Permanent", "OnTenantSuppressionList", None, LISTED),
        ("Permanent", "EmailValidationSuppressed", None, [(ANA, "validation", "all", None)]),
        ("Permanent", "UnsubscribedRecipient", None, [(ANA, "unsubscribed", "stream", None)]),
        ("Transient", "General", "5.1.1", BOUNCED),
        ("Transient", "General", "5.1.2", BOUNCED),
        ("Transient", "General", "5.1.10", BOUNCED),
        ("Transient", "General", "5.4.4", BOUNCED),
        ("Transient", "MailboxFull", "4.2.2", SOFT),
        ("Transient", "MailboxFull", None, SOFT),
        ("Transient", "General", "4.1.8", SOFT),
        ("Transient", "General", "4.2.1", SOFT),
        ("Transient", "General", "5.1.3", SOFT),
        ("Transient", "General", "5.2.1", SOFT),
        ("Transient", None, "4.2.1", SOFT),
        ("Undetermined", "General", "4.2.1", SOFT),
        ("Transient", "General", "4.4.7", NOTHING),
        ("Transient", "General", None, NOTHING),
        ("Transient", "MessageTooLarge", "5.2.3", NOTHING),
        ("Transient", "ContentRejected", "5.2.0", NOTHING),
        ("Transient", "CustomTimeoutExceeded", "4.4.7", NOTHING),
        ("Undetermined", "Undetermined", None, NOTHING),
        (None, None, None, NOTHING),
    ],
)
def test_bounces(
    kind: str | None, sub_type: str | None, status: str | None, expected: list[Any]
) -> None:
    """A bounce suppresses everywhere if it speaks of the address for good, pauses its stream if we or
    the message were refused, counts towards soft bounces, or says nothing of the address.
    """
    assert said(Bounce(NOW, kind=kind, sub_type=sub_type, status=status)) == expected


def test_soft_bounces_are_off_where_the_stream_says_so() -> None:
    """In a transactional stream soft bounces do not escalate."""
    full = Bounce(NOW, kind="Transient", sub_type="MailboxFull")
    assert said(full, stream=FINANCE) == []


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        (Complaint(NOW, kind="abuse"), [(ANA, "complaint", "marketing", None)]),
        (Complaint(NOW), [(ANA, "complaint", "marketing", None)]),
        (Complaint(NOW, kind="not-spam"), []),
        (Complaint(NOW, sub_type="OnAccountSuppressionList"), LISTED),
        (Complaint(NOW, sub_type="OnTenantSuppressionList"), LISTED),
        (
            Complaint(NOW, sub_type="EmailValidationSuppressed"),
            [(ANA, "validation", "all", None)],
        ),
        (
            Complaint(NOW, sub_type="UnsubscribedRecipient"),
            [(ANA, "unsubscribed", "stream", None)],
        ),
    ],
)
def test_complaints(complaint: Complaint, expected: list[Any]) -> None:
    """A complaint suppresses in all marketing streams; a correction does nothing; a send that SES did
    not attempt is suppressed for the reason SES gives.
    """
    assert said(complaint) == expected


def test_candidates() -> None:
    """Each candidate of a complaint is suppressed as a candidate, as spelled if it does not parse."""
    candidates = ('"a b"@example.org', ANA, "bo@contoso.example")
    assert said(Complaint(NOW, kind="abuse", candidates=candidates), to="*") == [
        ('"a b"@example.org', "complaint-candidate", "marketing", None),
        (ANA, "complaint-candidate", "marketing", None),
        ("bo@contoso.example", "complaint-candidate", "marketing", None),
    ]


def test_nobody() -> None:
    """A complaint or bounce of nobody who can be named suppresses nobody."""
    assert said(Complaint(NOW, kind="abuse"), to="*") == []
    assert said(Bounce(NOW, kind="Permanent"), to="*", mailable=False) == []


@pytest.mark.parametrize(
    "occurrence",
    [
        Bounce(NOW, kind="Permanent"),
        Complaint(NOW, kind="abuse"),
        Subscription(NOW, contact_list="news", left=("*",)),
    ],
)
def test_what_does_not_parse(occurrence: AnyOccurrence) -> None:
    """What does not parse as an address is suppressed as it is spelled; but neither nobody nor a
    domain is, by a text that looks like one.
    """
    assert [each[0] for each in said(occurrence, to="Ana, at home")] == ["Ana, at home"]
    assert said(occurrence, to="@example.org") == said(occurrence, to="*") == []


@pytest.mark.parametrize(
    ("occurrence", "to", "reason"),
    [
        (Bounce(NOW, kind="Permanent", final=ANA), "Ana, at home", "bounced"),
        (Bounce(NOW, kind="Permanent", final=ANA), "*", "bounced"),
        (Complaint(NOW, kind="abuse", candidates=(ANA,)), "Ana, at home", "complaint"),
        (Complaint(NOW, kind="abuse", candidates=(ANA,)), "*", "complaint"),
    ],
)
def test_named_beside_what_does_not_parse(occurrence: AnyOccurrence, to: str, reason: str) -> None:
    """An address that is named where the recipient does not parse is the one that is suppressed."""
    assert [each[:2] for each in said(occurrence, to=to)] == [(ANA, reason)]


@pytest.mark.parametrize(
    ("left", "stream", "suppressed"),
    [
        (("*",), OUTREACH, True),
        (("digest",), OUTREACH, True),
        ((), OUTREACH, False),
        (None, OUTREACH, False),
        (("offers",), PARTNERS, True),
        (("digest", "offers"), PARTNERS, True),
        (("*",), PARTNERS, True),
        (("digest",), PARTNERS, False),
    ],
)
def test_unsubscribes(left: tuple[str, ...] | None, stream: Stream, suppressed: bool) -> None:
    """Leaving a list suppresses in the stream; where a topic stands for it, leaving that or all."""
    expected = [(ANA, "unsubscribed", "stream", None)] if suppressed else []
    assert said(Subscription(NOW, contact_list="news", left=left), stream=stream) == expected


@pytest.mark.parametrize(
    "occurrence", [Send(NOW), Delivery(NOW), Open(NOW), Reject(NOW)], ids=lambda each: each.type
)
def test_harmless(occurrence: AnyOccurrence) -> None:
    """Nothing else suppresses anybody."""
    assert said(occurrence) == []


def test_whole_cause() -> None:
    """A cause says when, of which message sent when, in which campaign and stream, and what was said."""
    bounce = Bounce(NOW, kind="Permanent", status="5.1.1", reply="smtp; 550 5.1.1 no such user")
    assert causes(bounce) == [
        (
            ANA,
            Cause(
                NOW,
                f"bounced:m-1:{NOW}",
                "bounced",
                NOW - DAY,
                "all",
                "m-1",
                "winter",
                "outreach",
                "smtp; 550 5.1.1 no such user",
                None,
            ),
        )
    ]


def test_settings() -> None:
    """Each default scope, and how long a block lasts, is a setting."""
    policy = SuppressionPolicy(
        SuppressionScope.STREAM, SuppressionScope.ALL, SuppressionScope.MARKETING, 1, 30
    )
    assert [
        said(each, policy=policy)[0][1:]
        for each in (
            Bounce(NOW, kind="Permanent"),
            Complaint(NOW),
            Subscription(NOW, left=("*",)),
            Bounce(NOW, kind="Permanent", status="5.7.1"),
        )
    ] == [
        ("bounced", "stream", None),
        ("complaint", "all", None),
        ("unsubscribed", "marketing", None),
        ("blocked", "stream", NOW + DAY),
    ]


@pytest.mark.parametrize(
    ("scope", "stream", "reached"),
    [
        (SuppressionScope.STREAM, "outreach", ["outreach"]),
        (SuppressionScope.MARKETING, "outreach", ["outreach", "partners"]),
        (SuppressionScope.MARKETING, "finance", ["outreach", "partners", "finance"]),
        (SuppressionScope.ALL, "outreach", ["outreach", "partners", "finance"]),
        (SuppressionScope.ALL, "gone", ["outreach", "partners", "finance"]),
        (SuppressionScope.STREAM, "gone", []),
    ],
)
def test_spread(scope: SuppressionScope, stream: str, reached: list[str]) -> None:
    """A cause is kept in its own stream's table, in all marketing streams' too, or in all."""
    assert list(streams_in_scope(scope, stream, STREAMS)) == reached
