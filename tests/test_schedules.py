"""Learning-rate schedules: their formulas, exact resumption, and what they refuse."""

import copy
import math
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import Tensor
from tinygrad_cnn.nn import Parameter
from tinygrad_cnn.optim import SGD, Adagrad, Adam, RMSprop, lr_scheduler
from tinygrad_cnn.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


def make_optimizer(kind=SGD, lrs=(0.5, 0.02), **options):
    return kind([{"params": [Parameter([1.0, 2.0])], "lr": lr} for lr in lrs], **options)


def rates_of(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


class Halving:
    """A function of the step with a state of its own."""

    def __init__(self):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return 0.5**self.calls


SCHEDULES = {
    "StepLR": lambda o: StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: MultiStepLR(o, [2, 5, 5, 9], 0.5),
    "ConstantLR": lambda o: ConstantLR(o, 0.25, 4),
    "LinearLR": lambda o: LinearLR(o, 0.1, 0.9, 6),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, 7, 0.001),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "OneCycleLR": lambda o: OneCycleLR(o, [1.0, 0.1], total_steps=30),
    "OneCycleLR linear": lambda o: OneCycleLR(
        o, 1.0, epochs=3, steps_per_epoch=10, anneal_strategy="linear", three_phase=True, cycle_momentum=False
    ),
    "LambdaLR": lambda o: LambdaLR(o, lambda step: 0.9**step),
    "LambdaLR of objects": lambda o: LambdaLR(o, [Halving(), lambda step: 1 / (1 + step)]),
    "MultiplicativeLR": lambda o: MultiplicativeLR(o, lambda step: 1 - 0.5 / step),
    "SequentialLR": lambda o: SequentialLR(
        o, [LinearLR(o, 0.1, total_iters=4), CosineAnnealingLR(o, 5), StepLR(o, 2)], [4, 9]
    ),
    "ChainedScheduler": lambda o: ChainedScheduler([ConstantLR(o, 0.5, 4), ExponentialLR(o, 0.9)]),
    "SequentialLR of others": lambda o: SequentialLR(
        o,
        [
            ChainedScheduler([LinearLR(o, 0.1, total_iters=4), ExponentialLR(o, 0.9)]),
            SequentialLR(o, [ConstantLR(o, 0.5, 2), ChainedScheduler([StepLR(o, 1, 0.5)])], [3]),
            ChainedScheduler([LinearLR(o, 0.1, total_iters=4), StepLR(o, 2)]),
        ],
        [3, 8],
    ),
}
PLATEAU = {
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=1),
    "ReduceLROnPlateau max": lambda o: ReduceLROnPlateau(o, "max", 0.5, 0, 0.1, "abs", min_lr=[0.1, 0.01]),
}


