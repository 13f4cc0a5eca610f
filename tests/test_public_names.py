"""What users can name: sorted, there, documented, and the same for type checkers as at run time."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_overloads, get_type_hints

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.declaration import Op, registry
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.nn.module import Layer

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(tg.__file__).parent

CODE_FOR_NUMBA = {
    f"tinygrad_cnn.kernels.{m}" for m in ("depthwise_vectors", "instructions", "pool_vectors", "spin", "vectors")
}
# They import what is not installed, and nobody imports them without.
HIDDEN = set() if importlib.util.find_spec("numba") else CODE_FOR_NUMBA
HIDDEN |= set() if importlib.util.find_spec("onnx") else {"tinygrad_cnn.onnx.backend"}

MODULES = [tg] + [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages([str(PACKAGE)], "tinygrad_cnn.")
    if not found.name.endswith("__main__") and found.name not in HIDDEN
]
WITH_NAMES = [module for module in MODULES if hasattr(module, "__all__")]
NAMES = [(module.__name__, name) for module in WITH_NAMES for name in module.__all__]


@pytest.mark.parametrize("module", WITH_NAMES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_names_each_thing_once(module):
    assert list(module.__all__) == sorted(set(module.__all__))


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: value)
def test_a_public_name_exists_and_is_documented(module, name):
    value = getattr(sys.modules[module], name)
    if callable(value) or isinstance(value, ModuleType):
        assert (inspect.getdoc(value) or "").strip(), f"{module}.{name} has no docstring"
        assert "Built-in" not in inspect.getdoc(value)
        if inspect.isclass(value):
            assert "__doc__" in vars(value)
            assert vars(value)["__doc__"], f"{module}.{name} has no docstring of its own"


def test_the_package_lists_the_names_that_it_is_used_by():
    wanted = """CheckpointError ShapeError Tensor cat conv2d cross_entropy data draw enable_grad from_numpy grad
    is_grad_enabled load manual_seed matmul max_pool2d nn no_grad op optim relu save stack testing where"""
    assert set(wanted.split()) <= set(tg.__all__)


def test_a_star_import_brings_the_public_names():
    namespace: dict[str, object] = {}
    exec("from tinygrad_cnn import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(tg.__all__)


def test_every_public_name_of_the_ops_is_exported_as_the_same_object():
    modules = [module for module in WITH_NAMES if module.__name__.startswith("tinygrad_cnn.ops.")]
    assert len(modules) >= 10
    for module in modules:
        for name in module.__all__:
            assert getattr(tg, name, None) is getattr(module, name), f"{module.__name__}.{name}"
            assert name in tg.__all__


def test_an_unknown_name_is_an_attribute_error():
    for module in (tg, tg.testing):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
            module.no_such_name


def test_testing_is_loaded_when_first_asked_for():
    program = (
        "import sys, tinygrad_cnn as tg; assert 'tinygrad_cnn.testing' not in sys.modules; "
        "tg.testing.gradcheck; assert 'tinygrad_cnn.testing' in sys.modules; assert 'hypothesis' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


def test_the_annotations_of_generated_methods_are_up_to_date():
    script = ROOT / "scripts" / "tensor_methods.py"
    process = subprocess.run([sys.executable, str(script), "--check"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def stated_methods() -> set[str]:
    """Every name that the class body of Tensor states, for people and for type checkers."""
    tree = ast.parse((PACKAGE / "graph.py").read_text(encoding="utf-8"))
    (tensor,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor"]
    bodies = [tensor.body, *(node.body for node in tensor.body if isinstance(node, ast.If))]
    names: set[str] = set()
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
    return names


def test_type_checkers_see_every_attribute_of_tensor_and_no_other():
    of_every_class = {*vars(type("Empty", (), {})), "__annotations__", "__slots__", "__weakref__"}
    real = vars(Tensor).keys() - of_every_class
    stated = stated_methods() - {"__slots__"}
    assert real - stated == set()
    assert {name for name in stated if not hasattr(Tensor, name)} == set()


@pytest.mark.parametrize("name", tg.nn.functional.__all__)
def test_type_checkers_see_a_tensor_come_out_of_each_function_of_nn(name):
    function = getattr(tg.nn.functional, name)
    first, *others = get_overloads(function) or [function]  # with return_indices=True a second Tensor comes with it
    assert get_type_hints(first)["return"] is Tensor
    assert [get_type_hints(f)["return"] for f in others] in ([], [tuple[Tensor, Tensor]])


WITHOUT_FORWARD = (tg.nn.ModuleDict, tg.nn.ModuleList, tg.nn.ParameterDict, tg.nn.ParameterList)
LAYERS = [
    value
    for name in [*tg.nn.__all__, *vars(tg.nn.models)]
    if inspect.isclass(value := getattr(tg.nn, name, None) or getattr(tg.nn.models, name))
    and issubclass(value, tg.nn.Module)
    and value not in (tg.nn.Module, *WITHOUT_FORWARD, Layer)
]


@pytest.mark.parametrize("layer", LAYERS)
def test_type_checkers_see_a_tensor_come_out_of_each_layer(layer):
    assert issubclass(layer, Layer)  # its call
    assert get_type_hints(layer.forward)["return"] is Tensor


@pytest.mark.parametrize("name", sorted(n for n in vars(Tensor) if not n.startswith("_")))
def test_a_method_of_tensor_is_documented(name):
    value = vars(Tensor)[name]
    if inspect.ismemberdescriptor(value):
        assert name in ("array", "node", "outline")
    else:
        assert (inspect.getdoc(value) or "").strip()


def declared_methods() -> dict[str, list[str]]:
    """Op -> the methods that `@op(method=...)` in the source asks for."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "op":
                    given = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg == "method"}.get("method")
                    names = [node.name] if given is True else [given] if isinstance(given, str) else list(given or ())
                    if names:
                        found[node.name] = names
    return found


def test_an_op_declared_as_a_method_is_one():
    declared = declared_methods()
    assert len(declared) > 20
    for op, names in declared.items():
        assert isinstance(registry[op], Op)
        for name in names:
            assert vars(Tensor)[name] is registry[op].apply, f"Tensor.{name} is not the op {op}"


def test_an_op_with_a_public_name_is_named_like_it():
    for name, declaration in registry.items():
        if name in tg.__all__ and hasattr(getattr(tg, name), "op"):
            assert getattr(tg, name).op is declaration
