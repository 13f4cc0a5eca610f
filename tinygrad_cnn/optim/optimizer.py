"""Optimizer: what every optimizer shares: parameter groups, the step, and the state that comes back exactly.

A step reads each parameter's `.grad` and writes to the parameter's own memory, for each parameter with its state
entirely or not at all. Parameters whose grad is None are passed over.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..graph import Array, Tensor, wrap
from ..modes import enable_grad
from ..nn.module import clear_grad
from ..nn.parameter import UninitializedParameter
from ..ops.elementwise import array_of
from ..watching import told, watchers

__all__ = ["Optimizer"]

Group = dict[str, Any]
State = dict[str, Any]


class Optimizer:
    """Base of the optimizers: parameter groups with their options, and a state for each parameter.

    params: Tensors, or dicts {"params": Tensors, option: value, ...} with options of their own.
    param_groups: a list of dicts; changing `optimizer.param_groups[0]["lr"]` changes the next step.
    state: for each parameter that has taken a step, its dict of arrays and numbers.
    has_stepped: whether `step` was called; a schedule that is stepped before warns.

    A subclass gives `update`, and names what its states hold.
    Raises ValueError for no parameters, one that occurs twice, one that is no leaf or has no values yet, or options out
    of range; TypeError for what is no Tensor.
    """

    arrays: ClassVar[tuple[str, ...]] = ()  # the entries of a state that have the parameter's shape and dtype
    optional: ClassVar[tuple[str, ...]] = ()  # those among them that some options do without
    counts: ClassVar[bool] = False  # whether a state counts its steps
    numbers: ClassVar[tuple[str, ...]] = ()  # the entries of a state that are numbers, beside the count
    flags: ClassVar[tuple[str, ...]] = (  # options that are True or False
        "amsgrad",
        "centered",
        "decoupled_weight_decay",
        "maximize",
        "nesterov",
    )

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        self.has_stepped = False
        groups = _listed(params, type(self).__name__)
        if not groups:
            raise ValueError(
                f"{type(self).__name__}: the parameter list is empty; pass model.parameters() (a generator runs out: "
                "make a list to use it twice)"
            )
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: Group) -> None:
        """Take on more parameters: {"params": Tensors, option: value, ...}; options left out are the defaults."""
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f"{name}: a parameter group must be a dict with the key 'params', not a {type(group).__name__}"
            )
        given = group["params"]
        params = [given] if isinstance(given, Tensor) else _listed(given, name)
        group = {**self.defaults, **group, "params": params}
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                remedy = "; pass model.parameters(), without the names" if isinstance(p, tuple) else ""
                raise TypeError(f"{name}: parameter {i} is a {type(p).__name__}; a Tensor is needed{remedy}")
            if isinstance(p, UninitializedParameter):
                raise ValueError(
                    f"{name}: parameter {i} has no values yet ({p!r}); run one batch through the model "
                    "before making the optimizer, or give in_features"
                )
            if not p.is_leaf:
                raise ValueError(
                    f"{name}: parameter {i} (shape {p.shape}) is the result of an op; only leaves can be trained, "
                    "so pass the Tensor it was computed from, or detach() it"
                )
            if p.dtype.kind != "f":
                raise TypeError(f"{name}: parameter {i} is {p.dtype}; only float Tensors can be trained")
            if id(p) in known:
                raise ValueError(f"{name}: parameter {i} (shape {p.shape}) occurs twice; each may be given once")
            known.add(id(p))
        self._check_options(group)
        self.param_groups.append(group)

    def _check_options(self, group: Group) -> None:
        name = type(self).__name__
        for option in self.defaults:
            value = group[option]
            if option == "betas":
                if not isinstance(value, Sequence) or isinstance(value, str):
                    raise TypeError(f"{name}: betas={value!r}; a tuple of two numbers is needed, as in (0.9, 0.999)")
                if len(value) != 2 or not all(0 <= _number(name, option, beta) < 1 for beta in value):
                    raise ValueError(f"{name}: betas={value!r}; two numbers with 0 <= beta < 1 are needed")
            elif option in self.flags:
                if not isinstance(value, (bool, np.bool_)):
                    raise TypeError(f"{name}: {option}={value!r}; True or False is needed")
            elif not _number(name, option, value) >= 0:
                raise ValueError(f"{name}: {option}={value!r}; it must not be negative")

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        """The new value and the new state of a parameter p with gradient g; all arguments are left as they are."""
        raise NotImplementedError(f"{type(self).__name__} has no update; define update(self, p, g, state, group)")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient; with `closure` compute the loss first, and return it."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self.has_stepped = True
        name = f"{type(self).__name__}.step"
        began = perf_counter()
        moving = [
            (group, p, p.grad.array) for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        for _, p, _ in moving:
            self._check_movable(p, name)
        with np.errstate(all="ignore"):
            for group, p, g in moving:
                value, state = self.update(p.array, -g if group.get("maximize") else g, self.state.get(p, {}), group)
                state = {key: np.asarray(entry) if key in self.arrays else entry for key, entry in state.items()}
                memory.mark_changed(p.array, name)
                # One call that runs no Python code between the parameter and its state: both or neither.
                deque(map(operator.setitem, (p.array, self.state), (Ellipsis, p), (value, state)), maxlen=0)
        if watchers:
            moved = sum(2 * p.array.nbytes + g.nbytes + 2 * self._state_bytes(p) for _, p, g in moving)
            for block in told():
                block.saw_step(name, began, moved)
        return loss

    def _state_bytes(self, p: Tensor) -> int:
        return sum(value.nbytes for value in self.state.get(p, {}).values() if isinstance(value, np.ndarray))

    def _check_movable(self, p: Tensor, name: str) -> None:
        if not p.array.flags.writeable:
            raise RuntimeError(
                f"{name}: the memory of a parameter of shape {p.shape} is read-only; assign a copy to its data"
            )
        for key, value in self.state.get(p, {}).items():
            if key in self.arrays and (value.dtype, value.shape) != (p.dtype, p.shape):
                raise RuntimeError(
                    f"{name}: a parameter is {p.dtype} {p.shape}, but its {key} is {value.dtype} {value.shape}: it was "
                    "converted or replaced after its first steps; make a new optimizer"
                )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or make it zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                clear_grad(p, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """{"state": {i: {...}}, "param_groups": [{..., "params": [i, ...]}]}, parameters by number; all copied."""
        groups: list[Group] = []
        numbers: dict[Tensor, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers[p] = len(numbers)
            groups.append({**group, "params": [numbers[p] for p in group["params"]]})
        state = {
            numbers[p]: {key: wrap(v.copy()) if isinstance(v, np.ndarray) else v for key, v in entries.items()}
            for p, entries in self.state.items()
            if entries and p in numbers
        }
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the optimizer that gave `state_dict` stood; values are copied.

        Raises ValueError that lists every difference (groups, numbers of parameters, options, shapes, dtypes) and
        changes nothing then. A rate may be any number: a schedule can have led it below 0, as a chained one may.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise ValueError(
                f"{name}: a dict with the keys 'state' and 'param_groups' is needed, as state_dict() gives"
            )
        given = state_dict["param_groups"]
        if len(given) != len(self.param_groups):
            raise ValueError(f"{name}: {len(given)} parameter groups are given, there are {len(self.param_groups)}")
        problems: list[str] = []
        groups: list[Group] = []
        params: dict[Any, Tensor] = {}
        for i, (ours, theirs) in enumerate(zip(self.param_groups, given, strict=True)):
            if len(theirs["params"]) != len(ours["params"]):
                problems.append(
                    f"group {i}: {len(theirs['params'])} parameters are given, there are {len(ours['params'])}"
                )
                continue
            params.update(zip(theirs["params"], ours["params"], strict=True))
            if absent := [option for option in self.defaults if option not in theirs]:
                problems.append(f"group {i}: no {', '.join(absent)}")
                continue
            groups.append({**theirs, "params": list(ours["params"])})
            try:
                self._check_options({**groups[-1], **self._any_rate(groups[-1])})
            except (TypeError, ValueError) as error:
                problems.append(f"group {i}: {error}")
        state: dict[Tensor, State] = {}
        for number, entries in state_dict["state"].items():
            if number not in params:
                problems.append(f"parameter {number}: not in any group")
                continue
            p = params[number]
            state[p], wrong = self._read_state(p, entries)
            problems += [f"parameter {number}: {what}" for what in wrong]
        if problems:
            shown = "\n  ".join(problems)
            raise ValueError(f"{name}.load_state_dict: nothing was changed, these do not fit:\n  {shown}")
        self.__dict__.update(param_groups=groups, state=state)

    def _any_rate(self, group: Group) -> Group:
        """A rate that passes for that of the group, if it is a number. Raises TypeError if it is none."""
        if "lr" in self.defaults:
            _number(type(self).__name__, "lr", group["lr"])
            return {"lr": 0.0}
        return {}

    def _read_state(self, p: Tensor, entries: Mapping[str, Any]) -> tuple[State, list[str]]:
        """One parameter's state, copied, and what is wrong with it."""
        state: State = {}
        needed = {*self.arrays, *self.numbers, *(["step"] if self.counts else [])} - {*self.optional}
        wrong = [f"{key} is missing" for key in sorted(needed - entries.keys())]
        for key, value in entries.items():
            array = value.array if isinstance(value, Tensor) else value
            if key in self.numbers or (key == "step" and self.counts):
                number = _one_number(array)
                if number is None:
                    wrong.append(f"{key} is {value!r}, a number is needed")
                elif key != "step":
                    state[key] = number
                elif number >= 0 and number % 1 == 0:
                    state[key] = int(number)
                else:
                    wrong.append(f"step is {value!r}, a whole number >= 0 is needed")
            elif key not in self.arrays:
                wrong.append(f"{type(self).__name__} keeps no {key!r}")
            elif not hasattr(array, "__array__"):
                wrong.append(f"{key} is a {type(value).__name__}, a Tensor or an ndarray is needed")
            elif ((array := np.asarray(array).copy()).dtype, array.shape) != (p.dtype, p.shape):
                wrong.append(f"{key} is {array.dtype} {array.shape}, {p.dtype} {p.shape} is needed")
            else:
                state[key] = array
        return state, wrong

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}: {len(group['params'])} parameters")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _listed(params: Any, name: str) -> list[Any]:
    """The parameters or groups as a list, in an order that does not change from run to run."""
    if isinstance(params, (Tensor, str, Mapping)) or not isinstance(params, Iterable):
        raise TypeError(
            f"{name}: params is a {type(params).__name__}; a list is needed, as in [p] or model.parameters()"
        )
    if isinstance(params, (set, frozenset)):
        raise TypeError(f"{name}: params is a set, whose order changes from run to run; a list is needed")
    return list(params)