def walk(schedule, optimizer, steps, start=0):
    """The rates and momenta of each step from `start`, with the optimizer's own steps between."""
    found = []
    for i in range(start, start + steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = np.float32([math.sin(i), 1.0])
        optimizer.step()
        schedule.step(*([math.cos(i) + 2] if isinstance(schedule, ReduceLROnPlateau) else []))
        assert schedule.get_last_lr() == rates_of(optimizer)
        found.append([(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups])
    return found


# Formulas


@pytest.mark.parametrize(
    "make",
    [
        lambda o, t, x, y: StepLR(o, t, x),
        lambda o, t, x, y: MultiStepLR(o, [t, 2 * t, 2 * t, 3], x),
        lambda o, t, x, y: ConstantLR(o, x, t),
        lambda o, t, x, y: LinearLR(o, x, y, t),
        lambda o, t, x, y: ExponentialLR(o, x),
        lambda o, t, x, y: PolynomialLR(o, t, 3 * y),
        lambda o, t, x, y: CosineAnnealingLR(o, t, 0.01 * x),
    ],
)
@given(t=st.integers(1, 12), x=st.floats(0.05, 1), y=st.floats(0, 1))
def test_the_factors_of_a_schedule_multiply_to_its_closed_form(make, t, x, y):
    optimizer = make_optimizer()
    schedule = make(optimizer, t, x, y)
    for step in range(30):
        assert schedule.last_epoch == step
        closed = [schedule.closed_lr(base) for base in (0.5, 0.02)]
        assert rates_of(optimizer) == pytest.approx(closed, rel=1e-9, abs=1e-12)
        walk(schedule, optimizer, 1, start=step)


def test_a_cycle_goes_up_to_max_lr_and_down_and_momentum_the_other_way():
    for kind in (SGD, RMSprop, Adam):
        optimizer = make_optimizer(kind, lrs=(0.1,), **({} if kind is Adam else {"momentum": 0.9}))
        schedule = OneCycleLR(optimizer, 1.0, total_steps=12, pct_start=0.5, div_factor=10, final_div_factor=100)
        track = [optimizer.param_groups[0].copy()]
        for step in range(11):
            walk(schedule, optimizer, 1, start=step)
            track.append(optimizer.param_groups[0].copy())
        rates = [group["lr"] for group in track]
        momenta = [group["betas"][0] if kind is Adam else group["momentum"] for group in track]
        assert [rates[0], max(rates), rates[-1]] == pytest.approx([0.1, 1.0, 0.001])
        assert [momenta[0], min(momenta), momenta[-1]] == pytest.approx([0.95, 0.85, 0.95], abs=2e-3)
        assert np.argmax(rates) == np.argmin(momenta)


def test_a_line_to_0_ends_there_and_not_a_rounding_below():
    for total in range(1, 60):
        for start in (1 / 3, 0.37656601085859154, 1.0):
            optimizer = make_optimizer()
            walk(LinearLR(optimizer, start, 0.0, total), optimizer, total + 2)
            assert all(0 <= rate < 1e-15 for rate in rates_of(optimizer))


def test_a_constant_factor_of_0_comes_back_too():
    optimizer = make_optimizer()
    schedule = ConstantLR(optimizer, 0.0, 2)
    assert [rates_of(optimizer)[0], *(rates[0][0] for rates in walk(schedule, optimizer, 3))] == [0, 0, 0.5, 0.5]


def test_a_cycle_of_three_phases_comes_down_as_it_went_up_and_then_further():
    optimizer = make_optimizer(lrs=(0.1,), momentum=0.9)
    schedule = OneCycleLR(
        optimizer, 1.0, total_steps=13, pct_start=4 / 13, anneal_strategy="linear", div_factor=10, three_phase=True
    )
    track = [[(0.1, 0.95, None)], *walk(schedule, optimizer, 12)]
    rates, momenta, _ = zip(*(step[0] for step in track), strict=True)
    assert rates == pytest.approx([0.1, 0.4, 0.7, 1.0, 0.7, 0.4, 0.1, *np.linspace(0.1, 1e-5, 7)[1:]], rel=1e-9)
    assert momenta[:7] == pytest.approx(np.interp(range(7), [0, 3, 6], [0.95, 0.85, 0.95]))
    assert momenta[7:] == (0.95,) * 6


def test_restarts_that_cannot_be_computed_leave_the_place_as_it_was():
    class Broken(CosineAnnealingWarmRestarts):
        def next_lr(self, lr, base_lr):
            if self.last_epoch > 1:
                raise KeyboardInterrupt
            return lr

    optimizer = make_optimizer()
    schedule = Broken(optimizer, 4)
    walk(schedule, optimizer, 1)
    before = schedule.state_dict()
    for step in (schedule.step, lambda: schedule.step(2.5)):
        with pytest.raises(KeyboardInterrupt):
            step()
        assert schedule.state_dict() == before


def test_the_first_number_is_an_improvement_whatever_the_threshold():
    for mode in ("min", "max"):
        schedule = ReduceLROnPlateau(make_optimizer(), mode, threshold=1.0)
        schedule.step(3.0)
        assert schedule.best == 3.0


def test_a_cycle_whose_first_phase_is_one_step_begins_at_its_end():
    optimizer = make_optimizer(lrs=(0.1,))
    schedule = OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=0.1, cycle_momentum=False)
    assert rates_of(optimizer) == [1.0]
    assert len(walk(schedule, optimizer, 9)) == 9
    OneCycleLR(make_optimizer(), 1.0, total_steps=1)


@given(
    first=st.integers(1, 5),
    mult=st.integers(1, 3),
    epochs=st.lists(st.integers(0, 200), min_size=1, max_size=3),
)
def test_restarts_are_the_same_counted_or_gone_to(first, mult, epochs):
    cur, length, places = 0, first, []
    for _ in range(201):
        places.append((cur, length))
        cur += 1
        if cur == length:
            cur, length = 0, length * mult
    counted, gone = make_optimizer(), make_optimizer()
    counter, goer = (CosineAnnealingWarmRestarts(o, first, mult) for o in (counted, gone))
    counted.has_stepped = True
    for epoch in range(201):
        assert (counter.T_cur, counter.T_i, counter.last_epoch) == (*places[epoch], epoch)
        counter.step()
    for epoch in epochs:
        goer.step(epoch)
        assert (goer.T_cur, goer.T_i, goer.last_epoch) == (*places[epoch], epoch)
        rate = 0.5 * (1 + math.cos(math.pi * places[epoch][0] / places[epoch][1])) / 2
        assert gone.param_groups[0]["lr"] == pytest.approx(rate)
    goer.step(0.5)
    assert (goer.T_cur, goer.last_epoch) == (0.5, 0)


def test_a_plateau_halves_the_rate_after_patience_and_waits_for_cooldown():
    optimizer = make_optimizer(lrs=(1.0,))
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=2, cooldown=2)
    rates = []
    for loss in [1.0, 0.5, 0.5, 0.5, 0.5, 9.0, 9.0, 9.0, 9.0, 9.0, 0.1, math.nan, math.nan, math.nan]:
        schedule.step(Tensor([loss]).sum() if loss < 1 else loss)
        rates += rates_of(optimizer)
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert schedule.last_epoch == 14


