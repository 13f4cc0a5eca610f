"""`train` on datasets, folders and networks of users: what fits, how pictures are prepared, and what is refused."""

import json
import re
import shutil

import numpy as np
import pytest
from command_line import NET, TINY, call, figures, pictures

import tinygrad_cnn as tg
from tinygrad_cnn.commands import datasets, networks, preparation
from tinygrad_cnn.commands.frame import CommandError
from tinygrad_cnn.data.transforms import Normalize, Resize
from tinygrad_cnn.kernels.parallel import get_num_threads, set_num_threads


def test_early_stopping_is_told(tmp_path, capsys, no_figures):
    out = tmp_path / "run"
    code, stdout, _ = call(capsys, *TINY, "--epochs", 30, "--lr", 1e-9, "--patience", 1, "--seed", 3, "--out", out)
    assert code == 0
    found = figures(out)
    assert found["stopped"].startswith("valid_loss has not improved on ")
    assert found["epochs"] < 30
    assert f"stopped: {found['stopped']}" in stdout


def test_a_folder_of_image_folders_is_learned_and_its_files_are_predicted(tmp_path, capsys, no_figures):
    pictures(tmp_path / "data" / "train", {"dark": 24, "light": 24}, (11, 9))
    pictures(tmp_path / "data" / "test", {"dark": 5, "light": 4}, (9, 12), seed=1)
    out = tmp_path / "run"
    train = ["train", "--data", tmp_path / "data", "--model", "digits", "--size", 8, "--epochs", 4, "--out", out]
    assert call(capsys, *train, "--batch-size", 8, "--json")[0] == 0
    found = figures(out)
    assert [entry["class"] for entry in found["classes"]] == ["dark", "light"]
    assert found["images"] == {"train": 44, "valid": 4, "test": 9}
    assert found["test_accuracy"] == 1.0
    files = [tmp_path / "data" / "test" / name / "0.npy" for name in ("light", "dark")]
    code, stdout, _ = call(capsys, "predict", out, *files, "--top", 1)
    assert code == 0
    assert [line.split()[1] for line in stdout.splitlines()] == ["light", "dark"]
    code, stdout, _ = call(capsys, "predict", out, *files, "--json", "--top", 5)
    entry = json.loads(stdout)["predictions"][0]
    assert entry["image"] == str(files[0])
    assert [guess["class"] for guess in entry["classes"]] == ["light", "dark"]
    assert sum(guess["probability"] for guess in entry["classes"]) == pytest.approx(1)


def test_small_images_are_trained_and_measured_with_their_border(tmp_path, capsys, no_figures):
    out = tmp_path / "run"
    train = ["train", "--model", "lenet5", "--size", 28, "--limit", 8, "--epochs", 1, "--out", out, "--json"]
    code, stdout, _ = call(capsys, *train)
    assert code == 0
    assert json.loads((out / "run.json").read_text())["preparation"]["border"] == [2, 2, 2, 2]
    code, again, _ = call(capsys, "predict", out, "--test", "--json")
    assert (code, json.loads(again)["loss"]) == (0, json.loads(stdout)["test_loss"])


@pytest.mark.parametrize(("name", "shape"), [("synthetic28", (1, 28, 28)), ("synthetic32", (3, 32, 32))])
def test_drawn_images_are_others_in_the_test_part(name, shape, monkeypatch):
    assert [count for count, _ in datasets.DRAWN_IMAGES.values()] == [10_000, 2_000]
    monkeypatch.setattr(datasets, "DRAWN_IMAGES", {k: (20, seed) for k, (_, seed) in datasets.DRAWN_IMAGES.items()})
    train, test, classes = datasets.load(name, "data", False, 0)
    assert train[0][0].shape == test[0][0].shape == shape
    assert not (train.images == test.images).all(axis=(1, 2, 3)).any()
    assert classes == list("0123456789")


