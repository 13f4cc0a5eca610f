"""A network of ONNX as a Module: its steps run in order, its initializers are parameters, buffers and constants."""

from __future__ import annotations

import os
from typing import Any

from ..graph import Tensor, wrap
from ..nn.module import Module
from ..nn.parameter import Parameter
from .errors import OnnxError, OnnxUnsupported
from .nodes import Step
from .operators import Node, registered
from .reading import Network, read
from .roles import roles_of
from .values import Value, shown

__all__ = ["OnnxModule", "load_onnx"]

_LONGEST_NAME = 200
_DEEPEST_NAME = 16  # levels of modules that the dots of a name make


def load_onnx(source: str | os.PathLike[str] | bytes, *, max_bytes: int = 1 << 31) -> OnnxModule:
    """The network in an ONNX file, or in its bytes, as a Module in eval mode.

    Float initializers are Parameters, under their names in the file as far as `state_dict` can carry them; the running
    statistics of BatchNormalization are buffers. Integers, single numbers (of no axes) and what no gradient flows into,
    such as the limits of Clip, are constants.

    The mode of the module decides whether BatchNormalization and Dropout train, as PyTorch's do, also in a file that
    was written for training; only statistics and training modes that are inputs of the network are taken as they come.

    max_bytes: the most that all values of a run may take at a time, beside the parameters.

    Only what is in the file is read: numbers kept outside (external data) are refused, and no code of it runs. Files
    with If, Loop, Scan, sequences, texts, or operators that are not ONNX's own are refused too.

    Raises OnnxError for a file that is damaged, hostile or beyond the engine, OSError if it cannot be read, and
    ImportError without the extra `onnx`. Source: the ONNX specification, opsets 7 to 28.
    """
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise ValueError(f"load_onnx: max_bytes is {max_bytes!r}; a number of bytes of at least 1 is needed")
    module = OnnxModule(read(source), max_bytes)
    module.eval()
    return module


