"""Functions that a file defines, put in place of the nodes that call them.

Source: the ONNX specification, IR.md, "Functions"; onnx.proto, message FunctionProto.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import OnnxError, OnnxUnsupported
from .values import shown

__all__ = ["Call", "inlined"]

MOST_NODES = 200_000  # that calls of functions may become
MOST_BYTES = 1 << 28  # of these nodes, which share nothing once they are read

Key = tuple[str, str, str]  # domain, name, overload


@dataclass(frozen=True)
class Call:
    """A node with its values' names and attributes put in; it reads as a NodeProto does."""

    op_type: str
    domain: str
    overload: str
    name: str
    input: list[str]
    output: list[str]
    attribute: list[Any]


@dataclass(frozen=True)
class _Body:
    """A call of a function that is being written out."""

    key: Key
    nodes: Iterator[Any]
    names: dict[str, str]  # of its inputs and outputs outside
    attributes: dict[str, Any]
    prefix: str  # of all other names inside


def inlined(nodes: Iterable[Any], functions: Iterable[Any], version: int | None) -> list[Any]:
    """The nodes in their order, with the nodes of a function in place of each call; nothing recurses.

    version: the opset of the file, which the functions must have too.
    Raises OnnxError for functions that call themselves, and for more than 200,000 nodes or 256 MiB of them.
    """
    table: dict[Key, Any] = {}
    for function in functions:
        key = (function.domain, function.name, function.overload)
        if key in table:
            raise OnnxError(f"the function {shown(function.name)} is defined twice")
        _check(function, version)
        table[key] = function
    if not table:
        return list(nodes)
    written: list[Any] = []
    calls = size = 0
    bodies = [_Body(("", "", ""), iter(nodes), {}, {}, "")]
    running: set[Key] = set()
    while bodies:
        body = bodies[-1]
        node = next(body.nodes, None)
        if node is None:
            running.discard(bodies.pop().key)
            continue
        if len(bodies) > 1:
            node = _put_in(node, body)
            calls += 1
            size += sum(proto.ByteSize() for proto in node.attribute)
            if calls > MOST_NODES or size > MOST_BYTES:
                raise OnnxError(
                    f"the calls of functions become more than {MOST_NODES} nodes or {MOST_BYTES} bytes of them"
                )
        key = (node.domain, node.op_type, node.overload)
        if key not in table:
            written.append(node)
            continue
        if key in running:
            raise OnnxError(f"the function {shown(node.op_type)} calls itself; there is no end to it")
        calls += 1
        running.add(key)
        bodies.append(_entered(table[key], key, node, f"{node.op_type[:60]}#{calls}/"))
    return written


def _check(function: Any, version: int | None) -> None:
    what = f"the function {shown(function.name)}"
    for entry in function.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version != version:
            raise OnnxUnsupported(f"{what} has opset {entry.version}, the file {version}; one for both is supported")
    if set(function.input) & set(function.output):
        raise OnnxUnsupported(f"{what} gives an input of its own as an output; each output needs a node")
    names = [*function.input, *function.output]
    if len(set(names)) != len(names) or not all(names):
        raise OnnxError(f"{what} has two inputs or outputs of one name, or one without a name")


def _entered(function: Any, key: Key, node: Any, prefix: str) -> _Body:
    if len(node.input) > len(function.input) or len(node.output) > len(function.output):
        raise OnnxError(
            f"{shown(node.op_type)} is called with {len(node.input)} inputs and {len(node.output)} outputs; the "
            f"function has {len(function.input)} and {len(function.output)}"
        )
    names = dict.fromkeys(function.input, "")
    names.update(zip(function.input, node.input, strict=False))
    names.update((inner, outer) for inner, outer in zip(function.output, node.output, strict=False) if outer)
    attributes = {proto.name: proto for proto in function.attribute_proto}
    given = {proto.name: proto for proto in node.attribute}
    for name in given:
        if name not in attributes and name not in function.attribute:
            raise OnnxError(f"{shown(node.op_type)} is called with the attribute {shown(name)}, which it does not have")
    return _Body(key, iter(function.node), names, {**attributes, **given}, prefix)


def _put_in(node: Any, body: _Body) -> Call:
    """A node of a function with the names and attributes of a call."""

    def outside(name: str) -> str:
        return body.names.get(name, body.prefix + name) if name else ""

    attributes = []
    for proto in node.attribute:
        if proto.ref_attr_name:
            value = body.attributes.get(proto.ref_attr_name)
            if value is None:
                continue
            if proto.type not in (0, value.type):
                raise OnnxError(
                    f"{shown(node.op_type)}: the attribute {shown(proto.name)} refers to one of another type"
                )
            named = type(value)()
            named.CopyFrom(value)
            named.name = proto.name
            proto = named
        attributes.append(proto)
    inputs, outputs = [outside(name) for name in node.input], [outside(name) for name in node.output]
    return Call(node.op_type, node.domain, node.overload, body.prefix + node.name, inputs, outputs, attributes)
