"""checkpoint: what it keeps, and that nothing else about a program changes."""

import gc
import threading
import tracemalloc
import weakref
from contextvars import ContextVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, checkpoint, checkpoint_sequential, nn
from tinygrad_cnn.graph import Node


def network(seed: int = 0) -> nn.Sequential:
    """All that makes a second forward differ: running statistics, the thread's generator, and one of its own."""
    g = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, generator=g),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3, generator=np.random.default_rng(seed + 1)),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Conv2d(4, 3, (2, 1), generator=g),
        nn.BatchNorm2d(3, momentum=None),
        nn.Tanh(),
    )


def images(seed: int = 0, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape or (3, 2, 6, 5)).astype(np.float32)


def bits(arrays: list) -> list[bytes]:
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


def trained(run, seed: int = 0, steps: int = 2, second_order: bool = False) -> list[bytes]:
    """Everything that a few steps leave behind: results, gradients, statistics, and where the generators stand."""
    net, found = network(seed), []
    tg.manual_seed(seed)
    x = Tensor(images(seed), requires_grad=True)
    for _ in range(steps):
        out = run(net, x)
        loss = (out * Tensor(images(seed + 9, *out.shape))).sum() + (out**3).mean()
        if second_order:
            leaves = [x, *net.parameters()]
            first = tg.grad(loss, leaves, create_graph=True)
            found += [g.array for g in first]
            sum((g * g).sum() for g in first).backward()
        else:
            loss.backward()
        found += [out.array, x.grad.array, *(p.grad.array for p in net.parameters())]
        found += [b.array for b in net.buffers()]
        found += [tg.rand(2).array, net[3].generator.random(2)]
        found = [np.array(a) for a in found]
    return bits(found)


RUNS = {
    "the whole": lambda net, x: checkpoint(net, x),
    "each layer": lambda net, x: checkpoint_sequential(net, len(net), x),
    "segments": lambda net, x: checkpoint_sequential(net, 3, x),
    "one inside another": lambda net, x: checkpoint(lambda x: checkpoint(net, x * 1.0) * 1.0, x),
    "many inside one": lambda net, x: checkpoint(lambda x: checkpoint_sequential(net, 4, x), x),
    "without arguments": lambda net, x: checkpoint(lambda: net(x)),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_gradients_statistics_and_random_numbers_are_bitwise_those_of_the_plain_run(run):
    assert trained(run) == trained(lambda net, x: net(x))


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_second_order_gradients_are_bitwise_those_of_the_plain_run(run):
    assert trained(run, 1, 1, second_order=True) == trained(lambda net, x: net(x), 1, 1, second_order=True)


STEPS = [
    lambda h, w: h * w,
    lambda h, w: (h @ w).tanh(),
    lambda h, w: tg.dropout(h, 0.4),
    lambda h, w: tg.relu(h) + w.sum(),
    lambda h, w: h[:, ::-1] - tg.rand(4),
    lambda h, w: tg.softmax(h, axis=1).exp(),
    lambda h, w: tg.cat([h[:2], h[2:] * 2.0]),
]


@given(
    st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=3),
    st.integers(0, 2**16),
)
@settings(max_examples=25)
def test_wherever_a_program_is_checkpointed_its_gradients_stay_the_same(kinds, spans, seed):
    def program(h, w, first, last, level):
        k = first
        while k < last:
            a, b = spans[level] if level < len(spans) else (0, 0)
            b = min(b, last)
            if a == k and k < b:
                h = checkpoint(program, h, w, a, b, level + 1)
                k = b
            else:
                h, k = STEPS[kinds[k]](h, w), k + 1
        return h

    def gradients(run):
        tg.manual_seed(seed)
        rng = np.random.default_rng(seed)
        x, w = (Tensor(rng.standard_normal((4, 4)), requires_grad=True) for _ in range(2))
        run(x, w).sum().backward()
        return bits([g.grad.array for g in (x, w) if g.grad is not None] + [tg.rand(1).array])

    plain = gradients(lambda x, w: program(x, w, 0, len(kinds), len(spans)))
    assert gradients(lambda x, w: program(x, w, 0, len(kinds), 0)) == plain


