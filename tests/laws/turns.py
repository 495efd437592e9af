"""Several tasks at once, of which one runs at a time: at each call, a seed says who goes on.

What comes of tasks that get in each other's way can so be had again, as that of free threads cannot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from threading import Lock, Thread
from typing import Any


class Turns:
    """Runs tasks. Before each call of a client made `through` it, another task may go on."""

    def __init__(self, seed: int, at_once: int) -> None:
        """Take what decides, and how many tasks are under way at once."""
        self._random = Random(seed)
        self._at_once = at_once
        self._running: Lock | None = None
        self._waiting: list[Lock] = []
        self._errors: list[BaseException] = []

    def run(self, tasks: Iterable[Callable[[], object]]) -> None:
        """Run all tasks, begun in their order. Raises what one of them raises."""
        left = deque(tasks)
        threads = []
        for _ in range(self._at_once):
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
            threads.append(Thread(target=self._work, args=(turn, left)))
        for thread in threads:
            thread.start()
        self._give_turn()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self, turn: Lock, left: deque[Callable[[], object]]) -> None:
        turn.acquire()
        try:
            while left and not self._errors:
                left.popleft()()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._errors.append(error)
        self._give_turn()

    def _give_turn(self) -> None:
        """Let one of those that wait go on, if any do."""
        self._running = None
        if self._waiting:
            self._running = self._waiting.pop(self._random.randrange(len(self._waiting)))
            self._running.release()

    def pause(self) -> None:
        """Wait for the next turn, which may be at once."""
        turn = self._running
        if turn is not None:  # else no task is under way
            self._waiting.append(turn)
            self._give_turn()
            turn.acquire()

    def through(self, client: Any) -> Any:
        """Return the client, with a pause before each call."""
        return _Client(client, self)


class _Client:
    def __init__(self, client: Any, turns: Turns) -> None:
        self._client = client
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        true = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            self._turns.pause()
            return true(**arguments)

        return call
