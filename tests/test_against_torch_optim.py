"""Optimizers, schedules and clipping give PyTorch's numbers step by step, with generated options."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch_problems import BOTH, OURS, THEIRS, Library, compare, grid, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

inf = math.inf


@pytest.fixture(autouse=True, scope="module")
def _one_thread_and_exact_numbers() -> Iterator[None]:
    """PyTorch keeps NAdam's product of momenta in its default dtype, ours is a Python number."""
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_num_threads(before[0])
    torch.set_default_dtype(before[1])


# Names

OPTIMIZERS = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "NAdam"]
FOR_DEVICES = {"foreach", "capturable", "differentiable", "fused"}  # how to compute, not what
SCHEDULES = sorted(set(tg.optim.lr_scheduler.__all__) - {"LRScheduler"})


def signature(f: Any, without: set[str]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.name not in without]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = (getattr(m.optim, name) for m in BOTH)
    assert sorted(signature(ours, set()), key=str) == sorted(signature(theirs, FOR_DEVICES), key=str)
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    kinds = [[p.name for p in inspect.signature(f).parameters.values() if p.kind is positional] for f in (ours, theirs)]
    assert kinds[0] == kinds[1][: len(kinds[0])]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = (getattr(m.optim.lr_scheduler, name) for m in BOTH)
    assert signature(ours, set()) == signature(theirs, set())


SWITCHED = [
    ("SGD", {"lr": 0.1}, "momentum", (0.9, 0.0)),
    ("RMSprop", {"alpha": 0.5}, "momentum", (0.9, 0.0)),
    ("RMSprop", {"alpha": 0.5, "momentum": 0.5}, "centered", (True, False)),
    ("Adam", {"betas": (0.5, 0.6)}, "amsgrad", (True, False)),
    ("AdamW", {"betas": (0.5, 0.6)}, "amsgrad", (True, False)),
]


@pytest.mark.parametrize(("name", "options", "option", "values"), SWITCHED)
def test_an_option_that_is_switched_off_and_on_goes_on_as_in_pytorch(
    name: str, options: dict[str, Any], option: str, values: tuple[Any, Any]
) -> None:
    rng = np.random.default_rng(1)
    start = rng.standard_normal((3, 2))
    ours, theirs = tg.nn.Parameter(start.copy()), torch.tensor(start, requires_grad=True)
    both = getattr(tg.optim, name)([ours], **options), getattr(torch.optim, name)([theirs], **options)
    for which in (0, 0, 1, 1, 0, 1, 0, 0):
        g = rng.standard_normal((3, 2)) * rng.uniform(0.1, 3)
        ours.grad, theirs.grad = tg.Tensor(g), torch.tensor(g)
        for optimizer in both:
            optimizer.param_groups[0][option] = values[which]
            optimizer.step()
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)
        assert {*both[0].state[ours]} == {*both[1].state[theirs]}


STATES: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda s, o: s.StepLR(o, 2),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 4, 4]),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda step: 0.9**step),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda step: 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 4),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=20, three_phase=True),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=1, min_lr=[0]),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o), s.StepLR(o, 2)], [3]),
}


@pytest.mark.parametrize("name", STATES)
def test_a_schedule_loads_pytorchs_state_and_goes_on_with_its_rates(name: str) -> None:
    p = torch.ones(2, requires_grad=True)
    theirs = torch.optim.SGD([p], lr=1, momentum=0.9)
    ours = tg.optim.SGD([tg.nn.Parameter(np.ones(2))], lr=1, momentum=0.9)
    schedules = STATES[name](torch.optim.lr_scheduler, theirs), STATES[name](tg.optim.lr_scheduler, ours)

    def go(optimizer: Any, schedule: Any) -> float:
        optimizer.step()
        schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        return float(optimizer.param_groups[0]["lr"])

    for _ in range(3):
        go(theirs, schedules[0])
    ours.has_stepped = True
    schedules[1].load_state_dict(schedules[0].state_dict())
    ours.param_groups[0].update(
        {k: v for k, v in theirs.param_groups[0].items() if k in ours.param_groups[0] and k != "params"}
    )
    for _ in range(4):
        assert go(ours, schedules[1]) == pytest.approx(go(theirs, schedules[0]), rel=1e-12)


