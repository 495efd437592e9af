"""What people see: tables, progress bars, and numbers as people write them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sesight.domain.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "—"
"""What stands where there is no value."""

PIPE_WIDTH = 240
"""Columns of a table that no terminal shows, unless COLUMNS says otherwise."""


def screen() -> Console:
    """Return where tables are printed."""
    return Console(width=shutil.get_terminal_size((PIPE_WIDTH, 50)).columns, highlight=False)


def aside() -> Console:
    """Return where progress is shown: beside what is printed."""
    return Console(stderr=True, highlight=False)


class Bar:
    """One progress bar. Without a total it only shows that something goes on."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        """Keep the bar's place."""
        self._progress = progress
        self._task = task

    def at(self, done: float, total: float | None = None, told: str = "") -> None:
        """Show how far it is, and a few words."""
        self._progress.update(self._task, completed=done, told=told)
        if total is not None:
            self._progress.update(self._task, total=total)


@contextmanager
def bar(what: str, total: float | None = None, *, shown: bool = True) -> Iterator[Bar]:
    """Show a progress bar while something is done, if anybody looks."""
    console = aside()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
    with progress:
        yield Bar(progress, progress.add_task(what, total=total, told=""))


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """Return a table; the columns in `numbers` are set to the right. Nothing is ever cut off."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


FRAME = 3
"""Columns of a terminal that a table's column takes beside its text."""


class Column(NamedTuple):
    """A column of a table that must fit. The one of the highest `rank` is left out first, one of 0
    never; text may be wrapped down to the width `wraps`.
    """

    head: str
    rank: int = 0
    number: bool = False
    wraps: int | None = None


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Any]], width: int) -> Table:
    """Return a table of the columns that there is room for, and a caption with the names of the others.
    Columns that are empty in every row go first.
    """
    natural = [
        max(cell_len(line) for text in (head.head, *cells) for line in str(text).split("\n"))
        for head, cells in zip(columns, _by_column(columns, rows), strict=True)
    ]
    least = [min(own, each.wraps or own) for own, each in zip(natural, columns, strict=True)]
    kept = [
        at
        for at, each in enumerate(columns)
        if not each.rank or any(str(row[at]) not in {"", NOTHING} for row in rows)
    ]
    left_out: list[int] = []
    while sum(least[at] + FRAME for at in kept) >= width:
        worst = max(kept, key=lambda at: columns[at].rank)
        if not columns[worst].rank:
            break
        kept.remove(worst)
        left_out.append(worst)
    widths = dict(zip(kept, (natural[at] for at in kept), strict=True))
    for _ in range(sum(widths.values()) + FRAME * len(kept) + 1 - width):
        # what is still too wide is wrapped, the widest first; what may not be, when nothing else is left
        narrower = [at for at in kept if widths[at] > least[at]] or kept
        widths[max(narrower, key=lambda at: widths[at])] -= 1
    made = Table(header_style="bold")
    for at in kept:
        made.add_column(
            columns[at].head,
            justify="right" if columns[at].number else "left",
            overflow="fold",
            width=max(widths[at], 1),
        )
    for row in rows:
        made.add_row(*[row[at] for at in kept])
    if left_out:
        heads = [columns[at].head for at in sorted(left_out)]
        names = ", ".join(f"{head[0].lower()}{head[1:]}" for head in heads)
        made.caption = f"A wider window shows {names} too; --json has everything."
    return made


MAILABLE = (
    Column("Stream"),
    Column("May be sent to"),
    Column("Why not", wraps=14),
    Column("Since (UTC)", 2),
    Column("Until (UTC)", 1),
)
"""The columns that say whether streams may send to an address."""


def _by_column(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[row[at] for row in rows] for at in range(len(columns))]


def plain(text: object) -> Text:
    """Return text from outside, in which no markup is read; control characters are shown."""
    written = NOTHING if text is None else str(text)
    return Text(printable(written))


def number(value: int | None, *, at_least: bool = False) -> str:
    """Write a count: thousands apart, `≥` before what is a lower bound."""
    if value is None:
        return NOTHING
    return f"{'≥ ' if at_least else ''}{value:,}"


def rate(found: Mapping[str, Any] | None, between: str = " · ") -> str:
    """Write a rate as a share and as n of m; a dash where nothing can be said."""
    if found is None or found["value"] is None:
        return NOTHING
    share = found["value"] * 100
    digits = 2 if 0 < share < 1 else 1
    return f"{found['numerator']:,} of {found['denominator']:,}{between}{share:.{digits}f} %"


def moment(text: str | None) -> str:
    """Write a time of an answer to the minute."""
    return NOTHING if text is None else f"{text[:10]} {text[11:16]}"


def counted(n: int, noun: str) -> str:
    """Write how many there are of something: 1 topic, 2 topics, 2 bodies."""
    many = f"{noun[:-1]}ies" if noun == "body" else f"{noun}s"
    return f"{n:,} {noun if n == 1 else many}"


def size(count: float) -> str:
    """Write bytes."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"
