"""`summary`: a table of a model's layers, what each puts out, holds, costs and sees, from one forward."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..dtypes import default_float
from ..graph import Tensor
from ..shapes import is_int
from .ledger import Ledger, ModuleCall, OpCall, Sights
from .module import Module
from .parameter import UninitializedParameter

__all__ = ["Summary", "SummaryRow", "summary"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One call of a module, or an op that a module with modules inside runs itself; each counts what no other does.

    path: of the module from the model, "" for that itself. kind: its class, "op" for an op. level: of indentation.
    outputs: the shapes of the Tensors that came out. params: parameters held here and counted in no row above,
    trainable of them; shared: those used here and counted above.
    macs: multiply-adds of convolutions and matrix products. flops: all floating-point operations as the ops declare
    them, None where one does not. activation_bytes: of the arrays made. kept_bytes: of those that backward needs,
    without parameters and inputs. field: height and width of the receptive field in pixels of the image, as if there
    were no borders; jump: pixels from one value to the next, None where all see the same. dense: the weights that
    dense layers in place of the convolutions and linear layers would have.
    """

    path: str
    kind: str
    level: int
    outputs: tuple[Shape, ...]
    params: int
    trainable: int
    shared: int
    macs: int
    flops: int | None
    activation_bytes: int
    kept_bytes: int
    field: tuple[int, int] | None
    jump: tuple[Fraction | None, Fraction | None] | None
    dense: int | None

    def as_dict(self) -> dict[str, Any]:
        """The row in plain numbers, strings and lists."""
        jump = None if self.jump is None else [None if j is None else float(j) for j in self.jump]
        return {**asdict(self), "outputs": [list(s) for s in self.outputs], "field": _listed(self.field), "jump": jump}


