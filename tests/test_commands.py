"""The commands of `python -m tinygrad_cnn`: what they print and write, their exit codes, and what they refuse."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import bench, commands
from tinygrad_cnn.__main__ import main
from tinygrad_cnn.commands import datasets, networks, preparation
from tinygrad_cnn.commands.evaluation import measure, table
from tinygrad_cnn.commands.frame import CommandError
from tinygrad_cnn.data.transforms import Normalize, Resize
from tinygrad_cnn.kernels.parallel import get_num_threads, set_num_threads

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
JOB = [sys.executable, "-W", "error", "-m", "tinygrad_cnn"]
MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
TINY = ["train", "--limit", "60", "--batch-size", "16"]

NET = """
from tinygrad_cnn import nn
from tinygrad_cnn.data import digits

digits("test")[0][0]

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(None, num_classes)
        )
        print("made")

    def forward(self, x):
        return self.body(x)

class Fragile(Net):
    def forward(self, x):
        if x.shape[-1] > 5:
            raise RuntimeError("too wide")
        return self.body(x)

def of_three(**options):
    return nn.Sequential(nn.Flatten(), nn.Linear(None, 3))

def refuses():
    raise RuntimeError("not today")

def silent():
    return 3

class NoTensor(Net):
    def forward(self, x):
        return 3

class Constant(Net):
    def forward(self, x):
        return self.body(x).detach()

class Tired(Net):
    def forward(self, x):
        if self.training:
            raise RuntimeError("no more")
        return self.body(x)

class Normed(Net):
    def __init__(self):
        super().__init__(10, 3)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, x):
        return self.norm(self.body(x))

made = Net(10, 1)
"""


def run(*arguments: object, cwd: Path | None = None):
    return subprocess.run([*JOB, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command in this process."""
    code = main(list(map(str, arguments)))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def usage(capsys, *arguments: object) -> str:
    """What a command says to arguments that it refuses with exit code 2."""
    with pytest.raises(SystemExit) as exit:
        main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert (exit.value.code, printed.out) == (2, "")
    return printed.err.splitlines()[-1]


def figures(folder: Path) -> dict:
    """metrics.json without times."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del found["seconds"], found["seconds_in_all"]
    for logs in found["history"]:
        del logs["seconds"]
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of two epochs in a fresh process: its folder and its process."""
    out = tmp_path_factory.mktemp("train") / "new folder" / "run"
    process = run(*TINY, "--epochs", 2, "--out", out)
    assert (process.returncode, process.stderr) == (0, "")
    return out, process


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "mynet.py"
    path.write_text(NET)
    return path


def pictures(root: Path, classes: dict[str, int], size: tuple[int, int] = (8, 8), seed: int = 0) -> None:
    """Image folders of random grey pictures, whose brightness tells the class."""
    generator = np.random.default_rng(seed)
    for k, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            np.save(root / name / f"{i}.npy", generator.integers(90 * k, 90 * k + 60, size).astype(np.uint8))


# --- train: its files


def test_train_writes_its_files_and_nothing_else(done):
    drawn = {"curves.png", "confusion.png"} if MATPLOTLIB else set()
    assert {path.name for path in done[0].iterdir()} == {
        "run.json", "checkpoint.safetensors", "weights.safetensors", "log.csv", "metrics.json", *drawn
    }  # fmt: skip


def test_train_prints_a_line_for_each_epoch_and_what_it_wrote(done):
    *epochs, result, written = [line for line in done[1].stdout.splitlines() if not line.startswith("no curves")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert re.fullmatch(r"test accuracy 0\.\d{4} on 60 images, weights of epoch [12] of 2", result)
    assert written.startswith(f"written to {done[0]}: run.json, checkpoint.safetensors, weights.safetensors, log.csv")


def test_metrics_hold_what_the_log_and_the_weights_say(done):
    found = figures(done[0])
    with (done[0] / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["valid_loss"]) for row in rows] == [logs["valid_loss"] for logs in found["history"]]
    best = min(found["history"], key=lambda logs: logs["valid_loss"])
    assert (found["best_epoch"], found["valid_accuracy"]) == (best["epoch"], best["valid_accuracy"])
    assert found["images"] == {"train": 54, "valid": 6, "test": 60}
    assert sum(map(sum, found["confusion"])) == sum(entry["images"] for entry in found["classes"]) == 60
    assert np.trace(found["confusion"]) / 60 == found["test_accuracy"]
    assert found["settings"]["augment"] == "shift"


