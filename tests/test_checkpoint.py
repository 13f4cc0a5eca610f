"""Checkpoints: a run that goes on from one comes to the same bits, and no damage or mismatch changes anything."""

import math
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import tinygrad_cnn as tg
from tinygrad_cnn import CheckpointError, nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.interchange.digest import KEY, digest
from tinygrad_cnn.interchange.tree import load_tree, save_tree
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.optim import lr_scheduler
from tinygrad_cnn.train import BestModel, CSVLog, EarlyStopping, fit, load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parent.parent

# Trees


def same(a, b):
    """Whether two trees are the same to the last bit and kind; arrays may come back as Tensors."""
    if isinstance(a, (np.ndarray, tg.Tensor)) and isinstance(b, tg.Tensor):
        a, b = np.asarray(a), b.numpy()
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes() or (math.isnan(a) and math.isnan(b))
    return a == b or a != a


keys = st.one_of(st.text(max_size=3), st.sampled_from(["a", "a.b", "$array", "$items", "b"]))
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**130), 2**130), st.floats(), st.text(max_size=4),
    st.sampled_from([np.float32(0.1), np.int64(3), np.float64(0.1), np.bool_(True), np.float16(np.nan)]),
    st.sampled_from([np.arange(6.0).reshape(2, 3), np.ones((0, 2), np.int8), np.float32(2).reshape(()),
                     np.array([np.nan, -0.0]), tg.Tensor([1, 2])]),
    st.sampled_from([Counter({3: 2, 7: 1}), {1: "x", None: 2.5, (1, "y"): []}]),
)  # fmt: skip
trees = st.dictionaries(
    keys,
    st.recursive(leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3),
                                                 st.lists(inner, max_size=2).map(tuple)), max_leaves=8),
    max_size=4,
)  # fmt: skip


@given(tree=trees)
def test_a_tree_comes_back_bit_for_bit(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree"
    save_tree(tree, path, "test")
    assert same(tree, load_tree(path, "test"))


def test_arrays_are_stored_under_their_paths(tmp_path):
    save_tree({"a": {"b": np.ones(2)}, "a.b": np.zeros(3), "list": [np.ones(1)]}, tmp_path / "x", "test")
    shapes = {name: value.shape for name, value in load_file(tmp_path / "x").items()}
    text = shapes.pop("$tree")
    assert text == (len('{"a": {"b": {"$array": "a.b"}}, "a.b": {"$array": "a.b\'"}, "list": [{"$array": "list.0"}]}'),)
    assert shapes == {"a.b": (2,), "a.b'": (3,), "list.0": (1,)}


def test_arrays_of_the_other_byte_order_come_back_in_that_of_this_machine(tmp_path):
    wanted = np.arange(6, dtype=np.int16).reshape(2, 3)
    save_tree({"a": wanted.astype(">i2"), "b": wanted.astype("<i2").T}, tmp_path / "x", "test")
    assert same({"a": wanted, "b": wanted.T}, load_tree(tmp_path / "x", "test"))


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", 1j, np.array([1j]), np.array(["a"]), abs, np.array([None]), np.complex64(1),
     pytest.param(np.longdouble(1), marks=pytest.mark.skipif(np.longdouble(1).itemsize == 8, reason="it is a float64")),
     ],
)  # fmt: skip
def test_what_a_tree_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, value):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(TypeError, match=r"save: (state.1 is a \w+; numbers, texts, arrays|'state.1' is )"):
        save_tree({"state": [0, value]}, tmp_path / "x", "test")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_H166_H167_any_byte_that_changes_and_any_cut_is_noticed(tmp_path):
    path, tree = tmp_path / "x", {"a": np.arange(5, dtype=np.int16), "b": [0.1, {"c": None}]}
    save_tree(tree, path, "test")
    content = path.read_bytes()
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        path.write_bytes(damaged)
        try:
            assert same(tree, load_tree(path, "test")), i  # a space of the padding may be another
        except CheckpointError:
            continue
    for i in range(len(content)):
        path.write_bytes(content[:i])
        with pytest.raises(CheckpointError, match="x: "):
            load_tree(path, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "its tree cannot be read: "),
        ("{", "its tree cannot be read: JSONDecodeError"),
        ("[]", "its tree is a list; a dict is needed"),
        ('{"$array": "b"}', "its tree cannot be read: KeyError: 'b'"),
        ('{"$code": "b"}', "its tree cannot be read: ValueError: the mark '\\$code' is unknown"),
        ('{"$items": 3}', "its tree cannot be read: TypeError"),
        ('{"$number": ["O", 3]}', "its tree cannot be read: ValueError: 'O' is no dtype of a number"),
        ('{"$number": ["V1", 9000000000]}', "its tree cannot be read: ValueError: 'V1' is no dtype of a number"),
        ('{"$number": ["|i1", 1000]}', "its tree cannot be read: OverflowError"),
        ('{"$number": ["<i8", 3]}', "its tree is a int64; a dict is needed"),
    ],
)
def test_a_tree_made_by_others_is_read_with_care(tmp_path, text, message):
    tree = np.frombuffer(text.encode(), np.uint8)
    metadata = {"kind": "test"}
    metadata[KEY] = digest(metadata, [("$tree", "U8", tree.shape, tree.tobytes())])
    save_file({"$tree": tree}, tmp_path / "x", metadata)
    with pytest.raises(CheckpointError, match=message):
        load_tree(tmp_path / "x", "test")


