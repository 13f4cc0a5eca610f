"""Data parallelism without MPI: one process, and ranks that are threads; test_distributed_mpi.py has real ones."""

import functools
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thread_group import on_ranks

import tinygrad_cnn as tg
from tinygrad_cnn import metrics, nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.distributed import DataParallel, DistributedSampler, Group, abort, get_rank, get_world_size, init
from tinygrad_cnn.distributed import local_count as count_of
from tinygrad_cnn.interchange import CheckpointError
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.train import EarlyStopping, evaluate, fit, load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parent.parent


class Net(nn.Module):
    """Convolution, a norm and a linear layer; `extra` is a parameter that the loss does not reach."""

    def __init__(self, seed: int = 0, dtype: Any = np.float64, norm: Any = nn.BatchNorm2d) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self.conv = nn.Conv2d(2, 3, (3, 2), padding=1, bias=False, generator=generator)
        self.norm = norm(3)
        self.fc = nn.Linear(3 * 4 * 6, 4, generator=generator)
        self.extra = nn.Parameter(np.ones(2))
        self.to(dtype)

    def forward(self, x: Any) -> Any:
        return self.fc(F.relu(self.norm(self.conv(x))).flatten(1))


def images_and_labels(n: int, seed: int = 0, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(3.0, 2.0, (n, 2, 4, 5)).astype(dtype), rng.integers(0, 4, n)


def gradients(module: nn.Module) -> dict[str, Any]:
    return {name: None if p.grad is None else p.grad.numpy() for name, p in module.named_parameters()}


def cuts(counts: list[int]) -> list[slice]:
    ends = np.cumsum([0, *counts])
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


LOSSES = {
    "mean": nn.CrossEntropyLoss(),
    "weights": nn.CrossEntropyLoss(weight=np.array([0.3, 2.0, 0.7, 1.6])),
    "ignored": nn.CrossEntropyLoss(weight=np.array([0.3, 2.0, 0.7, 1.6]), ignore_index=2, label_smoothing=0.1),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "function": F.cross_entropy,
    "partial": functools.partial(F.cross_entropy, ignore_index=1),
    "own": lambda outputs, labels: F.cross_entropy(outputs, labels),
}


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.sampled_from(sorted(LOSSES)),
    st.integers(0, 2**20),
)
@example([2, 3], "ignored", 0)
def test_ranks_with_uneven_parts_have_the_gradients_of_the_whole_batch(counts, name, seed):
    x, y = images_and_labels(sum(counts), seed)
    y[: counts[0]] = 2  # a rank whose labels may all be ignored
    y[counts[0]] = 0
    loss = LOSSES[name]
    alone = Net()
    whole = loss(alone(tg.Tensor(x)), y)
    whole.backward()

    def work(group: Group) -> Any:
        part = cuts(counts)[group.rank]
        model = DataParallel(Net(seed=group.rank), group)
        outputs = model(tg.Tensor(x[part]))
        value = loss(outputs, y[part])
        of_all = model.backward(value, count_of(loss, outputs, y[part]), outputs)
        return of_all, gradients(model.module), [b.numpy() for b in model.module.buffers()]

    for of_all, found, buffers in on_ranks(len(counts), work):
        np.testing.assert_allclose(of_all, whole.item(), rtol=1e-10)
        assert found.pop("extra") is None
        for key, value in found.items():
            np.testing.assert_allclose(value, gradients(alone)[key], rtol=1e-7, atol=1e-9, err_msg=key)
        for value, buffer in zip(buffers, alone.buffers(), strict=True):
            np.testing.assert_allclose(value, buffer.numpy(), rtol=1e-10)


