"""Settings: the only reader of files and of the environment.

Settings come from a TOML file; any of them also as `SESIGHT_` and its name in capitals, sections
joined by an underscore (`SESIGHT_STORE_URL`), which wins over the file. Lists and tables are
written there as JSON.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from sesight import private_file
from sesight.domain.address import normalize_address_or_domain
from sesight.domain.counting import Counting
from sesight.domain.errors import SettingsError
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.validation import Mismatch, closest_match, find_mismatch
from sesight.send.stream_secrets import SesSecrets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sesight.ingest.transport.sns import Topic

PREFIX = "SESIGHT_"
DEFAULT_FILE = "sesight.toml"
_OF_OTHERS = frozenset({"SESIGHT_BLAST_MESSAGES", "SESIGHT_FUZZ_SECONDS"})
"""Variables of the project's own tools, which are no settings."""


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where records are kept, and for how long."""

    url: str = "sqlite:///sesight.db"
    """`sqlite:///PATH` (`sqlite:////PATH` for one from the root) or `dynamodb://REGION`."""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    """Days a record is kept after its send day; 0 keeps for ever. Totals are kept for ever. Not set: as the
    store has it, 90 in a new one. A shorter one than the store's needs `sesight retention shorten`."""
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

    streams: list[str] = field(default_factory=list)
    """Transactional streams that are watched too; every marketing stream is."""
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
    """Who renders templates whose `template.toml` does not say: this process, or SES."""
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
            frozenset(
                normalize_address_or_domain(each)[0] for each in self.counting.test_recipients
            ),
        )


