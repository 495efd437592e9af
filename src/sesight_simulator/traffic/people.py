"""Recipients: their addresses, mailbox providers and mail programs.

A person is a number from which everything else is computed, so that a population of any size takes no memory.
All addresses, domains and IPs are reserved for documentation.
"""

import random
from typing import NamedTuple

import msgspec

from sesight_simulator.traffic.plan import DAY, HOUR, MINUTE, SECOND

_MASK = (1 << 64) - 1


class Mailbox(NamedTuple):
    """A mailbox provider, its domains, and how it treats mail. Shares are of 256."""

    name: str
    weight: int
    """Its share of all addresses."""
    domains: tuple[bytes, ...]
    isp: bytes
    """The value of the tag `ses:recipient-isp`; empty where SES has none."""
    smtp: bytes
    """The answer of its server to a delivery; %b is the queue id."""
    proxy: bytes
    """User agent of the image proxy that its users open through; empty where it has none."""
    private: int
    """Share of people whose Apple Mail fetches every image before they read (MPP)."""
    prefetched: int
    """Share of deliveries whose images the provider prefetches."""
    scanned: int
    """Share of people behind a scanner that follows every link at delivery."""
    complains: bool
    """Whether it reports complaints to senders."""


GMAIL_PROXY = (
    b"Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
)
GMAIL_PREFETCH = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
YAHOO_PROXY = b"YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
APPLE_PRIVACY = b"Mozilla/5.0"
_POSTFIX = b"250 2.0.0 Ok: queued as %b"

COMPANIES = tuple(
    b"%b-%d.example.%b" % (word, number, top)
    for number in range(1, 41)
    for word, top in (
        (b"alder", b"com"), (b"birch", b"net"), (b"cedar", b"org"), (b"dogwood", b"com"),
        (b"elm", b"net"), (b"fir", b"com"), (b"ginkgo", b"org"), (b"hazel", b"com"),
        (b"juniper", b"net"), (b"larch", b"com"),
    )
)  # fmt: skip

_MICROSOFT = (
    b"250 2.6.0 <%b@eu-west-1.amazonses.com> [InternalId=4711, "
    b"Hostname=AM0PR04MB0001.eurprd04.prod.outlook.com] Queued mail for delivery"
)
MAILBOXES = (
    Mailbox("gmail", 82, (b"gmail.example.com",), b"Gmail", b"250 2.0.0 OK  %b - gsmtp",
            GMAIL_PROXY, 34, 14, 0, False),
    Mailbox("microsoft", 26, (b"outlook.example.com", b"hotmail.example.com"), b"Hotmail",
            _MICROSOFT, b"", 26, 0, 4, True),
    Mailbox("microsoft", 42, COMPANIES[:170], b"", _MICROSOFT, b"", 18, 0, 34, True),
    Mailbox("yahoo", 20, (b"yahoo.example.com", b"aol.example.com"), b"Yahoo",
            b"250 ok dirdel %b", YAHOO_PROXY, 30, 0, 0, True),
    Mailbox("apple", 18, (b"icloud.example.com",), b"Apple", b"250 2.0.0 %b", b"", 225, 0, 0, True),
    Mailbox("gmx", 10, (b"gmx.example.net",), b"GMX",
            b"250 Requested mail action okay, completed: id=%b", b"", 24, 0, 0, True),
    Mailbox("proton", 6, (b"proton.example.org",), b"Proton", _POSTFIX, b"", 20, 0, 0, True),
    Mailbox("other", 52, COMPANIES[170:], b"", _POSTFIX, b"", 20, 0, 30, True),
)  # fmt: skip
COMPANY = MAILBOXES[-1]
_BY_BYTE = tuple(mailbox for mailbox in MAILBOXES for _ in range(mailbox.weight))
assert len(_BY_BYTE) == 256  # noqa: S101 (a table's own arithmetic)


class Client(NamedTuple):
    """The user agents of a person's mail program and browser."""

    mail: bytes
    browser: bytes


