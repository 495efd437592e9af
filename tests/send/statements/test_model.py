"""Statements: figures are exact, add up, and say what is wrong with them without being repeated."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.errors import InvalidRequest
from sesight.send.statements.files import (
    RefusedStatement,
    from_csv,
    from_json,
    from_objects,
)
from sesight.send.statements.model import (
    LINES,
    InvalidStatement,
    LineInput,
    Statement,
    StatementInput,
    StatementLine,
    read_statement,
)
from sesight.send.statements.money import (
    InvalidValue,
    amount,
    decimals_of,
    figure,
    locale_of,
    money,
)

OCTOBER = {
    "id": "PS-1",
    "recipient": "zoe@example.com",
    "name": "Zoë",
    "month": "2026-10",
    "currency": "EUR",
    "locale": "de-DE",
    "lines": [
        {
            "section": "Sales",
            "label": "Mug",
            "quantity": "3",
            "unit_price": "412.5",
            "amount": "1237.50",
        },
        {"section": "Fees", "label": "Card fees", "amount": "-37.51"},
    ],
    "subtotals": {"Sales": "1237.50", "Fees": "-37.51"},
    "total": "1199.99",
}


def with_(**members) -> dict:
    return {**OCTOBER, **members}


def one(value: dict) -> Statement | RefusedStatement:
    [found] = from_objects([value])
    return found


def faults(value: dict) -> list[str]:
    """Return the codes of what is wrong, asserting that no fault may repeat a figure or an address."""
    found = one(value)
    assert isinstance(found, RefusedStatement)
    for fault in found.problems:
        assert fault.sentence.endswith(".")
        assert not any(said in fault.sentence for said in ("1199", "1237", "37.5", "zoe"))
    return [fault.code for fault in found.problems]


def test_a_statement() -> None:
    """A statement that adds up is read whole, every amount with its currency's decimals."""
    assert one(OCTOBER) == Statement(
        id="PS-1",
        recipient="zoe@example.com",
        name="Zoë",
        month="2026-10",
        currency="EUR",
        locale="de-DE",
        lines=(
            StatementLine(
                label="Mug",
                amount=Decimal("1237.50"),
                quantity=Decimal(3),
                unit_price=Decimal("412.5"),
                section="Sales",
            ),
            StatementLine(label="Card fees", amount=Decimal("-37.51"), section="Fees"),
        ),
        total=Decimal("1199.99"),
    )


def test_what_templates_are_told() -> None:
    """Templates get every figure as text, as people of the locale write it."""
    found = one(OCTOBER)
    assert isinstance(found, Statement)
    assert found.context() == {
        "statement": {
            "id": "PS-1",
            "month": "2026-10",
            "month_name": "Oktober 2026",
            "currency": "EUR",
            "total": "1.199,99\xa0€",
            "is_negative": False,
            "count": 2,
            "sections": [
                {
                    "label": "Sales",
                    "subtotal": "1.237,50\xa0€",
                    "lines": [
                        {
                            "label": "Mug",
                            "quantity": "3",
                            "unit_price": "412,50\xa0€",
                            "amount": "1.237,50\xa0€",
                        }
                    ],
                },
                {
                    "label": "Fees",
                    "subtotal": "-37,51\xa0€",
                    "lines": [
                        {
                            "label": "Card fees",
                            "quantity": "",
                            "unit_price": "",
                            "amount": "-37,51\xa0€",
                        }
                    ],
                },
            ],
        }
    }


def test_nothing_in_logs() -> None:
    """A statement shown by accident shows neither figures nor the recipient."""
    found = one(OCTOBER)
    assert isinstance(found, Statement)
    assert repr([found, found.lines]) == "[Statement('PS-1', …), (Line(…), Line(…))]"


@pytest.mark.parametrize(
    ("written", "currency", "expected"),
    [
        ("12.50", "EUR", "12.50"),
        ("12.5", "EUR", "12.50"),
        ("12", "EUR", "12.00"),
        (12, "EUR", "12.00"),
        ("-0.01", "EUR", "-0.01"),
        ("-0.00", "EUR", "0.00"),
        (" 7 ", "EUR", "7.00"),
        ("007.10", "EUR", "7.10"),
        ("1500", "JPY", "1500"),
        ("1.234", "KWD", "1.234"),
        ("999999999999999.99", "USD", "999999999999999.99"),
    ],
)
def test_amounts(written: object, currency: str, expected: str) -> None:
    """An amount is a decimal, digit by digit."""
    assert str(amount(written, currency)) == expected


BAD_AMOUNTS = [
    *(12.5, float("nan"), True, None, [], {}, b"1"),
    *("", " ", "NaN", "nan", "Infinity", "-Infinity", "1e2", "1E-2", "1,50", "1.000,50", "1,000.50"),
    *("12.505", "1.000", "+1", "--1", "- 1", "1-", ".5", "5.", "0x10", "1_000", "€1", "1 000"),
    *("١٢", "１２", "1\0", "9" * 16, "9" * 5_000, 10**15, 10**5_000),
]  # fmt: skip


