"""The compiled half of `l0_core`. Private: use what `l0_core` exports."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

__all__ = [
    "BuildInfo",
    "Change",
    "Checking",
    "Fault",
    "Fleet",
    "Journal",
    "JournalLease",
    "JournalRecord",
    "JournalStream",
    "JournalTicket",
    "JsonSchema",
    "Objection",
    "Opening",
    "Outcome",
    "Partial",
    "Policy",
    "Repaired",
    "Report",
    "Session",
    "SessionLog",
    "Splice",
    "ToolCall",
    "Unrepairable",
    "build_info",
    "classify",
    "fork_after_in_child",
    "fork_after_in_parent",
    "fork_before",
    "named_id",
    "repair",
    "version",
]

@final
class BuildInfo:
    """The facts about this build that a bug report needs."""

    @property
    def version(self) -> str:
        """The version of the whole workspace."""
    @property
    def profile(self) -> str:
        """The Cargo profile: `release` in a wheel, `dev-opt` in a checkout. Only `release` figures mean anything."""
    @property
    def rustc(self) -> str:
        """The version of the compiler."""
    @property
    def pyo3(self) -> str:
        """The version of the bridge to Python."""
    @property
    def features(self) -> list[str]:
        """What this build was compiled with: `abi3`, `free-threaded`, `debug-assertions`."""

def build_info() -> BuildInfo:
    """How this module was built."""

def version() -> str:
    """The version of the whole workspace; the Python packages carry the same."""

@final
class Policy:
    """A validated policy, ready to be used by any number of sessions."""

    def __new__(cls, json: str, users: Any = None) -> Policy:
        """Raise `ValueError(field, problem)` for a policy that is wrong."""
    @staticmethod
    def preset(name: str) -> Policy:
        """The preset of that name."""
    @property
    def guards_inputs(self) -> bool:
        """Whether it looks at what a model is given."""
    @property
    def digest(self) -> str:
        """A hash of every field, the same on every machine."""
    @property
    def users(self) -> Any:
        """The functions of guards of the caller's own, as they were given: carried along and not looked at."""
    @property
    def json(self) -> str:
        """Every field, as JSON."""
    def worst_case(self, targets: int = 1) -> tuple[int, float, float]:
        """The most a session can cost: calls, seconds, and the seconds of them spent waiting."""

@final
class Fault:
    """One thing that went wrong."""

    @property
    def attempt(self) -> int | None:
        """The attempt, if one had been opened."""
    @property
    def target(self) -> int:
        """The target's place in the session's list."""
    @property
    def fault(self) -> str:
        """What it amounts to."""
    @property
    def category(self) -> str:
        """Whose matter it is."""
    @property
    def code(self) -> str | None:
        """The engine's word for what it saw, or the provider's code."""
    @property
    def status(self) -> int | None:
        """The HTTP status."""
    @property
    def request_id(self) -> str | None:
        """The provider's id for the request."""
    @property
    def at(self) -> int:
        """Nanoseconds of the session's clock."""

def classify(facts_json: str, message: str = "") -> str:
    """What the facts of an exception amount to."""

class Unrepairable(ValueError):  # noqa: N818 - it says what the text is
    """There is no JSON in the text, not even a broken beginning of it, or it is nested too deep."""

@final
class Change:
    """One edit that made a text JSON. It names what was put right and never quotes the text."""

    @property
    def fix(self) -> str:
        """What was put right, as a fixed word: `missing_comma`, `single_quotes`, `fence`, ...."""
    @property
    def at(self) -> int:
        """The character of the input where it was wrong, or where something was missing."""
    def __hash__(self) -> int: ...

@final
class Repaired:
    """JSON, and what was done to make it so."""

    @property
    def text(self) -> str:
        """The document; the input itself where that was JSON."""
    @property
    def changes(self) -> list[Change]:
        """Every edit, in the order of the input; none where the input was JSON."""
    @property
    def changes_omitted(self) -> int:
        """How many edits there were beyond those listed."""
    @property
    def cut(self) -> bool:
        """Whether the document was still open where the text ended.

        Then it is a beginning, and a string or number at its end may be incomplete.
        """
    @property
    def value(self) -> Any:
        """The document as Python's objects, read when it is first asked for.

        As the standard library reads it, but for a whole number with more digits than Python takes: that is a float.
        """