# What it keeps


def steps_of(result: Tensor) -> list[Node]:
    found, stack = set(), [result.node]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.parents)
    return [node for node in found if node.plan is not None]


def arrays_in(value) -> list[np.ndarray]:
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in arrays_in(part)]
    return [value] if isinstance(value, np.ndarray) else []


def kept_bytes(result: Tensor) -> int:
    """Of all the arrays that the steps below keep, each memory once."""
    found = [a for node in steps_of(result) for a in arrays_in((node.saved or (), tuple(node.params.values())))]
    owners = {id(tg.memory.owner(a)): tg.memory.owner(a).nbytes for a in found}
    return sum(owners.values())


def test_a_checkpoint_keeps_no_value_of_its_steps():
    net, x = network(), Tensor(images())
    assert kept_bytes(net(x)) > 5 * x.array.nbytes
    assert kept_bytes(checkpoint(net, x)) == 0


def test_what_leads_out_beside_the_result_is_kept_only_by_what_is_no_part_of_it():
    aside = []

    def f(x):
        aside.append((x * 2.0).exp())
        return (x * 3.0).exp()

    x = Tensor(images(), requires_grad=True)
    out = checkpoint(f, x)
    assert kept_bytes(out) == 0
    assert kept_bytes(aside[0]) > 0
    aside[0].sum().backward()
    np.testing.assert_array_equal(x.grad.array, 2 * aside[0].array)


def test_values_inside_die_with_the_forward_and_with_the_rules_that_asked_for_them():
    alive = []

    def f(x):
        for _ in range(6):
            x = (x * 1.5).tanh()
            alive.append(weakref.ref(x.array))
        return x

    def living():
        return sum(ref() is not None for ref in alive)

    x = Tensor(images(), requires_grad=True)
    out = checkpoint(f, x)
    assert living() == 1  # the result
    seen = []
    x.register_hook(lambda g: seen.append(living()))
    loss = out.sum()
    loss.backward()
    assert len(alive) == 12
    assert seen[0] <= 3  # at the end of backward, the rules have given back what they had
    del out, loss
    assert living() == 0


def test_what_a_checkpoint_inside_reads_dies_with_the_rules_around_it():
    alive = []

    def f(x):
        for _ in range(6):
            x = (x * 1.5).tanh()
            alive.append(weakref.ref(x.array))
        return checkpoint(lambda x: x.exp(), x)

    x, seen = Tensor(images(), requires_grad=True), []
    loss = checkpoint(f, x).sum()
    x.register_hook(lambda g: seen.append(sum(ref() is not None for ref in alive)))
    loss.backward()
    assert seen[0] <= 2


def test_a_backward_that_stops_half_way_holds_nothing_afterwards():
    inside = []

    def f(x):
        h = x.exp()
        inside.append(h)
        return h.exp().exp()

    x = Tensor(images(0, 4, 5) * 0.1, requires_grad=True)
    out = checkpoint(f, x)
    (g,) = tg.grad(out.sum(), [inside[0]], retain_graph=True)
    assert g.shape == (4, 5)
    inside.clear()
    assert kept_bytes(out) == 0
    out.sum().backward()
    assert x.grad is not None


def test_the_peak_of_a_deep_net_falls_with_its_segments():
    layers = [lambda x, k=k: (x * (1 + 0.01 * k)).tanh() for k in range(36)]

    def peak(run) -> int:
        x = Tensor(np.full((64, 256), 0.1, np.float32), requires_grad=True)
        gc.collect()
        tracemalloc.start()
        try:
            run(x).sum().backward()
            return tracemalloc.get_traced_memory()[1] // x.array.nbytes
        finally:
            tracemalloc.stop()

    def plain(x):
        for layer in layers:
            x = layer(x)
        return x

    peak(plain)
    assert peak(plain) > 35
    assert peak(lambda x: checkpoint_sequential(layers, 6, x)) < 20


