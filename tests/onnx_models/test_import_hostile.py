"""Files that are damaged or mean harm: one kind of error, nothing read from elsewhere, bounded time and memory."""

import os
import random
import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")

import onnx
from import_models import floats, loaded, model, one, value
from onnx import TensorProto, helper

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, OnnxUnsupported, load_onnx
from tinygrad_cnn.onnx.errors import OnnxError as OneError

node = helper.make_node
RELU = [node("Relu", ["x"], ["y"])]


def refused(proto, match, kind=OnnxError):
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    with pytest.raises(kind, match=match) as caught:
        load_onnx(content)
    assert isinstance(caught.value, tg.CheckpointError)
    return caught.value


def raw(name="w", dims=(2, 3), kind=TensorProto.FLOAT, **fields):
    proto = TensorProto(name=name, data_type=kind, dims=dims)
    for field, content in fields.items():
        if isinstance(content, (bytes, int)):
            setattr(proto, field, content)
        else:
            getattr(proto, field).extend(content)
    return proto


def with_initializer(proto):
    return model([node("Gemm", ["x", "w"], ["y"])], {"x": [2, 2]}, ["y"], {"w": proto})


# H180, H181: external data


def external(**entries):
    proto = raw(data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        proto.external_data.add(key=key, value=text)
    return proto


opened = []  # what this process opens, names alone


@pytest.fixture(scope="module", autouse=True)
def note_what_is_opened():
    """A hook stays for good, so that it is only one."""
    watching = [True]

    def note(event, args):
        if watching and event == "open" and not isinstance(args[0], int):
            opened.append(os.fsdecode(args[0]))

    sys.addaudithook(note)
    yield
    watching.clear()


LOCATIONS = [
    "secret", "../secret", "a/../../secret", "./secret", "//etc/passwd", "/etc/passwd", "/dev/zero", "link", "hard",
    "folder/secret", "pipe", "", "secret\0x",
]  # fmt: skip


@pytest.mark.parametrize("location", LOCATIONS)
def test_H180_external_data_is_never_read(location, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        (folder / "secret").write_bytes(np.ones(6, np.float32).tobytes())
    here = tmp_path / "below"
    (here / "link").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", here / "hard")
    (here / "folder").symlink_to(tmp_path)
    os.mkfifo(here / "pipe")
    (here / "net.onnx").write_bytes(with_initializer(external(location=location)).SerializeToString())
    monkeypatch.chdir(here)
    opened.clear()
    with pytest.raises(
        OnnxError, match=r"initializer 'w' keeps its numbers outside the file \(external data\), where no"
    ):
        load_onnx(here / "net.onnx")
    assert {name for name in opened if str(tmp_path) in name} == {str(here / "net.onnx")}
    assert not [name for name in opened if name == location]


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "secret", "offset": "-1"},
        {"location": "secret", "length": str(2**50)},
        {"location": "secret", "offset": "abc", "length": "1"},
        {"location": "secret", "__class__": "x", "checksum": "y"},
        {"offset": "0"},
    ],
)
def test_H181_offsets_lengths_and_keys_of_external_data_are_not_looked_at(entries):
    refused(with_initializer(external(**entries)), r"external data")
    hidden = external(**entries)
    hidden.data_location = TensorProto.DEFAULT
    hidden.raw_data = bytes(24)
    refused(with_initializer(hidden), r"external data")


def test_H180_external_data_of_an_attribute_is_refused_too():
    """In a node that the engine knows or not."""
    proto = external(location="secret")
    constant = node("Constant", [], ["w"], value=proto)
    refused(
        model([constant, node("Gemm", ["x", "w"], ["y"])], {"x": [2, 2]}, ["y"]), r"attribute 'value'.*external data"
    )


# The file itself


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(OnnxError, match="no regular file; a file of ONNX is needed"):
            load_onnx(path)
    with pytest.raises((OnnxError, IsADirectoryError)):
        load_onnx(tmp_path)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(1 << 31)  # without taking the space
    with pytest.raises(OnnxError, match=r"the file has 2147483648 bytes; no more than 2147483647 can be one message"):
        load_onnx(tmp_path / "large.onnx")


