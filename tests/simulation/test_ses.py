"""The simulated SES, called by real clients over HTTP: what it accepts, keeps and goes wrong with."""

import email
import email.policy
import json

import botocore.exceptions
import pytest

from sesight.simulation.ses_faults import Fault
from tests.mailing import refusal, ses_client, simple, simulated_ses


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        yield ses, ses_client(ses)


@pytest.fixture
def ses(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


def read(message):
    """Return what would have been sent, parsed."""
    return email.message_from_bytes(message.raw, policy=email.policy.default)


def test_simple(ses, client):
    """A Simple message is kept with all it was sent with, and its MIME says the same."""
    sent = client.send_email(
        **simple(
            "Ana <ana@example.org>",
            ReplyToAddresses=["answers@example.com"],
            EmailTags=[
                {"Name": "campaign_id", "Value": "digest-2026-11"},
                {"Name": "ses:feedback-id-a", "Value": "outreach"},
            ],
        )
    )
    message = ses.message(sent["MessageId"])
    assert (message.tags, message.configuration_set, message.recipients) == (
        {"campaign_id": "digest-2026-11", "ses:feedback-id-a": "outreach"},
        "outreach-tracking",
        ["Ana <ana@example.org>"],
    )
    mail = read(message)
    assert {name: str(mail[name]) for name in ("From", "To", "Reply-To", "Subject")} == {
        "From": "Digest Team <digest@example.com>",
        "To": "Ana <ana@example.org>",
        "Reply-To": "answers@example.com",
        "Subject": "Your November digest",
    }
    assert mail["Message-ID"] == f"<{sent['MessageId']}@eu-west-1.amazonses.com>"
    assert mail["Feedback-ID"].startswith("outreach::")
    assert [part.get_content().strip() for part in mail.iter_parts()] == [
        "Hello.",
        "<p>Hello.</p>",
    ]


def test_account(client):
    """GetAccount answers the quota, the rate and what is left to do."""
    account = client.get_account()
    assert (account["SendingEnabled"], account["EnforcementStatus"]) == (True, "HEALTHY")
    assert account["SendQuota"]["MaxSendRate"] == 1_000.0


def test_configuration_set(client):
    """A configuration set that does not exist is refused with 404."""
    assert refusal(client.send_email, **simple(ConfigurationSetName="nobodys")) == (
        404,
        "NotFoundException",
        "Configuration set nobodys does not exist.",
    )


def test_template(ses, client):
    """A stored template is rendered with the data of the call."""
    client.create_email_template(
        TemplateName="hello",
        TemplateContent={"Subject": "Hello {{name}}", "Text": "{{#if new}}Welcome{{/if}} {{name}}"},
    )
    data = json.dumps({"name": "Ana", "new": True})
    content = {"Template": {"TemplateName": "hello", "TemplateData": data}}
    sent = client.send_email(**simple(Content=content))
    message = ses.message(sent["MessageId"])
    assert (message.subject, message.text, message.html) == ("Hello Ana", "Welcome Ana", None)


@pytest.mark.parametrize(
    ("fault", "accepted", "failure"),
    [
        (Fault.RESET, 0, botocore.exceptions.ConnectionClosedError),
        (Fault.ERROR, 0, botocore.exceptions.ClientError),
        (Fault.UNAVAILABLE, 0, botocore.exceptions.ClientError),
        (Fault.THROTTLED, 0, botocore.exceptions.ClientError),
        (Fault.DROPPED, 1, botocore.exceptions.ConnectionClosedError),
        (Fault.HUNG, 1, botocore.exceptions.ReadTimeoutError),
        (Fault.ERROR_AFTER, 1, botocore.exceptions.ClientError),
        (Fault.SLOW, 1, botocore.exceptions.ReadTimeoutError),
    ],
)
def test_faults(ses, fault, accepted, failure):
    """Each fault fails the call in its way, before or after the message is accepted."""
    impatient = ses_client(ses, read_timeout=0.5)
    before = len(ses.messages())
    ses.fail(fault, seconds=2)
    with pytest.raises(failure):
        impatient.send_email(**simple())
    assert len(ses.messages()) - before == accepted
    impatient.send_email(**simple())  # it was planned once


def test_fault_meant(ses, client):
    """A fault may be meant for one recipient; calls for others go well and do not use it up."""
    ses.fail(Fault.ERROR, meant=lambda given: given["Destination"]["ToAddresses"] == ["b@c.com"])
    client.send_email(**simple("a@c.com"))
    assert refusal(client.send_email, **simple("b@c.com"))[:2] == (500, "InternalFailure")


def test_retries(ses):
    """A client that tries again after a lost answer has sent twice: SES knows no idempotency."""
    ses.fail(Fault.DROPPED, meant=lambda given: given["Destination"]["ToAddresses"] == ["d@c.com"])
    ses_client(ses, attempts=2).send_email(**simple("d@c.com"))
    assert len(ses.messages("d@c.com")) == 2