def test_a_backward_that_raises_leaves_the_gradients_that_were_there():
    x, y = images_and_labels(3)

    def work(group: Group) -> Any:
        model = DataParallel(Net(), group)
        model.backward(F.cross_entropy(model(tg.Tensor(x)), y), 3)
        before = gradients(model.module)
        before = {name: None if g is None else g.copy() for name, g in before.items()}
        outputs = model(tg.Tensor(x))
        outputs.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.backward(F.cross_entropy(outputs, y), 3)
        return before, gradients(model.module)

    for before, after in on_ranks(2, work):
        assert before.pop("extra") is after.pop("extra") is None
        for name, g in before.items():
            np.testing.assert_array_equal(after[name], g)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_ranks_have_the_gradients_of_the_whole_batch_in_few_digits_too(dtype):
    x, y = images_and_labels(7, dtype=dtype)
    alone = Net(dtype=dtype)
    F.cross_entropy(alone(tg.Tensor(x)), y).backward()

    def work(group: Group) -> Any:
        part = cuts([2, 4, 1])[group.rank]
        model = DataParallel(Net(group.rank, dtype), group)
        model.backward(F.cross_entropy(model(tg.Tensor(x[part])), y[part]), len(y[part]))
        return gradients(model.module)

    for found in on_ranks(3, work):
        for key, value in gradients(alone).items():
            if value is not None:
                assert found[key].dtype == dtype
                tolerance = 1e-6 if dtype == np.float32 else 6e-3
                with np.errstate(under="ignore"):  # of the comparison
                    np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=key)


def test_a_large_mean_costs_the_shared_variance_no_digits():
    x = np.random.default_rng(0).normal(1e6, 1.0, (9, 3, 2))
    alone = nn.BatchNorm1d(3).to(np.float64)
    whole = alone(tg.Tensor(x)).numpy()

    def work(group: Group) -> Any:
        model = DataParallel(nn.BatchNorm1d(3).to(np.float64), group)
        return model(tg.Tensor(x[cuts([4, 5])[group.rank]])).numpy(), model.module.running_var.numpy()

    (first, variance), (second, same) = on_ranks(2, work)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e-8)
    np.testing.assert_allclose(variance, alone.running_var.numpy(), rtol=1e-10)
    assert variance.tobytes() == same.tobytes()


def test_one_image_per_rank_is_a_batch_of_two_and_no_image_is_refused():
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    whole = nn.BatchNorm1d(3)(tg.Tensor(x)).numpy()

    def work(group: Group) -> Any:
        return DataParallel(nn.BatchNorm1d(3), group)(tg.Tensor(x[group.rank : group.rank + 1])).numpy()

    np.testing.assert_allclose(np.concatenate(on_ranks(2, work)), whole, rtol=1e-6)

    def empty(group: Group) -> Any:
        return DataParallel(nn.BatchNorm1d(3), group)(tg.Tensor(x[group.rank :][:1] if group.rank == 0 else x[:0]))

    with pytest.raises(ValueError, match=r"batch_norm: the input \(0, 3\) has no values, but the batch is shared with"):
        on_ranks(2, empty)


