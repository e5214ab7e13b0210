"""The service of a user under a real systemd, and what install and uninstall leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)  # the first test may have to make the root

LINE = '{"timestamp": "2026-01-01T00:00:00Z", "usage": {"input_tokens": 1}, "cost_usd": 0.1}\n'
UNIT = "/home/dev/.config/systemd/user/prodlensd.service"
LOGS = "/home/dev/.local/share/prodlensd/logs"


@pytest.fixture(scope="module")
def dev(machine: Any) -> Iterator[Any]:
    """A machine with a user who is not logged in."""
    machine.must("useradd", "--create-home", "dev")
    yield machine
    machine.run("loginctl", "disable-linger", "dev")


@pytest.fixture
def lingering(dev: Any) -> Any:
    dev.must("loginctl", "enable-linger", "dev")
    uid = dev.must("id", "-u", "dev").strip()
    dev.until(lambda: dev.run("test", "-S", f"/run/user/{uid}/systemd/private").ok, "dev's manager")
    return dev


def files(machine: Any) -> set[str]:
    folders = ("/etc", "/usr", "/opt", "/home", "/var/lib", "/var/log")
    found = machine.must("find", *folders, "-not", "-path", "*/journal/*")
    return set(found.splitlines())


def test_without_a_service_manager_install_says_how_to_get_one(dev: Any) -> None:
    refused = dev.run("prodlensd", "service", "install", user="dev")
    assert refused.code == 1
    assert "loginctl enable-linger dev" in refused.err
    assert not dev.run("test", "-e", UNIT).ok


def test_a_user_may_not_change_the_systems_services(dev: Any) -> None:
    refused = dev.run("prodlensd", "service", "install", "--system", user="dev")
    assert refused.code == 1
    assert "only root" in refused.err


def test_a_user_installs_it_twice_uses_it_and_removes_it_without_a_trace(lingering: Any) -> None:
    machine = lingering
    before = files(machine)
    said = machine.must("prodlensd", "service", "install", user="dev")
    assert "prodlensd is active" in said
    first = machine.show("MainPID", "UnitFileState", user="dev")
    assert first["UnitFileState"] == "enabled"
    machine.must("prodlensd", "service", "install", user="dev")
    assert machine.show("MainPID", user="dev") != first["MainPID"]

    machine.must("sh", "-c", f"cat >> {LOGS}/a.jsonl", user="dev", input_=LINE * 3)
    machine.until(
        lambda: "3 traces" in machine.run("prodlensd", "status", user="dev").out, "the traces"
    )
    shown = machine.must("prodlensd", "service", "show", user="dev")
    assert shown.startswith("service   active (pid ")
    unit = machine.must("prodlensd", "service", "show", "--unit", user="dev")
    assert unit == machine.must("cat", UNIT)

    said = machine.must("prodlensd", "service", "uninstall", user="dev")
    assert "/home/dev/.local/share/prodlensd/prodlens.db" in said
    assert machine.show("LoadState", "ActiveState", user="dev") == {
        "LoadState": "not-found",
        "ActiveState": "inactive",
    }
    left = {path for path in files(machine) - before if "/.local/share" not in path}
    folders = {"/home/dev/.config", "/home/dev/.config/systemd", "/home/dev/.config/systemd/user"}
    assert {path for path in left if "__pycache__" not in path} <= folders | {
        f"{UNIT.rpartition('/')[0]}/default.target.wants",
        "/home/dev/.local",
    }
    assert machine.run("test", "-e", f"{LOGS}/a.jsonl").ok
    machine.must("prodlensd", "service", "uninstall", user="dev")


def test_odd_paths_reach_the_program_as_they_are(lingering: Any) -> None:
    config = "/home/dev/100% \"odd\" $HOME \\x 'y'.toml"
    text = '[store]\npath = "/home/dev/odd.db"\n'
    lingering.must("sh", "-c", 'cat > "$0"', config, user="dev", input_=text)
    said = lingering.must("prodlensd", "service", "install", "-c", config, user="dev")
    assert "prodlensd is active" in said
    assert lingering.run("test", "-e", "/home/dev/odd.db").ok
    lingering.must("prodlensd", "service", "uninstall", user="dev")


def test_the_system_installs_it_with_a_configuration_and_a_user_and_removes_it(
    machine: Any,
) -> None:
    machine.run("rm", "-rf", "/etc/prodlensd")
    before = files(machine)
    said = machine.must("prodlensd", "service", "install", "--system")
    assert "prodlensd is active" in said
    machine.must("sh", "-c", 'cat >> "$0"', "/var/log/prodlensd/b.jsonl", input_=LINE)
    machine.must("chgrp", "prodlensd", "/var/log/prodlensd/b.jsonl")
    machine.until(lambda: "daemon    running" in machine.run("prodlensd", "status").out, "status")
    owner = machine.must("stat", "-c", "%U:%G %a", "/var/log/prodlensd", "/var/lib/prodlensd")
    assert owner.split("\n")[:2] == ["prodlensd:prodlensd 2770", "prodlensd:prodlensd 750"]

    said = machine.must("prodlensd", "service", "uninstall", "--system")
    assert "the ledger and the logs stay" in said
    state = machine.show("LoadState", "ActiveState")
    assert state == {"LoadState": "not-found", "ActiveState": "inactive"}
    kept = ("/var/lib/prodlensd", "/var/log/prodlensd")
    users = ("passwd", "shadow", "group", "gshadow")
    left = {path for path in files(machine) - before if not path.startswith(kept)}
    assert left <= {f"/etc/{name}-" for name in users} | {"/etc/.pwd.lock"}
    machine.must("prodlensd", "service", "uninstall", "--system")


def test_it_can_run_as_the_gateways_user_whose_logs_nobody_else_can_read(machine: Any) -> None:
    machine.run("useradd", "--create-home", "litellm")
    machine.run("rm", "-rf", "/var/log/prodlensd", "/var/lib/prodlensd")
    said = machine.must("prodlensd", "service", "install", "--system", "--run-as", "litellm")
    assert "prodlensd is active" in said
    script = "umask 077; cat >> /var/log/prodlensd/c.jsonl"
    machine.must("sh", "-c", script, user="litellm", input_=LINE)
    machine.until(lambda: " 1 trace" in machine.run("prodlensd", "status").out, "the trace")
    machine.must("prodlensd", "service", "uninstall", "--system")