def repair(
    text: str, *, documents: Literal["longest", "first", "last", "all"] = "longest", depth_max: int = 512
) -> Repaired:
    """Return the JSON in a text, repaired where it is broken; a text that is JSON comes back as it is.

    One pass over the text. What is in a string is not touched, whatever it looks like; nothing is made up: a key
    without a value is dropped. Raises `Unrepairable` where there is nothing that could be repaired.

    Args:
        text: What a model wrote.
        documents: Which one, where the text holds several: the `longest`, the `first`, the `last`, or `all` as one
            array. One in a fence for JSON comes before one in running text.
        depth_max: The deepest nesting accepted.
    """

@final
class Partial:
    """The value of a JSON document while it is still being written.

    The value only grows: nothing in it is taken back later, and a value that was read is not changed any more. It is
    the first object or array of the text; a fence and words before it are passed over.
    """

    def __new__(cls, *, depth_max: int = 512) -> Partial: ...
    def feed(self, delta: str) -> bool:
        """Take the next piece of the text; return whether the value is different now. Constant work per byte."""
    @property
    def value(self) -> Any:
        """The value so far; `None` before the document begins. Costs what is new, and a copy of what is open."""
    @property
    def is_complete(self) -> bool:
        """Whether the document is closed."""
    @property
    def status(self) -> str:
        """`empty`, `open`, `complete`, or `invalid` where the reading ended before that: then `repair` the whole."""

@final
class JsonSchema:
    """A JSON schema, compiled."""

    def __new__(cls, schema: str) -> JsonSchema:
        """Raise `ValueError` for what is no schema, or uses a keyword that is not known."""
    def violations(self, json: str, most: int) -> list[tuple[str, str]]:
        """Where a document does not fit, as JSON pointers, and in which respect: at most `most` places."""

@final
class Report:
    """How an attempt ended, on its way from a session to the fleet."""

@final
class Fleet:
    """Budgets, breakers and limits, shared by all sessions of a process."""

    def __new__(cls) -> Fleet: ...
    def ask(
        self,
        now: int,
        target: str,
        tenant: str,
        purpose: int,
        force: bool,
        policy: Policy,
    ) -> tuple[int, int]:
        """`(0, 0)` yes, `(1, 0)` over budget, `(2, ns)` breaker open, `(3, ticket)` queued."""
    def is_called(self, now: int, target: str, tenant: str, ticket: int, purpose: int, policy: Policy) -> bool:
        """Whether the turn of a queued session has come; if so it holds a place now."""
    def leave(self, target: str, tenant: str, ticket: int) -> None:
        """Give up a place in the queue."""
    def report(self, now: int, target: str, tenant: str, outcome: Report, policy: Policy) -> None:
        """What became of an attempt that had been granted; `outcome` is what the session put out."""

@final
class ToolCall:
    """A complete tool call."""

    @property
    def id(self) -> str | None:
        """The call's id, where the provider gave one."""
    @property
    def name(self) -> str:
        """The tool's name."""
    @property
    def args(self) -> str:
        """The arguments, as JSON."""

@final
class Splice:
    """How an answer was joined to the text before it."""

    @property
    def attempt(self) -> int:
        """The attempt that went on."""
    @property
    def mode(self) -> str:
        """How it was begun."""
    @property
    def method(self) -> str:
        """How it was joined."""
    @property
    def at(self) -> int:
        """Bytes of text the consumer had by then."""
    @property
    def dropped(self) -> int:
        """Bytes of the new answer that were dropped, because the consumer had them."""

@final
class Objection:
    """What a guard found. It names the guard and never quotes the text."""

    @property
    def guard(self) -> str:
        """The guard's name."""
    @property
    def reason(self) -> str:
        """What it found, in a few words."""
    @property
    def severity(self) -> str:
        """What becomes of the attempt: `warn`, `error` or `fatal`."""
    @property
    def start(self) -> int:
        """The character of the text where it begins."""
    @property
    def end(self) -> int:
        """The character of the text it ends before."""
    @property
    def masked(self) -> bool:
        """Whether it was replaced."""