def test_an_empty_file_and_one_without_a_graph_are_refused():
    refused(b"", "the file is empty")
    refused(onnx.ModelProto(ir_version=8), "the file has no graph")
    refused(onnx.ModelProto(ir_version=2), "the file has IR version 2; 3 to")
    refused(onnx.ModelProto(ir_version=99), "the file has IR version 99; 3 to")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x08", "a number does not end before byte 1"),
        (b"\xff" * 11, "a number does not end before byte 10"),
        (b"\x3a\x05\x0a", "byte 2 begins 5 bytes, where 1 are left"),
        (b"\x0b", "field type 3 before byte 1; 0, 1, 2 and 5 are known"),
        (b"\x12\x01\xff", "the text of 1 bytes at byte 2 is not UTF-8"),
        (b"\x0d\x01", "a number reaches 3 bytes beyond its message, to byte 5"),
    ],
)
def test_damaged_bytes_are_refused_before_they_are_parsed(content, match):
    refused(content, match)


def test_H184_every_truncation_is_refused_or_a_whole_file():
    content = with_initializer(raw(raw_data=bytes(24))).SerializeToString()
    for end in range(len(content)):
        try:
            load_onnx(content[:end])
        except OnnxError:
            continue
        pytest.fail(f"the first {end} of {len(content)} bytes were loaded")


# H182: initializers


@pytest.mark.parametrize(
    ("proto", "match"),
    [
        (raw(dims=[2**40], raw_data=bytes(16)),
         rf"of shape \({2**40},\) needs {2**42} bytes of float32, its data has 16"),
        (raw(dims=[2**40], float_data=[1.0]), rf"of shape \({2**40},\) needs {2**40} numbers, its data has 1"),
        (raw(dims=[2**62, 4], raw_data=bytes(16)), r"more than 2\*\*48 elements"),
        (raw(dims=[0, 2**62]), r"more than 2\*\*48 elements"),
        (raw(dims=[-1, 6], raw_data=bytes(24)), r"has the shape \(-1, 6\); no size may be negative"),
        (raw(dims=[-2, -3], raw_data=bytes(24)), r"has the shape \(-2, -3\); no size may be negative"),
        (raw(dims=[1] * 40, raw_data=bytes(4)), r"has 40 axes; at most 32 are supported"),
        (raw(raw_data=bytes(23)), r"needs 24 bytes of float32, its data has 23"),
        (raw(raw_data=bytes(24), float_data=[0.0] * 6), r"says its numbers twice, in raw_data and float_data"),
        (raw(int64_data=[0] * 6), r"of float32 has its numbers in int64_data; they belong in float_data or raw_data"),
        (raw(kind=99, raw_data=bytes(24)), r"has the data type 99, which ONNX does not have"),
        (raw(kind=0, raw_data=bytes(24)), r"has the data type 0, which ONNX does not have"),
        (raw(kind=8, string_data=[b"a"] * 6), r"is string; bool, integers and floats of 16 to 64 bits are supported"),
        (raw(kind=16, raw_data=bytes(12)), r"is bfloat16; bool, integers"),
        (raw(kind=17, raw_data=bytes(6)), r"is of data type 17; bool, integers"),
        (raw(kind=3, int32_data=[0] * 5 + [128]), r"of int8 holds the number 128; -128 to 127 are possible"),
        (raw(kind=9, int32_data=[0] * 5 + [2]), r"of bool holds the number 2; 0 to 1 are possible"),
        (raw(kind=10, int32_data=[0] * 5 + [-1]), r"of float16 holds the number -1; 0 to 65535 are possible"),
        (raw(name="", raw_data=bytes(24)), r"initializer number 0 without a name; each needs one"),
    ],
)  # fmt: skip
def test_H182_an_initializer_that_cannot_be_is_refused(proto, match):
    refused(with_initializer(proto), match)


