"""Plots of training with matplotlib (the extra `plot`): curves, filters, feature maps, images, confusion matrices.

Each function returns a matplotlib Figure that belongs to nobody: pyplot and its global state are not used. It shows
itself at the end of a notebook cell, and `save=` writes it (.png, .svg, .pdf), replacing a file there in one step.
Names and labels are drawn as they are: `$` begins no mathematics.
Blue and orange can be told apart with every form of colour blindness; of values with a sign zero is white.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import Array, Tensor
from .interchange.atomic import replace_file
from .nn import ConvTranspose2d, Module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "feature_maps", "filters", "images", "learning_curves"]

Path_ = str | os.PathLike[str]

BLUE, ORANGE = "#00619A", "#B34700"
GAP = "#B4B4B4"  # between tiles, darker than the white of zero
ALONE = ("epoch", "lr", "seconds")  # figures of an epoch that say nothing of the model


def learning_curves(
    history: Any,
    names: Sequence[str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    save: Path_ | None = None,
) -> Figure:
    """A panel for each figure of training (loss, accuracy, ...) over the epochs: train dashed, valid or test solid.

    history: what `fit` returns, a list of dicts with a dict per epoch, or a dict of lists. Of a figure that some dicts
    lack, or that is nan, the line has a gap.
    names: which figures, by default all but lr and seconds; "loss" stands for train_loss, valid_loss and test_loss.
    labels: texts for the legend in the place of "train", "valid" and "test".

    Raises ValueError if there is no epoch, or none of a figure that is named, TypeError for what is no history.
    """
    columns = _columns(history)
    if isinstance(names, str):
        raise TypeError(f"learning_curves: names={names!r}; a list of names is needed; give [{names!r}]")
    panels: dict[str, dict[str, list[float]]] = {}
    for column, values in columns.items():
        part, _, rest = column.partition("_")
        name, part = (rest, part) if part in ("train", "valid", "test") and rest else (column, "")
        panels.setdefault(name, {})[part] = values
    wanted = [name for name in panels if name not in ALONE] if names is None else list(names)
    if missing := [name for name in wanted if name not in panels]:
        raise ValueError(f"learning_curves: no {', '.join(missing)} in the history; there are {', '.join(panels)}")
    if not wanted:
        raise ValueError("learning_curves: the history holds no figures; train an epoch first")
    epochs = columns.get("epoch") or list(range(1, 1 + max(len(values) for values in columns.values())))
    across = min(3, len(wanted))
    down = math.ceil(len(wanted) / across)
    figure = _figure(4.6 * across, 3.5 * down)
    for axes, name in zip(figure.subplots(down, across, squeeze=False).flat, wanted, strict=False):
        for part, values in panels[name].items():
            style = ("--", BLUE, "o") if part == "train" else ("-", ORANGE, "s") if part else ("-", BLUE, "o")
            numbers = _numbers(name, values)
            # A value alone, of one epoch or between gaps, is no line.
            marker = style[2] if len(epochs) <= 20 or np.isnan(numbers).any() else ""
            text = (labels or {}).get(part, part)
            axes.plot(epochs, numbers, style[0], color=style[1], marker=marker, markersize=3.5, label=text)
        axes.set_title(name.replace("_", " "), parse_math=False)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.03)
        if len(epochs) == 1:
            axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
            axes.set_xticks(epochs)
        if any(panels[name]):
            for drawn in axes.legend(frameon=False).get_texts():
                drawn.set_parse_math(False)
        _calm(axes)
    for axes in list(figure.axes)[len(wanted) :]:
        axes.remove()
    return _done(figure, save)


def filters(
    weight: Any, *, columns: int | None = None, each: bool = False, limit: int = 512, save: Path_ | None = None
) -> Figure:
    """The kernels of a convolution as small pictures: orange above 0, blue below, in one scale for all.

    weight: a convolution, or its weight (o c kh kw). With one channel a tile per filter; with three each is a colour
    picture, in which grey is 0; with more a row of tiles per filter. each=True scales every tile by itself. Of a
    ConvTranspose2d give the module: its weight begins with the inputs, and the filters shown are those of its outputs.
    limit: how many tiles are shown at most; the title says what is left out.
    """
    w = _finite("filters", getattr(weight, "weight", weight) if isinstance(weight, Module) else weight)
    if w.ndim != 4 or not w.size:
        raise ValueError(
            f"filters: the weight has shape {w.shape}; (out_channels, in_channels, kh, kw) is needed; "
            "give a convolution or its weight"
        )
    if isinstance(weight, ConvTranspose2d):  # (in, out / groups, kh, kw)
        groups, kernel = weight.groups, w.shape[2:]
        by_group = w.reshape(groups, len(w) // groups, w.shape[1], *kernel)
        w = by_group.swapaxes(1, 2).reshape(groups * w.shape[1], len(w) // groups, *kernel)
    limit = _at_least_one("filters", "limit", limit)
    o, c = w.shape[:2]
    if c in (1, 3):
        shown, note = w[:limit], f"{min(o, limit)} of {o} filters" if o > limit else _count(o, "filter")
        tiles = shown.transpose(0, 2, 3, 1)
    else:
        wide = min(c, 32, limit)
        high = max(1, min(o, limit // wide, 32))
        shown = w[:high, :wide]
        tiles = shown.reshape(high * wide, *w.shape[2:], 1)
        columns = wide
        note = f"{high} of {o} filters" if high < o else _count(o, "filter")
        note += f" (rows), {wide} of {c} channels" if wide < c else f" (rows) of {c} channels"
    largest = np.abs(tiles).max(axis=(1, 2, 3) if each else None, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    title = f"{note}, {w.shape[2]}x{w.shape[3]}" + (", each in its own scale" if each else "")
    if c == 3:
        return _mosaic(0.5 + tiles / largest / 2, columns, title, save)
    reach = 1.0 if each else float(largest.max())
    return _mosaic(tiles / largest if each else tiles, columns, title, save, _signed(), (-reach, reach), bar=not each)


def feature_maps(
    x: Any, index: int = 0, *, columns: int | None = None, limit: int = 512, save: Path_ | None = None
) -> Figure:
    """The channels of an image inside a network as small pictures, all in one scale with a bar.

    (n c h w), of which image `index` is shown, or (c h w). Values of both signs are orange above 0 and blue below;
    values from 0 up are darker the higher they are. limit: how many channels are shown at most.
    """
    maps = _finite("feature_maps", x)
    if maps.ndim == 4:
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise TypeError(f"feature_maps: index={index!r}; a whole number is needed")
        if not -len(maps) <= index < len(maps):
            raise IndexError(f"feature_maps: index={index} of {len(maps)} images")
        maps = maps[index]
    if maps.ndim != 3 or not maps.size:
        raise ValueError(f"feature_maps: x has shape {np.shape(_array(x))}; (n, c, h, w) or (c, h, w) is needed")
    limit = _at_least_one("feature_maps", "limit", limit)
    c, h, w = maps.shape
    title = f"{limit} of {c} channels, {h}x{w}" if c > limit else f"{_count(c, 'channel')}, {h}x{w}"
    maps = maps[:limit]
    low, high = float(maps.min()), float(maps.max())
    if low < 0:
        reach = max(-low, high)
        return _mosaic(maps[..., None], columns, title, save, _signed(), (-reach, reach), bar=True)
    return _mosaic(maps[..., None], columns, title, save, _rising(), (0.0, high or 1.0), bar=True)


def images(
    x: Any,
    labels: Any = None,
    predictions: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    columns: int | None = None,
    limit: int = 64,
    save: Path_ | None = None,
) -> Figure:
    """Images with their labels; a wrong prediction stands in orange, as "8 / not 3".

    (n c h w) or (c h w), with one channel grey, with three in colour; labels and predictions (n), (n 1) or lists.
    Values in 0 to 1, and bytes (uint8) in 0 to 255, are shown as they are; others are scaled together, which the title
    says. limit: how many images are shown at most.

    A prediction is right if it equals the label as a value: 1, 1.0 and Tensor(1) are the same. Raises ValueError if
    there is not one label or prediction for each image.
    """
    given = _finite("images", x)
    pixels = given[None] if given.ndim == 3 else given
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or not pixels.size:
        raise ValueError(f"images: x has shape {given.shape}; (n, 1, h, w) or (n, 3, h, w) is needed")
    limit = _at_least_one("images", "limit", limit)
    n = len(pixels)
    notes = [f"{limit} of {n} images"] if n > limit else []
    if _array(x).dtype == np.uint8:
        pixels = pixels / 255
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / (high - low or 1.0)
        notes.append(f"{low:.3g} is black, {high:.3g} is white")
    captions, colours = _captions(n, labels, predictions, class_names)
    return _mosaic(
        pixels[:limit].transpose(0, 2, 3, 1), columns, ", ".join(notes), save, "gray", (0.0, 1.0),
        captions=captions[:limit], colours=colours[:limit],
    )  # fmt: skip


def confusion_matrix(
    matrix: Any, class_names: Sequence[str] | None = None, *, normalize: bool = False, save: Path_ | None = None
) -> Figure:
    """A confusion matrix, rows true and columns predicted: hits blue, errors orange, each by its share of the row.

    matrix: (c c) counts, as `tinygrad_cnn.metrics.confusion_matrix` gives. normalize=True prints the shares of the rows
    in percent in the place of the counts. Beyond 30 classes nothing is printed in the cells. Raises ValueError for what
    is no count, such as a share.
    """
    counts = _finite("confusion_matrix", matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"confusion_matrix: the matrix has shape {counts.shape}; counts of shape (c, c) are needed")
    if (broken := (counts < 0) | (counts % 1 != 0)).any():
        raise ValueError(
            f"confusion_matrix: the matrix holds {counts[broken][0]:g}; whole numbers >= 0 are needed; "
            "give the counts, and normalize=True for the shares"
        )
    c = len(counts)
    names = [str(i) for i in range(c)] if class_names is None else [str(name) for name in class_names]
    if len(names) != c:
        raise ValueError(f"confusion_matrix: {len(names)} class_names for {c} classes; give one for each")
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    # The square root lifts the few errors out of the white.
    depth = np.sqrt(shares)[..., None]
    ink = np.where(np.eye(c, dtype=bool)[..., None], _rgb(BLUE), _rgb(ORANGE))
    longest = max(map(len, names))
    cell = 0.5 if c <= 12 else 0.42 if c <= 30 else max(0.12, 9 / c)
    margin = 0.09 * min(longest, 30)
    figure = _figure(max(3.2, c * cell + margin + 0.9), max(2.8, c * cell + (margin if longest > 3 else 0.2) + 0.8))
    axes = figure.subplots()
    axes.imshow(1 - depth * (1 - ink), interpolation="nearest")
    size = max(4.0, min(9.0, 72 * cell * 0.75))
    cut = [name if len(name) <= 30 else name[:29] + "…" for name in names]
    axes.set_xticks(range(c), cut, rotation=90 if longest > 3 else 0, fontsize=size, parse_math=False)
    axes.set_yticks(range(c), cut, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(c + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(c + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GAP, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for i, j in np.ndindex(c, c) if c <= 30 else ():
        if counts[i, j]:
            text = (
                f"{100 * shares[i, j]:.{0 if shares[i, j] >= 0.0995 else 1}f}" if normalize else f"{counts[i, j]:.0f}"
            )
            small = min(size, 72 * cell * 1.3 / max(2, len(text)))
            colour = "white" if depth[i, j, 0] > 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=small)
    total = counts.sum()
    accuracy = (
        f"accuracy {np.trace(counts) / total:.4f} ({np.trace(counts):.0f} of {total:.0f})" if total else "no labels"
    )
    axes.set_title(accuracy + (", rows in percent" if normalize else ""), fontsize=10)
    return _done(figure, save)


def _columns(history: Any) -> dict[str, list[float]]:
    """name -> a value per epoch."""
    if isinstance(history, Mapping):
        columns = {name: _epochs(name, values) for name, values in history.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError(
                f"learning_curves: lists of {', '.join(f'{len(v)} {k}' for k, v in columns.items())}; "
                "all need a value per epoch"
            )
    elif isinstance(history, Iterable) and not isinstance(history, (str, bytes)):
        logs = list(history)
        if odd := [entry for entry in logs if not isinstance(entry, Mapping)]:
            raise TypeError(
                f"learning_curves: an epoch of the history is a {type(odd[0]).__name__}; a dict of its figures is "
                "needed"
            )
        names = dict.fromkeys(name for entry in logs for name in entry)
        columns = {name: [entry.get(name, math.nan) for entry in logs] for name in names}
    else:
        raise TypeError(f"learning_curves: history is a {type(history).__name__}; what fit returns is needed")
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError("learning_curves: the history has no epochs; train one first")
    return columns


def _epochs(name: str, values: Any) -> list[Any]:
    """The values of a figure, one for each epoch."""
    alone = values.ndim == 0 if isinstance(values, (np.ndarray, Tensor)) else isinstance(values, (str, bytes))
    if isinstance(values, Iterable) and not alone:
        return list(values)
    raise TypeError(
        f"learning_curves: {name} of the history is a {type(values).__name__}; a list with a number per epoch is "
        "needed; give [history] for one epoch"
    )


def _numbers(name: str, values: Sequence[Any]) -> Array:
    """A number per epoch, nan for None."""
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(())
    if numbers.ndim != 1:
        raise ValueError(f"learning_curves: {name} holds {values!r:.60}; a number per epoch is needed")
    return numbers


def _captions(n: int, labels: Any, predictions: Any, class_names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """A text and a colour for each image."""
    given = {
        name: _each(name, values, n)
        for name, values in (("labels", labels), ("predictions", predictions))
        if values is not None
    }
    texts = {name: [_caption(name, value, class_names) for value in values] for name, values in given.items()}
    if len(given) < 2:
        return next(iter(texts.values()), [""] * n), ["black"] * n
    wrong = [
        guess != right and _text(guess) != _text(right)  # nan is nan, and "3" is 3
        for guess, right in zip(given["predictions"], given["labels"], strict=True)
    ]
    captions = [
        f"{guess}\nnot {right}" if bad else guess
        for guess, right, bad in zip(texts["predictions"], texts["labels"], wrong, strict=True)
    ]
    return captions, [ORANGE if bad else "black" for bad in wrong]


def _each(what: str, values: Any, n: int) -> list[Any]:
    """The value for each image, a plain object of Python: of (n) or (n 1), or of a list of values or arrays of one."""
    needed = "one value for each{} is needed" + "; give scores.argmax(1)" * (what == "predictions")
    if isinstance(values, (list, tuple)):
        cells = [
            _array(value) if isinstance(value, (Tensor, np.ndarray, np.generic)) else np.array(value, object)
            for value in values
        ]
        if uneven := [cell.shape for cell in cells if cell.size != 1]:
            raise ValueError(f"images: {what} hold a value of shape {uneven[0]}; {needed.format(' image')}")
        found = [cell.item() for cell in cells]
    else:
        array = _array(values)
        if not array.ndim or array.size != len(array):
            raise ValueError(f"images: {what} have shape {array.shape} for {n} images; {needed.format('')}")
        found = array.ravel().tolist()
    if len(found) != n:
        raise ValueError(f"images: {len(found)} {what} for {n} images; give one for each")
    return found


def _text(value: Any) -> str:
    """1 for 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)


