"""The letterhead of statements: what a template's `paper.toml` says about the PDF and the CSV."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

FILE = "paper.toml"


class Labels(Struct, frozen=True, forbid_unknown_fields=True):
    """The words on the statement, for other languages than English."""

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

    def total_of(self, *, is_negative: bool) -> str:
        """Return the word for the total."""
        return self.negative_total if is_negative else self.total


class Letterhead(Struct, frozen=True, forbid_unknown_fields=True):
    """How a statement looks: the contents of `paper.toml`."""

    attach: list[Literal["pdf", "csv"]] = field(default_factory=lambda: ["pdf"])
    """The files attached to the message."""
    sender: str = ""
    """The name at the top left."""
    address: list[str] = field(default_factory=list)
    """The lines below it."""
    footer: str = ""
    """The sentence at the foot of each page."""
    color: Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")] = "#1f4e5f"
    """The color of title, rules and total."""
    size: Literal["A4", "Letter"] = "A4"
    """The size of the pages."""
    logo: str | None = None
    """A PNG or JPEG file in the template's folder."""
    font: str | None = None
    """A TrueType file in the template's folder, for letters that Noto Sans lacks."""
    bold_font: str | None = None
    """The same in bold."""
    words: Labels = Labels()
    """The words on the statement."""
