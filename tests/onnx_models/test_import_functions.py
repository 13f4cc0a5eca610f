"""Functions that a file defines: written out in place of their calls, with a limit."""

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")

from import_models import floats, model
from onnx import AttributeProto, FunctionProto, helper

from tinygrad_cnn.onnx import OnnxError, OnnxUnsupported, load_onnx

node = helper.make_node


def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=17, domain="own"):
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function(domain, name, inputs, outputs, nodes, imports, list(attributes), list(defaults))


def call(name, inputs, outputs, **attributes):
    return node(name, inputs, outputs, domain="own", **attributes)


def referring(made, name, to, kind=AttributeProto.FLOAT):
    """A node whose attribute `name` is the attribute `to` of the function that it stands in."""
    made.attribute.append(AttributeProto(name=name, ref_attr_name=to, type=kind))
    return made


def proto(nodes, functions, inputs=("x",), outputs=("y",), initializers=None):
    made = model(nodes, {name: [2, 3] for name in inputs}, outputs, initializers, functions=functions)
    made.opset_import.add(domain="own", version=1)
    return made


def run(*args, x=None):
    x = floats(np.random.default_rng(8), 2, 3) if x is None else x
    out = load_onnx(proto(*args).SerializeToString())(x)
    return x, out


SLOPED = function(
    "Sloped",
    ["a", "w"],
    ["out"],
    [node("MatMul", ["a", "w"], ["inside"]), referring(node("LeakyRelu", ["inside"], ["out"]), "alpha", "slope")],
    defaults=[helper.make_attribute("slope", 0.5)],
)


def test_each_call_computes_with_its_own_values_and_attributes():
    w = floats(np.random.default_rng(1), 3, 3)
    nodes = [call("Sloped", ["x", "w"], ["h"]), call("Sloped", ["h", "w"], ["y"], slope=-2.0)]
    net = load_onnx(proto(nodes, [SLOPED], initializers={"w": w}).SerializeToString())
    x = floats(np.random.default_rng(8), 2, 3)
    h = x @ w
    h = np.where(h > 0, h, 0.5 * h) @ w
    np.testing.assert_allclose(net(x).array, np.where(h > 0, h, -2 * h), 1e-5)
    assert list(net.state_dict()) == ["w"]
    assert len(net._plan) == 4


def test_an_attribute_that_neither_the_call_nor_a_default_says_has_the_operators_own():
    leaky = referring(node("LeakyRelu", ["a"], ["out"]), "alpha", "slope")
    x, y = run([call("F", ["x"], ["y"])], [function("F", ["a"], ["out"], [leaky], ["slope"])])
    np.testing.assert_allclose(y.array, np.where(x > 0, x, 0.01 * x), 1e-6)


def test_functions_may_call_functions_and_leave_out_inputs_and_outputs():
    inner = function(
        "Inner", ["a", "c"], ["p", "q"], [node("Gemm", ["a", "a", "c"], ["p"], transB=1), node("Relu", ["p"], ["q"])]
    )
    outer = function("Outer", ["a"], ["out"], [call("Inner", ["a"], ["", "out"])])
    x, y = run([call("Outer", ["x"], ["y"])], [outer, inner])
    np.testing.assert_allclose(y.array, np.maximum(x @ x.T, 0), 1e-5)


def test_a_function_with_the_name_of_an_operator_takes_its_place():
    relu = function("Relu", ["a"], ["out"], [node("Tanh", ["a"], ["out"])], domain="")
    made = model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}, ["y"], functions=[relu])
    x = floats(np.random.default_rng(8), 2, 3)
    np.testing.assert_allclose(load_onnx(made.SerializeToString())(x).array, np.tanh(x), 1e-6)


def chain(length, fan):
    """Functions each of which calls the next `fan` times: fan^length nodes from a file of a few lines."""
    made = []
    for i in range(length):
        names = ["a", *[f"v{k}" for k in range(fan - 1)], "out"]
        below = f"F{i + 1}"
        nodes = [
            call(below, [names[k]], [names[k + 1]]) if i + 1 < length else node("Relu", [names[k]], [names[k + 1]])
            for k in range(fan)
        ]
        made.append(function(f"F{i}", ["a"], ["out"], nodes))
    return made


