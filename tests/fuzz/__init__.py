"""Readers of files under random bytes:  python -m tests.fuzz TARGET [--runs N]

Needs atheris (the dependency group `fuzz`), whose libFuzzer keeps what reaches new code and changes it further. Nothing
but the reader's own exception may come out, and what is read must be the same after it was written and read again.
"""
