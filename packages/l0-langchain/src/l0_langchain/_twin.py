"""The object an attempt is made on: the wrapped class, the wrapper's state, a client that does not retry by itself."""

import asyncio
from collections.abc import Mapping
from functools import cache, cached_property
from inspect import iscoroutinefunction
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from l0_core._connections import connections_here
from l0_core._context import listening, sent
from l0_langchain._quiet import quiet_client

ModelT = TypeVar("ModelT", bound=BaseModel)

STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
"""The slots that make up a pydantic object."""

_CLIENTS = ("root_client", "client", "_client")
_ASYNC_CLIENTS = ("root_async_client", "async_client", "_async_client")
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")

_Loop = asyncio.AbstractEventLoop | None

_patient: WeakKeyDictionary[Any, dict[_Loop, Any]] = WeakKeyDictionary()
"""A provider's client, and for each loop the same client with its own retries off, which says when it sends. Sync ones
share the connections; async ones have those of their loop."""


def put_state(made: BaseModel, state: dict[str, Any]) -> None:
    """Make `state` the state of a pydantic object that has none of its own."""
    for slot, value in state.items():
        object.__setattr__(made, slot, value)


def state_of(model: BaseModel) -> dict[str, Any]:
    """Return the state of a pydantic object, not copied."""
    return {slot: getattr(model, slot) for slot in STATE}


def fields_of(model: BaseModel, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a model as a new one is made from, without those that get `others`, by whichever name.

    The provider's clients are left out: they were made from the fields, and would be kept whatever these say now.
    """
    fields = type(model).model_fields
    return {
        name: value
        for name, value in model.__dict__.items()
        if name in fields
        and fields[name].alias not in others
        and not (
            name in _CLIENTS + _ASYNC_CLIENTS and (_is_client(value) or _is_client(getattr(value, "_client", None)))
        )
    }


def changed(thing: ModelT, **changes: Any) -> ModelT:
    """Return a pydantic object with other values in some fields. Its own way takes four times as long."""
    made = type(thing).__new__(type(thing))
    put = object.__setattr__
    put(made, "__dict__", {**thing.__dict__, **changes})
    put(made, "__pydantic_fields_set__", thing.__pydantic_fields_set__ | changes.keys())
    put(made, "__pydantic_extra__", thing.__pydantic_extra__)
    put(made, "__pydantic_private__", thing.__pydantic_private__)
    return made


def twin_of(model: BaseModel, kind: type[ModelT], *, is_async: bool, tokens_shown: int = 0) -> ModelT:
    """Return an object of `kind` with the state of `model`, for one attempt.

    Where nothing has to differ the state is shared, so that a model which counts in its own fields goes on counting.

    Args:
        model: The wrapper, or a fallback.
        kind: The class that is wrapped.
        is_async: Whether it is about to be awaited.
        tokens_shown: What a limit on the answer's length, where one is set, is lowered by.
    """
    changes = _without_retries(model, kind, is_async=is_async)
    if tokens_shown:
        changes |= _shorter(model.__dict__, tokens_shown)
    twin = kind.__new__(kind)
    state = state_of(model)
    if changes:
        state["__dict__"] = {**model.__dict__, **changes}
    put_state(twin, state)
    return twin


def _without_retries(model: BaseModel, kind: type[BaseModel], *, is_async: bool) -> dict[str, Any]:
    fields, changes = model.__dict__, {}
    names = _ASYNC_CLIENTS if is_async else _CLIENTS
    for name in _made_on_first_use(kind, names):
        if name not in fields:
            getattr(model, name)  # On the wrapper, which keeps it.
    loop = asyncio.get_running_loop() if is_async else None
    for name in names:
        client = fields.get(name)
        if client is not None and (patient := _without(client, loop)) is not client:
            changes[name] = patient
    if changes:
        listening()
    for name in _CLIENTS:  # One may be there for both, and a call that is awaited be made in a thread.
        client = None if name in changes else fields.get(name)
        if client is not None and (quiet := quiet_client(client)) is not client:
            changes[name] = quiet
    if "max_retries" in kind.model_fields and fields.get("max_retries"):
        changes["max_retries"] = 0
    return changes


@cache
def _made_on_first_use(kind: type[BaseModel], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of them are such attributes: asking a pydantic class for one it has not takes a microsecond."""
    return tuple(name for name in names if isinstance(getattr(kind, name, None), cached_property))


def _without(client: Any, loop: _Loop) -> Any:
    """Return a provider's client, or one of its resources, with retries off; whatever else it is, as it is."""
    below = getattr(client, "_client", None)
    if is_client := _is_client(client):
        below = below if loop is None else connections_here(client)
    elif _is_client(below):
        below = _without(below, loop)
    else:
        return client
    made = _patient.setdefault(client, {})
    patient = made.get(loop)
    if patient is None or patient._client is not below:
        for other in [other for other in list(made) if other is not None and other.is_closed()]:
            made.pop(other, None)
        patient = made[loop] = _patient_on(below, client) if is_client else type(client)(below)
    return patient


def _patient_on(http: Any, client: Any) -> Any:
    """Return a provider's client on an HTTP client, which is mostly its own."""
    patient = client.with_options(max_retries=0, **({} if http is client._client else {"http_client": http}))
    kind: Any = type(patient)
    patient.__class__ = _telling(kind)
    return patient


def _is_client(client: Any) -> bool:
    """Return whether something is the client of a generated SDK: they are alike, whoever's they are."""
    return (
        type(getattr(client, "max_retries", None)) is int
        and hasattr(client, "with_options")
        and hasattr(client, "_prepare_request")
    )


@cache
def _telling(kind: Any) -> Any:
    """Return a client's class such that it says when it sends, through the hook the SDKs keep for subclasses.

    A class and not an attribute: a client that is made of this one says so, too. It has the name of the one it is made
    from, which goes out with every request.
    """
    prepare = kind._prepare_request

    def told(self: Any, request: Any) -> Any:
        sent()
        return prepare(self, request)

    async def told_async(self: Any, request: Any) -> None:
        sent()
        await prepare(self, request)

    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    hook = told_async if iscoroutinefunction(prepare) else told
    return type(kind)(kind.__name__, (kind,), {**names, "_prepare_request": hook})


def _shorter(fields: dict[str, Any], tokens_shown: int) -> dict[str, int]:
    """Return the limits on the answer's length less what of it has been shown."""
    return {
        name: max(1, limit - tokens_shown) for name in _LENGTHS if type(limit := fields.get(name)) is int and limit > 0
    }


def shorter_kwargs(kwargs: dict[str, Any], tokens_shown: int) -> dict[str, Any]:
    """Return a call's keywords with its limits on the answer's length lowered by what has been shown."""
    return {**kwargs, **_shorter(kwargs, tokens_shown)} if tokens_shown else kwargs