@pytest.mark.parametrize(
    "written",
    BAD_AMOUNTS,
    ids=lambda written: repr(written)[:20] if isinstance(written, str) else type(written).__name__,
)
def test_what_is_no_amount(written: object) -> None:
    """Floats, exponents, NaN, other digits and separators, and too many decimals are refused."""
    with pytest.raises(InvalidValue) as refused:
        amount(written, "EUR")
    assert str(refused.value).endswith(".")


def test_too_fine_for_the_currency() -> None:
    """No amount has more decimals than its currency."""
    for written, currency in (("0.5", "JPY"), ("0.001", "EUR"), ("0.0001", "KWD")):
        with pytest.raises(InvalidValue, match="decimals"):
            amount(written, currency)


@pytest.mark.parametrize("written", ["12.50", "1250", "0.07", "123456789012345.67"])
def test_numbers_of_a_file(written: str) -> None:
    """A number of a JSON file is the digits that stand there, whatever a float would make of them."""
    text = json.dumps(with_(lines=[{"label": "x", "amount": "N"}], subtotals={}, total="N"))
    [found] = from_json(text.replace('"N"', written).encode())
    assert isinstance(found, Statement)
    assert found.total == Decimal(written)


@pytest.mark.parametrize("written", ["1.5e3", "1E2", "0.001", "1e999", "12.500"])
def test_numbers_of_a_file_refused(written: str) -> None:
    """An exponent, or a decimal too many, is refused in a file's numbers too."""
    text = json.dumps(with_(total="N")).replace('"N"', written)
    [found] = from_json(text.encode())
    assert isinstance(found, RefusedStatement)
    assert found.code == "total"


WRONG = {
    "no id": (with_(id=""), ["id"]),
    "an id that is a number": (with_(id=7), ["id"]),
    "an id that is too long": (with_(id="x" * 65), ["id"]),
    "an id with a line break": (with_(id="a\nb"), ["id"]),
    "no recipient": (with_(recipient=None), ["recipient"]),
    "a name with a NUL": (with_(name="a\0"), ["name"]),
    "no month": (with_(month=None), ["month"]),
    "a month that is none": (with_(month="2026-13"), ["month"]),
    "a month with a day": (with_(month="2026-10-01"), ["month"]),
    "a month in words": (with_(month="October 2026"), ["month"]),
    "no currency": (with_(currency=None), ["currency"]),
    "a currency that is none": (with_(currency="EURO"), ["currency"]),
    "a currency in small letters": (with_(currency="eur"), ["currency"]),
    "no locale": (with_(locale=None), ["locale"]),
    "a locale that is none": (with_(locale="tlh"), ["locale"]),
    "a locale that is a path": (with_(locale="../../etc"), ["locale"]),
    "no lines": (with_(lines=[]), ["lines"]),
    "lines that are no array": (with_(lines="x"), ["lines"]),
    "a line that is no object": (with_(lines=[1, OCTOBER["lines"][0]]), ["lines"]),
    "a line without label": (
        with_(lines=[{"amount": "1.00"}], subtotals={}, total="1.00"),
        ["label"],
    ),
    "a label that is too long": (
        with_(lines=[{"label": "x" * 201, "amount": "1.00"}], subtotals={}, total="1.00"),
        ["label"],
    ),
    "a line without amount": (
        with_(lines=[{"label": "x"}], subtotals={}, total="1.00"),
        ["amount"],
    ),
    "a float": (
        with_(lines=[{"label": "x", "amount": 1.5}], subtotals={}, total="1.50"),
        ["amount"],
    ),
    "no total": ({name: held for name, held in OCTOBER.items() if name != "total"}, ["total"]),
    "a member that is none": (with_(totel="1"), ["member"]),
    "a member of a line that is none": (
        with_(lines=[*OCTOBER["lines"], {"label": "x", "amount": "0", "price": "1"}]),
        ["member"],
    ),
    "subtotals that are no object": (with_(subtotals=[]), ["subtotal"]),
    "a subtotal of nothing": (with_(subtotals={"Other": "1.00"}), ["figures"]),
    "a subtotal that is wrong": (with_(subtotals={"Fees": "-37.50"}), ["figures"]),
    "a total that is wrong": (with_(total="1200.00"), ["figures"]),
    "a product that is wrong": (
        with_(
            lines=[{"label": "x", "quantity": "3", "unit_price": "0.33", "amount": "1.00"}],
            subtotals={},
            total="1.00",
        ),
        ["figures"],
    ),
    "everything at once": (
        with_(total="0", subtotals={"Sales": "1", "Fees": "0"}),
        ["figures", "figures", "figures"],
    ),
}


@pytest.mark.parametrize(("value", "codes"), WRONG.values(), ids=WRONG)
def test_refused(value: dict, codes: list[str]) -> None:
    """What is wrong with a statement is said all at once, without repeating figures."""
    assert faults(value) == codes


