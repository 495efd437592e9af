"""Child processes that leave signals to their parent."""

from __future__ import annotations

import signal
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


def start_child(process: BaseProcess, *more: signal.Signals) -> None:
    """Start a process that ignores Ctrl-C and the signals in `more`: its parent decides what to do.

    A terminal sends Ctrl-C to the whole process group, so the child would be interrupted as well.
    """
    # the resource tracker, when first started by `process.start`, would unblock the signals
    resource_tracker.ensure_running()
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *more})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
