"""Changes to images: what they keep, what they draw, and what they refuse."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, transforms
from tinygrad_cnn.data.transforms import (
    CenterCrop,
    Compose,
    Cutout,
    Lambda,
    Normalize,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomTransform,
    RandomVerticalFlip,
    Resize,
    ToTensor,
    Transform,
)
from tinygrad_cnn.data.transforms.rotation import rotated
from tinygrad_cnn.graph import Tensor

DTYPES = [np.uint8, np.float32, np.float64, np.int64]


def batches(least=0, dtypes=DTYPES, least_side=1):
    shape = st.tuples(
        st.integers(least, 4), st.integers(1, 3), st.integers(least_side, 9), st.integers(max(5, least_side), 9)
    )
    return hnp.arrays(st.sampled_from(dtypes), shape, elements=st.integers(0, 200))


def ramp(n, c, h, w, dtype=np.float64):
    return np.arange(n * c * h * w).reshape(n, c, h, w).astype(dtype)


def rng(seed=0):
    return np.random.default_rng(seed)


EVERY = {
    "Pad": lambda generator: Pad((1, 2)),
    "CenterCrop": lambda generator: CenterCrop((4, 3)),
    "RandomCrop": lambda generator: RandomCrop((3, 4), padding=2, generator=generator),
    "RandomShift": lambda generator: RandomShift(2, generator=generator),
    "RandomHorizontalFlip": lambda generator: RandomHorizontalFlip(generator=generator),
    "RandomVerticalFlip": lambda generator: RandomVerticalFlip(generator=generator),
    "RandomRotation": lambda generator: RandomRotation(40, generator=generator),
    "RandomErasing": lambda generator: RandomErasing(generator=generator),
    "Cutout": lambda generator: Cutout(3, generator=generator),
    "Resize": lambda generator: Resize((6, 4)),
}
RANDOM = [name for name in EVERY if isinstance(EVERY[name](None), RandomTransform)]


def test_every_transform_is_in_the_table_of_the_tests():
    others = {"Compose", "Lambda", "Normalize", "ToTensor", "Transform", "RandomTransform", "random_shift"}
    assert set(EVERY) | others == set(transforms.__all__)


# All of them


@pytest.mark.parametrize("name", EVERY)
@given(images=batches(), seed=st.integers(0, 99))
def test_the_dtype_is_kept_and_what_is_given_stays_as_it_is(name, images, seed):
    before = images.copy()
    result = EVERY[name](rng(seed))(images)
    assert type(result) is np.ndarray
    assert result.dtype == images.dtype
    assert result.shape[:2] == images.shape[:2]
    assert np.array_equal(images, before)
    assert not np.shares_memory(result, images)
    assert result.flags.writeable


@pytest.mark.parametrize("name", EVERY)
@given(images=batches(least=1), seed=st.integers(0, 99))
def test_an_image_is_a_batch_of_one_and_a_tensor_an_array(name, images, seed):
    alone = EVERY[name](rng(seed))(images[0])
    assert np.array_equal(alone, EVERY[name](rng(seed))(images[:1])[0])
    tensor = EVERY[name](rng(seed))(Tensor(images))
    assert isinstance(tensor, Tensor)
    assert np.array_equal(tensor.numpy(), EVERY[name](rng(seed))(images))


@pytest.mark.parametrize("name", EVERY)
@given(images=batches(least=1), seed=st.integers(0, 99))
def test_any_memory_layout_gives_the_same(name, images, seed):
    expected = EVERY[name](rng(seed))(images)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(images, 1, -1)), -1, 1)
    backwards = images[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1]
    for same in (last, backwards):
        assert np.array_equal(EVERY[name](rng(seed))(same), expected)


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_transform_draws_from_the_default_generator_and_for_each_image_anew(name):
    image = ramp(1, 2, 8, 8)[0] + 1
    images = np.tile(image, (40, 1, 1, 1))
    tg.manual_seed(5)
    first = EVERY[name](None)(images)
    tg.manual_seed(5)
    assert np.array_equal(EVERY[name](None)(images), first)
    assert not np.array_equal(EVERY[name](None)(images), first)
    assert len({result.tobytes() for result in first}) > 1


@pytest.mark.parametrize("name", RANDOM)
def test_in_a_loader_the_draws_do_not_depend_on_the_workers(name):
    class Images:
        transform = EVERY[name](None)

        def __len__(self):
            return 12

        def __getitem__(self, index):
            return self.transform(ramp(1, 2, 8, 8)[0] + 1)

    runs = [
        [batch.numpy().tolist() for _ in range(2) for batch in DataLoader(Images(), 4, seed=3, num_workers=k)]
        for k in (0, 2)
    ]
    assert runs[0] == runs[1]
    assert len({str(image) for batch in runs[0] for image in batch}) > 1


def test_a_transform_says_how_it_was_made():
    composed = Compose([RandomCrop(32, 4), Normalize(0.5, 0.25), ToTensor(), Lambda(abs)])
    assert repr(composed) == (
        "Compose([RandomCrop(size=(32, 32), padding=(4, 4, 4, 4), pad_if_needed=False, fill=0.0, "
        "padding_mode='constant'), Normalize(mean=(0.5,), std=(0.25,)), ToTensor(), Lambda(abs)])"
    )


# Values


@given(
    images=hnp.arrays(
        np.float64, st.tuples(st.integers(2, 5), st.just(3), st.integers(2, 6), st.integers(2, 6)),
        elements=st.floats(-50, 50),
    ),
    dtype=st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_after_normalize_with_its_own_statistics_mean_is_0_and_deviation_1(images, dtype):
    with np.errstate(under="ignore"):
        images = (images + ramp(*images.shape)).astype(dtype)
        mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3))
    result = Normalize(mean.tolist(), std)(images)
    assert result.dtype == dtype
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    assert np.abs(result.mean((0, 2, 3))).max() < tolerance
    assert np.abs(result.std((0, 2, 3)) - 1).max() < tolerance


def test_one_number_normalizes_all_channels():
    images = ramp(2, 3, 4, 5)
    assert np.array_equal(Normalize(2, 4)(images), (images - 2) / 4)
    assert np.array_equal(Normalize((1, 2, 3), 4)(images), (images - np.array([1, 2, 3])[:, None, None]) / 4)


@given(picture=hnp.arrays(np.uint8, st.tuples(st.integers(5, 9), st.integers(5, 9), st.integers(1, 4))))
def test_to_tensor_moves_the_channels_first_and_divides_bytes_by_255(picture):
    result = ToTensor()(picture)
    assert isinstance(result, Tensor)
    assert result.dtype == np.float32
    assert result.shape == (picture.shape[2], *picture.shape[:2])
    h, w, c = (int(size) - 1 for size in picture.shape)
    assert result.numpy()[c, h, w] == np.float32(picture[h, w, c]) / np.float32(255)
    first = np.moveaxis(picture, -1, 0)
    assert np.array_equal(ToTensor()(first).numpy(), result.numpy())
    assert np.array_equal(ToTensor()(Tensor(first)).numpy(), result.numpy())
    assert np.array_equal(ToTensor()(np.stack([picture, picture])).numpy()[1], result.numpy())
    assert np.array_equal(ToTensor("hwc")(picture).numpy(), result.numpy())
    assert ToTensor("chw")(picture).shape == picture.shape


def test_to_tensor_takes_grey_pictures_and_keeps_floats():
    assert ToTensor()(np.full((5, 6), 255, np.uint8)).numpy().tolist() == np.ones((1, 5, 6)).tolist()
    assert ToTensor()(np.full((5, 6), True)).dtype == np.float32
    wide = np.full((5, 6, 3), 7.5)
    assert ToTensor()(wide).dtype == np.float64
    assert ToTensor()(wide).shape == (3, 5, 6)
    assert ToTensor()(wide).numpy().max() == 7.5
    tensor = ToTensor()(wide)
    wide[...] = 0
    assert tensor.numpy().min() == 7.5


def test_to_tensor_takes_pictures_of_pillow():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (the extra data)")
    pixels = np.arange(3 * 3 * 3, dtype=np.uint8).reshape(3, 3, 3)  # by its shape either layout
    assert np.array_equal(ToTensor()(image.fromarray(pixels)).numpy() * np.float32(255), np.moveaxis(pixels, -1, 0))
    assert ToTensor()(image.fromarray(pixels[..., 0])).shape == (1, 3, 3)


def test_the_canonical_list_of_a_torch_script_gives_images_for_a_network():
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    train = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), Normalize(mean, std)])
    image = rng().integers(0, 256, (3, 32, 32), np.uint8)
    result = train(image)
    assert isinstance(result, Tensor)
    assert (result.shape, result.dtype) == ((3, 32, 32), np.float32)


# Flips


@pytest.mark.parametrize(("flip", "axis"), [(RandomHorizontalFlip, 3), (RandomVerticalFlip, 2)])
@given(images=batches())
def test_a_flip_is_its_own_inverse(flip, axis, images):
    once = flip(p=1)(images)
    assert np.array_equal(once, np.flip(images, axis))
    assert np.array_equal(flip(p=1)(once), images)
    assert np.array_equal(flip(p=0)(images), images)


@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
def test_p_is_the_part_of_images_that_are_flipped(flip):
    images = np.tile(ramp(1, 1, 2, 5), (4000, 1, 1, 1))
    result = flip(p=0.25, generator=rng(1))(images)
    flipped = [not np.array_equal(a, b) for a, b in zip(images, result, strict=True)]
    assert 870 < sum(flipped) < 1130  # 1000 +- 4.7 standard deviations


# Borders and cuts


@given(images=batches(), sides=st.tuples(*[st.integers(0, 4)] * 4), mode=st.sampled_from(["constant", "edge"]))
def test_a_border_lies_around_the_image(images, sides, mode):
    left, top, right, bottom = sides
    result = Pad(sides, fill=7, padding_mode=mode)(images)
    h, w = images.shape[2:]
    assert result.shape[2:] == (h + top + bottom, w + left + right)
    assert np.array_equal(result[:, :, top : top + h, left : left + w], images)
    rows, columns = np.arange(h + top + bottom) - top, np.arange(w + left + right) - left
    nearest = images[:, :, np.clip(rows, 0, h - 1)][:, :, :, np.clip(columns, 0, w - 1)]
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))
    assert np.array_equal(result, np.where(inside, nearest, 7) if mode == "constant" else nearest)


def test_one_or_two_numbers_of_a_border_and_mirrored_borders():
    row = np.array([[[1, 2, 3, 4, 5]]])
    assert Pad((2, 0), padding_mode="reflect")(row).tolist() == [[[3, 2, 1, 2, 3, 4, 5, 4, 3]]]
    assert Pad((2, 0), padding_mode="symmetric")(row).tolist() == [[[2, 1, 1, 2, 3, 4, 5, 5, 4]]]
    assert Pad(1)(row).shape == (1, 3, 7)
    assert Pad((1, 2))(row).shape == (1, 5, 7)


@given(images=batches(), size=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_a_center_crop_is_the_middle(images, size):
    result = CenterCrop(size)(images)
    assert result.shape[2:] == size
    (h, w), (oh, ow) = images.shape[2:], size
    if oh <= h and ow <= w:
        top, left = round((h - oh) / 2), round((w - ow) / 2)
        assert np.array_equal(result, images[:, :, top : top + oh, left : left + ow])
    elif oh >= h and ow >= w:
        assert result.sum() == images.sum()
        top, left = (oh - h) // 2, (ow - w) // 2
        assert np.array_equal(result[:, :, top : top + h, left : left + w], images)


@given(images=batches(), padding=st.integers(0, 3), data=st.data(), seed=st.integers(0, 999))
def test_a_random_crop_is_a_part_of_the_image_with_its_border(images, padding, data, seed):
    whole = Pad(padding)(images)
    oh, ow = (data.draw(st.integers(1, length)) for length in whole.shape[2:])
    result = RandomCrop((oh, ow), padding, generator=rng(seed))(images)
    assert result.shape == (*images.shape[:2], oh, ow)
    for image, part in zip(whole, result, strict=True):
        assert any(
            np.array_equal(part, image[:, i : i + oh, j : j + ow])
            for i in range(image.shape[1] - oh + 1)
            for j in range(image.shape[2] - ow + 1)
        )


def test_every_crop_occurs_about_equally_often():
    images = np.tile(ramp(1, 1, 3, 4), (6000, 1, 1, 1))
    corners = RandomCrop((2, 2), generator=rng(2))(images)[:, 0, 0, 0]
    counts = np.unique(corners, return_counts=True)
    assert counts[0].tolist() == [0, 1, 2, 4, 5, 6]
    assert counts[1].min() > 860
    assert counts[1].max() < 1140  # 1000 +- 4.8 standard deviations


def test_a_crop_of_the_whole_image_keeps_it_and_a_larger_one_needs_a_border():
    images = ramp(2, 1, 3, 4) + 1
    assert np.array_equal(RandomCrop((3, 4))(images), images)
    larger = RandomCrop((5, 4), pad_if_needed=True, generator=rng())(images)
    assert larger.shape == (2, 1, 5, 4)
    assert (larger.sum((1, 2, 3)) == images.sum((1, 2, 3))).all()


def test_a_shift_of_the_class_is_that_of_the_function():
    images = ramp(6, 2, 5, 7)
    result = RandomShift(3, generator=rng(4))(images)
    assert np.array_equal(result, transforms.random_shift(images, 3, rng(4)))


# Holes


@given(images=batches(least_side=4), seed=st.integers(0, 999))
def test_random_erasing_changes_one_rectangle_of_the_right_area(images, seed):
    images = images % 200
    result = RandomErasing(p=1, scale=(0.1, 0.5), value=201, generator=rng(seed))(images)
    h, w = images.shape[2:]
    for image, erased in zip(images, result, strict=True):
        hole = (erased == 201).all(0)
        assert np.array_equal(erased[:, ~hole], image[:, ~hole])
        if hole.any():
            rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
            assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            slack = (len(rows) + 0.5) * (len(columns) + 0.5)  # both sides were rounded
            assert slack >= 0.1 * h * w
            assert (len(rows) - 0.5) * (len(columns) - 0.5) <= 0.5 * h * w


def test_random_erasing_fills_with_colours_or_noise_and_spares_the_others():
    images = np.full((300, 3, 16, 16), 50, np.uint8)
    coloured = RandomErasing(p=0.5, value=(1, 2, 3), generator=rng(1))(images)
    touched = (coloured != images).any((1, 2, 3))
    assert 100 < touched.sum() < 200
    assert [sorted(np.unique(coloured[:, c])) for c in range(3)] == [[1, 50], [2, 50], [3, 50]]
    noisy = RandomErasing(p=1, scale=(0.3, 0.3), value="random", generator=rng(1))(images.astype(np.float32))
    assert np.unique(noisy).size > 1000
    assert np.array_equal(RandomErasing(p=0)(images), images)


@given(images=batches(), size=st.integers(0, 8), seed=st.integers(0, 999))
def test_cutout_is_a_square_around_a_pixel_of_the_image(images, size, seed):
    images = images + images.dtype.type(1)
    result = Cutout(size, generator=rng(seed))(images)
    h, w = images.shape[2:]
    half = size // 2
    for image, cut in zip(images, result, strict=True):
        hole = (cut == 0).all(0)
        squares = (
            np.outer(abs_between(np.arange(h), i - half, size), abs_between(np.arange(w), j - half, size))
            for i in range(h)
            for j in range(w)
        )
        assert any(np.array_equal(hole, square) for square in squares)
        assert np.array_equal(cut[:, ~hole], image[:, ~hole])


def abs_between(values, first, length):
    return (values >= first) & (values < first + length)


# Rotation


@given(
    images=hnp.arrays(
        st.sampled_from(DTYPES), st.tuples(st.integers(1, 4), st.integers(1, 3), st.just(6), st.just(6)),
        elements=st.integers(0, 250),
    ),
    quarters=st.integers(-9, 9),
    interpolation=st.sampled_from(["bilinear", "nearest"]),
)  # fmt: skip
def test_a_rotation_by_quarters_is_rot90(images, quarters, interpolation):
    degrees = 90.0 * quarters
    result = RandomRotation((degrees, degrees), interpolation)(images)
    assert np.array_equal(result, np.rot90(images, quarters, axes=(2, 3)))


def test_a_rotation_by_nothing_keeps_the_image():
    images = ramp(2, 3, 4, 7)
    assert np.array_equal(RandomRotation(0)(images), images)
    assert np.array_equal(RandomRotation((180, 180))(images), images[:, :, ::-1, ::-1])


def slowly_rotated(image, degrees, fill):
    """One channel turned, pixel by pixel: the oracle."""
    h, w = image.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    result = np.empty((h, w))

    def pixel(i, j):
        return image[i, j] if 0 <= i < h and 0 <= j < w else fill

    for i in range(h):
        for j in range(w):
            right, up = j - (w - 1) / 2, (h - 1) / 2 - i
            # the point that a turn by +degrees, the vertical axis upwards, brings here
            x, y = cos * right + sin * up + (w - 1) / 2, (h - 1) / 2 - (cos * up - sin * right)
            top, left = math.floor(y), math.floor(x)
            result[i, j] = sum(
                pixel(top + a, left + b) * (1 - abs(y - top - a)) * (1 - abs(x - left - b))
                for a in (0, 1)
                for b in (0, 1)
            )
    return result


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    degrees=st.lists(st.floats(-400, 400), min_size=1, max_size=3),
    fill=st.integers(-3, 3),
)
def test_a_rotation_mixes_the_four_pixels_around_each_point(shape, degrees, fill):
    images = rng(len(degrees)).uniform(-5, 5, (len(degrees), 2, *shape))
    result = rotated(images, np.array(degrees), "bilinear", fill)
    for image, turned, angle in zip(images, result, degrees, strict=True):
        for channel, out in zip(image, turned, strict=True):
            assert np.allclose(out, slowly_rotated(channel, angle, fill), atol=1e-9)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">u2", "<u2", ">f8", "<f8"])
def test_images_in_the_byte_order_of_another_machine_are_those_of_this_one(dtype):
    images = rng(5).integers(0, 200, (2, 3, 8, 9)).astype(dtype)
    native = images.astype(images.dtype.newbyteorder("="))
    changes = [Resize(3), Resize((5, 4), "nearest"), Resize(5, "bicubic"), ToTensor("chw")]
    changes += [Normalize(3, 2)] if images.dtype.kind == "f" else []
    for make in [*EVERY.values(), *(lambda generator, change=change: change for change in changes)]:
        found, wanted = (np.asarray(make(rng(7))(given)) for given in (images, native))
        assert found.dtype == wanted.dtype, make(None)
        assert found.dtype.isnative
        assert np.array_equal(found, wanted), make(None)


def test_many_images_are_turned_as_one_by_one():
    images = rng(1).uniform(0, 1, (500, 1, 28, 28)).astype(np.float32)  # more than are computed together
    degrees = rng(2).uniform(-30, 30, 500)
    result = rotated(images, degrees)
    for i in (0, 333, 334, 335, 499):
        assert np.array_equal(result[i], rotated(images[i : i + 1], degrees[i : i + 1])[0])


def test_bytes_are_rounded_when_turned():
    images = rng().integers(0, 256, (1, 2, 5, 6), np.uint8)
    exact = rotated(images.astype(np.float64), np.array([30.0]))
    assert np.abs(rotated(images, np.array([30.0])) - exact).max() <= 0.5 + 1e-4


def test_angles_are_drawn_from_the_whole_range():
    bar = np.zeros((400, 1, 9, 9))
    bar[:, :, 4] = 1
    result = RandomRotation((10, 80), generator=rng(3))(bar)
    # a bar turned counter-clockwise rises to the right
    assert (result[:, 0, :4, 5:].sum((1, 2)) > result[:, 0, 5:, 5:].sum((1, 2))).all()
    assert np.unique(result.reshape(400, -1), axis=0).shape[0] == 400


# Sizes


@given(images=batches(dtypes=[np.float32, np.float64, np.uint8]), size=st.tuples(*[st.integers(1, 11)] * 2))
def test_resizing_keeps_the_range_and_constant_images(images, size):
    result = Resize(size)(images)
    assert result.shape == (*images.shape[:2], *size)
    if images.size:
        assert images.min() - 1e-4 <= result.min()
        assert result.max() <= images.max() + 1e-4
        assert np.allclose(Resize(size)(np.full_like(images, 9)), 9)


def test_one_number_is_the_shorter_side():
    assert Resize(4)(ramp(1, 1, 8, 13)).shape == (1, 1, 4, 6)
    assert Resize(4)(ramp(1, 1, 13, 8)).shape == (1, 1, 6, 4)
    assert np.array_equal(Resize((3, 4))(ramp(2, 1, 3, 4)), ramp(2, 1, 3, 4))
    overshot = Resize((9, 9), "bicubic")(np.array([[[0, 255, 0], [255, 0, 255], [0, 255, 0]]], np.uint8))
    assert (overshot.min(), overshot.max()) == (0, 255)
    assert np.array_equal(Resize((4, 2), "nearest")(np.array([[[1, 2], [3, 4]]])), [[[1, 2], [1, 2], [3, 4], [3, 4]]])
    assert Resize((2, 2))(np.array([[[True, False], [True, False]]])).tolist() == [[[True, False], [True, False]]]


# Own transforms


def test_own_transforms_are_composed():
    class Invert(Transform):
        def apply(self, images):
            return 255 - images

    class Dim(RandomTransform):
        def vary(self, images, generator):
            return images * generator.random((len(images), 1, 1, 1))

    images = ramp(2, 1, 5, 6)
    composed = Compose([Invert(), Dim(rng(1)), Lambda(np.negative)])
    assert np.allclose(composed(images), -(255 - images) * rng(1).random((2, 1, 1, 1)))
    assert np.array_equal(Invert()(images[0]), 255 - images[0])


# What is refused


GREY = np.zeros((1, 6, 6))
BYTES = np.zeros((1, 6, 6), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Pad(1)([[1]]), TypeError, "Pad: images are of type list; it needs an array or a Tensor; ToTensor()"),
        (lambda: Pad(1)(np.array([[["a"]]])), TypeError, "Pad: images of dtype <U1; it needs bool, integer or float"),
        (lambda: Pad(1)(np.ones((5, 5))), ValueError, "Pad: images have shape (5, 5); it needs (c, h, w) or (n, c"),
        (lambda: Pad(1)(np.ones((1, 0, 5))), ValueError, "Pad: images have shape (1, 0, 5); it needs at least one"),
        (lambda: Pad(1)(np.zeros((9, 8, 3), np.uint8)), ValueError,
         "Pad: images of bytes have shape (9, 8, 3), which looks like (h, w, c); it needs (c, h, w); put ToTensor()"),
        (lambda: Pad(1)(Tensor(GREY, requires_grad=True)), RuntimeError, "Pad: the images require a gradient, which"),
        (lambda: Transform()(GREY), NotImplementedError, "Transform: no apply; a Transform needs one"),
        (lambda: RandomTransform()(GREY), NotImplementedError, "RandomTransform: no vary; a RandomTransform needs one"),
        (lambda: RandomShift(1, generator=3), TypeError, "RandomShift: generator is of type int; it needs a numpy"),
        (lambda: RandomShift(-1), ValueError, "RandomShift: pixels=-1; it needs 0 or more"),
        (lambda: RandomShift(1.5), TypeError, "RandomShift: pixels=1.5; it needs a whole number, 0 or more"),
        (lambda: Compose([3]), TypeError, "Compose: 3 is no transform; it needs functions of an image"),
        (lambda: Lambda(3), TypeError, "Lambda: lambd=3; it needs a function of an image"),
        (lambda: ToTensor("HWC"), ValueError, "ToTensor: layout='HWC'; it is 'hwc', 'chw', or None to tell by the"),
        (lambda: ToTensor()(3), TypeError, "ToTensor: the picture is of type int; it needs an array, or an image of"),
        (lambda: ToTensor()(np.array([["a"]])), TypeError, "ToTensor: a picture of dtype <U1; it needs bool, integer"),
        (lambda: ToTensor()(np.ones(3)), ValueError, "ToTensor: a picture of shape (3,); it needs (h, w), (h, w, c)"),
        (lambda: ToTensor()(np.ones((3, 9, 3))), ValueError,
         "ToTensor: a picture of shape (3, 9, 3); either its last or its first axis must be that of 1 to 4 channels"),
        (lambda: ToTensor()(np.ones((9, 9, 9))), ValueError, "ToTensor: a picture of shape (9, 9, 9); either its last"),
        (lambda: Normalize(0, 0), ValueError, "Normalize: std=(0.0,); each must be positive"),
        (lambda: Normalize((), 1), ValueError, "Normalize: mean is empty; it needs one number for each channel"),
        (lambda: Normalize("a", 1), TypeError, "Normalize: mean='a'; it needs a number"),
        (lambda: Normalize(0, math.nan), ValueError, "Normalize: std=nan; it needs a finite number"),
        (lambda: Normalize((0, 2), (1, 1e-8))(np.ones((2, 2, 2), np.float16)), ValueError,
         "Normalize: a pixel of 1 becomes larger than float16 can hold, 65504, by mean=(0.0, 2.0) and std=(1.0, 1e-08);"
         " give others, or images of a wider dtype"),
        (lambda: Normalize(0, 1e-4)(np.full((1, 2, 2), 10, np.float16)), ValueError,
         "Normalize: a pixel of 10 becomes larger than float16 can hold"),
        (lambda: Normalize(0, 1)(BYTES), TypeError, "Normalize: images of dtype uint8; it needs floats; put"),
        (lambda: Normalize((1, 2), 1)(GREY), ValueError,
         "Normalize: 2 values of mean for images of shape (1, 1, 6, 6); it needs one for each of the 1 channels"),
        (lambda: RandomHorizontalFlip(1.5), ValueError, "RandomHorizontalFlip: p=1.5; it needs a probability from 0"),
        (lambda: RandomVerticalFlip("x"), TypeError, "RandomVerticalFlip: p='x'; it needs a number"),
        (lambda: Pad((1, 2, 3)), ValueError, "Pad: padding=(1, 2, 3); it needs one number, two, or four: left, top"),
        (lambda: Pad(-1), ValueError, "Pad: padding=-1; it needs 0 or more"),
        (lambda: Pad(1, padding_mode="wrap"), ValueError, "Pad: padding_mode='wrap'; it can be 'constant', 'edge'"),
        (lambda: Pad(1, fill=256)(BYTES), ValueError, "Pad: fill=256 for images of dtype uint8; it needs a whole"),
        (lambda: Pad(6, padding_mode="reflect")(GREY), ValueError,
         "Pad: a border of (6, 6, 6, 6) pixels (left, top, right, bottom) with padding_mode='reflect' around images "
         "of shape (1, 1, 6, 6); it can be at most as wide as the image less one pixel"),
        (lambda: Pad(7, padding_mode="symmetric")(GREY), ValueError, "it can be at most as wide as the image"),
        (lambda: CenterCrop(0), ValueError, "CenterCrop: size=0; it needs 1 or more"),
        (lambda: CenterCrop((1, 2, 3)), ValueError, "CenterCrop: size=(1, 2, 3); it needs one number, or two: rows"),
        (lambda: RandomCrop(9, 1)(GREY), ValueError,
         "RandomCrop: size=(9, 9) of images of shape (1, 1, 6, 6), with the border 8 x 8 pixels; it needs no more"),
        (lambda: RandomErasing(scale=0.1), TypeError, "RandomErasing: scale=0.1; it needs two numbers, the least and"),
        (lambda: RandomErasing(scale=(0.5, 0.1)), ValueError, "RandomErasing: scale=(0.5, 0.1); the least comes first"),
        (lambda: RandomErasing(scale=(0.5, 1.1)), ValueError, "RandomErasing: scale=(0.5, 1.1); it needs parts of the"),
        (lambda: RandomErasing(ratio=(0, 1)), ValueError, "RandomErasing: ratio=(0.0, 1.0); it needs positive numbers"),
        (lambda: RandomErasing(value="mean"), ValueError, "RandomErasing: value='mean'; it needs a number, one"),
        (lambda: RandomErasing(value="random")(BYTES), TypeError,
         "RandomErasing: value='random' for images of dtype uint8; it needs floats"),
        (lambda: RandomErasing(value=(1, 2))(GREY), ValueError, "RandomErasing: 2 values for 1 channels; it needs one"),
        (lambda: RandomErasing(value=0.5)(BYTES), ValueError, "RandomErasing: value=0.5 for images of dtype uint8; it"),
        (lambda: Cutout(-1), ValueError, "Cutout: size=-1; it needs 0 or more"),
        (lambda: RandomRotation(-5), ValueError, "RandomRotation: degrees=-5; one number is for both sides of 0: 0 or"),
        (lambda: RandomRotation(5, "cubic"), ValueError, "RandomRotation: interpolation='cubic'; it is 'bilinear' or"),
        (lambda: RandomRotation(5, fill=-1)(BYTES), ValueError, "RandomRotation: fill=-1 for images of dtype uint8"),
        (lambda: Resize(0), ValueError, "Resize: size=0; it needs 1 or more"),
        (lambda: Resize(4, "lanczos"), ValueError, "Resize: interpolation='lanczos'; it can be"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
