"""A real systemd as process 1 of a container, with this project's wheel installed in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path. The tests' own
# root goes to its end: an installed prodlensd comes first.
sys.path.append(str(Path(__file__).parents[2]))

from tests.systemd.root import CACHE, NAMESPACE, PROJECT, VENV, made_root, made_wheel

_TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "unshare")
_DEADLINE_S = 100.0

#: The container has its files in memory, a whole control group tree (v2) and a /run of its own:
#: nothing of it is left on this machine when it is killed.
_BOOT = """\
set -e
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
group=/sys/fs/cgroup/$1
case $2 in
boot)
    mount -t tmpfs tmpfs "$4"
    tar -C "$4" -xf "$3" --exclude=./opt/wheels
    mkdir "$group"
    echo $$ > "$group/cgroup.procs"
    root=$4
    shift 4
    exec systemd-nspawn --directory="$root" "$@"
    ;;
tidy)
    find "$group" -depth -type d -exec rmdir {} +
    ;;
esac
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker runs all of these: each worker would boot a container of its own."""
    item.add_marker(pytest.mark.real_programs)
    item.add_marker(pytest.mark.xdist_group("systemd"))


class Container:
    """A booted system. Its files last as long as it runs."""

    def __init__(self, tar: Path, wheels: Path, folder: Path) -> None:
        self._name = f"prodlensd-test-{os.getpid()}"
        self._log = folder / "console.log"
        root = folder / "root"
        root.mkdir()
        self._namespace = [*NAMESPACE, "sh", "-c", _BOOT, "sh", self._name]
        nspawn = [
            *(f"--bind-ro={wheels}:/wheels", "--boot", "--quiet", "--console=pipe"),
            f"--machine={self._name}",
            *("--register=no", "--keep-unit", "--private-network", "--private-users=no"),
            # systemd's own firewall, IPAddressDeny=, is made of BPF programs.
            *("--system-call-filter=bpf", "--capability=CAP_BPF,CAP_PERFMON"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        ]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._namespace, "boot", str(tar), str(root), *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        try:
            self._first = self.until(self._leader, "the container's first process")
            self.until(lambda: self.run("test", "-S", "/run/systemd/private").ok, "systemd")
            assert self.run("systemctl", "is-system-running", "--wait").out.strip() == "running"
            wheel = next(wheels.glob("*.whl")).name
            pip = [f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--no-deps"]
            self.must(*pip, f"/wheels/{wheel}")
        except BaseException:
            self.close()
            raise

    def _leader(self) -> int | None:
        """The first process in there: unshare's child is systemd-nspawn, whose child it is."""
        if self._process.poll() is not None:
            pytest.fail(f"the container did not boot: {self._log.read_text()[-2000:]}")
        nspawn = _child_of(self._process.pid)
        first = _child_of(nspawn) if nspawn else None
        return first if first and _name_of(first) == "systemd" else None

    def run(self, *command: str, user: str = "root", input_: str | None = None) -> Done:
        """Runs a command in there to its end."""
        path = f"PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        enter = ["nsenter", f"--target={self._first}", "--all", "env", "--ignore-environment", path]
        enter += ["LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "HOME=/root"]
        if user != "root":
            enter += [f"HOME=/home/{user}", "setpriv", f"--reuid={user}", f"--regid={user}"]
            enter += ["--init-groups"]
        done = subprocess.run(
            [*enter, *command],
            input=input_,
            stdin=None if input_ is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *command: str, user: str = "root", input_: str | None = None) -> str:
        """What a command says that has to succeed."""
        done = self.run(*command, user=user, input_=input_)
        assert done.ok, f"{command}: {done}"
        return done.out

    def write(self, path: str, text: str) -> None:
        """A file in there."""
        self.must("install", "-D", "-m", "644", "/dev/stdin", path, input_=text)

    def show(self, *properties: str, user: str = "root") -> dict[str, str]:
        """What systemd says of the service."""
        scope = ["--user"] if user != "root" else []
        command = ["systemctl", *scope, "show", "-p", ",".join(properties), "prodlensd"]
        environment = self.bus_of(user) if user != "root" else []
        told = self.must(*environment, *command, user=user)
        return dict(line.split("=", 1) for line in told.splitlines())

    def bus_of(self, user: str) -> list[str]:
        uid = self.must("id", "-u", user).strip()
        return ["env", f"XDG_RUNTIME_DIR=/run/user/{uid}"]

    def journal(self, unit: str = "prodlensd") -> list[dict[str, Any]]:
        self.run("journalctl", "--sync")
        told = self.must("journalctl", "-u", unit, "-o", "json", "--all", "--no-pager")
        return [json.loads(line) for line in told.splitlines()]

    def until(self, condition: Callable[[], Any], what: str, within_s: float = _DEADLINE_S) -> Any:
        """What the condition returns once it is true."""
        deadline = time.monotonic() + within_s
        pause = threading.Event()
        while not (last := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within_s} s: {what}; last seen: {last!r}")
            pause.wait(0.05)
        return last

    def close(self) -> None:
        """Kills everything in there, and leaves no control group behind."""
        self._process.kill()
        self._process.wait(10)
        tidy = [*self._namespace, "tidy"]
        for _ in range(50):  # the kernel takes a moment to empty them
            if subprocess.run(tidy, capture_output=True, check=False, timeout=10).returncode == 0:
                return
            threading.Event().wait(0.1)


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def _child_of(parent: int) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                return int(process.name)
        except (OSError, ValueError):
            continue  # gone meanwhile
    return None


def _name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def wheels(tools: None) -> Path:
    """The folder with this project's wheel, built when anything of it has changed."""
    del tools
    sources = hashlib.sha256()
    files = [path for path in (PROJECT / "prodlensd").rglob("*") if path.is_file()]
    for path in [*sorted(files), *(PROJECT / name for name in ("pyproject.toml", "README.md"))]:
        if path.suffix != ".pyc":
            sources.update(str(path).encode() + path.read_bytes())
    folder = CACHE / "systemd-wheel" / sources.hexdigest()[:16]
    if not list(folder.glob("*.whl")):
        shutil.rmtree(folder.parent, ignore_errors=True)
        made_wheel(folder)
    return folder


@pytest.fixture(scope="session")
def tools() -> None:
    if os.geteuid() != 0:
        pytest.fail("only root can boot a container")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.fail(f"no {', '.join(missing)}: `make test-all` installs them")


@pytest.fixture(scope="session")
def machine(
    tools: None, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    del tools
    container = Container(made_root(), wheels, tmp_path_factory.mktemp("container"))
    yield container
    container.close()
