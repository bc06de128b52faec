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


def run(*command: str | Path, cwd: Path) -> str:
    """Run `command` as a user would: found through PATH, with nothing of this environment's Python settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target" / "wheels")  # Kept, so that only the first time is slow.
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A source distribution of every package, and the wheel made from it."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for package in PACKAGES:
        run(
            sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / "packages" / package, cwd=folder
        )
    return folder


# One test, so that parallel workers do not build the same thing in the same folder.
@pytest.mark.matrix
@pytest.mark.timeout(1_800)
def test_what_is_built_is_complete_and_works_elsewhere(dist: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    [sdist] = dist.glob("l0_core-*.tar.gz")
    with (
        subtests.test("the core's source distribution holds its crates and their lock"),
        tarfile.open(sdist) as archive,
    ):
        names = archive.getnames()
        assert any(name.endswith("/Cargo.lock") for name in names)
        assert any(name.endswith("/l0-python/src/lib.rs") for name in names)

    with subtests.test("the core's wheel serves every Python from 3.11"):
        [wheel] = dist.glob("l0_core-*.whl")
        assert "-cp311-abi3-" in wheel.name
        names = zipfile.ZipFile(wheel).namelist()
        assert "l0_core/_native.pyi" in names
        assert sum(name.startswith("l0_core/_native.") and not name.endswith(".pyi") for name in names) == 1

    for package in PACKAGES:
        with subtests.test("a wheel holds its package and nothing else", package=package):
            [wheel] = dist.glob(f"{package.replace('-', '_')}-*.whl")
            root, names = package.replace("-", "_"), zipfile.ZipFile(wheel).namelist()
            assert f"{root}/py.typed" in names
            assert any(name.endswith("licenses/LICENSE") for name in names)
            strays = [name for name in names if not name.startswith((f"{root}/", f"{root}-")) or "__pycache__" in name]
            assert strays == []

    with subtests.test("installed wheels work outside the repository"):
        run("uv", "venv", "--quiet", "--python", sys.executable, "venv", cwd=tmp_path)
        python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        pins = ROOT / "constraints.txt"
        run("uv", "pip", "install", "--quiet", "--python", python, "-c", pins, *dist.glob("*.whl"), cwd=tmp_path)
        report = json.loads(run(python, "-I", "-c", PROGRAM, cwd=tmp_path))
        assert all(Path(file).is_relative_to(tmp_path) for file in report["files"])
        assert len(report["versions"]) == 1
        assert report["profile"] == "release"
