"""Back-off between retries: the ceiling doubles, jitter spreads clients, the deadline ends it."""

from __future__ import annotations

from itertools import islice

from sesight.domain.backoff import backoff


def test_ceiling_doubles():
    """The longest possible pause doubles with each retry and stops at the limit."""
    assert list(islice(backoff(0.5, 3.0, lambda: 1.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_full_jitter():
    """A pause is the drawn share of its ceiling."""
    draws = iter([0.0, 0.5, 0.25])

    assert list(islice(backoff(1.0, 60.0, lambda: next(draws)), 3)) == [0.0, 1.0, 1.0]


def test_deadline():
    """The retries end where the next pause would be longer than the time that remains."""
    left = iter([10.0, 9.0, 3.5])

    assert list(backoff(1.0, 60.0, lambda: 1.0, lambda: next(left))) == [1.0, 2.0]
