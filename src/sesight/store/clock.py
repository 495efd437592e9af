"""The clock of a store that is opened without one."""

from __future__ import annotations

import time


def wall_clock() -> int:
    """Return now, epoch milliseconds UTC."""
    return time.time_ns() // 1_000_000