def test_H182_a_segment_is_refused():
    proto = raw(raw_data=bytes(24))
    proto.segment.begin = 1
    refused(
        with_initializer(proto), "initializer 'w' is a segment of a tensor; whole tensors are needed", OnnxUnsupported
    )


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])
def test_every_dtype_is_read_from_its_bytes_and_from_its_numbers(dtype):
    rng = np.random.default_rng(3)
    array = (
        rng.integers(0, 2, 6).astype(dtype)
        if dtype == "?"
        else (rng.standard_normal(6) * 50).astype("i1").astype(dtype)
    )
    array = array.reshape(2, 3)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    flat = array.view({"f2": np.uint16, "?": np.uint8}.get(dtype, array.dtype))
    field = {"f4": "float_data", "f8": "double_data", "i8": "int64_data", "u4": "uint64_data", "u8": "uint64_data"}
    protos = {
        "a": raw("a", kind=kind, raw_data=array.tobytes()),
        "b": raw("b", kind=kind, **{field.get(dtype, "int32_data"): flat.reshape(-1).tolist()}),
    }
    net = loaded(RELU, {"x": [1]}, ["y", "a", "b"], protos)
    _, a, b = net(floats(rng, 1))
    for read in (a, b):
        assert read.dtype == array.dtype
        assert np.array_equal(read.array, array)


def test_empty_tensors_are_read():
    net = loaded(RELU, {"x": [1]}, ["y", "a"], {"a": raw("a", dims=[2, 0, 3])})
    assert net(np.ones(1, np.float32))[1].shape == (2, 0, 3)


def test_more_axes_than_arrays_have_are_refused():
    refused(model(RELU, {"x": [1] * 33}, ["y"]), r"^input 'x' has 33 axes; at most 32 are supported$")


def test_a_text_that_is_not_utf8_is_refused():
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], auto_pad=b"\xff\xfe")
    refused(model([pool], {"x": [1, 1, 2, 2]}, ["y"]), r"MaxPool 'number 0': attribute 'auto_pad' is not UTF-8")


def test_an_attribute_that_is_neither_number_nor_text_nor_tensor_is_refused():
    values, places = raw("v", [1], raw_data=bytes(4)), raw("i", [1], TensorProto.INT64, raw_data=bytes(8))
    constant = node("Constant", [], ["y"], sparse_value=helper.make_sparse_tensor(values, places, [3]))
    match = "'sparse_value' has the attribute type 11; numbers, texts and tensors are supported"
    refused(model([constant], {"x": [1]}, ["y"]), match, OnnxUnsupported)


def test_bytes_that_protobuf_alone_refuses_are_refused_in_our_words():
    content = model(RELU, {"x": [1]}, ["y"]).SerializeToString()
    field_zero = b"\x01" + bytes(8)
    refused(content + field_zero, rf"^the file of {len(content) + 9} bytes is not a readable ONNX model: ")


# H183: graphs


def chain(*names_of_nodes, outputs=("y",), inputs=None):
    return model([node("Add", *ends) for ends in names_of_nodes], inputs or {"x": [2]}, outputs)


