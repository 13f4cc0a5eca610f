"""`detect_anomaly`: stop at the op that makes the first nan or inf, forward or backward, and say why."""

import math
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from .declaration import Op
from .graph import Array, Node, Tensor
from .observation import Summary, summarize
from .provenance import came_in_with, gradient_reason, kinds, not_finite, reason
from .records import line_of_call
from .scopes import Scope
from .scopes import current as current_scope
from .shapes import shown
from .watching import Watcher

__all__ = ["detect_anomaly"]


class detect_anomaly(Watcher):
    """Raise FloatingPointError at the op that makes the first nan or inf: `with tg.detect_anomaly():`.

    Around a forward pass, a backward, or both. The error names the op, or the gradient rule and its input, your line,
    the module, the inputs, the first bad index with the values there, and the cause where it is known.

        >>> x = tg.Tensor([1.0, 0.0], requires_grad=True)
        >>> try:
        ...     with tg.detect_anomaly():
        ...         tg.where(x > 0, x.sqrt(), 0.0).sum().backward()
        ... except FloatingPointError as error:
        ...     print(str(error).partition(";")[0])
        sqrt: its gradient rule makes the first nan (1 value) for 'x'

    A nan that comes in with data or weights is an error where the first op reads it and passes it on. An inf that
    comes in (a mask of -inf) is not one, only a nan that an op makes of it. Costs one look at every result; ops on
    arrays alone are not looked at. A backward that is stopped leaves every `.grad` as it was.
    """

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("detecting", default=())

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[Node, tuple[str, int] | None] = WeakKeyDictionary()
        self._rules: dict[int, int] = {}  # of each thread, the order of the outermost Node whose rules run

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Raise if the result is not finite and no input was infinite before."""
        if threading.get_ident() in self._rules:  # of a gradient that is to be differentiated: the rule is looked at
            return
        line = line_of_call()
        if result.node is not None:
            self._lines[result.node] = line
        if is_finite(result.array):
            return
        inputs = _named(op, scope)
        seen = {name: summarize(array) for name, array in inputs.items()}
        out = summarize(result.array)
        source = came_in_with((name, not value.is_finite) for name, value in seen.items())
        is_meant = any(isinstance(value, float) and math.isinf(value) for value in params.values())
        if not out.nans and (source is not None or is_meant):
            return
        index = _first_bad(result.array, nan=out.nans > 0)
        there = _values_at(inputs, index, result.shape)
        if source is None:
            why = reason(op.name, {n: summarize(v) for n, v in there.items()} or seen, summarize(result.array[index]))
            said = f"{op.name}: makes the first {not_finite(out)} here, of finite inputs" + (f"; {why}" if why else "")
        elif seen[source].nans:
            said = (
                f"{op.name}: gives {not_finite(out)}, because its input {source!r} came in with "
                f"{not_finite(seen[source])}; look for it in the data or the weights, no op here made it"
            )
        else:
            said = (
                f"{op.name}: makes the first nan ({out.nans:,} value{'s' if out.nans > 1 else ''}) here, of "
                f"{kinds(seen[source])} in its input {source!r}; inf − inf, 0*inf and inf/inf are nan"
            )
        raise FloatingPointError(said + _details(seen, there, index, current_scope.get(), line))

    def rules_begin(self, node: Any, saved: Any, g: Any, needed: Any) -> None:
        """Look away from the ops inside the rules until they have run."""
        self._rules.setdefault(threading.get_ident(), node.order)

    def rules_end(self, node: Any) -> None:
        """Look at ops again, if these were the outermost rules."""
        if self._rules.get(threading.get_ident()) == node.order:
            del self._rules[threading.get_ident()]

    rules_failed = rules_end

    def saw_rule(self, node: Any, i: int, g: Any, kept: Mapping[str, Any], sent: Any) -> None:
        """Raise if a rule sends what is not finite to input i."""
        array = _array(sent)
        if is_finite(array):
            return
        op, given, out = node.plan.op, _array(g), summarize(array)
        name, arrived = op.variadic or op.inputs[i], summarize(given)
        if not out.nans and not arrived.is_finite:
            return
        arrays = {"g": given} | {n: _array(v) for n, v in kept.items() if isinstance(v, np.ndarray | Tensor)}
        index = _first_bad(array, nan=out.nans > 0)
        there = _values_at(arrays, index, array.shape)
        seen = {n: summarize(a) for n, a in arrays.items()}
        if arrived.nans:
            said = (
                f"{op.name}: its gradient rule gives {not_finite(out)} for {name!r}, because the gradient came in with "
                f"{not_finite(arrived)}; look at the gradient that backward began with, and at hooks"
            )
        else:
            at = {n: summarize(v) for n, v in there.items()} or seen
            why = gradient_reason(op.name, at, at.get("g", arrived), summarize(array[index]))
            said = f"{op.name}: its gradient rule makes the first {not_finite(out)} for {name!r}" + (
                f"; {why}" if why else ""
            )
        raise FloatingPointError(said + _details(seen, there, index, node.scope, self._lines.get(node)))


def is_finite(array: Array) -> bool:
    """Whether an array holds neither nan nor inf; the sum says so at once unless it overflows."""
    if array.dtype.kind != "f" or array.size == 0:
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def _array(value: Any) -> Array:
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def _named(op: Op, scope: Sequence[Any]) -> dict[str, Array]:
    """The inputs by name, numbers as arrays too."""
    names = [f"{op.variadic}[{i}]" for i in range(len(scope))] if op.variadic else op.inputs
    return {name: np.asarray(value) for name, value in zip(names, scope, strict=False) if value is not None}


def _first_bad(array: Array, nan: bool) -> tuple[int, ...]:
    """The index of the first nan, or of the first inf."""
    bad = np.isnan(array) if nan else ~np.isfinite(array)
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))


def _values_at(arrays: Mapping[str, Array], index: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Array]:
    """What stands at an index of arrays that broadcast to `shape`; nothing if an array does not: no elementwise op."""
    found = {}
    for name, array in arrays.items():
        lead = len(shape) - array.ndim
        if lead < 0 or any(n not in (1, m) for n, m in zip(array.shape, shape[lead:], strict=True)):
            return {}
        place = tuple(0 if n == 1 else i for n, i in zip(array.shape, index[lead:], strict=True))
        found[name] = array[place]
    return found


def _details(
    seen: Mapping[str, Summary],
    there: Mapping[str, Array],
    index: tuple[int, ...],
    scope: Scope | None,
    line: tuple[str, int] | None,
) -> str:
    """The rest of the error, a line each: the index, the inputs, the module, the line."""
    values = ", ".join(f"{name} = {float(value):g}" for name, value in there.items())
    rows = [("first at", shown(index) if index else "()") if not values else ("first at", f"{shown(index)}: {values}")]
    for name, value in seen.items():
        range_ = f"{value.low:g} to {value.high:g}, mean {value.mean:g}" if value.low == value.low else "none finite"
        bad = "" if value.is_finite else f", {not_finite(value)}"
        zeros = f", {value.zeros:,} zero" if value.zeros else ""
        rows.append((name, f"{value.dtype} {shown(value.shape)}, {range_}{zeros}{bad}"))
    if scope is not None:
        path, kind = scope.chain[-1]
        rows.append(("module", f"{path} ({kind})" if path else kind))
    rows.append(("line", f"{line[0]}:{line[1]}" if line else "not known: run the forward pass in the block, too"))
    return "".join(f"\n    {name:<9} {text}" for name, text in rows)