def test_a_plateau_keeps_above_min_lr_and_leaves_out_tiny_changes():
    optimizer = make_optimizer(lrs=(1.0, 1.0))
    schedule = ReduceLROnPlateau(optimizer, patience=0, factor=0.1, min_lr=[0.05, 0.0], eps=1e-3)
    for _ in range(8):
        schedule.step(1.0)
    assert rates_of(optimizer) == pytest.approx([0.05, 0.001])


def test_an_improvement_is_relative_or_absolute_to_the_best():
    for mode, kind, better in [
        ("min", "rel", 89.9),
        ("max", "rel", 110.1),
        ("min", "abs", 99.8),
        ("max", "abs", 100.2),
    ]:
        schedule = ReduceLROnPlateau(make_optimizer(), mode, threshold=0.1, threshold_mode=kind)
        schedule.step(100)
        schedule.step((better + 100) / 2)
        assert (schedule.best, schedule.num_bad_epochs) == (100, 1)
        schedule.step(better)
        assert (schedule.best, schedule.num_bad_epochs) == (better, 0)


def test_parts_of_a_sequence_begin_where_their_milestone_is():
    optimizer = make_optimizer(lrs=(1.0,))
    schedule = SCHEDULES["SequentialLR of others"](optimizer)
    rates = rates_of(optimizer) + [rates[0][0] for rates in walk(schedule, optimizer, 11)]
    warm = [0.1, (0.1 + 0.9 / 4) * 0.9, (0.1 + 0.9 / 2) * 0.81]
    assert rates == pytest.approx([*warm, 0.5, 0.5, 1.0, 1.0, 0.5, 0.1, 0.325, 0.055, 0.0775])


def test_rates_changed_by_hand_are_what_a_schedule_goes_on_from():
    optimizer = make_optimizer(lrs=(1.0,))
    schedule = ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 8.0
    walk(schedule, optimizer, 1)
    assert rates_of(optimizer) == [4.0]


@pytest.mark.parametrize("name", [*SCHEDULES, *PLATEAU])
def test_a_group_that_is_added_later_joins_or_is_refused(name):
    optimizer = make_optimizer()
    schedule = {**SCHEDULES, **PLATEAU}[name](optimizer)
    optimizer.add_param_group({"params": [Parameter([1.0, 2.0])], "lr": 0.3})
    if name.startswith(("OneCycle", "Lambda", "Multiplicative", "ReduceLROnPlateau max")):
        before, rates = pickle.dumps(vars_of(schedule)), rates_of(optimizer)
        with pytest.raises(
            RuntimeError, match=r"came after the schedule|functions for 3 parameter|3 parameter groups now"
        ):
            walk(schedule, optimizer, 1)
        assert (pickle.dumps(vars_of(schedule)), rates_of(optimizer)) == (before, rates)
    else:
        walk(schedule, optimizer, 12)
        assert len(schedule.get_last_lr()) == 3


