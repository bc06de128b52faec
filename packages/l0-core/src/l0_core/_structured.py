"""Answers of a shape: parsed, repaired, validated, asked for again, or refused; never anything else.

`Shape` is what an answer has to be. What to do about one that does not fit is the engine's to decide: to it a
validation is a guard of the caller's own, on the whole answer.

The seam for frameworks is a policy. Any session that runs by it gives a valid answer, or refuses:

    shape = shape_of(schema)                         # the same one each time
    shape.policy(policy)                             # the answer is JSON in the text
    shape.policy(policy, reads="calls", tool="Item") # the answer is the arguments of a call of that tool
    shape.policy(policy, whole=False)                # text that is shown before it is known to be valid

An answer that is broken JSON is put right on its way to the consumer if the port has `rewritten` (`RewritingPort`).
Arguments that cannot be put right, and answers that do not fit, are asked for again: `attempt.rejected` is what the
model said (the text, or the arguments), `attempt.instruction` what to ask of it; then the next target is tried; then
`RefusedOutput`. `Result.repaired`, `.reasks` and `.invalid` say how it went, in a replay as well. With `reads="calls"`
nothing is given before it is valid, and an answer without a call of the tool does not fit.
"""

import json
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypedDict, TypeVar, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from l0_core import _native
from l0_core._async import AsyncStream
from l0_core._check import Called, Dissent, Piece, Reading
from l0_core._drive import RESET, Drive, ErrorClasses, Reset, drive_of, failure_of, sources_of
from l0_core._lifecycle import Lifecycle
from l0_core._port import ChunkPort
from l0_core._settings import PolicyLike
from l0_core._sync import StallGuard, Stream
from l0_core._target import Target
from l0_core.guards import UserGuard
from l0_core.json import Partial, Unrepairable, repair
from l0_core.policy import Policy

if TYPE_CHECKING:
    from l0_core._journal import JournalLike
    from l0_core._result import Result

T = TypeVar("T")

Cut = Literal["refuse", "accept"]
Documents = Literal["longest", "first", "last", "all"]
Reads = Literal["text", "calls", "text_without_calls"]

_ERRORS_MAX = 10
"""Errors a target is told of at a time."""
_POLICIES_MAX = 64
"""Policies a shape remembers."""


class Misfit(Exception):  # noqa: N818 - it says what became of the answer
    """An answer is not of the shape.

    Attributes:
        fields: The fields in which it is not, by names of the schema alone: what the model wrote stands as `*`.
        dissent: What the engine is told: a reason of such names, and errors for the model itself.
    """

    def __init__(self, fields: Sequence[str], dissent: Dissent) -> None:
        super().__init__(dissent.reason)
        self.fields = fields
        self.dissent = dissent


class Parsed(NamedTuple):
    """What an answer says.

    Attributes:
        value: The validated value.
        fixes: What had to be put right in its JSON.
        json: The JSON it was read from, with that put right.
    """

    value: Any
    fixes: Sequence[str]
    json: str


