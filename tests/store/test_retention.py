"""When records expire."""

from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.timestamps import DAY
from sesight.store.retention import RetentionSetting, expires_at, live_from

histories = st.lists(
    st.builds(RetentionSetting, st.integers(0, 300), st.sampled_from([0, 1, 7, 30, 90, 400])),
    min_size=1,
    max_size=5,
).map(lambda settings: sorted(settings, key=lambda one: one.from_day))


def test_one_setting() -> None:
    """A day expires at 00:00 UTC after as many days; with 0 it never does."""
    assert expires_at([RetentionSetting(100, 90)], 50) == (50 + 91) * DAY
    assert expires_at([RetentionSetting(100, 0)], 50) is None


def test_changes() -> None:
    """A shorter retention applies to everything, a longer one to mail sent after the change."""
    settings = [RetentionSetting(0, 90), RetentionSetting(100, 30), RetentionSetting(200, 60)]
    assert [expires_at(settings, day) for day in (50, 100, 200, 201)] == [
        (50 + 31) * DAY,
        (100 + 31) * DAY,
        (200 + 31) * DAY,
        (201 + 61) * DAY,
    ]


@given(histories, st.integers(0, 500))
def test_later_days_expire_later(settings: list[RetentionSetting], day: int) -> None:
    """No day expires before an earlier one."""
    first, second = expires_at(settings, day), expires_at(settings, day + 1)
    assert second is None or (first is not None and first < second)


@given(histories, st.integers(0, 600 * DAY))
def test_live_from(settings: list[RetentionSetting], now: int) -> None:
    """Exactly the days before the first live one are expired."""
    first = live_from(settings, now)

    def is_expired(day: int) -> bool:
        at = expires_at(settings, day)
        return at is not None and at <= now

    days = [*range(0, 700, 97), *range(max(first - 2, 0), first + 3)]
    assert [is_expired(day) for day in days] == [day < first for day in days]