@pytest.mark.parametrize("name", tg.nn.utils.__all__)
def test_a_function_of_nn_utils_has_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = (getattr(m.nn.utils, name) for m in BOTH)
    assert signature(ours, set()) == signature(theirs, FOR_DEVICES)


# Optimizers

LR = st.floats(1e-4, 0.3)
BETAS = st.tuples(st.floats(0, 0.99), st.floats(0.3, 0.999))  # nearer to 0 the division magnifies rounding
EPS = st.floats(1e-6, 1e-2)
DECAY = st.sampled_from([0.0, 0.01, 0.3])
FRACTION = st.sampled_from([0.0, 0.4, 0.9])
SPECIAL: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": FRACTION, "dampening": st.sampled_from([0.0, 0.3]), "nesterov": st.booleans()},
    "RMSprop": {"alpha": st.floats(0.3, 0.99), "eps": EPS, "momentum": FRACTION, "centered": st.booleans()},
    "Adagrad": {
        "lr_decay": st.sampled_from([0.0, 0.2]),
        "initial_accumulator_value": st.sampled_from([0.0, 0.5]),
        "eps": EPS,
    },
    "Adadelta": {"rho": st.floats(0.3, 0.99), "eps": EPS},
    "Adam": {"betas": BETAS, "eps": EPS, "amsgrad": st.booleans(), "decoupled_weight_decay": st.booleans()},
    "AdamW": {"betas": BETAS, "eps": EPS, "amsgrad": st.booleans()},
    "NAdam": {
        "betas": BETAS,
        "eps": EPS,
        "momentum_decay": st.sampled_from([0.0, 4e-3, 0.5]),
        "decoupled_weight_decay": st.booleans(),
    },
}


@st.composite
def options_of(draw: Any, name: str) -> dict[str, Any]:
    common = {"lr": LR, "weight_decay": DECAY, "maximize": st.booleans()}
    options = draw(st.fixed_dictionaries({}, optional={**common, **SPECIAL[name]}))
    if options.get("nesterov") and (not options.get("momentum") or options.get("dampening")):
        del options["nesterov"]
    return options


def leaves(m: Library) -> list[Any]:
    return [m.leaf(grid(1, 4, 3)), m.leaf(grid(2, 3)), m.leaf(grid(3, 2))]  # the last gets no gradient


def take_step(m: Library, optimizer: Any, ps: list[Any], step: int) -> None:
    for i, p in enumerate(ps[:2]):
        p.grad = m.constant(grid(10 * step + i, *p.shape))
    optimizer.step()


