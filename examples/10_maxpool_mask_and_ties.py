"""Pooling: the mask of a maximum, what ties do to it, and averages over the wrong axes.

    python examples/10_maxpool_mask_and_ties.py [folder]

Sources: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019), for the
mask; Mukul Rathi, Demystifying Deep Learning 8: Convolutional Neural Networks (mukulrathi.com, 2018), for the code.
"""

import numpy as np
from checks import check, refused, say
from figures import ORANGE, cells, frame, picture

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F


def backward(x, pool, g=1.0):
    """What the input gets if every output gets g."""
    x = tg.Tensor(x, requires_grad=True)
    out = pool(x)
    return tg.grad(out, x, tg.full(out.shape, g, dtype=out.dtype))[0].numpy()


say("The gradient of a maximum is a mask: 1 where it was found, 0 elsewhere, for each channel by itself.")
x = np.array([[1.0, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]])[None, None]
two = np.concatenate([x, x[:, :, ::-1]], axis=1)
mask = backward(two, lambda x: F.max_pool2d(x, 2))
check("maxima", F.max_pool2d(x, 2)[0, 0], [[9, 2], [6, 3]])
check("mask", mask[0, 0], [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]])
check("one 1 in every window", F.sum_pool2d(mask, 2), np.ones((1, 2, 2, 2)))

say("Windows that overlap add up.")
peak = np.zeros((1, 1, 5, 5))
peak[0, 0, 2, 2] = 1
check("a peak seen by nine windows", backward(peak, lambda x: F.max_pool2d(x, 3, stride=1))[0, 0, 2, 2], 9)

say("By columns: every window of a plane as a column, its maximum by argmax, and back to where it was found.")
rng = np.random.default_rng(1)
planes = rng.permutation(2 * 3 * 7 * 5).reshape(2, 3, 7, 5).astype(float)
columns = F.unfold(planes.reshape(6, 1, 7, 5), 3, stride=2)  # (6 9 6): 3 x 2 windows, which overlap
best = columns.argmax(axis=1)[:, None]
pooled = F.max_pool2d(planes, 3, stride=2)
check("(W - F)/S + 1, depth unchanged", pooled.shape, (2, 3, (7 - 3) // 2 + 1, (5 - 3) // 2 + 1))
check("its numbers", np.take_along_axis(columns, best, 1).reshape(2, 3, 3, 2), pooled)
shares = np.zeros(columns.shape)
np.put_along_axis(shares, best, 1.0, 1)
check("backward", F.fold(shares, (7, 5), 3, stride=2).reshape(2, 3, 7, 5),
      backward(planes, lambda x: F.max_pool2d(x, 3, stride=2)))  # fmt: skip
check("parameters of the layer", len(list(nn.MaxPool2d(2).parameters())), 0)

say("Ties. A mask made by comparing, as in the code, gives the whole gradient to each of the four equal cells.")


def compared(x):
    """The mask of the code, for one plane."""
    out = x.reshape(2, 2, 2, 2).max(axis=(1, 3))
    return np.isclose(x, out.repeat(2, axis=0).repeat(2, axis=1)).astype(float)


flat = np.ones((1, 1, 4, 4))
check("its sum, for four windows", compared(flat[0, 0]).sum(), 16)
for ties, row in (("first", [1, 0, 1, 0]), ("last", [0, 0, 0, 0]), ("split", [0.25] * 4)):
    shares = backward(flat, lambda x, ties=ties: F.max_pool2d(x, 2, ties=ties))[0, 0]
    check(f"ties={ties!r}, first row", shares[0], row)
    check("    its sum", shares.sum(), 4)
near = np.array([[1.0, 1.000001], [0, 0]]).repeat(2, 0).repeat(2, 1)[::2, ::2]
check("isclose also marks a cell that is only near the maximum", np.isclose(near, near.max()).sum(), 2)
check("here it gets nothing", backward(near[None, None], lambda x: F.max_pool2d(x, 2))[0, 0], [[0, 1], [0, 0]])

say("Averages: the code reshapes (m h w c) to (m h/2 2 w/2 2 c) and takes the mean of axes 3 and then 4.")
images = np.random.default_rng(0).normal(size=(1, 6, 8, 3))
patches = images.reshape(1, 3, 2, 4, 2, 3)
check("so it mixes columns and channels; its shape", patches.mean(axis=3).mean(axis=4).shape, (1, 3, 2, 2))
nchw = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
average = F.avg_pool2d(nchw, 2)
check("axes 2 and 4 are right; the shape", patches.mean(axis=(2, 4)).shape, (1, 3, 4, 3))
check("avg_pool2d", average, patches.mean(axis=(2, 4)).transpose(0, 3, 1, 2), within=1e-12)
check("sum_pool2d is four times that", F.sum_pool2d(nchw, 2), 4 * average, within=1e-12)
check("every cell of an average gets a quarter", backward(x, lambda x: F.avg_pool2d(x, 2)), np.full(x.shape, 0.25))

say("Odd sizes: the reshape fails; pooling cuts, goes on over the edge, or refuses, as you ask.")
odd = np.arange(25.0).reshape(1, 1, 5, 5)
refused("reshape", ValueError, lambda: odd.reshape(1, 2, 2, 2, 2, 1), "cannot reshape")
check("max_pool2d", F.max_pool2d(odd, 2).shape[2:], (2, 2))
check("ceil_mode=True", F.max_pool2d(odd, 2, ceil_mode=True)[0, 0, 2], [21, 23, 24])
refused("strict=True", tg.ShapeError, lambda: F.max_pool2d(odd, 2, strict=True), "the last 1 of 5 rows")


def draw(figure):
    panels = figure.subplots(1, 4)
    tied = np.array([[1.0, 3, 2, 1], [3, 3, 1, 2], [1, 3, 2, 3], [6, 6, 1, 2]])
    shown = {
        "input, with ties": tied,
        "compared: 8 for 4 windows": compared(tied),
        "ties='first'": backward(tied[None, None], lambda x: F.max_pool2d(x, 2))[0, 0],
        "ties='split'": backward(tied[None, None], lambda x: F.max_pool2d(x, 2, ties="split"))[0, 0],
    }
    for axes, (name, array) in zip(panels, shown.items(), strict=True):
        cells(axes, array.round(2), name, reach=8 if array is tied else 1.5)
        for i, j in np.ndindex(2, 2):
            frame(axes, 2 * i, 2 * j, 2, 2, "black" if array is tied else ORANGE)


picture(__file__, draw, 7.6, 2.2)