def test_dropping_the_result_frees_the_graph_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        x = Tensor(images(), requires_grad=True)
        out = checkpoint(lambda x: checkpoint(lambda x: x.exp() * 2.0, x), x)
        node, held = weakref.ref(out.node), weakref.ref(x.array)
        out.sum().backward(retain_graph=True)
        del out, x
        assert (node(), held()) == (None, None)
    finally:
        gc.enable()


# How it is called


def test_arguments_of_any_kind_and_several_results():
    seen = []

    def f(pair, flag, *, scale, names):
        a, b = pair
        seen.append((flag, names, type(scale)))
        return {"sum": (a + b).exp() * scale, "rest": [a.exp(), 7, None, (a > 0).detach()]}

    a, b = (Tensor(images(k, 2, 3), requires_grad=True) for k in (0, 1))
    scale = np.float32([1.0, 2.0, 3.0])
    out = checkpoint(f, (a, b), True, scale=scale, names=["n"])
    assert out["rest"][1:3] == [7, None]
    scale[:] = 0.0  # a bare array is the caller's
    (out["sum"].sum() + out["rest"][0].sum()).backward()
    both = np.exp(a.array + b.array) * np.float32([1, 2, 3])
    np.testing.assert_allclose(b.grad.array, both, rtol=1e-6)
    np.testing.assert_allclose(a.grad.array, both + np.exp(a.array), rtol=1e-6)
    assert seen == [(True, ["n"], np.ndarray)] * 2


def test_a_result_that_is_not_used_sends_no_gradient():
    x = Tensor([0.0, 4.0], requires_grad=True)
    _, y = checkpoint(lambda x: (x.sqrt(), x * x), x)  # the slope of sqrt is inf at 0, and 0 · inf is nan
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [0.0, 8.0])


def test_under_no_grad_it_is_the_plain_call():
    x, calls = Tensor(images(), requires_grad=True), []
    with tg.no_grad():
        out = checkpoint(lambda x: (calls.append(0), x * 2.0)[1], x)
    assert (out.requires_grad, calls) == (False, [0])


def test_inside_no_grad_and_enable_grad_are_as_they_were():
    def f(x):
        with tg.no_grad():
            scale = (x * x).sum()
        return (x * scale).exp()

    def gradient(run):
        x = Tensor(images(0, 2, 2) * 0.1, requires_grad=True)
        out = run(x)
        loss = out.sum()
        with tg.no_grad():
            loss.backward()
        return x.grad.array

    assert bits([gradient(lambda x: checkpoint(f, x))]) == bits([gradient(f)])


@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_use_reentrant_is_accepted_and_changes_nothing(use_reentrant):
    w, x = Tensor([2.0], requires_grad=True), Tensor([3.0])
    checkpoint(lambda x: (w * x).exp(), x, use_reentrant=use_reentrant).sum().backward()
    np.testing.assert_allclose(w.grad.array, 3 * np.exp(6.0), rtol=1e-6)
    y = checkpoint_sequential([lambda x: x * w, tg.exp], 2, x, use_reentrant)
    np.testing.assert_allclose(y.array, np.exp(6.0), rtol=1e-6)


def test_backward_may_run_twice_and_says_when_the_graph_was_freed():
    x = Tensor(images(0, 3), requires_grad=True)
    out = checkpoint(lambda x: x.exp().exp(), x).sum()
    out.backward(retain_graph=True)
    once = x.grad.array.copy()
    out.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * once)
    with pytest.raises(RuntimeError, match="was freed by an earlier backward"):
        out.backward()


def test_hooks_and_kept_gradients_inside_are_those_of_the_first_forward():
    inside, seen = [], []

    def f(x):
        h = x.exp()
        h.retain_grad()
        h.register_hook(lambda g: seen.append(g.array.copy()))
        inside.append(h)
        return h * h

    x = Tensor([0.5, 1.0], requires_grad=True)
    checkpoint(f, x).sum().backward()
    assert len(inside) == 2
    np.testing.assert_array_equal(inside[0].grad.array, 2 * inside[0].array)
    assert inside[1].grad is None
    assert len(seen) == 1


