"""Train a small CNN on handwritten digits with fit: logs, the best weights, a checkpoint to go on from, figures.

    python examples/train_digits.py [folder]

With a folder its files stay there, and a run that was interrupted goes on from the last complete epoch.
"""

import sys
import tempfile
from pathlib import Path

import tinygrad_cnn as tg
from tinygrad_cnn import metrics, nn, optim, train
from tinygrad_cnn.data import DataLoader, TensorDataset, digits


def main(folder: Path) -> None:
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    images, labels = digits("train")
    loader = DataLoader(TensorDataset(images[:700], labels[:700]), 50, shuffle=True, seed=0)
    valid = DataLoader(TensorDataset(images[700:], labels[700:]), 99)

    history = train.fit(
        model, loader, nn.CrossEntropyLoss(label_smoothing=0.05), optimizer,
        epochs=8, valid=valid, metrics=[metrics.accuracy],
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, 0.02, epochs=8, steps_per_epoch=len(loader)),
        callbacks=[
            train.CSVLog(folder / "log.csv"),
            train.BestModel(folder / "best.safetensors", "valid_accuracy", "max", restore=True),
            train.EarlyStopping("valid_loss", patience=4),
        ],
        checkpoint=folder / "checkpoint.safetensors", resume="auto",
    )  # fmt: skip

    matrix = metrics.ConfusionMatrix(10)
    test = DataLoader(TensorDataset(*digits("test")), 128)
    found = train.evaluate(model, test, metrics={"accuracy": metrics.Accuracy(), "matrix": matrix})
    f1 = metrics.precision_recall_f1(found["matrix"], "macro").f1
    print(f"best epoch {history.best('valid_accuracy', 'max')['epoch']}")
    print(f"test accuracy {found['accuracy']:.3f}, macro F1 {f1:.3f}")
    try:
        tg.plot.learning_curves(history, save=folder / "curves.png")
        tg.plot.confusion_matrix(found["matrix"], save=folder / "confusion.png")
    except ImportError as error:
        print(error)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