def test_the_best_weights_are_those_that_were_measured(done):
    """The test part, prepared by hand: the mean and deviation of the training part alone."""
    parts = datasets.parts("digits", "data", False, 0, 60)
    train = np.stack([image for image, _ in parts.train]).astype(np.float64)
    images, labels = np.stack([image for image, _ in parts.test]), np.array([label for _, label in parts.test])
    model = networks.build("digits", 10, 1)
    model.load_state_dict(tg.load(done[0] / "weights.safetensors"))
    model.eval()
    x = ((images - train.mean()) / train.std()).astype(np.float32)
    accuracy = float(np.mean(model(tg.Tensor(x)).numpy().argmax(1) == labels))
    assert abs(accuracy - figures(done[0])["test_accuracy"]) < 1.5 / 60


def test_the_parts_share_no_image_and_depend_on_the_seed_alone():
    rows = []
    for seed in (0, 0, 1):
        parts = datasets.parts("digits", "data", False, seed, None)
        assert (len(parts.train), len(parts.valid), len(parts.test)) == (809, 89, 899)
        assert sorted([*parts.train.indices, *parts.valid.indices]) == list(range(898))
        rows.append(parts.valid.indices.tolist())
    assert rows[0] == rows[1] != rows[2]


def test_the_figures_of_a_class_are_those_of_its_row_and_column():
    labels = np.array([0, 0, 0, 1, 1, 2])
    logits = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 0, 0]]
    loader = tg.data.DataLoader(tg.data.TensorDataset(logits, labels), 4)
    found = measure(tg.nn.Identity(), loader, ["a", "b", "c", "d"])
    rows = [(entry["images"], entry["precision"], entry["recall"], entry["f1"]) for entry in found["classes"]]
    assert rows == [
        (3, 0.5, pytest.approx(2 / 3), pytest.approx(4 / 7)),
        (2, 0.5, 0.5, 0.5),
        (1, 0, 0, 0),
        (0, 0, 0, 0),
    ]
    assert found["confusion"] == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert (found["images"], found["accuracy"]) == (6, 0.5)
    assert "0 a" in table(found)
    many = {**found, "classes": found["classes"] * 6, "confusion": []}
    assert table(many).endswith("the confusion matrix of 24 classes is in --json")


SPY = """
import numpy as np

class Spy(Net):
    def forward(self, x):
        if self.training:
            np.save(__file__ + ".npy", x.numpy())
        return self.body(x)
"""


def test_the_batches_of_training_are_those_of_the_seed_and_augmented(tmp_path, capsys, no_figures):
    seen = {}
    for augment in ("none", "shift"):
        spy = tmp_path / f"{augment}.py"
        spy.write_text(NET + SPY)
        options = ["--model", f"{spy}:Spy", "--seed", 5, "--epochs", 1, "--augment", augment]
        assert call(capsys, *TINY, *options, "--out", tmp_path / augment)[0] == 0
        seen[augment] = np.load(f"{spy}.npy")
    parts = datasets.parts("digits", "data", False, 5, 60)
    prepared = preparation.prepare(parts.train, None, None, "Spy", 0)
    *_, last = tg.data.DataLoader(parts.train, 16, shuffle=True, drop_last=True, seed=5, collate_fn=prepared.collate())
    np.testing.assert_array_equal(seen["none"], last[0].numpy())
    middle = slice(2, 6)
    moved = {
        (down, right): (seen["shift"][:, 0, middle, middle]
                        == seen["none"][:, 0, 2 - down : 6 - down, 2 - right : 6 - right]).all(axis=(1, 2))
        for down in (-1, 0, 1) for right in (-1, 0, 1)
    }  # fmt: skip
    assert np.any(list(moved.values()), axis=0).all()
    assert not moved[0, 0].all()


