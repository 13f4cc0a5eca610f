"""A training step (forward, loss, backward, SGD with momentum) of three networks, ours and every installed peer's.

    python benchmarks/train_step.py [--threads 1] [--networks S,M,ResNet-20] [--compile] [--json FILE]

S: 28x28x1, conv 8, pool, conv 16, pool, fc. M: 32x32x3, conv 32 twice, pool, conv 64 twice, pool, conv 128 twice, pool,
fc. ResNet-20 on images of 32x32x3. All sides start from the same weights, and their losses over three steps must agree
to 1e-3 before anything is timed. Then they run in turn in one process, 30 untimed steps and the median of 9; the speed
is relative to the fastest PyTorch variant of the run.
"""

import argparse
from typing import Any

from sides import Report, limited, options, training_sides

from tinygrad_cnn.bench import M, Network, S
from tinygrad_cnn.nn.models import ResNet20

R = Network("ResNet-20", (3, 32, 32), ())


def resnet20(layers: Any) -> Any:
    """ResNet-20 of our layers or of PyTorch's, under the same names of parameters."""
    return ResNet20() if layers.__name__.startswith("tinygrad_cnn") else torch_resnet20()


def torch_resnet20() -> Any:
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, c: int, channels: int, stride: int) -> None:
            super().__init__()
            self.stride, self.added = stride, channels - c
            self.conv1, self.bn1 = nn.Conv2d(c, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
            self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.added:
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
            return F.relu(y + x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            self.layer1, self.layer2, self.layer3 = (
                nn.Sequential(Block(c, channels, stride), Block(channels, channels, 1), Block(channels, channels, 1))
                for c, channels, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
            )
            self.fc = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = F.relu(self.bn1(self.conv1(x)))
            return self.fc(self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3)))

    return Net()


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", default="S,M,ResNet-20", help="which of them (%(default)s)")


def main() -> None:
    given = options(__doc__, add)
    wanted = given.networks.split(",")
    report = Report(given)
    with limited(given.threads):
        for network in (network for network in (S, M, R) if network.name in wanted):
            x, y = network.batch(given.batch)
            if network is R:
                sides = training_sides(resnet20, x, y, given.compile)
            else:
                sides = training_sides(network.build, x, y, given.compile, network)
            report.time(f"{network.name}, training step, batch {given.batch}", sides)
    report.write()


if __name__ == "__main__":
    main()
