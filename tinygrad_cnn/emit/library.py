"""The NumPy functions that scripts are made with: plain loops over the cells of a kernel, to be read.

Their source is copied into every script that calls them, so nothing but NumPy and each other is named in them.
"""

import math
from typing import Any

import numpy as np


def sum_to(g: Any, shape: Any) -> Any:
    """Undo broadcasting: sum the axes that were added or stretched from `shape`."""
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1)
    return g.sum(axes, keepdims=True).reshape(shape)


def masked(g: Any, keep: Any) -> Any:
    """g where `keep` holds, 0 elsewhere, whatever g is there."""
    return np.where(keep, g, g.dtype.type(0))


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def log_sum(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def normal_cdf(x: Any) -> Any:
    """The share of a standard normal distribution below x."""
    return (np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2)) / 2).astype(x.dtype)


def normal_pdf(x: Any) -> Any:
    """The density of a standard normal distribution at x."""
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def share_of_ties(x: Any, y: Any, at_ties: Any) -> Any:
    """1 where x is larger, `at_ties` where they are equal, 0 elsewhere."""
    return (x > y) + (x == y) * np.result_type(x, y).type(at_ties)


def softmax(x: Any, axes: Any) -> Any:
    """exp(x) / sum(exp(x)), shifted by the maximum so that nothing overflows."""
    e = np.exp(x - x.max(axis=axes, keepdims=True))
    return e / e.sum(axis=axes, keepdims=True)


def log_softmax(x: Any, axes: Any) -> Any:
    """x - log(sum(exp(x))), shifted by the maximum."""
    shifted = x - x.max(axis=axes, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axes, keepdims=True))


def padded(x: Any, padding: Any, value: Any) -> Any:
    """Images with a border: ((top, bottom), (left, right)) pixels of `value`."""
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def cell(x: Any, p: Any, q: Any, stride: Any, dilation: Any, out: Any) -> Any:
    """What cell (p, q) of the kernel sees in each of the oh x ow windows: a view (n c oh ow) of x."""
    top, left = p * dilation[0], q * dilation[1]
    bottom, right = top + stride[0] * (out[0] - 1) + 1, left + stride[1] * (out[1] - 1) + 1
    return x[:, :, top : bottom : stride[0], left : right : stride[1]]