# --- train: again and on


def test_the_same_command_gives_the_same_bits_and_another_seed_others(done, tmp_path, capsys, no_figures):
    assert call(capsys, *TINY, "--epochs", 2, "--out", tmp_path / "a", "--workers", 2, "--threads", 2)[0] == 0
    assert figures(tmp_path / "a") == figures(done[0])
    for name in ("weights.safetensors", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (done[0] / name).read_bytes()
    assert call(capsys, *TINY, "--epochs", 1, "--out", tmp_path / "b", "--seed", 1)[0] == 0
    assert figures(tmp_path / "b")["images"] == figures(done[0])["images"]
    assert (tmp_path / "b" / "weights.safetensors").read_bytes() != (done[0] / "weights.safetensors").read_bytes()


def stop_after(epoch: int, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Ctrl-C in the epoch after `epoch`: before its first batch, or at its end before the checkpoint is written."""
    real = commands.importlib.import_module("tinygrad_cnn.train").CSVLog
    hook = {"begin": "on_epoch_begin", "end": "on_epoch_end"}[when]

    def interrupt(self, value):
        number = value if when == "begin" else value["epoch"]
        if when == "end":
            real.on_epoch_end(self, value)
        if number == epoch + 1:
            raise KeyboardInterrupt

    module = commands.importlib.import_module("tinygrad_cnn.commands.train")
    monkeypatch.setattr(module, "CSVLog", type("CSVLog", (real,), {hook: interrupt}))


@pytest.fixture
def no_figures(monkeypatch):
    """No matplotlib, which takes most of the time of a tiny run."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with dropout, augmentation, early stopping and a lazy layer: its options and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mynet.py").write_text(NET)
    options = [*TINY, "--model", f"{folder}/mynet.py:Net", "--epochs", "3", "--augment", "crop-flip", "--patience", "3"]
    assert main([*options, "--out", str(folder / "run")]) == 0
    return options, folder / "run"


@pytest.mark.parametrize(("complete", "when"), [(0, "begin"), (0, "end"), (1, "end"), (2, "begin")])
def test_a_run_that_goes_on_ends_in_the_bits_of_one_without_a_break(
    complete, when, whole, tmp_path, capsys, monkeypatch, no_figures
):
    options, before = whole
    with monkeypatch.context() as patch:
        stop_after(complete, patch, when)
        code, _, stderr = call(capsys, *options, "--out", tmp_path / "broken run")
    assert (code, stderr) == (
        130,
        "interrupted; go on after the last complete epoch with: python -m tinygrad_cnn train "
        f"--out '{tmp_path / 'broken run'}' --resume\n",
    )
    code, stdout, _ = call(capsys, "train", "--out", tmp_path / "broken run", "--resume")
    assert code == 0
    assert stdout.count("\nepoch ") + stdout.startswith("epoch ") == 3 - complete
    assert figures(tmp_path / "broken run") == figures(before)
    name = "weights.safetensors"
    assert (tmp_path / "broken run" / name).read_bytes() == (before / name).read_bytes()


def test_resuming_a_complete_run_measures_it_again(done, tmp_path, capsys, no_figures):
    out = shutil.copytree(done[0], tmp_path / "run")
    (out / "metrics.json").unlink()
    assert call(capsys, "train", "--out", out, "--resume")[0] == 0
    assert figures(out) == figures(done[0])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(done, capsys):
    before = files(done[0])
    code, stdout, stderr = call(capsys, *TINY, "--epochs", 2, "--out", done[0])
    assert (code, stdout) == (1, "")
    assert stderr == f"train: {done[0]} holds a run; give --resume to go on with it, or another --out\n"
    assert files(done[0]) == before


def test_going_on_with_other_settings_is_refused_and_names_them(done, tmp_path, capsys):
    before = files(done[0])
    resume = ["train", "--out", done[0], "--resume"]
    code, _, stderr = call(capsys, *resume, "--epochs", 3, "--lr", 0.5, "--batch-size", 16, "--patience", 2)
    assert code == 1
    assert stderr == (
        f"train: the run in {done[0]} was begun with --epochs 2, now 3; --lr 0.01, now 0.5; "
        "--patience left out, now 2; leave that out to go on, or give another --out for a new run\n"
    )
    assert "--data digits, now synthetic28" in call(capsys, *resume, "--data", "synthetic28")[2]
    assert "--model digits, now lenet5" in call(capsys, *resume, "--model", "lenet5")[2]
    assert files(done[0]) == before


def test_going_on_needs_a_run(tmp_path, capsys):
    expected = f"train: --resume: {tmp_path} holds no run; leave --resume out to begin one\n"
    assert call(capsys, "train", "--out", tmp_path, "--resume") == (1, "", expected)
    assert usage(capsys, "train", "--resume").endswith(
        "error: --resume needs --out, the folder of the run to go on with"
    )


def test_files_of_something_else_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("mine")
    code, _, stderr = call(capsys, *TINY, "--out", tmp_path)
    assert (code, stderr) == (1, f"train: {tmp_path} holds metrics.json, but no run.json; give another --out\n")
    assert files(tmp_path) == {"metrics.json": b"mine"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Expecting property name"),
        ('{"kind": "other"}', "its kind is 'other', 'tinygrad_cnn run 1' is needed"),
        ('{"kind": "tinygrad_cnn run 1"}', "it has no 'settings'"),
    ],
)
def test_a_damaged_run_is_refused(text, complaint, tmp_path, capsys):
    (tmp_path / "run.json").write_text(text)
    for arguments in (["train", "--out", tmp_path, "--resume"], ["predict", tmp_path, "--test"]):
        code, _, stderr = call(capsys, *arguments)
        assert code == 1
        assert f"{tmp_path / 'run.json'} is damaged: {complaint}" in stderr
        assert stderr.count("\n") == 1


