"""How a Tensor shows itself: as text, and in a notebook as a table with its statistics."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .dtypes import default_float
from .graph import Array, Tensor, made_by, method
from .observation import Summary, summarize
from .shapes import is_int

__all__ = ["get_printoptions", "printoptions", "set_printoptions"]

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": None},
    "full": {"precision": 4, "threshold": 2**62, "edgeitems": 3, "linewidth": 80, "sci_mode": None},
}
_options = dict(_PROFILES["default"])


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how Tensors are printed; what is not given stays.

    precision: digits after the point. threshold: above how many elements an axis is cut. edgeitems: how many are
    shown at each end then. linewidth: characters in a line. sci_mode: True for 1.5e+00, False for 1.5, None for what
    suits the values. profile: "default", "short" or "full" sets all of them first.
    """
    wanted = dict(_options)
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile={profile!r}; it is {', '.join(map(repr, _PROFILES))}")
        wanted.update(_PROFILES[profile])
    for name, value, least in (
        ("precision", precision, 0),
        ("threshold", threshold, 0),
        ("edgeitems", edgeitems, 1),
        ("linewidth", linewidth, 1),
    ):
        if value is None:
            continue
        if not is_int(value) or value < least:
            raise ValueError(f"set_printoptions: {name}={value!r}; an integer of at least {least} is needed")
        wanted[name] = int(value)
    if sci_mode is not None:
        wanted["sci_mode"] = bool(sci_mode)
    _options.update(wanted)


def get_printoptions() -> dict[str, Any]:
    """The options in force, by name."""
    return dict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Within the block, other options of `set_printoptions`."""
    before = dict(_options)
    try:
        set_printoptions(**options)
        yield
    finally:
        _options.update(before)


def _notation(array: Array) -> dict[str, Any]:
    """What array2string is told of floats: fixed notation, unless it would hide or lengthen what is shown."""
    precision, sci_mode = _options["precision"], _options["sci_mode"]
    if array.dtype.kind != "f":
        return {}
    shown = _shown(array)
    size = np.abs(shown[np.isfinite(shown) & (shown != 0)])
    if sci_mode is None:
        sci_mode = bool(size.size) and bool(float(size.max()) >= 1e6 or float(size.min()) < 10.0**-precision)
    if not sci_mode:
        return {"precision": precision, "suppress_small": True}

    def write(v: Any) -> str:
        return np.format_float_scientific(v, precision=precision, unique=False, exp_digits=2)

    width = max(map(len, map(write, shown)), default=0)
    return {"formatter": {"float_kind": lambda v: write(v).rjust(width)}}


def _shown(array: Array) -> Array:
    """The values that array2string shows: all, or those at the ends of each axis."""
    edge = _options["edgeitems"]
    if array.size > _options["threshold"]:
        for axis, n in enumerate(array.shape):
            if n > 2 * edge:
                array = np.take(array, [*range(edge), *range(n - edge, n)], axis)
    return array.ravel()


@method("__repr__")
def _repr(x: Tensor) -> str:
    values = np.array2string(
        x.array,
        separator=", ",
        prefix="Tensor(",
        threshold=_options["threshold"],
        edgeitems=_options["edgeitems"],
        max_line_width=_options["linewidth"],
        **_notation(x.array),
    )
    parts = [values]
    if 0 in x.shape or x.array.size > _options["threshold"]:
        parts.append(f"shape={x.shape}")
    if x.dtype not in (default_float, np.int64, np.bool_):
        parts.append(f"dtype={x.dtype}")
    if x.node is not None:
        parts.append(_origin(x))
    return f"Tensor({', '.join(parts)})"


def _origin(x: Tensor) -> str:
    return "requires_grad=True" if x.is_leaf else f"from {made_by(x)}"


# Notebooks

_ROWS, _COLUMNS = 10, 12  # of a table; what does not fit is cut in the middle
_BLUE, _ORANGE = "0,97,154", "179,71,0"  # above and below 0: told apart by colour-blind eyes too
_CELL = "padding:1px 6px;white-space:pre;text-align:right"
_STRONGEST = 0.45  # how much of the colour is laid under the largest value: text stays legible on light and dark


@method("_repr_html_")
def _html(x: Tensor) -> str:
    """Kind, statistics and values: the matrix of the last two axes at the first place of the others."""
    facts = [f"{x.dtype}", f"shape {x.shape}", *([_origin(x)] if x.node is not None else [])]
    lead = f"<b>{type(x).__name__}</b> &nbsp;{' &nbsp;·&nbsp; '.join(facts)}"
    lines = [f'<div style="font-family:monospace;line-height:1.5"><div>{lead}</div>']
    if x.array.size:
        if x.array.size > 1:
            lines.append(f'<div style="opacity:.75">{_statistics(summarize(x.array))}</div>')
        lines.append(_table(x.array))
    return "".join([*lines, "</div>"])


def _statistics(found: Summary) -> str:
    def number(v: float) -> str:
        return f"{v:.{_options['precision']}g}"

    parts = []
    if found.nans + found.infs < found.size:
        parts += [f"min {number(found.low)}", f"mean {number(found.mean)}", f"max {number(found.high)}"]
        parts.append(f"std {number(found.std)}")
    for count, name in ((found.zeros, "zero"), (found.nans, "nan"), (found.infs, "inf")):
        if count:
            parts.append(f"{count} of {found.size} {name}")
    return " &nbsp;·&nbsp; ".join(parts)


def _cut(n: int, most: int) -> list[int | None]:
    """The indices to show of n, None where some are left out."""
    if n <= most:
        return list(range(n))
    head = most // 2
    return [*range(head), None, *range(n - (most - 1 - head), n)]


def _table(array: Array) -> str:
    first = (0,) * max(array.ndim - 2, 0)
    matrix = array[first] if first else array
    matrix = matrix.reshape((1, -1) if array.ndim < 2 else matrix.shape)
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    top = float(finite.max(initial=0.0))
    rows, columns = _cut(matrix.shape[0], _ROWS), _cut(matrix.shape[1], _COLUMNS)
    shown = np.array([matrix[r, c] for r in rows for c in columns if r is not None and c is not None])
    texts = iter(_texts(shown))
    body = []
    for r in rows:
        cells = []
        for c in columns:
            if r is None or c is None:
                cells.append(f'<td style="{_CELL};text-align:center;opacity:.6">…</td>')
                continue
            cells.append(f'<td style="{_CELL};{_shade(float(matrix[r, c]), top)}">{next(texts)}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    caption = f'<div style="opacity:.75">[{", ".join("0" for _ in first)}, :, :]</div>' if first else ""
    return f'{caption}<table style="border-collapse:collapse;color:inherit;font:inherit">{"".join(body)}</table>'


def _texts(values: Array) -> list[str]:
    """Each value as repr writes it beside the others."""
    width = 2**62
    listed = np.array2string(values, separator="\t", threshold=width, max_line_width=width, **_notation(values))
    return listed[1:-1].split("\t")


def _shade(value: float, top: float) -> str:
    """The background of a cell: the stronger, the further from 0."""
    if not np.isfinite(value):
        return "font-weight:bold"
    strength = _STRONGEST * abs(value) / top if top else 0.0
    return f"background:rgba({_ORANGE if value < 0 else _BLUE},{strength:.2f})" if strength >= 0.005 else ""
