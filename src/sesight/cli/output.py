"""Terminal output: tables that fit the window, progress bars, and formatted numbers, rates and times."""

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

NO_VALUE = "—"
"""Shown in place of an absent value."""

PIPE_WIDTH = 240
"""Width of a table in columns where standard output is not a terminal and COLUMNS is not set."""


def console() -> Console:
    """Return a console for standard output, as wide as the terminal."""
    return Console(width=shutil.get_terminal_size((PIPE_WIDTH, 50)).columns, highlight=False)


# -- progress ------------------------------------------------------------------------------------


class ProgressBar:
    """A progress bar on standard error. Without a total it only shows activity."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(self, completed: float, total: float | None = None, status: str = "") -> None:
        """Set the completed amount, the total if given, and the text beside the bar."""
        self._progress.update(self._task, completed=completed, status=status)
        if total is not None:
            self._progress.update(self._task, total=total)


@contextmanager
def progress_bar(
    description: str, total: float | None = None, *, shown: bool = True
) -> Iterator[ProgressBar]:
    """Show a progress bar while the block runs, if it is `shown` and standard error is a terminal."""
    stderr = Console(stderr=True, highlight=False)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not (shown and stderr.is_terminal),
    )
    with progress:
        yield ProgressBar(progress, progress.add_task(description, total=total, status=""))


# -- tables --------------------------------------------------------------------------------------

CELL_FRAME = 3
"""Width that the border and padding of a table add to each column."""


class Column(NamedTuple):
    """A table column. In a narrow window, columns with the highest `rank` are dropped first; rank 0 is
    never dropped. A column with `wraps` may be wrapped down to that width.
    """

    head: str
    rank: int = 0
    number: bool = False
    wraps: int | None = None


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], width: int | None = None
) -> Table:
    """Return a table that fits the width (by default the terminal's).

    Columns that are empty in every row are dropped first. The caption names the dropped columns.
    Text is wrapped, never cut off.
    """
    if width is None:
        width = console().width
    cells_by_column = [[row[n] for row in rows] for n in range(len(columns))]
    natural_widths = [
        max(cell_len(line) for text in (column.head, *cells) for line in str(text).split("\n"))
        for column, cells in zip(columns, cells_by_column, strict=True)
    ]
    least_widths = [
        min(natural, column.wraps or natural)
        for natural, column in zip(natural_widths, columns, strict=True)
    ]
    kept = [
        n
        for n, column in enumerate(columns)
        if not column.rank or any(str(cell) not in {"", NO_VALUE} for cell in cells_by_column[n])
    ]
    dropped: list[int] = []
    while sum(least_widths[n] + CELL_FRAME for n in kept) >= width:
        last = max(kept, key=lambda n: columns[n].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
        dropped.append(last)
    widths = {n: natural_widths[n] for n in kept}
    excess = sum(widths.values()) + CELL_FRAME * len(kept) + 1 - width
    for _ in range(excess):
        # the widest column that may be wrapped gives way first; if none may, the widest column does
        wrappable = [n for n in kept if widths[n] > least_widths[n]] or kept
        widths[max(wrappable, key=lambda n: widths[n])] -= 1
    made = Table(header_style="bold")
    for n in kept:
        made.add_column(
            columns[n].head,
            justify="right" if columns[n].number else "left",
            overflow="fold",
            width=max(widths[n], 1),
        )
    for row in rows:
        made.add_row(*[row[n] for n in kept])
    if dropped:
        heads = [columns[n].head for n in sorted(dropped)]
        names = ", ".join(f"{head[0].lower()}{head[1:]}" for head in heads)
        made.caption = f"A wider window shows {names} too; --json has everything."
    return made


MAILABLE_COLUMNS = (
    Column("Stream"),
    Column("May be sent to"),
    Column("Why not", wraps=14),
    Column("Since (UTC)", 2),
    Column("Until (UTC)", 1),
)
"""Columns that show whether streams may send to an address."""


# -- values --------------------------------------------------------------------------------------


def plain_text(value: object) -> Text:
    """Return text from outside as it is: markup is not interpreted, control characters are escaped."""
    return Text(printable(NO_VALUE if value is None else str(value)))


def format_count(value: int | None, *, at_least: bool = False) -> str:
    """Return a count with thousands separators, after `≥` if it is a lower bound."""
    if value is None:
        return NO_VALUE
    return f"{'≥ ' if at_least else ''}{value:,}"


def format_rate(rate: Mapping[str, Any] | None, separator: str = " · ") -> str:
    """Return a rate as "n of m" and a percentage, or `NO_VALUE` if its value is null."""
    if rate is None or rate["value"] is None:
        return NO_VALUE
    percent = rate["value"] * 100
    digits = 2 if 0 < percent < 1 else 1
    return f"{rate['numerator']:,} of {rate['denominator']:,}{separator}{percent:.{digits}f} %"


def format_time(timestamp: str | None) -> str:
    """Return an ISO 8601 timestamp of the API as YYYY-MM-DD HH:MM."""
    return NO_VALUE if timestamp is None else f"{timestamp[:10]} {timestamp[11:16]}"


def plural(n: int, noun: str) -> str:
    """Return a count with its noun: "1 topic", "2 topics", "2 bodies"."""
    many = f"{noun[:-1]}ies" if noun == "body" else f"{noun}s"
    return f"{n:,} {noun if n == 1 else many}"


def format_size(size: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in ("bytes", "KB", "MB"):
        if size < 1_000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1_000
    return f"{size:,.1f} GB"
