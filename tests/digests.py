"""SHA-256 of training steps of small networks, to be compared bit for bit:  python tests/digests.py [together]

`together` computes a few of them at once, each twice, in Python threads of one process.

The batches are large enough for parallel.SMALL: convolutions of every kind, pooling and batch norm are shared by
threads in one case at least.
"""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import ResNet20

STEPS = 2


class Kinds(nn.Module):
    """One layer of each kind that the other networks lack: (n 3 h w) -> (n 10)"""

    def __init__(self, generator):
        super().__init__()
        self.wide = nn.Conv2d(3, 24, 5, padding=2, generator=generator)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24, generator=generator)
        self.grouped = nn.Conv2d(24, 32, 3, padding=1, groups=4, generator=generator)
        self.strided = nn.Conv2d(32, 32, 3, stride=2, padding=1, generator=generator)
        self.norm = nn.BatchNorm2d(32)
        self.dilated = nn.Conv2d(32, 24, 3, padding=2, dilation=2, generator=generator)
        self.point = nn.Conv2d(24, 40, 1, generator=generator)
        self.up = nn.ConvTranspose2d(40, 16, 4, stride=2, padding=1, generator=generator)
        self.fc = nn.Linear(16, 10, generator=generator)

    def forward(self, x):
        x = F.relu(self.depthwise(F.relu(self.wide(x))))
        x = F.avg_pool2d(F.relu(self.grouped(x)), 3, stride=1, padding=1)
        x = F.relu(self.norm(self.strided(x)))
        x = F.max_pool2d(F.relu(self.dilated(x)), 3, stride=1, padding=1)
        x = F.relu(self.up(F.relu(self.point(x))))
        return self.fc(x.mean(dim=(2, 3)))


def plain(c, channels, features):
    """What makes 3x3 convolutions with relu and 2x2 poolings ("M"), then a linear layer."""

    def make(generator):
        steps, before = [], c
        for channel in channels:
            if channel == "M":
                steps.append(nn.MaxPool2d(2))
            else:
                steps += [nn.Conv2d(before, channel, 3, padding=1, generator=generator), nn.ReLU()]
                before = channel
        return nn.Sequential(*steps, nn.Flatten(), nn.Linear(features, 10, generator=generator))

    return make


class Case(NamedTuple):
    """A network, made by a generator, on images (n c h w)."""

    make: object
    image: tuple
    batch: int
    dtype: type = np.float32
    algorithm: str = "auto"
    channels_last: bool = False


s = plain(1, (8, "M", 16, "M"), 16 * 7 * 7)
m = plain(3, (32, 32, "M", 64, 64, "M", 128, 128, "M"), 128 * 4 * 4)
CASES = {
    "S": Case(s, (1, 28, 28), 192),
    "S, float64": Case(s, (1, 28, 28), 192, np.float64),
    "M": Case(m, (3, 32, 32), 32),
    "M, channels last": Case(m, (3, 32, 32), 32, channels_last=True),
    "M, im2col": Case(m, (3, 32, 32), 8, algorithm="im2col"),
    "M, float64": Case(m, (3, 32, 32), 8, np.float64),
    "ResNet-20": Case(lambda generator: ResNet20(generator=generator), (3, 32, 32), 64),
    "kinds": Case(Kinds, (3, 32, 32), 24),
    "kinds, float64": Case(Kinds, (3, 32, 32), 24, np.float64),
}
FEW = ["S", "ResNet-20", "kinds"]


def digest(case):
    """Of the losses, the gradients of every step, and the parameters and buffers after the last."""
    generator = np.random.default_rng(0)
    model = case.make(generator).to(case.dtype)
    images = generator.normal(size=(case.batch, *case.image)).astype(case.dtype)
    x, labels = tg.Tensor(images), generator.integers(0, 10, case.batch)
    if case.channels_last:
        x = tg.Tensor(images.transpose(0, 2, 3, 1)).permute(0, 3, 1, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    seen = hashlib.sha256()
    for _ in range(STEPS):
        optimizer.zero_grad()
        with tg.conv_algorithm(case.algorithm):
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
        optimizer.step()
        for value in (loss, *(p.grad for p in model.parameters())):
            seen.update(value.numpy().tobytes())
    for value in model.state_dict().values():
        seen.update(value.numpy().tobytes())
    return seen.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:] == ["together"]:
        digest(CASES["S"])  # the main thread is the first to hold BLAS
        with ThreadPoolExecutor(2 * len(FEW)) as users:
            print(json.dumps(list(users.map(lambda name: (name, digest(CASES[name])), 2 * FEW))))
    else:
        print(json.dumps({name: digest(case) for name, case in CASES.items()}))
