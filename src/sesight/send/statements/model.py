"""Statements: the figures one recipient is told of one month. They add up, or they are not sent."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct, field

from sesight.send.statements import money
from sesight.send.statements.money import InvalidValue

LINES = 1_000
"""Lines of a statement at most."""

LONG = 200
"""Characters of a label or a name at most."""

ADDRESS_LONG = 1_000
"""Characters of a recipient at most: whether it is an address is seen when it is sent to."""

ID_LONG = 64
"""Characters of a statement's id at most."""


class StatementLine(Struct, frozen=True, kw_only=True):
    """One item. Where there are quantity and unit price, the amount is their product, rounded."""

    label: str
    amount: Decimal
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    section: str = ""

    def __repr__(self) -> str:
        """Return no figure: what is shown of an object may end in a log."""
        return "Line(…)"


class Statement(Struct, frozen=True, kw_only=True):
    """What one recipient is told of one month (YYYY-MM), in one currency (ISO 4217) and as people of
    `locale` write it. It is made by `statement`, which sees that it adds up.
    """

    id: str
    recipient: str
    name: str | None
    month: str
    currency: str
    locale: str
    lines: tuple[StatementLine, ...]
    total: Decimal

    def __repr__(self) -> str:
        """Return no figure and no address."""
        return f"Statement({self.id!r}, …)"

    @property
    def sections(self) -> dict[str, tuple[StatementLine, ...]]:
        """Return the lines by section, in the order in which sections begin."""
        found: dict[str, list[StatementLine]] = {}
        for line in self.lines:
            found.setdefault(line.section, []).append(line)
        return {name: tuple(lines) for name, lines in found.items()}

    def shown(self, value: Decimal) -> str:
        """Return an amount as the recipient writes it."""
        return money.money(value, self.currency, self.locale)

    def month_name(self, language: str | None) -> str:
        """Return the month in words of the language around it, or of the recipient's locale."""
        return money.month_name(self.month, language or self.locale)

    def context(self, language: str | None = None) -> dict[str, Any]:
        """Return what a template in a language is told: `statement`, in which every figure is text."""
        return {
            "statement": {
                "id": self.id,
                "month": self.month,
                "month_name": self.month_name(language),
                "currency": self.currency,
                "total": self.shown(self.total),
                "is_negative": self.total < 0,
                "count": len(self.lines),
                "sections": [
                    {
                        "label": name,
                        "subtotal": self.shown(subtotal(lines)),
                        "lines": [self._told(line) for line in lines],
                    }
                    for name, lines in self.sections.items()
                ],
            }
        }

    def _told(self, line: StatementLine) -> dict[str, str]:
        price, quantity = line.unit_price, line.quantity
        return {
            "label": line.label,
            "quantity": "" if quantity is None else money.plain(quantity, self.locale),
            "unit_price": "" if price is None else self.shown(price),
            "amount": self.shown(line.amount),
        }


class StatementProblem(Struct, frozen=True, kw_only=True):
    """What is wrong with a statement. `sentence` may be stored: it has no figure in it; `by` is the
    difference where figures do not add up, for whoever asked and for nobody else. `line` is the line
    of a file, from 1.
    """

    code: str
    sentence: str
    by: str | None = None
    line: int | None = None

    @property
    def told(self) -> str:
        """Return all that is wrong, for whoever asked."""
        where = f"Line {self.line}: " if self.line is not None else ""
        by = f" The difference is {self.by}." if self.by is not None else ""
        return f"{where}{self.sentence}{by}"


class InvalidStatement(Exception):
    """A statement that is refused, with everything that is wrong with it."""

    def __init__(self, faults: Sequence[StatementProblem]) -> None:
        """Keep the faults, at least one."""
        super().__init__(faults[0].sentence)
        self.faults = tuple(faults)


class LineInput(Struct, frozen=True, kw_only=True):
    """A line as it was given. `line` is its line in a file."""

    label: object
    amount: object
    quantity: object = None
    unit_price: object = None
    section: object = None
    line: int | None = None


class StatementInput(Struct, frozen=True, kw_only=True):
    """A statement as it was given; `subtotals` are by section."""

    id: object
    recipient: object
    month: object
    currency: object
    locale: object
    total: object
    name: object = None
    lines: Sequence[LineInput] = ()
    subtotals: Mapping[str, object] = field(default_factory=dict)
    line: int | None = None


