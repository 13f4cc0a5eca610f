"""Files of named arrays: what goes in comes out, and no failure leaves half a file."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn import Tensor
from tinygrad_cnn.interchange import CheckpointError, load, save
from tinygrad_cnn.nn import BatchNorm2d, Conv2d, Sequential

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">f4", ">i8"]


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__"),
        hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
        max_size=4,
    )
)
def test_H174_every_number_comes_back_bit_for_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("save") / "state.safetensors"
    save(state, path)
    loaded = load(path)
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        native = value.astype(value.dtype.newbyteorder("="))
        back = loaded[name].array
        assert (back.dtype, back.shape) == (native.dtype, native.shape)
        assert back.tobytes() == native.tobytes()


def test_H174_nan_infinity_negative_zero_and_subnormals(tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, -np.nan], np.float32)
    save({"odd": odd, "scalar": Tensor(np.array(3.5)), "number": np.float32(2)}, tmp_path / "x")
    loaded = load(tmp_path / "x")
    assert loaded["odd"].array.tobytes() == odd.tobytes()
    assert loaded["scalar"].shape == loaded["number"].shape == ()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::-1, ::2],
        lambda a: np.broadcast_to(a[0], (3, 6)),
        np.asfortranarray,
    ],
)
def test_H174_non_contiguous_arrays_are_saved_as_they_read(tmp_path, view):
    a = view(np.arange(24.0).reshape(4, 6))
    save({"a": a}, tmp_path / "x")
    assert load(tmp_path / "x")["a"].array.tolist() == a.tolist()


def test_loaded_tensors_own_writable_memory(tmp_path):
    save({"a": np.ones((2, 3)), "b": np.ones(4)}, tmp_path / "x")
    loaded = load(tmp_path / "x")
    for value in loaded.values():
        assert type(value) is Tensor
        assert not value.requires_grad
        assert value.array.flags.owndata
        assert value.array.flags.writeable
        value.array[...] = 7
    assert load(tmp_path / "x")["a"].array.max() == 1


def test_a_model_is_restored_from_its_file(tmp_path):
    model, other = (Sequential(Conv2d(1, 2, 3, generator=np.random.default_rng(i)), BatchNorm2d(2)) for i in (1, 2))
    model(Tensor(np.random.default_rng(0).normal(size=(2, 1, 5, 5)).astype(np.float32)))
    save(model.state_dict(), str(tmp_path / "model.safetensors"))
    other.load_state_dict(load(tmp_path / "model.safetensors"))
    x = Tensor(np.random.default_rng(3).normal(size=(2, 1, 5, 5)).astype(np.float32))
    assert np.array_equal(model.eval()(x).array, other.eval()(x).array)
    assert int(other[1].num_batches_tracked.array) == 1


def test_the_file_is_one_that_safetensors_reads(tmp_path):
    from safetensors.numpy import load_file

    save({"w": np.arange(6.0).reshape(2, 3)}, tmp_path / "x")
    assert load_file(tmp_path / "x")["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_same_state_gives_the_same_bytes(tmp_path):
    state = {"b": np.ones(3), "a": np.zeros((2, 2), np.float32)}
    save(state, tmp_path / "x")
    save(state, tmp_path / "y")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({1: np.ones(2)}, TypeError, "the key 1 is a int"),
        ({"a": [1.0]}, TypeError, "'a' is list"),
        ({"a": np.array([object()])}, TypeError, "'a' is object"),
        ({"a": np.array([1j])}, TypeError, "'a' is complex128"),
        ({"a": np.array(["s"])}, TypeError, "'a' is <U1"),
        ({"__metadata__": np.ones(2)}, ValueError, "reserved by the format"),
        ([np.ones(2)], TypeError, "a list was given; a dict"),
        (Conv2d(1, 1, 1), TypeError, r"pass its state_dict\(\)"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(tmp_path, state, error, message):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        save(state, path)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["x"]


# Failures on the way to the disk


@pytest.mark.parametrize("failing", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_H162_a_failed_save_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "x"
    save({"a": np.ones(3)}, path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    if failing == "write":
        resource_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource_limit[1]))
        error = OSError(27, "File too large")
    elif failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
        monkeypatch.setattr(os, "replace", fail)
    try:
        with pytest.raises(type(error)):
            save({"a": np.zeros(100_000)}, path)
    finally:
        if failing == "write":
            resource.setrlimit(resource.RLIMIT_FSIZE, resource_limit)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_H162_a_folder_without_permission_is_an_os_error(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError):
            save({"a": np.ones(3)}, tmp_path / "x")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_missing_folder_or_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save({"a": np.ones(3)}, tmp_path / "no" / "x")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "no")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_H164_the_file_is_forced_to_the_disk_before_its_rename_and_the_folder_after(tmp_path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor):
        seen.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def watched_replace(self, target):
        seen.append((self.name, Path(target).name, self.parent == Path(target).parent))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    save({"a": np.ones(3)}, tmp_path / "x")
    assert seen == [(tmp_path / "x").stat().st_size, (f".x.{os.getpid()}.tmp", "x", True), "folder"]


def test_H161_temporaries_of_dead_processes_are_swept_and_those_of_others_are_not(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    alive = os.getppid()
    swept = [f".x.{child.pid}.tmp", f".x.{os.getpid()}.tmp", f".x.{10**30}.tmp"]
    kept = [f".x.{alive}.tmp", f".y.{child.pid}.tmp", ".x.tmp", f"x.{child.pid}.tmp", ".x.12a.tmp"]
    for name in swept + kept:
        (tmp_path / name).write_bytes(b"half")
    save({"a": np.ones(3)}, tmp_path / "x")
    assert names_in(tmp_path) == sorted([*kept, "x"])


def test_H165_saving_over_the_file_that_was_loaded_keeps_what_was_loaded(tmp_path):
    save({"a": np.arange(1000.0)}, tmp_path / "x")
    loaded = load(tmp_path / "x")
    save({"a": loaded["a"], "b": np.ones(2)}, tmp_path / "x")
    assert loaded["a"].array.tolist() == np.arange(1000.0).tolist()
    assert load(tmp_path / "x")["a"].array.tolist() == np.arange(1000.0).tolist()


# What stood there before


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    save({"a": np.ones(3)}, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert load(path)["a"].shape == (3,)


def test_content_is_never_readable_for_more_people_than_the_file_it_replaces(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen = []
    fsync = os.fsync

    def watched(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    save({"a": np.ones(3)}, path)
    assert seen[0] == 0o600


def test_a_new_file_has_the_permissions_that_open_gives(tmp_path):
    (tmp_path / "by open").write_bytes(b"")
    save({"a": np.ones(3)}, tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "by open").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_saving_through_a_symbolic_link_writes_the_file_that_it_names(tmp_path, exists):
    (tmp_path / "folder").mkdir()
    target, link, linked = tmp_path / "folder" / "x", tmp_path / "link", tmp_path / "link to link"
    link.symlink_to(Path("folder") / "x")
    linked.symlink_to(link)
    if exists:
        target.write_bytes(b"old")
    save({"a": np.ones(3)}, linked)
    assert link.is_symlink()
    assert linked.is_symlink()
    assert not target.is_symlink()
    assert load(target)["a"].shape == (3,)
    assert names_in(tmp_path / "folder") == ["x"]
    assert names_in(tmp_path) == ["folder", "link", "link to link"]


def test_links_in_a_circle_are_an_os_error(tmp_path):
    (tmp_path / "x").symlink_to(tmp_path / "y")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    with pytest.raises(OSError, match=r"x|y"):
        save({"a": np.ones(3)}, tmp_path / "x")
    assert names_in(tmp_path) == ["x", "y"]


# Files that are none


def test_H166_a_file_cut_off_at_any_byte_is_a_checkpoint_error(tmp_path):
    path = tmp_path / "x"
    save({"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.int8)}, path)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError):
        load(path)


def header(text):
    return len(text).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip file",
        (2**63).to_bytes(8, "little") + b"{}",
        header("not json"),
        header("[" * 100_000),
        header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}') + b"\0" * 8,
        header('{"a":{"dtype":"U8","shape":[' + ",".join(["1"] * 10_000) + '],"data_offsets":[0,1]}}') + b"\0",
    ],
)
def test_H168_malformed_files_are_checkpoint_errors(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="x: "):
        load(path)


def test_H170_a_pickle_is_refused_without_running_it(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "x").write_bytes(f"cpathlib\nPath.touch\n(cpathlib\nPath\n(S'{canary}'\ntRtR.".encode())
    with pytest.raises(CheckpointError):
        load(tmp_path / "x")
    assert not canary.exists()


def test_H171_tensor_names_are_only_keys(tmp_path):
    names = ["../x", "a/b", "a\0b", "\u00e9", "e\u0301", "__class__", "", "n" * 10_000]
    save({name: np.full(1, i) for i, name in enumerate(names)}, tmp_path / "x")
    assert names_in(tmp_path) == ["x"]
    assert {name: int(value.array[0]) for name, value in load(tmp_path / "x").items()} == {
        n: i for i, n in enumerate(names)
    }
