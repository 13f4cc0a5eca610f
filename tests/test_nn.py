"""Modules, layers, functional and initial values."""

import contextlib
import copy
import gc
import math
import pickle
from collections import OrderedDict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import Tensor, no_grad
from tinygrad_cnn import random as tg_random
from tinygrad_cnn.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Identity,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Module,
    ModuleDict,
    ModuleList,
    MSELoss,
    NLLLoss,
    Parameter,
    ParameterDict,
    ParameterList,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    UninitializedParameter,
    init,
)
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.shapes import ShapeError


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0, dtype=np.float32):
    return rng(seed).normal(size=shape).astype(dtype)


class Scale(Module):
    """A parameter, a persistent and a passing buffer, and a child that is used twice."""

    def __init__(self):
        super().__init__()
        self.inner = Linear(3, 3, generator=rng(1))
        self.scale = Parameter(np.arange(1.0, 4.0))
        self.register_buffer("seen", Tensor(np.zeros((), np.int64)))
        self.register_buffer("scratch", Tensor([0.0]), persistent=False)
        self.again = self.inner

    def forward(self, x):
        return self.again(self.inner(x)) * self.scale


def bytes_of(module):
    return {name: value.array.tobytes() for name, value in module.state_dict().items()}


# Parameter


def test_a_parameter_is_a_leaf_that_requires_grad_and_says_that_it_is_a_parameter():
    data = np.array([[1.0, 2.0], [3.0, 4.0]])
    p = Parameter(data)
    data[:] = 9
    assert p.requires_grad
    assert p.is_leaf
    assert p.array.tolist() == [[1, 2], [3, 4]]
    assert repr(Parameter([1.5, 2.5])) == "Parameter([1.5, 2.5], requires_grad=True)"
    lines = repr(Parameter(np.ones((2, 2), np.float32))).split("\n")
    assert lines == ["Parameter([[1., 1.],", "           [1., 1.]], requires_grad=True)"]
    assert not Parameter([1.0], requires_grad=False).requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_H151_a_parameter_is_copied_and_pickled_as_a_parameter(copied):
    p = Parameter([1.0, 2.0])
    q = copied(p)
    assert type(q) is Parameter
    assert q.requires_grad
    assert q.array.tolist() == [1, 2]
    assert not np.shares_memory(p.array, q.array)


def test_H27_a_parameter_of_integers_is_refused():
    with pytest.raises(TypeError, match="int64"):
        Parameter(np.arange(3))


# Attributes of a Module


def test_attributes_are_found_in_the_order_of_assignment_under_their_paths():
    module = Scale()
    assert [name for name, _ in module.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
    assert [name for name, _ in module.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in module.named_modules()] == ["", "inner"]
    assert [name for name, _ in module.named_modules(remove_duplicate=False)] == ["", "inner", "again"]
    assert list(module.children()) == [module.inner]
    assert len(list(module.modules())) == 2
    assert len(list(module.buffers())) == 2
    assert [name for name, _ in module.named_parameters("net", recurse=False)] == ["net.scale"]


def test_a_shared_parameter_comes_once_in_parameters_and_under_every_name_in_state_dict():
    a, b = Linear(3, 3), Linear(3, 3)
    b.weight = a.weight
    model = Sequential(a, b)
    assert len(list(model.parameters())) == 3
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 4


@pytest.mark.parametrize(
    "hide",
    [
        lambda p: [p],
        lambda p: (1, p),
        lambda p: {"a": p},
        lambda p: [[p]],
        lambda p: {p},
        lambda p: frozenset([p]),
        lambda p: deque([p]),
        lambda p: {"a": [0, (p,)]},
        lambda p: [0] * 999 + [p],
        lambda p: [{}, OrderedDict(a=deque([[p]]))],
    ],
)
@pytest.mark.parametrize("made", [lambda: Parameter([1.0]), lambda: Linear(1, 1)])
def test_parameters_and_modules_in_plain_containers_are_refused_with_the_remedy(hide, made):
    module = Module()
    with pytest.raises(TypeError, match=r"parts.*do not look into; (use nn.Sequential|use nn.ParameterList)"):
        module.parts = hide(made())
    assert not hasattr(module, "parts")


def test_parameters_put_into_a_list_later_are_refused_when_parameters_are_asked_for():
    module = Module()
    module.parts = []
    module.parts.append(Linear(1, 1))
    with pytest.raises(TypeError, match="'parts' is a list that holds a Module"):
        list(module.parameters())
    with pytest.raises(TypeError, match="'parts' is a list that holds a Module"):
        module.state_dict()


@pytest.mark.parametrize("start", [[], {}, set(), deque(), [[]]])
def test_modules_put_into_a_container_later_are_refused_by_train_and_parameters(start):
    model = Sequential(Module())
    model[0].parts = copy.deepcopy(start)
    part, grown = Dropout(), model[0].parts
    if start == [[]]:
        grown = grown[0]
    grown.update({"a": part}) if isinstance(grown, dict) else (getattr(grown, "add", None) or grown.append)(part)
    model.training = "as it was"
    for walk in (model.eval, model.train, lambda: list(model.parameters()), model.zero_grad, model.state_dict):
        with pytest.raises(TypeError, match=r"'parts' is a \w+ that holds a Module"):
            walk()
    assert model.training == "as it was"


def test_containers_that_hold_each_other_are_looked_through_once():
    module = Module()
    loop = [1]
    loop.append({"back": [loop]})
    module.loop = [loop]
    assert list(module.parameters()) == []
    loop.append(Parameter([1.0]))
    with pytest.raises(TypeError, match="holds a Parameter"):
        list(module.parameters())


def test_assignment_before_super_init_is_a_clear_error():
    class Early(Module):
        def __init__(self):
            self.layer = Linear(1, 1)
            super().__init__()

    with pytest.raises(RuntimeError, match=r"Early: 'layer' was assigned before Module.__init__ ran; call super"):
        Early()

    class EarlyBuffer(Module):
        def __init__(self):
            self.register_buffer("x", Tensor([1.0]))

    with pytest.raises(RuntimeError, match=r"register_buffer: 'x' was registered before"):
        EarlyBuffer()


def test_a_tensor_cannot_take_the_place_of_a_parameter_nor_a_number_that_of_a_buffer():
    module = Scale()
    with pytest.raises(TypeError, match="'scale' is a Parameter and a Tensor was assigned"):
        module.scale = Tensor([1.0])
    with pytest.raises(TypeError, match="'seen' is a buffer"):
        module.seen = 3
    module.scale = None
    module.seen = Tensor(np.array(5))
    assert module.state_dict()["seen"].array == 5
    assert "scale" not in module.state_dict()
    module.seen = Parameter([1.0])
    assert [name for name, _ in module.named_buffers()] == ["scratch"]
    del module.scratch
    assert list(module.named_buffers()) == []


@pytest.mark.parametrize("name", ["", "a.b", "forward", "training", "_buffers", "weight.x"])
def test_names_that_would_break_paths_or_methods_are_refused(name):
    with pytest.raises(ValueError, match="add_module"):
        Module().add_module(name, Identity())
    with pytest.raises(ValueError, match="register_buffer"):
        Module().register_buffer(name, Tensor([1.0]))


def test_registering_something_else_is_a_type_error():
    module = Module()
    with pytest.raises(TypeError, match="register_parameter: 'a' is a Tensor"):
        module.register_parameter("a", Tensor([1.0]))
    with pytest.raises(TypeError, match="register_buffer: 'a' is a Parameter"):
        module.register_buffer("a", Parameter([1.0]))
    with pytest.raises(TypeError, match="add_module: 'a' is a function"):
        module.add_module("a", lambda x: x)
    with pytest.raises(TypeError, match="the name is 1"):
        module.add_module(1, Identity())
    module.register_parameter("a", None)
    module.register_parameter("a", Parameter([1.0]))
    assert list(module.state_dict()) == ["a"]


# Modes, gradients, conversions


def test_train_and_eval_reach_every_module():
    model = Sequential(Dropout(), Sequential(BatchNorm2d(2)))
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="mode is 1"):
        model.train(1)


