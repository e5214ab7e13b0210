"""The files that LiteLLM's loggers for S3 and Google's buckets write come in as they are."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.venvs import venv_python

HERE = Path(__file__).parent
PAYLOADS = gzip.decompress((HERE.parent / "data" / "corpus.jsonl.gz").read_bytes()).splitlines()[:9]


class Bucket(BaseHTTPRequestHandler):
    """Takes every object that is put."""

    objects: list[bytes]

    def do_PUT(self) -> None:
        self.objects.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def bucket() -> Iterator[ThreadingHTTPServer]:
    Bucket.objects = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("version", ["1.106.2", "1.110.2"])
def test_files_of_buckets_come_in_whether_one_payload_each_or_many(
    bucket: ThreadingHTTPServer, tmp_path: Path, version: str
) -> None:
    python = venv_python(HERE / f"litellm-{version}.txt")
    made = subprocess.run(
        [python, HERE / "bucket_files.py", f"http://127.0.0.1:{bucket.server_port}"],
        input=b"\n".join(PAYLOADS),
        capture_output=True,
        check=True,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        timeout=120,
    )
    bodies = [*Bucket.objects, *(body.encode() for body in json.loads(made.stdout))]
    assert len(PAYLOADS) + 2 == len(bodies)
    paths = []
    for number, body in enumerate(bodies):
        assert not body.endswith(b"\n")
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_bytes(body)
    command = [sys.executable, "-m", "prodlensd", "import", "--json", *map(str, paths)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    total = said["total"]
    expected = (len(PAYLOADS), len(PAYLOADS) + 1, 0)
    assert expected == (total["calls_new"], total["calls_known"], total["records_refused"])
