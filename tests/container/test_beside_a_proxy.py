"""LiteLLM and prodlensd in two containers, as container/compose.yaml has them."""

from __future__ import annotations

import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from prodlensd import litellm as proxy
from tests.container.conftest import BASE, IMAGE, PROJECT_NAME, Beside, container, until
from tests.systemd.root import PROJECT

HOME = "/var/lib/prodlensd"
USER = "10001"


def test_the_image_has_the_versions_that_the_tests_run_with_and_no_compiler(image: Beside) -> None:
    listed = (
        "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in "
        "m.distributions()), sep='\\n')"
    )
    installed = set(image.run_image("/opt/prodlensd/bin/python3", "-c", listed).out.split())
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_normal(line.partition(" ")[0]) for line in lines if "==" in line}
    assert {_normal(name) for name in installed} - pinned == {"prodlensd==0.1.0"}
    found = image.run_image("sh", "-c", "command -v cc gcc clang ld as make pip; true").out
    assert found == ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("==")[0]).lower() + "==" + name.partition("==")[2]


def test_the_image_gives_the_callback_to_the_proxy(image: Beside) -> None:
    printed = image.run_image("prodlensd", "litellm-callback", "--print").out
    assert printed == proxy.callback_source()


def test_the_image_is_small(image: Beside) -> None:
    """What it adds to its base: DuckDB and pyarrow are most of it."""
    sizes = {
        name: int(image.podman.must("podman", "image", "inspect", "--format={{.Size}}", name))
        for name in (BASE, IMAGE)
    }
    assert sizes[IMAGE] - sizes[BASE] < 260_000_000


def test_a_call_through_the_proxy_is_in_the_ledger_with_its_price(beside: Beside) -> None:
    told = beside.call()
    row = beside.until_known([told["call_id"]])[told["call_id"]]
    tokens = (told["prompt_tokens"], told["completion_tokens"])
    assert tokens == (row["tokens_in"], row["tokens_out"])
    # OpenAI asks 2.50 and 10 dollars for a million tokens.
    assert row["cost_usd"] == pytest.approx((2.5 * tokens[0] + 10 * tokens[1]) / 1e6)
    assert row["host"] == "litellm"


def test_only_the_group_of_the_traces_may_read_them_beside_the_proxy(beside: Beside) -> None:
    beside.until_known([beside.call()["call_id"]])
    listed = beside.within("prodlensd", "sh", "-c", f"stat -c '%A %u:%g' {HOME}/logs/*.jsonl").out
    assert listed.split() == ["-rw-r-----", f"0:{USER}"]
    assert beside.within("prodlensd", "stat", "-c", "%A %u:%g", f"{HOME}/logs").out.split() == [
        "drwxrws---",
        f"{USER}:{USER}",
    ]


def test_the_health_check_says_healthy(beside: Beside) -> None:
    assert beside.is_healthy()
    assert "running, pid" in str(beside.inspect("prodlensd")["State"])


def test_the_daemon_has_no_privilege_and_no_network(beside: Beside) -> None:
    status = beside.within("prodlensd", "cat", "/proc/self/status", "/proc/1/status").out
    assert set(re.findall(r"(?m)^Cap\w+:\s*(\w+)$", status)) == {"0" * 16}
    assert set(re.findall(r"(?m)^NoNewPrivs:\s*(\d)$", status)) == {"1"}
    assert set(re.findall(r"(?m)^Uid:\s*(.*)$", status)) == {"\t".join([USER] * 4)}
    devices = beside.within("prodlensd", "cat", "/proc/net/dev").out
    assert re.findall(r"(?m)^\s*(\w+):", devices) == ["lo"]
    limits = beside.within("prodlensd", "cat", "/proc/1/limits").out
    assert re.search(r"(?m)^Max core file size\s+0\s+0\s", limits)
    host = beside.inspect("prodlensd")["HostConfig"]
    assert (host["Memory"], host["PidsLimit"], host["Init"]) == (1 << 30, 512, True)


def test_the_proxy_has_no_privilege_either(beside: Beside) -> None:
    status = beside.within("litellm", "cat", "/proc/1/status").out
    assert set(re.findall(r"(?m)^Cap\w+:\s*(\w+)$", status)) == {"0" * 16}
    assert set(re.findall(r"(?m)^NoNewPrivs:\s*(\d)$", status)) == {"1"}
    assert set(re.findall(r"(?m)^Groups:\s*(.*?)\s*$", status)) == {USER}


