"""Files that are damaged, hostile or of another format: one kind of error, nothing run, no memory taken."""

import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load as load_by_library
from safetensors.numpy import save as save_by_library

import tinygrad_cnn as tg
from tinygrad_cnn import CheckpointError, load, save
from tinygrad_cnn.interchange.digest import KEY, digest
from tinygrad_cnn.interchange.header import MOST_BYTES
from tinygrad_cnn.interchange.npy import npy_array, npz_arrays
from tinygrad_cnn.interchange.safetensors import read
from tinygrad_cnn.train import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent


def file_of(text, data=b""):
    text = text if isinstance(text, bytes) else text.encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(name, dtype="F32", shape="[1]", offsets="[0,4]"):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def refused(path, content):
    """The error of a file, and the most memory that reading it took."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=re.escape(str(path))) as raised:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(content) + 2**26
    return raised.value


# H168: each with what must be said of it

FOUR = b"\0" * 4
MALFORMED = {
    "empty": (b"", "it ends before the length of its header"),
    "7 bytes": (b"\2\0\0\0\0\0\0", "it ends before the length of its header"),
    "length 2^63": ((2**63).to_bytes(8, "little") + b"{}", f"would have {2**63} bytes; at most {MOST_BYTES} are read"),
    "longer than the file": ((3).to_bytes(8, "little") + b"{}", "its header has 3 bytes, 2 are there"),
    "no header": (file_of(""), "its header starts with b''; b'{' is needed"),
    "no JSON": (file_of("not json"), "its header starts with b'n'"),
    "JSON that ends early": (file_of('{"a":'), "its header is no JSON: Expecting value"),
    "a list": (file_of("[]"), "its header starts with b'['"),
    "no UTF-8": (file_of(b'{"\xff":1}'), "its header is no JSON: 'utf-8' codec"),
    "half a pair": (file_of("{" + entry(r"\ud800") + "}", FOUR), r"'\ud800' is no text: half of a surrogate pair"),
    "10^5 deep": (file_of('{"a":' + "[" * 100_000), "its header is no JSON: "),
    "NaN": (file_of('{"a":NaN}'), "its header is no JSON: NaN is no number"),
    "5000 digits": (file_of("{" + entry("a", shape=f"[{'9' * 5000}]") + "}", FOUR), "its header is no JSON: Exceeds"),
    "metadata a number": (file_of('{"__metadata__":{"a":1}}'), "its metadata is no object of texts"),
    "metadata a text": (file_of('{"__metadata__":"a"}'), "its metadata is no object of texts"),
    "no entry": (file_of('{"a":3}'), "'a' is not described by dtype, shape and data_offsets"),
    "a field less": (file_of('{"a":{"dtype":"U8","shape":[1]}}', b"1"), "'a' is not described by"),
    "a field more": (file_of("{" + entry("a")[:-1] + ',"x":1}}', FOUR), "'a' is not described by"),
    "shape -1": (file_of("{" + entry("a", shape="[-1]") + "}", FOUR), "'a' has the shape [-1]; at most 64 lengths"),
    "shape 1.0": (file_of("{" + entry("a", shape="[1.0]") + "}", FOUR), "'a' has the shape [float]; at most"),
    "shape true": (file_of("{" + entry("a", shape="[true]") + "}", FOUR), "'a' has the shape [True]; at most"),
    "shape a number": (file_of("{" + entry("a", shape="1") + "}", FOUR), "'a' has the shape 1; at most 64"),
    "shape that overflows": (
        file_of("{" + entry("a", shape=f"[{2**62},4]") + "}", FOUR),
        f"'a' has 4 bytes; F32 [{2**62}, 4] needs {2**66}",
    ),
    "shape that wraps to 0": (
        file_of("{" + entry("a", shape=f"[{2**40},0,{2**40}]", offsets="[0,0]") + "}"),
        f"'a' has 0 bytes; F32 [{2**40}, 0, {2**40}] needs 0",
    ),
    "10,000 axes": (
        file_of("{" + entry("a", shape="[" + ",".join(["1"] * 10_000) + "]") + "}", FOUR),
        "'a' has the shape [1, 1, 1, 1, 1, 1, 1, 1, ...]; at most 64 lengths",
    ),
    "begin behind end": (
        file_of("{" + entry("a", offsets="[4,0]") + "}", FOUR),
        "'a' lies at [4, 0], which is no place",
    ),
    "negative offset": (file_of("{" + entry("a", offsets="[-4,0]") + "}", FOUR), "'a' lies at [-4, 0], which is no"),
    "offset behind the end": (
        file_of("{" + entry("a", offsets="[0,8]") + "}", FOUR),
        "'a' lies at [0, 8], which is no",
    ),
    "offset 1.0": (file_of("{" + entry("a", offsets="[0,4.0]") + "}", FOUR), "'a' lies at [0, float], which is no"),
    "three offsets": (file_of("{" + entry("a", offsets="[0,4,4]") + "}", FOUR), "'a' lies at [0, 4, 4], which is no"),
    "too few bytes": (file_of("{" + entry("a", shape="[2]") + "}", FOUR), "'a' has 4 bytes; F32 [2] needs 8"),
    "overlap": (
        file_of("{" + entry("a") + "," + entry("b") + "}", FOUR),
        "'b' begins at byte 0 of the data and overlaps what ends at 4",
    ),
    "hole": (
        file_of("{" + entry("a") + "," + entry("b", offsets="[6,10]") + "}", b"\0" * 10),
        "'b' begins at byte 6 of the data and leaves a hole after what ends at 4",
    ),
    "hole at the start": (file_of("{" + entry("a", offsets="[2,6]") + "}", b"\0" * 6), "'a' begins at byte 2"),
    "trailing": (file_of("{" + entry("a") + "}", b"\0" * 5), "1 bytes stand behind the last tensor"),
    "data without tensors": (file_of("{}", b"\0"), "1 bytes stand behind the last tensor"),
    "dtype unknown": (
        file_of("{" + entry("a", "Q7") + "}", FOUR),
        "'a' has the dtype 'Q7', which NumPy lacks; convert it",
    ),
    "dtype BF16": (file_of("{" + entry("a", "BF16", "[2]") + "}", FOUR), "'a' has the dtype 'BF16', which NumPy lacks"),
    "dtype C64": (file_of("{" + entry("a", "C64", offsets="[0,8]") + "}", FOUR * 2), "'a' has the dtype 'C64', which"),
    "dtype a number": (
        file_of('{"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}}', FOUR),
        "'a' has the dtype 3, which",
    ),
    "a key twice": (
        file_of("{" + entry("a") + "," + entry("a", shape="[4]", offsets="[4,20]") + "}", FOUR * 5),
        "its header has the key 'a' twice",
    ),
    "the same twice": (file_of("{" + entry("a") + "," + entry("a") + "}", FOUR), "its header has the key 'a' twice"),
    "a field twice": (
        file_of('{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
        "its header has the key 'dtype' twice",
    ),
    "metadata twice": (
        file_of('{"__metadata__":{"a":"1"},"__metadata__":{},' + entry("a") + "}", FOUR),
        "its header has the key '__metadata__' twice",
    ),
    "a bool of 2": (
        file_of("{" + entry("a", "BOOL", "[4]") + "}", b"\0\1\2\1"),
        "'a' is BOOL and has a byte that is neither",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_H168_a_malformed_file_is_refused_with_what_is_wrong(tmp_path, case):
    content, message = MALFORMED[case]
    error = refused(tmp_path / "x", content)
    assert str(error).startswith(f"{tmp_path / 'x'}: not a readable safetensors file of {len(content)} bytes: ")
    assert message in str(error)
    assert any(message in problem for problem in error.problems)


HEAVY = {
    "pairs": "{" + ",".join(f'"{i:x}":{{}}' for i in range(MOST_BYTES // 11)) + "}",
    "wide characters": '"' + "\U0001f600" * (MOST_BYTES // 4 - 20) + '"',
}


@pytest.mark.parametrize("case", HEAVY)
def test_H168_the_heaviest_header_takes_little_memory(tmp_path, case):
    content = file_of('{"a":' + HEAVY[case] + "}")
    assert len(content) > MOST_BYTES // 3
    refused(tmp_path / "x", content)


def test_H168_many_bad_entries_are_counted_and_not_all_shown(tmp_path):
    text = "{" + ",".join(entry(f"{i}", "Q7", "[]", "[0,0]") for i in range(5_000)) + "}"
    error = refused(tmp_path / "x", file_of(text))
    assert len(error.problems) == 5_000
    assert f"x: not a readable safetensors file of {len(text) + 8} bytes: 5000 problems:\n  '0' has the" in str(error)
    assert str(error).endswith("\n  and 4900 more")


def test_H168_all_problems_of_a_file_are_listed_at_once(tmp_path):
    text = ("{" + entry("a", "BF16", "[2]") + "," + entry("b", shape="[-1]", offsets="[4,8]") + ","
            + entry("c", shape="[3]", offsets="[8,12]") + ',"__metadata__":{"n":1}}')  # fmt: skip
    error = refused(tmp_path / "x", file_of(text, b"\0" * 13))
    assert [problem.split(";")[0] for problem in error.problems] == [
        "its metadata is no object of texts",
        "'a' has the dtype 'BF16', which NumPy lacks",
        "'b' has the shape [-1]",
        "'c' has 4 bytes",
        "1 bytes stand behind the last tensor",
    ]


def test_H168_more_tensors_than_are_read_back_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match=rf"save: 25 tensors .* of \d+ bytes; at most {MOST_BYTES} are read"):
        save({f"{i:0100000}": np.ones(()) for i in range(25)}, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_H168_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match=f"{path}: not a regular file; a safetensors file is needed"):
            load(path)


STATE = {f"t{i}": np.random.default_rng(i).normal(size=(8, 8)).astype(np.float32) for i in range(4)}


@st.composite
def headers(draw):
    """Files of a few tensors, some of whose parts are odd."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "", "__metadata__"]), max_size=4))
    begin, parts = 0, []
    for name in names:
        size = draw(st.sampled_from([0, 1, 2, 3]))
        gap = draw(st.sampled_from([0, 0, 0, 1, -1]))
        dtype = draw(st.sampled_from(["U8", "U8", "I8", "F16"]))
        end = begin + size * (2 if dtype == "F16" else 1)
        parts.append(entry(name, dtype, f"[{size}]", f"[{begin + gap},{end}]"))
        begin = end
    return file_of("{" + ",".join(parts) + draw(st.sampled_from(["}", "}", "}  ", "} x"])),
                   bytes(max(0, begin + draw(st.sampled_from([0, 0, 0, 1, -1])))))  # fmt: skip


