"""The one seam between a kind of chunk and the driver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from l0_core._result import ToolCall

ChunkT = TypeVar("ChunkT")


class ToolFragment(NamedTuple):
    """A piece of a tool call as it streams.

    Attributes:
        index: Which of the answer's calls it belongs to.
        id: The call's id, in the fragment that has it.
        name: The tool's name, in the fragment that has it.
        args: A piece of the arguments' JSON.
        last: Whether the provider said that the call ends here.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody looks for here
    id: str | None = None
    name: str | None = None
    args: str = ""
    last: bool = False


class Opaque(NamedTuple):
    """A part that is passed and not looked into: an image, audio, a file.

    Attributes:
        digest: A hash of its bytes, by which two of them are told apart.
        open: Whether more of it follows.
    """

    digest: int
    open: bool = False


class Usage(NamedTuple):
    """Tokens as a provider counts them."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0


class LogProb(NamedTuple):
    """Log-probabilities of tokens: the sum of natural logarithms, and of how many."""

    sum: float
    tokens: int


class Facts(NamedTuple):
    """What a chunk holds beside or instead of plain text, in the engine's words.

    Attributes:
        text: Text of the answer.
        reasoning: Whether it holds reasoning.
        tools: Fragments of tool calls.
        opaque: A part that is not looked into.
        finish: Why the answer ends, in the provider's words.
        status: What became of the response, in the provider's words.
        usage: What this attempt has used so far: cumulative, the last one counts.
        logprob: Log-probabilities of the tokens in this chunk.
        sequence: The event's number, where the dialect counts its events.
    """

    text: str = ""
    reasoning: bool = False
    tools: tuple[ToolFragment, ...] = ()
    opaque: Opaque | None = None
    finish: str | None = None
    status: str | None = None
    usage: Usage | None = None
    logprob: LogProb | None = None
    sequence: int | None = None


class Shown(Protocol):
    """What the consumer has been given, built when it is asked for: most ports never need it."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def seamed(self) -> bool:
        """Whether the consumer has chunks of an earlier attempt, which this one must fit."""


class ChunkPort(Protocol[ChunkT]):
    """What the driver needs to know of one kind of chunk.

    A chunk that nothing altered reaches the consumer as the same object. After a seam, when an answer is put together
    from more than one attempt, every chunk goes through `cut`.
    """

    def text(self, chunk: ChunkT) -> str | None:
        """Return the text of a chunk that holds nothing else; `None` where `facts` must be asked. The hot path."""

    def facts(self, chunk: ChunkT) -> Facts:
        """Return all that the chunk holds."""

    def cut(self, chunk: ChunkT, start: int, end: int, shown: Shown) -> ChunkT:
        """Return the chunk with its text from character `start` to `end`, as it must read after `shown`.

        Ids, indices, snapshots and metadata are those of one answer: what the consumer has been given already is not
        given twice. The chunk itself is left as it is.
        """

    def encode(self, chunk: ChunkT) -> str:
        """Return the chunk as JSON, for the journal."""

    def decode(self, text: str) -> ChunkT:
        """Return the chunk that `encode` wrote."""

    def final(self, metadata: Mapping[str, object]) -> ChunkT | None:
        """Return the trailing empty chunk that carries the `l0` metadata, if this kind of chunk can carry any."""


@runtime_checkable
class MaskingPort(Protocol[ChunkT]):
    """What a port can do besides, where a policy masks: `patterns`, `secrets` and `pii` may.

    One whose chunks each hold all of the text so far has besides an attribute `grows` that is true: once a chunk was
    replaced, those that follow go through `cut`, so that none brings back what was masked.
    """

    def replaced(self, chunk: ChunkT, text: str, shown: Shown) -> ChunkT:
        """Return the chunk with `text` in the place of its own; `shown` is what the consumer has before it."""