def test_a_backward_in_another_thread_draws_the_same_numbers():
    tg.manual_seed(4)
    x = Tensor(np.ones((5, 7)), requires_grad=True)
    out = checkpoint(lambda x: tg.dropout(x.exp(), 0.5), x)
    thread = threading.Thread(target=out.sum().backward)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(x.grad.array, out.array)


def test_context_variables_are_those_of_the_forward():
    power = ContextVar("power", default=2)

    def f(x):
        return x.exp() if power.get() == 2 else x.tanh()

    x = Tensor([0.5], requires_grad=True)
    out = checkpoint(f, x)
    token = power.set(3)
    try:
        out.sum().backward()
    finally:
        power.reset(token)
    np.testing.assert_array_equal(x.grad.array, out.array)


DRAWS = {
    "rand": lambda g: tg.rand(3, generator=g),
    "randn": lambda g: tg.randn(3, generator=g),
    "randint": lambda g: tg.randint(100, (3,), generator=g),
    "randperm": lambda g: tg.randperm(3, generator=g),
    "normal_": lambda g: Tensor(np.zeros(3)).normal_(generator=g),
    "uniform_": lambda g: Tensor(np.zeros(3)).uniform_(generator=g),
    "dropout": lambda g: tg.dropout(Tensor(np.ones(3)), 0.5, generator=g),
    "init": lambda g: nn.init.uniform_(Tensor(np.zeros(3)), generator=g),
    "default_generator": lambda g: (g or tg.default_generator()).random(3) if g is None else tg.rand(3, generator=g),
    "manual_seed": lambda g: tg.rand(3, generator=g) * float(tg.manual_seed(7).random()),
}


@pytest.mark.parametrize("given_one", [False, True], ids=["the thread's", "one given"])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_every_function_that_draws_draws_the_same_again_and_once(draw, given_one):
    def run(call):
        tg.manual_seed(11)
        g = np.random.default_rng(12) if given_one else None
        x = Tensor(np.ones((4, 3)), requires_grad=True)
        call(lambda x: (x * draw(g)).exp() * draw(g), x).sum().backward()
        return bits([x.grad.array, tg.rand(1).array, np.zeros(1) if g is None else g.random(1)])

    assert run(checkpoint) == run(lambda f, x: f(x))


def test_a_seed_set_inside_is_not_set_again():
    def stream(call):
        x = Tensor([1.0], requires_grad=True)
        out = call(lambda x: x.exp() * float(tg.manual_seed(7).random()), x)
        tg.manual_seed(11)
        out.sum().backward()
        drawn = []
        thread = threading.Thread(target=lambda: drawn.append(tg.rand(2).array))
        thread.start()
        thread.join()
        return bits([*drawn, tg.rand(2).array])

    assert stream(checkpoint) == stream(lambda f, x: f(x))


# What it refuses


def test_an_argument_changed_in_place_is_named():
    x = Tensor([1.0, 2.0], requires_grad=True)
    out = checkpoint(lambda x: (x + 1.0).exp(), x)  # no rule of the plain run needs x
    with tg.no_grad():
        x.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"checkpoint: add reads memory of shape \(2,\) .* \(mul_\) .*clone\(\)"):
        out.sum().backward()
    assert x.grad is None


def test_a_parameter_that_an_optimizer_has_moved_is_named():
    net, x = network(), Tensor(images(), requires_grad=True)
    optimizer = tg.optim.SGD(net.parameters(), 0.1)
    out = checkpoint(net, x)
    (net[0].weight.sum() + net[6].weight.sum()).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"checkpoint: conv2d reads memory .* was changed in place") as caught:
        out.sum().backward()
    assert any("while checkpoint computed Sequential again" in note for note in caught.value.__notes__)


