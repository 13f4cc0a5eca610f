"""The one exception of everything that reads or writes ONNX."""

from ..interchange import CheckpointError

__all__ = ["OnnxError"]


class OnnxError(CheckpointError):
    """A model that ONNX cannot say, or a file that is damaged, hostile, or says what the engine cannot compute."""