def test_h183_functions_that_multiply_are_limited(monkeypatch):
    from tinygrad_cnn.onnx import functions

    x, y = run([call("F0", ["x"], ["y"])], chain(3, 4))
    assert np.array_equal(y.array, np.maximum(x, 0))
    assert functions.MOST_NODES == 200_000
    monkeypatch.setattr(functions, "MOST_NODES", 3_000)
    with pytest.raises(OnnxError, match=r"calls of functions become more than 3000 nodes or 268435456 bytes of them"):
        run([call("F0", ["x"], ["y"])], chain(60, 10))


def test_h183_a_chain_of_a_thousand_functions_is_written_out_without_recursion():
    x, y = run([call("F0", ["x"], ["y"])], chain(1200, 1))
    assert np.array_equal(y.array, np.maximum(x, 0))


def test_h183_large_attributes_of_functions_are_limited():
    """A tensor of 4 MB that a hundred nodes of a function refer to."""
    many = [referring(node("Constant", [], [f"v{i}"]), "value", "t", AttributeProto.TENSOR) for i in range(100)]
    body = function("F", ["a"], ["out"], [*many, node("Relu", ["a"], ["out"])], ["t"])
    tensor = helper.make_tensor("t", 1, [1 << 20], np.zeros(1 << 20, np.float32).tobytes(), raw=True)
    with pytest.raises(OnnxError, match=r"the calls of functions become more than"):
        run([call("F", ["x"], ["y"], t=tensor)], [body])


SELF = function("Self", ["a"], ["out"], [call("Self", ["a"], ["out"])])
ONE = function("One", ["a"], ["out"], [call("Two", ["a"], ["out"])])
TWO = function("Two", ["a"], ["out"], [call("One", ["a"], ["out"])])
PLAIN = function("Plain", ["a"], ["out"], [node("Relu", ["a"], ["out"])])


@pytest.mark.parametrize(
    ("nodes", "functions", "match"),
    [
        ([call("Self", ["x"], ["y"])], [SELF], r"the function 'Self' calls itself; there is no end to it"),
        ([call("One", ["x"], ["y"])], [ONE, TWO], r"the function 'One' calls itself"),
        ([call("Plain", ["x"], ["y"])], [PLAIN, PLAIN], r"the function 'Plain' is defined twice"),
        ([call("Plain", ["x", "x"], ["y"])], [PLAIN],
         r"'Plain' is called with 2 inputs and 1 outputs; the function has 1"),
        ([call("Plain", ["x"], ["y"], z=1.0)], [PLAIN], r"called with the attribute 'z', which it does not have"),
        ([call("Sloped", ["x", "x"], ["y"], slope=1)], [SLOPED],
         r"'LeakyRelu': the attribute 'alpha' refers to one of an"),
        ([call("Other", ["x"], ["y"])], [PLAIN], r"is of the domain 'own'; operators of ONNX itself are supported"),
        ([call("F", ["x"], ["y"])], [function("F", ["a"], ["out"], [node("Relu", ["z"], ["out"])])],
         r"Relu 'F#1/' reads 'F#1/z', which nothing gives"),
        ([call("F", ["x"], ["y"])], [function("F", ["a"], ["out"], [])],
         r"the output 'y' is made by no node, and is no input or initializer"),
        ([call("Plain", ["x"], ["y"])], [FunctionProto(name="Plain", domain="own", input=["a", "a"])],
         r"the function 'Plain' has two inputs or outputs of one name, or one without a name"),
    ],
)  # fmt: skip
def test_h183_functions_that_cannot_be_are_refused(nodes, functions, match):
    with pytest.raises(OnnxError, match=match):
        run(nodes, functions)


@pytest.mark.parametrize(
    ("functions", "match"),
    [
        ([function("F", ["a"], ["out"], [node("Relu", ["a"], ["out"])], opset=13)],
         r"the function 'F' has opset 13, the file 17; one for both is supported"),
        ([function("F", ["a"], ["a"], [])], r"the function 'F' gives an input of its own as an output"),
    ],
)  # fmt: skip
def test_functions_beyond_what_is_written_out_are_unsupported(functions, match):
    with pytest.raises(OnnxUnsupported, match=match):
        run([call("F", ["x"], ["y"])], functions)