@pytest.mark.parametrize(
    ("proto", "match"),
    [
        (model([node("Tanh", ["b"], ["a"]), node("Tanh", ["a"], ["b"])], {"x": [2]}, ["b"]),
         r"Tanh 'number 0' reads 'b', which it or a later node gives; .* a cycle has no such order"),
        (model([node("Tanh", ["a"], ["a"])], {"x": [2]}, ["a"]), r"reads 'a', which it or a later node gives"),
        (model([node("Tanh", ["z"], ["y"])], {"x": [2]}, ["y"]), r"reads 'z', which nothing gives"),
        (model([*RELU, *RELU], {"x": [2]}, ["y"]), r"gives 'y', which is given already; a name has one value"),
        (model([node("Relu", ["x"], ["x"])], {"x": [2]}, ["x"]), r"gives 'x', which is given already"),
        (model([node("Dropout", ["x"], ["y", "y"])], {"x": [2]}, ["y"]), r"gives 'y', which is given already"),
        (model(RELU, {"x": [2]}, ["z"]), r"the output 'z' is made by no node, and is no input or initializer"),
        (model(RELU, {"x": [2]}, []), r"the graph has no outputs"),
        (model(RELU, {"x": [2]}, ["y", "y"]), r"the output 'y' occurs twice"),
        (model(RELU, {"x": [-2]}, ["y"]), r"input 'x' has an axis of length -2; no size may be negative"),
        (model(RELU, {"x": [2], "": [2]}, ["y"]), r"an input of the graph has no name"),
        (model([node("Relu", ["x"], [""])], {"x": [2]}, ["x"]), r"Relu 'number 0' has no output with a name"),
        (model([node("Nothing", ["x"], ["y"])], {"x": [2]}, ["y"]), r"opset 17 of ONNX has no operator 'Nothing'"),
        (model([node("Relu", ["x"], ["y"], domain="com.else")], {"x": [2]}, ["y"]),
         r"is of the domain 'com.else'; operators of ONNX itself are supported"),
        (model([node("Upsample", ["x"], ["y"])], {"x": [2]}, ["y"]), r"Upsample is deprecated in opset 17"),
        (model(RELU, {"x": [2]}, ["y"], opset=99), r"the file has opset 99; 1 to \d+ can be read"),
        (model(RELU, {"x": [2]}, ["y"], opset=0), r"the file has opset 0; 1 to"),
        (model(RELU, {"x": [2]}, ["y"], opset=-5), r"the file has opset -5; 1 to"),
        (model(RELU, {"x": [2]}, ["y"], opset=5), r"Relu of opset 5 is not supported; convert the file to opset 7"),
        (model([node("Relu", ["x", "x"], ["y"])], {"x": [2]}, ["y"]), r"has 2 inputs; 1 are needed"),
        (model([node("Relu", [""], ["y"])], {"x": [2]}, ["y"]), r"input 0 is left out, which X may not be"),
        (model([node("Gemm", ["x"], ["y"])], {"x": [2]}, ["y"]), r"has 1 inputs; 2 to 3 are needed"),
        (model([node("Relu", ["x"], ["y", "z"])], {"x": [2]}, ["y"]), r"has 2 outputs; 1 are needed"),
        (model([node("Relu", ["x"], ["y"], alpha=1.0)], {"x": [2]}, ["y"]),
         r"attribute 'alpha' is none of Relu: it has none"),
        (model([node("LRN", ["x"], ["y"])], {"x": [2]}, ["y"]), r"the attribute 'size' is missing; LRN needs it"),
        (model([node("LRN", ["x"], ["y"], size=1.5)], {"x": [2]}, ["y"]),
         r"attribute 'size' has the attribute type 1; INT is needed"),
    ],
)  # fmt: skip
def test_H183_a_graph_that_cannot_be_run_is_refused(proto, match):
    refused(proto, match)


def test_H183_two_initializers_opsets_or_attributes_of_one_name_are_refused():
    proto = with_initializer(raw(raw_data=bytes(24)))
    proto.graph.initializer.append(proto.graph.initializer[0])
    refused(proto, "initializer 'w' occurs twice; a name has one value")
    proto = model(RELU, {"x": [2]}, ["y"])
    proto.opset_import.add(domain="ai.onnx", version=13)
    refused(proto, r"imports the opset versions \[13, 17\] of ONNX at once; one is needed")
    del proto.opset_import[:]
    refused(proto, r"the file does not say which opset of ONNX it means")
    proto = model([node("LRN", ["x"], ["y"], size=3)], {"x": [2]}, ["y"])
    proto.graph.node[0].attribute.append(proto.graph.node[0].attribute[0])
    refused(proto, "attribute 'size' occurs twice")
    proto.graph.node[0].attribute[1].name, proto.graph.node[0].attribute[1].ref_attr_name = "alpha", "z"
    refused(proto, "attribute 'alpha' refers to one of a function, but stands outside of any")


def test_H183_sparse_initializers_graphs_in_attributes_and_other_kinds_of_values_are_unsupported():
    proto = model(RELU, {"x": [2]}, ["y"])
    proto.graph.sparse_initializer.add()
    refused(proto, "the graph has sparse initializers", OnnxUnsupported)
    inner = helper.make_graph(RELU, "inner", [], [value("y")])
    branch = node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    refused(model([branch], {"x": [2]}, ["y"]), r"If 'number 0': attribute '.*_branch' is a graph", OnnxUnsupported)
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    refused(
        model(RELU, {"x": sequence}, ["y"]), r"input 'x' is a sequence; only tensors are supported", OnnxUnsupported
    )
    texts = value("x", [2], TensorProto.STRING)
    refused(model(RELU, {"x": texts}, ["y"]), r"input 'x' is string; bool, integers and floats", OnnxUnsupported)