def test_images_of_several_sizes_need_a_size(tmp_path, capsys):
    pictures(tmp_path / "data" / "a", {"dark": 3})
    (tmp_path / "data" / "a").rename(tmp_path / "x")
    pictures(tmp_path / "data" / "b", {"light": 3}, (10, 9))
    shutil.move(tmp_path / "x" / "dark", tmp_path / "data" / "b" / "dark")
    code, _, stderr = call(
        capsys, "train", "--data", tmp_path / "data" / "b", "--model", "resnet20", "--out", tmp_path / "run"
    )
    assert code == 1
    assert re.search(r"images of (8x8x3 and 10x9x3|10x9x3 and 8x8x3) \(height, width, channels\)", stderr)
    assert "give --size to resize them" in stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "minst"], "minst: no dataset and no folder; there are digits, mnist, fashion,"),
        (["--data", "mnist", "--data-dir", "nowhere"],
         "MNIST: there is no .*nowhere/MNIST/raw/train-images-idx3-ubyte.gz; give --download, or --data-dir, the fold"),
        (["--data", "cifar10", "--data-dir", "nowhere"], r"CIFAR10: there is no .*; give --download, or --data-dir"),
        (["--model", "lenet5"], "lenet5 is made for 32x32 pixels, the images have 8x8; give --size 32"),
        (["--model", "lenet5", "--size", "27"], "lenet5 is made for 32x32 pixels, the images have 27x27; give --size"),
        (["--model", "vgg11", "--size", "40"], "vgg11 is made for 32x32 pixels, the images have 40x40; give --size 32"),
        (["--limit", "1"], "digits has 1 images to train and 1 to test; at least 2 and 1 are needed"),
        (["--model", "nowhere.py:Net"], "there is no file .*nowhere.py"),
        (["--model", "nowhere.at.all:Net"],
         "nowhere.at.all:Net: importing nowhere.at.all raised ModuleNotFoundError: No module named 'nowhere'"),
    ],
)  # fmt: skip
def test_data_and_networks_that_do_not_fit_exit_1_and_leave_nothing(
    arguments, complaint, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = call(capsys, "train", "--out", tmp_path / "run", *arguments)
    assert (code, stdout) == (1, "")
    assert re.match(f"train: .*{complaint}", stderr)
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Fragile", r"its forward of \(1, 1, 8, 8\) raised RuntimeError: too wide \(.*mynet.py:21\)"),
        ("of_three", r"of images \(1, 1, 8, 8\) it makes \(1, 3\); a number for each class \(1, 10\)"),
        ("refuses", r"making it raised RuntimeError: not today \(.*mynet.py:28\)"),
        ("silent", "made a int; a Module is needed"),
        ("NoTensor", r"its forward of \(1, 1, 8, 8\) gave a int; a Tensor is needed"),
        ("made", "made is a Net; a class, or a function that makes a network, is needed"),
        ("Missing", "mynet.py has no Missing; give a class or a function of it"),
    ],
)
def test_a_network_that_fails_is_told_with_its_place(name, complaint, net, tmp_path, capsys):
    code, _, stderr = call(capsys, "train", "--model", f"{net}:{name}", "--out", tmp_path / "run")
    assert code == 1
    assert re.search(f"^train: .*{complaint}\n$", stderr), stderr
    assert not (tmp_path / "run").exists()


def test_a_network_that_fails_in_training_is_told_with_its_place(net, tmp_path, capsys):
    code, _, stderr = call(capsys, *TINY, "--model", f"{net}:Tired", "--out", tmp_path / "run")
    assert code == 1
    assert re.fullmatch(
        r"train: .*mynet.py:Tired: training it raised RuntimeError: no more \(.*mynet.py:\d+\)\n", stderr
    )


def test_a_file_that_cannot_be_imported_is_told_with_its_place(tmp_path, capsys):
    (tmp_path / "bad.py").write_text("x = 1\ny = 1 / 0\n")
    code, _, stderr = call(capsys, "summary", f"{tmp_path / 'bad.py'}:Net")
    assert code == 1
    assert re.search(r"importing \S*bad.py raised ZeroDivisionError: division by zero \(.*bad.py:2\)", stderr)


