"""The graph of a small CNN, drawn: what was computed, what comes back, and where a gradient was lost.

    python examples/18_draw_the_graph.py [folder]

Writes 18_draw_the_graph.svg, and a page (.html) in which the backward pass can be stepped through. Neither needs
matplotlib or Graphviz. Sources: the figures of all five texts, drawn from the computation itself.
"""

from html import unescape

import numpy as np
from checks import check, say
from figures import folder

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F


class Net(nn.Module):
    """conv, relu, pool, linear: one of each."""

    def __init__(self, cut=False):
        super().__init__()
        generator = np.random.default_rng(0)
        self.conv = nn.Conv2d(1, 4, 3, generator=generator)
        self.head = nn.Linear(36, 10, generator=generator)
        self.cut = cut

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        return self.head(h.detach() if self.cut else h)


images, labels = tg.data.digits()
x, y = tg.Tensor(images[:8]), tg.Tensor(labels[:8])


def loss_of(net):
    with tg.watch(images=True, lines=False):
        return F.cross_entropy(net(x), y)


say("As text, before backward: gradients that are not there yet are not shown as 0.")
net = Net()
loss = loss_of(net)
before = tg.draw(loss, net, {"x": x, "y": y})
print("\n".join("    " + line for line in before.text().splitlines()))
check(
    "its six ops",
    [op in before.text() for op in ("[CONV]", "[ACT]", "[POOL]", "[SHAPE]", "[LINEAR]", "[LOSS]")],
    [1] * 6,
)
check("parameters without a gradient", before.text().count("∂ not computed"), 4)

say("After backward the same picture, with gradients.")
loss.backward()
after = tg.draw(loss, net, {"x": x, "y": y})
norm = net.conv.weight.grad.norm().item()
print(f"    |dL/dW| of conv: {norm:.4f}")
check("parameters without one now", after.text().count("∂ not computed"), 0)
check("the same program draws the same bytes", tg.draw(loss, net, {"x": x, "y": y}).svg() == after.svg(), True)

say("The view `teach` puts the formula of every gradient on its op; these are checked against the rules by tests.")
teach = after.show("teach")
check("relu's, ∂x = ∂out · 1[x > 0]", "∂out · 1[x > 0]" in unescape(teach.svg()), True)
target = folder() / "18_draw_the_graph.svg"
tg.draw(loss, net, {"x": x, "y": y}, view="teach", direction="LR").save(target)
teach.save(target.with_suffix(".html"))

say("What is kept for backward, and why.")
print("\n".join("    " + line for line in str(after.saved()).splitlines()))

say("A network in which the gradient is cut, and the answer to why nothing is learned.")
broken = Net(cut=True)
lost = loss_of(broken)
lost.backward()
check("conv.weight.grad", str(broken.conv.weight.grad), "None")
answer = tg.draw(lost, broken).why_no_grad("conv.weight").answer
check(
    "why_no_grad",
    answer.split(";")[0],
    "conv.weight has no path to this result: cut by detach on the result of reshape",
)

say("A value that is not finite, and where it began.")
with tg.watch(lines=False):
    logs = tg.log(F.relu(tg.tensor([-1.0, 2.0], requires_grad=True))) * 2
found = tg.draw(logs.sum()).find_nan()
print("    " + found.answer)
check("the first cause", "log" in found.answer, True)

print(f"\npictures: {target} and .html")
