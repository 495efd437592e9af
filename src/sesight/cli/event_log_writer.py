"""Writes the SES_EVENT_PROCESSED lines to standard output without ever delaying intake."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE_BYTES = 8 << 20
"""Bytes that may wait to be written, about 20,000 lines; further lines are dropped."""

STOP_SECONDS = 2.0
"""Time in which the last lines are written when the process ends."""


class EventLogWriter:
    """Writes lines to a file descriptor in its own thread, so that a stalled reader, a full disk or a
    closed pipe never blocks the caller. Lines that do not fit in the queue or cannot be written are
    dropped and counted; writing resumes as soon as it is possible.
    """

    def __init__(self, output: int, queue_bytes: int = QUEUE_BYTES) -> None:
        # the descriptor, not sys.stdout: Python's buffer cannot be closed while a write blocks
        self._output = output
        self._queue_bytes = queue_bytes
        self._lines: list[bytes] = []
        self._size = 0
        self._changed = threading.Condition()
        self._is_stopping = False
        self._is_line_open = False
        self._is_error_reported = False
        self._on_dropped: Callable[[int], object]
        # a daemon, since nothing can end a write to a pipe that nobody reads
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)

    def start(self, on_dropped: Callable[[int], object]) -> None:
        """Start the thread. `on_dropped` is called, in any thread, with the number of lines lost."""
        self._on_dropped = on_dropped
        self._thread.start()

    def stop(self) -> None:
        """Write the queued lines, for at most `STOP_SECONDS`."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(STOP_SECONDS)

    def __call__(self, lines: bytes) -> None:
        """Queue whole lines. Never blocks."""
        with self._changed:
            if self._size + len(lines) <= self._queue_bytes:
                self._lines.append(lines)
                self._size += len(lines)
                self._changed.notify()
                return
        self._on_dropped(lines.count(b"\n"))

    def _run(self) -> None:
        while lines := self._next():
            self._write(lines)
            with self._changed:
                self._size -= len(lines)

    def _next(self) -> bytes:
        """Wait for lines and return all that are queued; nothing once the writer is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_stopping)
            lines, self._lines = b"".join(self._lines), []
        return lines

    def _write(self, lines: bytes) -> None:
        # a write that failed half-way leaves part of a line: the next one begins on a line of its own
        data = b"\n" + lines if self._is_line_open else lines
        written = 0
        try:
            while written < len(data):
                written += os.write(self._output, data[written:])
        except OSError as error:
            self._on_dropped(data.count(b"\n", max(written, len(data) - len(lines))))
            self._report(error)
        if written:
            self._is_line_open = not data.endswith(b"\n", 0, written)

    def _report(self, error: OSError) -> None:
        if not self._is_error_reported:
            self._is_error_reported = True
            with suppress(OSError):
                print(
                    f"Event lines cannot be written ({error.strerror}). Events are still processed.",
                    file=sys.stderr,
                )
