"""The package onnx, which comes with the extra `onnx`."""

from typing import Any

__all__ = ["onnx_package"]


def onnx_package(caller: str) -> Any:
    """The package with its checker and schemas. Raises ImportError that names the extra where it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.defs
    except ImportError as error:
        raise ImportError(f"{caller}: onnx is not installed; pip install 'tinygrad_cnn[onnx]'") from error
    return onnx