def vars_of(schedule):
    return {key: value for key, value in vars(schedule).items() if key not in ("optimizer", "lr_lambdas")}


# Resumption


@pytest.mark.parametrize("name", [*SCHEDULES, *PLATEAU])
@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("schedule_first", [True, False])
def test_H134_steps_after_a_round_trip_are_those_of_an_uninterrupted_run(name, kind, schedule_first):
    make = {**SCHEDULES, **PLATEAU}[name]
    for steps in (0, 1, 4, 9):
        optimizer = make_optimizer(kind)
        schedule = make(optimizer)
        walk(schedule, optimizer, steps)
        states = pickle.loads(pickle.dumps((optimizer.state_dict(), schedule.state_dict())))
        values = [group["params"][0].array.copy() for group in optimizer.param_groups]

        other = make_optimizer(kind, lrs=(7.0, 7.0))
        for group, value in zip(other.param_groups, values, strict=True):
            group["params"][0].array[...] = value
        resumed = make(other)
        for load, state in list(zip((other.load_state_dict, resumed.load_state_dict), states, strict=True))[
            :: -1 if schedule_first else 1
        ]:
            load(state)
        assert resumed.state_dict() == schedule.state_dict()
        assert walk(resumed, other, 12, start=steps) == walk(schedule, optimizer, 12, start=steps)
        assert resumed.last_epoch == schedule.last_epoch
        for ours, theirs in zip(other.param_groups, optimizer.param_groups, strict=True):
            assert ours["params"][0].array.tobytes() == theirs["params"][0].array.tobytes()


@pytest.mark.parametrize("name", [*SCHEDULES, *PLATEAU])
def test_a_state_is_a_copy_and_has_no_optimizer(name):
    optimizer = make_optimizer()
    schedule = {**SCHEDULES, **PLATEAU}[name](optimizer)
    state = schedule.state_dict()
    before = pickle.dumps(state)
    walk(schedule, optimizer, 5)
    assert pickle.dumps(state) == before
    assert "optimizer" not in state
    schedule.get_last_lr()[0] = 99.0
    assert schedule.get_last_lr() == rates_of(optimizer)


def test_H135_a_state_that_does_not_fit_changes_nothing():
    optimizer = make_optimizer()
    step = StepLR(optimizer, 3)
    good = step.state_dict()
    for spoilt, message in [
        (3, "a int is given; a dict is needed"),
        ({**good, "T_max": 3}, "StepLR has no 'T_max'"),
        ({key: value for key, value in good.items() if key != "gamma"}, "gamma is missing"),
        ({**good, "last_epoch": 1.5}, "last_epoch is 1.5, a whole number is needed"),
        ({**good, "base_lrs": [0.1]}, "base_lrs has 1 rates, the optimizer has 2 parameter groups"),
        (ExponentialLR(make_optimizer(), 0.5).state_dict(), "step_size is missing"),
    ]:
        with pytest.raises(ValueError, match=rf"StepLR.load_state_dict: nothing was changed:\n  .*{message}"):
            step.load_state_dict(spoilt)
        assert step.state_dict() == good
    many = SCHEDULES["SequentialLR"](make_optimizer())
    good = many.state_dict()
    for spoil, message in [
        (lambda s: s["_schedulers"].pop(), "2 schedules are given, there are 3"),
        (lambda s: s["_schedulers"][1].pop("T_max"), "schedule 1, CosineAnnealingLR: T_max is missing"),
        (lambda s: s.pop("_milestones"), "_milestones is missing"),
    ]:
        state = {**copy.deepcopy(good), "last_epoch": 77}
        spoil(state)
        with pytest.raises(ValueError, match=message):
            many.load_state_dict(state)
        assert many.state_dict() == good
    functions = SCHEDULES["LambdaLR of objects"](make_optimizer())
    with pytest.raises(ValueError, match="function 1 has attributes in the state, but is a plain function here"):
        functions.load_state_dict({**functions.state_dict(), "lr_lambdas": [{"calls": 9}, {"calls": 9}]})
    assert functions.lr_lambdas[0].calls == 1
    functions = SCHEDULES["LambdaLR"](make_optimizer())
    with pytest.raises(ValueError, match="1 functions are given, there are 2"):
        functions.load_state_dict({**functions.state_dict(), "lr_lambdas": [None]})
    plateau = PLATEAU["ReduceLROnPlateau"](make_optimizer())
    with pytest.raises(ValueError, match="min_lrs has 1 entries for 2 parameter groups"):
        plateau.load_state_dict({**plateau.state_dict(), "min_lrs": [0.0]})


