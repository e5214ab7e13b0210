"""A small system with systemd and prodlensd's dependencies, made once and kept as one tar file.

It also holds, as wheels, what installs prodlensd there: tests/container makes an image of those.

It is of the machine's own release and comes from the mirror that apt uses here. It is made, and
later booted, in a mount namespace of its own and in memory: no device file, no mount and no /proc
of it is ever to be seen by whoever copies or searches this project's folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PROJECT: Final = HERE.parents[1]
CACHE: Final = PROJECT / ".cache"
#: Where prodlensd is installed in the root: a virtual environment, as a user would make one.
VENV: Final = "/opt/prodlensd"
_PACKAGES: Final = (
    "ca-certificates",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)
#: What pip installs and builds prodlensd with, and prodlensd's dependencies, for the root's Python.
WHEELS: Final = "/opt/wheels"
_UNNEEDED: Final = ("dev/*", "proc/*", "sys/*", "var/cache/*", "var/lib/apt/lists/*")
#: A namespace that takes all its mounts and processes with it when it ends.
NAMESPACE: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def made_root() -> Path:
    """The tar file of the root, which is built first if it is missing or out of date."""
    CACHE.mkdir(exist_ok=True)
    tar = _tar()
    with (CACHE / "systemd-root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tar.exists():
            for old in CACHE.glob("systemd-root-*"):
                old.unlink()
            with tempfile.TemporaryDirectory() as mountpoint:
                _run(*NAMESPACE, sys.executable, __file__, mountpoint, f"{tar}.new")
            Path(f"{tar}.new").rename(tar)
    return tar


def is_root_made() -> bool:
    """Whether the tar file is there and up to date."""
    return _tar().exists()


def _tar() -> Path:
    """Of this Debian, this file, the constraints, and what of the project is installed in it."""
    wanted = hashlib.sha256(platform.freedesktop_os_release()["VERSION_ID"].encode())
    for file in (PROJECT / "constraints.txt", Path(__file__)):
        wanted.update(file.read_bytes())
    wanted.update(repr(_installed()).encode())
    return CACHE / f"systemd-root-{wanted.hexdigest()[:16]}.tar"


def _installed() -> tuple[list[str], list[str]]:
    """What the project is built with, and what it depends on."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["build-system"]["requires"], project["project"]["dependencies"]


def _make(root: str, tar: str) -> None:
    """Builds the root at this mount point, and packs it. Runs in the namespace."""
    _run("mount", "-t", "tmpfs", "tmpfs", root)
    release = platform.freedesktop_os_release()
    suite = release["VERSION_CODENAME"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"]
    mirrors = _run(*command, f"Release: {suite}", "Component: main").split()
    options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    if release["ID"] == "ubuntu":  # python3-venv is not in main there
        options.append("--components=main,universe")
    _run("debootstrap", *options, suite, root, mirrors[0])
    _inside(root, "python3", "-m", "venv", VENV)
    version = _inside(root, "python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')")
    to_build, dependencies = _installed()
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
        *(f"--python-version={version.strip()}", "--implementation=cp"),
        *(
            f"--platform={name}_{platform.machine()}"
            for name in ("manylinux_2_28", "manylinux2014")
        ),
        *(f"--constraint={PROJECT / 'constraints.txt'}", f"--dest={root}{WHEELS}"),
        *("pip", *to_build, *dependencies),
    )
    pip = [f"{VENV}/bin/pip", "install", "--quiet", "--no-index", f"--find-links={WHEELS}"]
    _inside(root, *pip, *dependencies)
    (Path(root) / "etc/machine-id").write_text("")
    _run("tar", "-C", root, "-cf", tar, *(f"--exclude=./{path}" for path in _UNNEEDED), ".")


def made_wheel(folder: Path) -> Path:
    """The wheel of this project, built into the folder."""
    _run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}"),
        str(PROJECT),
        env=os.environ | {"PIP_BUILD_CONSTRAINT": str(PROJECT / "constraints.txt")},
    )
    return next(folder.glob("prodlensd-*.whl"))


def _inside(root: str, *command: str) -> str:
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    return _run("/usr/sbin/chroot", root, *command, env={"PATH": path, "LC_ALL": "C.UTF-8"})


def _run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3600, check=False, env=env
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:6])} …: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    _make(*sys.argv[1:3])
