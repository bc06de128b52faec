"""The promises the tree makes about itself, whatever the packages do."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "l0_core": ROOT / "packages/l0-core",
    "l0_langchain": ROOT / "packages/l0-langchain",
    "l0_llamaindex": ROOT / "packages/l0-llamaindex",
}

# What a package may import beside itself and the standard library. `l0_core` knows no framework; a framework package
# knows its framework and `l0_core`.
ALLOWED = {
    "l0_core": {
        "anthropic",
        "h11",
        "httpx",
        "litellm",
        "openai",
        "pydantic",
        "pydantic_core",
        "pytest",
        "rich",
        "typer",
    },
    "l0_langchain": {"l0_core", "langchain", "langchain_core", "langgraph", "pydantic"},
    "l0_llamaindex": {"l0_core", "llama_index", "llama_index_instrumentation", "pydantic", "workflows"},
}

# With these a framework package would begin to decide about reliability, which is the engine's part.
DECIDING = {"random", "re", "tenacity", "time"}

# What importing a package's root must not bring along: it would be paid by programs that never use it.
HEAVY = {"anthropic", "httpx", "langchain", "langchain_core", "langgraph", "llama_index", "openai", "pydantic", "typer"}


@pytest.fixture(params=sorted(PACKAGES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def package(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_public_names_are_sorted_and_exist(package: ModuleType) -> None:
    public: list[str] = package.__all__
    assert public == sorted(set(public))
    assert [public_name for public_name in public if not hasattr(package, public_name)] == []
    assert set(public) <= set(dir(package))


def test_unknown_names_are_refused_by_name(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"{package.__name__}.*no_such_name"):
        package.no_such_name  # noqa: B018


def test_one_version_for_the_workspace(package: ModuleType) -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert package.__version__ == version
    assert metadata.version(package.__name__.replace("_", "-")) == version


def test_importing_a_root_is_light(name: str) -> None:
    program = f"import {name}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    roots = {module.partition(".")[0] for module in loaded.stdout.split()}
    assert name in roots
    assert roots & HEAVY == set()


def imported(source: str) -> set[str]:
    """The top-level names of all modules that `source` imports, at any depth of the code."""
    roots: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b as c\nfrom . import d\nfrom .e import f\ndef g():\n    from h.i import j\n"
    assert imported(source) == {"a", "h"}


def test_a_package_imports_only_what_it_may(name: str) -> None:
    allowed = ALLOWED[name] | {name, *sys.stdlib_module_names}
    if name != "l0_core":
        allowed -= DECIDING
    strangers = {
        f"{path.relative_to(ROOT)}: {root}"
        for path in PACKAGES[name].glob("src/**/*.py")
        for root in imported(path.read_text()) - allowed
    }
    assert strangers == set()


REGISTRIES = re.compile(r"(?:pypi|pythonhosted|npmjs|crates|proxy\.golang)\.(?:org|io)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.:~-])/(?:root|work|home/\w+|Users/\w+)/")
LOCK_SOURCE = re.compile(r'^source = "registry\+.*"$', re.MULTILINE)  # cargo's own word in its lock file
BUILT = {
    ".cache",
    ".git",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "artifacts",
    "corpus",
    "dist",
    "out",
    "site",
    "target",
}


def offences(text: str) -> list[str]:
    return REGISTRIES.findall(text) + [match.group() for match in MACHINE_PATHS.finditer(text)]


def tree() -> Iterator[tuple[Path, str]]:
    """Every text file that is not built."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - BUILT)
        for file in sorted(set(files) - BUILT):
            path = Path(folder, file)
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


# Put together here, so that this file does not offend.
OFFENCES = {
    "registry": "https://{}.org/simple/x".format("pypi"),
    "index": "index.{}.io".format("crates"),
    "home": "x=/{}/a".format("root"),
}


@pytest.mark.parametrize("text", OFFENCES.values(), ids=OFFENCES)
def test_an_offence_is_seen(text: str) -> None:
    assert offences(text)


def test_the_tree_names_no_registry_and_no_machine() -> None:
    found = {
        str(path.relative_to(ROOT)): seen
        for path, text in tree()
        if (seen := offences(LOCK_SOURCE.sub("", text) if path.name == "Cargo.lock" else text))
    }
    assert found == {}


def normal(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_development_dependencies_are_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.+!]*", pin)] == []
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    for folder in PACKAGES.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        wanted += project["dependencies"]
        for extra in project.get("optional-dependencies", {}).values():
            wanted += extra
    missing = {normal(requirement) for requirement in wanted} - {normal(pin) for pin in pins}
    assert missing == {"l0-core"}


def test_every_package_carries_the_licence(name: str) -> None:
    assert (PACKAGES[name] / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