def cut(change, state):
    first, *others = state["_schedule_phases"]
    return {**state, "_schedule_phases": [{**first, **change}, *others]}


def by_steps(optimizer):
    return StepLR(optimizer, 3)


def milestones(optimizer):
    return MultiStepLR(optimizer, [2, 4])


def one_cycle(optimizer):
    return OneCycleLR(optimizer, 0.1, 9, cycle_momentum=False)


def in_turn(optimizer):
    return SequentialLR(optimizer, [StepLR(optimizer, 3), StepLR(optimizer, 2)], [4])


def chained(optimizer):
    return ChainedScheduler([StepLR(optimizer, 3), StepLR(optimizer, 2)])


WRONG_KINDS = [  # a schedule, what its state is spoilt with, what the error says
    (by_steps, {"step_size": "x"}, "step_size is 'x', a whole number >= 1 is needed"),
    (by_steps, {"step_size": 0}, "step_size is 0, a whole number >= 1 is needed"),
    (by_steps, {"step_size": 2.5}, "step_size is 2.5, a whole number >= 1 is needed"),
    (by_steps, {"step_size": True}, "step_size is True, a whole number >= 1 is needed"),
    (by_steps, {"gamma": None}, "gamma is None, a number is needed"),
    (by_steps, {"gamma": np.ones(2)}, r"gamma is array\(\[1., 1.\]\), a number is needed"),
    (by_steps, {"base_lrs": 5}, "base_lrs is 5, a list of numbers is needed"),
    (by_steps, {"_last_lr": [0.1, "x"]}, r"_last_lr is \[0.1, 'x'\], a list of numbers is needed"),
    (by_steps, {"_step_count": -2}, "_step_count is -2, a whole number >= 0 is needed"),
    (by_steps, {"last_epoch": True, "gamma": "y"}, r"gamma is 'y', a number is needed\n.*last_epoch is True"),
    (milestones, {"milestones": [2, 4]}, "milestones is .*, a Counter of whole numbers is needed"),
    (lambda o: CosineAnnealingLR(o, 3), {"T_max": "3"}, "T_max is '3', a number is needed"),
    (lambda o: CosineAnnealingWarmRestarts(o, 3), {"T_i": 1.5}, "T_i is 1.5, a whole number >= 1 is needed"),
    (ReduceLROnPlateau, {"mode": "most"}, "mode is 'most', 'min' or 'max' is needed"),
    (ReduceLROnPlateau, {"threshold_mode": 1}, "threshold_mode is 1, 'rel' or 'abs' is needed"),
    (ReduceLROnPlateau, {"best": None}, "best is None, a number is needed"),
    (ReduceLROnPlateau, {"min_lrs": [0.1, None]}, "min_lrs is .*, a list of numbers is needed"),
    (lambda o: LambdaLR(o, lambda step: 1.0), {"lr_lambdas": 3}, "lr_lambdas is 3, a list is needed"),
    (lambda o: LambdaLR(o, Power(0.5)), {"lr_lambdas": [{}, 5]}, "lr_lambdas is .*, a list of dicts and None is"),
    (one_cycle, {"cycle_momentum": 0}, "cycle_momentum is 0, True or False is"),
    (one_cycle, {"_anneal_func_type": "x"}, "is 'x', 'cos' or 'linear' is needed"),
    *(
        (one_cycle, partial(cut, to), "_schedule_phases is .*, dicts as")
        for to in ({"start_lr": "x"}, {"end_step": "x"}, {"end_lr": []}, {"more": 1})
    ),
    (one_cycle, {"_schedule_phases": [3, 4]}, "_schedule_phases is .*, dicts as"),
    (one_cycle, {"_schedule_phases": []}, "_schedule_phases is .*, dicts as"),
    (in_turn, {"_milestones": []}, "1 whole numbers that do not fall are"),
    (in_turn, {"_milestones": ["x"]}, r"a list of numbers is needed"),
    (in_turn, {"_milestones": [1.5]}, r"_milestones is \[1.5\], 1 whole"),
    (in_turn, {"_schedulers": {}}, r"_schedulers is {}, a list is needed"),
    (chained, lambda s: {**s, "_schedulers": [s["_schedulers"][0], 7]},
     "schedule 1, StepLR: a int is given; a dict"),
    (chained,
     lambda s: {**s, "_schedulers": [s["_schedulers"][0], {**s["_schedulers"][1], "gamma": "x"}]},
     "schedule 1, StepLR: gamma is 'x', a number is needed"),
]  # fmt: skip