def conv2d(x: Any, w: Any, out: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """y[n,o,i,j] = sum over c, p, q of x[n,c,i*s+p*d,j*s+q*d] w[o,c,p,q]."""
    x = padded(x, padding, 0)
    n, (o, c, kh, kw) = len(x), w.shape
    y = np.zeros((n, groups, o // groups, *out), x.dtype)
    for p in range(kh):
        for q in range(kw):
            seen = cell(x, p, q, stride, dilation, out).reshape(n, groups, c, *out)
            y += np.einsum("ngchw,goc->ngohw", seen, w[:, :, p, q].reshape(groups, -1, c), optimize=True)
    return y.reshape(n, o, *out)


def conv2d_input_gradient(g: Any, w: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """Every g[n,o,i,j] w[o,c,p,q] is added to dx[n,c,i*s+p*d,j*s+q*d]."""
    n, (o, c, kh, kw), out = len(g), w.shape, g.shape[2:]
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c * groups, size[0] + top + bottom, size[1] + left + right), g.dtype)
    g = g.reshape(n, groups, o // groups, *out)
    for p in range(kh):
        for q in range(kw):
            part = np.einsum("ngohw,goc->ngchw", g, w[:, :, p, q].reshape(groups, -1, c), optimize=True)
            cell(dx, p, q, stride, dilation, out)[...] += part.reshape(n, c * groups, *out)
    return dx[:, :, top : top + size[0], left : left + size[1]]


def conv2d_weight_gradient(x: Any, g: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """dw[o,c,p,q] = sum over n, i, j of g[n,o,i,j] x[n,c,i*s+p*d,j*s+q*d]."""
    x = padded(x, padding, 0)
    n, o, out = len(g), g.shape[1], g.shape[2:]
    c = x.shape[1] // groups
    dw = np.zeros((o, c, *kernel), g.dtype)
    g = g.reshape(n, groups, o // groups, *out)
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            seen = cell(x, p, q, stride, dilation, out).reshape(n, groups, c, *out)
            dw[:, :, p, q] = np.einsum("ngohw,ngchw->goc", g, seen, optimize=True).reshape(o, c)
    return dw


def pool_cells(x: Any, value: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, out: Any) -> Any:
    """The cells of every window, in the order of the kernel: (n c h w) -> (kh*kw n c oh ow)."""
    x = padded(x, padding, value)
    places = [(p, q) for p in range(kernel[0]) for q in range(kernel[1])]
    return np.stack([cell(x, p, q, stride, dilation, out) for p, q in places])


def pool_scatter(g: Any, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The adjoint of pool_cells: what came from each cell is added where the cell lies."""
    (top, bottom), (left, right) = padding
    dx = np.zeros((*g.shape[1:3], size[0] + top + bottom, size[1] + left + right), g.dtype)
    for k, (p, q) in enumerate((p, q) for p in range(kernel[0]) for q in range(kernel[1])):
        cell(dx, p, q, stride, dilation, g.shape[3:])[...] += g[k]
    return dx[:, :, top : top + size[0], left : left + size[1]]


def winners(cells: Any, ties: Any) -> Any:
    """Which cell of each window holds its maximum, along axis 0: the first or the last at ties, or shares of them."""
    hit = (cells == cells.max(axis=0)) | np.isnan(cells)
    if ties == "split":
        return hit / hit.sum(axis=0).astype(cells.dtype)
    order = slice(None, None, -1 if ties == "last" else 1)
    return hit & (np.cumsum(hit[order], axis=0)[order] == 1)


def share_of_winners(x: Any, best: Any, axes: Any, ties: Any) -> Any:
    """What each x that is the extremum over some axes gets: even shares, or all of it to the first or the last."""
    hit = (x == best) | np.isnan(x)
    if ties != "split":
        order = tuple(i for i in range(hit.ndim) if i not in axes) + axes
        rows = hit.transpose(order).reshape(hit.size // max(1, math.prod(hit.shape[i] for i in axes)), -1)
        rows = rows if ties == "first" else rows[:, ::-1]
        rows = rows & (np.cumsum(rows, 1) == 1)
        rows = rows if ties == "first" else rows[:, ::-1]
        hit = rows.reshape([hit.shape[i] for i in order]).transpose(np.argsort(order))
    return (hit / hit.sum(axis=axes, keepdims=True)).astype(x.dtype)


def norm_slope(x: Any, out: Any, p: Any) -> Any:
    """sign(x) (|x| / out)^(p - 1), where `out` is the p-norm that x is part of; 0 where x is 0."""
    size = np.where(out == 0, 1, out)
    if p == 2:
        return x / size
    return np.sign(x) * np.where(x == 0, 1, np.sqrt(np.abs(x)) / np.sqrt(size)) ** (2 * (p - 1))


def adaptive_bounds(length: Any, n: Any) -> Any:
    """Where each of n windows along an axis begins and ends."""
    return [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]


def adaptive_avg_pool2d(x: Any, out: Any) -> Any:
    """The mean of each of oh x ow windows that cover the image."""
    y = np.empty((*x.shape[:2], *out), x.dtype)
    for i, (top, bottom) in enumerate(adaptive_bounds(x.shape[2], out[0])):
        for j, (left, right) in enumerate(adaptive_bounds(x.shape[3], out[1])):
            y[:, :, i, j] = x[:, :, top:bottom, left:right].mean(axis=(2, 3))
    return y


def adaptive_avg_pool2d_gradient(g: Any, size: Any) -> Any:
    """Each g, divided by the number of pixels in its window, is added to all of them."""
    dx = np.zeros((*g.shape[:2], *size), g.dtype)
    for i, (top, bottom) in enumerate(adaptive_bounds(size[0], g.shape[2])):
        for j, (left, right) in enumerate(adaptive_bounds(size[1], g.shape[3])):
            pixels = (bottom - top) * (right - left)
            dx[:, :, top:bottom, left:right] += g[:, :, i : i + 1, j : j + 1] / pixels
    return dx


def adaptive_max_pool2d(x: Any, out: Any) -> Any:
    """The maximum of each of oh x ow windows that cover the image."""
    y = np.empty((*x.shape[:2], *out), x.dtype)
    for i, (top, bottom) in enumerate(adaptive_bounds(x.shape[2], out[0])):
        for j, (left, right) in enumerate(adaptive_bounds(x.shape[3], out[1])):
            y[:, :, i, j] = x[:, :, top:bottom, left:right].max(axis=(2, 3))
    return y


def adaptive_max_pool2d_gradient(g: Any, x: Any) -> Any:
    """Each g is added to the first pixel of its window that holds the maximum."""
    dx = np.zeros(x.shape, g.dtype)
    for i, (top, bottom) in enumerate(adaptive_bounds(x.shape[2], g.shape[2])):
        for j, (left, right) in enumerate(adaptive_bounds(x.shape[3], g.shape[3])):
            seen = x[:, :, top:bottom, left:right]
            flat = np.moveaxis(seen.reshape(*seen.shape[:2], -1), 2, 0)
            share = np.moveaxis(winners(flat, "first"), 0, 2).reshape(seen.shape)
            dx[:, :, top:bottom, left:right] += g[:, :, i : i + 1, j : j + 1] * share
    return dx


def inverse_std(x: Any, axes: Any, eps: Any, centred: Any) -> Any:
    """1 / sqrt(var(x) + eps) along axes that stay at length 1; not centred, of the mean square."""
    square = x.var(axis=axes, keepdims=True) if centred else (x * x).mean(axis=axes, keepdims=True)
    return 1 / np.sqrt(square + square.dtype.type(eps))


def standardized(x: Any, axes: Any, eps: Any, centred: Any) -> Any:
    """(x - mean) / sqrt(var + eps) along axes."""
    return (x - x.mean(axis=axes, keepdims=True) * centred) * inverse_std(x, axes, eps, centred)


def standardized_gradient(g: Any, x: Any, axes: Any, eps: Any, centred: Any) -> Any:
    """(g - mean(g) - y mean(g y)) / sqrt(var + eps): mean and variance depend on every x too."""
    y = standardized(x, axes, eps, centred)
    g_mean, along = g.mean(axis=axes, keepdims=True), (g * y).mean(axis=axes, keepdims=True)
    return (g - g_mean * centred - y * along) * inverse_std(x, axes, eps, centred)


def across(values: Any, ndim: Any) -> Any:
    """One number for each channel, shaped to multiply images: (c) -> (1 c 1 1)."""
    return values.reshape((1, -1) + (1,) * (ndim - 2))


def class_targets(labels: Any, classes: Any, keep: Any, weight: Any, smoothing: Any, dtype: Any) -> Any:
    """q = (1 - s) w[t] onehot(t) + s w / classes at each label t that counts, classes on axis 1 (0 without a batch)."""
    onehot = np.moveaxis(np.eye(classes, dtype=dtype)[np.where(keep, labels, 0)], -1, min(1, labels.ndim))
    beside = weight.reshape((-1,) + (1,) * (labels.ndim - min(1, labels.ndim)))
    return (
        ((1 - smoothing) * onehot + dtype(smoothing / classes))
        * beside
        * np.expand_dims(keep, min(1, labels.ndim)).astype(dtype)
    )


def products_of_others(x: Any) -> Any:
    """The product of all other elements along the last axis, for each element; no zero is divided by."""
    ones = np.ones_like(x[..., :1])
    before = np.cumprod(np.concatenate([ones, x[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, x[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after


def running_products_gradient(g: Any, x: Any, axis: Any) -> Any:
    """The gradient of np.cumprod: each x meets, in every product from its place on, the product of the others."""
    g, x = np.moveaxis(g, axis, -1), np.moveaxis(x, axis, -1)
    dx = np.zeros_like(x)
    for k in range(x.shape[-1]):
        others = x.copy()
        others[..., k] = 1
        dx[..., k] = (g * np.cumprod(others, -1))[..., k:].sum(-1)
    return np.moveaxis(dx, -1, axis)


def along(matrix: Any, x: Any, axis: Any) -> Any:
    """The matrix times every line of x along an axis."""
    return np.moveaxis(np.tensordot(x, matrix, ([axis], [1])), -1, axis)


def logsumexp(x: Any, axes: Any, keepdims: Any) -> Any:
    """log(sum(exp(x))), shifted by the maximum."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    y = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return y if keepdims else y.squeeze(axes)


def added_at(g: Any, index: Any, shape: Any) -> Any:
    """Zeros of `shape` with g added at `index`; an index that occurs twice adds twice."""
    out = np.zeros(shape, g.dtype)
    np.add.at(out, index, g)
    return out


def added_along(g: Any, indices: Any, axis: Any, shape: Any) -> Any:
    """Zeros of `shape` with g added at `indices` along `axis`."""
    grids = list(np.ogrid[tuple(map(slice, g.shape))])
    grids[axis] = indices
    return added_at(g, tuple(grids), shape)


def gathered(x: Any, axis: Any, index: Any) -> Any:
    """out[i, j, ...] = x[index[i, j, ...], j, ...] for axis 0, and so on."""
    grids = list(np.ogrid[tuple(map(slice, index.shape))])
    grids[axis] = index
    return x[tuple(grids)]
