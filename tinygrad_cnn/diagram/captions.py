"""The words of a picture: an op's family and facts, shapes, numbers, bytes and times."""

from typing import Any

from ..graph import Node, Outline
from .skeleton import input_shapes, outlines

# The family of an op by the beginning of its name, first match; the tag says it in words.
_FAMILIES = (
    ("conv", "CONV", ("conv",)),
    ("conv", "LINEAR", ("linear", "matmul")),
    ("loss", "LOSS", ("cross_entropy", "nll", "squared_error")),
    ("act", "ACT", ("relu", "sigmoid", "tanh", "softmax", "log_softmax", "clip")),
    ("pool", "POOL", ("max_pool", "avg_pool", "sum_pool")),
    ("pool", "REDUCE", ("amax", "amin", "mean", "sum", "var", "logsumexp")),
    ("norm", "NORM", ("batch_norm",)),
    ("norm", "DROP", ("drop",)),
    (
        "shape",
        "SHAPE",
        ("reshape", "permute", "broadcast_to", "pad", "flip", "concatenate", "stacked", "getitem", "cast", "clone"),
    ),
)
SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "concatenate": "‖"}
_BRIEF = {"kernel_size": "k", "stride": "s", "padding": "p", "dilation": "d"}
_SECOND = {"sub": "−", "div": "÷", "matmul": "@", "pow": "^"}
_UNSAID = ("labels", "shape")  # parameters that the edges show


def family(op: str) -> tuple[str, str]:
    """The family of an op's name, and its tag."""
    for found, tag, starts in _FAMILIES:
        if op.startswith(starts):
            return found, tag
    return "math", "OP"


def facts(node: Node) -> list[str]:
    """Channels, numbers, and the parameters that differ from their defaults, briefly: 1→8 k3 p1, × 1.5."""
    return _channels(node) + _numbers(node) + settings(node)


def _channels(node: Node) -> list[str]:
    op, said = node.plan.op, []
    shapes = input_shapes(node)
    if op.name.startswith("conv2d") and 0 in shapes and 1 in shapes and len(node.shape) == 4:
        said += [f"{shapes[0][1]}→{node.shape[1]}", f"k{_pair(shapes[1][2:])}"]
    elif op.name == "linear" and 0 in shapes and node.shape:
        said.append(f"{shapes[0][-1]}→{node.shape[-1]}")
    return said


def settings(node: Node) -> list[str]:
    """An op's parameters that differ from their defaults."""
    op, said = node.plan.op, []
    for name, value in node.params.items():
        if name == "index":
            said.append(f"[{', '.join(map(_step, value if isinstance(value, tuple) else (value,)))}]")
        elif name not in _UNSAID and not _holds_array(value) and not _is_default(value, op.defaults.get(name)):
            said.append(f"{_BRIEF[name]}{_pair(value)}" if name in _BRIEF else f"{name}={_short(value)}")
    return said


def _numbers(node: Node) -> list[str]:
    """The plain numbers among an op's inputs, at their place: × 1.5, 1 − x, y=0.5."""
    op = node.plan.op
    numbers = [(i, value) for i, value in node.constants if not isinstance(value, Outline)]
    sign = "^" if op.name == "pow" else SIGNS.get(op.name)
    if sign:
        return [f"{sign} {value:.4g}" if i else f"{value:.4g} {sign} x" for i, value in numbers]
    return [f"{op.variadic or op.inputs[i]}={value:.4g}" for i, value in numbers]


def operand(node: Node, k: int) -> str:
    """What the edge from an op's k-th parent says where the order matters: − for what is subtracted."""
    return _SECOND.get(node.plan.op.name, "") if node.plan.indices[k] == 1 else ""


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, tuple) and value and all(v == default for v in value):
        return True
    return value is None or (type(value) is type(default) and bool(value == default))


def _holds_array(value: Any) -> bool:
    """Whether a parameter is an array or has one in it; a freed graph has them as dtype and shape."""
    if isinstance(value, tuple):
        return any(map(_holds_array, value))
    return hasattr(value, "shape") or (isinstance(value, str) and value.endswith(")"))


def _step(part: Any) -> str:
    """A part of an index as it is written."""
    if isinstance(part, slice):
        start, stop, step = ("" if value is None else str(value) for value in (part.start, part.stop, part.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if _holds_array(part):
        return part if isinstance(part, str) else f"{part.dtype}{part.shape}"
    return "…" if part is Ellipsis else str(part)


def _pair(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return str(value[0]) if len(set(value)) == 1 else "×".join(map(str, value))
    return str(value)


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, float) else f"{value:.4g}"
    return text if len(text) <= 24 else f"{text[:21]}..."


def by(shape: tuple[int, ...]) -> str:
    """A shape as 4×16×8×8."""
    return "×".join(map(str, shape)) or "scalar"


def number(value: float) -> str:
    """Three digits."""
    return f"{value + 0.0:.3g}"  # of -0, no sign


def decimals(value: float) -> str:
    """A result with four decimals, or four digits where decimals would say nothing or too much."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def amount(value: float, unit: str) -> str:
    """A number of bytes or FLOPs with a prefix of thousands: 1.23 MFLOP."""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or prefix == "T":
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return ""


def seconds(value: float) -> str:
    """A time as 1.2 ms."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def percent(share: float) -> str:
    """A share of 1 as 34 %; what is not 0 or 1 does not read so."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def some(words: list[str], most: int = 4, between: str = ", ") -> str:
    """The first words and the last, with … for those in the middle."""
    return between.join(words if len(words) <= most else [*words[: most - 1], "…", words[-1]])


def is_sign(node: Node) -> bool:
    """Whether an op is drawn as a sign: several Tensors and nothing else."""
    tensors = len(node.parents) + sum(1 for _ in outlines(node))
    return node.plan.op.name in SIGNS and tensors > 1
