"""The object that attempts run on: the wrapped LLM, or its twin where its client would retry by itself.

Retries under retries multiply: twelve requests for one failing call, most of them after the engine has given up on the
target. A twin is of the same class and has the state of the wrapped LLM as it is when the attempt begins; its client is
a copy of the wrapped one's without retries, on the same connections: an async one's on those of its loop.
"""

from collections.abc import Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

from llama_index.core.schema import BaseComponent
from pydantic import BaseModel

from l0_core import _aws
from l0_core._connections import connections_here
from l0_llamaindex import _known


class Sent:
    """Whether an attempt has sent its request, and what it is answered by."""

    __slots__ = ("done", "response", "told")

    def __init__(self) -> None:
        self.told = False
        """Whether the client would have said so."""
        self.done = False
        self.response: Any = None
        """The HTTP response, where the client lets it be seen."""

    @property
    def nothing(self) -> bool:
        """Whether nothing was sent for certain."""
        return self.told and not self.done


class Twins:
    """Makes the twins of one wrapped LLM, and keeps the clients that its class makes at the first call."""

    def __init__(self, inner: BaseModel) -> None:
        self.inner = inner
        self._made: dict[str, Any] = {}
        self._last: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        """Of the last attempt: the state it had, the same as it was given, and whose it was."""

    def twin(self, fields: Mapping[str, Any], sent: Sent, *, awaits: bool) -> Any:
        """Return what an attempt is made on.

        Args:
            fields: What differs from the wrapped LLM in this attempt alone.
            sent: Is told when the request goes out, where the client can say so.
            awaits: Whether the async client is the one in use.
        """
        inner = self.inner
        self._follow()
        private = dict(inner.__pydantic_private__ or {})
        clients = {name: client for name, client in private.items() if _is_client(client, awaits=awaits)}
        for name, maker in _makers(inner, private).items():
            client = self._made.get(name) or self._make(name, maker)
            if client is not None and _is_client(client, awaits=awaits):
                clients[name] = client
        quiet = {name: copy for name, value in private.items() if (copy := _quiet(value)) is not None}
        changes = _fewest(inner) | _known.asked_once(inner)
        if not clients and not quiet and not changes:
            return inner
        private |= quiet
        for name, client in clients.items():
            options = {"http_client": connections_here(client)} if awaits else {}
            private[name] = _listening(client.with_options(max_retries=0, **options), sent)
        twin = like(inner, {**changes, **fields}, private)
        held = vars(twin)
        self._last = [(private, dict(private), inner.__pydantic_private__ or {}), (held, dict(held), vars(inner))]
        return twin

    def _follow(self) -> None:
        """Give the wrapped LLM what the last attempt has changed of its state, such as the id of a response."""
        last, self._last = self._last, []
        for now, before, whose in last:
            whose.update({name: value for name, value in now.items() if value is not before.get(name, _NOTHING)})

    def _make(self, name: str, maker: str) -> Any:
        """Have a client made as the class makes it; `None` where that fails: the attempt will say why."""
        inner = self.inner
        maiden = like(inner, {"max_retries": 0}, dict(inner.__pydantic_private__ or {}))
        try:
            client = getattr(maiden, maker)()
        except Exception:  # noqa: BLE001 - it is raised again where the caller can see it
            return None
        if (maiden.__pydantic_private__ or {}).get(name) is not client:
            return None  # It makes a new one for each call.
        self._made[name] = client
        return client


_NOTHING = object()
_MAKERS = {"_client": "_get_client", "_aclient": "_get_aclient"}


def _makers(inner: Any, private: Mapping[str, Any]) -> dict[str, str]:
    """Return which clients the class makes by itself, at its first call and for good."""
    if not _retries(inner) or not getattr(inner, "reuse_client", True):
        return {}
    return {
        name: maker
        for name, maker in _MAKERS.items()
        if name in private and private[name] is None and hasattr(type(inner), maker)
    }


def _retries(inner: BaseModel) -> bool:
    """Return whether the class itself retries, and makes clients that do, as its field says."""
    return "max_retries" in type(inner).model_fields and hasattr(type(inner), "_get_client")


