"""Changes to images of floats: inf and nan among the pixels, and statistics that the dtype does not hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.data.transforms import Normalize
from tinygrad_cnn.data.transforms.rotation import rotated


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "pixels", "wanted"),
    [
        (0, 1e-8, np.float16, [0.0, 1e-7], [0.0, 11.9]),
        (0, 1e-46, np.float32, [0.0, 1e-40], [0.0, 1e6]),
        (70000.0, 1.0, np.float16, [65504.0], [-4496.0]),
        (0, 1e6, np.float16, [65504.0], [0.0655]),
        (1e39, 1e39, np.float32, [0.0], [-1.0]),
    ],
)
def test_statistics_that_the_dtype_does_not_hold_normalize_as_their_values(mean, std, dtype, pixels, wanted):
    images = np.array(pixels, dtype).reshape(1, 1, 1, -1)
    result = Normalize(mean, std)(images)
    assert result.dtype == dtype
    assert np.allclose(result.ravel(), wanted, rtol=1e-2)
    assert np.isinf(Normalize(mean, std)(np.full_like(images, np.inf))).all()


@given(
    images=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]), (2, 2, 3, 4), elements=st.floats(-8, 8, width=16)
    ),
    mean=st.floats(-2, 2),
    std=st.floats(0.01, 4),
)  # fmt: skip
def test_normalize_computes_in_the_dtype_that_it_is_given(images, mean, std):
    """As PyTorch does, to the bit."""
    dtype = images.dtype.type
    assert np.array_equal(Normalize(mean, std)(images), (images - dtype(mean)) / dtype(std))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3])
def test_what_is_not_finite_stays_in_its_pixel_when_turned_by_quarters(quarters, dtype):
    images = np.arange(100).reshape(2, 2, 5, 5).astype(dtype)
    images[0, 0, 1, 2], images[0, 1, 0, 0], images[1, 0, 4, 3], images[1, 1, 2, 2] = np.inf, np.nan, -np.inf, np.nan
    result = rotated(images, np.array([90.0, 90.0]) * quarters, fill=3)
    assert np.array_equal(result, np.rot90(images, quarters, axes=(2, 3)), equal_nan=True)


def test_what_is_not_finite_spreads_to_the_points_that_mix_with_it_alone():
    images = np.ones((1, 1, 7, 7))
    images[0, 0, 3, 4] = np.inf
    result = rotated(images, np.array([20.0]), fill=1)
    inside = np.ones((1, 1, 7, 7))
    inside[0, 0, 3, 4] = 2
    mixed = np.abs(rotated(inside, np.array([20.0]), fill=1) - 1) > 1e-12
    assert 1 < mixed.sum() < 9
    assert np.array_equal(np.isposinf(result), mixed)
    assert np.allclose(result[~mixed], 1)
