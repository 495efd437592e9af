"""The simulated SES, called by real clients over HTTP: accepted messages and planned faults."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest

from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.mailing import parsed, refusal, ses_client, simple, simulated_ses


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


def test_simple(ses, client):
    """A Simple message is kept with all its parameters, and its MIME message agrees."""
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
    mail = parsed(message)
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
    """GetAccount reports the quota and the sending rate."""
    account = client.get_account()
    assert (account["SendingEnabled"], account["EnforcementStatus"]) == (True, "HEALTHY")
    assert account["SendQuota"]["MaxSendRate"] == 1_000.0


def test_configuration_set(client):
    """An unknown configuration set is answered with 404."""
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
    """Each fault fails the call in its own way, before or after the message is accepted."""
    impatient = ses_client(ses, read_timeout=0.5)
    before = len(ses.messages())
    ses.fail(fault, seconds=2)
    with pytest.raises(failure):
        impatient.send_email(**simple())
    assert len(ses.messages()) - before == accepted
    impatient.send_email(**simple())  # it was planned once


def test_fault_meant(ses, client):
    """A fault can match one recipient; calls for others succeed and do not use it up."""
    ses.fail(
        Fault.ERROR,
        matches=lambda parameters: parameters["Destination"]["ToAddresses"] == ["b@c.com"],
    )
    client.send_email(**simple("a@c.com"))
    assert refusal(client.send_email, **simple("b@c.com"))[:2] == (500, "InternalFailure")


def test_retries(ses):
    """A client that retries after a lost answer sends twice: SES has no idempotency."""
    ses.fail(
        Fault.DROPPED,
        matches=lambda parameters: parameters["Destination"]["ToAddresses"] == ["d@c.com"],
    )
    ses_client(ses, attempts=2).send_email(**simple("d@c.com"))
    assert len(ses.messages("d@c.com")) == 2


def test_many_callers(ses):
    """Concurrent calls each make one message with its own id."""
    before = len(ses.messages())
    client = ses_client(ses)
    with ThreadPoolExecutor(16) as pool:
        addresses = [f"many{n}@example.org" for n in range(160)]
        ids = [
            answer["MessageId"]
            for answer in pool.map(lambda to: client.send_email(**simple(to)), addresses)
        ]
    assert len(set(ids)) == 160
    assert len(ses.messages()) - before == 160
    assert [ses.message(id_).recipients for id_ in ids] == [[address] for address in addresses]


def test_port():
    """A port can be chosen; one that is in use raises OSError."""
    with simulated_ses() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            SimulatedSes(port=port).start()
    with simulated_ses(port=port) as again:
        assert again.url == first.url


def test_no_http(ses, client):
    """Bytes that are not HTTP, or a request that is too large, end their own connection only."""
    for data, answer in (
        (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 413"),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", b"HTTP/1.1 413"),
        (b"x" * 200_000, b""),
    ):
        host, port = ses.url.removeprefix("http://").split(":")
        with (
            socket.create_connection((host, int(port)), 5) as line,
            contextlib.suppress(ConnectionError),
        ):
            line.sendall(data)
            assert line.recv(12) == answer
    client.get_account()


def test_stopped_while_it_hangs():
    """A simulated SES can be stopped while a client waits for an answer."""
    with simulated_ses() as ses, ThreadPoolExecutor(1) as pool:
        ses.fail(Fault.HUNG)
        call = pool.submit(ses_client(ses).send_email, **simple())
        while not ses.messages():
            pass
        ses.stop()
        with pytest.raises(botocore.exceptions.HTTPClientError):
            call.result()


def test_calls_are_counted(ses, client):
    """Calls are counted by operation."""
    before = ses.calls["GetAccount"]
    client.get_account()
    assert ses.calls["GetAccount"] - before == 1


def test_recover(ses, client):
    """Planned faults can be cancelled."""
    ses.fail(Fault.ERROR, times=10)
    assert refusal(client.send_email, **simple())[0] == 500
    ses.recover()
    client.send_email(**simple())
