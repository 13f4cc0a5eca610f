"""A Trace: every value of a forward pass and every gradient of a backward, by name and in order."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ..backprop import grad
from ..graph import Node, Tensor
from ..interchange.atomic import replace_file
from ..interchange.npy import npz_arrays
from ..observation import norm
from ..scopes import current as current_scope
from ..watching import Watcher
from .compare import Diff, compared
from .torch_side import torch_steps

__all__ = ["Step", "Trace", "record"]

_VERSION = 1
_LISTS = ("steps", "modules")
_KEYS = ("list", "kind", "name", "path", "op", "digest")


@dataclass(frozen=True, eq=False)
class Step:
    """One array of a Trace.

    kind: 'value', 'gradient' (of the value of that name) or 'parameter gradient'. name: the module's path and the op,
    as in "conv1.conv2d", with #2, #3, ... from the second time on; of a parameter, its path.
    """

    kind: str
    name: str
    path: str
    op: str
    array: Any

    @property
    def digest(self) -> str:
        """A hash of dtype, shape and bits: equal for equal arrays alone."""
        array = np.ascontiguousarray(self.array)
        return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()[:32]

    def statistics(self) -> dict[str, Any]:
        """The mean, lowest and highest finite value and the Euclidean norm; None where there is none."""
        finite = self.array[np.isfinite(self.array)].astype(np.float64)
        found = {"norm": norm(self.array)}
        if finite.size:
            found |= {"mean": float(finite.mean()), "low": float(finite.min()), "high": float(finite.max())}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}


class Trace:
    """The steps of one run. `record` and `from_torch` make one; `save` and `load` keep it, `diff` compares two.

    steps: the values in the order of the forward, then the gradients in that of the backward.
    modules: the same for modules alone: the output of each call of a module under the module's path.
    """

    def __init__(self, steps: Iterable[Step], modules: Iterable[Step]) -> None:
        self.steps, self.modules = list(steps), list(modules)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> Any:
        """The array of a value by its name, or by the path of a module."""
        for step in (*self.steps, *self.modules):
            if step.name == name and step.kind == "value":
                return step.array
        raise KeyError(
            f"Trace: no value is named {name!r}; there are {_some(s.name for s in self.steps or self.modules)}"
        )

    def diff(self, other: "Trace", rtol: float | None = None) -> Diff:
        """The first step whose arrays differ by more than `rtol` of the largest number, with a guess at why.

        Ops are compared by their names; if one side has modules alone, as from PyTorch, modules are.
        rtol: 1e-9 for float64, 1e-4 for float32, 1e-2 for float16 unless given, by the coarser dtype, and 0 where one
            holds integers or booleans. With 0 every number must be the same, and the sign of a zero; any nan is as any.

        Raises ValueError if the two have no step in common.

            >>> import tinygrad_cnn as tg
            >>> w, x = tg.tensor([[1.0], [-2.0]], requires_grad=True), tg.tensor([[3.0, 1.0]])
            >>> mine, yours = (tg.record(lambda x: (x @ w * scale).sum(), x) for scale in (1.0, 2.0))
            >>> found = mine.diff(yours)
            >>> print(found.first.name + ":", str(found).rpartition("; ")[2])
            mul: the first looks like the second times 1/2
        """
        if self.steps and other.steps:
            return compared(self.steps, other.steps, rtol)
        return compared(self.modules, other.modules, rtol)

    def save(self, path: Any) -> None:
        """Write names, shapes, hashes and statistics to `path`, which ends in .json, and the arrays beside it as .npz.

        Raises ValueError for another ending.
        """
        target = _checked(path, "save")
        every = [("steps", step) for step in self.steps] + [("modules", step) for step in self.modules]
        entries = [
            {
                "list": where,
                "kind": step.kind,
                "name": step.name,
                "path": step.path,
                "op": step.op,
                "dtype": str(step.array.dtype),
                "shape": list(step.array.shape),
                "digest": step.digest,
                **step.statistics(),
            }
            for where, step in every
        ]
        data = io.BytesIO()
        np.savez(
            data,
            allow_pickle=False,
            **{entry["digest"]: step.array for entry, (_, step) in zip(entries, every, strict=True)},
        )
        replace_file(target.with_suffix(".npz"), data.getvalue())
        text = json.dumps({"version": _VERSION, "steps": entries}, indent=1, allow_nan=False)
        replace_file(target, text.encode())

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read what `save` wrote. Raises ValueError for a file that is no Trace, or whose arrays are others."""
        target = _checked(path, "load")
        entries, arrays = _entries(target), _arrays(target.with_suffix(".npz"))
        lists: dict[str, list[Step]] = {where: [] for where in _LISTS}
        for where, kind, name, place, op, digest in entries:
            if digest not in arrays:
                raise ValueError(f"load: the arrays beside {target.name} lack {name!r}; they are of another save")
            step = Step(kind, name, place, op, arrays[digest])
            if step.digest != digest:
                raise ValueError(f"load: the array of {name!r} is not the one that was saved; record it again")
            lists[where].append(step)
        return cls(*lists.values())

    @classmethod
    def from_torch(cls, model: Any, *inputs: Any, loss: Callable[[Any], Any] | None = None) -> Self:
        """What a PyTorch module computes: the output of every module under its path, found by forward hooks.

        inputs: Tensors of either side, or arrays. loss: as for `record`, on PyTorch's output. Modules that work in
        place change what the one before them gave: record them with inplace=False.
        """
        return cls((), (Step(*step) for step in torch_steps(model, inputs, loss)))


