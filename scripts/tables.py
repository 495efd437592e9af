"""The generated tables of the docs: each function returns one, read out of the code it describes.

cog calls them (`make docs`), so a table cannot say other than the code does.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from sesight import lambdas, server
from sesight import services as api_services
from sesight.api.application import routes_of
from sesight.api.openapi import document
from sesight.api.problem import PROBLEMS
from sesight.domain import event as event_words
from sesight.domain import stats, tally
from sesight.domain.counting import Counting
from sesight.domain.engagement import (
    _HUMANS,
    _MACHINES,
    BURST_MS,
    GMAIL_PREFETCH,
    RULES_VERSION,
    SOON_MS,
    Actor,
    _classify_agent,
    classify_all,
)
from sesight.domain.event import Disposition, EventType
from sesight.domain.outcome import Outcome
from sesight.domain.ports import Clock
from sesight.domain.reason import REASONS
from sesight.domain.record import fold
from sesight.domain.rollup import Family
from sesight.domain.sending import SendState
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.tally import COUNTERS, EVENTS, FACTS, OUTCOMES
from sesight.domain.timestamps import iso, parse_timestamp
from sesight.ingest import batch_quarantine, event_batch, reader, reading
from sesight.ingest.http import commit_process, intake
from sesight.ingest.metrics import UNSUBSCRIBED, Metrics
from sesight.ingest.reader import read
from sesight.ingest.ses import mail as ses_mail
from sesight.ingest.ses import parser as ses
from sesight.ingest.ses.parser import parse_event
from sesight.ingest.transport import certificates, envelope, sns
from sesight.lambdas import metrics as metrics_of_functions
from sesight.lambdas import processor
from sesight.send import ses as send_ses
from sesight.send.sender import TRIES
from sesight.server import connection
from sesight.settings import PREFIX, Settings
from sesight_simulator.ses.delivery_results import DeliveryResult
from sesight_simulator.ses.faults import BEFORE, Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes

ROOT = Path(__file__).parent.parent
PAYLOADS = ROOT / "tests" / "payloads"


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def code(value: object) -> str:
    """Return a value as inline code."""
    return f"`{value}`"


def codes(values: Any) -> str:
    """Return values as inline code, with commas between."""
    return ", ".join(code(value) for value in values)


# -- sentences written in the code -------------------------------------------------------------


def sentences(of: type) -> dict[str, str]:
    """Return the sentence that stands below each member of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(of))).body[0].body
    found = {}
    for held, below in pairwise(body):
        target = held.target if isinstance(held, ast.AnnAssign) else None
        if isinstance(held, ast.Assign):
            target = held.targets[0]
        if isinstance(target, ast.Name) and isinstance(below, ast.Expr):
            found[target.id] = inspect.cleandoc(str(below.value.value))
    return found


def members(of: type[Enum], head: tuple[str, str]) -> str:
    """Return an enum with its sentences."""
    said = sentences(of)
    return table(head, [(code(each.value), said[each.name]) for each in of])


def sending_states() -> str:
    """Return what may have become of a recipient of a batch."""
    return members(SendState, ("state", "what it means"))


def ses_errors() -> str:
    """Return what SES may answer, and what Sesight does about it."""
    same: dict[str, list[str]] = {}
    for alias, name in send_ses.ALIASES.items():
        same.setdefault(name, []).append(alias)
    answers = [
        (codes([name, *same.get(name, [])]), meaning) for name, meaning in send_ses.ERRORS.items()
    ]
    answers += [
        ("`TooManyRequestsException` that speaks of the quota", send_ses.QUOTA),
        ("SES cannot be reached", send_ses.UNREACHABLE),
        ("any other 503", send_ses.UNAVAILABLE),
        ("no answer, or half of one", send_ses.NO_ANSWER),
        ("any other 5xx", send_ses.FAULT),
        ("there are no credentials", send_ses.CREDENTIALS),
        ("any other 4xx", send_ses.OTHER),
    ]
    rows = [
        (answer, code(meaning.state), code(meaning.code), _done_about(meaning))
        for answer, meaning in answers
    ]
    return table(("SES's answer", "state", "code", "what Sesight does"), rows)


