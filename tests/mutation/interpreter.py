"""Vector code as plain Python: what `emits` is given to write is carried out on NumPy vectors, each address checked.

A `Code` stands where `emits` stands: the same function of integers. An address must lie in an array of the innermost
loop that was called: see `holding`. Integers do not wrap at 64 bits, as nothing of worth does; a product and a sum are
rounded apart, which LLVM may do or not.
"""

import ctypes
import operator
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

from .plain import spend


class Misused(Exception):
    """What the processor would not refuse, and what LLVM leaves undefined: memory of others, and the like."""


# Memory


class _Region:
    """The bytes between the first and the last of an array."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.start, self.stop = np.lib.array_utils.byte_bounds(array) if array.size else (array.ctypes.data,) * 2
        self.bytes = (ctypes.c_ubyte * (self.stop - self.start)).from_address(self.start)
        self.writable = array.flags.writeable
        self.array = array


_frames: list[list[_Region]] = [[]]


def _arrays(values: Any) -> Iterator[np.ndarray[Any, Any]]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, tuple):
            yield from _arrays(value)


@contextmanager
def holding(arguments: tuple[Any, ...]) -> Iterator[None]:
    """For a while these arrays, also those in tuples, are all the memory there is; if none is given, those before."""
    regions = [_Region(array) for array in _arrays(arguments)]
    _frames.append(regions or _frames[-1])
    try:
        yield
    finally:
        _frames.pop()


def held(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop whose vector code may use its arrays, and no others."""

    def called(*arguments: Any) -> Any:
        with holding(arguments):
            return function(*arguments)

    return called


def _place(address: int, size: int, align: int, write: bool) -> tuple[Any, int]:
    """The bytes of the array that has all of these, and where they begin there."""
    if size < 0 or align < 1 or align & (align - 1) or address % align:
        raise Misused(f"{size} bytes at {address}, aligned to {align}")
    for region in _frames[-1]:
        if region.start <= address and address + size <= region.stop and (region.writable or not write):
            return region.bytes, address - region.start
    raise Misused(f"{size} bytes at {address} are {'written' if write else 'read'} outside of the arrays")


_PACKED = {"f": "<f", "d": "<d", "b": "<b", "i": "<i", "q": "<q"}


def _load_number(code: str, size: int, address: int, align: int) -> Any:
    number = struct.unpack_from(_PACKED[code], *_place(address, size, align, False))[0]
    return np.float32(number) if code == "f" else number


def _store_number(code: str, size: int, value: Any, address: int, align: int) -> None:
    struct.pack_into(_PACKED[code], *_place(address, size, align, True), value)


def _load_vector(dtype: Any, lanes: int, address: int, align: int) -> Any:
    return np.frombuffer(*_part(dtype, lanes, address, align, False)).copy()


def _store_vector(value: Any, address: int, align: int) -> None:
    np.frombuffer(*_part(value.dtype, len(value), address, align, True))[:] = value


def _part(dtype: Any, lanes: int, address: int, align: int, write: bool) -> tuple[Any, Any, int, int]:
    region, start = _place(address, lanes * dtype.itemsize, align, write)
    return region, dtype, lanes, start


_seen: dict[bytes, tuple[int, int, bool]] = {}


def _lanes(mask: Any) -> tuple[int, int, bool]:
    """The first lane of a mask, the one behind its last, and whether there are others between."""
    key = mask.tobytes()
    if key not in _seen:
        chosen = np.flatnonzero(mask)
        first, last = (int(chosen[0]), int(chosen[-1]) + 1) if len(chosen) else (0, 0)
        _seen[key] = first, last, len(chosen) < last - first
    return _seen[key]


def _load_masked(address: int, align: int, mask: Any, other: Any) -> Any:
    first, last, holes = _lanes(mask)
    result = other.copy()
    if last:
        size = other.dtype.itemsize
        found = np.frombuffer(*_part(other.dtype, last - first, address + first * size, min(align, size), False))
        result[first:last] = np.where(mask[first:last], found, other[first:last]) if holes else found
    return result


