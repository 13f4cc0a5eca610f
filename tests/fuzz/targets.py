"""What is read, what may come of it, and files to begin with."""

import functools
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.onnx import OnnxError, export
from tinygrad_cnn.train import load_checkpoint, save_checkpoint


class Target(NamedTuple):
    """A reader that raises nothing on any bytes unless it is wrong, and valid bytes to begin with."""

    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


@functools.cache
def folder() -> Path:
    """Where the files lie: in memory, if the system has such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None))


def written(content: bytes, name: str) -> Path:
    path = folder() / name
    path.write_bytes(content)
    return path


def framed(content: bytes) -> bytes:
    """The bytes with the length of the header put right, as a fuzzer seldom finds it: the header ends at the last }."""
    end = content.rfind(b"}") + 1
    return max(end - 8, 0).to_bytes(8, "little") + content[8:] if end > 8 else content


def read_weights(content: bytes) -> None:
    for changed in (content, framed(content)):
        try:
            state = tg.load(written(changed, "weights.safetensors"))
        except tg.CheckpointError:
            continue
        again = folder() / "again.safetensors"
        tg.save(state, again)
        back = tg.load(again)
        for name, value in state.items():
            one, two = value.numpy(), back.pop(name).numpy()
            if (one.dtype, one.shape, one.tobytes()) != (two.dtype, two.shape, two.tobytes()):
                raise AssertionError(f"{name!r} is {two!r} after a round trip, it was {one!r}")
        if back:
            raise AssertionError(f"a round trip brought {sorted(back)}")


def weights_seeds() -> list[bytes]:
    seeds = []
    for state in (
        {},
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True)},
        {"x.y": np.zeros((0, 3), np.int64), "z": np.array([1, 2], np.uint8), "h": np.array([1.5], np.float16)},
    ):
        tg.save(state, folder() / "seed")
        seeds.append((folder() / "seed").read_bytes())
        entry = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
        header = json.dumps(dict.fromkeys(list(state)[:1], entry)).encode()
        seeds.append(len(header).to_bytes(8, "little") + header + b"\x01\x02")  # of other writers: no digest
    return seeds


def a_model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2, generator=np.random.default_rng(0)))


def read_checkpoint(content: bytes) -> None:
    for changed in (content, framed(content)):
        model = a_model()
        before = [p.numpy().tobytes() for p in model.parameters()]
        try:
            load_checkpoint(written(changed, "run.safetensors"), model)
        except tg.CheckpointError:
            if [p.numpy().tobytes() for p in model.parameters()] != before:
                raise AssertionError("a checkpoint that was refused changed the model") from None


def checkpoint_seeds() -> list[bytes]:
    path = folder() / "seed"
    save_checkpoint(path, a_model(), epoch=2, extra={"note": [1, 2.5, None, "text"]})
    return [path.read_bytes()]


def read_onnx(content: bytes) -> None:
    """What loads is run on zeros, with the room of a small machine."""
    try:
        model = tg.load_onnx(content, max_bytes=1 << 24)
        inputs = [zeros_of(value.shape, value.dtype) for value in model._inputs]
        with tg.no_grad():
            model(*inputs)
    except (OnnxError, TypeError, ValueError) as error:
        # an input that does not fit what the file says is a mistake of the caller, and says so
        if not isinstance(error, OnnxError) and not str(error).startswith("OnnxModule: the input"):
            raise


def zeros_of(shape: Sequence[int | str | None] | None, dtype: np.dtype | None) -> np.ndarray:
    """Zeros for an input of a network; of an axis of any length 2, and of a long one 64."""
    sizes = [min(size, 64) if isinstance(size, int) else 2 for size in shape or ()]
    return np.zeros(sizes if np.prod(sizes) < 1 << 20 else [1] * len(sizes), dtype or np.float32)


def onnx_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    nets = [
        nn.Sequential(nn.Conv2d(1, 2, 3, generator=rng), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                      nn.Linear(8, 3, generator=rng)),
        nn.Sequential(nn.ConvTranspose2d(1, 2, 2, stride=2, generator=rng), nn.AvgPool2d(3, padding=1), nn.GELU(),
                      nn.Softmax(1)),
    ]  # fmt: skip
    return [export(net, np.random.default_rng(1).normal(size=(2, 1, 6, 6)).astype(np.float32)) for net in nets]


TARGETS = {
    "weights": Target(read_weights, weights_seeds),
    "checkpoint": Target(read_checkpoint, checkpoint_seeds),
    "onnx": Target(read_onnx, onnx_seeds),
}
