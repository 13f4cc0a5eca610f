"""Proofs that nothing is silently wrong: a table of faults, and long runs.  python -m tests.reliability"""
