"""An S3 server of their own for the tests of publishing, and a proxy before it that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path. The tests' own
# root goes to its end: an installed prodlensd comes first.
sys.path.append(str(Path(__file__).parents[2]))

from tests.publish.fault_proxy import FaultProxy
from tests.publish.fleet import PREFIX, Fleet, of_this_run
from tests.publish.s3 import S3
from tests.service.conftest import machine
from tests.venvs import venv_python

__all__ = ["machine"]

HERE: Final = Path(__file__).parent
_INSTALL_S: Final = 900


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker runs all of these: each worker would install and start a server of its own."""
    item.add_marker(pytest.mark.real_programs)
    item.add_marker(pytest.mark.xdist_group("publish"))
    item.add_marker(pytest.mark.timeout(_INSTALL_S))


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's credentials are found, and none are asked for over the network."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, S3.environment[name])


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(venv_python(HERE / "moto.txt"), tmp_path_factory.mktemp("s3") / "log")
    yield server
    server.close()


@pytest.fixture
def bucket(s3: S3) -> str:
    """A fresh one."""
    return s3.new_bucket()


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultProxy]:
    with FaultProxy(s3.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return of_this_run(tmp_path_factory)


@pytest.fixture(scope="session")
def shared(fleet: Fleet, s3: S3) -> str:
    """The bucket that all of them have published to as well."""
    bucket = s3.new_bucket()
    fleet.publish(s3.url(bucket, PREFIX))
    return bucket


@pytest.fixture
def credentials(no_credentials: None, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """For pyarrow, which reads the buckets."""
    del no_credentials  # goes first
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
