"""The `mail` object of an SES body: the message, its recipients, and those that an event concerns.

Shapes: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

from email.errors import HeaderParseError
from email.header import decode_header, make_header
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from sesight.domain.address import NormalizedAddress, normalize_address, normalize_addresses
from sesight.domain.errors import Unreadable
from sesight.domain.event import UNATTRIBUTED, AnyOccurrence, Event, Identity, Report, kept_tags
from sesight.domain.text import clean
from sesight.domain.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_RECIPIENTS = 100
"""Recipients read from one event at most; SES allows 50 in a message."""

HEADER = 4_096
"""Characters of an encoded header that are decoded."""

_NONE: dict[str, Any] = {}


_NULL = Raw(b"null")  # msgspec accepts nothing but null for a `Raw | None`


class Mail(Struct, rename="camel", gc=False):
    """The fields that are used; every one may be of any type. The headers are decoded when needed."""

    timestamp: Any = None
    source: Any = None
    message_id: Any = None
    destination: Any = None
    sending_account_id: Any = None
    common_headers: Raw = _NULL
    headers: Raw = _NULL
    tags: Any = None


def event_of(
    mail: Mail,
    sent_at: int,
    reports: tuple[Report, ...],
    template: str | None = None,
) -> Event:
    """Return the event of a message with the given reports. Raises Unreadable without a messageId."""
    tags: tuple[tuple[str, str], ...] = ()
    configuration_set = isp = send_id = None
    values = mail.tags
    if type(values) is dict:
        configuration_set = first(values.get("ses:configuration-set"))
        isp = first(values.get("ses:recipient-isp"))
        send_id = first(values.get("send_id"))
        tags = _own_tags(values)
    source = mail.source
    identity = Identity(
        sent_at,
        sender_of(source) if type(source) is str else None,
        _subject(mail),
        template,
        send_id,
        isp,
        tags,
    )
    account = mail.sending_account_id
    return Event(
        _message_id(mail),
        identity,
        reports,
        configuration_set,
        account if account is None else clean(account),
    )


@lru_cache(1_024)
def sender_of(source: str) -> str:
    """Return the bare address of a From header, the first of several."""
    return normalize_addresses(source)[0][0]


def _own_tags(tags: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the sender's own tags as sorted pairs, without those of SES and `send_id`."""
    pairs: list[tuple[str, str]] = []
    for name, values in tags.items():
        if name[:4] == "ses:" or name == "send_id":
            continue
        if type(values) is list and len(values) == 1 and type(values[0]) is str:
            pairs.append(own_pair(name, values[0]))
        else:
            pairs.extend(own_pair(name, value) for value in _strings(values))
    return kept_tags(pairs)


@lru_cache(8_192)
def own_pair(name: str, value: str) -> tuple[str, str]:
    """Return one of the sender's own tags, cleaned. The cache shares equal pairs."""
    return clean(name) or "", clean(value) or ""


def _message_id(mail: Mail) -> str:
    message_id = clean(mail.message_id)
    if not message_id:
        raise Unreadable("no-message-id", "The event's `mail` has no messageId.")
    return message_id


def sent_at_of(mail: Mail) -> int:
    """Return the send time: `mail.timestamp`, else the time in the message id, where SES encodes it as
    12 hexadecimal digits of milliseconds.
    """
    timestamp = parse_timestamp(mail.timestamp)
    if timestamp is not None:
        return timestamp[0]
    message_id = mail.message_id
    if isinstance(message_id, str) and len(message_id) > 16 and message_id[16] == "-":
        try:
            at = int(message_id[4:16], 16)
        except ValueError:
            at = 0
        if 946_684_800_000 < at < 4_102_444_800_000:
            return at
    raise Unreadable("no-send-time", "`mail.timestamp` is missing or not a time.")


def first(values: object) -> str | None:
    """Return the least of a tag's values, None if there are none."""
    if type(values) is list and len(values) == 1:
        return clean(values[0])
    texts = _strings(values)
    return min(texts) if texts else None


def _strings(values: object) -> list[str]:
    """Return the values of a tag. SES sends a list; a bare string counts as a list of one."""
    if isinstance(values, list):
        return [text for text in map(clean, values) if text is not None]
    text = clean(values)
    return [] if text is None else [text]


def _subject(mail: Mail) -> str | None:
    common = _decoded(mail.common_headers)
    subject = common.get("subject") if isinstance(common, dict) else None
    if subject is not None:
        return decoded_words(clean(subject))
    return decoded_words(_header(_decoded(mail.headers), "subject"))


def _decoded(part: Raw) -> Any:
    try:
        return msgspec.json.decode(part)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        # msgspec skips a Raw without decoding its escapes, so a lone surrogate shows only here
        raise Unreadable("not-json", f"The headers are not JSON: {error}") from None