def _store_masked(value: Any, address: int, align: int, mask: Any) -> None:
    first, last, holes = _lanes(mask)
    if last:
        size = value.dtype.itemsize
        to = np.frombuffer(*_part(value.dtype, last - first, address + first * size, min(align, size), True))
        to[:] = np.where(mask[first:last], value[first:last], to) if holes else value[first:last]


def _copy(to: int, source: int, count: int, _: bool) -> None:
    if to < source + count and source < to + count:
        raise Misused("memory is copied to where it is")
    byte = np.dtype(np.uint8)
    if count:
        new = np.frombuffer(*_part(byte, count, source, 1, False))
        np.frombuffer(*_part(byte, count, to, 1, True))[:] = new


def _fill(to: int, value: int, count: int, _: bool) -> None:
    if count:
        np.frombuffer(*_part(np.dtype(np.uint8), count, to, 1, True))[:] = value


# Instructions


def _shifted(x: int, count: int, bits: int, left: bool) -> int:
    if not 0 <= count < bits:
        raise Misused(f"{bits} bits are shifted by {count}")
    return x << count if left else (x & ((1 << bits) - 1)) >> count


def _wrapped(x: int, bits: int) -> int:
    return ((x + (1 << (bits - 1))) & ((1 << bits) - 1)) - (1 << (bits - 1))


def _inserted(vector: Any, value: Any, lane: int) -> Any:
    result = vector.copy()
    result[lane] = value
    return result


def _compared(op: str, x: Any, y: Any) -> Any:
    """As floats: u... are true where one is nan."""
    missing = np.isnan(x) | np.isnan(y)
    if op in ("ord", "uno"):
        return missing if op == "uno" else ~missing
    found = _COMPARED[op[1:]](x, y)
    return found | missing if op[0] == "u" else found & ~missing


_COMPARED = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
_SIGNED = {"slt": "<", "sle": "<=", "sgt": ">", "sge": ">=", "eq": "==", "ne": "!="}
_BINARY = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "fadd": "+", "fsub": "-", "fmul": "*"}
_ALIKE = (ir.CompareInstr, ir.SelectInstr)
_SPACE = {
    "load_number": _load_number, "store_number": _store_number, "load_vector": _load_vector,
    "store_vector": _store_vector, "load_masked": _load_masked, "store_masked": _store_masked, "copy": _copy,
    "fill": _fill, "shifted": _shifted, "wrapped": _wrapped, "inserted": _inserted, "compared": _compared,
    "where": np.where, "abs": np.abs, "float64": np.float64, "Misused": Misused,
}  # fmt: skip


def _letter(kind: Any) -> str:
    """The letter of a type of numbers, in NumPy and in `struct`."""
    if isinstance(kind, ir.IntType):
        return {1: "?", 8: "b", 32: "i", 64: "q"}[kind.width]
    return {ir.FloatType: "f", ir.DoubleType: "d"}[type(kind)]


def _dtype(kind: Any) -> np.dtype[Any]:
    return np.dtype(_letter(kind))


def _number(constant: Any) -> Any:
    """What is not said is what nobody would have chosen."""
    kind, value = constant.type, constant.constant
    if value is ir.Undefined:
        return 77 if isinstance(kind, ir.IntType) else np.nan
    return value if value is not None else 0


def _truth(value: Any) -> Any:
    """The type of what decides, a bit or bits."""
    if getattr(value.type, "element", value.type) != ir.IntType(1):
        raise Misused(f"a choice by {value.type}")
    return value.type


def _mangled(kind: Any) -> str:
    return f"v{kind.count}{ {'f': 'f32', 'i': 'i32'}[_letter(kind.element)] }"