class Power:
    def __init__(self, base):
        self.base = base

    def __call__(self, step):
        return self.base**step


@pytest.mark.parametrize(("make", "spoilt", "message"), WRONG_KINDS)
def test_H135_an_entry_of_another_kind_is_refused_and_changes_nothing(make, spoilt, message):
    optimizer = make_optimizer()
    schedule = make(optimizer)
    good, rates = schedule.state_dict(), rates_of(optimizer)
    later = {**copy.deepcopy(good), "last_epoch": 5}
    with pytest.raises(
        ValueError, match=rf"(?s){type(schedule).__name__}.load_state_dict: nothing was changed:\n  .*{message}"
    ):
        schedule.load_state_dict(spoilt(later) if callable(spoilt) else {**later, **spoilt})
    assert schedule.state_dict() == good
    assert rates_of(optimizer) == rates


def test_a_schedule_of_ones_own_may_keep_what_it_likes():
    class Own(StepLR):
        def __init__(self, optimizer):
            self.best, self.seen, self.note, self.low = None, 3.0, {"a": 1}, 0.5
            super().__init__(optimizer, 2)

    schedule = Own(make_optimizer())
    schedule.load_state_dict({**schedule.state_dict(), "best": [1], "note": {"b": "c"}, "low": None, "gamma": 1})
    assert (schedule.best, schedule.note, schedule.low, schedule.gamma) == ([1], {"b": "c"}, None, 1)


def test_an_earlier_run_goes_on_from_last_epoch():
    optimizer = make_optimizer(lrs=(1.0,))
    with pytest.raises(KeyError, match="StepLR: last_epoch=2, but parameter group 0 has no 'initial_lr'"):
        StepLR(optimizer, 3, last_epoch=2)
    assert "initial_lr" not in optimizer.param_groups[0]
    optimizer.param_groups[0]["initial_lr"] = 1.0
    for t, rate in [(2, 0.1), (6, 0.1)]:
        schedule = StepLR(optimizer, 3, last_epoch=t)
        assert (schedule.last_epoch, rates_of(optimizer)) == (t + 1, [rate])
    assert CosineAnnealingWarmRestarts(optimizer, 2, 2, last_epoch=12).T_cur == 13 - 2 - 4