def _done_about(meaning: send_ses.SendFailure) -> str:
    """Return what is done about an answer of SES's."""
    if meaning.stops == "account":
        return "pauses all streams: nothing more is sent until an operator resumes them"
    if meaning.stops == "stream":
        return "pauses the stream: it sends nothing more until an operator resumes it"
    if meaning.again:
        return f"pauses and calls again, at most {TRIES} calls; then reports it"
    if meaning.state is SendState.UNKNOWN:
        return "does not call again: the Send event tells whether the message went out"
    if meaning.state is SendState.REFUSED:
        return "reports it, and continues with the next recipient"
    return "reports it: the same request may be made later"


def simulated_operations() -> str:
    """Return the operations of SES v2 that the simulated SES answers."""
    return ", ".join(code(each) for each in SimulatedSes().operations)


def faults() -> str:
    """Return the faults of the simulated SES, and whether a message is accepted all the same."""
    said = sentences(Fault)
    rows = [(code(each), said[each.name], "no" if each in BEFORE else "yes") for each in Fault]
    return table(("fault", "what happens", "accepted"), rows)


def delivery_results() -> str:
    """Return what can happen to a message in the simulated SES."""
    return members(DeliveryResult, ("result", "what happens to the message"))


def event_types() -> str:
    """Return the event types with what each means and which occurrences are the same."""
    said = sentences(EventType)
    kinds = {kind.type: kind for kind in get_args(event_words.AnyOccurrence)}
    rows = [
        (code(each.value), said[each.name], codes(("at", *kinds[each].KEY))) for each in EventType
    ]
    return table(("event type", "what it says", "one occurrence is known by"), rows)


def dispositions() -> str:
    """Return the dispositions."""
    return members(Disposition, ("disposition", "what intake did"))


def suppression_reasons() -> str:
    """Return the reasons of suppression with the scope each has by default."""
    said = sentences(SuppressionReason)
    policy = SuppressionPolicy()
    scopes = {
        SuppressionReason.COMPLAINT: policy.complaint,
        SuppressionReason.COMPLAINT_CANDIDATE: policy.complaint,
        SuppressionReason.UNSUBSCRIBED: policy.unsubscribed,
        SuppressionReason.BOUNCED: policy.bounced,
        SuppressionReason.ACCOUNT_LIST: policy.bounced,
        SuppressionReason.VALIDATION: policy.bounced,
        SuppressionReason.SOFT_BOUNCES: SuppressionScope.STREAM,
        SuppressionReason.BLOCKED: SuppressionScope.STREAM,
    }
    ends = {
        SuppressionReason.SOFT_BOUNCES: f"after {policy.soft_days} days",
        SuppressionReason.BLOCKED: f"after {policy.blocked_days} days",
    }
    rows = [
        (
            code(each.value),
            said[each.name],
            code(scopes[each].value) if each in scopes else "as asked",
            ends.get(each, "never"),
        )
        for each in SuppressionReason
    ]
    return table(("reason", "why", "scope by default", "ends"), rows)


# -- ways out of intake ------------------------------------------------------------------------


