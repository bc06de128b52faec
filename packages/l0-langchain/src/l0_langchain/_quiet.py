"""Clients and calls that do more than a call, with that off. They are known by their shape; none is imported."""

import copy
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from l0_core import _aws
from l0_core.ports.litellm import AsSent

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_CALLED_WITH: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "ChatCohere": {"request_options": {"max_retries": 0}},
        "ChatLiteLLM": {"max_retries": 0, "num_retries": 0},
    }
)
"""Classes of which a call alone can say how often it is made again, and how it is told to be made once."""

_quiet: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""A client, and the same client with its own retries off, on the same connections."""


@cache
def quiet_keywords(kind: type) -> Mapping[str, Any]:
    """Return the keywords by which a call of a model of this class is made once."""
    return next((_CALLED_WITH[each.__name__] for each in kind.__mro__ if each.__name__ in _CALLED_WITH), _NOTHING)


def quiet_client(client: Any) -> Any:
    """Return a client that makes every call once, on the same connections; itself, where it is of no shape known here.

    Three shapes are: SDKs that keep a `retry_config` in their `sdk_configuration`, and go on for an hour where nothing
    is said; AWS's clients; and LiteLLM, which makes up an end.
    """
    make: Callable[[Any], Any]
    parts: Mapping[str, Any] = getattr(client, "__dict__", _NOTHING)
    if hasattr(parts.get("sdk_configuration"), "retry_config"):
        make = _without_retry_config
    elif _aws.is_of_aws(client):
        make = _aws.once
    elif isinstance(client, ModuleType) and client.__name__ == "litellm":
        make = _AsSent
    else:
        return client
    made = _quiet.get(client)
    if made is None:
        made = _quiet[client] = make(client)
    return made


class _AsSent:
    """LiteLLM, whose streams end as the provider's do."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def completion(self, **keywords: Any) -> Any:
        """Answer as LiteLLM does, but for the end it makes up."""
        answer = self._module.completion(**keywords)
        return AsSent(answer) if keywords.get("stream") else answer

    async def acompletion(self, **keywords: Any) -> Any:
        """Answer as LiteLLM does, but for the end it makes up."""
        answer = await self._module.acompletion(**keywords)
        return AsSent(answer) if keywords.get("stream") else answer


def _without_retry_config(client: Any) -> Any:
    """Return it without the resources it has made: they keep what they were told when they were."""
    told = client.sdk_configuration
    kind: Any = type(client)
    made, once = kind.__new__(kind), copy.copy(told)
    once.retry_config = None
    for name, part in vars(client).items():
        if getattr(part, "__dict__", _NOTHING).get("sdk_configuration") is not told:
            vars(made)[name] = part
    made.sdk_configuration = once
    return made
