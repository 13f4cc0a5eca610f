"""The node tests of the package onnx for the plain operators, and real files of the opsets before 7."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")

import node_cases
import onnx
from onnx import TensorProto, helper

from tinygrad_cnn.onnx import OnnxError, load_onnx

UNSUPPORTED = ("bfloat16", "string", "float8", "float4", "int4", "int2", "sequence", "optional", "data type", "graph")


@pytest.fixture(scope="module")
def report():
    return node_cases.run(node_cases.cases(node_cases.PLAIN))


def test_no_node_test_of_the_plain_operators_fails(report):
    assert report.failed == []
    assert len(report.passed) >= 700


def test_only_what_no_tensor_holds_is_unsupported(report):
    assert [entry for entry in report.unsupported if not any(word in entry[2] for word in UNSUPPORTED)] == []


def test_files_from_before_opset_7_run_as_their_own_outputs_say():
    folder = Path(onnx.__file__).parent / "backend/test/data/pytorch-operator"
    names = ["add_broadcast", "add_size1_right_broadcast", "add_size1_singleton_broadcast", "pow", "clip", "pad"]
    names += ["chunk", "concat2", "index", "max", "min", "permute2", "reduced_sum", "addconstant", "view"]
    for name in names:
        case = folder / f"test_operator_{name}"
        model = case / "model.onnx"
        assert onnx.load(model).opset_import[0].version < 7
        data = {kind: sorted((case / "test_data_set_0").glob(f"{kind}_*.pb")) for kind in ("input", "output")}
        inputs, (expected, *_) = (
            [onnx.numpy_helper.to_array(onnx.load_tensor(path)) for path in paths] for paths in data.values()
        )
        found = load_onnx(model)(*inputs)
        found = found[0] if isinstance(found, tuple) else found
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, err_msg=name)


def model(op_type, opset, inputs, **attributes):
    """The bytes of a file with one node."""
    names = [f"x{i}" for i in range(inputs)]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph([node], "one", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made.SerializeToString()


OF_TWO = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "Sum": np.add,
    "Mean": lambda x, y: (x + y) / 2,
    "Less": np.less,
    "Greater": np.greater,
}


@pytest.mark.parametrize("op_type", OF_TWO)
def test_files_of_the_first_opset_are_read_for_two_inputs(op_type):
    x, y = np.float32([1, 4, 3]), np.float32([2, 2, 3])
    np.testing.assert_array_equal(load_onnx(model(op_type, 1, 2))(x, y).numpy(), OF_TWO[op_type](x, y))


@pytest.mark.parametrize("op_type", ["Abs", "Exp", "Floor", "Neg", "Reciprocal", "Sqrt"])
def test_files_of_the_first_opset_are_read_for_one_input(op_type):
    x = np.float32([1, 4, 2.5])
    np.testing.assert_array_equal(
        load_onnx(model(op_type, 1, 1))(x).numpy(), load_onnx(model(op_type, 13, 1))(x).numpy()
    )


def test_the_old_forms_of_shape_operators_are_read():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for op_type, attributes, expected in [
        ("Reshape", {"shape": [3, -1]}, x.reshape(3, 2)),
        ("Cast", {"to": "INT32"}, x.astype(np.int32)),
        ("Concat", {}, x),
        ("Pad", {"paddings": [0, 1, 0, 0]}, np.pad(x, ((0, 0), (1, 0)))),
        ("Slice", {"starts": [1], "ends": [2]}, x[1:2]),
        ("Split", {"split": [2]}, x),
        ("Clip", {"max": 2.0}, np.minimum(x, 2)),
    ]:
        np.testing.assert_array_equal(load_onnx(model(op_type, 1, 1, **attributes))(x).numpy(), expected)


def test_h183_a_file_whose_shapes_ask_for_too_much_is_refused():
    shape = onnx.numpy_helper.from_array(np.array([2**20, 2**20]), "shape")
    node = helper.make_node("ConstantOfShape", ["shape"], ["y"], name="huge")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_model(helper.make_graph([node], "g", [], [output], [shape]), ir_version=8)
    made.opset_import[0].version = 21
    with pytest.raises(OnnxError, match=r"^ConstantOfShape 'huge': a result of shape \(1048576, 1048576\) takes"):
        load_onnx(made.SerializeToString())()
