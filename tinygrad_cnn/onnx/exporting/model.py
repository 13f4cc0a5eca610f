"""A model that ran, as the bytes of an ONNX file."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ...graph import Tensor
from ...interchange.atomic import replace_file
from ...modes import enable_grad
from ...nn.buffers import KeptBuffers
from ...nn.module import Module, evaluating
from ..errors import OnnxError
from ..extra import onnx_package
from .dims import Dim, Shape
from .merging import Graph, Slot, merged
from .table import Call, refused, translations
from .tracing import Run, place_of
from .writer import Value, Writer

__all__ = ["export"]

OPSETS = range(17, 22)  # before 17 there is no LayerNormalization; 21 is what runtimes of 2024 read
LARGEST = 2**31 - 2**20  # bytes that protobuf writes into one message


def export(
    model: Callable[..., Any],
    args: Any,
    f: Any = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
    opset_version: int = 17,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> bytes:
    """Write what a model computes as an ONNX model, which onnxruntime and others run; returns its bytes.

    model: a Module, which runs in eval mode and keeps its own, or any function of Tensors, as of a loss.
    args: an example of its input, a Tensor or an array, or a tuple of several.
    f: the path of the file to write; None writes none.
    input_names, output_names: unless given, the names of the model's arguments, and "output" or "output_0", ...
    dynamic_batch: axis 0 of every input that is as long there as the first one takes any length, named "batch".
    opset_version: the version of ONNX's operators, 17 to 21. metadata: texts that the file holds by their names.
    check: let `onnx.checker` check the model with its shapes.

        >>> import io
        >>> import numpy as np
        >>> import onnxruntime
        >>> import tinygrad_cnn as tg
        >>> model = tg.nn.Sequential(tg.nn.Conv2d(1, 4, 3), tg.nn.ReLU(), tg.nn.Flatten(), tg.nn.Linear(144, 10))
        >>> content = tg.onnx.export(model, tg.zeros(2, 1, 8, 8), input_names=["image"], output_names=["logits"])
        >>> session = onnxruntime.InferenceSession(content)
        >>> image = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
        >>> (logits,) = session.run(["logits"], {"image": image})
        >>> bool(np.allclose(logits, model(tg.tensor(image)).numpy(), atol=1e-5))
        True

    The model runs four times: with the example, with its numbers in another order, and with two larger batches of
    them, without the largest and smallest; with dynamic_batch=False three times. What is the same in all runs is a
    constant of the file, what grows with the batch follows it, and what else differs is refused: branches and masks on
    what the inputs hold, random numbers, values that left the Tensors. A branch that all runs take alike is written as
    it went. Gradients are not written. Afterwards the buffers of all modules that ran are what they were.

    Parameters have their names in state_dict, nodes those of their modules. What the model holds is an initializer;
    floats that the export adds, such as the shares of an adaptive pool, are Constant nodes, which nothing trains.

    dtypes stay as they are; of float64, what onnxruntime does not compute on a CPU, such as average pooling, is
    computed in float32 between casts.

    Raises OnnxError for what ONNX cannot say, naming the op and its module; ValueError for another opset_version or
    names that do not fit; TypeError for other arguments; ImportError without the extra `onnx`.
    """
    onnx = onnx_package("export")
    if not callable(model):
        raise TypeError(f"export: the model is a {type(model).__name__}; a Module or a function of Tensors is needed")
    if type(opset_version) is not int or opset_version not in OPSETS:
        raise ValueError(
            f"export: opset_version={opset_version!r}; it can be {OPSETS[0]} to {OPSETS[-1]}, and older runtimes read "
            "the lower ones"
        )
    if not isinstance(metadata, Mapping | None) or not all(
        isinstance(text, str) for pair in (metadata or {}).items() for text in pair
    ):
        raise TypeError(f"export: metadata is {metadata!r}; a dict from texts to texts is needed")
    arrays = _arrays(args)
    graph, found = _traced(model, arrays, dynamic_batch)
    inputs = _names("input_names", input_names, _arguments(model, len(arrays)), len(arrays))
    outputs = _names("output_names", output_names, found, len(found))
    if both := sorted(set(inputs) & set(outputs)):
        raise ValueError(f"export: {both[0]!r} names an input and an output; give one of them another name")
    writer, results = _written(graph, inputs, outputs, opset_version)
    if (size := sum(array.nbytes for array in writer.constants.values())) > LARGEST:
        raise OnnxError(f"export: the constants take {size} bytes; an ONNX file of one part holds up to {LARGEST}")
    proto = _proto(onnx, type(model).__name__, graph, writer, inputs, results, opset_version, metadata or {})
    if check:
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise OnnxError(
                f"export: onnx.checker refuses the model ({error}); write it with check=False to look at it"
            ) from error
    content: bytes = proto.SerializeToString(deterministic=True)
    if f is not None:
        replace_file(f, content)
    return content


# What goes in and comes out


def _arrays(args: Any) -> list[Any]:
    given = args if isinstance(args, (tuple, list)) else (args,)
    if not given:
        raise TypeError("export: args is empty; an example of each input is needed")
    for i, arg in enumerate(given):
        if not isinstance(arg, (Tensor, np.ndarray)):
            raise TypeError(f"export: args[{i}] is a {type(arg).__name__}; a Tensor or an ndarray is needed")
    return [np.array(arg.array if isinstance(arg, Tensor) else arg) for arg in given]


def _arguments(model: Any, count: int) -> list[str]:
    """The names of the first arguments of a model."""
    try:
        parameters = inspect.signature(model.forward if isinstance(model, Module) else model).parameters.values()
    except (TypeError, ValueError):  # a function that has no signature
        parameters = {}.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    free = (name for i in itertools.count(len(named)) if (name := f"input_{i}") not in named)
    return [*named, *itertools.islice(free, count - len(named))]


def _names(what: str, given: Sequence[str] | None, default: list[str], count: int) -> list[str]:
    if given is None:
        return default
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(name, str) and name for name in given)
    ):
        raise TypeError(f"export: {what} is {given!r}; a list of texts is needed")
    if len(given) != count or len(set(given)) != count:
        raise ValueError(f"export: {what} has {len(given)} names {list(given)}; {count} different ones are needed")
    return list(given)


def _results(found: Any) -> tuple[list[Any], list[str]]:
    """The arrays that a model gives, and what they are called."""
    if isinstance(found, Tensor):
        return [found.array], ["output"]
    if isinstance(found, dict):
        named = {str(name): value for name, value in found.items()}
        if len(named) < len(found) or "" in named:
            raise OnnxError(
                f"export: the model gives a dict with the keys {list(found)}; texts that are different and not empty "
                "are needed, which name the outputs"
            )
    elif isinstance(found, (tuple, list)):
        named = {f"output_{i}": value for i, value in enumerate(found)}
    else:
        named = {"output": found}
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise OnnxError(
                f"export: the model gives a {type(value).__name__} as {name}; a Tensor, or a tuple, list or dict of "
                "Tensors is needed"
            )
    if not named:
        raise OnnxError("export: the model gives no Tensor; at least one is needed")
    return [value.array for value in named.values()], list(named)


# The runs


def _traced(model: Any, arrays: list[Any], dynamic_batch: bool) -> tuple[Graph, list[str]]:
    """The graph of a model, and what its outputs are called."""
    follows = [False] * len(arrays)
    batches = [0, 0, 0]
    if dynamic_batch:
        batch = next((len(a) for a in arrays if a.ndim), None)
        if not batch:
            raise ValueError(
                f"export: inputs of shapes {', '.join(str(a.shape) for a in arrays)} have no batch; give an example of "
                "at least one image, or dynamic_batch=False"
            )
        follows, batches = [a.ndim > 0 and len(a) == batch for a in arrays], [batch, batch, batch + 1, batch + 2]
    rng = np.random.default_rng(0)
    runs, inputs, outputs, names = [], [], [], ["output"]
    is_module = isinstance(model, Module)
    with KeptBuffers("export"), evaluating(model) if is_module else nullcontext(), enable_grad():
        for turn, batch in enumerate(batches):
            used = [
                a if not turn else _other(rng, a, (batch, *a.shape[1:]) if follow else a.shape, turn)
                for a, follow in zip(arrays, follows, strict=True)
            ]
            run, tensors = Run(), [Tensor(a, requires_grad=a.dtype.kind == "f") for a in used]
            try:
                with run:
                    found = model(*tensors)
            except Exception as error:
                if turn:
                    larger = f" and a batch of {batch}" if batch != batches[0] else ""
                    remedy = "; a model of one batch alone is exported with dynamic_batch=False" if larger else ""
                    error.add_note(
                        f"export: the model runs with the example, but not with its numbers in another order{larger}, "
                        f"which is how what depends on them is found{remedy}"
                    )
                raise
            results, names = _results(found)
            runs.append(run)
            inputs.append([t.array for t in tensors])
            outputs.append(results)
    parameters = {place_of(t.array): name for name, t in _state(model) if isinstance(t, Tensor)} if is_module else {}
    return merged(runs, batches, inputs, outputs, parameters), names


def _state(model: Module) -> list[tuple[str, Any]]:
    return [*model.named_buffers(), *model.named_parameters()]


def _other(rng: np.random.Generator, array: Any, shape: tuple[int, ...], turn: int) -> Any:
    """The numbers of an array in another order, as many as a shape needs; in turn 1 small floats for large ones, later
    without the largest and the smallest, where several others are left.

    Where a float array holds one number alone, the order would change nothing: each is up to halved, and zeros are
    numbers below 1. Of fractions that are all the largest or the smallest, each moves towards the middle.
    """
    numbers = rng.permutation(array.reshape(-1))
    if numbers.size and array.dtype.kind in "iuf" and np.isfinite(numbers).all():
        low, high, is_float = numbers.min(), numbers.max(), array.dtype.kind == "f"
        with np.errstate(all="ignore"):
            if low == high and is_float:
                return ((low or 1) * rng.uniform(0.5, 1, shape)).astype(array.dtype)
            inner = numbers[(numbers > low) & (numbers < high)]
            if turn == 1 and is_float:
                numbers = low + (high - numbers)
            elif turn > 1 and inner.size and (inner != inner[0]).any():
                numbers = inner
            elif turn > 1 and is_float and (numbers % 1).any():
                numbers = numbers * 0.5 + (low * 0.25 + high * 0.25)
    return np.resize(numbers, shape).astype(array.dtype, copy=False)


# The file


def _written(graph: Graph, inputs: list[str], outputs: list[str], opset: int) -> tuple[Writer, list[tuple[str, Slot]]]:
    writer = Writer(opset)
    values: dict[Slot, Value] = {}
    for name in (*inputs, *outputs):
        writer.fresh(name)
    for name, slot in zip(inputs, graph.inputs, strict=True):
        values[slot] = Value(writer, name, slot.dtype, slot.shape)
        if writer.batch is None and slot.shape and isinstance(slot.shape[0], Dim):
            writer.batch = values[slot], 0
    used = {value.name for value in values.values()}
    for recorded in graph.calls:
        call = Call(recorded, writer, values)
        writer.place = recorded.path
        if recorded.op.name in refused:
            raise call.fail(refused[recorded.op.name])
        if recorded.op.name not in translations:
            raise call.fail("it has no translation into ONNX; give it one with onnx.translation")
        made = translations[recorded.op.name](call)
        if made.name in used:  # a value of its own, which can get a name of its own
            made = writer.node("Identity", made)
        used.add(made.name)
        values[recorded.out] = Value(writer, made.name, recorded.out.dtype, recorded.out.shape)
    writer.place = ""
    taken = {values[slot].name for slot in graph.inputs}
    results = []
    for name, slot in zip(outputs, graph.outputs, strict=True):
        if slot not in values and slot.array is None:
            raise OnnxError(
                f"export: the output {name!r} differs between runs with other inputs, and no recorded op made it; "
                "compute it with ops, or leave it out"
            )
        value = values[slot] if slot in values else writer.constant(slot.array, slot.name, of_model=True)
        if value.name in taken or value.name in writer.constants:
            value = writer.node("Identity", value)
        writer.rename(value.name, name)
        taken.add(name)
        values[slot] = Value(writer, name, slot.dtype, slot.shape)
        results.append((name, slot))
    return writer, results


def _proto(
    onnx: Any,
    title: str,
    graph: Graph,
    writer: Writer,
    inputs: list[str],
    results: list[tuple[str, Slot]],
    opset: int,
    metadata: Mapping[str, str],
) -> Any:
    helper = onnx.helper

    def described(name: str, slot: Slot) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(slot.dtype))
        return helper.make_tensor_value_info(name, kind, _lengths(slot.shape))

    nodes = [
        helper.make_node(op_type, into, out, name=name, **_attributes(helper, attributes))
        for op_type, into, out, name, attributes in writer.nodes
    ]
    read = {name for node in nodes for name in node.input}
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in writer.constants.items() if name in read]
    # Floats with axes that are initializers would be taken for weights, and trained, by whoever fine-tunes the file.
    added = {
        name
        for name, array in writer.constants.items()
        if array.ndim and array.dtype.kind == "f" and name not in writer.of_model
    }
    made = helper.make_graph(
        [
            *(helper.make_node("Constant", [], [c.name], name=c.name, value=c) for c in constants if c.name in added),
            *nodes,
        ],
        title,
        [described(name, slot) for name, slot in zip(inputs, graph.inputs, strict=True)],
        [described(name, slot) for name, slot in results],
        [c for c in constants if c.name not in added],
    )
    opsets = [helper.make_opsetid("", opset)]
    proto = helper.make_model(
        made, opset_imports=opsets, producer_name="tinygrad_cnn", ir_version=helper.find_min_ir_version_for(opsets)
    )
    helper.set_model_props(proto, dict(metadata))
    return proto


def _lengths(shape: Shape) -> list[int | str]:
    return [str(n) if isinstance(n, Dim) else n for n in shape]


def _attributes(helper: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """dtypes as ONNX numbers them."""
    return {
        name: helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value
        for name, value in attributes.items()
    }
