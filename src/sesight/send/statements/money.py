"""Amounts of money: read as decimals and never as floats, written as people of a locale write them."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton
from babel.numbers import (
    format_currency,
    format_decimal,
    get_currency_precision,
    list_currencies,
)

DIGITS = 15
"""Digits before the decimal point at most."""

FINE = 6
"""Decimals of a quantity or a unit price at most."""

_NUMBER = re.compile(rf"-?[0-9]{{1,{DIGITS}}}(?:\.([0-9]+))?")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class InvalidValue(ValueError):
    """Something that cannot be read; the text says why after "The amount …" and does not repeat it."""


class Number(str):
    """A number as a JSON file has it: its digits, before anything rounds them."""

    __slots__ = ()


def figure(value: object, decimals: int) -> Decimal:
    """Read a figure: text, a whole number, or a number as written in a file.

    Raises InvalidValue for floats, exponents, thousands separators, NaN and too many decimals.
    """
    if isinstance(value, float):
        raise InvalidValue('is a float, which cannot hold cents: write it as text, "12.50".')
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidValue('is no figure: write it as text, "12.50".')
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        raise InvalidValue(f"has more than {DIGITS} digits.")
    text = str(value).strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        if not text:
            raise InvalidValue("is empty.")
        raise InvalidValue(
            f"is no figure such as 1234.50: digits ({DIGITS} at most), a point and digits, with - "
            "before it where it is negative; nothing between thousands, no exponent."
        )
    if len(found[1] or "") > decimals:
        raise InvalidValue(f"has more than {decimals} decimals.")
    number = Decimal(text)
    return number or abs(number)


def amount(value: object, currency: str) -> Decimal:
    """Read an amount of a currency, with all of that one's decimals. Raises InvalidValue as `figure`."""
    return figure(value, decimals_of(currency)).quantize(cent(currency))


def cent(currency: str) -> Decimal:
    """Return the smallest amount of a currency."""
    return Decimal(1).scaleb(-decimals_of(currency))


@cache
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def currency_of(value: object) -> str:
    """Read a currency's code (ISO 4217). Raises InvalidValue."""
    if not isinstance(value, str) or value not in _currencies():
        raise InvalidValue("is no currency of ISO 4217, such as EUR.")
    return value


@cache
def decimals_of(currency: str) -> int:
    """Return how many decimals amounts of a currency have (CLDR)."""
    return get_currency_precision(currency)


def locale_of(value: object) -> str:
    """Read a locale, `de-DE` or `de_DE`; return it with hyphens. Raises InvalidValue."""
    if isinstance(value, str) and _LOCALE.fullmatch(value):
        try:
            found = _locale(value.replace("_", "-"))
        except (UnknownLocaleError, ValueError):
            pass
        else:
            return str(found).replace("_", "-")
    raise InvalidValue("is no locale, such as en-GB or de-DE.")


@cache
def _locale(name: str) -> Locale:
    return Locale.parse(name, sep="-")


def month_of(value: object) -> str:
    """Read a month, YYYY-MM. Raises InvalidValue."""
    if not isinstance(value, str) or not _MONTH.fullmatch(value) or value < "1900":
        raise InvalidValue("is no month such as 2026-10.")
    return value


def first_of(month: str) -> date:
    """Return the first day of a month."""
    return date.fromisoformat(f"{month}-01")


def month_name(month: str, locale: str) -> str:
    """Return a month as people write it: October 2026."""
    return str(format_skeleton("yMMMM", first_of(month), locale=_locale(locale)))


def money(value: Decimal, currency: str, locale: str) -> str:
    """Return an amount as people write it. No digit is rounded away."""
    return format_currency(value, currency, locale=_locale(locale), decimal_quantization=False)


def plain(value: Decimal, locale: str) -> str:
    """Return a number as people write it. No digit is rounded away."""
    return format_decimal(value, locale=_locale(locale), decimal_quantization=False)
