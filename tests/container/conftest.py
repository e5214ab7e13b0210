"""Podman, shut in with its storage, its networks and its containers, and the compose file in it."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path. The tests' own
# root goes to its end: an installed prodlensd comes first.
sys.path.append(str(Path(__file__).parents[2]))

from prodlensd import litellm as proxy
from tests.e2e.litellm_proxy import MASTER_KEY, VERSIONS, litellm_python
from tests.systemd.root import NAMESPACE, PROJECT, VENV, WHEELS, made_root
from tests.venvs import venv_python

_TOOLS: Final = ("debootstrap", "ip", "nsenter", "podman", "runc", "catatonit", "unshare")
_DEADLINE_S: Final = 100.0
#: Where they are in the compose file.
COMPOSE: Final = PROJECT / "container" / "compose.yaml"
PORT: Final = 4000
PROJECT_NAME: Final = "beside"
BASE: Final = "localhost/base"
IMAGE: Final = "localhost/prodlensd"

#: All that podman keeps is in memory and seen by nobody else, and so is the network of the
#: containers. It ends with its first process.
_SHUT_IN: Final = """\
set -e
for folder in /run /var/lib/containers /var/lib/cni /etc/cni/net.d "$1"; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
done
tar -C "$1" --strip-components=2 -xf "$2" ".$3"
ip link set lo up
touch "$1/ready"
sleep infinity &
wait
"""
#: Processes may not raise their limits everywhere, and podman's default is to raise them.
_LIMITS: Final = {
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1],
}
_ULIMITS: Final = [f"{name}={limit}:{limit}" for name, limit in _LIMITS.items()]
_CONTAINERS_CONF: Final = f"""\
[containers]
default_ulimits = {json.dumps(_ULIMITS)}
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
#: Answered by LiteLLM itself: nobody is asked.
_MODEL: Final = """
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: sk-none, mock_response: "hello"}
"""
#: Makes a call, and prints the answer with its call id.
_CALL: Final = """\
import json, sys, urllib.request
address, key = sys.argv[1:]
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
asked = urllib.request.Request(address, json.dumps(body).encode(), headers)
with urllib.request.urlopen(asked, timeout=60) as answer:
    found = {"call_id": answer.headers["x-litellm-call-id"], **json.load(answer)["usage"]}
print(json.dumps(found))
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker runs all of these: each worker would build an image of its own."""
    item.add_marker(pytest.mark.real_programs)
    # To build the image takes a minute, and on a busy machine many.
    item.add_marker(pytest.mark.timeout(900))
    item.add_marker(pytest.mark.xdist_group("container"))


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Podman:
    """Podman in namespaces of its own; it leaves nothing but, at times, an empty control group."""

    def __init__(self, folder: Path) -> None:
        #: Seen in there only: the storage, and the wheels.
        self.within = folder / "within"
        self.within.mkdir()
        (folder / "containers.conf").write_text(_CONTAINERS_CONF)
        (folder / "storage.conf").write_text(
            '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\n'
            f'graphroot = "{self.within}/storage"\n'
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        shut_in = ["sh", "-c", _SHUT_IN, "sh", str(self.within), str(made_root()), WHEELS]
        self._process = subprocess.Popen([*NAMESPACE, "--net", *shut_in], stdin=subprocess.DEVNULL)
        ready = ["test", "-e", f"{self.within}/ready"]
        until(lambda: self.run(*ready).code == 0, "podman's own namespaces")

    def run(self, *command: str, timeout_s: float = _DEADLINE_S, **environment: str) -> Done:
        """Runs a command in there to its end."""
        process = self._process.pid
        assert self._process.poll() is None, "podman's namespaces have ended"
        nsenter = ["nsenter", f"--target={process}", "--mount", "--net"]
        # The process itself is outside of the namespace that it has made for its children.
        nsenter.append(f"--pid=/proc/{process}/ns/pid_for_children")
        done = subprocess.run(
            [*nsenter, *command],
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *command: str, timeout_s: float = _DEADLINE_S, **environment: str) -> str:
        """What a command prints that has to succeed."""
        done = self.run(*command, timeout_s=timeout_s, **environment)
        assert done.code == 0, f"{command}: {done.out[-3000:]}{done.err[-3000:]}"
        return done.out

    def close(self) -> None:
        """Ends all containers, which removes their control groups, and then everything."""
        try:
            self.run("podman", "rm", "--all", "--force", "--time=0")
        finally:
            self._process.kill()
            self._process.wait(10)


class Beside:
    """LiteLLM and prodlensd as the compose file has them."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        config = proxy.litellm_config()
        with_model = config.replace("\n\nlitellm_settings:\n", f"{_MODEL}\nlitellm_settings:\n")
        assert with_model != config
        (folder / "config.yaml").write_text(with_model)
        (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        (folder / "here.yaml").write_text(json.dumps(_here(), indent=1))
        self._environment = {
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "LITELLM_CONFIG": str(folder / "config.yaml"),
        }
        build = [
            *("--network=none", "--pull=never", "--layers=false"),
            *(f"--volume={podman.within}/wheels:/wheels:ro",),
            *(f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro",),
        ]
        # Docker's read-only containers have no tmpfs that was not asked for; podman's have some.
        start = ["--read-only-tmpfs=false", *(f"--ulimit={limit}" for limit in _ULIMITS)]
        files = [COMPOSE, folder / "here.yaml"]
        python = venv_python(Path(__file__).with_name("podman-compose.txt"))
        self._compose = [
            *(str(python.with_name("podman-compose")), f"--project-name={PROJECT_NAME}"),
            *(f"--file={file}" for file in files),
            *(f"--podman-build-args={shlex.join(build)}", f"--podman-run-args={shlex.join(start)}"),
        ]

    def compose(self, *arguments: str, timeout_s: float = _DEADLINE_S) -> str:
        """What podman-compose prints, with these arguments, about the project's compose file."""
        return self.podman.must(
            *self._compose, *arguments, timeout_s=timeout_s, **self._environment
        )

    def up(self) -> None:
        """Starts what does not run; the daemon is healthy then, the proxy may take longer."""
        self.compose("up", "--detach", "--no-build")
        until(self.is_healthy, "the daemon")

    def is_healthy(self) -> bool:
        """Whether the compose file's health check says so; without systemd, it has to be asked."""
        return self.podman.run("podman", "healthcheck", "run", container("prodlensd")).code == 0

    def _proxy_answers(self) -> bool:
        probe = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)"
        address = f"http://127.0.0.1:{PORT}/health/liveliness"
        return self.podman.run(sys.executable, "-c", probe, address).code == 0

    def call(self) -> dict[str, Any]:
        """Makes a call through the proxy: the call's id and its usage, as the client is told."""
        until(self._proxy_answers, "the proxy", within_s=3 * _DEADLINE_S)
        address = f"http://127.0.0.1:{PORT}/v1/chat/completions"
        found: dict[str, Any] = json.loads(
            self.podman.must(sys.executable, "-c", _CALL, address, MASTER_KEY)
        )
        return found

    def within(self, service: str, *command: str) -> Done:
        """Runs a command in the container of a service."""
        return self.podman.run("podman", "exec", container(service), *command)

    def ask(self, *arguments: str) -> Done:
        """Runs a command of prodlensd, beside the daemon."""
        return self.within("prodlensd", "prodlensd", *arguments)

    def run_image(self, *command: str, options: Sequence[str] = ()) -> Done:
        """Runs a command in a container of its own, as shut in as the daemon's."""
        run = [
            *("podman", "run", "--rm", "--network=none", "--read-only", "--read-only-tmpfs=false"),
            *("--cap-drop=all", "--security-opt=no-new-privileges", *options),
            *(f"--entrypoint={command[0]}", IMAGE, *command[1:]),
        ]
        return self.podman.run(*run)

    def rows(self) -> list[dict[str, Any]]:
        """What the ledger knows of the calls."""
        done = self.ask("sql", "SELECT * FROM calls ORDER BY timestamp", "--format", "json")
        assert done.code == 0, done.err
        rows: list[dict[str, Any]] = json.loads(done.out)["rows"]
        return rows

    def calls(self) -> dict[str, dict[str, Any]]:
        """What the ledger knows of each call. None of them is there twice."""
        rows = self.rows()
        calls = {row["call_id"]: row for row in rows}
        assert len(calls) == len(rows)
        return calls

    def until_known(self, call_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What the ledger knows of each call, once it knows all of these."""
        wanted = set(call_ids)
        until(lambda: wanted <= self.calls().keys(), "the calls")
        return self.calls()

    def kill(self, service: str) -> int:
        """Kills a container's first process, waits for its next, and returns which it killed."""
        before: int = self.inspect(service)["State"]["Pid"]
        self.podman.must("kill", "-KILL", str(before))
        until(
            lambda: self.inspect(service)["State"]["Pid"] not in (0, before), f"another {service}"
        )
        until(self.is_healthy, "the daemon")
        return before

    def inspect(self, service: str) -> dict[str, Any]:
        """What podman says of the container of a service."""
        (found,) = json.loads(self.podman.must("podman", "inspect", container(service)))
        assert isinstance(found, dict)
        return found


def container(service: str) -> str:
    """The name that compose gives a service's container."""
    return f"{PROJECT_NAME}_{service}_1"


def until(condition: Callable[[], Any], what: str, within_s: float = _DEADLINE_S) -> Any:
    """What the condition returns once it is true."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not (last := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {what}; last seen: {last!r}")
        pause.wait(0.1)
    return last


def _here() -> dict[str, Any]:
    """What the compose file leaves to others: the base, and LiteLLM's image.

    That is this machine's programs and the LiteLLM that other tests ask as well, in a container.
    """
    litellm = litellm_python(VERSIONS[0]).parents[1]
    programs = dict.fromkeys(["/usr", sys.base_prefix, str(litellm)])
    return {
        "services": {
            "litellm": {
                "image": BASE,
                "entrypoint": [f"{litellm}/bin/litellm"],
                "environment": {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
                "volumes": [f"{program}:{program}:ro" for program in programs],
            },
            "prodlensd": {"build": {"args": {"BASE": BASE}}},
        }
    }


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if os.geteuid() != 0:
        pytest.fail("only root can build and run these containers")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.fail(f"no {', '.join(missing)}: `make test-all` installs them")
    podman = Podman(tmp_path_factory.mktemp("podman"))
    try:
        # A Debian with Python, as anybody might have; what is in there for systemd goes unused.
        unneeded = f"tar --delete .{VENV} .{WHEELS} < {made_root()}"
        podman.must("sh", "-c", f"{unneeded} | podman import --quiet - {BASE}")
        yield podman
    finally:
        podman.close()


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Beside:
    """The image is built, and nothing runs."""
    beside = Beside(podman, tmp_path_factory.mktemp("compose"))
    beside.compose("build", "prodlensd", timeout_s=600)
    return beside


@pytest.fixture(scope="session")
def beside(image: Beside) -> Beside:
    """Both containers run."""
    image.up()
    return image