@runtime_checkable
class RewritingPort(Protocol[ChunkT]):
    """What a port can do besides, where answers are read for a value and their JSON may have to be put right.

    Where it cannot, text is given as it came, and a call that is not JSON is asked for again.
    One whose chunks each hold all of the text so far has the attribute `grows`, as a `MaskingPort`.
    """

    def rewritten(self, chunk: ChunkT, text: str | None, args: Mapping[int, str], shown: Shown) -> ChunkT:
        """Return the chunk with what was put right in the place of its own. The chunk itself is left as it is.

        Args:
            chunk: The chunk.
            text: All of the answer's text for the first chunk that has some, and nothing for those that follow; `None`
                where its own stays.
            args: The arguments of the calls it holds fragments of, by `ToolFragment.index`: all of them for the first
                chunk that has a fragment of a call, nothing for those that follow.
            shown: What the consumer has before it.
        """


class RepeatingPort(Protocol[ChunkT]):
    """What a port can do besides, most of whose chunks differ in little but their text: these are written as just that.

    Chunks come to `encode` and `rest` in the order they arrive in, and to `decode` and `again` in the same.
    """

    def rest(self, chunk: ChunkT) -> str | None:
        """Return what of a chunk, that `text` gave the text of, is not as in the last that `encode` wrote.

        That is nothing for most, else JSON; `None` where it must be written whole.
        """

    def again(self, text: str, rest: str) -> ChunkT:
        """Return the last chunk that `decode` returned, with another text, and with what `rest` returned."""


class BeginningPort(Protocol):
    """What a port can do besides, where it keeps count of what an attempt brings, such as snapshots."""

    def begin(self, attempt: "Attempt") -> None:
        """Get ready for the chunks of another attempt: when it is opened, and when that is given again."""


@runtime_checkable
class FollowingPort(Protocol[ChunkT]):
    """What a port can do besides, whose chunks have an identity that an answer keeps across its seams."""

    def follow(self, before: ChunkPort[ChunkT], last: ChunkT, text: str) -> None:
        """Go on from what the consumer has been given: `last` of `before`'s chunks, and `text` in all."""


class Unsent(Exception):  # noqa: N818 - it says what became of the call
    """A source raises this, from the actual error, where nothing was sent yet: the call itself is wrong.

    The caller is given the actual error at once. Where a source says nothing, an error while the response is opened
    or read may be the provider's doing and is retried.
    """


class Attempt(NamedTuple):
    """One attempt that a source is asked to open.

    Attributes:
        target: The name of the target.
        number: How many attempts were made before it in this session.
        mode: How it is begun: from nothing (`fresh`), from `prefix` (`prefill`), by repeating `anchor` (`prompt`), from
            nothing with what was shown swallowed (`rerun`), or by the provider's own resumption (`native`).
        prefix: The text to go on from; empty unless the mode is `prefill`.
        shown: The text the consumer has been given.
        anchor: The words to repeat; empty unless the mode is `prompt`.
        instruction: What to ask: to repeat the words and go on, or to put right what was wrong with `rejected`.
        calls: The tool calls the consumer has been given.
        rejected: The target's last answer, where guards of your own would not have it and said what is to be put right.
        errors: What is to be put right.
        tokens_shown: About how many tokens were shown: what a limit of your own on the answer's length is lowered by.
        time_left: Seconds left for the whole session.
        idempotency_key: The same for every attempt of a session that starts from nothing; for providers that take one.
    """

    target: str
    number: int
    mode: str
    prefix: str
    shown: str
    anchor: str
    instruction: str
    tokens_shown: int
    time_left: float
    idempotency_key: str
    calls: Sequence["ToolCall"] = ()
    rejected: str = ""
    errors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a source that has more to say than text.

    A source may mix these with plain `str`.
    """

    text: str = ""
    tools: tuple[ToolFragment, ...] = ()
    reasoning: str = ""
    opaque: Opaque | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprob: LogProb | None = None
    sequence: int | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Carried along and not looked into; `l0` in it on the trailing chunk says how the session went."""
