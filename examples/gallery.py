"""Pictures of computation graphs, and the questions that they answer.

    python examples/gallery.py pictures

draws every picture of this file into the folder `pictures`, as SVG and as a page (HTML) with a step player. Without a
folder it only says what it would draw. `lines=False` keeps the paths of this machine out of them.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn
from tinygrad_cnn.diagram import Picture
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import LeNet5, ResNet20, vgg11


def random_images(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal(shape, np.float32))


def lenet5() -> Picture:
    """LeNet-5 on four digits, view `teach`: formulas, statistics, feature maps, their gradients, kernels."""
    images, labels = tg.data.digits()
    x = Tensor(np.pad(images[:4].repeat(3, 2).repeat(3, 3), ((0, 0), (0, 0), (4, 4), (4, 4))))  # 8x8 -> 32x32
    y = Tensor(labels[:4])
    net = LeNet5(generator=np.random.default_rng(0))
    with tg.watch(images=True, lines=False):
        loss = F.cross_entropy(net(x), y)
    loss.backward()
    return tg.draw(loss, net, {"x": x, "y": y}, view="teach")


def vgg() -> Picture:
    """A small VGG-11, view `cost`: which ops take the operations."""
    net = vgg11(width=8, generator=np.random.default_rng(0)).eval()
    x = random_images(2, 3, 32, 32)
    return tg.draw(net(x).logsumexp(1).sum(), net, {"x": x}, view="cost", params="hide")


def resnet20() -> Picture:
    """ResNet-20 as it is drawn by default: blocks that repeat are folded, so that it fits a page."""
    net = ResNet20(generator=np.random.default_rng(0))
    x, y = random_images(4, 3, 32, 32), Tensor([1, 2, 3, 4])
    with tg.watch(images=True, lines=False):
        loss = F.cross_entropy(net(x), y)
    loss.backward()
    return tg.draw(loss, net, {"x": x, "y": y})


def diamond() -> Picture:
    """One value used twice, view `grad`: two gradients come back and add up."""
    x = Tensor([0.5, -1.0, 2.0], requires_grad=True)
    with tg.watch(lines=False):
        h = tg.tanh(x)
        left, right = h * 3.0, tg.exp(h)
        loss = (left * right).sum()
    loss.backward()
    return tg.draw(loss, inputs={"x": x, "h": h, "left": left, "right": right}, view="grad")


def chain() -> Picture:
    """A thousand ops that repeat are one stack."""
    y = x = Tensor([0.3], requires_grad=True)
    for _ in range(500):
        y = tg.tanh(y * 1.01)
    return tg.draw(y, inputs={"x": x})


def second_order() -> Picture:
    """The graph of a gradient, which is a graph like any other."""
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    w = Tensor([[0.5, -0.5], [0.25, 1.0]], requires_grad=True)
    loss = tg.sigmoid(x @ w).sum()
    (gradient,) = tg.grad(loss, x, create_graph=True)
    penalty = (gradient * gradient).sum()
    return tg.draw(penalty, inputs={"x": x, "w": w, "gradient": gradient})


class Broken(nn.Module):
    """Everything that goes wrong: a bias that kills all units, the log of 0, a detached branch, an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.stem = nn.Conv2d(1, 8, 3, padding=1, generator=generator)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1, generator=generator)
        self.aux = nn.Linear(8, 8, generator=generator)
        self.head = nn.Linear(8, 10, generator=generator)
        self.unused = nn.Linear(3, 3, generator=generator)
        with tg.no_grad():
            self.down.bias.sub_(5.0)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.stem(x))
        h = F.relu(self.down(h))  # dead: the bias is far below zero
        h = h.mean(dim=(2, 3))
        gate = tg.sigmoid(self.aux(h)).detach()  # aux never learns
        return self.head(tg.log(h) * gate)  # log 0 is -inf


def broken() -> Picture:
    """A broken network, view `health`: the first cause apart from what it caused."""
    images, labels = tg.data.digits()
    x, y = Tensor(images[:8]), Tensor(labels[:8])
    net = Broken()
    with tg.watch(images=True, lines=False):
        loss = F.cross_entropy(net(x), y)
    loss.backward()
    return tg.draw(loss, net, {"x": x, "y": y}, view="health")


def misfit() -> Picture:
    """A network that does not fit together: the graph up to the error."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    try:
        net(random_images(2, 1, 8, 8))
    except tg.ShapeError as error:
        return error.graph()
    raise AssertionError("6x6 pooled by 2 is 3x3, and 4*3*3 = 36 is not 64")


GALLERY: dict[str, Callable[[], Picture]] = {
    "lenet5": lenet5,
    "vgg11": vgg,
    "resnet20": resnet20,
    "diamond": diamond,
    "chain": chain,
    "second_order": second_order,
    "broken": broken,
    "misfit": misfit,
}


def main(folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for name, make in GALLERY.items():
        picture = make()
        print(f"{name}: {(make.__doc__ or '').partition(chr(10))[0]}\n    {picture}")
        if folder is not None:
            picture.save(folder / f"{name}.svg")
            picture.save(folder / f"{name}.html")
        if name == "broken":
            print(f"    {picture.find_nan().answer}")
            print(f"    {picture.why_no_grad('aux.weight').answer}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
