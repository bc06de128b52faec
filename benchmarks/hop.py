"""The plainest threads there are: what a sync stream or call costs that can be left while it is waited for."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

AHEAD = 64
"""Chunks, as many as L0 reads ahead."""


class Aside:
    """A thread that calls, whenever it is told to, and says when it has."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._told, self._done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._told.acquire()
            self._call()
            self._done.release()

    def invoke(self, _: str) -> None:
        """Call in the thread, and wait for it."""
        self._told.release()
        self._done.acquire()


def through_a_thread(make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Yield what an iterable gives that is made and read in a thread: so many chunks at a time, and nothing else."""
    chunks: deque[Any] = deque()
    full, empty, is_over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def read() -> None:
        for chunk in make():
            chunks.append(chunk)
            if len(chunks) >= AHEAD:
                full.release()
                empty.acquire()
        is_over.set()
        full.release()

    threading.Thread(target=read, daemon=True).start()
    while not is_over.is_set():
        full.acquire()
        while chunks:
            yield chunks.popleft()
        empty.release()