@given(content=headers())
def test_what_is_read_here_is_what_the_library_reads(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "header"
    path.write_bytes(content)
    try:
        ours = load(path)
    except CheckpointError:
        return
    theirs = load_by_library(content)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (value.array.dtype, value.array.tobytes()) == (theirs[name].dtype, theirs[name].tobytes())


def test_duplicate_keys_are_what_the_library_lets_through(tmp_path):
    content, _ = MALFORMED["the same twice"]
    try:
        found = load_by_library(content)
    except SafetensorError:
        pytest.skip("this version of safetensors refuses duplicate keys itself")
    assert list(found) == ["a"]


# H167: damage


def damaged(content, rng):
    """The content with one fault of four kinds."""
    kind, at = rng.randrange(4), rng.randrange(len(content))
    if kind == 0:
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    if kind == 1:
        return content[:at] + b"\0" * min(16, len(content) - at) + content[at + 16 :]
    if kind == 2:  # some bytes stand twice, put in or over others
        part = content[at : at + rng.choice([1, 16, 256])]
        to = rng.randrange(len(content))
        return content[:to] + part + content[to + rng.choice([0, len(part)]) :]
    return content + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20)))


def test_H167_of_400_damaged_files_each_is_refused_or_the_same(tmp_path):
    path, seed = tmp_path / "x", random.randrange(2**32)
    rng = random.Random(seed)
    save(STATE, path)
    content, same = path.read_bytes(), 0
    for i in range(400):
        path.write_bytes(damaged(content, rng))
        try:
            found = load(path)
        except CheckpointError:
            continue
        same += 1
        assert {name: value.numpy().tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in STATE.items()
        }, (seed, i)
    assert same < 40


