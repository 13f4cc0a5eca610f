"""Plain loops that are right at a glance: what the kernels must equal. Results are float64, or int64 for integers."""

import math

import numpy as np


def _zeros(shape, *arrays):
    return np.zeros(shape, np.int64 if all(a.dtype.kind in "iu" for a in arrays) else np.float64)


def _out(h, k, s, sides, d):
    return (h + sides[0] + sides[1] - d * (k - 1) - 1) // s + 1


def conv2d(x, w, b=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    n, _, h, width = x.shape
    o, c_group, kh, kw = w.shape
    oh = _out(h, kh, stride[0], padding[0], dilation[0])
    ow = _out(width, kw, stride[1], padding[1], dilation[1])
    y = _zeros((n, o, oh, ow), x, w)
    for image in range(n):
        for channel_out in range(o):
            group = channel_out // (o // groups)
            for i in range(oh):
                for j in range(ow):
                    total = 0 if b is None else b[channel_out].item()
                    for channel in range(c_group):
                        for p in range(kh):
                            for q in range(kw):
                                row = i * stride[0] + p * dilation[0] - padding[0][0]
                                column = j * stride[1] + q * dilation[1] - padding[1][0]
                                if 0 <= row < h and 0 <= column < width:
                                    pixel = x[image, group * c_group + channel, row, column].item()
                                    total += pixel * w[channel_out, channel, p, q].item()
                    y[image, channel_out, i, j] = total
    return y


def conv_transpose2d(
    x, w, b=None, stride=(1, 1), padding=((0, 0), (0, 0)), output_padding=(0, 0), groups=1, dilation=(1, 1)
):
    n, c, h, width = x.shape
    _, o_group, kh, kw = w.shape
    oh = (h - 1) * stride[0] - sum(padding[0]) + dilation[0] * (kh - 1) + output_padding[0] + 1
    ow = (width - 1) * stride[1] - sum(padding[1]) + dilation[1] * (kw - 1) + output_padding[1] + 1
    y = _zeros((n, o_group * groups, oh, ow), x, w)
    if b is not None:
        for channel_out in range(o_group * groups):
            y[:, channel_out] = b[channel_out]
    for image in range(n):
        for channel in range(c):
            group = channel // (c // groups)
            for i in range(h):
                for j in range(width):
                    for channel_out in range(o_group):
                        for p in range(kh):
                            for q in range(kw):
                                row = i * stride[0] + p * dilation[0] - padding[0][0]
                                column = j * stride[1] + q * dilation[1] - padding[1][0]
                                if 0 <= row < oh and 0 <= column < ow:
                                    term = x[image, channel, i, j].item() * w[channel, channel_out, p, q].item()
                                    y[image, group * o_group + channel_out, row, column] += term
    return y


def pool_out(h, k, s, sides, d, ceil_mode):
    """The number of windows along one axis."""
    if not ceil_mode:
        return _out(h, k, s, sides, d)
    count = math.ceil((h + sides[0] + sides[1] - d * (k - 1) - 1) / s) + 1
    if (count - 1) * s >= h + sides[0]:
        count -= 1
    return count


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """For each output place, the (row, column) of its cells, those in the padding too."""
    oh = pool_out(size[0], kernel[0], stride[0], padding[0], dilation[0], ceil_mode)
    ow = pool_out(size[1], kernel[1], stride[1], padding[1], dilation[1], ceil_mode)
    places = {}
    for i in range(oh):
        for j in range(ow):
            places[i, j] = [
                (i * stride[0] + p * dilation[0] - padding[0][0], j * stride[1] + q * dilation[1] - padding[1][0])
                for p in range(kernel[0])
                for q in range(kernel[1])
            ]
    return (oh, ow), places


def max_pool2d(x, kernel, stride, padding=((0, 0), (0, 0)), dilation=(1, 1), ceil_mode=False):
    """The maxima, and for each window the plane indices of the cells that hold it, in row-major order."""
    n, c, h, w = x.shape
    out, places = windows((h, w), kernel, stride, padding, dilation, ceil_mode)
    y = np.zeros((n, c, *out), x.dtype)
    holders = {}
    for image in range(n):
        for channel in range(c):
            plane = x[image, channel]
            for (i, j), cells in places.items():
                real = [(row, column) for row, column in cells if 0 <= row < h and 0 <= column < w]
                values = [plane[cell].item() for cell in real]
                nans = [cell for cell, value in zip(real, values, strict=True) if math.isnan(value)]
                best = math.nan if nans else max(values)
                held = nans or [cell for cell, value in zip(real, values, strict=True) if value == best]
                y[image, channel, i, j] = best
                holders[image, channel, i, j] = [row * w + column for row, column in held]
    return y, holders


def sum_pool2d(x, kernel, stride, padding=((0, 0), (0, 0)), dilation=(1, 1), ceil_mode=False):
    n, c, h, w = x.shape
    out, places = windows((h, w), kernel, stride, padding, dilation, ceil_mode)
    y = _zeros((n, c, *out), x)
    for image in range(n):
        for channel in range(c):
            for (i, j), cells in places.items():
                for row, column in cells:
                    if 0 <= row < h and 0 <= column < w:
                        y[image, channel, i, j] += x[image, channel, row, column]
    return y


def pool_counts(size, kernel, stride, padding, dilation, ceil_mode, count_include_pad):
    (top, bottom), (left, right) = padding if count_include_pad else ((0, 0), (0, 0))
    out, places = windows(size, kernel, stride, padding, dilation, ceil_mode)
    counts = np.zeros(out, np.int64)
    for (i, j), cells in places.items():
        for row, column in cells:
            if -top <= row < size[0] + bottom and -left <= column < size[1] + right:
                counts[i, j] += 1
    return counts


def avg_pool2d(
    x, kernel, stride, padding=((0, 0), (0, 0)), ceil_mode=False, count_include_pad=True, divisor_override=None
):
    counts = pool_counts(x.shape[2:], kernel, stride, padding, (1, 1), ceil_mode, count_include_pad)
    return sum_pool2d(x, kernel, stride, padding, (1, 1), ceil_mode) / (divisor_override or counts)


def cells_inside(size, kernel, stride, padding, dilation, out):
    """How many cells of the kernel lie inside the image in some window."""
    sides = [
        sum(any(0 <= i * s + p * d - before < h for i in range(windows)) for p in range(k))
        for h, k, s, (before, _), d, windows in zip(size, kernel, stride, padding, dilation, out, strict=True)
    ]
    return sides[0] * sides[1]


def conv2d_input_grad(g, w, size, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    n, o = g.shape[:2]
    c_group = w.shape[1]
    dx = _zeros((n, c_group * groups, *size), g, w)
    for (image, channel_out, i, j), value in np.ndenumerate(g):
        group = channel_out // (o // groups)
        for (channel, p, q), weight in np.ndenumerate(w[channel_out]):
            row = i * stride[0] + p * dilation[0] - padding[0][0]
            column = j * stride[1] + q * dilation[1] - padding[1][0]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                dx[image, group * c_group + channel, row, column] += value.item() * weight.item()
    return dx


def conv2d_weight_grad(x, g, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    o, c_group = g.shape[1], x.shape[1] // groups
    dw = _zeros((o, c_group, *kernel), x, g)
    for (image, channel_out, i, j), value in np.ndenumerate(g):
        group = channel_out // (o // groups)
        for channel, p, q in np.ndindex(c_group, *kernel):
            row = i * stride[0] + p * dilation[0] - padding[0][0]
            column = j * stride[1] + q * dilation[1] - padding[1][0]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                pixel = x[image, group * c_group + channel, row, column].item()
                dw[channel_out, channel, p, q] += value.item() * pixel
    return dw


def sum_pool2d_input_grad(g, size, kernel, stride, padding=((0, 0), (0, 0)), dilation=(1, 1)):
    dx = _zeros((*g.shape[:2], *size), g)
    for (image, channel, i, j), value in np.ndenumerate(g):
        for p, q in np.ndindex(*kernel):
            row = i * stride[0] + p * dilation[0] - padding[0][0]
            column = j * stride[1] + q * dilation[1] - padding[1][0]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                dx[image, channel, row, column] += value
    return dx
