"""The server alone, against clients of every kind, and in front of a real daemon's ledger."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import apsw
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from prodlensd import config
from prodlensd.app.http import http_server
from prodlensd.daemon import http_server as server
from prodlensd.daemon.http import Answer, serving

PAGE = b"a page\n"
_PATIENCE_S = 60


def fail(_query: str) -> Answer:
    raise RuntimeError("a bug in a page")


ROUTES = {
    "/page": lambda _: Answer(PAGE),
    "/sick": lambda _: Answer(b"sick\n", status=HTTPStatus.SERVICE_UNAVAILABLE),
    "/fails": fail,
    "/large": lambda _: Answer(b"x" * 20_000_000),
}


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with serving((host, 0), ROUTES) as (_, port):
        yield port


@pytest.fixture
def port() -> Iterator[int]:
    with listening() as port:
        yield port


def exchange(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    """All that comes back for these bytes, until the server closes."""
    with socket.create_connection((host, port), timeout=_PATIENCE_S) as client:
        client.sendall(request)
        received = bytearray()
        while more := client.recv(65536):
            received += more
        return bytes(received)


def status_of(answer: bytes) -> int:
    version, status, _ = answer.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status)


def ask(
    port: int, target: str = "/page", *, method: str = "GET", host: str = "localhost"
) -> tuple[int, dict[str, str], bytes]:
    answer = exchange(port, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return status_of(answer), headers, body


def test_a_page_is_given_and_the_connection_closed(port: int) -> None:
    status, headers, body = ask(port)
    assert (status, body) == (200, PAGE)
    assert headers["Content-Length"] == str(len(PAGE))
    assert headers["Connection"] == "close"
    assert "Server" not in headers


def test_a_client_of_the_standard_library_understands_it(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    for _ in range(3):
        client.request("GET", "/page?with=a&query")
        assert client.getresponse().read() == PAGE
    client.close()


def test_the_head_of_a_page_is_that_of_the_page_without_it(port: int) -> None:
    status, headers, body = ask(port, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(PAGE)), b"")
    assert ask(port, "/nowhere", method="HEAD")[2] == b""


@pytest.mark.parametrize(
    "target", ["/", "/nowhere", "/page/", "//page", "/../page", "/page/../page"]
)
def test_what_is_no_page_is_not_found(port: int, target: str) -> None:
    assert ask(port, target)[0] == 404


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "X"]
)
def test_only_reading_is_allowed(port: int, method: str) -> None:
    status, headers, _ = ask(port, method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_page_that_fails_is_an_error_and_the_next_one_is_given(port: int) -> None:
    assert ask(port, "/fails")[0] == 500
    assert b"bug" not in ask(port, "/fails")[2]
    assert ask(port, "/sick")[0] == 503
    assert ask(port)[0] == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9469", "[::1]", "[::1]:9469"]
)
def test_this_machine_is_answered_under_its_own_names(port: int, host: str) -> None:
    assert ask(port, host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9469",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost.",
        "prodlensd",
        "10.0.0.7",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_name_that_somebody_else_may_own_is_refused(port: int, host: str, method: str) -> None:
    status, _, body = ask(port, host=host, method=method)
    assert status == 403
    assert PAGE not in body


def test_the_name_in_the_configuration_is_one_of_its_own(monkeypatch: Any) -> None:
    told = socket.getaddrinfo

    def resolve(host: str, *more: Any, **options: Any) -> Any:
        return told("127.0.0.1" if host == "metrics.example.com" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with listening("metrics.example.com") as port:
        assert ask(port, host="Metrics.Example.com:80")[0] == 200
        assert ask(port, host="evil.example")[0] == 403


def test_whoever_listens_everywhere_has_many_names_but_not_everybodys() -> None:
    with listening("0.0.0.0") as port:  # noqa: S104 - that is the question
        for host in (
            "10.0.0.7:9469",
            "[fe80::1]",
            "prodlensd:9469",
            socket.gethostname(),
            "localhost",
        ):
            assert ask(port, host=host)[0] == 200
        for host in ("evil.example", "10.0.0.7.evil.example", ""):
            assert ask(port, host=host)[0] == 403


@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_listens_on_the_newer_internet_too(host: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening(host) as port:
        answer = exchange(port, f"GET /page HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n".encode(), "::1")
        assert status_of(answer) == 200


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /page\r\n\r\n",
        b"GET  /page HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /page HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /page HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/page HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET page HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /page HTTP/1.1\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: evil.example\r\n Host: localhost\r\n\r\n",
        b"GET /page HTTP/1.1\r\nno colon\r\nHost: localhost\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: localhost:80:80x\r\n\r\n",
        b"GET /page HTTP/1.1\nHost: localhost\r\n\r\n",
        b"GET /page\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\xff\xfe\xfd \xff \xff\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(port: int, request_: bytes) -> None:
    assert status_of(exchange(port, request_)) == 400
    assert ask(port)[0] == 200


def test_a_header_of_any_bytes_is_none_of_ours(port: int) -> None:
    answer = exchange(port, b"GET /page HTTP/1.1\r\nHost: localhost\r\nX: \xff\xfe\x80\r\n\r\n")
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    "line", [b"X: " + b"x" * 1_000_000, b"X: 1\r\n" * 100_000, b"x" * 1_000_000]
)
def test_a_request_without_measure_is_refused(port: int, line: bytes) -> None:
    answer = exchange(port, b"GET /page HTTP/1.1\r\nHost: localhost\r\n" + line)
    assert status_of(answer) == 431


def test_a_request_may_come_byte_by_byte(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n":
            client.send(bytes([byte]))
        received = b""
        while more := client.recv(65536):
            received += more
    assert received.endswith(PAGE)


def test_a_large_page_arrives_whole_however_slowly_it_is_taken(monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 60.0)  # this machine may be busy
    with listening() as port:
        assert len(ask(port, "/large")[2]) == 20_000_000


def test_many_who_say_nothing_keep_nobody_else_waiting(monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 60.0)  # longer than anybody waits here
    with listening() as port, ExitStack() as stack:
        for number in range(3 * server._MAX_CLIENTS):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            if number % 2:
                idle.send(b"GET /page HTTP/1.1\r\nHost: loc")
            if number % 32 == 0:
                assert ask(port)[0] == 200
        assert ask(port)[0] == 200


def test_who_says_nothing_or_takes_nothing_is_let_go(monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 1.0)
    with listening() as port, ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S))
            for _ in range(3)
        ]
        silent, slow, greedy = clients
        slow.send(b"GET /page HTTP/1.1\r\n")
        greedy.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""
        received = 0
        # What it had been sent by then is less than the page, or it is cut off with a reset.
        try:
            while more := greedy.recv(4096):
                received += len(more)
                threading.Event().wait(0.001)
        except ConnectionResetError:
            pass
        assert received < 20_000_000


def test_a_slow_trickle_does_not_buy_more_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 0.5)
    with (
        listening() as port,
        socket.create_connection(("127.0.0.1", port), timeout=0.05) as client,
    ):
        for _ in range(2000):
            try:
                client.send(b"x")
                if client.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
        pytest.fail("let on for a hundred seconds")


def test_clients_that_break_off_harm_nobody(port: int) -> None:
    reset = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    for target in (b"/page", b"/large"):
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                client.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(port)[0] == 200


def test_many_at_once_are_all_answered(port: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: ask(port)[0], range(400))) == {200}


def test_after_the_end_nobody_listens_and_no_thread_is_left() -> None:
    before = threading.enumerate()
    with ExitStack() as stack:
        with listening() as port:
            address = ("127.0.0.1", port)
            silent = stack.enter_context(socket.create_connection(address, timeout=_PATIENCE_S))
            assert ask(port)[0] == 200
        assert silent.recv(1) == b""
    assert threading.enumerate() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with serving(address, ROUTES):  # and the port is free at once
        assert ask(port)[0] == 200


# With a ledger


@pytest.fixture
def serve(machine: Any) -> Iterator[Callable[[], int]]:
    """Serves the metrics of the machine's ledger, and says at which port."""
    with ExitStack() as stack:

        def start() -> int:
            probe = socket.create_server(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            probe.close()
            machine.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n')
            loaded = config.load(machine.config)
            stack.enter_context(http_server(loaded, None, structlog.get_logger()))
            return port

        yield start


def samples(port: int) -> dict[str, float]:
    status, headers, body = ask(port, "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if not sample.labels
    }


def trace_line(number: int) -> bytes:
    record = {
        "timestamp": "2026-01-01T00:00:00Z",
        "id": f"r-{number}",
        "litellm_call_id": f"c-{number}",
        "usage": {"input_tokens": 10, "output_tokens": 5},
        "cost_usd": 0.001,
    }
    return json.dumps(record).encode() + b"\n"


def test_a_running_daemon_is_healthy_and_a_hung_or_stopped_one_not(
    machine: Any, serve: Callable[[], int]
) -> None:
    port = serve()
    assert ask(port, "/healthz")[0] == 503  # no ledger yet
    daemon = machine.start()
    status, _, body = ask(port, "/healthz")
    assert (status, body) == (200, b"ok\n")
    assert samples(port)["prodlensd_up"] == 1
    daemon.send_signal(signal.SIGSTOP)
    with apsw.Connection(str(machine.ledger)) as db:
        db.set_busy_timeout(2000)
        db.execute("UPDATE daemon SET beat_us = beat_us - 60 * 1000000")
    status, _, body = ask(port, "/healthz")
    assert status == 503
    assert b"last heartbeat" in body
    assert samples(port)["prodlensd_up"] == 0
    daemon.send_signal(signal.SIGCONT)
    daemon.terminate()
    daemon.wait(100)
    status, _, body = ask(port, "/healthz")
    assert status == 503
    assert b"stopped" in body


def test_looking_does_not_take_the_daemons_lock(machine: Any, serve: Callable[[], int]) -> None:
    port = serve()
    machine.start()
    ask(port, "/healthz")
    samples(port)
    assert machine.command("run", "--once").returncode == 75


@pytest.mark.long
def test_scrapes_while_lines_come_in_see_every_moment_whole(
    machine: Any, serve: Callable[[], int], wait_until: Callable[..., Any]
) -> None:
    port = serve()
    machine.start()
    lines = 20_000
    ended = threading.Event()

    def write() -> None:
        with (machine.logs / "a.jsonl").open("ab") as log:
            for start in range(0, lines, 100):
                log.write(b"".join(map(trace_line, range(start, start + 100))))
                log.flush()
        ended.set()

    def scrape(_: int) -> list[dict[str, float]]:
        seen = [samples(port)]
        while not ended.is_set():
            seen.append(samples(port))
        return seen

    with ThreadPoolExecutor(5) as pool:
        writing = pool.submit(write)
        scrapes = list(pool.map(scrape, range(4)))
        writing.result()
    wait_until(lambda: samples(port)["prodlensd_calls_total"] == lines, "all lines")
    for seen in scrapes:
        calls = [each["prodlensd_calls_total"] for each in seen]
        assert calls == sorted(calls)
        for each in seen:
            assert each["prodlensd_input_tokens"] == 10 * each["prodlensd_calls_total"]
            assert each["prodlensd_lines_total"] == each["prodlensd_calls_total"]
    assert samples(port)["prodlensd_lag_bytes"] == 0


def test_a_port_that_is_taken_is_said_and_is_no_end(
    machine: Any, serve: Callable[[], int], capsys: Any
) -> None:
    port = serve()
    with http_server(config.load(machine.config), machine.config, structlog.get_logger()):
        assert ask(port, "/healthz")[0] == 503
    said = capsys.readouterr().out
    assert "cannot listen for HTTP" in said
    assert "Address already in use" in said


def test_without_an_address_nothing_is_served(machine: Any) -> None:
    before = threading.active_count()
    machine.config.write_text("")
    with http_server(config.load(machine.config), machine.config, structlog.get_logger()):
        assert threading.active_count() == before


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_the_daemon_serves_its_own_metrics(machine: Any, wait_until: Callable[..., Any]) -> None:
    port = free_port()
    machine.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n')
    (machine.logs / "a.jsonl").write_bytes(b"".join(map(trace_line, range(50))))
    daemon = machine.start("--config", str(machine.config))
    assert ask(port, "/healthz")[::2] == (200, b"ok\n")
    wait_until(lambda: samples(port)["prodlensd_calls_total"] == 50, "all lines")
    # Looking has not taken the daemon's lock away from it.
    assert machine.command("run", "--once").returncode == 75
    # Another address takes a reload, and the old one is given back.
    other = free_port()
    machine.config.write_text(f'[http]\nlisten = "127.0.0.1:{other}"\n')
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: f'"port":{other}' in machine.said(), "the new address")
    wait_until(lambda: ask(other, "/healthz")[0] == 200, "the daemon's new heartbeat")
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/healthz")
    daemon.terminate()
    assert daemon.wait(100) == 0


def test_a_daemon_whose_port_is_taken_says_so_and_works(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        machine.config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n')
        (machine.logs / "a.jsonl").write_bytes(trace_line(1))
        machine.start("--config", str(machine.config))
        wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1], "the line")
        assert machine.said().count("cannot listen for HTTP") == 1


def test_status_writes_the_metrics_to_a_file(machine: Any, tmp_path: Path) -> None:
    path = tmp_path / "prodlensd.prom"
    assert machine.command("status", "-q", "--textfile", str(path)).returncode == 2
    assert b"\nprodlensd_up 0.0\n" in path.read_bytes()
    machine.start()
    machine.command("status", "-q", "--textfile", str(path))
    assert b"\nprodlensd_up 1.0\n" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    done = machine.command("status", "--textfile", str(tmp_path / "nowhere" / "a.prom"))
    assert (done.returncode, "No such file" in done.stderr) == (3, True)
