"""fit: the loop against one written by hand, its logs, its callbacks, and what it refuses."""

import csv
import json
import math
import re
import sys
import warnings

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim, train
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.metrics import Accuracy, ConfusionMatrix, accuracy
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.optim import lr_scheduler
from tinygrad_cnn.train import BestModel, CSVLog, EarlyStopping, JSONLines, StopTraining, evaluate, fit


def make_data(n=11, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2, 4, 3)).astype(np.float32), rng.integers(0, 3, n)


def make_loader(n=11, shuffle=True, seed=0):
    return DataLoader(TensorDataset(*make_data(n, seed)), 4, shuffle=shuffle, seed=5 if shuffle else None)


def make_model(seed=1, dropout=0.25):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(dropout),
                         nn.Flatten(), nn.Linear(36, 3))  # fmt: skip


def bits(model):
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def run(model=None, loader=None, loss=F.cross_entropy, optimizer=None, **options):
    model = model or make_model()
    optimizer = optimizer or optim.SGD(model.parameters(), lr=0.1)
    return fit(model, loader or make_loader(), loss, optimizer, **{"epochs": 2, "progress": False, **options})


# The loop


def test_fit_is_the_loop_that_one_writes_by_hand():
    model, valid = make_model(), make_loader(7, False, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.5)
    wanted = []
    loader = make_loader()
    for epoch in (1, 2, 3):
        model.train()
        losses = right = 0.0
        for x, y in loader:
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses += loss.item() * len(y)
            right += float((logits.argmax(1) == y).float().sum().item())
        model.eval()
        with tg.no_grad():
            tests = [(F.cross_entropy(model(x), y).item(), accuracy(model(x), y), len(y)) for x, y in valid]
        wanted.append(
            {
                "epoch": epoch,
                "train_loss": losses / 11,
                "train_accuracy": right / 11,
                "valid_loss": sum(value * n for value, _, n in tests) / 7,
                "valid_accuracy": sum(value * n for _, value, n in tests) / 7,
                "lr": optimizer.param_groups[0]["lr"],
            }
        )
        scheduler.step()
    other = make_model()
    optimizer = optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    history = fit(
        other, make_loader(), F.cross_entropy, optimizer, epochs=3, valid=valid, metrics=[accuracy],
        scheduler=lr_scheduler.StepLR(optimizer, 1, 0.5), clip_grad_norm=0.5, progress=False,
    )  # fmt: skip
    assert bits(other) == bits(model)
    assert len(history) == 3
    assert history.finished
    assert not other.training
    for found, expected in zip(history, wanted, strict=True):
        assert found.pop("seconds") >= 0
        assert list(found) == list(expected)
        assert found == pytest.approx(expected, rel=1e-12)


def test_a_model_in_eval_mode_is_trained_in_training_mode():
    model = make_model()
    run(model)
    other = make_model().eval()
    run(other)
    assert bits(other) == bits(model)


def test_history_gives_figures_by_name_and_the_best_epoch():
    history = train.History()
    assert repr(history) == "History(no epochs)"
    history.logs = [
        {"epoch": i + 1, "valid_loss": v, "lr": 0.1, "seconds": 2.0} for i, v in enumerate([3, 1, math.nan, 1])
    ]
    assert history["epoch"] == [1, 2, 3, 4]
    assert history.best()["epoch"] == 2
    assert history.best(mode="max")["epoch"] == 1
    assert repr(history) == "History(4 epochs, last: valid_loss 1.0000  lr 0.1  2.0 s)"
    with pytest.raises(ValueError, match=r"History.best: mode='minimum'; 'min' or 'max' is needed"):
        history.best(mode="minimum")
    with pytest.raises(KeyError, match="'valid_acc' was not measured; there are epoch, valid_loss"):
        history["valid_acc"]
    history.logs = history.logs[2:3]
    with pytest.raises(ValueError, match="no epoch of 1 has a number for 'valid_loss'"):
        history.best()


def test_batches_of_many_inputs_and_plain_arrays_are_taken():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 1)

        def forward(self, x, y):
            return self.fc(x + y)

    x = np.ones((3, 2), np.float32)
    tg.manual_seed(0)
    model = Two()
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    history = run(model, [(x, 2 * x, np.ones((3, 1), np.float32))], F.mse_loss, optimizer)
    assert history["train_loss"][1] < history["train_loss"][0]