def test_a_file_of_another_kind_is_refused(tmp_path):
    tg.save({"a": np.ones(2)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"x: its kind is None; 'test' is needed"):
        load_tree(tmp_path / "x", "test")
    metadata = {"kind": "test"}
    for tensors, digested in (({"$tree": np.frombuffer(b"{}", np.uint8)}, {}), ({}, {KEY: digest(metadata, [])})):
        save_file(tensors, tmp_path / "x", metadata | digested)
        with pytest.raises(CheckpointError, match=r"x: it has no digest or no \$tree; another program wrote it"):
            load_tree(tmp_path / "x", "test")
    save_file({}, tmp_path / "x", metadata | {KEY: "0"})
    with pytest.raises(CheckpointError, match="its digest is"):
        load_tree(tmp_path / "x", "test")


# Runs

OPTIMIZERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda params: optim.Adam(params, lr=0.01, amsgrad=True),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.01, centered=True, momentum=0.5),
}
SCHEDULERS = {
    None: lambda optimizer: None,
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [1, 2, 2], 0.7),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, 12, cycle_momentum=False),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
}
SHUFFLES = {
    "seed": lambda: {"seed": 3},
    "generator": lambda: {"generator": np.random.Generator(np.random.MT19937(4))},
    "default": dict,
}


def objects(folder, optimizer="SGD", scheduler=None, shuffle="seed"):
    """All that a run of fit needs, made as at first; dropout draws from a generator of its own and the default one."""
    tg.manual_seed(7)
    rng = np.random.default_rng(0)
    own = np.random.default_rng(8)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.2),
        nn.Dropout(0.3, generator=np.random.Generator(np.random.Philox(2))), nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    data = rng.normal(size=(11, 2, 4, 3)).astype(np.float32), rng.integers(0, 3, 11)
    return {
        "model": model,
        "loader": DataLoader(TensorDataset(*data), 4, shuffle=True, **SHUFFLES[shuffle]()),
        # noise on the logits, from a generator that fit has to be told of
        "loss": lambda out, y: F.cross_entropy(out + own.normal(size=out.shape).astype(np.float32), y),
        "optimizer": optimizer,
        "scheduler": SCHEDULERS[scheduler](optimizer),
        "valid": DataLoader(TensorDataset(*data), 5, shuffle=True),
        "generator": own,
        "callbacks": [EarlyStopping(patience=3), BestModel(folder / "best", "train_loss"), CSVLog(folder / "csv")],
        "progress": False,
    }


def figures(history):
    return [{name: value for name, value in logs.items() if name != "seconds"} for logs in history]


def everything(run):
    """The bits that a run left."""
    return (
        {name: value.numpy().tobytes() for name, value in run["model"].state_dict().items()},
        str(run["optimizer"].state_dict()),
        run["scheduler"] and str(run["scheduler"].state_dict()),
        str(tg.default_generator().bit_generator.state),
        str(run["generator"].bit_generator.state),
        [callback.state_dict() for callback in run["callbacks"][:2]],
        [run["loader"].epoch, run["valid"].epoch],
    )


