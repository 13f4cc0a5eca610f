"""New Tensors: of given values, of one number, of equal steps, and of random numbers.

Sizes stand loose or in a tuple. Floats are float32 unless a dtype is given, integers int64. Random numbers come from
`generator`, the thread's own unless given.
"""

from typing import Any

import numpy as np

from .devices import check_device
from .dtypes import default_float, element_type
from .graph import Tensor, from_numpy, method, wrap
from .ops.elementwise import array_of
from .ops.layout import cast, sizes_of
from .random import source
from .shapes import ShapeError, is_int

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "is_tensor",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
]

Generator = np.random.Generator | None


def _new(array: Any, dtype: Any, device: Any, requires_grad: bool, name: str) -> Tensor:
    """A Tensor of a fresh array."""
    check_device(name, device)
    wanted = element_type(name, array.dtype if dtype is None else dtype)
    with np.errstate(all="ignore"):
        found = wrap(np.asarray(array, wanted))
    return found.requires_grad_() if requires_grad else found


def _check_holds(name: str, dtype: Any, least: Any, largest: Any) -> None:
    """Raise ValueError unless integers from `least` to `largest` keep their values in a dtype of bool or integers."""
    if dtype is None or (kind := np.dtype(dtype)).kind not in "biu":
        return
    low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    if least < low or largest > high:
        raise ValueError(
            f"{name}: numbers from {least} to {largest} do not fit into {kind}, which holds {low} to {high}; "
            "choose another dtype"
        )


