"""The faults happen: seen with the client that publishes, and with the server that holds."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Final

import pytest
from pyarrow import fs

from tests.publish.fault_proxy import Cut, FaultProxy
from tests.publish.s3 import S3

_SMALL: Final = b"PAR1" * 250
_LARGE: Final = bytes(25_000_000)  # three parts
_UPLOADER: Final = """
import sys
from pyarrow import fs
store, path = fs.FileSystem.from_uri(sys.argv[1])
with store.open_output_stream(path) as stream:
    stream.write(bytes(25_000_000))
"""


def put(
    proxy: FaultProxy, path: str, content: bytes, tries: int = 1, *, timeout_s: float = 100
) -> None:
    """Uploads in one request if it is small, else in parts."""
    store = fs.S3FileSystem(
        access_key="key",
        secret_key=S3.secret,
        region="us-east-1",
        endpoint_override=f"127.0.0.1:{proxy.port}",
        scheme="http",
        request_timeout=timeout_s,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=tries),
        allow_delayed_open=len(content) <= len(_SMALL),
    )
    with store.open_output_stream(path) as stream:
        stream.write(content)


def test_a_proxy_that_was_told_nothing_passes_everything_on(
    s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    put(proxy, f"{bucket}/event_date=2026-11-22/small", _SMALL)
    put(proxy, f"{bucket}/large", _LARGE)

    assert {"event_date=2026-11-22/small": _SMALL, "large": _LARGE} == s3.objects(bucket)
    assert [] == s3.uploads(bucket)
    assert ("PUT", f"/{bucket}/event_date%3D2026-11-22/small") == proxy.requests[0]
    assert ["PUT", "POST", "PUT", "PUT", "PUT", "POST"] == [ask.method for ask in proxy.requests]


def test_an_error_is_answered_as_often_as_told(s3: S3, bucket: str, proxy: FaultProxy) -> None:
    proxy.answer(503, "SlowDown", times=1)

    put(proxy, f"{bucket}/key", _SMALL, tries=2)
    assert {"key": _SMALL} == s3.objects(bucket)
    assert [("PUT", f"/{bucket}/key")] * 2 == proxy.requests


def test_an_error_is_answered_until_healed(s3: S3, bucket: str, proxy: FaultProxy) -> None:
    proxy.answer(403, "AccessDenied")

    for _ in range(2):
        with pytest.raises(OSError, match="ACCESS_DENIED during PutObject"):
            put(proxy, f"{bucket}/key", _SMALL)
    assert {} == s3.objects(bucket)
    proxy.heal()
    put(proxy, f"{bucket}/key", _SMALL)
    assert {"key": _SMALL} == s3.objects(bucket)


def test_a_fault_meets_only_the_requests_it_is_meant_for(
    s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    proxy.answer(403, "AccessDenied", only=r"PUT .*partNumber=2")

    with pytest.raises(OSError, match="ACCESS_DENIED during UploadPart"):
        put(proxy, f"{bucket}/key", _LARGE)
    assert {} == s3.objects(bucket)
    assert ["key"] == s3.uploads(bucket)


def test_a_proxy_that_refuses_listens_again_on_the_same_port(
    s3: S3, bucket: str, proxy: FaultProxy
) -> None:
    port = proxy.port
    for _ in range(2):
        proxy.refuse()
        with pytest.raises(OSError, match="curlCode: 7, Could not connect"):
            put(proxy, f"{bucket}/key", _SMALL)
        proxy.heal()
    put(proxy, f"{bucket}/key", _SMALL)

    assert port == proxy.port
    assert {"key": _SMALL} == s3.objects(bucket)
    assert 1 == len(proxy.requests)


def test_who_meets_a_hanging_proxy_waits_for_his_own_time_out(
    bucket: str, proxy: FaultProxy
) -> None:
    proxy.hang(only="uploads$")

    with pytest.raises(OSError, match="Less than 1 bytes/sec transferred the last 1 seconds"):
        put(proxy, f"{bucket}/key", _LARGE, timeout_s=1)
    assert [("POST", f"/{bucket}/key?uploads")] == proxy.requests


@pytest.mark.parametrize("end", ["heal", "close"])
def test_who_hangs_is_cut_in_the_end(bucket: str, proxy: FaultProxy, end: str) -> None:
    proxy.hang()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=100) as client:
        client.sendall(f"PUT /{bucket}/key HTTP/1.1\r\nExpect: 100-continue\r\n\r\n".encode())
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        getattr(proxy, end)()
        client.settimeout(100)
        said = b""
        with suppress(ConnectionResetError):  # or a mere end, whichever comes first
            said = client.recv(1)
        assert said == b""


def test_a_body_that_is_cut_is_not_stored(s3: S3, bucket: str, proxy: FaultProxy) -> None:
    proxy.cut_body(500)

    with pytest.raises(OSError, match="NETWORK_CONNECTION during PutObject"):
        put(proxy, f"{bucket}/key", _SMALL)
    assert {} == s3.objects(bucket)


@pytest.mark.parametrize("after", [0, 20])
def test_an_answer_that_is_cut_comes_after_the_deed(
    s3: S3, bucket: str, proxy: FaultProxy, after: int
) -> None:
    proxy.cut_answer(after)

    with pytest.raises(OSError, match="NETWORK_CONNECTION during PutObject"):
        put(proxy, f"{bucket}/key", _SMALL)
    assert {"key": _SMALL} == s3.objects(bucket)


def test_an_uploader_can_be_killed_at_a_known_byte(s3: S3, bucket: str, proxy: FaultProxy) -> None:
    seen = []

    def kill(bytes_so_far: int) -> None:
        seen.append(bytes_so_far)
        if bytes_so_far >= 12_000_000:
            uploader.kill()
            raise Cut

    proxy.on_body = kill
    url = s3.url(bucket, "key", proxy.port)
    uploader = subprocess.Popen([sys.executable, "-c", _UPLOADER, url], env=s3.environment)

    try:
        assert -signal.SIGKILL == uploader.wait(100)
    finally:
        uploader.kill()
    assert 12_000_000 <= max(seen) < 13_000_000
    assert {} == s3.objects(bucket)
    assert ["key"] == s3.uploads(bucket)
