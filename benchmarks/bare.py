"""Runs the SQL it is given in a bare DuckDB, and prints how many calls its rows count.

The count is the first of the nine sums of `reports`.
"""

import sys

import duckdb

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
print(sum(row[-9] for row in db.execute(sys.argv[1]).fetchall()))
