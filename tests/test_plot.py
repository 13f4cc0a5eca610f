"""Plots: what is drawn is what was given, nothing is left out silently, and no global state is touched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, plot

pytest.importorskip("matplotlib", reason="plots are drawn by matplotlib")

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)


def history(epochs):
    return [{"epoch": i + 1, "train_loss": 3.0 - i, "valid_loss": 3.5 - i, "train_accuracy": i / 9, "figure": 1.0 * i,
             "lr": 0.1, "seconds": 1.0} for i in range(epochs)]  # fmt: skip


def sheet(figure):
    """The picture of tiles; gaps are nan in a plain one."""
    (image,) = figure.axes[0].images
    return np.ma.filled(image.get_array().astype(float), np.nan)


def shades(figure):
    """The values of all tiles."""
    pixels = sheet(figure)
    return set(pixels[~np.isnan(pixels)].tolist())


def title(figure):
    return figure.axes[0].get_title()


# Curves


def test_each_figure_has_its_panel_and_each_part_its_line():
    figure = plot.learning_curves(history(3))
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["loss", "accuracy", "figure"]
    train, valid = panels["loss"].lines
    assert (train.get_label(), train.get_linestyle(), train.get_color()) == ("train", "--", "#00619A")
    assert (valid.get_label(), valid.get_linestyle(), valid.get_color()) == ("valid", "-", "#B34700")
    assert train.get_xdata().tolist() == [1, 2, 3]
    assert valid.get_ydata().tolist() == [3.5, 2.5, 1.5]
    assert panels["figure"].get_legend() is None
    assert panels["loss"].get_legend() is not None


def test_curves_are_drawn_of_all_that_holds_figures_by_epoch():
    wanted = [line.get_ydata().tolist() for axes in plot.learning_curves(history(2)).axes for line in axes.lines]
    logged = tg.train.History()
    logged.logs = history(2)
    by_name = {name: [logs[name] for logs in history(2)] for name in history(1)[0] if name != "epoch"}
    for given in (logged, by_name):
        figure = plot.learning_curves(given)
        assert [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines] == wanted
        assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2]


def test_named_figures_are_drawn_and_a_single_epoch_is_a_point():
    figure = plot.learning_curves(history(1), ["lr", "seconds", "loss", "figure"], labels={"train": "training set"})
    assert [axes.get_title() for axes in figure.axes] == ["lr", "seconds", "loss", "figure"]
    line = figure.axes[2].lines[0]
    assert (line.get_marker(), line.get_label()) == ("o", "training set")
    assert figure.axes[0].get_xticks().tolist() == [1]
    assert plot.learning_curves(history(30)).axes[0].lines[0].get_marker() in ("", "None")


def test_a_dict_may_hold_arrays_and_tensors():
    figure = plot.learning_curves(
        {"loss": np.array([2.0, 1.0]), "accuracy": tg.Tensor([0.5, 0.75]), "epoch": range(3, 5)}
    )
    assert [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines] == [[2.0, 1.0], [0.5, 0.75]]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [3, 4]
    assert plot.learning_curves({"loss": iter([2, 1])}).axes[0].lines[0].get_ydata().tolist() == [2.0, 1.0]


# Tiles


@pytest.mark.parametrize(
    ("shape", "limit", "wanted"),
    [
        ((1, 1, 3, 3), 512, "1 filter, 3x3"),
        ((512, 1, 5, 3), 512, "512 filters, 5x3"),
        ((40, 3, 7, 7), 30, "30 of 40 filters, 7x7"),
        ((6, 4, 3, 3), 512, "6 filters (rows) of 4 channels, 3x3"),
        ((40, 64, 3, 3), 512, "16 of 40 filters (rows), 32 of 64 channels, 3x3"),
    ],
)
def test_a_title_says_how_many_filters_there_are_and_are_shown(shape, limit, wanted):
    assert title(plot.filters(RNG.normal(size=shape), limit=limit)) == wanted


def tiles_of(pixels, gap):
    """The distinct tiles in a sheet of (h w) pixels: runs of what is no gap, by rows and columns."""
    rows, columns = (~gap.all(axis=axis) for axis in (1, 0))

    def runs(inside):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        return list(zip(edges[::2], edges[1::2], strict=True))

    return [pixels[a:b, c:d] for a, b in runs(rows) for c, d in runs(columns) if not gap[a:b, c:d].all()]


@pytest.mark.parametrize(("o", "c"), [(5, 1), (3, 2)])
def test_every_weight_is_in_its_place(o, c):
    layer = nn.Conv2d(c, o, (3, 2), generator=np.random.default_rng(1))
    figure = plot.filters(layer)
    pixels = sheet(figure)
    tiles = tiles_of(pixels, np.isnan(pixels))
    w = layer.weight.numpy().reshape(o * c, 3, 2)
    assert len(tiles) == o * c
    for tile, kernel in zip(tiles, w, strict=True):
        grow = tile.shape[0] // 3
        assert np.array_equal(tile, kernel.astype(float).repeat(grow, 0).repeat(grow, 1))
    low, high = figure.axes[0].images[0].get_clim()
    assert -low == high == np.abs(w).max()  # zero is white
    assert len(figure.axes) == 2  # with a bar


def test_filters_of_a_transposed_convolution_are_those_of_its_outputs():
    layer = nn.ConvTranspose2d(2, 5, (3, 4), generator=np.random.default_rng(1))
    figure = plot.filters(layer)
    assert title(figure) == "5 filters (rows) of 2 channels, 3x4"
    turned = layer.weight.numpy().transpose(1, 0, 2, 3)
    assert np.array_equal(sheet(figure), sheet(plot.filters(turned)), equal_nan=True)
    assert not np.array_equal(turned, layer.weight.numpy().reshape(turned.shape))


def test_filters_of_a_grouped_transposed_convolution_keep_to_their_group():
    """(in, out / groups, kh, kw): the filters of group g are those over its part of the inputs."""
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, generator=np.random.default_rng(2))
    w = layer.weight.numpy()
    wanted = np.array([w[o // 3 * 2 : o // 3 * 2 + 2, o % 3] for o in range(6)])
    figure = plot.filters(layer)
    assert title(figure) == "6 filters (rows) of 2 channels, 3x3"
    assert np.array_equal(sheet(figure), sheet(plot.filters(wanted)), equal_nan=True)


def test_colour_filters_are_grey_at_zero_and_keep_one_scale():
    w = np.zeros((2, 3, 1, 1))
    w[0, 0], w[1, 2] = 4.0, -2.0
    pixels = sheet(plot.filters(w))
    found = {tuple(colour) for colour in pixels.reshape(-1, 3).round(6).tolist()}
    assert {(1.0, 0.5, 0.5), (0.5, 0.5, 0.25)} <= found
    assert {(0.5, 0.5, 0.0)} <= {tuple(c) for c in sheet(plot.filters(w, each=True)).reshape(-1, 3).tolist()}
    assert title(plot.filters(w, each=True)) == "2 filters, 1x1, each in its own scale"


def test_feature_maps_show_one_image_with_zero_in_the_middle_or_at_the_end():
    x = RNG.normal(size=(3, 6, 4, 5))
    figure = plot.feature_maps(tg.Tensor(x), 1)
    low, high = figure.axes[0].images[0].get_clim()
    assert -low == high == np.abs(x[1]).max()
    assert title(figure) == "6 channels, 4x5"
    assert shades(figure) == set(x[1].ravel().tolist())
    assert plot.feature_maps(np.abs(x), -1).axes[0].images[0].get_clim() == (0.0, np.abs(x[2]).max())
    assert title(plot.feature_maps(x[0], limit=2)) == "2 of 6 channels, 4x5"
    assert plot.feature_maps(np.zeros((1, 2, 2))).axes[0].images[0].get_clim() == (0.0, 1.0)


def texts(figure):
    return [(text.get_text(), text.get_color()) for text in figure.axes[0].texts]


def test_images_carry_their_labels_and_wrong_predictions_stand_out():
    x = RNG.random((3, 1, 4, 4))
    assert texts(plot.images(x, [3, 8, 1])) == [("3", "black"), ("8", "black"), ("1", "black")]
    figure = plot.images(tg.Tensor(x), tg.Tensor([3, 8, 1]), np.array([3, 3, 1]))
    assert texts(figure) == [("3", "black"), ("3\nnot 8", "#B34700"), ("1", "black")]
    names = ["cat", "a name that is much too long for its tile"]
    shown = texts(plot.images(x, [0, 1, 0], class_names=names, columns=3))
    assert shown[0] == ("cat", "black")
    assert shown[1][0].endswith("…")
    assert names[1].startswith(shown[1][0][:-1])
    assert texts(plot.images(x)) == []


@pytest.mark.parametrize(
    "given",
    [np.array([1.0, 2.0]), np.array([[1], [2]]), [tg.Tensor([1]), tg.Tensor(2)], (np.int8(1), 2.0), [[1], ["2"]],
     tg.Tensor([[1.0], [2.0]]), range(1, 3)],
)  # fmt: skip
def test_a_prediction_is_right_by_its_value_in_whatever_type_and_shape(given):
    x, other = RNG.random((2, 1, 4, 4)), np.array([1, 2], np.uint8)
    right = [("1", "black"), ("2", "black")]
    assert texts(plot.images(x, given)) == right
    assert texts(plot.images(x, given, other)) == texts(plot.images(x, other, given)) == right
    assert texts(plot.images(x, given, other[::-1])) == [("2\nnot 1", "#B34700"), ("1\nnot 2", "#B34700")]
    assert texts(plot.images(x, given, other, class_names="abc")) == [("b", "black"), ("c", "black")]


def test_captions_of_other_values_are_their_own_text():
    x = RNG.random((3, 1, 4, 4))
    shown = texts(plot.images(x, np.array([0.5, np.nan, 1e300]), [0.25, np.nan, 1e300]))
    assert shown == [("0.25\nnot 0.5", "#B34700"), ("nan", "black"), ("1e+300", "black")]
    assert [text for text, _ in texts(plot.images(x, [True, False, True], class_names=["no", "yes"]))] == [
        "yes", "no", "yes"
    ]  # fmt: skip
    same_name = plot.images(x, [0, 1, 0], [0, 0, 1], class_names=["a", "a"])
    assert [colour for _, colour in texts(same_name)] == ["black", "#B34700", "#B34700"]


def test_images_are_shown_as_they_are_or_say_how_they_were_scaled():
    x = np.array([0.0, 0.25, 1.0, 0.5]).reshape(1, 1, 2, 2)
    assert title(plot.images(x)) == ""
    assert shades(plot.images(x)) == {0.0, 0.25, 0.5, 1.0}
    assert shades(plot.images(np.array([[[[0, 51], [102, 0]]]], np.uint8))) == {0.0, 0.2, 0.4}
    assert title(plot.images(x * 8 - 3)) == "-3 is black, 5 is white"
    assert shades(plot.images(x * 8 - 3)) == {0.0, 0.25, 0.5, 1.0}
    assert title(plot.images(RNG.random((70, 3, 2, 2)))) == "64 of 70 images"


# Confusion matrices


def test_a_confusion_matrix_shows_counts_or_percents_and_its_accuracy():
    matrix = np.array([[8, 2], [0, 199]])
    figure = plot.confusion_matrix(matrix, ["a cat", "a dog"])
    assert [text for text, _ in texts(figure)] == ["8", "2", "199"]
    assert title(figure) == "accuracy 0.9904 (207 of 209)"
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a cat", "a dog"]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0}
    assert [text for text, _ in texts(plot.confusion_matrix(matrix, normalize=True))] == ["80", "20", "100"]
    pixels = sheet(figure)
    assert pixels[1, 0].tolist() == [1.0, 1.0, 1.0]
    assert pixels[0, 0, 2] > pixels[0, 0, 0]  # a hit is blue
    assert pixels[0, 1, 0] > pixels[0, 1, 2]  # an error is orange
    assert texts(plot.confusion_matrix(np.ones((31, 31), int))) == []
    assert title(plot.confusion_matrix([[0]])) == "no labels"
    assert title(plot.confusion_matrix(matrix.astype(np.float32))) == title(figure)


ODD = ["$x_{$", "$\\frac$", "$b$"]


def test_dollars_in_texts_are_drawn_as_they_are():
    """Between two of them matplotlib would read mathematics, and fail where that is none."""
    x = RNG.random((3, 1, 4, 4))
    figures = [
        plot.confusion_matrix(np.eye(3, dtype=int), ODD),
        plot.images(x, ODD),
        plot.images(x, [0, 1, 2], [1, 2, 0], class_names=ODD),
        plot.learning_curves([{"train_$x_{$": 1.0, "valid_$x_{$": 1.0}], labels={"train": ODD[1], "valid": ODD[0]}),
    ]
    found = []
    for figure in figures:
        shown = [text for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math")) if text.get_text()]
        found += [text.get_text() for text in shown if "$" in text.get_text()]
        assert plot.file_of(figure, "svg").startswith(b"<?xml")
        assert [text.get_text() for text in shown if "$" in text.get_text() and text.get_parse_math()] == []
    assert {*ODD, "$x_{$\nnot $b$"} <= set(found)


def test_figures_that_come_later_are_drawn_from_there():
    figure = plot.learning_curves([{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0, "valid_loss": 3.0}])
    train, valid = figure.axes[0].lines
    assert train.get_ydata().tolist() == [2.0, 1.0]
    assert np.array_equal(valid.get_ydata(), [np.nan, 3.0], equal_nan=True)
    assert valid.get_label() == "valid"
    assert np.array_equal(plot.learning_curves({"f": [None, 2]}).axes[0].lines[0].get_ydata(), [np.nan, 2], True)
    logs = [{"train_loss": 1.0, **({} if i % 5 else {"valid_loss": 2.0})} for i in range(30)]
    train, valid = plot.learning_curves(logs).axes[0].lines
    assert (train.get_marker(), valid.get_marker()) == ("", "s")  # between gaps there is no line to see
    assert np.flatnonzero(~np.isnan(valid.get_ydata())).tolist() == [0, 5, 10, 15, 20, 25]


# Files, errors, the world outside


@pytest.mark.parametrize(("form", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_saved_in_the_form_of_its_name(tmp_path, form, head):
    figure = plot.filters(np.ones((2, 1, 2, 2)), save=tmp_path / f"x.{form}")
    assert (tmp_path / f"x.{form}").read_bytes().startswith(head)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == [f"x.{form}"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.learning_curves([]), ValueError, "the history has no epochs; train one first"),
        (lambda: plot.learning_curves(3), TypeError, "history is a int; what fit returns is needed"),
        (
            lambda: plot.learning_curves({"loss": [[1], 2]}),
            ValueError,
            r"loss holds \[\[1\], 2\]; a number per epoch is",
        ),
        (lambda: plot.learning_curves({"loss": np.array(0.5)}), TypeError, "loss of the history is a ndarray; a list"),
        (lambda: plot.learning_curves({"loss": tg.Tensor(0.5)}), TypeError, "loss of the history is a Tensor; a list"),
        (lambda: plot.learning_curves("abc"), TypeError, "history is a str; what fit returns is needed"),
        (
            lambda: plot.learning_curves([[1.0, 2.0]]),
            TypeError,
            "an epoch of the history is a list; a dict of its figures",
        ),
        (
            lambda: plot.learning_curves({"loss": 0.5}),
            TypeError,
            r"loss of the history is a float; a list with a number per epoch is needed; give \[history\] for one epoch",
        ),
        (
            lambda: plot.learning_curves({"loss": "abc"}),
            TypeError,
            "loss of the history is a str; a list with a number",
        ),
        (
            lambda: plot.learning_curves(history(1), names="loss"),
            TypeError,
            r"learning_curves: names='loss'; a list of names is needed; give \['loss'\]",
        ),
        (lambda: plot.learning_curves(history(1), ["f1"]), ValueError, "no f1 in the history; there are epoch, loss"),
        (lambda: plot.learning_curves([{"lr": 1}]), ValueError, "the history holds no figures; train an epoch first"),
        (
            lambda: plot.learning_curves({"loss": [1.0, "high"]}),
            ValueError,
            r"learning_curves: loss holds \[1.0, 'high'\]; a number per epoch is needed",
        ),
        (lambda: plot.learning_curves({"loss": [[1, 2]]}), ValueError, r"loss holds \[\[1, 2\]\]; a number per epoch"),
        (
            lambda: plot.learning_curves({"a": [1], "b": []}),
            ValueError,
            "lists of 1 a, 0 b; all need a value per epoch",
        ),
        (
            lambda: plot.filters(np.ones((2, 3))),
            ValueError,
            r"filters: the weight has shape \(2, 3\); \(out_channels, in",
        ),
        (
            lambda: plot.filters(np.full((1, 1, 1, 2), np.nan)),
            ValueError,
            "filters: 2 of 2 values are nan or inf, which",
        ),
        (lambda: plot.filters(["a"]), TypeError, "filters: values of <U1; numbers are needed"),
        (lambda: plot.filters(np.ones((1, 1, 1, 1)), limit=0), ValueError, "filters: limit=0; a whole number >= 1"),
        (lambda: plot.feature_maps(np.ones((2, 3, 4, 4)), 2), IndexError, "feature_maps: index=2 of 2 images"),
        (lambda: plot.feature_maps(np.ones((2, 3, 4, 4)), 0.5), TypeError, "feature_maps: index=0.5; a whole number"),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [0, -1], class_names=["a", "b"]),
            ValueError,
            "images: labels hold -1, class_names are 2; whole numbers from 0 to 1 are needed",
        ),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [0, 1], np.array([1, 2]), class_names=["a", "b"]),
            ValueError,
            "images: predictions hold 2, class_names are 2; whole numbers from 0 to 1 are needed",
        ),
        (lambda: plot.feature_maps(np.ones(3)), ValueError, r"feature_maps: x has shape \(3,\); \(n, c, h, w\) or"),
        (lambda: plot.images(np.ones((1, 2, 4, 4))), ValueError, r"images: x has shape \(1, 2, 4, 4\); \(n, 1, h, w\)"),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [1]),
            ValueError,
            "images: 1 labels for 2 images; give one for each",
        ),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [0, 1], np.ones((2, 10))),
            ValueError,
            r"images: predictions have shape \(2, 10\) for 2 images; one value for each is needed; give scores.argmax",
        ),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [0, [1, 2]]),
            ValueError,
            r"images: labels hold a value of shape \(2,\); one value for each image is needed$",
        ),
        (
            lambda: plot.images(np.ones((1, 1, 4, 4)), 3),
            ValueError,
            r"images: labels have shape \(\) for 1 images; one value for each is needed$",
        ),
        (lambda: plot.images(np.ones((2, 1, 4, 4)), "ab"), ValueError, r"labels have shape \(\) for 2 images; one"),
        (
            lambda: plot.images(np.ones((2, 1, 4, 4)), [0.5, 1], class_names=["a", "b"]),
            ValueError,
            "images: labels hold 0.5, class_names are 2; whole numbers from 0 to 1 are needed",
        ),
        (
            lambda: plot.confusion_matrix(np.ones((2, 3))),
            ValueError,
            r"has shape \(2, 3\); counts of shape \(c, c\) are",
        ),
        (
            lambda: plot.confusion_matrix([[0.9, 0.1], [0.4, 0.6]]),
            ValueError,
            "confusion_matrix: the matrix holds 0.9; whole numbers >= 0 are needed; give the counts, and "
            "normalize=True for the shares",
        ),
        (
            lambda: plot.confusion_matrix(np.array([[3, -1], [0, 2]])),
            ValueError,
            "confusion_matrix: the matrix holds -1; whole numbers >= 0 are needed",
        ),
        (
            lambda: plot.confusion_matrix([[1]], ["a", "b"]),
            ValueError,
            "2 class_names for 1 classes; give one for each",
        ),
        (
            lambda: plot.filters(np.ones((1, 1, 1, 1)), save="x.doc"),
            ValueError,
            "save='x.doc'; the name must end in one",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pyplot_stays_out_of_it():
    program = "import sys, numpy as np; from tinygrad_cnn import plot; plot.filters(np.ones((2, 1, 2, 2))); "
    program += "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["True", "False"]


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib is not installed; pip install 'tinygrad_cnn\[plot\]'"):
        plot.filters(np.ones((2, 1, 2, 2)))
