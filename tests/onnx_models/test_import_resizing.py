"""ONNX's Resize and Upsample against the definitions of the specification, pixel by pixel; gradients and errors."""

import itertools
import math

import numpy as np
import pytest
from operator_calls import call, check_gradient, numbers, refused, values

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.onnx import OnnxError

PLAIN = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric")
ROUND = {
    "round_prefer_floor": lambda t: math.ceil(t - 0.5),
    "round_prefer_ceil": lambda t: math.floor(t + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def place(coordinates, i, n, size, scale):
    """Where pixel i of `size` lies among n."""
    if coordinates == "align_corners":
        return i * (n - 1) / (size - 1) if size > 1 else 0.0
    if coordinates == "asymmetric":
        return i / scale
    if coordinates == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if coordinates == "pytorch_half_pixel" and size == 1:
        return 0.0
    symmetric = n / 2 * (1 - size / (scale * n)) if coordinates == "half_pixel_symmetric" else 0.0
    return symmetric + (i + 0.5) / scale - 0.5


def kernel(mode, t, a):
    t = abs(t)
    if mode == "linear":
        return max(0.0, 1 - t)
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def weights(mode, coordinates, n, size, scale, rounding="round_prefer_floor", a=-0.75, exclude=0, antialias=0):
    """How much each of n old pixels adds to each of `size` new ones: (size n)."""
    out = np.zeros((size, n))
    for i in range(size):
        at = place(coordinates, i, n, size, scale)
        if mode == "nearest":
            out[i, min(max(ROUND[rounding](at), 0), n - 1)] = 1
            continue
        stretch = min(scale, 1.0) if antialias else 1.0
        reach = math.ceil(2 / stretch) + 1
        cells = range(math.floor(at) - reach, math.floor(at) + reach + 1)
        shares = {j: kernel(mode, (j - at) * stretch, a) for j in cells if 0 <= j < n or not exclude}
        total = sum(shares.values()) if exclude or antialias else 1.0
        for j, share in shares.items():
            out[i, min(max(j, 0), n - 1)] += share / total
    return out


def scales(*given):
    return np.float32(given)


@pytest.mark.parametrize("coordinates", PLAIN)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_sums_of_pixels_are_those_of_the_specification(mode, coordinates):
    for (n, size), exclude, antialias in itertools.product([(3, 7), (7, 3), (4, 1), (1, 3), (5, 5)], (0, 1), (0, 1)):
        options = {"exclude_outside": exclude, "antialias": antialias, "cubic_coeff_a": -0.5 if exclude else -0.75}
        found = values(
            "Resize", np.eye(n), None, None, np.array([size, n]),
            mode=mode, coordinate_transformation_mode=coordinates, **options,
        )  # fmt: skip
        expected = weights(mode, coordinates, n, size, size / n, "", options["cubic_coeff_a"], exclude, antialias)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("coordinates", [*PLAIN, "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("rounding", ROUND)
def test_nearest_pixels_are_those_of_the_specification(rounding, coordinates):
    for n, size in [(3, 6), (6, 3), (5, 4), (2, 5), (1, 3), (4, 1), (4, 4)]:
        options = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        found = values("Resize", np.eye(n), None, None, np.array([size, n]), opset=11, **options)
        expected = np.eye(n) if size == n else weights("nearest", coordinates, n, size, size / n, rounding)
        np.testing.assert_array_equal(found, expected)


def test_a_scale_says_where_pixels_lie_also_where_it_fits_no_whole_number_of_them():
    for mode, coordinates in itertools.product(("nearest", "linear", "cubic"), ("half_pixel", "asymmetric")):
        found = values("Resize", np.eye(4), None, scales(1.7, 1), mode=mode, coordinate_transformation_mode=coordinates)
        assert found.shape == (6, 4)
        expected = weights(mode, coordinates, 4, 6, float(np.float32(1.7)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_what_stays_as_long_stays_the_same():
    x = numbers(2, 3)
    for mode, coordinates in itertools.product(("nearest", "linear", "cubic"), PLAIN):
        found = values("Resize", x, None, scales(1, 1), mode=mode, coordinate_transformation_mode=coordinates)
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(
    ("mode", "attributes"),
    [
        ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("nearest", {}),
        ("linear", {}),
        ("linear", {"antialias": 1}),
        ("cubic", {}),
        ("cubic", {"exclude_outside": 1, "cubic_coeff_a": -0.5}),
    ],
)
def test_gradients_flow_to_the_pixels_that_are_read(mode, attributes):
    check_gradient("Resize", [numbers(2, 1, 3, 4)], [None, scales(1, 1, 2, 0.5)], mode=mode, **attributes)


def test_images_become_what_interpolate_makes_of_them():
    x = numbers(2, 3, 4, 5)
    sizes = np.array([2, 3, 7, 8])
    for mode, corners in itertools.product(("linear", "cubic"), (False, True)):
        options = {"coordinate_transformation_mode": "align_corners"} if corners else {}
        expected = F.interpolate(x, (7, 8), mode=f"bi{mode}", align_corners=corners)
        found = values("Resize", x, None, None, sizes, mode=mode, **options)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_part_is_cropped_and_what_lies_outside_has_a_value_of_its_own():
    x = np.arange(5.0)
    options = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear", "extrapolation_value": -9.0}
    sizes = np.array([3])
    assert values("Resize", x, np.float32([0.25, 0.75]), None, sizes, **options).tolist() == [1, 2, 3]
    assert values("Resize", x, np.float32([0.5, 1.5]), None, sizes, **options).tolist() == [2, 4, -9]
    assert values("Resize", x, np.float32([0.25, 0.75]), None, np.array([1]), **options).tolist() == [2]
    refused("roi is missing; it says which part to take", "Resize", x, None, None, sizes, **options)


def test_fewer_pixels_than_one_are_none():
    assert values("Resize", np.ones((2, 3), np.float32), None, scales(1, 0.1), mode="linear").shape == (2, 0)
    assert values("Resize", np.ones((0, 3)), None, None, np.array([0, 5]), mode="cubic").shape == (0, 5)
    assert values("Resize", np.ones((0, 3)), None, scales(2, 2)).shape == (0, 6)


def test_the_ratio_of_the_sides_may_be_kept():
    x = np.ones((4, 6))
    for policy, shape in {"stretch": (8, 6), "not_larger": (4, 6), "not_smaller": (8, 12)}.items():
        found = values("Resize", x, None, None, np.array([8, 6]), keep_aspect_ratio_policy=policy)
        assert found.shape == shape
    refused(
        "keep_aspect_ratio_policy is 'squeeze'; it can be 'stretch', 'not_larger' or 'not_smaller'",
        "Resize", x, None, None, np.array([8, 6]), keep_aspect_ratio_policy="squeeze",
    )  # fmt: skip
    assert values("Resize", x, None, scales(2.0), axes=[-1]).shape == (4, 12)


@pytest.mark.parametrize(("op_type", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
def test_the_old_forms_read_the_pixel_below(op_type, opset):
    x = np.array([[1.0, 2.0]])

    def by(mode, *factors):
        if opset == 7:
            return values(op_type, x, opset=opset, mode=mode, scales=list(factors)).tolist()
        return values(op_type, x, scales(*factors), opset=opset, mode=mode).tolist()

    assert by("nearest", 1.0, 2.5) == [[1, 1, 1, 2, 2]]
    assert by("linear", 1.0, 2.0) == [[1, 1.5, 2, 2]]


def test_integers_have_nearest_pixels_only():
    assert values("Resize", np.uint8([1, 2]), None, scales(2)).tolist() == [1, 1, 2, 2]
    refused("mode 'linear' of uint8; floats are needed", "Resize", np.uint8([1]), None, scales(2), mode="linear")


def test_half_precision_is_summed_in_single():
    x = np.float16(numbers(4))
    found = values("Resize", x, None, None, np.array([7]), mode="cubic", exclude_outside=1)
    assert found.dtype == np.float16
    exact = weights("cubic", "half_pixel", 4, 7, 7 / 4, exclude=1) @ x.astype(np.float64)
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_sizes_that_cannot_be_are_refused():
    x = np.ones((2, 3))
    refused("scales and sizes; one of them is needed", "Resize", x)
    refused("scales and sizes; one of them is needed", "Resize", x, None, scales(1, 1), np.array([2, 3]))
    refused("scales (1.0, 0.0); numbers above 0 are needed", "Resize", x, None, scales(1, 0))
    refused("scales is [1.0]; 2 finite numbers are needed", "Resize", x, None, scales(1))
    refused("scales is [1.0, inf]; 2 finite numbers are needed", "Resize", x, None, scales(1, math.inf))
    refused("sizes (4,) for axes (0, 1); one for each is needed", "Resize", x, None, None, np.array([4]))
    text = "sizes (1, 3) of shape (0, 3), which holds no pixel; at least one is needed"
    refused(text, "Resize", np.ones((0, 3)), None, None, np.array([1, 3]))
    refused("a result of shape (2, -1) cannot be; no size may be negative", "Resize", x, None, None, np.array([2, -1]))
    refused("mode is 'area'; it can be 'nearest', 'linear', 'cubic'", "Resize", x, None, scales(1, 2), mode="area")


def test_h183_images_beyond_the_limit_are_refused_before_they_are_made():
    x = np.ones((1, 1), np.float32)
    for how in ((None, scales(1, 2.0**40)), (None, None, np.array([2**20, 2**20]))):
        with pytest.raises(OnnxError, match=r"^Resize 'here': a result of shape .* more than the limit of"):
            call("Resize", x, *how, mode="linear")
    text = "a result of shape (4, 131072) takes 4194304 bytes, more than the limit of 1048576; raise max_bytes"
    refused(
        f"{text} if that is meant",
        "Resize", np.ones(1 << 16, np.float32), None, None, np.array([4]),
        mode="linear", antialias=1, max_bytes=1 << 20,
    )  # fmt: skip
    far = np.float32([0, 1e12])
    options = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    refused(
        f"pixels of axis 0 lie {float(far[1])} away; less than 2**31 is needed",
        "Resize", np.ones(2), far, None, np.array([2]), **options,
    )  # fmt: skip
