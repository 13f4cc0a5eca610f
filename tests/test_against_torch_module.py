"""Modules, hooks, containers and initial values do what PyTorch's do."""

import inspect
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import tinygrad_cnn as tg  # noqa: E402
from tinygrad_cnn import nn  # noqa: E402

BOTH = [nn, torch.nn]


def values(tensor):
    return None if tensor is None else np.asarray(tensor.detach().numpy())


def tensor(module, array, requires_grad=False):
    return tg.Tensor(array, requires_grad) if module is nn else torch.tensor(array, requires_grad=requires_grad)


def double(module, function):
    """A module of two inputs and two outputs."""

    class Two(module.Module):
        def forward(self, x, y):
            return function(x, y)

    return Two()


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(a, tuple):
            same(a, b)
        elif a is None or b is None or isinstance(a, str):
            assert a is b or (isinstance(a, str) and a == b)
        else:
            assert np.allclose(a, b)


def test_hooks_run_in_the_same_order_with_the_same_gradients():
    rng = np.random.default_rng(0)
    x, y, g, h = (rng.normal(size=(3, 4)) for _ in range(4))

    def run(module):
        seen = []

        def note(name):
            def hook(m, *args):
                seen.append((name, *(tuple(map(values, a)) if isinstance(a, tuple) else values(a) for a in args)))

            return hook

        two = double(module, lambda x, y: (x * y, x - 2 * y))
        two.register_full_backward_hook(note("backward"))
        two.register_full_backward_pre_hook(note("before backward"))
        two.register_full_backward_hook(lambda m, i, o: tuple(None if g is None else g * 3 for g in i), prepend=True)
        two.register_forward_hook(note("forward"))
        two.register_forward_pre_hook(note("before"))
        two.register_forward_pre_hook(lambda m, args: (args[0] * 2, args[1]))
        two.register_forward_hook(lambda m, args, out: (out[1], out[0]), prepend=True)
        a, b = tensor(module, x, True), tensor(module, y, True)
        first, second = two(a, b)
        ((first * tensor(module, g)).sum() + (second * second * tensor(module, h)).sum()).backward()
        return [*seen, (values(a.grad), values(b.grad))]

    same(*map(run, BOTH))


def test_a_gradient_that_reaches_one_output_only_is_zero_at_the_other():
    x = np.arange(6.0).reshape(2, 3)

    def run(module):
        seen = []
        two = double(module, lambda x, y: (x * y, x + y))
        two.register_full_backward_hook(lambda m, i, o: seen.append((*map(values, i), *map(values, o))))
        two(tensor(module, x, True), tensor(module, x + 1, True))[1].sum().backward()
        return seen

    same(*map(run, BOTH))


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_changes_of_a_container_give_the_same_keys(kind):
    def run(module):
        parts = [module.Linear(2, n) for n in (1, 2, 3, 4)]
        held = getattr(module, kind)(*parts) if kind == "Sequential" else module.ModuleList(parts)
        held.insert(1, module.ReLU())
        del held[0]
        held[1] = module.Linear(5, 5)
        held.pop(-1)
        held += module.ModuleList([module.Tanh()]) if kind == "ModuleList" else module.Sequential(module.Tanh())
        keys = [f"{name} {tuple(value.shape)}" for name, value in held[1:].state_dict().items()]
        return [*keys, repr(held), *(type(part).__name__ for part in held)]

    assert run(nn) == run(torch.nn)


def test_dicts_and_lists_of_modules_and_parameters_have_the_same_keys():
    def run(module):
        make = tg.Tensor if module is nn else torch.tensor
        model = module.Sequential()
        model.a = module.ModuleDict({"x": module.Linear(1, 2), "y": module.ModuleDict({"z": module.Linear(2, 2)})})
        model.b = module.ParameterList([make([1.0]), module.Parameter(make([2.0, 3.0]))])
        model.c = module.ParameterDict({"p": make([1.0])})
        model.a.pop("x")
        model.b.append(make([4.0]))
        return [*(f"{name} {tuple(p.shape)}" for name, p in model.named_parameters()), *model.state_dict()]

    assert run(nn) == run(torch.nn)


