"""A program around a streaming query engine, for tests that kill it: prints every piece as it comes."""

import sys
import time
from pathlib import Path
from typing import Any

from engines import index
from scripted_llm import Scripted

import l0_core
from l0_llamaindex import L0LLM, protect

ANSWER = "The capital of France is Paris, which lies on the Seine and has been the seat of its kings since Clovis."


class Paced(Scripted):
    """Notes each question in a file, and takes its time over the answer; a question to go on is answered with all."""

    notes: str = ""
    pause: float = 0.0

    def _next(self, method: str, given: Any, kwargs: dict[str, Any]) -> Any:
        with Path(self.notes).open("a", encoding="utf-8") as file:
            file.write(method + "\n")
        return super()._next(method, given, kwargs)

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        for chunk in super().stream_chat(messages, **kwargs):
            time.sleep(self.pause)
            yield chunk


def main(journal: str, notes: str, pause: str, mode: str) -> None:
    """Ask once."""
    made: Any = Paced
    llm = made(ANSWER, notes=notes, pause=float(pause))
    engine = protect(index().as_query_engine(llm=L0LLM(llm=llm), streaming=True))
    with l0_core.run("question", journal=journal, mode=mode):  # type: ignore[arg-type]
        for piece in engine.query("Where do the kings live?").response_gen:  # type: ignore[union-attr]
            print(piece, end="", flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
