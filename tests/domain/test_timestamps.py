"""Timestamps are read in every form that SES has used, and written in one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.timestamps import (
    DAY,
    HOUR,
    day_name,
    day_number,
    iso,
    month_name,
    month_number,
    parse_timestamp,
)

FEWER = settings(max_examples=500)
"""Parsing is not the place where order and repetition could go wrong."""


def ms(text: str) -> int:
    """Return epoch milliseconds of a time that Python reads, UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "at", "clock"),
    [
        ("2026-09-14T08:15:30.412Z", "2026-09-14T08:15:30.412+00:00", None),
        ("2026-09-14T08:15:30Z", "2026-09-14T08:15:30+00:00", None),
        ("2026-09-14T08:15:30.41Z", "2026-09-14T08:15:30.410+00:00", None),
        ("2026-09-14T08:15:30.4Z", "2026-09-14T08:15:30.400+00:00", None),
        ("2016-01-27T09:59:21.000-05:00", "2016-01-27T14:59:21+00:00", None),
        ("2018-10-08T14:05:45 +0000", "2018-10-08T14:05:45+00:00", None),
        ("2018-10-08T14:05:45 -0130", "2018-10-08T15:35:45+00:00", None),
        ("2016-12-08 18:51:12.092", "2016-12-08T18:51:12.092+00:00", "zoneless"),
        ("2026-09-14T08:15:30", "2026-09-14T08:15:30+00:00", "zoneless"),
        ("2026-09-14T08:15:30.12345Z", "2026-09-14T08:15:30.123+00:00", None),
        ("2026-09-14T08:15:30.123456789Z", "2026-09-14T08:15:30.123+00:00", None),
        ("2026-09-14T08:15:30.999999Z", "2026-09-14T08:15:30.999+00:00", None),
        (" 2026-09-14T08:15:30.412Z\n", "2026-09-14T08:15:30.412+00:00", None),
        ("2026-09-14T08:15Z", "2026-09-14T08:15:00+00:00", None),
        ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00+00:00", None),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999+00:00", None),
    ],
)
def test_instants(text: str, at: str, clock: str | None) -> None:
    """Every form of time that SES has used is read, cut to milliseconds; no zone is UTC, flagged."""
    assert parse_timestamp(text) == (ms(at), clock)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        5,
        1_795_500_000_000,
        True,
        [],
        {},
        "soon",
        "2026-09-14",
        "2026-13-14T08:15:30.412Z",
        "2026-02-30T08:15:30.412Z",
        "2026-09-14T24:00:00.000Z",
        "2026-09-14T08:15:60.000Z",
        "2026-09-14T08:60:00.000Z",
        "2026-09-14T08:15:30.4x2Z",
        "1969-12-31T23:59:59.999Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+05:00",
        "2026-09-14T08:15:30.412Z\ud800",
        "x" * 100_000,
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_no_instants(value: object) -> None:
    """What is no time between 1970 and the year 9999 is None, whatever it is, and raises nothing."""
    assert parse_timestamp(value) is None


@FEWER
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 (hypothesis adds it)
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["milliseconds", "microseconds", "seconds"]),
)
def test_any_instant(moment: datetime, minutes: int, spec: str) -> None:
    """Any time of any zone is read as the millisecond it falls in."""
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = local.isoformat(timespec=spec)
    assert parse_timestamp(text) == (ms(text), None)
    assert parse_timestamp(local.astimezone(UTC).isoformat(timespec=spec)[:-6] + "Z") == (
        ms(text),
        None,
    )


@FEWER
@given(st.integers(0, 253_402_300_799_999))
def test_iso_and_back(millis: int) -> None:
    """A time written is read as itself."""
    assert parse_timestamp(iso(millis)) == (millis, None)


def test_iso() -> None:
    """Times are written with milliseconds and Z; no time is None."""
    assert iso(1_795_500_000_007) == "2026-11-24T06:00:00.007Z"
    assert iso(None) is None


def test_days() -> None:
    """A day number and its name are each other's inverse."""
    assert day_name(20_781) == "2026-11-24"
    assert day_number("2026-11-24") == 20_781
    assert (DAY, HOUR) == (86_400_000, 3_600_000)


@pytest.mark.parametrize("name", ["", "2026-11", "2026-02-30", "24.11.2026", "2026-11-24T00:00"])
def test_no_days(name: str) -> None:
    """What is no day of the calendar raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        day_number(name)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("2026-11", 24_322),
        ("2026-01", 24_312),
        ("2026-12", 24_323),
        ("2026-13", None),
        ("2026-00", None),
        ("2026-1", None),
        ("26-11", None),
        ("2026/11", None),
        ("2026-11-24", None),
        ("", None),
    ],
)
def test_month_numbers(name: str, number: int | None) -> None:
    """A month is YYYY-MM and has a number that leads back to it."""
    assert month_number(name) == number
    assert number is None or month_name(number) == name
