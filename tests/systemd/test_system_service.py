"""The system's service under a real systemd: what the unit promises, it keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)  # the first test may have to make the root

CONFIG = "/etc/prodlensd/config.toml"
LOGS = "/var/log/prodlensd"
DROP_IN = "/etc/systemd/system/prodlensd.service.d/test.conf"
QUERY = """\
import sqlite3, sys, json
db = sqlite3.connect("file:/var/lib/prodlensd/prodlens.db?mode=ro", uri=True)
print(json.dumps(db.execute(sys.argv[1]).fetchall()))
"""
_written = 0


def lines(count: int) -> str:
    """Lines of a model whose price only the table knows."""
    global _written  # noqa: PLW0603 - no two lines of this container are alike
    _written += count
    return "".join(
        json.dumps(
            {
                "timestamp": "2026-01-01T00:00:00Z",
                "attributes": {"llm.model_name": "anthropic/claude-3-5-haiku-latest"},
                "usage": {"input_tokens": 100, "output_tokens": 50},
                "metadata": {"session_id": f"s{number}"},
            }
        )
        + "\n"
        for number in range(_written - count, _written)
    )


def append(machine: Any, count: int, name: str = "a.jsonl", *, user: str = "gateway") -> None:
    script = 'umask 027; cat >> "$0"'
    machine.must("sh", "-c", script, f"{LOGS}/{name}", user=user, input_=lines(count))


def query(machine: Any, sql: str) -> Any:
    done = machine.run("/usr/bin/python3", "-c", QUERY, sql)
    return json.loads(done.out) if done.ok else []


def all_are_there_once(machine: Any) -> None:
    machine.until(
        lambda: (
            query(machine, "SELECT count(*), count(DISTINCT session_id) FROM traces")
            == [[_written, _written]]
        ),
        f"{_written} traces",
    )


def drop_in(machine: Any, text: str) -> None:
    machine.write(DROP_IN, f"[Service]\n{text}")
    machine.must("systemctl", "daemon-reload")


def pid(machine: Any) -> int:
    return int(machine.show("MainPID")["MainPID"])


def is_up(machine: Any) -> bool:
    return bool(machine.show("ActiveState")["ActiveState"] == "active")


@pytest.fixture(scope="module")
def installed(machine: Any) -> Iterator[Any]:
    """prodlensd, installed as a service, beside a gateway of another user of its group."""
    machine.must("groupadd", "--system", "prodlensd")
    machine.must("useradd", "--create-home", "--groups", "prodlensd", "gateway")
    machine.write(
        CONFIG,
        f'[logs]\ndirectories = ["{LOGS}"]\n'
        '[store]\npath = "/var/lib/prodlensd/prodlens.db"\n'
        '[parquet]\ndirectory = "/var/lib/prodlensd/parquet"\ninterval_s = 1\n',
    )
    # Restarts come at once, and as many as the tests take.
    machine.write(
        "/etc/systemd/system/prodlensd.service.d/fast.conf",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\n",
    )
    said = machine.must("prodlensd", "service", "install", "--system")
    assert "prodlensd is active" in said
    yield machine
    machine.must("prodlensd", "service", "uninstall", "--system")
    assert machine.run("test", "-e", CONFIG).ok  # is not ours
    machine.must("rm", "-r", "/etc/prodlensd", "/etc/systemd/system/prodlensd.service.d")


@pytest.fixture
def service(installed: Any) -> Iterator[Any]:
    """The service, running and as it was installed."""
    if not is_up(installed):
        installed.must("systemctl", "restart", "prodlensd")
    yield installed
    installed.must("rm", "-f", DROP_IN)
    installed.must("systemctl", "daemon-reload")


def test_it_is_up_and_systemctl_status_says_what_it_does(service: Any) -> None:
    told = service.show("ActiveState", "StatusText", "User", "NRestarts", "WatchdogUSec")
    assert told["User"] == "prodlensd"
    assert told["StatusText"].startswith("up to date")
    append(service, 10)
    all_are_there_once(service)
    service.until(
        lambda: "10 lines since the start" in service.show("StatusText")["StatusText"], "the count"
    )


def test_its_child_processes_work_in_the_sandbox(service: Any) -> None:
    append(service, 1)
    all_are_there_once(service)
    assert query(service, "SELECT DISTINCT cost_source FROM traces") == [["table"]]
    parquet = "/var/lib/prodlensd/parquet/event_date=2026-01-01"
    service.until(lambda: service.run("sh", "-c", f"ls {parquet}/*.parquet").ok, "the snapshot")


def test_its_log_in_the_journal_is_json_that_nobody_can_forge(service: Any) -> None:
    forged = "x\nPRIORITY=0\nFORGED=yes\n<0>forged.jsonl"
    append(service, 1, name=forged)
    service.must("sh", "-c", 'echo "$1" >> "$0"', f"{LOGS}/a.jsonl", "<0>no JSON\nFORGED=yes")
    service.must("chmod", "0", f"{LOGS}/{forged}")
    service.must("chown", "gateway:gateway", f"{LOGS}/{forged}")
    service.must("systemctl", "restart", "prodlensd")
    service.until(lambda: "Permission" in service.show("StatusText")["StatusText"], "the fault")
    assert "x?PRIORITY=0?FORGED=yes?<0>forged" in service.show("StatusText")["StatusText"]
    said = [entry for entry in service.journal() if entry.get("_COMM") == "prodlensd"]
    events = [json.loads(entry["MESSAGE"]) for entry in said]
    assert {"started", "stopped", "cannot read; will keep trying"} <= {e["event"] for e in events}
    assert not any("FORGED" in entry for entry in said)
    assert {entry["PRIORITY"] for entry in said} == {"6"}
    service.must("chown", "gateway:prodlensd", f"{LOGS}/{forged}")
    service.must("chmod", "640", f"{LOGS}/{forged}")
    all_are_there_once(service)


def test_kill_9_is_followed_by_a_restart_and_no_line_is_lost_or_doubled(service: Any) -> None:
    before = pid(service)
    append(service, 5000)
    service.must("systemctl", "kill", "--kill-who=main", "--signal=KILL", "prodlensd")
    append(service, 100)
    service.until(lambda: pid(service) not in (0, before) and is_up(service), "a restart")
    all_are_there_once(service)


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_starts_again(service: Any) -> None:
    drop_in(service, "WatchdogSec=2\nTimeoutAbortSec=1\n")
    service.must("systemctl", "restart", "prodlensd")
    idle = pid(service)
    started_s = time.monotonic()
    service.until(lambda: time.monotonic() - started_s > 5, "more than two idle watchdog times")
    assert pid(service) == idle
    service.must("systemctl", "kill", "--kill-who=main", "--signal=STOP", "prodlensd")
    append(service, 10)
    service.until(lambda: pid(service) not in (0, idle) and is_up(service), "a restart")
    messages = [str(entry["MESSAGE"]) for entry in service.journal()]
    assert any("Watchdog timeout" in message for message in messages)
    all_are_there_once(service)


def test_reload_reads_the_configuration_again_without_a_restart(service: Any) -> None:
    before = pid(service)
    config = service.must("cat", CONFIG)
    service.write(CONFIG, config.replace("[store]", 'include = ["*.ndjson", "*.jsonl"]\n[store]'))
    service.must("systemctl", "reload", "prodlensd")
    append(service, 3, name="new.ndjson")
    all_are_there_once(service)
    service.until(lambda: is_up(service), "the end of the reload")
    assert pid(service) == before
    assert any("Reload" in str(entry["MESSAGE"]) for entry in service.journal())


def test_it_stops_by_itself_with_nothing_half_done(service: Any) -> None:
    append(service, 50_000)
    service.must("systemctl", "stop", "prodlensd")
    told = service.show("ActiveState", "Result", "ExecMainStatus")
    assert told == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    service.must("systemctl", "start", "prodlensd")
    # Ready means: what was there has been read.
    assert query(service, "SELECT count(*) FROM traces") == [[_written]]


def test_a_bad_configuration_is_not_tried_again(service: Any) -> None:
    config = service.must("cat", CONFIG)
    service.write(CONFIG, config + "\n[http]\nlisten = 7\n")
    assert not service.run("systemctl", "restart", "prodlensd").ok
    service.write(CONFIG, config)
    told = service.show("ActiveState", "ExecMainStatus")
    assert told == {"ActiveState": "failed", "ExecMainStatus": "78"}
    service.must("systemctl", "reset-failed", "prodlensd")


def test_the_sandbox_lets_it_do_its_work_and_nothing_else(service: Any) -> None:
    service.must("python3", "-c", ADD_ADDRESS)
    service.write("/opt/probe.py", PROBE)
    service.must("touch", "/tmp/marker", "/home/gateway/marker")  # noqa: S108
    free = json.loads(service.must("python3", "/opt/probe.py"))
    assert free == dict.fromkeys(free, "done")
    drop_in(
        service,
        "ExecStartPre=/bin/sh -c 'python3 /opt/probe.py > $STATE_DIRECTORY/probe'\n",
    )
    service.must("systemctl", "restart", "prodlensd")
    bound = json.loads(service.must("cat", "/var/lib/prodlensd/probe"))
    allowed = {what for what, outcome in bound.items() if outcome == "done"}
    assert allowed == {"write state", "write logs", "start a process", "listen on loopback"}, bound


def test_its_unit_is_exposed_to_less_than_one_and_a_half(service: Any) -> None:
    service.must("systemd-analyze", "security", "--threshold=15", "prodlensd.service")
    told = service.must("systemd-analyze", "verify", "prodlensd.service")
    assert told == ""


#: Gives an interface an address that is not of the loopback network (0x8916 is SIOCSIFADDR).
ADD_ADDRESS = """\
import fcntl, socket, struct
with socket.socket() as some:
    address = struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, socket.inet_aton("192.0.2.1"))
    fcntl.ioctl(some, 0x8916, address)
