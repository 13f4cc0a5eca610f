"""PyTorch's answers to all questions, written to answers.json with the versions that gave them."""

import json
from typing import Any

import numpy as np
from libraries import Library

from .asking import ANSWERS, answers, encoded
from .questions import QUESTIONS

ABOUT = (
    "Answers of PyTorch to the questions in tests/hard_cases/questions, by their names, recorded with the versions "
    "below by: python -m tests.hard_cases --record"
)


def pytorch() -> Any:
    try:
        import torch
    except ImportError:
        raise SystemExit("PyTorch is not installed; its answers cannot be recorded: pip install torch") from None
    return torch


def record() -> str:
    """Write the file; what is returned says how much."""
    torch = pytorch()
    theirs = Library(torch)
    versions = {"torch": torch.__version__.partition("+")[0], "numpy": np.__version__}
    lines = [f"{json.dumps(name)}: {json.dumps(encoded(answers(theirs, q)))}" for name, q in QUESTIONS.items()]
    head = f'{{\n"about": {json.dumps(ABOUT)},\n"versions": {json.dumps(versions)},\n"answers": {{\n'
    ANSWERS.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    return f"{len(lines)} answers of PyTorch {versions['torch']} in {ANSWERS}"
