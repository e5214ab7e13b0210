"""How much memory answers take, and where they write what does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prodlensd.answers import calls as answers
from prodlensd.answers.calls import Where, open_calls
from prodlensd.ledger import LedgerError
from prodlensd.ledger.rows import COLUMNS
from prodlensd.model import US_PER_DAY
from tests.scenario.asking import ask
from tests.scenario.conftest import World

NEW_YEAR = 20454  # days since 1970
SESSIONS = 300_000
#: The report of a session each, as the command asks for it, and the most it took.
ASKING = """
import re, sys
from pathlib import Path
from prodlensd.__main__ import main
sys.argv[1:] = ["report", "--since", "always", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert not {"numpy", "pandas"} & sys.modules.keys(), "they cost half a second and 150 MB"
# Not ru_maxrss: a process begins with that of the one that started it.
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


def ledger_of_sessions(world: World, count: int) -> None:
    """So many calls in a day, each a session of its own."""
    nothing = dict.fromkeys(COLUMNS)
    nothing |= {"status": "success", "cache_hit": 0, "cost_source": "table", "source_id": 1}

    def row(number: int) -> tuple[Any, ...]:
        more = {
            "started_us": NEW_YEAR * US_PER_DAY + number,
            "key": f"call-{number} chatcmpl-{number}",
            "session_id": f"{number * 0x9E3779B97F4A7C15 % 2**64:064x}",
            "tokens_in": number,
            "cost_nanousd": number * 7919 % 1000,
            "latency_ms": number / 8,
            "source_offset": number,
        }
        return tuple((nothing | more)[column] for column in COLUMNS)

    world.append("a.jsonl", b"[]\n")
    world.settle()
    with world.store.transaction():
        world.store.rows.insert(list(map(row, range(count))))
        world.store.db.execute("INSERT INTO partition (day, version) VALUES (?, 1)", (NEW_YEAR,))


def peak_bytes(world: World, folder: Path, *options: str) -> int:
    config = world.ledger.with_name("config.toml")
    config.write_text(f"[store]\npath = '{world.ledger}'\n[parquet]\ndirectory = '{folder}'\n")
    command = [sys.executable, "-c", ASKING, "--config", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{SESSIONS:,}" in done.stdout or f"{SESSIONS}" in done.stdout
    return int(done.stderr.splitlines()[-1]) * 1024


@pytest.mark.long
@pytest.mark.timeout(1800)  # eighteen reports: 845 s beside fifteen busy processes
def test_a_report_of_300_000_sessions_takes_less_than_500_megabytes(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "parquet"
    ledger_of_sessions(world, SESSIONS)
    peaks = {}
    for state in ("in the ledger", "compacted", "pruned"):
        if state == "compacted":
            world.compact(folder)
        elif state == "pruned":
            world.prune(folder)
        for asked in ("session", "session,model", "day,session"):
            for form in ("table", "json"):
                options = ("--by", asked, "--format", form)
                peaks[state, asked, form] = peak_bytes(world, folder, *options) // 10**6
    assert max(peaks.values()) < 500, peaks


@pytest.mark.long
def test_what_does_not_fit_is_written_beside_the_ledger_and_gone_after(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_of_sessions(world, 150_000)
    monkeypatch.setattr(answers, "_MEMORY", "64MB")
    before = {path.name for path in tmp_path.iterdir()}
    with open_calls(Where(world.ledger, tmp_path / "parquet")) as calls:
        (spill,) = tmp_path.glob(".spill-*")
        assert spill.stat().st_mode & 0o777 == 0o700
        asked = "SELECT session_id, sum(tokens_in) FROM calls GROUP BY 1 ORDER BY 2"
        assert len(calls.rows(asked)) == 150_000
        assert [*spill.iterdir()], "it was too much"
    assert before == {path.name for path in tmp_path.iterdir()}


@pytest.mark.long
def test_what_fits_nowhere_is_said_in_words(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_of_sessions(world, 20_000)
    monkeypatch.setattr(answers, "_MEMORY", "1MB")
    with pytest.raises(LedgerError, match=r"needs more than memory and .* ask for a shorter time"):
        ask(world.ledger, tmp_path / "parquet", ("session",))
    assert not [*tmp_path.glob(".spill-*")]