def _caption(what: str, value: Any, class_names: Sequence[str] | None) -> str:
    """The text of a value, or the name of the class that it numbers."""
    if class_names is None:
        return _text(value)
    place = _text(int(value) if isinstance(value, bool) else value)
    if not place.isdecimal() or int(place) >= len(class_names):
        raise ValueError(
            f"images: {what} hold {value}, class_names are {len(class_names)}; "
            f"whole numbers from 0 to {len(class_names) - 1} are needed"
        )
    return str(class_names[int(place)])


def _mosaic(
    tiles: Array,
    columns: int | None,
    title: str,
    save: Path_ | None,
    colours_of: Any = None,
    limits: tuple[float, float] | None = None,
    *,
    bar: bool = False,
    captions: Sequence[str] = (),
    colours: Sequence[str] = (),
) -> Figure:
    """(n h w 1 or 3) as one picture of tiles with gaps: one drawing, however many there are."""
    n, h, w, channels = tiles.shape
    if columns is None:
        columns = min(n, max(1, math.ceil(math.sqrt(n * 1.6 * h / w))))
    columns = min(n, _at_least_one("plot", "columns", columns))
    rows = math.ceil(n / columns)
    grow = max(1, round(24 / max(h, w)))  # so that a gap can be thinner than a pixel of a small tile
    h, w = h * grow, w * grow
    gap = max(1, round(0.08 * max(h, w)))
    above = round((0.2 + 0.18 * any("\n" in text for text in captions)) * max(h, w)) if any(captions) else 0
    sheet = np.full((rows * (h + gap + above) + gap, columns * (w + gap) + gap, channels), np.nan)
    corners = []
    for i, tile in enumerate(tiles):
        top, left = gap + above + i // columns * (h + gap + above), gap + i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = tile.repeat(grow, axis=0).repeat(grow, axis=1)
        corners.append((top, left))
    if channels == 3:
        sheet = np.where(np.isnan(sheet), 1.0 if any(captions) else _rgb(GAP), sheet)
    width = min(11.0, max(2.4, 0.3 * columns + 1.2, columns * (0.85 if any(captions) else 0.5)))
    height = width * sheet.shape[0] / sheet.shape[1]
    if height > 14:
        width, height = max(2.4, width * 14 / height), 14.0
    figure = _figure(width + (0.8 if bar else 0.0), height + (0.4 if title else 0.0))
    axes = figure.subplots()
    if channels == 3:
        axes.imshow(sheet, interpolation="nearest")
    else:
        from matplotlib import colormaps

        chosen = colormaps[colours_of] if isinstance(colours_of, str) else colours_of
        chosen = chosen.with_extremes(bad="white" if any(captions) else GAP)
        low, high = limits or (None, None)
        shown = axes.imshow(sheet[..., 0], cmap=chosen, vmin=low, vmax=high, interpolation="nearest")
        if bar:
            scale = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02, aspect=25)
            scale.outline.set_visible(False)
            scale.ax.tick_params(labelsize=8)
    points = 72 * width * w / sheet.shape[1]  # of a tile
    for caption, colour, (top, left) in zip(captions, colours, corners, strict=False):
        if not caption:
            continue
        lines = caption.split("\n")
        size = max(5.0, min(9.0, points * 0.16, points * 1.5 / max(3, *map(len, lines))))
        fit = max(3, int(points * 1.6 / size))
        text = "\n".join(line if len(line) <= fit else line[: fit - 1] + "…" for line in lines)
        axes.text(
            left + w / 2, top - 0.02 * h, text, ha="center", va="bottom", color=colour, fontsize=size, linespacing=1,
            parse_math=False,
        )  # fmt: skip
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=9)
    return _done(figure, save)


