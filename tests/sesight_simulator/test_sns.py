"""Notifications signed as SNS signs them."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

from sesight_simulator.sns import TOPIC_ARN, Signer, unsigned_notification

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
    """A notification verifies against the certificate, and fails to if a byte is changed."""
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


def test_load_or_create(tmp_path):
    """A key pair is created once and loaded from then on."""
    files = tmp_path / "simulator.pem", tmp_path / "simulator.key"
    signer = Signer.load_or_create(*files)
    assert Signer.load_or_create(*files).certificate_pem == signer.certificate_pem
    verify(signer, Signer.load_or_create(*files).sign(BODY), NOTIFICATION)
    assert files[1].stat().st_mode & 0o077 == 0


def test_unsigned_notification():
    """A notification for files has the same fields as a signed one."""
    fields = json.loads(unsigned_notification(BODY, TOPIC_ARN, END, 7))
    assert fields["Message"] == BODY.decode() + "\n"
    assert set(fields) == set(json.loads(Signer.generate().sign(BODY)))
