"""Optimizers against plain loops, and what they refuse."""

import copy
import gc
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_cnn import Tensor, is_grad_enabled, no_grad
from tinygrad_cnn.nn import Linear, Parameter
from tinygrad_cnn.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSprop

SHAPES = [(3, 2), (), (4,)]


def params(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def train(optimizer, ps, steps, start=0, dtype=np.float64):
    for step in range(start, start + steps):
        for p, g in zip(ps, gradients(step, dtype), strict=True):
            p.grad = g
        optimizer.step()


def bytes_of(ps):
    return [p.array.tobytes() for p in ps]


# Formulas, number by number


def sgd_number(p, gs, lr, momentum, dampening, weight_decay, nesterov, maximize):
    v = None
    for g in gs:
        g = -g if maximize else g
        g += weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p -= lr * g
    return p


def adam_number(p, gs, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled):
    b1, b2 = betas
    m = v = largest = 0.0
    for t, g in enumerate(gs, 1):
        g = -g if maximize else g
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g += weight_decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        largest = max(largest, v)
        p -= lr * (m / (1 - b1**t)) / (math.sqrt((largest if amsgrad else v) / (1 - b2**t)) + eps)
    return p


def nadam_number(p, gs, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize):
    b1, b2 = betas
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gs, 1):
        g = -g if maximize else g
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        else:
            g += weight_decay * p
        u, ahead = (b1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
        product *= u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        direction = (1 - u) * g / (1 - product) + ahead * m / (1 - product * ahead)
        p -= lr * direction / (math.sqrt(v / (1 - b2**t)) + eps)
    return p


def adagrad_number(p, gs, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize):
    total = initial_accumulator_value
    for t, g in enumerate(gs):
        g = (-g if maximize else g) + weight_decay * p
        total += g * g
        p -= lr / (1 + t * lr_decay) * g / (math.sqrt(total) + eps)
    return p


def adadelta_number(p, gs, lr, rho, eps, weight_decay, maximize):
    v = d = 0.0
    for g in gs:
        g = (-g if maximize else g) + weight_decay * p
        v = rho * v + (1 - rho) * g * g
        u = math.sqrt(d + eps) / math.sqrt(v + eps) * g
        d = rho * d + (1 - rho) * u * u
        p -= lr * u
    return p


def rmsprop_number(p, gs, lr, alpha, eps, weight_decay, momentum, centered, maximize):
    v = m = u = 0.0
    for g in gs:
        g = (-g if maximize else g) + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g
        u = momentum * u + g / (math.sqrt(v - m * m if centered else v) + eps)
        p -= lr * u
    return p


def lion_number(p, gs, lr, betas, weight_decay, maximize):
    b1, b2 = betas
    m = 0.0
    for g in gs:
        g = -g if maximize else g
        p -= lr * weight_decay * p + lr * math.copysign(1, b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
    return p


def assert_each_number_follows(make, number, steps=6):
    ps = params()
    start = [p.array.copy() for p in ps]
    train(make(ps), ps, steps)
    for i, p in enumerate(ps):
        for at in np.ndindex(p.shape):
            gs = [float(gradients(step)[i][at]) for step in range(steps)]
            assert math.isclose(p.array[at], number(float(start[i][at]), gs), rel_tol=1e-11, abs_tol=1e-12)


@given(
    lr=st.floats(1e-4, 0.5),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    dampening=st.sampled_from([0.0, 0.3]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    nesterov=st.booleans(),
    maximize=st.booleans(),
)
def test_sgd_follows_its_formula(lr, momentum, dampening, weight_decay, nesterov, maximize):
    nesterov = nesterov and momentum > 0 and dampening == 0
    options = {
        "lr": lr,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    assert_each_number_follows(lambda ps: SGD(ps, **options), lambda p, gs: sgd_number(p, gs, **options))


@given(
    kind=st.sampled_from([Adam, AdamW]),
    lr=st.floats(1e-4, 0.5),
    betas=st.sampled_from([(0.9, 0.999), (0.5, 0.7), (0.0, 0.9)]),
    eps=st.sampled_from([1e-8, 1e-2]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    amsgrad=st.booleans(),
    maximize=st.booleans(),
)
def test_adam_and_adamw_follow_their_formulas(kind, lr, betas, eps, weight_decay, amsgrad, maximize):
    options = {
        "lr": lr,
        "betas": betas,
        "eps": eps,
        "weight_decay": weight_decay,
        "amsgrad": amsgrad,
        "maximize": maximize,
    }
    assert_each_number_follows(
        lambda ps: kind(ps, **options), lambda p, gs: adam_number(p, gs, **options, decoupled=kind is AdamW)
    )


LR = st.floats(1e-4, 0.5)
BETAS = st.sampled_from([(0.9, 0.999), (0.5, 0.7), (0.0, 0.9)])
DECAY = st.sampled_from([0.0, 0.1])
FRACTION = st.sampled_from([0.0, 0.5, 0.9])
OTHERS = {
    NAdam: (
        nadam_number,
        {
            "betas": BETAS,
            "eps": st.sampled_from([1e-8, 1e-2]),
            "momentum_decay": st.sampled_from([0.0, 4e-3, 1.0]),
            "decoupled_weight_decay": st.booleans(),
        },
    ),
    Adagrad: (
        adagrad_number,
        {
            "lr_decay": st.sampled_from([0.0, 0.3]),
            "initial_accumulator_value": st.sampled_from([0.0, 0.5]),
            "eps": st.sampled_from([1e-10, 1e-2]),
        },
    ),
    RMSprop: (
        rmsprop_number,
        {
            "alpha": st.sampled_from([0.0, 0.5, 0.99]),
            "eps": st.sampled_from([1e-8, 1e-2]),
            "momentum": FRACTION,
            "centered": st.booleans(),
        },
    ),
    Adadelta: (
        adadelta_number,
        {"rho": st.sampled_from([0.0, 0.5, 0.99]), "eps": st.sampled_from([1e-6, 1e-2])},
    ),
    Lion: (lion_number, {"betas": BETAS}),
}


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_the_other_optimizers_follow_their_formulas(kind, data):
    number, special = OTHERS[kind]
    options = data.draw(st.fixed_dictionaries({"lr": LR, "weight_decay": DECAY, "maximize": st.booleans(), **special}))
    assume(not (options.get("centered") and options["alpha"] == 0))  # the variance is 0, the rest is rounding
    assert_each_number_follows(lambda ps: kind(ps, **options), lambda p, gs: number(p, gs, **options))


def test_lion_stays_where_nothing_pulls_and_otherwise_moves_by_lr():
    p = Parameter(np.zeros(3))
    optimizer = Lion([p], lr=0.5)
    p.grad = np.array([0.0, 1e-300, -3.0])
    optimizer.step()
    assert p.array.tolist() == [0, -0.5, 0.5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_variance_that_rounds_below_0_counts_as_0(dtype):
    p = Parameter(np.zeros(50, dtype))
    optimizer = RMSprop([p], lr=1e-4, alpha=0.5, eps=1.0, centered=True)
    for _ in range(100):
        p.grad = np.linspace(0.1, 3, 50).astype(dtype)
        optimizer.step()
        assert np.isfinite(p.array).all()


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop])
@pytest.mark.parametrize("lr", [-0.25, math.inf, np.float64(-1e-3)])
def test_an_optimizer_loads_its_own_state_whatever_the_rate_has_become(kind, lr):
    optimizer = kind(params())
    optimizer.param_groups[0]["lr"] = lr
    other = kind(params())
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == lr
    state = optimizer.state_dict()
    for wrong in ("0.1", None, [0.1], True):
        state["param_groups"][0]["lr"] = wrong
        with pytest.raises(ValueError, match=r"group 0: .*: lr=.*; a number is needed"):
            other.load_state_dict(state)
        assert other.param_groups[0]["lr"] == lr
    state["param_groups"][0].update(lr=0.1, weight_decay=-1)
    with pytest.raises(ValueError, match=r"group 0: .*: weight_decay=-1; it must not be negative"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match=rf"{kind.__name__}: lr=-0.25; it must not be negative"):
        kind(params(), lr=-0.25)


SWITCHED = [  # an option that is off for some steps, and what it sums up
    (SGD, {"lr": 0.1}, "momentum", 0.9, 0.0, "momentum_buffer"),
    (RMSprop, {}, "momentum", 0.9, 0.0, "momentum_buffer"),
    (RMSprop, {"momentum": 0.5}, "centered", True, False, "grad_avg"),
    (Adam, {"betas": (0.5, 0.6)}, "amsgrad", True, False, "max_exp_avg_sq"),
    (AdamW, {"betas": (0.5, 0.6)}, "amsgrad", True, False, "max_exp_avg_sq"),
]


@pytest.mark.parametrize(("kind", "options", "option", "on", "off", "entry"), SWITCHED)
def test_what_an_option_has_summed_up_stays_while_it_is_off(kind, options, option, on, off, entry):
    rng = np.random.default_rng(3)
    p = Parameter(rng.standard_normal((3, 2)))
    optimizer = kind([p], **options, **{option: on})
    kept = None
    for value, reloaded in ((on, False), (on, False), (off, False), (off, True), (on, True)):
        optimizer.param_groups[0][option] = value
        if reloaded:
            state = optimizer.state_dict()
            optimizer = kind([p], **options, **{option: on})
            optimizer.load_state_dict(state)
        p.grad = rng.standard_normal((3, 2)) * (10 if kept is None else 0.1)
        optimizer.step()
        if value == off:
            np.testing.assert_array_equal(optimizer.state[p][entry], kept)
        kept = optimizer.state[p][entry].copy()


def test_rmsprop_refuses_an_alpha_above_1_and_adamw_decay_in_the_gradient():
    with pytest.raises(ValueError, match=r"RMSprop: alpha=1.5; it must be from 0 to 1"):
        RMSprop(params(), alpha=1.5)
    with pytest.raises(ValueError, match=r"AdamW: decoupled_weight_decay=False; it must be True here, use Adam"):
        AdamW(params()).load_state_dict(Adam(params()).state_dict())


def test_adam_with_decoupled_decay_is_adamw():
    tracks = []
    for kind, options in ((Adam, {"decoupled_weight_decay": True}), (AdamW, {})):
        ps = params()
        train(kind(ps, weight_decay=0.1, **options), ps, 3)
        tracks.append(bytes_of(ps))
    assert tracks[0] == tracks[1]


def test_the_defaults_are_pytorchs():
    p = params()
    assert SGD(p).defaults == {
        "lr": 1e-3,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "maximize": False,
    }
    adam = {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
        "maximize": False,
        "decoupled_weight_decay": False,
    }
    assert Adam(p).defaults == adam
    assert AdamW(p).defaults == {**adam, "weight_decay": 0.01, "decoupled_weight_decay": True}
    assert Lion(p).defaults == {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0, "maximize": False}


VARIANTS = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "dampening": 0.3, "maximize": True}),
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Adam, {"weight_decay": 0.01}),
    (Adam, {"amsgrad": True, "betas": (0.5, 0.7), "eps": 1e-3}),
    (Adam, {"weight_decay": 0.01, "decoupled_weight_decay": True, "maximize": True}),
    (AdamW, {}),
    (AdamW, {"amsgrad": True, "maximize": True}),
    (NAdam, {}),
    (NAdam, {"weight_decay": 0.01, "momentum_decay": 0.5, "maximize": True}),
    (NAdam, {"weight_decay": 0.01, "decoupled_weight_decay": True}),
    (RMSprop, {}),
    (RMSprop, {"momentum": 0.9, "weight_decay": 0.01}),
    (RMSprop, {"centered": True, "alpha": 0.7, "eps": 1e-3}),
    (RMSprop, {"centered": True, "momentum": 0.5, "maximize": True}),
    (Adagrad, {}),
    (Adagrad, {"lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.5, "maximize": True}),
    (Adadelta, {}),
    (Adadelta, {"rho": 0.5, "weight_decay": 0.01, "maximize": True}),
    (Lion, {}),
    (Lion, {"betas": (0.5, 0.7), "weight_decay": 0.01, "maximize": True}),
]
MAKERS = [
    pytest.param(lambda ps, kind=kind, options=options: kind(ps, lr=0.1, **options), id=f"{kind.__name__} {options}")
    for kind, options in VARIANTS
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_H26_parameters_and_states_keep_their_dtype_and_memory(make, dtype):
    ps = params(dtype)
    memories = [p.array for p in ps]
    optimizer = make(ps)
    optimizer.param_groups[0]["lr"] = np.float64(0.05)
    gs = gradients(0, dtype)
    for p, g in zip(ps, gs, strict=True):
        p.grad = Tensor(g)
    before = bytes_of([p.grad for p in ps])
    for _ in range(2):
        optimizer.step()
        assert all(p.array is memory and p.dtype == dtype for p, memory in zip(ps, memories, strict=True))
        assert bytes_of([p.grad for p in ps]) == before
        for p in ps:
            for name, value in optimizer.state[p].items():
                if name not in ("step", "mu_product"):
                    assert isinstance(value, np.ndarray)
                    assert (value.dtype, value.shape) == (dtype, p.shape)
                    assert not np.shares_memory(value, p.grad.array)


def test_a_quadratic_is_minimised_through_backward():
    for kind, options in (
        (SGD, {"lr": 0.1, "momentum": 0.9}),
        (Adam, {"lr": 0.1}),
        (AdamW, {"lr": 0.1}),
        (NAdam, {"lr": 0.1}),
        (RMSprop, {"lr": 0.02}),
        (Adagrad, {"lr": 1.0}),
        (Adadelta, {"lr": 5.0, "eps": 1e-4}),
        (Lion, {"lr": 0.02, "betas": (0.5, 0.5)}),
    ):
        p = Parameter([3.0, -2.0])
        optimizer = kind([p], **options)
        for _ in range(300):
            optimizer.zero_grad()
            ((p - Tensor([1.0, 2.0])) ** 2).sum().backward()
            optimizer.step()
        assert np.allclose(p.array, [1, 2], atol=0.05)


def test_groups_have_options_of_their_own_and_follow_changes():
    a, b = Parameter([1.0]), Parameter([1.0])
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.5, "name": "head"}], lr=0.1)
    a.grad = b.grad = np.float32([1])
    optimizer.step()
    assert np.allclose([a.array[0], b.array[0]], [0.9, 0.5])
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    assert np.allclose([a.array[0], b.array[0]], [0.7, 0.0])
    assert optimizer.param_groups[1]["name"] == "head"
    c = Parameter([1.0])
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    assert optimizer.param_groups[2]["lr"] == 0.1
    assert "Parameter Group 2: 1 parameters\n" in repr(optimizer)
    assert "    momentum: 0.9\n" in repr(optimizer)


