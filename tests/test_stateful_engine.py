"""The engine as a machine with states, driven at random against a plain reverse mode of its own.

Values are made, combined, detached, hooked, frozen, changed, deleted and differentiated in any order, in the main
thread and in others, with recording on and off. The reference keeps every node for ever in a list, with its local
derivative.
"""

import contextlib
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

import tinygrad_cnn as tg

SHAPES = [(3,), (2, 1), (2, 3), ()]
MOSTLY = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])


def unbroadcast(g, shape):
    """The sum of g over the axes along which `shape` was stretched."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    for axis, size in enumerate(shape):
        if size == 1 and g.shape[axis] != 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


class Plain:
    """A value of the reference: where it came from, what its rule reads, and its gradient if it keeps one."""

    def __init__(self, value, parents=(), pull=None, reads=(), requires=False):
        self.value, self.parents, self.pull, self.requires = value, parents, pull, requires
        self.flows = [p.requires for p in parents]  # when it was recorded
        self.reads = [(cell, cell[0]) for cell in reads]  # memory cells with the version that the rule needs
        self.cell = [0]
        self.leaf, self.freed, self.keeps, self.factors, self.grad = pull is None, False, False, [], None


class Pair:
    """A Tensor and what it should be."""

    def __init__(self, tensor, plain):
        self.tensor, self.plain = tensor, plain


class Engine(RuleBasedStateMachine):
    values = Bundle("values")

    @initialize()
    def begin(self):
        self.order = []  # all reference nodes, in the order in which they were made
        self.alive = []
        self.visited = []

    def enter(self, tensor, plain):
        self.order.append(plain)
        pair = Pair(tensor, plain)
        self.alive.append(pair)
        return pair

    @rule(target=values, shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**32 - 1), requires=MOSTLY)
    def create(self, shape, seed, requires):
        array = np.random.default_rng(seed).integers(-8, 9, shape) / 4
        return self.enter(tg.Tensor(array, requires_grad=requires), Plain(array.copy(), requires=requires))

    def combine(self, act, parents, value, pull, reads, recording, elsewhere):
        """Run `act` on the Tensors, here or in a thread, recording or not, and enter what it should give."""

        def run():
            with contextlib.nullcontext() if recording else tg.no_grad():
                return act(*(p.tensor for p in parents))

        tensor = in_a_thread(run) if elsewhere else run()
        plains = [p.plain for p in parents]
        if recording and any(p.requires for p in plains):
            made = Plain(value, plains, pull, requires=True)
            made.reads = [(made.cell if r is None else r.cell, (made.cell if r is None else r.cell)[0]) for r in reads]
        else:
            made = Plain(value)
        return self.enter(tensor, made)

    @rule(target=values, x=values, y=values, recording=MOSTLY, elsewhere=SELDOM)
    def add(self, x, y, recording, elsewhere):
        a, b = x.plain.value, y.plain.value
        return self.combine(
            lambda s, t: s + t, (x, y), a + b,
            lambda g: (unbroadcast(g, a.shape), unbroadcast(g, b.shape)), (), recording, elsewhere,
        )  # fmt: skip

    @rule(target=values, x=values, y=values, recording=MOSTLY, elsewhere=SELDOM)
    def multiply(self, x, y, recording, elsewhere):
        a, b = x.plain.value.copy(), y.plain.value.copy()
        # a factor is read for the gradient of the other one
        reads = [p.plain for p, other in ((x, y), (y, x)) if other.plain.requires]
        return self.combine(
            lambda s, t: s * t, (x, y), a * b,
            lambda g: (unbroadcast(g * b, a.shape), unbroadcast(g * a, b.shape)), reads, recording, elsewhere,
        )  # fmt: skip

    @rule(target=values, x=values, recording=MOSTLY)
    def tanh(self, x, recording):
        out = np.tanh(x.plain.value)
        return self.combine(tg.tanh, (x,), out, lambda g: (g * (1 - out * out),), (None,), recording, False)

    @rule(target=values, x=values)
    def total(self, x):
        shape = x.plain.value.shape
        return self.combine(
            lambda t: t.sum(), (x,), x.plain.value.sum(), lambda g: (np.broadcast_to(g, shape),), (), True, False
        )

    @rule(target=values, x=values, times=st.integers(2, 5))
    def spread(self, x, times):
        """One value read in many places: x + x + ..."""
        total = x
        for _ in range(times):
            total = self.add(x, total, True, False)
        return total

    @rule(target=values, x=values)
    def detach(self, x):
        made = Plain(x.plain.value)
        made.cell = x.plain.cell  # the same memory
        return self.enter(x.tensor.detach(), made)

    @rule(x=values, factor=st.sampled_from([0.5, -2.0]))
    def hook(self, x, factor):
        if x.plain.requires:
            x.tensor.register_hook(lambda g: g * factor)
            x.plain.factors.append(factor)

    @rule(x=values)
    def retain(self, x):
        if x.plain.requires and not x.plain.leaf:
            x.tensor.retain_grad()
            x.plain.keeps = True

    @rule(x=values)
    def freeze(self, x):
        """A leaf that collects nothing; graphs that it is in already stay as they are."""
        if x.plain.leaf:
            x.tensor.requires_grad_(False)
            x.plain.requires, x.plain.grad = False, None

    @rule(x=values)
    def start(self, x):
        if x.plain.leaf:
            x.tensor.requires_grad_()
            x.plain.requires = True

    @rule(x=values, by=st.sampled_from([0.25, -1.0]))
    def change(self, x, by):
        """A change in place without recording; results that share the memory change, too."""
        with tg.no_grad():
            x.tensor.add_(by)
        for plain in self.order:
            if plain.cell is x.plain.cell:
                plain.value = plain.value + by
        x.plain.cell[0] += 1

    @rule(x=consumes(values))
    def delete(self, x):
        self.alive.remove(x)
        x.tensor = None

    @rule(x=values, retain=st.booleans(), elsewhere=SELDOM)
    def backward(self, x, retain, elsewhere):
        self.differentiate(x, retain, elsewhere)

    @rule(x=values)
    def backward_again(self, x):
        """The same once more, so that it is drawn more often."""
        self.differentiate(x, True, False)

    def differentiate(self, x, retain, elsewhere):
        cotangent = np.random.default_rng(len(self.order)).normal(size=x.plain.value.shape)
        wanted = None
        with contextlib.suppress(RuntimeError):
            wanted = self.reference(x.plain, cotangent)

        def run():
            x.tensor.backward(cotangent, retain_graph=retain)

        def guarded():
            return in_a_thread(run) if elsewhere else run()

        if wanted is None:
            with pytest.raises(RuntimeError):
                guarded()
            for plain in self.visited if not retain else ():
                plain.freed = True  # down to where it failed
            return
        guarded()
        for plain, g in wanted.items():
            if (plain.leaf and plain.requires) or plain.keeps:
                plain.grad = g if plain.grad is None else plain.grad + g
            if not plain.leaf and not retain:
                plain.freed = True

    @rule(x=values, y=values, create=st.booleans())
    def gradient(self, x, y, create):
        """grad, which sets no .grad and frees nothing where it is asked to keep the graph."""
        cotangent = np.random.default_rng(len(self.order)).normal(size=x.plain.value.shape)
        wanted = None
        with contextlib.suppress(RuntimeError):
            wanted = self.reference(x.plain, cotangent, y.plain)
        if wanted is None or not y.plain.requires:
            with pytest.raises(RuntimeError):
                tg.grad(x.tensor, y.tensor, cotangent, retain_graph=True, create_graph=create)
            return
        (g,) = tg.grad(x.tensor, y.tensor, cotangent, retain_graph=True, create_graph=create, allow_unused=True)
        if y.plain not in wanted:
            assert g is None
        else:
            same(g.numpy(), wanted[y.plain], 1e-9)

    def reference(self, root, cotangent, target=None):
        """The gradient of every node below `root`, or of those on the way to `target`.

        RuntimeError where a graph is missing, freed or changed; `visited` are then those above.
        """
        self.visited = []
        if not root.requires:
            raise RuntimeError("no graph")
        found = {root: cotangent}
        for plain in reversed(self.order):
            if plain not in found:
                continue
            for factor in plain.factors:
                found[plain] = found[plain] * factor
            if plain.leaf or (target is not None and not leads_to(plain, target)):
                continue
            if plain.freed or any(cell[0] != version for cell, version in plain.reads):
                raise RuntimeError("freed or changed")
            for parent, flows, d in zip(plain.parents, plain.flows, plain.pull(found[plain]), strict=True):
                if flows:
                    found[parent] = found[parent] + d if parent in found else d
            self.visited.append(plain)
        return found

    @invariant()
    def values_and_gradients_are_those_of_the_reference(self):
        for pair in getattr(self, "alive", ()):
            same(pair.tensor.numpy(), pair.plain.value, 1e-12)
            assert pair.tensor.requires_grad == pair.plain.requires
            assert pair.tensor.is_leaf == pair.plain.leaf
            if pair.plain.grad is None:
                assert (pair.tensor.grad if pair.plain.leaf or pair.plain.keeps else None) is None
            else:
                same(pair.tensor.grad.numpy(), pair.plain.grad, 1e-9)
        assert tg.is_grad_enabled()


def same(got, wanted, share):
    """Mostly bit for bit, which is seen much faster than what differs by rounding."""
    if got.shape != np.shape(wanted) or got.tobytes() != wanted.tobytes():
        np.testing.assert_allclose(got, wanted, rtol=share, atol=share)
        assert got.shape == np.shape(wanted)


def leads_to(plain, target):
    """Whether `target` lies strictly below."""
    seen, below = set(), [plain]
    while below:
        node = below.pop()
        if node not in seen:
            seen.add(node)
            below += [parent for parent, flows in zip(node.parents, node.flows, strict=True) if flows]
            if target in below:
                return True
    return False


def in_a_thread(run):
    """What `run` gives, or raises, in another thread."""
    outcome = []

    def body():
        try:
            outcome.append((run(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


TestEngine = Engine.TestCase
TestEngine.settings = settings(stateful_step_count=40)
