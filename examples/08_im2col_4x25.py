"""im2col: every window laid out as a column, so that a convolution is one product of matrices.

    python examples/08_im2col_4x25.py [folder]

Source: Understand the concepts and mathematics behind CNN and implement it by NumPy, a tutorial after the code of
Parasdahal's deepnet and of CS231n's im2col. Its comments speak of 10x9 and 9x500 where 10x27 and 27x500 are meant.
"""

import numpy as np
from checks import check, say
from figures import cells, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

say("X = 0 ... 15 as 4x4, padding 1, filter 2x2: 5 x 5 = 25 windows of 4 numbers.")
X = np.arange(16.0).reshape(1, 1, 4, 4)
X_col = F.unfold(X, 2, padding=1)[0]
check("shape", X_col.shape, (4, 25))
for column, wanted in (
    (0, [0, 0, 0, 0]),
    (1, [0, 0, 0, 1]),
    (2, [0, 0, 1, 2]),
    (12, [5, 6, 9, 10]),
    (24, [15, 0, 0, 0]),
):
    check(f"column {column}", X_col[:, column], wanted)

say("Three filters as rows: (3 x 4) (4 x 25) = (3 x 25), which is (1 3 5 5).")
W = np.stack([np.ones((1, 2, 2)), np.eye(2)[None], np.random.default_rng(0).normal(size=(1, 2, 2))])
W_row = W.reshape(3, 4)
out = (W_row @ X_col).reshape(1, 3, 5, 5)
check("conv2d", F.conv2d(X, W, padding=1), out, within=1e-12)
ones = [[0, 1, 3, 5, 3], [4, 10, 14, 18, 10], [12, 26, 30, 34, 18], [20, 42, 46, 50, 26], [12, 25, 27, 29, 15]]
check("the filter of ones", out[0, 0], ones)

say("Windows need not be square. His im2col tests the width with the window's height, and refuses what fits.")
check("(W - height) % 2, (W - width) % 2 for W = 5 and a window of 2x3", [(5 - 2) % 2, (5 - 3) % 2], [1, 0])
check("4x5 in steps of 2: 2 x 2 windows of 6", F.unfold(np.ones((1, 1, 4, 5)), (2, 3), stride=2).shape[1:], (6, 4))

say("A batch: 5 images of 3x10x10, ten filters of 3x3, padding and stride 1.")
rng = np.random.default_rng(1)
x = tg.Tensor(rng.normal(size=(5, 3, 10, 10)), requires_grad=True)
w = tg.Tensor(rng.normal(size=(10, 3, 3, 3)), requires_grad=True)
b = tg.Tensor(rng.normal(size=10), requires_grad=True)
columns = F.unfold(x.numpy(), 3, padding=1)  # (5 27 100): PyTorch's order, image by image
x_col = columns.transpose(1, 2, 0).reshape(27, 500)  # the tutorial's order, window by window
w_col = w.numpy().reshape(10, 27)
check("X_col, W_col", [x_col.shape, w_col.shape], [(27, 500), (10, 27)])
y = F.conv2d(x, w, b, padding=1)
by_hand = (w_col @ x_col + b.numpy()[:, None]).reshape(10, 10, 10, 5).transpose(3, 0, 1, 2)
check("output (10 x 500) as (5 10 10 10)", by_hand, y, within=1e-10)

say("Backward: three products, and the windows go back where they came from, added up (col2im, here F.fold).")
g = rng.normal(size=y.shape)
dx, dw, db = tg.grad(y, [x, w, b], tg.Tensor(g))
g_col = g.transpose(1, 2, 3, 0).reshape(10, 500)
check("db = sum of g over (0, 2, 3)", g.sum(axis=(0, 2, 3)), db, within=1e-10)
check("dW = g (10 x 500) X_col^T (500 x 27)", (g_col @ x_col.T).reshape(10, 3, 3, 3), dw, within=1e-10)
dx_col = (w_col.T @ g_col).reshape(27, 100, 5).transpose(2, 0, 1)
check("dX = fold of W^T g (27 x 500)", F.fold(dx_col, 10, 3, padding=1), dx, within=1e-10)

say("The same by images with the channels last, (n h w c), and filters (f f c k), as others lay them out.")
nhwc, ffck = x.numpy().transpose(0, 2, 3, 1), w.numpy().transpose(2, 3, 1, 0)
check("(5 10 10 3) and (3 3 3 10)", [nhwc.shape, ffck.shape], [(5, 10, 10, 3), (3, 3, 3, 10)])
theirs = b.numpy() + sum(
    np.pad(nhwc, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, p : p + 10, q : q + 10] @ ffck[p, q] for p, q in np.ndindex(3, 3)
)
check("Z, moved to (n c h w)", theirs.transpose(0, 3, 1, 2), y, within=1e-10)

say("fold adds: a pixel comes back as often as windows read it.")
check("fold(unfold(1))", F.fold(F.unfold(np.ones((1, 1, 4, 4)), 2), 4, 2)[0, 0],
      [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]])  # fmt: skip


def draw(figure):
    upper, lower = figure.subplots(2, 1, height_ratios=[1.1, 1])
    left = upper.get_subplotspec().subgridspec(1, 2)
    upper.remove()
    cells(figure.add_subplot(left[0]), np.pad(X[0, 0], 1), "X, padded to 6x6", size=7, reach=20)
    cells(figure.add_subplot(left[1]), out[0, 0], "X with the filter of ones", size=7, reach=66)
    cells(lower, X_col, "X_col: 25 windows as columns", size=6.5, reach=20)


picture(__file__, draw, 6.4, 3.9)
