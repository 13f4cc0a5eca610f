"""Formulas evaluated: the proof that what an op declares to readers is what its rule computes.

The functions are written from their definitions, with plain loops, and call no rule and no kernel of an op.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..declaration import Op
from ..geometry import conv2d_geometry, pool2d_geometry
from ..notation import LEGEND, Expression, parse
from ..shapes import normalize_axes
from . import formulas_adaptive

Array = NDArray[Any]

_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: (a == b) | ((a != a) & (b != b)),  # nan is the maximum of what holds a nan
    "≠": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "≤": np.less_equal,
    "≥": np.greater_equal,
}


class Scene:
    """One call of an op with the gradient of its output: what the names in its formulas stand for."""

    def __init__(self, op: Op, arrays: Sequence[Any], params: dict[str, Any], out: Any, cotangent: Any) -> None:
        self.op, self.params = op, {**op.defaults, **params}
        self.arrays = [*arrays, *[None] * (len(op.inputs) - len(arrays))]
        self.values = {"out": np.asarray(out), "∂out": np.asarray(cotangent)}
        self.first: Array = self.arrays[0]
        self.place = 0
        self.matrices = False

    def gradient(self, place: int, formula: str | None = None) -> Array:
        """The gradient of the input at `place`, by its formula or by the one given."""
        name = self.op.variadic or self.op.inputs[place]
        tree = parse(self.op.formulas[name] if formula is None else formula)
        before = self.place, self.matrices
        self.place, self.matrices = place, any(e.text == "@" for e in tree.walk())
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(self.evaluate(tree), np.float64)
                return _fit(found, self.lifted(place).shape).reshape(self.target.shape)
        finally:
            self.place, self.matrices = before

    @property
    def target(self) -> Array:
        """The input whose gradient is computed."""
        return np.asarray(self.arrays[self.place])

    def evaluate(self, e: Expression) -> Any:
        """The value of a node."""
        if e.kind == "number":
            return float(e.text)
        if e.kind == "name":
            return self.value(e.text)
        if e.kind == "indicator":
            return self.holds(e) * 1.0
        if e.kind == "function":
            base, _, axes = e.text.partition("_")
            if base in ("Σ", "mean"):
                return self.reduce(base, axes, self.evaluate(e.parts[0]))
            if e.text not in FUNCTIONS:
                raise ValueError(f"{self.op.name}: its formula has {e.text}(...); there are {', '.join(FUNCTIONS)}")
            return FUNCTIONS[e.text](self, *map(self.evaluate, e.parts))
        if e.kind == "sign" and e.text == "·":
            a, b = (1.0 if v is None else v for v in map(self.evaluate, e.parts))
            for part, other in ((e.parts[0], b), (e.parts[1], a)):
                if part.kind == "indicator":  # zero whatever the other is (Knuth, Two notes on notation, 1992)
                    return np.where(self.holds(part), other, 0.0)
            return a * b
        if e.kind == "index":
            values, index = map(self.evaluate, e.parts)
            return values[int(index) if isinstance(values, list) else index]
        parts = [1.0 if v is None else v for v in map(self.evaluate, e.parts)]
        if e.kind == "minus":
            return -parts[0]
        if e.kind == "transpose":
            return np.swapaxes(parts[0], -1, -2)
        return parts[0] ** 2 if e.kind == "square" else _SIGNS[e.text](self, *parts)

    def holds(self, e: Expression) -> Any:
        """Where all relations of an indicator hold, as booleans."""
        values = list(map(self.evaluate, e.parts))
        if len(values) == 1:
            return np.asarray(values[0], np.bool_) ^ (e.text == "¬")
        found = np.asarray(True)
        for sign, a, b in zip(e.text, values, values[1:], strict=False):
            if a is not None and b is not None:
                found = found & _RELATIONS[sign](a, b)
        return found

    def value(self, name: str) -> Any:
        """What a name stands for. Raises ValueError for a name that the op does not have."""
        op, unknown = self.op, ValueError(f"{self.op.name}: its formula speaks of {name!r}, which it does not have")
        if name in self.values:
            return self.restored(self.values[name])
        if name in op.inputs:
            return self.arrays if op.variadic else self.lifted(op.inputs.index(name))
        if name in op.params:
            return self.params[name]
        if name.startswith("∂") and name[1:] in op.inputs and op.inputs.index(name[1:]) != self.place:
            return self.gradient(op.inputs.index(name[1:]))
        base, _, axes = name.rpartition("_")
        if base and axes in ("c", "nhw"):
            values = self.value(base)
            if values is None or not np.ndim(values):
                return values
            if axes == "nhw":
                return np.expand_dims(values, self.channels) if values.ndim < self.first.ndim else values
            return np.reshape(values, (-1,) + (1,) * (self.first.ndim - 1 - self.channels))
        if name not in LEGEND:
            raise unknown
        return _NAMED[name](self)

    @property
    def channels(self) -> int:
        """The axis of channels or classes: 1, or 0 without a batch."""
        return 1 if self.first.ndim > 1 else 0

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that the op works along."""
        if "axis" not in self.op.params:
            return (self.channels,) if "reduction" in self.op.params else ()
        return normalize_axes(self.params["axis"], self.first.ndim, self.op.name) if self.first.ndim else ()

    def lifted(self, place: int) -> Any:
        """An input; a vector in a matrix product as a row (the first input) or a column (the second)."""
        values = self.arrays[place]
        if self.matrices and np.ndim(values) == 1 and place < 2:
            return values[None, :] if place == 0 else values[:, None]
        return values

    def restored(self, values: Array) -> Array:
        """out or ∂out with the axes that the op reduced at length one."""
        if self.matrices:
            second = self.arrays[1].ndim == 1
            values = values[..., None] if second else values
            return values[..., None, :] if self.first.ndim == 1 else values
        if values.ndim < self.first.ndim and values.ndim == self.first.ndim - len(self.axes):
            return np.expand_dims(values, self.axes)
        return values

    def reduce(self, name: str, axes: str, values: Any) -> Any:
        values = np.asarray(1.0 if values is None else values)
        if axes == "c":
            over: tuple[int, ...] = (min(1, values.ndim - 1),)
        elif axes == "rows":
            over = tuple(range(values.ndim - 1))
        elif axes:
            raise ValueError(f"{self.op.name}: its formula has {name}_{axes}; there are {name}, {name}_c, {name}_rows")
        elif "axis" in self.op.params:
            over = self.axes
        else:
            over = tuple(i for i in range(values.ndim) if i != 1)
        total = values.sum(axis=over, keepdims=True)
        return total if name == "Σ" else total / np.prod([values.shape[i] for i in over])


