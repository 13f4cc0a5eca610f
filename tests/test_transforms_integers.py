"""Images of whole numbers that float64 does not hold: picked as they are, and refused where they would be mixed."""

import numpy as np
import pytest

from tinygrad_cnn.data.transforms import Pad, RandomCrop, RandomRotation, Resize

FAR = [np.array([2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 7, 0]), np.array([2**64 - 1, 2**53 + 1, 3], np.uint64)]
FAR += [
    np.array([2**31 - 1, -(2**31), 5], np.int32),
    np.array([True, False, False]),
    np.array([1.5, np.nan], np.float16),
]


@pytest.mark.parametrize("values", FAR, ids=lambda values: values.dtype.name)
def test_nearest_picks_pixels_of_any_dtype_as_they_are(values):
    images = np.resize(values, (2, 1, 4, 7))
    rows, columns = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 1, 2, 4, 5])  # floor(i 4 / 6), floor(i 7 / 5)
    result = Resize((6, 5), "nearest")(images)
    assert result.dtype == images.dtype
    assert result.tobytes() == np.ascontiguousarray(images[:, :, rows[:, None], columns]).tobytes()
    turned = RandomRotation((90, 90), "nearest")(images[..., :4])
    assert turned.tobytes() == np.rot90(images[..., :4], axes=(2, 3)).tobytes()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_to_the_end_of_what_float64_holds_are_resized(dtype, interpolation):
    for value in (2**53, 2**53 - 1, 0) if dtype == np.uint64 else (2**53, -(2**53), 1 - 2**53):
        assert (Resize((2, 2), "bilinear")(np.full((1, 4, 4), value, dtype)) == dtype(value)).all()
    steps = np.array([[[0, 2**53, 0], [2**53, 0, 2**53], [0, 2**53, 0]]], dtype)
    result = Resize((9, 9), interpolation)(steps)
    wanted = Resize((9, 9), interpolation)(steps.astype(np.float64))
    assert np.array_equal(result, np.maximum(np.rint(wanted), 0 if dtype == np.uint64 else -np.inf).astype(dtype))
    assert interpolation == "bilinear" or wanted.max() > 2**53  # an overshoot, which 64 bits hold


@pytest.mark.parametrize("image", [FAR[0], FAR[1], np.array([2**53 + 1]), np.array([-(2**63)])], ids=str)
def test_whole_numbers_that_float64_would_change_are_refused(image):
    image = np.resize(image, (1, 3, 5))
    wrong = next(v for v in (int(image.min()), int(image.max())) if abs(v) > 2**53)
    message = (
        rf": images of dtype {image.dtype} hold {wrong}; between pixels whole numbers up to 2\*\*53 = 9007199254740992 "
        "can be computed; use interpolation='nearest', which only picks, or floats"
    )
    before = image.copy()
    for transform in (Resize((2, 2)), Resize((2, 2), "bicubic"), RandomRotation((30, 30))):
        with pytest.raises(ValueError, match=type(transform).__name__ + message):
            transform(image)
    assert np.array_equal(image, before)


def test_a_number_that_a_float_would_change_is_refused():
    message = (
        r"fill=9007199254740993; it needs a number that float64 holds, as it does all whole numbers up to 2\*\*53 = 9"
    )
    for make in (Pad, RandomCrop):
        with pytest.raises(ValueError, match=f"{make.__name__}: {message}"):
            make(2, fill=2**53 + 1)
    with pytest.raises(ValueError, match=f"RandomRotation: {message}"):
        RandomRotation(5, fill=np.int64(2**53 + 1))
    with pytest.raises(ValueError, match="Pad: fill=1000000"):
        Pad(2, fill=10**400)
    assert Pad(1, fill=2**60)(np.zeros((1, 1, 1), np.int64))[0, 0, 0] == 2**60
