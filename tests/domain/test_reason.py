"""Why a message was not delivered."""

import pytest

from sesight.domain.event import Bounce, Complaint
from sesight.domain.outcome import derive_facts
from sesight.domain.reason import OTHER, REASONS, reason_of
from tests.builders import NOW, delivery, event, not_rendered, opened, record, rejected, sent


def bounced(kind: str | None, sub_type: str | None = "General", status: str | None = None) -> str:
    """Return the reason of a record with such a bounce."""
    told = event(Bounce(NOW, kind=kind, sub_type=sub_type, status=status, action="failed"))
    return reason_of(derive_facts(record(told).timeline)) or "none"


@pytest.mark.parametrize(
    ("sub_type", "reason"),
    [
        ("NoEmail", "no-such-mailbox"),
        ("MailboxFull", "mailbox-full"),
        ("MessageTooLarge", "too-large"),
        ("AttachmentRejected", "too-large"),
        ("ContentRejected", "content"),
        ("CustomTimeoutExceeded", "timed-out"),
        ("Suppressed", "global-suppression-list"),
        ("OnAccountSuppressionList", "account-suppression-list"),
        ("OnTenantSuppressionList", "tenant-suppression-list"),
        ("EmailValidationSuppressed", "validation"),
        ("UnsubscribedRecipient", "unsubscribed"),
    ],
)
def test_sub_types(sub_type: str, reason: str) -> None:
    """What SES names in the sub type counts before the status."""
    assert bounced("Permanent", sub_type, "5.7.1") == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("5.1.1", "no-such-mailbox"),
        ("5.1.10", "no-such-domain"),
        ("5.1.2", "no-such-domain"),
        ("5.4.4", "no-such-domain"),
        ("4.4.4", "no-such-domain"),
        ("5.2.2", "mailbox-full"),
        ("4.2.2", "mailbox-full"),
        ("5.3.4", "too-large"),
        ("5.2.3", "too-large"),
        ("5.6.0", "content"),
        ("5.7.1", "policy"),
        ("4.7.0", "policy"),
        ("4.4.7", "timed-out"),
        ("4.4.1", "server-trouble"),
        ("4.3.2", "server-trouble"),
        ("5.1.3", "no-such-mailbox"),
        ("4.1.1", "transient"),
        ("4.1.8", "transient"),
        ("4.0.0", "transient"),
        ("5.0.0", "permanent"),
        ("nonsense", "permanent"),
        (None, "permanent"),
    ],
)
def test_statuses(status: str | None, reason: str) -> None:
    """Where the sub type says nothing, the enhanced status does, else the bounce's kind."""
    assert bounced("Permanent", "General", status) == reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Permanent", "permanent"),
        ("Transient", "transient"),
        ("Undetermined", "undetermined"),
        ("SomethingNew", OTHER),
        (None, OTHER),
    ],
)
def test_kinds(kind: str | None, reason: str) -> None:
    """Without a closer reason the kind of bounce is the reason; unknown kinds go to `~other`."""
    assert bounced(kind) == reason


def test_others() -> None:
    """A virus, a template and a suppressed complaint have reasons too."""
    assert [
        reason_of(derive_facts(record(told).timeline))
        for told in (
            rejected(),
            not_rendered(),
            event(Complaint(NOW, sub_type="OnAccountSuppressionList")),
        )
    ] == ["virus", "rendering", "account-suppression-list"]


@pytest.mark.parametrize(
    "told",
    [
        sent(),
        delivery(),
        opened(),
        event(Complaint(NOW, kind="abuse")),
        event(Complaint(NOW, kind="not-spam")),
        event(Bounce(NOW, kind="Transient", sub_type="General")),
    ],
)
def test_none(told) -> None:
    """What was delivered or is pending has no reason."""
    assert reason_of(derive_facts(record(told).timeline)) is None


def test_every_reason_is_a_sentence() -> None:
    """Every code has words for people."""
    assert all(words[0].isupper() for words in REASONS.values())
