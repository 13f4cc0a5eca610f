"""A kernel by hand: nine products and a sum, at each of the places that there are.

    python examples/01_kernel_by_hand.py [folder]

Source: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019).
"""

import numpy as np
from checks import check, refused, say
from figures import BLUE, cells, frame, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

say("One place: lay the kernel on the image, multiply what lies on each other, add up.")
patch = np.arange(1, 10).reshape(3, 3)
kernel = np.array([[1, 2, 1], [2, 1, 2], [1, 2, 1]])
print("    " + " + ".join(f"{a}*{b}" for a, b in zip(patch.flat, kernel.flat, strict=True)))
check("the sum", sum(int(a) * int(b) for a, b in zip(patch.flat, kernel.flat, strict=True)), 65)
check("conv2d", F.conv2d(patch[None, None], kernel[None, None]).item(), 65)

say("Many places: a 3x3 kernel fits into a 6x6 image at 4 x 4 = 16 places.")
image = np.random.default_rng(1).integers(0, 10, (6, 6))
out = np.zeros((4, 4), int)
for i in range(4):
    for j in range(4):
        out[i, j] = (image[i : i + 3, j : j + 3] * kernel).sum()
check("places", out.size, 16)
check("conv2d is these loops", F.conv2d(image[None, None], kernel[None, None])[0, 0], out)

say("How large is the result? (size + 2*padding - kernel) // stride + 1")
for size, f, padding, stride, wanted in ((5, 3, 0, 1, 3), (3, 3, 0, 1, 1), (5, 3, 1, 1, 5), (7, 3, 1, 2, 4)):
    result = F.conv2d(np.zeros((1, 1, size, size)), np.zeros((1, 1, f, f)), stride=stride, padding=padding)
    check(f"image {size}, kernel {f}, padding {padding}, stride {stride}", result.shape[2], wanted)

say("Colour: the kernel has a layer for each channel, and all layers are added up into one number.")
rgb = np.random.default_rng(2).integers(0, 256, (1, 3, 6, 6))
check("the image: red, green and blue as matrices", [plane.shape for plane in rgb[0]], [(6, 6)] * 3)
check("values from 0 to 255 take one byte", [rgb.min() >= 0, rgb.max() < 2**8, np.uint8(255).nbytes], [1, 1, 1])
filters = np.random.default_rng(3).integers(-1, 2, (2, 3, 3, 3))  # two filters: two channels come out
layers = [F.conv2d(rgb[:, c : c + 1], filters[:, c : c + 1]) for c in range(3)]
check("shape", F.conv2d(rgb, filters).shape, (1, 2, 4, 4))
check("a stride of 2 and a padding of 1: (6 + 2 - 3) // 2 + 1", F.conv2d(rgb, filters, stride=2, padding=1).shape,
      (1, 2, 3, 3))  # fmt: skip
cube = rgb[0, :, 1:4, 2:5]
column = F.conv2d(rgb, filters)[0, :, 1, 2]
check("a depth column: both filters on one 3x3x3 piece", column, [(cube * k).sum() for k in filters])
check("three layers, added up", F.conv2d(rgb, filters), layers[0] + layers[1] + layers[2])
refused("an image of 4 channels", tg.ShapeError, lambda: F.conv2d(np.zeros((1, 4, 6, 6)), filters * 1.0), "4 channels")


def draw(figure):
    left, middle, right = figure.subplots(1, 3, width_ratios=[6, 3, 4])
    cells(left, image, "image 6x6")
    frame(left, 1, 2, 3, 3, BLUE)
    cells(middle, kernel, "kernel 3x3")
    frame(middle, 0, 0, 3, 3, BLUE)
    cells(right, out, "result 4x4: one number a place")
    frame(right, 1, 2, 1, 1, BLUE)


picture(__file__, draw, 7.2, 2.8)