def test_a_closure_runs_with_recording_on_and_its_loss_comes_back():
    p = Parameter([2.0])

    def closure():
        assert is_grad_enabled()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with no_grad():
        assert SGD([p], lr=0.25).step(closure).array == 4
    assert p.array.tolist() == [1]


def test_zero_grad_drops_gradients_or_makes_them_zeros():
    ps = params()
    optimizer = SGD(ps)
    train(optimizer, ps, 1)
    optimizer.zero_grad(set_to_none=False)
    assert all(not p.grad.array.any() and p.grad.shape == p.shape for p in ps)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ps)


# Hard cases


@pytest.mark.parametrize("make", MAKERS)
def test_H130_a_nan_in_a_gradient_poisons_only_its_own_entry(make):
    p, q = Parameter(np.ones(3)), Parameter(np.ones(3))
    optimizer, other = make([p]), make([q])
    for _ in range(3):
        p.grad, q.grad = np.array([1.0, np.nan, 2.0]), np.array([1.0, 5.0, 2.0])
        optimizer.step()
        other.step()
    assert np.isnan(p.array).tolist() == [False, True, False]
    assert p.array[[0, 2]].tolist() == q.array[[0, 2]].tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1},
        {"lr": math.nan},
        {"weight_decay": -0.1},
        {"momentum": -0.1},
        {"dampening": -0.1},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    ],
)
def test_H131_sgd_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=r"SGD: (nesterov needs|.* must not be negative)"):
        SGD(params(), **options)
    with pytest.raises(ValueError, match="SGD"):
        SGD([{"params": params(), **options}])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (NAdam, {"momentum_decay": -1}),
        (NAdam, {"betas": (0.9, 1.0)}),
        (Lion, {"betas": (1.0, 0.9)}),
        (Lion, {"lr": -1}),
        (RMSprop, {"alpha": -0.1}),
        (RMSprop, {"momentum": -0.1}),
        (RMSprop, {"eps": math.nan}),
        (Adagrad, {"lr_decay": -0.1}),
        (Adagrad, {"initial_accumulator_value": -0.1}),
        (Adagrad, {"eps": -1e-10}),
        (Adadelta, {"rho": 1.1}),
        (Adadelta, {"rho": -0.1}),
    ],
)
def test_H131_the_others_refuse_options_out_of_range(kind, options):
    with pytest.raises(ValueError, match=f"{kind.__name__}: {next(iter(options))}=.*"):
        kind(params(), **options)
    optimizer = kind(params())
    with pytest.raises(ValueError, match=kind.__name__):
        optimizer.add_param_group({"params": [Parameter([1.0])], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1},
        {"eps": -1e-8},
        {"weight_decay": -0.1},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"betas": (0.9, 1.0)},
        {"betas": (0.9,)},
        {"betas": (math.nan, 0.9)},
    ],
)
def test_H131_adam_refuses_options_out_of_range(kind, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        kind(params(), **options)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (list, ValueError, "the parameter list is empty"),
        (lambda: [p := Parameter([1.0]), p], ValueError, "parameter 1 .* occurs twice"),
        (lambda: [{"params": [p := Parameter([1.0])]}, {"params": [p]}], ValueError, "occurs twice"),
        (lambda: Parameter([1.0]), TypeError, "params is a Parameter; a list is needed"),
        (lambda: {Parameter([1.0])}, TypeError, "params is a set, whose order"),
        (lambda: {"w": Parameter([1.0])}, TypeError, "params is a dict"),
        (lambda: 3, TypeError, "params is a int"),
        (lambda: [np.ones(2)], TypeError, "parameter 0 is a ndarray; a Tensor is needed"),
        (lambda: Linear(1, 1).named_parameters(), TypeError, "without the names"),
        (lambda: [Parameter([1.0]) * 2], ValueError, "is the result of an op; only leaves"),
        (lambda: [Tensor([1, 2])], TypeError, "int64"),
        (lambda: [Parameter([1.0]), {"params": []}], TypeError, "parameter 1 is a dict"),
        (lambda: [{"lr": 0.1}], TypeError, "with the key 'params'"),
        (lambda: Linear(None, 1).parameters(), ValueError, r"has no values yet .*\(1, \?\).*run one batch"),
    ],
)
def test_H131_parameters_that_cannot_be_trained_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        SGD(given())