CASES = [
    ("SGD", "OneCycleLR", "default"),
    ("Adam", "MultiStepLR", "seed"),
    ("RMSprop", "ReduceLROnPlateau", "generator"),
    ("SGD", None, "default"),
]


@pytest.mark.parametrize(("optimizer", "scheduler", "shuffle"), CASES)
def test_H134_a_run_that_goes_on_comes_to_the_same_bits(tmp_path, optimizer, scheduler, shuffle):
    whole = objects(tmp_path, optimizer, scheduler, shuffle)
    history = fit(**whole, epochs=4)
    wanted, csv = everything(whole), (tmp_path / "csv").read_text()
    file = tmp_path / "run.safetensors"
    for epochs, resume in ((1, "auto"), (3, "auto"), (4, True)):
        part = objects(tmp_path, optimizer, scheduler, shuffle)
        tg.manual_seed(12345)  # another process would not have the state either
        if epochs == 1:
            part = objects(tmp_path, optimizer, scheduler, shuffle)
        found = fit(**part, epochs=epochs, checkpoint=file, resume=resume)
    assert everything(part) == wanted
    assert figures(found) == figures(history)
    assert [line.rsplit(",", 1)[0] for line in (tmp_path / "csv").read_text().splitlines()] == [
        line.rsplit(",", 1)[0] for line in csv.splitlines()
    ]
    before = file.read_bytes()
    again = fit(**objects(tmp_path, optimizer, scheduler, shuffle), epochs=4, checkpoint=file, resume=True)
    assert figures(again) == figures(history)  # nothing is left to be done
    assert file.read_bytes() == before


def test_a_run_that_was_stopped_stays_stopped(tmp_path):
    def run(epochs):
        given = {**objects(tmp_path), "callbacks": [EarlyStopping("lr", 2)]}
        return fit(**given, epochs=epochs, checkpoint=tmp_path / "x", resume="auto")

    assert len(run(2)) == 2
    history = run(9)
    assert (len(history), len(run(9))) == (3, 3)
    assert history.stopped == run(9).stopped == "lr has not improved on 0.05 of epoch 1 for 2 epochs"


def save_all(path, run, **options):
    callbacks = run["callbacks"][:2]
    save_checkpoint(path, run["model"], run["optimizer"], run["scheduler"], loader=run["loader"],
                    generator=run["generator"], callbacks=callbacks, **options)  # fmt: skip


def load_all(path, run, **options):
    return load_checkpoint(path, run["model"], run["optimizer"], run["scheduler"], loader=run["loader"],
                           generator=run["generator"], callbacks=run["callbacks"][:2], **options)  # fmt: skip


def test_a_checkpoint_says_what_it_is_of_and_gives_extra_back(tmp_path):
    run = objects(tmp_path, "Adam", "MultiStepLR")
    history = fit(**run, epochs=2)
    extra = {"classes": ["a", "b"], "mean": np.array([0.5]), "lr": 0.1}
    save_all(tmp_path / "x", run, epoch=2, history=history, extra=extra)
    wanted = everything(run)
    other = objects(tmp_path, "Adam", "MultiStepLR")
    found = load_all(tmp_path / "x", other)
    other["valid"].epoch = 2  # was not given
    assert everything(other) == wanted
    assert found.epoch == 2
    assert found.history.logs == history.logs
    assert same(extra, found.extra)
    weights = load_file(tmp_path / "x")
    for name, value in run["model"].state_dict().items():
        assert np.array_equal(weights[f"model.{name}"], value.numpy())


def test_a_model_alone_can_be_loaded_and_leaves_random_numbers_alone(tmp_path):
    run = objects(tmp_path)
    save_all(tmp_path / "x", run)
    model = objects(tmp_path)["model"]
    with tg.no_grad():
        model[0].weight.zero_()
    before = str(tg.manual_seed(99).bit_generator.state)
    load_checkpoint(tmp_path / "x", model, random_state=False)
    assert str(tg.default_generator().bit_generator.state) == before
    assert np.array_equal(model[0].weight.numpy(), run["model"][0].weight.numpy())
    load_checkpoint(tmp_path / "x", model)
    assert str(tg.default_generator().bit_generator.state) != before