def test_apply_visits_children_in_order_and_then_their_parent():
    inner = Sequential(ReLU(), Tanh())
    model = Sequential(Sigmoid(), inner)
    seen = []
    assert model.apply(seen.append) is model
    assert seen == [model[0], inner[0], inner[1], inner, model]


def test_zero_grad_drops_gradients_or_makes_them_zeros():
    model = Linear(3, 2)
    model(Tensor(normal(4, 3))).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.array.tolist() == np.zeros((2, 3)).tolist()
    model.zero_grad()
    assert model.weight.grad is None
    assert model.bias.grad is None


def test_frozen_parameters_collect_no_gradient():
    model = Linear(3, 2).requires_grad_(False)
    assert not model(Tensor(normal(4, 3))).requires_grad
    assert model.requires_grad_().weight.requires_grad


def test_freezing_between_forward_and_backward_ends_when_it_ends():
    critic = Linear(3, 2)
    x, c = normal(4, 3).astype(np.float32), normal(4, 2).astype(np.float32)
    loss = (critic(Tensor(x)) * c).sum()
    critic.requires_grad_(False)  # as for the step of a generator
    other = Tensor(x, requires_grad=True)
    critic(other).sum().backward()
    loss.backward(retain_graph=True)
    critic.requires_grad_()
    assert critic.weight.grad is critic.bias.grad is None
    loss.backward()
    np.testing.assert_allclose(critic.weight.grad.numpy(), c.T @ x, rtol=1e-5)
    np.testing.assert_allclose(critic.bias.grad.numpy(), c.sum(0), rtol=1e-5)


def test_a_start_with_another_shape_begins_anew_with_the_hooks():
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.register_hook(lambda g: g * 3)
    loss = p.sum()
    p.requires_grad_(False)
    p.data = Tensor([1.0, 2.0, 3.0])
    p.requires_grad_()
    loss.backward()
    assert p.grad is None
    p.sum().backward()
    assert p.grad.tolist() == [3, 3, 3]


def test_hooks_and_recorded_graphs_outlive_another_dtype():
    model = Linear(3, 2)
    model.weight.register_hook(lambda g: g * 2)
    x, c = normal(4, 3).astype(np.float32), normal(4, 2).astype(np.float32)
    loss = (model(Tensor(x)) * c).sum()
    model.double()
    loss.backward()
    assert model.weight.grad.dtype == np.float64
    np.testing.assert_allclose(model.weight.grad.numpy(), 2 * (c.T @ x), rtol=1e-5)
    (model(Tensor(x.astype(np.float64))) * c).sum().backward()
    np.testing.assert_allclose(model.weight.grad.numpy(), 4 * (c.T @ x), rtol=1e-5)


def test_to_converts_float_parameters_buffers_and_gradients_and_nothing_else():
    model = Sequential(Conv2d(2, 3, 1), BatchNorm2d(3))
    model[0].bias.requires_grad_(False)
    model(Tensor(normal(2, 2, 2, 2))).sum().backward()
    before = model[0].weight.array.copy()
    weight = model[0].weight
    assert model.double() is model
    assert model[0].weight is weight
    assert weight.dtype == np.float64
    assert weight.grad.dtype == np.float64
    assert weight.array.tolist() == before.tolist()
    assert not model[0].bias.requires_grad
    assert {str(b.dtype) for b in model.buffers()} == {"float64", "int64"}
    assert model(Tensor(normal(2, 2, 2, 2, dtype=np.float64))).dtype == np.float64
    assert {p.dtype for p in model.half().parameters()} == {np.dtype(np.float16)}
    assert {p.dtype for p in model.float().parameters()} == {np.dtype(np.float32)}
    assert model.to("cpu") is model
    for dtype in (np.int32, np.longdouble, np.complex64):
        with pytest.raises(TypeError, match=r"to: dtype=.* parameters could not be trained; use float16"):
            model.to(dtype)


def test_to_takes_devices_dtypes_and_tensors_as_a_tensors_to_does():
    model = Linear(2, 3)
    for call, dtype in (
        (lambda: model.to(np.float64), "float64"),
        (lambda: model.to(device="cpu", dtype="float32"), "float32"),
        (lambda: model.to("cpu", np.float16), "float16"),
        (lambda: model.to(Tensor(np.ones(1))), "float64"),
        (lambda: model.to(Tensor([1.0]).device, non_blocking=True), "float64"),
        (lambda: model.type(np.float32), "float32"),
        (lambda: model.cpu().to(None, None), "float32"),
    ):
        assert call() is model
        assert {str(p.dtype) for p in model.parameters()} == {dtype}
    with pytest.raises(ValueError, match="to: there is no device 'cuda'; tinygrad_cnn computes on the cpu"):
        model.to("cuda", np.float64)
    assert model.weight.dtype == np.float32


def test_modules_parameters_and_buffers_are_found_by_their_paths():
    model = Sequential(OrderedDict(body=Sequential(Linear(2, 3), BatchNorm2d(4)), head=Linear(3, 1, bias=False)))
    for name, module in model.named_modules():
        assert model.get_submodule(name) is module
    for name, parameter in model.named_parameters():
        assert model.get_parameter(name) is parameter
    for name, buffer in model.named_buffers():
        assert model.get_buffer(name) is buffer
    for call, message in (
        (
            lambda: model.get_submodule("body.2.x"),
            r"'body.2.x': body \(Sequential\) has no module '2'; it has '0', '1'",
        ),
        (lambda: model.get_submodule("body.0.weight"), r"body.0 \(Linear\) has no module 'weight'; it has none"),
        (lambda: model.get_parameter("head.bias"), r"head \(Linear\) has no parameter 'bias'; it has 'weight'"),
        (lambda: model.get_parameter("body.1.running_mean"), r"has no parameter 'running_mean'"),
        (lambda: model.get_buffer("weight"), r"'weight': Sequential has no buffer 'weight'; it has none"),
    ):
        with pytest.raises(AttributeError, match=message):
            call()


def test_dir_lists_what_can_be_written_after_a_dot():
    names = dir(Sequential(OrderedDict(conv=ReLU())).append(ReLU()))
    assert {"conv", "forward", "parameters"} <= set(names)
    assert "1" not in names


# state_dict


def test_state_dict_shares_memory_and_leaves_out_passing_buffers():
    module = Scale()
    state = module.state_dict()
    assert list(state) == ["scale", "seen", "inner.weight", "inner.bias", "again.weight", "again.bias"]
    assert np.shares_memory(state["scale"].array, module.scale.array)
    assert not state["scale"].requires_grad
    assert next(iter(Linear(1, 1).state_dict(prefix="net."))) == "net.weight"


def test_load_state_dict_copies_the_values_in_place():
    source, target = Scale(), Scale()
    with no_grad():
        source.scale.mul_(2.0)
    weight, memory = target.inner.weight, target.inner.weight.array
    assert target.load_state_dict(source.state_dict()) == ([], [])
    assert bytes_of(target) == bytes_of(source)
    assert target.inner.weight is weight
    assert weight.array is memory
    assert not np.shares_memory(memory, source.inner.weight.array)