def make(m: Library, name: str, options: dict[str, Any], ps: list[Any]) -> Any:
    return getattr(m.optim, name)([{"params": [ps[0], ps[2]]}, {"params": [ps[1]], "lr": 0.02}], **options)


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
def test_twenty_five_steps_of_an_optimizer(name: str, data: Any) -> None:
    options = data.draw(options_of(name))
    tracks = []
    for m in BOTH:
        ps = leaves(m)
        optimizer = make(m, name, options, ps)
        track = []
        for step in range(25):
            take_step(m, optimizer, ps, step)
            track += [values(p) for p in ps]
        tracks.append(track)
    compare(*tracks, 1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
def test_a_state_of_pytorch_is_gone_on_with_and_the_other_way_round(name: str, data: Any) -> None:
    options = data.draw(options_of(name))
    runs = {m: leaves(m) for m in BOTH}
    optimizers = {m: make(m, name, options, ps) for m, ps in runs.items()}
    for step in range(3):
        for m, ps in runs.items():
            take_step(m, optimizers[m], ps, step)
    ours, theirs = (optimizers[m].state_dict() for m in BOTH)
    moved = {0, 2}  # PyTorch's Adagrad has a state for a parameter that never moved, too
    for number in moved:
        assert ours["state"].get(number, {}).keys() == theirs["state"].get(number, {}).keys()
    for mine, other in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert {key: value for key, value in other.items() if key not in FOR_DEVICES} == mine
    for key in ours["state"]:
        theirs["state"][key].update({k: torch.tensor(np.array(values_of(v))) for k, v in ours["state"][key].items()})
    optimizers[THEIRS].load_state_dict(theirs)
    optimizers[OURS].load_state_dict(theirs)
    tracks: dict[Any, list[Any]] = {m: [] for m in BOTH}
    for step in range(3, 8):
        for m, ps in runs.items():
            take_step(m, optimizers[m], ps, step)
            tracks[m] += [values(p) for p in ps]
    compare(tracks[OURS], tracks[THEIRS], 1e-11)


def values_of(value: Any) -> Any:
    return values(value) if isinstance(value, tg.Tensor) else value


# Schedules

T = st.integers(1, 12)
FACTOR = st.floats(0.05, 1)


def plain(name: str, **options: Any) -> Callable[[Any, Any, dict[str, Any]], Any]:
    return lambda s, o, drawn: getattr(s, name)(o, **options, **drawn)


def sequence(s: Any, o: Any, d: dict[str, Any]) -> Any:
    parts = [
        s.LinearLR(o, d["x"], 1.0, d["t"]),
        s.CosineAnnealingLR(o, d["t"], 1e-3),
        s.ConstantLR(o, d["y"], d["t"]),
        s.CosineAnnealingWarmRestarts(o, d["t"], 2),
        s.MultiStepLR(o, [0, 1, d["t"]], d["x"]),
        s.LambdaLR(o, lambda step: 1 / (1 + step)),
        s.MultiplicativeLR(o, lambda step: 0.9),
        s.PolynomialLR(o, d["t"], 2.0),
        s.ExponentialLR(o, d["y"]),
    ]
    order = [parts[i] for i in d["order"]]
    return s.SequentialLR(o, order, list(np.cumsum(d["lengths"][: len(order) - 1]).tolist()))


def chain(s: Any, o: Any, d: dict[str, Any]) -> Any:
    return s.ChainedScheduler(
        [
            s.LinearLR(o, d["x"], 1.0, d["t"]),
            s.ExponentialLR(o, d["y"]),
            s.StepLR(o, d["t"], 0.5),
            s.MultiStepLR(o, [2, 3], 0.7),
            s.CosineAnnealingLR(o, 40),
            s.PolynomialLR(o, 50, 1.0),
        ][d["from"] :]
    )


CASES: dict[str, tuple[Callable[[Any, Any, dict[str, Any]], Any], dict[str, Any]]] = {
    "StepLR": (plain("StepLR"), {"step_size": T, "gamma": FACTOR}),
    "MultiStepLR": (plain("MultiStepLR"), {"milestones": st.lists(st.integers(0, 25), max_size=5), "gamma": FACTOR}),
    "ConstantLR": (plain("ConstantLR"), {"factor": FACTOR, "total_iters": T}),
    "LinearLR": (plain("LinearLR"), {"start_factor": FACTOR, "end_factor": st.floats(0, 1), "total_iters": T}),
    "ExponentialLR": (plain("ExponentialLR"), {"gamma": FACTOR}),
    "PolynomialLR": (plain("PolynomialLR"), {"total_iters": T, "power": st.floats(0.5, 3)}),
    "CosineAnnealingLR": (plain("CosineAnnealingLR"), {"T_max": T, "eta_min": st.floats(0, 0.01)}),
    "CosineAnnealingWarmRestarts": (
        plain("CosineAnnealingWarmRestarts"),
        {"T_0": T, "T_mult": st.integers(1, 3), "eta_min": st.floats(0, 0.01)},
    ),
    "OneCycleLR": (
        plain("OneCycleLR", total_steps=31),
        {
            "max_lr": st.one_of(st.floats(0.01, 1), st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(list)),
            "pct_start": st.floats(0.05, 0.45),
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "cycle_momentum": st.booleans(),
            "base_momentum": st.floats(0.1, 0.85),
            "max_momentum": st.floats(0.85, 0.95),
            "div_factor": st.floats(1, 30),
            "final_div_factor": st.floats(1, 1e4),
            "three_phase": st.booleans(),
        },
    ),
    "OneCycleLR by epochs": (plain("OneCycleLR", epochs=4, steps_per_epoch=8), {"max_lr": st.floats(0.01, 1)}),
    "LambdaLR": (plain("LambdaLR", lr_lambda=[lambda t: 0.9**t, lambda t: 1 / (1 + t)]), {}),
    "MultiplicativeLR": (plain("MultiplicativeLR", lr_lambda=lambda t: 1 - 0.5 / t), {}),
    "SequentialLR": (
        sequence,
        {
            "t": T,
            "x": FACTOR,
            "y": FACTOR,
            "order": st.permutations(range(9)).flatmap(lambda o: st.integers(1, 5).map(lambda n: o[:n])),
            "lengths": st.lists(st.integers(1, 8), min_size=5, max_size=5),
        },
    ),
    "ChainedScheduler": (chain, {"t": T, "x": FACTOR, "y": FACTOR, "from": st.integers(0, 5)}),
    "ReduceLROnPlateau": (
        plain("ReduceLROnPlateau"),
        {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.floats(0.05, 0.95),
            "patience": st.integers(0, 3),
            "threshold": st.floats(0, 0.5),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.one_of(st.just(0), st.just([0.01, 0.001])),
            "eps": st.sampled_from([1e-8, 1e-2]),
        },
    ),
}


def test_every_schedule_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} == set(SCHEDULES)


