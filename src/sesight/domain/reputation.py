"""Reputation: is sending healthy, and what needs attention? Judged by the thresholds of SES and by comparison.

SES measures each account and region, so the account is judged by all streams together; a single stream needs
attention at most. Complaints are judged over 7 days only: those of the last day have not all arrived yet, and
hour rows do not store them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from sesight.domain.stats import (
    LABELS,
    Axis,
    Rate,
    StatsSource,
    breakdown,
    divide,
    interval,
    series,
)

ReputationLevel = Literal["ok", "attention", "danger", "quiet"]

FLOOR = 1_000
"""Attempted messages in the window below which only counts are reported, no rates."""

MAILBOX_FLOOR = 100
"""Messages below which a mailbox provider is not compared with the others."""

BEHIND = 0.02
"""The difference in the delivery rate of a mailbox provider to all others that needs attention."""

DELAYED = 0.05
"""The difference in the delay rate of a mailbox provider to all others that needs attention."""


class ReputationThreshold(Struct, frozen=True):
    """A rate that SES watches: where it reviews an account, where it pauses it, and how to describe it."""

    code: str
    review: float
    pause: float
    decimals: int
    of: str
    words: str


BOUNCE = ReputationThreshold("bounce", 0.05, 0.10, 2, "attempted", "bounced permanently")
COMPLAINT = ReputationThreshold("complaint", 0.001, 0.005, 3, "reached", "drew a complaint")


class Finding(Struct, frozen=True):
    """One finding. `stream` is null for all streams together; `mailbox` is set if it concerns one provider;
    `window` is `7d` or `24h`; `limit` is the threshold that was exceeded, or the rate of the other providers.
    """

    code: str
    level: ReputationLevel
    sentence: str
    window: str
    stream: str | None = None
    mailbox: str | None = None
    value: float | None = None
    numerator: int = 0
    denominator: int = 0
    limit: float | None = None


class Reputation(Struct, frozen=True):
    """The findings, worst first, and the worst level among them."""

    level: ReputationLevel
    findings: list[Finding]


_WORSE: tuple[ReputationLevel, ...] = ("danger", "attention", "quiet", "ok")


def assess_reputation(
    week: Mapping[str, StatsSource], hours: Mapping[str, StatsSource], names: Mapping[str, str]
) -> Reputation:
    """Assess the streams by their day rows of the last 7 UTC days and hour rows of the last 24 hours.

    `names` are the labels of the streams.
    """
    findings = [
        *_by_limits(week, names, "7d", (BOUNCE, COMPLAINT)),
        *_by_limits(hours, names, "24h", (BOUNCE,)),
        *_by_mailbox(list(week.values())),
    ]
    attempted = _counts(week.values(), "7d")["attempted"]
    if attempted == 0:
        sentence = "Nothing was sent in the last 7 days."
        findings.append(Finding("nothing-sent", "quiet", sentence, "7d"))
    elif attempted < FLOOR:
        findings += _in_words(_counts(week.values(), "7d"))
    findings.sort(key=lambda finding: (_WORSE.index(finding.level), finding.window != "7d"))
    return Reputation(findings[0].level if findings else "ok", findings)


def _counts(sources: Iterable[StatsSource], window: str) -> dict[str, int]:
    """Return the sums of the counters that the rows of the window store."""
    sources = list(sources)
    buckets = [row.key.bucket for source in sources for row in source.rows] or [0]
    axis = Axis("hour" if window == "24h" else "day", min(buckets), max(buckets) + 1)
    return {name: sum(values) for name, values in series(sources, axis).counts.items()}


def _by_limits(
    sources: Mapping[str, StatsSource],
    names: Mapping[str, str],
    window: str,
    limits: Sequence[ReputationThreshold],
) -> Iterable[Finding]:
    scopes: list[tuple[str | None, list[StatsSource]]] = [(None, list(sources.values()))]
    if len(sources) > 1:
        scopes += [(stream, [source]) for stream, source in sources.items()]
    for stream, scope_sources in scopes:
        counts = _counts(scope_sources, window)
        if counts["attempted"] < FLOOR:
            continue
        for limit in limits:
            rate = (
                divide(counts["bounced"], counts["attempted"])
                if limit is BOUNCE
                else divide(counts["complained"], counts["reached"])
            )
            finding = _over(limit, rate, window, stream, names)
            if finding is not None:
                yield finding


def _over(
    limit: ReputationThreshold,
    rate: Rate,
    window: str,
    stream: str | None,
    names: Mapping[str, str],
) -> Finding | None:
    if rate.value is None or rate.value < limit.review:
        return None
    paused = rate.value >= limit.pause
    passed = limit.pause if paused else limit.review
    level: ReputationLevel = "danger" if paused and stream is None else "attention"
    what = "Of all mail" if stream is None else f"Of {names.get(stream, stream)}"
    act = "may pause sending" if paused else "reviews an account"
    sentence = (
        f"{what}, {_percent(rate.value, limit.decimals)} ({rate.numerator:,} of "
        f"{rate.denominator:,} {limit.of}) {limit.words} in the last {_WINDOWS[window]}; "
        f"Amazon SES {act} at {_percent(passed, 1)}."
    )
    code = f"{limit.code}-{'pause' if paused else 'review'}"
    return Finding(
        code,
        level,
        sentence,
        window,
        stream,
        None,
        rate.value,
        rate.numerator,
        rate.denominator,
        passed,
    )


_WINDOWS = {"7d": "7 days", "24h": "24 hours"}


def _percent(value: float, decimals: int) -> str:
    return f"{value * 100:.{decimals}f} %"


def _in_words(counts: Mapping[str, int]) -> Iterable[Finding]:
    for name, of, words in (
        ("bounced", "attempted", "bounced permanently"),
        ("complained", "reached", "drew a complaint"),
    ):
        rate = divide(counts[name], counts[of])
        if rate.numerator:
            sentence = (
                f"{rate.numerator:,} of {rate.denominator:,} messages {words} in the last 7 days: "
                "too few messages for a reliable rate."
            )
            yield Finding(
                f"{name}-few",
                "ok",
                sentence,
                "7d",
                None,
                None,
                None,
                rate.numerator,
                rate.denominator,
                None,
            )


def _by_mailbox(sources: list[StatsSource]) -> Iterable[Finding]:
    """Yield the mailbox providers whose delivery or delay rate is certainly worse than that of all others.

    Certainly: the 95 % intervals do not overlap. Right after a send, most messages are pending at every
    provider.
    """
    rows = [(part.key, part.totals) for part in breakdown(sources, None, "mailbox")]
    if sum(totals["attempted"] for _, totals in rows) < FLOOR:
        return
    for mailbox, totals in rows:
        rest = {
            name: sum(others[name] for other, others in rows if other != mailbox) for name in totals
        }
        if min(totals["attempted"], rest["attempted"]) < MAILBOX_FLOOR:
            continue
        label = LABELS["mailbox"].get(mailbox, mailbox)
        own, others = _pair(totals, rest, "delivered", "attempted")
        if _below(own, others, BEHIND):
            yield _standing_out("mailbox-delivery", mailbox, label, "was delivered", own, others)
        own, others = _pair(totals, rest, "everDelayed", "sent")
        if _below(others, own, DELAYED):
            yield _standing_out("mailbox-delay", mailbox, label, "was delayed", own, others)


def _pair(
    one: Mapping[str, int], other: Mapping[str, int], numerator: str, denominator: str
) -> tuple[Rate, Rate]:
    return (
        divide(one[numerator], one[denominator]),
        divide(other[numerator], other[denominator]),
    )


def _below(low: Rate, high: Rate, margin: float) -> bool:
    if low.value is None or high.value is None or high.value - low.value < margin:
        return False
    apart = interval(low.numerator, low.denominator)[1]
    return apart < interval(high.numerator, high.denominator)[0]


def _standing_out(
    code: str, mailbox: str, label: str, words: str, own: Rate, others: Rate
) -> Finding:
    sentence = (
        f"Of mail to {label}, {_percent(own.value or 0, 1)} ({own.numerator:,} of "
        f"{own.denominator:,}) {words} in the last 7 days; of all other mail "
        f"{_percent(others.value or 0, 1)}."
    )
    return Finding(
        code,
        "attention",
        sentence,
        "7d",
        None,
        mailbox,
        own.value,
        own.numerator,
        own.denominator,
        others.value,
    )