# What is refused


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: StepLR(3, 1), TypeError, "StepLR: the optimizer is a int; an optimizer is needed"),
        (lambda o: LambdaLR([], abs), TypeError, "LambdaLR: the optimizer is a list"),
        (lambda o: SequentialLR(3, [], []), TypeError, "SequentialLR: the optimizer is a int"),
        (lambda o: StepLR(o, 0), ValueError, "StepLR: step_size=0; a whole number >= 1 is needed"),
        (lambda o: StepLR(o, 1.5), TypeError, "step_size=1.5; a whole number"),
        (lambda o: StepLR(o, True), TypeError, "step_size=True"),
        (lambda o: StepLR(o, 1, -0.1), ValueError, "StepLR: gamma=-0.1; a number >= 0 is needed"),
        (lambda o: StepLR(o, 1, "x"), TypeError, "StepLR: gamma='x'; a number is needed"),
        (lambda o: StepLR(o, 1, last_epoch=-2), ValueError, "last_epoch=-2; a whole number >= -1"),
        (lambda o: ExponentialLR(o, math.nan), ValueError, "gamma=nan"),
        (lambda o: MultiStepLR(o, 30), TypeError, "milestones=30; a list of steps is needed"),
        (lambda o: MultiStepLR(o, "30"), TypeError, "a milestone='3'"),
        (lambda o: MultiStepLR(o, [3, -1]), ValueError, "a milestone=-1; a whole number >= 0"),
        (lambda o: ConstantLR(o, 1.5), ValueError, "ConstantLR: factor=1.5; a number >= 0 and <= 1 is needed"),
        (lambda o: ConstantLR(o, total_iters=0), ValueError, "total_iters=0"),
        (lambda o: LinearLR(o, 0), ValueError, "LinearLR: start_factor=0; a number > 0 and <= 1 is needed"),
        (lambda o: LinearLR(o, end_factor=1.5), ValueError, "end_factor=1.5"),
        (lambda o: PolynomialLR(o, 0), ValueError, "total_iters=0"),
        (lambda o: PolynomialLR(o, power=-1), ValueError, "power=-1"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, "T_max=0; a number > 0 is needed"),
        (lambda o: CosineAnnealingLR(o, 3, -1.0), ValueError, "eta_min=-1.0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0=0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "T_mult=0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "epoch=-1"),
        (lambda o: LambdaLR(o, 3), TypeError, "LambdaLR: lr_lambda is a int; a function of the step is needed"),
        (lambda o: MultiplicativeLR(o, [abs]), ValueError, "lr_lambda has 1 entries, the optimizer has 2 parameter gr"),
        (lambda o: OneCycleLR(o, 1.0), ValueError, "OneCycleLR: the number of steps is unknown; give total_steps, or"),
        (lambda o: OneCycleLR(o, 1.0, epochs=3), ValueError, "the number of steps is unknown"),
        (lambda o: OneCycleLR(o, 1.0, 0), ValueError, "total_steps=0"),
        (lambda o: OneCycleLR(o, 1.0, 5, pct_start=1.5), ValueError, "pct_start=1.5; a number >= 0 and <= 1"),
        (lambda o: OneCycleLR(o, 1.0, 5, anneal_strategy="x"), ValueError, "anneal_strategy='x'; 'cos' or 'linear'"),
        (lambda o: OneCycleLR(o, [1.0], 5), ValueError, "max_lr has 1 entries"),
        (lambda o: OneCycleLR(o, -1.0, 5), ValueError, "max_lr=-1.0"),
        (lambda o: OneCycleLR(o, 1.0, 5, div_factor=0), ValueError, "div_factor=0"),
        (lambda o: OneCycleLR(o, 1.0, 5, max_momentum=2.0), ValueError, "max_momentum=2.0"),
        (lambda o: ReduceLROnPlateau(o, "up"), ValueError, "mode='up'; 'min' or 'max' is needed"),
        (lambda o: ReduceLROnPlateau(o, factor=1.0), ValueError, "factor=1.0; a number < 1 is needed"),
        (lambda o: ReduceLROnPlateau(o, factor=1.5), ValueError, "factor=1.5"),
        (lambda o: ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode='x'; 'rel' or 'abs'"),
        (lambda o: ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "min_lr has 1 entries"),
        (lambda o: ReduceLROnPlateau(o, patience=-1), ValueError, "patience=-1"),
        (lambda o: ChainedScheduler([]), ValueError, "ChainedScheduler: no schedules are given; at least one"),
        (lambda o: ChainedScheduler([3]), TypeError, "entry 0 is a int; a schedule is needed"),
        (
            lambda o: ChainedScheduler([ReduceLROnPlateau(o)]),
            ValueError,
            "ReduceLROnPlateau, whose step needs a number",
        ),
        (
            lambda o: ChainedScheduler([ExponentialLR(o, 1), ExponentialLR(make_optimizer(), 1)]),
            ValueError,
            "entry 1, a ExponentialLR, has another optimizer; make all with the same",
        ),
        (lambda o: SequentialLR(o, [], []), ValueError, "SequentialLR: no schedules are given"),
        (
            lambda o: SequentialLR(o, [ExponentialLR(o, 1)], [3]),
            ValueError,
            "1 schedules and 1 milestones; .* 0 in all",
        ),
        (lambda o: SequentialLR(o, [ExponentialLR(o, 1)] * 3, [5, 3]), ValueError, "they must not fall"),
    ],
)
def test_options_that_cannot_be_are_refused_and_the_rates_stay(make, error, message):
    optimizer = make_optimizer()
    with pytest.raises(error, match=message):
        make(optimizer)
    assert rates_of(optimizer) == [0.5, 0.02]


