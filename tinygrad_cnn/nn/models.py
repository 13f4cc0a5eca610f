"""Three networks of the literature, written out: LeNet-5, a VGG and ResNet-20, with torchvision's parameter names.

Each forward is plain code, to be read and changed. `generator` seeds the initial weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Tensor
from ..ops.layout import flatten, pad
from . import functional as F
from . import init
from .containers import Sequential
from .convolution import Conv2d
from .layers import Linear
from .module import Layer
from .norms import BatchNorm2d
from .pooling import MaxPool2d
from .stateless import Dropout, ReLU

Generator = np.random.Generator


class LeNet5(Layer):
    """LeNet-5 in today's form: (n in_channels 32 32) -> (n num_classes), 61,706 parameters for 1 and 10.

    As in the paper: 5x5 convolutions of 6 and 16 filters, then 120, 84 and num_classes units, for 32x32 images (28x28
    digits are padded by 2). In place of the paper's parts: relu for tanh, maximum for trained average pooling, every
    filter seeing all channels for the partial table, and logits with cross-entropy for RBF units.
    Source: LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition (1998), sec. II-B.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 6, 5, generator=generator)
        self.conv2 = Conv2d(6, 16, 5, generator=generator)
        self.fc1 = Linear(16 * 5 * 5, 120, generator=generator)
        self.fc2 = Linear(120, 84, generator=generator)
        self.fc3 = Linear(84, num_classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class VGG(Layer):
    """A VGG for 32x32 images: 3x3 convolutions with relu, in stages that end in 2x2 maximum pooling.

    (n in_channels 32 32) -> (n num_classes)

    channels: the filters of each convolution, "M" for a pooling; five poolings leave one pixel.
    hidden: the units of the two hidden layers of the classifier. batch_norm: normalise after each convolution.

    Keys as torchvision's: features.0.weight, ..., classifier.0, classifier.3, classifier.6. Weights start as
    N(0, 2/fan_out), biases as 0.
    Source: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition (2015), table 1.
    """

    def __init__(
        self,
        channels: Sequence[int | str],
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        hidden: int = 128,
        dropout: float = 0.5,
        batch_norm: bool = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.features = Sequential()
        c = in_channels
        for step in channels:
            if isinstance(step, str):
                if step != "M":
                    raise ValueError(f"VGG: {step!r} in channels; a number of filters or 'M' for a pooling is needed")
                self.features.append(MaxPool2d(2, 2))
                continue
            self.features.append(Conv2d(c, step, 3, padding=1, generator=generator))
            if batch_norm:
                self.features.append(BatchNorm2d(step))
            self.features.append(ReLU())
            c = step
        self.classifier = Sequential(
            Linear(c, hidden, generator=generator),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, hidden, generator=generator),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, num_classes, generator=generator),
        )
        for layer in self.modules():
            if isinstance(layer, (Conv2d, Linear)):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if layer.bias is not None:
                    init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = flatten(x, 1)
        return self.classifier(x)


def vgg11(num_classes: int = 10, in_channels: int = 3, *, width: int = 16, **options: Any) -> VGG:
    """Configuration A, eight convolutions, with `width` filters in the first instead of 64; options as for VGG."""
    a, b, c, d = width, 2 * width, 4 * width, 8 * width
    channels: list[int | str] = [a, "M", b, "M", c, c, "M", d, d, "M", d, d, "M"]
    return VGG(channels, num_classes, in_channels, **{"hidden": d, **options})


class BasicBlock(Layer):
    """relu(x + bn(conv(relu(bn(conv(x)))))): two 3x3 convolutions beside a shortcut.

    (n in_channels h w) -> (n channels oh ow), oh = ceil(h / stride). Source: He et al. (2016), fig. 2.
    """

    downsample: Sequential | None

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        shortcut: str = "A",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.added = stride, channels - in_channels
        self.conv1 = Conv2d(in_channels, channels, 3, stride, padding=1, bias=False, generator=generator)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, padding=1, bias=False, generator=generator)
        self.bn2 = BatchNorm2d(channels)
        self.downsample = None
        if shortcut == "B" and (stride != 1 or self.added):
            self.downsample = Sequential(
                Conv2d(in_channels, channels, 1, stride, bias=False, generator=generator), BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """x in the shape of the block's output."""
        if self.downsample is not None:
            return self.downsample(x)
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return pad(x, ((0, 0), (0, self.added), (0, 0), (0, 0))) if self.added else x


class ResNet20(Layer):
    """ResNet-20 for CIFAR: (n in_channels 32 32) -> (n num_classes)

    A 3x3 convolution of 16 filters, three stages of three blocks with 16, 32 and 64 filters at sizes 32, 16 and 8,
    the mean over each plane, one linear layer. Convolutions start as N(0, 2/fan_out).

    shortcut, where a stage changes shape: "A", the paper's, takes every second pixel and adds channels of zeros,
    269,722 parameters for 3 and 10; "B" is a 1x1 convolution with batch norm, 272,474.
    Source: He, Zhang, Ren & Sun, Deep residual learning for image recognition (2016), sec. 4.2.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        shortcut: str = "A",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise ValueError(f"ResNet20: shortcut={shortcut!r}; it can be 'A' (zeros) or 'B' (1x1 convolutions)")

        def stage(c: int, channels: int, stride: int) -> Sequential:
            return Sequential(
                BasicBlock(c, channels, stride, shortcut=shortcut, generator=generator),
                BasicBlock(channels, channels, generator=generator),
                BasicBlock(channels, channels, generator=generator),
            )

        self.conv1 = Conv2d(in_channels, 16, 3, padding=1, bias=False, generator=generator)
        self.bn1 = BatchNorm2d(16)
        self.layer1 = stage(16, 16, 1)
        self.layer2 = stage(16, 32, 2)
        self.layer3 = stage(32, 64, 2)
        self.fc = Linear(64, num_classes, generator=generator)
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = x.mean(dim=(2, 3))
        return self.fc(x)