class Shape(Generic[T]):
    """What an answer has to be.

    Args:
        schema: A pydantic model, a TypedDict, a dataclass, any other type pydantic can validate, or a JSON schema.
        cut: What to do with a document that is still open where the answer ends: `refuse` it, which asks for it again,
            or `accept` what there is of it, if that is valid.
        documents: Which one is meant where there are several.
    """

    def __init__(
        self, schema: type[T] | Mapping[str, Any], *, cut: Cut = "refuse", documents: Documents = "longest"
    ) -> None:
        self._cut = cut
        self._documents = documents
        self._policies: dict[tuple[object, ...], tuple[Policy, Policy]] = {}
        self._adapter: TypeAdapter[T] | None = None
        if isinstance(schema, Mapping):
            self.json_schema: Mapping[str, Any] | None = schema
            self._validator = _native.JsonSchema(json.dumps(schema))
            name = schema.get("title")
        else:
            try:
                self._adapter = TypeAdapter(schema)
            except PydanticUserError as error:
                raise TypeError(f"a schema is a type that pydantic can validate, or a JSON schema: {error}") from None
            try:
                self.json_schema = self._adapter.json_schema()
            except PydanticInvalidForJsonSchema:  # it validates all the same; only its fields have no names
                self.json_schema = None
            name = getattr(schema, "__name__", None)
        self.name = name if isinstance(name, str) and 0 < len(name) <= 64 and name.isprintable() else "schema"  # noqa: PLR2004 - as the engine takes
        said = json.dumps(self.json_schema, sort_keys=True, default=str) if self.json_schema else repr(schema)
        self.version = sha256(said.encode()).hexdigest()[:16]
        self._names = frozenset(_names(self.json_schema))

    def read(self, text: str) -> tuple[T, Sequence[str]]:
        """Return what an answer says, and what had to be put right in its JSON.

        Raises:
            Misfit: It is not of the shape.
        """
        value, fixes, _ = self.parse(text)
        return value, fixes

    def parse(self, text: str) -> Parsed:
        """Return what an answer says, and the JSON it says it in.

        Raises:
            Misfit: It is not of the shape.
        """
        try:
            repaired = repair(text, documents=self._documents)
        except Unrepairable as error:
            raise Misfit([], Dissent("no JSON", [f"{error}; give the JSON document that was asked for"])) from None
        if repaired.cut and self._cut == "refuse":
            ends = "the answer ends before its JSON document does; give all of it, shorter if need be"
            raise Misfit([], Dissent("the JSON document is cut", [ends]))
        fixes = tuple(change.fix for change in repaired.changes)
        if self._adapter is None:
            self._fit(self._validator.violations(repaired.text, _ERRORS_MAX))
            return Parsed(repaired.value, fixes, repaired.text)
        try:
            return Parsed(self._adapter.validate_json(repaired.text), fixes, repaired.text)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)[:_ERRORS_MAX]
        told = [f"{'.'.join(map(str, one['loc'])) or 'the document'}: {one['msg']}" for one in found]
        raise self._misfit([one["loc"] for one in found], [one["type"] for one in found], told)

    def parse_calls(self, calls: Sequence[Called], tool: str | None = None) -> list[Parsed]:
        """Return what the calls of an answer say, in their order.

        Raises:
            Misfit: There is none, one is of another tool, or one is not of the shape.
        """
        what = "the tool you were given" if tool is None else f"the tool {tool}"
        if not calls:
            raise Misfit([], Dissent("no tool call", [f"answer by calling {what}"]))
        if tool is not None and any(call.name != tool for call in calls):
            raise Misfit([], Dissent("a call of another tool", [f"call no tool but {what}"]))
        return [self.parse(call.args or "{}") for call in calls]

    def _fit(self, violations: Sequence[tuple[str, str]]) -> None:
        if violations:
            told = [f"{pointer or 'the document'}: {what}" for pointer, what in violations]
            raise self._misfit([_path(pointer) for pointer, _ in violations], [what for _, what in violations], told)

    def _misfit(self, paths: Sequence[Sequence[str | int]], what: Sequence[str], told: Sequence[str]) -> Misfit:
        fields = [self._named(path) for path in paths]
        reason = "; ".join(f"{field}: {kind}" for field, kind in zip(fields, what, strict=True))
        return Misfit(fields, Dissent(reason, told))

    def _named(self, path: Sequence[str | int]) -> str:
        """Return a path by the names that the schema has; a place in a list, or a key of the model's own, is a `*`."""
        parts = [part if isinstance(part, str) and part in self._names else "*" for part in path]
        return ".".join(parts) or "the document"

    def policy(
        self,
        policy: PolicyLike = None,
        *,
        whole: bool = True,
        reasks: int = 2,
        reads: Reads = "text",
        tool: str | None = None,
        replaces: bool = False,
    ) -> Policy:
        """Return a policy whose sessions accept answers of this shape only: the same one each time.

        Args:
            policy: What holds besides.
            whole: Whether nothing is given to the consumer before it is valid.
            reasks: How often a target is told what to put right before the next one is tried.
            reads: What of an answer is read: its `text`, or the arguments of its `calls`, which are never given before
                they are valid; or its text unless it makes calls, which an agent does before it answers.
            tool: The tool that is to be called, where calls are read; any, where nothing is said.
            replaces: Whether each value that the consumer makes of the text takes the place of the one before: so it
                has opted in to the rung `reset`.
        """
        base = Policy.of(policy)  # type: ignore[arg-type]  # the engine's own copy is refused by name
        key = (id(base), whole, reasks, reads, tool, replaces)
        known = self._policies.get(key)
        if known is None:
            check: dict[str, Any] = {"version": self._version_for(tool), "on": "whole", "retries": reasks}
            if reads == "calls":
                check["reads"] = "calls"
            guard = _SchemaGuard(name=self.name, check={"user": check})
            guard._validates = self, reads, tool  # noqa: SLF001 - its own
            update: dict[str, Any] = {"guards": (*base.guards, guard)}
            if whole or reads == "calls":
                update["delivery"] = "whole"
            rungs = base.continuation.rungs
            if replaces and "reset" not in rungs:
                update["continuation"] = base.continuation.model_copy(update={"rungs": (*rungs, "reset")})
            if len(self._policies) >= _POLICIES_MAX:
                self._policies.clear()
            # The policy is remembered as well, so that nothing else can come to have its id.
            known = self._policies[key] = (base, base.model_copy(update=update))
        return known[1]

    def _version_for(self, tool: str | None) -> str:
        return self.version if tool is None else sha256(f"{self.version} {tool}".encode()).hexdigest()[:16]