def test_metrics_are_objects_or_functions_and_start_anew_in_each_pass():
    matrix = ConfusionMatrix(3)
    found = evaluate(make_model(), make_loader(), metrics={"accuracy": Accuracy(), "plain": accuracy, "matrix": matrix})
    assert list(found) == ["accuracy", "plain", "matrix"]
    assert found["accuracy"] == pytest.approx(found["plain"])
    assert found["accuracy"] == np.trace(found["matrix"]) / 11
    again = evaluate(make_model(), make_loader(), F.cross_entropy, [Accuracy()])
    assert list(again) == ["loss", "accuracy"]
    assert again["accuracy"] == found["accuracy"]


def test_evaluate_leaves_every_mode_and_records_nothing():
    model = make_model()
    model[1].eval()
    before, modes = bits(model), [module.training for module in model.modules()]
    seen = []
    evaluate(
        model, make_loader(), lambda out, y: seen.append(out.requires_grad or model.training) or F.cross_entropy(out, y)
    )
    assert seen == [False] * 3
    assert [module.training for module in model.modules()] == modes
    assert bits(model) == before
    with pytest.raises(RuntimeError, match="mine"):
        evaluate(model, make_loader(), lambda out, y: (_ for _ in ()).throw(RuntimeError("mine")))
    assert [module.training for module in model.modules()] == modes


# Schedules


def rates(scheduler, optimizer, model, **options):
    """The rate of each step."""
    seen = []
    step = optimizer.step
    optimizer.step = lambda: seen.append(optimizer.param_groups[0]["lr"]) or step()
    run(model, optimizer=optimizer, scheduler=scheduler, **options)
    return seen


def test_schedules_are_stepped_by_epoch_or_by_batch():
    model = make_model()
    for step, wanted in ((None, [1, 1, 1, 0.5, 0.5, 0.5]), ("epoch", [1, 1, 1, 0.5, 0.5, 0.5]),
                         ("batch", [1, 0.5, 0.25, 0.125, 0.0625, 0.03125])):  # fmt: skip
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
        assert rates(scheduler, optimizer, model, scheduler_step=step) == wanted
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=6)
    assert len(set(rates(scheduler, optimizer, model))) == 6  # by batch, of itself


def test_a_run_whose_schedule_has_led_below_0_resumes_to_the_same_bits(tmp_path):
    def parts():
        model = make_model()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, 5, eta_min=0.01)
        return model, optimizer, lr_scheduler.ChainedScheduler([cosine, lr_scheduler.ExponentialLR(optimizer, 0.5)])

    finished = []
    for stops in ((10,), (7, 10)):
        for epochs in stops:
            model, optimizer, scheduler = parts()
            file = tmp_path / f"run{len(stops)}"
            run(model, optimizer=optimizer, scheduler=scheduler, epochs=epochs, checkpoint=file, resume="auto")
            if epochs == 7:
                assert -0.01 < optimizer.param_groups[0]["lr"] < 0
        finished.append((bits(model), optimizer.param_groups[0]["lr"], scheduler.state_dict()))
    assert finished[0] == finished[1]


def test_a_plateau_is_seen_in_the_monitored_figure():
    for options, wanted in (
        ({}, [1, 1, 1]),  # train_loss falls
        ({"monitor": "train_bad"}, [1, 1, 0.5]),
        ({"valid": make_loader(5, False), "monitor": "valid_bad"}, [1, 1, 0.5]),
    ):
        model = make_model()
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        optimizer.step = lambda: None
        falling = iter(range(1000, 0, -1))
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        history = run(model, loss=lambda out, y, it=falling: F.cross_entropy(out, y) * 0 + next(it), epochs=3,
                      optimizer=optimizer, scheduler=scheduler, metrics={"bad": lambda *_: 1.0}, **options)  # fmt: skip
        assert history["lr"] == wanted, options


# Numbers that are not finite


class Blowing:
    """cross_entropy, and from the given call on nan, or a finite loss with a gradient that is not."""

    def __init__(self, at, gradient=False):
        self.at, self.gradient, self.calls = at, gradient, 0

    def __call__(self, out, y):
        self.calls += 1
        if self.calls < self.at:
            return F.cross_entropy(out, y)
        # sqrt has the slope inf at 0, where its value is 0
        return F.cross_entropy(out, y) * math.nan if not self.gradient else tg.sqrt(out * 0).sum()


