"""Data against PyTorch: the sizes of parts, batches of a sampler, borders, sizes and turned images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import data
from tinygrad_cnn.data.transforms import Pad, Resize
from tinygrad_cnn.data.transforms.rotation import rotated

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch_data = torch.utils.data


@pytest.mark.filterwarnings("ignore:Length of split:UserWarning")
@given(n=st.integers(1, 60), parts=st.lists(st.integers(1, 20), min_size=1, max_size=6), whole=st.booleans())
def test_the_parts_of_a_random_split_are_as_long(n, parts, whole):
    lengths = parts if whole else [part / sum(parts) for part in parts]
    n = sum(parts) if whole else n
    try:
        theirs = torch_data.random_split(range(n), lengths)
    except ValueError:
        return  # fractions that sum to more than 1 by rounding, which PyTorch refuses
    assert [len(part) for part in data.random_split(range(n), lengths)] == [len(part) for part in theirs]


@given(n=st.integers(0, 30), batch_size=st.integers(1, 9), drop_last=st.booleans())
def test_a_batch_sampler_cuts_the_same_batches(n, batch_size, drop_last):
    ours, theirs = (
        data.BatchSampler(range(n), batch_size, drop_last),
        torch_data.BatchSampler(range(n), batch_size, drop_last),
    )
    assert list(ours) == list(theirs)
    assert len(ours) == len(theirs)


@given(
    sides=st.tuples(*[st.integers(0, 3)] * 4), mode=st.sampled_from(["constant", "edge", "reflect"]),
    h=st.integers(4, 7), w=st.integers(4, 7),
)  # fmt: skip
def test_borders_are_the_same(sides, mode, h, w):
    left, top, right, bottom = sides
    images = np.random.default_rng(h * w).normal(size=(2, 3, h, w))
    theirs = torch.nn.functional.pad(
        torch.from_numpy(images), (left, right, top, bottom), mode={"edge": "replicate"}.get(mode, mode)
    )
    assert np.array_equal(Pad(sides, padding_mode=mode)(images), theirs.numpy())


@given(size=st.tuples(*[st.integers(1, 9)] * 2), mode=st.sampled_from(["bilinear", "bicubic", "nearest"]))
def test_images_in_another_size_are_the_same(size, mode):
    images = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    theirs = torch.nn.functional.interpolate(torch.from_numpy(images), size, mode=mode).numpy()
    assert np.allclose(Resize(size, mode)(images), theirs, atol=1e-10)


@given(degrees=st.floats(-360, 360), h=st.integers(2, 8), w=st.integers(2, 8))
def test_turned_images_are_those_of_grid_sample(degrees, h, w):
    images = np.random.default_rng(h + 9 * w).normal(size=(1, 2, h, w))
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    theta = torch.tensor([[[cos, -sin * h / w, 0], [sin * w / h, cos, 0]]])  # in halves of the sides
    grid = torch.nn.functional.affine_grid(theta, (1, 2, h, w), align_corners=False)
    theirs = torch.nn.functional.grid_sample(torch.from_numpy(images), grid, align_corners=False).numpy()
    assert np.allclose(rotated(images, np.array([degrees])), theirs, atol=1e-9)