class Validating(Generic[T]):
    """What one session makes of its answers."""

    def __init__(self, shape: Shape[T], reads: Reads = "text", tool: str | None = None) -> None:
        self._shape = shape
        self._reads: Reads = reads
        self._tool = tool
        self._known: dict[str, T] = {}
        """What the last answer says, as it arrived and as it is given."""
        self.title = shape.name

    def ask(self, piece: Piece) -> Reading:
        """Read an answer; say what is to be put right in it, or what was."""
        try:
            if self._reads == "calls":
                return self._of_calls(piece.calls)
            if self._reads == "text_without_calls" and piece.calls:
                return Reading()
            parsed = self._shape.parse(piece.text)
        except Misfit as misfit:
            return Reading(misfit.dissent, misfit.fields or [misfit.dissent.reason])
        self._known = {piece.text: parsed.value, parsed.json: parsed.value}
        return Reading(fixes=parsed.fixes, text=parsed.json if parsed.fixes else None)

    def _of_calls(self, calls: Sequence[Called]) -> Reading:
        parsed = self._shape.parse_calls(calls, self._tool)
        self._known = {parsed[0].json: parsed[0].value}
        return Reading(
            fixes=[fix for one in parsed for fix in one.fixes],
            args={call.index: one.json for call, one in zip(calls, parsed, strict=True) if one.fixes},
        )

    def value_of(self, result: "Result") -> T:
        """Return what the answer of a session says; read once, however often it is asked for.

        Raises:
            Misfit: It is not of the shape.
        """
        calls = self._reads == "calls"
        said = next((call.args or "{}" for call in result.tool_calls), "") if calls else result.text
        if said not in self._known:
            self._known = {said: self._shape.parse(said).value}
        return self._known[said]


class _SchemaGuard(UserGuard):
    """A shape, as a policy has it."""

    _validates: tuple[Shape[Any], Reads, str | None]

    def begin(self) -> Validating[Any]:
        return Validating(*self._validates)

    def __reduce__(self) -> Any:
        raise TypeError("a policy with a schema crosses no process: make it there")