@pytest.mark.parametrize(
    ("gradient", "what"), [(False, "the loss is nan"), (True, r"the gradient of \S+ is not finite")]
)
def test_a_number_that_is_not_finite_stops_at_the_last_good_step(gradient, what):
    model, wanted = make_model(dropout=0.0), make_model(dropout=0.0)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    good = optim.Adam(wanted.parameters(), lr=0.01)
    fit(wanted, make_loader(), F.cross_entropy, good, epochs=1, progress=False)
    wanted.train()
    loader = make_loader()
    loader.epoch = 1
    x, y = next(iter(loader))
    good.zero_grad()
    F.cross_entropy(wanted(x), y).backward()
    good.step()
    with pytest.raises(
        FloatingPointError, match=rf"^fit: {what} in epoch 2, batch 2 \(lr=0.01\); the step was not made"
    ):
        run(model, loss=Blowing(5, gradient), optimizer=optimizer)
    assert bits(model) == bits(wanted)  # the buffers too, which the forward pass of the fifth batch had moved
    for p, q in zip(model.parameters(), wanted.parameters(), strict=True):
        for key, value in good.state[q].items():
            assert np.array_equal(optimizer.state[p][key], value)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_number_of_the_data_that_is_not_finite_is_named(bad):
    x, y = make_data()
    x[6, 1, 3, 2] = x[7, 0, 0, 0] = bad
    message = rf"in epoch 1, batch 2 .* was not made: input 0 of the batch is {bad} at \(2, 1, 3, 2\); clean the data"
    model = make_model()
    with pytest.raises(FloatingPointError, match=message):
        run(model, DataLoader(TensorDataset(x, y), 4))


def test_a_wrong_label_is_named_with_its_place_and_batch():
    x, y = make_data()
    y[9] = 3
    with pytest.raises(IndexError, match=r"cross_entropy: target\[1\] is 3, but the 3 classes") as caught:
        run(loader=DataLoader(TensorDataset(x, y), 4))
    assert caught.value.__notes__[-1] == "fit: in epoch 1, batch 3"


def test_a_validation_that_is_not_finite_stops():
    model = make_model()
    with pytest.raises(FloatingPointError, match=r"valid_loss is inf after epoch 1 \(lr=0.1\); try a smaller lr"):
        run(model, loss=lambda out, y: F.cross_entropy(out, y) * (1 if model.training else math.inf),
            valid=make_loader(5, False))  # fmt: skip


# Callbacks


class Recorder:
    def __init__(self):
        self.seen = []

    def on_fit_begin(self, run):
        self.seen.append(("begin", run.epochs, run.figures))

    def on_epoch_begin(self, epoch):
        self.seen.append(("epoch", epoch))

    def on_batch_end(self, epoch, batch, loss):
        assert math.isfinite(loss)
        self.seen.append((epoch, batch))

    def on_epoch_end(self, logs):
        self.seen.append(("logs", logs["epoch"]))

    def on_fit_end(self, history):
        self.seen.append(("end", history.finished))


def test_callbacks_are_called_in_order():
    recorder, plain = Recorder(), []
    run(callbacks=[recorder, plain.append], loader=make_loader(5), metrics={"zero": lambda out, y: 0})
    assert recorder.seen == [
        ("begin", 2, ("train_loss", "train_zero", "lr", "seconds")),
        ("epoch", 1), (1, 1), (1, 2), ("logs", 1), ("epoch", 2), (2, 1), (2, 2), ("logs", 2), ("end", True),
    ]  # fmt: skip
    assert [logs["epoch"] for logs in plain] == [1, 2]
    assert plain[0]["train_zero"] == 0


def test_after_an_error_the_end_is_told_so():
    recorder = Recorder()
    with pytest.raises(FloatingPointError):
        run(callbacks=[recorder], loss=Blowing(1))
    assert recorder.seen[-1] == ("end", False)