def test_a_network_in_a_module_is_found(tmp_path, capsys, monkeypatch):
    (tmp_path / "some_package_of_nets").mkdir()
    (tmp_path / "some_package_of_nets" / "nets.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, stdout, _ = call(capsys, "summary", "some_package_of_nets.nets:Net", "--input", "2,1,8,8")
    assert code == 0
    assert "Net" in stdout


@pytest.mark.parametrize("end", ["folder", "folder/below"])
def test_a_folder_that_cannot_be_made_exits_1_before_training(end, tmp_path, capsys):
    (tmp_path / "folder").write_text("mine")
    code, stdout, stderr = call(capsys, *TINY, "--out", tmp_path / end)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("train: ")
    assert (tmp_path / "folder").read_text() == "mine"


def test_without_matplotlib_it_says_what_is_missing(tmp_path, capsys, no_figures):
    code, stdout, _ = call(capsys, *TINY, "--epochs", 1, "--out", tmp_path / "run")
    assert code == 0
    assert "no curves.png and confusion.png: " in stdout
    assert "pip install 'tinygrad_cnn[plot]'" in stdout
    assert not list((tmp_path / "run").glob("*.png"))


def test_threads_are_given_back(tmp_path, capsys, no_figures):
    before = get_num_threads()
    try:
        set_num_threads(3)
        assert call(capsys, *TINY, "--epochs", 1, "--threads", 1, "--out", tmp_path / "run")[0] == 0
        assert get_num_threads() == 3
    finally:
        set_num_threads(before)


# Preparation


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_is_prepared_as_its_images_one_by_one(dtype):
    """Resized, in [0, 1], with a border of black, normalised: by hand with the transforms."""
    generator = np.random.default_rng(0)
    items = [
        ((generator.integers(0, 256, (2, 9 + k, 8)) / (1 if dtype == np.uint8 else 255)).astype(dtype), k)
        for k in range(3)
    ]
    prepared = preparation.Preparation(6, (1, 2, 1, 2), (0.4, 0.5), (0.2, 0.3))
    x, y = prepared.collate()(items)
    assert (x.dtype, x.shape, y.dtype, y.tolist()) == (np.float32, (3, 2, 10, 8), np.int64, [0, 1, 2])
    for row, (picture, _) in zip(x.numpy(), items, strict=True):
        small = Resize((6, 6))(picture)
        small = small / np.float32(255) if dtype == np.uint8 else small
        wide = np.pad(small, ((0, 0), (2, 2), (1, 1))).astype(np.float32)
        np.testing.assert_allclose(row, Normalize((0.4, 0.5), (0.2, 0.3))(wide), rtol=1e-6)


def test_the_mean_and_deviation_are_those_of_the_training_images():
    images = np.random.default_rng(0).integers(0, 256, (1100, 2, 5, 7)).astype(np.uint8)
    images[:, 1] = 255  # a channel that never changes is left in its scale
    found = preparation.prepare([(image, 0) for image in images], None, None, "any", 0)
    np.testing.assert_allclose(found.mean, (images[:, 0].mean() / 255, 1), rtol=1e-6)
    np.testing.assert_allclose(found.std, (images[:, 0].std() / 255, 1), rtol=1e-6)


def test_images_slightly_too_small_for_a_network_get_a_border():
    images = [(np.full((1, 28, 29), 200, np.uint8), 0)] * 2
    found = preparation.prepare(images, None, 32, "lenet5", 0)
    assert found.border == (1, 2, 2, 2)
    assert found.pixels([images[0][0]]).shape == (1, 1, 32, 32)
    for h, w in ((27, 32), (33, 32)):
        with pytest.raises(
            CommandError, match=f"lenet5 is made for 32x32 pixels, the images have {h}x{w}; give --size"
        ):
            preparation.prepare([(np.zeros((1, h, w), np.uint8), 0)] * 2, None, 32, "lenet5", 0)


def test_augmentation_moves_and_mirrors_within_its_reach():
    image = np.zeros((40, 1, 28, 28), np.float32)
    image[:, :, 13, 10] = 1
    assert preparation.augmentation("none", 28, 28) is None
    places = {}
    for name in ("shift", "crop-flip"):
        tg.manual_seed(0)
        moved = preparation.augmentation(name, 28, 28)(image)
        assert moved.shape == image.shape
        _, _, rows, columns = np.nonzero(moved)
        places[name] = rows - 13, columns
    rows, columns = places["shift"]
    assert set(rows) == {-2, -1, 0, 1, 2} == set(columns - 10)
    rows, columns = places["crop-flip"]
    assert set(rows) <= set(range(-3, 4))
    assert set(columns) <= {*range(7, 14), *range(14, 21)}
    assert min(columns) < 14 <= max(columns)


@pytest.mark.parametrize(
    ("data", "network", "augment"),
    [("digits", "digits", "shift"), ("mnist", "lenet5", "shift"), ("fashion", "lenet5", "crop-flip"),
     ("kmnist", "lenet5", "shift"), ("synthetic28", "lenet5", "shift"), ("synthetic32", "resnet20", "shift"),
     ("cifar10", "resnet20", "crop-flip"), ("cifar100", "resnet20", "crop-flip"), ("/a/b", "resnet20", "crop-flip")],
)  # fmt: skip
def test_each_dataset_has_a_network_and_an_augmentation(data, network, augment):
    """Letters and digits are never mirrored."""
    assert datasets.choose(data) == (network, augment)
    assert network in networks.NETWORKS


def test_train_and_test_folders_need_the_same_classes(tmp_path):
    pictures(tmp_path / "train", {"a": 3, "b": 3})
    pictures(tmp_path / "test", {"a": 3, "c": 3})
    with pytest.raises(CommandError, match="train and test have other classes; b, c in one of them alone; both need"):
        datasets.load(str(tmp_path), "data", False, 0)


@pytest.mark.parametrize("found", [["train", "val"], ["train"], ["Train", "Test"], ["train", "more"], ["test", "more"]])
def test_parts_are_not_taken_for_classes(found, tmp_path, capsys):
    for part in found:
        pictures(tmp_path / "data" / part, {"a": 3, "b": 3})
    code, stdout, stderr = call(capsys, "train", "--data", tmp_path / "data", "--size", 8, "--out", tmp_path / "run")
    assert (code, stdout) == (1, "")
    first = next(name for name in sorted(found) if name != "more")
    assert stderr == (
        f"train: --data {tmp_path / 'data'}: its folder {first} holds folders itself, as a part does and no class; "
        "give both parts, as train and test, or one folder that holds the image folders of all classes\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_class_can_have_the_name_of_a_part(tmp_path):
    pictures(tmp_path, {"car": 8, "train": 7})
    (tmp_path / "train" / ".thumbnails").mkdir()
    assert datasets.load(str(tmp_path), "data", False, 0)[2] == ["car", "train"]


def test_a_folder_without_a_test_part_is_split_by_the_seed(tmp_path):
    pictures(tmp_path, {"a": 8, "b": 7})
    parts = [datasets.parts(str(tmp_path), "data", False, seed, None) for seed in (0, 0, 1)]
    assert parts[0].counts == {"train": 11, "valid": 1, "test": 3}
    assert parts[0].test.indices.tolist() == parts[1].test.indices.tolist() != parts[2].test.indices.tolist()


@pytest.mark.parametrize("name", list(datasets.FILES))
def test_the_datasets_in_files_are_read_in_both_parts(name, monkeypatch):
    """With a dataset in the place of the files, which nobody has here."""
    asked = []

    class Stored(tg.data.Digits):
        def __init__(self, root, train, download):
            asked.append((root, train, download))
            super().__init__(train)

    monkeypatch.setitem(datasets.FILES, name, Stored)
    train, test, classes = datasets.load(name, "somewhere", True, 0)
    assert asked == [("somewhere", True, True), ("somewhere", False, True)]
    assert (len(train), len(test), len(classes)) == (898, 899, 10)