def test_instance_norms_move_running_statistics_by_the_images_of_all_ranks():
    x, _ = images_and_labels(5)
    alone = Net(norm=functools.partial(nn.InstanceNorm2d, track_running_stats=True))
    alone(tg.Tensor(x))

    def work(group: Group) -> Any:
        net = Net(norm=functools.partial(nn.InstanceNorm2d, track_running_stats=True))
        DataParallel(net, group)(tg.Tensor(x[cuts([1, 4])[group.rank]]))
        return net.norm.running_mean.numpy(), net.norm.running_var.numpy()

    for mean, variance in on_ranks(2, work):
        np.testing.assert_allclose(mean, alone.norm.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(variance, alone.norm.running_var.numpy(), rtol=1e-12)


def test_in_eval_mode_and_outside_of_the_model_nothing_is_shared():
    x, _ = images_and_labels(4, dtype=np.float32)

    def work(group: Group) -> None:
        model = DataParallel(
            Net(dtype=np.float32, norm=functools.partial(nn.BatchNorm2d, track_running_stats=False)), group
        )
        model.eval()
        if group.rank == 0:  # a collective call would wait for the other
            model(tg.Tensor(x))  # by the statistics of its own batch, as there are no others
            nn.BatchNorm2d(2)(tg.Tensor(x))

    on_ranks(2, work)


def test_a_checkpointed_block_shares_its_statistics_again():
    x, y = images_and_labels(6)
    alone = Net()
    F.cross_entropy(alone(tg.Tensor(x)), y).backward()

    class Checkpointed(Net):
        def forward(self, x: Any) -> Any:
            return tg.checkpoint(super().forward, x)

    def work(group: Group) -> Any:
        part = cuts([2, 4])[group.rank]
        model = DataParallel(Checkpointed(), group)
        model.backward(F.cross_entropy(model(tg.Tensor(x[part])), y[part]), len(y[part]))
        return gradients(model.module)["conv.weight"], model.module.norm.running_mean.numpy()

    for gradient, mean in on_ranks(2, work):
        np.testing.assert_allclose(gradient, alone.conv.weight.grad.numpy(), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(mean, alone.norm.running_mean.numpy(), rtol=1e-12)


def test_second_gradients_through_a_shared_batch_are_refused():
    x, y = images_and_labels(4)

    def work(group: Group) -> Any:
        model = DataParallel(Net(), group)
        loss = F.cross_entropy(model(tg.Tensor(x)), y)
        return tg.grad(loss, [model.module.conv.weight], create_graph=True)

    with pytest.raises(RuntimeError, match=r"batch_norm: create_graph=True needs a gradient .* use the module inside"):
        on_ranks(2, work)


def test_gradients_of_several_backwards_add_up():
    x, y = images_and_labels(6)

    def work(group: Group) -> Any:
        model = DataParallel(nn.Linear(40, 4).to(np.float64), group)
        part = cuts([2, 4])[group.rank]
        for _ in range(2):
            model.backward(F.cross_entropy(model(tg.Tensor(x[part]).flatten(1)), y[part]), len(y[part]))
        twice = gradients(model.module)["weight"].copy()
        model.zero_grad()
        model.backward(F.cross_entropy(model(tg.Tensor(x[part]).flatten(1)), y[part]), len(y[part]))
        return twice, gradients(model.module)["weight"]

    for twice, once in on_ranks(2, work):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-12)


def test_a_parameter_that_one_rank_alone_uses_gets_its_gradient_everywhere():
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v, self.unused = (nn.Parameter(np.full(3, k)) for k in (2.0, 3.0, 4.0))

        def forward(self, x: Any, second: bool) -> Any:
            return (x * (self.v if second else self.w)).mean()

    def work(group: Group) -> Any:
        model = DataParallel(Either(), group)
        model.backward(model(tg.Tensor(np.arange(3.0)), group.rank == 1), 1)
        return gradients(model.module)

    for found in on_ranks(2, work):
        assert found["unused"] is None
        assert found["w"].tolist() == found["v"].tolist() == [0, 1 / 6, 1 / 3]


def test_modules_that_differ_are_refused_on_all_ranks():
    def work(make: Any, group: Group) -> str:
        with pytest.raises(ValueError, match="DataParallel: ") as caught:
            DataParallel(make(group.rank), group)
        return str(caught.value)

    for make, message in [
        (lambda rank: nn.Linear(3, 2 + rank), "weight is float32 (3, 3), trained: True in rank 1 and float32 (2, 3),"),
        (lambda rank: nn.Linear(3, 2, bias=rank == 0), "bias is missing in rank 1 and float32 (2,), trained: True in"),
        (lambda rank: nn.Linear(3, 2, bias=rank == 1), "bias is float32 (2,), trained: True in rank 1 and missing in"),
        (lambda rank: nn.Linear(3, 2).requires_grad_(not rank), "weight is float32 (2, 3), trained: False in rank 1"),
    ]:
        messages = on_ranks(2, functools.partial(work, make))
        assert messages[0] == messages[1]
        assert messages[0].startswith(f"DataParallel: {message}")
        assert messages[0].endswith("make the same module in every process")

    with pytest.raises(ValueError, match="DataParallel: weight, bias: no shape yet; run the module once before"):
        on_ranks(2, lambda group: DataParallel(nn.Linear(None, 3), group))
    with pytest.raises(TypeError, match="DataParallel: module is a int; a Module is needed"):
        DataParallel(3)


def test_a_count_is_a_number_from_0_and_of_0_the_outputs_are_needed():
    loss = tg.Tensor(1.0, requires_grad=True) * 2
    for count in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"DataParallel: count=.*; a number >= 0 is needed, or None for a sum"):
            DataParallel(nn.Linear(2, 2)).backward(loss, count)
    with pytest.raises(
        ValueError, match=r"DataParallel: count=0, so .*; give outputs=, the Tensor that the model gave"
    ):
        on_ranks(2, lambda group: DataParallel(nn.Linear(2, 2), group).backward(loss, 0))


