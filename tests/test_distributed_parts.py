"""Which items each process gets, and what the means of their losses divide by."""

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.distributed import DistributedSampler
from tinygrad_cnn.distributed import local_count as count_of
from tinygrad_cnn.nn import functional as F

# The sampler


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3))
def test_ranks_share_an_order_and_every_item_comes_once(n, ranks, shuffle, drop_last, pad, epoch):
    if n < ranks and (pad or drop_last):
        with pytest.raises(
            ValueError, match=rf"DistributedSampler: {n} items for {ranks} processes; each needs at lea"
        ):
            DistributedSampler(range(n), ranks, 0, shuffle, 7, drop_last, pad=pad)
        return
    samplers = [DistributedSampler(range(n), ranks, r, shuffle, 7, drop_last, pad=pad) for r in range(ranks)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    parts = [list(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == list(map(len, samplers))
    seen = sorted(i for part in parts for i in part)
    if drop_last:
        assert len(set(map(len, parts))) == 1
        assert len(seen) == n - n % ranks == len(set(seen))
    elif pad:
        assert len(set(map(len, parts))) == 1
        assert set(seen) == set(range(n))
        assert len(seen) - n == samplers[0].repeated == -n % ranks
    else:
        assert seen == list(range(n))
        assert samplers[0].repeated == 0
    if not shuffle:
        assert parts[0][: n // ranks] == list(range(0, n - n % ranks, ranks))


def test_the_batches_of_all_ranks_are_those_of_one_process():
    data = TensorDataset(np.arange(23))
    for epoch in range(3):
        alone = DataLoader(data, 6, shuffle=True, seed=3, drop_last=True)
        alone.epoch = epoch
        together = []
        for rank in range(3):
            sampler = DistributedSampler(data, 3, rank, seed=3, drop_last=True)
            sampler.set_epoch(epoch)
            together.append([x.tolist() for (x,) in DataLoader(data, 2, sampler=sampler, drop_last=True)])
        assert [set(x.tolist()) for (x,) in alone] == [{*a, *b, *c} for a, b, c in zip(*together, strict=True)]


def test_the_sampler_is_pytorchs_in_how_many_each_rank_gets():
    torch_data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    for n in (7, 12, 23):
        for drop_last in (False, True):
            for rank in range(4):
                ours = DistributedSampler(range(n), 4, rank, shuffle=False, drop_last=drop_last)
                theirs = torch_data.DistributedSampler(range(n), 4, rank, shuffle=False, drop_last=drop_last)
                assert (list(ours), len(ours)) == (list(theirs), len(theirs))


def test_a_sampler_refuses_what_is_no_rank():
    with pytest.raises(ValueError, match="DistributedSampler: rank=3 of num_replicas=3; ranks begin at 0"):
        DistributedSampler(range(9), 3, 3)
    with pytest.raises(ValueError, match=r"DistributedSampler.set_epoch: epoch"):
        DistributedSampler(range(9), 3, 1).set_epoch(-1)
    assert (DistributedSampler(range(9)).num_replicas, DistributedSampler(range(9)).rank) == (1, 0)


# What losses are divided by


@pytest.mark.parametrize(
    "loss",
    [
        nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(), nn.HalfSquaredError("mean"), nn.KLDivLoss(),
        nn.KLDivLoss(reduction="batchmean"), nn.HingeEmbeddingLoss(), nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(),
        nn.BCEWithLogitsLoss(np.array([0.5, 2.0, 1.0]), pos_weight=np.array([3.0, 1.0, 2.0])),
        nn.MSELoss(reduction="sum"),
        nn.CrossEntropyLoss(np.array([0.5, 2.0, 1.0]), label_smoothing=0.2), nn.HalfSquaredError(),
    ],
    ids=repr,
)  # fmt: skip
def test_means_of_parts_weighted_by_their_counts_are_the_mean_of_the_whole(loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3, 2)), rng.uniform(0.1, 0.9, (7, 3, 2))
    if isinstance(loss, nn.BCEWithLogitsLoss):
        x, y = x.swapaxes(1, 2), y.swapaxes(1, 2)
    if isinstance(loss, nn.HingeEmbeddingLoss):
        y = np.where(y < 0.5, -1.0, 1.0)
    parts = [slice(0, 2), slice(2, 7)]
    values = [loss(tg.Tensor(x[part]), tg.Tensor(y[part])).item() for part in parts]
    counts = [count_of(loss, x[part], y[part]) for part in parts]
    whole = loss(tg.Tensor(x), tg.Tensor(y)).item()
    if counts == [None, None]:
        np.testing.assert_allclose(sum(values), whole, rtol=1e-6)
    else:
        np.testing.assert_allclose(np.average(values, weights=counts), whole, rtol=1e-6)


def test_labels_count_by_their_classes_unless_they_are_ignored():
    scores, labels = np.zeros((5, 3)), np.array([0, 1, 1, 2, -100])
    weight = np.array([0.5, 2.0, 8.0])
    for loss, count in [
        (nn.CrossEntropyLoss(), 4),
        (nn.CrossEntropyLoss(weight), 12.5),
        (nn.NLLLoss(weight, ignore_index=1), None),
        (F.cross_entropy, 4),
        (F.nll_loss, 4),
        (functools.partial(F.cross_entropy, weight=weight), 12.5),
        (functools.partial(F.nll_loss, weight=weight, reduction="sum"), None),
        (lambda outputs, targets: None, 5),
    ]:
        if isinstance(loss, nn.NLLLoss):
            assert count_of(loss, scores[:4], labels[:4]) == 8.5
        else:
            assert count_of(loss, scores, labels) == count
    assert count_of(abs, scores, [1, 2, 3]) == 3
    assert count_of(abs, scores, np.float64(1)) == 1

    class Own:
        def count(self, outputs: Any, targets: Any) -> int:
            return len(targets) * outputs.shape[1]

    assert count_of(Own(), scores, labels) == 15
