"""The backward pass of a convolution term by term, and the two mistakes that are made in it.

    python examples/09_conv_backward_terms.py [folder]

Source: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019), whose
figure has the full convolution with the kernel turned by 180 degrees.
"""

import numpy as np
from checks import check, refused, say
from figures import BLUE, ORANGE, cells, frame, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing import GradientError, check_op, gradcheck

A = tg.Tensor(np.arange(1.0, 17).reshape(1, 1, 4, 4), requires_grad=True)
W = tg.tensor([[[[1, -1, 1], [0, 2, -1], [2, -1, -3]]]], dtype=tg.float64, requires_grad=True)
b = tg.tensor([19], dtype=tg.float64, requires_grad=True)
Z = F.conv2d(A, W, b)
dA_next = tg.tensor([[[[1, 2], [3, 4]]]], dtype=tg.float64)

say("A = relu(Z): dZ = dA * g'(Z), where g' is 1 above 0, else 0.")
dZ, dA, dW, db = tg.grad(F.relu(Z), [Z, A, W, b], dA_next)
check("Z", Z[0, 0], [[1, 1], [1, 1]])
check("dZ", dZ[0, 0], [[1, 2], [3, 4]])
(silent,) = tg.grad(F.relu(Z - 2), Z, dA_next)
check("dZ, had the bias been less by 2", silent[0, 0], [[0, 0], [0, 0]])
check("db, the sum of dZ", db.item(), 10)
check(
    "a gradient has the shape of its value", [dA.shape == A.shape, dW.shape == W.shape, db.shape == b.shape], [1, 1, 1]
)

A_prev, filters = tg.Tensor(np.ones((2, 3, 6, 5)), requires_grad=True), tg.Tensor(np.ones((4, 3, 3, 2)))
of_layer = tg.conv2d(A_prev, filters, tg.Tensor(np.zeros(4)))
check("A layer's A_prev, W and Z", [A_prev.shape, filters.shape, of_layer.shape],
      [(2, 3, 6, 5), (4, 3, 3, 2), (2, 4, 4, 4)])  # fmt: skip

say("One weight is used at every place: W[0,1] has met A[0,1], A[0,2], A[1,1], A[1,2].")
a, z, w = A.numpy()[0, 0], dZ.numpy()[0, 0], W.numpy()[0, 0]
terms = [(m, n, z[m, n] * a[m, n + 1]) for m in range(2) for n in range(2)]
print("    dW[0,1] = " + " + ".join(f"dZ[{m},{n}] A[{m},{n + 1}]" for m, n, _ in terms))
print("            = " + " + ".join(f"{z[m, n]:g}*{a[m, n + 1]:g}" for m, n, _ in terms))
check("dW[0,1]", sum(t for *_, t in terms), dW[0, 0, 0, 1].item())

say("One pixel is read by several windows: A[1,1] by all four.")
print("    dA[1,1] = " + " + ".join(f"dZ[{m},{n}] W[{1 - m},{1 - n}]" for m in range(2) for n in range(2)))
check("dA[1,1]", sum(z[m, n] * w[1 - m, 1 - n] for m in range(2) for n in range(2)), dA[0, 0, 1, 1].item())

say("So each window adds its share. Assigning in place of adding keeps the last share only.")
added, assigned = np.zeros((4, 4)), np.zeros((4, 4))
for m, n in np.ndindex(2, 2):
    added[m : m + 3, n : n + 3] += w * z[m, n]
    assigned[m : m + 3, n : n + 3] = w * z[m, n]
check("with +=", added, dA[0, 0])
check("with =, pixels that are wrong", np.count_nonzero(assigned != added), 11)

say("The same as one operation: the full convolution of dZ with W. In it the kernel is turned by 180 degrees.")
turned = W.numpy()[:, :, ::-1, ::-1]
check("cross-correlation with the turned kernel", F.conv2d(dZ, turned, padding="full"), dA)
check("flip=True turns it", F.conv2d(dZ, W, padding="full", flip=True), dA)
check("dW: dZ laid over A", F.conv2d(A, dZ), dW)
check(
    "forgotten to turn it: pixels that are wrong",
    int((F.conv2d(dZ, W, padding="full").numpy() != dA.numpy()).sum()),
    16,
)


@tg.op
def conv(x, w, /):
    """conv2d of one channel, with a rule in which nothing is turned."""
    return F.conv2d(x, w)


conv.vjp(x=lambda g, w: F.conv2d(g, w, padding="full"), w=lambda g, x: F.conv2d(x, g))


@conv.sample
def _(draw):
    return (draw.array(1, 1, 5, 4), draw.array(1, 1, 3, 2)), {}


say("A gradient check finds the forgotten turn; the package's rule passes.")
check("gradcheck of conv2d", gradcheck(F.conv2d, [A.numpy(), W.numpy(), b.numpy()]), True)
refused(
    "the wrong rule",
    GradientError,
    lambda: check_op(conv, tg.testing.Draw.seeded(0)),
    "inputs[0] (1, 1, 5, 4): wrong",
    "inputs[1] (1, 1, 3, 2): right",
)

say("With a stride the identity needs zeros between the values of dZ; conv_transpose2d puts them there.")
x = tg.Tensor(np.random.default_rng(0).normal(size=(1, 1, 7, 5)), requires_grad=True)
y = F.conv2d(x, W, stride=2)
g = np.random.default_rng(1).normal(size=y.shape)
(dx,) = tg.grad(y, x, tg.Tensor(g))
check("stride 2", F.conv_transpose2d(g, W, stride=2), dx, within=1e-12)


def draw(figure):
    panels = figure.subplots(1, 4, width_ratios=[2, 3, 4, 4])
    cells(panels[0], z, "dZ")
    cells(panels[1], turned[0, 0], "W, turned")
    cells(panels[2], added, "dA: full convolution")
    cells(panels[3], assigned, "with = for +=", reach=np.abs(added).max())
    frame(panels[2], 1, 1, 1, 1, BLUE)
    for i, j in np.argwhere(assigned != added):
        frame(panels[3], i, j, 1, 1, ORANGE)


picture(__file__, draw, 7.6, 2.4)
