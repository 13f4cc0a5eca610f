"""Files of datasets: what is written in their formats is read, and what is damaged is named."""

import gzip
import hashlib
import http.server
import io
import pickle
import re
import struct
import sys
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.data import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    DataLoader,
    DatasetError,
    Digits,
    FashionMNIST,
    ImageFolder,
    VisionDataset,
    digits,
    read_idx,
    read_image,
    transforms,
)
from tinygrad_cnn.data.batches import read_batch

shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
KINDS = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def rng(seed=0):
    return np.random.default_rng(seed)


def idx(array):
    """The bytes of an IDX file."""
    kind = KINDS[array.dtype.str[1:]]
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


@st.composite
def damaged(draw, whole):
    """Bytes of a file that was cut, lengthened, or changed in a few places."""
    content = bytearray(whole)
    kind = draw(st.sampled_from(["cut", "lengthened", "changed", "swapped"]))
    if kind == "cut":
        return bytes(content[: draw(st.integers(0, len(content) - 1))])
    if kind == "lengthened":
        return bytes(content) + draw(st.binary(min_size=1, max_size=20))
    if kind == "swapped":
        i = draw(st.integers(0, len(content) - 1))
        return bytes(content[i:] + content[:i])
    for _ in range(draw(st.integers(1, 4))):
        # most files carry what matters in their first bytes
        i = draw(st.integers(0, min(60, len(content) - 1)) | st.integers(0, len(content) - 1))
        content[i] = draw(st.integers(0, 255))
    return bytes(content)


# IDX


@shared
@given(
    array=hnp.arrays(st.sampled_from([np.dtype(k) for k in KINDS]), hnp.array_shapes(max_dims=4, max_side=5)),
    compressed=st.booleans(),
)
def test_an_idx_file_is_read_as_it_was_written(tmp_path, array, compressed):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(idx(array), 1, mtime=0) if compressed else idx(array))
    found = read_idx(path)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.dtype.isnative
    assert found.flags.writeable


def test_a_long_file_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("tinygrad_cnn.data.idx.PIECE", 5)
    (tmp_path / "a").write_bytes(idx(SMALL))
    assert np.array_equal(read_idx(tmp_path / "a"), SMALL)


