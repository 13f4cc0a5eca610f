"""Module.save and Module.load: a model in a file that PyTorch reads too, loaded whole or not at all."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinygrad_cnn as tg
from tinygrad_cnn import CheckpointError, nn
from tinygrad_cnn.train import save_checkpoint


def net(seed, channels=3):
    generator = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, channels, (3, 2), generator=generator),
        nn.BatchNorm2d(channels),
        nn.Flatten(),
        nn.Linear(channels * 12, 4, generator=generator),
    )


def bits(model):
    return {name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in model.state_dict().items()}


def test_a_model_comes_back_from_its_file_bit_for_bit(tmp_path):
    model, other = net(1), net(2)
    model(tg.Tensor(np.random.default_rng(0).normal(size=(5, 2, 5, 5)).astype(np.float32)))  # moves the running means
    assert model.save(tmp_path / "x") is None
    pointers = {name: value.array.ctypes.data for name, value in other.state_dict().items()}
    assert other.load(tmp_path / "x") is other
    assert bits(other) == bits(model)
    assert {name: value.array.ctypes.data for name, value in other.state_dict().items()} == pointers
    assert all(p.requires_grad for p in other.parameters())


def test_the_file_has_the_keys_and_layouts_of_the_state_dict(tmp_path):
    model = net(1)
    model.save(str(tmp_path / "x"))
    found = load_file(tmp_path / "x")
    assert sorted(found) == sorted(model.state_dict())
    for name, value in model.state_dict().items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert np.array_equal(found[name], value.numpy())


def test_a_lazy_layer_takes_its_shape_from_a_file_and_is_not_saved_without_one(tmp_path):
    lazy = nn.Sequential(nn.Linear(None, 2))
    with pytest.raises(RuntimeError, match=r"'0.weight' has no values yet"):
        lazy.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    nn.Sequential(nn.Linear(3, 2)).save(tmp_path / "x")
    assert lazy.load(tmp_path / "x")[0].weight.shape == (2, 3)


def test_H135_H173_every_difference_of_a_file_is_listed_and_nothing_is_changed(tmp_path):
    state = {name: value.numpy() for name, value in net(1).state_dict().items()}
    del state["0.bias"], state["1.running_var"]
    state["0.weight"] = state["0.weight"].astype(np.float16)
    state["1.weight"] = state["1.weight"].astype(np.float64)
    state["1.num_batches_tracked"] = np.zeros(1, np.int64)
    state["3.weight"] = np.ascontiguousarray(state["3.weight"].T)
    state["4.weight"] = np.ones(2)
    save_file(state, tmp_path / "x")
    model = net(2)
    before = bits(model)
    with pytest.raises(CheckpointError) as raised:
        model.load(tmp_path / "x")
    assert bits(model) == before
    assert str(raised.value).splitlines()[0] == (
        f"{tmp_path / 'x'}: it does not fit Sequential, nothing was changed: 7 problems:"
    )
    assert sorted(raised.value.problems) == [
        "0.bias: missing; Sequential has it as float32 (3,)",
        "0.weight: float16 (3, 2, 3, 2) is given, float32 (3, 2, 3, 2) is needed",
        "1.num_batches_tracked: int64 (1,) is given, int64 () is needed",
        "1.running_var: missing; Sequential has it as float32 (3,)",
        "1.weight: float64 (3,) is given, float32 (3,) is needed",
        "3.weight: float32 (36, 4) is given, float32 (4, 36) is needed",
        "4.weight: not in Sequential",
    ]
    assert str(raised.value).splitlines()[1:] == [f"  {problem}" for problem in raised.value.problems]


def test_H173_arrays_of_the_other_byte_order_are_stored_in_that_of_the_format(tmp_path):
    model, other = net(1), net(2)
    state = {name: value.numpy().astype(value.dtype.newbyteorder(">")) for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"0.weight: >f4 \(3, 2, 3, 2\) is given, float32 \(3, 2, 3, 2\) is needed"):
        other.load_state_dict(state)
    tg.save(state, tmp_path / "x")
    assert bits(other.load(tmp_path / "x")) == bits(model)


def test_one_difference_stands_in_the_same_line(tmp_path):
    nn.Linear(2, 3, bias=False).save(tmp_path / "x")
    with pytest.raises(
        CheckpointError, match=r"x: it does not fit Linear, nothing was changed: bias: missing; Linear has"
    ):
        nn.Linear(2, 3).load(tmp_path / "x")


def test_a_damaged_file_changes_nothing(tmp_path):
    model = net(1)
    net(2).save(tmp_path / "x")
    content, before = (tmp_path / "x").read_bytes(), bits(model)
    for at in (3, 20, len(content) // 2, len(content) - 1):
        (tmp_path / "x").write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
        with pytest.raises(CheckpointError):
            model.load(tmp_path / "x")
        assert bits(model) == before


def test_the_checkpoint_of_a_run_is_pointed_to_its_loader(tmp_path):
    model = nn.Linear(2, 3)
    save_checkpoint(tmp_path / "x", model)
    with pytest.raises(
        CheckpointError, match=r"if it is the checkpoint of a run, use train.load_checkpoint: \d+ problems"
    ):
        model.load(tmp_path / "x")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        nn.Linear(1, 1).load(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        nn.Linear(1, 1).save(tmp_path / "no" / "x")


def test_H165_a_model_is_saved_over_the_file_that_is_mapped_into_its_arrays(tmp_path):
    path = tmp_path / "x"
    wanted = np.arange(1000, dtype=np.float32)
    tg.save({"a": wanted}, path)
    mapped = np.memmap(path, np.float32, "r", offset=path.stat().st_size - 4000)
    assert np.array_equal(mapped, wanted)
    tg.save({"a": mapped, "b": np.ones(3)}, path)
    assert np.array_equal(mapped, wanted)
    assert np.array_equal(tg.load(path)["a"].numpy(), wanted)