def _parsed(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _calls(module: ModuleType, *names: str) -> list[ast.Call]:
    """Return the calls of functions or classes of these names, methods too."""
    found = []
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in names:
                found.append(node)
    return found


def _texts(nodes: list[ast.expr | None]) -> set[str]:
    """Return the string constants in expressions."""
    return {
        inner.value
        for node in nodes
        if node is not None
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place] if len(call.args) > place else None


def quarantine_reasons() -> set[str]:
    """Return every code under which a body can be quarantined."""
    nodes = [
        _argument(call, 0, "reason")
        for module in (envelope, ses, ses_mail)
        for call in _calls(module, "Unreadable")
    ]
    nodes += [
        call.args[1]
        for module, name in ((envelope, "UnreadableReading"), (event_batch, "add_event"))
        for call in _calls(module, name)
        if isinstance(call.args[1], ast.Constant)
    ]
    return _texts(nodes) | {batch_quarantine.FUTURE}


def nothing_reasons() -> set[str]:
    """Return every code of why an envelope holds no event."""
    nodes = [
        _argument(call, 1, "reason")
        for module in (envelope, reader, commit_process, processor)
        for call in _calls(module, "EmptyReading")
    ]
    ignored = [call.args[2] for call in _calls(event_batch, "Processed") if len(call.args) > 2]
    found = {text for text in _texts(nodes) if " " not in text and "." not in text}
    found |= {UNSUBSCRIBED, reading.INBOUND, ses.SETUP}
    return found | {text for text in _texts(ignored) if text.startswith("ignored")}


def refusals() -> set[tuple[str, int]]:
    """Return every (reason, HTTP status) by which a request can be refused."""
    found: set[tuple[str, int]] = {("store", 503), ("quarantine-full", 503)}  # the pipeline's own
    for module in (sns, certificates):
        for call in _calls(module, "Untrusted"):
            if isinstance(call.args[0], ast.Constant):
                status = _argument(call, 2, "status")
                known = 403 if status is None else ast.literal_eval(status)
                found.add((call.args[0].value, known))
    for module in (intake, connection, server):
        for call in _calls(module, "_refuse", "refusal"):
            said = [each.value for each in call.args if isinstance(each, ast.Constant)]
            if len(said) > 1:
                found.add((str(said[0]), int(str(said[1]))))
        for call in _calls(module, "Answer"):
            if len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
                found.add((call.args[1].value, ast.literal_eval(call.args[0])))
    return found


# -- engagement --------------------------------------------------------------------------------

_HOW = {
    "no-agent": (
        Actor.UNKNOWN,
        "the event names no user agent",
        "SES leaves it out of some events",
    ),
    "apple-mpp": (
        Actor.MACHINE,
        "the user agent is exactly `Mozilla/5.0`",
        "Apple's privacy proxy fetches every image, read or not; seen in SES events",
    ),
    "gmail-prefetch": (
        Actor.MACHINE,
        f"the user agent is exactly `{GMAIL_PREFETCH}`",
        "documented by SparkPost as prefetch; seen in SES events",
    ),
    "empty-agent": (Actor.MACHINE, "the user agent is empty or blank", "no mail client sends none"),
    "ses-bot": (
        Actor.MACHINE,
        "SES says `isBotEvent: Likely`",
        "SES, from 7 August 2026; `Unlikely` proves nothing",
    ),
    "unrecognised": (Actor.UNKNOWN, "no pattern below matches", ""),
    "soon": (
        Actor.UNKNOWN,
        f"a known client, less than {SOON_MS // 1000} s after the first Delivery, or before it",
        "scanners open and click within seconds; so do some people",
    ),
    "burst": (
        Actor.UNKNOWN,
        f"a click by a known client, and another link clicked within {BURST_MS // 1000} s",
        "scanners fetch all links at once; so do some people",
    ),
}
"""Rules that are not a pattern: verdict, what they look for, why."""

_WHY = {
    "scanner": "mail gateways fetch links and images before the person sees the message",
    "preview": "Microsoft's link previews",
    "script": "libraries and headless browsers that programs use",
    "crawler": "programs that say what they are",
    "gmail-proxy": "Google's image proxy fetches when a person opens; the place is hidden, the person is not",
    "yahoo-proxy": "Yahoo's and AOL's image proxy, likewise",
    "client": "mail programs name themselves",
    "browser": "browsers name themselves",
}


def engagement_rules() -> str:
    """Return every rule in the order in which they are asked."""
    first = ("apple-mpp", "gmail-prefetch", "empty-agent")
    rows = [_rule(name) for name in first]
    rows += [_pattern(Actor.MACHINE, *each) for each in _MACHINES]
    rows += [_rule(name) for name in ("ses-bot", "no-agent", "unrecognised", "soon", "burst")]
    rows += [_pattern(Actor.HUMAN, *each) for each in _HUMANS]
    return table(("rule", "who", "client", "what it looks for", "why"), rows)


def _rule(name: str) -> tuple[str, ...]:
    who, looks, why = _HOW[name]
    agent = {"apple-mpp": "Mozilla/5.0", "gmail-prefetch": GMAIL_PREFETCH}.get(name)
    client = _classify_agent(agent).client if agent else None
    return code(name), who.value, client or "", looks, why


def _pattern(who: Actor, rule: str, client: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    cased = "in any case" if pattern.flags & re.IGNORECASE else "in this case"
    return code(rule), who.value, client, f"{code(pattern.pattern)} {cased}", _WHY[rule]


def rules_version() -> str:
    """Return the version of the rules."""
    return f"The rules are at version **{RULES_VERSION}**.\n"


def engagement_samples() -> str:
    """Return the verdict on each open and click of the sample payloads."""
    rows = []
    for file in sorted(PAYLOADS.glob("*.json")):
        if not file.name.startswith(("open", "click")):
            continue
        found = parse_event(file.read_bytes())
        record = fold(None, found, found.reports[0], "outreach")
        for held, said in classify_all(record.timeline):
            rows.append(
                (
                    f"[{file.stem}](../../tests/payloads/{file.name})",
                    code(held.agent),
                    held.bot or "null",
                    f"**{said.actor.value}** by {code(said.rule)}",
                )
            )
    return table(("payload", "user agent", "`isBotEvent`", "verdict"), rows)


# -- measures ----------------------------------------------------------------------------------

_COUNTERS = {
    "recipients": "Records that are for a recipient: one message to one address",
    "delivered": "Outcome delivered: a Delivery was seen or is implied, and nothing of higher rank",
    "softBounced": "Outcome soft_bounced",
    "bounced": "Outcome bounced: refused for good",
    "suppressed": "Outcome suppressed: SES did not attempt it",
    "rejected": "Outcome rejected: SES found a virus",
    "failed": "Outcome failed: the template could not be rendered",
    "pending": "Outcome accepted, sent or delayed: no final event yet",
    "sent": "Any event of SES was seen: SES accepted the message",
    "attempted": "Sent, less suppressed, rejected and failed",
    "reached": "A Delivery was seen or is implied; a later bounce does not take it away",
    "everDelayed": "A DeliveryDelay was seen",
    "autoReplied": "An out-of-office answer came back; it is in no bounce figure",
    "complained": "Somebody complained (`not-spam` is no complaint). The record `*` counts here too",
    "unsubscribed": "The contact left the list or a topic",
    "opened": "`humanOpened` + `unknownOpened` + `machineOnlyOpened`",
    "humanOpened": "A person opened or clicked",
    "unknownOpened": "Opened or clicked, nobody can say by whom, and no person for certain",
    "machineOnlyOpened": "Only machines opened or clicked",
    "clicked": "`humanClicked` + `unknownClicked` + `machineOnlyClicked`",
    "humanClicked": "A person clicked",
    "unknownClicked": "Clicked, nobody can say by whom, and no person for certain",
    "machineOnlyClicked": "Only machines clicked",
    "capped": "Some event type had more than 32 occurrences; shown as `atLeast`, not as a counter",
    "opens": "Opens of recipients that are reached, machines' too",
    "clicks": "Clicks of recipients that are reached, machines' too",
    "machineOpens": "Of `opens`, those of machines",
    "machineClicks": "Of `clicks`, those of machines",
    "unattributedOpens": "Opens of messages to several recipients: nobody knows whose",
    "unattributedClicks": "Clicks of messages to several recipients",
}


def counters() -> str:
    """Return every counter."""
    kinds = {
        "recipients": "",
        **dict.fromkeys(OUTCOMES, "outcome"),
        **dict.fromkeys(FACTS, "fact"),
        **dict.fromkeys(EVENTS, "events"),
    }
    rows = [(code(name), kinds[name], _COUNTERS[name]) for name in COUNTERS]
    return table(("counter", "kind", "counts"), rows)


def rates() -> str:
    """Return every rate with its formula."""
    rows = []
    for name, (numerator, denominator) in stats.RATES.items():
        only = "streams that track opens and clicks" if name in stats.TRACKED_RATES else ""
        if name == stats.REPORTING_RATE:
            only = "mailboxes that report complaints: all but Gmail"
        rows.append((code(name), f"`{numerator}` / `{denominator}`", only))
    return table(("rate", "formula", "only over"), rows)


def families() -> str:
    """Return the rollup families with the counters that their rows keep."""
    shapes = [
        (Family.DAY, "stream", "UTC send day", "none"),
        (Family.DAY, "campaign", "UTC send day", "none"),
        (Family.DAY, "stream, campaign", "UTC send day", "mailbox"),
        (Family.DAY, "stream", "UTC send day", "senderDomain"),
        (Family.DAY, "stream", "UTC send day", "template"),
        (Family.DAY, "campaign", "UTC send day", "tag:NAME"),
        (Family.DAY, "campaign", "UTC send day", "reason"),
        (Family.HOUR, "stream", "UTC send hour, 30 days", "none"),
        (Family.AGE, "campaign", "hours from the message's own send, 0 to 71; 72 is later", "none"),
        (Family.LINK, "campaign", "none", "link"),
        (Family.MONTH, "stream with months", "statement month", "none"),
        (Family.MONTH, "stream with months", "statement month", "attempt"),
        (Family.SUPPRESSED, "stream", "UTC day it began", "reason"),
    ]
    rows = []
    for family, scope, bucket, dimension in shapes:
        kept = stats.kept(family, "" if dimension == "none" else dimension)
        if family is Family.SUPPRESSED:
            kept = frozenset({"recipients"})
        every = kept >= {name for name in COUNTERS if name != "capped"}
        names = "all" if every else codes(name for name in COUNTERS if name in kept)
        rows.append((code(family.value), scope, bucket, code(dimension), names))
    return table(("family", "scope", "bucket", "dimension", "counters kept"), rows)


def outcomes() -> str:
    """Return the outcomes by rank."""
    says = {
        Outcome.ACCEPTED: "our own sender handed the message over; nothing of SES yet",
        Outcome.SENT: "SES accepted the message",
        Outcome.DELAYED: "a temporary problem; SES goes on trying",
        Outcome.DELIVERED: "the recipient's server took it (never: it reached the inbox)",
        Outcome.SOFT_BOUNCED: "Transient or Undetermined, and no auto-reply; Permanent whose own status starts with 4",
        Outcome.SUPPRESSED: "SES did not attempt it: a suppression list, its validation, an unsubscribed contact",
        Outcome.BOUNCED: "Permanent",
        Outcome.FAILED: "the template could not be rendered",
        Outcome.REJECTED: "SES found a virus",
    }
    counted = {outcome: tally._CLASS[outcome] for outcome in Outcome}  # noqa: SLF001
    rows = [
        (outcome.value, code(outcome.word), says[outcome], code(counted[outcome]))
        for outcome in Outcome
    ]
    return table(("rank", "outcome", "holds when", "counted as"), rows)


def reasons() -> str:
    """Return the codes of why a message was not delivered."""
    return table(("reason", "in words"), [(code(name), text) for name, text in REASONS.items()])


# -- settings ----------------------------------------------------------------------------------


def settings() -> str:
    """Return every setting, a table for each section of the file."""
    lists: list[str] = []
    parts = _sections("", Settings, lists)
    return "\n".join([*parts, *lists])


def _sections(name: str, of: type[Struct], lists: list[str]) -> list[str]:
    """Return the tables of a section and those in it; `lists` gets those of lists of tables."""
    variable = PREFIX + name.upper().replace(".", "_")
    parts = [_section(f"[{name}]" if name else "", of, f"{variable}_" if name else variable)]
    for each in msgspec.structs.fields(of):
        below = f"{name}.{each.name}".strip(".")
        inner = get_args(each.type)
        if isinstance(each.type, type) and issubclass(each.type, Struct):
            parts += _sections(below, each.type, lists)
        elif inner and isinstance(inner[0], type) and issubclass(inner[0], Struct):
            given = PREFIX + below.upper().replace(".", "_")
            lists.append(_section(f"[[{below}]]", inner[0], None, given))
    return parts


def _section(title: str, of: type[Struct], prefix: str | None, variable: str = "") -> str:
    lines = [f"## `{title}`" if title else "## At the top of the file", ""]
    if of is not Settings:
        lines += [_about(of), ""]
    if prefix is None:
        lines += [f"As one variable, a JSON list of objects: `{variable}`.", ""]
    said = sentences(of)
    rows = []
    for field in msgspec.structs.fields(of):
        if _is_nested(field.type):
            continue
        meaning = said[field.name]
        row = (code(field.name), _type(field.type), _default(field), meaning)
        given = f"{prefix}{field.name.upper()}"
        rows.append(row if prefix is None else (row[0], code(given), *row[1:]))
    head = ("setting", "type", "default", "meaning")
    return (
        "\n".join(lines)
        + "\n"
        + table(head if prefix is None else (head[0], "variable", *head[1:]), rows)
    )


def _about(of: type[Struct]) -> str:
    return " ".join(inspect.cleandoc(of.__doc__ or "").split())


def _is_nested(kind: Any) -> bool:
    inner = get_args(kind)[0] if get_origin(kind) is list else kind
    return isinstance(inner, type) and issubclass(inner, Struct)


def _type(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        bare, meta = get_args(kind)
        return _type(bare) + _limits(meta)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type(each) for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        return f"list of {_type(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " or ".join(code(each) for each in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(code(each.value) for each in kind)
    if get_origin(kind) is dict:
        return "table of text"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[kind]


def _limits(meta: Any) -> str:
    if meta.gt is not None:
        return f" (over {meta.gt}" + (f", to {meta.le})" if meta.le is not None else ")")
    if meta.ge is None:
        return ""
    return f" ({meta.ge:,} to {meta.le:,})" if meta.le is not None else f" ({meta.ge:,} or more)"


def _default(field: Any) -> str:
    if field.default is not NODEFAULT:
        value = field.default
    elif field.default_factory is not NODEFAULT:
        value = field.default_factory()
    else:
        return "**required**"
    if value is None:
        return "none"
    return code(msgspec.json.encode(value).decode())


def streams() -> str:
    """Return the two streams that come with Sesight, as a file would say it."""
    lines = []
    for each in (OUTREACH, FINANCE):
        lines.append("[[streams]]")
        for field in msgspec.structs.fields(Stream):
            value = getattr(each, field.name)
            if field.default is NODEFAULT or value != field.default:
                lines.append(f"{field.name} = {msgspec.json.encode(value).decode()}")
        lines.append("")
    return "```toml\n" + "\n".join(lines).rstrip() + "\n```\n"


# -- metrics -----------------------------------------------------------------------------------


def _clock() -> int:
    return 0


def decisions() -> str:
    """Return the decisions, by number."""
    rows = []
    for page in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        text = page.read_text("utf-8")
        number, _, title = text.partition("\n")[0].removeprefix("# ").partition(". ")
        decided = text.partition("**Decided** ")[2][: len("2026-11-24")]
        rows.append((number, f"[{title}]({page.name})", decided))
    return table(("number", "decision", "decided"), rows)


def functions() -> str:
    """Return every Lambda function: its handler, and what it does."""
    found = [
        (code(f"{lambdas.__name__}.{name}"), (inspect.getdoc(each) or "").splitlines()[0])
        for name, each in vars(lambdas).items()
        if inspect.isfunction(each)
        and list(inspect.signature(each).parameters) == ["event", "context"]
    ]
    return table(("handler", "what it does"), found)


def function_metrics() -> str:
    """Return every metric of the Lambda functions."""
    rows = [
        (code(name), "; ".join(codes(each) for each in sets if each), means)
        for name, (sets, means) in metrics_of_functions.METRICS.items()
    ]
    return table(("metric", "dimensions", "counts"), rows)


def metrics() -> str:
    """Return every metric as Prometheus sees it."""
    clock: Clock = _clock
    held = Metrics(clock)
    labels = {
        inner._name: inner._labelnames  # noqa: SLF001
        for inner in vars(held).values()
        if hasattr(inner, "_labelnames")
    }
    rows = []
    for family in held.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, codes(labels[family.name]), family.documentation))
    return table(("metric", "kind", "labels", "meaning"), rows)


# -- the API -----------------------------------------------------------------------------------


def api_document() -> dict[str, Any]:
    """Return the OpenAPI document of the default settings."""
    held = api_services.Services(
        store=None,
        suppressions=None,
        counting=Counting({each.id: each for each in Settings().streams}),
        clock=_clock,
        recipient_key=bytes(32),
        intake=None,
    )
    return document(held, routes_of(held))


def _operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "responses" in operation
    ]


