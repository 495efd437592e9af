"""Is sending healthy, and what should one look at? Judged by SES's limits and by comparison.

SES measures per account and region, so the account is all streams together; a stream of its own is
at most something to look at. Complaints are judged over 7 days only: those of the last day have not
come in yet, and hour rows do not keep them.
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
"""Messages attempted in the window below which there are only counts, no rates."""

MAILBOX_FLOOR = 100
"""Messages below which a mailbox provider is not compared with the rest."""

BEHIND = 0.02
"""How far the delivery of a mailbox must lie behind the rest to be worth a look."""

DELAYED = 0.05
"""How far the delays of a mailbox must lie above the rest to be worth a look."""


class ReputationThreshold(Struct, frozen=True):
    """A rate that SES watches: where it reviews an account, where it pauses it, how it is told."""

    code: str
    review: float
    pause: float
    decimals: int
    of: str
    words: str


BOUNCE = ReputationThreshold("bounce", 0.05, 0.10, 2, "attempted", "bounced permanently")
COMPLAINT = ReputationThreshold("complaint", 0.001, 0.005, 3, "reached", "drew a complaint")


class Finding(Struct, frozen=True):
    """One thing to know. `stream` null: all together; `mailbox` where it concerns one; `window` is
    `7d` or `24h`; `limit` is SES's limit that was passed, or the rate of the others.
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
    """The worst level of the findings, and the findings, the worst first."""

    level: ReputationLevel
    findings: list[Finding]


_WORSE: tuple[ReputationLevel, ...] = ("danger", "attention", "quiet", "ok")


def assess_reputation(
    week: Mapping[str, StatsSource], hours: Mapping[str, StatsSource], names: Mapping[str, str]
) -> Reputation:
    """Judge the streams by their day rows of the last 7 UTC days and hour rows of the last 24 h.

    `names` are the streams' labels.
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
    findings.sort(key=lambda found: (_WORSE.index(found.level), found.window != "7d"))
    return Reputation(findings[0].level if findings else "ok", findings)


def _counts(sources: Iterable[StatsSource], window: str) -> dict[str, int]:
    """Return the sums of the counters that the rows of the window keep."""
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
    for stream, held in scopes:
        counts = _counts(held, window)
        if counts["attempted"] < FLOOR:
            continue
        for limit in limits:
            rate = (
                divide(counts["bounced"], counts["attempted"])
                if limit is BOUNCE
                else divide(counts["complained"], counts["reached"])
            )
            found = _over(limit, rate, window, stream, names)
            if found is not None:
                yield found


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
    """Yield mailboxes of which delivery or delays are surely worse than of all others together.

    Surely: the 95 % intervals do not meet. Most of a young send is pending everywhere alike.
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
