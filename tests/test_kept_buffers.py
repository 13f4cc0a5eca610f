"""KeptBuffers: what ran leaves no trace in buffers, and none in memory that a buffer has shown meanwhile."""

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.buffers import KeptBuffers
from tinygrad_cnn.train import fit


class Noting(nn.Module):
    """Has the last batch, its first row, and how often it ran, as buffers; each is kept in another way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("batch", tg.zeros(2, 3))
        self.register_buffer("row", tg.zeros(3))
        self.register_buffer("runs", tg.tensor(0))
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        x = tg.from_numpy(x) if isinstance(x, np.ndarray) else x
        self.batch.data = x.detach()  # the caller's memory
        with tg.no_grad():
            self.row.copy_(x[0])
        self.runs = self.runs + 1
        return self.linear(x)


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def is_as_made(module, buffers):
    assert [a is b for a, b in zip(module.buffers(), buffers, strict=True)] == [True] * 3
    assert [b.tolist() for b in buffers] == [[[0, 0, 0]] * 2, [0, 0, 0], 0]


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("fails", [False, True])
def test_a_block_puts_back_the_buffers_of_what_ran_and_writes_to_nothing_else(n, fails):
    module = Noting()
    buffers, x = list(module.buffers()), images(n)
    before = x.copy()
    try:
        with KeptBuffers("a test"):
            module(tg.from_numpy(x))
            assert module.runs.item() == 1
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    is_as_made(module, buffers)
    assert np.array_equal(x, before)


def test_a_graph_that_has_read_what_is_put_back_is_told():
    module, p = Noting(), tg.ones(3, requires_grad=True)
    with KeptBuffers("a test"):
        module(tg.from_numpy(images(2)))
        loss = (p * module.row).sum()
    with pytest.raises(RuntimeError, match=r"mul: its input .* changed in place \(a test\)"):
        loss.backward()


def test_a_step_that_is_not_made_writes_nothing_into_the_batch_that_a_buffer_shows():
    model = Noting()
    buffers, x, y = list(model.buffers()), images(4), np.array([0, 1, 1, 0])
    before = x.copy()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(FloatingPointError, match=r"^fit: the loss is nan in epoch 1, batch 1"):
        fit(model, [(x, y)], lambda out, y: F.cross_entropy(out, y) * np.nan, optimizer, epochs=1, progress=False)
    is_as_made(model, buffers)
    assert np.array_equal(x, before)


def test_the_second_call_of_a_function_for_a_script_moves_no_statistics():
    norm, x = nn.BatchNorm1d(3), tg.Tensor(images(4), requires_grad=True)
    runs = []

    def function():
        norm(x)  # leads nowhere
        runs.append(norm.num_batches_tracked.item())
        return x * 2.0

    tg.to_numpy(function, norm, {"x": x})
    assert runs == [1, 2]
    assert norm.num_batches_tracked.item() == 1
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.detach().numpy().mean(0), rtol=1e-5)