def test_an_optimizer_without_momentum_has_none_to_cycle():
    optimizer = make_optimizer(Adagrad)
    before = copy.deepcopy([{**g, "params": []} for g in optimizer.param_groups])
    with pytest.raises(ValueError, match="Adagrad has neither momentum nor betas to change; give cycle_momentum=False"):
        OneCycleLR(optimizer, 1.0, 10)
    assert [{**g, "params": []} for g in optimizer.param_groups] == before
    OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False)


def test_a_cycle_that_is_over_says_so_and_nothing_moves():
    optimizer = make_optimizer(momentum=0.9)
    cycle = OneCycleLR(optimizer, 1.0, total_steps=3)
    chain = ChainedScheduler([ExponentialLR(optimizer, 0.9), cycle])
    walk(chain, optimizer, 3)
    for schedule in (cycle, chain):
        before, groups = chain.state_dict(), pickle.dumps([g["lr"] for g in optimizer.param_groups])
        with pytest.raises(ValueError, match="step 4 of a cycle of total_steps=3; stop here"):
            schedule.step()
        assert chain.state_dict() == before
        assert pickle.dumps([g["lr"] for g in optimizer.param_groups]) == groups


def test_a_schedule_that_is_stepped_before_the_optimizer_warns():
    optimizer = make_optimizer()
    schedule = StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"StepLR.step\(\) was called before optimizer.step\(\)"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


def test_a_schedule_of_ones_own_gives_next_lr_or_get_lr():
    class Falling(LRScheduler):
        def next_lr(self, lr, base_lr):
            return base_lr / (1 + self.last_epoch)

    class Same(LRScheduler):
        def get_lr(self):
            return [0.25]

    optimizer = make_optimizer(lrs=(1.0,))
    walk(Falling(optimizer), optimizer, 3)
    assert rates_of(optimizer) == [0.25]
    with pytest.raises(NotImplementedError, match="LRScheduler has no next_lr"):
        LRScheduler(optimizer)
    with pytest.raises(NotImplementedError, match="Same has no closed form"):
        Same(optimizer).closed_lr(1.0)
    with pytest.raises(RuntimeError, match="Same: 1 rates for 2 parameter groups"):
        Same(make_optimizer())


def test_the_functions_of_a_schedule_stay_the_same_objects_when_a_state_is_loaded():
    halving = Halving()
    schedule = LambdaLR(make_optimizer(), halving)
    state = schedule.state_dict()
    halving.calls = 7
    schedule.load_state_dict(state)
    assert schedule.lr_lambdas == [halving, halving]
    assert halving.calls == state["lr_lambdas"][0]["calls"] == 2


@pytest.mark.parametrize("name", ["SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"])
def test_the_rates_of_a_schedule_without_a_formula_are_those_last_set(name):
    schedule = {**SCHEDULES, **PLATEAU}[name](make_optimizer())
    assert schedule.get_lr() == schedule.get_last_lr()


def test_a_rate_that_is_a_tensor_becomes_a_number():
    optimizer = make_optimizer(lrs=(Tensor(1.0),))
    schedule = ExponentialLR(optimizer, 0.5)
    walk(schedule, optimizer, 2)
    assert schedule.get_last_lr() == [0.25]
    assert repr(schedule) == "ExponentialLR(last_epoch=2, lr=[0.25])"


def test_every_schedule_is_in_the_tables_above():
    made = {type(make(make_optimizer())).__name__ for make in (*SCHEDULES.values(), *PLATEAU.values())}
    assert made == set(lr_scheduler.__all__) - {"LRScheduler"}