_CHROME = b"Mozilla/5.0 (%b) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%b.0.0.0 Safari/537.36"
_WINDOWS = b"Windows NT 10.0; Win64; x64"
_MAC = b"Macintosh; Intel Mac OS X 10_15_7"
CHROME_WINDOWS = _CHROME % (_WINDOWS, b"146")
CHROME_MAC = _CHROME % (_MAC, b"146")
EDGE = _CHROME % (_WINDOWS, b"145") + b" Edg/145.0.0.0"
FIREFOX = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:147.0) Gecko/20100101 Firefox/147.0"
SAFARI_MAC = (
    b"Mozilla/5.0 (%b) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15" % _MAC
)
_IPHONE = (
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    b"(KHTML, like Gecko)"
)
SAFARI_IPHONE = _IPHONE + b" Version/18.5 Mobile/15E148 Safari/604.1"
CHROME_ANDROID = (
    b"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/146.0.0.0 Mobile Safari/537.36"
)
_OUTLOOK = (
    b"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; "
    b"Microsoft Outlook 16.0.17928; ms-office; MSOffice 16)"
)
_APPLE_MAIL = b"Mozilla/5.0 (%b) AppleWebKit/605.1.15 (KHTML, like Gecko)" % _MAC
_THUNDERBIRD = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.5.0"
CLIENTS = (
    Client(_OUTLOOK, EDGE), Client(_OUTLOOK, CHROME_WINDOWS), Client(_OUTLOOK, EDGE),
    Client(CHROME_WINDOWS, CHROME_WINDOWS), Client(CHROME_WINDOWS, CHROME_WINDOWS),
    Client(CHROME_MAC, CHROME_MAC), Client(EDGE, EDGE), Client(FIREFOX, FIREFOX),
    Client(SAFARI_MAC, SAFARI_MAC), Client(_APPLE_MAIL, SAFARI_MAC),
    Client(_THUNDERBIRD, FIREFOX), Client(_IPHONE + b" Mobile/15E148", SAFARI_IPHONE),
    Client(_IPHONE + b" Mobile/15E148", SAFARI_IPHONE), Client(SAFARI_IPHONE, SAFARI_IPHONE),
    Client(CHROME_ANDROID, CHROME_ANDROID), Client(CHROME_ANDROID, CHROME_ANDROID),
)  # fmt: skip
BROWSERS = (CHROME_WINDOWS, EDGE, FIREFOX, CHROME_MAC)
_HEADLESS = (
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"HeadlessChrome/139.0.0.0 Safari/537.36"
)
SCANNERS = (
    b"Barracuda Sentinel (EE)",
    b"Barracuda Sentinel (EE)",
    b"python-requests/2.32.5",
    b"Go-http-client/2.0",
    _HEADLESS,
    b"Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    b"curl/8.15.0",
    b"aiohttp/3.13.2",
)

_FIRST_NAMES = (
    b"ana ben cleo dan eva finn gita hugo ines jan kira leo mila nils olga paul quinn rosa sami "
    b"tess uma vera wim xenia yara zoe aldo bea carl dora emil fay"
).split()  # 32: a name is five bits
_V4 = tuple(b"%b.%d" % (net, host) for net in (b"192.0.2", b"198.51.100", b"203.0.113")
            for host in range(1, 255))  # fmt: skip
_V6 = tuple(b"2001:db8:%x::%x" % (site, host) for site in range(1, 33) for host in range(1, 9))
IPS = (_V4 + _V6)[:1018]
MTAS = tuple(b"203.0.113.%d" % host for host in range(1, 255))


class SimulatedPerson(msgspec.Struct, frozen=True, gc=False):
    """One person: the address, and traits that are the same for every message."""

    address: bytes
    mailbox: Mailbox
    client: Client
    ip: bytes
    private: bool
    """Whether they use Apple Mail with privacy protection."""
    scanned: bool
    """Whether a link scanner guards their mailbox."""
    keen: float
    """Factor on the probability of an open: 0 to 1.6, on average 0.8."""


def person(number: int, salt: int) -> SimulatedPerson:
    """Return the person of a number in the population of a salt."""
    bits = (number ^ salt) * 0x9E3779B97F4A7C15 & _MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    bits ^= bits >> 31
    mailbox = _BY_BYTE[bits & 255]
    domains = mailbox.domains
    return SimulatedPerson(
        b"%b.%x%02x@%b"
        % (
            _FIRST_NAMES[bits >> 8 & 31],
            number,  # alone makes the address unique
            bits >> 13 & 255,
            domains[(bits >> 21 & 0xFFF) % len(domains)],
        ),
        mailbox,
        CLIENTS[bits >> 33 & 15],
        IPS[(bits >> 37 & 0xFFF) % 1018],
        (bits >> 49 & 255) < mailbox.private,
        (bits >> 40 & 255) < mailbox.scanned,
        (bits >> 57) / 80,
    )


def _delays(seed: int, median: int, spread: float, least: int, most: int) -> tuple[int, ...]:
    """Return 4,096 log-normally distributed durations (ms), in no order."""
    draw = random.Random(seed)
    return tuple(
        max(least, min(most, int(median * draw.lognormvariate(0.0, spread)))) for _ in range(4096)
    )


# People open at least 30 s after the delivery: earlier opens are "unknown" to the product.
FIRST_OPEN = _delays(1, int(2.2 * HOUR), 1.9, 45 * SECOND, 58 * DAY)
OPEN_AGAIN = _delays(2, 5 * HOUR, 2.2, 25 * SECOND, 30 * DAY)
CLICK_AFTER_OPEN = _delays(3, 20 * SECOND, 1.0, 3 * SECOND, HOUR)
CLICK_AGAIN = _delays(4, 50 * SECOND, 1.2, 15 * SECOND, DAY)
PRIVACY_OPEN = _delays(5, 90 * SECOND, 2.6, 2 * SECOND, 20 * HOUR)
HANDOVER = _delays(6, 900, 0.6, 250, 60 * SECOND)
"""From the send to the first answer of the receiving server."""
RETRIES = _delays(7, 40 * MINUTE, 1.0, 5 * MINUTE, 13 * HOUR)
COMPLAIN = _delays(8, 9 * HOUR, 1.3, 5 * MINUTE, 12 * DAY)
UNSUBSCRIBE = _delays(9, 4 * HOUR, 1.6, 50 * SECOND, 30 * DAY)
