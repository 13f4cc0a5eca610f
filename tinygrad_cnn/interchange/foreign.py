"""Files of other formats: what they are, and the one line that makes them safetensors. None of them is opened here."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["HEAD", "conversion"]

HEAD = 256  # so many bytes of a file tell what it is
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch.save pickled first, up to 1.5
SUFFIXES = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin"), "PyTorch"),
    **dict.fromkeys((".pkl", ".pickle"), "pickle"),
    ".npz": "NumPy",
}
WHAT = {
    "PyTorch": "a file of torch.save is a pickle, and reading one can run what it says; it is not opened here",
    "pickle": "a pickle can run what it says when it is read; it is not opened here",
    "NumPy": "an .npz file is not read here",
}
# clone: safetensors refuses tensors that share memory; contiguous: and those in another layout
CODE = {
    "PyTorch": "import sys, torch, safetensors.torch as s; s.save_file({k: v.clone().contiguous() for k, v in "
    "torch.load(sys.argv[1], 'cpu', weights_only=True).items()}, sys.argv[2])",
    "pickle": "import sys, pickle, tinygrad_cnn as tg; tg.save(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2])",
    "NumPy": "import sys, numpy as np, tinygrad_cnn as tg; tg.save(dict(np.load(sys.argv[1])), sys.argv[2])",
}
WHEN = {
    "PyTorch": "convert it once, if it holds a state_dict:",
    "pickle": "convert it once, only if you made it yourself and it holds a dict of arrays:",
    "NumPy": "convert it once:",
}


def conversion(path: Path, head: bytes) -> str | None:
    """What a file is and the line that converts it, by its first bytes or its name; None for a file of no such kind."""
    kind = _kind(path, head)
    if kind is None:
        return None
    target = path.with_suffix(".safetensors")
    if target == path:  # the line must not write over what it reads
        target = path.with_suffix(".converted.safetensors")
    names = shlex.join([str(path), str(target)])
    return f'{WHAT[kind]}; {WHEN[kind]}\n  python -c "{CODE[kind]}" {names}'


def _kind(path: Path, head: bytes) -> str | None:
    named = SUFFIXES.get(path.suffix.lower())
    if head.startswith(ZIP):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]  # the name of the first member (APPNOTE 4.3.7)
        return "NumPy" if first.endswith(b".npy") or named == "NumPy" else "PyTorch"
    # No instruction of a pickle is a zero byte; the length of a header mostly has one there, and "{" behind it.
    if len(head) > 2 and head[0] == 0x80 and 0 < head[1] <= 5 and head[2] != 0 and head[8:9] != b"{":
        return "PyTorch" if OLD_TORCH in head or named == "PyTorch" else "pickle"
    return named
