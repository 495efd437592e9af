"""Message defaults: what all messages of a stream share, and what every message must carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from sesight.domain.errors import SettingsError
from sesight.domain.stream import Stream
from sesight.domain.template import RenderedTemplate
from sesight.send.addresses import Address, parse_address
from sesight.send.message import Attachment, OutgoingMessage, TemplatedContent, Unsendable
from sesight.send.stream_secrets import SesSecrets
from sesight.send.unsubscribe_link import headers

SES_LINK = "{{amazonSESUnsubscribeUrl}}"
"""The placeholder that SES replaces by its own unsubscribe link if a contact list is named (SES guide,
"Using subscription management")."""

MakeLink = Callable[[str, str, str, str], str]
"""Returns the unsubscribe link for a stream, an address, a campaign and a send id."""


class MessageDefaults(Struct, frozen=True, kw_only=True):
    """The defaults of one stream. `link` makes unsubscribe links, None: there are no keys."""

    stream: Stream
    secrets: SesSecrets
    link: MakeLink | None

    def __post_init__(self) -> None:
        """Raise SettingsError if a message of the stream would lack something that it must have."""
        stream, secrets = self.stream.id, self.secrets
        if secrets.configuration_set not in (None, self.stream.configuration_set):
            raise SettingsError(
                f"The sender of {stream} names another configuration set than the stream, so events of its "
                f"mail would belong to no stream. Set configuration_set of the stream {stream} to it."
            )
        for setting, text, name in (
            ("from_address", secrets.from_address, secrets.from_name),
            *(("reply_to", address, None) for address in secrets.reply_to),
        ):
            try:
                _sender(text, name)
            except Unsendable as error:
                raise SettingsError(
                    f"The sender of {stream} has a {setting} (or a display name) that no message can carry: "
                    f"{error}"
                ) from None
        if self.stream.marketing and not secrets.postal_address:
            raise SettingsError(
                f"Marketing mail must show a postal address: set postal_address for {stream}."
            )
        one_click = self.stream.marketing or secrets.unsubscribe == "header"
        if one_click and secrets.contact_list is None and self.link is None:
            raise SettingsError(
                f"Mail of {stream} carries an unsubscribe link: set public_url and unsubscribe_keys "
                "for it, or a contact_list of SES."
            )
        if not one_click and secrets.unsubscribe == "notify" and not secrets.reply_to:
            raise SettingsError(
                f"Recipients of {stream} unsubscribe by writing to reply_to: set it, or unsubscribe."
            )

    def url(self, address: str, campaign: str, send_id: str) -> str | None:
        """Return the unsubscribe link of an address, None if the stream's mail has none."""
        if not self.stream.marketing and self.secrets.unsubscribe != "header":
            return None
        if self.secrets.contact_list is not None:
            return SES_LINK
        return None if self.link is None else self.link(self.stream.id, address, campaign, send_id)

    def context(self, to: Address, url: str | None, campaign: str) -> dict[str, str]:
        """Return the variables that every template receives. `name` is left out where a recipient has
        none: empty, it would send "Hello ,".
        """
        return {
            "email": to.mailbox,
            **({"name": to.name} if to.name else {}),
            "unsubscribe_url": url or "",
            "postal_address": self.secrets.postal_address or "",
            "campaign": campaign,
        }

    def message(
        self,
        to: Address,
        content: RenderedTemplate | TemplatedContent,
        tags: Mapping[str, str],
        campaign: str,
        *,
        template: str,
        url: str | None,
        attachments: tuple[Attachment, ...] = (),
        tracked: bool = True,
    ) -> OutgoingMessage:
        """Return a message with everything that each message must have. `campaign` is the campaign's
        display name, `template` the template's name, `url` the result of `url`.

        Raises Unsendable for names and addresses that no header can hold.
        """
        secrets = self.secrets
        ses_makes_link = url == SES_LINK
        return OutgoingMessage(
            to=to.header,
            sender=_sender(secrets.from_address, secrets.from_name).header,
            configuration_set=self.stream.configuration_set,
            tags=tags,
            campaign_name=campaign,
            template=template,
            content=content,
            reply_to=tuple(_sender(address, None).header for address in secrets.reply_to),
            headers=() if ses_makes_link else self._headers(url),
            attachments=attachments,
            contact_list=secrets.contact_list if ses_makes_link else None,
            topic=secrets.topic if ses_makes_link else None,
            tracked=tracked and secrets.tracked and self.stream.tracked,
        )

    def _headers(self, url: str | None) -> tuple[tuple[str, str], ...]:
        if url is not None:
            return headers(url)
        if self.secrets.unsubscribe == "notify":
            mailbox = _sender(self.secrets.reply_to[0], None).mailbox
            return (("List-Unsubscribe", f"<mailto:{mailbox}?subject=unsubscribe>"),)
        return ()


@lru_cache(64)
def _sender(text: str, name: str | None) -> Address:
    """Parse an address of the settings; `name` wins over a display name in it. Raises Unsendable."""
    address = parse_address(text)
    if name:
        address = replace(address, name=name)
        _ = address.header
    return address