def load(file: str | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Read the settings: the file (default `SESIGHT_CONFIG`, else sesight.toml if it is there), the
    environment, then `overrides` (names with dots; the option that gave one has the name's first word).
    Raises SettingsError that says where and what to change.
    """
    named = file or os.environ.get(f"{PREFIX}CONFIG")
    given = _Given(Path(named or DEFAULT_FILE))
    if named or given.file.exists():
        given.read()
    for keys, value in _from_environment():
        given.set(keys, value, f"{PREFIX}{'_'.join(keys).upper()}")
    for name, value in (overrides or {}).items():
        if value is not None:
            given.set(name.split("."), value, f"--{name.partition('.')[0]}")
    found = find_mismatch(given.values, Settings)
    if found is not None:
        raise given.wrong(found)
    for each in given.values.get("topics", ()):
        if each.get("certificate_file") is not None:
            each["certificate_file"] = str(given.file.parent / each["certificate_file"])
    settings = msgspec.convert(given.values, Settings, strict=False)
    _check(settings, given)
    return settings


class _Given:
    """What is set, and where each of it is: in a line of the file, a variable or an option."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values: dict[str, Any] = {}
        self._lines: list[str] = []
        self._elsewhere: dict[tuple[str | int, ...], str] = {}

    def read(self) -> None:
        """Read the file. Raises SettingsError."""
        text = _text(self.file)
        self._lines = text.splitlines()
        try:
            self.values = msgspec.toml.decode(text)
        except msgspec.DecodeError as error:
            at = re.search(r"line (\d+)", str(error))
            line = min(int(at[1]), len(self._lines)) if at else len(self._lines)
            raise SettingsError(
                f"{self.file}, line {line}, is not TOML. Write one `name = value` a line, text in "
                "quotes, and each name once."
            ) from None

    def set(self, keys: list[str], value: Any, by: str) -> None:
        """Set a value over what the file says. Raises SettingsError."""
        section = self.values
        for depth, key in enumerate(keys[:-1], start=1):
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise self.error(tuple(keys[:depth]), f"`{key}` must be a table: [{key}].")
        section[keys[-1]] = value
        self._elsewhere[tuple(keys)] = by

    def error(self, path: tuple[str | int, ...], sentence: str) -> SettingsError:
        """Return the error of what is set at a path."""
        by = self._by(path)
        return SettingsError(f"{by or self._place(path)}: {sentence}")

    def wrong(self, found: Mismatch) -> SettingsError:
        """Return the error of what does not fit."""
        by = self._by(found.path)
        if by is not None and found.what == "wrong" and self._elsewhere.get(found.path) == by:
            return SettingsError(f"{by} must be {found.expected}{_not(found)}.{_meant(found)}")
        names = [key for key in found.path if isinstance(key, str)]
        name, section = f"`{names[-1]}`", _section(found.path)
        if found.what == "unknown":
            known = ", ".join(f"`{each}`" for each in found.allowed)
            more = _meant(found) or f" There are {known}."
            if not section and isinstance(self.values[names[-1]], dict | list):
                name = f"section [{names[-1]}]"
            return self.error(found.path, f"there is no {name}{section}.{more}")
        if found.what == "missing":
            return self.error(found.path, f"{name} is missing{section}: {found.expected}.")
        return self.error(
            found.path, f"{name}{section} must be {found.expected}{_not(found)}.{_meant(found)}"
        )

    def _by(self, path: tuple[str | int, ...]) -> str | None:
        """Return the variable or option that set what is at a path, None if none did."""
        ends = (path[:length] for length in range(len(path), 0, -1))
        return next((self._elsewhere[end] for end in ends if end in self._elsewhere), None)

    def _place(self, path: tuple[str | int, ...]) -> str:
        """Return the file, and the line that sets what is at a path or most of the way to it."""
        best, line = 0, 0
        table: tuple[str | int, ...] = ()
        counts: dict[tuple[str | int, ...], int] = {}
        for number, text in enumerate(self._lines, start=1):
            header = re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", text)
            key = re.match(r"\s*([\w.\"'-]+)\s*=", text)
            at: tuple[str | int, ...] = ()
            if header:
                for name in _keys(header[2]):
                    at = (*at, name)
                    if at in counts and (header[1] == "[" or len(at) < len(_keys(header[2]))):
                        at = (*at, counts[at])
                if header[1] == "[[":
                    counts[at] = counts.get(at, -1) + 1
                    at = (*at, counts[at])
                table = at
            elif key:
                at = (*table, *_keys(key[1]))
            depth = min(len(at), len(path))
            if best < depth and at[:depth] == path[:depth]:
                best, line = depth, number
        return f"{self.file}, line {line}" if line else str(self.file)


def _keys(dotted: str) -> list[str]:
    return [each.strip(" \"'") for each in dotted.split(".")]


def _section(path: tuple[str | int, ...]) -> str:
    """Write the table that a path leads through, ` in [[sending.senders]]`; nothing for the top."""
    names = [key for key in path if isinstance(key, str)][:-1]
    if not names:
        return ""
    listed = len(path) > len(names) and isinstance(path[len(names)], int)
    return f" in [[{'.'.join(names)}]]" if listed else f" in [{'.'.join(names)}]"


def _not(found: Mismatch) -> str:
    """Write the value that does not fit, if it can be short and is no secret."""
    words = str(found.path).lower()
    shown = str(found.value).lower() if isinstance(found.value, bool) else str(found.value)
    hidden = "key" in words or isinstance(found.value, dict | list) or len(shown) > 60
    return "" if hidden else f", not `{shown}`"


def _meant(found: Mismatch) -> str:
    return f" Did you mean `{found.nearest}`?" if found.nearest else ""


def _text(file: Path) -> str:
    """Return a settings file's text. Raises SettingsError."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise SettingsError(f"There is no settings file {file}.") from None
    except OSError as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error.strerror}.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}, line {line}, is not UTF-8: save the file as UTF-8.") from None


def _from_environment() -> list[tuple[list[str], Any]]:
    found: list[tuple[list[str], Any]] = []
    for name, keys, structured in _names(Settings, []):
        text = os.environ.get(PREFIX + name)
        if text is None:
            continue
        if structured:
            try:
                found.append((keys, msgspec.json.decode(text)))
            except msgspec.DecodeError:  # it may hold a secret, so it is not shown
                raise SettingsError(f"{PREFIX}{name} holds no JSON.") from None
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


def function_name() -> str | None:
    """Return which function Lambda loads (`sesight.lambdas.api`), None where this is no function."""
    return os.environ.get("_HANDLER")


def environment_names() -> list[str]:
    """Return the name of every environment variable that gives a setting."""
    return [PREFIX + name for name, _, _ in _names(Settings, [])]


def _check(settings: Settings, given: _Given) -> None:
    known = [*environment_names(), f"{PREFIX}CONFIG"]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and name not in _OF_OTHERS:
            meant = closest_match(name, known)
            more = f"did you mean {meant}?" if meant else "docs/reference/settings.md has them all."
            raise SettingsError(f"{name}: no setting has such a name; {more}")
    if len(settings.streams) > 63:
        raise given.error(("streams", 63), "a store holds at most 63 streams.")
    if len(settings.counting.tags) > 3:
        raise given.error(("counting", "tags"), "`tags` names more than three tags: choose three.")
    if not settings.streams:
        raise given.error(("streams",), "there is no stream: name at least one in [[streams]].")
    for what in ("id", "configuration_set"):
        named = [getattr(each, what) for each in settings.streams]
        for at, name in enumerate(named):
            if name in named[:at]:
                raise given.error(
                    ("streams", at, what), f"another stream has the {what} {name!r} already."
                )
    streams = [each.id for each in settings.streams]
    for name in settings.sending.guard.streams:
        if name not in streams:
            raise given.error(
                ("sending", "guard", "streams"),
                f"there is no stream {name!r}; the streams are {', '.join(streams)}.",
            )
    for at, each in enumerate(settings.streams):
        if not each.id.replace("-", "").replace("_", "").isalnum():
            raise given.error(
                ("streams", at, "id"),
                f"the stream id {each.id!r} has other than letters, digits, - or _.",
            )


def topics(settings: Settings) -> dict[str, Topic]:
    """Return the allow-list of topics. Raises SettingsError for a bad ARN or certificate."""
    if not settings.topics:
        return {}
    from sesight.ingest.transport.sns import parse_topic

    found = {}
    for each in settings.topics:
        try:
            pinned = _pinned(each.certificate_file) if each.certificate_file else None
            found[each.arn] = parse_topic(each.arn, pinned, frozenset(each.signature_versions))
        except ValueError as error:
            raise SettingsError(f"[[topics]]: {error}") from None
    return found


def _pinned(file: str) -> RSAPublicKey:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = x509.load_pem_x509_certificate(Path(file).read_bytes()).public_key()
    except OSError as error:
        raise SettingsError(f"The certificate {file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise SettingsError(f"{file} is no certificate in PEM.") from None
    if not isinstance(key, RSAPublicKey):
        raise SettingsError(f"The certificate {file} holds no RSA key.")
    return key


def has_recipient_key(settings: Settings) -> bool:
    """Return whether recipient ids can be made: a key is set, or kept beside an SQLite store."""
    named = settings.recipient_key or settings.recipient_key_secret
    return bool(named) or settings.store.url.startswith("sqlite:///")


def key_file(settings: Settings) -> Path | None:
    """Return the file by the store that keeps the key of recipient ids, None if it is kept elsewhere."""
    _, _, path = settings.store.url.partition("sqlite:///")
    named = settings.recipient_key or settings.recipient_key_secret
    return Path(f"{path}.key") if path and not named else None


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
    file = key_file(settings)
    if file is None:
        raise SettingsError(
            "There is no key for recipient ids: give 64 hex digits as recipient_key, or the name of "
            "a secret that holds them as recipient_key_secret."
        )
    try:
        if not file.exists():
            private_file.write_new(file, f"{secrets.token_hex(32)}\n".encode())
        text = file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise SettingsError(
            f"The recipient key {file} cannot be read or made: {error.strerror}."
        ) from None
    try:
        return _key(text, str(file))
    except SettingsError as error:
        raise SettingsError(
            f"The recipient key is damaged: {error} Put back the copy that `sesight backup` made beside a "
            "backup. If there is none, remove the file: a new key is made, and no data is lost, but "
            "recipient ids change, so that old links to people no longer work."
        ) from None


def _key(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(f"{where} does not hold 64 hex digits.")
    return key