def rates(optimizer: Any) -> list[Any]:
    return [np.array([g["lr"], g.get("momentum", 0.0), *g.get("betas", ())]) for g in optimizer.param_groups]


@pytest.mark.parametrize("name", CASES)
@given(data=st.data(), kind=st.sampled_from(["SGD", "Adam"]))
def test_thirty_steps_of_a_schedule_and_its_state(name: str, data: Any, kind: str) -> None:
    construct, strategies = CASES[name]
    drawn = data.draw(st.fixed_dictionaries(strategies))
    losses = data.draw(st.lists(st.floats(-2, 2), min_size=30, max_size=30)) if name == "ReduceLROnPlateau" else []
    middle = data.draw(st.integers(0, 29))
    runs = []
    for m in BOTH:
        ps = leaves(m)
        optimizer = make(m, kind, {"lr": 0.1}, ps)
        schedule = construct(m.optim.lr_scheduler, optimizer, drawn)
        found = rates(optimizer)
        states = []
        for step in range(30):
            if step == middle:
                states = [optimizer.state_dict(), schedule.state_dict()]
            optimizer.step()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                schedule.step(*losses[step : step + 1])
            if name != "ChainedScheduler":
                found.append(np.array(float(schedule.last_epoch)))
            found += [*rates(optimizer), np.array(schedule.get_last_lr())]
        runs.append((found, states, optimizer, schedule))
    (ours, _, optimizer, schedule), (theirs, states, *_) = runs
    compare(ours, theirs, 1e-12)
    if name == "ChainedScheduler":
        return  # PyTorch's does not count its steps
    # Ours, given the states that PyTorch's had in the middle, walks the second half once more.
    for group in states[0]["param_groups"]:
        group["lr"] = max(group["lr"], 0.0)  # PyTorch's LinearLR rounds to a little below 0, ours does not
    optimizer.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    again = []
    for step in range(middle, 30):
        schedule.step(*losses[step : step + 1])
        again += [np.array(float(schedule.last_epoch)), *rates(optimizer), np.array(schedule.get_last_lr())]
    compare(again, theirs[len(theirs) - len(again) :], 1e-12)


