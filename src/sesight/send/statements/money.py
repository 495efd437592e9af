"""Amounts of money: read as decimals, never as floats; written as in the recipient's locale."""

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
"""The largest number of digits before the decimal point."""

FINE = 6
"""The largest number of decimals of a quantity or a unit price."""

_NUMBER = re.compile(rf"-?[0-9]{{1,{DIGITS}}}(?:\.([0-9]+))?")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class InvalidValue(ValueError):
    """A value that cannot be read. The text continues "The amount …" and does not repeat the value."""


class Number(str):
    """A number as written in a JSON file: its digits, before anything rounds them."""

    __slots__ = ()


def figure(value: object, decimals: int) -> Decimal:
    """Read a decimal number from a text, an integer, or a `Number`.

    Raises InvalidValue for floats, exponents, thousands separators, NaN and too many decimals.
    """
    if isinstance(value, float):
        raise InvalidValue('is a float, which cannot hold cents: write it as text, "12.50".')
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidValue('is no number: write it as text, "12.50".')
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        raise InvalidValue(f"has more than {DIGITS} digits.")
    text = str(value).strip()
    match = _NUMBER.fullmatch(text)
    if match is None:
        if not text:
            raise InvalidValue("is empty.")
        raise InvalidValue(
            f"is no number such as 1234.50: at most {DIGITS} digits, a point and digits, with - before a "
            "negative one; no thousands separators, no exponent."
        )
    if len(match[1] or "") > decimals:
        raise InvalidValue(f"has more than {decimals} decimals.")
    number = Decimal(text)
    return number or abs(number)


def amount(value: object, currency: str) -> Decimal:
    """Read an amount with all decimals of its currency. Raises InvalidValue as `figure` does."""
    return figure(value, decimals_of(currency)).quantize(cent(currency))


def cent(currency: str) -> Decimal:
    """Return the smallest unit of a currency: 0.01 for EUR."""
    return Decimal(1).scaleb(-decimals_of(currency))


@cache
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def currency_of(value: object) -> str:
    """Read a currency code (ISO 4217). Raises InvalidValue."""
    if not isinstance(value, str) or value not in _currencies():
        raise InvalidValue("is no currency code of ISO 4217, such as EUR.")
    return value


@cache
def decimals_of(currency: str) -> int:
    """Return the number of decimals of a currency's amounts (CLDR)."""
    return get_currency_precision(currency)


def locale_of(value: object) -> str:
    """Read a locale, `de-DE` or `de_DE`; return it with a hyphen. Raises InvalidValue."""
    if isinstance(value, str) and _LOCALE.fullmatch(value):
        try:
            locale = _locale(value.replace("_", "-"))
        except (UnknownLocaleError, ValueError):
            pass
        else:
            return str(locale).replace("_", "-")
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
    """Return a month in words: October 2026."""
    return str(format_skeleton("yMMMM", first_of(month), locale=_locale(locale)))


def money(value: Decimal, currency: str, locale: str) -> str:
    """Return an amount as a locale writes it, with all its digits."""
    return format_currency(value, currency, locale=_locale(locale), decimal_quantization=False)


def plain(value: Decimal, locale: str) -> str:
    """Return a number as a locale writes it, with all its digits."""
    return format_decimal(value, locale=_locale(locale), decimal_quantization=False)