def test_a_callback_stops_the_run_after_the_others_saw_the_epoch():
    def stop(logs):
        if logs["epoch"] == 2:
            raise StopTraining("enough")

    recorder = Recorder()
    history = run(callbacks=[stop, recorder], epochs=5)
    assert (len(history), history.stopped, history.finished) == (2, "enough", True)
    assert recorder.seen[-2:] == [("logs", 2), ("end", True)]
    assert "2 epochs, stopped: enough" in repr(history)


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2}, 4),
        ([3, 2, 1.9, 1.8, 1], {"patience": 2, "min_delta": 0.5}, 4),
        ([1, 2, 3, 3, 3], {"patience": 2, "mode": "max"}, 5),
        ([1, math.nan, 0.5, 3, 3], {"patience": 2}, 5),
        ([math.nan, math.nan, 1], {"patience": 2}, 2),
        ([3, 3], {"patience": 1}, 2),
    ],
)
def test_early_stopping_waits_for_an_improvement(values, options, epochs):
    stopping = EarlyStopping("train_figure", **options)
    for _ in range(2):  # a second run begins anew
        figures = iter([value for value in values for _ in range(3)])  # three batches an epoch
        history = run(callbacks=[stopping], epochs=len(values), metrics={"figure": lambda *_, it=figures: next(it)})
        assert len(history) == epochs
    if epochs == 4:
        assert re.fullmatch(r"train_figure has not improved on 2 of epoch 2 for 2 epochs", history.stopped)


def test_the_best_model_is_in_its_file_and_comes_back(tmp_path):
    model, snapshots = make_model(), []
    figures = iter([v for v in (0.2, 0.9, 0.9, 0.1) for _ in range(3)])
    best = BestModel(tmp_path / "best", "train_figure", "max", restore=True)
    run(model, epochs=4, callbacks=[best, lambda logs: snapshots.append(bits(model))],
        metrics={"figure": lambda *_: next(figures)})  # fmt: skip
    assert len({str(shot) for shot in snapshots}) == 4
    assert bits(model) == snapshots[1]
    assert {name: value.numpy().tobytes() for name, value in tg.load(tmp_path / "best").items()} == snapshots[1]
    assert (best.best, best.best_epoch) == (0.9, 2)
    figures = iter([0.5] * 3)  # less than before, but another run
    run(model, epochs=1, callbacks=[best], metrics={"figure": lambda *_: next(figures)})
    assert (best.best, best.best_epoch) == (0.5, 1)
    best = BestModel(tmp_path / "best", "train_loss", restore=True)
    with pytest.raises(tg.CheckpointError, match="BestModel: the weights of epoch 1 cannot be read from"):
        run(model, epochs=1, callbacks=[best, lambda logs: (tmp_path / "best").unlink()])


def test_logs_are_written_line_by_line(tmp_path):
    lines = []
    history = run(
        epochs=3, metrics={"odd, \"name\"": lambda *_: math.nan}, valid=make_loader(5, False),
        callbacks=[CSVLog(tmp_path / "log.csv"), JSONLines(tmp_path / "log.jsonl"),
                   lambda logs: lines.append((tmp_path / "log.csv").read_text().count("\n"))],
    )  # fmt: skip
    assert lines == [2, 3, 4]
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for logs, row, entry in zip(history, rows, entries, strict=True):
        assert list(logs) == list(row) == list(entry)
        for name, value in logs.items():
            assert repr(float(row[name])) == repr(float(value))
            assert entry[name] == (None if math.isnan(value) else value)
    run(epochs=1, callbacks=[CSVLog(tmp_path / "log.csv")])  # begins anew
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(3), tg.Tensor(2.0), np.array(0.1), np.bool_(True), 4])
def test_every_figure_of_an_epoch_becomes_a_number_of_python(tmp_path, value):
    class Figure:
        reset = update = lambda self, *_: None

        def compute(self):
            return value

    history = run(epochs=1, metrics={"figure": Figure()}, callbacks=[JSONLines(tmp_path / "x"), CSVLog(tmp_path / "y")])
    assert {type(figure) for figure in history.logs[0].values()} == {int, float}
    assert history["train_figure"] == [float(value)]
    assert json.loads((tmp_path / "x").read_text()) == history.logs[0]
    with (tmp_path / "y").open(newline="") as file:
        assert [float(row["train_figure"]) for row in csv.DictReader(file)] == [float(value)]


def test_a_csv_file_has_the_columns_of_its_first_line(tmp_path):
    def add(logs):
        if logs["epoch"] == 2:
            logs["more"] = 1.0

    with pytest.raises(
        ValueError, match=r"CSVLog: the logs have .*, more, the columns of .*log.csv are epoch, train_loss"
    ):
        run(callbacks=[add, CSVLog(tmp_path / "log.csv")])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_progress_prints_a_line_per_epoch(capsys):
    run(progress=True, callbacks=[EarlyStopping("lr", 1)], valid=make_loader(5, False), epochs=10)
    out, err = capsys.readouterr()
    first, second, third = out.splitlines()
    assert re.fullmatch(r"epoch  1/10  train_loss \d\.\d{4}  valid_loss \d\.\d{4}  lr 0\.1  \d+\.\d s", first)
    assert second.startswith("epoch  2/10  train_loss")
    assert third == "stopped: lr has not improved on 0.1 of epoch 1 for 1 epochs"
    assert err == ""