def test_options_of_the_wrong_kind_are_refused():
    for options in ({"lr": "0.1"}, {"lr": True}, {"lr": [0.1]}, {"momentum": None}, {"nesterov": 1}):
        with pytest.raises(TypeError, match=f"{next(iter(options))}=.*needed"):
            SGD(params(), **options)


@pytest.mark.parametrize("make", MAKERS)
def test_H132_a_parameter_without_gradient_is_passed_over_and_its_steps_do_not_count(make):
    ps = params()
    optimizer = make(ps)
    train(optimizer, ps, 2)
    resting = ps[0]
    before, state = resting.array.copy(), copy.deepcopy(optimizer.state[resting])
    resting.grad = None
    optimizer.step()
    assert np.array_equal(resting.array, before)
    assert pickle.dumps(optimizer.state[resting]) == pickle.dumps(state)
    never = make([Parameter([1.0])])
    never.step()
    assert never.state == {}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("through", [lambda s: s, lambda s: pickle.loads(pickle.dumps(s))])
def test_H134_ten_steps_after_a_round_trip_are_bitwise_those_of_an_uninterrupted_run(make, through):
    ps = params(np.float32)
    optimizer = make(ps)
    train(optimizer, ps, 5, dtype=np.float32)
    state, values = through(optimizer.state_dict()), [p.array.copy() for p in ps]
    train(optimizer, ps, 10, start=5, dtype=np.float32)

    resumed = [Parameter(value) for value in values]
    other = make(resumed)
    other.param_groups[0]["lr"] = 7.0
    other.load_state_dict(state)
    train(other, resumed, 10, start=5, dtype=np.float32)
    assert bytes_of(resumed) == bytes_of(ps)
    assert other.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("make", MAKERS)
