"""What kind of value each entry of a schedule's state must be: that of the present one, and counts in their range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ops.elementwise import array_of
from ...shapes import is_int

__all__ = ["is_number", "wrong_kinds"]

_LEAST = {  # of whole numbers; a part of a SequentialLR that waits for its turn has counted down
    "step_size": 1, "total_iters": 1, "total_steps": 1, "T_0": 1, "T_i": 1, "T_mult": 1, "last_epoch": None,
    "_step_count": 0, "patience": 0, "cooldown": 0, "cooldown_counter": 0, "num_bad_epochs": 0,
}  # fmt: skip
_NUMBERS = {
    "gamma", "factor", "start_factor", "end_factor", "power", "T_max", "T_cur", "eta_min", "threshold", "eps", "best",
    "mode_worse",
}  # fmt: skip
_CHOICES = {"_anneal_func_type": ("cos", "linear"), "mode": ("min", "max"), "threshold_mode": ("rel", "abs")}


def wrong_kinds(ours: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the entries that both states have, a line each; what holds None can be anything."""
    found = [(key, given[key], _needed(key, present, given[key])) for key, present in ours.items() if key in given]
    return [f"{key} is {value!r}, {needed} is needed" for key, value, needed in found if needed]


def _needed(key: str, ours: Any, given: Any) -> str | None:
    """What is needed in the place of a value; None where it fits."""
    if ours is None or (given is None and key not in _NUMBERS and key not in _LEAST):
        return None
    if isinstance(ours, (bool, np.bool_)):
        return None if isinstance(given, (bool, np.bool_)) else "True or False"
    if isinstance(ours, str):
        choices = _CHOICES.get(key)
        fits = isinstance(given, str) and (choices is None or given in choices)
        return None if fits else " or ".join(map(repr, choices)) if choices else "a string"
    if is_number(ours):
        if key not in _LEAST:
            return None if is_number(given) else "a number"
        least = _LEAST[key]
        fits = is_int(given) and (least is None or given >= least)
        return None if fits else "a whole number" if least is None else f"a whole number >= {least}"
    if isinstance(ours, Counter):
        fits = isinstance(given, Counter) and all(map(is_int, (*given, *given.values())))
        return None if fits else "a Counter of whole numbers"
    if isinstance(ours, (list, tuple)):
        return _needed_list(ours, given)
    if isinstance(ours, Mapping):
        return None if isinstance(given, Mapping) else "a dict"
    return None


def _needed_list(ours: Any, given: Any) -> str | None:
    """A list of numbers where all of ours are; else any list."""
    if ours and all(map(is_number, ours)):
        fits = isinstance(given, (list, tuple)) and all(map(is_number, given))
        return None if fits else "a list of numbers"
    return None if isinstance(given, (list, tuple)) else "a list"


def is_number(value: Any) -> bool:
    """Whether a value is one number, whichever library's, and no bool."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not hasattr(value, "__float__"):
        return False
    return np.ndim(array_of(value)) == 0
