"""What is asked of every package of LLMs for LlamaIndex, and that ours is found where theirs are."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

from llama_index.core.base.llms.base import BaseLLM
from scripted_llm import Scripted

import l0_llamaindex
import llama_index.llms
from llama_index.llms.l0 import L0LLM


def test_text_inference_embedding_class() -> None:
    """The test that every integration has."""
    assert BaseLLM.__name__ in [base.__name__ for base in L0LLM.__mro__]
    assert BaseLLM.__name__ in [base.__name__ for base in type(L0LLM(llm=Scripted("x"))).__mro__]


def test_it_is_the_same_class_under_both_names() -> None:
    assert L0LLM is l0_llamaindex.L0LLM
    assert getattr(llama_index.llms, "__file__", None) is None, "a namespace that all integrations share"


def test_importing_the_package_loads_no_framework() -> None:
    told = (
        "import sys, l0_llamaindex; print(sorted({'llama_index', 'pydantic', 'openai', 'workflows'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-I", "-c", told], check=True, capture_output=True).stdout == b"[]\n"


def test_llamahub_finds_what_it_says() -> None:
    """The metadata by which the framework's hub lists a package."""
    told = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["tool"]["llamahub"]
    module = importlib.import_module(told["import_path"])
    assert told["class_authors"].keys() == {"L0LLM"} == set(module.__all__)
    assert all(hasattr(module, name) for name in told["class_authors"])
    assert told["contains_example"] is False