def test_H183_a_hundred_thousand_nodes_are_run_without_recursion():
    proto = model([], {"v0": [2]}, ["v100000"])
    proto.graph.node.extend(
        onnx.NodeProto(op_type="Relu", input=[f"v{i}"], output=[f"v{i + 1}"]) for i in range(100_000)
    )
    net = load_onnx(proto.SerializeToString())
    with tg.no_grad():
        assert np.array_equal(net(np.array([-1.0, 2.0], np.float32)).array, [0.0, 2.0])


def nested(depth):
    """The bytes of a file of subgraphs in subgraphs, which protobuf itself would not write."""

    def field(number, content):
        size, length = len(content), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        return bytes([number << 3 | 2]) + bytes(length) + bytes([size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that is a graph
    return b"\x08\x08" + field(7, graph)


def test_H183_subgraphs_a_thousand_deep_are_refused_without_recursion():
    refused(nested(1000), "the file has messages in messages more than 64 deep")
    refused(nested(15), "the graph has no outputs")


def test_H183_more_fields_than_a_network_needs_are_refused_before_they_are_parsed(monkeypatch):
    """A node of two bytes takes a hundred when it is parsed."""
    from tinygrad_cnn.onnx import wire

    assert wire.MOST_FIELDS == 2_000_000
    monkeypatch.setattr(wire, "MOST_FIELDS", 5_000)
    monkeypatch.setattr(onnx, "ModelProto", Unparsed)
    content = b"\x08\x08\x3a\x90\x4e" + b"\x0a\x00" * 5_000
    refused(content, "the file has more than 5000 fields, which no network of layers needs")


class Unparsed:
    """Stands for ModelProto; it has no method that parses."""

    DESCRIPTOR = onnx.ModelProto.DESCRIPTOR


@pytest.mark.parametrize(
    ("op_type", "shapes", "attributes"),
    [
        ("MatMul", [(200_000, 1), (1, 200_000)], {}),
        ("Gemm", [(200_000, 1), (1, 200_000)], {}),
        ("Conv", [(1, 1, 2, 2), (1, 1, 2, 2)], {"pads": [30_000] * 4}),
        ("Conv", [(1, 1, 2), (1, 1, 2)], {"pads": [2**40] * 2}),
        ("ConvTranspose", [(1, 1, 50, 50), (1, 1, 2, 2)], {"strides": [2000, 2000]}),
        ("ConvTranspose", [(1, 1, 2, 2), (1, 1, 2, 2)], {"output_padding": [30_000] * 2}),
        ("ConvTranspose", [(1, 1, 2, 2), (1, 1, 2, 2)], {"output_shape": [30_000] * 2}),
        ("MaxPool", [(1, 1, 2, 2)], {"kernel_shape": [2, 2], "dilations": [40_000] * 2, "pads": [40_000] * 4}),
        ("AveragePool", [(1, 1, 2, 2)], {"kernel_shape": [2, 2], "dilations": [40_000] * 2, "pads": [40_000] * 4}),
        ("LpPool", [(1, 1, 2, 2)], {"kernel_shape": [40_000] * 2, "pads": [39_999] * 4}),
    ],
)
def test_H183_a_result_that_is_too_large_is_refused_before_memory_is_asked_for(op_type, shapes, attributes):
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    net = load_onnx(one(op_type, arrays, 21, **attributes).SerializeToString())
    tracemalloc.start()
    try:
        with pytest.raises(
            OnnxError, match=r"takes \d+ bytes, more than the limit of 2147483648; raise max_bytes if that"
        ):
            net(*arrays)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_window_over_more_channels_than_there_are_is_one_over_all():
    x = floats(np.random.default_rng(1), 2, 3, 4)
    (huge, exact) = (load_onnx(one("LRN", [x], size=n).SerializeToString())(x).array for n in (2**40, 5))
    alpha = 1e-4 / np.array([2**40, 5], np.float64)
    for out, a in zip((huge, exact), alpha, strict=True):
        np.testing.assert_allclose(out, x / (1 + a * (x.astype(float) ** 2).sum(1, keepdims=True)) ** 0.75, 1e-6)


def test_H183_all_values_of_a_run_together_are_limited():
    nodes = [node("Relu", ["x"], [f"y{i}"]) for i in range(8)]
    content = model(nodes, {"x": [1000]}, [f"y{i}" for i in range(8)]).SerializeToString()
    x = np.ones(1000, np.float32)
    assert len(load_onnx(content, max_bytes=32_000)(x)) == 8
    with pytest.raises(
        OnnxError, match=r"the values of the run take 32000 bytes by then, more than the limit of 31999"
    ):
        load_onnx(content, max_bytes=31_999)(x)


def test_what_is_freed_does_not_count_towards_the_limit():
    nodes = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(20)]
    content = model(nodes, {"v0": [1000]}, ["v20"]).SerializeToString()
    x = np.ones(1000, np.float32)
    assert load_onnx(content, max_bytes=8_000)(x).shape == (1000,)
    with pytest.raises(OnnxError, match="take 8000 bytes by then, more than the limit of 7999"):
        load_onnx(content, max_bytes=7_999)(x)


def test_an_operator_that_cannot_compute_is_named():
    net = loaded([node("MatMul", ["x", "x"], ["y"], name="product")], {"x": None}, ["y"])
    with pytest.raises(OnnxError, match=r"MatMul 'product': matmul: .*\(2, 3\)"):
        net(np.ones((2, 3), np.float32))


def test_names_are_cut_in_errors():
    error = refused(model([node("Relu", ["z" * 10**6], ["y"])], {"x": [2]}, ["y"]), "of 1000000 characters")
    assert len(str(error)) < 300
    error = refused(model([node("R" * 10**6, ["x"], ["y"], name="n" * 10**6)], {"x": [2]}, ["y"]), "has no operator")
    assert len(str(error)) < 400


# H184: random bytes


def small_net(rng):
    arrays = {"w": floats(rng, 3, 2, 3, 3), "b": floats(rng, 3), "m": floats(rng, 3), "v": np.ones(3, np.float32)}
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "b", "b", "m", "v"], ["n"]),
        node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("LRN", ["p"], ["l"], size=3),
        node("Dropout", ["l"], ["d"]),
        node("Softmax", ["d"], ["y"], axis=1),
    ]
    return model(nodes, {"x": ["n", 2, 4, 4]}, ["y"], arrays).SerializeToString()


