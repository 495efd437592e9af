"""A statement on paper: as PDF, and as CSV for spreadsheets. Nothing is read but the template's files."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from fpdf import FPDF
from fpdf.enums import Align, MethodReturnValue, ResourceAccessPolicy
from fpdf.fonts import TTFFont
from fpdf.prefs import ViewerPreferences
from msgspec import Meta, Struct, field

from sesight.domain.errors import SettingsError
from sesight.domain.text import spreadsheet_text
from sesight.send.message import Attachment, Unsendable
from sesight.send.statements import money
from sesight.send.statements.model import Statement, StatementLine, subtotal
from sesight.send.templates.sandbox import FolderLoader, NotInFolder

CARD = "paper.toml"

PICTURE, FONT = "picture in PNG or JPEG", "TrueType font"

FILE_LIMIT = 5_000_000
"""Bytes of a picture or a font at most."""

FONTS = Path(__file__).parent / "fonts"
"""Noto Sans, its Latin, Greek and Cyrillic (fonts/README.md)."""


class Labels(Struct, frozen=True, forbid_unknown_fields=True):
    """The words on the paper, for other languages than English."""

    title: str = "Statement"
    to: str = "To"
    statement: str = "Statement"
    month: str = "Month"
    currency: str = "Currency"
    section: str = "Section"
    description: str = "Description"
    quantity: str = "Quantity"
    unit_price: str = "Unit price"
    amount: str = "Amount"
    subtotal: str = "Subtotal"
    total: str = "Total"
    negative_total: str = "Balance"
    """Instead of `total` where that is below zero: nothing is to be paid then."""
    page: str = "Page {page} of {pages}"


class Letterhead(Struct, frozen=True, forbid_unknown_fields=True):
    """How a statement looks on paper: what `paper.toml` of a template says."""

    attach: list[Literal["pdf", "csv"]] = field(default_factory=lambda: ["pdf"])
    """What goes with the message."""
    sender: str = ""
    """Who it is from."""
    address: list[str] = field(default_factory=list)
    """The lines below that."""
    footer: str = ""
    """The sentence at the foot of each page."""
    color: Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")] = "#1f4e5f"
    """Of title, rules and total."""
    size: Literal["A4", "Letter"] = "A4"
    """Of the pages."""
    logo: str | None = None
    """A PNG or JPEG file in the template's folder."""
    font: str | None = None
    """A TrueType file in the template's folder, for letters that Noto Sans has not."""
    bold_font: str | None = None
    """The same in bold."""
    words: Labels = Labels()
    """What stands on it, for other languages than English."""


class StatementRenderer:
    """Puts statements on paper. Safe to use from any thread."""

    def __init__(self, folder: FolderLoader, template: str) -> None:
        """Read a template's `paper.toml` and the files that it names, all in the template's folder.

        Raises SettingsError for what is wrong with them.
        """
        name = f"{template}/{CARD}"
        try:
            self.letterhead = msgspec.toml.decode(folder.read(name), type=Letterhead)
        except NotInFolder:
            self.letterhead = Letterhead()
        except msgspec.DecodeError as error:
            raise SettingsError(f"{name} is wrong: {error}.") from None
        except (ValueError, OSError) as error:
            raise SettingsError(str(error)) from None
        head = self.letterhead
        self._logo = _content(folder, template, head.logo, PICTURE, (b"\x89PNG", b"\xff\xd8\xff"))
        regular = _font(folder, template, head.font)
        bold = _font(folder, template, head.bold_font)
        self._fonts = (
            regular or FONTS / "NotoSans-Regular.ttf",
            bold or regular or FONTS / "NotoSans-Bold.ttf",
        )

    def attachments(
        self, statement: Statement, language: str | None = None
    ) -> tuple[Attachment, ...]:
        """Return what goes with a statement's message in a language. Raises Unsendable for letters that the font has
        not.
        """
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"statement-{statement.month}-{statement.id}")
        return tuple(
            Attachment(f"{name.strip('-.')}.pdf", "application/pdf", self.pdf(statement, language))
            if kind == "pdf"
            else Attachment(f"{name.strip('-.')}.csv", "text/csv", self.csv(statement))
            for kind in self.letterhead.attach
        )

    def pdf(self, statement: Statement, language: str | None = None) -> bytes:
        """Return a statement as PDF, its month named in the language of its words (None: as the recipient
        writes it): the same bytes for the same statement. Raises Unsendable.
        """
        with closing(
            _StatementPdf(statement, language, self.letterhead, self._logo, self._fonts)
        ) as sheet:
            sheet.head()
            sheet.addressee()
            sheet.figures()
            sheet.foot()
            return bytes(sheet.output())

    def csv(self, statement: Statement) -> bytes:
        """Return a statement as CSV (RFC 4180, UTF-8 with the mark by which spreadsheets know it):
        figures with a point and nothing between thousands; no text that a spreadsheet would run.
        """
        words = self.letterhead.words
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(
            [
                *(words.section, words.description, words.quantity, words.unit_price),
                *(words.amount, words.currency),
            ]
        )
        for line in statement.lines:
            figures = (line.quantity, line.unit_price, line.amount)
            cells = ["" if each is None else f"{each:f}" for each in figures]
            text = [spreadsheet_text(line.section), spreadsheet_text(line.label)]
            writer.writerow([*text, *cells, statement.currency])
        total = f"{statement.total:f}"
        writer.writerow(
            ["", spreadsheet_text(_total_word(words, statement)), "", "", total, statement.currency]
        )
        return b"\xef\xbb\xbf" + file.getvalue().encode()