def test_load_state_dict_of_its_own_memory_in_another_order_swaps_the_values():
    model = Sequential(Linear(2, 2, generator=rng(1)), Linear(2, 2, generator=rng(2)))
    before = [p.array.copy() for p in model.parameters()]
    state = model.state_dict()
    model.load_state_dict({name: state[str(1 - int(name[0])) + name[1:]] for name in state})
    after = [p.array for p in model.parameters()]
    assert [a.tolist() for a in after] == [b.tolist() for b in before[2:] + before[:2]]


def broken(state, how):
    state = dict(state)
    if how == "missing":
        del state["scale"]
    elif how == "extra":
        state["stranger"] = np.ones(2)
    elif how == "shape":
        state["scale"] = np.ones((3, 1))
    elif how == "dtype":
        state["scale"] = np.ones(3, np.float32)
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"scale: missing; Scale has it as float64 \(3,\)"),
        ("extra", "stranger: not in Scale"),
        ("shape", r"scale: float64 \(3, 1\) is given, float64 \(3,\) is needed"),
        ("dtype", r"scale: float32 \(3,\) is given, float64 \(3,\) is needed"),
    ],
)
def test_H135_a_state_that_differs_changes_nothing(how, message):
    module = Scale()
    before = bytes_of(module)
    state = broken({name: value.array + 1 for name, value in module.state_dict().items()}, how)
    with pytest.raises(ValueError, match=message):
        module.load_state_dict(state)
    assert bytes_of(module) == before
    if how in ("missing", "extra"):
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert (missing, unexpected) == ((["scale"], []) if how == "missing" else ([], ["stranger"]))
        assert bytes_of(module)["inner.bias"] == state["again.bias"].tobytes()
    else:
        with pytest.raises(ValueError, match=message):
            module.load_state_dict(state, strict=False)
        assert bytes_of(module) == before


def test_H173_every_difference_is_listed_in_one_error():
    module = Scale()
    state = broken(broken(module.state_dict(), "extra"), "shape")
    del state["seen"], state["inner.weight"]
    state["inner.bias"] = np.zeros(3, np.float16)
    with pytest.raises(ValueError, match="5 differences from Scale, nothing was changed") as caught:
        module.load_state_dict(state)
    assert [line.split(":")[0] for line in str(caught.value).split("\n  ")[1:]] == [
        "scale",
        "inner.bias",
        "seen",
        "inner.weight",
        "stranger",
    ]


def test_load_state_dict_wants_a_dict_of_arrays():
    with pytest.raises(TypeError, match="a list was given"):
        Linear(1, 1).load_state_dict([1])
    with pytest.raises(TypeError, match="'bias' is a str"):
        Linear(1, 1).load_state_dict({"weight": np.zeros((1, 1), np.float32), "bias": "no"})


def test_H120_loading_between_forward_and_backward_is_noticed():
    model = Linear(3, 2)
    loss = model(Tensor(normal(4, 3), requires_grad=True)).sum()
    model.load_state_dict(Linear(3, 2).state_dict())
    with pytest.raises(RuntimeError, match=r"changed in place.*load_state_dict"):
        loss.backward()


# Copies, memory


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_H151_a_copied_module_shares_nothing_and_keeps_what_it_shared_inside(copied):
    module = Scale()
    module.inner(Tensor(normal(2, 3))).sum().backward()
    other = copied(module)
    assert bytes_of(other) == bytes_of(module)
    assert other.again is other.inner
    for ours, theirs in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        assert not np.shares_memory(ours.array, theirs.array)
    assert [name for name, _ in other.named_buffers()] == ["seen", "scratch"]
    x = Tensor(normal(2, 3, dtype=np.float64))
    assert other.double()(x).array.tolist() == module.double()(x).array.tolist()


def test_H151_a_module_that_holds_a_graph_cannot_be_copied():
    module = Linear(3, 2)
    module.last = module(Tensor(normal(1, 3)))
    with pytest.raises(RuntimeError, match="hangs in a graph"):
        copy.deepcopy(module)


def test_H147_modules_steps_and_failures_leave_no_reference_cycles():
    Sequential(Conv2d(1, 2, 3), BatchNorm2d(2))(Tensor(normal(2, 1, 5, 5))).sum().backward()  # numba makes some, once
    gc.collect()
    gc.disable()
    try:
        model = Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), ReLU(), Flatten(), Linear(None, 2))
        model(Tensor(normal(2, 1, 5, 5))).sum().backward()
        with contextlib.suppress(ShapeError):
            model(Tensor(normal(2, 3, 5, 5)))
        model.eval().state_dict()
        repr(model)
        del model
        assert gc.collect() == 0
    finally:
        gc.enable()


# repr and errors


def test_repr_is_pytorchs():
    model = Sequential(OrderedDict(conv=Conv2d(1, 6, 5), pool=MaxPool2d(2), inner=Sequential(ReLU(), Linear(4, 2))))
    assert repr(model) == "\n".join(
        [
            "Sequential(",
            "  (conv): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))",
            "  (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
            "  (inner): Sequential(",
            "    (0): ReLU()",
            "    (1): Linear(in_features=4, out_features=2, bias=True)",
            "  )",
            ")",
        ]
    )


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            Conv2d(2, 4, (3, 2), 2, (1, 0), 2, 2, False),
            "2, 4, kernel_size=(3, 2), stride=(2, 2), padding=(1, 0), dilation=(2, 2), groups=2, bias=False",
        ),
        (
            Conv2d(1, 1, 1, padding="same", padding_mode="reflect"),
            "1, 1, kernel_size=(1, 1), stride=(1, 1), padding=same, padding_mode=reflect",
        ),
        (
            ConvTranspose2d(2, 2, 3, 2, 1, 1, groups=2),
            "2, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=2",
        ),
        (BatchNorm2d(3, momentum=None), "3, eps=1e-05, momentum=None, affine=True, track_running_stats=True"),
        (Linear(None, 3, bias=False), "in_features=None, out_features=3, bias=False"),
        (AvgPool2d((2, 3), 1), "kernel_size=(2, 3), stride=1, padding=0"),
        (Dropout(0.2, inplace=True), "p=0.2, inplace=True"),
        (Flatten(), "start_dim=1, end_dim=-1"),
        (Softmax(1), "dim=1"),
        (LogSoftmax(-1), "dim=-1"),
        (ReLU(inplace=True), "inplace=True"),
        (Identity(3, key=4), ""),
        (Sequential(), ""),
        (CrossEntropyLoss(), ""),
    ],
)
def test_each_layers_repr_is_pytorchs(layer, text):
    assert repr(layer) == f"{type(layer).__name__}({text})"


