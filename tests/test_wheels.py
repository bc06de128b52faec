"""What is built works where this repository is not."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ["l0-core", "l0-langchain", "l0-llamaindex"]
PROGRAM = """
import json, l0_core, l0_langchain, l0_llamaindex
packages = [l0_core, l0_langchain, l0_llamaindex]
print(json.dumps({
    "files": [package.__file__ for package in packages],
    "versions": sorted({package.__version__ for package in packages}),
    "profile": l0_core.build_info().profile,
}))
"""

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(1_800)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run `command` as a user would: found through PATH, with nothing of this environment's Python settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target" / "wheels")  # Kept, so that only the first time is slow.
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of every package, and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        run(
            sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / "packages" / package, cwd=folder
        )
    return folder


def test_each_package_builds_one_of_each(dist: Path) -> None:
    assert len(list(dist.glob("*.whl"))) == len(PACKAGES)
    assert len(list(dist.glob("*.tar.gz"))) == len(PACKAGES)


def test_wheels_hold_the_package_and_nothing_else(dist: Path) -> None:
    for wheel in dist.glob("*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        package = wheel.name.partition("-")[0]
        assert f"{package}/py.typed" in names
        assert any(name.endswith("licenses/LICENSE") for name in names)
        strays = [
            name for name in names if not name.startswith((f"{package}/", f"{package}-")) or "__pycache__" in name
        ]
        assert strays == []


def test_the_core_wheel_serves_every_python_from_3_11(dist: Path) -> None:
    [wheel] = dist.glob("l0_core-*.whl")
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "l0_core/_native.pyi" in names
    assert sum(name.startswith("l0_core/_native.") and not name.endswith(".pyi") for name in names) == 1


def test_the_core_source_distribution_holds_its_crates(dist: Path) -> None:
    [sdist] = dist.glob("l0_core-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(name.endswith("/Cargo.lock") for name in names)
    assert any(name.endswith("/l0-python/src/lib.rs") for name in names)


def test_installed_wheels_work_outside_the_repository(dist: Path, tmp_path: Path) -> None:
    run("uv", "venv", "--quiet", "--python", sys.executable, "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    run("uv", "pip", "install", "--quiet", "--python", python, "-c", constraints, *dist.glob("*.whl"), cwd=tmp_path)
    report = json.loads(run(python, "-I", "-c", PROGRAM, cwd=tmp_path))
    assert all(Path(file).is_relative_to(tmp_path) for file in report["files"])
    assert len(report["versions"]) == 1
    assert report["profile"] == "release"
