"""What each rank of test_distributed_mpi.py runs: the checks below, and a line from rank 0 for each.

    mpiexec -n 2 python tests/ranks.py FOLDER [CHECK ...]

A check that fails on one rank ends all of them.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import tinygrad_cnn as tg
from tinygrad_cnn import metrics, nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.distributed import DataParallel, DistributedSampler, get_rank, get_world_size, init, local_count
from tinygrad_cnn.kernels.parallel import get_num_threads
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.train import BestModel, evaluate, fit

GROUP = init()
FOLDER = Path(sys.argv[1])
LOSS = nn.CrossEntropyLoss(weight=np.array([0.3, 2.0, 0.7, 1.6]), ignore_index=3)


class Net(nn.Module):
    def __init__(self, seed: int, drop: float = 0.0) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self.conv = nn.Conv2d(2, 5, 3, padding=1, bias=False, generator=generator)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(drop)
        self.fc = nn.Linear(5 * 4 * 6, 4, generator=generator)
        self.to(np.float64)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(F.relu(self.norm(self.conv(x)))).flatten(1))


def data(n: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(3.0, 2.0, (n, 2, 4, 6)), rng.integers(0, 4, n)


def same_everywhere(*arrays: Any) -> bool:
    """Whether all ranks have the same bits."""
    found = GROUP.collect([np.asarray(array).tobytes() for array in arrays])
    return all(other == found[0] for other in found)


def state(net: nn.Module) -> list[Any]:
    return [value.numpy() for value in net.state_dict().values()]


def loaders(images: Any, labels: Any, batch: int) -> tuple[Any, Any]:
    dataset, valid = TensorDataset(images, labels), TensorDataset(*data(13, 7))
    sampler = DistributedSampler(dataset, seed=4, drop_last=True)
    measured = DistributedSampler(valid, shuffle=False, pad=False)
    train = DataLoader(dataset, batch // GROUP.size, sampler=sampler, drop_last=True)
    return train, DataLoader(valid, 5, sampler=measured)


def check_each_rank_computes_with_one_thread() -> None:
    assert (get_rank(), get_world_size()) == (GROUP.rank, GROUP.size)
    assert sorted(GROUP.collect(GROUP.rank)) == list(range(GROUP.size))
    assert get_num_threads() == 1
    assert all(pool["num_threads"] == 1 for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")


def check_models_begin_with_the_weights_of_rank_0() -> None:
    model = DataParallel(Net(GROUP.rank))
    assert same_everywhere(*state(model.module))
    assert np.array_equal(model.module.fc.weight.numpy(), Net(0).fc.weight.numpy())


def check_uneven_parts_have_the_gradients_of_the_whole_batch_and_stay_equal_to_the_bit() -> None:
    counts = [3, 6, 1, 4][: GROUP.size]
    ends = np.cumsum([0, *counts])
    x, y = data(int(ends[-1]))
    alone, part = Net(0), slice(int(ends[GROUP.rank]), int(ends[GROUP.rank + 1]))
    model = DataParallel(Net(GROUP.rank))
    ours, theirs = (optim.AdamW(net.parameters(), lr=0.01) for net in (model.module, alone))
    for _ in range(3):
        whole = LOSS(alone(tg.Tensor(x)), y)
        outputs = model(tg.Tensor(x[part]))
        value = LOSS(outputs, y[part])
        ours.zero_grad()
        theirs.zero_grad()
        whole.backward()
        of_all = model.backward(value, local_count(LOSS, outputs, y[part]), outputs)
        np.testing.assert_allclose(of_all, whole.item(), rtol=1e-6)
        for (name, p), q in zip(alone.named_parameters(), model.module.parameters(), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
        ours.step()
        theirs.step()
    assert same_everywhere(*state(model.module))
    for mine, other in zip(state(model.module), state(alone), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)


def check_the_loss_curve_and_the_figures_are_those_of_one_process() -> None:
    images, labels = data(40)
    figures = []
    for model in (DataParallel(Net(GROUP.rank)), Net(0)):
        parallel = isinstance(model, DataParallel)
        train, valid = loaders(images, labels, 6)
        if not parallel:
            train = DataLoader(TensorDataset(images, labels), 6, shuffle=True, seed=4, drop_last=True)
            valid = DataLoader(TensorDataset(*data(13, 7)), 13)
        accuracy = metrics.Accuracy()
        optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        history = fit(model, train, F.cross_entropy, optimizer, epochs=3, valid=valid, metrics={"acc": accuracy},
                      progress=False)  # fmt: skip
        matrix = evaluate(model, valid, metrics={"matrix": metrics.ConfusionMatrix(4)})["matrix"]
        figures.append((history["train_loss"], history["valid_loss"], history["valid_acc"], matrix))
        if parallel:
            assert same_everywhere(*state(model.module), *figures[0])
    assert figures[0][3].sum() == 13
    for ours, alone in zip(*figures, strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-6)


def check_rank_0_writes_and_all_go_on_from_it_bit_for_bit() -> None:
    images, labels = data(24)

    def run(name: str, epochs: int, resume: bool) -> Any:
        folder = FOLDER / f"{name}{GROUP.size}"
        if GROUP.rank == 0:
            folder.mkdir(exist_ok=True)
        GROUP.barrier()
        tg.manual_seed(GROUP.rank)
        model = DataParallel(Net(GROUP.rank, drop=0.3))
        optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        best = BestModel(folder / "best.safetensors", "train_loss", restore=True)
        history = fit(
            model, loaders(images, labels, 6)[0], LOSS, optimizer, epochs=epochs, progress=GROUP.rank > 0,
            checkpoint=folder / "checkpoint.safetensors", resume=resume, callbacks=[best] if GROUP.rank == 0 else [],
        )  # fmt: skip
        GROUP.barrier()
        assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors", "checkpoint.safetensors"]
        assert same_everywhere(*state(model.module))
        return history["train_loss"], [values.tobytes() for values in state(model.module)]

    straight = run("a", 4, False)
    run("b", 2, False)
    assert run("b", 4, True) == straight


def check_what_one_rank_cannot_compute_stops_all() -> None:
    images, labels = data(12)
    if GROUP.rank == GROUP.size - 1:
        images[:] = np.inf
    model = DataParallel(Net(0))
    before = [values.copy() for values in state(model.module)]
    with pytest.raises(FloatingPointError, match=r"fit: the loss is nan in epoch 1, batch 1"):
        fit(model, loaders(images, labels, 6)[0], LOSS, optim.SGD(model.parameters(), lr=0.1), epochs=1, progress=False)
    assert all(map(np.array_equal, before, state(model.module)))


CHECKS = {name: value for name, value in dict(globals()).items() if name.startswith("check_")}

for name in sys.argv[2:] or CHECKS:
    CHECKS[name]()
    GROUP.barrier()
    if GROUP.rank == 0:
        print(name, flush=True)
