"""Templates of ops that move values, reduce them or multiply matrices."""

from math import prod

from ..ops import arrange, einsum, index, layout, magnitude, matmul, reduce, scan, scatter, softmax
from .templates import Call, shown_index, template

# Values moved


template(layout.reshape, "{x}.reshape({out_shape})", x="{g}.reshape({x_shape})")
template(
    layout.permute,
    "{x}.transpose({dims})",
    x=lambda call: f"{call['g']}.transpose({call.literal('dims', layout.inverse(call.params['dims']))})",
)
template(
    layout.pad,
    "np.pad({x}, {widths}, constant_values={value})",
    x=lambda call: f"{call['g']}[{_inner(call)}]",
)
template(layout.flipped, "np.flip({x}, {axes})", x="np.flip({g}, {axes})")
template(
    arrange.rolled,
    "np.roll({x}, {shifts}, {axis})",
    x=lambda call: (
        f"np.roll({call['g']}, {call.literal('shifts', tuple(-n for n in call.params['shifts']))}, {call['axis']})"
    ),
)
template(
    index.getitem,
    lambda call: f"{call['x']}[{shown_index(call)}]",
    x=lambda call: f"added_at({call['g']}, np.index_exp[{shown_index(call)}], {call['x_shape']})",
)
template(
    index.take_along_axis,
    "np.take_along_axis({x}, {indices}, {axis})",
    x="added_along({g}, {indices}, {axis}, {x_shape})",
)
template(
    scatter.gather,
    "gathered({x}, {axis}, {index})",
    x="added_along({g}, {index}, {axis}, {x_shape})",
)


def _inner(call: Call) -> str:
    """What lies within the padding."""
    widths = zip(call.params["widths"], call.shape(), strict=True)
    return ", ".join(f"{before}:{before + n}" for (before, _), n in widths)


def _slices(call: Call) -> str:
    """The stretch of the joined array that is one input's."""
    axis = call.params["axis"] % len(call.out_shape)
    start = sum(shape[axis] for shape in call.shapes[: call.index])
    return f"{call['g']}[{':, ' * axis}{start}:{start + call.shapes[call.index][axis]}]"


def _one_of_stack(call: Call) -> str:
    axis = call.params["axis"] % len(call.out_shape)
    return f"{call['g']}[{':, ' * axis}{call.index}]"


template(layout.concatenate, "np.concatenate([{xs}], {axis})", xs=_slices)
template(layout.stacked, "np.stack([{xs}], {axis})", xs=_one_of_stack)


# Reductions


def _over(call: Call) -> str:
    return f"axis={call['axes']}, keepdims={call.params['keepdims']}"


def _kept(call: Call, name: str) -> str:
    """An array of the reduced shape, with the reduced axes put back at length 1."""
    axes = call.axes()
    shape = tuple(1 if i in axes else n for i, n in enumerate(call.shape()))
    text = call[name]
    return text if shape == call.out_shape else f"{text}.reshape({call.literal('shape', shape)})"


def _count(call: Call) -> int:
    return prod(call.shape()[i] for i in call.axes())


def _deviation(call: Call) -> str:
    return f"({call['x']} - {call['x']}.mean(axis={call['axes']}, keepdims=True))"


def _free(call: Call) -> str:
    """n - correction"""
    free = max(_count(call) - call.params["correction"], 0)
    return call.literal("free", float(free))


template(
    reduce.sum,
    lambda call: f"{call['x']}.sum({_over(call)})",
    x=lambda call: f"np.broadcast_to({_kept(call, 'g')}, {call['x_shape']})",
)
template(
    reduce.mean,
    lambda call: f"{call['x']}.mean({_over(call)})",
    x=lambda call: f"np.broadcast_to({_kept(call, 'g')} / {_count(call) or 1}, {call['x_shape']})",
)
template(
    reduce.var,
    lambda call: f"({_deviation(call)} ** 2).sum({_over(call)}) / {_free(call)}",
    x=lambda call: f"{_kept(call, 'g')} * 2 * {_deviation(call)} / {_free(call)}",
)
template(
    magnitude.std,
    lambda call: f"np.sqrt(({_deviation(call)} ** 2).sum({_over(call)}) / {_free(call)})",
    x=lambda call: (
        f"{_kept(call, 'g')} * {_deviation(call)} / "
        f"({_free(call)} * np.where({_kept(call, 'out')} == 0, 1, {_kept(call, 'out')}))"
    ),
)
for _op, _name in ((reduce.amax, "max"), (reduce.amin, "min")):
    template(
        _op,
        lambda call, name=_name: f"{call['x']}.{name}({_over(call)})",
        x=lambda call: (
            f"{_kept(call, 'g')} * share_of_winners({call['x']}, {_kept(call, 'out')}, {call['axes']}, {call['ties']})"
        ),
    )
