"""Which endpoints go on from an answer's beginning, and in what form they take it.

It is a matter of the endpoint and not of the model alone: the same weights take a prefix at one host and not at
another. What is not in the table is unknown, and L0 then tries it where a restart would be recognised.
"""

import re
from typing import Final, Literal, NamedTuple

Dialect = Literal["chat", "messages", "responses", "litellm"]

Form = Literal["assistant", "prefix", "continue", "no"]
"""How a beginning is sent.

`assistant`: as the last message, of the assistant. `prefix`: so, marked with `"prefix": true`. `continue`: so, with the
parameters `continue_final_message` and `add_generation_prompt` that vLLM and SGLang know. `no`: it is not taken.
"""


class Rule(NamedTuple):
    """What is known of some endpoints: those whose address and model match.

    Attributes:
        dialect: The API they speak.
        host: A regular expression that is found in the address.
        model: A regular expression that is found in the model's name.
        form: How they take a beginning.
    """

    dialect: Dialect
    host: str
    model: str
    form: Form


_CLAUDE_THAT_DOES: Final = (
    r"claude-(?:instant|v?[123])|claude-(?:opus|sonnet|haiku)-4(?:[-.][015])?(?![-.]?\d{1,2}(?!\d))"
)

RULES: Final = (
    Rule("responses", "", "", "no"),
    Rule("chat", r"api\.openai\.com|\.openai\.azure\.com", "", "no"),
    Rule("chat", r"api\.deepseek\.com/beta", "", "prefix"),
    Rule("chat", r"api\.deepseek\.com", "", "no"),  # the parameter is refused outside of /beta
    Rule("chat", r"api\.mistral\.ai", "", "prefix"),
    Rule("messages", "", _CLAUDE_THAT_DOES, "assistant"),
    Rule("messages", "", "claude", "no"),
    Rule("litellm", "", r"^(?:openai|azure)/|^(?:gpt|o\d)-", "no"),
    Rule("litellm", "", r"^(?:deepseek|mistral)/", "prefix"),
    Rule("litellm", "", r"^vertex_ai/deepseek", "no"),
    Rule("litellm", "", _CLAUDE_THAT_DOES, "prefix"),
    Rule("litellm", "", "claude", "no"),
)
"""The first that matches counts."""


def form_of(dialect: Dialect, host: str, model: str) -> Form | None:
    """Return how an endpoint takes a beginning, or nothing where nobody knows."""
    for rule in RULES:
        if rule.dialect == dialect and re.search(rule.host, host) and re.search(rule.model, model):
            return rule.form
    return None
