"""The command line, as a shell sees it."""

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = "from l0_core.cli import main; main()"


def l0(*arguments: str, before: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", f"{before}{RUN}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "", "COLUMNS": "200", **environment},
    )


def test_the_script_is_the_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["l0"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_doctor_says_what_there_is() -> None:
    ran = l0("doctor")
    assert ran.returncode == 0, ran.stderr
    for word in ["python", "rustc", "l0-core", "langchain-core", "policy", "sync stream", "async stream", "ok"]:
        assert word in ran.stdout


def test_doctor_says_it_to_programs() -> None:
    ran = l0("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["works"] is True
    assert report["packages"]["l0-core"] == report["build"]["version"]
    assert report["packages"]["pydantic"]
    assert report["settings"] == {}
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["sync stream"]["verdict"] == checks["async stream"]["verdict"] == "ok"
    assert "digest" in checks["policy"]["detail"]
    if report["build"]["profile"] != "release":
        assert checks["build"]["verdict"] == "warning"
        assert report["build"]["profile"] in checks["build"]["detail"]


def test_doctor_says_no_where_something_does_not_work() -> None:
    ran = l0("doctor", "--json", L0_POLICY="nonsense")
    assert ran.returncode == 1
    report = json.loads(ran.stdout)
    assert report["works"] is False
    assert report["settings"] == {"L0_POLICY": "nonsense"}
    (failed,) = [check for check in report["checks"] if check["verdict"] == "failed"]
    assert failed["name"] == "policy"
    assert "nonsense" in failed["detail"]
    assert "Traceback" not in ran.stderr
    assert l0("doctor", L0_POLICY="nonsense").returncode == 1


def test_doctor_warns_where_everything_is_off() -> None:
    ran = l0("doctor", "--json", L0_DISABLE="1")
    assert ran.returncode == 0
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    assert checks["enabled"]["verdict"] == "warning"
    assert "L0_DISABLE" in checks["enabled"]["detail"]


@pytest.mark.parametrize("arguments", [["no-such-command"], ["doctor", "--no-such-option"], ["doctor", "extra"]])
def test_misuse_is_told_from_no(arguments: list[str]) -> None:
    ran = l0(*arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr


def test_help_names_the_commands() -> None:
    ran = l0("--help")
    assert ran.returncode == 0
    assert "doctor" in ran.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_how_to_get_it(missing: str) -> None:
    ran = l0("doctor", before=f"import sys; sys.modules[{missing!r}] = None\n")
    assert ran.returncode == 2
    assert ran.stderr == f"l0: the command line needs {missing}: pip install 'l0-core[cli]'\n"
