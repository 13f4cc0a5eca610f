"""`python -m tinygrad_cnn` from the outside: its files, its options, its exit codes."""

import importlib.util
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.digits_net import DigitsNet, train

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
JOB = [sys.executable, "-W", "error", "-m", "tinygrad_cnn"]


def run(*arguments: object, command: list[str] = JOB, cwd: Path | None = None, **environment: str):
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
    )


def without(*modules: str) -> list[str]:
    """The job in a Python where these modules cannot be imported."""
    program = f"""
import importlib.abc, runpy, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
runpy.run_module("tinygrad_cnn", run_name="__main__", alter_sys=True)
"""
    return [sys.executable, "-W", "error", "-c", program]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run of one epoch: its folder and its process."""
    out = tmp_path_factory.mktemp("job") / "new" / "folder"
    process = run("--epochs", 1, "--out", out, PYTHONHASHSEED="1")
    assert (process.returncode, process.stderr) == (0, "")
    return out, process


def test_it_writes_its_files_and_nothing_else(done):
    wanted = {"weights.safetensors", "metrics.json", "graph.dot", "graph.svg", "graph.html"}
    if importlib.util.find_spec("matplotlib"):
        wanted.add("curves.png")
    assert {path.name for path in done[0].iterdir()} == wanted


def test_metrics_hold_the_figures_of_every_epoch(done):
    metrics = json.loads((done[0] / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) >= {"test_accuracy", "svm_test_accuracy", "epochs", "seed", "parameters", "seconds", "history"}
    assert set(metrics["history"]) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    assert all(len(values) == 1 for values in metrics["history"].values())
    assert metrics["history"]["test_accuracy"][-1] == metrics["test_accuracy"]
    assert (metrics["epochs"], metrics["seed"], metrics["svm_test_accuracy"]) == (1, 0, 0.969)
    assert metrics["seconds"] > 0
    assert 0.2 < metrics["test_accuracy"] <= 1  # chance is 0.1


def test_the_weights_are_those_that_were_measured(done):
    metrics = json.loads((done[0] / "metrics.json").read_text(encoding="utf-8"))
    model = DigitsNet()
    model.load_state_dict(tg.load(done[0] / "weights.safetensors"))
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    images, labels = tg.data.digits("test")
    model.eval()
    with tg.no_grad():
        logits = model(tg.Tensor(images))
    accuracy = float(np.mean(logits.numpy().argmax(1) == labels))
    assert abs(accuracy - metrics["test_accuracy"]) < 1.5 / 899
    loss = tg.nn.functional.cross_entropy(logits, labels).item()
    np.testing.assert_allclose(loss, metrics["history"]["test_loss"][-1], rtol=1e-4)


def test_the_graph_shows_every_parameter_with_its_gradient(done):
    dot = (done[0] / "graph.dot").read_text(encoding="utf-8")
    assert re.match(r"(//[^\n]*\n)*(strict )?digraph", dot)
    for name, _ in DigitsNet().named_parameters():
        assert name in dot
    assert "cross_entropy" in dot
    assert dot.count("‖∂‖") == len(list(DigitsNet().parameters()))
    assert "not computed" not in dot


def test_it_prints_a_line_for_the_epoch_the_files_and_the_result(done):
    epoch, written, names, *_, result = [line for line in done[1].stdout.splitlines() if "no curves" not in line]
    assert re.fullmatch(r"epoch 1/1   train loss \d\.\d{4} acc 0\.\d{4}   test loss \d\.\d{4} acc 0\.\d{4}", epoch)
    assert written == f"written to {done[0]}:"
    assert names.startswith("  weights.safetensors, metrics.json, graph.dot")
    assert re.match(r"test accuracy 0\.\d{4} on 899 digits .*support-vector machine: 0\.969.* in \d+\.\d s", result)


def test_its_lines_fit_into_80_columns(done):
    lines = [line for line in done[1].stdout.splitlines() if not line.startswith("written to")]
    assert max(map(len, lines)) < 80
    train(None, epochs=1, report=lambda text: lines.append(text.replace("1/1", "1000/1000")))
    assert len(lines[-1]) < 80


@pytest.mark.parametrize("options", [["--lr", "1e30"], ["--lr", "1e30", "--batch-size", "10000", "--epochs", "1"]])
def test_a_run_that_diverges_exits_1_and_leaves_the_old_files_alone(options, done, tmp_path):
    out = shutil.copytree(done[0], tmp_path / "out")
    process = run("--out", out, *options)
    assert process.returncode == 1
    assert process.stdout == ""
    assert re.fullmatch(
        r"train: the loss is (nan|inf) in epoch 1; lr=1e\+30 is too large, try a smaller one; nothing was written\n",
        process.stderr,
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in done[0].iterdir()
    }
    assert run("--out", tmp_path / "new", *options).returncode == 1
    assert list((tmp_path / "new").iterdir()) == []


def test_H153_the_same_seed_gives_the_same_bits_whatever_the_hash_seed(done, tmp_path):
    for hash_seed in ("1", "2"):
        assert run("--epochs", 1, "--out", tmp_path / hash_seed, PYTHONHASHSEED=hash_seed).returncode == 0
        for name in ("weights.safetensors", "graph.dot"):
            assert (tmp_path / hash_seed / name).read_bytes() == (done[0] / name).read_bytes(), (hash_seed, name)


def test_another_seed_gives_other_weights_and_replaces_the_files(done, tmp_path):
    out = shutil.copytree(done[0], tmp_path / "out")
    assert run("--epochs", 1, "--out", out, "--seed", 1).returncode == 0
    assert (out / "weights.safetensors").read_bytes() != (done[0] / "weights.safetensors").read_bytes()
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["seed"] == 1
    assert {path.name for path in out.iterdir()} == {path.name for path in done[0].iterdir()}


def test_it_needs_neither_dot_nor_matplotlib_nor_tqdm(done, tmp_path):
    process = run("--epochs", 1, "--out", tmp_path, command=without("matplotlib", "tqdm"), PATH=str(tmp_path))
    assert (process.returncode, process.stderr) == (0, "")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"weights.safetensors", "metrics.json", "graph.dot", "graph.svg", "graph.html"}
    assert "no curves.png: matplotlib is missing (pip install" in process.stdout
    assert (tmp_path / "weights.safetensors").read_bytes() == (done[0] / "weights.safetensors").read_bytes()


def on_a_terminal(command: list[str], out: Path) -> tuple[int, str, str]:
    """(exit code, stdout, what the terminal showed of stderr) of one epoch with stderr on a terminal."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on POSIX systems only")
    fcntl, termios = importlib.import_module("fcntl"), importlib.import_module("termios")
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # 24 rows of 80 columns
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        process = subprocess.Popen(
            [*command, "--epochs", "1", "--out", str(out)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=end
        )
        os.close(end)
        shown = b""
        try:
            while chunk := reader.read(4096):
                shown += chunk
        except OSError:  # how Linux says that the other end was closed
            shown += b""
        stdout, _ = process.communicate()
    return process.returncode, stdout.decode(), shown.decode()


def test_on_a_terminal_it_needs_no_tqdm(tmp_path):
    code, stdout, shown = on_a_terminal(without("tqdm"), tmp_path)
    assert (code, shown) == (0, "")
    assert stdout.startswith("epoch 1/1")


def test_on_a_terminal_tqdm_shows_a_bar(tmp_path):
    pytest.importorskip("tqdm", reason="the progress bar is drawn by tqdm")
    code, stdout, shown = on_a_terminal(JOB, tmp_path)
    assert code == 0
    assert "training" in shown
    assert "epoch 1/1" in stdout


def test_help_names_every_option_and_its_default():
    process = run("--help")
    assert (process.returncode, process.stderr) == (0, "")
    words = " ".join(process.stdout.split())
    for option in ("--out", "--epochs", "--seed", "--batch-size", "--lr", "--version"):
        assert option in words
    assert "(runs/digits)" in words
    assert "python -m tinygrad_cnn" in words


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"tinygrad_cnn {tg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--epochs", "0"], "argument --epochs: 0 is not above 0"),
        (["--epochs", "-3"], "argument --epochs"),
        (["--epochs", "1.5"], "argument --epochs: invalid int value: '1.5'"),
        (["--epochs"], "argument --epochs: expected one argument"),
        (["--batch-size", "0"], "argument --batch-size: 0 is not above 0"),
        (["--lr", "nan"], "argument --lr: nan is not above 0"),
        (["--lr", "inf"], "argument --lr"),
        (["--lr", "-0.1"], "argument --lr"),
        (["--seed", "-1"], "argument --seed"),
        (["--seed=-1"], "argument --seed: '-1' is not a whole number from 0 up"),
        (["--seed", "x"], "argument --seed: 'x' is not a whole number from 0 up"),
        (["--momentum", "0.9"], "unrecognized arguments: --momentum"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_bad_arguments_exit_2_and_say_which(arguments, complaint, tmp_path):
    process = run(*arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert process.stdout == ""
    assert complaint in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_exits_1_before_training(out, tmp_path):
    (tmp_path / "file").write_text("mine")
    process = run("--out", tmp_path / out)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith(f"cannot write to {tmp_path / out}: ")
    assert "Traceback" not in process.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_that_cannot_be_replaced_exits_1(tmp_path):
    (tmp_path / "metrics.json").mkdir()
    process = run("--epochs", 1, "--out", tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith(f"cannot write to {tmp_path}: ")
    assert "Traceback" not in process.stderr
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_exits_130_and_writes_nothing(tmp_path):
    with subprocess.Popen(
        [*JOB, "--epochs", "10000", "--out", str(tmp_path)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("epoch     1/10000")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert list(tmp_path.iterdir()) == []
