"""Counting parameters: why images are not given to dense layers.

    python examples/14_parameter_counting.py [folder]

Source: Mukul Rathi, Demystifying Deep Learning 8: Convolutional Neural Networks (mukulrathi.com, 2018).
"""

import math

import numpy as np
from checks import check, say
from figures import BLUE, ORANGE, calm, picture

from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import LeNet5


def parameters(module):
    return sum(p.numel() for p in module.parameters())


say("A colour image of 256x256 is 65,536 pixels of three numbers: 196,608 inputs, not 196,608 pixels.")
inputs = 256 * 256 * 3
check("pixels", 256 * 256, 65_536)
check("inputs", inputs, 196_608)
check("weights of 128 dense units", inputs * 128, 25_165_824)
check("megabytes in float32", inputs * 128 * 4 / 2**20, 96)
check("1024x1024, 16 times the inputs", 1024 * 1024 * 3, 16 * inputs)
check("and its 128 units", 1024 * 1024 * 3 * 128, 402_653_184)

say("A 3x3 filter has 3*3*3 weights and a bias, whatever the size of the image. A layer has that for each filter.")
check("one filter, F*F*C + 1", parameters(nn.Conv2d(3, 1, 3)), 3 * 3 * 3 + 1)
layer = nn.Conv2d(3, 128, 3, padding=1)
check("128 filters, (F*F*C + 1)*K: the text's formula leaves K out", parameters(layer), (3 * 3 * 3 + 1) * 128)
check("times fewer than the dense layer", math.floor(inputs * 128 / parameters(layer)), 7021)
small, large = np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, 20, 30), np.float32)
check("the same layer on two sizes", [layer(small).shape[2:], layer(large).shape[2:]], [(8, 8), (20, 30)])

say("The price: a convolution multiplies at every pixel. Few parameters are not few operations.")
check("multiplications on 256x256", 256 * 256 * 128 * 27, 226_492_416)
check("those of the dense layer", inputs * 128, 25_165_824)

say("A 1x1 convolution changes the depth and looks at one pixel: 256 channels to 64, before a 3x3 of 256.")
direct = nn.Conv2d(256, 256, 3, padding=1)
narrow = nn.Sequential(nn.Conv2d(256, 64, 1), nn.Conv2d(64, 256, 3, padding=1))
check("3x3 on 256 channels", parameters(direct), 256 * (256 * 9 + 1))
check("with a 1x1 to 64 before it", parameters(narrow), 64 * 257 + 256 * (64 * 9 + 1))
rng = np.random.default_rng(0)
x, w = rng.normal(size=(2, 6, 4, 5)), rng.normal(size=(3, 6, 1, 1))
as_dense = F.linear(x.transpose(0, 2, 3, 1), w[:, :, 0, 0]).transpose(0, 3, 1, 2)
check("it is a dense layer at every pixel", F.conv2d(x, w), as_dense, within=1e-12)

say("LeNet-5, layer by layer: the convolutions see the image, the dense layers have the parameters.")
net = LeNet5()
rows = {name: parameters(module) for name, module in net.named_children()}
for name, count in rows.items():
    print(f"    {name:6} {count:7,}")
check("conv1: (5*5*1 + 1)*6", rows["conv1"], 156)
check("conv2: (5*5*6 + 1)*16", rows["conv2"], 2416)
check("fc1: (400 + 1)*120", rows["fc1"], 48_120)
check("all", parameters(net), 61_706)

say("Its maps get smaller and deeper, and then there are classes. Dense layers in place of all its layers would have:")
seen = {row.path: row for row in nn.summary(net, (1, 1, 32, 32)).rows}
for name in rows:
    print(f"    {name:6} {seen[name].outputs[0]!s:16} {seen[name].dense:10,}")
check("maps", [seen[name].outputs[0] for name in ("conv1", "conv2")], [(1, 6, 28, 28), (1, 16, 10, 10)])
check("dense conv1, 32*32 * 6*28*28", seen["conv1"].dense, 4_816_896)
check("dense conv2, 6*14*14 * 16*10*10", seen["conv2"].dense, 1_881_600)


def draw(figure):
    axes = figure.subplots()
    bars = {
        "dense, 128 units on 1024x1024x3": 402_653_184, "dense, 128 units on 256x256x3": 25_165_824,
        "3x3 on 256 channels": parameters(direct), "1x1 to 64, then 3x3": parameters(narrow),
        "LeNet-5": parameters(net), "3x3, 128 filters on any RGB image": parameters(layer),
    }  # fmt: skip
    axes.barh(list(bars), list(bars.values()), color=[ORANGE] * 2 + [BLUE] * 4, log=True)
    for row, count in enumerate(bars.values()):
        axes.text(count * 1.3, row, f"{count:,}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(1e3, 2e10)
    calm(axes, "parameters")


picture(__file__, draw, 6.4, 2.4)
