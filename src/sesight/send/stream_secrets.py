"""A stream's sender: from the settings, or from a secret that is cached and read again now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from sesight.domain.errors import SettingsError
from sesight.domain.ports import Clock

UnsubscribeKeys = dict[str, Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]]


class SesSecrets(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sender of one stream. A secret is a JSON object of these names."""

    stream: str
    """The stream's id."""
    from_address: str
    """The From address. Its domain must be verified with SES."""
    from_name: str | None = None
    """The display name of the From address."""
    region: str | None = None
    """The AWS region to send in, by default that of the settings."""
    configuration_set: str | None = None
    """The configuration set, if a secret names one. It must be the stream's own, or nothing is sent."""
    reply_to: list[str] = field(default_factory=list)
    """The Reply-To addresses."""
    public_url: str | None = None
    """The https URL of the public listener: unsubscribe links begin with it."""
    postal_address: str | None = None
    """The sender's postal address. Marketing mail must show it."""
    unsubscribe: Literal["header", "notify", "none"] = "header"
    """How recipients of a stream that is not marketing unsubscribe. header: by one click; notify: by
    mail to `reply_to`, which a person answers; none: not at all."""
    unsubscribe_keys: UnsubscribeKeys = field(default_factory=dict)
    """Keys of unsubscribe links by id, 64 hex digits each. The last one makes links. Never remove a key:
    links in mail already sent need it."""
    contact_list: str | None = None
    """SES's contact list. If it is set, SES makes the unsubscribe links."""
    topic: str | None = None
    """The topic of the contact list."""
    tracked: bool = True
    """Whether SES tracks opens and clicks, if the configuration set does."""


RETRY_MS = 30_000
"""How long a secret that could not be read is not read again (ms): a stranger with forged links must not
make this process call AWS each time.
"""


class StreamSecrets:
    """The senders of all streams, cached. Safe to use from any thread."""

    def __init__(
        self,
        settings: Mapping[str, SesSecrets],
        name: str | None,
        read: Callable[[str], str],
        clock: Clock,
        seconds: int,
        failed: Callable[[str], None],
    ) -> None:
        """`settings` are the senders by stream; they are used if `name` is None. Otherwise `name` is that
        of the secrets, with `{stream}` for the stream; `read` returns a secret's text (raises
        SettingsError), at most once in `seconds` a stream; `failed` is called with the stream of a
        secret that could not be read.
        """
        self._settings = settings
        self._name = name
        self._read = read
        self._clock = clock
        self._ms = seconds * 1_000
        self._failed = failed
        self._lock = threading.Lock()
        self._cached: dict[str, tuple[int, SesSecrets]] = {}
        self._errors: dict[str, tuple[int, SettingsError]] = {}

    def get_ses_secrets(self, stream: str) -> SesSecrets:
        """Return the sender of a stream.

        If a secret cannot be read again, its last value is used. Raises SettingsError for a secret that
        could never be read and for a stream without a sender.
        """
        if self._name is None:
            sender = self._settings.get(stream)
            if sender is None:
                raise SettingsError(
                    f"The stream {stream} has no sender: add one under [[sending.senders]]."
                )
            return sender
        with self._lock:
            now = self._clock()
            cached = self._cached.get(stream)
            if cached is not None and now - cached[0] < self._ms:
                return cached[1]
            failed = self._errors.get(stream)
            if failed is not None and now - failed[0] < RETRY_MS:
                raise SettingsError(str(failed[1]))
            try:
                sender = self._decoded(stream, self._name.replace("{stream}", stream))
            except SettingsError as error:
                self._failed(stream)
                if cached is None:
                    self._errors[stream] = (now, error)
                    raise
                sender = cached[1]
            self._cached[stream] = (now, sender)
            return sender

    def _decoded(self, stream: str, name: str) -> SesSecrets:
        text = self._read(name)
        try:
            values = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            values["stream"] = msgspec.Raw(msgspec.json.encode(stream))
            return msgspec.json.decode(msgspec.json.encode(values), type=SesSecrets)
        except (msgspec.DecodeError, UnicodeError):
            # the decoder's message may repeat a value of the secret
            raise SettingsError(
                f"The secret {name} is not the JSON object of docs/how-to/send-a-campaign.md."
            ) from None