def test_a_rank_on_which_nothing_counts_adds_nothing_to_the_gradients():
    x, _ = images_and_labels(5)
    kept = np.array([1.0, 1.0, 0.0, 0.0, 0.0])

    def loss(outputs: Any, part: slice) -> Any:  # 0 / 0 on rank 1
        return (outputs[:, 0] * kept[part]).sum() / tg.Tensor(kept[part]).sum()

    alone = Net()
    loss(alone(tg.Tensor(x)), slice(0, 5)).backward()

    def work(group: Group) -> Any:
        part = cuts([2, 3])[group.rank]
        model = DataParallel(Net(), group)
        outputs = model(tg.Tensor(x[part]))
        of_all = model.backward(loss(outputs, part), kept[part].sum(), outputs)
        return of_all, gradients(model.module)["conv.weight"]

    for of_all, found in on_ranks(2, work):
        assert of_all == pytest.approx(loss(Net()(tg.Tensor(x)), slice(0, 5)).item(), rel=1e-12)
        np.testing.assert_allclose(found, alone.conv.weight.grad.numpy(), rtol=1e-7, atol=1e-10)


def test_alone_a_parallel_model_is_its_module_to_the_bit():
    x, y = images_and_labels(5)
    net, same = Net(), Net()
    model = DataParallel(same)
    F.cross_entropy(net(tg.Tensor(x)), y).backward()
    assert model.backward(F.cross_entropy(model(tg.Tensor(x)), y), 5) == F.cross_entropy(Net()(tg.Tensor(x)), y).item()
    for name, gradient in gradients(net).items():
        assert np.array_equal(gradient, gradients(same)[name])
    assert "rank 0 of 1" in repr(model)
    assert repr(Group()) == "Group(rank=0, size=1)"


ALONE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mpi4py":
            raise ImportError("no mpi4py here")
