"""The exceptions of everything that reads or writes ONNX: one, and a kind of it."""

from ..interchange import CheckpointError

__all__ = ["OnnxError", "OnnxUnsupported"]


class OnnxError(CheckpointError):
    """A model that ONNX cannot say, or a file that is damaged, hostile, or says what the engine cannot compute."""


class OnnxUnsupported(OnnxError):
    """A file that is in order as far as it was read, but says what the engine does not compute."""
