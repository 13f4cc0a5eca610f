"""Softmax, sigmoid and cross-entropy: how they hang together, and what adding 1e-8 does.

    python examples/13_softmax_sigmoid_crossentropy.py [folder]

Source: Mukul Rathi, Demystifying Deep Learning 8: Convolutional Neural Networks (mukulrathi.com, 2018), whose softmax
returns a + 1e-8, so that the logarithm of 0 is never taken.
"""

import numpy as np
from checks import check, refused, say
from figures import BLUE, ORANGE, calm, picture

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

say("Softmax of (z, 0) is the sigmoid of z.")
z = np.linspace(-6, 6, 25)
pairs = np.stack([z, 0 * z], axis=1)
check("first column", F.softmax(pairs, 1)[:, 0], tg.sigmoid(z), within=1e-12)
labels = (z > 1).astype(int)
check("and the losses agree", F.cross_entropy(pairs, 1 - labels),
      F.binary_cross_entropy_with_logits(z, labels.astype(float)), within=1e-12)  # fmt: skip

say("Only differences of logits count, so the largest can be taken away; exp then never overflows.")
logits = np.array([[1000.0, 999.0, 0.0]])
check("softmax", F.softmax(logits, 1), [[0.7311, 0.2689, 0.0]], within=5e-5)
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(logits) / np.exp(logits).sum()
check("written down naively", str(naive[0, 0]), "nan")

say("Ten classes and a network that knows nothing: the loss is ln 10. Compare the first loss of a training with it.")
check("cross_entropy of equal logits", F.cross_entropy(np.zeros((4, 10)), np.arange(4)), 2.302585, within=1e-6)

say("The gradient with respect to the logits is softmax - one-hot.")
rng = np.random.default_rng(0)
scores = tg.Tensor(rng.normal(size=(3, 4)), requires_grad=True)
truth = np.array([2, 0, 3])
(g,) = tg.grad(F.cross_entropy(scores, truth, reduction="sum"), scores)
check("p - y", g, F.softmax(scores, 1).numpy() - np.eye(4)[truth], within=1e-12)
check("it sums to 0 over the classes", g.numpy().sum(axis=1), [0, 0, 0], within=1e-12)

say("Adding 1e-8: the probabilities no longer sum to 1, and no mistake costs more than -ln 1e-8.")


def softmax_plus(z):
    """The text's."""
    return F.softmax(z, 1) + 1e-8


ten = rng.normal(size=(1, 10))
check("sum - 1, for ten classes", softmax_plus(ten).sum() - 1, 1e-7, within=1e-12)
wrong = tg.Tensor([[1000.0, -1000.0]], dtype=tg.float64, requires_grad=True)
capped = -tg.log(softmax_plus(wrong))[0, 1]
true = F.cross_entropy(wrong, [1])
check("logits 1000 and -1000, the second is right: capped", capped, 18.42, within=5e-3)
check("cross_entropy", true, 2000)
check("gradient of the capped loss: nothing to learn from", tg.grad(capped, wrong)[0], [[0, 0]])
check("gradient of cross_entropy", tg.grad(true, wrong)[0], [[1, -1]])

say("Probabilities are no logits: softmax twice still trains, badly. The least loss that it can reach is not 0.")
sure = np.array([[1000.0, 0, 0]])
check("softmax given to cross_entropy, a perfect answer", F.cross_entropy(F.softmax(sure, 1), [0]), 0.5514, within=5e-5)
check("logits given to it", F.cross_entropy(sure, [0]), 0)
refused("a label that is no class", IndexError, lambda: F.cross_entropy(sure, [3]), "3")


def draw(figure):
    left, right = figure.subplots(1, 2)
    gaps = tg.linspace(-10, 60, 141, dtype=tg.float64, requires_grad=True)
    both = tg.stack([gaps, gaps * 0], dim=1)
    losses = {
        "cross_entropy": (F.cross_entropy(both, [1] * 141, reduction="none"), BLUE, "-"),
        "-ln(softmax + 1e-8)": (-tg.log(softmax_plus(both))[:, 1], ORANGE, "--"),
    }
    for name, (loss, colour, line) in losses.items():
        left.plot(gaps.numpy(), loss.numpy(), line, color=colour, label=name)
        right.plot(gaps.numpy(), tg.grad(loss.sum(), gaps, retain_graph=True)[0].numpy(), line, color=colour)
    left.legend(frameon=False)
    calm(left, "loss", "wrong logit - right logit")
    calm(right, "its gradient: who is very wrong learns nothing", "wrong logit - right logit")


picture(__file__, draw, 7.0, 2.6)