sys.meta_path.insert(0, Missing())
from tinygrad_cnn import distributed
from tinygrad_cnn.kernels.parallel import get_num_threads
group = distributed.init({threads})
print(group, distributed.get_rank(), distributed.get_world_size(), get_num_threads())
print(sys.excepthook is sys.__excepthook__)
"""


def run_alone(threads: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI"))}
    variables = {**inherited, "PYTHONPATH": str(ROOT), "TINYGRAD_CNN_THREADS": "3", **environment}
    command = [sys.executable, "-c", ALONE.format(threads=threads)]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_one_process_needs_no_mpi4py():
    assert run_alone("threads=2", PMI_SIZE="1").stdout == "Group(rank=0, size=1) 0 1 2\nTrue\n"


@pytest.mark.parametrize("variable", [("PMI_SIZE", "2"), ("PMIX_RANK", "0")])
def test_several_processes_without_mpi4py_are_an_error_that_names_the_extra(variable):
    process = run_alone(**dict([variable]))
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "ImportError: init: mpiexec started this process, which needs mpi4py (no mpi4py here); "
        "pip install 'tinygrad_cnn[mpi]'"
    )


def test_calls_of_one_process_do_nothing():
    group = init()
    values = np.arange(3.0)
    group.add(values)
    group.broadcast(values)
    group.barrier()
    abort()
    assert values.tolist() == [0, 1, 2]
    assert group.gather(values).tolist() == [[0, 1, 2]]
    assert (group.share("x"), group.collect("x"), get_rank(), get_world_size()) == ("x", ["x"], 0, 1)
    assert init() is group


# Training


def data_of(n: int, seed: int = 1) -> TensorDataset:
    return TensorDataset(*images_and_labels(n, seed))


def train(model: Any, loader: Any, **more: Any) -> Any:
    net = model.module if isinstance(model, DataParallel) else model
    del net.extra
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    loss = nn.CrossEntropyLoss(weight=np.array([0.3, 2.0, 0.7, 1.6]))
    return fit(model, loader, loss, optimizer, **{"epochs": 3, "progress": False, **more})


def loaders(group: Group, data: Any, valid: Any, batch: int) -> tuple[Any, Any]:
    sampler = DistributedSampler(data, group.size, group.rank, seed=4, drop_last=True)
    measured = DistributedSampler(valid, group.size, group.rank, shuffle=False, pad=False)
    return (
        DataLoader(data, batch // group.size, sampler=sampler, drop_last=True),
        DataLoader(valid, 4, sampler=measured),
    )


def test_ranks_have_the_loss_curve_and_the_figures_of_one_process():
    data, valid = data_of(26), data_of(11, seed=2)

    def share(outputs: Any, labels: Any) -> float:
        return float(np.mean(outputs.numpy().argmax(1) == labels.numpy()))

    figures = {"accuracy": metrics.Accuracy(), "f1": metrics.F1(4), "share": share}
    alone = train(
        Net(), DataLoader(data, 6, shuffle=True, seed=4, drop_last=True), valid=DataLoader(valid, 11), metrics=figures
    )

    def work(group: Group) -> Any:
        mine = {"accuracy": metrics.Accuracy(), "f1": metrics.F1(4), "share": share}
        loader, measured = loaders(group, data, valid, 6)
        return train(DataParallel(Net(group.rank), group), loader, valid=measured, metrics=mine)

    for history in on_ranks(3, work):
        for name in ("train_loss", "train_accuracy", "train_f1", "train_share", "valid_accuracy", "valid_f1"):
            np.testing.assert_allclose(history[name], alone[name], rtol=1e-9, err_msg=name)


def test_evaluation_counts_each_item_once_over_all_ranks():
    valid = data_of(10)
    figures = {"confusion": metrics.ConfusionMatrix(4)}
    whole = evaluate(Net(), DataLoader(valid, 10), nn.CrossEntropyLoss(), figures)

    def work(group: Group) -> Any:
        mine = {"confusion": metrics.ConfusionMatrix(4)}
        return evaluate(DataParallel(Net(), group), loaders(group, valid, valid, 8)[1], nn.CrossEntropyLoss(), mine)

    for found in on_ranks(4, work):
        assert found["confusion"].tolist() == whole["confusion"].tolist()
        assert found["loss"] == pytest.approx(whole["loss"], rel=1e-12)

    def padded(group: Group) -> Any:
        sampler = DistributedSampler(valid, group.size, group.rank)
        return evaluate(DataParallel(Net(), group), DataLoader(valid, 4, sampler=sampler))

    with pytest.raises(ValueError, match=r"evaluate: loader: its sampler gives 2 of the 10 items twice, .* pad=False"):
        on_ranks(4, padded)


def test_a_rank_without_an_item_measures_with_the_others_and_no_item_at_all_is_refused():
    valid = data_of(2)
    whole = evaluate(Net(), DataLoader(valid, 2), nn.CrossEntropyLoss(), {"accuracy": metrics.Accuracy()})

    def work(group: Group) -> Any:
        figures = {"accuracy": metrics.Accuracy()}
        return evaluate(
            DataParallel(Net(), group), loaders(group, data_of(3), valid, 3)[1], nn.CrossEntropyLoss(), figures
        )

    for found in on_ranks(3, work):
        assert found == {"loss": pytest.approx(whole["loss"], rel=1e-12), "accuracy": whole["accuracy"]}
    with pytest.raises(ValueError, match="evaluate: loader gave no batch"):
        on_ranks(3, lambda group: evaluate(DataParallel(Net(), group), []))


def test_a_metric_that_cannot_be_put_together_is_refused():
    class Own:
        reset = update = compute = lambda self, *values: None

    def work(group: Group) -> Any:
        return evaluate(DataParallel(Net(), group), [], metrics={"own": Own()})

    with pytest.raises(TypeError, match=r"evaluate: the metric 'own' is a Own without merge\(other\), so what 2 proc"):
        on_ranks(2, work)


def test_processes_with_unequal_numbers_of_batches_are_refused_on_all_ranks():
    def work(group: Group) -> str:
        with pytest.raises(ValueError, match="fit: ") as caught:
            train(DataParallel(Net(), group), DataLoader(data_of(8 + 4 * group.rank), 4))
        return str(caught.value)

    assert (
        on_ranks(2, work)
        == [
            "fit: loader has 2, 3 batches in the 2 processes; all need the same; "
            "use DistributedSampler with pad=True or drop_last=True"
        ]
        * 2
    )


@pytest.mark.filterwarnings("ignore:fit. 1 of the 7 parameters in the optimizer are not the model's")
def test_a_parameter_outside_of_the_parallel_model_is_refused():
    def work(group: Group) -> Any:
        net = Net()
        optimizer = optim.SGD([*net.parameters(), nn.Parameter(np.ones(2))], lr=0.1)
        return fit(DataParallel(net, group), DataLoader(data_of(8), 4), F.cross_entropy, optimizer, epochs=1)

    with pytest.raises(
        ValueError, match=r"fit: 1 of the 7 parameters in the optimizer are not the DataParallel model's"
    ):
        on_ranks(2, work)


def test_a_loss_that_is_not_finite_on_one_rank_stops_all_before_the_step():
    def work(group: Group) -> tuple[str, Any]:
        x, y = images_and_labels(8)
        x[5] = np.nan if group.rank == 1 else x[5]
        model = DataParallel(Net(), group)
        before = {name: value.numpy().copy() for name, value in model.module.state_dict().items() if name != "extra"}
        with pytest.raises(FloatingPointError) as caught:
            train(model, DataLoader(TensorDataset(x, y), 8))
        for name, value in model.module.state_dict().items():
            assert np.array_equal(value.numpy(), before[name]), name
        return str(caught.value)

    first, second = on_ranks(2, work)
    assert re.match(r"fit: the loss is nan in epoch 1, batch 1 .*: try a smaller lr", first)
    assert re.match(
        r"fit: the loss is nan in epoch 1, batch 1 .*: input 0 of the batch is nan at \(5, 0, 0, 0\)", second
    )


def test_rank_0_alone_calls_callbacks_and_its_stop_and_weights_are_everyones():
    class Watch(EarlyStopping):
        def on_fit_end(self, history: Any) -> None:
            run_on.append("end")

    run_on: list[Any] = []

    def work(group: Group) -> Any:
        class Restore:
            def on_fit_begin(self, run: Any) -> None:
                self.model = run.model
                run_on.append(group.rank)

            def on_fit_end(self, history: Any) -> None:
                self.model.load_state_dict({**self.model.state_dict(), "fc.bias": tg.Tensor(np.full(4, 7.0))})

        model = DataParallel(Net(), group)
        stop = Watch("train_loss", patience=1, min_delta=100.0)
        history = train(model, loaders(group, data_of(16), data_of(4), 8)[0], callbacks=[stop, Restore()])
        return len(history), history.stopped, history.logs, model.module.fc.bias.numpy().tolist(), model.training

    first, second = on_ranks(2, work)
    assert first == second
    assert first[0] == 2
    assert first[1].startswith("train_loss has not improved")
    assert first[3:] == ([7.0] * 4, False)
    assert run_on == [0, "end"]


def test_a_resumed_run_of_two_ranks_goes_on_bit_for_bit(tmp_path):
    def work(path: Path, epochs: list[int], group: Group) -> Any:
        tg.manual_seed(group.rank)
        model = DataParallel(Net(), group)
        model.module.norm = nn.Sequential(model.module.norm, nn.Dropout(0.3))
        loader = loaders(group, data_of(16), data_of(4), 8)[0]
        resume = len(epochs) > 1
        history = train(model, loader, epochs=epochs[-1], checkpoint=path, resume=resume)
        return [value.numpy().tobytes() for value in model.module.state_dict().values()], history["train_loss"]

    straight = on_ranks(2, functools.partial(work, tmp_path / "a", [4]))
    on_ranks(2, functools.partial(work, tmp_path / "b", [2]))
    resumed = on_ranks(2, functools.partial(work, tmp_path / "b", [2, 4]))
    assert straight == resumed
    assert straight[0] == straight[1]

    for path, size, there in ((tmp_path / "b", 1, 2), (tmp_path / "b", 3, 2)):
        with pytest.raises(
            CheckpointError, match=rf"it has the random states of {there} processes, and {size} read it;"
        ):
            on_ranks(size, functools.partial(work, path, [2, 4]))


def test_a_checkpoint_of_several_ranks_can_be_used_by_one(tmp_path):
    def work(group: Group) -> None:
        save_checkpoint(tmp_path / f"of {group.rank}", DataParallel(Net(group.rank + 5), group))

    on_ranks(2, work)
    assert [path.name for path in tmp_path.iterdir()] == ["of 0"]
    net = Net()
    load_checkpoint(tmp_path / "of 0", net, random_state=False)
    assert np.array_equal(net.conv.weight.numpy(), Net(5).conv.weight.numpy())


def test_a_group_needs_mpi4py_only_where_it_is_asked_for():
    source = "".join(path.read_text() for path in (ROOT / "tinygrad_cnn/distributed").glob("*.py"))
    assert source.count("from mpi4py") == 1
    assert importlib.util.find_spec("tinygrad_cnn.distributed") is not None