def test_nothing_but_the_volumes_and_tmp_can_be_written(beside: Beside) -> None:
    # By its mounts, since permissions would hide that a folder of root's could be written.
    mounts = beside.within("prodlensd", "cat", "/proc/self/mounts").out.splitlines()
    options = {mount.split()[1]: mount.split()[3].split(",") for mount in mounts}
    kernels = ("/proc", "/dev", "/sys")
    writable = {path for path, has in options.items() if "rw" in has}
    assert {path for path in writable if not path.startswith(kernels)} == {
        HOME,
        f"{HOME}/logs",
        "/tmp",  # noqa: S108 - in the container
    }
    written = beside.within("prodlensd", "sh", "-c", "echo > /var/tmp/file")
    assert "Read-only file system" in written.err


def test_all_that_the_program_does_works_without_writing_elsewhere(beside: Beside) -> None:
    beside.until_known([beside.call()["call_id"]])
    for command in (["compact"], ["verify"], ["report"], ["reprice", "--dry-run"], ["demo"]):
        done = beside.ask(*command)
        assert done.code == 0, (command, done.out, done.err)
    assert "1 day, 0 to be written" in beside.ask("status").out


def test_a_kill_loses_nothing_and_counts_nothing_twice(beside: Beside) -> None:
    told, killed, stop = list[str](), set[int](), threading.Event()

    def call_on() -> None:
        while not stop.is_set():
            told.append(beside.call()["call_id"])

    with ThreadPoolExecutor() as threads:
        calling = threads.submit(call_on)
        try:
            for _ in range(2):
                made = len(told) + 1
                until(partial(lambda made: len(told) >= made or calling.done(), made), "a call")
                killed.add(beside.kill("prodlensd"))
        finally:
            stop.set()
        calling.result()
    assert len(killed) == 2
    assert len(set(told)) == len(told) >= 2
    assert set(told) <= beside.until_known(told).keys()
    assert beside.ask("verify").code == 0


def test_a_stop_is_in_time_even_at_the_very_start(beside: Beside) -> None:
    name = container("prodlensd")
    beside.compose("stop", "prodlensd")
    assert beside.inspect("prodlensd")["State"]["ExitCode"] == 0
    assert '"event":"stopped"' in beside.podman.run("podman", "logs", "--tail=1", name).err
    # Before it could say what to do with signals, it ends all the same.
    beside.podman.must("sh", "-c", f"podman start {name} && podman stop {name}")
    assert beside.inspect("prodlensd")["State"]["ExitCode"] in (0, 128 + signal.SIGTERM)


def test_new_containers_go_on_where_the_old_ones_were(beside: Beside) -> None:
    beside.up()
    before = beside.until_known([beside.call()["call_id"]])
    beside.compose("down")
    beside.up()
    after = beside.calls()
    assert before == {name: after[name] for name in before}


def test_a_wrong_user_is_told_which_folder_is_whose(beside: Beside) -> None:
    volumes = [
        f"--volume={PROJECT_NAME}_ledger:{HOME}",
        f"--volume={PROJECT_NAME}_traces:{HOME}/logs",
    ]
    for command in (["run"], ["status", "--exit", "docker"]):
        wrong = beside.run_image("prodlensd", *command, options=[*volumes, "--user=12345:12345"])
        assert wrong.code != 0
        assert (
            f"Permission denied: {HOME} belongs to {USER}:{USER}, mode 0700, and this is user "
            "12345:12345; run as its owner, or let this user in"
        ) in wrong.err


def test_a_folder_that_cannot_be_written_is_named_with_its_owner(beside: Beside) -> None:
    done = beside.run_image(
        "prodlensd", "run", options=["--read-only=false", "--env=PRODLENSD_HOME=/opt/ledger"]
    )
    assert done.code == 1
    assert done.err.startswith("Error: store.path: cannot make the folder /opt/ledger: Permission")
    assert "/opt belongs to 0:0, mode 0755, and this is user 10001:10001" in done.err


def test_a_trace_that_the_group_may_not_read_is_named_and_read_once_it_may(beside: Beside) -> None:
    file = "/var/log/prodlensd/private.jsonl"
    made = f"umask 077; cp $(ls /var/log/prodlensd/litellm-traces-*) {file}"
    assert beside.within("litellm", "sh", "-c", made).code == 0
    told = until(
        lambda: re.search(r"(?m)^faults .*private.*$", beside.ask("status").out), "the fault"
    )
    assert f"it belongs to 0:{USER}, mode 0600, and this is user {USER}:{USER}" in told[0]
    assert beside.within("litellm", "chmod", "640", file).code == 0
    until(lambda: "private" not in beside.ask("status").out, "no fault")
    # The same calls, once more: none is counted twice.
    assert beside.ask("verify").code == 0
    assert beside.calls()


def test_a_new_proxy_writes_on_in_the_same_folder(beside: Beside) -> None:
    before = beside.calls()
    row = beside.until_known([new := beside.call()["call_id"]])[new]
    assert new not in before
    assert row["host"] == "litellm"
    assert beside.ask("verify").code == 0
