"""Engagement: was an open or click made by a human or by a machine? Versioned rules over a timeline.

A machine rule beats everything, SES's own `isBotEvent: Unlikely` included. Timing and bursts make an
engagement only unknown, since people can be fast. Sources of the user agents: docs/explanation/engagement.md.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sesight.domain.event import AnyOccurrence, Click, Delivery, Open

RULES_VERSION = 1
"""Raise it with every change of a rule below; `sesight reclassify` brings older records up to date."""

SOON_MS = 10_000
"""An engagement less than this after delivery (or before it) may be from a scanner."""

BURST_MS = 2_000
"""Two different links fetched within this time may be from a scanner."""


class Actor(StrEnum):
    """Who opened or clicked; for a recipient, the best of all opens or clicks."""

    HUMAN = "human"
    """A known client, browser or image proxy, and no machine rule matches."""
    UNKNOWN = "unknown"
    """Neither a known client nor a known machine, or suspicious by its timing alone."""
    MACHINE = "machine"
    """A machine rule matches."""


class Classification(NamedTuple):
    """Who made an engagement, the rule that decided it, and the client in words."""

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
    """Classify by the user agent alone."""
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
    """Classify one open or click, given the first Delivery and all clicks of its timeline."""
    by_agent = _classify_agent(engagement.agent)
    if by_agent.actor is Actor.MACHINE:
        return by_agent
    if engagement.bot == "Likely":
        return Classification(Actor.MACHINE, "ses-bot", by_agent.client)
    if by_agent.actor is Actor.UNKNOWN:
        return by_agent
    at = engagement.at
    if delivered_at is not None and at - delivered_at < SOON_MS:
        return Classification(Actor.UNKNOWN, "soon", by_agent.client)
    if type(engagement) is Click and len(clicks) > 1:
        for other in clicks:
            if abs(other.at - at) <= BURST_MS and other.link != engagement.link:
                return Classification(Actor.UNKNOWN, "burst", by_agent.client)
    return by_agent


def classify_all(
    timeline: tuple[AnyOccurrence, ...],
) -> tuple[tuple[Open | Click, Classification], ...]:
    """Classify every open and click of a timeline, in its order."""
    delivered_at: int | None = None
    opens: list[Open] = []
    clicks: list[Click] = []
    for occurrence in timeline:
        if isinstance(occurrence, Open):
            opens.append(occurrence)
        elif isinstance(occurrence, Click):
            clicks.append(occurrence)
        elif isinstance(occurrence, Delivery) and delivered_at is None:
            delivered_at = occurrence.at
    if not opens and not clicks:
        return ()
    all_clicks = tuple(clicks)
    engagements: list[Open | Click] = [*opens, *clicks]
    return tuple(
        [(occurrence, classify(occurrence, delivered_at, all_clicks)) for occurrence in engagements]
    )