@final
class Outcome:
    """Everything there is to say about a session that has ended. Lists are built when they are asked for."""

    @property
    def ending(self) -> str:
        """What the caller is told."""
    @property
    def raised_by(self) -> int | None:
        """The attempt whose exception is raised, if the ending is `raise`."""
    @property
    def attempts(self) -> int:
        """Attempts opened."""
    @property
    def served_by(self) -> int | None:
        """The target that gave the end of the answer."""
    @property
    def degraded(self) -> bool:
        """Another target than the first served."""
    @property
    def continued(self) -> bool:
        """The answer was put together from more than one attempt."""
    @property
    def resets(self) -> int:
        """How often the consumer was told to discard."""
    @property
    def splices(self) -> list[Splice]:
        """Where it was put together."""
    @property
    def faults(self) -> list[Fault]:
        """What went wrong on the way."""
    @property
    def objections(self) -> list[Objection]:
        """What guards found, warnings and masks included."""
    @property
    def drifts(self) -> int:
        """How often the answer went astray past its threshold."""
    @property
    def repaired(self) -> list[str]:
        """What had to be put right in the answer, by fixed words, where it was read for a value."""
    @property
    def reasks(self) -> int:
        """How often a target was told what to put right in its answer."""
    @property
    def misfits(self) -> list[tuple[int, str, int]]:
        """Where answers did not fit what was to be read in them: target, place, how often."""
    @property
    def unfit(self) -> bool:
        """Whether it ended because no answer fitted."""
    @property
    def finish(self) -> str | None:
        """Why the answer ended."""
    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls released."""
    @property
    def usage(self) -> tuple[int, int, int, int, int]:
        """Tokens of all attempts: input, output, reasoning, cache read, cache written."""
    @property
    def waste(self) -> tuple[int, int, int, int, int]:
        """Tokens of attempts that failed."""
    @property
    def waste_bytes(self) -> int:
        """Bytes of text that arrived and were dropped."""
    @property
    def logprob(self) -> tuple[float, int] | None:
        """Log-probabilities of the tokens of the last attempt: their sum, and how many."""

@final
class Opening:
    """What an attempt is to be begun with."""

    @property
    def attempt(self) -> int:
        """The attempt."""
    @property
    def target(self) -> int:
        """Its target's place in the list."""
    @property
    def mode(self) -> str:
        """How it is begun."""
    @property
    def prefix(self) -> str:
        """The text to go on from."""
    @property
    def shown(self) -> str:
        """The text the consumer has been given."""
    @property
    def anchor(self) -> str:
        """The words to repeat."""
    @property
    def instruction(self) -> str:
        """What to ask."""
    @property
    def rejected(self) -> str:
        """The target's last answer, where it is told what was wrong with it."""
    @property
    def errors(self) -> list[str]:
        """What was wrong with it."""
    @property
    def tokens_shown(self) -> int:
        """Tokens the consumer has been given, about."""
    @property
    def time_left(self) -> float:
        """Seconds left for the whole session."""
    @property
    def whole(self) -> bool:
        """Whether one clock runs from its beginning to the end of its answer."""

_Divergence: TypeAlias = tuple[int, str | None, str | None]
"""The first record that differs: its place, what is recorded and what is decided now, each as JSON."""

_Fed: TypeAlias = tuple[int, int | None, int | None, str | None, bytes | None, bool]
"""When, the answer to a chunk, its attempt, text and object, and whether another process began with it."""

@final
class SessionLog:
    """A session's records, read back to be decided again."""

    @staticmethod
    def load(journal: Journal, stream_id: bytes) -> SessionLog:
        """Read a session of a journal."""
    @staticmethod
    def of(records: list[JournalRecord]) -> SessionLog:
        """Read records from anywhere."""
    def __len__(self) -> int:
        """How many records of the engine there are."""
    @property
    def notes(self) -> list[tuple[int, int, bytes, bytes | None]]:
        """The driver's notes: place in the stream, kind, payload, and content if there is any."""
    @property
    def last_at(self) -> int:
        """When the last record was written, on the session's clock."""
    @property
    def first_missing(self) -> int | None:
        """The first record whose content is not there, if one is."""
    def json(self, first: int, last: int) -> list[tuple[int, str, bool]]:
        """Records from `first` to before `last` of the engine's own: place, JSON, and whether content is missing."""
    def replay(self, policy: Policy, until: int | None = None) -> tuple[Session | None, _Divergence | None]:
        """Decide all again, up to a place in the stream: the session as it stands then, or the first that differs."""