SMALL = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@shared
@given(content=damaged(idx(SMALL)) | damaged(gzip.compress(idx(SMALL), mtime=0)) | st.binary(max_size=30))
def test_a_damaged_idx_file_is_a_named_error_or_an_array(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    try:
        found = read_idx(path)
    except DatasetError as error:
        assert str(error).startswith(f"read_idx: {path}")  # noqa: PT017
    else:
        assert found.nbytes + 4 + 4 * found.ndim == len(
            gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with the bytes (none); an IDX file starts with 00 00, a type of 08, 09, 0b, 0c, 0d, 0e, and its"),
        (b"\x89PNG....", "starts with the bytes 89 50 4e 47; an IDX file starts with 00 00"),
        (b"\0\0\x07\x01\0\0\0\0", "starts with the bytes 00 00 07 01"),
        (b"\0\0\x08\x03\0\0\0\x01", "4 bytes of lengths; 3 axes need 12"),
        (idx(SMALL)[:-5], "19 bytes of numbers; its shape (2, 3, 4) of uint8 needs 24; the file was cut or changed"),
        (idx(SMALL) + b"x", "more bytes of numbers; its shape (2, 3, 4) of uint8 needs 24"),
        (gzip.compress(idx(SMALL)[:-5], mtime=0), "19 bytes of numbers; its shape (2, 3, 4) of uint8 needs 24"),
        (gzip.compress(idx(SMALL), mtime=0)[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        (b"\0\0\x08\x46" + b"\0\0\0\1" * 70 + b"x", "70 axes; an array has 64 at most; the file was changed; fetch it"),
        (b"\0\0\x0e\x03" + b"\xff" * 8 + b"\0" * 4,
         "its shape (4294967295, 4294967295, 0) of float64 is larger than an array can be; the file was cut or"),
        (b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8, "its shape (0, 4294967295, 4294967295) of uint8 is larger than"),
        (b"\0\0\x0e\x02" + b"\xff" * 8, "at most 12 bytes of numbers; its shape (4294967295, 4294967295) of float64"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_idx_file_is_said(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(f"read_idx: {tmp_path / 'a'}") + ".*" + re.escape(message)):
        read_idx(tmp_path / "a")


# MNIST


def write_mnist(root, kind="MNIST", n=5, compressed=False, labels=None, images=None):
    raw = root / kind / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    images = rng().integers(0, 256, (n, 28, 28), np.uint8) if images is None else images
    labels = (np.arange(n) % 10).astype(np.uint8) if labels is None else labels
    for name, array in {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": images[:2],
        "t10k-labels-idx1-ubyte": labels[:2],
    }.items():
        content = gzip.compress(idx(array), mtime=0) if compressed else idx(array)
        (raw / (name + ".gz" if compressed else name)).write_bytes(content)
    return images, labels


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_read_from_torchvision_s_folder(tmp_path, kind, compressed):
    images, labels = write_mnist(tmp_path, kind.__name__, compressed=compressed)
    train = kind(str(tmp_path))
    assert len(train) == 5
    assert np.array_equal(train.data, images)
    assert train.targets.tolist() == labels.tolist()
    image, label = train[3]
    assert np.array_equal(image, images[3][None])
    assert label == 3
    assert type(label) is int
    assert train[-1][1] == 4
    assert len(kind(tmp_path, train=False)) == 2
    assert list(train.class_to_idx) == list(train.classes)
    assert len(train.classes) == 10
    image[...] = 0
    assert np.array_equal(train[3][0], images[3][None])


def test_the_transforms_of_a_dataset_are_applied(tmp_path):
    images, _ = write_mnist(tmp_path)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])
    dataset = MNIST(tmp_path, transform=change, target_transform=lambda label: label + 100)
    ((x, y),) = DataLoader(dataset, 5)
    assert (x.shape, x.dtype, y.numpy().tolist()) == ((5, 1, 28, 28), np.float32, [100, 101, 102, 103, 104])
    assert np.allclose(x.numpy()[:, 0], (images / 255 - 0.1307) / 0.3081, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((5, 27, 28), np.uint8)}, "train-images-idx3-ubyte holds uint8 (5, 27, 28); it needs"),
        ({"images": np.zeros((5, 28, 28), np.int16)}, "train-images-idx3-ubyte holds int16 (5, 28, 28); it needs"),
        ({"labels": np.zeros(4, np.uint8)}, "train-labels-idx1-ubyte holds uint8 (4,); it needs uint8 (5,), a label"),
        ({"labels": np.full(5, 10, np.uint8)}, "train-labels-idx1-ubyte has a label 10; it needs 0 to 9"),
    ],
)  # fmt: skip
def test_files_that_are_no_mnist_are_named(tmp_path, arrays, message):
    write_mnist(tmp_path, **arrays)
    with pytest.raises(DatasetError, match="MNIST: .*" + re.escape(message)):
        MNIST(tmp_path)


def test_missing_files_are_named(tmp_path):
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    message = f"MNIST: there is no {path}; give the folder that holds it as root, or download=True"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        MNIST(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"CIFAR10: there is no {tmp_path / 'cifar-10-batches-py'}")):
        CIFAR10(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"ImageFolder: there is no {tmp_path / 'x'}; give")):
        ImageFolder(tmp_path / "x")


# CIFAR


def python2_pickle(images, labels, key="labels"):
    """A batch as Python 2 pickled it with protocol 2: byte strings, and the array through numpy.core.multiarray."""

    def string(data):
        data = data.encode() if isinstance(data, str) else data
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data

    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    shape = b"M" + struct.pack("<H", images.shape[0]) + b"M" + struct.pack("<H", images.shape[1]) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nK\x00\x85" + string("b") + b"\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + string("u1") + b"K\x00K\x01\x87R(K\x03" + string("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + string(images.tobytes()) + b"tb"
    )  # fmt: skip
    return b"\x80\x02}(" + string(key) + b"](" + numbers + b"e" + string("data") + array + b"u."


def cifar_arrays(n, count, seed=0):
    return rng(seed).integers(0, 256, (n, 3072), np.uint8), rng(seed + 1).integers(0, count, n).tolist()


