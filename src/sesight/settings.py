"""Settings: the only reader of the settings file and of the environment.

Settings come from a TOML file. An environment variable overrides any of them: `SESIGHT_`, the section and
the name, in capitals and joined by underscores (`SESIGHT_STORE_URL`); lists and tables are JSON there.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

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
_TOOL_VARIABLES = frozenset({"SESIGHT_BLAST_MESSAGES", "SESIGHT_FUZZ_SECONDS"})
"""Variables that the project's own tools read; they are not settings."""


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where records are stored, and for how long."""

    url: str = "sqlite:///sesight.db"
    """`sqlite:///PATH` (`sqlite:////PATH` for an absolute path) or `dynamodb://REGION`."""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    """Days that a record is kept after its send day; 0 keeps records forever. Totals are always kept. By default
    the store's own retention applies, 90 days in a new store. To shorten it, run `sesight retention shorten`."""
    busy_timeout_ms: Annotated[int, Meta(ge=0, le=600_000)] = 5_000
    """Milliseconds to wait while another process writes to an SQLite store."""


class TopicSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An SNS topic whose notifications are accepted."""

    arn: str
    """The topic's full ARN."""
    certificate_file: str | None = None
    """A pinned certificate (PEM file), for topics of the simulator (account 000000000000) only."""
    signature_versions: Annotated[list[Literal["1", "2"]], Meta(min_length=1)] = field(
        default_factory=lambda: ["1", "2"]
    )
    """Accepted signature versions. Set `["2"]` once the topic signs with SHA-256."""


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The addresses on which the server listens."""

    host: str = "127.0.0.1"
    """The address of the API listener; it must be a loopback address."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8025
    """The port of the API listener; 0 chooses a free port."""
    intake: str | None = None
    """HOST:PORT of a public listener, which serves only intake, unsubscribe links and `GET /health`."""
    allowed_hosts: list[str] = field(default_factory=list)
    """Host names, besides loopback, under which the API may be called and whose pages may call it."""


class IntakeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are accepted, and how many requests at once."""

    ignore_sets: list[str] = field(default_factory=list)
    """Configuration sets whose events are ignored."""
    accounts: list[str] = field(default_factory=list)
    """AWS accounts whose events are accepted; an empty list accepts any account."""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 2_048
    """Maximum number of concurrent requests; further requests are answered with 503."""
    log_events: bool = True
    """Whether the server writes an `SES_EVENT_PROCESSED` log line for each event."""


class CountingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which recipients count, and how figures are broken down."""

    tags: list[str] = field(
        default_factory=lambda: ["campaign_type", "campaign_step", "campaign_variant"]
    )
    """Up to three tags by which campaign figures are broken down."""
    test_recipients: list[str] = field(default_factory=lambda: ["@simulator.amazonses.com"])
    """Addresses, or domains with a leading `@`, that are never counted and never suppressed."""


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """When a stream is paused because of its reputation, before SES would pause the account."""

    streams: list[str] = field(default_factory=list)
    """Transactional streams to watch; marketing streams are always watched."""
    bounce: Annotated[float, Meta(gt=0, le=1)] = 0.05
    """The bounce rate above which a stream is paused. SES reviews an account at 0.05."""
    complaint: Annotated[float, Meta(gt=0, le=1)] = 0.001
    """The complaint rate above which a stream is paused. SES reviews an account at 0.001."""
    floor: Annotated[int, Meta(ge=1)] = 1_000
    """Attempted messages below which rates are not reliable enough to pause a stream."""
    days: Annotated[int, Meta(ge=1, le=90)] = 7
    """Send days over which the rates are calculated, including today."""


class SendingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How mail is sent. A stream can send only if it has a sender."""

    senders: list[SesSecrets] = field(default_factory=list)
    """The sender of each stream and its keys; ignored if `secret` is set."""
    secret: str | None = None
    """Name or ARN of a secret in AWS Secrets Manager that holds the sender; `{stream}` stands for the stream."""
    secret_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    """Seconds for which a secret is cached."""
    endpoint: str | None = None
    """URL of a simulated SES; by default that of AWS."""
    templates: str = "templates"
    """The folder that holds the templates."""
    rendering: Literal["local", "ses"] = "local"
    """Who renders templates whose `template.toml` does not say: this process, or SES."""
    account_list: bool = False
    """Whether the account suppression list of SES is also checked before sending."""
    rate: Annotated[float, Meta(gt=0)] | None = None
    """Maximum number of messages a second, if lower than the account's own rate."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 16
    """Maximum number of messages sent concurrently."""
    unknown_minutes: Annotated[int, Meta(ge=1, le=43_200)] = 1_440
    """Minutes after which a message with neither a response nor a Send event is considered not sent."""
    guard: GuardSettings = GuardSettings()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    region: str | None = None
    """The AWS region; by default that of the first topic."""
    recipient_key: str | None = None
    """The key of recipient ids, 64 hex digits; by default generated and kept in a file beside an SQLite store."""
    recipient_key_secret: str | None = None
    """Name or ARN of a secret in AWS Secrets Manager that holds the key of recipient ids."""
    store: StoreSettings = StoreSettings()
    server: ServerSettings = ServerSettings()
    intake: IntakeSettings = IntakeSettings()
    counting: CountingSettings = CountingSettings()
    suppression: SuppressionPolicy = SuppressionPolicy()
    sending: SendingSettings = SendingSettings()
    topics: list[TopicSettings] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=lambda: [OUTREACH, FINANCE])

    @property
    def counting_rules(self) -> Counting:
        """Return the streams, tags and test recipients that the domain counts by."""
        return Counting(
            {stream.id: stream for stream in self.streams},
            tuple(self.counting.tags),
            frozenset(
                normalize_address_or_domain(text)[0] for text in self.counting.test_recipients
            ),
        )


