"""The bodies of SES events, concatenated from byte templates: far faster than encoding JSON.

A body is `PREFIX[mark] + head + tail`. The head is the `mail` object up to its tags, from a template of the
batch. The tail closes the tags and adds the event. Text is escaped for JSON when it enters a template;
addresses, times, ids and user agents are generated here and need no escaping.
"""

import json
from enum import IntEnum
from typing import NamedTuple

from sesight_simulator.traffic.plan import DAY, MINUTE


class Mark(IntEnum):
    """What an event means, as `Truth` counts it."""

    SEND = 0
    DELIVERY = 1
    DELAY = 2
    SOFT_BOUNCE = 3
    BOUNCE = 4
    SUPPRESSED = 5
    """A bounce of an address that SES did not try, since it is on a suppression list."""
    SUPPRESSED_COMPLAINT = 6
    """The same, published as a complaint."""
    FAILURE = 7
    """A rendering failure."""
    REJECT = 8
    AUTO_REPLY = 9
    COMPLAINT = 10
    CANDIDATES = 11
    """A complaint that names several recipients."""
    NOT_SPAM = 12
    UNSUBSCRIBE = 13
    HUMAN_OPEN = 14
    UNKNOWN_OPEN = 15
    MACHINE_OPEN = 16
    HUMAN_CLICK = 17
    UNKNOWN_CLICK = 18
    MACHINE_CLICK = 19


_EVENT_TYPES = {
    Mark.SEND: b"Send",
    Mark.DELIVERY: b"Delivery",
    Mark.DELAY: b"DeliveryDelay",
    Mark.SOFT_BOUNCE: b"Bounce",
    Mark.BOUNCE: b"Bounce",
    Mark.SUPPRESSED: b"Bounce",
    Mark.SUPPRESSED_COMPLAINT: b"Complaint",
    Mark.FAILURE: b"Rendering Failure",
    Mark.REJECT: b"Reject",
    Mark.AUTO_REPLY: b"Bounce",
    Mark.COMPLAINT: b"Complaint",
    Mark.CANDIDATES: b"Complaint",
    Mark.NOT_SPAM: b"Complaint",
    Mark.UNSUBSCRIBE: b"Subscription",
    Mark.HUMAN_OPEN: b"Open",
    Mark.UNKNOWN_OPEN: b"Open",
    Mark.MACHINE_OPEN: b"Open",
    Mark.HUMAN_CLICK: b"Click",
    Mark.UNKNOWN_CLICK: b"Click",
    Mark.MACHINE_CLICK: b"Click",
}
PREFIX = tuple(b'{"eventType":"%b",' % _EVENT_TYPES[mark] for mark in Mark)
"""How the body of an event begins, by mark."""