def test_a_change_of_what_stands_in_a_parameter_place_shows_in_the_result():
    x, mean = Tensor(images(), requires_grad=True), Tensor(np.zeros(2, np.float32))
    var = Tensor(np.ones(2, np.float32))
    out = checkpoint(lambda x: tg.batch_norm(x, mean, var), x)
    mean.add_(1.0)
    with pytest.raises(RuntimeError, match="the result has other values when it is computed again: something that"):
        (out * out).sum().backward()


def test_a_change_of_what_is_not_read_is_allowed():
    x, other = Tensor([1.0], requires_grad=True), Tensor([1.0])
    out = checkpoint(lambda x: x.exp(), x)
    other.add_(1.0)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.array, out.array)


def test_memory_that_the_function_itself_makes_and_changes_is_its_own():
    def f(x):
        mask = tg.zeros(2, 3)
        mask[0] = 2.0
        return (x * mask).exp()

    x = Tensor(images(0, 2, 3), requires_grad=True)
    out = checkpoint(f, x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.array, out.array * np.float32([[2] * 3, [0] * 3]))


def test_a_value_inside_that_was_changed_in_place_is_named_as_in_a_plain_run():
    def f(x):
        y = x.exp()
        with tg.no_grad():
            y.add_(1.0)
        return y * 1.0

    with pytest.raises(RuntimeError, match=r"exp: its output of shape \(2,\) was changed in place \(add_\)"):
        checkpoint(f, Tensor([1.0, 2.0], requires_grad=True)).sum().backward()


def test_assigning_data_leaves_the_checkpoint_with_the_old_array():
    x = Tensor([1.0, 2.0], requires_grad=True)
    out = checkpoint(lambda x: x.exp(), x)
    x.data = Tensor([5.0, 5.0])
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.array, out.array)


def unlike(*functions):
    """A function that does one thing after the other each time it is called."""
    calls = iter(functions)
    return lambda x: next(calls)(x)


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (
            lambda x: x.tanh() * 2.0,
            r"where exp gave float32 \(2,\), tanh gave float32 \(2,\) when it was computed again",
        ),
        (lambda x: x.exp() + 2.0, "where mul gave .* add gave"),
        (
            lambda x: x.exp(),
            "2 steps were recorded, and 1 when they were computed again; the function must do the same",
        ),
        (
            lambda x: x.exp() * 3.0,
            r"mul kept \(\(2.0,\),\), and \(\(3.0,\),\) when it was computed again; the function",
        ),
        (lambda x: x.detach().exp() * 2.0 + 0.0 * x, "where exp gave float32"),
        (lambda x: x.exp().detach() * 3.0, "2 steps were recorded, and 0"),
    ],
    ids=["another op", "another second op", "fewer", "another number", "cut", "none"],
)
def test_a_function_that_does_something_else_is_refused(again, message):
    x = Tensor([1.0, 2.0], requires_grad=True)
    out = checkpoint(unlike(lambda x: x.exp() * 2.0, again), x, determinism_check="default")
    with pytest.raises(RuntimeError, match=message):
        out.backward(np.ones(2, np.float32))
    assert x.grad is None


@pytest.mark.parametrize("again", [np.float32([3.0, 2.0]), np.float32([2.0, 4.0])], ids=["in another order", "others"])
def test_other_values_are_refused(again):
    x = Tensor([1.0, 1.0], requires_grad=True)
    factor = np.float32([2.0, 3.0])
    out = checkpoint(unlike(lambda x: (x * factor).exp(), lambda x: (x * again).exp()), x)
    with pytest.raises(RuntimeError, match=r"^checkpoint: the result has other values when it is computed again: some"):
        out.sum().backward()


def test_a_number_that_changes_without_a_change_of_the_result_is_refused():
    x, scale = Tensor([3.0], requires_grad=True), [2.0]
    out = checkpoint(lambda x: (x * scale[0]).square() / scale[0] ** 2, x)
    scale[0] = 4.0
    with pytest.raises(RuntimeError, match=r"^checkpoint: mul kept \(\(2.0,\),\), and \(\(4.0,\),\)"):
        out.sum().backward()


