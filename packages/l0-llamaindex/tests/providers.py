"""The real integrations, talking to the faulty provider."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.anthropic import base as anthropic_base
from llama_index.llms.anthropic import utils as anthropic_utils
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]

from l0_core.testing import FaultyProvider

# The integration is older than the SDK beside it, and alone it fails before any request. It makes messages by calling a
# class of the SDK that has become a union of classes and cannot be called: what it made was a dict. And it names a
# temperature, which the SDK no longer takes, to all models but those in a list.
ANTHROPIC_MODEL = "claude-sonnet-4-5"
ANTHROPIC_OLDER_MODEL = "claude-3-7-sonnet-latest"
"""One that answers in no given schema."""
vars(anthropic_utils)["MessageParam"] = vars(anthropic_utils)["BetaMessageParam"] = dict
vars(anthropic_base)["ANTHROPIC_NO_TEMP_MODELS"] += (ANTHROPIC_MODEL, ANTHROPIC_OLDER_MODEL)

CLIENTS = ["openai", "openai_like", "anthropic"]

_numbers = itertools.count()


@contextmanager
def client(name: str, provider: FaultyProvider, **fields: Any) -> Iterator[FunctionCallingLLM]:
    """Give an integration that talks to the provider, and close its connections."""
    base = f"{provider.url}/{next(_numbers)}"  # of its own: a provider counts by it, and no connection is another's
    if name == "anthropic":
        anthropic = Anthropic(model=ANTHROPIC_MODEL, base_url=base, api_key="x", max_tokens=4_000, **fields)
        try:
            yield anthropic
        finally:
            anthropic._client.close()
            _closed(anthropic._aclient)
        return
    sync, async_ = httpx.Client(timeout=60), httpx.AsyncClient(timeout=60)
    given: dict[str, Any] = {
        "api_base": f"{base}/v1",
        "api_key": "x",
        "http_client": sync,
        "async_http_client": async_,
        **fields,
    }
    try:
        if name == "openai_responses":
            yield OpenAIResponses(model="gpt-4o-mini", **given)
        elif name == "openai":
            yield OpenAI(model="gpt-4o-mini", **given)
        else:
            yield OpenAILike(model="mine", is_chat_model=True, is_function_calling_model=True, **given)
    finally:
        sync.close()
        _closed(async_)


def _closed(client: Any) -> None:
    """Close a client whose loop may be gone."""
    close = client.aclose if hasattr(client, "aclose") else client.close
    with suppress(RuntimeError):  # Its connections were closed with their loop.
        asyncio.run(close())
