"""Module: a tree of parameters, buffers and other modules, under PyTorch's names.

A Module keeps no registry beside its attributes. Its parameters are the attributes that are `Parameter`s, its children
those that are `Module`s, its buffers the ones named by `register_buffer`, each in the order of first assignment.
"""

from __future__ import annotations

import operator
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice, pairwise, repeat
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .. import memory
from ..devices import check_device
from ..dtypes import default_float, float16, float32, float64
from ..graph import Tensor, wrap
from ..interchange import CheckpointError, load, save
from ..modes import no_grad
from ..ops.convert import wanted_dtype
from ..scopes import Scope, scope_of
from ..scopes import current as _scope
from ..shapes import Shape, ShapeError
from ..watching import told, watchers
from .derivation import LONGEST, Passed, derivation, edits_for
from .differences import differences, given_array
from .hooks import Hooked, call_hooked, registered
from .parameter import Parameter, UninitializedParameter, lengths

_assign: Any = operator.setitem
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)  # that an attribute may be, and nothing looks into


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Hooked):
    """Base of all layers and models: define `__init__` (after `super().__init__()`) and `forward`, call the object."""

    training: bool
    _buffers: dict[str, bool]  # name -> whether state_dict holds it

    def __init__(self) -> None:
        self._buffers = {}
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Every subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward; define forward(self, x) in the class")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run forward; an exception that leaves it carries the path of the innermost module as a note.

        Around the forward run the hooks, if there are any.
        """
        scope = scope_of(self)
        token = _scope.set(scope)
        passed, outermost = _passed.get(), None
        if passed is None:
            passed = deque(maxlen=LONGEST)
            outermost = _passed.set(passed)
            if (given := _shape_of(args)) is not None:
                passed.append((None, given))
        try:
            if watchers:
                for block in told():
                    block.saw_module(scope)
            if registered and self._hooks is not None:
                out = call_hooked(self, self._hooks, args, kwargs)
            else:
                out = self.forward(*args, **kwargs)
            if isinstance(out, Tensor):
                passed.append((scope, out.array.shape))
            return out
        except Exception as error:
            _note_path(self, error, passed, args)
            raise
        finally:
            _scope.reset(token)
            if outermost is not None:
                _passed.reset(outermost)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Module)):
            if "_buffers" not in self.__dict__:
                raise RuntimeError(
                    f"{type(self).__name__}: {name!r} was assigned before Module.__init__ ran; "
                    "call super().__init__() first in __init__"
                )
            self._buffers.pop(name, None)
        elif isinstance(value, _CONTAINERS):
            if kind := _held(value):
                raise TypeError(_hidden(type(self).__name__, name, value, kind))
        elif isinstance(value, Tensor) and isinstance(self.__dict__.get(name), Parameter):
            raise TypeError(
                f"{type(self).__name__}: {name!r} is a Parameter and a Tensor was assigned to it; "
                "assign nn.Parameter(value), or write the values with load_state_dict or init"
            )
        if name in self.__dict__.get("_buffers", ()) and not isinstance(value, Tensor | None):
            raise TypeError(f"{type(self).__name__}: {name!r} is a buffer; a Tensor or None is needed, not {value!r}")
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set an attribute that is a Parameter, or None where an optional one is absent."""
        self._check_free(name, "register_parameter")
        if not isinstance(param, Parameter | None):
            raise TypeError(f"register_parameter: {name!r} is a {type(param).__name__}; a Parameter is needed")
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute that is state but not trained; state_dict holds it if `persistent`."""
        self._check_free(name, "register_buffer")
        if not isinstance(tensor, Tensor | None) or isinstance(tensor, Parameter):
            raise TypeError(f"register_buffer: {name!r} is a {type(tensor).__name__}; a Tensor is needed")
        self._buffers[name] = persistent
        setattr(self, name, tensor)

    def add_module(self, name: str, module: Module | None) -> None:
        """Set an attribute that is a child module, under a name that need not be an identifier ("0")."""
        self._check_free(name, "add_module")
        if not isinstance(module, Module | None):
            raise TypeError(f"add_module: {name!r} is a {type(module).__name__}; a Module is needed")
        setattr(self, name, module)

    register_module = add_module

    def _check_free(self, name: str, caller: str) -> None:
        if "_buffers" not in self.__dict__:
            raise RuntimeError(
                f"{caller}: {name!r} was registered before Module.__init__ ran; "
                "call super().__init__() first in __init__"
            )
        if not isinstance(name, str):
            raise TypeError(f"{caller}: the name is {name!r}; a string is needed")
        if not name or "." in name:
            raise ValueError(
                f"{caller}: the name is {name!r}; it must not be empty or contain a dot, which separates levels"
            )
        if hasattr(type(self), name) or name in ("_buffers", "training"):
            raise ValueError(f"{caller}: {type(self).__name__} has an attribute {name!r} already; choose another name")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._buffers.pop(name, None)

    # Walks

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes, each once."""
        seen = set()
        for name, value in list(vars(self).items()):
            if isinstance(value, Module) and value not in seen:
                seen.add(value)
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules that are attributes, each once."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module under the name `prefix` and all below it, parents first. A module used twice comes once."""
        seen: set[Module] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate:
                if module in seen:
                    continue
                seen.add(module)
            yield path, module
            below = [(_join(path, name), value) for name, value in vars(module).items() if isinstance(value, Module)]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """("features.0.weight", parameter), ...; a parameter that two modules share comes once.

        Raises TypeError for a parameter or module hidden in a list, tuple, dict or set.
        """
        seen = set()
        for path, module in self._walk(prefix, recurse, remove_duplicate):
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter):
                    if not remove_duplicate or id(value) not in seen:
                        seen.add(id(value))
                        yield _join(path, name), value
                elif isinstance(value, _CONTAINERS):
                    _refuse_hidden(module, name, value)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter of this module and those below it, once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """("bn1.running_mean", buffer), ..., those left out of state_dict included."""
        seen = set()
        for path, module in self._walk(prefix, recurse, remove_duplicate):
            for name in module._buffers:
                value = vars(module)[name]
                if value is not None and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield _join(path, name), value

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer of this module and those below it, once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _walk(self, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Module]]:
        return self.named_modules(prefix, remove_duplicate) if recurse else iter([(prefix, self)])

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "layer1.0.conv1", this one at "". Raises AttributeError where there is none."""
        module: Module = self
        path = ""
        for name in target.split(".") if target else ():
            found = vars(module).get(name)
            if not isinstance(found, Module):
                raise AttributeError(_nothing_at(target, module, path, name, "module", dict(module.named_children())))
            module, path = found, _join(path, name)
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The Parameter at a path such as "layer1.0.conv1.weight". Raises AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = vars(module).get(name)
        if not isinstance(found, Parameter):
            names = [n for n, value in vars(module).items() if isinstance(value, Parameter)]
            raise AttributeError(_nothing_at(target, module, path, name, "parameter", names))
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as "bn1.running_mean". Raises AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found: Tensor | None = vars(module)[name] if name in module._buffers else None
        if found is None:
            raise AttributeError(_nothing_at(target, module, path, name, "buffer", module._buffers))
        return found

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module, in order, children before their parents; returns self."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # Modes and conversions

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below: batch norm uses the batch, dropout drops. Returns self.

        Raises TypeError for a module hidden in a list, tuple, dict or set, and changes nothing then.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode is {mode!r}; True or False is needed")
        modules = list(self.modules())
        for module in modules:
            for name, value in vars(module).items():
                _refuse_hidden(module, name, value)
        for module in modules:
            module.training = mode
        return self

    def eval(self) -> Self:
        """train(False)."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or make it zeros."""
        for parameter in self.parameters():
            clear_grad(parameter, set_to_none)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Start or stop training every parameter here and below; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, *wanted: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Convert every float parameter (with its gradient) and float buffer to a dtype; returns self.

        to(dtype), to("cpu"), to("cpu", dtype), to(device=..., dtype=...), or to(tensor) for that Tensor's dtype. Graphs
        recorded earlier keep the old values, and give gradients of the new dtype. Raises TypeError unless the dtype is
        float16, float32 or float64, and ValueError for another device than the CPU.
        """
        dtype = wanted_dtype("to", wanted, dtype, device)
        if dtype is None:
            return self
        wanted_type = trainable_dtype("to", dtype)
        tensors = [t for t in [*self.parameters(), *self.buffers()] if t.dtype.kind == "f" and t.dtype != wanted_type]
        with np.errstate(all="ignore"):
            arrays = [t.array.astype(wanted_type) for t in tensors]
            grads = [None if t.grad is None else wrap(t.grad.array.astype(wanted_type)) for t in tensors]
        for tensor, array, grad in zip(tensors, arrays, grads, strict=True):
            trained = tensor.requires_grad
            tensor.requires_grad_(False)
            tensor.array = array
            tensor.requires_grad_(trained)
            if trained:
                tensor.grad = grad
        return self

    def type(self, dst_type: Any) -> Self:
        """to(dst_type)."""
        return self.to(dtype=dst_type)

    def cpu(self) -> Self:
        """self, which is on the CPU."""
        return self

    def cuda(self, device: Any = None) -> Self:
        """Raises ValueError: there is no such device."""
        check_device("cuda", "cuda")
        return self

    def float(self) -> Self:
        """to(float32)."""
        return self.to(np.float32)

    def double(self) -> Self:
        """to(float64)."""
        return self.to(np.float64)

    def half(self) -> Self:
        """to(float16)."""
        return self.to(np.float16)

    # State

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, under PyTorch's keys, sharing the module's memory.

        Raises RuntimeError if a lazy layer does not know its shape yet.
        """
        state = self._named_state(prefix)
        for name, value in state.items():
            if isinstance(value, UninitializedParameter):
                raise RuntimeError(
                    f"state_dict: {name!r} has no values yet, its shape is {lengths(value)}; "
                    "run one batch through the model first, or give in_features"
                )
        return {name: value.detach() for name, value in state.items()}

    def _named_state(self, prefix: str = "") -> dict[str, Tensor]:
        """The live Tensors that state_dict describes; one that occurs twice stands under both names."""
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix.removesuffix("."), remove_duplicate=False):
            for name, parameter in module.named_parameters(path, recurse=False, remove_duplicate=False):
                state[name] = parameter
            for name, persistent in module._buffers.items():
                if persistent and (buffer := vars(module)[name]) is not None:
                    state[_join(path, name)] = buffer
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values (Tensors or arrays) into the parameters and buffers of the same names: all of them or none.

        With `strict` every name must occur on both sides; without it the others are returned. Shapes and dtypes must
        be the same in any case. A lazy parameter takes the shape that it is given.

        Raises ValueError that lists every difference, and TypeError for a value that is no array; nothing is changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: a {type(state_dict).__name__} was given; a dict of name -> Tensor is needed"
            )
        ours = self._named_state()
        missing = [name for name in ours if name not in state_dict]
        unexpected = [name for name in state_dict if name not in ours]
        found = {name: given_array(name, state_dict[name]) for name in ours if name in state_dict}
        if problems := differences(type(self).__name__, ours, found, unexpected if strict else None):
            shown = "\n  ".join(problems)
            raise ValueError(
                f"load_state_dict: {len(problems)} difference{'s' * (len(problems) > 1)} from {type(self).__name__}, "
                f"nothing was changed:\n  {shown}"
            )
        values = [np.array(value) for value in found.values()]  # copies: a value may be memory of this very module
        for name, value in zip(found, values, strict=True):
            target = ours[name]
            if isinstance(target, UninitializedParameter):
                target.materialize(value)
        targets = [ours[name].array for name in found]
        # The last call runs no Python code between the first copy and the last: all of them or none.
        for array in targets:
            memory.mark_changed(array, "load_state_dict")
        deque(map(_assign, targets, repeat(Ellipsis), values), maxlen=0)
        return IncompatibleKeys(missing, unexpected)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write state_dict() to a safetensors file, which PyTorch reads too, replacing a file there in one step.

        Raises as state_dict does, and OSError if the file cannot be written; the old file stays then.
        """
        save(self.state_dict(), path)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Copy a safetensors file of ours or PyTorch's into the parameters and buffers; returns self.

        Every name must occur on both sides, with the same shape and dtype. Raises CheckpointError that lists every
        difference, or all that is wrong with the file, and OSError if it cannot be read; nothing is changed.
        """
        state, ours = load(path), self._named_state()
        found = {name: value.array for name, value in state.items() if name in ours}
        if problems := differences(type(self).__name__, ours, found, [name for name in state if name not in ours]):
            remedy = "; if it is the checkpoint of a run, use train.load_checkpoint" * (
                "model." + next(iter(ours), "") in state
            )
            raise CheckpointError(
                f"{path}: it does not fit {type(self).__name__}, nothing was changed{remedy}", problems
            )
        self.load_state_dict(state)
        return self

    # Text

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr, beside the children."""
        return ""

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name.isidentifier()]

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): " + repr(value).replace("\n", "\n  ")
            for name, value in vars(self).items()
            if isinstance(value, Module)
        ]
        if not children and len(lines) <= 1:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines + children) + "\n)"


class Layer(Module):
    """A Module whose call gives a Tensor, as type checkers see; at run time a Module like any other."""

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...


def trainable_dtype(name: str, dtype: Any, device: Any = None) -> np.dtype[Any]:
    """The dtype of parameters, float32 unless given.

    Raises TypeError for what is not float16, float32 or float64, and ValueError for a device other than the CPU.
    """
    check_device(name, device)
    wanted: np.dtype[Any] = default_float if dtype is None else np.dtype(dtype).newbyteorder("=")
    if wanted not in (float16, float32, float64):
        raise TypeError(f"{name}: dtype={wanted} parameters could not be trained; use float16, float32 or float64")
    return wanted


def clear_grad(tensor: Tensor, set_to_none: bool) -> None:
    """Drop the gradient of a Tensor, or make it zeros."""
    if (grad := tensor.grad) is not None:
        tensor.grad = None if set_to_none else wrap(np.zeros_like(grad.array))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _held(values: Any) -> str | None:
    """The kind of a Parameter or Module among the first thousand entries of nested containers, or None."""
    stack, seen = [values], {id(values)}
    while stack:
        value = stack.pop()
        if isinstance(value, Parameter):
            return "Parameter"
        if isinstance(value, Module):
            return "Module"
        if isinstance(value, _CONTAINERS):
            inner = islice(value.values() if isinstance(value, dict) else value, 1000)
            below = [v for v in inner if isinstance(v, (Parameter, Module, *_CONTAINERS)) and id(v) not in seen]
            seen.update(map(id, below))
            stack.extend(below)
    return None


def _refuse_hidden(module: Module, name: str, value: Any) -> None:
    """Raise TypeError for a container attribute that has come to hold a Parameter or a Module."""
    if isinstance(value, _CONTAINERS) and (kind := _held(value)):
        raise TypeError(_hidden(type(module).__name__, name, value, kind))


def _hidden(owner: str, name: str, value: Any, kind: str) -> str:
    remedy = (
        "use nn.Sequential, nn.ModuleList or nn.ModuleDict"
        if kind == "Module"
        else "use nn.ParameterList or nn.ParameterDict"
    )
    return (
        f"{owner}: {name!r} is a {type(value).__name__} that holds a {kind}, which parameters() and state_dict() "
        f"do not look into; {remedy}"
    )


def _nothing_at(target: str, module: Module, path: str, name: str, kind: str, there: Iterable[str]) -> str:
    where = f"{path} ({type(module).__name__})" if path else type(module).__name__
    return f"{target!r}: {where} has no {kind} {name!r}; it has {', '.join(map(repr, there)) or 'none'}"


def _shape_of(args: Sequence[Any]) -> Shape | None:
    return args[0].array.shape if args and isinstance(args[0], Tensor) else None


def _note_path(module: Module, error: Exception, passed: Iterable[_Passed], args: Sequence[Any]) -> None:
    """Name the module whose forward raised, by its path from the outermost module that is running.

    A ShapeError is told the shapes so far, too.
    """
    step = error.__traceback__
    while step is not None and (step := step.tb_next) is not None:
        if step.tb_frame.f_code is _CALL:
            return  # a module further in has done it
    # The failing frame itself is not asked: f_locals would hold `error` there, and close a reference cycle.
    running = [module]
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is _CALL:
            running.append(frame.f_locals["self"])
        frame = frame.f_back
    path = ""
    for outer, inner in pairwise(reversed(running)):
        name = next((name for name, part in outer.named_modules() if part is inner), type(inner).__name__)
        path = _join(path, name)
    kind = type(module).__name__
    if isinstance(error, ShapeError) and len(running) > 1:
        layers = [Passed(*(("", "input") if scope is None else scope.chain[-1]), shape) for scope, shape in passed]
        given = _shape_of(args)
        error.layers, error.edits = layers, edits_for(module, path, given, layers)
        error.add_note(derivation(layers, path, kind, given, error.edits))
    error.add_note(f"in {path} ({kind})" if path else f"in {kind}")


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """A block in eval mode that records no graph; afterwards the mode of every module is what it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


_CALL = Module.__call__.__code__
_Passed = tuple[Scope | None, Shape]  # of a layer that has run, None for the input: the shape of what it gave
_passed: ContextVar[deque[_Passed] | None] = ContextVar("passed", default=None)  # in the outermost module's forward
