"""`notify.webhook` hears once of each crossing, from a real server that also refuses and hangs."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
import structlog.testing

from prodlensd.app import due
from prodlensd.app.notification import notify
from prodlensd.config import load
from prodlensd.jobs.posting import post
from prodlensd.ledger import Telling
from prodlensd.model import US_PER_S
from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

NOW_US = int(datetime(2026, 1, 14, 12, tzinfo=UTC).timestamp()) * US_PER_S


class Hook(ThreadingHTTPServer):
    """A webhook. The mutable state: what it was told, and what it says to that."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told: list[dict[str, Any]] = []
        self.says = 200
        self.paths: list[str] = []
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-hook"

    def texts(self, kind: str = "budget") -> list[str]:
        return [told["text"] for told in self.told if told["kind"] == kind]


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        if self.server.says == 0:  # it says nothing
            self.server.is_over.wait()
            return
        if self.server.says < 300:
            self.server.told.append(json.loads(body))
        self.send_response(self.server.says)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - where a redirect would lead

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hook
    hook.is_over.set()
    hook.shutdown()
    thread.join()
    hook.server_close()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time, which a test may set."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("no_proxy", "*")
    clock = [NOW_US]
    for module in ("status", "notification", "due"):
        monkeypatch.setattr(f"prodlensd.app.{module}.now_us", lambda: clock[0])
    return clock


@pytest.fixture
def told(desk: Desk, hook: Hook) -> Desk:
    desk.config.write_text(
        f'[notify]\nwebhook = "{hook.url}"\n'
        '[[budget]]\nname = "<!all> \\u001b[2J"\nmonthly_usd = 10\n'
    )
    return desk


def tell(desk: Desk, code: int = 0) -> str:
    done = desk.command("notify")
    assert code == done.returncode, done.output
    text: str = done.output
    return text


def test_a_crossing_is_told_once_also_after_a_restart(told: Desk, hook: Hook) -> None:
    told.ingest(call("2026-01-05T08:00:00", 7.9))
    tell(told)
    assert hook.texts() == []
    told.ingest(call("2026-01-06T08:00:00", 0.2))
    tell(told)
    told.restart()
    assert tell(told) == "nothing has changed since it was last told\n"
    told.ingest(call("2026-01-07T08:00:00", 5.0))
    tell(told)
    tell(told)
    warning, over = hook.texts()
    name = "budget &lt;!all&gt; \\x1b[2J"
    assert warning.endswith(f"{name} warning: $8.10 of $10.00 in 2026-01")
    assert over.endswith(f"{name} over: $13.10 of $10.00 in 2026-01")
    message = hook.told[-1]
    assert (message["schema"], message["budget"]["state"]) == ("prodlensd.notification/1", "over")
    assert message["budget"]["spent_usd"] == 13.1


def test_a_call_that_leaps_over_both_lines_is_told_once(told: Desk, hook: Hook) -> None:
    told.ingest(call("2026-01-05T08:00:00", 50.0), call("2026-01-05T09:00:00", None))
    tell(told)
    [over] = hook.texts()
    assert " over: ≥ $50.00 of $10.00" in over


def test_a_new_month_begins_below_all_lines(told: Desk, hook: Hook, clock: list[int]) -> None:
    told.ingest(call("2026-01-05T08:00:00", 50.0))
    tell(told)
    clock[0] += 20 * 86_400 * US_PER_S
    tell(told)
    assert len(hook.texts()) == 1
    told.ingest(call("2026-02-02T08:00:00", 9.0))
    tell(told)
    assert len(hook.texts()) == 2


