"""The docs say what the code does: generated parts are fresh, and names, links and steps exist."""

import ast
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest
import typer
from cogapp import Cog

from sesight.cli.program import program
from sesight.domain import engagement
from sesight.domain.event import Disposition, EventType
from sesight.domain.outcome import Outcome
from sesight.domain.quarantine import QUARANTINE_REASONS
from sesight.domain.reason import REASONS
from sesight.domain.stats import RATES
from sesight.domain.suppression.item import SuppressionReason
from sesight.domain.tally import COUNTERS
from sesight.ingest import event_batch, journal, metrics, pipeline, reader
from sesight.ingest.http import intake, refusals
from sesight.ingest.ses import parser as ses
from sesight.ingest.transport import certificates, envelope, sns
from sesight.send.statements.files import COLUMNS, OPTIONAL_COLUMNS
from sesight.send.statements.letterhead import Labels, Letterhead
from sesight.settings import environment_names

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GENERATED = [page for page in PAGES if "[[[cog" in page.read_text("utf-8")]
WALK = DOCS / "ses-analytics-pipeline.md"
COMMANDS = DOCS / "reference" / "cli.md"

sys.path.insert(0, str(ROOT / "scripts"))

import tables  # noqa: E402 - a folder of scripts, found by the line above

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def text(page: Path) -> str:
    return page.read_text("utf-8")


@cache
def said(page: Path) -> frozenset[str]:
    """Return what a page has as inline code, also each word of it."""
    spans = re.findall(r"`([^`\n]+)`", text(page))
    return frozenset([*spans, *[word for span in spans for word in re.split(r"[^\w./~-]+", span)]])


def missing(page: Path, *names: str) -> set[str]:
    return set(names) - said(page)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    outside = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower()
        found.add(name.replace(" ", "-"))
    return found


def links(page: Path) -> list[str]:
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", text(page), flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", outside) if "://" not in link]