def test_H167_any_bit_of_the_data_and_any_name_dtype_and_shape_is_noticed(tmp_path):
    path = tmp_path / "x"
    state = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.ones(3, np.float32)}
    save(state, path)
    content = path.read_bytes()
    for at in range(len(content) - 24, len(content)):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            with pytest.raises(
                CheckpointError, match=r"x: its digest is \w{64}, '\w{64}' was saved: it was damaged, or"
            ):
                load(path)
    for old, new in ((b'"a"', b'"c"'), (b"I16", b"U16"), (b"[2,3]", b"[3,2]"), (b'"pt"', b'"np"')):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(CheckpointError, match="its digest is"):
            load(path)


def test_the_digest_is_the_one_that_its_documentation_says(tmp_path):
    import hashlib

    save({"b": np.arange(3, dtype=np.int16), "a": np.ones((2, 1))}, tmp_path / "x")
    text = (b'{"format":"pt"}\n["a","F64",[2,1]]\n' + np.ones(2).tobytes()
            + b'["b","I16",[3]]\n' + np.arange(3, dtype=np.int16).tobytes())  # fmt: skip
    content = read(tmp_path / "x")
    assert content.metadata == {"format": "pt", KEY: hashlib.sha256(text).hexdigest()}
    assert content.is_checked
    assert KEY == "tinygrad_cnn.sha256"