"""

PROBE = """\
import ctypes, json, mmap, os, socket, subprocess

def write(path):
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)

def reach(address):
    with socket.socket() as server, socket.socket() as client:
        server.bind((address, 0))
        server.listen()
        client.settimeout(1)
        client.connect(server.getsockname())

def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

TRIED = {
    "write state": lambda: write("/var/lib/prodlensd/x"),
    "write logs": lambda: write("/var/log/prodlensd/x"),
    "start a process": lambda: subprocess.run(["/bin/true"], check=True),
    "listen on loopback": lambda: reach("127.0.0.1"),
    "write /etc": lambda: write("/etc/x"),
    "write /usr": lambda: write("/usr/x"),
    "write /var": lambda: write("/var/x"),
    "see /tmp": lambda: os.stat("/tmp/marker"),
    "see homes": lambda: os.stat("/home/gateway/marker"),
    "see process 1": lambda: os.stat("/proc/1/status"),
    "see the kernel's settings": lambda: os.stat("/proc/sys/kernel"),
    "reach the network": lambda: reach("192.0.2.1"),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "make a namespace": lambda: call(272, 0x04000000),
    "write and execute memory": lambda: mmap.mmap(-1, 4096, prot=7),
    "make a setuid file": lambda: (write("/var/lib/prodlensd/y"),
        os.close(os.open("/var/lib/prodlensd/z", os.O_CREAT, 0o600)),
        os.chmod("/var/lib/prodlensd/z", 0o4755)),
    "change a priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
}

def outcome(action):
    try:
        action()
    except Exception as error:
        return repr(error)
    return "done"

print(json.dumps({what: outcome(action) for what, action in TRIED.items()}))
"""
