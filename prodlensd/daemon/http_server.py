"""The HTTP server behind `http`: the standard library's, held to few clients and little patience.

At most 16 clients are served at once, each by a thread and with one answer. A client gets five
seconds for its request and as long to take the answer, however long that took to make; while all 16
places are taken, one that asks nothing loses its place after one second.

A website can make a browser ask here: its owner points a name of theirs to this machine and reads
the answer (DNS rebinding). So only a Host that cannot be theirs is answered. Nor may another site
have its visitors' browsers load a page of ours as a part of its own.
"""

from __future__ import annotations

import io
import ipaddress
import re
import select
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final

import structlog
from msgspec import Struct

from prodlensd.daemon.http import Answer, Routes
from prodlensd.process import Wakeup

_MAX_CLIENTS: Final = 16
_MAX_HEAD_BYTES: Final = 16_384
_READ_BYTES: Final = 4096
_PATIENCE_S = 5.0
_PATIENCE_WHEN_FULL_S: Final = 1.0
#: How often to look for clients whose time is over, while there are any.
_LOOK_EVERY_S: Final = 0.1
_END_OF_HEAD: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"[^\0- \x7f]+ (/[^\0- \x7f]*) HTTP/1\.[01]\r\n")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: A server that listens on one of these is asked under any of the machine's names.
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


class _Client(Struct):
    """Since when the client is waited for: for its request, to take its answer, or to close.

    `since_s` is None while its answer is being made. `is_brief`: its place may be another's soon.
    """

    since_s: float | None
    is_brief: bool = True