def test_data_that_changed_is_refused(tmp_path, capsys, no_figures):
    pictures(tmp_path / "data", {"dark": 12, "light": 10})
    train = ["train", "--data", tmp_path / "data", "--model", "digits", "--out", tmp_path / "run", "--epochs", 1]
    assert call(capsys, *train)[0] == 0
    shutil.copy(tmp_path / "data" / "dark" / "1.npy", tmp_path / "data" / "dark" / "new.npy")
    for arguments in ([*train, "--resume"], ["predict", tmp_path / "run", "--test"]):
        code, _, stderr = call(capsys, *arguments)
        assert code == 1
        assert "changed: its images were {'train': 17, 'valid': 1, 'test': 4}, now they are {'train': 18" in stderr


def test_a_run_that_diverges_exits_1_with_one_line(tmp_path, capsys):
    code, _, stderr = call(capsys, *TINY, "--lr", 1e30, "--out", tmp_path / "run", "--epochs", 3)
    assert code == 1
    assert re.fullmatch(
        r"train: the (loss is \w+|gradient of \S+ is not finite|loss is not finite) in epoch \d, batch \d \(lr=\S+\)"
        r"; give a smaller --lr than 1e\+30, and another --out\n",
        stderr,
    ), stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_says_how_to_go_on_and_exits_130(tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen(
        [*JOB, *TINY, "--epochs", "10000", "--out", str(out)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("epoch     1/10000")
        assert process.stdout.readline().startswith("epoch     2/10000")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    command = f"python -m tinygrad_cnn train --out {out} --resume"
    assert (process.returncode, stderr) == (
        130, f"interrupted; go on after the last complete epoch with: {command}\n"
    )  # fmt: skip
    assert {"run.json", "checkpoint.safetensors"} <= {path.name for path in out.iterdir()}


# --- train: data and networks


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


# --- preparation


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


# --- predict


def test_predict_measures_what_train_measured(done, capsys):
    code, stdout, stderr = call(capsys, "predict", done[0], "--test", "--json")
    found, before = json.loads(stdout), figures(done[0])
    assert (code, stderr) == (0, "")
    assert (found["accuracy"], found["confusion"]) == (before["test_accuracy"], before["confusion"])
    assert found["loss"] == before["test_loss"]
    assert found["classes"] == before["classes"]


def test_predict_prints_the_figures_of_each_class_and_the_matrix(done):
    process = run("predict", done[0], "--test")
    assert (process.returncode, process.stderr) == (0, "")
    found = figures(done[0])
    lines = process.stdout.splitlines()
    assert lines[0] == f"accuracy {found['test_accuracy']:.4f}  loss {found['test_loss']:.4f}  60 images"
    assert lines[3].split()[:2] == ["0", str(found["classes"][0]["images"])]
    rows = [line.split()[1:] for line in lines[-10:]]
    assert [[0 if cell == "." else int(cell) for cell in row] for row in rows] == found["confusion"]


def test_predict_reads_images_in_the_channels_and_the_size_of_the_run(done, tmp_path, capsys):
    image = (tg.data.digits("test")[0][0] * 255).astype(np.uint8)
    np.save(tmp_path / "grey.npy", image)
    np.save(tmp_path / "colour.npy", np.repeat(image, 3, 0))
    np.save(tmp_path / "large.npy", image.repeat(2, 1).repeat(2, 2))
    code, stdout, _ = call(capsys, "predict", done[0], tmp_path / "grey.npy", tmp_path / "colour.npy")
    assert code == 0
    grey, colour = (line.split()[1:] for line in stdout.splitlines())
    assert grey == colour
    assert len(grey) == 6  # three classes and their probabilities
    code, stdout, stderr = call(capsys, "predict", done[0], tmp_path / "grey.npy", tmp_path / "large.npy")
    assert (code, stdout) == (1, "")
    assert stderr == (f"predict: {tmp_path / 'large.npy'} has 16x16 pixels, the images of the run 8x8; give --resize\n")
    assert call(capsys, "predict", done[0], tmp_path / "large.npy", "--resize")[0] == 0


def test_predict_gives_the_probabilities_of_the_network(done, tmp_path, capsys):
    images, _ = tg.data.digits("test")
    paths = [tmp_path / f"{k}.npy" for k in range(70)]  # more than one batch
    for path, image in zip(paths, images, strict=False):
        np.save(path, np.round(image * 255).astype(np.uint8))
    code, stdout, _ = call(capsys, "predict", done[0], *paths, "--json", "--top", 10)
    assert code == 0
    found = json.loads(stdout)["predictions"]
    assert [entry["image"] for entry in found] == list(map(str, paths))
    about = json.loads((done[0] / "run.json").read_text())["preparation"]
    model = networks.build("digits", 10, 1)
    model.load_state_dict(tg.load(done[0] / "weights.safetensors"))
    model.eval()
    x = (np.round(images[:70] * 255) / 255 - about["mean"][0]) / about["std"][0]
    wanted = tg.nn.functional.softmax(model(tg.Tensor(x.astype(np.float32))), 1).numpy()
    for entry, row in zip(found, wanted, strict=True):
        given = {guess["class"]: guess["probability"] for guess in entry["classes"]}
        np.testing.assert_allclose([given[str(k)] for k in range(10)], row, atol=1e-5)
        assert [guess["probability"] for guess in entry["classes"]] == sorted(given.values(), reverse=True)


@pytest.mark.parametrize("arguments", [[], ["x.png", "--test"]])
def test_predict_takes_images_or_the_test_set(arguments, done, capsys):
    said = usage(capsys, "predict", done[0], *arguments)
    assert said.endswith("error: give image files, or --test, one of the two")


def test_predict_says_what_is_missing_or_damaged(done, tmp_path, capsys):
    out = shutil.copytree(done[0], tmp_path / "run")
    assert call(capsys, "predict", tmp_path, "--test")[2] == (
        f"predict: {tmp_path} holds no run.json; give a folder that train wrote\n"
    )
    code, _, stderr = call(capsys, "predict", out, tmp_path / "none.png")
    assert (code, stderr.count("\n")) == (1, 1)
    assert "none.png" in stderr
    (tmp_path / "text.pgm").write_text("mine")
    code, _, stderr = call(capsys, "predict", out, tmp_path / "text.pgm")
    assert (code, "text.pgm starts with b'mine'" in stderr) == (1, True)
    tg.save({"other": tg.Tensor([1.0])}, out / "weights.safetensors")
    code, _, stderr = call(capsys, "predict", out, "--test")
    assert (code, stderr.count("\n")) == (1, 1)
    assert f"{out / 'weights.safetensors'} does not fit digits: " in stderr
    (out / "weights.safetensors").write_bytes(b"broken")
    code, _, stderr = call(capsys, "predict", out, "--test")
    assert (code, stderr.count("\n")) == (1, 1)
    (out / "weights.safetensors").unlink()
    assert call(capsys, "predict", out, "--test")[2] == (
        f"predict: {out} has no weights yet; its first epoch is not complete: train --resume goes on\n"
    )


def test_predict_refuses_probabilities_that_are_not_finite(done, tmp_path, capsys):
    out = shutil.copytree(done[0], tmp_path / "run")
    state = tg.load(out / "weights.safetensors")
    state["fc.bias"] = state["fc.bias"] * np.nan
    tg.save(state, out / "weights.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((8, 8), np.uint8))
    code, stdout, stderr = call(capsys, "predict", out, tmp_path / "x.npy")
    assert (code, stdout) == (1, "")
    assert stderr.endswith("x.npy: the network gives probabilities that are not finite\n")


# --- summary and graph


def test_summary_prints_the_table_of_nn_summary():
    process = run("summary", "lenet5", "--input", "2,1,32,32", "--depth", "1")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.rstrip("\n") == str(tg.summary(tg.nn.models.LeNet5(), (2, 1, 32, 32), depth=1))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_summary_knows_the_input_of_each_network(name, capsys):
    code, stdout, stderr = call(capsys, "summary", name, "--json", "--classes", 7)
    found = json.loads(stdout)
    assert (code, stderr, found["model"]) == (0, "", name)
    assert found["inputs"] == [[1, *networks.NETWORKS[name].image]]
    assert found["rows"][0]["outputs"] == [[1, 7]]
    assert found["params"] == sum(p.numel() for p in networks.build(name, 7, found["inputs"][0][1]).parameters())


def test_summary_of_what_fails_says_so(net, capsys):
    code, _, stderr = call(capsys, "summary", "lenet5", "--input", "1,1,28,28")
    assert (code, stderr.count("\n")) == (1, 1)
    assert stderr.startswith("summary: lenet5: its forward of (1, 1, 28, 28) raised ShapeError: linear: x gives 256")
    code, _, stderr = call(capsys, "summary", f"{net}:Normed", "--input", "1,3,4,4")
    assert code == 1
    assert "its forward of (1, 3, 4, 4) in training mode raised ValueError: batch_norm: " in stderr


@pytest.mark.parametrize("ending", ["svg", "html", "dot", "md", "txt", "json"])
def test_graph_writes_the_picture_of_a_network(ending, tmp_path, capsys):
    out = tmp_path / f"net.{ending}"
    code, stdout, stderr = call(capsys, "graph", "digits", "--view", "grad", "--out", out)
    assert (code, stdout, stderr) == (0, f"written to {out}\n", "")
    text = out.read_text(encoding="utf-8")
    assert "conv1" in text
    assert "cross" in text


def test_graph_without_a_file_prints_text():
    process = run("graph", "digits", "--input", "3,1,8,8")
    assert (process.returncode, process.stderr) == (0, "")
    assert "conv3.weight" in process.stdout
    assert "cross_entropy" in process.stdout


def test_graph_as_json_says_what_is_drawn_or_where(tmp_path, capsys):
    code, stdout, _ = call(capsys, "graph", "lenet5", "--json", "--view", "ops")
    found = json.loads(stdout)
    assert (code, found["input"], found["view"]) == (0, [1, 1, 32, 32], "ops")
    assert found["cards"] > 10
    assert found["title"] in found["text"]
    folded = json.loads(call(capsys, "graph", "vgg11", "--json", "--depth", 1)[1])
    assert folded["cards"] < found["cards"]
    code, stdout, _ = call(capsys, "graph", "lenet5", "--json", "--out", tmp_path / "x.svg")
    assert (code, json.loads(stdout)["written"]) == (0, str(tmp_path / "x.svg"))


def test_graph_draws_networks_of_any_output(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "from tinygrad_cnn import nn\n"
        "def pixels(num_classes, in_channels):\n    return nn.Conv2d(in_channels, num_classes, 1)\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.conv = nn.Conv2d(2, 3, 1)\n"
        "    def forward(self, x):\n        return self.conv(x).sum()\n"
    )
    for name, op in (("pixels", "cross_entropy"), ("Flat", "mean")):
        code, stdout, _ = call(capsys, "graph", f"{tmp_path / 'net.py'}:{name}", "--input", "2,2,4,5")
        assert (code, op in stdout) == (0, True)


def test_graph_of_what_has_none_says_so(net, tmp_path, capsys):
    code, _, stderr = call(capsys, "graph", f"{net}:Constant", "--input", "1,1,4,4")
    assert code == 1
    assert "its output needs no gradient, so there is no graph; look for no_grad in it" in stderr
    assert usage(capsys, "graph", "lenet5", "--out", "x.jpg").endswith(
        "argument --out: x.jpg ends in '.jpg'; it can be .svg .png .pdf .html .dot .md .json .txt"
    )
    code, _, stderr = call(capsys, "graph", "digits", "--out", tmp_path / "none" / "x.svg")
    assert (code, stderr.count("\n")) == (1, 1)


def test_a_png_that_nothing_can_draw_is_a_failure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, stdout, stderr = call(capsys, "graph", "digits", "--out", tmp_path / "x.png")
    assert (code, stdout) == (1, f"written to {tmp_path / 'x.svg'}\n")
    assert "with the built-in layout instead" in stderr


# --- all commands


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    with pytest.raises(SystemExit) as exit:
        main([name, "--help"])
    printed = capsys.readouterr()
    assert (exit.value.code, printed.err) == (0, "")
    options, _, examples = printed.out.partition("examples:\n")
    assert "--json" in options
    lines = examples.splitlines()
    assert lines
    assert all(line.startswith(f"  python -m tinygrad_cnn {name}") for line in lines)
    mentioned = set(re.findall(r"--[a-z-]+", examples))
    assert all(option in options for option in mentioned)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, (_, text) in commands.COMMANDS.items():
        assert re.search(f"python -m tinygrad_cnn {name} +{re.escape(text)}", shown)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["trian"], "unrecognized arguments: trian; the commands are train, predict, summary, graph, bench"),
        (["train", "--epochs", "0"], "argument --epochs: 0 is not above 0"),
        (["train", "--lr", "nan"], "argument --lr: nan is not above 0"),
        (["train", "--seed", "-1"], "argument --seed: '-1' is not a whole number from 0 up"),
        (["train", "--workers", "x"], "argument --workers: 'x' is not a whole number from 0 up"),
        (["train", "--augment", "all"], "argument --augment: invalid choice: 'all'"),
        (["train", "--model", "lenet"], "argument --model: no network is named 'lenet'; there are digits, lenet5,"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["summary"], "the following arguments are required: MODEL"),
        (["summary", "net"], "argument MODEL: no network is named 'net'; there are digits, lenet5, vgg11, vgg11_bn,"),
        (["summary", "lenet5", "--input", "1,x"], "argument --input: '1,x' is no shape; give the batch first, as in"),
        (["summary", "lenet5", "--input", "3"], "argument --input: '3' is no shape; give the batch first, as in"),
        (["summary", "lenet5", "--input", "1,0,3,3"], "argument --input: '1,0,3,3' is no shape"),
        (["graph", "lenet5", "--view", "nice"], "argument --view: invalid choice: 'nice'"),
        (["graph", "lenet5", "--depth", "-1"], "argument --depth: '-1' is not a whole number from 0 up"),
        (["predict"], "the following arguments are required: RUN"),
        (["predict", "x", "y", "--top", "0"], "argument --top: 0 is not above 0"),
    ],
)
def test_bad_arguments_exit_2_and_say_which(arguments, complaint, capsys):
    assert complaint in usage(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["predict", "nowhere", "--test"], 1, "predict: nowhere holds no run.json; give a folder that train wrote"),
        (["train", "--model", "x"], 2, "argument --model: no network is named 'x'"),
        (["bench", "--rounds", "0"], 2, "argument --rounds: '0' is not a whole number from 1 up"),
    ],
)
def test_the_exit_codes_reach_the_shell(arguments, code, line, tmp_path):
    process = run(*arguments, cwd=tmp_path)
    assert (process.returncode, process.stdout) == (code, "")
    assert line in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_as_json_train_prints_one_document_and_the_progress_on_stderr(net, tmp_path, capsys, no_figures):
    out = tmp_path / "run"
    code, stdout, stderr = call(capsys, *TINY, "--model", f"{net}:Net", "--epochs", 1, "--out", out, "--json")
    found = json.loads(stdout)
    assert (code, found.pop("out")) == (0, str(out))
    assert found == json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert "epoch 1/1" in stderr
    assert "made" in stderr  # what the network's file prints