class OnnxModule(Module):
    """A network read from ONNX: called with its inputs in their order it gives its output, or a tuple of several."""

    def __init__(self, network: Network, max_bytes: int) -> None:
        super().__init__()
        roles = roles_of(network)
        network = roles.network
        self.input_names = tuple(value.name for value in network.inputs)
        self.output_names = tuple(value.name for value in network.outputs)
        self._inputs = network.inputs
        self._max_bytes = max_bytes
        self._places: dict[str, tuple[str, ...]] = {}  # the name of an initializer -> where it is below this module
        self._constants = {name: wrap(network.initializers[name]) for name in roles.constants}
        self._plan = _plan(network, set(roles.buffers), max_bytes)
        for name in roles.parameters:
            self._place(name, Parameter(network.initializers[name]))
        for name in roles.buffers:
            self._place(name, Tensor(network.initializers[name]))

    def _place(self, name: str, value: Tensor) -> None:
        """Make a value an attribute, of modules as its name's dots say, or under a name made from it."""
        parts = name[:_LONGEST_NAME].split(".")
        if len(name) > _LONGEST_NAME or len(parts) > _DEEPEST_NAME or not all(map(_is_plain, parts)):
            parts = ["".join(c if _is_plain(c) else "_" for c in name[:_LONGEST_NAME])]
        module: Module = self
        for depth, part in enumerate(parts[:-1]):
            if not hasattr(module, part):
                module.add_module(part, Part())
            inner = vars(module).get(part)
            if not isinstance(inner, Part):  # another initializer, or something of Module's, has the name
                parts = [*parts[:depth], "_".join(parts[depth:])]
                break
            module = inner
        last, number = parts[-1], 0
        while hasattr(module, last):
            number += 1
            last = f"{parts[-1]}_{number}"
        if isinstance(value, Parameter):
            module.register_parameter(last, value)
        else:
            module.register_buffer(last, value)
        self._places[name] = (*parts[:-1], last)

    def _value(self, name: str) -> Tensor:
        """The parameter or buffer of a name, as it is now."""
        at: Any = self
        for part in self._places[name]:
            at = vars(at)[part]
        found: Tensor = at
        return found

    def forward(self, *inputs: Any) -> Any:
        """The output of the network for these inputs, one for each of `input_names`; a tuple if it has several.

        Raises OnnxError where an operator cannot compute, TypeError and ValueError for inputs that do not fit.
        The first axis may have another length than the file says, so that a file for one image takes batches.
        """
        values = dict(self._constants)
        values.update((name, self._value(name)) for name in self._places)
        values.update(self._given(inputs))
        operators, live = registered(), 0
        for step, evaluation, training, last_used in self._plan:
            node = training if self.training else evaluation
            try:
                made = operators[step.op_type](node, *[values[name] if name else None for name in step.inputs])
            except OnnxError:
                raise
            except Exception as error:
                raise OnnxError(f"{step.label}: {error}") from error
            results = made if isinstance(made, tuple) else (made,)
            if node.outputs > len(results):
                raise OnnxUnsupported(
                    f"{step.label}: {node.outputs} outputs are asked for, {len(results)} are supported"
                )
            for name, result in zip(step.outputs, results, strict=False):
                if name:
                    values[name] = result
                    live += result.array.nbytes
            if live > self._max_bytes:
                raise OnnxError(
                    f"{step.label}: the values of the run take {live} bytes by then, more than the limit of "
                    f"{self._max_bytes}; raise max_bytes if that is meant"
                )
            for name in last_used:
                live -= values.pop(name).array.nbytes
        results = tuple(values[name] for name in self.output_names)
        return results[0] if len(results) == 1 else results

    def _given(self, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
        if len(inputs) != len(self._inputs):
            wanted = ", ".join(map(shown, self.input_names)) or "none"
            raise TypeError(
                f"OnnxModule: {len(inputs)} inputs were given; the network has {len(self._inputs)}: {wanted}"
            )
        return {value.name: _checked(value, given) for value, given in zip(self._inputs, inputs, strict=True)}

    def extra_repr(self) -> str:
        """The names of inputs and outputs, and the number of steps."""
        inputs, outputs = (", ".join(map(shown, names)) for names in (self.input_names, self.output_names))
        return f"{inputs} -> {outputs}, {len(self._plan)} nodes"


class Part(Module):
    """A level of the names of an OnnxModule's parameters; it computes nothing by itself."""


def _checked(value: Value, given: Any) -> Tensor:
    """An input as a Tensor of the dtype and the shape that the file says, but for the first axis."""
    tensor = given if isinstance(given, Tensor) else Tensor(given)
    if value.dtype is not None and tensor.dtype != value.dtype:
        raise TypeError(f"OnnxModule: the input {shown(value.name)} is {tensor.dtype}; the network needs {value.dtype}")
    if value.shape is not None:
        fits = len(value.shape) == tensor.ndim and all(
            not isinstance(n, int) or n == m for n, m in zip(value.shape[1:], tensor.shape[1:], strict=True)
        )
        if not fits:
            sizes = ", ".join("any" if not isinstance(n, int) else str(n) for n in value.shape)
            raise ValueError(
                f"OnnxModule: the input {shown(value.name)} has shape {tensor.shape}; the network needs ({sizes}), "
                "where the first length may be another one"
            )
    return tensor


def _is_plain(text: str) -> bool:
    """Whether a part of a name has letters, digits and underscores only."""
    return text.isascii() and text.replace("_", "a").isalnum()


def _follows_the_module(step: Step, buffers: set[str], fixed: set[str]) -> bool:
    """Whether a layer trains when the module does, whatever training mode stands in the file.

    Not a BatchNormalization whose statistics are computed or given by the caller, which are never moved, nor a Dropout
    whose training mode is.
    """
    if step.op_type == "BatchNormalization":
        return set(step.inputs[3:5]) <= buffers
    return step.op_type != "Dropout" or set(step.inputs[2:3]) <= fixed | {""}


def _plan(network: Network, buffers: set[str], max_bytes: int) -> list[tuple[Step, Node, Node, tuple[str, ...]]]:
    """(step, its node in eval mode, its node in training, the results that nothing reads later), for each step."""
    kept = {value.name for value in network.outputs}
    made = {name for step in network.steps for name in step.outputs if name}
    fixed = set(network.initializers).union(*(s.outputs for s in network.steps if s.op_type == "Constant"))
    plan = []
    for step in reversed(network.steps):
        last_used = sorted((made & {*step.inputs, *step.outputs}) - kept)
        kept.update(last_used)
        outputs = max(i + 1 for i, name in enumerate(step.outputs) if name)
        follows = _follows_the_module(step, buffers, fixed)
        node, training = (
            Node(step.op_type, step.name, step.opset, step.attributes, outputs, max_bytes, mode if follows else None)
            for mode in (False, True)
        )
        plan.append((step, node, training, tuple(last_used)))
    return plan[::-1]