def mutated(draw, content):
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        at, kind = draw.randrange(len(changed)), draw.randrange(6)
        if kind < 2:
            changed[at] = draw.randrange(256)
        elif kind == 2:
            changed[at] = draw.choice([0, 1, 127, 128, 255])
        elif kind == 3:
            del changed[at : at + draw.randrange(1, 20)]
        elif kind == 4:
            changed[at:at] = draw.randbytes(draw.randrange(1, 10))
        else:
            begin = draw.randrange(len(changed))
            changed[at:at] = changed[begin : begin + draw.randrange(40)]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def test_H184_mutated_bytes_raise_nothing_but_our_error():
    draw, content = random.Random(184), small_net(np.random.default_rng(0))
    counts = {"refused": 0, "ran": 0}
    for _ in range(3000):
        try:
            net = load_onnx(mutated(draw, content), max_bytes=1 << 26)
        except OnnxError:
            counts["refused"] += 1
            continue
        net.train(draw.random() < 0.5)
        sizes = [[n if isinstance(n, int) else 2 for n in value.shape or ()] for value in net._inputs]
        if any(np.prod(shape, dtype=float) > 10**6 for shape in sizes):
            continue
        given = [np.ones(shape, v.dtype or np.float32) for shape, v in zip(sizes, net._inputs, strict=True)]
        try:
            net(*given)
            counts["ran"] += 1
        except OneError:
            counts["refused"] += 1
    assert counts["refused"] > 2000
    assert counts["ran"] > 200
