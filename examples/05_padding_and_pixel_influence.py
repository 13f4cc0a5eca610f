"""Padding: how often each pixel is read, which the gradient of a sum counts; and what "same" really needs.

    python examples/05_padding_and_pixel_influence.py [folder]

Sources: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019); Mukul
Rathi, Demystifying Deep Learning 8: Convolutional Neural Networks (mukulrathi.com, 2018).
"""

import numpy as np
from checks import check, say
from figures import cells, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F


def influence(size, kernel, **options):
    """How many windows read each pixel: each adds 1 to the gradient of the sum of all windows."""
    x = tg.zeros(1, 1, *size, dtype=tg.float64, requires_grad=True)
    (counts,) = tg.grad(F.conv2d(x, np.ones((1, 1, *kernel)), **options).sum(), x)
    return counts.numpy()[0, 0]


say("A line of 6, a kernel of 3: without padding the ends are read once, the middle three times.")
check("padding 0", influence((1, 6), (1, 3))[0], [1, 2, 3, 3, 2, 1])
check("padding 1", influence((1, 6), (1, 3), padding=(0, 1))[0], [2, 3, 3, 3, 3, 2])
check("padding 2", influence((1, 6), (1, 3), padding=(0, 2))[0], [3, 3, 3, 3, 3, 3])

say("An image of 6x6: both lines multiplied.")
line = influence((1, 6), (1, 3))[0]
valid = influence((6, 6), (3, 3))
check("outer product", valid, np.outer(line, line))
check("corner and centre", [valid[0, 0], valid[2, 2]], [1, 9])

say('Rathi pads "same" by P = F - 1. That is the total; half of it goes on each side, as his code does.')
x, w = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
check("a padding of 1 makes 8x8 of 6x6", F.pad(x, (1, 1, 1, 1)).shape[2:], (8, 8))
check("(F - 1)/2 = 1 on each side", F.conv2d(x, w, padding=1).shape[2:], (6, 6))
check("F - 1 = 2 on each side grows the image", F.conv2d(x, w, padding=2).shape[2:], (8, 8))
check('which is padding="full"', F.conv2d(x, w, padding=2), F.conv2d(x, w, padding="full"))
check("and reads every pixel equally often, the reason that he gives", influence((6, 6), (3, 3), padding="full"),
      np.full((6, 6), 9))  # fmt: skip

say("(F - 1)/2 is whole for odd kernels only. An even one needs one more on one side: here below and on the right.")
for f in (1, 2, 3, 4, 5, 7):
    even = f - 1 - (f - 1) // 2
    sides = ((f - 1) // 2, even)
    by_hand = F.conv2d(x, np.ones((1, 1, f, f)), padding=(sides, sides))
    same = F.conv2d(x, np.ones((1, 1, f, f)), padding="same")
    check(f"kernel {f}, padding {sides}, keeps 6x6", [same.shape[2:] == (6, 6), bool((same == by_hand).all())], [1, 1])

say("His code cuts the border with [f//2 : -(f//2)], which is [0:-0] for a 1x1 kernel: nothing is left.")
row = np.arange(6)
check("row[0:-0]", row[0:-0].size, 0)
cut = [row[f // 2 : -(f // 2)].size for f in (2, 3, 4, 5)]
check("for kernels 2 to 5; even ones lose a place", cut, [4, 4, 2, 2])
check("places of kernels 2 to 5", [F.conv2d(x, np.ones((1, 1, 1, f))).shape[3] for f in (2, 3, 4, 5)], [5, 4, 3, 2])
check("a 1x1 kernel here", F.conv2d(x, np.full((1, 1, 1, 1), 2.0)), 2 * x)

say("A stride reads unequally, and may leave the last pixels out; their gradient is 0 for ever.")
check("size 6, kernel 3, stride 2", influence((1, 6), (1, 3), stride=(1, 2))[0], [1, 1, 2, 1, 1, 0])


def draw(figure):
    for axes, padding in zip(figure.subplots(1, 3), (0, 1, 2), strict=True):
        title = {0: "padding 0, valid", 1: "padding 1, same", 2: "padding 2, full"}[padding]
        cells(axes, influence((6, 6), (3, 3), padding=padding), title, reach=11)
    figure.suptitle("by how many 3x3 windows each pixel is read", fontsize=9)


picture(__file__, draw, 7.2, 2.7)
