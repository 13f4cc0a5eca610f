"""Activations and their derivatives; a sigmoid with a wrong sign, caught; and gradients that vanish.

    python examples/11_activations_and_vanishing.py [folder]

Sources: Understand the concepts and mathematics behind CNN and implement it by NumPy (a tutorial after Parasdahal's
deepnet), for the functions, with exp(+x) in its sigmoid; Mukul Rathi, Demystifying Deep Learning 8 (mukulrathi.com,
2018), for the vanishing gradient and relu as a product.
"""

import numpy as np
from checks import check, refused, say
from figures import BLUE, GREY, ORANGE, calm, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing import GradientError, gradcheck

FUNCTIONS = {"relu": F.relu, "sigmoid": tg.sigmoid, "tanh": tg.tanh, "gaussian": tg.gaussian}


def derivative(f, x):
    x = tg.tensor(x, dtype=tg.float64, requires_grad=True)
    return tg.grad(f(x).sum(), x)[0].numpy()


say("Derivatives, by the engine and by the formula.")
x = np.linspace(-4, 4, 401)
s = 1 / (1 + np.exp(-x))
check("sigmoid: s (1 - s)", derivative(tg.sigmoid, x), s * (1 - s), within=1e-12)
check("at most", derivative(tg.sigmoid, x).max(), 0.25, within=1e-12)
check("tanh: 1 - tanh^2", derivative(tg.tanh, x), 1 - np.tanh(x) ** 2, within=1e-12)
check("relu: 0 or 1", np.unique(derivative(F.relu, x)), [0, 1])
check("gaussian exp(-x^2) at 1", tg.gaussian(np.array(1.0)), 0.3679, within=5e-5)
check("its derivative -2x exp(-x^2) at 1", derivative(tg.gaussian, 1.0), -0.7358, within=5e-5)

say("The tutorial's forward has exp(+x), which mirrors the function; its backward is that of the right one.")


@tg.op
def mirrored(x, /):
    """1 / (1 + exp(+x))"""
    return 1 / (1 + np.exp(x))


mirrored.vjp(x=lambda g, out: g * out * (1 - out))
check("at 2 it gives", mirrored(np.array(2.0)), 0.1192, within=5e-5)
check("where the sigmoid is", tg.sigmoid(np.array(2.0)), 0.8808, within=5e-5)
check("its backward says", derivative(mirrored, 2.0), 0.1050, within=5e-5)
slope = (mirrored(np.array(2 + 1e-6)) - mirrored(np.array(2 - 1e-6))) / 2e-6
check("its slope is", slope, -0.1050, within=5e-5)
refused("gradcheck", GradientError, lambda: gradcheck(mirrored, [np.array([2.0, -1.0])]), "wrong")

say("relu as x * (x > 0) makes nan of minus infinity; the maximum of x and 0 does not.")
with np.errstate(invalid="ignore"):
    check("product", str(np.multiply(-np.inf, -np.inf > 0)), "nan")
check("relu", F.relu(np.array([-np.inf, -1.0, 2.0])), [0, 0, 2])

say('Without an activation a layer is "equal to its input", one text says. It is linear: two layers are one.')
rng = np.random.default_rng(0)
v, a, b = rng.normal(size=(5, 8)), rng.normal(size=(6, 8)), rng.normal(size=(4, 6))
check("two layers", F.linear(F.linear(v, a), b), F.linear(v, b @ a), within=1e-12)

say("Twelve layers of 64 units: a factor of at most 0.25 in each, and the first layers hardly learn.")


def gradient_norms(f, gain, depth=12, width=64):
    """|dL/dW| of each layer, relative to the last one's."""
    rng = np.random.default_rng(0)
    weights = [tg.Tensor(rng.normal(0, gain / width**0.5, (width, width)), requires_grad=True) for _ in range(depth)]
    h = tg.Tensor(rng.normal(size=(32, width)))
    for w in weights:
        h = f(F.linear(h, w))
    norms = [g.norm().item() for g in tg.grad((h * rng.normal(size=h.shape)).mean(), weights)]
    return np.array(norms) / norms[-1]


norms = {"relu": gradient_norms(F.relu, 2**0.5), "tanh": gradient_norms(tg.tanh, 1.0)}
norms["sigmoid"] = gradient_norms(tg.sigmoid, 1.0)
check("sigmoid: the first layer gets less than 0.25^11 of the last one's", norms["sigmoid"][0] < 0.25**11, True)
check("relu: more than a third", norms["relu"][0] > 1 / 3, True)


def draw(figure):
    left, middle, right = figure.subplots(1, 3)
    styles = {"relu": (BLUE, "-"), "sigmoid": (ORANGE, "-"), "tanh": (GREY, "--"), "gaussian": ("black", ":")}
    for name, (colour, line) in styles.items():
        left.plot(x, FUNCTIONS[name](x), line, color=colour, label=name)
        middle.plot(x, derivative(FUNCTIONS[name], x), line, color=colour)
        if name in norms:
            right.semilogy(range(1, 13), norms[name], line, color=colour, marker=".")
    left.set_ylim(-1.1, 2.4)
    left.legend(frameon=False, loc="upper left")
    calm(left, "the function", "x")
    calm(middle, "its derivative", "x")
    right.set_xticks(range(1, 13, 2))
    calm(right, "gradient / the last layer's", "layer")


picture(__file__, draw, 7.6, 2.6)