def steps_called() -> list[str]:
    """Return the steps of a batch in the order in which the pipeline calls them."""
    [tree] = ast.parse(inspect.getsource(pipeline.Pipeline)).body
    process = next(node for node in tree.body if getattr(node, "name", "") == "process")
    steps = [
        node
        for node in ast.walk(process)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "batch"
    ]
    return [step.attr for step in sorted(steps, key=lambda step: step.lineno)]


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_parts_are_fresh(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is generated on a page is what the code says now; `make docs` writes it again."""
    scripts = str(ROOT / "scripts")
    failed = Cog().main(["cog", "-U", "-I", scripts, "--check", "--diff", str(page)])
    assert not failed, capsys.readouterr().out


@by_page
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file that exists, and to a heading it has."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_indexes_lead_everywhere() -> None:
    """The two indexes, of the docs and of the decisions, link to every page."""
    indexes = {DOCS / "README.md", DOCS / "decisions" / "README.md"}
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for index in indexes
        for link in links(index)
    }
    assert set(DOCS.rglob("*.md")) - linked - indexes == set()


@by_page
def test_files_named_exist(page: Path) -> None:
    """No page names a file of this repository that does not exist."""
    named = {
        name
        for name in said(page)
        if re.fullmatch(r"(?:src|docs|tests|scripts|bench|requirements)/[\w./*-]+", name)
        or re.fullmatch(r"(?:domain|ingest|store|api|cli|simulation)/\w+\.(?:py|sql)", name)
    }
    gone = {
        name
        for name in named
        if not list(ROOT.glob(name.rstrip("/")))
        and not list((ROOT / "src/sesight").glob(name.rstrip("/")))
    }
    assert gone == set()


def test_walk_has_every_step_in_order() -> None:
    """The walk has the steps of `Pipeline.process`, by name, in the order in which they are called."""
    headings = " ".join(re.findall(r"^## \d.*$", text(WALK), re.MULTILINE))
    called = steps_called()
    places = [headings.find(f"{step}`") for step in called]
    assert (places, min(places) >= 0) == (sorted(places), True)


def test_walk_names_what_exists() -> None:
    """A function that a heading of the walk names is in the code."""
    homes = (
        event_batch.EventBatch, journal.Journal, metrics.Metrics, sns, envelope, ses, reader, intake,
        certificates, pipeline.Pipeline,
    )  # fmt: skip
    headings = "".join(re.findall(r"^## \d.*$", text(WALK), re.MULTILINE))
    named = re.findall(r"`(?:\w+\.)?(\w+)`", headings)
    assert [name for name in named if not any(hasattr(home, name) for home in homes)] == []


def test_every_event_type_and_disposition() -> None:
    """The walk has every event type, every disposition and every outcome."""
    words = [*EventType, *Disposition, *[outcome.word for outcome in Outcome]]
    assert missing(WALK, *map(str, words)) == set()


def table_below(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    part = text(page).split(f"\n## {heading}\n", 1)[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


def test_reasons_of_no_event() -> None:
    """The walk has exactly the codes by which an envelope can hold no event."""
    told = {row[0] for row in table_below(WALK, "Why there is no event")}
    assert told == tables.nothing_reasons()


def test_reasons_of_quarantine() -> None:
    """The walk has exactly the codes under which a body can be quarantined."""
    told = {row[0] for row in table_below(WALK, "Why a body is quarantined")}
    assert told == tables.quarantine_reasons() == set(QUARANTINE_REASONS)


def test_reasons_of_refusal() -> None:
    """The walk has exactly the reasons, with their statuses, by which a request can be refused, and
    health has a sentence for each that does not pass by itself.
    """
    told = {(row[0], int(row[1])) for row in table_below(WALK, "Why a request is refused")}
    assert told == tables.refusals() - {("not-found", 404)}
    assert {reason for reason, _ in told} == {*refusals.REFUSED, *refusals.PASSING}


def test_every_setting() -> None:
    """The settings page has every environment variable that gives a setting."""
    assert missing(DOCS / "reference" / "settings.md", *environment_names()) == set()


def test_every_measure() -> None:
    """The measures page has every counter, rate and reason."""
    assert missing(DOCS / "reference" / "measures.md", *COUNTERS, *RATES, *REASONS) == set()


def test_every_word_of_statements() -> None:
    """The page on statements has every column of their files, and every setting of their paper."""
    members = [
        field.name for each in (Letterhead, Labels) for field in msgspec.structs.fields(each)
    ]
    assert (
        missing(DOCS / "reference" / "statements.md", *COLUMNS, *OPTIONAL_COLUMNS, *members)
        == set()
    )


def test_every_suppression_reason() -> None:
    """The walk has every reason of suppression."""
    assert missing(WALK, *[reason.value for reason in SuppressionReason]) == set()


def test_every_engagement_rule() -> None:
    """The engagement page has every rule that a verdict can name."""
    tree = ast.parse(inspect.getsource(engagement))
    rules = {
        call.args[1].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "Verdict"
        and isinstance(call.args[1], ast.Constant)
    }
    patterns = {rule for rule, _, _ in (*engagement._MACHINES, *engagement._HUMANS)}  # noqa: SLF001
    assert missing(DOCS / "explanation" / "engagement.md", *rules, *patterns) == set()


def test_every_metric() -> None:
    """The metrics page has every metric, by the name that Prometheus sees."""
    held = metrics.Metrics(lambda: 0)
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in held.registry.collect()
    }
    assert missing(DOCS / "how-to" / "monitor.md", *names) == set()


def test_every_route() -> None:
    """The API page has every route and every shape of an answer."""
    schema = tables.api_document()
    routes = {
        f"{method.upper()} {path}" for path, held in schema["paths"].items() for method in held
    }
    shapes = {name.lower() for name in schema["components"]["schemas"]}
    page = DOCS / "reference" / "api.md"
    assert (missing(page, *routes), shapes - anchors(page)) == (set(), set())


def commands(of: typer.main.TyperGroup, above: str = "sesight") -> set[str]:
    """Return every command by its whole name."""
    found = set()
    for name, command in of.commands.items():
        whole = f"{above} {name}"
        found |= commands(command, whole) if hasattr(command, "commands") else {whole}
    return found


def test_every_command() -> None:
    """The page of the command line has every command."""
    page = text(COMMANDS)
    found = commands(typer.main.get_command(program))
    assert {command for command in found if command not in page} == set()


def test_commands_named_exist() -> None:
    """No page tells anybody to use a command that does not exist."""
    known = commands(typer.main.get_command(program))
    groups = {command.rpartition(" ")[0] for command in known} - {"sesight"}
    known_words = {command.split()[1] for command in known}
    wrong = set()
    for page in PAGES:
        if page.is_relative_to(DOCS / "decisions"):
            continue
        for span in re.findall(r"`(?:\.venv/bin/)?sesight ([a-z]+)(?: ([a-z]+))?", text(page)):
            word, below = span
            whole = f"sesight {word} {below}"
            if word not in known_words or (
                f"sesight {word}" in groups and below and whole not in known
            ):
                wrong.add((page.name, *span))
    assert wrong == set()
