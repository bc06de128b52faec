"""The plainest reader's thread there is: what every sync stream costs that can be left while it is read."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

AHEAD = 64
"""Chunks, as many as L0 reads ahead."""


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
