"""Asks a LiteLLM proxy whether it is alive, and its version.

Takes nothing over from its answers but the status, and a version that looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from io import BufferedReader
from threading import Thread
from time import monotonic
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 1.0
_ENDPOINT: Final = "/health/liveliness"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r\n]")
_LONGEST_STATUS_BYTES: Final = 64
_READINESS: Final = "/health/readiness"
_VERSION: Final = re.compile(rb'"litellm_version"\s*:\s*"([0-9A-Za-z.+-]{1,40})"')
_LONGEST_ANSWER_BYTES: Final = 1 << 16


class Liveliness:
    """One question to a proxy, asked in a thread while others work.

    The mutable state: what is wrong, by what is known so far.
    """

    def __init__(self, url: str) -> None:
        self._fault = f"does not answer within {TIMEOUT_S:.0f} s"
        self._deadline = monotonic() + TIMEOUT_S
        # The look-up of a host's address has no timeout: only a thread can be left behind.
        self._thread = Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()

    def fault(self) -> str:
        """What is wrong with the proxy, empty when it is alive. Waits until TIMEOUT_S at most."""
        self._thread.join(max(0.0, self._deadline - monotonic()))
        return self._fault

    def _ask(self, url: str) -> None:
        from http import client  # noqa: PLC0415 - slow to import; most have no proxy to ask

        try:
            status = _status(url)
        except TimeoutError:
            return
        except ConnectionRefusedError:
            self._fault = "refuses the connection"
        except ConnectionError:
            self._fault = "breaks off the connection"
        except OSError as error:
            self._fault = f"cannot be reached: {error.strerror or type(error).__name__}"
        except (client.HTTPException, ValueError):
            self._fault = "does not speak HTTP"
        else:
            is_alive = status == HTTPStatus.OK
            self._fault = "" if is_alive else f"says {status} when asked for its health"


class Version:
    """A question for the version, asked in a thread while others work.

    LiteLLM has said it to everybody until 2026, and says it only to those with its key since. The
    mutable state: the version, None as long as it is not known.
    """

    def __init__(self, url: str) -> None:
        self._version: str | None = None
        self._deadline = monotonic() + TIMEOUT_S
        self._thread = Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()

    def version(self) -> str | None:
        """The version of the proxy, None where it does not say. Waits until TIMEOUT_S at most."""
        self._thread.join(max(0.0, self._deadline - monotonic()))
        return self._version

    def _ask(self, url: str) -> None:
        from http import client  # noqa: PLC0415 - see above

        try:
            # Its end is the end of the connection.
            with _answer(url, _READINESS, {"Connection": "close"}) as answer:
                found = _VERSION.search(answer.read(_LONGEST_ANSWER_BYTES))
        except (OSError, client.HTTPException, ValueError):
            return
        self._version = found and found[1].decode()


def _status(url: str) -> int:
    """The status of the answer. Raises OSError, HTTPException or ValueError."""
    with _answer(url, _ENDPOINT) as answer:
        line = answer.readline(_LONGEST_STATUS_BYTES)
    if not line:
        raise ConnectionResetError
    if (matched := _STATUS.match(line)) is None:
        raise ValueError("no status line")
    return int(matched[1])


@contextmanager
def _answer(
    url: str, endpoint: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[BufferedReader]:
    """The bytes of the answer to a question. Raises OSError, HTTPException or ValueError.

    `getresponse` would read on as long as the other side sends headers, or answers of 100.
    """
    from http import client  # noqa: PLC0415 - see above

    address = urlsplit(url)
    is_https = address.scheme.lower() == "https"
    kind = client.HTTPSConnection if is_https else client.HTTPConnection
    # A user and a password in the address are left out.
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT_S)
    with closing(connection):
        connection.request("GET", address.path.rstrip("/") + endpoint, headers=headers)
        with connection.sock.makefile("rb") as answer:
            yield answer
