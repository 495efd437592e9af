"""Who opened or clicked: a person, a machine, or nobody can say. Versioned rules over a record.

A machine rule beats everything, SES's own `isBotEvent: Unlikely` included. Timing and bursts only
make an engagement unknown, since people can be fast. Sources of the user agents: docs/explanation/engagement.md.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sesight.domain.event import AnyOccurrence, Click, Delivery, Open

RULES_VERSION = 1
"""Raised with every change of a rule below; `sesight reclassify` brings older records up to it."""

SOON_MS = 10_000
"""An engagement less than this after delivery (or before it) may be a scanner's."""

BURST_MS = 2_000
"""Two different links fetched within this time may be a scanner's."""


class Actor(StrEnum):
    """The verdict on one open or click, and, by its best, on a recipient."""

    HUMAN = "human"
    """A known client, browser or image proxy, and nothing speaks for a machine."""
    UNKNOWN = "unknown"
    """Neither a known client nor a known machine, or suspicious by its timing alone."""
    MACHINE = "machine"
    """A machine rule fired."""


class Classification(NamedTuple):
    """Who it was, the rule that said so, and the client in words."""

    actor: Actor
    rule: str
    client: str | None


GMAIL_PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)

_MACHINES: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("scanner", "Barracuda", re.compile(r"barracuda", re.IGNORECASE)),
    ("scanner", "Mimecast", re.compile(r"mimecast", re.IGNORECASE)),
    ("scanner", "Proofpoint", re.compile(r"proofpoint", re.IGNORECASE)),
    (
        "scanner",
        "security scanner",
        re.compile(r"trendmicro|forcepoint|sophos|ironport|fireeye", re.IGNORECASE),
    ),
    ("preview", "Microsoft preview", re.compile(r"bingpreview|skypeuripreview", re.IGNORECASE)),
    (
        "script",
        "headless browser",
        re.compile(r"headlesschrome|phantomjs|puppeteer|playwright", re.IGNORECASE),
    ),
    (
        "script",
        "script",
        re.compile(
            r"python-requests|python-urllib|aiohttp|httpx|go-http-client|okhttp|\bcurl/|\bwget/"
            r"|libwww-perl|java/\d|apache-httpclient|node-fetch|axios/|guzzlehttp|ruby$",
            re.IGNORECASE,
        ),
    ),
    (
        "crawler",
        "crawler",
        # Cubot makes telephones
        re.compile(r"(?<!cu)bot\b|crawl|spider|preview|scanner|monitoring", re.IGNORECASE),
    ),
)

_HUMANS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("gmail-proxy", "Gmail", re.compile(r"via ggpht\.com GoogleImageProxy")),
    ("yahoo-proxy", "Yahoo Mail", re.compile(r"YahooMailProxy")),
    (
        "client",
        "Outlook",
        re.compile(
            r"Microsoft Outlook|MacOutlook/|Outlook-iOS|Outlook-Android|ms-office; MSOffice"
        ),
    ),
    ("client", "Thunderbird", re.compile(r"Thunderbird/")),
    (
        "client",
        "Apple Mail",
        re.compile(r"AppleWebKit/[\d.]+ \(KHTML, like Gecko\)(?: Mobile/\w+)?$"),
    ),
    ("browser", "Edge", re.compile(r"AppleWebKit/.*\bEdg(?:e|A|iOS)?/")),
    ("browser", "Opera", re.compile(r"AppleWebKit/.*\bOPR/")),
    ("browser", "Samsung Internet", re.compile(r"AppleWebKit/.*\bSamsungBrowser/")),
    ("browser", "Firefox", re.compile(r"Gecko/[\d.]+ Firefox/|AppleWebKit/.*\bFxiOS/")),
    ("browser", "Chrome", re.compile(r"AppleWebKit/.*\b(?:Chrome|CriOS)/")),
    ("browser", "Safari", re.compile(r"AppleWebKit/.*\bVersion/.*\bSafari/")),
    ("browser", "Internet Explorer", re.compile(r"Trident/\d|MSIE \d")),
)


@lru_cache(8_192)
def _classify_agent(agent: str | None) -> Classification:
    """Say what the user agent alone tells."""
    if agent is None:
        return Classification(Actor.UNKNOWN, "no-agent", None)
    if agent == "Mozilla/5.0":
        return Classification(Actor.MACHINE, "apple-mpp", "Apple Mail Privacy Protection")
    if agent == GMAIL_PREFETCH:
        return Classification(Actor.MACHINE, "gmail-prefetch", "Gmail prefetch")
    if not agent.strip():
        return Classification(Actor.MACHINE, "empty-agent", None)
    for rule, client, pattern in _MACHINES:
        if pattern.search(agent):
            return Classification(Actor.MACHINE, rule, client)
    for rule, client, pattern in _HUMANS:
        if pattern.search(agent):
            return Classification(Actor.HUMAN, rule, client)
    return Classification(Actor.UNKNOWN, "unrecognised", None)


def classify(
    engagement: Open | Click,
    delivered_at: int | None,
    clicks: tuple[Click, ...] = (),
) -> Classification:
    """Classify one open or click of a record, given its first Delivery and all its clicks."""
    known = _classify_agent(engagement.agent)
    if known.actor is Actor.MACHINE:
        return known
    if engagement.bot == "Likely":
        return Classification(Actor.MACHINE, "ses-bot", known.client)
    if known.actor is Actor.UNKNOWN:
        return known
    at = engagement.at
    if delivered_at is not None and at - delivered_at < SOON_MS:
        return Classification(Actor.UNKNOWN, "soon", known.client)
    if type(engagement) is Click and len(clicks) > 1:
        for other in clicks:
            if abs(other.at - at) <= BURST_MS and other.link != engagement.link:
                return Classification(Actor.UNKNOWN, "burst", known.client)
    return known


def classify_all(
    timeline: tuple[AnyOccurrence, ...],
) -> tuple[tuple[Open | Click, Classification], ...]:
    """Classify every open and click that the record keeps, in timeline order."""
    delivered_at: int | None = None
    opens: list[Open] = []
    clicks: list[Click] = []
    for held in timeline:
        if isinstance(held, Open):
            opens.append(held)
        elif isinstance(held, Click):
            clicks.append(held)
        elif isinstance(held, Delivery) and delivered_at is None:
            delivered_at = held.at
    if not opens and not clicks:
        return ()
    same = tuple(clicks)
    engagements: list[Open | Click] = [*opens, *clicks]
    return tuple([(held, classify(held, delivered_at, same)) for held in engagements])
