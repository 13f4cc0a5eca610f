"""ONNX both ways: networks of ours for other runtimes, and networks of others to run and fine-tune here.

Needs the extra `onnx`.
"""

from .errors import OnnxError
from .exporting import export, translation

__all__ = ["OnnxError", "export", "translation"]