def test_on_a_terminal_tqdm_shows_the_batches(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="the bar is drawn by tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(FloatingPointError):
        run(progress=True, loss=Blowing(5))
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "epoch 1/2" in err
    assert "epoch 2/2" in err
    assert err.endswith("\r")  # the bar was taken away


# What is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "fit: epochs=0; a whole number >= 1 is needed"),
        ({"epochs": 1.0}, TypeError, "fit: epochs=1.0; a whole number"),
        ({"epochs": True}, TypeError, "fit: epochs=True"),
        ({"loss": 3}, TypeError, r"fit: loss is a int; a function of \(outputs, targets\) is needed"),
        ({"loss": lambda out, y: 1.0}, TypeError, "the loss is a float in epoch 1, batch 1; a Tensor of one number"),
        ({"loss": lambda out, y: out}, ValueError, r"the loss is float32 of shape \(4, 3\); one number is needed"),
        ({"loss": lambda out, y: F.cross_entropy(out.detach(), y)}, RuntimeError,
         r"the loss in epoch 1, batch 1 does not require a gradient.*look for detach\(\)"),
        ({"loader": [(np.ones(2),)]}, TypeError, r"fit: loader: batch 1 is a tuple of 1; \(inputs, targets\) is"),
        ({"loader": [{"x": 1}]}, TypeError, "fit: loader: batch 1 is a dict; "),
        ({"loader": iter(list(make_loader()))}, ValueError, "fit: loader gave no batch; an iterator runs out"),
        ({"valid": [3]}, TypeError, "fit: valid: batch 1 is a int; "),
        ({"valid": iter([])}, ValueError, "fit: valid gave no batch"),
        ({"metrics": {"a": 3}}, TypeError, "fit: the metric 'a' is a int; a function of .* or an object with reset"),
        ({"metrics": [Accuracy]}, TypeError, "the metric 'Accuracy' is the class Accuracy; "),
        ({"metrics": [Accuracy(), Accuracy(2)]}, ValueError, "2 metrics have the names accuracy; give a dict"),
        ({"metrics": accuracy}, TypeError, "fit: metrics is a function; a dict of name -> metric is needed"),
        ({"metrics": {"loss": accuracy}}, ValueError, "fit: a metric is named 'loss', as the loss is; choose another"),
        ({"metrics": {"a": lambda out, y: out}}, ValueError, r"the metric 'a' is float32 of shape \(4, 3\); one"),
        ({"metrics": [ConfusionMatrix(3)]}, TypeError, "train_confusionmatrix is a ndarray; a metric of fit gives one"),
        ({"callbacks": [3]}, TypeError, "fit: a callback is a int; a function of the logs, or an object with"),
        ({"callbacks": [EarlyStopping]}, TypeError, "fit: a callback is a class EarlyStopping; "),
        ({"callbacks": [EarlyStopping()]}, ValueError,
         "EarlyStopping: monitor='valid_loss' is not measured; there are train_loss, lr, seconds; give fit valid="),
        ({"callbacks": [BestModel("x", "train_acc")]}, ValueError, "BestModel: monitor='train_acc' is not measured"),
        ({"callbacks": [BestModel("no/x", "lr")]}, FileNotFoundError, "BestModel: no/x cannot be written: there is no"),
        ({"checkpoint": "no/such/file"}, FileNotFoundError, "fit: no/such/file cannot be written: there is no fol"),
        ({"resume": True}, ValueError, "fit: resume=True without a checkpoint; give checkpoint=, the file to go"),
        ({"resume": "yes"}, ValueError, "fit: resume='yes'; True, False or 'auto' is needed"),
        ({"resume": 1, "checkpoint": "x"}, ValueError, "fit: resume=1; True, False or 'auto' is needed"),
        ({"resume": 0, "checkpoint": "x"}, ValueError, "fit: resume=0; True, False or 'auto' is needed"),
        ({"resume": 1.0, "checkpoint": "x"}, ValueError, "fit: resume=1.0; True, False or 'auto' is needed"),
        ({"resume": np.True_, "checkpoint": "x"}, ValueError, "fit: resume=np.True_; True, False or 'auto' is needed"),
        ({"resume": np.ones(2), "checkpoint": "x"}, ValueError, r"fit: resume=array\(\[1., 1.\]\); True, False or"),
        ({"resume": True, "checkpoint": "missing"}, FileNotFoundError, "fit: resume=True, but there is no missing;"),
        ({"monitor": "lr"}, ValueError, "fit: monitor='lr', but only ReduceLROnPlateau reads it; leave it out"),
        ({"scheduler_step": "step"}, ValueError, "fit: scheduler_step='step'; 'epoch', 'batch' or None is needed"),
        ({"scheduler": 3}, TypeError, "fit: scheduler is a int; a schedule of optim.lr_scheduler is needed"),
        ({"scheduler": lambda o: lr_scheduler.StepLR(optim.SGD(make_model().parameters(), 0.1), 1)}, ValueError,
         "fit: the scheduler was made for another optimizer, so it would change nothing here"),
        ({"scheduler": lambda o: lr_scheduler.ReduceLROnPlateau(o), "scheduler_step": "batch"}, ValueError,
         "fit: ReduceLROnPlateau needs the figures of an epoch; leave scheduler_step='batch' out"),
        ({"scheduler": lambda o: lr_scheduler.ReduceLROnPlateau(o), "monitor": "valid_loss"}, ValueError,
         "fit: monitor='valid_loss' is not measured"),
        ({"scheduler": lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, cycle_momentum=False)}, ValueError,
         "the cycle of OneCycleLR has total_steps=5, the run 6 steps; give OneCycleLR total_steps=6"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_a_step(options, error, message):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    if callable(options.get("scheduler")):
        options = {**options, "scheduler": options["scheduler"](optimizer)}
    late = options.keys() & {"valid"} or "ndarray" in message or "runs out" in message or "'a' is float" in message
    before = bits(model)
    with pytest.raises(error, match=message):
        run(model, optimizer=optimizer, **options)
    if not late:  # the buffers of batch norm follow the batches that were looked at
        parameters = dict(model.named_parameters())
        assert all(parameters[name].numpy().tobytes() == before[name] for name in parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit(3, [], abs, 3, epochs=1), "fit: model is a int; a Module is needed"),
        (lambda: fit(make_model(), [], abs, 3, epochs=1), "fit: optimizer is a int; a Optimizer is needed"),
    ],
)
def test_a_model_and_an_optimizer_are_needed(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("make", [EarlyStopping, lambda mode: BestModel("x", mode=mode)])
def test_a_mode_is_min_or_max(make):
    with pytest.raises(ValueError, match="mode='up'; 'min' or 'max' is needed"):
        make(mode="up")


def test_early_stopping_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="EarlyStopping: patience=0; a whole number >= 1 is needed"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="EarlyStopping: min_delta=-1; a number >= 0 is needed"):
        EarlyStopping(min_delta=-1)


