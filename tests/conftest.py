"""What every test may ask for, and what none can escape: a home of its own."""

from __future__ import annotations

import itertools
import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pyarrow as pa
import pytest
import structlog
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from prodlensd.config import SYSTEM_FILE

# Their assertions say more when they are rewritten, which is before anybody imports them.
pytest.register_assert_rewrite("tests.transcripts.laptop", "tests.transcripts.history")

# No deadline: two shared cores make a single example's time mean nothing. The same code is tried on
# the same examples each time; `--hypothesis-profile=explore`, as in `make soak`, tries others.
settings.register_profile("explore", parent=settings(), deadline=None)
settings.register_profile("steady", settings.get_profile("explore"), derandomize=True)
# For `make test`; `make test-all` tries the other three quarters as well.
settings.register_profile("quick", settings.get_profile("steady"), max_examples=25)
settings.load_profile("steady")

_POLL_INTERVAL_S = 0.01
#: Half a minute on an idle machine is more than the usual 300 s beside fifteen busy processes.
_LONG_S = 900
_NUMBERS = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    if SYSTEM_FILE.exists():
        raise pytest.UsageError(f"the tests would work on the ledger that {SYSTEM_FILE} names")
    set_hypothesis_home_dir(config.rootpath / ".cache" / "hypothesis")


@pytest.hookimpl(tryfirst=True)  # before those that are long are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as long what a test marked `sampled(n)` does beyond every nth of its cases.

    What is long has more time before it is taken to hang.
    """
    seen: Counter[str] = Counter()
    for item in items:
        if (mark := item.get_closest_marker("sampled")) is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % mark.args[0]:
                item.add_marker("long")
            seen[test] += 1
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_LONG_S))


def pytest_report_header() -> str:
    versions = {
        "python": platform.python_version(),
        "apsw": apsw.apsw_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "pyarrow": pa.__version__,
    }
    return "versions: " + ", ".join(f"{name} {version}" for name, version in versions.items())


@pytest.fixture(autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A $PRODLENSD_HOME of this test's own, not yet there, whatever the machine is set up for."""
    own = tmp_path_factory.getbasetemp() / f"no-home-{next(_NUMBERS)}" / "prodlensd-home"
    monkeypatch.setenv("PRODLENSD_HOME", str(own))
    for variable in ("PRODLENSD_CONFIG", "LITELLM_LOG_DIR", "NOTIFY_SOCKET"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder of the test's; to make one takes as long as all else of a short test."""
    own = tmp_path / "prodlensd-home"
    monkeypatch.setenv("PRODLENSD_HOME", str(own))
    return own


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The umask as it was, whatever a command that was called within us had set."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """The log as it is by default, whatever a command that was called within us had set up."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """`wait_until(condition, what)`: what `condition()` returns once it is true.

    It is patient: only a failure takes that long, and a busy machine is none.
    """

    def wait(condition: Callable[[], Any], what: str, timeout_s: float = 100) -> Any:
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while not (last := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s} s: {what}; last seen: {last!r}")
            pause.wait(_POLL_INTERVAL_S)
        return last

    return wait
