"""Who opened or clicked: people, machines, and those of whom nobody can say."""

import pytest

from sesight.domain.engagement import (
    BURST_MS,
    GMAIL_PREFETCH,
    SOON_MS,
    Actor,
    Classification,
    classify,
    classify_all,
)
from sesight.domain.event import Click, Open
from tests.builders import NOW, OUTLOOK, clicked, delivery, event, opened, record, sent

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)

PEOPLE = {
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)": (
        "gmail-proxy",
        "Gmail",
    ),
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html": (
        "yahoo-proxy",
        "Yahoo Mail",
    ),
    OUTLOOK: ("client", "Outlook"),
    "Outlook-iOS/723.4127091.prod.iphone (4.28.0)": ("client", "Outlook"),
    "Outlook-Android/2.0": ("client", "Outlook"),
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)": ("client", "Outlook"),
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0": (
        "client",
        "Thunderbird",
    ),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148": ("client", "Apple Mail"),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)": (
        "client",
        "Apple Mail",
    ),
    CHROME: ("browser", "Chrome"),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1": ("browser", "Chrome"),
    f"{CHROME} Edg/141.0.0.0": ("browser", "Edge"),
    "Mozilla/5.0 (Linux; Android 13; CUBOT X70) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Mobile Safari/537.36": ("browser", "Chrome"),
    f"{CHROME} OPR/121.0.0.0": ("browser", "Opera"),
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": ("browser", "Samsung Internet"),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0": (
        "browser",
        "Firefox",
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Safari/605.1.15": ("browser", "Safari"),
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko": (
        "browser",
        "Internet Explorer",
    ),
}

MACHINES = {
    "Mozilla/5.0": ("apple-mpp", "Apple Mail Privacy Protection"),
    GMAIL_PREFETCH: ("gmail-prefetch", "Gmail prefetch"),
    "": ("empty-agent", None),
    "  ": ("empty-agent", None),
    "Barracuda Sentinel (EE)": ("scanner", "Barracuda"),
    "Mimecast-Link-Check/1.0": ("scanner", "Mimecast"),
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)": ("scanner", "Proofpoint"),
    "TrendMicro Web Reputation": ("scanner", "security scanner"),
    "Forcepoint": ("scanner", "security scanner"),
    "Sophos Email": ("scanner", "security scanner"),
    "Cisco IronPort": ("scanner", "security scanner"),
    f"{CHROME} FireEye": ("scanner", "security scanner"),
    "Mozilla/5.0 (compatible) BingPreview/1.0b": ("preview", "Microsoft preview"),
    "SkypeUriPreview Preview/0.5": ("preview", "Microsoft preview"),
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "HeadlessChrome/141.0.0.0 Safari/537.36": ("script", "headless browser"),
    f"{CHROME} Puppeteer": ("script", "headless browser"),
    "python-requests/2.32.5": ("script", "script"),
    "Python-urllib/3.11": ("script", "script"),
    "Python/3.11 aiohttp/3.13.0": ("script", "script"),
    "python-httpx/0.28.1": ("script", "script"),
    "Go-http-client/1.1": ("script", "script"),
    "okhttp/5.1.0": ("script", "script"),
    "curl/8.7.1": ("script", "script"),
    "Wget/1.24.5": ("script", "script"),
    "libwww-perl/6.77": ("script", "script"),
    "Java/21.0.4": ("script", "script"),
    "Apache-HttpClient/5.4": ("script", "script"),
    "node-fetch": ("script", "script"),
    "axios/1.12.2": ("script", "script"),
    "GuzzleHttp/7": ("script", "script"),
    "Ruby": ("script", "script"),
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": (
        "crawler",
        "crawler",
    ),
    "LinkCrawler 2": ("crawler", "crawler"),
    "Baiduspider": ("crawler", "crawler"),
    "Slack-ImgProxy link preview": ("crawler", "crawler"),
    "UptimeMonitoring/2": ("crawler", "crawler"),
}

UNKNOWN = {
    None: "no-agent",
    "unheard of": "unrecognised",
    "Mozilla/5.0 ": "unrecognised",
    "Mozilla/4.0": "unrecognised",
    "Microsoft Office/16.0": "unrecognised",
}


@pytest.mark.parametrize(("agent", "said"), list(PEOPLE.items()), ids=lambda value: str(value)[:40])
def test_people(agent: str, said: tuple[str, str]) -> None:
    """A known mail client, browser or image proxy is a person."""
    assert classify(Open(NOW, agent=agent), None) == Classification(Actor.HUMAN, *said)


@pytest.mark.parametrize(
    ("agent", "said"), list(MACHINES.items()), ids=lambda value: str(value)[:40]
)
def test_machines(agent: str, said: tuple[str, str | None]) -> None:
    """Prefetchers, scanners, previews, scripts and crawlers are machines."""
    assert classify(Open(NOW, agent=agent), None) == Classification(Actor.MACHINE, *said)


