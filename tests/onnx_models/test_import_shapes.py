"""ONNX's shape operators beyond its own node tests: gradients, forms by opset, what lies outside, limits."""

import numpy as np
import pytest
from operator_calls import call, check_gradient, numbers, refused, values

from tinygrad_cnn import Tensor
from tinygrad_cnn.onnx import OnnxError

I64 = np.int64


def ints(*given):
    return np.array(given, I64)


@pytest.mark.parametrize(
    ("op_type", "constants", "attributes"),
    [
        ("Reshape", [ints(0, -1, 2)], {}),
        ("Transpose", [], {"perm": [2, 0, 1]}),
        ("Transpose", [], {}),
        ("Flatten", [], {"axis": 2}),
        ("Unsqueeze", [ints(0, -1)], {}),
        ("Slice", [ints(-1, 0), ints(-99, 2), ints(1, 2), ints(-2, 1)], {}),
        ("Pad", [ints(1, 0, -1, 0, 2, 1)], {}),
        ("Pad", [ints(1, 0, 0, 0, 2, 3)], {"mode": "reflect"}),
        ("Pad", [ints(1, 0, 2, 0, 2, 0)], {"mode": "edge"}),
        ("Pad", [ints(1, 0, 5, 0, 4, 0)], {"mode": "wrap"}),
        ("Expand", [ints(3, 1, 1, 4)], {}),
        ("Tile", [ints(2, 1, 3)], {}),
        ("CenterCropPad", [ints(3, 1)], {"axes": [0, 2]}),
        ("Split", [ints(1, 3)], {"axis": -1, "outputs": 2}),
    ],
)
def test_gradients_flow_through_shape_operators(op_type, constants, attributes):
    check_gradient(op_type, [numbers(2, 3, 4)], constants, **attributes)


def test_gradients_flow_through_joins_and_blocks():
    check_gradient("Concat", [numbers(2, 3), numbers(2, 1, seed=1), numbers(2, 2, seed=2)], axis=-1)
    check_gradient("Squeeze", [numbers(2, 1, 3)], [ints(1)])
    for mode in ("DCR", "CRD"):
        check_gradient("DepthToSpace", [numbers(2, 8, 1, 3)], blocksize=2, mode=mode)
        check_gradient("SpaceToDepth", [numbers(2, 3, 2, 4)], blocksize=2, mode=mode)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_of_pixels_become_channels_and_come_back(mode):
    x = numbers(2, 3, 4, 6)
    deep = values("SpaceToDepth", x, blocksize=2, mode=mode, opset=28)
    assert deep.shape == (2, 12, 2, 3)
    for c, i, j in [(0, 0, 0), (2, 1, 0), (1, 0, 1)]:
        channel = (i * 2 + j) * 3 + c if mode == "DCR" else (c * 2 + i) * 2 + j
        np.testing.assert_array_equal(deep[:, channel], x[:, c, i::2, j::2])
    np.testing.assert_array_equal(values("DepthToSpace", deep, blocksize=2, mode=mode), x)


def test_blocks_that_do_not_fit_are_refused():
    refused(
        "mode 'DCR', 6 channels by 2; 'DCR' or 'CRD' and a multiple of 4 are needed",
        "DepthToSpace", np.ones((1, 6, 2, 2)), blocksize=2,
    )  # fmt: skip
    refused(
        "mode 'DRC', 4 by 3 pixels in blocks of 2; 'DCR' or 'CRD' and multiples are needed",
        "SpaceToDepth", np.ones((1, 1, 4, 3)), blocksize=2, mode="DRC",
    )  # fmt: skip
    text = "blocks of 0 for shape (4, 4); (n c h w) and a size of at least 1 are needed"
    refused(text, "SpaceToDepth", np.ones((4, 4)), blocksize=0)