def notes(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value.__notes__


def test_an_error_names_the_innermost_module_by_its_path():
    class Net(Module):
        def __init__(self):
            super().__init__()
            self.features = Sequential(Conv2d(1, 2, 3), ReLU())
            self.head = Linear(5, 2)

        def forward(self, x):
            return self.head(Flatten()(self.features(x)))

    net = Net()
    assert notes(lambda: net(Tensor(normal(1, 3, 5, 5))))[-1] == "in features.0 (Conv2d)"
    assert notes(lambda: net(Tensor(normal(1, 1, 5, 5))))[-1] == "in head (Linear)"
    assert notes(lambda: net(3))[-1] == "in features.0 (Conv2d)"
    assert notes(lambda: Linear(2, 2)(Tensor(normal(1, 3))))[-1] == "in Linear"
    assert sum(note.startswith("in head") for note in notes(lambda: net(Tensor(normal(1, 1, 5, 5))))) == 1


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward; define forward"):
        Module()(1)


# Containers


def test_sequential_runs_indexes_slices_and_appends():
    a, b, c = Linear(2, 3), ReLU(), Linear(3, 1)
    model = Sequential(a, b).append(c)
    x = Tensor(normal(4, 2))
    assert model(x).array.tolist() == c(b(a(x))).array.tolist()
    assert len(model) == 3
    assert model[0] is a
    assert model[-1] is c
    assert list(model) == [a, b, c]
    tail = model[1:]
    assert isinstance(tail, Sequential)
    assert list(tail) == [b, c]
    assert list(tail.state_dict()) == ["2.weight", "2.bias"]
    assert list(tail.append(a))[-1] is a
    assert len(tail) == 3
    with pytest.raises(IndexError, match="index 3 is out of range, there are 3 modules"):
        model[3]
    with pytest.raises(TypeError, match="add_module"):
        Sequential(a, 3)


def numbered(kind, *parts):
    return kind(*parts) if kind is Sequential else kind(parts)


@pytest.mark.parametrize(
    ("kind", "make"), [(Sequential, ReLU), (ModuleList, ReLU), (ParameterList, lambda: Parameter([1.0]))]
)
@given(data=st.data())
def test_a_numbered_container_changes_as_a_list_does(kind, make, data):
    parts = [make() for _ in range(data.draw(st.integers(0, 4)))]
    held = numbered(kind, *parts)
    for step in data.draw(
        st.lists(st.sampled_from(["insert", "set", "del", "slice", "pop", "append", "iadd"]), max_size=6)
    ):
        index, new = data.draw(st.integers(-len(parts) - 1, len(parts) + 1)), make()
        if step in ("set", "del", "pop") and not -len(parts) <= index < len(parts):
            with pytest.raises(IndexError, match=f"index {index} is out of range"):
                held.pop(index) if step == "pop" else held[index]
            continue
        if step == "insert":
            parts.insert(index, new)
            held.insert(index, new)
        elif step == "set":
            parts[index] = held[index] = new
        elif step == "del":
            del parts[index], held[index]
        elif step == "slice":
            del parts[index::2], held[index::2]
        elif step == "pop":
            assert held.pop(index) is parts.pop(index)
        elif step == "append":
            parts.append(new)
            held.append(new)
        else:
            parts += [new]
            held += [new]
        assert [id(part) for part in held] == [id(part) for part in parts]
        assert len(held) == len(parts)
        assert [name for name in vars(held) if name.isdecimal()] == [str(i) for i in range(len(parts))]
        assert all(part in held for part in parts)
    both = held + numbered(kind, make())
    assert type(both) is kind
    assert [id(part) for part in both][: len(parts)] == [id(part) for part in parts]
    assert len(both) == len(parts) + 1


def test_a_sequential_gives_its_parts_by_name_and_keeps_names_of_their_own():
    model = Sequential(OrderedDict(first=Linear(2, 3), act=ReLU()))
    assert model["act"] is model.act is model[1]
    model.append(Linear(3, 1)).insert(0, Flatten())
    assert list(dict(model.named_children())) == ["0", "first", "act", "3"]
    assert model(Tensor(normal(4, 2))).shape == (4, 1)
    model["act"] = Tanh()
    assert repr(model.act) == "Tanh()"
    del model["0"]
    assert list(dict(model.named_children())) == ["first", "act", "2"]
    assert isinstance(model.pop("act"), Tanh)
    with pytest.raises(KeyError, match="there is no 'act'; there is 'first', '1'"):
        model["act"]
    with pytest.raises(TypeError, match="the index is a float; an integer, a slice or a name is needed"):
        model[1.0]
    with pytest.raises(TypeError, match="Sequential: a int was given; a Module is needed"):
        model[0] = 3
    with pytest.raises(TypeError, match="the index is a str; an integer is needed"):
        model.insert("first", ReLU())
    with pytest.raises(TypeError, match="a function was given; a Module is needed"):
        model.extend([ReLU(), lambda x: x])
    assert len(model) == 2


class Filled(Sequential):
    def __init__(self):
        super().__init__(ReLU(), Tanh())


class Shouting(Sequential):
    def forward(self, x):
        return -super().forward(x)


def test_slices_and_sums_of_a_container_that_fills_itself_hold_what_was_asked_for():
    model = Filled()
    assert [type(part) for part in model[1:]] == [Tanh]
    assert [type(part) for part in model + model] == [ReLU, Tanh, ReLU, Tanh]
    assert type(model[1:]) is type(model + model) is Sequential
    assert type(Shouting(ReLU())[:1]) is type(Shouting() + model) is Shouting


@pytest.mark.parametrize(
    ("held", "part"), [(ModuleDict({"a": ReLU()}), Tanh()), (ParameterDict({"a": Tensor([1.0])}), Tensor([2.0]))]
)
def test_an_update_that_fails_leaves_a_dict_as_it_was(held, part):
    before = dict(held.items())
    with pytest.raises(TypeError, match="'x' is a int; a "):
        held.update({"a": part, "b": part, "x": 3})
    with pytest.raises(ValueError, match="Dict has an attribute 'keys' already; choose another name"):
        held.update({"a": part, "b": part, "keys": part})
    with pytest.raises(ValueError, match=r"Dict: the name is 'b\.c'; it must not be empty or contain a dot"):
        held.update({"a": part, "b.c": part})
    assert dict(held.items()) == before
    assert held["a"] is before["a"]


def test_a_module_dict_holds_modules_by_name():
    held = ModuleDict({"a": Linear(2, 3), "b": ReLU()})
    assert list(held) == list(held.keys()) == ["a", "b"]
    assert list(held.values()) == [held["a"], held["b"]]
    assert list(held.items())[1] == ("b", held["b"])
    assert "a" in held
    assert "c" not in held
    assert list(held.state_dict()) == ["a.weight", "a.bias"]
    held["c"] = Linear(3, 1)
    held.update([("b", Tanh()), ("d", ReLU())])
    assert repr(held["b"]) == "Tanh()"
    assert len(held) == 4
    c = held["c"]
    assert held.pop("c") is c
    del held["d"]
    assert list(held) == ["a", "b"]
    with pytest.raises(KeyError, match="ModuleDict: there is no 'c'; there is 'a', 'b'"):
        held["c"]
    with pytest.raises(ValueError, match="ModuleDict has an attribute 'keys' already"):
        held["keys"] = ReLU()
    with pytest.raises(TypeError, match="ModuleDict: 'x' is a int; a Module is needed"):
        held["x"] = 3
    held.clear()
    assert len(held) == 0
    with pytest.raises(NotImplementedError, match="ModuleDict has no forward"):
        held(1)


def test_a_parameter_list_makes_parameters_of_tensors():
    p = Parameter([1.0, 2.0])
    held = ParameterList([p, Tensor(np.zeros((2, 3)))])
    assert held[0] is p
    assert type(held[1]) is Parameter
    assert list(held.state_dict()) == ["0", "1"]
    assert p in held
    assert Parameter([1.0, 2.0]) not in held
    assert "(1): Parameter containing: [float64 of size 2x3]" in repr(held)
    with pytest.raises(TypeError, match="ParameterList: 2 is a int; a Parameter or a Tensor is needed"):
        held.append(3)
    with pytest.raises(IndexError, match="index 2 is out of range, there are 2 parameters"):
        held[2]


def test_a_parameter_dict_holds_parameters_by_name():
    held = ParameterDict({"a": Parameter([1.0]), "b": Tensor([2.0, 3.0])})
    assert list(held.state_dict()) == ["a", "b"] == list(held) == list(held.keys())
    assert list(reversed(held)) == ["b", "a"]
    assert type(held["b"]) is Parameter
    assert held.get("c") is None
    assert held.setdefault("c", Tensor([4.0])) is held["c"]
    assert held.setdefault("c", Tensor([5.0])).tolist() == [4.0]
    assert held.copy()["a"] is held["a"]
    assert [name for name, _ in (held | ParameterDict({"z": Tensor([0.0])})).items()] == ["a", "b", "c", "z"]
    assert [p.tolist() for p in held.fromkeys("xy", Tensor([7.0])).values()] == [[7.0], [7.0]]
    assert "(b): Parameter containing: [float32 of size 2]" in repr(held)
    b = held["b"]
    assert held.pop("b") is b
    assert held.popitem()[0] == "c"
    del held["a"]
    assert len(held) == 0
    assert "a" not in held
    with pytest.raises(KeyError, match="popitem of an empty one"):
        held.popitem()
    with pytest.raises(KeyError, match="ParameterDict: there is no 'a'; there is nothing"):
        held["a"]
    with pytest.raises(TypeError, match="ParameterDict: 'a' is a list; a Parameter or a Tensor is needed"):
        held["a"] = [1.0]
    held["a"] = Tensor([1.0])
    held.clear()
    assert len(held) == 0


def test_a_module_that_stands_twice_in_a_sequential_runs_twice():
    double = Linear(2, 2, bias=False)
    double.load_state_dict({"weight": 2 * np.eye(2, dtype=np.float32)})
    assert Sequential(double, double)(Tensor([[1.0, 3.0]])).array.tolist() == [[4, 12]]


def test_a_module_list_is_looked_into():
    layers = ModuleList(Linear(2, 2) for _ in range(3))
    assert len(list(layers.parameters())) == 6
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2"]
    assert next(iter(layers[1:].state_dict())) == "0.weight"
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        layers(1)


# Layers


@pytest.mark.parametrize(
    ("layer", "fan_in", "shape"),
    [
        (Conv2d(6, 4, (3, 2), groups=2, generator=rng()), 3 * 6, (4, 3, 3, 2)),
        (ConvTranspose2d(6, 4, (3, 2), groups=2, generator=rng()), 2 * 6, (6, 2, 3, 2)),
        (Linear(7, 5, generator=rng()), 7, (5, 7)),
    ],
)
def test_weights_and_bias_start_uniformly_within_one_over_root_fan_in(layer, fan_in, shape):
    bound = 1 / math.sqrt(fan_in)
    assert layer.weight.shape == shape
    for p in (layer.weight, layer.bias):
        assert p.dtype == np.float32
        assert np.abs(p.array).max() <= bound
        assert np.abs(p.array).max() > 0.6 * bound
        assert len(np.unique(p.array)) == p.array.size


def test_H153_initial_values_come_from_the_generator_or_the_seed():
    make = [
        lambda g: Conv2d(2, 3, 3, generator=g),
        lambda g: ConvTranspose2d(2, 3, 3, generator=g),
        lambda g: Linear(2, 3, generator=g),
    ]
    for layer in make:
        assert bytes_of(layer(rng(5))) == bytes_of(layer(rng(5)))
        assert bytes_of(layer(rng(5))) != bytes_of(layer(rng(6)))
        tg_random.manual_seed(3)
        first = bytes_of(layer(None))
        tg_random.manual_seed(3)
        assert bytes_of(layer(None)) == first


def test_a_seed_gives_the_same_values_in_every_dtype():
    double = Linear(4, 3, dtype=np.float64, generator=rng(2))
    single = Linear(4, 3, generator=rng(2))
    assert single.weight.array.tolist() == double.weight.array.astype(np.float32).tolist()


@pytest.mark.parametrize("dtype", [np.int32, np.longdouble, np.complex64, bool, object])
def test_weights_are_of_a_dtype_that_is_trained(dtype):
    for make in (
        lambda: Linear(4, 3, dtype=dtype),
        lambda: Linear(None, 3, dtype=dtype),
        lambda: Conv2d(1, 1, 1, dtype=dtype),
        lambda: ConvTranspose2d(1, 1, 1, dtype=dtype),
        lambda: BatchNorm2d(1, dtype=dtype),
    ):
        with pytest.raises(TypeError, match=r": dtype=.* parameters could not be trained; use float16"):
            make()
    assert Linear(4, 3, dtype=">f8").weight.dtype == np.dtype("=f8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(0, 1, 1), "in_channels"),
        (lambda: Conv2d(1, 0, 1), "out_channels"),
        (lambda: Conv2d(1, 1, 0), "kernel_size"),
        (lambda: Conv2d(1, 1, 1, stride=0), "stride"),
        (lambda: Conv2d(1, 1, 1, dilation=0), "dilation"),
        (lambda: Conv2d(1, 1, 1, padding=-1), "padding"),
        (lambda: Conv2d(1, 1, 1, padding="sane"), "padding"),
        (lambda: Conv2d(4, 6, 1, groups=3), "groups=3 does not divide"),
        (lambda: Conv2d(4, 6, 1, groups=0), "groups"),
        (lambda: Conv2d(1, 1, 1, padding_mode="typo"), "padding_mode='typo'"),
        (lambda: ConvTranspose2d(1, 1, 1, padding="same"), "padding"),
        (lambda: ConvTranspose2d(1, 1, 1, padding_mode="reflect"), "padding_mode"),
        (lambda: Linear(0, 1), "in_features"),
        (lambda: Linear(1, 0), "out_features"),
        (lambda: BatchNorm2d(0), "num_features"),
    ],
)
def test_H64_constructors_refuse_sizes_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_conv2d_with_a_padding_mode_is_conv2d_of_the_padded_image():
    x = Tensor(normal(2, 3, 6, 7))
    layer = Conv2d(3, 4, (3, 2), padding=((1, 2), (0, 1)), padding_mode="circular", generator=rng())
    padded = Tensor(np.pad(x.array, ((0, 0), (0, 0), (1, 2), (0, 1)), mode="wrap"))
    assert np.array_equal(layer(x).array, F.conv2d(padded, layer.weight, layer.bias).array)
    assert layer(x[0]).shape == layer(x).shape[1:]


