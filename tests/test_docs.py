"""Everything the documentation shows is run: snippets against the faulty provider, commands against what there is."""

import gc
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from l0_core.testing import FaultyProvider, Reply, virtual_time
from l0_core.testing.conversation import Request

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("README.md"), *ROOT.glob("packages/*/README.md")])
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGETS = re.compile(r"^([a-z]+):.*## ", re.MULTILINE)


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Every fenced block of a page: its language, its text, the line it begins on."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield match.group(1), match.group(2), text[: match.start(2)].count("\n")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_structured(request: Request) -> bool:
    """Whether JSON of a shape of its own is asked for."""
    return "response_format" in request.body


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyProvider]:
    """What the environment's clients talk to."""
    with FaultyProvider() as provider:
        provider.reply("The Seine rises in Burgundy, near Dijon, and is 775 kilometres long.")
        provider.reply(Reply.of('{"name": "Seine", "length_km": 775}'), when=is_structured)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, "none")
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            monkeypatch.setenv(name, provider.openai_url)
        for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL"):
            monkeypatch.setenv(name, provider.anthropic_url)
        monkeypatch.chdir(tmp_path)
        yield provider


WITH_SNIPPETS = [page for page in PAGES if any(language == "python" for language, _, _ in blocks(page))]


# LangChain and LlamaIndex leave clients to the collector, which some snippets do as every reader will.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
# LlamaIndex's agents look at all of their own attributes, deprecated ones included.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=name_of)
def test_a_page_runs_from_top_to_bottom(page: Path) -> None:
    """What a reader would paste, block after block, into one session."""
    names: dict[str, object] = {"__name__": "snippet"}
    for language, source, line in blocks(page):
        if language == "python":
            exec(compile("\n" * line + source, str(page), "exec"), names)  # noqa: S102 - that is the point
    for name, test in list(names.items()):
        if name.startswith("test_") and callable(test):  # what a page shows of a reader's own tests
            with FaultyProvider() as provider, virtual_time() as time:
                fixtures = {"faulty_provider": provider, "l0_time": time}
                test(**{wanted: fixtures[wanted] for wanted in inspect.signature(test).parameters})
    names.clear()
    gc.collect()


def test_there_are_snippets_to_run() -> None:
    assert len(WITH_SNIPPETS) > 5


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_a_page_shows_exist(page: Path) -> None:
    make = set(TARGETS.findall((ROOT / "Makefile").read_text()))
    for language, source, _ in blocks(page):
        for line in source.splitlines() if language in {"", "sh", "console"} else ():
            match line.split("#")[0].split():
                case ["make", target, *_]:
                    assert target in make, line
                case ["l0", command, *_]:
                    assert command in commands(), line
                case ["python", "-m", module, *_]:
                    assert module.startswith(("l0_core", "pytest")), line
                case _:
                    pass


def commands() -> set[str]:
    """The commands of `l0`."""
    from l0_core.cli.app import app

    return {str(command.name) for command in app.registered_commands}


def test_the_page_of_the_policy_is_current() -> None:
    run = "from l0_core.cli import main; main()"
    command = [sys.executable, "-c", run, "policy", "--reference"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    page = (ROOT / "docs/policy.md").read_text(encoding="utf-8")
    assert page == printed.stdout, "run: l0 policy --reference > docs/policy.md"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in ROOT.glob("docs/*.md") if f": {page.name}" not in navigation] == []


LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:docs|examples|tests|benchmarks|packages|crates|fuzz)/[\w./-]+)`")
PROSE = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in an address."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Those to other pages and files; addresses elsewhere are not called."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        aim = (page.parent / file).resolve() if file else page
        assert aim.exists(), link
        assert not anchor or anchor in anchors(aim), link
    for name in NAMED.findall(text):
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


def test_the_page_of_commands_names_them_all() -> None:
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `l0 (\w+)", page, re.MULTILINE)) == commands()


def test_the_extras_that_pages_name_exist() -> None:
    named = re.compile(r"(l0-\w+)\[([\w,]+)\]")
    for page in PAGES:
        for package, extras in named.findall(page.read_text(encoding="utf-8")):
            project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), page