@pytest.mark.parametrize(
    ("chosen", "f"),
    [
        ({"clip_at_bounds": 0.5}, lambda x: (x.clip(0, 1) * 2).exp()),
        ({"abs_at_zero": 1.0}, lambda x: x.abs() * 1.0),
        ({"max_ties": "first"}, lambda x: x.max() * 2.0),
        ({"norm_at_zero": np.nan}, lambda x: x.norm() * 3),
    ],
)
def test_conventions_are_those_of_the_first_time(chosen, f):
    def gradient(called, chosen):
        x = Tensor(np.zeros((2, 3)), requires_grad=True)
        with tg.conventions(**chosen):
            out = called(x)
        c = np.random.default_rng(0).normal(size=out.shape)
        with tg.conventions("tinygrad_cnn"):  # of the backward alone
            (inside,) = tg.grad(out, x, c, retain_graph=True)
        (outside,) = tg.grad(out, x, c)
        return np.stack([inside.numpy(), outside.numpy()])

    plain = gradient(f, chosen)
    assert not np.array_equal(plain, gradient(f, {}), equal_nan=True)
    np.testing.assert_array_equal(gradient(lambda x: checkpoint(f, x), chosen), plain)


def test_other_values_pass_when_asked_to():
    x = Tensor([1.0, 2.0], requires_grad=True)
    out = checkpoint(unlike(lambda x: (x * 1.0).exp(), lambda x: (x * 2.0).exp()), x, determinism_check="none")
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.array, np.exp(2 * x.array))


def test_a_change_of_mode_is_noticed():
    net = network()
    out = checkpoint(net, Tensor(images()))
    net.eval()
    with pytest.raises(RuntimeError, match=r"checkpoint: .* steps were recorded|checkpoint: where"):
        out.sum().backward()


def test_without_the_random_state_other_numbers_are_noticed_too():
    x = Tensor(np.ones((8, 8)), requires_grad=True)
    out = checkpoint(lambda x: tg.dropout(x.exp(), 0.5), x, preserve_rng_state=False)
    with pytest.raises(RuntimeError, match="the result has other values"):
        out.sum().backward()
    checkpoint(lambda x: x.exp(), x, preserve_rng_state=False).sum().backward()
    np.testing.assert_array_equal(x.grad.array, np.exp(x.array))


def test_a_forward_that_fails_when_it_is_computed_again_leaves_everything_as_it_was():
    tg.manual_seed(5)
    own = np.random.default_rng(6)

    def fail(x):
        tg.rand(3)
        own.random(3)
        raise KeyError("gone")

    def first(x):
        return x.exp() * tg.rand(1) * tg.rand(1, generator=own)

    x = Tensor([1.0], requires_grad=True)
    out = checkpoint(unlike(first, fail), x).sum()
    states = tg.default_generator().bit_generator.state, own.bit_generator.state
    with pytest.raises(KeyError, match="gone"):
        out.backward()
    assert (tg.default_generator().bit_generator.state, own.bit_generator.state) == states
    assert x.grad is None
    assert tg.is_grad_enabled()


def test_wrong_calls_are_refused():
    x = Tensor([1.0])
    with pytest.raises(TypeError, match="checkpoint: the function is a Tensor; a callable is needed, then its inputs"):
        checkpoint(x, x)
    with pytest.raises(ValueError, match="checkpoint: determinism_check='all'; it can be 'default' or 'none'"):
        checkpoint(tg.exp, x, determinism_check="all")
    with pytest.raises(TypeError, match=r"checkpoint_sequential: segments is 2\.0; an integer is needed"):
        checkpoint_sequential([tg.exp, tg.exp], 2.0, x)
    for segments in (0, 3):
        with pytest.raises(ValueError, match=f"{segments} segments of 2 functions; from 1 to 2 can be made"):
            checkpoint_sequential([tg.exp, tg.exp], segments, x)


# Pictures and profiles


