"""A trained network as one NumPy script and its weights, run where this package is not.

python examples/deploy/numpy_inference.py [--weights FILE]
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from network import arguments, trained

import tinygrad_cnn as tg

sys.path.append(str(Path(__file__).resolve().parent.parent))
from checks import check, say

# What runs there: NumPy, net.py and net.npz beside it. -I keeps everything else of this machine away, and the package,
# wherever it is installed, is refused.
PROGRAM = """
import sys
sys.modules["tinygrad_cnn"] = None
sys.path.insert(0, ".")
import numpy as np
from net import predict
np.save("scores.npy", predict(np.load("digits.npy")))
"""

model = trained(arguments(__doc__.partition("\n")[0]).parse_args().weights)
images, labels = tg.data.digits("test")

say("The script is written from a run on two digits, in evaluation.")
x = tg.Tensor(images[:2])
script = tg.to_numpy(model(x), model, {"images": x})
signature, shapes = script[script.index("def predict") :].splitlines()[:2]
print(f"    {signature}\n    {shapes.strip()}")
check("its arguments stand for any number of digits", shapes.strip().startswith('"""(n '), True)
check("the package is not imported in it", "import tinygrad_cnn" in script, False)

with TemporaryDirectory() as folder:
    script.save(Path(folder, "net.py"))
    np.save(Path(folder, "digits.npy"), images)
    sizes = {path.name: path.stat().st_size for path in sorted(Path(folder).glob("net.*"))}
    say(f"In a process of its own, from {' and '.join(f'{name} ({n:,} bytes)' for name, n in sizes.items())}:")
    subprocess.run([sys.executable, "-I", "-c", PROGRAM], cwd=folder, check=True)
    scores = np.load(Path(folder, "scores.npy"))

with tg.no_grad():
    wanted = model(tg.Tensor(images)).numpy()
check("the scores of all test digits are the same", scores, wanted, within=1e-3)
check("so is every answer", scores.argmax(1), wanted.argmax(1))
check("more than 95 percent are right", (scores.argmax(1) == labels).mean() > 0.95, True)