template(
    reduce.logsumexp,
    "logsumexp({x}, {axes}, {keepdims})",
    x=lambda call: f"{_kept(call, 'g')} * np.exp({call['x']} - {_kept(call, 'out')})",
)
template(
    magnitude.power_norm,
    lambda call: f"(np.abs({call['x']}) ** {call['p']}).sum({_over(call)}) ** (1 / {call['p']})",
    x=lambda call: (
        f"{_kept(call, 'g')} * norm_slope({call['x']}, {_kept(call, 'out')}, {call['p']})"
        + (f" + np.where({_kept(call, 'out')} == 0, {call['at_zero']}, 0)" if call.params["at_zero"] else "")
    ),
)
template(
    scan.prod,
    lambda call: f"{call['x']}.prod({_over(call)})",
    x=lambda call: f"{_kept(call, 'g')} * {_others(call)}",
)
template(scan.cumprod, "np.cumprod({x}, {axis})", x="running_products_gradient({g}, {x}, {axis})")
template(scan.cumsum, "np.cumsum({x}, {axis})", x="np.flip(np.cumsum(np.flip({g}, {axis}), {axis}), {axis})")
template(softmax.softmax, "softmax({x}, {axes})", x="({g} - ({g} * {out}).sum(axis={axes}, keepdims=True)) * {out}")
template(
    softmax.log_softmax,
    "log_softmax({x}, {axes})",
    x="{g} - np.exp({out}) * {g}.sum(axis={axes}, keepdims=True)",
)


def _others(call: Call) -> str:
    """The product of all other elements of the reduced axes."""
    shape, axes = call.shape(), call.axes()
    order = (*(i for i in range(len(shape)) if i not in axes), *axes)
    lengths = tuple(shape[i] for i in order)
    rows = (*lengths[: len(shape) - len(axes)], prod(lengths[len(shape) - len(axes) :]))
    moved = f"{call['x']}.transpose({call.literal('dims', order)}).reshape({call.literal('shape', rows)})"
    back = call.literal("dims", layout.inverse(order) if order else ())
    return f"products_of_others({moved}).reshape({call.literal('shape', lengths)}).transpose({back})"


# Products


def _left(call: Call) -> str:
    g, y, (x_shape, y_shape) = call["g"], call["y"], call.shapes
    if len(y_shape) == 1:
        return f"np.expand_dims({g}, -1) * {y}"
    if len(x_shape) == 1:
        return f"sum_to(({y} @ np.expand_dims({g}, -1))[..., 0], {call['x_shape']})"
    return f"sum_to({g} @ {y}.swapaxes(-2, -1), {call['x_shape']})"


def _right(call: Call) -> str:
    g, x, (x_shape, y_shape) = call["g"], call["x"], call.shapes
    if len(x_shape) == 1:
        return f"{g} * {x}" if len(y_shape) == 1 else f"np.expand_dims({x}, -1) * np.expand_dims({g}, -2)"
    if len(y_shape) == 1:
        return f"sum_to(({x}.swapaxes(-2, -1) @ np.expand_dims({g}, -1))[..., 0], {call['y_shape']})"
    return f"sum_to({x}.swapaxes(-2, -1) @ {g}, {call['y_shape']})"


template(matmul.matmul, "{x} @ {y}", x=_left, y=_right)
template(
    matmul.linear,
    lambda call: f"{call['x']} @ {call['w']}.T" + (f" + {call['b']}" if call.given("b") else ""),
    x="{g} @ {w}",
    w=lambda call: (
        f"{call['g']}.T @ {call['x']}"
        if len(call.shape()) == 2
        else f"{call['g']}.reshape(-1, {call.shape('w')[0]}).T @ {call['x']}.reshape(-1, {call.shape('w')[1]})"
    ),
    b=lambda call: (
        f"{call['g']}.sum(axis={call.literal('axis', tuple(range(len(call.out_shape) - 1)))})"
        if len(call.out_shape) > 1
        else call["g"]
    ),
)


def _einsum(arrays: list[str], terms: list[tuple[int, ...]], kept: tuple[int, ...]) -> str:
    parts = ", ".join(f"{name}, {list(term)}" for name, term in zip(arrays, terms, strict=True))
    return f"np.einsum({parts}, {list(kept)})"


def _contraction_gradient(call: Call) -> str:
    """The product of g and all other arrays, over the labels that this one lacks."""
    terms, k = [tuple(term) for term in call.params["terms"]], call.index
    arrays = [str(name) for name in call.names]
    arrays[k], around = call["g"], [*terms]
    around[k] = tuple(call.params["kept"])
    shape = call.shapes[k]
    lengths = {label: 1 for term in terms for label in term}
    for term, of in zip(terms, call.shapes, strict=True):
        for label, n in zip(term, of, strict=True):
            lengths[label] = n if n != 1 else lengths[label]
    there = [(term, call.shapes[i] if i != k else call.out_shape) for i, term in enumerate(around)]
    longest = {
        label: max(n for term, of in there for x, n in zip(term, of, strict=True) if x == label)
        for label in {x for term in around for x in term}
    }
    missing = tuple(label for label in terms[k] if longest.get(label, 0) < lengths[label])
    if missing:  # summed over alone: the gradient is the same along them
        ones = call.literal("shape", tuple(lengths[label] for label in missing))
        arrays, around = [*arrays, f"np.ones({ones}, {call['g']}.dtype)"], [*around, missing]
    text = _einsum(arrays, around, terms[k])
    full = tuple(lengths[label] for label in terms[k])
    return text if full == tuple(shape) else f"sum_to({text}, {call.literal('shape', tuple(shape))})"


def _contraction(call: Call) -> str:
    arrays, terms = [str(name) for name in call.names], [tuple(term) for term in call.params["terms"]]
    return _einsum(arrays, terms, tuple(call.params["kept"]))


template(einsum.contraction, _contraction, xs=_contraction_gradient)
