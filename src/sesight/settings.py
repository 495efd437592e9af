"""Settings: the only reader of files and of the environment.

Settings come from a TOML file; any of them also as `SESIGHT_` and its name in capitals, sections
joined by an underscore (`SESIGHT_STORE_URL`), which wins over the file. Lists and tables are
written there as JSON.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from sesight.domain.errors import SettingsError
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression import SuppressionPolicy
from sesight.domain.tally import Counting
from sesight.send.secrets import SesSecrets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sesight.ingest.sns import Topic

PREFIX = "SESIGHT_"
DEFAULT_FILE = "sesight.toml"
_OF_OTHERS = frozenset({"SESIGHT_BLAST_MESSAGES", "SESIGHT_FUZZ_SECONDS"})
"""Variables of the project's own tools, which are no settings."""


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where records are kept, and for how long."""

    url: str = "sqlite:///sesight.db"
    """`sqlite:///PATH` (`sqlite:////PATH` for one from the root) or `dynamodb://REGION`."""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] = 90
    """Days a record is kept after its send day; 0 keeps for ever. Totals are kept for ever."""
    busy_timeout_ms: Annotated[int, Meta(ge=0, le=600_000)] = 5_000
    """How long to wait for another process that is writing."""


class TopicSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An SNS topic to take notifications from."""

    arn: str
    """The topic's full ARN."""
    certificate_file: str | None = None
    """A pinned certificate (PEM), for simulated topics of account 000000000000 only."""
    signature_versions: Annotated[list[Literal["1", "2"]], Meta(min_length=1)] = field(
        default_factory=lambda: ["1", "2"]
    )
    """Signature versions taken: ["2"] once the topic signs with SHA-256."""


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens."""

    host: str = "127.0.0.1"
    """The API listener's address, one of this machine alone."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8025
    """The API listener's port; 0 takes a free one."""
    intake: str | None = None
    """HOST:PORT of a public listener that knows only intake, unsubscribe links and GET /health."""
    allowed_hosts: list[str] = field(default_factory=list)
    """Host names the API answers to, and whose pages may ask it, beside loopback."""


class IntakeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken in, and how much at once."""

    ignore_sets: list[str] = field(default_factory=list)
    """Configuration sets whose events are ignored."""
    accounts: list[str] = field(default_factory=list)
    """AWS accounts whose events are taken; empty takes any."""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 2_048
    """Requests under way at most; beyond it the answer is 503."""
    log_events: bool = True
    """Whether the server writes a SES_EVENT_PROCESSED line for each event."""


class CountingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What counts, and what figures are broken down by."""

    tags: list[str] = field(
        default_factory=lambda: ["campaign_type", "campaign_step", "campaign_variant"]
    )
    """Up to three tags that campaigns are broken down by."""
    test_recipients: list[str] = field(default_factory=lambda: ["@simulator.amazonses.com"])
    """Addresses, or domains with a leading @, that never count and never suppress."""


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """When a stream pauses itself, before SES would pause the account."""

    streams: list[str] = field(default_factory=lambda: ["outreach"])
    """The streams that are watched."""
    bounce: Annotated[float, Meta(gt=0, le=1)] = 0.05
    """The bounce rate beyond which a stream pauses; SES reviews an account at 0.05."""
    complaint: Annotated[float, Meta(gt=0, le=1)] = 0.001
    """The complaint rate beyond which a stream pauses; SES reviews an account at 0.001."""
    floor: Annotated[int, Meta(ge=1)] = 1_000
    """Messages attempted below which a rate says nothing."""
    days: Annotated[int, Meta(ge=1, le=90)] = 7
    """Send days that the rates are taken over, today's included."""


class SendingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How mail is sent. Nothing is sent before a stream has a sender."""

    senders: list[SesSecrets] = field(default_factory=list)
    """From whom each stream sends, and its keys; not read where there is a `secret`."""
    secret: str | None = None
    """Name or ARN of the secret in AWS Secrets Manager; `{stream}` in it stands for the stream."""
    secret_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    """How long a secret that was read is taken as it is."""
    endpoint: str | None = None
    """Address of a simulated SES; none: AWS's own."""
    templates: str = "templates"
    """The folder of templates."""
    rendering: Literal["local", "ses"] = "local"
    """Who renders outreach templates: this process, or SES with the template pushed to it."""
    account_list: bool = False
    """Whether SES's account suppression list is asked too before sending."""
    rate: Annotated[float, Meta(gt=0)] | None = None
    """Messages a second at most, where it should be less than the account's own rate."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 16
    """Messages under way at once at most."""
    unknown_minutes: Annotated[int, Meta(ge=1, le=43_200)] = 1_440
    """Minutes after which a message of which neither an answer nor a Send event came is taken as not sent."""
    guard: GuardSettings = GuardSettings()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    region: str | None = None
    """The AWS region shown; by default that of the first topic."""
    recipient_key: str | None = None
    """64 hex digits under which recipient ids are made; by default kept in a file by the store."""
    recipient_key_secret: str | None = None
    """Name or ARN of the secret in AWS Secrets Manager that holds them instead."""
    store: StoreSettings = StoreSettings()
    server: ServerSettings = ServerSettings()
    intake: IntakeSettings = IntakeSettings()
    counting: CountingSettings = CountingSettings()
    suppression: SuppressionPolicy = SuppressionPolicy()
    sending: SendingSettings = SendingSettings()
    topics: list[TopicSettings] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=lambda: [OUTREACH, FINANCE])

    @property
    def rules_of_counting(self) -> Counting:
        """Return what the domain needs to know of counting."""
        return Counting(
            {each.id: each for each in self.streams},
            tuple(self.counting.tags),
            frozenset(self.counting.test_recipients),
        )


def load(file: str | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Read the settings: the file (default `SESIGHT_CONFIG`, else sesight.toml if it is there), the
    environment, then `overrides` (names with dots). Raises SettingsError that says what to change.
    """
    named = file or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    raw: dict[str, Any] = {}
    if named or path.exists():
        try:
            raw = msgspec.toml.decode(path.read_bytes())
        except OSError as error:
            raise SettingsError(f"The settings file {path} cannot be read: {error}.") from None
        except msgspec.DecodeError as error:
            raise SettingsError(f"The settings file {path} is not TOML: {error}.") from None
    for keys, value in (*_from_environment(), *_from_overrides(overrides or {})):
        section = raw
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
    for each in raw.get("topics", ()) if isinstance(raw.get("topics"), list) else ():
        if isinstance(each, dict) and isinstance(each.get("certificate_file"), str):
            each["certificate_file"] = str(path.parent / each["certificate_file"])
    try:
        settings = msgspec.convert(raw, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"The settings in {path} are wrong: {error}.") from None
    _check(settings)
    return settings


def _from_overrides(overrides: dict[str, Any]) -> list[tuple[list[str], Any]]:
    return [(name.split("."), value) for name, value in overrides.items() if value is not None]


def _from_environment() -> list[tuple[list[str], Any]]:
    found: list[tuple[list[str], Any]] = []
    for name, keys, structured in _names(Settings, []):
        text = os.environ.get(PREFIX + name)
        if text is None:
            continue
        if structured:
            try:
                found.append((keys, msgspec.json.decode(text)))
            except msgspec.DecodeError:
                raise SettingsError(f"{PREFIX}{name} holds no JSON: {text!r}.") from None
        else:
            found.append((keys, text))
    return found


def _names(of: type[Struct], keys: list[str]) -> list[tuple[str, list[str], bool]]:
    """Return (name, keys, whether it is written as JSON) of every setting that a variable can give."""
    names: list[tuple[str, list[str], bool]] = []
    for each in msgspec.structs.fields(of):
        below = [*keys, each.name]
        if isinstance(each.type, type) and issubclass(each.type, Struct):
            names.extend(_names(each.type, below))
        else:
            bare = getattr(each.type, "__origin__", each.type)
            of_what = getattr(bare, "__origin__", bare)
            structured = of_what is list or getattr(each.type, "__origin__", None) is list
            names.append(("_".join(below).upper(), below, structured))
    return names


