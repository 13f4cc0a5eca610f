"""ONNX both ways: networks of ours for other runtimes, and networks of others to run and fine-tune here.

Needs the extra `onnx`.
"""

from .errors import OnnxError, OnnxUnsupported
from .exporting import export, translation
from .model import OnnxModule, load_onnx

__all__ = ["OnnxError", "OnnxModule", "OnnxUnsupported", "export", "load_onnx", "translation"]