def test_strict_layers_refuse_pixels_that_no_window_reads():
    x = Tensor(normal(1, 1, 6, 6))
    for layer in (Conv2d(1, 1, 3, 2, strict=True), MaxPool2d(4, strict=True), AvgPool2d(4, strict=True)):
        with pytest.raises(ShapeError):
            layer(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_H15_rounding_of_initial_values_raises_nothing_whatever_numpy_is_told_to_raise(dtype):
    calm, alarmed = [], []
    for state, results in (("ignore", calm), ("raise", alarmed)):
        with np.errstate(all=state):
            results.append(Conv2d(512, 1, 16, dtype=dtype, generator=rng(1)).weight.array)
            lazy_one = Linear(None, 3, dtype=dtype, generator=rng(1))
            lazy_one(Tensor(np.zeros((1, 99_999), dtype)))
            results.append(lazy_one.weight.array)
            for write in (
                lambda p: init.constant_(p, 1e300),
                lambda p: init.constant_(p, 1e-300),
                lambda p: init.normal_(p, std=1e300, generator=rng(1)),
                lambda p: init.uniform_(p, 0.0, 1e-300, generator=rng(1)),
                lambda p: init.xavier_normal_(p, 1e300, generator=rng(1)),
            ):
                results.append(write(Parameter(np.zeros((2, 3), dtype))).array)
    for a, b in zip(calm, alarmed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [3e38, 1e-38, 1e-45])
def test_H15_conversions_and_running_statistics_raise_nothing_whatever_numpy_is_told_to_raise(value):
    norm = BatchNorm2d(2)
    norm.running_mean.array[...] = norm.running_var.array[...] = norm.weight.array[...] = value
    norm.weight.grad = np.full(2, value, np.float32)
    x = Tensor(normal(3, 2, 4, 4) * np.float32(1e-19))
    with np.errstate(all="raise"):
        norm(x)
        norm.eval()(x)
        norm.half()
    assert norm.weight.dtype == norm.weight.grad.dtype == np.float16


# The lazy Linear


def lazy():
    return Sequential(Flatten(), Linear(None, 3, generator=rng(4)))


def test_a_lazy_linear_takes_its_size_from_the_first_input_and_then_is_a_plain_one():
    model = lazy()
    weight = model[1].weight
    assert repr(weight) == "UninitializedParameter(shape=(3, ?), dtype=float32)"
    assert model[1].in_features is None
    assert model(Tensor(normal(2, 4, 5))).shape == (2, 3)
    assert model[1].weight is weight
    assert type(weight) is Parameter
    assert type(model[1].bias) is Parameter
    assert model[1].in_features == 20
    assert bytes_of(model[1]) == bytes_of(Linear(20, 3, generator=rng(4)))
    with pytest.raises(ShapeError):
        model(Tensor(normal(2, 4, 6)))


@pytest.mark.parametrize("refused", [normal(2, 5, dtype=np.float64), normal(5).astype(np.float16), np.zeros((2, 0))])
def test_a_lazy_linear_keeps_nothing_of_an_input_that_it_refuses(refused):
    layer, generator = Linear(None, 3, generator=rng(4)), rng(4)
    for _ in range(2):
        with pytest.raises((TypeError, ShapeError)):
            layer(Tensor(refused))
        assert layer.in_features is None
        assert isinstance(layer.weight, UninitializedParameter)
        assert isinstance(layer.bias, UninitializedParameter)
    layer(Tensor(normal(2, 7)))
    assert bytes_of(layer) == bytes_of(Linear(7, 3, generator=generator))


def test_a_lazy_linear_keeps_dtype_and_freezing_and_can_be_copied_before_its_first_input():
    model = copy.deepcopy(lazy().double().requires_grad_(False))
    assert isinstance(pickle.loads(pickle.dumps(model))[1].weight, UninitializedParameter)
    y = model(Tensor(normal(2, 4, dtype=np.float64)))
    assert y.dtype == np.float64
    assert not y.requires_grad


def test_state_dict_refuses_a_lazy_linear_that_has_seen_nothing():
    with pytest.raises(RuntimeError, match=r"'1.weight' has no values yet, its shape is \(3, \?\); run one batch"):
        lazy().state_dict()
    with pytest.raises(ShapeError, match="at least one feature"):
        lazy()(Tensor(np.zeros((2, 0), np.float32)))


def test_load_state_dict_gives_a_lazy_linear_its_size_if_the_rest_agrees():
    source = Sequential(Flatten(), Linear(7, 3))
    model = lazy()
    model.load_state_dict(source.state_dict())
    assert bytes_of(model) == bytes_of(source)
    assert model[1].in_features == 7
    half = lazy()
    half.load_state_dict({"1.bias": np.float32([1, 2, 3])}, strict=False)
    half(Tensor(normal(2, 7)))
    assert half[1].bias.array.tolist() == [1, 2, 3]
    assert half[1].weight.shape == (3, 7)
    other = lazy()
    with pytest.raises(ValueError, match=r"1.weight: float32 \(4, 7\) is given, float32 \(3, \?\) is needed"):
        other.load_state_dict(Sequential(Flatten(), Linear(7, 4)).state_dict())
    assert other[1].in_features is None
    with pytest.raises(ValueError, match="materialize"):
        other[1].weight.materialize(np.zeros((4, 7)))


# BatchNorm2d


def test_H113_running_statistics_of_0_and_2_with_momentum_a_tenth():
    norm = BatchNorm2d(1)
    y = norm(Tensor(np.array([0.0, 2.0], np.float32).reshape(2, 1, 1, 1)))
    assert np.allclose(y.array.ravel(), [-1, 1], atol=1e-5)
    assert np.allclose(norm.running_mean.array, 0.1)
    assert np.allclose(norm.running_var.array, 1.1)
    assert norm.num_batches_tracked.array == 1
    assert norm.num_batches_tracked.dtype == np.int64


def test_H114_momentum_none_averages_over_all_batches_and_empty_batches_count_nothing():
    norm = BatchNorm2d(1, momentum=None)
    batches = [normal(4, 1, 2, 2, seed=i) + i for i in range(3)]
    for batch in batches:
        norm(Tensor(batch))
        norm(Tensor(np.zeros((0, 1, 2, 2), np.float32)))
    assert norm.num_batches_tracked.array == 3
    assert np.allclose(norm.running_mean.array, np.mean([b.mean() for b in batches]), atol=1e-6)
    assert np.allclose(norm.running_var.array, np.mean([b.var(ddof=1) for b in batches]), atol=1e-6)


def test_H116_eval_leaves_the_statistics_alone_and_no_grad_in_training_does_not():
    norm = BatchNorm2d(2)
    x = Tensor(normal(3, 2, 4, 4) * 3 + 1)
    norm.eval()
    y = norm(x)
    assert norm.num_batches_tracked.array == 0
    assert np.allclose(y.array, x.array / np.sqrt(1 + 1e-5), rtol=1e-6)
    norm.train()
    with no_grad():
        norm(x)
    assert norm.num_batches_tracked.array == 1
    assert norm.running_mean.array.all()


def test_H111_one_value_per_channel_is_refused_and_changes_nothing():
    norm = BatchNorm2d(2)
    before = bytes_of(norm)
    with pytest.raises(ValueError, match="1 value per channel"):
        norm(Tensor(normal(1, 2, 1, 1)))
    assert bytes_of(norm) == before


def test_batch_norm_normalises_each_channel_and_scales_it():
    norm = BatchNorm2d(3)
    norm.load_state_dict({**norm.state_dict(), "weight": np.float32([1, 2, 3]), "bias": np.float32([4, 5, 6])})
    y = norm(Tensor(normal(5, 3, 4, 2) * 7 + 3)).array
    assert np.allclose(y.mean((0, 2, 3)), [4, 5, 6], atol=1e-5)
    assert np.allclose(y.std((0, 2, 3)), [1, 2, 3], atol=1e-5)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    norm.reset_parameters()
    assert bytes_of(norm) == bytes_of(BatchNorm2d(3))


def test_batch_norm_without_running_statistics_uses_the_batch_in_eval_too():
    norm = BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert list(norm.state_dict()) == []
    assert np.allclose(norm(Tensor(normal(3, 2, 4, 4) + 9)).array.mean((0, 2, 3)), 0, atol=1e-5)


def test_batch_norm_wants_four_axes_and_its_channels():
    for shape in [(2, 3), (2, 4, 5, 5)]:
        with pytest.raises(ShapeError, match=r"BatchNorm2d: x has shape .* \(n, 3, h, w\) is needed"):
            BatchNorm2d(3)(Tensor(normal(*shape)))


# Dropout, activations, pooling, losses


def test_H118_dropout_probabilities():
    x = Tensor(normal(3, 4))
    assert Dropout(0.0)(x).array.tolist() == x.array.tolist()
    assert not Dropout(1.0)(x).array.any()
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="p"):
            Dropout(p)
        with pytest.raises(ValueError, match="p"):
            F.dropout(x, p)


