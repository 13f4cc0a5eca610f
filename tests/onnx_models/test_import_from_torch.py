"""A network that PyTorch wrote, fine-tuned here and there: the same losses, and the same state at the end."""

import io
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")
pytest.importorskip("torch", reason="compares with PyTorch")

import torch

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.onnx import load_onnx


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (3, 5), 2, 1, bias=False), torch.nn.BatchNorm2d(4))
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.left = torch.nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2)
        self.norm = torch.nn.BatchNorm2d(6, momentum=0.3)
        self.up = torch.nn.ConvTranspose2d(6, 5, 3, 2, 1, 1)

    def forward(self, x):
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.tanh(self.up(torch.nn.functional.leaky_relu(self.norm(self.left(x)), 0.2)))
        return torch.nn.functional.adaptive_avg_pool2d(x, 1)


def written(net, x):
    """The bytes of the file that PyTorch writes of a net that is to be trained."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (x,),
            file,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            training=torch.onnx.TrainingMode.TRAINING,
            do_constant_folding=False,
        )
    return file.getvalue()


def test_a_net_of_pytorchs_is_fine_tuned_as_it_would_be_there():
    torch.manual_seed(3)
    theirs, rng = Net(), np.random.default_rng(3)
    theirs(torch.randn(4, 3, 13, 12))  # moves the statistics away from where they begin
    ours = load_onnx(written(theirs.eval(), torch.randn(2, 3, 13, 12)))
    state = {name: value for name, value in theirs.state_dict().items() if "num_batches" not in name}
    assert set(ours.state_dict()) == set(state)
    x, labels = rng.standard_normal((8, 3, 13, 12)).astype(np.float32), rng.integers(0, 5, (8, 1, 1))
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x)).detach().numpy(), 1e-4, 1e-6)

    step = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    mine = tg.optim.SGD(ours.parameters(), 0.1, momentum=0.9)
    theirs.train()
    ours.train()
    for _ in range(4):
        step.zero_grad()
        mine.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
        loss = F.cross_entropy(ours(x), tg.tensor(labels))
        expected.backward()
        loss.backward()
        step.step()
        mine.step()
        np.testing.assert_allclose(loss.item(), expected.item(), 1e-5)
    for name, value in state.items():  # which are the net's own arrays
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), 1e-3, 1e-5, err_msg=name)
    theirs.eval()
    ours.eval()
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x)).detach().numpy(), 1e-4, 1e-5)
