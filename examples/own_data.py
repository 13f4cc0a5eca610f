"""A folder of pictures as data: read, changed at random by threads that work ahead, and learnt.

    python examples/own_data.py

The pictures are drawn here, into a folder that is removed at the end; yours would be root/class/picture.png.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import DataLoader, ImageFolder, SyntheticImages, random_split, read_image
from tinygrad_cnn.data import transforms as T
from tinygrad_cnn.nn import functional as F

CLASSES, SIZE = 3, 20


def write_pictures(root: Path) -> None:
    """root/<class>/<number>.pgm"""
    drawn = SyntheticImages(480, size=SIZE, classes=CLASSES)
    for number, (image, label) in enumerate(drawn):
        folder = root / drawn.classes[label]
        folder.mkdir(exist_ok=True)
        header = f"P5 {SIZE} {SIZE} 255\n".encode()
        (folder / f"{number:03}.pgm").write_bytes(header + image.tobytes())


def grey(path: str) -> np.ndarray:
    return read_image(path, "GRAY")  # (1 h w), bytes


def loaders(root: Path) -> tuple[DataLoader, DataLoader]:
    """Batches for training, with random changes, and for testing, without."""
    values = [T.ToTensor(), T.Normalize(0.3, 0.25)]
    varied = T.Compose([T.RandomRotation(10), T.RandomCrop(SIZE, padding=2, padding_mode="edge"), *values])
    train, _ = random_split(ImageFolder(root, varied, loader=grey), [0.75, 0.25], seed=0)
    _, test = random_split(ImageFolder(root, T.Compose(values), loader=grey), [0.75, 0.25], seed=0)
    return DataLoader(train, 32, shuffle=True, seed=0, num_workers=2), DataLoader(test, 60, num_workers=2)


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with tg.no_grad():
        right = [(model(x).argmax(1) == y).numpy() for x, y in loader]
    return float(np.concatenate(right).mean())


with TemporaryDirectory() as folder:
    write_pictures(Path(folder))
    train, test = loaders(Path(folder))
    print(f"{len(train.dataset)} pictures to train, {len(test.dataset)} to test")
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * (SIZE // 4) ** 2, CLASSES),
    )  # fmt: skip
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.003)
    for epoch in range(1, 6):
        model.train()
        losses = []
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}   train loss {np.mean(losses):.3f}   test accuracy {accuracy(model, test):.3f}")
