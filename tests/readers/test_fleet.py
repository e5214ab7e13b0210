"""What twenty hosts published to a shared folder, asked by Spark in one statement."""

from __future__ import annotations

from typing import Any

import pytest

from tests.publish.fleet import QUESTION, Fleet, answered, of_this_run


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return of_this_run(tmp_path_factory)


def test_one_statement_of_spark_on_the_shared_folder_is_the_sum_of_the_ledgers(
    fleet: Fleet, spark: Any
) -> None:
    rows = spark.rows(fleet.folder, QUESTION.format(traces=f"parquet.`{fleet.folder}`"))
    assert fleet.totals() == answered(rows)
