"""A trained network as an ONNX file, run by onnxruntime.

    python examples/deploy/onnx_inference.py [--weights FILE]

onnx and onnxruntime are the extra `onnx`; without them the program says so and ends.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from network import arguments, trained

import tinygrad_cnn as tg

sys.path.append(str(Path(__file__).resolve().parent.parent))
from checks import check, say

options = arguments(__doc__.partition("\n")[0]).parse_args()
if missing := [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]:
    print(f"nothing to show: {' and '.join(missing)} not installed; pip install 'tinygrad_cnn[onnx]'")
    raise SystemExit
