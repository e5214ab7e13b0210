"""Runs the SQL it is given in a bare DuckDB, and prints how many calls its rows count."""

import sys

import duckdb

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
print(sum(row[-7] for row in db.execute(sys.argv[1]).fetchall()))
