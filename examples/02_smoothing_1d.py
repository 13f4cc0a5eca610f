"""Smoothing a line: a convolution in one dimension, its tail, and why a convolution turns the kernel round.

    python examples/02_smoothing_1d.py [folder]

Sources: Gregory Gundersen, From Convolution to Neural Network (gregorygundersen.com, 2017); Kamalakara,
CNNs - Intuitions and Math, for measurements of which the youngest weighs most.
"""

from operator import setitem as store

import numpy as np
from checks import check, refused, say
from figures import BLUE, GREY, ORANGE, calm, picture

from tinygrad_cnn.nn import functional as F


def convolve(signal, kernel, padding="full"):
    """y[t] = sum_a signal[a] kernel[t - a]"""
    line = F.conv1d(
        np.array(signal, float)[None, None], np.array(kernel, float)[None, None], padding=padding, flip=True
    )
    return line[0, 0]


say("The mean of the last three measurements.")
f = [10, 9, 10, 9, 10, 1, 10, 9, 10, 8]
g = [1 / 3, 1 / 3, 1 / 3]
y = convolve(f, g)
wanted = [3.3333, 6.3333, 9.6667, 9.3333, 9.6667, 6.6667, 7.0, 6.6667, 9.6667, 9.0]
check("y", y[: len(f)], wanted, within=5e-5)
check("the tail, where the kernel leaves the line", y[len(f) :], [6.0, 2.6667], within=5e-5)
check("numpy.convolve says the same", np.convolve(f, g), y, within=1e-12)
check("the outlier 1 reaches over three results", np.flatnonzero((y < 9)[2:10]) + 2, [5, 6, 7])

say("The loop of the article fills a range, which works in Python 2 only.")
refused("Y = range(10); Y[0] = 3.3", TypeError, lambda: store(range(10), 0, 3.3), "item assignment")

say("A kernel is a set of weights: those that sum to 1 keep the level, and the youngest measurement weighs most.")
young = [0.5, 0.3, 0.2]  # for now, one step ago, two steps ago
position = np.arange(8.0)  # a car at constant speed
check("sum of the weights", sum(young), 1.0)
check("the car, 0.7 steps late", convolve(position, young)[2:8], position[2:] - 0.7, within=1e-12)
check("before it was measured, a value weighs nothing", convolve([0, 0, 1, 0, 0], young)[:2], [0, 0])
check("now", convolve([0, 0, 1, 0, 0], young)[2:5], young)

say("Without the turn it is a cross-correlation: with this kernel, the oldest measurement would weigh most.")
late = F.conv1d(np.eye(1, 5, 2)[None], np.array([[young]]), padding="full")[0, 0]
check("an impulse, correlated", late[2:5], young[::-1])
check("numpy.correlate says the same", np.correlate(np.eye(1, 5, 2)[0], young, "full"), late)
symmetric = F.conv1d(np.array(f, float)[None, None], np.array(g)[None, None], padding="full")[0, 0]
check("a symmetric kernel hides the difference", symmetric, y, within=1e-12)

say("The same on a noisy sine: nine weights of 1/9 take two thirds of the noise away.")
rng = np.random.default_rng(0)
t = np.linspace(0, 4 * np.pi, 400)
noisy = np.sin(t) + rng.normal(0, 0.3, t.size)
smooth = convolve(noisy, np.full(9, 1 / 9), padding="same")
left = np.std((smooth - np.sin(t))[9:-9]) / 0.3
check("noise that is left, about 1/sqrt(9)", left, 1 / 3, within=0.05)


def draw(figure):
    first, second = figure.subplots(1, 2)
    first.plot(f, "o-", color=GREY, label="f")
    first.plot(y, "s-", color=ORANGE, label="f * g, with its tail")
    first.legend(loc="lower left", frameon=False)
    calm(first, "the mean of the last three", "t")
    second.plot(t, noisy, ".", color=GREY, markersize=2.5, label="noisy sine")
    second.plot(t, smooth, color=BLUE, linewidth=2, label="mean of nine")
    second.legend(loc="lower left", frameon=False)
    calm(second, "a longer line", "t")


picture(__file__, draw, 7.2, 2.6)
