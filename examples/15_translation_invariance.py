"""Shifts: a convolution moves along with its input, pooling forgets small moves, a stride spoils both a little.

    python examples/15_translation_invariance.py [folder]

Source: Gregory Gundersen, From Convolution to Neural Network (gregorygundersen.com, 2017): Sobel's kernel and a maximum
pooling on a digit, before and after it is edited, with a bar that is to survive.
"""

import numpy as np
from checks import check, say
from figures import ORANGE, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

SOBEL = np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])[None, None]


def conv(x, w, **options):
    """conv2d on an image whose opposite edges meet, so that nothing falls off at the border."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "circular"), w, **options)


say("Equivariance: conv(shift(x)) = shift(conv(x)), for every shift.")
rng = np.random.default_rng(0)
x, w = rng.normal(size=(2, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3))
apart = [np.abs(conv(np.roll(x, (i, j), (2, 3)), w) - np.roll(conv(x, w), (i, j), (2, 3))).max()
         for i in range(8) for j in range(8)]  # fmt: skip
check("64 shifts, largest difference below 1e-12", max(apart) < 1e-12, True)

say("With a stride of 2 that holds for even shifts only: odd ones read other pixels.")
strided = conv(x, w, stride=2)
two, one = (conv(np.roll(x, k, 3), w, stride=2) for k in (2, 1))
check("shift by 2: the result moves by 1", two, np.roll(strided, 1, 3), within=1e-12)
check(
    "shift by 1: it is no shift of the result", min(np.abs(one - np.roll(strided, k, 3)).max() for k in range(4)) > 1, 1
)

say("Zero padding is seen, too: at the border the two sides differ.")
inside = np.zeros((1, 1, 8, 8))
inside[0, 0, 3, 1] = 1
moved = np.roll(inside, -1, 3)  # now in column 0
ones = np.ones((1, 1, 3, 3))
check("in the middle a pixel is in nine sums", F.conv2d(inside, ones, padding=1).sum(), 9)
check("at the border in six", F.conv2d(moved, ones, padding=1).sum(), 6)

say("Invariance: the maximum over all places does not know the place.")
check("global maximum", [conv(np.roll(x, k, 3), w).max() for k in range(3)], [conv(x, w).max()] * 3, within=1e-12)

say("Pooling forgets where in its window the maximum was: the share of pooled numbers that a shift by 1 leaves alone.")
spots = np.zeros((1, 1, 24, 24))
spots[0, 0, 1::6, 1::6] = 1
for size in (2, 3, 6):
    before, after = (F.max_pool2d(np.roll(spots, k, 3), size) for k in (0, 1))
    check(f"window {size}", (before == after).mean(), {2: 1 - 2 * 16 / 144, 3: 1.0, 6: 1.0}[size], within=1e-12)

say("The bar of the article: a digit 7, its upper stroke, and the same digit edited by hand.")
digit = np.zeros((1, 1, 24, 24))
digit[0, 0, 4:6, 6:18] = 1
for row in range(6, 20):
    digit[0, 0, row, 16 - (row - 6) // 2 : 18 - (row - 6) // 2] = 1
edited = digit.copy()
edited[0, 0, 4:6, 6:10] = 0
edited[0, 0, 5:7, 6:10] = 1  # the left end hangs down by a pixel


def bar(image, size=4):
    """Sobel, relu, pooling; then the cells that answer as strongly as a straight edge, 4."""
    return F.max_pool2d(F.relu(F.conv2d(image, SOBEL, padding=1)), size)[0, 0] >= 4


edges = [F.relu(F.conv2d(image, SOBEL, padding=1))[0, 0] for image in (digit, edited)]
check("edge pixels that change", np.count_nonzero(edges[0] != edges[1]) > 10, True)
check("cells of the pooled bar that change", np.count_nonzero(bar(digit) != bar(edited)), 0)
check("the bar: row 1, columns", np.flatnonzero(bar(digit)[1]), [1, 2, 3])

say("On real digits, moved by one pixel: how much of the answer changes before and after pooling.")
images, _ = tg.data.digits("test")
wide = F.pad(images, (2, 2, 2, 2))
maps = [F.relu(F.conv2d(np.roll(wide, k, 3), SOBEL.astype(np.float32), padding=1)) for k in (0, 1)]
pooled = [F.max_pool2d(m, 4) for m in maps]
change = [float(np.abs(a - b).sum() / a.sum()) for a, b in (maps, pooled)]
print(f"    relative change: map {change[0]:.2f}, pooled by 4 {change[1]:.2f}")
check("pooling halves it at least", change[1] < change[0] / 2, True)


def draw(figure):
    rows = figure.subplots(2, 3)
    for axes, image, edge, name in zip(rows, (digit, edited), edges, ("a digit", "edited"), strict=True):
        axes[0].imshow(image[0, 0], cmap="gray")
        axes[1].imshow(edge, cmap="gray")
        axes[2].imshow(F.max_pool2d(edge[None, None], 4)[0, 0], cmap="gray", vmin=0, vmax=4)
        for row, column in np.argwhere(bar(image)):
            axes[2].plot([column - 0.4, column + 0.4], [row, row], color=ORANGE, linewidth=4)
        for axis, title in zip(axes, (name, "Sobel, relu", "pooled by 4: the bar"), strict=True):
            axis.set_title(title)
            axis.set_axis_off()


picture(__file__, draw, 5.2, 3.6)
