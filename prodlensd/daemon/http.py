"""Read-only pages over HTTP, for monitors and browsers on this machine.

The server itself (see `http_server`) is loaded only when there is something to serve.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import NamedTuple


class Answer(NamedTuple):
    """A page, or why there is none."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


#: The page at each path, by what its address has behind the question mark.
Routes = Mapping[str, Callable[[str], Answer]]


@contextmanager
def serving(address: tuple[str, int], routes: Routes) -> Iterator[tuple[str, int]]:
    """Serves from threads of its own; yields host and port (for port 0, a free one).

    Raises OSError when the address cannot be had, and RuntimeError without a free thread. A page
    that raises is an error 500, and logged.
    """
    from prodlensd.daemon.http_server import Server  # noqa: PLC0415 - loads http.server

    with ExitStack() as stack:
        listener = stack.enter_context(_listen(*address))
        server = stack.enter_context(Server(listener, address[0], routes))
        thread = threading.Thread(target=server.run, name="http")
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        yield listener.getsockname()[:2]


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may stand for several addresses; "localhost" is most often asked for as IPv4.
    family, *_, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(
        (str(where[0]), int(where[1])), family=family, backlog=128, dualstack_ipv6=both
    )
