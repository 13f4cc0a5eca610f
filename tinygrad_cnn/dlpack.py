"""DLPack: memory shared with PyTorch, NumPy, JAX and others, without a copy where its order allows.

Source: the Python specification of DLPack, https://dmlc.github.io/dlpack/latest/python_spec.html
"""

from typing import Any

import numpy as np

from .graph import Tensor, from_numpy, method

__all__ = ["from_dlpack"]

_CPU = 1  # kDLCPU


@method("__dlpack_device__")
def _dlpack_device(x: Tensor) -> tuple[int, int]:
    """(1, 0): the CPU."""
    return _CPU, 0


@method("__dlpack__")
def _dlpack(
    x: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A capsule with the memory of x, which another library then shares, writes included: unseen by any check.

    A copy where the strides are negative or the memory is read-only, which others cannot take; copy=False refuses one.
    Raises RuntimeError for a Tensor that requires grad, BufferError for another device and where a copy is refused.
    """
    if x.node is not None:
        raise RuntimeError("__dlpack__: this Tensor requires grad, and what takes it has no graph; detach() it first")
    if stream is not None or (dl_device is not None and tuple(dl_device) != (_CPU, 0)):
        raise BufferError(
            f"__dlpack__: device {dl_device} and stream {stream}; tinygrad_cnn has the CPU, without streams"
        )
    array = x.array
    unusual = any(step < 0 for step in array.strides) or not array.flags.writeable
    if unusual and copy is False:
        raise BufferError(
            "__dlpack__: this memory is read-only or runs backwards and must be copied; copy=False refuses"
        )
    if copy or unusual:
        array = np.array(array, order="C")
    return array.__dlpack__(**_version(max_version))


def _version(most: tuple[int, int] | None) -> dict[str, Any]:
    """The argument by which NumPy, from 2.1 on, is told of the newest version that is understood."""
    return {"max_version": most} if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else {}


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A Tensor that shares the memory of another library's: later writes to either are seen by both, by no check.

    `requires_grad_()` on the result copies first. Raises TypeError for what does not speak DLPack, BufferError for
    memory that is not on the CPU.
    """
    if not (hasattr(ext_tensor, "__dlpack__") and hasattr(ext_tensor, "__dlpack_device__")):
        raise TypeError(
            f"from_dlpack: a {type(ext_tensor).__name__} has no __dlpack__; give a tensor of another library, "
            "or the data itself to Tensor(data)"
        )
    device = ext_tensor.__dlpack_device__()
    if int(device[0]) != _CPU:
        raise BufferError(f"from_dlpack: the memory is on device {tuple(map(int, device))}; move it to the CPU first")
    return from_numpy(np.from_dlpack(ext_tensor))