def load(file: str | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Read the settings: first the file, then the environment, then the command line.

    The file is the one given, else `SESIGHT_CONFIG`, else sesight.toml if it exists. `overrides` are by
    dotted name (`store.url`); the command-line option of one is the name's first word (`--store`). Raises
    SettingsError that says where the mistake is and what to change.
    """
    named = file or os.environ.get(f"{PREFIX}CONFIG")
    sources = _Sources(Path(named or DEFAULT_FILE))
    if named or sources.file.exists():
        sources.read()
    for keys, value in _from_environment():
        sources.set(keys, value, f"{PREFIX}{'_'.join(keys).upper()}")
    for name, value in (overrides or {}).items():
        if value is not None:
            sources.set(name.split("."), value, f"--{name.partition('.')[0]}")
    mismatch = find_mismatch(sources.values, Settings)
    if mismatch is not None:
        raise sources.mismatch_error(mismatch)
    for topic in sources.values.get("topics", ()):
        if topic.get("certificate_file") is not None:  # relative to the settings file
            topic["certificate_file"] = str(sources.file.parent / topic["certificate_file"])
    settings = msgspec.convert(sources.values, Settings, strict=False)
    _check(settings, sources)
    return settings


class _Sources:
    """The values that are set, and where each comes from: a line of the file, a variable or an option."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values: dict[str, Any] = {}
        self._lines: list[str] = []
        self._overridden: dict[tuple[str | int, ...], str] = {}

    def read(self) -> None:
        """Read the values of the file. Raises SettingsError."""
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
        """Override a value. Raises SettingsError if a name that should be a table is not one."""
        section = self.values
        for depth, key in enumerate(keys[:-1], start=1):
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise self.error(tuple(keys[:depth]), f"`{key}` must be a table: [{key}].")
        section[keys[-1]] = value
        self._overridden[tuple(keys)] = by

    def error(self, path: tuple[str | int, ...], sentence: str) -> SettingsError:
        """Return an error about the value at a path, with its place."""
        by = self._by(path)
        return SettingsError(f"{by or self._place(path)}: {sentence}")

    def mismatch_error(self, mismatch: Mismatch) -> SettingsError:
        """Return the error for a value that does not match its type."""
        by = self._by(mismatch.path)
        if (
            by is not None
            and mismatch.what == "wrong"
            and self._overridden.get(mismatch.path) == by
        ):
            return SettingsError(
                f"{by} must be {mismatch.expected}{_not(mismatch)}.{_meant(mismatch)}"
            )
        names = [key for key in mismatch.path if isinstance(key, str)]
        name, section = f"`{names[-1]}`", _section(mismatch.path)
        if mismatch.what == "unknown":
            known = ", ".join(f"`{name}`" for name in mismatch.allowed)
            more = _meant(mismatch) or f" There are {known}."
            if not section and isinstance(self.values[names[-1]], dict | list):
                name = f"section [{names[-1]}]"
            return self.error(mismatch.path, f"there is no {name}{section}.{more}")
        if mismatch.what == "missing":
            return self.error(mismatch.path, f"{name} is missing{section}: {mismatch.expected}.")
        return self.error(
            mismatch.path,
            f"{name}{section} must be {mismatch.expected}{_not(mismatch)}.{_meant(mismatch)}",
        )

    def _by(self, path: tuple[str | int, ...]) -> str | None:
        """Return the variable or option that set the value at a path, None if the file did."""
        ends = (path[:length] for length in range(len(path), 0, -1))
        return next((self._overridden[end] for end in ends if end in self._overridden), None)

    def _place(self, path: tuple[str | int, ...]) -> str:
        """Return the file and the line that sets the value at a path, or the nearest table above it."""
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
    return [key.strip(" \"'") for key in dotted.split(".")]


def _section(path: tuple[str | int, ...]) -> str:
    """Return the section of a path as text, such as ` in [[sending.senders]]`; empty at the top level."""
    names = [key for key in path if isinstance(key, str)][:-1]
    if not names:
        return ""
    listed = len(path) > len(names) and isinstance(path[len(names)], int)
    return f" in [[{'.'.join(names)}]]" if listed else f" in [{'.'.join(names)}]"


def _not(mismatch: Mismatch) -> str:
    """Return the mismatched value as text, if it is short and not a secret."""
    words = str(mismatch.path).lower()
    shown = str(mismatch.value).lower() if isinstance(mismatch.value, bool) else str(mismatch.value)
    hidden = "key" in words or isinstance(mismatch.value, dict | list) or len(shown) > 60
    return "" if hidden else f", not `{shown}`"


def _meant(mismatch: Mismatch) -> str:
    return f" Did you mean `{mismatch.nearest}`?" if mismatch.nearest else ""


def _text(file: Path) -> str:
    """Return the text of a settings file. Raises SettingsError."""
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
    values: list[tuple[list[str], Any]] = []
    for name, keys, is_json in _names(Settings, []):
        text = os.environ.get(PREFIX + name)
        if text is None:
            continue
        if is_json:
            try:
                values.append((keys, msgspec.json.decode(text)))
            except msgspec.DecodeError:  # the value may hold a secret: do not show it
                raise SettingsError(f"{PREFIX}{name} is not valid JSON.") from None
        else:
            values.append((keys, text))
    return values


def _names(section: type[Struct], keys: list[str]) -> list[tuple[str, list[str], bool]]:
    """Return (variable without prefix, keys, whether its value is JSON) of every setting of a section."""
    names: list[tuple[str, list[str], bool]] = []
    for setting in msgspec.structs.fields(section):
        path = [*keys, setting.name]
        kind = setting.type
        if isinstance(kind, type) and issubclass(kind, Struct):
            names.extend(_names(kind, path))
        else:
            bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
            names.append(("_".join(path).upper(), path, get_origin(bare) is list))
    return names


def function_name() -> str | None:
    """Return the handler that Lambda loads (`sesight.lambdas.api`), None outside Lambda."""
    return os.environ.get("_HANDLER")


def environment_names() -> list[str]:
    """Return the name of every environment variable that sets a setting."""
    return [PREFIX + name for name, _, _ in _names(Settings, [])]


def _check(settings: Settings, sources: _Sources) -> None:
    known = [*environment_names(), f"{PREFIX}CONFIG"]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and name not in _TOOL_VARIABLES:
            meant = closest_match(name, known)
            more = f"did you mean {meant}?" if meant else "see docs/reference/settings.md."
            raise SettingsError(f"{name}: there is no such setting; {more}")
    if len(settings.streams) > 63:
        raise sources.error(("streams", 63), "a store can hold at most 63 streams.")
    if len(settings.counting.tags) > 3:
        raise sources.error(("counting", "tags"), "`tags` has more than three tags: choose three.")
    if not settings.streams:
        raise sources.error(("streams",), "there is no stream: define at least one in [[streams]].")
    for name in ("id", "configuration_set"):
        values = [getattr(stream, name) for stream in settings.streams]
        for at, value in enumerate(values):
            if value in values[:at]:
                raise sources.error(
                    ("streams", at, name), f"another stream already has the {name} {value!r}."
                )
    streams = [stream.id for stream in settings.streams]
    for stream in settings.sending.guard.streams:
        if stream not in streams:
            raise sources.error(
                ("sending", "guard", "streams"),
                f"there is no stream {stream!r}; the streams are {', '.join(streams)}.",
            )
    for at, stream in enumerate(streams):
        if not stream.replace("-", "").replace("_", "").isalnum():
            raise sources.error(
                ("streams", at, "id"),
                f"the stream id {stream!r} may contain only letters, digits, - and _.",
            )


def topics(settings: Settings) -> dict[str, Topic]:
    """Return the allowed topics by ARN. Raises SettingsError for an invalid ARN or certificate."""
    if not settings.topics:
        return {}
    from sesight.ingest.transport.sns import parse_topic

    by_arn = {}
    for entry in settings.topics:
        try:
            pinned = _public_key(entry.certificate_file) if entry.certificate_file else None
            by_arn[entry.arn] = parse_topic(entry.arn, pinned, frozenset(entry.signature_versions))
        except ValueError as error:
            raise SettingsError(f"[[topics]]: {error}") from None
    return by_arn


def _public_key(file: str) -> RSAPublicKey:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = x509.load_pem_x509_certificate(Path(file).read_bytes()).public_key()
    except OSError as error:
        raise SettingsError(f"The certificate {file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise SettingsError(f"{file} is not a certificate in PEM format.") from None
    if not isinstance(key, RSAPublicKey):
        raise SettingsError(f"The certificate {file} holds no RSA key.")
    return key


def has_recipient_key(settings: Settings) -> bool:
    """Return whether there is a key for recipient ids: one that is set, or one beside an SQLite store."""
    named = settings.recipient_key or settings.recipient_key_secret
    return bool(named) or settings.store.url.startswith("sqlite:///")


def key_file(settings: Settings) -> Path | None:
    """Return the file beside the SQLite store that holds the key of recipient ids, None if there is none."""
    _, _, path = settings.store.url.partition("sqlite:///")
    named = settings.recipient_key or settings.recipient_key_secret
    return Path(f"{path}.key") if path and not named else None


def recipient_key(settings: Settings, secret: Callable[[str], str]) -> bytes:
    """Return the key of recipient ids, 32 bytes. If none is set, generate one in a file (mode 0600) beside
    an SQLite store. `secret` reads a secret of AWS by name. Raises SettingsError if there is no key.
    """
    if settings.recipient_key is not None:
        return _key(settings.recipient_key, "recipient_key")
    if settings.recipient_key_secret is not None:
        name = settings.recipient_key_secret
        return _key(secret(name).strip(), f"The secret {name}")
    file = key_file(settings)
    if file is None:
        raise SettingsError(
            "There is no key for recipient ids: set recipient_key to 64 hex digits, or recipient_key_secret to "
            "the name of a secret that holds them."
        )
    try:
        if not file.exists():
            private_file.write_new(file, f"{secrets.token_hex(32)}\n".encode())
        text = file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise SettingsError(
            f"The recipient key {file} cannot be read or created: {error.strerror}."
        ) from None
    try:
        return _key(text, str(file))
    except SettingsError as error:
        raise SettingsError(
            f"The recipient key is damaged: {error} Restore the copy that `sesight backup` made beside a "
            "backup. If there is none, delete the file: a new key is generated and no data is lost, but "
            "recipient ids change, so old links to recipients stop working."
        ) from None


def _key(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(f"{where} does not hold 64 hex digits.")
    return key
