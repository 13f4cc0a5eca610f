"""Convolution and pooling: H60 to H89."""

import numpy as np
from libraries import a

from hard_cases.asking import Question, better, drawn, once, plain, refused, twice

inf, nan = np.inf, np.nan

ONES = np.ones((1, 1, 3, 3))
IMAGE, KERNEL = np.ones((1, 2, 3, 3)), np.ones((4, 2, 2, 2))


QUESTIONS: dict[str, Question] = {
    **twice(
        {
            "H60 conv2d of no image": (
                lambda m, x, w, b: m.F.conv2d(x, w, b),
                np.zeros((0, 2, 4, 4)),
                np.ones((3, 2, 3, 3)),
                a(1, 2, 3),
            ),
            "H60 pools of no image": (lambda m, x: m.F.max_pool2d(x, 2) + m.F.avg_pool2d(x, 2), np.zeros((0, 2, 4, 4))),
            "H60 linear of no row": (lambda m, x, w: m.F.linear(x, w), np.zeros((0, 3)), drawn(0, 2, 3)),
            "H65 stride > kernel": (
                lambda m, x, w: m.F.conv2d(x, w, stride=3),
                drawn(0, 1, 1, 5, 6),
                drawn(0, 2, 1, 1, 2),
            ),
            "H65 pools with stride > kernel": (
                lambda m, x: m.F.max_pool2d(x, 1, 3) + m.F.avg_pool2d(x, 1, 3),
                drawn(0, 1, 1, 4, 5),
            ),
            "H66 everything unequal": (
                lambda m, x, w, b: m.F.conv2d(x, w, b, (2, 1), (1, 2), (3, 2)),
                drawn(0, 2, 3, 9, 8),
                drawn(1, 4, 3, 2, 3),
                drawn(2, 4),
            ),
            "H66 dilation > stride, groups": (
                lambda m, x, w: m.F.conv2d(x, w, None, (1, 2), 0, (2, 3), 2),
                drawn(0, 1, 4, 8, 9),
                drawn(1, 2, 2, 3, 2),
            ),
            "H67 depthwise, multiplier 2": (
                lambda m, x, w: m.F.conv2d(x, w, groups=3),
                drawn(0, 2, 3, 4, 5),
                drawn(0, 6, 1, 2, 3),
            ),
            "H68 kernel = input, 1x1 stride 2": (
                lambda m, x, w, v: m.F.conv2d(m.F.conv2d(x, w), v, stride=2),
                drawn(0, 2, 3, 4, 5),
                drawn(0, 2, 3, 1, 1),
                drawn(0, 1, 2, 4, 5),
            ),
            "H69 'same' at stride 1": (
                lambda m, x, w: m.F.conv2d(x, w, padding="same", dilation=(1, 2)),
                drawn(0, 1, 2, 5, 6),
                drawn(1, 1, 2, 3, 2),
            ),
            "H69 'valid'": (
                lambda m, x, w: m.F.conv2d(x, w, padding="valid", stride=2),
                drawn(0, 1, 2, 5, 6),
                drawn(1, 1, 2, 3, 2),
            ),
            "H70 unbatched": (lambda m, x, w: m.F.conv2d(x, w, padding=1), drawn(0, 3, 4, 5), drawn(0, 2, 3, 2, 2)),
            "H71 unequal pads": (
                lambda m, x, w: m.F.conv2d(m.F.pad(x, (0, 1, 2, 0)), w),
                drawn(0, 1, 1, 3, 4),
                drawn(1, 2, 1, 3, 2),
            ),
            "H77 the kernel is not turned": (
                lambda m, x, w: m.F.conv2d(x, w, padding=1),
                np.eye(9)[4].reshape(1, 1, 3, 3),
                np.arange(9.0).reshape(1, 1, 3, 3),
            ),
            "H80 all padding loses to -5": (lambda m, x: m.F.max_pool2d(x, 2, 2, 1), np.full((1, 1, 2, 2), -5.0)),
            "H81 all -inf": (lambda m, x: m.F.max_pool2d(x, 3, 2, 1), np.full((1, 1, 4, 4), -inf)),
            "H82 nan wins": (lambda m, x: m.F.max_pool2d(x, 2, 1), a([1, nan, 3], [4, 5, 2], [nan, 0, 9])[None, None]),
            "H85 ceil_mode drops a window in the padding": (
                lambda m, x: m.F.max_pool2d(x, 1, 2, 0, 1, True),
                drawn(0, 1, 1, 3, 4),
            ),
            "H86 avg_pool2d ceil_mode divisor": (lambda m, x: m.F.avg_pool2d(x, 2, 2, 0, True), ONES),
            "H86 avg_pool2d ceil_mode padded": (lambda m, x: m.F.avg_pool2d(x, 3, 2, 1, True), np.ones((1, 2, 4, 6))),
            "H87 avg_pool2d without its padding": (
                lambda m, x: m.F.avg_pool2d(x, 3, 2, 1, True, False),
                np.ones((1, 1, 4, 6)),
            ),
            "H87 count_include_pad of ones": (
                lambda m, x: m.F.avg_pool2d(x, 2, 2, 1) + m.F.avg_pool2d(x, 2, 2, 1, count_include_pad=False),
                np.ones((1, 1, 2, 2)),
            ),
            "H89 global pools": (
                lambda m, x: m.F.adaptive_avg_pool2d(x, 1) + m.F.adaptive_max_pool2d(x, 1),
                drawn(0, 2, 3, 4, 5),
            ),
            "H89 dilation": (lambda m, x: m.F.max_pool2d(x, 2, 1, 0, (2, 3)), drawn(0, 1, 2, 5, 6)),
            "H89 one axis": (
                lambda m, x: m.F.max_pool1d(x, 2, 1, 1, 2) + m.F.avg_pool1d(x, 3, 1, 1),
                drawn(0, 2, 3, 7),
            ),
        }
    ),
    **once(
        {
            "H72 nan in conv2d": (
                lambda m, x, w: m.F.conv2d(x, w),
                a([1, nan, 1, 1, 1])[None, None],
                np.ones((1, 1, 1, 2)),
            ),
            "H72 inf * 0 in conv2d": (
                lambda m, x, w: m.F.conv2d(x, w),
                a([inf, 1, 1])[None, None],
                a([0, 1])[None, None],
            ),
        }
    ),
    **plain(
        {
            "H72 nan and inf beside zeros": (
                lambda m, x, w: m.F.conv2d(x, w, padding=(0, 1)),
                a([nan, 1, 1, inf])[None, None],
                a([0, 1, 1])[None, None],
            ),
            "H74 conv2d of integers": (
                lambda m, x, w: m.F.conv2d(x, w),
                np.arange(9).reshape(1, 1, 3, 3),
                np.arange(4).reshape(1, 1, 2, 2),
            ),
            "H84 max_pool2d of integers": (
                lambda m, x: m.F.max_pool2d(x, 2, 1, 1),
                np.arange(-9, 0).reshape(1, 1, 3, 3),
            ),
            "H88 flat indices over one plane": (
                lambda m, x: list(m.F.max_pool2d(x, 2, 1, 1, return_indices=True)),
                drawn(0, 2, 2, 3, 4),
            ),
        }
    ),
    **refused(
        {
            "H62 no filters": (ValueError, lambda m, x: m.F.conv2d(x, m.constant(KERNEL[:0])), IMAGE),
            "H62 a kernel of nothing": (ValueError, lambda m, x: m.F.conv2d(x, m.constant(KERNEL[:, :, :0])), IMAGE),
            "H63 kernel > padded image": (ValueError, lambda m, x: m.F.conv2d(x, x, dilation=2), IMAGE),
            "H64 stride 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, stride=0), IMAGE, KERNEL),
            "H64 negative padding": (ValueError, lambda m, x, w: m.F.conv2d(x, w, padding=-1), IMAGE, KERNEL),
            "H64 dilation 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, dilation=0), IMAGE, KERNEL),
            "H64 groups 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, groups=0), IMAGE, KERNEL),
            "H64 groups that do not divide": (ValueError, lambda m, x, w: m.F.conv2d(x, w, groups=3), IMAGE, KERNEL),
            "H64 wrong channels": (ValueError, lambda m, x, w: m.F.conv2d(x, w[:, :1]), IMAGE, KERNEL),
            "H64 wrong rank": (ValueError, lambda m, x, w: m.F.conv2d(x[0, 0], w), IMAGE, KERNEL),
            "H64 wrong bias": (ValueError, lambda m, x, w: m.F.conv2d(x, w, m.constant(np.ones(3))), IMAGE, KERNEL),
            "H64 padding of three numbers": (
                ValueError,
                lambda m, x, w: m.F.conv2d(x, w, padding=(1, 1, 1)),
                IMAGE,
                KERNEL,
            ),
            "H64 a negative dilation": (ValueError, lambda m, x, w: m.F.conv2d(x, w, dilation=(1, -1)), IMAGE, KERNEL),
            "H73 conv2d of two dtypes": (TypeError, lambda m, x, w: m.F.conv2d(x, w), IMAGE, KERNEL.astype(np.float32)),
            "H73 linear of two dtypes": (
                TypeError,
                lambda m, x, w: m.F.linear(x, w),
                IMAGE,
                np.ones((2, 3), np.float32),
            ),
            "H73 matmul of two dtypes": (TypeError, lambda m, x, w: x @ w, IMAGE, np.ones((3, 3), np.float32)),
            "H73 conv2d with a float32 bias": (
                TypeError,
                lambda m, x, w, b: m.F.conv2d(x, w, b),
                IMAGE,
                KERNEL,
                np.ones(4, np.float32),
            ),
            "H73 batch_norm of two dtypes": (
                TypeError,
                lambda m, x, w: m.F.layer_norm(x, (3,), w),
                IMAGE,
                np.ones(3, np.float32),
            ),
            "H74 conv2d of bool": (TypeError, lambda m, x: m.F.conv2d(x, x), np.ones((1, 1, 2, 2), np.bool_)),
            "H83 padding > kernel / 2": (ValueError, lambda m, x: m.F.max_pool2d(x, 2, padding=2), IMAGE),
            "H83 padding > kernel / 2 in avg": (ValueError, lambda m, x: m.F.avg_pool2d(x, 2, padding=2), IMAGE),
            "H83 a kernel of 0": (ValueError, lambda m, x: m.F.max_pool2d(x, 0), IMAGE),
            "H83 stride 0": (ValueError, lambda m, x: m.F.max_pool2d(x, 2, 0), IMAGE),
            "H83 an image of nothing": (ValueError, lambda m, x: m.F.max_pool2d(x, 1), np.ones((1, 2, 0, 3))),
            "H83 a negative kernel": (ValueError, lambda m, x: m.F.max_pool2d(x, -1), IMAGE),
            "H83 a plane without an image": (ValueError, lambda m, x: m.F.max_pool2d(x, 1), np.ones((2, 3))),
        }
    ),
    **better(
        {
            "H61 no input channels": (
                ValueError,
                lambda m, x, w: m.F.conv2d(x, w),
                np.zeros((1, 0, 4, 4)),
                np.zeros((3, 0, 3, 3)),
            ),
            "H69 'same' at stride 2": (
                [np.full((1, 1, 2, 2), 4.0)],
                lambda m, x, w: m.F.conv2d(x, w, stride=2, padding="same"),
                np.ones((1, 1, 3, 3)),
                np.ones((1, 1, 3, 3)),
            ),
            "H75 an image with negative strides": (
                [a([3, 5])[None, None]],
                lambda m, w: m.F.conv2d(m.from_numpy(a([3, 2, 1])[None, None][..., ::-1]), w),
                np.ones((1, 1, 1, 2)),
            ),
        }
    ),
}
