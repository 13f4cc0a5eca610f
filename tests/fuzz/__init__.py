"""Readers of files under random bytes, and what users write under many seeds:  python -m tests.fuzz TARGET [--runs N]

weights, checkpoint, onnx need atheris (the dependency group `fuzz`), whose libFuzzer keeps what reaches new code and
changes it further. Nothing but the reader's own exception may come out, and what is read must be the same after it was
written and read again.

engine, graphs, networks are property tests of the suite, with a hundred thousand examples over twenty seeds.
"""
