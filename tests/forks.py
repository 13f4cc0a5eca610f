"""A process that forks itself on demand: one start of Python for many processes that are to be killed.

    with Forks() as forks:
        pid = forks.start("save_forever", path)
        os.kill(pid, signal.SIGKILL)
        status = forks.wait(pid)

The functions that can be named are those of this file; none of them returns anything but text.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = 200_000  # 1.6 MB in float64
REPORT: list[int] = []  # where a fork writes to the process that made it


class Forks:
    """The process, from the side of a test."""

    def __enter__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "TINYGRAD_CNN_NUMBA": "0"}
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env=environment)  # fmt: skip
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def _ask(self, *request):
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, name, *arguments):
        """Begin a function in a process of its own, whose id is returned."""
        return self._ask("start", name, *arguments)

    def start_until_ready(self, name, *arguments):
        """`start`, and wait until the function says that it is where it shall be ended, or has ended."""
        return self._ask("ready", name, *arguments)

    def wait(self, pid):
        """How a process ended: its exit code, or the negative number of the signal."""
        return self._ask("wait", pid)

    def call(self, name, *arguments):
        """What a function returned in a process of its own, or the kind and text of its error."""
        return self._ask("call", name, *arguments)


def save_forever(path):
    """Save arrays of one number each, for long enough that someone puts an end to it; ready after the first."""
    from tinygrad_cnn.interchange import save

    for i in range(2000):
        save({"a": np.full(NUMBERS, i % 97.0)}, path)
        if i == 0:
            os.write(REPORT[0], b"!")


def save_often(path, number, times):
    """Save arrays full of a number, whose lengths differ."""
    from tinygrad_cnn.interchange import save

    for i in range(times):
        save({"a": np.full(NUMBERS // 4 + 100 * number + i, float(number))}, path)


def save_up_to(path, most, plainly):
    """Save a 2 over the file and be killed at the byte that comes after `most`."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if plainly:
        Path(path).write_bytes(b"2" * NUMBERS * 8)
    _save(path)


def save_until_event(path, number):
    """Save a 2 over the file and be killed at the audit event of that number; "done" if there are fewer."""
    seen = []

    def hook(event, arguments):
        seen.append(event)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    _save(path)
    return "done"


def save_as_nobody(path):
    """Save without the rights of root."""
    os.setuid(65534)
    _save(path)


def save_to_a_full_disk(folder):
    """Save an array of 8 kB, then one that is larger than its file system; what became of the first, and the names."""
    _mount(b"none", folder, b"tmpfs", 0, b"size=256k")
    from tinygrad_cnn.interchange import load, save

    path = Path(folder) / "x"
    save({"a": np.ones(1000)}, path)
    try:
        _save(path)
    except OSError as error:
        return f"{error.strerror}: {load(path)['a'].array.sum()}, {sorted(os.listdir(folder))}"  # noqa: PTH208
    return "saved"


def save_over_a_mount(path):
    """Save over a file that is a mount of its own, which no rename can replace."""
    _mount(path, path, None, 4096, None)  # MS_BIND
    from tinygrad_cnn.interchange import load

    try:
        _save(path)
    except OSError as error:
        return f"{error.strerror}: {load(path)['a'].array[0]}, {sorted(os.listdir(Path(path).parent))}"  # noqa: PTH208
    return "saved"


def train(folder, end, at):
    """Train four epochs of three steps, going on from what is there, and write the weights.

    end: "step", to be killed at that step of this process; an audit event, to be killed at that one of a
    temporary file;
    "SIGTERM", to wait for one at that step; or "none"
    """
    import tinygrad_cnn as tg
    from tinygrad_cnn import nn, optim
    from tinygrad_cnn.nn import functional as F
    from tinygrad_cnn.train import fit

    seen = []

    def hook(event, arguments):
        if event == end and str(arguments[0]).endswith(".tmp"):
            seen.append(event)
            if len(seen) == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)

    def loss(out, y):
        loss.calls += 1
        if end == "step" and loss.calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "SIGTERM" and loss.calls == at:
            os.write(REPORT[0], b"!")
            while True:
                signal.pause()
        return F.cross_entropy(out, y)

    loss.calls = 0
    tg.manual_seed(0)
    images, labels = tg.data.digits("train")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
    loader = tg.data.DataLoader(tg.data.TensorDataset(images[:96], labels[:96]), 32, shuffle=True)
    fit(model, loader, loss, optim.Adam(model.parameters()), epochs=4, checkpoint=Path(folder, "run"), resume="auto",
        progress=False)  # fmt: skip
    model.save(Path(folder, "weights"))
    return "trained"


def _save(path):
    from tinygrad_cnn.interchange import save

    save({"a": np.full(NUMBERS, 2.0)}, path)


def _mount(source, target, kind, flags, options):
    """Mount something that this process alone sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = source if isinstance(source, bytes) else os.fsencode(source)
    if (
        libc.unshare(0x20000)  # CLONE_NEWNS
        or libc.mount(b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
        or libc.mount(encoded, os.fsencode(target), kind, flags, options)
    ):
        raise PermissionError("cannot mount")


def _serve():
    import tinygrad_cnn.data
    import tinygrad_cnn.train  # noqa: F401  (loaded once, not in every fork)

    warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside the threads of BLAS
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    kept = []
    for line in sys.stdin:
        verb, name, *arguments = json.loads(line)
        if verb == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(name, 0)[1])
        else:
            ours, theirs = os.pipe()
            answer = os.fork()
            if answer == 0:
                os.close(ours)
                _run(theirs, name, arguments)
            os.close(theirs)
            if verb == "call":
                with os.fdopen(ours) as report:
                    text = report.read()
                answer = text or os.waitstatus_to_exitcode(os.waitpid(answer, 0)[1])
                if text:
                    os.wait()
            else:
                if verb == "ready":
                    os.read(ours, 1)
                kept.append(ours)  # closed, it would end who writes to it
        print(json.dumps(answer), flush=True)


def _run(report, name, arguments):
    code = 1
    REPORT.append(report)
    try:
        text = globals()[name](*arguments) or ""
        code = 0
    except KeyboardInterrupt:
        code, text = 130, ""
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
    with suppress(OSError):
        os.write(report, text.encode())
    os._exit(code)


if __name__ == "__main__":
    _serve()
