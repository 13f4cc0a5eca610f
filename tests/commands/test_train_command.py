"""`train`: its files, the same bits again, going on after a break, and what it refuses then."""

import csv
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import ENVIRONMENT, JOB, MATPLOTLIB, NET, TINY, call, figures, pictures, usage

import tinygrad_cnn as tg
from tinygrad_cnn import commands
from tinygrad_cnn.__main__ import main
from tinygrad_cnn.commands import datasets, networks, preparation, train
from tinygrad_cnn.commands.evaluation import measure, table
from tinygrad_cnn.distributed import Group

# Its files


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


# Again and on


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
    model = options[options.index("--model") + 1]
    assert (code, stderr) == (
        130,
        "interrupted; go on after the last complete epoch with: python -m tinygrad_cnn train "
        f"--out '{tmp_path / 'broken run'}' --resume --model {model}\n",
    )
    code, stdout, _ = call(capsys, "train", "--out", tmp_path / "broken run", "--resume", "--model", model)
    assert code == 0
    assert stdout.count("\nepoch ") + stdout.startswith("epoch ") == 3 - complete
    assert figures(tmp_path / "broken run") == figures(before)
    name = "weights.safetensors"
    assert (tmp_path / "broken run" / name).read_bytes() == (before / name).read_bytes()


@pytest.mark.parametrize("command", [["train", "--resume", "--out"], ["predict", "--test"]])
def test_H172_no_code_runs_because_a_file_of_a_run_names_it(command, whole, tmp_path, capsys, no_figures):
    run = shutil.copytree(whole[1], tmp_path / "run")
    trap = tmp_path / "trap.py"
    trap.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n{NET}")
    about = json.loads((run / "run.json").read_text())
    about["settings"]["model"] = f"{trap}:Net"
    (run / "run.json").write_text(json.dumps(about))
    code, _, stderr = call(capsys, *command, run)
    assert code == 1
    assert stderr == (
        f"{command[0]}: {run}/run.json names code that would be run, {trap}:Net; if it is what you expect, "
        f"add --model {trap}:Net\n"
    )
    assert not (tmp_path / "ran").exists()
    code, _, stderr = call(capsys, *command, run, "--model", "lenet5")
    assert code == 1
    told = (
        f"the run in {run} was begun with --model {trap}:Net, now lenet5; leave that out to go on, or give another "
        "--out for a new run"
        if command[0] == "train"
        else f"the run was trained with --model {trap}:Net, now lenet5; give the same"
    )
    assert stderr == f"{command[0]}: {told}\n"
    assert not (tmp_path / "ran").exists()
    assert call(capsys, *command, run, "--model", f"{trap}:Net")[0] == 0
    assert (tmp_path / "ran").exists()


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
        ("[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_a_damaged_run_is_refused(text, complaint, tmp_path, capsys):
    (tmp_path / "run.json").write_text(text)
    for arguments in (["train", "--out", tmp_path, "--resume"], ["predict", tmp_path, "--test"]):
        code, _, stderr = call(capsys, *arguments)
        assert code == 1
        assert f"{tmp_path / 'run.json'} is damaged: {complaint}" in stderr
        assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("part", "name", "value", "complaint"),
    [
        ("settings", "model", ["x"], "its model is ['x']; a text is needed"),
        ("settings", "augment", "all", "its augment is 'all'; one of none, shift, crop-flip is needed"),
        ("settings", "epochs", 2.0, "its epochs is 2.0; a whole number >= 1 is needed"),
        ("settings", "seed", -1, "its seed is -1; a whole number >= 0 is needed"),
        ("settings", "limit", "all", "its limit is 'all'; a whole number >= 1 is needed"),
        ("settings", "lr", math.inf, "its lr is inf; a finite number > 0 is needed"),
        ("preparation", "border", [0, 0, 0, "x"], "its border is 'x'; a whole number >= 0 is needed"),
        ("preparation", "size", 0, "its size is 0; a whole number >= 1 is needed"),
        ("preparation", "mean", [], "its mean is (); finite numbers are needed, one or one for each of 1 channels"),
        ("preparation", "mean", [10**400], "int too large to convert to float"),
        (
            "preparation",
            "std",
            [0.0],
            "its std is (0.0,); finite numbers > 0 are needed, one or one for each of 1 channels",
        ),
        (None, "shape", [1, True, 8], "its shape is True; a whole number >= 1 is needed"),
        (None, "classes", [1, 2], "its classes are not texts"),
    ],
)
def test_a_run_with_what_no_option_gives_is_refused(part, name, value, complaint, done, tmp_path, capsys):
    about = json.loads((done[0] / "run.json").read_text())
    (about[part] if part else about)[name] = value
    (tmp_path / "run.json").write_text(json.dumps(about))
    for arguments in (["train", "--out", tmp_path, "--resume"], ["predict", tmp_path, "--test"]):
        code, _, stderr = call(capsys, *arguments)
        assert (code, stderr.partition(": ")[2]) == (
            1,
            f"{tmp_path / 'run.json'} is damaged: {complaint}; give another folder\n",
        )


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


@pytest.mark.parametrize(
    ("size", "arguments", "told"),
    [
        (3, ["--batch-size", 16], "--batch-size 16 cannot be shared by 3 processes; give a multiple of 3, as 18"),
        (4, ["--batch-size", 8, "--limit", 3], "2 training images for 4 processes; start fewer"),
    ],
)
def test_several_processes_need_images_that_can_be_shared(size, arguments, told, tmp_path, capsys, monkeypatch):
    group = Group()
    group.size = size
    monkeypatch.setattr(train, "init", lambda: group)
    code, _, stderr = call(capsys, "train", "--out", tmp_path / "run", *arguments)
    assert (code, stderr) == (1, f"train: {told}\n")
    assert not (tmp_path / "run").exists()


def test_processes_that_do_not_see_each_other_are_told_in_a_line(capsys, monkeypatch):
    def fail():
        raise RuntimeError("init: mpiexec started 2 processes, but")

    monkeypatch.setattr(train, "init", fail)
    assert call(capsys, "train") == (1, "", "train: init: mpiexec started 2 processes, but\n")
