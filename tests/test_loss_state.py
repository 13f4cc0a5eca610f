"""A loss that is a Module is kept in checkpoints beside the model, and put back with it where a step fails."""

import functools
import math

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_distributed import Net, data_of, loaders, on_ranks

import tinygrad_cnn as tg
from tinygrad_cnn import CheckpointError, nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.distributed import DataParallel
from tinygrad_cnn.interchange.tree import load_tree, save_tree
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.train import fit, load_checkpoint, save_checkpoint

KIND = "tinygrad_cnn checkpoint 2"


class Learned(nn.Module):
    """A loss with a parameter, a buffer that each step replaces, one that it writes to, and noise of its own."""

    def __init__(self, classes=3):
        super().__init__()
        self.scale = nn.Parameter(np.linspace(0.5, 1.5, classes), dtype=np.float32)
        self.register_buffer("level", tg.zeros(1))
        self.register_buffer("calls", tg.zeros(2))
        self.noise = nn.Dropout(0.4, generator=np.random.Generator(np.random.Philox(6)))

    def forward(self, out, y):
        value = F.cross_entropy(self.noise(out * self.scale), y)
        self.level = tg.Tensor(0.7 * self.level.numpy() + 0.3 * value.item())
        self.calls.add_(1.0)
        return value + 0.01 * (self.scale * self.scale).sum() * float(self.level.numpy()[0])


def make_run(loss=None, width=3):
    tg.manual_seed(3)
    rng = np.random.default_rng(1)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))
    loss = Learned() if loss is None else loss
    data = TensorDataset(rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 3, 10))
    params = [*model.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    return {
        "model": model,
        "loader": DataLoader(data, 4, shuffle=True, seed=2),
        "loss": loss,
        "optimizer": optim.Adam({id(p): p for p in params}.values(), lr=0.02),
    }


def bits(run):
    return {
        f"{part}.{name}": value.numpy().tobytes()
        for part in ("model", "loss")
        if isinstance(run[part], nn.Module)
        for name, value in run[part].state_dict().items()
    }


def save(path, run):
    save_checkpoint(path, run["model"], run["optimizer"], loss=run["loss"], loader=run["loader"])


def load(path, run, **options):
    return load_checkpoint(path, run["model"], run["optimizer"], loss=run["loss"], loader=run["loader"], **options)


def test_H134_a_run_whose_loss_learns_goes_on_to_the_same_bits(tmp_path):
    whole = make_run()
    history = fit(**whole, epochs=4, progress=False)
    fit(**make_run(), epochs=2, progress=False, checkpoint=tmp_path / "x")
    rest = make_run()
    found = fit(**rest, epochs=4, progress=False, checkpoint=tmp_path / "x", resume=True)
    assert found["train_loss"] == history["train_loss"]
    assert bits(rest) == bits(whole)
    assert rest["loss"].calls.numpy().tolist() == [12.0, 12.0]  # 3 batches in each of 4 epochs


def test_what_a_loss_has_of_its_own_stands_under_its_names_and_comes_back(tmp_path):
    run = make_run()
    fit(**run, epochs=1, progress=False)
    save(tmp_path / "x", run)
    stored = load_file(tmp_path / "x")
    assert {name for name in stored if name.startswith("loss.")} == {"loss.scale", "loss.level", "loss.calls"}
    assert np.array_equal(stored["loss.scale"], run["loss"].scale.numpy())
    other = make_run()
    load(tmp_path / "x", other)
    assert bits(other) == bits(run)
    left = make_run()
    load_checkpoint(tmp_path / "x", left["model"])  # what is left out is left as it is
    assert left["loss"].calls.numpy().tolist() == [0.0, 0.0]


def test_a_checkpoint_without_the_loss_is_refused_where_the_loss_has_a_state(tmp_path):
    run = make_run()
    save_checkpoint(tmp_path / "x", run["model"], run["optimizer"], loader=[run["loader"], None])
    before = bits(run)
    message = (
        "x: it holds model, optimizer, loader, random, run, but no loss; nothing was changed: it was saved without the "
        "state of the loss; begin the run anew, or, where nothing in the loss changes, give a function that calls it"
    )
    with pytest.raises(CheckpointError, match=message):
        fit(**run, epochs=2, progress=False, checkpoint=tmp_path / "x", resume=True)
    assert bits(run) == before
    weighed = make_run(nn.CrossEntropyLoss(weight=np.array([0.3, 2.0, 0.7], np.float32)))
    save_checkpoint(tmp_path / "y", weighed["model"], weighed["optimizer"], loader=[weighed["loader"], None])
    with pytest.raises(CheckpointError, match="but no loss; nothing was changed"):
        fit(**weighed, epochs=2, progress=False, checkpoint=tmp_path / "y", resume=True)
    loss = weighed["loss"]
    found = fit(
        **{**weighed, "loss": lambda out, y: loss(out, y)}, epochs=2, progress=False, checkpoint=tmp_path / "y",
        resume=True,
    )  # fmt: skip
    assert len(found) == 2


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(), nn.MSELoss()])
def test_a_checkpoint_without_the_loss_loads_where_the_loss_has_no_state(tmp_path, loss):
    run = make_run(loss)
    fit(**{**run, "loss": F.cross_entropy}, epochs=1, progress=False)
    save_checkpoint(tmp_path / "x", run["model"], run["optimizer"], loader=run["loader"])
    other = make_run(loss)
    load(tmp_path / "x", other)
    assert bits(other) == bits(run)
    assert "loss" not in load_tree(tmp_path / "x", KIND)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), F.cross_entropy])
