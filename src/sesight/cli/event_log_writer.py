"""EventLogWriter of processed events on standard output, whether somebody reads them or not."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 8 << 20
"""Bytes that may wait to be written, some 20,000 lines; what comes beyond is dropped."""

END_SECONDS = 2.0
"""Time for the last lines to be written at the end."""


class EventLogWriter:
    """Writes lines to a file descriptor in a thread of its own: a reader that stalls, a full disk or a
    closed pipe holds nobody up. EventLogWriter that cannot be kept waiting or written are dropped and counted;
    writing goes on as soon as it can.
    """

    def __init__(self, output: int, waiting: int = WAITING) -> None:
        """Keep where to write: past Python's buffer, which cannot be closed while a write waits."""
        self._output = output
        self._most = waiting
        self._lines: list[bytes] = []
        self._size = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._torn = False
        self._told = False
        self._dropped: Callable[[int], object]
        # a daemon: nothing ends a write that nobody reads
        self._thread = threading.Thread(target=self._write_all, name="lines", daemon=True)

    def start(self, dropped: Callable[[int], object]) -> None:
        """Start the thread; `dropped` hears how many lines are lost, in any thread."""
        self._dropped = dropped
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, unless that takes too long."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(END_SECONDS)

    def __call__(self, lines: bytes) -> None:
        """Have whole lines written later. Never waits."""
        with self._changed:
            if self._size + len(lines) <= self._most:
                self._lines.append(lines)
                self._size += len(lines)
                self._changed.notify()
                return
        self._dropped(lines.count(b"\n"))

    def _write_all(self) -> None:
        while lines := self._next():
            self._write(lines)
            with self._changed:
                self._size -= len(lines)

    def _next(self) -> bytes:
        """Wait for lines and return all there are; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._stopping)
            lines, self._lines = b"".join(self._lines), []
        return lines

    def _write(self, lines: bytes) -> None:
        """Write lines, on a new line if the last one was cut off."""
        data = b"\n" + lines if self._torn else lines
        written = 0
        try:
            while written < len(data):
                written += os.write(self._output, data[written:])
        except OSError as error:
            self._dropped(data.count(b"\n", max(written, len(data) - len(lines))))
            self._tell(error)
        if written:
            self._torn = not data.endswith(b"\n", 0, written)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            with suppress(OSError):
                print(
                    f"Event lines cannot be written ({error.strerror}); events are taken all the same.",
                    file=sys.stderr,
                )
