"""A file of ONNX made a list of steps that can be run in order, or refused.

What is in the file is checked before anything is made of it: bytes, then names and order, then each node against the
schema of its operator. Source: the ONNX specification (IR.md), and the operator schemas of the installed onnx.
"""

import os
import stat
from dataclasses import dataclass
from typing import Any

from ..graph import Array
from .errors import OnnxError, OnnxUnsupported
from .extra import onnx_package
from .functions import inlined
from .nodes import Opsets, Step, step_of
from .values import Value, array_of_tensor, shown, value_of_info
from .wire import check_wire

__all__ = ["Network", "read"]

MOST_BYTES = (1 << 31) - 1  # protobuf's own limit
OLDEST_IR = 3  # the first with opset_import


@dataclass(frozen=True)
class Network:
    """What a file says: values by name, and the steps that make some of others, in an order that can be run."""

    name: str
    inputs: tuple[Value, ...]  # those that have to be given
    outputs: tuple[Value, ...]
    initializers: dict[str, Array]
    steps: tuple[Step, ...]


def read(source: "str | os.PathLike[str] | bytes") -> Network:
    """The network in a file or its bytes. Raises OnnxError, OSError if the file cannot be read, ImportError."""
    onnx = onnx_package("load_onnx")
    content = _content(source)
    model = onnx.ModelProto()
    check_wire(content, model.DESCRIPTOR)
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf has a module of errors of its own, and another one in each implementation
        raise OnnxError(f"the file of {len(content)} bytes is not a readable ONNX model: {error}") from error
    return _network(model, onnx)


def _content(source: "str | os.PathLike[str] | bytes") -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        _check_size(memoryview(source).nbytes)
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"load_onnx: a {type(source).__name__} was given; a path or the bytes of a file is needed")
    with open(source, "rb", opener=_opened) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OnnxError(f"{os.fspath(source)}: no regular file; a file of ONNX is needed")
        _check_size(status.st_size)
        content = file.read(MOST_BYTES + 1)
    _check_size(len(content))
    return content


def _opened(path: str, flags: int) -> int:
    """A descriptor without waiting: a pipe would keep the caller until someone writes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise OnnxError(f"the file has {size} bytes; no more than {MOST_BYTES} can be one message of protobuf")
    if size == 0:
        raise OnnxError("the file is empty")


def _network(model: Any, onnx: Any) -> Network:
    if not OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise OnnxError(
            f"the file has IR version {model.ir_version}; {OLDEST_IR} to {onnx.IR_VERSION} can be read, "
            f"by the installed onnx {onnx.__version__}"
        )
    if not model.HasField("graph"):
        raise OnnxError("the file has no graph")
    graph = model.graph
    if len(graph.sparse_initializer):
        raise OnnxUnsupported("the graph has sparse initializers, which are not supported; save them as dense ones")
    opsets = Opsets.of(model.opset_import, onnx)
    initializers: dict[str, Array] = {}
    for index, proto in enumerate(graph.initializer):
        what = f"initializer {shown(proto.name) if proto.name else f'number {index} without a name'}"
        if not proto.name:
            raise OnnxError(f"{what}; each needs one")
        if proto.name in initializers:
            raise OnnxError(f"{what} occurs twice; a name has one value")
        initializers[proto.name] = array_of_tensor(proto, what)
    inputs = [value_of_info(info, f"input {shown(info.name)}") for info in graph.input]
    outputs = [value_of_info(info, f"output {shown(info.name)}") for info in graph.output]
    _check_names(inputs, outputs, initializers)
    given = tuple(value for value in inputs if value.name not in initializers)
    nodes = inlined(graph.node, model.functions, opsets.version)
    steps = _ordered(nodes, opsets, {value.name for value in inputs} | set(initializers))
    made = {name for step in steps for name in step.outputs} | {value.name for value in inputs} | set(initializers)
    for value in outputs:
        if value.name not in made:
            raise OnnxError(f"the output {shown(value.name)} is made by no node, and is no input or initializer")
    return Network(graph.name[:200], given, tuple(outputs), initializers, _needed(steps, outputs))


def _check_names(inputs: list[Value], outputs: list[Value], initializers: dict[str, Array]) -> None:
    for kind, values in (("input", inputs), ("output", outputs)):
        seen: set[str] = set()
        for value in values:
            if not value.name:
                raise OnnxError(f"an {kind} of the graph has no name")
            if value.name in seen:
                raise OnnxError(f"the {kind} {shown(value.name)} occurs twice; a name has one value")
            seen.add(value.name)
    if not outputs:
        raise OnnxError("the graph has no outputs")
    for value in inputs:
        array = initializers.get(value.name)
        if array is None:
            continue
        fits = value.shape is None or (
            len(value.shape) == array.ndim
            and all(not isinstance(n, int) or n == m for n, m in zip(value.shape, array.shape, strict=True))
        )
        if not fits or value.dtype not in (None, array.dtype):
            raise OnnxError(
                f"the input {shown(value.name)} is {value.dtype} of shape {value.shape}, its initializer is "
                f"{array.dtype} of shape {array.shape}"
            )


def _ordered(nodes: list[Any], opsets: Opsets, known: set[str]) -> tuple[Step, ...]:
    """The steps of nodes, each of which reads only what is known by then, and gives names that are new."""
    steps = []
    for index, proto in enumerate(nodes):
        step = step_of(proto, index, opsets)
        for name in step.inputs:
            if name and name not in known:
                later = any(name in other.output for other in nodes[index:])
                why = (
                    "which it or a later node gives; nodes must stand in the order in which they can run, and a cycle "
                    "has no such order"
                    if later
                    else "which nothing gives"
                )
                raise OnnxError(f"{step.label} reads {shown(name)}, {why}")
        for name in step.outputs:
            if name in known:
                raise OnnxError(f"{step.label} gives {shown(name)}, which is given already; a name has one value")
            if name:
                known.add(name)
        steps.append(step)
    return tuple(steps)


def _needed(steps: tuple[Step, ...], outputs: list[Value]) -> tuple[Step, ...]:
    """The steps that some output depends on."""
    wanted = {value.name for value in outputs}
    kept = []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            kept.append(step)
            wanted.update(step.inputs)
    return tuple(reversed(kept))