def test_a_change_of_health_is_told_once_by_the_names_of_the_checks(told: Desk, hook: Hook) -> None:
    told.ingest(b"not json\n", call("2026-01-05T08:00:00", 1.0))
    for _ in range(2):
        tell(told)
    [health] = hook.texts("health")
    assert "health critical, was ok: daemon, ingest" in health  # no daemon runs in this test
    assert "not json" not in json.dumps(hook.told)


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        (500, "the webhook says 500"),
        (302, "the webhook says 302, and no redirect is followed"),
        (307, "the webhook says 307, and no redirect is followed"),
        (0, "the webhook does not answer within 0.2 s"),
        (-1, "the webhook cannot be reached: Connection refused"),
    ],
)
def test_a_webhook_that_does_not_take_it_is_asked_again_later(
    told: Desk, hook: Hook, clock: list[int], monkeypatch: Any, says: int, fault: str
) -> None:
    monkeypatch.setattr(
        "prodlensd.app.notification.post", lambda url, content: post(url, content, timeout_s=0.2)
    )
    told.ingest(call("2026-01-05T08:00:00", 50.0))
    to_notify = due.ToNotify(load())
    assert to_notify()
    config = told.config.read_text()
    if says == -1:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            free = f"http://127.0.0.1:{closed.getsockname()[1]}/secret-hook"
        told.config.write_text(config.replace(hook.url, free))
    hook.says = max(says, 0)
    assert tell(told, code=75) == f"Error: cannot notify: {fault}\n"
    assert not to_notify()
    assert "/elsewhere" not in hook.paths
    clock[0] += 60 * US_PER_S
    assert to_notify()
    tell(told, code=75)
    clock[0] += 60 * US_PER_S
    assert not to_notify()  # two minutes
    clock[0] += 60 * US_PER_S
    assert to_notify()
    hook.says = 200
    told.config.write_text(config)
    tell(told)
    assert len(hook.texts()) == 1
    assert not to_notify()


def test_what_fails_is_logged_once_without_the_address(
    told: Desk, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.app.notification.configure_log", lambda _level: None)
    told.ingest(call("2026-01-05T08:00:00", 50.0))
    with structlog.testing.capture_logs() as logged:
        for hook.says, code in ((500, 75), (500, 75), (200, 0), (200, 0)):
            done = told.command("notify", "--quiet")
            assert (done.returncode, done.output) == (code, "")
    assert [entry["event"] for entry in logged] == [
        "cannot notify just now; will keep trying",
        "notifying again",
    ]
    assert "secret-hook" not in repr(logged)


def test_killed_between_the_message_and_its_note_it_is_told_once_more(
    told: Desk, hook: Hook
) -> None:
    told.ingest(call("2026-01-05T08:00:00", 50.0))
    if (pid := os.fork()) == 0:
        Telling.note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        for _ in notify(load(), is_logged=False):
            pass
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert len(hook.texts()) == 1
    tell(told)
    assert len(hook.texts()) == 2
    tell(told)
    assert len(hook.texts()) == 2


def test_one_that_holds_its_answer_back_byte_by_byte_is_left_behind() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                while not over.wait(0.02):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(OSError, match=r"does not answer within 0\.3 s"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, timeout_s=0.3)
        over.set()
        thread.join()


def test_the_test_message_and_a_missing_address(told: Desk, hook: Hook) -> None:
    told.ingest()
    done = told.command("notify", "--test")
    assert (done.returncode, done.output) == (0, "notify.webhook took the message\n")
    assert hook.texts("test")[0].endswith("this is a test")
    told.config.write_text("")
    assert "notify.webhook is not set" in tell(told, code=1)


def test_a_running_daemon_tells_and_goes_on_when_nobody_listens(
    machine: Any, hook: Hook, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    machine.config.write_text(
        f'[notify]\nwebhook = "{hook.url}"\n[[budget]]\nname = "all"\nmonthly_usd = 1\n'
    )
    hook.says = 0
    now = datetime.now(UTC).isoformat(timespec="seconds")
    (machine.logs / "a.jsonl").write_bytes(call(now.removesuffix("+00:00"), 2.0))
    machine.start()
    wait_until(lambda: hook.paths, "the webhook is asked")
    (machine.logs / "b.jsonl").write_bytes(call(f"{now[:-9]}:00", 3.0))
    wait_until(lambda: machine.query("SELECT count(*) FROM trace") == [2], "lines are read on")
    hook.says = 200
    hook.is_over.set()
    wait_until(lambda: machine.query("SELECT failures FROM telling") == [1], "it was not taken")