def test_parameters_of_several_dtypes_move_as_they_do_alone(make):
    ps = [Parameter(np.linspace(1, 2, 5).astype(dtype)) for dtype in (np.float16, np.float32, np.float64)]
    alone = [Parameter(p.array.copy()) for p in ps]
    optimizers = [make(ps), *(make([p]) for p in alone)]
    for step in range(4):
        for p in (*ps, *alone):
            p.grad = (np.arange(5) - step + 0.5).astype(p.dtype)
        for optimizer in optimizers:
            optimizer.step()
    assert bytes_of(ps) == bytes_of(alone)


def test_state_dict_has_pytorchs_form_and_is_a_copy():
    ps = params()
    optimizer = SGD([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.5}], lr=0.1, momentum=0.9)
    train(optimizer, ps, 1)
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1, 2]]
    assert [group["lr"] for group in state["param_groups"]] == [0.1, 0.5]
    assert list(state["state"]) == [0, 1, 2]
    first = state["state"][0]["momentum_buffer"].array.copy()
    train(optimizer, ps, 1, start=1)
    assert np.array_equal(state["state"][0]["momentum_buffer"].array, first)
    assert SGD(ps).state_dict()["state"] == {}
    given = optimizer.state_dict()
    optimizer.load_state_dict(given)
    kept = optimizer.state[ps[0]]["momentum_buffer"]
    for handed_out in (given, optimizer.state_dict()):
        assert not np.shares_memory(handed_out["state"][0]["momentum_buffer"].array, kept)