def test_parameters_that_are_not_trained_are_warned_of():
    model, stranger = make_model(), nn.Parameter(np.ones(2))
    with pytest.warns(
        UserWarning, match=r"^fit: 5.weight, 5.bias are not in the optimizer and will not be trained; make "
    ):
        run(model, optimizer=optim.SGD([*model[0].parameters(), *model[1].parameters()], lr=0.1))
    with pytest.warns(UserWarning, match="^fit: 1 of the 7 parameters in the optimizer are not the model's"):
        run(model, optimizer=optim.SGD([*model.parameters(), stranger], lr=0.1))
    with pytest.raises(
        ValueError, match="none of the 6 parameters that require a gradient is among the 6 of the optimizer"
    ):
        run(model, optimizer=optim.SGD(make_model().parameters(), lr=0.1))
    model[5].requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(model, optimizer=optim.SGD([*model[0].parameters(), *model[1].parameters()], lr=0.1))


def test_parameters_of_the_loss_may_be_trained_too():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(()), dtype=np.float32)

        def forward(self, out, y):
            return F.cross_entropy(out * self.scale, y)

    model, loss = make_model(), Scaled()
    run(model, loss=loss, optimizer=optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1))
    assert loss.scale.item() != 1
    with pytest.warns(UserWarning, match="loss.scale is not in the optimizer"):
        run(model, loss=loss)


def test_a_mean_is_weighted_by_the_sizes_of_batches():
    history = run(loader=make_loader(5), epochs=1, metrics={"size": lambda out, y: len(y)})
    assert history["train_size"] == [(4 * 4 + 1 * 1) / 5]
