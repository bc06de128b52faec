"""Promises the kit makes about itself."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import l0_core.testing
from l0_core.testing import faults
from l0_core.testing.fault_table import TABLE, markdown

ROOT = Path(__file__).parents[4]
HOME = Path(l0_core.testing.__file__).parent


def test_public_names_are_sorted_and_exist() -> None:
    assert l0_core.testing.__all__ == sorted(set(l0_core.testing.__all__))
    assert [name for name in l0_core.testing.__all__ if not hasattr(l0_core.testing, name)] == []
    assert faults.__all__ == sorted(set(faults.__all__))


# What concerns L0 itself, and not only a provider.
HEAVIER = {"__init__", "__main__", "proof", "recorded", "store_suite"}


def test_it_needs_neither_the_native_module_nor_a_framework_nor_an_sdk() -> None:
    modules = [f"l0_core.testing.{path.stem}" for path in HOME.glob("*.py") if path.stem not in HEAVIER]
    program = f"import sys, importlib; [importlib.import_module(name) for name in {modules}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True).stdout
    roots = {module.partition(".")[0] for module in loaded.split()}
    assert roots & {"anthropic", "httpx", "langchain_core", "llama_index", "openai", "pydantic", "yaml"} == set()
    assert "l0_core._native" not in loaded.split()


def test_the_page_of_faults_is_what_the_code_prints() -> None:
    page = ROOT / "docs" / "faults.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python -m l0_core.testing faults > docs/faults.md"


def test_every_fault_is_in_the_table() -> None:
    assert {row.fault.partition("(")[0] for row in TABLE} == set(faults.names())


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.py")), ids=lambda path: str(path.relative_to(HOME)))
def test_every_module_exports_what_it_means_to(path: Path) -> None:
    name = ".".join(("l0_core.testing", *path.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__")
    if name.endswith(("__main__", ".plugin")):
        return
    module = importlib.import_module(name)
    assert module.__doc__
    assert [public for public in module.__all__ if not hasattr(module, public)] == []