def test_a_lazy_model_takes_its_shapes_from_a_checkpoint(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(None, 2))
    with pytest.raises(RuntimeError, match=r"'1.weight' has no values yet"):
        save_checkpoint(tmp_path / "x", model)
    assert list(tmp_path.iterdir()) == []
    model(tg.Tensor(np.ones((1, 3), np.float32)))
    save_checkpoint(tmp_path / "x", model)
    other = nn.Sequential(nn.Flatten(), nn.Linear(None, 2))
    load_checkpoint(tmp_path / "x", other)
    assert other[1].weight.shape == (2, 3)


def replaced(name, value):
    def change(run):
        run[name] = value(run)

    return change


MISFITS = {
    "model": (replaced("model", lambda run: nn.Sequential(*list(run["model"].children())[:-1], nn.Linear(36, 4))),
              r"its model does not fit, nothing was changed: load_state_dict: .*\n +6.weight"),
    "optimizer": (replaced("optimizer", lambda run: optim.Adam(run["model"].parameters())),
                  "its optimizer does not fit, nothing was changed: Adam.load_state_dict"),
    "scheduler": (replaced("scheduler", lambda run: lr_scheduler.ConstantLR(run["optimizer"])),
                  "its scheduler does not fit, nothing was changed: ConstantLR.load_state_dict"),
    "loader": (replaced("loader", lambda run: (run["loader"], run["valid"])),
               "its loader does not fit, nothing was changed: 1 loaders were saved, 2 are given"),
    "generator": (replaced("generator", lambda run: np.random.Generator(np.random.MT19937(1))),
                  "its random does not fit, nothing was changed: "),
    "generators": (replaced("generator", lambda run: [run["generator"], np.random.default_rng(0)]),
                   "its random does not fit.*: no random state was saved of given 1; make the run's objects as then"),
    "callbacks": (replaced("callbacks", lambda run: run["callbacks"][1:]),
                  r"the callbacks with a state were \['EarlyStopping', 'BestModel'\], now they are \['BestModel'\]"),
}  # fmt: skip


@pytest.mark.parametrize("part", MISFITS)
def test_H135_a_state_that_does_not_fit_changes_nothing(tmp_path, part):
    change, message = MISFITS[part]
    trained = objects(tmp_path, scheduler="MultiStepLR")
    fit(**trained, epochs=1)
    save_all(tmp_path / "x", trained, epoch=1)
    run = objects(tmp_path, scheduler="MultiStepLR")
    change(run)
    before = everything({**run, "generator": run["generator"] if part != "generators" else run["generator"][0],
                         "loader": run["loader"] if part != "loader" else run["loader"][0],
                         "callbacks": [*run["callbacks"][:1]]})  # fmt: skip
    with pytest.raises(CheckpointError, match=message):
        load_all(tmp_path / "x", run)
    after = everything({**run, "generator": run["generator"] if part != "generators" else run["generator"][0],
                        "loader": run["loader"] if part != "loader" else run["loader"][0],
                        "callbacks": [*run["callbacks"][:1]]})  # fmt: skip
    assert after == before


