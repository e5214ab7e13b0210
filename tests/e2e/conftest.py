"""The real LiteLLM proxy, in several versions, and what it leaves in the log folder."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path. The tests' own
# root goes to its end: an installed prodlensd comes first.
sys.path.append(str(Path(__file__).parents[2]))

from prodlensd import litellm as proxy
from tests.e2e import traffic
from tests.e2e.fake_upstream import FakeUpstream
from tests.e2e.litellm_proxy import VERSIONS, litellm_python, running_proxy

LINES_WITHIN_S = 100.0


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker runs all of these: each worker would set up and start proxies of its own."""
    item.add_marker(pytest.mark.real_programs)
    item.add_marker(pytest.mark.xdist_group("litellm"))


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    upstream = FakeUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session", params=VERSIONS)
def both(
    request: pytest.FixtureRequest, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> tuple[traffic.Traffic, traffic.Traffic]:
    """The traffic of two proxies, `everyday` and `extras`, side by side as each starts slowly."""
    version = request.param
    litellm_python(version)
    everyday_calls = [
        *traffic.everyday_calls(),
        *traffic.refused_calls(version),
        *traffic.aborted_calls(version),
    ]
    upstream.attempts.clear()
    with ThreadPoolExecutor() as threads:
        folder = tmp_path_factory.mktemp("everyday")
        everyday = threads.submit(_traffic, version, folder, upstream, everyday_calls, extras=False)
        folder = tmp_path_factory.mktemp("extras")
        extras = threads.submit(
            _traffic, version, folder, upstream, traffic.extra_calls(), extras=True
        )
        return everyday.result(), extras.result()


@pytest.fixture(scope="session")
def everyday(both: tuple[traffic.Traffic, traffic.Traffic]) -> traffic.Traffic:
    """Through the config exactly as prodlensd writes it."""
    return both[0]


@pytest.fixture(scope="session")
def extras(both: tuple[traffic.Traffic, traffic.Traffic]) -> traffic.Traffic:
    """Through the config with a cache, a fallback and no retries."""
    return both[1]


def _traffic(
    version: str, folder: Path, upstream: FakeUpstream, calls: list[traffic.Call], *, extras: bool
) -> traffic.Traffic:
    python = litellm_python(version)
    callback = proxy.COPIED_CALLBACK if version == "1.80.0" else proxy.INSTALLED_CALLBACK
    with running_proxy(
        python, folder, upstream.address, callback=callback, extras=extras
    ) as running:
        sent = traffic.send_all(running, upstream, calls)
        _wait_for_lines(running.log_folder, sum(len(call.outcomes) for call in calls))
    return traffic.Traffic(version, running.log_folder, sent)


def _wait_for_lines(folder: Path, count: int) -> None:
    deadline = time.monotonic() + LINES_WITHIN_S
    while len(traffic.read_lines(folder)) < count and time.monotonic() < deadline:
        threading.Event().wait(0.05)