def test_h183_reshape_knows_0_and_minus_1_and_allowzero():
    x = numbers(2, 3, 4)
    assert values("Reshape", x, ints(0, -1)).shape == (2, 12)
    assert values("Reshape", x, ints(4, 0, -1)).shape == (4, 3, 2)
    assert values("Reshape", x, opset=4, shape=[6, 4]).shape == (6, 4)
    empty = np.ones((0, 3))
    assert values("Reshape", empty, ints(5, 0), allowzero=1).shape == (5, 0)
    assert values("Reshape", empty, ints(0, 7)).shape == (0, 7)
    assert values("Reshape", np.ones(1), ints()).shape == ()
    refused("(1, 2, 3, 0) keeps a length that the shape (2, 3, 4) has not", "Reshape", x, ints(1, 2, 3, 0))
    text = "(0, -1) holds 0 and -1, which allowzero=1 leaves undecided; write the length out"
    refused(text, "Reshape", empty, ints(0, -1), allowzero=1)
    for shape, text in {
        (-1, -1): r"\(-1, -1\) holds 2 times -1",
        (-2, 12): r"\(-2, 12\) holds -2, needs lengths >= 0",
        (5, 5): r"\(2, 3, 4\) has 24 elements, \(5, 5\) has 25",
        (7, -1): "needs a multiple of 7",
    }.items():
        with pytest.raises(OnnxError, match=f"^Reshape 'here': .*{text}"):
            call("Reshape", x, ints(*shape))
    text = f"the shape {(0, 2**40, 2**40)} has lengths that are too large together"
    refused(text, "Reshape", empty, ints(0, 2**40, 2**40), allowzero=1)
    refused("the new shape is missing", "Reshape", x)


def test_axes_of_length_one_go_and_come():
    x = numbers(1, 2, 1, 3)
    assert values("Squeeze", x).shape == (2, 3)
    assert values("Squeeze", x, ints(-2)).shape == (1, 2, 3)
    assert values("Squeeze", x, opset=12, axes=[0]).shape == (2, 1, 3)
    assert values("Squeeze", x, ints()).shape == x.shape
    refused("axes (1,) of shape (1, 2, 1, 3); only those of length 1 can be dropped", "Squeeze", x, ints(1))
    assert values("Unsqueeze", x, ints(5, 0)).shape == (1, 1, 2, 1, 3, 1)
    assert values("Unsqueeze", x, opset=12, axes=[1]).shape == (1, 1, 2, 1, 3)
    refused("axes (1, -5) of a Tensor of 6 axes; each may be named once", "Unsqueeze", x, ints(1, -5))
    refused("the axes are missing", "Unsqueeze", x)
    refused("a result of 68 axes; at most 64 are possible", "Unsqueeze", x, np.arange(64))


def test_flatten_makes_a_matrix_at_any_axis():
    x = numbers(2, 3, 4)
    shapes = {0: (1, 24), 1: (2, 12), 2: (6, 4), 3: (24, 1), -1: (6, 4), -3: (1, 24)}
    assert {axis: values("Flatten", x, axis=axis).shape for axis in shapes} == shapes
    assert values("Flatten", np.array(5.0), axis=0).shape == (1, 1)
    refused("axis 4 of shape (2, 3, 4); -3 to 3 are possible", "Flatten", x, axis=4)


def test_transpose_needs_every_axis():
    refused("perm (1, 0) for shape (2, 3, 4); every axis must be named", "Transpose", numbers(2, 3, 4), perm=[1, 0])


def test_only_what_agrees_is_joined():
    x = np.ones((2, 3))
    assert values("Concat", x, x, opset=3).shape == (2, 6)
    refused("the attribute 'axis' is missing", "Concat", x, x)
    text = "shapes (2, 3), (3, 3); all axes but 1 must have one length"
    refused(text, "Concat", x, np.ones((3, 3)), axis=1)
    refused("shapes (2, 3), (2,); all axes but 1 must have one length", "Concat", x, np.ones(2), axis=1)
    big = Tensor(np.zeros(1 << 20, np.int8))
    text = f"a result of shape ({3 << 20},) takes {3 << 20} bytes, more than the limit of {1 << 21}; "
    refused(text + "raise max_bytes if that is meant", "Concat", big, big, big, axis=0, max_bytes=1 << 21)


