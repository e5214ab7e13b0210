"""Answers SQL on snapshots with Spark: a JSON object a line, from stdin to stdout.

    {"folder": "…/parquet", "sql": "SELECT count(*) FROM traces"}
    {"rows": [["3"]], "types": {"session_id": "string", …}}, or {"error": "…"}

Run by the Python of Spark's own environment, in a folder that it may fill, until its input ends.
Values that are no JSON are their text.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from pyspark.sql import SparkSession

#: Small, alone on this machine's own address, and started soon.
_CONFIG: Final = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -Duser.timezone=UTC",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.local.dir": str(Path.cwd()),
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def answer(spark: SparkSession, folder: str, sql: str) -> dict[str, Any]:
    """What Spark makes of the snapshots in this folder."""
    traces = spark.read.parquet(folder)
    traces.createOrReplaceTempView("traces")
    rows = spark.sql(sql).collect()
    return {"rows": [list(row) for row in rows], "types": dict(traces.dtypes)}


def main() -> None:
    # Java writes to our stdout as well: that becomes stderr, and the answers get one of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spark = SparkSession.builder.master("local[2]").config(map=_CONFIG).getOrCreate()
    for line in sys.stdin:
        try:
            told = answer(spark, **json.loads(line))
        except Exception as error:  # noqa: BLE001 - whoever asked will see it
            told = {"error": str(error)}
        answers.write(json.dumps(told, default=str) + "\n")
        answers.flush()
    spark.stop()


if __name__ == "__main__":
    main()