def test_H119_dropout_is_seeded_scaled_and_the_identity_in_eval():
    x = Tensor(np.ones((40, 50), np.float32))
    y = Dropout(0.2, generator=rng(3))(x)
    assert np.array_equal(y.array, Dropout(0.2, generator=rng(3))(x).array)
    assert set(np.unique(y.array)) == {np.float32(0), np.float32(1.25)}
    assert abs((y.array == 0).mean() - 0.2) < 0.05
    assert Dropout(0.2).eval()(x) is x


def test_activations_and_shapes():
    x = Tensor([[-1.0, 0.0, 2.0]])
    assert ReLU()(x).array.tolist() == [[0, 0, 2]]
    assert np.allclose(Sigmoid()(x).array, 1 / (1 + np.exp([[1, 0, -2]])))
    assert np.allclose(Tanh()(x).array, np.tanh([[-1, 0, 2]]))
    e = np.exp([-1, 0, 2])
    assert np.allclose(Softmax(1)(x).array, [e / e.sum()])
    assert np.allclose(LogSoftmax(1)(x).array, [np.log(e / e.sum())])
    assert Identity()(x) is x
    assert Flatten()(Tensor(normal(2, 3, 4))).shape == (2, 12)
    assert Flatten(0, 1)(Tensor(normal(2, 3, 4))).shape == (6, 4)


