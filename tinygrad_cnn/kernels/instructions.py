"""How vector code is written: instructions of LLVM, emitted into the loops that numba compiles.

`emits` makes a function of integers (addresses, bytes and counts) that compiled loops can call. A vector has LANES
float32. Importing this module imports numba; AVAILABLE says whether the processor has what it takes. numba's copy on
disk of a loop is as old as the loop's own file: touch that file too after a change here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compiled import Loop

# What the processor has, or NUMBA_CPU_FEATURES ("+avx2,-avx512f") says.
_said = numba.config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()
_has = {name[1:] for name in _said.split(",") if name.startswith("+")}
# Older LLVMs name the instructions that load and store some lanes otherwise.
AVAILABLE = llvm.llvm_version_info[0] >= 16 and ("avx512f" in _has or {"avx2", "fma"} <= _has)
LANES = 16 if "avx512f" in _has else 8
FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)


def njit(function: Callable[..., Any]) -> Any:
    """A compiled loop without the GIL, kept on disk if a folder is writable."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # no folder is writable
        return numba.njit(**options)(function)


class Contiguous(Loop):
    """A loop that steps through memory by addresses, and so refuses arrays with gaps or another order."""

    def __call__(self, *args: Any) -> Any:
        for value in args:
            if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
                raise ValueError(f"{self.python.__name__}: an array of shape {value.shape} is not contiguous")
        return super().__call__(*args)


def entry(function: Callable[..., Any]) -> Loop:
    """The same for a loop that Python calls: what compiling takes is counted, and said once."""
    return Contiguous(function, njit(function))


def emits(names: str, write: Callable[..., None]) -> Any:
    """A function of integers (addresses, bytes and counts) that compiled loops can call: `write` emits its body."""

    def body(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        write(builder, *values)
        return context.get_dummy_value()

    arguments = names.split()
    scope = {"signature": types.void(*[types.int64] * len(arguments)), "body": body}
    # an intrinsic needs a function with named arguments
    exec(f"def emitted(context, {', '.join(arguments)}):\n    return signature, body", scope)
    return intrinsic(scope["emitted"])


def at(b: Any, address: Any, *steps: tuple[Any, int]) -> Any:
    """address + the sum of step * count."""
    for step, count in steps:
        address = b.add(address, b.mul(step, INT(count)))
    return address


def pointer(b: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to values of this kind."""
    return b.inttoptr(address, kind.as_pointer())


def load(b: Any, address: Any, kind: Any = VECTOR) -> Any:
    """The vector at an address, of any alignment."""
    return b.load(pointer(b, address, kind), align=4)


def store(b: Any, value: Any, address: Any) -> None:
    """Write a vector at an address, of any alignment."""
    b.store(value, pointer(b, address, value.type), align=4)


def first_lanes(b: Any, count: Any, lanes: int) -> Any:
    """The mask of the first `count` lanes."""
    numbers = ir.Constant(ir.VectorType(INT, lanes), list(range(lanes)))
    return b.icmp_signed("<", numbers, all_lanes(b, count, lanes))


def all_lanes(b: Any, scalar: Any, lanes: int) -> Any:
    """A vector of one value."""
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    single = b.insert_element(nothing, scalar, ir.IntType(32)(0))
    return b.shuffle_vector(single, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def load_some(b: Any, address: Any, mask: Any) -> Any:
    """Load the lanes of a mask, zeros elsewhere; what lies there is not touched."""
    lanes = mask.type.count
    kind = ir.VectorType(FLOAT, lanes)
    shape = ir.FunctionType(kind, [kind.as_pointer(), ir.IntType(32), mask.type, kind])
    found = cgutils.get_or_insert_function(b.module, shape, f"llvm.masked.load.v{lanes}f32.p0")
    return b.call(found, [pointer(b, address, kind), ir.IntType(32)(4), mask, ir.Constant(kind, [0.0] * lanes)])


def store_some(b: Any, value: Any, address: Any, mask: Any) -> None:
    """Write the lanes of a mask, float32 or int32; what lies beside them is not touched."""
    shape = ir.FunctionType(ir.VoidType(), [value.type, value.type.as_pointer(), ir.IntType(32), mask.type])
    kind = "f32" if isinstance(value.type.element, ir.FloatType) else "i32"
    found = cgutils.get_or_insert_function(b.module, shape, f"llvm.masked.store.v{mask.type.count}{kind}.p0")
    b.call(found, [value, pointer(b, address, value.type), ir.IntType(32)(4), mask])


class Value:
    """A vector of the code being emitted, with arithmetic. A product and a sum may be rounded once (FMA)."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __add__(self, other: Value) -> Value:
        return Value(self.builder, self.builder.fadd(self.value, other.value, flags=("contract",)))

    def __sub__(self, other: Value) -> Value:
        return Value(self.builder, self.builder.fsub(self.value, other.value, flags=("contract",)))

    def __rmul__(self, factor: float) -> Value:
        constant = ir.Constant(VECTOR, [factor] * LANES)
        return Value(self.builder, self.builder.fmul(constant, self.value, flags=("contract",)))
