"""Reads a file of JSON lines into a new table of a DuckDB database, as DuckDB's manual says."""

import sys

import duckdb

log, store = sys.argv[1:]
db = duckdb.connect(store)
db.execute("CREATE TABLE calls AS SELECT * FROM read_json(?, format = 'newline_delimited')", [log])
db.close()
