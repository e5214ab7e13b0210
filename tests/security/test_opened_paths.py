"""What the real programs open, create, delete and run, as the kernel saw it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import pytest

import prodlensd
from tests.security.hostile import COMMAND, House, span, trace_line, written

STRACE: Final = shutil.which("strace")


pytestmark = [pytest.mark.real_programs, pytest.mark.xdist_group("strace")]

#: Where the interpreter, its libraries and this package lie.
CODE: Final = {
    *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    *map(os.path.realpath, (sys.base_prefix, sys.prefix, *site.getsitepackages())),
    *(sys.prefix, site.getusersitepackages(), str(Path(prodlensd.__file__).parent)),
    *(entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry),
} - {"/usr"}
#: Where imports look, such as where the package lies; only to be listed.
ROOTS: Final = {str(Path(prodlensd.__file__).parents[1]), *sys.path}
#: What the interpreter and the libraries read of the system by themselves, and why.
SYSTEM: Final = {
    r"/etc/ld\.so\.(cache|preload)": "the dynamic linker",
    r"/(usr/|usr/local/)?lib(64|x32)?(/.*)?": "shared libraries; with Debian's Python its own",
    r"/usr/share/locale(-langpack)?/.*": "the C library's words",
    r"/usr/share/zoneinfo(/.*)?|/etc/(localtime|timezone)": "time zones",
    r"/etc/(ssl|pki)/.*": "OpenSSL's settings, which the hashes of the standard library read",
    r"/etc/(passwd|nsswitch\.conf)": "where the home folder is",
    r"/etc/prodlensd/config\.toml": "the configuration",
    r"/dev/(null|urandom)": "no input, and seeds",
    r"/proc/self/(fdinfo(/\d+)?|maps|status)": "how many watches we got; pyarrow",
    r"/proc/(sys/vm/overcommit_memory|cpuinfo|meminfo)": "the memory allocators of pyarrow",
    r"/proc/self/cgroup": "DuckDB: how much memory there is",
    r"/sys/(kernel/mm/transparent_hugepage|devices/system|fs/cgroup)(/.*)?": "the same",
}
_SYSTEM: Final = re.compile("|".join(SYSTEM))
_CALL: Final = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")
_TEXT: Final = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<text>(?:[^"\\]|\\.)*)"')
_WRITES: Final = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)")
_OPENS: Final = {"open", "openat", "openat2", "creat"}
_WATCHES: Final = {"inotify_add_watch"}
_CHANGES: Final = {
    *("unlink", "unlinkat", "rename", "renameat", "renameat2", "rmdir", "mkdir", "mkdirat"),
    *("link", "linkat", "symlink", "symlinkat", "truncate", "chmod", "fchmodat", "fchmodat2"),
    *("chown", "lchown", "fchownat", "utimensat", "utime", "utimes", "mknod", "mknodat"),
}
_RUNS: Final = {"execve", "execveat"}
_PATIENCE_S: Final = 250


class Call(NamedTuple):
    """One system call that did what it was asked to."""

    program: str
    name: str
    arguments: str

    @property
    def texts(self) -> list[str]:
        return [_decoded(found["text"]) for found in _TEXT.finditer(self.arguments)]

    @property
    def paths(self) -> list[str]:
        """The paths that it names, from the root on."""
        found = list(_TEXT.finditer(self.arguments))[-2 if self.name.startswith("rename") else 0 :]
        paths = [os.path.join(_decoded(f["folder"] or ""), _decoded(f["text"])) for f in found]  # noqa: PTH118
        return [os.path.normpath(path) for path in paths]

    @property
    def writes(self) -> bool:
        return self.name in _CHANGES or (
            self.name in _OPENS and (self.name == "creat" or bool(_WRITES.search(self.arguments)))
        )


def _decoded(text: str) -> str:
    return os.fsdecode(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))


class Traced:
    """Commands run under strace, and what they did."""

    def __init__(self, place: Path) -> None:
        self.house = House(place / "home")
        self.outside = place / "outside"
        self.ledger = self.house.home / "ledger" / "prodlens.db"
        self.parquet = self.house.home / "parquet"
        self.folder = place / "calls"
        self.folder.mkdir()
        (place / "tmp").mkdir()
        self.house.environment |= {
            "TMPDIR": str(place / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.calls: list[Call] = []

    def command(self, name: str, *arguments: str) -> list[str]:
        assert STRACE, "no strace: `make test-all` installs it"
        options = ["-ff", "-qq", "--seccomp-bpf", "-y", "-s", "8192", "-e", "trace=%file,%network"]
        return [STRACE, *options, "-o", str(self.folder / name), *COMMAND, *arguments]

    def run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            self.command(name, *arguments),
            env=self.house.environment,
            cwd=self.house.work,
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.stdout or name == "once"

    def run_daemon(self) -> None:
        house = self.house
        daemon = subprocess.Popen(
            self.command("run", "run"),
            env=house.environment,
            cwd=house.work,
            stderr=subprocess.PIPE,
        )
        try:
            self._await("SELECT sum(lines) >= 18004 FROM source")
            (house.logs / "a.jsonl").rename(house.logs / "a.jsonl.1")
            (house.logs / "a.jsonl").write_bytes(written(trace_line(4, "rotated")))
            (house.logs / "b.jsonl").write_bytes(b"refused as well\n" + _plain("77"))
            (house.logs / "old.jsonl.1.gz").unlink()
            self._await("SELECT count(*) = 2 FROM dead_letter")
            self._await("SELECT count(*) = 1 FROM source WHERE path LIKE '%/a.jsonl'")
        finally:
            for child in _children(daemon.pid) if daemon.poll() is None else ():
                os.kill(child, signal.SIGTERM)
            said = daemon.communicate(timeout=_PATIENCE_S)[1]
        assert b'"event":"stopped"' in said, said

    def _await(self, condition: str) -> None:
        """Waits until this holds in the ledger, and all snapshots are up to date."""
        dirty = "SELECT 1 FROM partition WHERE version > compacted_version"
        deadline = time.monotonic() + _PATIENCE_S
        pause = threading.Event()
        while not self._is(f"SELECT ({condition}) AND NOT EXISTS ({dirty})"):
            assert time.monotonic() < deadline, condition
            pause.wait(0.05)

    def _is(self, sql: str) -> bool:
        try:
            db = apsw.Connection(str(self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.CantOpenError:
            return False
        try:
            return bool(db.execute(sql).get)
        except (apsw.SQLError, apsw.BusyError):
            return False
        finally:
            db.close()

    def read(self) -> None:
        for file in self.folder.iterdir():
            for line in file.read_text(errors="surrogateescape").splitlines():
                call = _CALL.match(line)
                if call and not call["result"].startswith("-"):
                    self.calls.append(Call(file.name, call["name"], call["arguments"]))

    def made(self, names: set[str]) -> list[Call]:
        return [call for call in self.calls if call.name in names]


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def prepare(traced: Traced) -> None:
    """Logs of every kind, and among them what leads out of the folder."""
    house, outside = traced.house, traced.outside
    (outside / "sub").mkdir(parents=True)
    for place in (outside, outside / "sub"):
        (place / "secret.jsonl").write_bytes(written(trace_line(900, "outside")))
    house.logs.mkdir(parents=True)
    (house.logs / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (house.logs / "folder").symlink_to(outside / "sub", target_is_directory=True)
    (house.logs / "dangling.jsonl").symlink_to(outside / "not-there.jsonl")
    (house.logs / "device.jsonl").symlink_to("/dev/zero")
    os.mkfifo(house.logs / "fifo.jsonl")
    deep = house.logs / "deep \x1b]0;x\x07"
    deep.mkdir()
    (deep / "..;$(touch pwned).jsonl").write_bytes(written(span(1, "../../../etc/passwd")))
    with gzip.open(house.logs / "old.jsonl.1.gz", "wb") as file:
        file.write(written(trace_line(2, str(outside / "secret.jsonl"))))
    hostile = {"attributes": {"llm.model_name": "openai/../../x"}, "metadata": {"repo": "/etc/x"}}
    (house.logs / "a.jsonl").write_bytes(written(trace_line(3, "x", **hostile)) + b"refused\n")
    # Out of order, and then once more: the database needs a journal for what it may have to undo.
    ids = [f"{number * 7919 % 9973:06d}" for number in range(6000)]
    lines = b"".join(map(_plain, ids))
    (house.logs / "b.jsonl").write_bytes(lines)
    (house.logs / "c.jsonl").write_bytes(b"".join(_plain(f"1{n}") for n in ids) + lines)
    (house.home / "prices.json").write_text("{}")
    house.config.write_text(
        "[logs]\nrecursive = true\nrescan_interval_s = 0.1\n"
        "[store]\npath = 'home/ledger/prodlens.db'\n"
        "[parquet]\ninterval_s = 0.2\n"
        "[pricing]\nlitellm_prices = 'home/prices.json'\n"
    )


def _plain(number: str) -> bytes:
    at = f"2026-11-22T{int(number) % 24:02d}:00:00.{int(number) % 10**6:06d}Z"
    return (
        f'{{"timestamp": "{at}", "id": "i{number}", "litellm_call_id": "c{number}",'
        ' "attributes": {"llm.model_name": "openai/gpt-4o-mini", "provider": "openai"},'
        ' "usage": {"input_tokens": 1, "output_tokens": 1}}\n'
    ).encode()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """Everything the program does, done once for all tests here."""
    traced = Traced(tmp_path_factory.mktemp("traced"))
    prepare(traced)
    traced.run_daemon()
    traced.run("status", "status")
    traced.run("verify", "verify")
    traced.run("report", "report", "--since", "always", "--by", "session")
    traced.run("hour", "report", "--since", "always", "--by", "hour,tag", "--forecast")
    traced.run("list", "dead-letters", "list")
    traced.run("export", "dead-letters", "export")
    traced.run("retry", "dead-letters", "retry")
    traced.run("reprice", "reprice", "--source", "unpriced,table")
    traced.run("show", "prices", "show", "openai/../../x")
    traced.run("compact", "compact")
    traced.run("once", "run", "--once")
    traced.read()
    return traced


def _is_in(path: str, *folders: object) -> bool:
    return any(path == str(folder) or path.startswith(f"{folder}/") for folder in folders)


def test_the_trace_holds_what_is_known_to_be_opened(traced: Traced) -> None:
    opened = {path for call in traced.made(_OPENS) for path in call.paths}
    logs = traced.house.logs
    regular = {str(path) for path in logs.rglob("*") if path.is_file() and not path.is_symlink()}
    assert len(regular) == 5
    assert regular <= opened
    assert {str(traced.house.config), str(traced.house.home / "prices.json")} <= opened
    written_to = {path for call in traced.calls if call.writes for path in call.paths}
    assert {str(traced.ledger), f"{traced.ledger}-wal", f"{traced.ledger}.lock"} <= written_to
    assert [path for path in written_to if path.endswith(".parquet.tmp")]
    assert len({call.program for call in traced.made(_OPENS)}) > 15


def test_nothing_is_opened_but_code_configuration_logs_ledger_and_snapshots(
    traced: Traced,
) -> None:
    house = traced.house
    ours = (house.config, house.logs, traced.ledger.parent, traced.parquet)
    strange = {
        (call.program, path)
        for call in traced.made(_OPENS | _WATCHES)
        for path in call.paths
        if not _is_in(path, *ours, house.home / "prices.json", *CODE)
        and path not in ROOTS
        and not _SYSTEM.fullmatch(re.sub(r"^/proc/\d+/", "/proc/self/", path))
    }
    assert not strange


def test_no_link_fifo_or_device_among_the_logs_is_opened(traced: Traced) -> None:
    logs = traced.house.logs
    odd = {str(path) for path in logs.rglob("*") if path.is_symlink() or path.is_fifo()}
    assert len(odd) == 5
    opened = {path for call in traced.made(_OPENS | _WATCHES) for path in call.paths}
    assert not odd & opened
    assert not [path for path in opened if _is_in(path, traced.outside)]


def test_only_ledger_and_snapshots_are_written_to_and_the_logs_never(traced: Traced) -> None:
    written_to = {path for call in traced.calls if call.writes for path in call.paths}
    allowed = (traced.ledger.parent, traced.parquet, "/dev/null")
    assert not {path for path in written_to if not _is_in(path, *allowed)}
    assert not {path for path in written_to if _is_in(path, traced.house.logs)}


def test_nothing_is_run_but_our_own_children(traced: Traced) -> None:
    runs = [call.texts for call in traced.made(_RUNS)]
    assert {run[0] for run in runs} == {sys.executable}
    assert {tuple(run[2:4]) for run in runs} == {("-P", "-m")}
    modules = {" ".join(run[4:6]) if run[4] == "prodlensd" else run[4] for run in runs}
    assert {"prodlensd compact", "prodlensd reprice", "prodlensd.pricing.builtin"} < modules
    assert not {module for module in modules if not module.startswith("prodlensd")}


def test_nothing_goes_to_the_network(traced: Traced) -> None:
    spoken = [
        call for call in traced.calls if re.search("AF_(INET|NETLINK|PACKET)", call.arguments)
    ]
    assert not spoken
