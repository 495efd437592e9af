"""Statements: one recipient's figures of one month. They add up, or they are not sent."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct, field

from sesight.send.statements import money
from sesight.send.statements.money import InvalidValue

LINES = 1_000
"""The largest number of lines of a statement."""

TEXT_LIMIT = 200
"""The largest number of characters of a label or a name."""

RECIPIENT_LIMIT = 1_000
"""The largest number of characters of a recipient. Whether it is an address is checked on sending."""

ID_LIMIT = 64
"""The largest number of characters of a statement's id."""


class StatementLine(Struct, frozen=True, kw_only=True):
    """One item. If it has a quantity and a unit price, the amount is their product, rounded."""

    label: str
    amount: Decimal
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    section: str = ""

    def __repr__(self) -> str:
        """Return no figure: the text of an object may end up in a log."""
        return "Line(…)"


class Statement(Struct, frozen=True, kw_only=True):
    """One recipient's figures of one month (YYYY-MM), in one currency (ISO 4217), to be written as in
    `locale`. `read_statement` makes it and checks that it adds up.
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
        """Return the lines by section, in the order in which the sections begin."""
        sections: dict[str, list[StatementLine]] = {}
        for line in self.lines:
            sections.setdefault(line.section, []).append(line)
        return {name: tuple(lines) for name, lines in sections.items()}

    def shown(self, value: Decimal) -> str:
        """Return an amount as the recipient's locale writes it."""
        return money.money(value, self.currency, self.locale)

    def month_name(self, language: str | None) -> str:
        """Return the month in words, in a language or, by default, in that of the recipient's locale."""
        return money.month_name(self.month, language or self.locale)

    def context(self, language: str | None = None) -> dict[str, Any]:
        """Return the variables of a template in a language: `statement`, with every figure as text."""
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
                        "lines": [self._line(line) for line in lines],
                    }
                    for name, lines in self.sections.items()
                ],
            }
        }

    def _line(self, line: StatementLine) -> dict[str, str]:
        price, quantity = line.unit_price, line.quantity
        return {
            "label": line.label,
            "quantity": "" if quantity is None else money.plain(quantity, self.locale),
            "unit_price": "" if price is None else self.shown(price),
            "amount": self.shown(line.amount),
        }


class StatementProblem(Struct, frozen=True, kw_only=True):
    """What is wrong with a statement. The sentence has no figure and no address, so it may be stored.
    `line` is the line of a file, from 1.
    """

    code: str
    sentence: str
    line: int | None = None


class InvalidStatement(Exception):
    """A statement with problems: all of them, at least one."""

    def __init__(self, problems: Sequence[StatementProblem]) -> None:
        super().__init__(problems[0].sentence)
        self.problems = tuple(problems)


class LineInput(Struct, frozen=True, kw_only=True):
    """A line before it is checked. `line` is its line in a file."""

    label: object
    amount: object
    quantity: object = None
    unit_price: object = None
    section: object = None
    line: int | None = None


class StatementInput(Struct, frozen=True, kw_only=True):
    """A statement before it is checked. `subtotals` are by section; `line` is its first line in a file."""

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


def read_statement(values: StatementInput) -> Statement:
    """Return a statement that is valid and adds up. Raises InvalidStatement with all its problems."""
    reader = _FieldReader(values.line)
    read = reader.read
    id_ = read("id", lambda value: words(value, ID_LIMIT), values.id)
    recipient = read("recipient", lambda value: words(value, RECIPIENT_LIMIT), values.recipient)
    name = read("name", _optional, values.name)
    month = read("month", money.month_of, values.month)
    locale = read("locale", money.locale_of, values.locale)
    currency = read("currency", money.currency_of, values.currency)
    if not values.lines:
        reader.report("lines", "The statement has no lines.")
    if len(values.lines) > LINES:
        reader.report("lines", f"The statement has more than {LINES:,} lines.")
    if currency is None or reader.problems:
        raise InvalidStatement(reader.problems)
    lines = [_read_line(reader, line, currency) for line in values.lines]
    total = read("total", lambda value: money.amount(value, currency), values.total)
    subtotals = {
        unicodedata.normalize("NFC", section.strip()): read(
            "subtotal", lambda value: money.amount(value, currency), value
        )
        for section, value in values.subtotals.items()
    }
    if reader.problems or not (id_ and recipient and month and locale) or total is None:
        raise InvalidStatement(reader.problems)
    statement = Statement(
        id=id_,
        recipient=recipient,
        name=name,
        month=month,
        currency=currency,
        locale=locale,
        lines=tuple(line for line in lines if line is not None),
        total=total,
    )
    _add_up(
        reader,
        statement,
        {section: value for section, value in subtotals.items() if value is not None},
    )
    if reader.problems:
        raise InvalidStatement(reader.problems)
    return statement


