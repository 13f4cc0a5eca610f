"""How large a layer's output is, step by step, and sizes that do not fit: silent, or refused with strict=True.

    python examples/06_output_size_and_impossible_configs.py [folder]

Sources: Gregory Gundersen, From Convolution to Neural Network (gregorygundersen.com, 2017), who asks that a library
raise an error here; Mukul Rathi, Demystifying Deep Learning 8 (mukulrathi.com, 2018), for the derivation; CS231n,
Convolutional Neural Networks for Visual Recognition (Stanford), for W=10, F=3, S=2.
"""

import numpy as np
from checks import check, refused, say
from figures import BLUE, GREY, ORANGE, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F


def places(w, f, p, s):
    """Every place where the kernel fits, found by trying."""
    return [start for start in range(0, w + 2 * p, s) if start + f <= w + 2 * p]


say("Count the places of the kernel's first cell.")
W, F_, P, S = 7, 3, 1, 2
print(f"    padded width       W + 2P       = {W} + 2*{P} = {W + 2 * P}")
print(f"    last first cell    W + 2P - F   = {W + 2 * P} - {F_} = {W + 2 * P - F_}")
print(f"    in steps of S      /S, floor    = {W + 2 * P - F_} // {S} = {(W + 2 * P - F_) // S}")
print(f"    and the one at 0   + 1          = {(W + 2 * P - F_) // S + 1}")
check("tried", places(W, F_, P, S), [0, 2, 4, 6])
check("conv2d", F.conv2d(np.zeros((1, 1, W, W)), np.zeros((1, 1, F_, F_)), padding=P, stride=S).shape[3], 4)

say('One place in S is used, not "1 out of every P", as one of the texts has it.')
for s in (1, 2, 3):
    check(f"stride {s}, padding 1", places(9, 3, 1, s), list(range(0, 9, s)))

say("For all small sizes: the formula, the trying, and conv2d agree.")
sizes = [
    (w, f, p, s) for w in range(1, 9) for f in range(1, 5) for p in range(3) for s in range(1, 4) if f <= w + 2 * p
]
found = [
    F.conv2d(np.zeros((1, 1, 1, w)), np.zeros((1, 1, 1, f)), padding=(0, p), stride=s).shape[3] for w, f, p, s in sizes
]
check(f"{len(sizes)} cases, tried", found, [len(places(*size)) for size in sizes])
check("by the formula", found, [(w + 2 * p - f) // s + 1 for w, f, p, s in sizes])

say("F, S and P decide how large the output is; K, the number of filters, how deep.")
volume, layer = np.zeros((1, 3, 7, 9)), np.zeros((5, 3, 3, 3))
check("K = 5: depth, height, width", F.conv2d(volume, layer, stride=2, padding=1).shape[1:], (5, 4, 5))

say("An impossible one: W=10, F=3, P=0, S=2 gives (10 - 3)/2 + 1 = 4.5.")
x, w = tg.zeros(1, 1, 10, 10, requires_grad=True), tg.ones(1, 1, 3, 3)
check("(W - F + 2P)/S + 1", (10 - 3 + 2 * 0) / 2 + 1, 4.5)
check("PyTorch's way is the floor, without a word", F.conv2d(x, w, stride=2).shape[2:], (4, 4))
(gradient,) = tg.grad(F.conv2d(x, w, stride=2).sum(), x)
check("the last column is never read: its gradient", gradient[0, 0, :, 9], np.zeros(10))
refused("strict=True", tg.ShapeError, lambda: F.conv2d(x, w, stride=2, strict=True), "never read", "use padding 1")
check("the advice fits", F.conv2d(x, w, stride=2, padding=1, strict=True).shape[2:], (5, 5))
refused("pooling 5x5 by 2", tg.ShapeError, lambda: F.max_pool2d(np.zeros((1, 1, 5, 5)), 2, strict=True), "5 rows")
refused(
    "a kernel that is too large", tg.ShapeError, lambda: F.conv2d(x, tg.ones(1, 1, 11, 3)), "exceeds", "at most 10x10"
)


def draw(figure):
    axes = figure.subplots()
    for column in range(10):
        unread = column == 9
        axes.barh(0, 0.94, left=column + 0.03, height=0.8, color=ORANGE if unread else "#DCE6EE")
        axes.text(column + 0.5, 0, str(column), ha="center", va="center", color="white" if unread else "black")
    for k, start in enumerate(places(10, 3, 0, 2)):
        axes.barh(1 + k, 2.9, left=start + 0.05, height=0.62, color=BLUE)
        axes.text(start + 1.5, 1 + k, f"window {k}", ha="center", va="center", color="white", fontsize=8)
    axes.barh(5, 2.9, left=8.05, height=0.62, fill=False, edgecolor=GREY, linestyle="--")
    axes.text(9.5, 5, "no room", ha="center", va="center", color=GREY, fontsize=8)
    axes.set_title("10 columns, kernel 3, stride 2: column 9 is never read")
    axes.invert_yaxis()
    axes.set_axis_off()


picture(__file__, draw, 5.6, 2.6)
