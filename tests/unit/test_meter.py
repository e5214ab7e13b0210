"""The daemon's own measures."""

from __future__ import annotations

import json

import pytest

from prodlensd.daemon.meter import Meter
from prodlensd.ledger.measures import BUCKETS_S, Histogram, Measures


def test_a_percentile_is_the_bound_under_which_so_many_are() -> None:
    durations = Histogram()
    for duration_s in [0.0005] * 50 + [0.004] * 45 + [0.2] * 4 + [1000.0]:
        durations.observe(duration_s)
    assert durations.count == 100
    assert durations.sum_s == pytest.approx(0.025 + 0.18 + 0.8 + 1000)
    bounds = [durations.percentile_s(share) for share in (0.5, 0.51, 0.95, 0.96, 0.99, 1)]
    assert bounds == [0.001, 0.005, 0.005, 0.25, 0.25, BUCKETS_S[-1]]


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile_s(0.99) is None


@pytest.mark.parametrize("bound", BUCKETS_S)
def test_a_duration_of_just_a_bound_is_under_it(bound: float) -> None:
    durations = Histogram()
    durations.observe(bound)
    assert durations.percentile_s(0.5) == bound


def test_the_rate_is_that_of_the_last_minute() -> None:
    meter = Meter()
    assert meter.read(0.0).lines_per_s == 0.0
    for second in range(10, 200, 10):
        meter.committed(1000 if second <= 100 else 10, 0.1, 0.01)
        rate = meter.read(float(second)).lines_per_s
        if second in (60, 100, 160, 190):
            assert rate == {60: 100.0, 100: 100.0, 160: 1.0, 190: 1.0}[second]


def test_the_measures_survive_json() -> None:
    meter = Meter()
    meter.committed(5, 0.2, 0.003)
    meter.visible_after(0.02)
    meter.visible_after(-3.0)  # a clock that was set back
    measures = meter.read(1.0)
    assert measures.lines == 5
    assert measures.delay_seconds.count == 2
    assert Measures.from_dict(json.loads(json.dumps(measures.as_dict()))) == measures
