"""SNS notifications as a topic of our own would sign them, and the proofs they are held against."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from sesight.ingest.transport.certificates import CertificateNeeded, Certificates
from sesight.ingest.transport.sns import Notification, Topic, parse, parse_topic, verify
from sesight_simulator.sns import Signer
from tests.payload import GONE, body

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-email-events"
HOST = "sns.eu-west-1.amazonaws.com"
CERTIFICATE_URL = f"https://{HOST}/SimpleNotificationService-5e51647.pem"
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)

SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}


@cache
def signer() -> Signer:
    """Return a throw-away key with a certificate."""
    return Signer.generate(TOPIC)


def certificate(key: Any, since: datetime, until: datetime) -> bytes:
    """Return a certificate of a key, self-signed, as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@cache
def elliptic_pem() -> bytes:
    """Return a certificate whose key is no RSA key."""
    return certificate(
        ec.generate_private_key(ec.SECP256R1()),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )


@cache
def weak_pem() -> bytes:
    """Return a certificate whose RSA key is too short."""
    return certificate(
        rsa.generate_private_key(65537, 1024),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )


@cache
def expired_pem() -> bytes:
    """Return a certificate of the signer's key that is past its time."""
    return certificate(
        signer().key, datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    )


def sign(fields: Mapping[str, Any], version: str = "2", key: Any = None) -> str:
    """Return the signature over fields as AWS describes it."""
    names = SIGNED.get(fields["Type"], SIGNED["SubscriptionConfirmation"])
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    made = (key or signer().key).sign(text.encode(), padding.PKCS1v15(), HASHES[version])
    return b64encode(made).decode()


def notification(version: str = "2", key: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a genuine notification, with some of its fields changed before it was signed."""
    fields: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "6f1a2b3c-4d5e-56f7-8a9b-0c1d2e3f0001",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": body("send").decode() + "\n",
        "Timestamp": "2026-11-24T11:59:59.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe",
    }
    return _signed(fields, version, key, changes)


def confirmation(version: str = "2", **changes: Any) -> dict[str, Any]:
    """Return a genuine subscription confirmation, with some fields changed before it was signed."""
    fields: dict[str, Any] = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "6f1a2b3c-4d5e-56f7-8a9b-0c1d2e3f0005",
        "Token": "2336412f37fb687f5d51e6e2425ab12",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}"
        "&Token=2336412f37fb687f5d51e6e2425ab12",
        "Timestamp": "2026-11-24T11:59:59.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    return _signed(fields, version, None, changes)


def _signed(
    fields: dict[str, Any], version: str, key: Any, changes: dict[str, Any]
) -> dict[str, Any]:
    fields = {name: value for name, value in {**fields, **changes}.items() if value is not GONE}
    return {**fields, "Signature": sign(fields, version, key)}


def changed(fields: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return fields changed after they were signed."""
    found = {**fields, **changes}
    return {name: value for name, value in found.items() if value is not GONE}


def taken(
    fields: Mapping[str, Any] | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    ours: Topic | None = None,
    fetch: Callable[[str], bytes] | None = None,
    fetched: list[str] | None = None,
) -> tuple[Notification, Topic]:
    """Prove a notification as intake does, fetching a certificate where one is needed.

    `fetched` collects the URLs. Raises what the proofs raise.
    """
    urls: list[str] = [] if fetched is None else fetched

    def get(url: str) -> bytes:
        urls.append(url)
        return signer().certificate_pem if fetch is None else fetch(url)

    certificates = Certificates(get, lambda: AT)
    ours = ours or parse_topic(TOPIC)
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    found = parse(text, headers or {})
    try:
        return found, verify(found, {ours.arn: ours}, certificates)
    except CertificateNeeded:
        certificates.fetch(found.certificate_url)
        return found, verify(found, {ours.arn: ours}, certificates)
