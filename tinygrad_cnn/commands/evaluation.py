"""How good a trained network is on a part of the data."""

from __future__ import annotations

from typing import Any

from .. import metrics
from ..nn import CrossEntropyLoss
from ..train import evaluate

__all__ = ["measure", "table"]

MOST = 20  # classes whose confusion matrix is printed


def measure(model: Any, loader: Any, names: list[str]) -> dict[str, Any]:
    """accuracy, loss, images, the figures of each class, and the confusion matrix, as numbers, lists and dicts.

    Of a class that never occurs or is never predicted, what cannot be divided is 0.
    """
    figures = {"accuracy": metrics.Accuracy(), "confusion": metrics.ConfusionMatrix(len(names))}
    found = evaluate(model, loader, CrossEntropyLoss(), figures)
    matrix = found["confusion"]
    each = metrics.precision_recall_f1(matrix)
    classes = [
        {"class": name, "images": int(row.sum()), "precision": float(p), "recall": float(r), "f1": float(f1)}
        for name, row, p, r, f1 in zip(names, matrix, *each, strict=True)
    ]
    return {
        "accuracy": found["accuracy"],
        "loss": found["loss"],
        "images": int(matrix.sum()),
        "classes": classes,
        "confusion": matrix.tolist(),
    }


def table(measured: dict[str, Any]) -> str:
    """The figures for readers."""
    classes, matrix = measured["classes"], measured["confusion"]
    names = [str(line["class"]) for line in classes]
    if names != [str(k) for k in range(len(names))]:
        names = [f"{k} {name}" for k, name in enumerate(names)]
    width = max(5, *map(len, names))
    lines = [f"accuracy {measured['accuracy']:.4f}  loss {measured['loss']:.4f}  {measured['images']} images", ""]
    lines.append(f"{'class':{width}}  images  precision  recall      f1")
    for name, line in zip(names, classes, strict=True):
        figures = f"{line['precision']:9.4f}  {line['recall']:6.4f}  {line['f1']:6.4f}"
        lines.append(f"{name:{width}}  {line['images']:6}  {figures}")
    if len(classes) > MOST:
        return "\n".join([*lines, "", f"the confusion matrix of {len(classes)} classes is in --json"])
    cell = max(len(str(len(names) - 1)), *(len(str(count)) for row in matrix for count in row))
    lines += ["", "rows are true classes, columns predicted ones"]
    lines.append(" " * width + "".join(f"  {k:>{cell}}" for k in range(len(names))))
    for name, row in zip(names, matrix, strict=True):
        lines.append(f"{name:{width}}" + "".join(f"  {count or '.':>{cell}}" for count in row))
    return "\n".join(lines)
