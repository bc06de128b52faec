"""The compiled half of `l0_core`. Private: use what `l0_core` exports."""

from typing import Any, Literal, final

__all__ = [
    "BuildInfo",
    "Change",
    "Checking",
    "Fault",
    "Fleet",
    "JsonSchema",
    "Objection",
    "Opening",
    "Outcome",
    "Partial",
    "Policy",
    "Repaired",
    "Report",
    "Session",
    "Splice",
    "ToolCall",
    "Unrepairable",
    "build_info",
    "classify",
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
        recorded: bool = False,
    ) -> Session:
        """Raise `ValueError(field, problem)` for a plan that cannot be carried out."""
    def inputs(self, now: int, texts: list[str]) -> None:
        """Check what the model would be given, before `start`: an objection ends the session as it begins."""
    def start(self, now: int) -> None:
        """Begin."""
    def admitted(self, now: int, kind: int, value: int) -> None:
        """The fleet's answer, as `Fleet.ask` gave it."""
    def opened(self, now: int, attempt: int) -> None:
        """An attempt's response began."""
    def chunk(self, now: int, attempt: int, text: str) -> int:
        """The hot path: a chunk of plain text. 0 pass, 1 hold, 2 drain, 3 skip."""
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
    ) -> int:
        """A chunk that is more, or less, than plain text; its read had been pending for `waited` nanoseconds."""
    def ended(self, now: int, attempt: int) -> None:
        """An attempt's stream ended by itself."""
    def failed(self, now: int, attempt: int, facts_json: str, message: str) -> None:
        """An attempt failed: what was read off its exception, and its message, which is looked at and not kept."""
    def checking(self) -> Checking | None:
        """What the caller's own guards are being asked, if anything."""
    def judged(self, now: int, attempt: int, check: int, dissents: list[tuple[int, str, list[str]]]) -> None:
        """The caller's own guards have answered: which object, for what reason, and what is to be put right."""
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
