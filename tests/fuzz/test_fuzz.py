"""The fuzzer finds nothing in the parsers, and finds each of the mistakes made on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prodlensd

DEADLINE_S = 600

pytestmark = [pytest.mark.real_programs, pytest.mark.timeout(DEADLINE_S + 60)]  # atheris

PACKAGES = Path(prodlensd.__file__).parents[1]
HARNESS = Path(__file__).with_name("fuzz_formats.py")
#: A mistake that the harness can make, and what gives it away.
MUTANTS = {
    "surrogates": "surrogates not allowed",
    "counts": "Broken: (total_)?tokens",
    "moments": "OverflowError|ValueError|TypeError|Broken: started_us",
    "lengths": "Broken: started_us",
    "order": "Broken: the quick and the careful reading differ",
}
RUNS = 25_000
#: It stops at the first crash, mostly within 5,000.
MUTANT_RUNS = 150_000
SOAK_RUNS = int(float(os.environ.get("SOAK_MINUTES", "30")) * 30_000)


def fuzz(
    folder: Path, runs: int, seed: int = 1, *, mutant: str = "", timeout_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HARNESS), f"-runs={runs}", f"-seed={seed}", "-verbosity=1"],
        cwd=folder,
        env=os.environ
        | {
            "PRODLENSD_MUTANT": mutant,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(PACKAGES),
            "TMPDIR": str(folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def executed(output: str) -> int:
    done = re.search(r"^Done (\d+) runs", output, re.MULTILINE)
    return int(done[1]) if done else 0


def test_no_line_that_the_fuzzer_thinks_of_breaks_a_promise(tmp_path: Path) -> None:
    done = fuzz(tmp_path, RUNS)
    assert done.returncode == 0, done.stdout[-4000:]
    assert executed(done.stdout) >= RUNS
    assert list(tmp_path.glob("crash-*")) == []


@pytest.mark.parametrize(("mutant", "symptom"), MUTANTS.items())
def test_the_fuzzer_finds_a_mistake_made_on_purpose(
    tmp_path: Path, mutant: str, symptom: str
) -> None:
    done = fuzz(tmp_path, MUTANT_RUNS, mutant=mutant)
    assert done.returncode != 0
    assert executed(done.stdout) == 0
    assert re.search(symptom, done.stdout), done.stdout[-4000:]
    assert len(list(tmp_path.glob("crash-*"))) == 1


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_line_breaks_a_promise_for_long(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED") or 0) or int.from_bytes(os.urandom(3)) + 1
    done = fuzz(tmp_path, SOAK_RUNS, seed, timeout_s=24 * 3600)
    assert done.returncode == 0, f"SOAK_SEED={seed}\n{done.stdout[-4000:]}"
    assert executed(done.stdout) >= SOAK_RUNS
