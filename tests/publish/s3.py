"""What the tests know of the S3 server: how to reach it, and what it holds."""

from __future__ import annotations

import html
import http.client
import os
import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

_SERVER: Final = Path(__file__).with_name("s3_server.py")
_KEY: Final = "AKIATESTSOFPRODLENSD"
_REGION: Final = "us-east-1"
#: moto hides objects from whoever has no name, but checks nobody's signature.
_SIGNED: Final = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={_KEY}/20260101/{_REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}
_TIMEOUT_S: Final = 30


class S3:
    """A server of this Python, an environment with moto in it; ends with `close` or with us."""

    #: A secret that must show up nowhere.
    secret: Final = "the-secret-key-of-the-tests"  # noqa: S105 - it opens nothing
    #: For whoever publishes. No other credentials are looked for, on this machine or beside it.
    environment: Final = {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def __init__(self, python: Path, log: Path) -> None:
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            self.close()
            raise RuntimeError(f"the S3 server did not start: {log.read_text()}")
        self.port = int(said)
        self._buckets = 0

    def url(self, bucket: str, prefix: str = "", port: int | None = None) -> str:
        """For `publish.url`; `port` for a proxy before the server."""
        path = f"{bucket}/{quote(prefix)}" if prefix else bucket
        endpoint = f"127.0.0.1:{port or self.port}"
        query = urlencode({"region": _REGION, "endpoint_override": endpoint, "scheme": "http"})
        return f"s3://{path}?{query}"

    def new_bucket(self) -> str:
        """The name of a bucket that was just made."""
        self._buckets += 1
        bucket = f"bucket-{self._buckets}"
        self._ask("PUT", f"/{bucket}")
        return bucket

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All there is in this bucket, by key."""
        listing = self._ask("GET", f"/{bucket}?list-type=2").decode()
        assert "<IsTruncated>true<" not in listing
        return {key: self._ask("GET", f"/{bucket}/{quote(key)}") for key in _keys(listing)}

    def uploads(self, bucket: str) -> list[str]:
        """The keys of the uploads that were begun and neither completed nor aborted."""
        return _keys(self._ask("GET", f"/{bucket}?uploads").decode())

    def close(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, headers=_SIGNED)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {response.status} {body.decode()}")
        return body


def _keys(listing: str) -> list[str]:
    return [html.unescape(key) for key in re.findall("<Key>(.*?)</Key>", listing)]
