"""The engine as a backend of the package onnx, so that its own tests of operators can run here.

    import tinygrad_cnn.onnx.backend as backend
    outputs = backend.prepare(model).run([image])

Source: onnx.backend.base.
"""

from typing import Any

import numpy as np

from ..modes import no_grad
from .errors import OnnxUnsupported
from .extra import onnx_package
from .model import OnnxModule, load_onnx

onnx_package("onnx.backend")  # names the extra where it is missing

from onnx import helper  # noqa: E402
from onnx.backend.base import Backend, BackendRep  # noqa: E402
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt  # noqa: E402
from onnx.defs import onnx_opset_version  # noqa: E402

__all__ = ["EngineBackend", "EngineRepresentation", "prepare", "run_model", "run_node", "supports_device"]


class EngineRepresentation(BackendRep):  # type: ignore[misc]
    """A network that can be run on arrays."""

    def __init__(self, module: OnnxModule) -> None:
        self.module = module

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs as arrays, for inputs in their order or by their names.

        Raises ValueError for other names, BackendIsNotSupposedToImplementIt for what the engine does not compute.
        """
        names = self.module.input_names
        if isinstance(inputs, dict):
            if inputs.keys() != set(names):
                raise ValueError(f"run: inputs named {list(inputs)} were given; the network has {list(names)}")
            inputs = [inputs[name] for name in names]
        elif not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        try:
            with no_grad():
                outputs = self.module(*map(np.asarray, inputs))
        except OnnxUnsupported as error:  # what only the shapes of the inputs tell
            raise BackendIsNotSupposedToImplementIt(str(error)) from error
        return tuple(out.array for out in (outputs if isinstance(outputs, tuple) else (outputs,)))


class EngineBackend(Backend):  # type: ignore[misc]
    """Prepares models of ONNX to be run by the engine, on the CPU."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> EngineRepresentation:
        """Load a ModelProto.

        Raises ValueError for another device, BackendIsNotSupposedToImplementIt for what the engine does not compute.
        """
        if not cls.supports_device(device):
            raise ValueError(f"prepare: the device is {device!r}; the engine runs files of ONNX on 'CPU'")
        try:
            return EngineRepresentation(load_onnx(model.SerializeToString()))
        except OnnxUnsupported as error:
            raise BackendIsNotSupposedToImplementIt(str(error)) from error

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of a ModelProto for these inputs, as arrays."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of a NodeProto for these inputs, as arrays.

        opset_version: of its operator, the newest of the installed onnx unless given. outputs_info is not needed.
        """
        arrays = [np.asarray(x) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
        names = [name for name in node.input if name]
        if len(arrays) != len(names):
            raise ValueError(f"run_node: {len(arrays)} inputs were given; {node.op_type} reads {len(names)}: {names}")
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in dict(zip(names, arrays, strict=True)).items()
        ]
        made = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        opset = helper.make_opsetid(node.domain, kwargs.get("opset_version", onnx_opset_version()))
        model = helper.make_model(helper.make_graph([node], node.op_type, given, made), opset_imports=[opset])
        return cls.run_model(model, dict(zip(names, arrays, strict=True)), device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is such a device: the CPU is."""
        return device == "CPU"


prepare = EngineBackend.prepare
run_model = EngineBackend.run_model
run_node = EngineBackend.run_node
supports_device = EngineBackend.supports_device
