"""Flip or not: convolution turns the kernel by 180 degrees, what networks compute does not.

    python examples/03_flip_or_not.py [folder]

Source: Kamalakara, CNNs - Intuitions and Math, which asks whether the corner should be I[0,0]K[0,0] or I[0,0]K[2,2].
"""

import numpy as np
from checks import check, say
from figures import ORANGE, cells, frame, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

I = np.arange(1.0, 10).reshape(1, 1, 3, 3)  # noqa: E741  (the article's name)
K = np.arange(10.0, 19).reshape(1, 1, 3, 3)

say("Both are right: they are two operations. S[i,j] = sum I[m,n] K[i-m,j-n] has only I[0,0] K[0,0] at its corner.")
convolved = F.conv2d(I, K, padding="full", flip=True)
correlated = F.conv2d(I, K, padding="full")
check("full convolution at the corner, I[0,0] K[0,0]", convolved[0, 0, 0, 0], 1 * 10)
check("full cross-correlation at the corner, I[0,0] K[2,2]", correlated[0, 0, 0, 0], 1 * 18)

say('The article says that this sum "retains the size", and that maps are smaller. The padding decides that.')
check("full: 3 + 3 - 1", convolved.shape, (1, 1, 5, 5))
check("same: the size is retained", F.conv2d(I, K, padding="same", flip=True).shape, (1, 1, 3, 3))
check("valid: smaller, 3 - 3 + 1", F.conv2d(I, K, padding="valid", flip=True).shape, (1, 1, 1, 1))

say("Where is the kernel's origin? At its corner the sum at (0,0) has one term, at its centre four.")
same = F.conv2d(I, K, padding="same", flip=True)
terms = I[0, 0, :2, :2] * K[0, 0, :2, :2][::-1, ::-1]
check("I00 K11 + I01 K10 + I10 K01 + I11 K00", terms, [[14.0, 26.0], [44.0, 50.0]])
check("same convolution at the corner", same[0, 0, 0, 0], 14 + 26 + 44 + 50)
check("it is the middle of the full one", same, convolved[:, :, 1:4, 1:4])

say("The definition, as loops over every pair that falls on the same place.")
S = np.zeros((5, 5))
for m, n in np.ndindex(3, 3):
    for a, b in np.ndindex(3, 3):
        S[m + a, n + b] += I[0, 0, m, n] * K[0, 0, a, b]
check("loops", convolved[0, 0], S)
check("flip=True is a kernel turned by hand", F.conv2d(I, K[:, :, ::-1, ::-1], padding="full"), convolved)
check("a convolution does not care which is the kernel", F.conv2d(K, I, padding="full", flip=True), convolved)

say("A network learns either: the gradient of the turned kernel is the turned gradient.")
x = np.random.default_rng(0).normal(size=(2, 3, 6, 5))
w = tg.Tensor(np.random.default_rng(1).normal(size=(4, 3, 3, 2)), requires_grad=True)
(straight,) = tg.grad((F.conv2d(x, w) ** 2).sum(), w)
turned = tg.Tensor(w.numpy()[:, :, ::-1, ::-1], requires_grad=True)
(of_turned,) = tg.grad((F.conv2d(x, turned, flip=True) ** 2).sum(), turned)
check("gradients, turned back", of_turned.numpy()[:, :, ::-1, ::-1], straight, within=1e-10)


def draw(figure):
    panels = figure.subplots(1, 4, width_ratios=[3, 3, 5, 5])
    cells(panels[0], I[0, 0], "image I")
    cells(panels[1], K[0, 0], "kernel K")
    for axes, array, title in ((panels[2], convolved, "convolution"), (panels[3], correlated, "cross-correlation")):
        cells(axes, array[0, 0], f"full {title}", size=7)
        frame(axes, 0, 0, 1, 1, ORANGE)
        frame(axes, 1, 1, 3, 3)


picture(__file__, draw, 8.2, 2.6)
