"""The scripts under examples/pytorch_style run here, and with PyTorch in the import lines there too."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "pytorch_style"
SMALL = {
    "dcgan": ["--niter", "2", "--images", "96", "--batchSize", "16", "--ngf", "4", "--ndf", "4"],
    "mnist": ["--epochs", "2", "--batch-size", "32", "--test-batch-size", "50", "--log-interval", "2"],
    "resnet": ["--depth", "8", "--steps", "12", "--batch-size", "16"],
    "vgg": ["--steps", "16", "--batch-size", "16"],
    "wgan_gp": ["--iterations", "60", "--width", "32"],
}


def source(name):
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def run(name, text, arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    exec(compile(text, str(FOLDER / f"{name}.py"), "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out


def numbers(pattern, text):
    return [float(found) for found in re.findall(pattern, text)]


def assert_learned(name, out):
    """What each script prints when it does what it is for."""
    if name == "vgg":
        assert numbers(r"accuracy: (\S+)", out)[0] >= 0.6
    elif name == "resnet":
        losses = numbers(r"loss (\S+),", out)
        assert losses[-1] < 1.45  # the logarithm of 4 classes is 1.39
        assert len(numbers(r"accuracy of the (?:model|average): (\S+)", out)) == 2
    elif name == "dcgan":
        assert max(map(abs, numbers(r"D\(x\): (\S+)", out))) > 0.5
        assert len(numbers(r"Loss_D: (\S+)", out)) == 2
    elif name == "wgan_gp":
        assert numbers(r"penalty (\S+)\)", out)[-1] < 1
        assert numbers(r"points: (\S+)", out)[0] > 0.3


@pytest.fixture
def mnist(tmp_path):
    """A folder like torchvision's, with drawn digits."""
    from tinygrad_cnn.data import synthetic

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n, seed in (("train", 320, 0), ("t10k", 100, 1)):
        images, labels = synthetic(n, seed=seed)
        pixels = np.rint(images[:, 0] * 255).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels.astype(np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return tmp_path


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_script_names_this_library_in_its_import_lines_alone(name):
    lines = [line for line in source(name).split('"""')[2].splitlines() if "tinygrad_cnn" in line]
    assert lines
    assert [line for line in lines if not re.match(r"(import|from) tinygrad_cnn\b", line)] == []


def test_every_script_of_the_folder_is_run():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(SMALL)


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"mnist"}))
def test_a_script_runs(name, monkeypatch, capsys):
    assert_learned(name, run(name, source(name), SMALL[name], monkeypatch, capsys))


def test_the_classic_mnist_script_runs_on_a_folder_of_torchvision(mnist, monkeypatch, capsys, tmp_path):
    import tinygrad_cnn as tg

    text = source("mnist")
    saved = tmp_path / "mnist_cnn.safetensors"
    out = run(
        "mnist", text, [*SMALL["mnist"], "--data-dir", str(mnist), "--save-model", str(saved)], monkeypatch, capsys
    )
    losses = numbers(r"Average loss: (\S+),", out)
    assert len(losses) == 2
    assert losses[1] < 2.3  # the logarithm of 10 classes
    assert tg.load(saved)["fc2.weight"].shape == (10, 128)
    with pytest.raises(FileNotFoundError, match="MNIST"):
        run("mnist", text, ["--data-dir", str(tmp_path / "nowhere")], monkeypatch, capsys)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", sorted(set(SMALL) - {"mnist"}))
def test_the_same_script_is_one_of_pytorch(name, monkeypatch, capsys):
    text = source(name)
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    text = text.replace("import tinygrad_cnn as torch", "import torch").replace("tinygrad_cnn", "torch")
    try:
        assert_learned(name, run(name, text, SMALL[name], monkeypatch, capsys))
    finally:
        torch.set_num_threads(threads)