def write_cifar(root, kind=CIFAR10, dump=None, n=3):
    folder = root / kind.base_folder
    folder.mkdir(exist_ok=True)
    written = {}
    for k, name in enumerate((*kind.train_list, *kind.test_list)):
        images, labels = written[name] = cifar_arrays(n, kind.count, k)
        content = (dump or python2_pickle)(images, labels, kind.labels_key)
        (folder / name).write_bytes(content)
    names = {kind.meta[1]: [f"class {i}" for i in range(kind.count)]}
    (folder / kind.meta[0]).write_bytes(pickle.dumps(names))
    return written


def python3_pickle(images, labels, key, protocol=2):
    return pickle.dumps({b"data": images, key: labels, b"filenames": [b"a.png"] * len(labels)}, protocol=protocol)


DUMPS = {"python2": python2_pickle, **{f"protocol {p}": partial(python3_pickle, protocol=p) for p in (1, 2, 3, 4)}}


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_cifar_is_read_from_torchvision_s_pickles(tmp_path, kind, dump):
    written = write_cifar(tmp_path, kind, dump)
    train, test = kind(tmp_path), kind(tmp_path, train=False)
    images = np.concatenate([written[name][0] for name in kind.train_list])
    labels = [label for name in kind.train_list for label in written[name][1]]
    assert np.array_equal(train.images.reshape(-1, 3072), images)
    assert train.targets.tolist() == labels
    assert train.data.shape == (len(labels), 32, 32, 3)
    image, label = train[1]
    assert np.array_equal(image, images[1].reshape(3, 32, 32))
    assert label == labels[1]
    assert np.array_equal(test.images.reshape(-1, 3072), written[kind.test_list[0]][0])
    assert train.classes == [f"class {i}" for i in range(kind.count)]
    assert train.class_to_idx["class 3"] == 3


class SmallCIFAR10(CIFAR10):
    """With three images in each binary file."""

    per_file = dict.fromkeys([*CIFAR10.train_list, *CIFAR10.test_list], 3)


class SmallCIFAR100(CIFAR100):
    """With three images in each binary file."""

    per_file = dict.fromkeys([*CIFAR100.train_list, *CIFAR100.test_list], 3)


@pytest.mark.parametrize("kind", [SmallCIFAR10, SmallCIFAR100])
def test_cifar_is_read_from_its_binary_files(tmp_path, kind):
    folder = tmp_path / kind.binary_folder
    folder.mkdir()
    written = {}
    for k, name in enumerate((*kind.train_list, *kind.test_list)):
        images, labels = written[name] = cifar_arrays(3, kind.count, k)
        coarse = b"\x07" * (kind.label_bytes - 1)
        records = b"".join(coarse + bytes([y]) + x.tobytes() for x, y in zip(images, labels, strict=True))
        (folder / f"{name}.bin").write_bytes(records)
    (folder / kind.meta[2]).write_text("\n".join(f"c{i}" for i in range(kind.count)) + "\n\n")
    train = kind(tmp_path)
    assert train.targets.tolist() == [y for name in kind.train_list for y in written[name][1]]
    assert np.array_equal(train.images[:3].reshape(3, -1), written[kind.train_list[0]][0])
    assert train.classes[-1] == f"c{kind.count - 1}"
    broken = folder / f"{kind.test_list[0]}.bin"
    broken.write_bytes(broken.read_bytes()[:-1])
    size = 3 * (3072 + kind.label_bytes)
    with pytest.raises(DatasetError, match=re.escape(f"{broken} has {size - 1} bytes; 3 images of {size // 3} bytes")):
        kind(tmp_path, train=False)


def test_the_files_of_the_real_cifar_have_ten_thousand_images(tmp_path):
    folder = tmp_path / CIFAR10.binary_folder
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(b"\0" * 3073)
    with pytest.raises(
        DatasetError, match="has 3073 bytes; 10000 images of 3073 bytes need 30730000; the file was cut"
    ):
        CIFAR10(tmp_path, train=False)
    with pytest.raises(FileNotFoundError, match=r"CIFAR10: there is no .*data_batch_1\.bin; give the folder"):
        CIFAR10(tmp_path)


canary: list[str] = []


def sing(*arguments):
    canary.append("ran")
    return {"data": np.zeros((1, 3072), np.uint8), "labels": [0]}