def subtotal(lines: Sequence[StatementLine]) -> Decimal:
    """Return the sum of the amounts of lines."""
    return sum((line.amount for line in lines), Decimal())


_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, lone surrogates, line and paragraph separators."""


def words(value: object, limit: int = TEXT_LIMIT) -> str:
    """Read a short text on one line. Raises InvalidValue."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue("is empty.")
    text = unicodedata.normalize("NFC", value.strip())
    if len(text) > limit:
        raise InvalidValue(f"is longer than {limit} characters.")
    if any(unicodedata.category(letter) in _CONTROLS for letter in text):
        raise InvalidValue("has a line break or another control character in it.")
    return text


def _optional(value: object) -> str | None:
    return None if value is None or value == "" else words(value)


Read = TypeVar("Read")


class _FieldReader:
    """Reads one statement field by field and collects its problems."""

    def __init__(self, line: int | None) -> None:
        self.problems: list[StatementProblem] = []
        self._line = line

    def report(self, code: str, sentence: str, line: int | None = None) -> None:
        line = self._line if line is None else line
        self.problems.append(StatementProblem(code=code, sentence=sentence, line=line))

    def read(
        self, name: str, parse: Callable[[object], Read], value: object, line: int | None = None
    ) -> Read | None:
        """Return a parsed field; report an invalid one and return None."""
        try:
            return parse(value)
        except InvalidValue as error:
            self.report(name.replace(" ", "-"), f"The {name} {error}", line)
            return None


def _read_line(reader: _FieldReader, values: LineInput, currency: str) -> StatementLine | None:
    def read(name: str, parse: Callable[[object], Read], value: object) -> Read | None:
        return reader.read(name, parse, value, values.line)

    def fine(value: object) -> Decimal | None:
        return None if value is None or value == "" else money.figure(value, money.FINE)

    label = read("label", words, values.label)
    amount = read("amount", lambda value: money.amount(value, currency), values.amount)
    section = read("section", _optional, values.section)
    quantity = read("quantity", fine, values.quantity)
    price = read("unit price", fine, values.unit_price)
    if label is None or amount is None:
        return None
    if quantity is not None and price is not None:
        difference = amount - quantity * price
        if abs(difference) * 2 > money.cent(currency):  # any rounding to the nearest cent is right
            reader.report(
                "figures",
                "The amount of a line is not its quantity times its unit price.",
                values.line,
            )
    return StatementLine(
        label=label, amount=amount, quantity=quantity, unit_price=price, section=section or ""
    )


def _add_up(reader: _FieldReader, statement: Statement, subtotals: Mapping[str, Decimal]) -> None:
    """Report each subtotal, and the total, that is not the sum of its lines."""
    sections = statement.sections
    for n, (section, claimed) in enumerate(subtotals.items(), 1):
        if section not in sections:
            reader.report("figures", f"Subtotal {n} is of a section that has no lines.")
        elif claimed != subtotal(sections[section]):
            reader.report("figures", f"Subtotal {n} is not the sum of its section's lines.")
    if statement.total != subtotal(statement.lines):
        reader.report("figures", "The total is not the sum of the lines.")