def environment_names() -> list[str]:
    """Return the name of every environment variable that gives a setting."""
    return [PREFIX + name for name, _, _ in _names(Settings, [])]


def _check(settings: Settings) -> None:
    unknown = {name for name in os.environ if name.startswith(PREFIX)}
    unknown -= {*environment_names(), f"{PREFIX}CONFIG", *_OF_OTHERS}
    if unknown:
        raise SettingsError(
            f"{', '.join(sorted(unknown))}: no setting has such a name; see docs/settings.md."
        )
    if len(settings.streams) > 63:
        raise SettingsError("A store holds at most 63 streams.")
    if len(settings.counting.tags) > 3:
        raise SettingsError("counting.tags names more than three tags: choose three.")
    if not settings.streams:
        raise SettingsError("There is no stream: name at least one in [[streams]].")
    for what in ("id", "configuration_set"):
        named = [getattr(each, what) for each in settings.streams]
        if len(set(named)) < len(named):
            raise SettingsError(f"Two streams have the same {what}: give each its own.")
    for each in settings.streams:
        if not each.id.replace("-", "").replace("_", "").isalnum():
            raise SettingsError(
                f"The stream id {each.id!r} has other than letters, digits, - or _."
            )


def topics(settings: Settings) -> dict[str, Topic]:
    """Return the allow-list of topics. Raises SettingsError for a bad ARN or certificate."""
    if not settings.topics:
        return {}
    from sesight.ingest.sns import topic

    found = {}
    for each in settings.topics:
        try:
            pinned = _pinned(each.certificate_file) if each.certificate_file else None
            found[each.arn] = topic(each.arn, pinned, frozenset(each.signature_versions))
        except ValueError as error:
            raise SettingsError(str(error)) from None
    return found


def _pinned(file: str) -> RSAPublicKey:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = x509.load_pem_x509_certificate(Path(file).read_bytes()).public_key()
    except OSError as error:
        raise SettingsError(f"The certificate {file} cannot be read: {error}.") from None
    except ValueError:
        raise SettingsError(f"{file} is no certificate in PEM.") from None
    if not isinstance(key, RSAPublicKey):
        raise SettingsError(f"The certificate {file} holds no RSA key.")
    return key


def has_recipient_key(settings: Settings) -> bool:
    """Return whether recipient ids can be made: a key is set, or kept beside an SQLite store."""
    named = settings.recipient_key or settings.recipient_key_secret
    return bool(named) or settings.store.url.startswith("sqlite:///")


def recipient_key(settings: Settings, secret: Callable[[str], str]) -> bytes:
    """Return the key that recipient ids are made under, 32 bytes; made and kept (mode 0600) beside
    an SQLite store when there is none. `secret` reads one of AWS's. Raises SettingsError if the key
    cannot be had.
    """
    if settings.recipient_key is not None:
        return _key(settings.recipient_key, "recipient_key")
    if settings.recipient_key_secret is not None:
        name = settings.recipient_key_secret
        return _key(secret(name).strip(), f"The secret {name}")
    _, _, path = settings.store.url.partition("sqlite:///")
    if not path:
        raise SettingsError(
            "There is no key for recipient ids: give 64 hex digits as recipient_key, or the name of "
            "a secret that holds them as recipient_key_secret."
        )
    file = Path(f"{path}.key")
    try:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _key(file.read_text().strip(), str(file))
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_hex(32) + "\n")
        return _key(file.read_text().strip(), str(file))
    except OSError as error:
        raise SettingsError(f"The recipient key {file} cannot be read or made: {error}.") from None


def _key(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(f"{where} does not hold 64 hex digits.")
    return key
