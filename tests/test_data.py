"""Datasets, batches and shifts."""

import hashlib
import io
import os
import re
import runpy
import subprocess
import sys
from collections import Counter, OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, Dataset, TensorDataset, default_collate, digits, random_shift
from tinygrad_cnn.graph import Tensor

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tinygrad_cnn" / "data"

small_arrays = hnp.arrays(
    dtype=st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=7),
)


def rows_of(loader: DataLoader) -> list[int]:
    """What a loader over TensorDataset(np.arange(n)) gives in one pass."""
    return [row for (batch,) in loader for row in batch.numpy().tolist()]


def arange_loader(n: int, **options: object) -> DataLoader:
    return DataLoader(TensorDataset(np.arange(n)), **options)


class Squares:
    """A dataset of pairs, item by item."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.full((2, 3), index, np.float32), index**2


# The digits


def test_the_digits_are_1797_images_of_sixteenths():
    images, labels = digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.float32
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    assert images.min() == 0
    assert images.max() == 1
    assert np.array_equal(images * 16, np.round(images * 16))
    assert sorted(Counter(labels.tolist()).items()) == [
        (0, 178), (1, 182), (2, 177), (3, 183), (4, 181), (5, 182), (6, 181), (7, 179), (8, 174), (9, 180),
    ]  # fmt: skip


def test_the_digits_have_the_checksums_of_the_provenance_note():
    images, labels = digits()
    note = (DATA / "DIGITS.md").read_text(encoding="utf-8")
    documented = re.findall(r"\| `(images|labels)` \|.*`([0-9a-f]{64})`", note)
    pixels = {"images": (images * 16).astype(np.uint8), "labels": labels.astype(np.uint8)}
    assert documented == [(name, hashlib.sha256(array.tobytes()).hexdigest()) for name, array in pixels.items()]


def test_the_first_digits_are_zero_to_nine():
    _, labels = digits()
    assert labels[:10].tolist() == list(range(10))


def test_train_and_test_are_the_two_halves_in_order():
    images, labels = digits()
    train_images, train_labels = digits(split="train")
    test_images, test_labels = digits(split="test")
    assert len(train_images) == len(train_labels) == 898
    assert len(test_images) == len(test_labels) == 899
    assert np.array_equal(np.concatenate([train_images, test_images]), images)
    assert np.array_equal(np.concatenate([train_labels, test_labels]), labels)


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_the_digits_are_fresh_and_writable(split):
    images, labels = digits(split)
    images[:] = 7
    labels[:] = 7
    again, labels_again = digits(split)
    assert again.max() == 1
    assert set(labels_again.tolist()) == set(range(10))


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=re.escape("digits: split='valid'; it is 'train', 'test', or None")):
        digits(split="valid")


def test_the_digits_take_at_most_46_kb():
    assert (DATA / "digits.npz").stat().st_size <= 46_000


def test_encoding_the_digits_keeps_every_value_and_no_time():
    script = runpy.run_path(str(ROOT / "scripts" / "encode_digits.py"))
    images, labels = digits()
    pixels, classes = (images[:, 0] * 16).astype(np.uint8), labels.astype(np.uint8)
    encoded = script["encode"](pixels, classes)
    assert encoded == script["encode"](pixels, classes)
    with np.load(io.BytesIO(encoded), allow_pickle=False) as archive:
        assert {member.date_time for member in archive.zip.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert np.array_equal(archive["images"], pixels)
        assert np.array_equal(archive["labels"], classes)


@pytest.mark.parametrize("values", [[0.5], [-1.0], [256.0]])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_encoding_refuses_values_that_do_not_fit(values):
    script = runpy.run_path(str(ROOT / "scripts" / "encode_digits.py"))
    with pytest.raises(ValueError, match="do not fit uint8"):
        script["exact_uint8"](np.array(values))


# Shifts


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """One (c h w) image moved pixel by pixel: the oracle."""
    c, h, w = image.shape
    result = np.zeros_like(image)
    for channel in range(c):
        for i in range(h):
            for j in range(w):
                if 0 <= i - down < h and 0 <= j - right < w:
                    result[channel, i, j] = image[channel, i - down, j - right]
    return result


image_batches = hnp.arrays(
    dtype=st.sampled_from([np.float32, np.float64, np.uint8]),
    shape=st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    elements=st.integers(1, 200),
)


@given(images=image_batches, pixels=st.integers(0, 6), seed=st.integers(0, 2**32))
def test_each_image_is_moved_as_a_whole_by_at_most_pixels(images, pixels, seed):
    before = images.copy()
    moved = random_shift(images, pixels, np.random.default_rng(seed))
    assert moved.shape == images.shape
    assert moved.dtype == images.dtype
    assert np.array_equal(images, before)
    assert not np.shares_memory(moved, images)
    reach = range(-pixels, pixels + 1)
    for image, result in zip(images, moved, strict=True):
        assert any(np.array_equal(result, shifted(image, down, right)) for down in reach for right in reach)


@given(images=image_batches, seed=st.integers(0, 2**32))
def test_a_shift_by_zero_pixels_copies(images, seed):
    assert np.array_equal(random_shift(images, 0, np.random.default_rng(seed)), images)


def test_every_shift_occurs_about_equally_often_and_independently_of_the_neighbour():
    image = np.arange(1.0, 26.0).reshape(1, 5, 5)
    moved = random_shift(np.tile(image, (9000, 1, 1, 1)), 1, np.random.default_rng(0))
    offsets = {shifted(image, down, right).tobytes(): (down, right) for down in range(-1, 2) for right in range(-1, 2)}
    drawn = [offsets[result.tobytes()] for result in moved]
    counts = Counter(drawn)
    assert len(counts) == 9
    assert all(850 < count < 1150 for count in counts.values())  # 1000 +- 5 standard deviations
    assert len(set(pairwise(drawn))) == 81


def test_the_same_generator_state_gives_the_same_shifts():
    images, _ = digits()
    first, second = (random_shift(images, 2, np.random.default_rng(5)) for _ in range(2))
    other = random_shift(images, 2, np.random.default_rng(6))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_non_contiguous_images_shift_like_contiguous_ones():
    images, _ = digits("train")
    views = {
        "reversed": images[:, :, ::-1, ::-1],
        "every other": images[::2],
        "channels last": images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        "one image repeated": np.broadcast_to(images[:1], (5, 1, 8, 8)),
    }
    for name, view in views.items():
        expected = random_shift(np.ascontiguousarray(view), 1, np.random.default_rng(1))
        assert np.array_equal(random_shift(view, 1, np.random.default_rng(1)), expected), name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Tensor(np.ones((1, 1, 2, 2))), 1, np.random.default_rng(0)), TypeError, "images are of type Tensor; it"),
        ((np.ones((3, 8, 8)), 1, np.random.default_rng(0)), ValueError, "images have shape (3, 8, 8); it needs (n, c,"),
        ((np.ones((1, 1, 2, 2)), 1, np.random), TypeError, "generator is of type module; it needs a numpy"),
        ((np.ones((1, 1, 2, 2)), 1, 0), TypeError, "generator is of type int; it needs a numpy.random.Generator"),
        ((np.ones((1, 1, 2, 2)), 1.0, np.random.default_rng(0)), TypeError, "pixels=1.0; it needs a whole number"),
        ((np.ones((1, 1, 2, 2)), True, np.random.default_rng(0)), TypeError, "pixels=True; it needs a whole number"),
        ((np.ones((1, 1, 2, 2)), -1, np.random.default_rng(0)), ValueError, "pixels=-1; it needs 0 or more"),
    ],
)  # fmt: skip
def test_a_wrong_argument_of_random_shift_is_named(arguments, error, message):
    with pytest.raises(error, match=re.escape(f"random_shift: {message}")):
        random_shift(*arguments)


# Datasets


@given(arrays=st.lists(small_arrays, min_size=1, max_size=3), data=st.data())
def test_an_item_of_a_tensor_dataset_is_the_entry_of_each_array(arrays, data):
    n = min(map(len, arrays))
    arrays = [array[:n] for array in arrays]
    dataset = TensorDataset(*arrays)
    index = data.draw(st.integers(-n, n - 1) | st.slices(n) | hnp.arrays(np.int64, 3, elements=st.integers(0, n - 1)))
    assert len(dataset) == n
    for entry, array in zip(dataset[index], arrays, strict=True):
        assert isinstance(entry, Tensor)
        assert entry.dtype == array.dtype
        assert np.array_equal(entry.numpy(), array[index], equal_nan=array.dtype.kind == "f")


def test_a_tensor_dataset_shares_arrays_and_copies_items():
    array = np.zeros((3, 2))
    dataset = TensorDataset(array)
    (item,) = dataset[0]
    array[0] = 5
    assert item.numpy().tolist() == [0, 0]
    assert dataset[0][0].numpy().tolist() == [5, 5]


def test_a_tensor_dataset_takes_tensors_and_lists():
    dataset = TensorDataset(Tensor([[1.0], [2.0]], requires_grad=True), [3, 4], [0.5, 0.25])
    assert [array.dtype.name for array in dataset.arrays] == ["float32", "int64", "float32"]
    assert not dataset[0][0].requires_grad


def test_a_tensor_dataset_makes_arrays_native():
    big_endian = np.arange(4, dtype=">f4")
    ((batch,),) = DataLoader(TensorDataset(big_endian), 4)
    assert batch.dtype == np.float32
    assert batch.numpy().tolist() == [0, 1, 2, 3]


def test_iterating_a_tensor_dataset_ends():
    assert [int(row.numpy()) for (row,) in TensorDataset(np.arange(3))] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((), ValueError, "TensorDataset: no arrays; it needs at least one"),
        ((np.ones((3, 2)), np.ones(4)), ValueError, "arrays of shapes (3, 2), (4,); their first axes must be equal"),
        ((np.ones(3), np.array(3)), ValueError, "arrays of shapes (3,), (); each needs a first axis"),
        ((np.array(["a", "b"]),), TypeError, "an array of dtype <U1; it needs bool, integer or float"),
        ((np.array([None, 1]),), TypeError, "an array of dtype object; it needs bool, integer or float"),
    ],
)
def test_arrays_that_make_no_dataset_are_refused(arrays, error, message):
    with pytest.raises(error, match=re.escape(message)):
        TensorDataset(*arrays)


def test_datasets_print_what_they_hold():
    loader = DataLoader(TensorDataset(*digits("test")), batch_size=64, shuffle=True, seed=3)
    assert repr(loader) == (
        "DataLoader(TensorDataset(float32 (899, 1, 8, 8), int64 (899,)), "
        "batch_size=64, shuffle=True, drop_last=False, seed=3)"
    )


def test_lists_arrays_and_own_classes_are_datasets():
    for dataset in ([1, 2], np.ones(2), Squares(2), TensorDataset(np.ones(2)), Tensor([1.0, 2.0])):
        assert isinstance(dataset, Dataset)
    for other in (iter([1, 2]), {1, 2}, 5):
        assert not isinstance(other, Dataset)


# Batches


@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), shuffle=st.booleans(), seed=st.integers(0, 2**70))
def test_a_pass_gives_each_item_once(n, batch_size, shuffle, seed):
    loader = arange_loader(n, batch_size=batch_size, shuffle=shuffle, seed=seed)
    batches = [batch.numpy() for (batch,) in loader]
    assert len(batches) == len(loader) == -(-n // batch_size)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    rows = np.concatenate(batches).tolist()
    assert sorted(rows) == list(range(n))
    assert shuffle or rows == list(range(n))


@given(n=st.integers(1, 40), batch_size=st.integers(1, 40), seed=st.integers(0, 99))
def test_drop_last_gives_the_same_batches_without_the_short_one(n, batch_size, seed):
    batch_size = min(n, batch_size)
    options = {"batch_size": batch_size, "shuffle": True, "seed": seed}
    dropped = [batch.numpy().tolist() for (batch,) in arange_loader(n, drop_last=True, **options)]
    kept = [batch.numpy().tolist() for (batch,) in arange_loader(n, **options)]
    assert len(arange_loader(n, drop_last=True, **options)) == len(dropped) == n // batch_size
    assert dropped == [batch for batch in kept if len(batch) == batch_size]


@given(arrays=st.lists(small_arrays, min_size=1, max_size=3), batch_size=st.integers(1, 8), seed=st.integers(0, 9))
def test_the_fast_path_equals_collating_item_by_item(arrays, batch_size, seed):
    n = min(map(len, arrays))
    dataset = TensorDataset(*(array[:n] for array in arrays))
    fast = DataLoader(dataset, batch_size, shuffle=True, seed=seed)
    slow = DataLoader(dataset, batch_size, shuffle=True, seed=seed, collate_fn=default_collate)
    for one, other in zip(fast, slow, strict=True):
        assert type(one) is type(other) is tuple
        for x, y in zip(one, other, strict=True):
            assert x.dtype == y.dtype
            assert x.shape == y.shape
            assert x.numpy().tobytes() == y.numpy().tobytes()


def test_a_subclass_of_tensor_dataset_keeps_its_own_items():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            (row,) = super().__getitem__(index)
            return (row.numpy() * 2,)

    ((batch,),) = DataLoader(Doubled(np.arange(3)), batch_size=3)
    assert batch.numpy().tolist() == [0, 2, 4]


def test_writing_to_a_batch_leaves_the_data_alone():
    array = np.zeros((4, 2))
    for shuffle in (False, True):
        for (batch,) in DataLoader(TensorDataset(array), 2, shuffle=shuffle):
            assert not np.shares_memory(batch.numpy(), array)


def test_two_passes_have_different_orders():
    loader = arange_loader(100, shuffle=True, seed=0)
    assert rows_of(loader) != rows_of(loader)


@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 5))
def test_the_order_of_a_pass_depends_on_seed_and_epoch_alone(seed, epoch):
    loader = arange_loader(50, shuffle=True, seed=seed)
    orders = [rows_of(loader) for _ in range(epoch + 1)]
    assert loader.epoch == epoch + 1
    resumed = arange_loader(50, shuffle=True, seed=seed)
    resumed.epoch = epoch
    assert rows_of(resumed) == orders[epoch]
    assert rows_of(arange_loader(50, shuffle=True, seed=seed + 1)) != orders[0]


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_the_order_is_numpy_s_permutation_for_the_seed_and_the_epoch_as_spawn_key(epoch):
    loader = arange_loader(50, shuffle=True, seed=11)
    loader.epoch = epoch
    source = np.random.default_rng(np.random.SeedSequence(11, spawn_key=(epoch,)))
    assert rows_of(loader) == source.permutation(50).tolist()


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_order_is_the_same_in_every_process(hash_seed):
    program = (
        "import numpy as np; from tinygrad_cnn.data import DataLoader, TensorDataset\n"
        "loader = DataLoader(TensorDataset(np.arange(20)), 20, shuffle=True, seed=7)\n"
        "print([batch.numpy().tolist() for _ in range(2) for (batch,) in loader])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loader = arange_loader(20, batch_size=20, shuffle=True, seed=7)
    assert process.stdout.strip() == str([batch.numpy().tolist() for _ in range(2) for (batch,) in loader])


def test_without_a_seed_two_loaders_differ():
    assert rows_of(arange_loader(100, shuffle=True)) != rows_of(arange_loader(100, shuffle=True))


def test_without_a_seed_the_orders_repeat_after_manual_seed():
    runs = []
    for _ in range(2):
        tg.manual_seed(0)
        loader = arange_loader(100, shuffle=True)
        runs.append([rows_of(loader), rows_of(loader)])
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]
    tg.manual_seed(1)
    assert rows_of(arange_loader(100, shuffle=True)) != runs[0][0]


def test_a_loader_in_order_or_with_a_seed_or_a_generator_draws_nothing_from_the_default_generator():
    tg.manual_seed(0)
    before = tg.default_generator().bit_generator.state
    for options in ({}, {"shuffle": True, "seed": 0}, {"shuffle": True, "generator": np.random.default_rng(0)}):
        rows_of(arange_loader(10, **options))
    assert tg.default_generator().bit_generator.state == before


def test_a_generator_decides_the_orders():
    generator, same = np.random.default_rng(3), np.random.default_rng(3)
    loader = arange_loader(30, shuffle=True, generator=generator)
    for _ in range(2):
        assert rows_of(loader) == same.permutation(30).tolist()


def test_the_order_is_drawn_when_the_pass_starts():
    loader = arange_loader(30, shuffle=True, seed=1)
    first, second = iter(loader), iter(loader)
    later = [int(row.numpy()[0]) for (row,) in second]
    assert [int(row.numpy()[0]) for (row,) in first] == rows_of(arange_loader(30, shuffle=True, seed=1))
    assert later != rows_of(arange_loader(30, shuffle=True, seed=1))


def test_numpy_s_global_state_is_untouched():
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    rows_of(arange_loader(10, shuffle=True))
    rows_of(arange_loader(10, shuffle=True, seed=1))
    random_shift(np.ones((3, 1, 4, 4)), 1, np.random.default_rng(0))
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert np.array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


def test_own_datasets_are_stacked_item_by_item():
    images, squares = next(iter(DataLoader(Squares(5), batch_size=3)))
    assert images.shape == (3, 2, 3)
    assert images.dtype == np.float32
    assert images.numpy()[:, 0, 0].tolist() == [0, 1, 2]
    assert squares.dtype == np.int64
    assert squares.numpy().tolist() == [0, 1, 4]


def test_a_collate_function_gets_the_list_of_items():
    loader = DataLoader([3, 1, 2], batch_size=2, collate_fn=sorted)
    assert list(loader) == [[1, 3], [2]]


def test_default_collate_keeps_the_structure_of_an_item():
    items = [{"image": np.ones((2, 2), np.float64), "pair": (1, [2.5, "a"]), "flag": True}] * 3
    batch = default_collate(items)
    assert list(batch) == ["image", "pair", "flag"]
    assert batch["image"].shape == (3, 2, 2)
    assert batch["image"].dtype == np.float64
    counts, (halves, names) = batch["pair"]
    assert counts.dtype == np.int64
    assert halves.dtype == np.float32
    assert halves.numpy().tolist() == [2.5, 2.5, 2.5]
    assert names == ["a", "a", "a"]
    assert batch["flag"].dtype == np.bool_


def test_default_collate_stacks_tensors_and_keeps_the_dtype_of_numpy_numbers():
    assert default_collate([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]).numpy().tolist() == [[1, 2], [3, 4]]
    assert default_collate([np.float64(1), np.float64(2)]).dtype == np.float64


def test_items_of_one_kind_are_mixed_in_a_batch():
    assert default_collate([1, 2.5, np.float32(3)]).numpy().tolist() == [1, 2.5, 3]
    assert default_collate([np.ones(()), 2, Tensor(3.0)]).numpy().tolist() == [1, 2, 3]
    assert default_collate([(1, "a"), [2, b"b"]])[1] == ["a", b"b"]
    assert default_collate([{"a": 1, "b": 2}, OrderedDict(b=4, a=3)])["a"].numpy().tolist() == [1, 3]


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], ValueError, "no items"),
        ([np.ones((1, 8)), np.ones((1, 9))], ValueError, "arrays of shapes (1, 8), (1, 9); a batch needs one shape"),
        ([(1, 2), (1, 2, 3)], ValueError, "items of [2, 3] parts; all need the same number of parts"),
        ([{"a": 1}, {"b": 1}], ValueError, "items with the keys ['a'] and ['b']; all need the same keys"),
        ([None, None], TypeError, "items of type NoneType; it stacks numbers, arrays, Tensors"),
        (
            [(1, 2), 3],
            TypeError,
            "item 1 of the batch has a int where item 0 has a tuple; all need the same kind: numbers "
            "and arrays, tuples and lists, mappings, or strings; make them alike in the dataset, or give collate_fn=",
        ),
        ([{1: 2}, {1: 3}, 3], TypeError, "item 2 of the batch has a int where item 0 has a dict; all"),
        (["a", "b", 1], TypeError, "item 2 of the batch has a int where item 0 has a str; all"),
        ([1, "a"], TypeError, "item 1 of the batch has a str where item 0 has a int; all"),
        ([np.str_("a"), np.int64(1)], TypeError, "item 1 of the batch has a int64 where item 0 has a str_; all"),
        ([[1, 2], np.ones(2)], TypeError, "item 1 of the batch has a ndarray where item 0 has a list; all"),
        ([np.ones(2), [1, 2]], TypeError, "item 1 of the batch has a list where item 0 has a ndarray; all"),
        ([(1, {"a": 1}), (2, 3)], TypeError, "item 1 of the batch has a int where item 0 has a dict; all"),
        ([1, None], TypeError, "item 1 of the batch has a NoneType where item 0 has a int; all"),
        ([None, 1], TypeError, "item 1 of the batch has a int where item 0 has a NoneType; all"),
        ([Tensor([1.0], requires_grad=True)], RuntimeError, "an item requires a gradient, which the batch would lose"),
    ],
)
def test_items_that_make_no_batch_are_refused(items, error, message):
    with pytest.raises(error, match=re.escape(f"default_collate: {message}")):
        default_collate(items)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dataset": iter([1])}, TypeError, "dataset is of type list_iterator; it needs len(dataset) and dataset[i]"),
        ({"dataset": []}, ValueError, "the dataset is empty; it needs at least one item"),
        ({"batch_size": 0}, ValueError, "batch_size=0; it needs 1 or more"),
        ({"batch_size": -3}, ValueError, "batch_size=-3; it needs 1 or more"),
        ({"batch_size": 2.0}, TypeError, "batch_size=2.0; it needs a whole number, 1 or more"),
        ({"batch_size": None}, TypeError, "batch_size=None; it needs a whole number, 1 or more"),
        ({"batch_size": True}, TypeError, "batch_size=True; it needs a whole number, 1 or more"),
        ({"batch_size": 4, "drop_last": True}, ValueError, "3 items make no batch of 4 with drop_last=True; use"),
        ({"shuffle": "yes"}, TypeError, "shuffle='yes'; it needs True or False"),
        ({"drop_last": 1}, TypeError, "drop_last=1; it needs True or False"),
        ({"seed": -1}, ValueError, "seed=-1; it needs 0 or more"),
        ({"seed": 0.5}, TypeError, "seed=0.5; it needs a whole number, 0 or more"),
        ({"seed": 1, "generator": np.random.default_rng(1)}, ValueError, "both seed and generator"),
        ({"generator": np.random}, TypeError, "generator is of type module; it needs a numpy"),
        ({"collate_fn": 3}, TypeError, "collate_fn=3; it needs a function of a list of items"),
    ],
)  # fmt: skip
def test_a_wrong_argument_of_the_loader_is_named(options, error, message):
    with pytest.raises(error, match=re.escape(f"DataLoader: {message}")):
        DataLoader(**{"dataset": [1, 2, 3], **options})


def test_numpy_integers_are_whole_numbers():
    assert DataLoader([1, 2, 3], batch_size=np.int64(2), seed=np.uint8(3)).batch_size == 2