def decoded_words(text: str | None) -> str | None:
    """Return a text with its encoded words (RFC 2047) decoded, unchanged if that fails."""
    if text is None or "=?" not in text:
        return text
    try:
        return clean(str(make_header(decode_header(text)))) or text
    except (HeaderParseError, LookupError, ValueError):  # UnicodeError is a ValueError
        return text


def _header(headers: object, lower_name: str) -> str | None:
    """Return the first header of a name in any case."""
    for header in items(headers):
        name = header.get("name")
        if isinstance(name, str) and name.lower() == lower_name:
            return clean(header.get("value"), HEADER)  # encoded, so longer than the text
    return None


def items(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list, none if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _too_many() -> Unreadable:
    return Unreadable(
        "too-many-recipients", f"The event names more than {MAX_RECIPIENTS} recipients."
    )


def destinations(mail: Mail) -> list[NormalizedAddress]:
    """Return the recipients of the message, each once. Raises Unreadable for too many."""
    raw = mail.destination
    if type(raw) is list and len(raw) == 1:
        mailboxes: Iterable[NormalizedAddress] = normalize_addresses(raw[0])
    else:
        texts = [raw] if isinstance(raw, str) else raw if isinstance(raw, list) else []
        if len(texts) > MAX_RECIPIENTS:
            raise _too_many()
        mailboxes = chain.from_iterable(map(normalize_addresses, texts))
    distinct = list({mailbox[0]: mailbox for mailbox in mailboxes}.values())
    if len(distinct) > MAX_RECIPIENTS:
        raise _too_many()
    return distinct


def to_all(mail: Mail, occurrence: AnyOccurrence) -> tuple[Report, ...]:
    """Return a report for every recipient of the message, one for `*` if it names none."""
    recipients = destinations(mail)
    if not recipients:
        return (Report(UNATTRIBUTED, occurrence, None, False),)
    return tuple([Report(to, occurrence, spelling) for to, spelling, _ in recipients])


def to_the_one(mail: Mail, occurrence: AnyOccurrence) -> tuple[Report, ...]:
    """Return a report for the message's only recipient, else for `*`: SES does not say which one it was."""
    recipients = destinations(mail)
    if len(recipients) == 1:
        to, spelling, _ = recipients[0]
        return (Report(to, occurrence, spelling),)
    return (Report(UNATTRIBUTED, occurrence, None, False),)


def to_named(
    mail: Mail,
    named: list[tuple[object, dict[str, Any]]],
    make: Callable[[dict[str, Any], str | None], AnyOccurrence],
    *,
    unnamed_is_mailable: bool = True,
) -> tuple[Report, ...]:
    """Return reports for the recipients that an event names.

    An address the message did not go to stands for its only recipient (forwarded mail) or, if it has
    several, for `*`; so does an event that names nobody. If a recipient of the message does not parse,
    an unknown address may be that one, so it is mailable.

    `named` are the addresses with their objects; `make` gets an object, and the address if the message
    did not go to it.
    """
    if len(named) == 1 and mail.destination == [named[0][0]]:
        to, spelling, mailable = normalize_address(named[0][0])
        if mailable:
            return (Report(to, make(named[0][1], None), spelling),)
    sent_to = {mailbox[0]: mailbox for mailbox in destinations(mail)}
    only = next(iter(sent_to.values())) if len(sent_to) == 1 else None
    mailboxes = [
        (mailbox, details) for raw, details in named for mailbox in normalize_addresses(raw)
    ]
    if len(mailboxes) > MAX_RECIPIENTS:
        raise _too_many()
    if not mailboxes:
        to, spelling, _ = only or (UNATTRIBUTED, None, False)
        mailable = only is not None and unnamed_is_mailable
        return (Report(to, make(_NONE, None), spelling, mailable),)
    unread = has_unread(sent_to.values())
    reports = []
    for mailbox, details in mailboxes:
        match = sent_to.get(mailbox[0]) or (mailbox if not sent_to else None)
        if match is not None:
            reports.append(Report(match[0], make(details, None), match[1]))
        elif only is not None:
            reports.append(Report(only[0], make(details, mailbox[0]), only[1]))
        else:
            reports.append(Report(UNATTRIBUTED, make(details, mailbox[0]), None, unread))
    return tuple(reports)


def has_unread(sent_to: Iterable[NormalizedAddress]) -> bool:
    """Return whether any of a message's recipients does not parse."""
    return not all(mailable for _, _, mailable in sent_to)


def addressed(value: object) -> list[tuple[object, dict[str, Any]]]:
    """Return the items of a list of recipients, which are strings or objects with an emailAddress."""
    if not isinstance(value, list):
        return []
    return [
        (item.get("emailAddress"), item) if isinstance(item, dict) else (item, _NONE)
        for item in value
        if item
    ]