_DATES: dict[int, bytes] = {}
_HEADER_DATES: dict[int, bytes] = {}
_MINUTES = tuple(b"%02d:%02d:" % divmod(minute, 60) for minute in range(1440))
_SECONDS = tuple(b"%02d.%03dZ" % divmod(ms, 1000) for ms in range(60_000))
_WEEKDAYS = (b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed")
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def civil(day: int) -> tuple[int, int, int]:
    """Convert days since 1970-01-01 to (year, month, day of the month)."""
    # Hinnant's civil_from_days: datetime ends at year 9999 and is slower.
    day += 719_468
    era, of_era = divmod(day, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return (
        year_of_era + era * 400 + (month <= 2),
        month,
        of_year - (153 * shifted + 2) // 5 + 1,
    )


def stamp(ms: int) -> bytes:
    """Format an epoch-ms time as SES does: `2026-09-14T08:15:30.412Z`."""
    day, ms = divmod(ms, DAY)
    minute, ms = divmod(ms, MINUTE)
    date = _DATES.get(day)
    if date is None:
        date = _DATES[day] = b"%04d-%02d-%02dT" % civil(day)
    return date + _MINUTES[minute] + _SECONDS[ms]


def date_header(ms: int) -> bytes:
    """Format an epoch-ms time as an RFC 5322 date."""
    day, ms = divmod(ms, DAY)
    minute, ms = divmod(ms, MINUTE)
    date = _HEADER_DATES.get(day)
    if date is None:
        year, month, of_month = civil(day)
        date = b"%b, %02d %b %04d " % (_WEEKDAYS[day % 7], of_month, _MONTHS[month - 1], year)
        _HEADER_DATES[day] = date
    return date + _MINUTES[minute] + _SECONDS[ms][:2] + b" +0000"


def text(value: str) -> bytes:
    """Escape a text for a JSON string; the quotes are left out."""
    return json.dumps(value, ensure_ascii=False)[1:-1].encode()


def _constant(value: str) -> bytes:
    """Escape a text for a JSON string in a %-template."""
    return text(value).replace(b"%", b"%%")


class MailTemplates(NamedTuple):
    """The three templates of a batch's `mail` object. Each ends within the tags, after the last value.

    `full` takes (sent, message id, destination, to, date, send id, date, to list, message id,
    send id): send id twice, in the unsubscribe header and as a tag; `brief`, without headers,
    (sent, message id, destination, send id); `bare`, whose only tag is the configuration set,
    (sent, message id, destination).
    """

    full: bytes
    brief: bytes
    bare: bytes


def mail_templates(
    *,
    region: str,
    account: str,
    domain: str,
    sender: str,
    reply_to: str,
    subject: str,
    configuration_set: str,
    operation: str,
    tags: dict[str, str],
    marketing: bool,
) -> MailTemplates:
    """Return the templates of a batch."""
    source = _constant(sender)
    start = (
        b'"mail":{"timestamp":"%%b","source":"%b",'
        b'"sourceArn":"arn:aws:ses:%b:%b:identity/%b","sendingAccountId":"%b",'
        b'"messageId":"%%b","destination":[%%b],"headersTruncated":false,'
        % (source, *map(_constant, (region, account, domain, account)))
    )
    last = (
        (
            ("List-Unsubscribe", b"<https://u.example.com/o/%b>"),
            ("List-Unsubscribe-Post", b"List-Unsubscribe=One-Click"),
        )
        if marketing
        else (
            ("X-Statement-Reference", b"ref-%b"),
            ("Auto-Submitted", b"auto-generated"),
        )
    )
    headers = (
        ("From", source),
        ("Reply-To", _constant(reply_to)),
        ("To", b"%b"),
        ("Subject", _constant(subject)),
        ("Date", b"%b"),
        ("MIME-Version", b"1.0"),
        ("Content-Type", rb"multipart/alternative; boundary=\"----=_Part_41_77.178\""),
        *last,
    )
    listed = b",".join(
        b'{"name":"%b","value":"%b"}' % (name.encode(), value) for name, value in headers
    )
    common = (
        b'"headers":[%b],"commonHeaders":{"from":["%b"],"date":"%%b",'
        b'"to":[%%b],"messageId":"%%b","subject":"%b"},' % (listed, source, _constant(subject))
    )
    own = b'"tags":{"ses:configuration-set":["%b"]' % _constant(configuration_set)
    more = b"".join(
        b',"%b":["%b"]' % (_constant(name), _constant(value))
        for name, value in {
            "ses:source-tls-version": "TLSv1.3",
            "ses:operation": operation,
            "ses:source-ip": "192.0.2.44",
            "ses:from-domain": domain,
            "ses:caller-identity": "mailer-task-role",
            **tags,
        }.items()
    )
    sent = b',"send_id":["%b"]'
    return MailTemplates(start + common + own + more + sent, start + own + more + sent, start + own)


# The tails. The first %b takes the tags that SES adds after the delivery, or nothing.
SEND = b'}},"send":{}}'
REJECT = b'}},"reject":{"reason":"Bad content"}}'
FAILURE = (
    b'}},"failure":{"errorMessage":"Attribute \'firstName\' is not present in the rendering '
    b'data.","templateName":"%b"}}'
)
DELIVERED_TAGS = b',"ses:outgoing-ip":["%b"],"ses:outgoing-tls-version":["TLSv1.3"]'
ISP_TAG = b',"ses:recipient-isp":["%b"]'
DELIVERY = (
    b'%b}},"delivery":{"timestamp":"%b","processingTimeMillis":%d,"recipients":[%b],'
    b'"smtpResponse":"%b","remoteMtaIp":"%b","reportingMTA":"a7-%d.smtp-out.eu-west-1.amazonses.com"}}'
)
DELAY = (
    b'}},"deliveryDelay":{"timestamp":"%b","delayType":"%b","expirationTime":"%b",'
    b'"reportingMTA":"%b","delayedRecipients":[{"emailAddress":"%b","status":"%b",'
    b'"diagnosticCode":"%b"}]}}'
)
BOUNCE = (
    b'%b}},"bounce":{"feedbackId":"%b","bounceType":"%b","bounceSubType":"%b",'
    b'"bouncedRecipients":[%b],"timestamp":"%b"%b}}'
)
BOUNCED = b'{"emailAddress":"%b","action":"failed","status":"%b","diagnosticCode":"%b"}'
REMOTE_MTA = b',"remoteMtaIp":"%b","reportingMTA":"dns; a7-%d.smtp-out.eu-west-1.amazonses.com"'
OWN_MTA = b',"reportingMTA":"dns; amazonses.com"'
COMPLAINT = (
    b'%b}},"complaint":{"feedbackId":"%b","complaintSubType":%b,"complainedRecipients":[%b],'
    b'"timestamp":"%b"%b}}'
)
REPORT = b',"userAgent":"ExampleISP-Feedback/2.1","complaintFeedbackType":"%b","arrivalDate":"%b"'
OPEN = b'%b}},"open":{"timestamp":"%b","userAgent":"%b","ipAddress":"%b"%b}}'
CLICK = (
    b'%b}},"click":{"timestamp":"%b","ipAddress":"%b","userAgent":"%b","link":"%b",'
    b'"linkTags":%b%b}}'
)
UNSUBSCRIBE = (
    b'%b}},"subscription":{"contactList":"contacts","timestamp":"%b","source":"%b",'
    b'"newTopicPreferences":{"unsubscribeAll":%b,"topicSubscriptionStatus":[{"topicName":"outreach",'
    b'"subscriptionStatus":"OptOut"}],"topicDefaultSubscriptionStatus":[{"topicName":"outreach",'
    b'"subscriptionStatus":"OptIn"}]},"oldTopicPreferences":{"unsubscribeAll":false,'
    b'"topicSubscriptionStatus":[{"topicName":"outreach","subscriptionStatus":"OptIn"}],'
    b'"topicDefaultSubscriptionStatus":[{"topicName":"outreach","subscriptionStatus":"OptIn"}]}}}'
)
LIKELY = b',"isBotEvent":"Likely"'
UNLIKELY = b',"isBotEvent":"Unlikely"'
BOT_EVENT_FROM = 1_786_060_800_000
"""2026-08-07T00:00Z: from this day on, SES publishes `isBotEvent`."""