def test_fine_figures_are_shown_whole() -> None:
    """A unit price or a quantity finer than a cent is shown with every digit."""
    lines = [{"label": "x", "quantity": "1.23456", "unit_price": "0.12345", "amount": "0.15"}]
    found = one(with_(lines=lines, subtotals={}, total="0.15"))
    assert isinstance(found, Statement)
    [section] = found.context()["statement"]["sections"]
    assert section["lines"] == [
        {
            "label": "x",
            "quantity": "1,23456",
            "unit_price": "0,12345\xa0€",
            "amount": "0,15\xa0€",
        }
    ]


def test_why_no_floats() -> None:
    """Whoever gives a float hears what to write instead."""
    with pytest.raises(InvalidValue, match="is a float, which cannot hold cents: write it as text"):
        amount(12.5, "EUR")


def test_products_are_rounded_either_way() -> None:
    """A product may be rounded to the nearest cent by any rule, and no further."""
    for written, right in (("0.12", True), ("0.13", True), ("0.11", False), ("0.14", False)):
        lines = [{"label": "x", "quantity": "0.5", "unit_price": "0.25", "amount": written}]
        found = one(with_(lines=lines, subtotals={}, total=written))
        assert isinstance(found, Statement) is right


def test_too_many_lines() -> None:
    """A statement has at most so many lines."""
    line = {"label": "x", "amount": "0"}
    assert isinstance(one(with_(lines=[line] * LINES, subtotals={}, total="0")), Statement)
    assert faults(with_(lines=[line] * (LINES + 1), subtotals={}, total="0")) == ["lines"]


def test_the_same_statement_twice() -> None:
    """Of two statements of one id the second is refused."""
    first, second = from_objects([OCTOBER, OCTOBER])
    assert isinstance(first, Statement)
    assert isinstance(second, RefusedStatement)
    assert second.code == "id"


# Laws

CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KWD", "CHF", "HUF"])
LOCALES = st.sampled_from(["en-US", "de-DE", "fr-FR", "de-CH", "pl", "sv-SE", "pt-BR", "en-IN"])
CENTS = st.lists(
    st.tuples(st.integers(-(10**12), 10**12), st.sampled_from(["A", "B", ""])),
    min_size=1,
    max_size=12,
)


def written(cents: int, currency: str) -> str:
    return str(Decimal(cents).scaleb(-decimals_of(currency)))


def made(cents: list[tuple[int, str]], currency: str, off: int = 0) -> Statement:
    sections: dict[str, int] = {}
    for each, section in cents:
        sections[section] = sections.get(section, 0) + each
    return read_statement(
        StatementInput(
            id="PS-1",
            recipient="zoe@example.com",
            month="2026-10",
            currency=currency,
            locale="en-US",
            total=written(sum(each for each, _ in cents) + off, currency),
            subtotals={name: written(each, currency) for name, each in sections.items()},
            lines=[
                LineInput(label="x", amount=written(each, currency), section=section)
                for each, section in cents
            ],
        )
    )


@settings(max_examples=200)
@given(CENTS, CURRENCIES)
def test_no_cent_is_lost(cents: list[tuple[int, str]], currency: str) -> None:
    """Whatever the lines, their exact sum is the total, and is taken."""
    found = made(cents, currency)
    assert found.total == Decimal(sum(each for each, _ in cents)).scaleb(-decimals_of(currency))
    assert sum(line.amount for line in found.lines) == found.total
    assert [line.section for line in found.lines] == [section for _, section in cents]


@settings(max_examples=200)
@given(CENTS, CURRENCIES, st.integers(-(10**9), 10**9).filter(bool))
def test_every_cent_too_many_is_seen(cents: list[tuple[int, str]], currency: str, off: int) -> None:
    """A total that is wrong by any amount is refused."""
    with pytest.raises(InvalidStatement) as refused:
        made(cents, currency, off)
    assert [problem.code for problem in refused.value.problems] == ["figures"]


@settings(max_examples=200)
@given(st.integers(-(10**15) + 1, 10**15 - 1), CURRENCIES, LOCALES)
def test_what_is_written_is_what_it_is(cents: int, currency: str, locale: str) -> None:
    """An amount as people write it has every digit and its sign, however large it is."""
    shown = money(Decimal(written(cents, currency)), currency, locale)
    digits = "".join(each for each in shown if each.isdigit())
    assert digits == str(abs(cents)).zfill(decimals_of(currency) + 1)
    assert any(sign in shown for sign in "-−") is (cents < 0)


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    """Any text is a figure, a locale and a row of a file, or is refused."""
    for read in (lambda: figure(text, 2), lambda: locale_of(text), lambda: amount(text, "EUR")):
        with suppress(InvalidValue):
            read()
    content = f"statement,recipient,label,amount,total\n{text}".encode("utf-8", "ignore")
    with suppress(InvalidRequest):  # a quote that is not closed
        assert all(isinstance(entry, RefusedStatement) for entry in from_csv(content))