def test_every_method_of_a_module_is_there_or_named_here():
    ours, theirs = set(dir(nn.Module)), {name for name in dir(torch.nn.Module) if not name.startswith("_")}
    missing = {
        *("T_destination", "dump_patches", "call_super_init"),  # inner matters of PyTorch
        *("bfloat16", "xpu", "mtia", "ipu", "to_empty", "share_memory", "compile"),  # other devices, dtypes, processes
        *("register_backward_hook", "get_extra_state", "set_extra_state", "set_submodule"),
        *("register_state_dict_pre_hook", "register_state_dict_post_hook"),
        *("register_load_state_dict_pre_hook", "register_load_state_dict_post_hook"),
    }
    assert theirs - ours == missing & theirs
    for name in (n for n in theirs & ours if n.startswith(("register_", "get_"))):
        mine, yours = (inspect.signature(getattr(module.Module, name)).parameters for module in BOTH)
        assert list(mine) == list(yours), name


# init


@pytest.mark.parametrize("name", [n for n in torch.nn.init.__all__ if n.endswith("_")] + ["calculate_gain"])
def test_every_function_of_init_is_there_with_the_same_arguments(name):
    mine, yours = (inspect.signature(getattr(module.init, name)).parameters for module in BOTH)
    assert list(mine) == list(yours)
    assert [p.default for p in mine.values()] == [p.default for p in yours.values()]


@pytest.mark.parametrize("shape", [(4, 2, 3), (2, 5, 3, 4), (6, 3, 1, 2, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_not_drawn_is_the_same(shape, groups):
    t, u = tg.Tensor(np.ones(shape)), torch.ones(shape, dtype=torch.float64)
    assert np.array_equal(nn.init.dirac_(t, groups).array, values(torch.nn.init.dirac_(u, groups)))
    flat, other = tg.Tensor(np.ones(shape[:2])), torch.ones(shape[:2], dtype=torch.float64)
    assert np.array_equal(nn.init.eye_(flat).array, values(torch.nn.init.eye_(other)))


@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "selu",
        "leaky_relu",
    ],
)
@pytest.mark.parametrize("param", [None, 0.2])
def test_gains_are_the_same(name, param):
    assert nn.init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -1.0, "b": 3.0}),
        ("normal_", {"mean": 1.0, "std": 2.0}),
        ("trunc_normal_", {"mean": 0.5, "std": 1.0, "a": -1.0, "b": 0.7}),
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {"a": 0.3}),
        ("orthogonal_", {"gain": 3.0}),
        ("sparse_", {"sparsity": 0.3}),
    ],
)
def test_what_is_drawn_has_the_same_distribution(name, options):
    shape = (120, 90) if name == "sparse_" else (120, 30, 3)
    torch.manual_seed(0)
    ours = getattr(nn.init, name)(tg.Tensor(np.zeros(shape)), **options, generator=np.random.default_rng(0)).array
    theirs = values(getattr(torch.nn.init, name)(torch.zeros(shape, dtype=torch.float64), **options))
    order = np.sort(np.concatenate([ours.ravel(), theirs.ravel()]))
    below = [np.searchsorted(np.sort(a.ravel()), order, side="right") / a.size for a in (ours, theirs)]
    # Kolmogorov-Smirnov: beyond this with probability 1e-6, of independent samples
    assert np.abs(below[0] - below[1]).max() < math.sqrt(math.log(2 / 1e-6) / ours.size)


# Arguments


OTHERWISE = {"size_average", "reduce"}  # deprecated there: reduction says it
NAMED = {"Parameter", "UninitializedParameter", "Hardtanh", "Module", "ParameterList"}
NAMED |= {"ParameterDict", "Sequential"}


@pytest.mark.parametrize(
    "name",
    sorted(n for n in dir(nn) if n not in NAMED and inspect.isclass(getattr(torch.nn, n, None))),
)
def test_a_layer_takes_the_same_arguments_in_the_same_order(name):
    mine, yours = (inspect.signature(getattr(module, name)).parameters for module in BOTH)
    wanted = [p for p in yours.values() if p.name not in OTHERWISE and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert [p for p in mine if p in {w.name for w in wanted}] == [p.name for p in wanted]
    assert [mine[p.name].default for p in wanted] == [p.default for p in wanted]


def test_a_layer_is_a_kind_of_another_layer_only_where_pytorchs_is():
    layers = [name for name in nn.__all__ if all(inspect.isclass(getattr(m, name, None)) for m in BOTH)]
    assert len(layers) > 90
    ours, theirs = ({(a, b) for a in layers for b in layers if issubclass(vars(m)[a], vars(m)[b])} for m in BOTH)
    assert ours == theirs
