"""What arrived: one request in any dialect, parsed, and what became of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from l0_core.testing.continuation import Resumption
    from l0_core.testing.reply import Reply, ToolCall

__all__ = ["DialectName", "Ending", "Message", "Request"]

CHARACTERS_PER_TOKEN: Final = 4
DialectName = Literal["openai", "responses", "anthropic"]
Ending = Literal["complete", "cut", "client", "closed"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation, whatever the dialect called it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    """Of a tool's result: the tool that was called."""
    prefix: bool = False
    """Where it is the last: the answer is to go on from it (`prefix`, `continue_final_message`)."""


@dataclass(slots=True, eq=False)
class Request:
    """One request: what was asked, what it was answered with, how far that got and who ended it."""

    number: int
    dialect: DialectName
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    model: str = ""
    stream: bool = False
    messages: tuple[Message, ...] = ()
    reply: Reply | None = None
    """The scripted reply this was answered from."""
    whole: str = ""
    """The complete answer as worded for this request, before any fault; of a continuation, with what it continues."""
    resumption: Resumption | None = None
    """How it asked to go on from a text, and how that was done."""
    fault: str = "ok()"
    input_tokens: int = 0
    sent_pieces: list[str] = field(default_factory=list, repr=False)
    """The text sent so far, as it was cut; of a document, only once it is whole."""
    sent_bytes: int = 0
    sent_chunks: int = 0
    duration: float = 0.0
    ending: Ending | None = None
    """`complete`, `cut` by a fault, left by the `client`, or `closed` with the provider; None while it goes on."""
    _started: float = field(default_factory=time.monotonic, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _stalled: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def sent_text(self) -> str:
        """The text sent so far."""
        return "".join(self.sent_pieces)

    @property
    def output_tokens(self) -> int:
        """About what was generated and sent."""
        return -(-len(self.sent_text) // CHARACTERS_PER_TOKEN)

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def system(self) -> str:
        """The system prompt, its parts on lines of their own."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    def wait_stalled(self, timeout: float = 30.0) -> bool:
        """Wait until the answer stands still in an endless stall."""
        return self._stalled.wait(timeout)

    def wait_ended(self, timeout: float = 30.0) -> Ending | None:
        """Wait until the answer was ended by anyone; None when it still goes on."""
        self._ended.wait(timeout)
        return self.ending

    def end(self, ending: Ending) -> None:
        """Note who ended the answer; that the client left may be noticed after it was thought complete."""
        self.duration = time.monotonic() - self._started
        self.ending = ending
        self._ended.set()

    def stall(self) -> None:
        """Note that nothing more will come by itself."""
        self._stalled.set()

    def __repr__(self) -> str:
        return (
            f"Request(#{self.number} {self.method} {self.path} model={self.model!r} stream={self.stream} "
            f"turns={len(self.messages)} fault={self.fault} ending={self.ending})"  # no headers: they hold keys
        )