def _path(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _names(schema: object) -> Iterator[str]:
    """Yield the names of all properties of a JSON schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
                yield from (value if key == "properties" else ())
                for inner in value.values():
                    yield from _names(inner)
            elif key not in {"const", "default", "enum", "examples"}:
                yield from _names(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _names(value)


@lru_cache(maxsize=128)
def _shape_of_type(schema: Any, cut: Cut, documents: Documents) -> Shape[Any]:
    return Shape(schema, cut=cut, documents=documents)


@lru_cache(maxsize=128)
def _shape_of_json(schema: str, cut: Cut, documents: Documents) -> Shape[Any]:
    return Shape(json.loads(schema), cut=cut, documents=documents)


def shape_of(schema: Any, *, cut: Cut = "refuse", documents: Documents = "longest") -> Shape[Any]:
    """Return the shape of a schema: the same one each time, so that it is compiled once."""
    if isinstance(schema, Shape):
        return schema
    if isinstance(schema, Mapping):
        return _shape_of_json(json.dumps(schema), cut, documents)
    return _shape_of_type(schema, cut, documents)


# Sessions ------------------------------------------------------------------------------------------------------------


class _Session(Generic[T]):
    """One call for a value: which policy it runs by depends on whether its partial values are looked at."""

    def __init__(self, shape: Shape[T], begin: Callable[[Policy], Drive], policy: PolicyLike, reasks: int) -> None:
        self.shape = shape
        self.drive: Drive | None = None
        self._begin = begin
        self._policy = policy
        self._reasks = reasks
        self._partial = Partial()

    def begin(self, *, whole: bool) -> Drive:
        self.drive = self._begin(self.shape.policy(self._policy, whole=whole, reasks=self._reasks))
        return self.drive

    def follow(self, chunk: Any) -> Any:
        """Return the value so far, where a chunk changed it; `RESET` where it begins anew; else nothing."""
        drive = self.drive
        assert drive is not None, "chunks are a session's"  # noqa: S101 - an invariant
        if isinstance(chunk, Reset) or (drive.port is not None and chunk is getattr(drive.port, "reset", RESET)):
            self._partial = Partial()
            return RESET
        text = chunk if isinstance(chunk, str) else drive.text_of(chunk)
        if text is None:
            text = drive.port.facts(chunk).text if drive.port is not None else ""
        return self._partial.value if text and self._partial.feed(text) else None

    @property
    def value(self) -> T:
        """The value of a session that has ended well."""
        drive = self.drive
        assert drive is not None, "a value is a session's"  # noqa: S101 - an invariant
        result, validation = drive.result, cast("Validating[T]", drive.validation)
        if result.status != "complete":  # it was left before its end
            raise failure_of(result, {}, "cancelled")
        try:
            return validation.value_of(result)
        except Misfit:  # where nothing was checked on the way: inside an attempt, or where L0 is off
            raise failure_of(result, {}, "unfit") from None

    @property
    def result(self) -> "Result":
        if self.drive is None:
            raise RuntimeError("the session has not begun: ask for its value or its partials first")
        return self.drive.result


class Structured(Generic[T]):
    """A value to be had from a model. `value` is it; `partials` shows it growing; `result` says how it went."""

    def __init__(self, session: _Session[T], stall_guard: StallGuard) -> None:
        self._session = session
        self._stall_guard: StallGuard = stall_guard
        self._stream: Stream[Any] | None = None
        self._over = False

    def partials(self) -> Generator[Any, None, None]:
        """Yield the value as it grows, unvalidated: objects and lists, as far as they have come.

        A value that was yielded is not changed later. Once one was, an answer that is not valid can only be replaced
        if the policy allows the rung `reset`; then `RESET` is yielded and the value begins anew.
        """
        stream = self._begin(whole=False)
        try:
            for chunk in stream:
                value = self._session.follow(chunk)
                if value is not None:
                    yield value
            self._over = True
        finally:
            stream.close()

    @property
    def value(self) -> T:
        """The validated value.

        Raises:
            RefusedOutput: No answer was valid; `.session_id` is the incident's id, `.result.invalid` names the fields.
        """
        if not self._over:
            for _ in self._begin(whole=True):
                pass
            self._over = True
        return self._session.value

    def _begin(self, *, whole: bool) -> Stream[Any]:
        if self._stream is None:
            self._stream = Stream(self._session.begin(whole=whole), self._stall_guard)
        return self._stream

    def close(self) -> None:
        """Stop, and close the provider's stream."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def result(self) -> "Result":
        """How the session went, or goes: `repaired`, `reasks` and `invalid` among the rest."""
        return self._session.result


class AsyncStructured(Generic[T]):
    """A value to be had from a model: await it; `partials` shows it growing; `result` says how it went."""

    def __init__(self, session: _Session[T]) -> None:
        self._session = session
        self._stream: AsyncStream[Any] | None = None
        self._over = False

    async def partials(self) -> AsyncIterator[Any]:
        """Yield the value as it grows, as `Structured.partials`."""
        stream = self._begin(whole=False)
        try:
            async for chunk in stream:
                value = self._session.follow(chunk)
                if value is not None:
                    yield value
            self._over = True
        finally:
            await stream.aclose()

    def __await__(self) -> Generator[Any, None, T]:
        return self._value().__await__()

    async def _value(self) -> T:
        if not self._over:
            async for _ in self._begin(whole=True):
                pass
            self._over = True
        return self._session.value

    def _begin(self, *, whole: bool) -> AsyncStream[Any]:
        if self._stream is None:
            self._stream = AsyncStream(self._session.begin(whole=whole))
        return self._stream

    async def aclose(self) -> None:
        """Stop, and close the provider's stream."""
        if self._stream is not None:
            await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def result(self) -> "Result":
        """How the session went, or goes: `repaired`, `reasks` and `invalid` among the rest."""
        return self._session.result


def _session(
    schema: type[T] | Shape[T] | Mapping[str, Any],
    sources: Sequence[Target | Callable[..., Any]],
    *,
    policy: PolicyLike,
    reasks: int,
    shape: "_ShapeOptions",
    **plan: Any,
) -> _Session[T]:
    targets = sources_of(*sources)

    known = shape_of(schema, **shape)
    distinct = {"schema": known.version, **shape, "reasks": reasks}

    def begin(policy: Policy) -> Drive:
        return drive_of(targets, policy.native, distinct=distinct, **plan)

    return _Session(known, begin, policy, reasks)


class _ShapeOptions(TypedDict):
    cut: Cut
    documents: Documents


def structured(
    schema: type[T] | Shape[T] | Mapping[str, Any],
    open_: Target | Callable[..., Any],
    *,
    fallbacks: Sequence[Target | Callable[..., Any]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    port: ChunkPort[Any] | None = None,
    errors: ErrorClasses | None = None,
    journal: "JournalLike" = None,
    input: object = None,  # noqa: A002 - what it is
    reasks: int = 2,
    cut: Cut = "refuse",
    documents: Documents = "longest",
    stall_guard: StallGuard = "thread",
) -> Structured[T]:
    """Ask for a value: parsed, repaired where it is broken, validated; else asked for again, elsewhere, or refused.

    Nothing is called before `value` or `partials` is asked for. A source learns from `attempt.instruction`,
    `attempt.rejected` and `attempt.errors` what to put right; those of `l0_core.ports` send it by themselves.

    Args:
        schema: A pydantic model, a TypedDict, a dataclass, another type that pydantic can validate, or a JSON schema.
        open_: Starts one attempt, as for `stream`.
        fallbacks: What to try when it fails for good, in this order.
        policy: A `Policy`, the name of a preset, or a file; `L0_POLICY`, or the standard one, where nothing is said.
        on: Listeners; `on_invalid` is told of each answer that is not valid.
        tenant: Whose budgets and breakers it counts against.
        port: What knows the source's chunks, where they are of a kind of your own.
        errors: What a framework raises in place of an error of L0: a child of both.
        journal: Where it is written down; that of `L0_JOURNAL` where nothing is said. Inside a run it is a step of it,
            and the run's journal holds it.
        input: What the model is given, in any shape. The policy's `input_guards` see every text in it; inside a run it
            tells the step from others of the same name, as the schema does.
        reasks: How often a target is told what to put right; it has `policy.retry.attempts` in all.
        cut: What to do with a document that is open where the answer ends: `refuse` it, which asks for it again, or
            `accept` what there is of it, if that is valid; `result.repaired` then says so.
        documents: Which one is meant where an answer holds several.
        stall_guard: As for `stream`.

    Example:
        >>> import l0_core
        >>> from pydantic import BaseModel
        >>> class City(BaseModel):
        ...     name: str
        ...     people: int
        >>> def source(attempt):
        ...     yield "Here it is: {name: 'Paris', "
        ...     yield "people: 2100000}"
        >>> l0_core.structured(City, source).value
        City(name='Paris', people=2100000)
    """
    plan = {"on": on, "tenant": tenant, "port": port, "errors": errors, "journal": journal, "input": input}
    shape = _ShapeOptions(cut=cut, documents=documents)
    session = _session(schema, [open_, *fallbacks], policy=policy, reasks=reasks, shape=shape, **plan)
    return Structured(session, stall_guard)


def astructured(
    schema: type[T] | Shape[T] | Mapping[str, Any],
    open_: Target | Callable[..., Any],
    *,
    fallbacks: Sequence[Target | Callable[..., Any]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    port: ChunkPort[Any] | None = None,
    errors: ErrorClasses | None = None,
    journal: "JournalLike" = None,
    input: object = None,  # noqa: A002 - what it is
    reasks: int = 2,
    cut: Cut = "refuse",
    documents: Documents = "longest",
) -> AsyncStructured[T]:
    """Ask for a value: the async twin of `structured`. Await it, or iterate its `partials` first."""
    plan = {"on": on, "tenant": tenant, "port": port, "errors": errors, "journal": journal, "input": input}
    shape = _ShapeOptions(cut=cut, documents=documents)
    session = _session(schema, [open_, *fallbacks], policy=policy, reasks=reasks, shape=shape, **plan)
    return AsyncStructured(session)