@final
class Checking:
    """What the caller's own guards are to be asked."""

    @property
    def attempt(self) -> int:
        """The attempt."""
    @property
    def target(self) -> int:
        """Its target's place in the list."""
    @property
    def check(self) -> int:
        """The number of the question."""
    @property
    def at_end(self) -> bool:
        """Whether the answer is at its end."""
    @property
    def on_window(self) -> list[int]:
        """The guards that are shown `window`, by their place in the policy's list."""
    @property
    def window(self) -> str:
        """The new text, with some of what stands before it."""
    @property
    def on_whole(self) -> list[int]:
        """The guards that are shown `whole`; none before the end."""
    @property
    def whole(self) -> str:
        """All of the answer's text."""
    @property
    def calls(self) -> list[tuple[int, str | None, str, str]]:
        """The answer's tool calls, at the end: index, id, name, arguments as they arrived."""

@final
class Session:
    """One logical call: attempts go in, one clean stream comes out. See the engine's documentation for the contract."""

    def __new__(
        cls,
        policy: Policy,
        targets: Any,
        *,
        seed: int,
        streamed: bool = True,
        deadline: int | None = None,
        stream: JournalStream | None = None,
        closes: bool = False,
    ) -> Session:
        """Raise `ValueError(field, problem)` for a plan that cannot be carried out.

        It is written down to `stream`; with `closes` nothing is passed on once that has failed.
        """
    @staticmethod
    def again(log: SessionLog, policy: Policy) -> tuple[Session | None, _Divergence | None]:
        """A session to be decided again from its records, one `next_again` after the other."""
    def next_again(self) -> tuple[_Fed | None, _Divergence | None]:
        """Put the next recorded input in; nothing where there is none, the first record that differs where one does."""
    def attach(self, now: int, stream: JournalStream, closes: bool = False) -> None:
        """Go on being written down, after it was decided again: first what the record lacks."""
    def start_barrier(self) -> None:
        """Begin what has to be on disk before anything is released."""
    def unsettled(self) -> JournalTicket | None:
        """What the next release has to wait for, if anything; tell the answer to `settled`."""
    def settled(self, ticket: JournalTicket) -> None:
        """What was waited for has its answer, or will have none in time."""
    @property
    def lost(self) -> Exception | None:
        """Why it is no longer written down, if it is not."""
    @property
    def firsts(self) -> list[tuple[int, int]]:
        """When the first content of each attempt arrived: attempt, nanoseconds."""
    def inputs(self, now: int, texts: list[str]) -> None:
        """Check what the model would be given, before `start`: an objection ends the session as it begins."""
    def start(self, now: int) -> None:
        """Begin."""
    def admitted(self, now: int, kind: int, value: int) -> None:
        """The fleet's answer, as `Fleet.ask` gave it."""
    def opened(self, now: int, attempt: int) -> None:
        """An attempt's response began."""
    def chunk(self, now: int, attempt: int, text: str, written: bytes | None = None) -> int:
        """The hot path: a chunk of plain text, as written. 0 pass, 1 hold, 2 drain, 3 skip, 4 settle and pass."""
    def part(
        self,
        now: int,
        attempt: int,
        waited: int,
        text: str,
        reasoning: bool,
        tools: Any,
        opaque: tuple[int, bool] | None,
        finish: str | None,
        status: str | None,
        usage: tuple[int, int, int, int, int] | None,
        logprob: tuple[float, int] | None,
        sequence: int | None,
        written: bytes | None = None,
    ) -> int:
        """A chunk that is more, or less, than plain text; its read had been pending for `waited` nanoseconds."""
    def ended(self, now: int, attempt: int) -> None:
        """An attempt's stream ended by itself."""
    def failed(self, now: int, attempt: int, facts_json: str, message: str) -> None:
        """An attempt failed: what was read off its exception, and its message, which is looked at and not kept."""
    def checking(self) -> Checking | None:
        """What the caller's own guards are being asked, if anything."""
    def judged(
        self,
        now: int,
        attempt: int,
        check: int,
        dissents: list[tuple[int, str, list[str]]],
        read: tuple[int, list[str], list[str], str | None, list[tuple[int, str]]] | None = None,
    ) -> None:
        """The caller's own guards have answered: which object, and what one of them has read.

        Args:
            now: When.
            attempt: The attempt.
            check: The number of the question.
            dissents: Which object, for what reason, and what is to be put right.
            read: Which has read the answer, where it does not fit, what was put right, and what is given in the place
                of its text and of its calls' arguments.
        """
    def unjudged(self, now: int, attempt: int, check: int, facts_json: str) -> None:
        """One of the caller's own guards could not say: what was read off its exception."""
    def timeout(self, now: int, waited: int | None = None) -> None:
        """Time has passed. Early, late or repeated ones do nothing."""
    def cancel(self, now: int) -> None:
        """The caller left."""
    def resume(self, now: int) -> None:
        """The process that ran the session died, and this one goes on."""
    def poll(self) -> tuple[Any, ...] | None:
        """The next thing to do, as a tuple that begins with its name; `None` when there is nothing."""
    def poll_timeout(self, reading: int | None = None) -> int | None:
        """When `timeout` is due, given when the pending read began, if one is pending."""
    def opening(self) -> Opening | None:
        """What the attempt that was asked for is to be begun with."""
    @property
    def state(self) -> str:
        """Where it stands: idle, asking, waiting, opening, reading or done."""
    @property
    def text(self) -> str:
        """The text the consumer has been given."""
    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls the consumer has been given."""
    @property
    def faults(self) -> list[Fault]:
        """What went wrong so far."""
    @property
    def outcome(self) -> Outcome | None:
        """How it ended, once it has."""
    @property
    def shortest_clock(self) -> int:
        """Nanoseconds of the shortest clock it can run by: a timer that rings as often misses none."""
    @property
    def deadline(self) -> int:
        """The moment it must have ended."""

@final
class Journal:
    """A journal, wherever it keeps what it is told. Ids are 16 bytes; what fails raises `JournalError`."""

    @staticmethod
    def open(
        path: str | PathLike[str],
        *,
        durability: str = "safe",
        key: bytes | None = None,
        linger: float = 1.0,
        lease_term: float = 30.0,
        host: str | None = None,
    ) -> Journal:
        """Open a journal on disk, creating it if need be: in one process all who open a file have the same one."""
    @staticmethod
    def open_read_only(path: str | PathLike[str], *, key: bytes | None = None) -> Journal:
        """Open a journal on disk to look at it: nothing is created, locked or taken in."""
    @staticmethod
    def memory() -> Journal:
        """A journal that ends with the process."""
    def stream(
        self,
        stream_id: bytes,
        kind: str,
        *,
        tenant: str | None = None,
        user: str | None = None,
        redaction: tuple[str, str, str, str] | None = None,
        lease: JournalLease | None = None,
    ) -> JournalStream:
        """Open a stream of kind `run`, `step` or `session` to append to it.

        Redaction is `full`, `hashed` or `none` for prompts, completions, tool arguments and tool results. With a lease
        nothing is written once it is somebody else's.
        """
    def put_run(self, **columns: object) -> None:
        """Write a run's row, or the columns of it that are given: `id` and those of `docs/journal-schema.md`."""
    def put_step(self, **columns: object) -> None:
        """Write a step's row, or the columns of it that are given."""
    def put_session(self, **columns: object) -> None:
        """Write a session's row, or the columns of it that are given."""
    def put_attempt(self, **columns: object) -> None:
        """Write an attempt's row, or the columns of it that are given: its key is `session` and `number`."""
    def flush(self) -> None:
        """Wait until everything appended so far can be read by every process."""
    def sync(self) -> JournalTicket:
        """Have everything appended so far written to the disk itself."""
    def barrier(self, before: str) -> JournalTicket:
        """What the durability asks for before a `side_effect` or a `release`."""
    @property
    def durability(self) -> Literal["off", "fast", "safe", "paranoid"]:
        """How much the records survive."""
    @property
    def path(self) -> Path | None:
        """The file, where there is one open for writing."""
    def load(self, stream_id: bytes, from_: int = 0, limit: int = 1_000_000) -> list[JournalRecord]:
        """The records of a stream, in order. A stream nobody wrote has none."""
    def info(self, stream_id: bytes) -> tuple[str, int, int, int, str | None] | None:
        """Kind, records, the last `at_ns`, opened at (ms since 1970), and what was removed: `content` or `records`."""
    def matches(self, stream_id: bytes, digest: bytes, content: bytes) -> bool:
        """Whether `content` is what stood where a record now has only a hash."""
    def runs(self, **conditions: object) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
        """Runs, the latest first, and where the next page begins: pass that as `after`."""
    def steps(self, **conditions: object) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
        """Steps, the latest first, and where the next page begins."""
    def sessions(self, **conditions: object) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
        """Sessions, the latest first, and where the next page begins."""
    def attempts(self, session: bytes) -> list[dict[str, Any]]:
        """The attempts of a session, in order."""
    def lease(self, run: bytes, wait: float = 0.0) -> JournalLease:
        """Take the right to work on a run, waiting at most so many seconds for its holder."""
    def head(self) -> str:
        """The end of the chain now: note it elsewhere."""
    def verify(
        self, head: str | None = None
    ) -> tuple[int, int, int, str, list[tuple[str, bytes | None, int | None, int | None]], int]:
        """Blocks, records, streams, head, findings (text, stream, block, record), and how many findings in all."""
    def remove(
        self,
        how: str,
        *,
        streams: list[bytes] | None = None,
        tenant: str | None = None,
        user: str | None = None,
        opened_before_ms: int | None = None,
    ) -> tuple[int, int, int]:
        """Remove `content` or `records` for good: the streams, blocks and bytes it took."""
    def health(self) -> tuple[int, str | None]:
        """Bytes that the database has not taken yet, and why it takes none."""
    def recovery(self) -> tuple[int, int, int, list[str]]:
        """What was taken in when it was opened here: spools, records, torn ends, and what was refused, as text."""
    def recover(self) -> tuple[int, int, int, list[str]]:
        """Take in what processes that died meanwhile left."""
    def close(self) -> None:
        """Flush and let go of every file, for everybody in this process who has it open."""