# PyTorch counts one restart at most on the way to last_epoch; a plateau has no such argument.
PLACED_OTHERWISE = {"CosineAnnealingWarmRestarts", "ReduceLROnPlateau"}


@pytest.mark.parametrize(
    "name", sorted(set(CASES) & set(SCHEDULES) - PLACED_OTHERWISE - {"SequentialLR", "ChainedScheduler"})
)
@given(data=st.data(), last_epoch=st.integers(0, 20))
def test_a_schedule_begins_at_last_epoch(name: str, data: Any, last_epoch: int) -> None:
    construct, strategies = CASES[name]
    drawn = data.draw(st.fixed_dictionaries(strategies))
    tracks = []
    for m in BOTH:
        optimizer = make(m, "SGD", {"lr": 0.1}, leaves(m))
        extra = {"max_lr": 0.7, "min_lr": 0.001, "max_momentum": 0.9, "base_momentum": 0.8}
        for group in optimizer.param_groups:
            group.update(initial_lr=0.5, **(extra if name == "OneCycleLR" else {}))
        schedule = construct(m.optim.lr_scheduler, optimizer, {**drawn, "last_epoch": last_epoch})
        track = rates(optimizer)
        for _ in range(8):
            optimizer.step()
            schedule.step()
            track += rates(optimizer)
        tracks.append(track)
    compare(*tracks, 1e-12)


@given(epochs=st.lists(st.floats(0, 40), max_size=6), first=st.integers(1, 9), mult=st.integers(1, 3))
def test_restarts_at_any_epoch(epochs: list[float], first: int, mult: int) -> None:
    tracks = []
    for m in BOTH:
        optimizer = make(m, "SGD", {"lr": 0.1}, leaves(m))
        schedule = m.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, mult)
        track = []
        for epoch in epochs:
            epoch = math.floor(epoch * 8) / 8 + 1 / 16  # away from the restarts, which PyTorch misses by rounding
            schedule.step(epoch)
            track += rates(optimizer)
        tracks.append(track)
    compare(*tracks, 1e-10)


# Clipping


@given(
    p=st.sampled_from([0, 0.5, 1, 2, 3, inf, -inf, -1]),
    most=st.floats(0, 5),
    seed=st.integers(0, 99),
    special=st.sampled_from([0.5, 0.0, inf, -inf, math.nan]),
)
def test_clipping_by_norm(p: float, most: float, seed: int, special: float) -> None:
    results = []
    for m in BOTH:
        ps = [m.leaf(grid(i, 3, 2)) for i in range(4)]
        for i, leaf in enumerate(ps[:3]):
            g = grid(seed + i, 3, 2)
            if i == 1:
                g[1, 1] = special
            leaf.grad = m.constant(g)
        norm = m.nn.utils.clip_grad_norm_(ps, most, norm_type=p)
        results.append([values(norm), *(values(leaf.grad) for leaf in ps[:3])])
        assert ps[3].grad is None
    compare(*results, 1e-12)


@given(most=st.floats(0, 5), seed=st.integers(0, 99))
def test_clipping_by_value_and_parameters_as_a_vector(most: float, seed: int) -> None:
    results = []
    for m in BOTH:
        ps = [m.leaf(grid(seed, 3, 2)), m.leaf(grid(seed + 1, 2))]
        ps[0].grad = m.constant(3 * grid(seed + 2, 3, 2))
        m.nn.utils.clip_grad_value_(ps, most)
        vector = m.nn.utils.parameters_to_vector(ps)
        found = [values(ps[0].grad), values(vector)]
        m.nn.utils.vector_to_parameters(vector.detach() * 2, ps)
        results.append(found + [values(leaf) for leaf in ps])
    compare(*results, 1e-15)