class Server(ThreadingMixIn, TCPServer):
    """Serves pages to the clients of a listening socket.

    The mutable state: the clients, under a lock; whether there was a descriptor for the last one.
    """

    def __init__(self, listener: socket.socket, host: str, routes: Routes) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.host = host
        self.routes = routes
        self._clients: dict[Any, _Client] = {}
        self._lock = threading.Lock()
        self._wakeup = Wakeup()
        self._is_stopping = False
        self._can_accept = True

    def run(self) -> None:
        """Accepts clients until `stop`, and then cuts off those that are left."""
        self.socket.settimeout(0)
        while not self._is_stopping:
            self._cut_off_overdue()
            poll = select.poll()
            poll.register(self._wakeup, select.POLLIN)
            if self._can_accept and len(self._clients) < _MAX_CLIENTS:
                poll.register(self, select.POLLIN)
            is_idle = self._can_accept and not self._clients
            ready = poll.poll(None if is_idle else _LOOK_EVERY_S * 1000)
            self._wakeup.clear()
            self._can_accept = True
            if any(descriptor == self.fileno() for descriptor, _ in ready):
                self.handle_request()
        with self._lock:
            for request in self._clients:
                _cut_off(request)

    def stop(self) -> None:
        """Ends `run`, from another thread."""
        self._is_stopping = True
        self._wakeup.ring()

    def _cut_off_overdue(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            is_full = len(self._clients) >= _MAX_CLIENTS
            for request, client in self._clients.items():
                is_brief = is_full and client.is_brief
                patience_s = _PATIENCE_WHEN_FULL_S if is_brief else _PATIENCE_S
                if client.since_s is not None and now_s - client.since_s >= patience_s:
                    _cut_off(request)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accepts a client and gives it a place. Raises OSError."""
        try:
            client, address = super().get_request()
        except OSError as error:
            # Without a descriptor it is tried again a little later; else the client has gone.
            self._can_accept = isinstance(error, BlockingIOError)
            raise
        client.settimeout(None)  # some systems hand on what was set for the listener
        with self._lock:
            self._clients[client] = _Client(time.monotonic())
        return client, address

    def begin_answer(self, client: socket.socket) -> None:
        """Notes that the client waits for us, not we for it."""
        with self._lock:
            self._clients[client] = _Client(None, is_brief=False)

    def give_answer(self, client: socket.socket) -> None:
        """Gives the client its time to take the answer."""
        with self._lock:
            self._clients[client] = _Client(time.monotonic(), is_brief=False)

    def await_end(self, client: socket.socket) -> None:
        """Notes that the client has its answer, and need only close."""
        with self._lock:
            self._clients[client] = _Client(self._clients[client].since_s or time.monotonic())

    def forget(self, client: object) -> None:
        """Frees the client's place. To be called before its socket is closed.

        Else another socket with the same number might be cut off.
        """
        with self._lock:
            self._clients.pop(client, None)
        self._wakeup.ring()

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs what ended a client's thread, or kept it from starting, if it is not the client."""
        del client_address
        self.forget(request)
        if not isinstance(sys.exception(), OSError):
            structlog.get_logger().exception("cannot serve HTTP")


def _cut_off(request: socket.socket) -> None:
    """Ends all that its thread waits for; the thread then closes it."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection: a request, which the standard library parses, and its answer."""

    server: Server
    raw_requestline: bytes
    query = ""
    protocol_version = "HTTP/1.1"
    default_request_version = request_version = protocol_version

    def handle(self) -> None:
        head = b""
        while _END_OF_HEAD not in head and len(head) <= _MAX_HEAD_BYTES:
            if not (read := self.connection.recv(_READ_BYTES)):
                return
            head += read
        self.server.begin_answer(self.connection)
        if len(head) > _MAX_HEAD_BYTES:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self.rfile.close()
            self.rfile = io.BytesIO(head)
            self.handle_one_request()

    def parse_request(self) -> bool:
        """Refuses more than the standard library does; True for a GET or HEAD to answer."""
        # Of the target it has only what it made of it ("//page" becomes "/page").
        request_line = _REQUEST_LINE.fullmatch(self.raw_requestline)
        if request_line is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif super().parse_request():
            target = request_line[1].decode(errors="replace")
            self.path, _, self.query = target.partition("?")
            hosts = self.headers.get_all("Host", ())
            name = _without_port(hosts[0]) if len(hosts) == 1 else None
            if name is None:
                self.send_error(HTTPStatus.BAD_REQUEST)
            elif not _is_ours(name, self.server.host):
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.command not in {"GET", "HEAD"}:
                self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            elif self._is_for_another_site():
                self.send_error(HTTPStatus.FORBIDDEN)
            else:
                return True
        return False

    def _is_for_another_site(self) -> bool:
        """Whether a browser asks because of another site, and not to go here."""
        is_foreign = self.headers.get("Sec-Fetch-Site") == "cross-site"
        return is_foreign and self.headers.get("Sec-Fetch-Dest") != "document"

    def do_GET(self) -> None:
        """Answers with the page at the path."""
        page = self.server.routes.get(self.path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page(self.query)
        except Exception:  # noqa: BLE001 - a page that fails must not end the others
            structlog.get_logger().exception("cannot answer", path=self.path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            self._send(answer)

    do_HEAD = do_GET  # noqa: N815 - so the standard library looks for it

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers with the phrase of a status, and no word of the request."""
        del message, explain
        status = HTTPStatus(code)
        self._send(Answer(f"{status.phrase}\n".encode(), status=status))

    def _send(self, answer: Answer) -> None:
        self.server.give_answer(self.connection)
        self.send_response_only(answer.status)
        for name, value in (
            ("Date", self.date_time_string()),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *answer.headers,
        ):
            self.send_header(name, value)
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def finish(self) -> None:
        """Reads until the client closes: else our close would be a reset, which may overtake."""
        super().finish()
        self.server.await_end(self.connection)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(_READ_BYTES):
                pass
        self.server.forget(self.connection)


def _without_port(host: str) -> str | None:
    """The name or address in a Host header; None when it is malformed."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host
    return name if name and port.isascii() and port.isdigit() else None


def _is_ours(host: str, listening_host: str) -> bool:
    """Whether this name cannot be another's that was made to point here."""
    name, own = host.lower(), listening_host.lower()
    if name in _LOOPBACK or name in {own, f"[{own}]"}:
        return True
    if own not in _EVERYWHERE:
        return False
    # An address cannot be made to point elsewhere, and nobody owns a name without a dot.
    return (
        _is_address(name)
        or name == socket.gethostname().lower()
        or (name != "" and "." not in name)
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
