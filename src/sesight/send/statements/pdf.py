"""The layout of a statement's PDF: letterhead, addressee, one table a section, the total, page feet."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MethodType
from typing import Any, Literal, NamedTuple

from fpdf import FPDF
from fpdf.enums import (
    Align,
    CellBordersLayout,
    MethodReturnValue,
    ResourceAccessPolicy,
    TableBordersLayout,
    VAlign,
)
from fpdf.fonts import FontFace, TTFFont
from fpdf.prefs import ViewerPreferences

from sesight.send.message import Unsendable
from sesight.send.statements import money
from sesight.send.statements.letterhead import FILE, Letterhead
from sesight.send.statements.model import Statement, StatementLine, subtotal

MARGIN = 20.0
"""Millimetres around the page."""

FOOT = 24.0
"""Millimetres reserved for the foot."""

DESCRIPTION = 35.0
"""The smallest width of the column of descriptions, in millimetres."""

_INK = (33, 37, 41)
_PALE = (108, 117, 125)
_RULE = (222, 226, 230)
_WHITE = (255, 255, 255)


class _Column(NamedTuple):
    member: str
    """The member of a line that it shows."""
    title: str
    width: float
    align: Align


class StatementPdf(FPDF):
    """The pages of one statement. Close it when done."""

    def __init__(
        self,
        statement: Statement,
        language: str | None,
        letterhead: Letterhead,
        logo: bytes | None,
        fonts: tuple[Path, Path],
    ) -> None:
        """`fonts` are the files of the regular and the bold font."""
        super().__init__(format=letterhead.size)
        self.resource_access_policy = ResourceAccessPolicy.NONE
        self._statement = statement
        self._language = language
        self._letterhead = letterhead
        self._labels = letterhead.words
        self._accent = _color(letterhead.color)
        self._logo = logo
        self.add_font("text", "", fonts[0])
        self.add_font("text", "B", fonts[1])
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.c_margin = 0
        self.set_auto_page_break(auto=True, margin=FOOT)
        self.alias_nb_pages(None)  # type: ignore[arg-type]
        self.set_title(f"{self._labels.title} {statement.id}")
        self.set_author(letterhead.sender)
        self.set_lang((language or statement.locale).replace("_", "-"))
        self.viewer_preferences = ViewerPreferences(display_doc_title=True)
        # the time of rendering would make the bytes of each PDF differ
        self.set_creation_date(
            datetime.combine(money.first_of(statement.month), datetime.min.time(), UTC)
        )
        self._marks = Counter[int]()
        """Marked texts of each page."""
        self._kind: Literal["H1", "H2", "P"] | None = "P"
        """The structure type of the next text, None: a decoration, which is not read out."""
        self._columns: list[_Column] = []
        """The table's columns once it has begun: their titles are repeated on each page."""

    def write_statement(self) -> None:
        """Write the whole statement. Raises Unsendable for letters that the font lacks."""
        self.add_page()
        self._write_letterhead()
        self._write_addressee()
        self._write_lines()
        self._write_total()
        self._write_feet()

    def close(self) -> None:
        """Close the font files, which FPDF leaves open."""
        for font in self.fonts.values():
            if isinstance(font, TTFFont):
                font.ttfont.close()

    def header(self) -> None:
        """Draw the top of a page, called by FPDF: a band, and the column titles within the table."""
        with self._decoration():
            self.set_fill_color(*self._accent)
            self.rect(0, 0, self.w, 4, style="F")
        if self._columns:
            self._write_titles()

    def multi_cell(self, *arguments: Any, **options: Any) -> Any:
        """Write a text with line breaks, marked as a paragraph: FPDF's tables mark no cells."""
        is_measuring = options.get("dry_run") or not isinstance(self._out, MethodType)
        if is_measuring:
            return super().multi_cell(*arguments, **options)
        with self._tagged():
            return super().multi_cell(*arguments, **options)

    # Text

    def _style(
        self, size: float, *, bold: bool = False, color: tuple[int, int, int] = _INK
    ) -> None:
        self.set_font("text", "B" if bold else "", size)
        self.set_text_color(*color)

    def _write_line(
        self, x: float, y: float, width: float, text: str, align: Align = Align.L, height: float = 5
    ) -> None:
        """Write one line, in a smaller size if it would not fit."""
        if text:
            with self._tagged():
                self._cell(x, y, width, self._printable(text), align, height)

    def _write_text(
        self, x: float, y: float, width: float, text: str, align: Align = Align.L, height: float = 5
    ) -> float:
        """Write a text in as many lines as it needs; return the y position below it."""
        if not text:
            return y
        lines = self._wrapped(text, width)
        with self._tagged():
            for n, line in enumerate(lines):
                self._cell(x, y + n * height, width, line, align, height)
        return y + len(lines) * height

    def _cell(
        self, x: float, y: float, width: float, text: str, align: Align, height: float
    ) -> None:
        size = self.font_size_pt
        while self.get_string_width(text) > width and self.font_size_pt > 5:
            self.set_font_size(self.font_size_pt - 0.25)
        self.set_xy(x, y)
        self.cell(width, height, text, align=align)
        self.set_font_size(size)

    @contextmanager
    def _tagged(self) -> Iterator[None]:
        """Mark what is written as a paragraph or heading, in reading order, for screen readers.

        FPDF itself marks only pictures, and its structure tree has one level, so there are no tables.
        """
        if self._kind is None:
            yield
            return
        mark = self._marks[self.page]
        self._marks[self.page] += 1
        self._add_marked_content(struct_type=f"/{self._kind}", mcid=mark)
        self._out(f"/{self._kind} <</MCID {mark}>> BDC")
        yield
        self._out("EMC")

    @contextmanager
    def _heading(self, kind: Literal["H1", "H2"]) -> Iterator[None]:
        self._kind = kind
        yield
        self._kind = "P"

    @contextmanager
    def _decoration(self) -> Iterator[None]:
        """Mark what is drawn, or repeated on each page, as nothing to be read out."""
        self._kind = None
        self._out("/Artifact BMC")
        yield
        self._out("EMC")
        self._kind = "P"

    def _wrapped(self, text: str, width: float) -> list[str]:
        lines: list[str] = self.multi_cell(
            width,
            5,
            self._printable(text),
            align=Align.L,
            dry_run=True,
            output=MethodReturnValue.LINES,
        )
        return lines

    def _printable(self, text: str) -> str:
        """Return a text without invisible characters. Raises Unsendable for letters that cannot be
        printed: a PDF would show empty boxes.
        """
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
        glyphs = self.current_font.cmap  # type: ignore[union-attr]
        for letter in text:
            code = f"U+{ord(letter):04X}"
            if unicodedata.bidirectional(letter) in {"R", "AL"}:
                raise Unsendable(
                    "characters",
                    f"The PDF cannot show text from right to left ({code}): attach only the CSV, with "
                    f"`attach` in {FILE}.",
                )
            if ord(letter) not in glyphs:
                raise Unsendable(
                    "characters",
                    f"The font of the PDF lacks the letter {code}: name a font that has it as `font` in "
                    f"{FILE}.",
                )
        return text

    # The parts of the page

    def _write_letterhead(self) -> None:
        letterhead = self._letterhead
        half = self.epw / 2
        y = MARGIN
        if self._logo is not None:
            with self._decoration():  # the sender's name is written below it
                info = self.image(self._logo, MARGIN, y, h=12, keep_aspect_ratio=True)
            y += info.rendered_height + 3
        self._style(13, bold=True)
        y = self._write_text(MARGIN, y, half - 8, letterhead.sender, height=7) + 0.5
        self._style(8.5, color=_PALE)
        for line in letterhead.address:
            y = self._write_text(MARGIN, y, half - 8, line, height=4.2)
        self._style(20, bold=True, color=self._accent)
        left = MARGIN + half
        with self._heading("H1"):
            right_y = self._write_text(left, MARGIN - 1.5, half, self._labels.title, Align.R, 9.5)
        self._style(11, color=_PALE)
        month = self._statement.month_name(self._language)
        right_y = self._write_text(left, right_y, half, month, Align.R, 6)
        self.set_y(max(y, right_y, MARGIN + 24) + 8)

    def _write_addressee(self) -> None:
        statement, labels = self._statement, self._labels
        top = self.get_y()
        half = self.epw / 2
        self._style(8, color=_PALE)
        self._write_line(MARGIN, top, half, labels.to, height=4)
        y = top + 4.5
        if statement.name:
            self._style(11, bold=True)
            y = self._write_text(MARGIN, y, half - 8, statement.name, height=6)
        self._style(9, color=_PALE)
        bottom = self._write_text(MARGIN, y, half - 8, statement.recipient)
        left = MARGIN + half
        y = top
        for label, value in (
            (labels.statement, statement.id),
            (labels.month, statement.month),
            (labels.currency, statement.currency),
        ):
            self._style(9, color=_PALE)
            self._write_line(left, y, half * 0.35, label)
            self._style(9)
            y = self._write_text(left + half * 0.4, y, half * 0.6, value, Align.R) + 0.4
        self.set_y(max(bottom, y, top + 18) + 6)

    def _write_lines(self) -> None:
        """Write a table for each section: its name, its lines and, of several sections, its subtotal."""
        statement = self._statement
        self._columns = self._widths()
        self._write_titles()
        sections = statement.sections
        for name, lines in sections.items():
            if name:
                self._write_section(name)
            self._style(9.5)
            self.set_draw_color(*_RULE)
            with self.table(
                align=Align.L,
                v_align=VAlign.T,
                borders_layout=TableBordersLayout.NONE,
                col_widths=[column.width for column in self._columns],
                first_row_as_headings=False,
                line_height=4.6,
                padding=(1.3, 0),
                text_align=[column.align for column in self._columns],
            ) as table:
                for line in lines:
                    row = table.row()
                    row.cell(
                        self._printable(line.label),
                        border=CellBordersLayout.BOTTOM,
                        padding=(1.3, 4, 1.3, 0),
                    )
                    for column in self._columns[1:]:
                        number = self._printable(self._number(line, column.member))
                        row.cell(number, border=CellBordersLayout.BOTTOM)
                if len(sections) > 1:
                    row = table.row(style=FontFace(size_pt=9))
                    row.cell(
                        self._printable(self._labels.subtotal),
                        colspan=len(self._columns) - 1,
                        style=FontFace(color=_PALE),
                    )
                    shown = statement.shown(subtotal(lines))
                    row.cell(self._printable(shown), style=FontFace(emphasis="BOLD"))
        self._columns = []

    def _write_section(self, name: str) -> None:
        """Write the name of a section, on the same page as its first line."""
        self._style(9.5, bold=True)
        height = 5 * len(self._wrapped(name, self.epw))
        if self.will_page_break(height + 13):
            self.add_page()
            self._style(9.5, bold=True)
        with self._heading("H2"):
            y = self._write_text(MARGIN, self.get_y() + 2.5, self.epw, name)
        self.set_y(y - 1)

    def _write_total(self) -> None:
        if self.will_page_break(18):
            self.add_page()
        y = self.get_y() + 4
        with self._decoration():
            self.set_fill_color(*self._accent)
            self.rect(MARGIN, y, self.epw, 12, style="F", round_corners=True, corner_radius=1.5)
        statement = self._statement
        self._style(11, bold=True, color=_WHITE)
        label = self._labels.total_of(is_negative=statement.total < 0)
        self._write_line(MARGIN + 4, y, self.epw / 3, label, height=12)
        self._style(14, bold=True, color=_WHITE)
        shown = statement.shown(statement.total)
        left, width = MARGIN + self.epw / 3, self.epw * 2 / 3 - 4
        self._write_line(left, y, width, shown, Align.R, 12)

    def _write_feet(self) -> None:
        """Write the foot of every page. The number of pages is known only now."""
        self.set_auto_page_break(auto=False)
        pages = len(self.pages)
        for page in range(1, pages + 1):
            self.page = page
            self._style(
                1
            )  # FPDF does not know that an earlier page has another font than the last one
            y = self.h - 16
            with self._decoration():
                self.set_draw_color(*_RULE)
                self.line(MARGIN, y - 2, self.w - MARGIN, y - 2)
                self._style(7.5, color=_PALE)
                width = self.epw * 0.55
                _ = self._write_text(MARGIN, y, width, self._letterhead.footer, height=3.6)
                number = self._labels.page.replace("{page}", str(page))
                text = f"{self._statement.id} · {number.replace('{pages}', str(pages))}"
                left = MARGIN + width + 6
                _ = self._write_text(left, y, self.epw - width - 6, text, Align.R, 3.6)

    # The table

    def _widths(self) -> list[_Column]:
        """Return the columns that the lines need. A column of numbers is as wide as the widest of them,
        so that no number wraps, as long as `DESCRIPTION` is left for the first column.
        """
        statement, labels = self._statement, self._labels
        self._style(9.5, bold=True)  # as subtotals are
        columns = []
        for member, title, smallest in (
            ("quantity", labels.quantity, 24),
            ("unit_price", labels.unit_price, 32),
            ("amount", labels.amount, 36),
        ):
            texts = [self._number(line, member) for line in statement.lines]
            if not any(texts):
                continue
            if member == "amount":
                texts += [statement.shown(subtotal(lines)) for lines in statement.sections.values()]
            width = max(smallest, 4 + max(map(self.get_string_width, texts)))
            width = min(width, (self.epw - DESCRIPTION) / 3)
            columns.append(_Column(member, title, width, Align.R))
        rest = self.epw - sum(column.width for column in columns)
        return [_Column("label", labels.description, rest, Align.L), *columns]

    def _number(self, line: StatementLine, member: str) -> str:
        """Return a number of a line as the recipient writes it; an empty text for none."""
        value = getattr(line, member)
        if value is None:
            return ""
        if member == "quantity":
            return money.plain(value, self._statement.locale)
        return self._statement.shown(value)

    def _write_titles(self) -> None:
        """Write the titles of the columns and the rule below them."""
        x, y = MARGIN, self.get_y()
        self._style(8, bold=True, color=self._accent)
        for column in self._columns:
            self._write_line(x, y, column.width, column.title, column.align)
            x += column.width
        with self._decoration():
            self.set_draw_color(*self._accent)
            self.set_line_width(0.4)
            self.line(MARGIN, y + 6, self.w - MARGIN, y + 6)
            self.set_line_width(0.2)
            self.set_draw_color(*_RULE)
        self.set_y(y + 6.5)


def _color(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