class Code:
    """A function of integers, whose body `write` emits: what `emits` makes, but carried out here."""

    def __init__(self, names: str, write: Callable[..., None]) -> None:
        self.names, self.write = names.split(), write
        self.blocks: list[Any] = []

    def __call__(self, *arguments: Any) -> None:
        if len(arguments) != len(self.names):
            raise TypeError(f"{len(arguments)} arguments for {' '.join(self.names)}")
        if not all(isinstance(value, (int, np.integer)) for value in arguments):
            raise TypeError("an argument is no integer")
        if not self.blocks:
            self._emit()
        values: list[Any] = [None] * self.count
        values[: len(arguments)] = map(int, arguments)
        came, here = -1, 0
        while here >= 0:
            run = self.decoded[here] or self._decode(here)
            spend(self.costs[here])
            came, here = here, run(values, came)

    def _emit(self) -> None:
        module = ir.Module()
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(self.names))
        function = ir.Function(module, kind, "emitted")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.write(builder, *function.args)
        builder.ret_void()
        self.blocks = list(function.blocks)
        self.costs = [len(block.instructions) for block in self.blocks]
        self.numbers: dict[int, int] = {id(block): k for k, block in enumerate(self.blocks)}
        self.decoded: list[Any] = [None] * len(self.blocks)
        every = [*function.args, *(line for block in self.blocks for line in block.instructions)]
        self.places = {id(value): k for k, value in enumerate(every)}
        self.count = len(every)
        self.shared = {id(argument) for argument in function.args}  # used outside of their block
        for block in self.blocks:
            for line in block.instructions:
                used = [value for value, _ in line.incomings] if isinstance(line, ir.PhiInstr) else line.operands
                phi = isinstance(line, ir.PhiInstr)
                self.shared |= {
                    id(value)
                    for value in used
                    if isinstance(value, ir.Instruction) and (phi or value.parent is not block)
                }
        self.space: dict[str, Any] = {**_SPACE}

    def _decode(self, here: int) -> Any:
        """A function of the values so far and the block that came before: carries a block out, and says the next."""
        block = self.blocks[here]
        phis = [line for line in block.instructions if isinstance(line, ir.PhiInstr)]
        lines = [f"{self._local(phi)} = {self._chosen(phi)}" for phi in phis]
        lines += [f"values[{self.places[id(phi)]}] = {self._local(phi)}" for phi in phis]
        for line in block.instructions[len(phis) :]:
            text = self._text(line, block)
            if isinstance(line.type, ir.VoidType) or isinstance(line, ir.AllocaInstr):
                lines += [text] if text else []
                continue
            lines.append(f"{self._local(line)} = {text}")
            if id(line) in self.shared:
                lines.append(f"values[{self.places[id(line)]}] = {self._local(line)}")
        name = f"block{here}"
        exec("\n    ".join([f"def {name}(values, came):", *lines]), self.space)
        self.decoded[here] = self.space[name]
        return self.decoded[here]

    def _local(self, line: Any) -> str:
        return f"x{self.places[id(line)]}"

    def _chosen(self, phi: Any) -> str:
        choices = ", ".join(f"{self.numbers[id(block)]}: {self._value(value, None)}" for value, block in phi.incomings)
        return f"{{{choices}}}[came]"

    def _value(self, value: Any, block: Any) -> str:
        """What reads an operand in a block."""
        if isinstance(value, ir.Constant):
            return self._constant(value)
        if isinstance(value, ir.AllocaInstr) or id(value) not in self.places:
            raise Misused(f"{value} is used as a value")
        inside = isinstance(value, ir.Instruction) and value.parent is block
        return self._local(value) if inside else f"values[{self.places[id(value)]}]"

    def _constant(self, constant: Any) -> str:
        if isinstance(constant.type, ir.VectorType):
            parts = constant.constant
            value: Any = np.array([_number(part) for part in parts], _dtype(constant.type.element))
        else:
            value = _number(constant)
            if isinstance(constant.type, ir.IntType):
                return f"({int(value)})"
        name = f"constant{len(self.space)}"
        self.space[name] = value
        return name

    def _text(self, line: Any, block: Any) -> str:
        """An instruction in Python."""

        def of(value: Any) -> str:
            return self._value(value, block)

        given = line.operands
        alike = given[isinstance(line, ir.SelectInstr) :]
        if (isinstance(line, _ALIKE) or line.opname in _BINARY) and len({str(value.type) for value in alike}) > 1:
            raise Misused(f"operands of unlike types: {line}")
        match line:
            case ir.AllocaInstr():
                return ""
            case ir.LoadInstr() | ir.StoreInstr() if isinstance(given[-1], ir.AllocaInstr):
                slot = f"values[{self.places[id(given[-1])]}]"
                before = block.instructions[block.instructions.index(line) - 1]
                if isinstance(line, ir.StoreInstr) and before is given[-1]:
                    return ""  # the zeros that numba begins with: once, though what calls this may do so in a loop
                return slot if isinstance(line, ir.LoadInstr) else f"{slot} = {of(given[0])}"
            case ir.LoadInstr():
                return self._load(line.type, of(given[0]), line.align)
            case ir.StoreInstr():
                return self._store(given[0].type, of(given[0]), of(given[1]), line.align)
            case ir.CallInstr():
                return self._call(line.callee.name, line, [of(value) for value in line.args])
            case ir.CompareInstr():
                x, y = map(of, given)
                if line.opname == "fcmp":
                    return f"compared({line.op!r}, {x}, {y})"
                return f"{x} {_SIGNED[line.op]} {y}"
            case ir.SelectInstr():
                which, x, y = map(of, given)
                vector = isinstance(_truth(given[0]), ir.VectorType)
                return f"where({which}, {x}, {y})" if vector else f"({x} if {which} else {y})"
            case ir.InsertElement():
                return f"inserted({', '.join(map(of, given))})"
            case ir.ExtractElement():
                return f"{of(given[0])}[{of(given[1])}]"
            case ir.ShuffleVector():  # of the first vector alone, or it raises
                return f"{of(given[0])}[{of(given[2])}]"
            case ir.ConditionalBranch():
                _truth(given[0])
                yes, no = (self.numbers[id(target)] for target in given[1:])
                return f"return {yes} if {of(given[0])} else {no}"
            case ir.Branch():
                return f"return {self.numbers[id(given[0])]}"
            case ir.Ret():
                return "return -1"
        bits = getattr(line.type, "width", 0)
        match line.opname:
            case "inttoptr" | "sext":
                return of(given[0])
            case "zext":
                return f"{of(given[0])} & {(1 << given[0].type.width) - 1}"
            case "fpext":
                return f"float64({of(given[0])})"
            case "trunc":
                return f"wrapped({of(given[0])}, {bits})"
            case "shl" | "lshr":
                return f"shifted({of(given[0])}, {of(given[1])}, {bits}, {line.opname == 'shl'})"
            case name if name in _BINARY:
                return f"{of(given[0])} {_BINARY[name]} {of(given[1])}"
        raise Misused(f"not known: {line}")

    def _load(self, kind: Any, address: str, align: int | None) -> str:
        if isinstance(kind, ir.VectorType):
            dtype = _dtype(kind.element)
            self.space[f"dtype_{dtype.char}"] = dtype
            return f"load_vector(dtype_{dtype.char}, {kind.count}, {address}, {align or kind.count * dtype.itemsize})"
        size = _dtype(kind).itemsize
        return f"load_number({_letter(kind)!r}, {size}, {address}, {align or size})"

    def _store(self, kind: Any, value: str, address: str, align: int | None) -> str:
        if isinstance(kind, ir.VectorType):
            return f"store_vector({value}, {address}, {align or kind.count * _dtype(kind.element).itemsize})"
        size = _dtype(kind).itemsize
        return f"store_number({_letter(kind)!r}, {size}, {value}, {address}, {align or size})"

    def _call(self, name: str, line: Any, given: list[str]) -> str:
        kinds = [value.type for value in line.args]
        if name.startswith("llvm.masked") and line.args[1 + ("store" in name)].constant not in (1, 2, 4):
            raise Misused(f"an alignment that is no power of two, or more than a number's: {line}")
        if name.startswith("llvm.masked.load") and name == f"llvm.masked.load.{_mangled(line.type)}.p0":
            return f"load_masked({', '.join(given)})"
        if name.startswith("llvm.masked.store") and name == f"llvm.masked.store.{_mangled(kinds[0])}.p0":
            return f"store_masked({', '.join(given)})"
        if name.startswith("llvm.fabs") and name == f"llvm.fabs.{_mangled(line.type)}":
            return f"abs({given[0]})"
        if name.startswith("llvm.memcpy."):
            return f"copy({', '.join(given)})"
        if name.startswith("llvm.memset."):
            return f"fill({', '.join(given)})"
        raise Misused(f"not known: {name}")