# PDF

MARGIN = 20.0
"""Millimetres around the page."""

FOOT = 24.0
"""Millimetres kept free for the foot."""

_INK = (33, 37, 41)
_PALE = (108, 117, 125)
_RULE = (222, 226, 230)


class _Column(NamedTuple):
    title: str
    width: float
    align: Align


class _StatementPdf(FPDF):
    """One statement's pages."""

    def __init__(
        self,
        statement: Statement,
        language: str | None,
        letterhead: Letterhead,
        logo: bytes | None,
        fonts: tuple[Path, Path],
    ) -> None:
        super().__init__(format=letterhead.size)
        self.resource_access_policy = ResourceAccessPolicy.NONE
        self._statement = statement
        self._language = language
        self._letterhead = letterhead
        self._words = letterhead.words
        self._accent = _color(letterhead.color)
        self._logo = logo
        self.add_font("text", "", fonts[0])
        self.add_font("text", "B", fonts[1])
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.c_margin = 0
        self.set_auto_page_break(False)
        self.alias_nb_pages(None)  # type: ignore[arg-type]
        self.set_title(f"{self._words.title} {statement.id}")
        self.set_author(letterhead.sender)
        self.set_lang((language or statement.locale).replace("_", "-"))
        self.viewer_preferences = ViewerPreferences(display_doc_title=True)
        # with the time of making it, no two would be the same
        self.set_creation_date(
            datetime.combine(money.first_of(statement.month), datetime.min.time(), UTC)
        )
        self._marks = Counter[int]()
        """Texts marked on each page."""
        self._kind: Literal["H1", "H2", "P"] | None = "P"
        """What the next text is, None: nothing that is read out."""
        self.add_page()

    def close(self) -> None:
        """Close the font files, which FPDF leaves open."""
        for font in self.fonts.values():
            if isinstance(font, TTFFont):
                font.ttfont.close()

    # what is written

    def _style(
        self, size: float, *, bold: bool = False, color: tuple[int, int, int] = _INK
    ) -> None:
        self.set_font("text", "B" if bold else "", size)
        self.set_text_color(*color)

    def _say(
        self, x: float, y: float, width: float, text: str, align: Align = Align.L, height: float = 5
    ) -> None:
        """Write one line, smaller if it would not fit."""
        if not text:
            return
        with self._tagged():
            self._line(x, y, width, self._printable(text), align, height)

    def _write(
        self, x: float, y: float, width: float, text: str, align: Align = Align.L, height: float = 5
    ) -> float:
        """Write a text in as many lines as it needs; return where the next one begins."""
        if not text:
            return y
        lines = self._wrapped(text, width)
        with self._tagged():
            for n, line in enumerate(lines):
                self._line(x, y + n * height, width, line, align, height)
        return y + len(lines) * height

    def _line(
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
        """Mark what is written as a paragraph or heading of the document, in the order of reading.

        FPDF itself marks pictures only; its tree has one level, so there are no tables in it.
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
        found: list[str] = self.multi_cell(  # type: ignore[assignment]
            width,
            5,
            self._printable(text),
            align=Align.L,
            dry_run=True,
            output=MethodReturnValue.LINES,
        )
        return found

    def _printable(self, text: str) -> str:
        """Return a text that the font has every letter of. Raises Unsendable."""
        text = "".join(each for each in text if unicodedata.category(each) != "Cf")
        glyphs = self.current_font.cmap  # type: ignore[union-attr]
        for each in text:
            code = f"U+{ord(each):04X}"
            if unicodedata.bidirectional(each) in {"R", "AL"}:
                raise Unsendable(
                    "characters",
                    f"The PDF is not laid out from right to left ({code}): attach only the CSV, with "
                    f"`attach` in {CARD}.",
                )
            if ord(each) not in glyphs:
                raise Unsendable(
                    "characters",
                    f"The font of the PDF has no letter {code}: name one that has it as `font` in "
                    f"{CARD}.",
                )
        return text

    # the parts of the page

    def head(self) -> None:
        """Write who it is from, and what it is."""
        head = self._letterhead
        half = self.epw / 2
        self._band()
        y = MARGIN
        if self._logo is not None:
            with self._decoration():  # the sender's name stands below it
                info = self.image(self._logo, MARGIN, y, h=12, keep_aspect_ratio=True)
            y += info.rendered_height + 3
        self._style(13, bold=True)
        y = self._write(MARGIN, y, half - 8, head.sender, height=7) + 0.5
        self._style(8.5, color=_PALE)
        for each in head.address:
            y = self._write(MARGIN, y, half - 8, each, height=4.2)
        self._style(20, bold=True, color=self._accent)
        with self._heading("H1"):
            right = self._write(MARGIN + half, MARGIN - 1.5, half, self._words.title, Align.R, 9.5)
        self._style(11, color=_PALE)
        month = self._statement.month_name(self._language)
        right = self._write(MARGIN + half, right, half, month, Align.R, 6)
        self.set_y(max(y, right, MARGIN + 24) + 8)

    def _band(self) -> None:
        """Draw what is above each page."""
        with self._decoration():
            self.set_fill_color(*self._accent)
            self.rect(0, 0, self.w, 4, style="F")

    def addressee(self) -> None:
        """Write to whom it is, what it is known by, and what it comes to."""
        statement, words = self._statement, self._words
        top = self.get_y()
        half = self.epw / 2
        self._style(8, color=_PALE)
        self._say(MARGIN, top, half, words.to, height=4)
        y = top + 4.5
        if statement.name:
            self._style(11, bold=True)
            y = self._write(MARGIN, y, half - 8, statement.name, height=6)
        self._style(9, color=_PALE)
        bottom = self._write(MARGIN, y, half - 8, statement.recipient)
        left, width = MARGIN + half, half
        facts = (
            (words.statement, statement.id),
            (words.month, statement.month),
            (words.currency, statement.currency),
        )
        y = top
        for name, value in facts:
            self._style(9, color=_PALE)
            self._say(left, y, width * 0.35, name)
            self._style(9)
            y = self._write(left + width * 0.4, y, width * 0.6, value, Align.R) + 0.4
        self.set_y(max(bottom, y, top + 18) + 6)

    def figures(self) -> None:
        """Write the lines, section by section, and the total."""
        statement, words = self._statement, self._words
        columns = self._columns()
        self._titles(columns)
        sections = statement.sections
        for name, lines in sections.items():
            if name:
                self._style(9.5, bold=True)
                height = 5 * len(self._wrapped(name, self.epw))
                self._room(height + 13, columns)
                self._style(9.5, bold=True)
                with self._heading("H2"):
                    y = self._write(MARGIN, self.get_y() + 2.5, self.epw, name)
                self.set_y(y - 1)
            for line in lines:
                self._row(line, columns)
            if len(sections) > 1:
                self._room(9, columns)
                y = self.get_y()
                self._style(9, color=_PALE)
                self._say(MARGIN, y + 1, self.epw / 2, words.subtotal)
                self._style(9, bold=True)
                shown = statement.shown(subtotal(lines))
                self._say(MARGIN + self.epw / 2, y + 1, self.epw / 2, shown, Align.R)
                self.set_y(y + 7)
        self._room(18, None)
        y = self.get_y() + 4
        with self._decoration():
            self.set_fill_color(*self._accent)
            self.rect(MARGIN, y, self.epw, 12, style="F", round_corners=True, corner_radius=1.5)
        self._style(11, bold=True, color=(255, 255, 255))
        self._say(MARGIN + 4, y, self.epw / 3, _total_word(words, statement), height=12)
        self._style(14, bold=True, color=(255, 255, 255))
        shown = statement.shown(statement.total)
        self._say(MARGIN + self.epw / 3, y, self.epw * 2 / 3 - 4, shown, Align.R, 12)

    def foot(self) -> None:
        """Write the foot of every page, now that there is a last one."""
        pages = len(self.pages)
        for page in range(1, pages + 1):
            self.page = page
            self._style(1)  # a page that is gone back to has another font than the last one set
            y = self.h - 16
            with self._decoration():
                self.set_draw_color(*_RULE)
                self.line(MARGIN, y - 2, self.w - MARGIN, y - 2)
                self._style(7.5, color=_PALE)
                width = self.epw * 0.55
                _ = self._write(MARGIN, y, width, self._letterhead.footer, height=3.6)
                told = self._words.page.replace("{page}", str(page)).replace("{pages}", str(pages))
                told = f"{self._statement.id} · {told}"
                left = MARGIN + width + 6
                _ = self._write(left, y, self.epw - width - 6, told, Align.R, 3.6)

    def _columns(self) -> list[_Column]:
        words, lines = self._words, self._statement.lines
        found = [_Column(words.amount, 36, Align.R)]
        if any(line.unit_price is not None for line in lines):
            found.insert(0, _Column(words.unit_price, 32, Align.R))
        if any(line.quantity is not None for line in lines):
            found.insert(0, _Column(words.quantity, 24, Align.R))
        rest = self.epw - sum(each.width for each in found)
        return [_Column(words.description, rest, Align.L), *found]

    def _titles(self, columns: Sequence[_Column]) -> None:
        x, y = MARGIN, self.get_y()
        self._style(8, bold=True, color=self._accent)
        for column in columns:
            self._say(x, y, column.width, column.title, column.align)
            x += column.width
        with self._decoration():
            self.set_draw_color(*self._accent)
            self.set_line_width(0.4)
            self.line(MARGIN, y + 6, self.w - MARGIN, y + 6)
            self.set_line_width(0.2)
        self.set_y(y + 6.5)

    def _row(self, line: StatementLine, columns: Sequence[_Column]) -> None:
        statement = self._statement
        self._style(9.5)
        height = 4.6 * len(self._wrapped(line.label, columns[0].width - 4)) + 2.6
        self._room(height, columns)
        self._style(9.5)
        y = self.get_y()
        quantity, price = line.quantity, line.unit_price
        shown = {
            self._words.quantity: ""
            if quantity is None
            else money.plain(quantity, statement.locale),
            self._words.unit_price: "" if price is None else statement.shown(price),
            self._words.amount: statement.shown(line.amount),
        }
        x = MARGIN + columns[0].width
        _ = self._write(MARGIN, y + 1.3, columns[0].width - 4, line.label, height=4.6)
        for column in columns[1:]:
            self._say(x, y + 1.3, column.width, shown[column.title], Align.R, 4.6)
            x += column.width
        with self._decoration():
            self.set_draw_color(*_RULE)
            self.line(MARGIN, y + height, self.w - MARGIN, y + height)
        self.set_y(y + height)

    def _room(self, height: float, columns: Sequence[_Column] | None) -> None:
        """Begin another page if so much does not fit on this one."""
        if self.get_y() + height <= self.h - FOOT:
            return
        self.add_page()
        self._band()
        self.set_y(MARGIN)
        if columns is not None:
            self._titles(columns)


def _total_word(words: Labels, statement: Statement) -> str:
    return words.negative_total if statement.total < 0 else words.total


def _color(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _content(
    folder: FolderLoader, template: str, named: str | None, what: str, beginnings: tuple[bytes, ...]
) -> bytes | None:
    if named is None:
        return None
    name = f"{template}/{named}"
    try:
        content = folder.content(name, FILE_LIMIT, "too much for every message")
    except NotInFolder:
        raise SettingsError(f"{template}/{CARD} names {named!r}, and it is not there.") from None
    except (ValueError, OSError) as error:
        raise SettingsError(str(error)) from None
    if not content.startswith(beginnings):
        raise SettingsError(f"{name} is no {what}.")
    return content


def _font(folder: FolderLoader, template: str, named: str | None) -> Path | None:
    """Return where a font is: what prints it opens it by its path."""
    if named is None:
        return None
    _ = _content(folder, template, named, FONT, (b"\0\1\0\0", b"true"))
    if not named.endswith(".ttf"):
        raise SettingsError(f"The name of {template}/{named} does not end in .ttf.")
    return folder.root / template / named