def test_softmax_without_dim_guesses_and_warns():
    for shape, axis in [((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)]:
        x = Tensor(normal(*shape))
        with pytest.warns(UserWarning, match=f"pass dim={axis}"):
            y = F.softmax(x)
        assert np.allclose(y.array.sum(axis), 1, atol=1e-6)
    with pytest.warns(UserWarning, match="log_softmax: dim was not given"):
        F.log_softmax(x)


@pytest.mark.parametrize(("function", "layer"), [(F.softmax, Softmax), (F.log_softmax, LogSoftmax)])
def test_softmax_takes_axis_beside_dim(function, layer):
    x = Tensor(normal(2, 3, 4))
    for axis in range(-3, 3):
        wanted = function(x, axis).array
        assert np.array_equal(function(x, axis=axis).array, wanted)
        assert np.array_equal(layer(axis=axis)(x).array, wanted)
        assert layer(axis=axis).dim == axis
    with pytest.raises(TypeError, match="softmax: dim and axis are the same parameter; give one"):
        function(x, 0, axis=0)
    with pytest.raises(TypeError, match="Softmax: dim and axis are the same parameter; give one"):
        layer(0, axis=1)


def test_inplace_relu_makes_its_input_the_result():
    x = Tensor([-1.0, 2.0])
    view = x.detach()
    assert F.relu(x, inplace=True) is x
    assert view.array.tolist() == [0, 2]
    leaf = Tensor([-1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf that requires grad"):
        F.relu(leaf, inplace=True)
    h = leaf * 3.0
    F.relu(h, inplace=True)
    assert h.array.tolist() == [0, 6]
    h.sum().backward()
    assert leaf.grad.array.tolist() == [0, 3]
    with pytest.raises(TypeError, match="inplace=True needs a Tensor"):
        F.relu(np.ones(2), inplace=True)


def test_inplace_relu_after_an_op_that_keeps_its_output_gives_the_right_gradient():
    leaf = Tensor([-1.0, 0.5], requires_grad=True)
    h = leaf.tanh()
    Dropout(0.5, inplace=True, generator=rng(0))(ReLU(inplace=True)(h)).sum().backward()
    dropped = h.array[1] == 0
    assert leaf.grad.array[0] == 0
    assert np.isclose(leaf.grad.array[1], 0 if dropped else 2 * (1 - np.tanh(0.5) ** 2))


def test_H120_inplace_relu_under_no_grad_is_seen_by_a_graph_that_needs_the_old_values():
    leaf = Tensor([-1.0, 2.0], requires_grad=True)
    h = leaf * 2.0
    loss = (h * h).sum()
    with no_grad():
        F.relu(h, inplace=True)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_losses_in_closed_form():
    logits, labels = Tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([1, 2])
    logp = np.log(np.exp(logits.array) / np.exp(logits.array).sum(1, keepdims=True))
    each = -logp[[0, 1], labels]
    weight = [1.0, 2.0, 3.0]
    assert np.allclose(CrossEntropyLoss()(logits, labels).array, each.mean())
    assert np.allclose(CrossEntropyLoss(weight)(logits, labels).array, (each * [2, 3]).sum() / 5)
    assert np.allclose(CrossEntropyLoss(reduction="none")(logits, labels).array, each)
    assert np.allclose(CrossEntropyLoss(ignore_index=2, reduction="sum")(logits, labels).array, each[0])
    assert np.allclose(CrossEntropyLoss(label_smoothing=1.0)(logits, labels).array, -logp.mean())
    assert np.allclose(NLLLoss(weight)(Tensor(logp), labels).array, (each * [2, 3]).sum() / 5)
    assert np.allclose(MSELoss(reduction="sum")(logits, Tensor(np.ones((2, 3), np.float32))).array, 5)
    assert list(CrossEntropyLoss(weight).state_dict()) == ["weight"]


def test_H109_H102_losses_refuse_an_unknown_reduction_and_impossible_smoothing():
    for loss in (CrossEntropyLoss, NLLLoss, MSELoss):
        with pytest.raises(ValueError, match="reduction='typo'"):
            loss(reduction="typo")
    for smoothing in (1.5, -0.1):
        with pytest.raises(ValueError, match="label_smoothing"):
            CrossEntropyLoss(label_smoothing=smoothing)


# functional


def test_H70_a_single_image_goes_in_and_comes_out_without_a_batch_axis():
    x, w, b = (Tensor(normal(*s, seed=i)) for i, s in enumerate([(2, 6, 7), (3, 2, 3, 2), (3,)]))
    batch = x.reshape(1, 2, 6, 7)
    calls = [
        lambda x: F.conv2d(x, w, b, stride=2, padding=1),
        lambda x: F.conv_transpose2d(x, w.reshape(2, 3, 3, 2), b, stride=2),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, (2, 3), padding=1),
        lambda x: F.sum_pool2d(x, 2, 1),
    ]
    for call in calls:
        assert np.array_equal(call(x).array, call(batch).array[0])
    with pytest.raises(ShapeError):
        F.conv2d(x[0], w)


def test_a_single_image_has_the_gradient_of_a_batch_of_one():
    x, w = Tensor(normal(2, 5, 4), requires_grad=True), Tensor(normal(3, 2, 2, 3, seed=1), requires_grad=True)
    g = normal(3, 4, 2, seed=2)
    F.conv2d(x, w).backward(g)
    single = x.grad.array, w.grad.array
    x.grad = w.grad = None
    F.conv2d(x.reshape(1, 2, 5, 4), w).backward(g[None])
    assert np.array_equal(single[0], x.grad.array)
    assert np.array_equal(single[1], w.grad.array)


def test_flip_is_true_convolution_against_the_plain_sum():
    x, w = normal(1, 1, 4, 5, dtype=np.float64), normal(1, 1, 2, 3, seed=1, dtype=np.float64)
    y = F.conv2d(Tensor(x), Tensor(w), flip=True, padding="full").array[0, 0]
    full = np.zeros((5, 7))
    for i in range(4):
        for j in range(5):
            for p in range(2):
                for q in range(3):
                    full[i + p, j + q] += x[0, 0, i, j] * w[0, 0, p, q]
    assert np.allclose(y, full, atol=1e-14)


def test_the_gradient_of_a_flipped_kernel_is_the_flipped_gradient():
    x, w = Tensor(normal(2, 2, 5, 4)), Tensor(normal(3, 2, 2, 3, seed=1), requires_grad=True)
    g = normal(2, 3, 4, 2, seed=2)
    F.conv2d(x, w, flip=True).backward(g)
    turned = Tensor(w.array[:, :, ::-1, ::-1], requires_grad=True)
    F.conv2d(x, turned).backward(g)
    assert np.allclose(w.grad.array, turned.grad.array[:, :, ::-1, ::-1], atol=1e-6)


def test_H74_integers_convolve_exactly_and_booleans_not_at_all():
    x = Tensor(np.arange(16).reshape(1, 1, 4, 4) + 2**53)
    w = Tensor(np.array([[[[1, -1], [-1, 1]], [[0, 0], [0, 0]]]]).transpose(1, 0, 2, 3)[:1])
    y = F.conv2d(x, w)
    assert y.dtype == np.int64
    assert not y.requires_grad
    assert not y.array.any()
    ones = Tensor(np.ones((1, 1, 2, 2), np.int64))
    assert F.conv2d(x, ones).array[0, 0, 0, 0] == 4 * 2**53 + 10
    with pytest.raises(TypeError, match="bool"):
        F.conv2d(Tensor(np.ones((1, 1, 3, 3), bool)), Tensor(np.ones((1, 1, 2, 2), bool)))


def test_H73_mixed_float_dtypes_are_refused():
    with pytest.raises(TypeError, match="float64"):
        Conv2d(1, 1, 1)(Tensor(np.ones((1, 1, 2, 2))))
    with pytest.raises(TypeError, match="float64"):
        Linear(2, 1)(Tensor(np.ones((1, 2))))


@given(st.data())
def test_padding_then_cropping_as_much_gives_the_input_back(data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
    x = Tensor(normal(*shape))
    widths = data.draw(st.lists(st.integers(0, 3), max_size=2 * len(shape)).filter(lambda w: len(w) % 2 == 0))
    mode = data.draw(st.sampled_from(["constant", "replicate"]))
    padded = F.pad(x, widths, mode=mode)
    assert np.array_equal(F.pad(padded, [-n for n in widths]).array, x.array)
    pairs = [(0, 0)] * (len(shape) - len(widths) // 2) + [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][
        ::-1
    ]
    numpys = {"constant": "constant", "replicate": "edge"}[mode]
    assert np.array_equal(padded.array, np.pad(x.array, pairs, mode=numpys))


def test_H47_pad_lists_the_last_axis_first_and_crops_at_negative_widths():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = F.pad(x, (1, -1, 0, 1), value=9.0)
    assert y.array.tolist() == [[9, 0, 1], [9, 3, 4], [9, 9, 9]]
    y.backward(np.arange(9.0).reshape(3, 3))
    assert x.grad.array.tolist() == [[1, 2, 0], [4, 5, 0]]
    assert F.pad(x, (0, 0)).array.tolist() == x.array.tolist()
    assert F.pad(x, (1, 1), value=-math.inf).array[0, 0] == -math.inf
    assert F.pad(Tensor(np.ones((1, 2), np.int64)), (1, 0), value=-math.inf).array[0, 0] == np.iinfo(np.int64).min
    assert F.pad(Tensor(np.zeros((0, 2))), (1, 1)).shape == (0, 4)


@pytest.mark.parametrize(
    ("mode", "row"),
    [("reflect", [3, 2, 1, 2, 3, 2]), ("replicate", [1, 1, 1, 2, 3, 3]), ("circular", [2, 3, 1, 2, 3, 1])],
)
def test_pad_modes_and_their_gradient(mode, row):
    x = Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    y = F.pad(x, (2, 1), mode=mode)
    assert y.array.tolist() == [row]
    g = np.float32([[1, 2, 4, 8, 16, 32]])
    y.backward(g)
    assert x.grad.array.tolist() == [[sum(g[0, i] for i, v in enumerate(row) if v == k) for k in (1, 2, 3)]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.pad(x, (1,)), ShapeError, "1 numbers"),
        (lambda x: F.pad(x, (1,) * 6), ShapeError, "at most 4"),
        (lambda x: F.pad(x, (-2, -2)), ShapeError, "crops more than there is"),
        (lambda x: F.pad(x, (1.0, 1)), TypeError, "integers"),
        (lambda x: F.pad(x, (1, 1), mode="typo"), ValueError, "mode='typo'"),
        (lambda x: F.pad(x, (1, 1), mode="reflect", value=1.0), ValueError, "no meaning"),
        (lambda x: F.pad(x, (3, 1), mode="reflect"), ShapeError, "at most 2"),
        (lambda x: F.pad(x, (4, 1), mode="circular"), ShapeError, "at most 3"),
    ],
)
def test_H47_pad_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3))))


