"""Mail in tests: a simulated SES on loopback, and real clients of it."""

import contextlib
import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sesight_simulator.ses.sent_message import SentMessage
from sesight_simulator.ses.simulated_ses import SimulatedSes


@contextlib.contextmanager
def simulated_ses(**options: Any) -> Iterator[SimulatedSes]:
    """Run a simulated SES; the options are those of SimulatedSes."""
    with SimulatedSes(**options) as ses:
        yield ses


def ses_client(ses: SimulatedSes, *, attempts: int = 1, read_timeout: float = 30) -> Any:
    """Return a botocore client of it, which tries each call so many times."""
    return botocore.session.Session().create_client(
        "sesv2",
        region_name=ses.account.region,
        endpoint_url=ses.url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(
            connect_timeout=5,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=64,
        ),
    )


def simple(address: str = "ana@example.org", **more: Any) -> dict[str, Any]:
    """Return the parameters of a SendEmail of Simple content; `more` are others, or replace these."""
    return {
        "FromEmailAddress": "Digest Team <digest@example.com>",
        "Destination": {"ToAddresses": [address]},
        "Content": {
            "Simple": {
                "Subject": {"Data": "Your November digest", "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": "Hello.", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>Hello.</p>", "Charset": "UTF-8"},
                },
            }
        },
        "ConfigurationSetName": "outreach-tracking",
        **more,
    }


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[int, str, str]:
    """Return status, code and message of the error that a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    error = answer["Error"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


def parsed(message: SentMessage) -> EmailMessage:
    """Return what SES would have sent, read by a mail parser."""
    return email.message_from_bytes(message.raw, policy=email.policy.default)
