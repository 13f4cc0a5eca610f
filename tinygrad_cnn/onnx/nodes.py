"""One node of a file, checked against the schema of its operator."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import OnnxError, OnnxUnsupported
from .operators import registered
from .operators.registry import FIRST
from .values import attribute_value, shown

__all__ = ["Opsets", "Step", "step_of"]

NEWEST = 28  # what the operators were written for
STILL_READ = ("GroupNormalization",)  # of opset 18, deprecated for its scale of one number for each group
DOMAINS = ("", "ai.onnx")  # two names of one


@dataclass(frozen=True)
class Step:
    """A node: what it computes, of which values, under which names. An input or output left out has the name ""."""

    op_type: str
    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def label(self) -> str:
        """How errors name it."""
        return f"{self.op_type} {self.name!r}"


@dataclass(frozen=True)
class Opsets:
    """Which version of ONNX's operators a file speaks, and the package that has their schemas."""

    version: int | None
    defs: Any

    @classmethod
    def of(cls, imports: Any, onnx: Any) -> "Opsets":
        """The version among a file's opset_import. Raises OnnxError for two, and for one that is not known."""
        versions = {entry.version for entry in imports if entry.domain in DOMAINS}
        if len(versions) > 1:
            raise OnnxError(f"the file imports the opset versions {sorted(versions)} of ONNX at once; one is needed")
        for version in versions:
            newest = min(NEWEST, onnx.defs.onnx_opset_version())
            if not 1 <= version <= newest:
                raise OnnxUnsupported(f"the file has opset {version}; 1 to {newest} can be read")
        return cls(next(iter(versions), None), onnx.defs)


def step_of(proto: Any, index: int, opsets: Opsets) -> Step:
    """The step of a NodeProto, number `index` of its graph."""
    name = proto.name[:80] or f"number {index}"
    label = f"{proto.op_type[:80]} {name!r}"
    if proto.domain not in DOMAINS:
        raise OnnxUnsupported(f"{label} is of the domain {shown(proto.domain)}; operators of ONNX itself are supported")
    if opsets.version is None:
        raise OnnxError(f"{label}: the file does not say which opset of ONNX it means (opset_import)")
    schema = _schema(proto.op_type, opsets.version, opsets.defs)
    if schema is None:
        raise OnnxError(f"{label}: opset {opsets.version} of ONNX has no operator {shown(proto.op_type)}")
    if schema.deprecated and proto.op_type not in STILL_READ:
        raise OnnxUnsupported(f"{label}: {proto.op_type} is deprecated in opset {opsets.version}")
    attributes = _attributes(proto, label, schema)
    if proto.op_type not in registered():
        raise OnnxUnsupported(f"{label}: the operator {proto.op_type} is not supported")
    if opsets.version < (first := FIRST[proto.op_type]):
        later = _schema(proto.op_type, first, opsets.defs)
        if later is None or later.since_version != schema.since_version:
            raise OnnxUnsupported(
                f"{label}: {proto.op_type} of opset {opsets.version} is not supported; convert the file to opset "
                f"{first} or later, as with onnx.version_converter"
            )
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    _check_arity(label, schema, inputs, outputs)
    return Step(proto.op_type, name, opsets.version, inputs, outputs, attributes)


@lru_cache(maxsize=4096)
def _schema(op_type: str, version: int, defs: Any) -> Any:
    """The schema of an operator at an opset, or None."""
    try:
        return defs.get_schema(op_type, version, "")
    except defs.SchemaError:
        return None


def _attributes(proto: Any, label: str, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in proto.attribute:
        what = f"{label}: attribute {shown(attribute.name)}"
        if attribute.name in found:
            raise OnnxError(f"{what} occurs twice")
        if attribute.ref_attr_name:
            raise OnnxError(f"{what} refers to one of a function, but stands outside of any")
        known = schema.attributes.get(attribute.name)
        if known is None:
            raise OnnxError(
                f"{what} is none of {proto.op_type}: {', '.join(sorted(schema.attributes)) or 'it has none'}"
            )
        if known.type.value != attribute.type:
            raise OnnxError(f"{what} has the attribute type {attribute.type}; {known.type.name} is needed")
        found[attribute.name] = attribute_value(attribute, what)
    missing = [name for name, known in schema.attributes.items() if known.required and name not in found]
    if missing:
        raise OnnxError(f"{label}: the attribute {missing[0]!r} is missing; {proto.op_type} needs it")
    return found


def _check_arity(label: str, schema: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    for kind, names, formal, least, most in (
        ("inputs", inputs, schema.inputs, schema.min_input, schema.max_input),
        ("outputs", outputs, schema.outputs, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            wanted = f"{least}" if least == most else f"at least {least}" if most > 1 << 20 else f"{least} to {most}"
            raise OnnxError(f"{label} has {len(names)} {kind}; {wanted} are needed")
        if kind == "inputs":
            for i, name in enumerate(names):
                if not name and formal[min(i, len(formal) - 1)].option.name != "Optional":
                    raise OnnxError(
                        f"{label}: input {i} is left out, which {formal[min(i, len(formal) - 1)].name} may not be"
                    )
    if not any(outputs):
        raise OnnxError(f"{label} has no output with a name")
