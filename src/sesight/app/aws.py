"""AWS clients, and the adapters over them: S3 archives, SQS queues, Secrets Manager, SES templates.

botocore is imported when a client is created: importing it takes a quarter of a second, and most commands
need none.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sesight.domain.errors import NO_CREDENTIALS, SettingsError
from sesight.settings import Settings, topics

if TYPE_CHECKING:
    from sesight.ingest.transport.s3 import Archive
    from sesight.ingest.transport.sqs import Queue
    from sesight.send.templates.ses import AccountTemplates

AWS_HOST_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""The suffixes of AWS's own host names."""

LOCAL_REGION = "us-east-1"
"""The region for a local engine when none is set: botocore requires one."""


def aws_client(
    service: str,
    region: str | None = None,
    endpoint: str | None = None,
    *,
    tries: int = 5,
    at_once: int = 10,
) -> Any:
    """Return a client of an AWS service, or of a local engine at an `endpoint`. A call is tried up to `tries`
    times; up to `at_once` calls share connections.
    """
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    options: dict[str, Any] = {
        "region_name": region,
        "config": Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": tries},
            max_pool_connections=at_once,
            tcp_keepalive=True,
        ),
    }
    if endpoint is not None:
        # a local engine accepts any credentials: never send it real ones
        options |= {
            "endpoint_url": endpoint,
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
    session = botocore.session.Session()
    try:
        client = session.create_client(service, **options)
    except BotoCoreError as error:  # an unknown profile or region
        raise SettingsError(f"AWS cannot be called: {error}.") from None
    if endpoint is None:
        client.meta.events.register("before-sign", partial(_require_credentials, session))
    return client


def credentials() -> str:
    """Return how botocore finds the AWS credentials (its method). Raises SettingsError if there are none."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        credentials_ = botocore.session.Session().get_credentials()
    except BotoCoreError as error:
        raise SettingsError(f"AWS cannot be called: {error}.") from None
    if credentials_ is None:
        raise SettingsError(NO_CREDENTIALS)
    return str(credentials_.method)


def _require_credentials(session: Any, **_: Any) -> None:
    """Raise botocore's own error with a sentence that says what to do."""
    if session.get_credentials() is None:
        from botocore.exceptions import NoCredentialsError

        error = NoCredentialsError()
        error.args = (NO_CREDENTIALS,)
        raise error


def _aws_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


def region_of(settings: Settings) -> str | None:
    """Return the AWS region: that of the settings, else of the first topic, else of the store."""
    if settings.region is not None:
        return settings.region
    store = urlsplit(settings.store.url)
    of_store = store.hostname if store.scheme == "dynamodb" else None
    return next((topic.region for topic in topics(settings).values()), of_store)


def open_archive(url: str, region: str | None) -> Archive:
    """Open the S3 archive of a URL. Raises SettingsError for a malformed URL."""
    from sesight.ingest.transport.s3 import Archive, parse_archive_url

    place = parse_archive_url(url)
    return Archive(aws_client("s3", region or LOCAL_REGION, place.endpoint), place, _aws_errors())


def open_queue(url: str, region: str | None) -> Queue:
    """Open the SQS queue of a URL. AWS's URLs contain the region; any other host is a local engine. Raises
    SettingsError for a malformed URL.
    """
    from sesight.ingest.transport.sqs import Queue

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
        raise SettingsError(
            f"{url!r} is no queue's URL: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME."
        )
    region_match = re.search(r"\bsqs\.([a-z0-9-]+)\.", parts.hostname)
    is_aws = parts.hostname.endswith(AWS_HOST_SUFFIXES)
    endpoint = None if is_aws else f"{parts.scheme}://{parts.netloc}"
    client = aws_client(
        "sqs", region_match[1] if is_aws and region_match else region or LOCAL_REGION, endpoint
    )
    return Queue(client, url, _aws_errors())


def read_secret(name: str, region: str | None) -> str:
    """Return the text of a secret in AWS Secrets Manager. Raises SettingsError."""
    client = aws_client("secretsmanager", region)
    try:
        secret: str = client.get_secret_value(SecretId=name)["SecretString"]
    except _aws_errors() as error:
        raise SettingsError(f"The secret {name} cannot be read: {error}") from None
    except KeyError:
        raise SettingsError(f"The secret {name} holds no text.") from None
    return secret


def ses_templates(settings: Settings, stream: str | None) -> AccountTemplates:
    """Return the templates of the SES account, in the region that a stream sends in."""
    from sesight.send.templates.ses import AccountTemplates

    sending = settings.sending
    senders = {sender.stream: sender.region for sender in sending.senders}
    region = senders.get(stream or "") or region_of(settings)
    if region is None and sending.endpoint is None:
        raise SettingsError("There is no AWS region to push templates to: set `region`.")
    return AccountTemplates(aws_client("sesv2", region or LOCAL_REGION, sending.endpoint))