def _fewest(inner: BaseModel) -> dict[str, Any]:
    """Return the field that says how often a class tries, as for a single time.

    Where it is handed to a generated SDK's client it counts retries. Elsewhere it counts attempts, as `tenacity` does,
    or retries: of attempts there must be one, and a class of somebody's own may count them from nought.
    """
    if "max_retries" not in type(inner).model_fields:
        return {}
    return {"max_retries": 0 if _retries(inner) else 1}


def _quiet(held: Any) -> Any:
    """Return what an LLM holds as it is but for retries of its own; `None` where it is nothing that is known to retry.

    Connections, and all else there is to it, are shared. What is protected itself is left as it is.
    """
    kind = type(held)
    if kind.__module__ == "botocore.config":
        return held.merge(kind(retries={"total_max_attempts": 1}))
    if _aws.is_of_aws(held):
        return _aws.once(held)
    if isinstance(held, BaseModel) and not isinstance(held, BaseComponent) and not hasattr(held, "_l0"):
        return _of_a_model(held)
    return None


def _of_a_model(model: BaseModel) -> BaseModel | None:
    """Return another framework's model, whose clients, and the parts of clients it keeps, do not retry."""
    made: dict[int, Any] = {}
    changes: dict[str, Any] = {}
    for name, held in vars(model).items():
        client: Any = held if _is_sdk(held) else getattr(held, "_client", None)
        if _is_sdk(client):
            quiet = made.get(id(client)) or made.setdefault(id(client), client.with_options(max_retries=0))
            changes[name] = quiet if held is client else type(held)(quiet)
    if not changes:
        return None
    once: BaseModel = like(model, {}, dict(model.__pydantic_private__ or {}))
    vars(once).update(changes)
    return once


def _is_sdk(value: object) -> bool:
    """Return whether something is a generated SDK's client: they are alike, whoever's they are."""
    return hasattr(value, "_prepare_request") and hasattr(value, "with_options")


def _is_client(value: Any, *, awaits: bool) -> bool:
    """Return whether something is one that is awaited, or one that is not."""
    return _is_sdk(value) and iscoroutinefunction(value._prepare_request) == awaits  # noqa: SLF001 - the hook


def like(inner: Any, fields: Mapping[str, Any], private: dict[str, Any]) -> Any:
    """Return an object of the same class with the same state but for `fields`, without running any `__init__`.

    Args:
        inner: The object whose state it is.
        fields: What differs; names that are no fields of the class are passed over.
        private: Its private attributes.
    """
    twin: Any = object.__new__(type(inner))
    known = type(inner).model_fields
    state = {**inner.__dict__, **{name: value for name, value in fields.items() if name in known}}
    object.__setattr__(twin, "__dict__", state)
    object.__setattr__(twin, "__pydantic_private__", private or None)
    object.__setattr__(twin, "__pydantic_fields_set__", inner.__pydantic_fields_set__)
    object.__setattr__(twin, "__pydantic_extra__", inner.__pydantic_extra__)
    share_slots(inner, twin)
    return twin


def share_slots(inner: Any, twin: Any) -> None:
    """Give an object of the same class, or of one below it, what its class keeps in slots of its own."""
    for kind in type(inner).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(inner, name):
                object.__setattr__(twin, name, getattr(inner, name))


def _listening(client: Any, sent: Sent) -> Any:
    """Have a client say when it sends and what comes back, through the hooks that the SDKs keep for their subclasses.

    A generator keeps the response to itself. A sync one is read in a thread, and what blocks there can only be ended by
    way of the response; and either kind leaves it open where it stumbles.
    """
    prepare: Callable[[Any], Any] = client._prepare_request  # noqa: SLF001 - the hook
    process: Callable[..., Any] | None = getattr(client, "_process_response", None)
    sent.told = True

    async def prepare_async(request: Any) -> None:
        sent.done = True
        prepared: Awaitable[None] = prepare(request)
        await prepared

    def prepare_sync(request: Any) -> None:
        sent.done = True
        prepare(request)

    def process_either(**given: Any) -> Any:
        sent.response = given.get("response")
        return None if process is None else process(**given)

    client._prepare_request = prepare_async if iscoroutinefunction(prepare) else prepare_sync  # noqa: SLF001 - the hook
    if process is not None:
        client._process_response = process_either  # noqa: SLF001 - it makes of the response what is iterated
    return client
