"""What a trained network sees: its filters, the maps of one digit, and the pixels that the answer depends on.

    python examples/17_activation_maps.py [folder]

Source: Mukul Rathi, Demystifying Deep Learning 8: Convolutional Neural Networks (mukulrathi.com, 2018), which announces
activation maps; Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks (2014), sec. 3, for the gradient.
"""

import numpy as np
from checks import check, say
from figures import BLUE, GREY, ORANGE, picture

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.nn import functional as F

say("A network of one convolution with eight filters, trained for a few seconds.")
generator = np.random.default_rng(1)
conv = nn.Conv2d(1, 8, 3, generator=generator)
head = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 3 * 3, 10, generator=generator))
model = nn.Sequential(conv, head)
optimizer = optim.Adam(model.parameters(), lr=0.01)
(images, labels), (x_test, y_test) = tg.data.digits("train"), tg.data.digits("test")
for x, y in (
    batch for epoch in range(6) for batch in DataLoader(TensorDataset(images, labels), 32, shuffle=True, seed=epoch)
):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
with tg.no_grad():
    scores = model(tg.Tensor(x_test)).numpy()
check("more than 85 percent of digits never seen", (scores.argmax(1) == y_test).mean() > 0.85, True)

say("One digit that it is sure of: every map is one filter, laid on every place.")
chosen = int(np.flatnonzero((y_test == 3) & (scores.argmax(1) == 3))[0])
digit = tg.tensor(x_test[chosen : chosen + 1], requires_grad=True)
z = conv(digit)
score = head(z)[0, 3]
maps = F.relu(z).numpy()[0]
check("maps", maps.shape, (8, 6, 6))
patch, w, b = digit.numpy()[0, 0, 2:5, 1:4], conv.weight.numpy(), conv.bias.numpy()
check("map 5 at (2, 1), by hand", z[0, 5, 2, 1], (patch * w[5, 0]).sum() + b[5], within=1e-5)
check("after relu no map is negative", maps.min() >= 0, True)
print(
    "    share of places where a map is silent: " + " ".join(f"{share:.2f}" for share in (maps == 0).mean(axis=(1, 2)))
)
with tg.no_grad():
    everywhere = F.relu(conv(tg.Tensor(x_test))).numpy()
check("dead filters, silent for every test digit", int((everywhere.max(axis=(0, 2, 3)) == 0).sum()), 0)

say("Which pixels does the score of the 3 depend on? Its gradient with respect to the image.")
saliency, g = (t.numpy() for t in tg.grad(score, [digit, z]))
saliency = saliency[0, 0]
strongest = np.unravel_index(np.abs(saliency).argmax(), saliency.shape)
print(f"    most of all on pixel {tuple(map(int, strongest))}: {saliency[strongest]:+.3f} for each unit of brightness")
moved = x_test[chosen : chosen + 1].copy()
moved[(0, 0, *strongest)] += 1e-3
with tg.no_grad():
    rise = (model(tg.Tensor(moved))[0, 3].item() - score.item()) / 1e-3
check("brightened by 0.001, the score moves like that", rise, saliency[strongest], within=0.02)
check("pooling lets one place in a window pass", F.sum_pool2d((g != 0).astype(float), 2).max(), 1)

say("Which filters does it depend on? The linear layer's share of each map, w * activation: they add up to the score.")
pooled = F.max_pool2d(maps[None], 2)[0]
linear = head[3]
shares = (linear.weight.numpy()[3].reshape(8, 3, 3) * pooled).sum(axis=(1, 2))
check("sum of the shares and the bias", shares.sum() + linear.bias.numpy()[3], score.item(), within=1e-4)


def draw(figure):
    from matplotlib.colors import LinearSegmentedColormap

    signed = LinearSegmentedColormap.from_list("signed", [BLUE, "white", ORANGE])
    left, right = figure.subfigures(1, 2, width_ratios=[1, 3])
    upper, lower = left.subplots(2, 1)
    upper.imshow(digit.numpy()[0, 0], cmap="gray")
    upper.set_title("the digit")
    reach = np.abs(saliency).max()
    lower.imshow(saliency, cmap=signed, vmin=-reach, vmax=reach)
    lower.set_title("gradient of its score")
    panels = right.subplots(3, 8)
    for k in range(8):
        reach = np.abs(w).max()
        panels[0, k].imshow(w[k, 0], cmap=signed, vmin=-reach, vmax=reach)
        panels[1, k].imshow(maps[k], cmap="gray", vmin=0, vmax=maps.max())
        panels[2, k].imshow(pooled[k], cmap="gray", vmin=0, vmax=maps.max())
        panels[0, k].set_title(f"{shares[k]:+.1f}", color=ORANGE if shares[k] > 0 else BLUE)
    for row, name in enumerate(("filter", "map", "pooled")):
        panels[row, 0].set_ylabel(name, color=GREY)
    for axes in figure.axes:
        axes.set_xticks([])
        axes.set_yticks([])
    right.suptitle("each filter's share of the score", fontsize=9)


picture(__file__, draw, 7.2, 2.9)
