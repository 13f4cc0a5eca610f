"""The network that these programs take out: the digits' one, from a file of weights or trained in seconds."""

import argparse

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import optim
from tinygrad_cnn.data import DataLoader, TensorDataset, digits, random_shift
from tinygrad_cnn.digits_net import DigitsNet, evaluate
from tinygrad_cnn.nn import functional as F

EPOCHS = 8


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all programs have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--weights", metavar="FILE", help="weights of DigitsNet, as `python -m tinygrad_cnn` writes "
                        "them; without it a network is trained")  # fmt: skip
    return parser


def trained(weights: str | None = None) -> DigitsNet:
    """DigitsNet, in evaluation."""
    generator = np.random.default_rng(0)
    model = DigitsNet(generator)
    if weights is not None:
        model.load_state_dict(tg.load(weights))
        return model.eval()
    loader = DataLoader(TensorDataset(*digits("train")), 32, shuffle=True, drop_last=True, seed=0)
    optimizer = optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.02, epochs=EPOCHS, steps_per_epoch=len(loader))
    for _ in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            x = tg.Tensor(random_shift(x.numpy(), 1, generator))
            F.cross_entropy(model(x), y, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    images, labels = digits("test")
    print(f"trained; accuracy on the test digits: {evaluate(model, tg.Tensor(images), tg.Tensor(labels))[1]:.3f}")
    return model.eval()
