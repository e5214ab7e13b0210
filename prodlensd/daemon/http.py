"""A small HTTP server: some read-only pages, for monitors on this machine.

One thread, which waits on all connections at once. Whoever sends nothing, or too slowly, costs a
descriptor for a few seconds; there are few of these, and a newcomer takes the oldest one's. Each
connection gets one answer and is closed.

A browser can be made to ask here by any website, whose owner lets a name of theirs point to this
machine and then reads the answer (DNS rebinding). So only a Host that cannot be theirs is answered.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog

_MAX_CONNECTIONS: Final = 64
_MAX_HEAD_BYTES: Final = 16_384
#: For the whole of a request, and again for the whole of its answer.
_PATIENCE_S: Final = 5.0
_READ_BYTES: Final = 4096
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Whoever listens on these is asked under any of the machine's names.
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


class Answer(NamedTuple):
    """What a page says."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


#: The page at each path.
Routes = Mapping[str, Callable[[], Answer]]


@contextmanager
def serving(address: tuple[str, int], routes: Routes) -> Iterator[tuple[str, int]]:
    """Serves from a thread of its own; yields where (port 0 finds a free one).

    Raises OSError where nobody can listen. A page that raises is an error 500 and said in the log.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(*address))
        waker, woken = map(stack.enter_context, socket.socketpair())
        server = _Server(listener, woken, address[0], routes)
        thread = threading.Thread(target=server.run, name="http", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(waker.send, b"\0")
        yield listener.getsockname()[:2]


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may stand for several addresses; "localhost" is most often asked for as IPv4.
    family, *_, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(
        (str(where[0]), int(where[1])), family=family, backlog=128, dualstack_ipv6=both
    )


@dataclass(slots=True)
class _Connection:
    """One client: what it has sent so far, then what it is still to get.

    With nothing left to get, it is read from until it closes: bytes that nobody read would turn our
    close into a reset, which may overtake the answer.
    """

    socket: socket.socket
    deadline_s: float
    head: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None


class _Server:
    """The mutable state: the open connections, oldest first. All of it runs in one thread."""

    def __init__(
        self, listener: socket.socket, stop: socket.socket, host: str, routes: Routes
    ) -> None:
        self._listener = listener
        self._stop = stop
        self._host = host
        self._routes = routes
        self._connections: dict[int, _Connection] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serves until there is something to read from `stop`."""
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stop, selectors.EVENT_READ)
        try:
            while self._turn():
                pass
        finally:
            for connection in list(self._connections.values()):
                self._close(connection)
            self._selector.close()

    def _turn(self) -> bool:
        """Waits for something to do, and does it; False when that is to stop."""
        for key, _ in self._selector.select(self._wait_s()):
            if key.fileobj is self._stop:
                return False
            if key.fileobj is self._listener:
                self._accept()
                continue
            # A newcomer may just have taken the place of one that is ready, and its number.
            connection = self._connections.get(key.fd)
            if connection is None or connection is not key.data:
                continue
            try:
                self._go_on(connection)
            except BlockingIOError:
                pass
            except OSError:  # the client went away
                self._close(connection)
        now_s = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.deadline_s <= now_s:
                self._close(connection)
        return True

    def _wait_s(self) -> float | None:
        deadlines = [connection.deadline_s for connection in self._connections.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _accept(self) -> None:
        if len(self._connections) >= _MAX_CONNECTIONS:
            self._close_oldest()
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of descriptors, or the client has gone already
            self._close_oldest()
            return
        client.settimeout(0)
        connection = _Connection(client, time.monotonic() + _PATIENCE_S)
        self._connections[client.fileno()] = connection
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _close_oldest(self) -> None:
        for connection in self._connections.values():
            self._close(connection)
            return

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _go_on(self, connection: _Connection) -> None:
        if connection.answer is None:
            self._read(connection)
        elif connection.answer:
            self._write(connection)
        elif not connection.socket.recv(_READ_BYTES):
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        read = connection.socket.recv(_READ_BYTES)
        if not read:
            self._close(connection)
            return
        head = connection.head
        head += read
        end = head.find(b"\r\n\r\n", max(0, len(head) - len(read) - 3))
        if 0 <= end <= _MAX_HEAD_BYTES:
            answer = self._answer(bytes(head[:end]))
        elif len(head) > _MAX_HEAD_BYTES:
            answer = _response(_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        else:
            return
        connection.answer = memoryview(answer)
        connection.deadline_s = time.monotonic() + _PATIENCE_S
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _write(self, connection: _Connection) -> None:
        assert connection.answer  # noqa: S101 - for the type checker
        sent = connection.socket.send(connection.answer)
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            connection.socket.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _answer(self, head: bytes) -> bytes:
        try:
            method, path, host = _parse(head)
        except ValueError:
            return _response(_error(HTTPStatus.BAD_REQUEST))
        with_body = method != "HEAD"
        if not self._is_ours(host):
            return _response(_error(HTTPStatus.FORBIDDEN), with_body=with_body)
        if method not in {"GET", "HEAD"}:
            return _response(_error(HTTPStatus.METHOD_NOT_ALLOWED), "Allow: GET, HEAD")
        page = self._routes.get(path.partition("?")[0])
        if page is None:
            return _response(_error(HTTPStatus.NOT_FOUND), with_body=with_body)
        try:
            answer = page()
        except Exception:  # noqa: BLE001 - a page that fails is no reason to serve no other
            structlog.get_logger().exception("cannot answer", path=path)
            answer = _error(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(answer, with_body=with_body)

    def _is_ours(self, host: str) -> bool:
        """Whether this Host header, its port left out, can be no name of somebody else's."""
        name = host.lower()
        if name in _LOOPBACK or name in {self._host.lower(), f"[{self._host.lower()}]"}:
            return True
        if self._host not in _EVERYWHERE:
            return False
        # An address is no name that could point elsewhere; nobody owns a name without a dot.
        return (
            _is_address(name)
            or (name != "" and "." not in name)
            or name == socket.gethostname().lower()
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _parse(head: bytes) -> tuple[str, str, str]:
    """Method, target and the Host without its port; raises ValueError for what is no HTTP/1.

    A request with a body is none of ours, and no body is read.
    """
    if b"\0" in head:
        raise ValueError
    request, *lines = head.decode("ascii", "surrogateescape").split("\r\n")
    method, target, version = request.split(" ")
    if version not in {"HTTP/1.0", "HTTP/1.1"} or not target.startswith("/"):
        raise ValueError
    hosts = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            raise ValueError
        if name.lower() == "host":
            hosts.append(value.strip(" \t"))
    if len(hosts) != 1:
        raise ValueError
    return method, target, _without_port(hosts[0])


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host
    if not (port.isascii() and port.isdigit()) or not name:
        raise ValueError
    return name


def _error(status: HTTPStatus) -> Answer:
    return Answer(f"{status.phrase}\n".encode(), status=status)


def _response(answer: Answer, *headers: str, with_body: bool = True) -> bytes:
    status = answer.status
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *headers,
    )
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    return head + answer.body if with_body else head
