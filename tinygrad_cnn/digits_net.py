"""The main job: a small CNN, written imperatively, learns to read 8x8 handwritten digits.

Half of the 1797 UCI digits (the first 898) train, the other half (899) test, in the order of the file. A
support-vector machine (scikit-learn's example, gamma = 0.001) reaches 0.969 on it.
"""

import json
import math
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from . import nn, optim
from .data import DataLoader, TensorDataset, digits, random_shift
from .diagram import Picture, draw
from .graph import Tensor
from .interchange import save
from .interchange.atomic import replace_file
from .modes import no_grad
from .nn import functional as F
from .ops.layout import flatten
from .plot import file_of, learning_curves
from .records import watch
from .train.callbacks import bar

SVM_ACCURACY = 0.969


class DigitsNet(nn.Module):
    """conv-conv-pool-conv-pool-fc with BatchNorm: 8x8 images, grey ones by default, to 10 logits.

    (n in_channels 8 8) -> (n num_classes)
    """

    def __init__(
        self, generator: np.random.Generator | None = None, *, num_classes: int = 10, in_channels: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False, generator=generator)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False, generator=generator)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False, generator=generator)
        self.bn3 = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64 * 2 * 2, num_classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.max_pool2d(x, 2)  # 8x8 -> 4x4
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.max_pool2d(x, 2)  # 4x4 -> 2x2
        return self.fc(flatten(x, 1))


def train(
    out: Path | None,
    epochs: int = 40,
    seed: int = 0,
    batch_size: int = 64,
    lr: float = 0.01,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train DigitsNet and write the weights, the metrics, the learning curves and the graph into `out`.

    lr: Adam's first learning rate; it falls to 0 along half a cosine. out None writes nothing.
    report: takes a line of text per epoch.

    Returns the metrics, as in metrics.json: `test_accuracy` after the last epoch, `seconds`, and `history`: per
    epoch train_loss and train_accuracy (while training, on shifted images), test_loss and test_accuracy.
    Raises FloatingPointError as soon as a loss is not finite; nothing is written then.
    """
    if epochs < 1:
        raise ValueError(f"train: epochs={epochs}; at least one is needed")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a folder that cannot be written to fails now, not after training
    began = time.perf_counter()
    # The matrices are small: a second thread costs more than it brings, ten times more on a busy machine.
    with threadpoolctl.threadpool_limits(1, "blas"):
        model, metrics = _fit(epochs, seed, batch_size, lr, report)
    metrics["seconds"] = time.perf_counter() - began
    if out is not None:
        _write(out, model, metrics, report)
    return metrics


def _fit(
    epochs: int, seed: int, batch_size: int, lr: float, report: Callable[[str], None]
) -> tuple[DigitsNet, dict[str, Any]]:
    """The trained model and its metrics."""
    generator = np.random.default_rng(seed)
    images, labels = digits("train")
    test_images, test_labels = (Tensor(array) for array in digits("test"))
    model = DigitsNet(generator)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    batch_size = min(batch_size, len(images))
    loader = DataLoader(TensorDataset(images, labels), batch_size, shuffle=True, drop_last=True, seed=seed)
    history: dict[str, list[float]] = {
        name: [] for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    }
    steps, step = epochs * len(loader), 0
    with _progress(epochs) as numbers:
        for epoch in numbers:
            model.train()
            losses, correct = 0.0, 0
            for x, y in loader:
                for group in optimizer.param_groups:
                    group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
                step += 1
                x = Tensor(random_shift(x.numpy(), 1, generator))
                logits = model(x)
                loss = F.cross_entropy(logits, y, label_smoothing=0.05)
                losses += _finite(loss.item(), epoch, lr) * len(y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                correct += int((logits.argmax(1) == y).sum().item())
            test_loss, test_accuracy = evaluate(model, test_images, test_labels)
            seen = len(loader) * batch_size
            figures = (losses / seen, correct / seen, _finite(test_loss, epoch, lr), test_accuracy)
            for values, figure in zip(history.values(), figures, strict=True):
                values.append(figure)
            report(
                f"epoch {epoch:{len(str(epochs))}}/{epochs}   train loss {figures[0]:.4f} acc {figures[1]:.4f}"
                f"   test loss {test_loss:.4f} acc {test_accuracy:.4f}"
            )
    metrics = {
        "test_accuracy": history["test_accuracy"][-1],
        "svm_test_accuracy": SVM_ACCURACY,
        "epochs": epochs,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "history": history,
    }
    return model, metrics


def _finite(loss: float, epoch: int, lr: float) -> float:
    """The loss itself. Raises FloatingPointError if it is inf or nan."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"train: the loss is {loss} in epoch {epoch}; lr={lr} is too large, try a smaller one")
    return loss


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of the model in eval mode."""
    model.eval()
    with no_grad():
        logits = model(images)
        loss = F.cross_entropy(logits, labels).item()
    return loss, float((logits.argmax(1) == labels).float().mean().item())


@contextmanager
def _progress(epochs: int) -> Iterator[Iterable[int]]:
    """The numbers from 1 to `epochs`, with a bar on a terminal where tqdm is installed."""
    numbers = range(1, epochs + 1)
    tqdm = bar()
    if tqdm is None:
        yield numbers
    else:
        with tqdm(numbers, desc="training", unit="epoch", leave=False, dynamic_ncols=True) as counted:
            yield counted


def _write(out: Path, model: nn.Module, metrics: dict[str, Any], report: Callable[[str], None]) -> None:
    save(model.state_dict(), out / "weights.safetensors")
    replace_file(out / "metrics.json", (json.dumps(metrics, indent=1, allow_nan=False) + "\n").encode())
    picture = _draw(model)
    replace_file(out / "graph.dot", picture.dot().source.encode())
    replace_file(out / "graph.svg", picture.svg().encode())
    replace_file(out / "graph.html", picture.html().encode())
    written = [
        "weights.safetensors",
        "metrics.json",
        "graph.dot",
        "graph.svg",
        "graph.html",
        *_plot(metrics, out / "curves.png", report),
    ]
    report(f"written to {out}:")
    report(textwrap.fill(", ".join(written), 78, initial_indent="  ", subsequent_indent="  "))


def _draw(model: nn.Module) -> Picture:
    """A training step on ten digits, with all that passes; changes the model's gradients and running statistics."""
    images, labels = digits("train")
    x, y = Tensor(images[:10]), Tensor(labels[:10])
    model.train()
    model.zero_grad()
    with watch(images=True):
        loss = F.cross_entropy(model(x), y)
    loss.backward()
    return draw(loss, model, {"digits": x, "labels": y}, view="teach")


def _plot(metrics: dict[str, Any], path: Path, report: Callable[[str], None]) -> list[str]:
    """Loss and accuracy per epoch as a picture."""
    history = metrics["history"]
    try:
        figure = learning_curves(history, labels={"train": "train (shifted, smoothed labels)"})
    except ImportError:
        report("no curves.png: matplotlib is missing (pip install 'tinygrad_cnn[plot]')")
        return []
    left, right = figure.axes
    left.set_title("cross-entropy")
    left.set_ylim(bottom=0)
    right.axhline(SVM_ACCURACY, color="#6B6B6B", linewidth=1, label=f"support-vector machine, {SVM_ACCURACY}")
    right.set_ylim(top=1.005)
    if metrics["epochs"] > 20:  # the first epochs, far below, would flatten the others
        right.set_ylim(bottom=min(0.85, history["train_accuracy"][-1] - 0.05, history["test_accuracy"][-1] - 0.05))
    right.legend(frameon=False)
    replace_file(path, file_of(figure, "png"))
    return [path.name]