def _shape(name: str, sizes: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    shape = sizes_of(name, sizes, size=size)
    if not all(is_int(n) and n >= 0 for n in shape):
        raise ShapeError(f"{name}: size {shape}; integers >= 0 are needed")
    return tuple(int(n) for n in shape)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of the data, copied: numbers, nested lists, an array or a Tensor. Lists of floats become float32."""
    check_device("tensor", device)
    if isinstance(data, (list, tuple)) and any(isinstance(row, Tensor) for row in data):
        data = np.array([array_of(row) for row in data])
    return Tensor(data, requires_grad, dtype)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a Tensor: a Tensor of that dtype itself, a native-endian array sharing its memory, anything else
    copied."""
    check_device("as_tensor", device)
    if isinstance(data, Tensor):
        kind = data.dtype if dtype is None else element_type("as_tensor", dtype)
        return data if kind == data.dtype else cast(data, kind)
    if isinstance(data, np.ndarray) and (dtype is None or np.dtype(dtype) == data.dtype) and data.dtype.isnative:
        return from_numpy(data)
    return tensor(data, dtype)


def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def zeros(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros: zeros(2, 3) or zeros((2, 3))."""
    return _new(np.zeros(_shape("zeros", sizes, size), dtype or default_float), dtype, device, requires_grad, "zeros")


def ones(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones: ones(2, 3) or ones((2, 3))."""
    return _new(np.ones(_shape("ones", sizes, size), dtype or default_float), dtype, device, requires_grad, "ones")


def empty(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory to be written to, whatever it holds: empty(2, 3) or empty((2, 3))."""
    return _new(np.empty(_shape("empty", sizes, size), dtype or default_float), dtype, device, requires_grad, "empty")


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One number throughout; a float gives float32, an int int64, a bool bool."""
    value = array_of(fill_value)
    if np.ndim(value) != 0:
        raise ValueError(f"full: the value has shape {np.shape(value)}; one number is needed")
    kind = default_float if isinstance(value, float) else np.asarray(value).dtype
    with np.errstate(all="ignore"):
        array = np.full(_shape("full", (size,)), value, dtype or kind)
    return _new(array, dtype, device, requires_grad, "full")


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """(n m) with ones where row and column are the same, m = n unless given."""
    shape = _shape("eye", (n, n if m is None else m))
    return _new(np.eye(*shape, dtype=dtype or default_float), dtype, device, requires_grad, "eye")


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; arange(end) starts from 0. Integers give int64, floats float32."""
    start, end = (0, start) if end is None else (start, end)
    numbers = [getattr(array_of(v), "item", lambda v=v: v)() for v in (start, end, step)]
    if numbers[2] == 0 or (numbers[1] - numbers[0]) * numbers[2] < 0:
        raise ValueError(f"arange: from {numbers[0]} to {numbers[1]} in steps of {numbers[2]}; end is never reached")
    kind = np.dtype(np.int64) if all(isinstance(v, int) for v in numbers) else default_float
    steps = np.arange(*numbers)
    if steps.size:
        _check_holds("arange", dtype, steps.min(), steps.max())
    return _new(steps, dtype or kind, device, requires_grad, "arange")


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` numbers of equal distance from start to end, both included."""
    if not is_int(steps) or steps < 0:
        raise ValueError(f"linspace: steps={steps!r}; an integer >= 0 is needed")
    return _new(np.linspace(start, end, steps), dtype or default_float, device, requires_grad, "linspace")


def _uniform(shape: tuple[int, ...], dtype: Any, generator: Generator) -> Any:
    draw, kind = source(generator), element_type("rand", dtype or default_float)
    if kind.kind != "f":
        raise TypeError(f"rand: dtype {kind}; it must be a float")
    if kind == np.float16:  # float32 numbers near 1 would be rounded to it
        return (draw.integers(0, 2**11, shape) / 2**11).astype(kind)
    return draw.random(shape, dtype=kind.type)


def _normal(shape: tuple[int, ...], dtype: Any, generator: Generator) -> Any:
    draw, kind = source(generator), element_type("randn", dtype or default_float)
    if kind.kind != "f":
        raise TypeError(f"randn: dtype {kind}; it must be a float")
    drawn = draw.standard_normal(shape, dtype=np.float64 if kind == np.float64 else np.float32)
    return np.asarray(drawn, kind)


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Evenly distributed numbers, 0 <= x < 1."""
    array = _uniform(_shape("rand", sizes, size), dtype, generator)
    return _new(array, dtype, device, requires_grad, "rand")


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normally distributed numbers of mean 0 and variance 1."""
    array = _normal(_shape("randn", sizes, size), dtype, generator)
    return _new(array, dtype, device, requires_grad, "randn")


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers low <= x < high, as int64: randint(low, high, size), or randint(high, size) from 0."""
    if size is None:
        low, high, size = 0, low, high
    if size is None or not (is_int(low) and is_int(high) and low < high):
        raise ValueError(f"randint: low={low!r}, high={high!r}, size={size!r}; low < high and a size are needed")
    _check_holds("randint", np.int64, low, high - 1)
    _check_holds("randint", dtype, low, high - 1)
    array = source(generator).integers(low, high, _shape("randint", (size,)))
    return _new(array, dtype, device, requires_grad, "randint")


def randperm(n: int, *, generator: Generator = None, dtype: Any = None, device: Any = None) -> Tensor:
    """0 to n - 1 in random order, as int64."""
    (n,) = _shape("randperm", (n,))
    _check_holds("randperm", dtype, 0, n - 1)
    return _new(source(generator).permutation(n), dtype, device, False, "randperm")


def _like(input: Any, dtype: Any) -> tuple[tuple[int, ...], Any]:
    return tuple(input.shape), np.dtype(input.dtype if dtype is None else dtype)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return zeros(shape, dtype=kind, device=device, requires_grad=requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return ones(shape, dtype=kind, device=device, requires_grad=requires_grad)


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory to be written to, of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return empty(shape, dtype=kind, device=device, requires_grad=requires_grad)


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number throughout, of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return full(shape, fill_value, dtype=kind, device=device, requires_grad=requires_grad)


def rand_like(
    input: Any, *, generator: Generator = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Evenly distributed numbers, 0 <= x < 1, of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return rand(shape, generator=generator, dtype=kind, device=device, requires_grad=requires_grad)


def randn_like(
    input: Any, *, generator: Generator = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normally distributed numbers of the input's shape and dtype."""
    shape, kind = _like(input, dtype)
    return randn(shape, generator=generator, dtype=kind, device=device, requires_grad=requires_grad)


def randint_like(
    input: Any,
    low: int,
    high: int | None = None,
    *,
    generator: Generator = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers low <= x < high of the input's shape and dtype; from 0 to low where high is not given."""
    shape, kind = _like(input, dtype)
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, shape, generator=generator, dtype=kind, device=device, requires_grad=requires_grad)


@method
def new_tensor(x: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of the data, copied, with the dtype of x unless another is given."""
    return tensor(data, x.dtype if dtype is None else dtype, device, requires_grad)


@method
def new_zeros(x: Tensor, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of this size, with the dtype of x unless another is given."""
    return zeros(*sizes, dtype=x.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad)


@method
def new_ones(x: Tensor, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of this size, with the dtype of x unless another is given."""
    return ones(*sizes, dtype=x.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad)


@method
def new_empty(x: Tensor, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory to be written to, with the dtype of x unless another is given."""
    return empty(*sizes, dtype=x.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad)


@method
def new_full(
    x: Tensor, size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number throughout, with the dtype of x unless another is given."""
    kind = x.dtype if dtype is None else dtype
    return full(size, fill_value, dtype=kind, device=device, requires_grad=requires_grad)
