"""Whatever the umask, what the program creates is its user's alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.security.hostile import CANARY, COMMAND, House, trace_line, written

_OPEN = stat.S_IRWXG | stat.S_IRWXO
_CALLBACK = "from prodlensd.litellm_callback import *; append_line(log_folder(), '{}')"


def loose(folder: Path) -> dict[str, str]:
    """What others may do anything with, and its mode."""
    return {
        str(path.relative_to(folder)): oct(mode)
        for path in (folder, *folder.rglob("*"))
        if (mode := stat.S_IMODE(path.lstat().st_mode)) & _OPEN
    }


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder that is not there, nor are those above it."""
    return tmp_path / "new" / "deep" / "home"


@pytest.mark.long
@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_all_that_a_daemon_makes_is_its_users_alone(
    deep: Path, wait_until: Any, umask: int
) -> None:
    house = House(deep, deep.parents[2] / "work")
    assert house.started("init", umask=umask).returncode == 0
    house.config.write_text("[parquet]\ninterval_s = 0.1\n[logs]\nrescan_interval_s = 1")
    daemon = house.popen("run", umask=umask, stderr=subprocess.DEVNULL)
    try:
        wait_until(house.logs.is_dir, "the log folder")
        (house.logs / "a.jsonl").touch(0o600)
        with (house.logs / "a.jsonl").open("ab") as file:
            file.write(written(trace_line(1, "x")) + b"refused\n")
        wait_until(lambda: list(deep.rglob("event_date=*/*.parquet")), "a snapshot")
        there = {path.name for path in deep.rglob("*")}
        assert {"prodlens.db", "prodlens.db-wal", "prodlens.db-shm", "prodlens.db.lock"} < there
        assert {".prodlensd.lock", "config.toml", "logs", "parquet"} < there
        assert not loose(deep.parents[1])
    finally:
        daemon.kill()
        daemon.wait()
    for command in ("reprice", "compact", "status", "report", "verify"):
        house.started(command, umask=umask)
        assert not loose(deep.parents[1])
    assert house.started("dead-letters", "retry", umask=umask).returncode == 0
    assert not loose(deep.parents[1])


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_ledger_is_its_users_alone_by_itself(deep: Path, umask: int) -> None:
    seen = subprocess.run(
        [sys.executable, "-P", "-c", _BIRTH, str(deep / "prodlens.db")],
        capture_output=True,
        check=True,
        text=True,
        umask=umask,
    ).stdout.split()
    assert set(seen) == {"0o600"}
    assert len(seen) > 2


#: Opens a ledger, whatever the umask, and says the mode of each of its files.
_BIRTH = """
import os, stat, sys
from pathlib import Path
from prodlensd.ledger import Ledger
path = Path(sys.argv[1])
path.parent.mkdir(parents=True)
with Ledger(path):
    for file in path.parent.iterdir():
        print(oct(stat.S_IMODE(file.stat().st_mode)))
"""


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_all_that_the_callback_makes_is_the_proxys_alone(deep: Path, umask: int) -> None:
    """It cannot set the umask of the proxy, whose process it lives in."""
    command = [sys.executable, "-P", "-c", _CALLBACK]
    environment = os.environ | {"PRODLENSD_HOME": str(deep)}
    subprocess.run(command, env=environment, umask=umask, check=True)
    assert len(list((deep / "logs").iterdir())) == 1
    assert not loose(deep.parents[1])


def test_the_callback_writes_through_no_link(tmp_path: Path) -> None:
    logs, other = tmp_path / "logs", tmp_path / "other"
    other.write_text("mine\n")
    environment = os.environ | {"LITELLM_LOG_DIR": str(logs)}
    command = [sys.executable, "-P", "-c", _CALLBACK]
    subprocess.run(command, env=environment, check=True)
    (file,) = logs.iterdir()
    file.unlink()
    file.symlink_to(other)
    done = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert b"Too many levels of symbolic links" in done.stderr
    assert other.read_text() == "mine\n"


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_litellm_configuration_is_its_users_alone(house: House, umask: int) -> None:
    folder = house.work / "new" / "proxy"
    assert house.started("init", "--proxy", str(folder), umask=umask).returncode == 0
    assert len(list(folder.iterdir())) == 2
    assert not loose(folder.parent)


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o000, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_the_installed_callback_is_written_by_its_user_alone(
    house: House, umask: int, file: int, folder: int
) -> None:
    """The proxy, of another user perhaps, has to read it, and it holds no secret."""
    place = house.work / "proxy"
    for _ in range(2):
        done = house.started("litellm-callback", "--install", str(place), umask=umask)
        assert done.returncode == 0
        assert stat.S_IMODE((place / "prodlensd_callback.py").stat().st_mode) == file
        assert stat.S_IMODE(place.stat().st_mode) == folder


def test_a_folder_that_is_there_keeps_its_mode_and_what_is_put_in_it_is_closed(
    house: House,
) -> None:
    for folder in (house.home, house.logs, house.home / "parquet"):
        folder.mkdir()
        folder.chmod(0o755)
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    (house.logs / "a.jsonl").chmod(0o644)
    assert house.command("run", "--once").returncode == 0
    assert len(list(house.home.rglob("*"))) > 6
    assert loose(house.home) == {
        ".": "0o755",
        "logs": "0o755",
        "logs/a.jsonl": "0o644",
        "parquet": "0o755",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_reads_nothing(wait_until: Any) -> None:
    nobody = 65_534
    with _open_to_all() as place:
        house = House(place / "home")
        house.home.mkdir(mode=0o755)
        open_file = house.home / "open"
        open_file.touch()
        house.config.write_text("[parquet]\ninterval_s = 0.1\n")
        daemon = house.popen("run", stderr=subprocess.DEVNULL)
        try:
            wait_until(house.logs.is_dir, "the log folder")
            environment = os.environ | {"LITELLM_LOG_DIR": str(house.logs)}
            subprocess.run([*COMMAND[:2], "-c", _CALLBACK], env=environment, check=True)
            with next(house.logs.iterdir()).open("ab") as file:
                file.write(written(trace_line(1, CANARY)) + CANARY.encode() + b"\n")
            wait_until(lambda: list(house.home.rglob("*.parquet")), "a snapshot")
            read = _read_as(nobody, house.home)
        finally:
            daemon.terminate()
            daemon.wait()
        read |= _read_as(nobody, house.home)
        assert read == {open_file.name}


def _open_to_all() -> Any:
    class _Place(tempfile.TemporaryDirectory[str]):
        def __enter__(self) -> Path:  # type: ignore[override]
            place = Path(super().__enter__())
            place.chmod(0o755)
            return place

    return _Place(prefix="prodlensd-test-")


def _read_as(user: int, folder: Path) -> set[str]:
    """The files that this user can read, by name."""
    cat = shutil.which("cat")
    assert cat
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file()
        and subprocess.run(
            [cat, path], user=user, group=user, extra_groups=[], capture_output=True, check=False
        ).returncode
        == 0
    }