class Evil:
    def __reduce__(self):
        return sing, ()


class EvilState:
    def __reduce__(self):
        return np.dtype, ("u1",), {"__setstate__": 1}


def array_record(state):
    """The pickle of an array of bytes whose record is (version, shape, dtype, order, numbers)."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n)R"
    return b"}S'a'\n" + made + b"(I1\n" + state.replace(b"U1", b"cnumpy\ndtype\n(S'u1'\ntR") + b"tbs."


HOSTILE = {
    "a function of ours": (pickle.dumps({"data": Evil()}), "it asks for test_data_files.sing, which may run anything"),
    "os.system": (b"cos\nsystem\n(S'touch x'\ntR.", "it asks for os.system, which may run anything"),
    "eval": (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "it asks for builtins.eval, which may run"),
    "an instance": (b"(S'touch x'\nios\nsystem\n.", "the instruction INST at byte 12 is not allowed"),
    "an object": (b"(cos\nsystem\nS'touch x'\no.", "the instruction OBJ at byte 23 is not allowed"),
    "a new object": (b"\x80\x02cnumpy\ndtype\n)\x81.", "the instruction NEWOBJ at byte 16 is not allowed"),
    "a persistent id": (b"Px\n.", "the instruction PERSID at byte 0 is not allowed"),
    "an extension": (b"\x82\x01.", "the instruction EXT1 at byte 0 is not allowed"),
    "memory by number": (b"Nr\xff\xff\xff\x7f.", "it remembers a value under the number 2147483647"),
    "numpy.load": (b"cnumpy\nload\n(S'x.npy'\ntR.", "it asks for numpy.load, which may run anything"),
    "another codec": (b"}(S'a'\nc_codecs\nencode\n(Vab\nVrot13\ntRu.", "bytes that are not encoded in latin1"),
    "a list": (pickle.dumps([1]), "it holds a list"),
    "a number as key": (pickle.dumps({1: 2}), "a key is a int"),
    "floats": (pickle.dumps({"data": np.zeros(3)}, 2), "an array that is not of bytes"),
    "objects": (pickle.dumps({"data": np.array([None])}, 2), "an array that is not of bytes"),
    "something behind": (pickle.dumps({}) + b"x", "1 bytes stand behind its end"),
    "no numbers": (b"}(S'a'\ncnumpy.core.multiarray\n_reconstruct\n)Ru.", "an array without its numbers"),
    "another shape": (array_record(b"S'ab'\nU1I00\nS'x'\n"), "an array of shape b'ab'"),
    "a negative length": (array_record(b"(I-2\ntU1I00\nS'x'\n"), "an array of shape (-2,)"),
    "numbers as a list": (array_record(b"(I2\ntU1I00\n(l"), "an array whose numbers are a list"),
    "nothing": (b"", "pickle exhausted before seeing STOP"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_pickle_that_is_no_batch_is_refused_and_nothing_runs(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(f"read_batch: {path}: ") + ".*" + re.escape(message)):
        read_batch(path)
    assert canary == []
    assert [file.name for file in tmp_path.iterdir()] == ["batch"]


def test_a_batch_of_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "batch"
    with path.open("wb") as file:
        file.truncate(2**29 + 1)  # a hole, which takes no room
    with pytest.raises(
        DatasetError, match=r"^read_batch: .*batch has 536870913 bytes; a batch of CIFAR has less than 536870912$"
    ):
        read_batch(path)


def test_the_canary_would_sing():
    pickle.loads(HOSTILE["a function of ours"][0])
    assert canary.pop() == "ran"


SMALL_BATCH = pickle.dumps({"data": SMALL.reshape(2, 12), "labels": [1, 2]}, 2)


@shared
@given(content=damaged(SMALL_BATCH) | damaged(python2_pickle(SMALL.reshape(2, 12), [1, 2])) | st.binary(max_size=30))
def test_a_damaged_batch_is_a_named_error_or_data(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content)
    try:
        found = read_batch(path)
    except DatasetError as error:
        assert str(error).startswith(f"read_batch: {path}")  # noqa: PT017
    else:
        assert all(type(key) is str for key in found)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"labels": [1]}, "has NoneType as 'data'; it needs bytes (n, 3072)"),
        ({"data": np.zeros((2, 5), np.uint8), "labels": [1, 2]}, "has an array (2, 5) as 'data'; it needs bytes"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "has no list of whole numbers as 'labels'"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["1"]}, "has no list of whole numbers as 'labels'"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "has 1 labels for 2 images; each needs one"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, "has labels from 10 to 10; it needs 0 to 9"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, "has labels from -1 to -1; it needs 0 to 9"),
    ],
)  # fmt: skip
def test_a_batch_that_is_no_cifar_is_named(tmp_path, batch, message):
    write_cifar(tmp_path)
    path = tmp_path / CIFAR10.base_folder / "test_batch"
    path.write_bytes(pickle.dumps(batch))
    with pytest.raises(DatasetError, match=re.escape(f"CIFAR10: {path} {message}")):
        CIFAR10(tmp_path, train=False)


def test_a_wrong_list_of_classes_is_named(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / CIFAR10.base_folder / "batches.meta"
    path.write_bytes(pickle.dumps({"label_names": ["cat"]}))
    with pytest.raises(DatasetError, match=re.escape(f"CIFAR10: {path} has no list of the 10 names of classes")):
        CIFAR10(tmp_path).classes
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"CIFAR10: there is no {path}")):
        CIFAR10(tmp_path).classes


# Downloads, from this machine to itself


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        asked.append(self.path)


asked: list[str] = []


@contextmanager
def server(folder):
    """The address of a web server of a folder."""
    asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/"
        finally:
            web.shutdown()
            thread.join()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def small_mnist(folder, mirrors):
    """MNIST's class for the files of a folder, under its own name."""
    resources = tuple((name, md5(folder / name)) for name, _ in MNIST.resources)
    return type("MNIST", (MNIST,), {"mirrors": tuple(mirrors), "resources": resources})