def test_a_file_without_a_digest_loads(tmp_path):
    (tmp_path / "x").write_bytes(save_by_library({"a": np.arange(3.0)}, {"anything": "else"}))
    content = read(tmp_path / "x")
    assert content.state["a"].tolist() == [0, 1, 2]
    assert (content.metadata, content.is_checked) == ({"anything": "else"}, False)


# H169: .npy and .npz, which a Trace and pictures come in


def npy(header, data=b"", version=b"\1\0"):
    text = header.encode("latin1")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def declared(shape, dtype="<f8"):
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n"


NPY = {
    "2^40 numbers": (npy(declared(f"({2**40},)"), b"\0" * 8), rf"8 bytes of numbers; float64 of shape \({2**40},"),
    "2^62 times 4": (npy(declared("(4611686018427387904, 4)"), b"\0" * 8), "8 bytes of numbers; float64 of shape"),
    "wrapping": (npy(declared("(4611686018427387904, 4, 0)")), "0 bytes of numbers; float64 of shape"),
    "-1": (npy(declared("(-1,)"), b"\0" * 8), r"8 bytes of numbers; float64 of shape \(-1,\) is something else"),
    "more": (npy(declared("(1,)"), b"\0" * 9), "9 bytes of numbers"),
    "9000 parentheses": (npy("(" * 9000 + ")" * 9000), "its header cannot be read: "),
    "9000 open ones": (npy("(" * 9000), "its header cannot be read: "),
    "a call": (npy("{'descr': exit(), 'fortran_order': False, 'shape': (1,)}"), "its header cannot be read: "),
    "objects": (npy(declared("(1,)", "|O"), pickle.dumps(3)), "Object arrays cannot be loaded when allow_pickle=False"),
    "texts": (npy(declared("(1,)", "<U2"), b"\0" * 8), "it holds <U2; numbers are needed"),
    "version 9": (npy(declared("(1,)"), b"\0" * 8, b"\x09\0"), "its header cannot be read: "),
    "2^32 bytes of header": (b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "its header cannot be read: "),
    "nothing": (b"", "its header cannot be read: "),
    "a pickle": (pickle.dumps(3), "its header cannot be read: "),
}  # fmt: skip


@pytest.mark.parametrize("case", NPY)
@pytest.mark.filterwarnings("ignore::Warning")  # Python's of the odd source in a header
def test_H169_an_array_file_is_refused_by_what_it_declares(case):
    content, message = NPY[case]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            npy_array(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content) + 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.float32(3),
     np.ones((0, 2), np.int8), np.arange(3, dtype=">i4"), np.array([True, False])],
)  # fmt: skip
def test_arrays_of_others_are_read_as_numpy_reads_them(tmp_path, array):
    stream = io.BytesIO()
    np.save(stream, array)
    found = npy_array(stream.getvalue())
    assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
    assert found.flags.writeable
    np.savez(tmp_path / "x.npz", array, b=array)
    assert {name: value.tolist() for name, value in npz_arrays(tmp_path / "x.npz").items()} == {
        "arr_0": array.tolist(), "b": array.tolist()}  # fmt: skip