def api_routes() -> str:
    """Return every route with its first sentence."""
    schema = api_document()
    rows = []
    for method, path, operation in _operations(schema):
        name = f"[`{method.upper()} {path}`](#{_anchor(method, path)})"
        rows.append((name, " ".join(operation.get("description", "").split())))
    return table(("route", "what"), rows)


def _anchor(method: str, path: str) -> str:
    """Return the anchor that GitHub gives the heading of a route."""
    return f"{method} {re.sub('[^a-z0-9_-]', '', path.lower())}".replace(" ", "-")


def api_operations() -> str:
    """Return every route with its parameters and its answer."""
    schema = api_document()
    parts = []
    for method, path, operation in _operations(schema):
        parts.append(f"### `{method.upper()} {path}`\n")
        if operation.get("description"):
            parts.append(f"{' '.join(operation['description'].split())}\n")
        body = operation.get("requestBody")
        if body:
            [kind] = body["content"]
            shape = _shape(_content(body)) if "json" in kind else code(kind)
            parts.append(f"Body: {shape}.\n")
        if operation.get("parameters"):
            rows = [_parameter(each) for each in operation["parameters"]]
            parts.append(table(("parameter", "in", "type", "what"), rows))
        for status, answered in sorted(operation["responses"].items()):
            if status == "default":
                continue
            answers = [
                _shape(held["schema"]) if "json" in kind else code(kind)
                for kind, held in answered.get("content", {}).items()
            ]
            parts.append(f"Answers {status} with {' or '.join(answers)}.\n")
    return "\n".join(parts)