def _figure(width: float, height: float) -> Figure:
    """An empty figure that a notebook shows."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("tinygrad_cnn.plot: matplotlib is not installed; pip install 'tinygrad_cnn[plot]'") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    vars(figure)["_repr_png_"] = lambda: file_of(figure, "png")  # what IPython asks a result for
    return figure


def file_of(figure: Figure, form: str) -> bytes:
    """The bytes of a figure's file."""
    content = io.BytesIO()
    figure.savefig(content, format=form, dpi=150)
    return content.getvalue()


def _done(figure: Figure, save: Path_ | None) -> Figure:
    """The figure, written if that is asked for."""
    if save is not None:
        form = Path(save).suffix.removeprefix(".").lower()
        if form not in (known := sorted(figure.canvas.get_supported_filetypes())):
            raise ValueError(f"plot: save={os.fspath(save)!r}; the name must end in one of {', '.join(known)}")
        replace_file(save, file_of(figure, form))
    return figure


def _calm(axes: Any) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _signed() -> Any:
    """Blue below zero, white at it, orange above."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(
        "signed", ["#003A5C", BLUE, "#8FC1DE", "white", "#F2B48A", ORANGE, "#6B2A00"]
    )


def _rising() -> Any:
    """White at zero, then blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("rising", ["white", "#8FC1DE", BLUE, "#00243A"])


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)


def _array(value: Any) -> Array:
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def _finite(name: str, value: Any) -> Array:
    """The numbers as float64, refused if one is nan or inf."""
    array = _array(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: values of {array.dtype}; numbers are needed")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name}: {int((~np.isfinite(array)).sum())} of {array.size} values are nan or inf, which no colour shows"
        )
    return array


def _at_least_one(name: str, option: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name}: {option}={value!r}; a whole number >= 1 is needed")
    return int(value)
