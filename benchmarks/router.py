"""How the same answers end through LiteLLM's Router. Runs in an environment that has it, and prints JSON."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from ending import WAIT, Remedy, endings

from l0_core.testing import FaultyProvider

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched when it is imported
# It is not installed where types are checked.
litellm: Any = import_module("litellm")


@dataclass
class Piece:
    """A chunk of its stream."""

    text: str
    response_metadata: dict[str, Any] = field(default_factory=dict)


def _target(name: str, provider: FaultyProvider) -> dict[str, Any]:
    params = {"model": "openai/m", "api_base": provider.openai_url, "api_key": "none"}
    return {"model_name": name, "litellm_params": params}


@cache
def _router(provider: FaultyProvider, spare: FaultyProvider, fallbacks: str) -> Any:
    """Return one router for all calls; without cooldowns, because here every call meets a fault."""
    options: dict[str, Any] = {"num_retries": 2, "retry_after": WAIT, "disable_cooldowns": True}
    targets = [_target("first", provider), _target("second", spare)]
    return litellm.Router(model_list=targets, fallbacks=json.loads(fallbacks), **options)


def _stream(provider: FaultyProvider, spare: FaultyProvider, fallbacks: str = "[]") -> Iterator[Piece]:
    messages = [{"role": "user", "content": "What?"}]
    for chunk in _router(provider, spare, fallbacks).completion(model="first", messages=messages, stream=True):
        for choice in chunk.choices:
            said = {"finish_reason": choice.finish_reason} if choice.finish_reason else {}
            yield Piece(choice.delta.content or "", said)


REMEDIES: dict[str, Remedy] = {
    "LiteLLM Router": _stream,
    "LiteLLM Router, fallbacks": lambda provider, spare: _stream(provider, spare, '[{"first": ["second"]}]'),
}


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    print(json.dumps([asdict(row) for name, remedy in REMEDIES.items() for row in endings(name, remedy)]))
