"""Filters of image processing as convolutions: edges, blur, sharpening, on a picture drawn here.

    python examples/04_image_filters.py [folder]

Sources: Piotr Skalski, Gentle Dive into Math Behind Convolutional Neural Networks, Towards Data Science (2019), with
the kernels K1 to K4 of its repository; Gregory Gundersen, From Convolution to Neural Network (gregorygundersen.com,
2017), for the Laplace kernel, and his repository `kernels`.
"""

import numpy as np
from checks import check, say
from figures import picture

from tinygrad_cnn.nn import functional as F

K1 = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
K2 = [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]
K3 = [[1, 0, -1], [0, 0, 0], [-1, 0, 1]]
K4 = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]  # sharpens
LAPLACE = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
MEAN = np.full((3, 3), 1 / 9)
GAUSS = [[0.0751, 0.1238, 0.0751], [0.1238, 0.2042, 0.1238], [0.0751, 0.1238, 0.0751]]


def apply(image, kernel):
    """Convolve (h w) with (3 3); the border, where the kernel would leave the image, is cut off."""
    return F.conv2d(image[None, None], np.array(kernel, float)[None, None], flip=True)[0, 0]


# A sky that brightens to the right, a sun, three fence posts: red, green and blue in 0 to 255.
y, x = np.mgrid[:96, :96]
rgb = np.stack([80 + x, 110 + x, 220 - 0 * x]).astype(float)
rgb[:, (y - 32) ** 2 + (x - 30) ** 2 < 18**2] = np.array([[250], [210], [60]])
rgb[:, (y > 40) & ((x // 12) % 2 == 1) & (x > 34)] = np.array([[90], [60], [30]])
grey = 0.2989 * rgb[0] + 0.5870 * rgb[1] + 0.1140 * rgb[2]

say("Grey is a 1x1 convolution from three channels to one; its weights are those of the eye, and sum to 1, nearly.")
weights = np.array([0.2989, 0.5870, 0.1140]).reshape(1, 3, 1, 1)
check("white", F.conv2d(np.full((1, 3, 1, 1), 255.0), weights), [[[[254.9745]]]], within=1e-9)
check("the picture", F.conv2d(rgb[None], weights)[0, 0], grey, within=1e-9)

say("A kernel whose weights sum to 0 is silent where nothing changes; one that sums to 1 keeps the brightness.")
flat = np.full((5, 5), 100.0)
for name, kernel, level in (("K1", K1, 0), ("Laplace", LAPLACE, 0), ("K4", K4, 100), ("mean", MEAN, 100)):
    check(f"{name} on grey 100", apply(flat, kernel), np.full((3, 3), float(level)), within=1e-12)
check("Gauss, rounded to four digits, loses 0.02 percent", apply(flat, GAUSS)[0, 0], 99.98, within=1e-9)

say("K1 answers to edges from bright above to dark below. Turned or not decides the sign, nothing else.")
step = np.array([[10.0] * 5] * 3 + [[0.0] * 5] * 3)  # bright above
turned = F.conv2d(step[None, None], np.array(K1, float)[None, None])[0, 0]
check("convolved", apply(step, K1)[:, 1], [0, -40, -40, 0])
check("cross-correlated", turned[:, 1], [0, 40, 40, 0])

say("A photograph is bytes, and bytes wrap round: the product must be made with wider numbers.")
two = np.array([200, 100], np.uint8)
check("200 + 100 in bytes", two.sum(dtype=np.uint8), 44)
check("in float", two.astype(float).sum(), 300)

say("Results leave 0 to 255, too. Gundersen clips; Skalski scales to 0 to 1 and keeps what is above 0.6.")
edges = apply(grey, LAPLACE)
check("the Laplace kernel gives negative numbers", edges.min() < 0, True)
clipped = edges.clip(0, 255)
check("clipped, its range is", [clipped.min(), clipped.max()], [0, 255])
framed = np.zeros(grey.shape)  # Gundersen's loop leaves the border as it is, 0
for i, j in np.ndindex(clipped.shape):
    framed[i + 1, j + 1] = np.clip((grey[i : i + 3, j : j + 3] * LAPLACE).sum(), 0, 255)
check("his loop, which leaves the border at 0", framed, np.pad(clipped, 1), within=1e-9)
zeros = F.conv2d(np.full((1, 1, 5, 5), 100.0), np.array(LAPLACE, float)[None, None], padding=1)[0, 0]
check("with zeros around, the border of grey 100 looks like an edge: corner, side, middle", zeros[[0, 0, 2], [0, 2, 2]],
      [500, 300, 0])  # fmt: skip


say("Scaling to 0 to 1 puts the silent 0 anywhere: with K1, above 0.6, so that the flat sky is marked as an edge.")
response = apply(grey, K1)
scaled = (response - response.min()) / (response.max() - response.min())
check("where 0 lands", -response.min() / (response.max() - response.min()), 0.6517, within=5e-5)
check("share of the pixels above 0.6", (scaled > 0.6).mean(), 0.98, within=0.005)


def marked(kernel):
    """Where the kernel answers with more than 0.3 of its strongest answer."""
    out = apply(grey, kernel)
    return out > 0.3 * np.abs(out).max()


check("against the strongest answer", [0 < marked(k).mean() < 0.1 for k in (K1, K2, K3)], [True] * 3)

say("Sobel: the length of the gradient, from K1 and K1 on its side, so that the direction does not matter.")
length = np.hypot(apply(grey, K1), apply(grey, np.transpose(K1)))
check("the sum of the lengths does not change when the picture is turned", length.sum(),
      np.hypot(apply(grey.T, K1), apply(grey.T, np.transpose(K1))).sum(), within=1e-6)  # fmt: skip
check("blur takes contrast away, sharpening adds some", apply(grey, MEAN).std() < grey.std() < apply(grey, K4).std(), 1)


def draw(figure):
    pictures = {
        "grey": grey, "mean": apply(grey, MEAN), "Gauss": apply(grey, GAUSS),
        "sharpened, K4": apply(grey, K4).clip(0, 255), "Laplace, clipped": clipped, "K1, strong answers": marked(K1),
        "K2, strong answers": marked(K2), "K3, strong answers": marked(K3), "Sobel": length,
    }  # fmt: skip
    panels = figure.subplots(2, 5).flat
    next(panels).imshow(rgb.transpose(1, 2, 0).astype(np.uint8))
    for axes, (name, shown) in zip(list(figure.axes)[1:], pictures.items(), strict=True):
        axes.imshow(shown, cmap="gray")
        axes.set_title(name)
    figure.axes[0].set_title("drawn here")
    for axes in figure.axes:
        axes.set_axis_off()


picture(__file__, draw, 7.2, 3.2)
