"""Topics of the allow-list: what is one, and where its certificates may come from."""

import json

import pytest

from sesight.domain.errors import Untrusted
from sesight.ingest.transport.sns import MAX_BODY, parse, parse_topic
from tests.notification import TOPIC, notification, signer


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:sns:eu-west-1:123456789012:t", "sns.eu-west-1.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:t", "sns.eusc-de-east-1.amazonaws.eu"),
        ("arn:aws-iso:sns:us-iso-east-1:123456789012:t", "sns.us-iso-east-1.c2s.ic.gov"),
        ("arn:aws-iso-b:sns:us-isob-east-1:123456789012:t", "sns.us-isob-east-1.sc2s.sgov.gov"),
        ("arn:aws-iso-e:sns:eu-isoe-west-1:123456789012:t", "sns.eu-isoe-west-1.cloud.adc-e.uk"),
        ("arn:aws-iso-f:sns:us-isof-east-1:123456789012:t", "sns.us-isof-east-1.csp.hci.ic.gov"),
    ],
)
def test_hosts(arn: str, host: str) -> None:
    """The only host that counts follows from the topic's region and partition."""
    assert parse_topic(arn).host == host


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "ses-email-events",
        "arn:aws:sqs:eu-west-1:123456789012:t",
        "arn:aws:sns:s3:123456789012:t",
        "arn:aws:sns:eu-west-1:12345:t",
        "arn:aws:sns:eu-west-1:123456789012:",
        "arn:aws:sns:eu-west-1:123456789012:t\n",
        "arn:aws-mars:sns:eu-west-1:123456789012:t",
        "arn:aws:sns:evil.example/x:123456789012:t",
    ],
)
def test_no_topics(arn: str) -> None:
    """What is no ARN of an SNS topic cannot be put on the allow-list."""
    with pytest.raises(ValueError, match="is not the ARN of an SNS topic"):
        parse_topic(arn)


def test_pinned_elsewhere() -> None:
    """A pinned certificate is taken only for the account that AWS never issues."""
    with pytest.raises(ValueError, match="remove certificate_file"):
        parse_topic(TOPIC, signer().certificate.public_key())


def test_size() -> None:
    """SNS's largest message fits, escaped once more; beyond that it is 413 before anything is read."""
    fields = notification(Message='"' * 190_000)
    assert parse(json.dumps(fields).encode(), {}).type == "Notification"
    with pytest.raises(Untrusted, match="More than 400000 bytes"):
        parse(b"{" + b" " * MAX_BODY, {})