def test_splits_are_equal_unless_sizes_are_said():
    x = np.arange(14.0).reshape(2, 7)
    parts = values("Split", x, axis=1, num_outputs=3, outputs=3)
    assert [part.shape[1] for part in parts] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(parts, 1), x)
    sizes = [part.shape[1] for part in values("Split", x, ints(4, 0, 3), axis=-1, outputs=3)]
    assert sizes == [4, 0, 3]
    assert [part.shape[1] for part in values("Split", x, opset=11, axis=1, split=[5, 2], outputs=2)] == [5, 2]
    assert [part.shape[0] for part in values("Split", x, opset=13, outputs=2)] == [1, 1]
    text = "2 equal parts of axis 1 of shape (2, 7); 7 is no multiple of 2"
    refused(text, "Split", x, opset=13, axis=1, outputs=2)
    refused("num_outputs is 3 with 2 outputs; they must agree", "Split", x, axis=1, num_outputs=3, outputs=2)
    for wrong in ((3, 3), (8, -1), (3, 3, 1)):
        refused(
            f"parts of {wrong} for 2 outputs and axis 1 of shape (2, 7); one for each is needed, 7 together",
            "Split", x, ints(*wrong), axis=1, outputs=2,
        )  # fmt: skip


def test_slices_leave_out_what_lies_outside():
    x = np.arange(5.0)
    least, most = np.iinfo(I64).min, np.iinfo(I64).max
    for start, end, step in [(1, most, 1), (-2, most, 1), (most, least, -1), (-1, least, -2), (3, 0, -1), (7, 9, 1)]:
        np.testing.assert_array_equal(
            values("Slice", x, ints(start), ints(end), ints(0), ints(step)), x[slice(start, end, step)]
        )
    for start, end, step, expected in [(-9, -9, -1, [0]), (-9, least, -2, [0]), (9, 3, -1, [4]), (-9, -4, -1, [])]:
        assert values("Slice", x, ints(start), ints(end), ints(0), ints(step)).tolist() == expected
    for step in (1, -1):
        assert values("Slice", np.zeros(0), ints(most), ints(least), ints(0), ints(step)).size == 0
    y = numbers(3, 4)
    np.testing.assert_array_equal(values("Slice", y, opset=9, starts=[1], ends=[99], axes=[1]), y[:, 1:])
    np.testing.assert_array_equal(values("Slice", y, opset=9, starts=[1, 0], ends=[-1, 2]), y[1:-1, :2])
    refused(
        "starts (0,), ends (2,), axes (0,), steps (0,); one of each is needed for every axis, no step 0",
        "Slice", x, ints(0), ints(2), ints(0), ints(0),
    )  # fmt: skip
    refused("starts or ends are missing", "Slice", x, opset=9, starts=[0])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_is_numpys_and_negative_widths_crop_first(mode):
    x = numbers(3, 4, 2)
    expected = np.pad(x, ((1, 2), (0, 5), (0, 0)), mode)
    np.testing.assert_array_equal(values("Pad", x, ints(1, 0, 0, 2, 5, 0), mode=mode), expected)
    np.testing.assert_array_equal(values("Pad", x, ints(0, 1, 5, 2), None, ints(1, 0), mode=mode), expected)
    np.testing.assert_array_equal(values("Pad", x, opset=10, pads=[1, 0, 0, 2, 5, 0], mode=mode), expected)
    cropped = np.pad(x[1:, :-2], ((0, 1), (2, 0), (0, 0)), mode)
    np.testing.assert_array_equal(values("Pad", x, ints(-1, 2, 0, 1, -2, 0), mode=mode), cropped)


def test_the_value_around_may_be_trained():
    assert values("Pad", np.int64([7]), ints(1, 0), np.int64(2**62 + 1)).tolist() == [2**62 + 1, 7]
    assert values("Pad", [7.0], opset=10, pads=[0, 1], value=2.5).tolist() == [7, 2.5]
    assert values("Pad", [7.0], opset=1, paddings=[0, 1]).tolist() == [7, 0]
    assert values("Pad", [True], ints(1, 0)).tolist() == [False, True]
    x, value = Tensor(numbers(2, 3), requires_grad=True), Tensor(np.array([1.5]), requires_grad=True)
    y = call("Pad", x, ints(1, 0, 0, 2), value)
    cotangent = numbers(3, 5, seed=1)
    y.backward(cotangent)
    np.testing.assert_array_equal(x.grad.numpy(), cotangent[1:, :3])
    np.testing.assert_allclose(value.grad.numpy(), [cotangent.sum() - cotangent[1:, :3].sum()])
    assert y.numpy()[0].tolist() == [1.5] * 5


