"""A proxy before the object store, on loopback, that fails the way it is told to.

It takes one request a connection and hands it on only once it has all of it, since no object store
keeps half a request. TLS and keep-alive it does not know.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, NamedTuple, Self

_READ: Final = 64 * 1024
_PATIENCE_S: Final = 60  # bounds each wait for either side
_ABORTS: Final = struct.pack("ii", 1, 0)  # SO_LINGER: to close is to cut, and the peer sees a reset
_PHRASE: Final = "as the test says"
_ERROR: Final = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>The test says {code}</Message><RequestId>0</RequestId></Error>"""


class Request(NamedTuple):
    """What was asked for; compares equal to a plain pair."""

    method: str
    path: str  # with the query


class Cut(Exception):
    """Raised by `FaultProxy.on_body` to cut the connection there."""


@dataclass
class _Fault:
    only: re.Pattern[str]  # found in "METHOD path"
    times: int | None  # None: until the proxy is healed
    answer: bytes | None = None
    hangs: bool = False
    body_bytes: int | None = None
    answer_bytes: int | None = None


class FaultProxy:
    """Passes requests on to the server at `upstream`, until told otherwise.

    Faults hold until `heal`, or for the next `times` requests, and for the requests alone whose
    "METHOD path?query" the regular expression `only` is found in. The oldest one that fits acts.
    """

    def __init__(self, upstream: int) -> None:
        self.requests: list[Request] = []
        #: Called with the bytes of request bodies that have come so far, all requests together.
        #: What a killed client left in the socket still comes: raise `Cut` to prevent that.
        self.on_body: Callable[[int], object] = lambda _bytes_so_far: None
        self._upstream = upstream
        self._body_bytes = 0
        self._faults: list[_Fault] = []
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()  # guards the three above
        self._listens = threading.Event()
        self._healed = threading.Event()
        self._closed = False
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        # Bound by number, it keeps the port while it does not listen (Linux).
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listens.set()
        self._acceptor = threading.Thread(target=self._accept, name="fault-proxy", daemon=True)
        self._acceptor.start()

    def answer(
        self, status: int, code: str, headers: str = "", *, times: int | None = None, only: str = ""
    ) -> None:
        """Answers with an error of S3, once the request was read: 503, "SlowDown"."""
        body = _ERROR.format(code=code)
        head = f"HTTP/1.1 {status} {_PHRASE}\r\nContent-Type: application/xml\r\n{headers}"
        answer = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        self._add(_Fault(re.compile(only), times, answer=answer.encode()))

    def hang(self, *, times: int | None = None, only: str = "") -> None:
        """Reads the head of a request and then nothing more, and does not answer."""
        self._add(_Fault(re.compile(only), times, hangs=True))

    def cut_body(self, after: int, *, times: int | None = None, only: str = "") -> None:
        """Resets the connection once so many bytes of the request's body have come."""
        self._add(_Fault(re.compile(only), times, body_bytes=after))

    def cut_answer(self, after: int, *, times: int | None = None, only: str = "") -> None:
        """Resets the connection after so many bytes of the answer; the server has done its part."""
        self._add(_Fault(re.compile(only), times, answer_bytes=after))

    def refuse(self) -> None:
        """Refuses connections, and keeps the port."""
        if not self._listens.is_set():
            return
        self._listens.clear()
        self._listener.shutdown(socket.SHUT_RD)  # Linux: still bound, but listening no more

    def heal(self) -> None:
        """Passes everything on again; whoever hangs is cut."""
        with self._lock:
            self._faults.clear()
            self._healed.set()
            self._healed = threading.Event()
        if not self._listens.is_set():
            self._listener.listen()
            self._listens.set()

    def close(self) -> None:
        """Cuts what is open, and ends."""
        if self._closed:
            return
        self._closed = True
        self.heal()
        self._listener.shutdown(socket.SHUT_RD)
        self._acceptor.join(_PATIENCE_S)
        self._listener.close()
        with self._lock:
            for client in self._clients:
                with suppress(OSError):  # gone already
                    client.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _accept(self) -> None:
        while not self._closed:
            self._listens.wait()
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue  # refuse() or close() interrupts accept() so
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE_S)
        try:
            self._exchange(client)
        except (OSError, Cut):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTS)
        finally:
            with self._lock:
                self._clients.discard(client)
                client.close()

    def _exchange(self, client: socket.socket) -> None:
        with client.makefile("rb") as reader:
            if not (first := reader.readline()):
                return  # connected and left
            method, path, _ = first.decode("latin-1").split(" ", 2)
            fields = http.client.parse_headers(reader)
            with self._lock:
                self.requests.append(Request(method, path))
                fault = self._fault_of(f"{method} {path}")
                healed = self._healed
            if fault.hangs:
                healed.wait()
                raise Cut
            if fields.get("Expect"):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = bytearray()
            for piece in _body(reader, fields):
                body += piece
                self._count(len(piece), len(body), fault)
        answer = fault.answer or self._ask(first, fields, body)
        client.sendall(answer[: fault.answer_bytes])
        if fault.answer_bytes is not None:
            raise Cut

    def _fault_of(self, request: str) -> _Fault:
        """The fault for this request, counted; or none, which is a fault that does nothing."""
        for fault in self._faults:
            if fault.times != 0 and fault.only.search(request):
                fault.times = None if fault.times is None else fault.times - 1
                return fault
        return _Fault(re.compile(""), None)

    def _count(self, more: int, of_this_request: int, fault: _Fault) -> None:
        with self._lock:
            self._body_bytes += more
            total = self._body_bytes
        self.on_body(total)
        if fault.body_bytes is not None and of_this_request >= fault.body_bytes:
            raise Cut

    def _ask(self, first: bytes, fields: http.client.HTTPMessage, body: bytearray) -> bytes:
        del fields["Expect"], fields["Connection"]
        fields["Connection"] = "close"
        head = first.decode("latin-1") + "".join(f"{name}: {fields[name]}\r\n" for name in fields)
        answer = bytearray()
        with socket.create_connection(("127.0.0.1", self._upstream), _PATIENCE_S) as server:
            server.sendall(head.encode("latin-1") + b"\r\n" + body)
            while more := server.recv(_READ):
                answer += more
        return bytes(answer)


def _body(reader: BufferedReader, fields: http.client.HTTPMessage) -> Iterator[bytes]:
    """A request's body as it comes, in pieces, with the marks of its chunks if it has any."""
    if fields.get("Transfer-Encoding") != "chunked":
        yield from _exactly(int(fields.get("Content-Length", "0")), reader)
        return
    while size := int(line := _line(reader), 16):
        yield line
        yield from _exactly(size + len(b"\r\n"), reader)
    while line != b"\r\n":  # the last chunk's mark and the trailers
        yield line
        line = _line(reader)
    yield line


def _line(reader: BufferedReader) -> bytes:
    line = reader.readline()
    if not line.endswith(b"\n"):
        raise Cut  # the client is gone
    return line


def _exactly(size: int, reader: BufferedReader) -> Iterator[bytes]:
    while size:
        if not (piece := reader.read1(min(size, _READ))):
            raise Cut  # the client is gone
        size -= len(piece)
        yield piece