def _one_number(value: Any) -> float | None:
    """The number that a value of one entry holds, whichever library's, or None."""
    array = np.asarray(value)
    return float(array.reshape(())) if array.size == 1 and array.dtype.kind in "iuf" else None


def _number(name: str, option: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or np.ndim(array_of(value)) or not hasattr(array_of(value), "__float__"):
        raise TypeError(f"{name}: {option}={value!r}; a number is needed")
    return float(array_of(value))


def plus_decay(p: Array, g: Array, group: Group) -> Array:
    """g + weight_decay * p, the gradient of the loss with weight_decay / 2 * |p|^2 added."""
    decay = float(group["weight_decay"])
    return g + decay * p if decay else g


def shrunk(p: Array, group: Group) -> Array:
    """p (1 - lr * weight_decay), decay apart from the gradient.

    Source: Loshchilov & Hutter, Decoupled weight decay regularization (2019), algorithm 2.
    """
    decay = float(group["weight_decay"])
    return p * (1.0 - float(group["lr"]) * decay) if decay else p


def mean_of(old: Array | None, g: Array, beta: float) -> Any:
    """The running mean old + (1 - beta) (g - old) of gradients, where nothing was before 0."""
    if old is None:
        return (1.0 - beta) * g
    m = g - old
    m *= 1.0 - beta
    m += old
    return m


def mean_square_of(old: Array | None, g: Array, beta: float) -> Any:
    """The running mean beta * old + (1 - beta) g^2 of squared gradients, where nothing was before 0."""
    v = (1.0 - beta) * g
    v *= g
    if old is not None:
        v += beta * old
    return v
