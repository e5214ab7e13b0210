"""Measures the program against its budgets: `make bench`. See `__main__`."""
