"""Renders statements as attachments: as PDF, and as CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from contextlib import closing
from pathlib import Path

import msgspec

from sesight.domain.errors import SettingsError
from sesight.domain.text import spreadsheet_text
from sesight.send.message import Attachment
from sesight.send.statements.letterhead import FILE, Letterhead
from sesight.send.statements.model import Statement
from sesight.send.statements.pdf import StatementPdf
from sesight.send.templates.sandbox import FolderLoader, NotInFolder

FILE_LIMIT = 5_000_000
"""The largest number of bytes of an image or a font."""

FONTS = Path(__file__).parent / "fonts"
"""Noto Sans with Latin, Greek and Cyrillic letters (fonts/README.md)."""


class StatementRenderer:
    """Renders statements under the letterhead of one template. Safe to use from any thread."""

    def __init__(self, loader: FolderLoader, template: str) -> None:
        """Read a template's `paper.toml` and the files that it names, all in the template's folder.

        Raises SettingsError.
        """
        self._loader = loader
        self._template = template
        name = f"{template}/{FILE}"
        try:
            self.letterhead = msgspec.toml.decode(loader.read(name), type=Letterhead)
        except NotInFolder:
            self.letterhead = Letterhead()
        except msgspec.DecodeError as error:
            raise SettingsError(f"{name} is wrong: {error}.") from None
        except (ValueError, OSError) as error:
            raise SettingsError(str(error)) from None
        logo = self.letterhead.logo
        self._logo = None
        if logo is not None:
            self._logo = self._content(logo, "PNG or JPEG image", (b"\x89PNG", b"\xff\xd8\xff"))
        regular = self._font(self.letterhead.font)
        bold = self._font(self.letterhead.bold_font)
        self._fonts = (
            regular or FONTS / "NotoSans-Regular.ttf",
            bold or regular or FONTS / "NotoSans-Bold.ttf",
        )

    def attachments(
        self, statement: Statement, language: str | None = None
    ) -> tuple[Attachment, ...]:
        """Return the files to attach to a statement's message. Raises Unsendable as `pdf` does."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"statement-{statement.month}-{statement.id}")
        return tuple(
            Attachment(f"{name.strip('-.')}.pdf", "application/pdf", self.pdf(statement, language))
            if kind == "pdf"
            else Attachment(f"{name.strip('-.')}.csv", "text/csv", self.csv(statement))
            for kind in self.letterhead.attach
        )

    def pdf(self, statement: Statement, language: str | None = None) -> bytes:
        """Return a statement as PDF: the same bytes for the same statement. `language` is that of the
        words on it and of the month's name, None: that of the recipient's locale.

        Raises Unsendable for letters that the font lacks.
        """
        with closing(
            StatementPdf(statement, language, self.letterhead, self._logo, self._fonts)
        ) as pdf:
            pdf.write_statement()
            return bytes(pdf.output())

    def csv(self, statement: Statement) -> bytes:
        """Return a statement as CSV (RFC 4180; UTF-8 with a byte order mark, which spreadsheets expect).
        Numbers have a decimal point and no thousands separator; text cannot be taken for a formula.
        """
        labels = self.letterhead.words
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(
            [
                *(labels.section, labels.description, labels.quantity, labels.unit_price),
                *(labels.amount, labels.currency),
            ]
        )
        for line in statement.lines:
            numbers = (line.quantity, line.unit_price, line.amount)
            cells = ["" if number is None else f"{number:f}" for number in numbers]
            text = [spreadsheet_text(line.section), spreadsheet_text(line.label)]
            writer.writerow([*text, *cells, statement.currency])
        label = spreadsheet_text(labels.total_of(is_negative=statement.total < 0))
        writer.writerow(["", label, "", "", f"{statement.total:f}", statement.currency])
        return b"\xef\xbb\xbf" + file.getvalue().encode()

    def _content(self, file: str, kind: str, beginnings: tuple[bytes, ...]) -> bytes:
        name = f"{self._template}/{file}"
        try:
            content = self._loader.content(name, FILE_LIMIT, "too much for every message")
        except NotInFolder:
            raise SettingsError(
                f"{self._template}/{FILE} names {file!r}, which is not in the template's folder."
            ) from None
        except (ValueError, OSError) as error:
            raise SettingsError(str(error)) from None
        if not content.startswith(beginnings):
            raise SettingsError(f"{name} is no {kind}.")
        return content

    def _font(self, file: str | None) -> Path | None:
        """Return the path of a font: the PDF library opens fonts by their paths."""
        if file is None:
            return None
        _ = self._content(file, "TrueType font", (b"\0\1\0\0", b"true"))
        if not file.endswith(".ttf"):
            raise SettingsError(f"The name of {self._template}/{file} does not end in .ttf.")
        return self._loader.root / self._template / file