class Summary:
    """The rows of a model, and their sums. `print` shows the table; `as_dict` and `json` give it to programs."""

    def __init__(self, name: str, inputs: Sequence[Shape], rows: Sequence[SummaryRow]) -> None:
        self.name, self.inputs, self.rows = name, tuple(inputs), tuple(rows)

    @property
    def params(self) -> int:
        """All parameters, each once."""
        return sum(row.params for row in self.rows)

    @property
    def trainable(self) -> int:
        """The parameters that require grad."""
        return sum(row.trainable for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of one forward."""
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int | None:
        """Floating-point operations of one forward; None if an op does not declare them."""
        counts = [row.flops for row in self.rows]
        return None if None in counts else sum(filter(None, counts))

    @property
    def activation_bytes(self) -> int:
        """Bytes of all arrays that one forward makes."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def kept_bytes(self) -> int:
        """Bytes of them that stay until backward."""
        return sum(row.kept_bytes for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain numbers, strings and lists."""
        totals = ("params", "trainable", "macs", "flops", "activation_bytes", "kept_bytes")
        return {
            "name": self.name,
            "inputs": [list(shape) for shape in self.inputs],
            "rows": [row.as_dict() for row in self.rows],
            **{total: getattr(self, total) for total in totals},
        }

    def json(self) -> str:
        """as_dict as JSON."""
        return json.dumps(self.as_dict(), allow_nan=False, indent=1)

    def __str__(self) -> str:
        table = [["layer", "output", "params", "MACs", "made", "kept", "field", "dense"]]
        table += [_cells(row, self.rows[:i]) for i, row in enumerate(self.rows)]
        widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(n) if k < 2 else cell.rjust(n) for k, (cell, n) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        rule = "-" * max(map(len, lines))
        share = f"{self.trainable / self.params:.1%}" if self.params else "none"
        flops = "unknown" if self.flops is None else f"{self.flops:,}"
        foot = [
            f"parameters: {self.params:,}, of them trainable: {self.trainable:,} ({share})",
            f"multiply-adds: {self.macs:,}, floating-point operations: {flops}",
            f"made: {_bytes(self.activation_bytes)}, kept for backward: {_bytes(self.kept_bytes)}, "
            f"for inputs of {', '.join(map(_by, self.inputs))}",
        ]
        if any(row.field for row in self.rows):
            foot.append("field 16 /4: sees 16x16 pixels of the image, 4 from one value to the next")
        if any(row.shared for row in self.rows):
            foot.append("(n): parameters counted in a row above")
        return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:], rule, *foot])

    def __repr__(self) -> str:
        return str(self)


def summary(model: Module, input: Any, *, depth: int | None = None, kwargs: Mapping[str, Any] | None = None) -> Summary:
    """What each layer of `model` puts out, holds, costs and sees, from one forward in the mode that the model is in.

    input: a shape with the batch, such as (1, 3, 32, 32), for which numbers are drawn; a Tensor or array; or a list of
        these for several inputs. kwargs: further arguments of the forward.
    depth: how many levels below the model are taken apart; what lies deeper counts in the row of its module.

    A copy of the model runs, with gradients on, so that nothing changes: no parameter, gradient, running statistic or
    random state. A module without modules inside is one row; in others, and in the model itself, ops that run beside
    the modules have rows of their own. A module that is called twice has two rows. Hooks run as they always do.

    Raises TypeError for another input, ValueError for a negative depth, and whatever the forward raises.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: the model is a {type(model).__name__}; a Module is needed")
    if depth is not None and (not is_int(depth) or depth < 0):
        raise ValueError(f"summary: depth={depth!r}; an integer >= 0 or None is needed")
    dtypes = [p.dtype for p in model.parameters() if p.dtype.kind == "f"]
    inputs = _inputs(input, dtypes[0] if dtypes else default_float)
    shapes = [t.shape for t in inputs]
    ledger = Ledger(model, inputs, dict(kwargs or {}))
    return Summary(type(model).__name__, shapes, _Rows(ledger, depth).rows)


def _inputs(given: Any, dtype: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        return [Tensor(given, given.requires_grad)]
    if isinstance(given, np.ndarray):
        return [Tensor(given)]
    if isinstance(given, (tuple, list)) and given and all(is_int(n) and n >= 0 for n in given):
        return [Tensor(np.random.default_rng(0).standard_normal(given).astype(dtype))]
    if isinstance(given, (tuple, list)) and not any(is_int(part) for part in given):
        return [t for part in given for t in _inputs(part, dtype)]
    raise TypeError(
        f"summary: the input is {given!r:.60}; a shape such as (1, 3, 32, 32), a Tensor or a list of these is needed"
    )


class _Rows:
    """The rows of a Ledger, in the order of the calls."""

    def __init__(self, ledger: Ledger, depth: int | None) -> None:
        self.ledger, self.depth = ledger, depth
        self.rows: list[SummaryRow] = []
        self._counted: set[int] = set()  # parameters
        if ledger.root is not None:
            self._call(ledger.root, 0)
        for path, module in ledger.model.named_modules():
            if any(id(p) not in self._counted for p in module.parameters(recurse=False)):
                self._add(path, type(module).__name__, 1, (), module, False, [], None)

    def _call(self, call: ModuleCall, level: int) -> None:
        kind = type(call.module).__name__
        inner = any(isinstance(part, ModuleCall) for part in call.inside)
        if level == self.depth or not (inner or level == 0):
            self._add(call.path, kind, level, call.shapes, call.module, True, list(call.ops()), call.sights)
            return
        self._add(call.path, kind, level, call.shapes, call.module, False, [], call.sights)
        for part in call.inside:
            if isinstance(part, ModuleCall):
                self._call(part, level + 1)
            else:
                path = f"{call.path}.{part.name}" if call.path else part.name
                self._add(path, "op", level + 1, (part.shape,), None, False, [part], part.sights)

    def _add(
        self,
        path: str,
        kind: str,
        level: int,
        outputs: tuple[Shape, ...],
        module: Module | None,
        whole: bool,
        ops: list[OpCall],
        sights: Sights,
    ) -> None:
        held = [] if module is None else list(module.parameters(recurse=whole))
        held = [p for p in held if not isinstance(p, UninitializedParameter)]
        new = [p for p in held if id(p) not in self._counted]
        self._counted.update(map(id, held))
        flops = [op.flops for op in ops]
        dense = [op.dense for op in ops if op.dense is not None]
        field, jump = self._field(sights)
        self.rows.append(
            SummaryRow(
                path=path,
                kind=kind,
                level=level,
                outputs=outputs,
                params=sum(p.array.size for p in new),
                trainable=sum(p.array.size for p in new if p.requires_grad),
                shared=sum(p.array.size for p in held) - sum(p.array.size for p in new),
                macs=sum(op.macs for op in ops),
                flops=None if None in flops else sum(filter(None, flops)),
                activation_bytes=sum(op.made for op in ops),
                kept_bytes=sum(self.ledger.kept.get(id(op.node), 0) for op in ops),
                field=field,
                jump=jump,
                dense=sum(dense) if dense else None,
            )
        )

    def _field(self, sights: Sights) -> tuple[Any, Any]:
        """Receptive field and jump; where every value sees the same, no more than there is of the image."""
        image = self.ledger.image
        if sights is None or image is None or None in sights:
            return None, None
        sizes = []
        for sight, n in zip(sights, image, strict=True):
            if sight is None:
                return None, None
            span = sight.spans[0]
            if sight.axis is None and span is not None:
                sizes.append(max(0, min(span[1], n - 1) - max(span[0], 0) + 1))
            else:
                sizes.append(sight.size)
        found = [sight for sight in sights if sight is not None]
        if found[0].axis == found[1].axis and not found[0].joined:  # rows and columns in one axis: no one step
            return tuple(sizes), (None, None)
        return tuple(sizes), tuple(sight.jump for sight in found)


MOST = 44  # letters of a name in the table


def _cells(row: SummaryRow, before: Sequence[SummaryRow]) -> list[str]:
    indent = "  " * row.level
    above = next((r.path for r in reversed(before) if r.level < row.level), "")
    name = row.path.removeprefix(f"{above}.") if above else row.path
    most = max(8, MOST - len(indent) - len(row.kind))
    if len(name) > most:
        name = f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"
    label = name if row.kind == "op" else f"{name} ({row.kind})" if name else row.kind
    empty = row.kind != "op" and not (row.outputs or row.level == 0)
    params = f"{row.params:,}" if row.params else f"({row.shared:,})" if row.shared else "-"
    return [
        indent + label,
        "not called" if empty else ", ".join(map(_by, row.outputs)) or "-",
        params,
        f"{row.macs:,}" if row.macs else "-",
        _bytes(row.activation_bytes) if row.activation_bytes else "-",
        _bytes(row.kept_bytes) if row.kept_bytes else "-",
        _seen(row),
        "-" if row.dense is None else f"{row.dense:,}",
    ]


def _seen(row: SummaryRow) -> str:
    """15 /4: 15x15 pixels, 4 from one value to the next."""
    if row.field is None or row.jump is None:
        return "-"
    (h, w), (down, right) = row.field, row.jump
    size = str(h) if h == w else f"{h}x{w}"
    steps = [step for step in (down, right) if step is not None]
    if not steps:
        return size
    shown = f"{down}" if down == right else f"{down}x{right}".replace("None", "-")
    return f"{size} /{shown}"


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "1 number"


def _bytes(n: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _listed(pair: tuple[int, int] | None) -> list[int] | None:
    return None if pair is None else list(pair)