def zipped(compression, members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_H169_an_archive_that_would_grow_is_refused_before_it_does(tmp_path):
    path = tmp_path / "x.npz"
    large = npy(declared("(16777216,)"), b"\0" * 2**27)
    bomb = zipped(zipfile.ZIP_DEFLATED, {"a.npy": large})
    assert len(bomb) < 2**18
    stored = zipped(zipfile.ZIP_STORED, {"a.npy": npy(declared("(2,)"), b"\0" * 16)})
    place = stored.index(b"PK\1\2") + 20  # in the directory of the archive: compressed size, size
    grown = stored[:place] + struct.pack("<II", 2**30, 2**30) + stored[place + 8 :]
    flipped = bytearray(stored)
    flipped[stored.index(b"NUMPY")] ^= 1
    for content, message in (
        (bomb, "its members are compressed, and could grow to any size"),
        (grown, rf"its members have more bytes than the {len(stored)} of the file"),
        (bytes(flipped), "Bad CRC-32"),
        (stored[:-30], "File is not a zip file"),
        (b"text", "File is not a zip file"),
    ):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=f"{path}: {message}"):
                npz_arrays(path)
            assert tracemalloc.get_traced_memory()[1] < 2**22
        finally:
            tracemalloc.stop()


def test_H169_a_trace_refuses_an_archive_that_would_grow(tmp_path):
    tg.record(tg.nn.ReLU(), tg.Tensor([1.0])).save(tmp_path / "a.json")
    (tmp_path / "a.npz").write_bytes(zipped(zipfile.ZIP_DEFLATED, {"a.npy": b"\0" * 2**20}))
    with pytest.raises(
        ValueError, match=r"a.npz is no file of arrays, or damaged; record and save again \(.*compressed"
    ):
        tg.Trace.load(tmp_path / "a.json")


# H170: other formats