def places_of(result: Tensor) -> set:
    return {(node.plan.op.name, node.scope and node.scope.chain) for node in steps_of(result)}


def test_pictures_show_the_same_steps_before_and_after_backward():
    def loss_of(run):
        net = network()
        tg.manual_seed(0)
        return net, run(net, Tensor(images())).sum()

    for run in RUNS.values():
        net, loss = loss_of(lambda net, x: net(x))
        wrapped, same = loss_of(run)
        extra = len(steps_of(same)) - len(steps_of(loss))
        assert places_of(loss) <= places_of(same)
        assert extra in (0, 1)
        if not extra:
            lines, others = loss.graph(net).text().splitlines(), same.graph(wrapped).text().splitlines()
            others = [line.replace("same = sum", "loss = sum") for line in others]
            assert others[1:] == lines[1:]
            assert others[0] != lines[0]  # the peak of what is kept
        for view in ("ops", "memory", "grad", "teach"):
            same.graph(wrapped, view=view).svg()
        same.graph(wrapped).saved()
        assert not list(same.graph(wrapped).find_nan())
        same.graph(wrapped).html()
        same.backward()
        same.graph(wrapped, view="memory").text()


def test_a_watched_checkpoint_remembers_values_and_keeps_none():
    x = Tensor(images(), requires_grad=True)
    with tg.watch():
        loss = checkpoint(lambda x: x.exp().tanh(), x).sum()
    records = [node.watch.record for node in steps_of(loss)]
    assert all(record.value is not None for record in records)
    assert {record.saved for record in records if record.value.shape} == {()}
    loss.backward()
    assert all(node.watch.record.gradient is not None for node in steps_of(loss))
    loss.graph().svg()


def test_a_profile_counts_what_is_computed_again_as_forward_and_in_its_module():
    net, x = network(), Tensor(images())
    with tg.profile() as forward:
        loss = checkpoint(net, x).sum()
    with tg.profile() as backward:
        loss.backward()
    calls = {(row.name, row.phase): row.calls for row in forward.rows}
    again = {(row.name, row.phase): row.calls for row in backward.rows}
    assert {name for name, phase in again if phase == "forward"} == {name for name, _ in calls} - {"sum"}
    assert again["conv2d", "forward"] == again["conv2d", "backward"] == 2
    assert any(row.name == "0 Conv2d" and row.phase == "forward" for row in backward.by_module())
    plain = network()(x).sum()
    with tg.profile() as reference:
        plain.backward()
    kept = {row.name: row.bytes for row in reference.rows if row.phase == "backward"}
    assert {row.name: row.bytes for row in backward.rows if row.phase == "backward"} == kept


# Layers with running statistics


TRACKING = {
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(3, track_running_stats=True), (4, 3, 5)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (2, 3, 4, 5)),
    "InstanceNorm2d of one": (lambda: nn.InstanceNorm2d(3, track_running_stats=True), (3, 4, 5)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (4, 3, 5)),
    "BatchNorm1d of vectors": (lambda: nn.BatchNorm1d(3, momentum=None), (6, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3, momentum=0.3, affine=False), (2, 3, 4, 5)),
}


@pytest.mark.parametrize("name", TRACKING)
@pytest.mark.parametrize("order", [1, 2])
def test_running_statistics_move_once_for_each_forward(name, order):
    make, shape = TRACKING[name]
    found = []
    for run in (lambda layer, x: layer(x), lambda layer, x: checkpoint(layer, x)):
        layer, steps = make(), []
        for seed in range(3):
            x = Tensor(images(seed, *shape), requires_grad=True)
            loss = (run(layer, x) ** 3).sum()
            if order == 2:
                (g,) = tg.grad(loss, [x], create_graph=True)
                loss = (g * g).sum()
            loss.backward()
            steps += [x.grad.array, *(np.array(b.array) for b in layer.buffers())]
        assert not np.array_equal(layer.running_mean.array, np.zeros(3))
        found.append(bits(steps))
    assert found[0] == found[1]
