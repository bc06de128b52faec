"""How the same answers end through LiteLLM's Router. Runs in an environment that has it, and prints JSON."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
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


def _stream(provider: FaultyProvider, spare: FaultyProvider, **options: Any) -> Iterator[Piece]:
    targets = [_target("first", provider), _target("second", spare)]
    router = litellm.Router(model_list=targets, retry_after=WAIT, **options)
    messages = [{"role": "user", "content": "What?"}]
    for chunk in router.completion(model="first", messages=messages, stream=True):
        for choice in chunk.choices:
            said = {"finish_reason": choice.finish_reason} if choice.finish_reason else {}
            yield Piece(choice.delta.content or "", said)


REMEDIES: dict[str, Remedy] = {
    "LiteLLM Router": lambda provider, spare: _stream(provider, spare, num_retries=2),
    "LiteLLM Router, fallbacks": lambda provider, spare: _stream(
        provider, spare, num_retries=2, fallbacks=[{"first": ["second"]}]
    ),
}


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    print(json.dumps([asdict(row) for name, remedy in REMEDIES.items() for row in endings(name, remedy)]))