@final
class JournalStream:
    """An open stream: where the records of one run, step or session go."""

    @staticmethod
    def to(
        stream_id: bytes, append: Callable[[int, bytes, list[tuple[str, bytes]], int], int], next_seq: int = 0
    ) -> JournalStream:
        """A stream whose records go to `append(kind, payload, contents, at_ns)`, which returns their number."""
    @property
    def id(self) -> bytes:
        """Its id."""
    @property
    def next_seq(self) -> int:
        """The sequence number of the next record: how many there are."""
    def append(self, kind: int, payload: bytes, contents: Sequence[tuple[str, bytes]], at_ns: int) -> int:
        """Append one record, which survives the process when this returns; its sequence number.

        A content's class is `prompt`, `completion`, `tool_arguments` or `tool_result`. Kinds below 128 are the writer's
        own; 128 is a chunk.
        """
    def barrier(self) -> JournalTicket | None:
        """What the durability asks for before a side effect; nothing for a store of the caller's own."""

@final
class JournalTicket:
    """A receipt that says, once it is known, whether something is on disk."""

    def poll(self) -> bool:
        """Whether the answer is there; raises it where it is a failure."""
    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the answer: whether it came in time. Raises it where it is a failure."""
    def wait_quietly(self, timeout: float) -> None:
        """Wait for the answer, whatever it is, at most so many seconds."""
    def on_answer(self, callback: Callable[[Exception | None], object]) -> None:
        """Call `callback` with nothing or the failure: at once, or from a thread that it must not hold up."""

@final
class JournalRecord:
    """One immutable fact, as a journal gives it back."""

    def __new__(
        cls, seq: int, at_ns: int, kind: int, payload: bytes, contents: Sequence[tuple[str, str, Any]]
    ) -> JournalRecord:
        """A record from elsewhere."""
    @property
    def seq(self) -> int:
        """Its place in the stream, from 0."""
    @property
    def at_ns(self) -> int:
        """When it happened, in nanoseconds on the stream's own clock."""
    @property
    def kind(self) -> int:
        """The writer's number for this kind of record; 128 for a chunk."""
    @property
    def payload(self) -> bytes:
        """The record free of content; for a chunk its attempt (4 bytes, little-endian) and its signal (1 byte)."""
    @property
    def contents(self) -> list[tuple[str, str, Any]]:
        """The content: class, state and value.

        The state is `full` with the bytes, `hashed` with the hash, `absent`, or `erased` with the length. A chunk has
        its text, then perhaps the framework's own object.
        """

@final
class JournalLease:
    """The right to work on a run, until it is given back, dropped or taken over."""

    @property
    def run(self) -> bytes:
        """The run."""
    @property
    def fence(self) -> int:
        """Higher than that of every holder before."""
    def check(self) -> None:
        """Raise where somebody else has taken over."""
    def renew(self) -> None:
        """Beat now, instead of waiting for the background to do it."""
    def release(self) -> None:
        """Give the run back. More than once does no harm."""

def fork_before() -> None:
    """Close the database connections of every journal of this process: called before a fork."""

def fork_after_in_parent() -> None:
    """Let journals use their databases again: called in the parent after a fork."""

def fork_after_in_child() -> None:
    """Let go of the files of the parent's journals: called in the child after a fork."""

def named_id(kind: str, name: str) -> bytes:
    """The 16 bytes that a name always has, so that it is found again by every process."""