def test_bench_as_json_is_one_document(capsys, monkeypatch):
    monkeypatch.setattr(bench, "M", bench.Network("M", (1, 8, 8), (2, "M")))
    monkeypatch.setattr(bench, "torch_training", lambda build, x, y: [])
    code, stdout, stderr = call(capsys, "bench", "--batch", 2, "--warmup", 0, "--rounds", 1, "--json")
    found = json.loads(stdout)
    assert (code, stderr) == (0, "")
    assert [network["network"].partition(":")[0] for network in found["networks"]] == ["S", "M"]
    assert all(side["seconds"] > 0 for network in found["networks"] for side in network["sides"])
    assert [side["name"] for side in found["networks"][0]["sides"]] == ["tinygrad_cnn"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE")
def test_a_reader_that_has_enough_is_no_traceback():
    with subprocess.Popen(
        [*JOB, "graph", "resnet20", "--view", "ops"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        stderr = process.stderr.read()
    assert (process.returncode, stderr) == (1, b"")


def test_an_interrupt_exits_130(capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "build", interrupt)
    assert call(capsys, "summary", "lenet5") == (130, "", "interrupted\n")


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch):
    def fails(*arguments, **options):
        raise AttributeError("ours")

    monkeypatch.setattr(networks, "build", fails)
    with pytest.raises(AttributeError, match="ours"):
        main(["summary", "lenet5"])


def test_a_command_loads_its_own_file_only():
    program = "import sys, tinygrad_cnn; print(sorted(m for m in sys.modules if m.startswith('tinygrad_cnn.commands')))"
    process = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    assert process.stdout == "[]\n"
    program = (
        "import sys, tinygrad_cnn.__main__; print(sorted(m for m in sys.modules if m.startswith('tinygrad_cnn.com')))"
    )
    process = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    names = ["tinygrad_cnn.commands", "tinygrad_cnn.commands.frame", "tinygrad_cnn.commands.options"]
    assert process.stdout == f"{names}\n"