def spoil(state, how):
    state = copy.deepcopy(state)
    if how == "groups":
        state["param_groups"] = []
    elif how == "count":
        state["param_groups"][0]["params"].append(9)
    elif how == "option":
        del state["param_groups"][0]["betas"]
    elif how == "range":
        state["param_groups"][0]["eps"] = -1
    elif how == "shape":
        state["state"][0]["exp_avg"] = Tensor(np.ones(1))
    elif how == "dtype":
        state["state"][0]["exp_avg"] = Tensor(np.ones((3, 2), np.float32))
    elif how == "kind":
        state["state"][0]["exp_avg"] = "no"
    elif how == "lost":
        del state["state"][1]["exp_avg_sq"]
    elif how == "step":
        state["state"][1]["step"] = 0.5
    elif how == "negative":
        state["state"][1]["step"] = -1
    elif how == "foreign":
        state["state"][1]["momentum_buffer"] = Tensor(np.ones(()))
    elif how == "number":
        state["state"][17] = state["state"][0]
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("groups", "0 parameter groups are given, there are 1"),
        ("count", "4 parameters are given, there are 3"),
        ("option", "group 0: no betas"),
        ("range", "eps=-1"),
        ("shape", r"parameter 0: exp_avg is float64 \(1,\), float64 \(3, 2\) is needed"),
        ("dtype", r"parameter 0: exp_avg is float32 \(3, 2\), float64 \(3, 2\) is needed"),
        ("kind", "parameter 0: exp_avg is a str"),
        ("lost", "parameter 1: exp_avg_sq is missing"),
        ("step", "parameter 1: step is 0.5, a whole number >= 0 is needed"),
        ("negative", "parameter 1: step is -1, a whole number >= 0 is needed"),
        ("foreign", "parameter 1: Adam keeps no 'momentum_buffer'"),
        ("number", "parameter 17: not in any group"),
    ],
)
def test_H135_an_optimizer_state_that_does_not_fit_changes_nothing(how, message):
    ps = params()
    optimizer = Adam(ps)
    train(optimizer, ps, 2)
    state = optimizer.state_dict()
    before = pickle.dumps(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(spoil(state, how))
    assert pickle.dumps(optimizer.state_dict()) == before


def test_every_difference_of_an_optimizer_state_is_listed():
    ps = params()
    optimizer = Adam(ps)
    train(optimizer, ps, 1)
    with pytest.raises(ValueError, match=r"(?s)eps=-1.*parameter 0: exp_avg.*parameter 1: step"):
        optimizer.load_state_dict(spoil(spoil(spoil(optimizer.state_dict(), "shape"), "step"), "range"))
    with pytest.raises(ValueError, match="the keys 'state' and 'param_groups'"):
        optimizer.load_state_dict({"state": {}})


def test_H129_a_step_that_fails_has_moved_each_parameter_and_its_state_entirely_or_not_at_all():
    class Fragile(Adam):
        left = 99

        def update(self, p, g, state, group):
            value = super().update(p, g, state, group)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return value

    whole, ps = params(), params()
    sound, optimizer = Adam(whole), Fragile(ps)
    train(sound, whole, 2)
    train(optimizer, ps, 2)
    before, states = bytes_of(ps), pickle.dumps(optimizer.state_dict()["state"][1])
    train(sound, whole, 1, start=2)
    optimizer.left = 2
    with pytest.raises(KeyboardInterrupt):
        train(optimizer, ps, 1, start=2)
    assert bytes_of(ps) == [bytes_of(whole)[0], *before[1:]]
    assert [optimizer.state[p]["step"] for p in ps] == [3, 2, 2]
    assert pickle.dumps(optimizer.state_dict()["state"][1]) == states


def test_H120_a_step_between_forward_and_backward_is_noticed():
    p = Parameter([1.0, 2.0])
    loss = (p * p).sum()
    p.grad = np.float32([1, 1])
    SGD([p]).step()
    with pytest.raises(RuntimeError, match=r"changed in place \(SGD.step\)"):
        loss.backward()


def test_parameters_converted_after_their_first_steps_are_noticed_before_any_moves():
    model = Linear(2, 1)
    optimizer = Adam(model.parameters())
    model(Tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    model.double()
    before = bytes_of(model.parameters())
    with pytest.raises(RuntimeError, match=r"float64 \(1, 2\), but its exp_avg is float32 \(1, 2\).*make a new"):
        optimizer.step()
    assert bytes_of(model.parameters()) == before


def test_read_only_parameters_are_noticed():
    p = Parameter([1.0])
    p.array.flags.writeable = False
    p.grad = np.float32([1])
    with pytest.raises(RuntimeError, match="read-only"):
        SGD([p]).step()


@pytest.mark.parametrize("betas", [0.9, 1, None, "ab", np.float64(0.9)])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_betas_that_are_no_pair_are_a_type_error(kind, betas):
    with pytest.raises(TypeError, match=f"{kind.__name__}: betas=.*; a tuple of two numbers is needed"):
        kind([Parameter([1.0])], betas=betas)


@pytest.mark.parametrize("make", MAKERS)
def test_H15_overflow_in_a_step_warns_nobody(make):
    p = Parameter(np.float32([3e38, 1e-38]))
    optimizer = make([p])
    with np.errstate(all="raise"):
        for _ in range(2):
            p.grad = np.float32([-3e38, 1e-38])
            optimizer.step()
    assert p.array.shape == (2,)


def test_H147_optimizers_leave_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        ps = params()
        optimizer = Adam(ps)
        train(optimizer, ps, 2)
        optimizer.load_state_dict(optimizer.state_dict())
        del optimizer, ps
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_optimizer_is_copied_with_its_parameters():
    ps = params()
    optimizer = Adam(ps)
    train(optimizer, ps, 2)
    other, others = copy.deepcopy((optimizer, ps))
    train(optimizer, ps, 2, start=2)
    train(other, others, 2, start=2)
    assert bytes_of(others) == bytes_of(ps)


def test_a_base_without_update_says_so():
    optimizer = Optimizer(params(), {"lr": 0.1})
    with pytest.raises(NotImplementedError, match="Optimizer has no update"):
        train(optimizer, optimizer.param_groups[0]["params"], 1)
