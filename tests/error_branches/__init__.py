"""Which lines, `raise` statements and error messages no test reaches:  python -m tests.error_branches

Needs coverage.py (the dependency group `coverage`). The suite runs once under it, with every subprocess, which
takes a quarter of an hour.
"""