def _checked(path: Any, caller: str) -> Path:
    target = Path(path)
    if target.suffix != ".json":
        raise ValueError(f"{caller}: the file is {target.name!r}; a name that ends in .json is needed")
    return target


def _entries(target: Path) -> list[tuple[str, ...]]:
    """(list, kind, name, path, op, digest) of every step in a file that `save` wrote."""
    try:
        content = json.loads(target.read_text(encoding="utf-8"))
        version = content["version"]
        rows = [tuple(str(step[key]) for key in _KEYS) for step in content["steps"]] if version == _VERSION else []
        if strange := [row[0] for row in rows if row[0] not in _LISTS]:
            raise ValueError(f"a list {strange[0]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"load: {target.name} is no Trace ({error}); write one with Trace.save") from None
    if version != _VERSION:
        raise ValueError(f"load: {target.name} has version {version}; this package reads {_VERSION}")
    return rows


def _arrays(target: Path) -> dict[str, Any]:
    """The arrays beside it, by their digests."""
    try:
        return npz_arrays(target)
    except ValueError as error:
        raise ValueError(
            f"load: {target.name} is no file of arrays, or damaged; record and save again ({error})"
        ) from None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")


class _Recorder(Watcher):
    """Keeps every op's result and every call of a module, in order."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("recorder", default=())

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None, Any, Any]] = []  # (path, op or None for a call, copy, Tensor)

    def saw_op(self, op: Any, args: Any, scope: Any, params: Any, result: Any, began: float, seconds: float) -> None:
        here = current_scope.get()
        self.events.append((here.path if here is not None else "", op.name, result.array.copy(), result))

    def saw_module(self, scope: Any) -> None:
        self.events.append((scope.path, None, None, None))


def record(model: Callable[..., Any], *inputs: Any, loss: Callable[[Any], Tensor] | None = None) -> Trace:
    """Run model(*inputs) and keep every op's result; with `loss`, also the gradient of each, and of each parameter.

    loss: a function from the model's output to a Tensor of one element. No `.grad` is touched.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> model = tg.nn.Sequential(tg.nn.Linear(3, 2, generator=np.random.default_rng(0)), tg.nn.ReLU())
        >>> x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
        >>> before = tg.record(model, x)
        >>> with tg.no_grad():
        ...     _ = model[0].bias.mul_(2.0)
        >>> print(before.diff(tg.record(model, x)).first.name)
        0.linear

    Compare two seeds, precisions or versions with `before.diff(after)`, or with `Trace.from_torch(theirs, x)`.
    """
    recorder = _Recorder()
    with recorder:
        out = model(*(Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs))
    steps, named, modules = _values(recorder.events)
    if loss is not None:
        found = loss(out)
        if not isinstance(found, Tensor) or found.node is None:
            raise TypeError("record: loss must give a Tensor with a graph, of one element, from the model's output")
        more, of_modules = _gradients(found, model, named, modules)
        return Trace([*steps, *more], [*(step for step, _ in modules), *of_modules])
    return Trace(steps, [step for step, _ in modules])


_Named = list[tuple[Step, Any]]


def _values(events: Any) -> tuple[list[Step], _Named, _Named]:
    """The values of ops, the same with their Tensors, and the outputs of modules with theirs."""
    counts: dict[str, int] = {}
    ops: _Named = []
    modules: _Named = []
    for path, op, array, tensor in events:
        if op is not None:
            name = _numbered(counts, f"{path}.{op}" if path else op)
            ops.append((Step("value", name, path, op, array), tensor))
    calls: dict[str, int] = {}
    for end, path, op, array, tensor in _outputs(events):
        modules.append((Step("value", _numbered(calls, path), path, op, array), (end, tensor)))
    modules.sort(key=lambda pair: (pair[1][0], -pair[0].path.count(".") - bool(pair[0].path)))
    return [step for step, _ in ops], ops, [(step, tensor) for step, (_, tensor) in modules]


def _outputs(events: Any) -> Iterable[tuple[int, str, str, Any, Any]]:
    """For every call of a module its last op: (where it stands, path, op, array, Tensor)."""
    for start, (path, op, *_) in enumerate(events):
        if op is not None:
            continue
        last = None
        for i in range(start + 1, len(events)):
            inside, what, array, tensor = events[i]
            if (path and inside != path and not inside.startswith(f"{path}.")) or (what is None and inside == path):
                break
            if what is not None:
                last = i, path, what, array, tensor
        if last is not None:
            yield last


def _numbered(counts: dict[str, int], name: str) -> str:
    counts[name] = counts.get(name, 0) + 1
    return name if counts[name] == 1 else f"{name}#{counts[name]}"


def _gradients(loss: Tensor, model: Any, ops: _Named, modules: _Named) -> tuple[list[Step], list[Step]]:
    """The gradients of all values, the last first, each followed by those of the parameters that the op read."""
    recorded = [(step, tensor) for step, tensor in ops if tensor.node is not None]
    parameters = dict(model.named_parameters()) if hasattr(model, "named_parameters") else {}
    leaves = {p.node: (name, p) for name, p in parameters.items() if p.node is not None}
    wanted = [tensor for _, tensor in recorded] + [p for _, p in leaves.values()]
    if not wanted:
        return [], []
    gradients = grad(loss, wanted, allow_unused=True)
    by_node: dict[Node, Any] = {
        tensor.node: None if g is None else g.array for tensor, g in zip(wanted, gradients, strict=True)
    }
    steps, seen = [], set()
    for step, tensor in reversed(recorded):
        if (g := by_node[tensor.node]) is not None:
            steps.append(Step("gradient", step.name, step.path, step.op, g))
        for parent in tensor.node.parents:
            if parent in leaves and parent not in seen and by_node[parent] is not None:
                seen.add(parent)
                name = leaves[parent][0]
                steps.append(Step("parameter gradient", name, step.path, step.op, by_node[parent]))
    of_modules = [
        Step("gradient", step.name, step.path, step.op, by_node[tensor.node])
        for step, tensor in reversed(modules)
        if tensor.node is not None and by_node.get(tensor.node) is not None
    ]
    return steps, [*of_modules, *(step for step in steps if step.kind == "parameter gradient")]