def test_pads_that_cannot_be_are_refused():
    x = np.ones((2, 3))
    refused("pads (1, 1) for axes (0, 1); the beginnings of all are needed, then the ends", "Pad", x, ints(1, 1))
    refused("pads (0, -2, 0, -2) crop more than there is of shape (2, 3)", "Pad", x, ints(0, -2, 0, -2))
    refused("mode 'mirror'; it can be 'constant', 'reflect', 'edge', 'wrap'", "Pad", x, ints(0, 0, 0, 0), mode="mirror")
    refused("the value has shape (2,); one number is needed", "Pad", x, ints(0, 0, 0, 0), np.ones(2))
    text = "axis 0 of shape (0, 3) is empty; mode 'edge' has nothing to repeat"
    refused(text, "Pad", np.ones((0, 3)), ints(1, 0, 0, 0), mode="edge")


def test_centre_crops_and_pads_put_the_odd_one_right():
    x = np.arange(1.0, 6.0)
    assert values("CenterCropPad", x, ints(2)).tolist() == [2, 3]
    assert values("CenterCropPad", x, ints(3)).tolist() == [2, 3, 4]
    assert values("CenterCropPad", x, ints(8)).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    refused("lengths (1, 2) for axes (0,); one for each is needed", "CenterCropPad", x, ints(1, 2))


def test_expansion_goes_both_ways():
    assert values("Expand", np.ones((3, 1)), ints(2, 1, 4)).shape == (2, 3, 4)
    assert values("Expand", np.ones((2, 3, 4)), ints(1)).shape == (2, 3, 4)
    with pytest.raises(OnnxError, match=r"^Expand 'here': .*\(3, 2\).*\(4, 2\)"):
        call("Expand", np.ones((3, 2)), ints(4, 2))
    refused("a result of shape (-1, 2) cannot be; no size may be negative", "Expand", np.ones(2), ints(-1, 2))


def test_tiles_are_laid_along_every_axis_or_before_opset_6_along_one():
    x = numbers(2, 3)
    np.testing.assert_array_equal(values("Tile", x, ints(2, 3)), np.tile(x, (2, 3)))
    np.testing.assert_array_equal(values("Tile", x, ints(4), ints(1), opset=5), np.tile(x, (1, 4)))
    assert values("Tile", np.array(5.0), ints()).item() == 5
    refused("repeats (2,) for shape (2, 3); one for every axis is needed", "Tile", x, ints(2))
    refused("(4, 4) tiles along axes (1,); one number of each is needed", "Tile", x, ints(4, 4), ints(1), opset=5)
    refused("a result of shape (-2, 3) cannot be; no size may be negative", "Tile", x, ints(-1, 1))


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("Expand", (ints(2**40, 1),)),
        ("Expand", (ints(2**20, 1, 2**20, 1),)),
        ("Tile", (ints(2**40, 1),)),
        ("Pad", (ints(2**40, 0, 0, 0),)),
        ("Pad", (ints(0, 0, 0, 2**40),)),
        ("CenterCropPad", (ints(2**40, 2),)),
    ],
)
def test_h183_a_shape_from_data_beyond_the_limit_is_refused_before_it_is_made(op_type, inputs):
    with pytest.raises(
        OnnxError, match=rf"^{op_type} 'here': a result of shape .* more than the limit of 2147483648; "
    ):
        call(op_type, np.ones((2, 2)), *inputs)


def test_a_shape_is_cut_by_start_and_end():
    x = np.ones((2, 3, 4, 5))
    assert values("Shape", x).tolist() == [2, 3, 4, 5]
    assert values("Shape", x, start=1).tolist() == [3, 4, 5]
    assert values("Shape", x, start=-2, end=-1).tolist() == [4]
    assert values("Shape", x, start=3, end=1).tolist() == []
    assert values("Shape", x, end=99).dtype == I64
    assert values("Size", x).item() == 120