def statement(given: StatementInput) -> Statement:
    """Return a statement of which everything is right. Raises InvalidStatement with everything that is not."""
    reader = _FieldReader(given.line)
    read = reader.read
    key = read("id", lambda value: words(value, ID_LONG), given.id)
    recipient = read("recipient", lambda value: words(value, ADDRESS_LONG), given.recipient)
    name = read("name", _optional, given.name)
    month = read("month", money.month_of, given.month)
    locale = read("locale", money.locale_of, given.locale)
    currency = read("currency", money.currency_of, given.currency)
    if not given.lines:
        reader.fault("lines", "The statement has no lines.")
    if len(given.lines) > LINES:
        reader.fault("lines", f"The statement has more than {LINES:,} lines.")
    if currency is None or reader.faults:
        raise InvalidStatement(reader.faults)
    lines = [_line(reader, each, currency) for each in given.lines]
    total = read("total", lambda value: money.amount(value, currency), given.total)
    subtotals = {
        unicodedata.normalize("NFC", section.strip()): read(
            "subtotal", lambda value: money.amount(value, currency), value
        )
        for section, value in given.subtotals.items()
    }
    if reader.faults or not (key and recipient and month and locale) or total is None:
        raise InvalidStatement(reader.faults)
    whole = Statement(
        id=key,
        recipient=recipient,
        name=name,
        month=month,
        currency=currency,
        locale=locale,
        lines=tuple(line for line in lines if line is not None),
        total=total,
    )
    _add_up(reader, whole, {key: held for key, held in subtotals.items() if held is not None})
    if reader.faults:
        raise InvalidStatement(reader.faults)
    return whole


def subtotal(lines: Sequence[StatementLine]) -> Decimal:
    """Return what lines come to."""
    return sum((line.amount for line in lines), Decimal())


def words(value: object, most: int = LONG) -> str:
    """Read a short text on one line. Raises InvalidValue."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue("is empty.")
    text = unicodedata.normalize("NFC", value.strip())
    if len(text) > most:
        raise InvalidValue(f"is longer than {most} characters.")
    if any(unicodedata.category(each) in _CONTROLS for each in text):
        raise InvalidValue("has a line break or another control character in it.")
    return text


_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _optional(value: object) -> str | None:
    return None if value is None or value == "" else words(value)


Read = TypeVar("Read")


class _FieldReader:
    """Reads field by field and collects what is wrong."""

    def __init__(self, line: int | None) -> None:
        self.faults: list[StatementProblem] = []
        self._line = line

    def fault(
        self, code: str, sentence: str, *, by: str | None = None, line: int | None = None
    ) -> None:
        line = self._line if line is None else line
        self.faults.append(StatementProblem(code=code, sentence=sentence, by=by, line=line))

    def read(
        self, name: str, how: Callable[[object], Read], value: object, line: int | None = None
    ) -> Read | None:
        """Return what is read, None for what is wrong."""
        try:
            return how(value)
        except InvalidValue as error:
            self.fault(name.replace(" ", "-"), f"The {name} {error}", line=line)
            return None


def _line(reader: _FieldReader, given: LineInput, currency: str) -> StatementLine | None:
    at = given.line

    def read(name: str, how: Callable[[object], Read], value: object) -> Read | None:
        return reader.read(name, how, value, at)

    def fine(value: object) -> Decimal | None:
        return None if value is None or value == "" else money.figure(value, money.FINE)

    label = read("label", words, given.label)
    amount = read("amount", lambda value: money.amount(value, currency), given.amount)
    section = read("section", _optional, given.section)
    quantity = read("quantity", fine, given.quantity)
    price = read("unit price", fine, given.unit_price)
    if label is None or amount is None:
        return None
    if quantity is not None and price is not None:
        by = amount - quantity * price
        if abs(by) * 2 > money.cent(currency):  # any rounding to the nearest cent is right
            reader.fault(
                "figures",
                "The amount of a line is not its quantity times its unit price.",
                by=f"{by.normalize():f} {currency}",
                line=at,
            )
    return StatementLine(
        label=label, amount=amount, quantity=quantity, unit_price=price, section=section or ""
    )


def _add_up(reader: _FieldReader, whole: Statement, subtotals: Mapping[str, Decimal]) -> None:
    sections = whole.sections
    for n, (section, claimed) in enumerate(subtotals.items(), 1):
        if section not in sections:
            reader.fault("figures", f"Subtotal {n} is of a section that has no lines.")
            continue
        by = claimed - subtotal(sections[section])
        if by:
            reader.fault(
                "figures",
                f"Subtotal {n} is not the sum of its section's lines.",
                by=f"{by} {whole.currency}",
            )
    by = whole.total - subtotal(whole.lines)
    if by:
        reader.fault(
            "figures", "The total is not the sum of the lines.", by=f"{by} {whole.currency}"
        )
