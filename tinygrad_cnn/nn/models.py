"""Networks of the literature, written out: LeNet-5, a VGG, ResNet-20, a MobileNet and a U-Net.

The first three have torchvision's parameter names. Each forward is plain code, to be read and changed. `generator`
seeds the initial weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Tensor
from ..ops.layout import cat, flatten, pad
from ..shapes import ShapeError
from . import functional as F
from . import init
from .containers import Sequential
from .convolution import Conv2d, ConvTranspose2d
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

    Keys as torchvision's: features.0.weight, ..., classifier.0, classifier.3, classifier.6. The weights of convolutions
    start as N(0, 2/fan_out) and their biases as 0; the linear layers start as Linear does.
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
            if isinstance(layer, Conv2d):
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


class SeparableBlock(Layer):
    """relu6(bn(pointwise(relu6(bn(depthwise(x)))))): a 3x3 in every channel by itself, then a 1x1 that mixes channels.

    (n in_channels h w) -> (n channels oh ow), oh = ceil(h / stride). It takes 9*in + in*channels weights where a 3x3
    convolution takes 9*in*channels. Source: Howard et al. (2017), sec. 3.1 and fig. 3.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.depthwise = Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False, generator=generator
        )
        self.bn1 = BatchNorm2d(in_channels)
        self.pointwise = Conv2d(in_channels, channels, 1, bias=False, generator=generator)
        self.bn2 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.bn1(self.depthwise(x)))
        return F.relu6(self.bn2(self.pointwise(x)))


class MobileNetSmall(Layer):
    """A MobileNet for small images: (n in_channels h w) -> (n num_classes), 37,162 parameters for 3, 10 and width 16.

    A 3x3 convolution, five depthwise separable blocks that halve the image twice, the mean over each plane, one linear
    layer. width: the filters of the first convolution; the blocks have 2, 4, 4, 8 and 8 times as many. Convolutions
    start as N(0, 2/fan_out).
    Source: Howard et al., MobileNets (2017), table 1, with relu6 as in its code; the paper's is for images of 224x224.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        width: int = 16,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        c = width
        self.conv = Conv2d(in_channels, c, 3, padding=1, bias=False, generator=generator)
        self.bn = BatchNorm2d(c)
        self.blocks = Sequential(
            SeparableBlock(c, 2 * c, generator=generator),
            SeparableBlock(2 * c, 4 * c, 2, generator=generator),
            SeparableBlock(4 * c, 4 * c, generator=generator),
            SeparableBlock(4 * c, 8 * c, 2, generator=generator),
            SeparableBlock(8 * c, 8 * c, generator=generator),
        )
        self.fc = Linear(8 * c, num_classes, generator=generator)
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.bn(self.conv(x)))
        x = self.blocks(x)
        x = x.mean(dim=(2, 3))
        return self.fc(x)


class DoubleConv(Layer):
    """relu(bn(conv(relu(bn(conv(x)))))), both 3x3: (n in_channels h w) -> (n channels h w)"""

    def __init__(self, in_channels: int, channels: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, padding=1, bias=False, generator=generator)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, padding=1, bias=False, generator=generator)
        self.bn2 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class UNetSmall(Layer):
    """A U-Net of two steps, logits for every pixel: (n in_channels h w) -> (n num_classes h w), h and w multiples of 4.

    Down: two convolutions, then maximum pooling, twice. Up: a transposed convolution doubles the size and halves the
    channels, what was there before the pooling is put beside it, and two convolutions follow. width: the channels at
    full size. The paper's has four steps of 64 to 1024 channels, no padding and no batch norm.
    Source: Ronneberger, Fischer & Brox, U-Net (2015), fig. 1.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 1,
        *,
        width: int = 8,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        c = width
        self.down1 = DoubleConv(in_channels, c, generator=generator)
        self.down2 = DoubleConv(c, 2 * c, generator=generator)
        self.middle = DoubleConv(2 * c, 4 * c, generator=generator)
        self.grow2 = ConvTranspose2d(4 * c, 2 * c, 2, stride=2, generator=generator)
        self.up2 = DoubleConv(4 * c, 2 * c, generator=generator)
        self.grow1 = ConvTranspose2d(2 * c, c, 2, stride=2, generator=generator)
        self.up1 = DoubleConv(2 * c, c, generator=generator)
        self.head = Conv2d(c, num_classes, 1, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % 4 or x.shape[-1] % 4:
            raise ShapeError(
                f"UNetSmall: x has shape {tuple(x.shape)}; height and width must be multiples of 4, as two poolings "
                "halve them; pad the image or cut it"
            )
        full = self.down1(x)
        half = self.down2(F.max_pool2d(full, 2))
        x = self.middle(F.max_pool2d(half, 2))
        x = self.up2(cat([self.grow2(x), half], dim=1))
        x = self.up1(cat([self.grow1(x), full], dim=1))
        return self.head(x)