def test_one_hot_marks_the_label():
    y = F.one_hot(np.array([[1, 0], [2, 1]]))
    assert y.dtype == np.int64
    assert y.array.tolist() == [[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 1, 0]]]
    assert F.one_hot(Tensor(np.array([0])), 4).array.tolist() == [[1, 0, 0, 0]]
    for labels in ([-1, 0], [3]):
        with pytest.raises(IndexError, match="outside the 3 classes"):
            F.one_hot(np.array(labels), 3)
    with pytest.raises(TypeError, match="float64"):
        F.one_hot(np.array([1.0]))
    with pytest.raises(ValueError, match="give num_classes"):
        F.one_hot(np.zeros(0, np.int64))


# init


def test_gains_and_fans_are_pytorchs():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 1e-4))
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    assert init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.fans(Tensor(np.zeros((8, 3, 5, 2)))) == (30, 80)
    with pytest.raises(ValueError, match="no gain for 'typo'"):
        init.calculate_gain("typo")
    with pytest.raises(ValueError, match="at least two axes"):
        init.fans(Tensor([1.0]))


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda t, g: init.kaiming_normal_(t, nonlinearity="relu", generator=g), math.sqrt(2 / 60)),
        (lambda t, g: init.kaiming_normal_(t, mode="fan_out", generator=g), math.sqrt(2 / 400)),
        (lambda t, g: init.kaiming_uniform_(t, a=math.sqrt(5), generator=g), math.sqrt(1 / 3 / 60)),
        (lambda t, g: init.xavier_normal_(t, generator=g), math.sqrt(2 / 460)),
        (lambda t, g: init.xavier_uniform_(t, gain=2.0, generator=g), 2 * math.sqrt(2 / 460)),
        (lambda t, g: init.normal_(t, 0.0, 0.3, g), 0.3),
        (lambda t, g: init.uniform_(t, -1.0, 1.0, g), 1 / math.sqrt(3)),
    ],
)
def test_initial_values_have_the_standard_deviation_of_their_formula(fill, std):
    weight = Parameter(np.zeros((80, 12, 5, 1), np.float32))
    assert fill(weight, rng(0)) is weight
    n = weight.array.size
    assert abs(weight.array.mean()) < 5 * std / math.sqrt(n)
    assert abs(weight.array.std() / std - 1) < 5 / math.sqrt(n)
    again = fill(Parameter(np.zeros((80, 12, 5, 1), np.float32)), rng(0))
    assert np.array_equal(weight.array, again.array)


def test_uniform_values_stay_within_their_bounds():
    weight = init.kaiming_uniform_(Parameter(np.zeros((50, 30))), a=math.sqrt(5), generator=rng(0))
    assert np.abs(weight.array).max() <= 1 / math.sqrt(30)
    low = init.uniform_(Tensor(np.zeros(1000)), 2.0, 3.0, rng(0)).array
    assert low.min() >= 2
    assert low.max() < 3


def test_constants_and_refusals_of_init():
    t = Tensor(np.zeros((2, 3), np.float32))
    assert init.ones_(t).array.all()
    assert not init.zeros_(t).array.any()
    assert (init.constant_(t, 2.5).array == 2.5).all()
    with pytest.raises(ValueError, match="mode='typo'"):
        init.kaiming_normal_(t, mode="typo")
    with pytest.raises(ValueError, match="a <= b"):
        init.uniform_(t, 1.0, 0.0)
    with pytest.raises(ValueError, match="must not be negative"):
        init.normal_(t, 0.0, -1.0)
    with pytest.raises(TypeError, match="default_rng"):
        init.normal_(t, generator=3)
    with pytest.raises(TypeError, match="a ndarray was given"):
        init.zeros_(np.ones(2))