def test_the_state_of_a_loss_is_not_dropped_for_one_that_has_none(tmp_path, loss):
    save(tmp_path / "x", make_run())
    plain = make_run(loss)
    before = bits(plain)
    message = (
        f"x: it holds the state of a loss, and the loss that is given, a {type(loss).__name__}, has none; nothing was "
        "changed: give the loss of the run"
    )
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x", plain["model"], loss=loss)
    assert bits(plain) == before


class Renamed(Learned):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(np.zeros(1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": Renamed()}, "its loss does not fit, .*: the state of the loss was scale, level, calls, now it is "
         "scale, bias, level, calls"),
        ({"loss": Learned(4)}, r"its loss does not fit, nothing was changed: load_state_dict: 1 difference from Learn"),
        ({"width": 5}, "its (optimizer|model) does not fit, nothing was changed: "),
    ],
)  # fmt: skip
def test_H135_a_loss_that_does_not_fit_changes_nothing(tmp_path, changed, message):
    trained = make_run()
    fit(**trained, epochs=1, progress=False)
    save_checkpoint(tmp_path / "x", trained["model"], loss=trained["loss"], loader=trained["loader"])
    run = make_run(**changed)
    before, epoch, noise = bits(run), run["loader"].epoch, str(run["loss"].noise.generator.bit_generator.state)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x", run["model"], loss=run["loss"], loader=run["loader"])
    assert (bits(run), run["loader"].epoch) == (before, epoch)
    assert str(run["loss"].noise.generator.bit_generator.state) == noise


class Projecting(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.head = nn.Linear(None, 2)
        self.scale = nn.Parameter(np.full(2, 3.0, np.float32))

    def forward(self, out, y):
        return (self.head(out) * self.scale).square().mean() + F.cross_entropy(out, y)


def test_a_lazy_loss_takes_its_shapes_and_is_lazy_again_where_the_model_does_not_fit(tmp_path):
    model = nn.Linear(4, 3)
    loss = Projecting(model)
    with pytest.raises(RuntimeError, match=r"'head.weight' has no values yet"):
        save_checkpoint(tmp_path / "x", model, loss=loss)
    loss(model(tg.Tensor(np.ones((5, 4), np.float32))), np.zeros(5, np.int64))
    save_checkpoint(tmp_path / "x", model, loss=loss)
    assert {name for name in load_file(tmp_path / "x") if name.startswith("loss.")} == {
        "loss.head.weight", "loss.head.bias", "loss.scale",
    }  # fmt: skip
    same = Projecting(nn.Linear(None, 3))  # the model of the loss is the lazy one that is loaded
    load_checkpoint(tmp_path / "x", same.model, loss=same)
    for name, value in loss.state_dict().items():
        assert np.array_equal(same.state_dict()[name].numpy(), value.numpy()), name
    other = Projecting(nn.Linear(5, 3))
    with tg.no_grad():
        other.scale.mul_(2.0)
    with pytest.raises(CheckpointError, match="its model does not fit, nothing was changed"):
        load_checkpoint(tmp_path / "x", other.model, loss=other)
    assert other.scale.numpy().tolist() == [6.0, 6.0]
    assert repr(other.head.weight) == "UninitializedParameter(shape=(2, ?), dtype=float32)"
    out = other(tg.Tensor(np.ones((2, 7), np.float32)), np.zeros(2, np.int64))  # and any width is still taken
    assert other.head.weight.shape == (2, 7)
    out.backward()
    assert other.head.weight.grad.shape == (2, 7)


def test_a_loss_whose_state_is_all_the_models_needs_none_in_the_file(tmp_path):
    class Penalty(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, out, y):
            return F.cross_entropy(out, y) + sum((p * p).sum() for p in self.model.parameters())

    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5, generator=np.random.default_rng(5)))
    save_checkpoint(tmp_path / "old", model)
    save_checkpoint(tmp_path / "new", model, loss=Penalty(model))
    assert (tmp_path / "old").read_bytes() == (tmp_path / "new").read_bytes()
    load_checkpoint(tmp_path / "old", model, loss=Penalty(model))


