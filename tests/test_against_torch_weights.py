"""Weights travel between PyTorch and here through safetensors files, both ways and bit for bit, without renaming."""

import shlex
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch.nn import functional as TF  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402
from tinygrad_cnn import CheckpointError, nn  # noqa: E402
from tinygrad_cnn.nn.models import VGG, LeNet5, ResNet20  # noqa: E402


class TorchLeNet5(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1 = torch.nn.Linear(400, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 10)

    def forward(self, x):
        x = TF.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = TF.max_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class TorchVGG(torch.nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        layers, c = [], 3
        for step in channels:
            if step == "M":
                layers.append(torch.nn.MaxPool2d(2, 2))
            else:
                layers += [torch.nn.Conv2d(c, step, 3, padding=1), torch.nn.BatchNorm2d(step), torch.nn.ReLU()]
                c = step
        self.features = torch.nn.Sequential(*layers)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(c, hidden), torch.nn.ReLU(), torch.nn.Dropout(),
            torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(hidden, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class TorchBlock(torch.nn.Module):
    def __init__(self, c, channels, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(c, channels, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(channels)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(c, channels, 1, stride, bias=False), torch.nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class TorchResNet20(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        for i, (c, channels) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            blocks = [
                TorchBlock(c, channels, 1 if i == 1 else 2),
                *(TorchBlock(channels, channels, 1) for _ in range(2)),
            ]
            setattr(self, f"layer{i}", torch.nn.Sequential(*blocks))
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


CHANNELS = (4, "M", 6, "M", 8, "M", 8, "M", 8, "M")
PAIRS = {
    "LeNet-5": (LeNet5, TorchLeNet5, (2, 1, 32, 32)),
    "VGG": (lambda: VGG(CHANNELS, hidden=12, batch_norm=True), lambda: TorchVGG(CHANNELS, 12), (2, 3, 32, 32)),
    "ResNet-20": (lambda: ResNet20(shortcut="B"), TorchResNet20, (2, 3, 32, 32)),
}


def odd(theirs, memory_format=torch.contiguous_format):
    """The PyTorch model with values of every kind in all of its state, buffers too."""
    generator = torch.Generator().manual_seed(3)
    for name, value in theirs.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
            if name.endswith("running_var"):
                value.abs_().add_(0.5)
            else:
                value.view(-1)[:3] = torch.tensor([-0.0, 1e-42, torch.finfo(torch.float32).tiny])
        else:
            value.fill_(2**40 + 7)
    return theirs.to(memory_format=memory_format)


def bits(state):
    arrays = {name: np.asarray(value.detach().numpy()) for name, value in state.items()}
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", PAIRS)
def test_from_pytorch_to_here_and_back_every_bit_is_the_same(tmp_path, name, memory_format):
    make, make_theirs, shape = PAIRS[name]
    theirs, ours, back = odd(make_theirs(), memory_format), make(), make_theirs()
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, tmp_path / "theirs")
    ours.load(tmp_path / "theirs")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert bits(ours.state_dict()) == bits(theirs.state_dict())
    ours.save(tmp_path / "ours")
    assert not any(back.load_state_dict(load_file(tmp_path / "ours"), strict=True))
    assert bits(back.state_dict()) == bits(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wanted = theirs.eval()(torch.tensor(x)).detach().numpy()
    assert np.allclose(ours.eval()(tg.Tensor(x)).numpy(), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", PAIRS)
def test_weights_initialised_here_load_into_pytorch_strictly(tmp_path, name):
    make, make_theirs, _ = PAIRS[name]
    ours, theirs = make(), make_theirs()
    tg.save(ours.state_dict(), tmp_path / "x")
    theirs.load_state_dict(load_file(tmp_path / "x"), strict=True)
    assert bits(theirs.state_dict()) == bits(ours.state_dict())


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::-1, ::2], lambda a: np.asfortranarray(a), lambda a: a[:, 1:2]]
)
def test_awkward_arrays_reach_pytorch_as_they_read(tmp_path, view):
    a = view(np.arange(30, dtype=np.float32).reshape(5, 6))
    tg.save({"array": a, "tensor": tg.Tensor(a)}, tmp_path / "x")
    found = load_file(tmp_path / "x")
    assert found["array"].tolist() == found["tensor"].tolist() == a.tolist()


def test_H173_half_precision_of_pytorch_is_not_cast(tmp_path):
    save_file({key: value.half() for key, value in TorchLeNet5().state_dict().items()}, tmp_path / "half")
    with pytest.raises(CheckpointError) as raised:
        LeNet5().load(tmp_path / "half")
    assert len(raised.value.problems) == 10
    assert "conv1.weight: float16 (6, 1, 5, 5) is given, float32 (6, 1, 5, 5) is needed" in raised.value.problems
    assert bits(LeNet5().half().load(tmp_path / "half").state_dict())["fc3.bias"][0] == np.float16
    save_file({key: value.bfloat16() for key, value in TorchLeNet5().state_dict().items()}, tmp_path / "brain")
    with pytest.raises(CheckpointError) as raised:
        tg.load(tmp_path / "brain")
    assert len(raised.value.problems) == 10
    assert "'conv1.bias' has the dtype 'BF16', which NumPy lacks; convert it first" in str(raised.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_H170_the_line_for_a_pytorch_file_converts_it(tmp_path, monkeypatch, legacy):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(3, 3)
            self.b = torch.nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.c = torch.nn.Conv2d(2, 3, (2, 5)).to(memory_format=torch.channels_last)
            self.bn = torch.nn.BatchNorm1d(3)

    state = Tied().state_dict()
    path = tmp_path / "a model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        CheckpointError, match=r"a model.pt: a file of torch.save is a pickle.*not opened here"
    ) as raised:
        tg.load(path)
    line = str(raised.value).splitlines()[-1]
    assert line.startswith("  python -c ")
    _, _, code, *names = shlex.split(line)
    monkeypatch.setattr(sys, "argv", ["-c", *names])
    exec(code, {})
    assert bits(dict(sorted(tg.load(tmp_path / "a model.safetensors").items()))) == bits(dict(sorted(state.items())))


def test_a_lazy_model_takes_its_shapes_from_a_file_of_pytorch(tmp_path):
    save_file(torch.nn.Linear(5, 2).state_dict(), tmp_path / "x")
    assert nn.Linear(None, 2).load(tmp_path / "x").weight.shape == (2, 5)
