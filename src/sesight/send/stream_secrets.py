"""What a stream sends with: from the settings, or from a secret that is read anew now and then."""

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
    """From whom and how one stream sends. In a secret: one JSON object of these names."""

    stream: str
    """The stream's id."""
    from_address: str
    """The address mail comes from; its domain is verified with SES."""
    from_name: str | None = None
    """The name shown beside it."""
    region: str | None = None
    """The AWS region to send in; by default the one of the settings."""
    configuration_set: str | None = None
    """The configuration set, where a secret says it: the stream's own, or nothing is sent."""
    reply_to: list[str] = field(default_factory=list)
    """Addresses that answers go to."""
    public_url: str | None = None
    """Where the public listener is reached, https: unsubscribe links begin with it."""
    postal_address: str | None = None
    """The sender's postal address, which marketing mail must show."""
    unsubscribe: Literal["header", "notify", "none"] = "header"
    """Of streams that are not marketing: header: one click; notify: answered by a person, the address
    in `reply_to`; none."""
    unsubscribe_keys: UnsubscribeKeys = field(default_factory=dict)
    """Keys of unsubscribe links by id, 64 hex digits each. Add keys, never take one away; the last is
    the one in use."""
    contact_list: str | None = None
    """SES's contact list, which then makes the unsubscribe links."""
    topic: str | None = None
    """The topic of that list."""
    tracked: bool = True
    """Whether SES records opens and clicks where the configuration set says so."""


AGAIN_MS = 30_000
"""A secret that could not be read is asked for again after this long: a stranger with a forged link must
not make us call AWS each time."""


class StreamSecrets:
    """The streams' secrets, read at most once per `seconds`. Safe to use from any thread."""

    def __init__(
        self,
        settings: Mapping[str, SesSecrets],
        name: str | None,
        read: Callable[[str], str],
        clock: Clock,
        seconds: int,
        failed: Callable[[str], None],
    ) -> None:
        """Keep what the settings say by stream, the secret's name (`{stream}` stands for the stream;
        None: there is none), how one is read (it raises SettingsError), and who is told of the stream
        whose secret could not be read.
        """
        self._settings = settings
        self._name = name
        self._read = read
        self._clock = clock
        self._ms = seconds * 1_000
        self._failed = failed
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, SesSecrets]] = {}
        self._lacking: dict[str, tuple[int, SettingsError]] = {}

    def get_ses_secrets(self, stream: str) -> SesSecrets:
        """Return what a stream sends with.

        A secret that cannot be read again is taken as it was; one never read raises SettingsError, as
        does a stream without any.
        """
        if self._name is None:
            found = self._settings.get(stream)
            if found is None:
                raise SettingsError(
                    f"The stream {stream} has no sender: add one under [[sending.senders]]."
                )
            return found
        with self._lock:
            now = self._clock()
            held = self._held.get(stream)
            if held is not None and now - held[0] < self._ms:
                return held[1]
            lacking = self._lacking.get(stream)
            if lacking is not None and now - lacking[0] < AGAIN_MS:
                raise SettingsError(str(lacking[1]))
            try:
                fresh = self._decoded(stream, self._name.replace("{stream}", stream))
            except SettingsError as error:
                self._failed(stream)
                if held is None:
                    self._lacking[stream] = (now, error)
                    raise
                fresh = held[1]
            self._held[stream] = (now, fresh)
            return fresh

    def _decoded(self, stream: str, name: str) -> SesSecrets:
        text = self._read(name)
        try:
            values = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            values["stream"] = msgspec.Raw(msgspec.json.encode(stream))
            return msgspec.json.decode(msgspec.json.encode(values), type=SesSecrets)
        except (msgspec.DecodeError, UnicodeError):
            # what the decoder says may repeat a value of the secret
            raise SettingsError(
                f"The secret {name} is not the JSON object of docs/how-to/send-a-campaign.md."
            ) from None