def test_the_generators_of_a_loss_are_kept_once(tmp_path):
    def held(**options):
        save_checkpoint(tmp_path / "x", model, **options)
        return set(load_tree(tmp_path / "x", KIND)["random"])

    model, loss = nn.Linear(4, 3), Learned()
    assert held(loss=loss) == {"default", "loss noise.generator"}
    assert held(loss=loss, generator=loss.noise.generator) == {"default", "given 0"}
    wanted = str(loss.noise.generator.bit_generator.state)
    held(loss=loss)
    loss.noise.generator.random(3)
    load_checkpoint(tmp_path / "x", model, loss=loss)
    assert str(loss.noise.generator.bit_generator.state) == wanted
    noise = nn.Dropout(0.5, generator=np.random.default_rng(5))
    save_checkpoint(tmp_path / "x", model)
    with pytest.raises(
        CheckpointError, match=r"its random does not fit, .*no random state was saved of loss \.generator"
    ):
        load_checkpoint(tmp_path / "x", model, loss=noise)


class Failing(Learned):
    """nan from the given call on, or a finite loss of which `scale` alone has a gradient that is not."""

    def __init__(self, at, gradient):
        super().__init__()
        self.at, self.gradient = at, gradient

    def forward(self, out, y):
        value = super().forward(out, y)
        if self.calls.numpy()[0] < self.at:
            return value
        return value + tg.sqrt(self.scale * 0).sum() if self.gradient else value * math.nan


@pytest.mark.parametrize(
    ("gradient", "what"), [(False, "the loss is nan"), (True, "the gradient of loss.scale is not finite")]
)
def test_a_step_that_fails_leaves_the_loss_as_the_last_good_one_did(gradient, what):
    wanted = make_run(Failing(99, gradient))
    fit(**wanted, epochs=1, progress=False)
    run = make_run(Failing(4, gradient))
    with pytest.raises(FloatingPointError, match=rf"^fit: {what} in epoch 2, batch 1 "):
        fit(**run, epochs=2, progress=False)
    assert bits(run) == bits(wanted)
    assert run["loss"].calls.numpy().tolist() == [3.0, 3.0]


@pytest.mark.parametrize("call", [save_checkpoint, load_checkpoint])
def test_a_loss_is_a_module_or_a_function(tmp_path, call):
    with pytest.raises(TypeError, match=f"{call.__name__}: loss is a int; a Module is needed, or a function"):
        call(tmp_path / "x", nn.ReLU(), loss=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss of other ranks": {"2": {}}}, "x: its 'loss of other ranks' are not by the ranks from 1; nothing was"),
        ({"loss": 5}, "x: its loss does not fit, nothing was changed: TypeError: "),
        ({"loss": {"scale": "a", "level": 1, "calls": 2}}, "x: its loss does not fit, nothing was changed: "),
    ],
)
def test_H135_a_loss_made_by_others_is_read_with_care(tmp_path, changed, message):
    run = make_run()
    save(tmp_path / "x", run)
    save_tree({**load_tree(tmp_path / "x", KIND), **changed}, tmp_path / "x", KIND)
    before = bits(run)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "x", run)
    assert bits(run) == before


def test_each_rank_goes_on_with_its_own_loss(tmp_path):
    class Levelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("level", tg.ones(1))

        def forward(self, out, y):
            value = F.cross_entropy(out * self.level, y)
            self.level = tg.Tensor(0.7 * self.level.numpy() + 0.3 * value.item())
            return value

    def work(path, epochs, resume, group):
        tg.manual_seed(group.rank)
        model, loss = DataParallel(Net(), group), Levelled()
        del model.module.extra
        optimizer = optim.SGD(model.module.parameters(), lr=0.05, momentum=0.9)
        loader = loaders(group, data_of(16), data_of(4), 8)[0]
        fit(model, loader, loss, optimizer, epochs=epochs, checkpoint=path, resume=resume, progress=False)
        weights = [value.numpy().tobytes() for value in model.module.state_dict().values()]
        return weights, loss.level.numpy().tolist()

    straight = on_ranks(2, functools.partial(work, tmp_path / "a", 3, False))
    on_ranks(2, functools.partial(work, tmp_path / "b", 1, False))
    assert on_ranks(2, functools.partial(work, tmp_path / "b", 3, True)) == straight
    assert straight[0][1] != straight[1][1]
    model, loss = Net(), Levelled()
    del model.extra
    load_checkpoint(tmp_path / "a", model, loss=loss, random_state=False)  # for use by one process: that of rank 0
    assert loss.level.numpy().tolist() == straight[0][1]
