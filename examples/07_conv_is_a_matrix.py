"""A convolution is a dense layer with connections cut and weights shared: 36 weights, then 16, then 4.

    python examples/07_conv_is_a_matrix.py [folder]

Sources: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019), whose
figure has nine units, four outputs A to D and a kernel I to IV; Gregory Gundersen, From Convolution to Neural Network
(gregorygundersen.com, 2017), for the layer of one dimension.
"""

import numpy as np
from checks import check, say
from figures import cells, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

kernel = np.array([[1.0, 2.0], [3.0, 4.0]])[None, None]  # I, II, III, IV

say("Send in each of the nine unit images: what comes out are the columns of the layer's matrix.")
units = np.eye(9).reshape(9, 1, 3, 3)
matrix = F.conv2d(units, kernel).reshape(9, 4).T
for name, row in zip("ABCD", matrix, strict=True):
    print(f"    {name}  " + " ".join(f"{['.', 'I', 'II', 'III', 'IV'][int(v)]:>3}" for v in row))
wanted = [[1, 2, 0, 3, 4, 0, 0, 0, 0], [0, 1, 2, 0, 3, 4, 0, 0, 0],
          [0, 0, 0, 1, 2, 0, 3, 4, 0], [0, 0, 0, 0, 1, 2, 0, 3, 4]]  # fmt: skip
check("the matrix", matrix, wanted)

say("Dense layer, connections cut, weights shared.")
check("weights of a dense layer", matrix.size, 36)
check("connections that are left", np.count_nonzero(matrix), 16)
check("numbers to learn", len(np.unique(matrix[matrix != 0])), 4)
check("unit 1 reaches A only", np.flatnonzero(matrix[:, 0]), [0])
check("unit 5 reaches all", np.flatnonzero(matrix[:, 4]), [0, 1, 2, 3])
check("every kernel value reaches every output", [(matrix == v).any(axis=1).all() for v in (1, 2, 3, 4)], [True] * 4)

say("It is the same function: forward by M, backward by M turned over (transposed).")
rng = np.random.default_rng(0)
x = tg.Tensor(rng.normal(size=(1, 1, 3, 3)), requires_grad=True)
w = tg.Tensor(kernel, requires_grad=True)
y = F.conv2d(x, w)
g = rng.normal(size=(1, 1, 2, 2))
dx, dw = tg.grad(y, [x, w], tg.Tensor(g))
check("M x", matrix @ x.numpy().ravel(), y.numpy().ravel(), within=1e-12)
check("M^T g", matrix.T @ g.ravel(), dx.numpy().ravel(), within=1e-12)
check("conv_transpose2d is M^T, too", F.conv_transpose2d(g, kernel)[0, 0], dx[0, 0], within=1e-12)

say("Shared weights: the gradient of one is the sum over the four connections that it stands on.")
dense = g.ravel()[:, None] * x.numpy().ravel()  # what each of the 36 would get
check("dw", [dense[matrix == v].sum() for v in (1, 2, 3, 4)], dw.numpy().ravel(), within=1e-12)

say("Cut, but not shared: local_conv2d has a kernel for each place, 16 weights.")
local = np.broadcast_to(kernel, (2, 2, 1, 1, 2, 2))
check("with equal kernels it is the convolution", F.local_conv2d(x, local)[0, 0], y[0, 0], within=1e-12)
check("weights", local.size, 16)

say("In one dimension: an edge kernel, the same at each place, so it finds the edge wherever that is.")
edge = [[[1.0, -1.0]]]
for at in (2, 5):
    signal = (np.arange(8) >= at).astype(float)[None, None]
    check(f"step at {at}", F.conv1d(signal, np.array(edge), flip=True)[0, 0], np.eye(8)[at, 1:])
    padded = np.concatenate([signal[:, :, :1], signal], axis=2)  # one more input neuron
    check("    with the first input doubled, an output for each", F.conv1d(padded, np.array(edge), flip=True)[0, 0],
          np.eye(8)[at])  # fmt: skip


def draw(figure):
    dense_axes, local_axes, conv_axes = figure.subplots(3, 1)
    numbers = np.where(matrix != 0, np.cumsum(matrix.ravel() != 0).reshape(matrix.shape), 0)
    cells(dense_axes, np.arange(1, 37).reshape(4, 9), "dense: 36 weights", size=7, reach=48)
    cells(local_axes, numbers, "connections cut: 16 weights", size=7, reach=22, zeros=False)
    cells(conv_axes, matrix, "weights shared, a convolution: 4 weights", size=7, reach=5, zeros=False)
    for axes in figure.axes:
        for row, name in enumerate("ABCD"):
            axes.text(-0.8, row, name, ha="center", va="center")


picture(__file__, draw, 3.6, 5.2)