class Evil:
    """Pickled as a call that creates a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def torch_zip(content):
    return zipped(zipfile.ZIP_STORED, {"x/data.pkl": content, "x/version": "3"})


OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
TORCH, PICKLE, NUMPY = (
    "a file of torch.save is a pickle",
    "a pickle can run what it says",
    "an .npz file is not read here",
)
FOREIGN = {
    "x.pt": (torch_zip, TORCH), "x.safetensors": (torch_zip, TORCH), "x.pth": (lambda p: OLD_TORCH + p, TORCH),
    "x.ckpt": (lambda p: p, TORCH), "x": (lambda p: OLD_TORCH + p, TORCH),
    "y.pkl": (lambda p: p, PICKLE), "y": (lambda p: p, PICKLE),
    "y.pickle": (lambda p: b"cpathlib\nPath\n.", PICKLE), "x.PT": (lambda p: b"anything", TORCH),
    "z.npz": (lambda p: zipped(zipfile.ZIP_STORED, {"b": b"", "a.npy": npy(declared("(1,)", "|O"), p)}), NUMPY),
    "z": (lambda p: zipped(zipfile.ZIP_STORED, {"a.npy": npy(declared("(1,)", "|O"), p)}), NUMPY),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_H170_pickles_and_archives_are_refused_unopened_with_the_line_that_converts_them(tmp_path, name, protocol):
    make, said = FOREIGN[name]
    canary, path, model = tmp_path / "canary", tmp_path / name, tg.nn.Linear(1, 1)
    path.write_bytes(make(pickle.dumps({"weight": Evil(canary)}, protocol)))
    for read_it in (load, model.load, lambda path: load_checkpoint(path, model)):
        with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: {said}") as raised:
            read_it(path)
        last = str(raised.value).splitlines()[-1]
        assert last.startswith('  python -c "import sys, ')
        # never over the file itself
        target = "x.converted.safetensors" if name == "x.safetensors" else f"{path.stem}.safetensors"
        assert last.endswith(f'" {path} {tmp_path / target}')
    assert not canary.exists()
    pickle.loads(pickle.dumps(Evil(canary), protocol))  # what must not happen
    assert canary.exists()


@pytest.mark.parametrize("name", ["y.pkl", "a name; with $(odd) 'parts'.npz"])
def test_H170_the_line_converts_what_was_refused(tmp_path, name):
    path, wanted = tmp_path / name, {"a": np.arange(6.0).reshape(2, 3).T, "b": np.float32(2)}
    if path.suffix == ".npz":
        np.savez(path, **wanted)
    else:
        path.write_bytes(pickle.dumps(wanted))
    with pytest.raises(CheckpointError) as raised:
        load(path)
    line = str(raised.value).splitlines()[-1].replace("python", sys.executable, 1)
    subprocess.run(line, shell=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = load(path.with_suffix(".safetensors"))
    assert {key: value.tolist() for key, value in found.items()} == {"a": wanted["a"].tolist(), "b": 2}


def test_a_header_whose_length_looks_like_a_pickle_is_read_and_its_damage_named(tmp_path):
    for length in range(0x0280, 0x0580, 0x100):  # the bytes 80 02, 80 03, 80 04
        path = tmp_path / "x"
        text = '{"__metadata__":{"a":"' + "b" * (length - 25) + '"}}'
        assert len(text) == length
        path.write_bytes(file_of(text))
        assert load(path) == {}
        for end in (3, 8, 9, 100):
            path.write_bytes(file_of(text)[:end])
            with pytest.raises(CheckpointError, match="not a readable safetensors file"):
                load(path)


# H171, H172: names and texts in a file are data


def test_H171_names_are_never_paths_or_attributes(tmp_path):
    names = [
        "../x",
        "/etc/passwd",
        "a/b",
        "a\0b",
        "\u00e9",
        "e\u0301",
        "",
        "__class__",
        "forward",
        "n" * 10**6,
        "{0.__class__}",
        "%n",
    ]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x"
    save({name: np.full(1, i) for i, name in enumerate(names)}, path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "x"]
    found = load(path)
    assert {name: int(value.array[0]) for name, value in found.items()} == {name: i for i, name in enumerate(names)}
    model = tg.nn.Linear(1, 1)
    before = dict(vars(model))
    with pytest.raises(CheckpointError, match="it does not fit Linear") as raised:
        model.load(path)
    assert len(raised.value.problems) == len(names) + 2
    with pytest.raises(ValueError, match="differences from Linear"):
        model.load_state_dict(found)
    model.load_state_dict(found, strict=False)
    assert vars(model) == before
    assert type(model) is tg.nn.Linear
    assert callable(model.forward)


def test_H171_a_lone_surrogate_is_no_name(tmp_path):
    with pytest.raises(
        ValueError, match=r"save: the key 'a\\udc80' has half of a surrogate pair, which UTF-8 cannot hold"
    ):
        save({"a\udc80": np.ones(1)}, tmp_path / "x")


def test_H172_texts_in_a_file_are_never_run_imported_or_formatted(tmp_path):
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    texts = {"kind": code, "format": "{0.__class__}%n%s", "architecture": "os.system", "tree": code, "$tree": code}
    metadata = {**texts, KEY: digest(texts, [])}
    (tmp_path / "x").write_bytes(save_by_library({}, metadata))
    assert read(tmp_path / "x").metadata == metadata
    with pytest.raises(
        CheckpointError, match=re.escape(f"its kind is {code!r}; 'tinygrad_cnn checkpoint 2' is needed")
    ):
        load_checkpoint(tmp_path / "x", tg.nn.Linear(1, 1))
    for text in (
        code,
        json.dumps({"$code": code}),
        json.dumps({"$number": [code, 3]}),
        json.dumps({"$number": ["O", code]}),
    ):
        tree = np.frombuffer(text.encode(), np.uint8)
        metadata = {"kind": "tinygrad_cnn checkpoint 2"}
        metadata[KEY] = digest(metadata, [("$tree", "U8", tree.shape, tree.tobytes())])
        (tmp_path / "x").write_bytes(save_by_library({"$tree": tree}, metadata))
        with pytest.raises(CheckpointError, match="x: its tree "):
            load_checkpoint(tmp_path / "x", tg.nn.Linear(1, 1))
    assert not canary.exists()
