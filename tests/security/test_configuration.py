"""Configuration, environment and the current folder can put nothing in where it does not belong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from prodlensd.config import Config, ConfigError, build, load
from tests.security.hostile import House, toml, trace_line, written

_PATHS = ("store.path", "parquet.directory", "logs.directories", "pricing.litellm_prices")


def configured(key: str, value: object, **env: str) -> Config:
    table, _, name = key.partition(".")
    content = [value] if name == "directories" else value
    return build({table: {name: content}}, Path("/etc/prodlensd/config.toml"), env)


# Paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", _PATHS)
@pytest.mark.parametrize(
    "path",
    ["", "a\0b", "\0", "~nobody-of-this-name/x", 1, ["/x"]],
    ids=ascii,
)
def test_what_is_no_path_is_refused_by_name(key: str, path: object) -> None:
    if (key, path) == ("pricing.litellm_prices", ""):
        return  # how it is switched off
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        configured(key, path)


def test_a_relative_path_is_seen_from_its_file_and_never_from_the_current_folder() -> None:
    config = configured("store.path", "../x/prodlens.db")
    assert config.store.path == Path("/etc/x/prodlens.db")
    assert configured("store.path", "$HOME/{x}%s`id`").store.path.parent == Path(
        "/etc/prodlensd/$HOME"
    )


@pytest.mark.parametrize(
    "host",
    [
        "../../x",
        "..",
        ".",
        "a/b",
        "/x",
        "a\0b",
        "a\nb",
        ".x",
        "_x",
        "-x",
        "a b",
        "\u202ea",
        "x" * 201,
    ],
)
def test_a_host_is_a_file_name_and_nothing_more(host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        build({"host": host}, None, {})


@pytest.mark.parametrize("name", ["../../x", "a/b", "\x1b]0;x\x07", "..", "", "a\nb", "\udcff"])
def test_a_hostile_machines_name_is_made_a_file_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename=name))
    host = load(env={"HOME": "/nowhere"}).host
    assert host == Path(host).name
    assert host.isascii()
    assert host.isprintable()
    assert not host.startswith((".", "_", "-"))


def test_sql_in_a_path_is_nothing_but_a_path(house: House) -> None:
    odd = house.work / "a'; DROP TABLE trace; --?mode=memory&x=%00#y"
    house.environment["PRODLENSD_HOME"] = str(odd)
    (odd / "logs").mkdir(parents=True)
    (odd / "logs" / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    house.ingest()
    told = house.command("verify", "--json")
    assert json.loads(told.stdout)["state"] == "complete"
    assert [path.name for path in house.work.iterdir()] == [odd.name]


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
@pytest.mark.parametrize("command", ["run", "status", "report", "compact", "verify"])
def test_a_ledger_that_is_no_file_is_refused_at_once(house: House, kind: str, command: str) -> None:
    house.home.mkdir()
    match kind:
        case "folder":
            house.ledger.mkdir()
        case "fifo":
            os.mkfifo(house.ledger)
        case _:
            house.ledger.symlink_to("/dev/zero")
    arguments = (command, "--once") if command == "run" else (command,)
    done = house.command(*arguments)
    assert done.returncode == {"status": 2}.get(command, 1)
    assert b"not a file" in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


def test_a_ledger_behind_a_link_is_used_and_stays_closed(house: House) -> None:
    real = house.work / "elsewhere" / "real.db"
    real.parent.mkdir()
    house.logs.mkdir(parents=True)
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    house.ingest()
    house.ledger.rename(real)
    house.ledger.symlink_to(real)
    with (house.logs / "a.jsonl").open("ab") as file:
        file.write(written(trace_line(2, "y")))
    house.ingest()
    assert house.ledger.is_symlink()
    assert json.loads(house.command("verify", "--json").stdout)["totals"]["lines"] == 4
    assert real.stat().st_mode & 0o077 == 0


def test_a_link_in_the_place_of_a_new_ledger_or_of_an_unfinished_file_leads_nowhere(
    house: House,
) -> None:
    target = house.work / "target"
    target.write_text("mine")
    house.logs.mkdir(parents=True)
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    house.config.write_text('host = "h"\n')
    day = house.home / "parquet" / "event_date=2026-11-22"
    day.mkdir(parents=True)
    for link in (house.home / "prodlens.db.new", day / ".h.parquet.tmp", day / "h.parquet"):
        link.symlink_to(target)
    house.ledger.symlink_to(house.work / "not-there-yet")
    house.ingest()
    assert target.read_text() == "mine"
    assert [path.name for path in house.work.iterdir()] == ["target"]
    assert (day / "h.parquet").read_bytes()[:4] == b"PAR1"


def test_the_environment_is_heard_as_documented_and_no_further(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.config.files.SYSTEM_FILE", house.work / "none.toml")
    env = {"HOME": "/h", "PRODLENSD_HOME": "/p/../q", "PRODLENSD_STORE_PATH": "/evil"}
    config = load(env=env | {"LITELLM_LOG_DIR": "/evil", "XDG_CONFIG_HOME": "/evil"})
    assert config.store.path == Path("/q/prodlens.db")
    assert config.logs.directories == (Path("/p/../q/logs"),)
    for bad in ("a\0b", "~nobody-of-this-name"):
        with pytest.raises(ConfigError):
            load(env={"HOME": "/h", "PRODLENSD_HOME": bad})
    house.home.mkdir()
    house.config.write_text(f"[store]\npath = {toml('sub/../x.db')}\n")
    house.ingest()
    assert (house.config.parent / "x.db").exists()


# Code --------------------------------------------------------------------------------------------

#: Says in a file of the same folder that it was imported.
_TRAP = "import pathlib; pathlib.Path(__file__).with_name('SPRUNG').touch()\n"
_TRAPS = (
    *("sitecustomize", "usercustomize", "orjson", "click", "apsw", "msgspec", "structlog"),
    *("json", "os", "re", "subprocess", "genai_prices", "pyarrow", "encodings", "prodlensd"),
)


def set_traps(folder: Path) -> None:
    for name in _TRAPS:
        (folder / f"{name}.py").write_text(_TRAP)
    for name in ("prodlensd", "genai_prices", "pyarrow"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(_TRAP.replace("__file__", "__path__[0]"))
        (folder / name / "__main__.py").write_text(_TRAP)


@pytest.mark.long
@pytest.mark.parametrize("where", ["current folder", "log folder"])
def test_no_module_that_lies_about_is_imported_by_the_daemon_or_its_children(
    house: House, where: str
) -> None:
    house.logs.mkdir(parents=True)
    place = house.work if where == "current folder" else house.logs
    set_traps(place)
    unpriced = {"attributes": {"llm.model_name": "openai/no-such-model"}}
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x", **unpriced)))
    for arguments in (
        ("run", "--once"),  # with its compaction, its repricing and its price book
        ("reprice", "--dry-run"),
        ("prices", "show", "openai/gpt-4o-mini"),
        ("prices", "check"),
        ("dead-letters", "retry"),
        ("demo",),
    ):
        done = house.started(*arguments, cwd=place)
        assert done.returncode in (0, 1), done.stderr
        assert b"Traceback" not in done.stderr
        assert not list(place.rglob("SPRUNG")), arguments
    db = apsw.Connection(str(house.ledger))
    assert db.execute("SELECT count(*) FROM partition WHERE compacted_version = version").get == 1
    db.close()


def test_a_daemon_started_with_the_current_folder_in_its_path_does_not_hand_it_on(
    house: House,
) -> None:
    """As `python -m` does. What comes to lie there later is not imported by the price book."""
    house.environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(house.work), os.environ.get("PYTHONPATH")))
    )
    book = "import time; from prodlensd.pricing import ChildBook, Question; "
    book += "b = ChildBook(now_s=time.monotonic)"
    ask = "print(b.quote(Question('openai', 'gpt-4o-mini', 1795456801000000)).rates is not None)"
    trap = f"import sys; sys.path.insert(0, ''); open('sitecustomize.py', 'w').write({_TRAP!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{book}\n{trap}\n{ask}\nb.close()"],
        env=house.environment,
        cwd=house.work,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.stdout == "True\n", done.stderr
    assert not (house.work / "SPRUNG").exists()


@pytest.mark.long
def test_a_program_of_that_name_in_the_search_path_is_never_run(house: House) -> None:
    programs = house.work / "bin"
    programs.mkdir()
    for name in ("python", "python3", "prodlensd", "sh", "uname", "ldconfig", "git", "hostname"):
        (programs / name).write_text(f"#!/bin/sh\n: > {programs}/SPRUNG\n")
        (programs / name).chmod(0o755)
    assert shutil.which("python", path=str(programs))
    house.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    house.logs.mkdir(parents=True)
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    for arguments in (("run", "--once"), ("status",), ("report",), ("demo",)):
        house.started(*arguments)
    assert not (programs / "SPRUNG").exists()


# Temporary files ---------------------------------------------------------------------------------


def test_what_the_database_cannot_hold_in_memory_stays_beside_the_ledger(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SORTING, str(tmp_path / "prodlens.db")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(tmp_path), str(tmp_path)]


_SORTING = """
import sys
from pathlib import Path
from prodlensd.ledger import Reader, Ledger
path = Path(sys.argv[1])
with Ledger(path) as store:
    print(store.db.pragma("temp_store_directory"))
with Reader(path) as reader:
    print(reader.db.pragma("temp_store_directory"))
"""