@pytest.mark.parametrize(("agent", "rule"), list(UNKNOWN.items()))
def test_unknown(agent: str | None, rule: str) -> None:
    """What is neither a known client nor a known machine is unknown, never assumed to be either."""
    assert classify(Open(NOW, agent=agent), None) == Classification(Actor.UNKNOWN, rule, None)


@pytest.mark.parametrize("agent", [agent for agent in MACHINES if agent != "Mozilla/5.0"])
@pytest.mark.parametrize("bot", [None, "Likely", "Unlikely"])
def test_machine_rules_beat_ses(agent: str, bot: str | None) -> None:
    """A machine rule fires whatever SES's isBotEvent says."""
    assert classify(Click(NOW, agent=agent, bot=bot), None).rule == MACHINES[agent][0]


@pytest.mark.parametrize(
    ("agent", "client"), [(OUTLOOK, "Outlook"), ("unheard of", None), (None, None)]
)
def test_likely(agent: str | None, client: str | None) -> None:
    """SES's Likely makes a machine of a known client, of an unknown one, and of one without name."""
    assert classify(Open(NOW, agent=agent, bot="Likely"), None) == Classification(
        Actor.MACHINE, "ses-bot", client
    )


@pytest.mark.parametrize("bot", [None, "Unlikely"])
def test_unlikely_proves_nothing(bot: str | None) -> None:
    """Neither Unlikely nor a missing isBotEvent makes a person of somebody unknown."""
    assert classify(Open(NOW, agent="unheard of", bot=bot), None).actor is Actor.UNKNOWN


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (-1, Classification(Actor.UNKNOWN, "soon", "Outlook")),
        (0, Classification(Actor.UNKNOWN, "soon", "Outlook")),
        (SOON_MS - 1, Classification(Actor.UNKNOWN, "soon", "Outlook")),
        (SOON_MS, Classification(Actor.HUMAN, "client", "Outlook")),
    ],
)
def test_soon(after: int, said: Classification) -> None:
    """Less than ten seconds after delivery, or before it, a known client is unknown."""
    assert classify(Open(NOW + after, agent=OUTLOOK), NOW) == said


def test_soon_needs_a_delivery() -> None:
    """Without a Delivery nothing is too soon."""
    assert classify(Open(NOW, agent=OUTLOOK), None).actor is Actor.HUMAN


@pytest.mark.parametrize(
    ("apart", "link", "rule"),
    [
        (0, "b", "burst"),
        (BURST_MS, "b", "burst"),
        (-BURST_MS, "b", "burst"),
        (BURST_MS + 1, "b", "client"),
        (0, "a", "client"),
    ],
)
def test_burst(apart: int, link: str, rule: str) -> None:
    """Two different links within two seconds make both clicks unknown; the same one twice does not."""
    click = Click(NOW, agent=OUTLOOK, link="a")
    other = Click(NOW + apart, agent=OUTLOOK, link=link)
    assert classify(click, None, (click, other)).rule == rule


def test_burst_is_of_clicks() -> None:
    """An open between clicks is no part of their burst."""
    clicks = (Click(NOW, agent=OUTLOOK, link="a"), Click(NOW, agent=OUTLOOK, link="b"))
    assert classify(Open(NOW, agent=OUTLOOK), None, clicks).actor is Actor.HUMAN


@pytest.mark.parametrize("known", ["Mozilla/5.0", "curl/8.7.1", "unheard of"])
def test_timing_never_makes_a_machine(known: str) -> None:
    """Timing changes only the verdict on known clients: machines stay machines, unknown unknown."""
    click = Click(NOW, agent=known, link="a")
    calm = classify(click, None)
    assert classify(click, NOW, (click, Click(NOW, agent=OUTLOOK, link="b"))) == calm


def test_of_a_record() -> None:
    """A record's opens and clicks are judged by its first Delivery and all its clicks."""
    held = record(
        sent(),
        delivery(after=1_000),
        delivery(after=50_000),
        opened(after=5_000),
        opened(after=60_000),
        clicked(after=70_000, link="a"),
        clicked(after=71_000, link="b"),
        clicked(after=90_000, link="a"),
    )
    assert [said.rule for _, said in classify_all(held.timeline)] == [
        "soon",
        "client",
        "burst",
        "burst",
        "client",
    ]


def test_of_a_record_without_engagement() -> None:
    """A record without opens and clicks has no verdicts."""
    assert classify_all(record(sent(), delivery()).timeline) == ()


def test_bot_may_come_later() -> None:
    """A second report of the same open that adds isBotEvent changes the verdict."""
    at = NOW
    plain = event(Open(at, agent=OUTLOOK, ip="203.0.113.0"))
    likely = event(Open(at, agent=OUTLOOK, ip="203.0.113.0", bot="Likely"))
    held = record(plain, likely)
    assert classify_all(held.timeline) == (
        (
            Open(at, agent=OUTLOOK, ip="203.0.113.0", bot="Likely"),
            Classification(Actor.MACHINE, "ses-bot", "Outlook"),
        ),
    )
