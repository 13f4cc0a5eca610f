"""The engine as a backend of the package onnx, so that its own tests of operators can run here.

    import tinygrad_cnn.onnx.backend as backend
    outputs = backend.prepare(model).run([image])

Source: onnx.backend.base.
"""

from typing import Any

import numpy as np

from ..modes import no_grad
from .errors import OnnxUnsupported
from .model import OnnxModule, load_onnx
from .reading import onnx_package

onnx_package()  # names the extra where it is missing

from onnx.backend.base import Backend, BackendRep  # noqa: E402
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt  # noqa: E402

__all__ = ["EngineBackend", "EngineRepresentation", "prepare", "run_model", "run_node", "supports_device"]


class EngineRepresentation(BackendRep):  # type: ignore[misc]
    """A network that can be run on arrays."""

    def __init__(self, module: OnnxModule) -> None:
        self.module = module

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs as arrays, for inputs in their order or by their names.

        Raises BackendIsNotSupposedToImplementIt for what the engine does not compute.
        """
        names = self.module.input_names
        if isinstance(inputs, dict):
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
        """Load a ModelProto. Raises BackendIsNotSupposedToImplementIt for what the engine does not compute."""
        try:
            return EngineRepresentation(load_onnx(model.SerializeToString()))
        except OnnxUnsupported as error:
            raise BackendIsNotSupposedToImplementIt(str(error)) from error

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of a ModelProto for these inputs, as arrays."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is such a device: the CPU is."""
        return device == "CPU"


prepare = EngineBackend.prepare
run_model = EngineBackend.run_model
run_node = EngineBackend.run_node
supports_device = EngineBackend.supports_device