def test_a_download_takes_the_first_mirror_that_has_the_file_and_happens_once(tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed (the extra data)")
    images, _ = write_mnist(tmp_path, "web", compressed=True)
    source, root = tmp_path / "web" / "raw", tmp_path / "root"
    with server(source) as address:
        kind = small_mnist(source, [address + "nowhere/", address])
        assert np.array_equal(kind(root, download=True).data, images)
        wanted = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
        assert sorted(path.name for path in (root / "MNIST" / "raw").iterdir()) == wanted
        before = len(asked)
        assert np.array_equal(kind(root, download=True).data, images)
        assert len(asked) == before
    assert np.array_equal(kind(root).data, images)


def test_a_download_with_another_checksum_is_refused_and_nothing_is_kept(tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed (the extra data)")
    write_mnist(tmp_path, "web", compressed=True)
    source, root = tmp_path / "web" / "raw", tmp_path / "root"
    kind = small_mnist(source, [])
    name, wanted = kind.resources[0]
    (source / name).write_bytes(b"something else")
    with server(source) as address:
        kind.mirrors = (address,)
        message = (
            f"MNIST: no {name} with the MD5 checksum {wanted}: {address}{name} has the MD5 checksum "
            f"{md5(source / name)}; the file on the web was changed or damaged on the way; nothing was kept"
        )
        with pytest.raises(DatasetError, match=re.escape(message)):
            kind(root, download=True)
    assert list((root / "MNIST" / "raw").iterdir()) == []


def test_without_a_network_a_download_says_what_to_do(tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed (the extra data)")
    with server(tmp_path) as address:
        pass  # nobody listens there any more
    kind = type("MNIST", (MNIST,), {"mirrors": (address,)})
    with pytest.raises(ConnectionError, match=r"MNIST: no train-images.*: http://127.*; put the file into .* by hand"):
        kind(tmp_path, download=True)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


def test_without_pooch_a_download_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    message = "MNIST: download=True needs pooch, which is not installed; pip install 'tinygrad_cnn[data]'"
    with pytest.raises(ImportError, match=re.escape(message)):
        MNIST(tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


def test_cifar_is_downloaded_and_unpacked_as_a_whole_or_not_at_all(tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed (the extra data)")
    web, root = tmp_path / "web", tmp_path / "root"
    web.mkdir()
    write_cifar(web)
    archive = web / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as content:
        content.add(web / CIFAR10.base_folder, CIFAR10.base_folder)
        stranger = tarfile.TarInfo("../stranger")
        content.addfile(stranger, io.BytesIO())
    kind = type("CIFAR10", (CIFAR10,), {"tgz_md5": md5(archive)})
    with server(web) as address:
        kind.mirrors = (address,)
        assert len(kind(root, download=True)) == 15
        assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "web"]
        assert sorted(path.name for path in root.iterdir()) == [CIFAR10.base_folder, CIFAR10.filename]
        assert len(kind(root, download=True)) == 15
        assert len(asked) == 1

        with tarfile.open(archive, "w:gz") as content:
            content.add(web / CIFAR10.base_folder / "test_batch", f"{CIFAR10.base_folder}/test_batch")
        kind.tgz_md5 = md5(archive)
        other = tmp_path / "other"
        with pytest.raises(
            DatasetError, match=r"CIFAR10: .*tar\.gz: .*data_batch_1.* not found.*; remove it and fetch"
        ):
            kind(other, download=True)
        assert [path.name for path in other.iterdir()] == [CIFAR10.filename]

        with tarfile.open(archive, "w:gz") as content:
            folder = tarfile.TarInfo(f"{CIFAR10.base_folder}/data_batch_1")
            folder.type = tarfile.DIRTYPE
            content.addfile(folder)
        kind.tgz_md5 = md5(archive)
        third = tmp_path / "third"
        with pytest.raises(DatasetError, match=r"CIFAR10: .*tar\.gz: data_batch_1 is no file$"):
            kind(third, download=True)
        assert [path.name for path in third.iterdir()] == [CIFAR10.filename]


# Pictures


def ppm(picture, comment=b""):
    """The bytes of a binary PPM or PGM of (c h w)."""
    c, h, w = picture.shape
    return b"P%d\n%s%d %d\n255\n" % (6 if c == 3 else 5, comment, w, h) + np.moveaxis(picture, 0, -1).tobytes()


pictures = hnp.arrays(np.uint8, st.tuples(st.sampled_from([1, 3]), st.integers(1, 6), st.integers(5, 8)))


@shared
@given(picture=pictures, comment=st.sampled_from([b"", b"# by hand\n"]))
def test_our_formats_are_read_as_they_were_written(tmp_path, picture, comment):
    (tmp_path / "a.PPM").write_bytes(ppm(picture, comment))
    assert np.array_equal(read_image(tmp_path / "a.PPM"), picture)
    np.save(tmp_path / "a.npy", picture)
    assert np.array_equal(read_image(tmp_path / "a.npy"), picture)
    if len(picture) == 1:
        np.save(tmp_path / "b.npy", picture[0])
    elif picture.shape[1] not in (1, 3, 4):  # then its first axis could be that of the channels
        np.save(tmp_path / "b.npy", np.moveaxis(picture, 0, -1))
    else:
        np.save(tmp_path / "b.npy", picture)
    assert np.array_equal(read_image(tmp_path / "b.npy"), picture)


@shared
@given(picture=pictures)
def test_pillow_s_formats_and_colours_are_pillow_s(tmp_path, picture):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (the extra data)")
    saved = image.fromarray(picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1))
    for name in ("a.png", "a.bmp", "a.ppm"):
        saved.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), picture)
        grey = read_image(tmp_path / name, "GRAY")
        assert np.array_equal(grey[0], np.asarray(saved.convert("L")))
        assert np.array_equal(read_image(tmp_path / name, "RGB"), np.moveaxis(np.asarray(saved.convert("RGB")), -1, 0))


def test_palettes_are_resolved_and_transparency_is_dropped(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (the extra data)")
    colours = np.zeros((4, 5, 4), np.uint8)
    colours[..., 0], colours[..., 3] = 200, 9
    image.fromarray(colours).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (4, 4, 5)
    assert read_image(tmp_path / "a.png", "RGB")[:, 0, 0].tolist() == [200, 0, 0]
    assert read_image(tmp_path / "a.png", "GRAY").shape == (1, 4, 5)
    image.fromarray(colours[..., :3]).quantize(4).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png")[:, 0, 0].tolist() == [200, 0, 0]
    image.fromarray(np.eye(5) > 0).save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png")[0].tolist() == (255 * np.eye(5)).tolist()


def png_bytes():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (the extra data)")
    stream = io.BytesIO()
    image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(stream, "png")
    return stream.getvalue()


def npy_bytes():
    stream = io.BytesIO()
    np.save(stream, SMALL)
    return stream.getvalue()


WHOLE = {"ppm": lambda: ppm(np.arange(60, dtype=np.uint8).reshape(3, 4, 5)), "npy": npy_bytes, "png": png_bytes}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.filterwarnings("ignore::Warning:numpy.*")  # damaged headers make NumPy parse odd text
@shared
@given(data=st.data())
def test_a_damaged_picture_is_a_named_error_or_a_picture(tmp_path, kind, data):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data.draw(damaged(WHOLE[kind]())))
    try:
        found = read_image(path)
    except DatasetError as error:
        assert str(error).startswith(f"read_image: {path}")  # noqa: PT017
    else:
        assert (found.dtype, found.ndim) == (np.uint8, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ppm", b"P3\n1 1\n255\n1 2 3", "starts with b'P3\\n1 1\\n255\\n1 2 3'; it needs a binary PGM or PPM"),
        ("a.pgm", b"P5 2 2 255\n123", "3 bytes of pixels; 2 x 2 pixels of 1 values need 4"),
        ("a.pgm", b"P5 0 2 255\n", "0 x 2 pixels up to 255; it needs pixels, and values up to 255"),
        ("a.pgm", b"P5 1 1 65535\n12", "1 x 1 pixels up to 65535; it needs pixels, and values up to 255"),
        ("a.pgm", b"P5 1 1111111111 255\n", "its header has a number of more than 9 digits"),
        ("a.npy", npy_bytes()[:50], "; it needs an array as numpy.save writes it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_picture_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(f"read_image: {tmp_path / name}") + ".*" + re.escape(message)):
        read_image(tmp_path / name)


def test_arrays_that_are_no_pictures_are_named(tmp_path):
    path = tmp_path / "a.npy"
    for array, found in ((np.zeros((4, 5)), "float64 (4, 5)"), (np.zeros((5, 6, 7), np.uint8), "uint8 (5, 6, 7)")):
        np.save(path, array)
        with pytest.raises(
            DatasetError, match=re.escape(f"read_image: {path} holds {found}; it needs uint8 (h, w), (h")
        ):
            read_image(path)
    np.save(path, np.array([Evil()]), allow_pickle=True)
    with pytest.raises(DatasetError, match="Object arrays cannot be loaded when allow_pickle=False"):
        read_image(path)
    assert canary == []


@pytest.mark.parametrize("shape", [(4, 6, 3), (3, 5, 4), (1, 5, 1)])
def test_an_array_whose_channels_could_be_first_or_last_is_refused(shape, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(shape, np.uint8))
    message = f"read_image: {path} holds uint8 {shape}, which can be (h, w, c) and (c, h, w); save it as .ppm or .png"
    with pytest.raises(DatasetError, match=re.escape(message)):
        read_image(path)
    np.save(path, np.zeros(shape[:2], np.uint8))
    assert read_image(path).shape == (1, *shape[:2])


@pytest.mark.parametrize(
    ("pixels", "ending", "mode"),
    [(np.arange(6, dtype=np.uint16) * 9000, "png", "I;16"), (np.arange(6, dtype=np.int32), "tiff", "I"),
     (np.arange(6, dtype=np.float32) / 6, "tiff", "F")],
)  # fmt: skip
@pytest.mark.parametrize("wanted", ["UNCHANGED", "GRAY", "RGB"])
def test_pixels_that_no_byte_holds_are_refused(pixels, ending, mode, wanted, tmp_path):
    """Pillow would cut them off at 0 and 255."""
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / f"a.{ending}"
    image.fromarray(pixels.reshape(2, 3)).save(path)
    with pytest.raises(DatasetError, match=re.escape(f"{path}: its pixels of mode {mode} do not fit into bytes; ")):
        read_image(path, wanted)


def test_what_pillow_cannot_read_is_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    pytest.importorskip("PIL", reason="Pillow is not installed (the extra data)")
    with pytest.raises(DatasetError, match=re.escape(f"read_image: {path}: ") + ".*it needs a picture that Pillow"):
        read_image(path)


def test_a_missing_pillow_is_named_with_its_extra(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    monkeypatch.setitem(sys.modules, "PIL", None)
    message = f"read_image: {path} needs Pillow, which is not installed; pip install 'tinygrad_cnn[data]', or use .npy"
    with pytest.raises(ImportError, match=re.escape(message)):
        read_image(path)


def test_an_unknown_mode_is_named(tmp_path):
    with pytest.raises(ValueError, match=re.escape("read_image: mode='L'; it can be 'UNCHANGED', 'GRAY', 'RGB'")):
        read_image(tmp_path / "a.ppm", "L")


# Folders


def write_folder(root):
    for name, shade in (("cat", 10), ("dog", 200)):
        (root / name / "more").mkdir(parents=True)
        (root / name / "2.pgm").write_bytes(ppm(np.full((1, 5, 6), shade, np.uint8)))
        (root / name / "more" / "1.ppm").write_bytes(ppm(np.full((3, 5, 6), shade + 1, np.uint8)))
        (root / name / "notes.txt").write_text("no picture")
        (root / name / ".hidden.pgm").write_text("no picture")
    (root / ".cache").mkdir()
    return root


def test_an_image_folder_has_a_class_for_each_folder(tmp_path):
    dataset = ImageFolder(write_folder(tmp_path))
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    assert [(Path(path).relative_to(tmp_path).as_posix(), label) for path, label in dataset.samples] == [
        ("cat/2.pgm", 0), ("cat/more/1.ppm", 0), ("dog/2.pgm", 1), ("dog/more/1.ppm", 1)
    ]  # fmt: skip
    assert dataset.targets == [0, 0, 1, 1]
    x, y = next(iter(DataLoader(dataset, 4, num_workers=2)))
    assert (x.shape, x.dtype) == ((4, 3, 5, 6), np.uint8)
    assert x.numpy()[:, :, 0, 0].tolist() == [[10] * 3, [11] * 3, [200] * 3, [201] * 3]
    assert y.numpy().tolist() == [0, 0, 1, 1]


def test_an_image_folder_takes_another_loader_and_other_files(tmp_path):
    write_folder(tmp_path)
    dataset = ImageFolder(
        tmp_path,
        loader=lambda path: read_image(path, "GRAY"),
        is_valid_file=lambda path: path.endswith(".ppm"),
        transform=transforms.ToTensor(),
    )
    assert len(dataset) == 2
    assert dataset[0][0].shape == (1, 5, 6)


def test_a_folder_without_classes_or_pictures_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"ImageFolder: {tmp_path} has no folders; it needs one for")):
        ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    message = f"ImageFolder: {tmp_path / 'cat'} has no pictures; it needs at least one of .npy"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, allow_empty=True)) == 0


