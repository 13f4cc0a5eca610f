"""A LeNet reads more than 90 percent of handwritten digits: trained by a plain loop, in seconds.

    python examples/16_lenet_mnist.py [folder] [mnist]

With `mnist`, a folder that holds MNIST/raw with its four files, LeNet-5 learns MNIST, else a smaller
one the 8x8 digits that come with the package. Source: Piotr Skalski, Gentle Dive into Math Behind Convolutional
Neural Networks, Towards Data Science (2019), whose NumPy network reaches 90 percent of MNIST.
"""

import sys

import numpy as np
from checks import check, say
from figures import BLUE, ORANGE, calm, picture

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import MNIST, DataLoader, TensorDataset
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import LeNet5


class SmallLeNet(nn.Module):
    """LeNet for 8x8 images, with batch normalisation: two convolutions, each with its pooling, and two dense layers."""

    def __init__(self, generator):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, generator=generator)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 48, 3, padding=1, generator=generator)
        self.bn2 = nn.BatchNorm2d(48)
        self.fc1 = nn.Linear(48 * 2 * 2, 64, generator=generator)
        self.fc2 = nn.Linear(64, 10, generator=generator)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)  # (n 16 4 4)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)  # (n 48 2 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def mnist(root, train):
    """(n 1 32 32) in 0 to 1, with labels."""
    data = MNIST(root, train=train)
    return F.pad(data.images.astype(np.float32) / 255, (2, 2, 2, 2)), data.targets


def accuracy(model, images, labels):
    model.eval()
    with tg.no_grad():
        guesses = [model(tg.Tensor(images[i : i + 500])).argmax(1).numpy() for i in range(0, len(images), 500)]
    return float((np.concatenate(guesses) == labels).mean())


generator = np.random.default_rng(0)
if len(sys.argv) > 2:
    train, test = mnist(sys.argv[2], train=True), mnist(sys.argv[2], train=False)
    model, epochs, size = LeNet5(generator=generator), 1, 64
else:
    train, test = tg.data.digits("train"), tg.data.digits("test")
    model, epochs, size = SmallLeNet(generator), 8, 32

say(f"{len(train[0])} digits to learn, {len(test[0])} to test.")
count = sum(p.numel() for p in model.parameters())
check("parameters", count, 61_706 if isinstance(model, LeNet5) else 20_250)
model.eval()
first = F.cross_entropy(model(tg.Tensor(train[0][:500])), train[1][:500]).item()
check("the first loss is near ln 10 = 2.3026", abs(first - np.log(10)) < 0.4, True)

say("Parts that the texts list: batch normalisation, dropout, and three rules for a step of 0.1 at slope 2.")
z = nn.BatchNorm2d(3)(tg.Tensor(np.random.default_rng(1).normal(5, 3, (8, 3, 4, 4)).astype(np.float32))).numpy()
check("batch normalisation: means", z.mean(axis=(0, 2, 3)), [0, 0, 0], within=1e-6)
check("    variances", z.var(axis=(0, 2, 3)), [1, 1, 1], within=1e-4)
kept = F.dropout(tg.ones(10_000), 0.2, generator=np.random.default_rng(2)).numpy()
check("dropout of 0.2: a number is 0 or 1/(1 - 0.2)", np.unique(kept), [0, 1.25])
check("    so that the mean stays", kept.mean(), 1, within=0.02)
check("    nothing in evaluation", F.dropout(tg.ones(4), 0.2, training=False), [1, 1, 1, 1])
for rule, wanted in ((optim.SGD, 0.2), (optim.RMSprop, 0.1 / (1 - 0.99) ** 0.5), (optim.Adam, 0.1)):
    at = nn.Parameter(tg.tensor([3.0]))
    (2 * at).sum().backward()
    rule([at], lr=0.1).step()
    check(f"{rule.__name__}: how far it moves", 3 - at.item(), wanted, within=1e-5)

optimizer = optim.Adam(model.parameters(), lr=0.01 if epochs > 1 else 0.001)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
losses, accuracies = [], []
for epoch in range(1, epochs + 1):
    model.train()
    for x, y in DataLoader(TensorDataset(*train), size, shuffle=True, seed=epoch):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    schedule.step()
    accuracies.append(accuracy(model, *test))
    mean = np.mean(losses[-(len(losses) // epoch) :])
    print(f"    epoch {epoch}   loss {mean:.3f}   test accuracy {accuracies[-1]:.3f}")
check("the last batches cost less than a tenth of the first", np.mean(losses[-10:]) < first / 10, True)
check("more than 90 percent of digits never seen", accuracies[-1] > 0.9, True)


def draw(figure):
    left, right = figure.subplots(1, 2)
    steps = np.linspace(1 / len(losses), epochs, len(losses))
    left.semilogy(steps, losses, color=BLUE, alpha=0.3, linewidth=0.8)
    span = max(1, len(losses) // 30)
    left.semilogy(steps[span - 1 :], np.convolve(losses, np.full(span, 1 / span), "valid"), color=BLUE)
    calm(left, "loss of every batch, and smoothed", "epoch")
    right.plot(range(1, epochs + 1), accuracies, "s-", color=ORANGE)
    right.axhline(0.9, color="black", linestyle=":", linewidth=1)
    right.text(epochs, 0.898, "90 percent", ha="right", va="top", fontsize=8)
    calm(right, "test accuracy", "epoch")


picture(__file__, draw, 7.0, 2.5)