def test_a_part_that_was_not_saved_is_named(tmp_path):
    run = objects(tmp_path)
    save_checkpoint(tmp_path / "x", run["model"])
    with pytest.raises(
        CheckpointError, match=r"x: it holds model, random, run, but no optimizer, loader; nothing was ch"
    ):
        load_checkpoint(tmp_path / "x", run["model"], run["optimizer"], loader=run["loader"])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "save_checkpoint: model is a int; a Module is needed"),
        ((nn.ReLU(), 3), {}, "save_checkpoint: optimizer is a int; a Optimizer is needed"),
        ((nn.ReLU(), None, 3), {}, "save_checkpoint: scheduler is a int; a LRScheduler is needed"),
        ((nn.ReLU(),), {"generator": 3}, "save_checkpoint: generator is a int; a numpy.random.Generator is needed"),
        ((nn.ReLU(),), {"extra": {"a": abs}}, "save: run.extra.a is a builtin_function_or_method; numbers"),
    ],
)
def test_objects_of_other_kinds_are_refused(tmp_path, arguments, options, message):
    with pytest.raises(TypeError, match=message):
        save_checkpoint(tmp_path / "x", *arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_its_epoch_changes_nothing(tmp_path):
    model = nn.Linear(2, 3)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    save_tree({"model": {name: value * 0 for name, value in before.items()}, "random": {}, "run": {}},
              tmp_path / "x", "tinygrad_cnn checkpoint 2")  # fmt: skip
    with pytest.raises(CheckpointError, match=r"x: its run does not fit, nothing was changed: KeyError: 'epoch'"):
        load_checkpoint(tmp_path / "x", model)
    assert same(before, dict(model.state_dict()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"random of other ranks": 5},
            "x: its 'random of other ranks' are not by the ranks from 1; nothing was changed",
        ),
        ({"random of other ranks": {"7": 0}}, "x: its 'random of other ranks' are not by the ranks from 1"),
        ({"loader": [-3]}, "x: its loader does not fit, .*: the pass of a loader is -3; a whole number >= 0 is needed"),
        (
            {"loader": ["2"]},
            "x: its loader does not fit, .*: the pass of a loader is '2'; a whole number >= 0 is needed",
        ),
    ],
)
def test_H135_a_checkpoint_made_by_others_is_read_with_care(tmp_path, changed, message):
    model = nn.Linear(2, 3)
    loader = DataLoader(TensorDataset(np.zeros((4, 2)), np.zeros(4)), 2, shuffle=True)
    save_checkpoint(tmp_path / "x", model, loader=loader)
    kind = "tinygrad_cnn checkpoint 2"
    save_tree({**load_tree(tmp_path / "x", kind), **changed}, tmp_path / "x", kind)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x", model, loader=loader)
    assert loader.epoch == 0


def test_an_interrupt_while_loading_changes_nothing(tmp_path):
    trained = objects(tmp_path)
    fit(**trained, epochs=1)
    save_all(tmp_path / "x", trained)
    run = objects(tmp_path)
    before = everything(run)

    def interrupted(state):
        raise KeyboardInterrupt

    run["model"].load_state_dict = interrupted
    with pytest.raises(KeyboardInterrupt):
        load_all(tmp_path / "x", run)
    assert everything(run) == before


# Interrupts and kills

PROGRAM = """
import os, signal, sys
import numpy as np
import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim, train
from tinygrad_cnn.nn import functional as F

tg.manual_seed(0)
images, labels = tg.data.digits("train")
model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))
loader = tg.data.DataLoader(tg.data.TensorDataset(images[:96], labels[:96]), 32, shuffle=True)
end = sys.argv[1]

def loss(out, y):
    loss.calls += 1
    if loss.calls == 8 and end == "SIGKILL":  # in the second batch of epoch 3
        os.kill(os.getpid(), signal.SIGKILL)
    if loss.calls == 8 and end == "SIGINT":
        print("ready", flush=True)
        while True:
            signal.pause()
    return F.cross_entropy(out, y)

loss.calls = 0
train.fit(model, loader, loss, optim.Adam(model.parameters()), epochs=4, checkpoint="run", resume="auto",
          progress=False)
tg.save(model.state_dict(), "weights")
"""


def start(folder, end):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), end], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_H163_H176_a_run_that_is_interrupted_or_killed_goes_on_to_the_same_bits(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    with start(tmp_path / "whole", "end") as process:
        assert process.communicate()[1] == ""
    with start(tmp_path / "broken", "SIGINT") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == -signal.SIGINT  # what a shell reports as 130
    assert stderr.endswith("KeyboardInterrupt\nfit: run holds the end of epoch 2; go on with resume=True\n")
    assert sorted(file.name for file in (tmp_path / "broken").iterdir()) == ["run"]
    (tmp_path / "broken" / "run").unlink()
    with start(tmp_path / "broken", "SIGKILL") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with start(tmp_path / "broken", "end") as process:
        assert process.communicate()[1] == ""
    assert (tmp_path / "broken" / "weights").read_bytes() == (tmp_path / "whole" / "weights").read_bytes()


def test_an_interrupt_before_the_first_checkpoint_names_none(tmp_path):
    def interrupted(out, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        fit(**{**objects(tmp_path), "loss": interrupted}, epochs=2, checkpoint=tmp_path / "x")
    assert not hasattr(raised.value, "__notes__")
    assert not (tmp_path / "x").exists()
