"""A recording process that is killed with SIGKILL leaves a journal that is sound and whole (G1, G5, G6)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("crash.py")

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and fork"), pytest.mark.timeout(1_800)]


def killed(durability: str, count: int) -> str:
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), "--durability", durability, "--count", str(count)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid"])
def test_killed_at_random_moments_of_two_answers_and_a_charge(durability: str) -> None:
    assert f"{durability}: 6 runs" in killed(durability, 6)


@pytest.mark.matrix
@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid"])
def test_killed_hundreds_of_times(durability: str) -> None:
    assert f"{durability}: 300 runs" in killed(durability, 300)
