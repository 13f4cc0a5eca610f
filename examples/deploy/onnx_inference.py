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

import numpy as np
import onnxruntime

model = trained(options.weights)
images, labels = tg.data.digits("test")

with TemporaryDirectory() as folder:
    path = Path(folder, "digits.onnx")
    tg.onnx.export(model, tg.Tensor(images[:2]), path, input_names=["images"], output_names=["scores"])
    say(f"The file, {path.stat().st_size:,} bytes, says what goes in and what comes out.")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
for place in (*session.get_inputs(), *session.get_outputs()):
    print(f"    {place.name}: {place.type} {place.shape}")
check("any number of digits goes in", session.get_inputs()[0].shape[0], "batch")

say("onnxruntime reads digits that the network never saw.")
(scores,) = session.run(["scores"], {"images": images})
with tg.no_grad():
    wanted = model(tg.Tensor(images)).numpy()
check("the scores of all test digits are the same", scores, wanted, within=1e-3)
check("so is every answer", scores.argmax(1), wanted.argmax(1))
check("more than 95 percent are right", (scores.argmax(1) == labels).mean() > 0.95, True)
(one,) = session.run(["scores"], {"images": images[:1]})
check("one digit by itself", np.argmax(one), labels[0])
