"""Notifications as SNS signs and delivers them, and files of traffic."""

import asyncio
import base64
import gzip
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

from sesight_simulator.sns import TOPIC_ARN, Signer, unsigned_notification
from sesight_simulator.sns_client import SnsClient
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.recording import write
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import Truth

END = 1_795_500_000_000
BODY = '{"eventType":"Send","mail":{"subject":"ä “10 %” \\"x\\""}}'.encode()
NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@pytest.fixture(scope="module")
def signer():
    return Signer.generate(seed=1)


def verify(signer, notification, keys):
    """Check a signature as SNS's documentation describes it."""
    fields = json.loads(notification)
    text = "".join(f"{key}\n{fields[key]}\n" for key in keys)
    kind = {"1": hashes.SHA1(), "2": hashes.SHA256()}[fields["SignatureVersion"]]
    key = load_pem_x509_certificate(signer.certificate_pem).public_key()
    key.verify(base64.b64decode(fields["Signature"]), text.encode(), padding.PKCS1v15(), kind)
    return fields


@pytest.mark.parametrize("version", ["1", "2"])
def test_signed(signer, version):
    """A notification verifies against the certificate, and not once a byte is changed."""
    signed = signer.sign(BODY, version=version, at=END)
    fields = verify(signer, signed, NOTIFICATION)
    assert fields["Message"] == BODY.decode() + "\n"
    assert fields["TopicArn"] == TOPIC_ARN
    assert fields["Timestamp"] == "2026-11-24T06:00:00.000Z"
    assert fields["Subject"] == "Amazon SES Email Event Notification"
    assert fields["SigningCertURL"].startswith(
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-"
    )
    with pytest.raises(InvalidSignature):
        verify(signer, signed.replace(b"10 %", b"11 %"), NOTIFICATION)


def test_confirmation(signer):
    """A subscription confirmation is signed over its own fields."""
    fields = verify(signer, signer.confirmation(), CONFIRMATION)
    assert fields["Type"] == "SubscriptionConfirmation"
    assert fields["Token"] in fields["SubscribeURL"]


def test_kept(tmp_path):
    """A key pair is made once and loaded ever after."""
    files = tmp_path / "simulator.pem", tmp_path / "simulator.key"
    made = Signer.load_or_create(*files)
    assert Signer.load_or_create(*files).certificate_pem == made.certificate_pem
    verify(made, Signer.load_or_create(*files).sign(BODY), NOTIFICATION)
    assert files[1].stat().st_mode & 0o077 == 0


def test_unsigned_notification():
    """A notification for files has the same fields as a signed one."""
    fields = json.loads(unsigned_notification(BODY, TOPIC_ARN, END, 7))
    assert fields["Message"] == BODY.decode() + "\n"
    assert set(fields) == set(json.loads(Signer.generate().sign(BODY)))


@pytest.mark.parametrize("name", ["traffic.ndjson", "traffic.ndjson.gz"])
@pytest.mark.parametrize("wrapping", ["event", "sns"])
def test_write(tmp_path, name, wrapping):
    """A file holds the history line by line, its truth lies beside it, and it repeats itself."""
    plan = Plan(seed=1, end=END, days=30, messages=1_500, wrapping=wrapping)
    told = []
    first, again = tmp_path / name, tmp_path / f"again-{name}"
    written = write(plan, first, lambda *progress: told.append(progress))
    write(plan, again)
    assert first.read_bytes() == again.read_bytes()
    raw = first.read_bytes()
    lines = (gzip.decompress(raw) if name.endswith(".gz") else raw).splitlines()
    truth = Truth()
    bodies = [event.body for event in generate(plan, truth)]
    if wrapping == "sns":
        lines = [json.loads(line)["Message"].encode().rstrip(b"\n") for line in lines]
    assert lines == bodies
    document = json.loads((tmp_path / f"{name}.truth.json").read_bytes())
    assert document == truth.document() == written.truth
    assert told[-1][0] == written.events == len(bodies)


def answering(answers):
    """Serve the given raw answers, one a request, then 200 for ever; keep what was asked."""
    asked = []

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(
                    line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line
                )
                body = await reader.readexactly(int(fields["Content-Length"]))
                asked.append((fields, body))
                answer = (
                    answers.pop(0) if answers else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                )
                if not answer:
                    break  # hang up without a word
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    return serve, asked


def test_poster(signer):
    """All is delivered: 503 is tried again, a broken connection too, a refusal is not."""
    answers = [
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"",
        b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]
    notifications = [signer.sign(BODY) for _ in range(30)]
    serve, asked = answering(answers)

    async def run():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            poster = SnsClient(f"http://127.0.0.1:{port}/api/ses/events", 3, retry_ms=1)
            return await poster.post(notifications)

    posted = asyncio.run(run())
    assert (posted.accepted, posted.refused, posted.lost, posted.retries) == (29, 1, 0, 2)
    assert posted.statuses == {200: 29, 403: 1, 503: 1}
    assert len(posted.latencies_ms) == 31
    assert {body for _, body in asked} == set(notifications)
    fields, body = asked[0]
    assert fields["x-amz-sns-message-id"] == json.loads(body)["MessageId"]
    assert fields["Content-Type"] == "text/plain; charset=UTF-8"
