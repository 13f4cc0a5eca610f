"""Backpropagation through two dense layers, by the formulas and by the engine; and how large weights should start.

    python examples/12_dense_backprop_derivation.py [folder]

Source: Understand the concepts and mathematics behind CNN and implement it by NumPy (a tutorial after Parasdahal's
deepnet). Glorot and He initialisation: He, Zhang, Ren & Sun, Delving Deep into Rectifiers (2015), sec. 2.2.
"""

import numpy as np
from checks import check, say
from figures import BLUE, GREY, ORANGE, calm, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

say("Two inputs, three hidden units with sigmoid, two outputs with sigmoid, L = sum e^2 / 2.")
x = np.array([0.5, -1.0])
w1 = np.array([[0.1, 0.4], [-0.3, 0.2], [0.8, -0.5]])
b1 = np.array([0.1, 0.0, -0.2])
w2 = np.array([[0.3, -0.6, 0.2], [0.5, 0.1, -0.4]])
b2 = np.array([0.0, 0.3])
target = np.array([1.0, 0.0])


def theta(s):
    return 1 / (1 + np.exp(-s))


s1 = w1 @ x + b1
h = theta(s1)
s2 = w2 @ h + b2
y = theta(s2)
e = y - target
loss = (e * e).sum() / 2
print(f"    s1 {s1.round(4)}  h {h.round(4)}\n    s2 {s2.round(4)}  y {y.round(4)}  e {e.round(4)}")
check("s1 of the first unit, 0.1*0.5 - 0.4*1 + 0.1", s1[0], -0.25, within=1e-12)

say("Backward: what a unit is blamed for is what those behind it are blamed for, through the weights.")
d2 = e * y * (1 - y)  # delta2 = e theta'(s2)
d1 = (w2.T @ d2) * h * (1 - h)  # delta1[j] = theta'(s1[j]) sum_i delta2[i] w2[i,j]
print(f"    delta2 {d2.round(4)}  delta1 {d1.round(4)}")

leaves = [tg.Tensor(a, requires_grad=True) for a in (w1, b1, w2, b2)]
S1 = F.linear(tg.Tensor(x), leaves[0], leaves[1])
S2 = F.linear(tg.sigmoid(S1), leaves[2], leaves[3])
L = F.half_squared_error(tg.sigmoid(S2), target)
check("the loss", L, loss, within=1e-12)
D1, D2, *grads = tg.grad(L, [S1, S2, *leaves])
check("delta2", D2, d2, within=1e-12)
check("delta1", D1, d1, within=1e-12)
for name, got, wanted in zip(
    ("dL/dw1 = delta1 x^T", "dL/db1 = delta1", "dL/dw2 = delta2 h^T", "dL/db2 = delta2"),
    grads, (np.outer(d1, x), d1, np.outer(d2, h), d2), strict=True,
):  # fmt: skip
    check(name, got, wanted, within=1e-12)

say('The tutorial calls this loss "RMSE". The root of the mean square is another number, with another gradient.')
check("sum e^2 / 2", loss, 0.5 * (e**2).sum())
check("RMSE is sqrt(L) for two outputs, not L", np.sqrt((e**2).mean()), np.sqrt(loss), within=1e-12)
check("mse_loss is the mean: here 2/n L = L", F.mse_loss(y, target), loss, within=1e-12)
three = np.array([1.0, 2.0, 2.0])
check("for e = 1 2 2: half the sum, mean, root", [F.half_squared_error(three, three * 0), F.mse_loss(three, three * 0),
      F.mse_loss(three, three * 0) ** 0.5], [4.5, 3.0, 3**0.5], within=1e-12)  # fmt: skip

say(
    "Weights start as randn / sqrt(filters/2) there. What counts is not how many filters, but how many inputs each has."
)
filters, inputs = 10, 3 * 3 * 3
check("its standard deviation, 1/sqrt(10/2)", 1 / (filters / 2) ** 0.5, 0.447, within=5e-4)
check("He: sqrt(2/27)", (2 / inputs) ** 0.5, 0.272, within=5e-4)


def strengths(std, layers=8):
    """The mean square of the signal after each 3x3 convolution with relu, 10 channels throughout."""
    rng = np.random.default_rng(0)
    h, squares = rng.normal(size=(4, 10, 12, 12)), []
    for _ in range(layers):
        h = F.relu(F.conv2d(F.pad(h, (1, 1, 1, 1), "circular"), rng.normal(0, std, (10, 10, 3, 3))))
        squares.append((h**2).mean())
    return np.array(squares)


by_outputs, by_inputs = strengths((2 / 10) ** 0.5), strengths((2 / 90) ** 0.5)
check("after 8 layers, by the filters: more than 10^6 times as strong", by_outputs[-1] > 1e6, True)
check("by the inputs: between 0.05 and 20", 0.05 < by_inputs[-1] < 20, True)


def draw(figure):
    left, right = figure.subplots(1, 2)
    units = [f"$s^1_{j}$" for j in (1, 2, 3)] + ["$s^2_1$", "$s^2_2$"]
    left.bar(units, [*d1, *d2], color=[BLUE] * 3 + [ORANGE] * 2)
    left.axhline(0, color=GREY, linewidth=0.8)
    calm(left, "$\\partial L/\\partial s$ of every unit")
    right.semilogy(range(1, 9), by_outputs, "o-", color=ORANGE, label="std $\\sqrt{2/filters}$")
    right.semilogy(range(1, 9), by_inputs, "s-", color=BLUE, label="std $\\sqrt{2/inputs}$ (He)")
    right.legend(frameon=False)
    calm(right, "mean square of the signal", "layer")


picture(__file__, draw, 7.0, 2.6)