def _content(body: dict[str, Any]) -> dict[str, Any]:
    return next(iter(body["content"].values()))["schema"]


def _parameter(each: dict[str, Any]) -> tuple[str, ...]:
    shape = each.get("schema", {})
    text = _shape(shape)
    if "default" in shape and shape["default"] is not None:
        text += f", {code(shape['default'])} if absent"
    return code(each["name"]), each["in"], text, each.get("description") or ""


def _shape(schema: dict[str, Any]) -> str:
    """Return a schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("oneOf", "anyOf"):
        if several in schema:
            shapes = [_shape(each) for each in schema[several]]
            return " or ".join(dict.fromkeys(shapes))
    if "enum" in schema:
        return " or ".join("null" if each is None else code(each) for each in schema["enum"])
    if "const" in schema:
        return "null" if schema["const"] is None else code(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_shape({**schema, "type": each}) for each in kind)
    if kind == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_shape(inner)}" if isinstance(inner, dict) else "object"
    return {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(
        kind or "", kind or "anything"
    )


def api_types() -> str:
    """Return every shape of an answer, with its members."""
    schemas = api_document()["components"]["schemas"]
    parts = []
    for name in sorted(schemas):
        schema = schemas[name]
        parts.append(f"### {name}\n")
        parts.append(f"{schema['description']}\n")
        if schema.get("properties"):
            required = schema.get("required", ())
            rows = [
                (code(member), _shape(held) + ("" if member in required else " (may be absent)"))
                for member, held in schema["properties"].items()
            ]
            parts.append(table(("member", "type"), rows))
        else:
            parts.append(f"{_shape(schema)}.\n")
    return "\n".join(parts)


def api_problems() -> str:
    """Return every type of problem."""
    rows = [(code(kind), status, title) for kind, (status, title) in PROBLEMS.items()]
    return table(("type", "status", "title"), rows)


# -- what is read ------------------------------------------------------------------------------

_FORMS = (
    ("2026-09-14T08:15:30.412Z", "SES, as a rule"),
    ("2026-09-14T08:15:30Z", "no fraction"),
    ("2026-09-14T08:15:30.41Z", "a short fraction"),
    ("2026-09-14T08:15:30.412987654Z", "a long one: cut to milliseconds"),
    ("2012-05-25T14:59:38.000-05:00", "a complaint's arrivalDate"),
    ("2018-10-08T14:05:45 +0000", "a space before the offset: feedback notifications"),
    ("2016-12-08 18:51:12.092", "no zone: UTC is assumed, and the occurrence is flagged"),
    ("2026-09-14T24:30:00.000Z", "no such hour"),
    ("2026-09-14", "a date alone is no time"),
    ("yesterday", ""),
)


def time_forms() -> str:
    """Return the forms of times and how each is read."""
    rows = []
    for text, note in _FORMS:
        found = parse_timestamp(text)
        read_as = code(iso(found[0])) if found else "unreadable"
        rows.append((code(text), read_as, code(found[1]) if found and found[1] else "", note))
    return table(("form", "read as", "`clock`", "where"), rows)


_ENVELOPES = (
    ("send.json", "an SES event by itself"),
    ("feedback_bounce.json", "an SES feedback notification by itself"),
    ("sns_http_notification_sigv2.json", "SNS over HTTP (also a body in SQS without raw delivery)"),
    ("sns_http_validation_message.json", "what SES publishes when event publishing is set up"),
    ("sns_http_feedback_setup_message.json", "what SES publishes when feedback is set up"),
    ("sns_http_subscription_confirmation.json", "SNS asks whether the endpoint wants the topic"),
    ("lambda_sns_event.json", "Lambda invoked by SNS"),
    ("lambda_sqs_event_sns_envelope.json", "Lambda invoked by SQS, SNS envelopes inside"),
    ("lambda_sqs_event_raw_delivery.json", "the same with raw message delivery"),
    ("lambda_sqs_event_eventbridge.json", "the same, put there by EventBridge"),
    ("sqs_receive_message.json", "what polling an SQS queue answers"),
    ("eventbridge_email_bounced.json", "EventBridge"),
    ("firehose_s3_object.ndjson", "Firehose's object in S3: one event a line"),
    ("unknown_event_type.json", "a type that SES may invent tomorrow"),
)


def envelopes() -> str:
    """Return the envelopes taken, with what is read out of a sample of each."""
    rows = []
    for name, what in _ENVELOPES:
        raw = (PAYLOADS / name).read_bytes()
        bodies = raw.splitlines() if name.endswith(".ndjson") else [raw]
        said = []
        for each in [found for body in bodies for found in read(body, "file")]:
            if isinstance(each, reading.EventReading):
                said.append(f"{each.event.type.value} ({code(each.origin)})")
            else:
                said.append(code(each.reason))
        rows.append((what, f"[{name}](../tests/payloads/{name})", ", ".join(said)))
    return table(("envelope", "sample", "read as (origin)"), rows)


def bounds() -> str:
    """Return what intake takes at most."""
    rows = [
        ("bytes of an HTTP request", f"{sns.MAX_BODY:,}", "`too-large`, 413"),
        ("bytes of a body by another transport", f"{envelope.MAX_BODY:,}", "`too-large`"),
        ("envelopes within envelopes", envelope.MAX_DEPTH, "`too-deep`"),
        ("items of one envelope", f"{envelope.MAX_ITEMS:,}", "`too-many-items`"),
        ("recipients of one message", ses_mail.MAX_RECIPIENTS, "`too-many-recipients`"),
    ]
    return table(("bound", "at most", "beyond it"), rows)