def _fit(values: Array, shape: tuple[int, ...]) -> Array:
    """Summed or stretched to `shape`, as broadcasting had it; else without its axes of length one."""
    lead = values.ndim - len(shape)
    if lead > 0 and _broadcast(values.shape, shape) != values.shape:
        return values.reshape(shape)
    extra = tuple(range(max(lead, 0))) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and i + lead >= 0 and values.shape[i + lead] != 1
    )
    summed = values.sum(axis=extra, keepdims=True)
    return np.broadcast_to(summed.reshape(summed.shape[max(lead, 0) :]), shape)


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


# Windows


def _geometry(scene: Scene, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> Any:
    """Where the op's windows stand on images of `x_shape`."""
    params = scene.params
    if "kernel_size" in params:
        dilation = params.get("dilation", 1)
        return pool2d_geometry(
            x_shape, params["kernel_size"], params["stride"], params["padding"], dilation, params["ceil_mode"]
        )
    return conv2d_geometry(x_shape, w_shape, *(params[k] for k in ("stride", "padding", "dilation", "groups")))


def _cells(at: Any, size: Sequence[int], out: Sequence[int], *, outside: bool = False) -> Iterator[tuple[Any, ...]]:
    """(i, j), (p, q), (row, column): window, place in it, and the cell of the image that lies there."""
    for i, j, p, q in product(*map(range, (*out, *at.kernel))):
        r = i * at.stride[0] + p * at.dilation[0] - at.padding[0][0]
        s = j * at.stride[1] + q * at.dilation[1] - at.padding[1][0]
        if outside or (0 <= r < size[0] and 0 <= s < size[1]):
            yield (i, j), (p, q), (r, s)


def _kernel(scene: Scene, w: Any, channels: int) -> tuple[Array, int]:
    """(the kernels, how many groups); a number stands for windows full of it, channel by channel."""
    if isinstance(w, np.ndarray):
        return w, int(scene.params["groups"])
    size = pool2d_geometry((1, 1, 10**6, 10**6), scene.params["kernel_size"]).kernel
    return np.full((channels, 1, *size), w), channels


def _dense(w: Array, groups: int) -> Array:
    """Kernels of groups as kernels over all channels, zero outside their group: (o c/groups ..) -> (o c ..)"""
    o, c = w.shape[:2]
    full = np.zeros((o, c * groups, *w.shape[2:]))
    for k in range(o):
        first = k // (o // groups) * c
        full[k, first : first + c] = w[k]
    return full


def _correlate(scene: Scene, x: Any, w: Any) -> Array:
    w, groups = _kernel(scene, w, x.shape[1])
    y = np.zeros((x.shape[0], w.shape[0], *scene.target.shape[2:]))
    full = _dense(w, groups)
    for (i, j), (p, q), (r, s) in _cells(_geometry(scene, x.shape, w.shape), x.shape[2:], y.shape[2:]):
        y[:, :, i, j] += x[:, :, r, s] @ full[:, :, p, q].T
    return y


def _image_adjoint(scene: Scene, g: Any, w: Any) -> Array:
    w, groups = _kernel(scene, w, g.shape[1])
    x = np.zeros(scene.target.shape)
    full = _dense(w, groups)
    for (i, j), (p, q), (r, s) in _cells(_geometry(scene, x.shape, w.shape), x.shape[2:], g.shape[2:]):
        x[:, :, r, s] += g[:, :, i, j] @ full[:, :, p, q]
    return x


def _weight_adjoint(scene: Scene, x: Any, g: Any) -> Array:
    w = np.zeros(scene.target.shape)
    o, c = scene.target.shape[:2]
    groups = x.shape[1] // c
    for (i, j), (p, q), (r, s) in _cells(_geometry(scene, x.shape, w.shape), x.shape[2:], g.shape[2:]):
        pairs = g[:, :, i, j].T @ x[:, :, r, s]
        for k in range(o):
            first = k // (o // groups) * c
            w[k, :, p, q] += pairs[k, first : first + c]
    return w


def _count(scene: Scene) -> Any:
    params = scene.params
    if params["divisor_override"] is not None:
        return params["divisor_override"]
    size = scene.first.shape[2:]
    at: Any = _geometry(scene, scene.first.shape, ())
    (top, bottom), (left, right) = at.padding if params["count_include_pad"] else ((0, 0), (0, 0))
    count = np.zeros(at.out)
    for window, _, (r, s) in _cells(at, size, at.out, outside=True):
        count[window] += -top <= r < size[0] + bottom and -left <= s < size[1] + right
    return count


@dataclass(frozen=True)
class _Shares:
    """How much of each window's gradient every cell of the image takes: (n c oh ow h w)."""

    values: Array


def _winners(scene: Scene, x: Any) -> _Shares:
    at = _geometry(scene, x.shape, ())
    shares = np.zeros((*x.shape[:2], *at.out, *x.shape[2:]))
    for n, c in np.ndindex(x.shape[:2]):
        windows: dict[Any, list[Any]] = {}
        for window, _, cell in _cells(at, x.shape[2:], at.out):
            windows.setdefault(window, []).append(cell)
        for window, cells in windows.items():
            inside = [x[n, c, r, s] for r, s in cells]
            top = np.max(inside)
            best = [cell for cell, v in zip(cells, inside, strict=True) if v == top or (v != v and top != top)]
            best = {"first": best[:1], "last": best[-1:], "split": best}[scene.params["ties"]]
            for cell in best:
                shares[(n, c, *window, *cell)] = 1.0 / len(best)
    return _Shares(shares)


# Indices


def _scatter(scene: Scene, g: Any, index: Any) -> Array:
    """Zeros in the input's shape, with every entry of g added at its place."""
    if isinstance(index, _Shares):
        return np.asarray(np.einsum("ncijrs,ncij->ncrs", index.values, g))
    out = np.zeros(scene.target.shape)
    places = np.arange(out.size).reshape(out.shape)[index]
    for place, v in zip(places.ravel(), np.broadcast_to(g, places.shape).ravel(), strict=True):
        out.flat[place] += v
    return out


def _along(scene: Scene, indices: Any, axis: Any) -> tuple[Any, ...]:
    """The NumPy index that picks `indices` along `axis`, and everything along the others."""
    shape = scene.params.get("shape", scene.first.shape)
    grids: list[Any] = list(np.ogrid[tuple(map(slice, shape))])
    grids[axis] = indices
    return tuple(grids)


def _planes(scene: Scene, cells: Any) -> tuple[Any, ...]:
    """The NumPy index of cells that are counted through each image plane."""
    width = scene.params.get("size", scene.first.shape[2:])[1]
    n, c = np.ogrid[: cells.shape[0], : cells.shape[1]]
    lift = (slice(None), slice(None)) + (None,) * (cells.ndim - 2)
    return n[lift], c[lift], cells // width, cells % width


def _split(scene: Scene, values: Any, parts: Any, axis: Any) -> list[Array]:
    stops = np.cumsum([part.shape[axis] for part in parts])
    return [
        np.take(values, range(stop - part.shape[axis], stop), axis) for stop, part in zip(stops, parts, strict=True)
    ]


def _crop(scene: Scene, values: Any, widths: Any) -> Any:
    return values[tuple(slice(before, n - after) for n, (before, after) in zip(values.shape, widths, strict=True))]


def _inverse(scene: Scene, dims: Any) -> list[int]:
    return [[d % len(dims) for d in dims].index(i) for i in range(len(dims))]


def _softmax(scene: Scene, x: Any) -> Array:
    axis = scene.axes or (scene.channels,)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


# Activations


def _half(scene: Scene, x: Any, k: Any) -> Any:
    """The first (0) or the second (1) half of x along the op's axis."""
    return np.split(x, 2, scene.params["axis"])[int(k)]


def _where_in(scene: Scene, index: Any, axis: Any) -> tuple[Any, ...]:
    """The NumPy index of the elements that an index of its own for each of them picks along `axis`."""
    grids: list[Any] = list(np.indices(index.shape))
    grids[axis] = index
    return tuple(grids)


def _hit(scene: Scene, cells: tuple[Any, ...]) -> Array:
    """Which elements of the first input the cells name."""
    found = np.zeros(scene.first.shape, np.bool_)
    for place in zip(*(c.ravel() for c in cells), strict=True):
        found[place] = True
    return found


def _last(scene: Scene, cells: tuple[Any, ...]) -> Array:
    """1 for the last of those that name one element, 0 for those before."""
    places = list(zip(*(c.ravel().tolist() for c in cells), strict=True))
    found = [place not in places[i + 1 :] for i, place in enumerate(places)]
    return np.array(found, np.float64).reshape(cells[0].shape)


# Running sums and products


def _backward(scene: Scene, a: Any, g: Any, axis: int) -> Array:
    """r_k = g_k + a_(k+1) r_(k+1), along `axis`."""
    factors, r = np.moveaxis(np.broadcast_to(a, g.shape), axis, 0), np.moveaxis(np.array(g), axis, 0)
    for k in reversed(range(len(r) - 1)):
        r[k] += factors[k + 1] * r[k + 1]
    return np.moveaxis(r, 0, axis)


def _delayed(scene: Scene, x: Any, first: float, axis: int) -> Array:
    """x_(k−1) at k, and `first` at 0, along `axis`."""
    rows = np.moveaxis(x, axis, 0)
    return np.moveaxis(np.concatenate([np.full_like(rows[:1], first), rows[:-1]]), 0, axis)


def _others(scene: Scene, x: Any) -> Array:
    """For each element the product of all others along the op's axes."""
    out = np.ones(x.shape)
    for at, other in product(np.ndindex(x.shape), np.ndindex(x.shape)):
        same = all(at[i] == other[i] for i in range(x.ndim) if i not in scene.axes)
        out[at] *= x[other] if same and at != other else 1.0
    return out


def _patches(scene: Scene, image: tuple[int, ...], kernel: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(a row of unfolded columns, a column, the cell of an image of this shape that stands there)."""
    params = scene.params
    at = conv2d_geometry(image, (1, image[1], *kernel), params["stride"], params["padding"], params["dilation"])
    for (i, j), (p, q), cell in _cells(at, image[2:], at.out):
        for c in range(image[1]):
            yield (c * kernel[0] + p) * kernel[1] + q, i * at.out[1] + j, (c, *cell)


def _columns(scene: Scene, x: Any, kernel: Any) -> Array:
    out = np.zeros(scene.target.shape)
    for row, column, (c, r, s) in _patches(scene, x.shape, kernel):
        out[:, row, column] = x[:, c, r, s]
    return out


def _overlay(scene: Scene, g: Any, kernel: Any) -> Array:
    out = np.zeros(scene.target.shape)
    for row, column, (c, r, s) in _patches(scene, out.shape, kernel):
        out[:, c, r, s] += g[:, row, column]
    return out


def _reads(scene: Scene) -> Array:
    """(output pixels, input pixels) along one axis, the weights of resampling."""
    params, axis = scene.params, scene.params["axis"]
    n, size = (
        (scene.first.shape[axis], params["size"]) if "size" in params else (params["length"], scene.first.shape[axis])
    )
    step = n / size if params["scale"] is None else 1 / params["scale"]
    weights = np.zeros((size, n))
    for i in range(size):
        if params["kind"].startswith("nearest"):
            shift = 0.5 if params["kind"] == "nearest-exact" else 0.0
            weights[i, min(int(np.float32(i + shift) * np.float32(step)), n - 1)] = 1.0
            continue
        at = (i + 0.5) * step - 0.5
        if params["align_corners"]:
            at = i * (n - 1) / (size - 1) if size > 1 else 0.0
        if params["kind"] == "linear":
            at = max(at, 0.0)
        for cell in range(int(np.floor(at)) - 2, int(np.floor(at)) + 4):
            weights[i, min(max(cell, 0), n - 1)] += _hat(abs(at - cell), params["kind"])
    return weights


def _hat(d: float, kind: str) -> float:
    """The weight of a pixel at distance d: a triangle, or the cubic of Keys with a = -3/4."""
    if kind == "linear":
        return max(0.0, 1.0 - d)
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1.0
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def _apply(scene: Scene, a: Any, x: Any, axis: int) -> Array:
    return np.moveaxis(np.tensordot(a, x, (1, axis)), 0, axis)


def _product(scene: Scene, g: Any, xs: Any, terms: Any, kept: Any) -> Array:
    """For one of several arrays of named axes, the sum of g times the others over all places that meet in it."""
    sizes = {label: n for x, term in zip(xs, terms, strict=True) for label, n in zip(term, x.shape, strict=True)}
    for x, term in zip(xs, terms, strict=True):
        sizes.update({label: max(n, sizes[label]) for label, n in zip(term, x.shape, strict=True)})
    out = np.zeros(scene.target.shape)
    for place in np.ndindex(*sizes.values()):
        at = dict(zip(sizes, place, strict=True))
        value = g[tuple(at[label] for label in kept)]
        cells = [tuple(at[i] % n for i, n in zip(t, x.shape, strict=True)) for t, x in zip(terms, xs, strict=True)]
        for k, (x, cell) in enumerate(zip(xs, cells, strict=True)):
            value = value if k == scene.place else value * x[cell]
        out[cells[scene.place]] += value
    return out


# The names of the legend


def _aimed_at(scene: Scene) -> Array:
    params = scene.params
    x = scene.first
    classes, s = x.shape[scene.channels], params.get("label_smoothing", 0.0)
    if "read" in params:
        onehot = np.zeros(x.shape)
        onehot[params["read"].at] = 1.0
        weight = np.asarray(params["read"].weight)
        weight = np.expand_dims(weight, scene.channels) if weight.ndim else weight
        return np.asarray(params["kept"] * weight * onehot + params["share"])
    weight = np.ones(classes) if params["weight"] is None else np.asarray(params["weight"], np.float64)
    beside = weight.reshape((-1,) + (1,) * (x.ndim - 1 - scene.channels))
    if "target" in scene.op.inputs:
        return np.asarray(beside * ((1 - s) * scene.arrays[1] + s / classes))
    q = np.zeros(x.shape)
    for at in np.ndindex(params["labels"].shape):
        label = int(params["labels"][at])
        if label != params["ignore_index"]:
            row = (*at[: scene.channels], slice(None), *at[scene.channels :])
            q[row] = s * weight / classes
            q[(*at[: scene.channels], label, *at[scene.channels :])] += (1 - s) * weight[label]
    return q


def _divisor(scene: Scene) -> float:
    params = scene.params
    if params["reduction"] != "mean":
        return 1.0
    if "labels" in params:
        kept = [int(t) for t in params["labels"].flat if t != params["ignore_index"]]
        return float(len(kept) if params["weight"] is None else sum(float(params["weight"][t]) for t in kept))
    if "target" in scene.op.inputs:
        return float(scene.first.size / scene.first.shape[scene.channels])
    return float(np.prod(np.broadcast_shapes(*(a.shape for a in scene.arrays))))


def _moments(scene: Scene) -> tuple[Any, Any]:
    """The mean and σ of each channel, given as parameters or those of x."""
    x, params = scene.value("x"), scene.params
    if params.get("var") is not None:
        mean, var = scene.value("mean_c"), scene.value("var_c")
    else:
        mean = scene.reduce("mean", "", x) if params.get("centred", True) else 0.0
        var = scene.reduce("mean", "", (x - mean) ** 2)
    return mean, np.sqrt(var + params["eps"])


def _standardized(scene: Scene) -> Any:
    mean, sigma = _moments(scene)
    return (scene.value("x") - mean) / sigma


_NAMED: dict[str, Callable[[Scene], Any]] = {
    "n": lambda scene: np.float64(scene.first.size) / scene.values["out"].size,
    "N": _divisor,
    "q": _aimed_at,
    "σ": lambda scene: _moments(scene)[1],
    "x̂": _standardized,
    "k": lambda scene: scene.place,
    "count": _count,
    "reads": _reads,
}
_SIGNS: dict[str, Callable[[Scene, Any, Any], Any]] = {
    "+": lambda scene, a, b: a + b,
    "−": lambda scene, a, b: a - b,
    "/": lambda scene, a, b: np.divide(a, b),
    "^": lambda scene, a, b: np.power(a, b),
    "@": lambda scene, a, b: a @ b,
    "⋆": _correlate,
    "⋆ᵀ": _image_adjoint,
    "⋆ʷ": _weight_adjoint,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": lambda scene, x: np.exp(x),
    "log": lambda scene, x: np.log(x),
    "sqrt": lambda scene, x: np.sqrt(x),
    "sin": lambda scene, x: np.sin(x),
    "cos": lambda scene, x: np.cos(x),
    "sign": lambda scene, x: np.sign(x),
    "abs": lambda scene, x: np.abs(x),
    "tanh": lambda scene, x: np.tanh(x),
    "sigmoid": lambda scene, x: 1 / (1 + np.exp(-x)),
    "softplus": lambda scene, x: np.log(1 + np.exp(x)),
    "clip": lambda scene, x, low, high: np.minimum(np.maximum(x, low), high),
    "cdf": lambda scene, x: np.vectorize(math.erfc, otypes=[np.float64])(-x / np.sqrt(2)) / 2,
    "pdf": lambda scene, x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "u": lambda scene, x: np.sqrt(8 / np.pi) * (x + 0.044715 * x**3),  # gelu is about x sigmoid(u(x))
    "du": lambda scene, x: np.sqrt(8 / np.pi) * (1 + 3 * 0.044715 * x**2),
    "half": _half,
    "cat": lambda scene, *parts: np.concatenate(parts, scene.params["axis"]),
    "softmax": _softmax,
    "shape": lambda scene, x: x.shape,
    "reshape": lambda scene, x, shape: np.reshape(x, shape),
    "permute": lambda scene, x, dims: np.transpose(x, dims),
    "inverse": _inverse,
    "flip": lambda scene, x, axis: np.flip(x, axis),
    "crop": _crop,
    "split": _split,
    "take": lambda scene, x, k, axis: np.take(x, k, axis),
    "scatter": _scatter,
    "winners": _winners,
    "along": _along,
    "planes": _planes,
    "cells": _where_in,
    "hit": _hit,
    "last": _last,
    "unroll": lambda scene, x, shifts, axis: np.roll(x, [-n for n in shifts], axis),
    "backward": _backward,
    "delayed": _delayed,
    "others": _others,
    "product": _product,
    "columns": _columns,
    "overlay": _overlay,
    "apply": _apply,
    **formulas_adaptive.FUNCTIONS,
}