def test_a_damaged_picture_in_a_loader_is_named_with_its_index(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "dog" / "2.pgm").write_bytes(b"P5 9 9 255\n")
    with pytest.raises(DatasetError, match=re.escape("2.pgm: 0 bytes of pixels")) as caught:
        list(DataLoader(ImageFolder(tmp_path), 4, num_workers=1))
    assert caught.value.__notes__ == ["DataLoader: raised by item 2 of a ImageFolder"]


# What they have in common


def test_the_digits_are_a_dataset_too():
    for train, split in ((True, "train"), (False, "test")):
        images, labels = digits(split)
        ((x, y),) = DataLoader(Digits(train, transform=transforms.ToTensor()), len(images))
        assert np.array_equal(x.numpy(), images)
        assert np.array_equal(y.numpy(), labels)
    assert repr(Digits()) == "Digits(898 images (1, 8, 8) of float32)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Digits(transform=3), TypeError, "Digits: transform=3; it needs a function"),
        (lambda: Digits()[898], IndexError, "Digits: index 898 of 898 items; it needs -898 to 897"),
        (lambda: Digits()[0.5], TypeError, "Digits: index 0.5 is of type float; it needs a whole number"),
        (
            lambda: VisionDataset().picture(0),
            NotImplementedError,
            "VisionDataset: no picture; a VisionDataset needs one",
        ),
    ],
)
def test_a_wrong_use_of_a_dataset_is_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
