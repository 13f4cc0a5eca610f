"""Models of ONNX made in memory, as other tools would write them."""

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, initializers=None, opset=17, ir=8, **more):
    """A ModelProto; inputs is name -> shape (of floats), outputs are names, initializers name -> array or proto."""
    protos = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        for name, array in (initializers or {}).items()
    ]
    infos = [value(name, shape) if not hasattr(shape, "type") else shape for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "net", infos, [ValueInfoProto(name=name) for name in outputs], protos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **more)


def loaded(*args, **kwargs):
    """The module of a model."""
    from tinygrad_cnn.onnx import load_onnx

    return load_onnx(model(*args, **kwargs).SerializeToString())


def one(op_type, arrays, opset=17, outputs=1, **attributes):
    """A model of a single node, whose inputs are all given, None for one that is left out."""
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(arrays)]
    infos = {
        name: value(name, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))
        for name, array in zip(names, arrays, strict=True)
        if name
    }
    made = [f"y{i}" for i in range(outputs)]
    return model([helper.make_node(op_type, names, made, **attributes)], infos, made, opset=opset)


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def convnet(rng):
    """(ModelProto, its arrays) of a small net from images (n 2 6 7) and labels (n 1 1) to logits and a loss."""
    arrays = {
        "features.0.weight": floats(rng, 3, 2, 3, 2),
        "features.0.bias": floats(rng, 3),
        "features.1.weight": floats(rng, 3),
        "features.1.bias": floats(rng, 3),
        "features.1.running_mean": floats(rng, 3),
        "features.1.running_var": np.abs(floats(rng, 3)) + np.float32(0.5),
        "up.weight": floats(rng, 3, 2, 2, 3),
        "norm.weight": floats(rng, 2),
        "norm.bias": floats(rng, 2),
        "head.weight": floats(rng, 5, 2, 1, 1),
        "head.bias": floats(rng, 5),
    }
    names, node = list(arrays), helper.make_node
    nodes = [
        node("Conv", ["x", *names[:2]], ["a"], pads=[1, 0, 1, 2], strides=[1, 2]),
        node("BatchNormalization", ["a", *names[2:6]], ["b"], epsilon=1e-3, momentum=0.75),
        node("Relu", ["b"], ["c"]),
        node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
        node("ConvTranspose", ["d", names[6]], ["e"], strides=[2, 1]),
        node("InstanceNormalization", ["e", *names[7:9]], ["f"]),
        node("LeakyRelu", ["f"], ["g"], alpha=0.25),
        node("AveragePool", ["g"], ["h"], kernel_shape=[2, 2], ceil_mode=1, strides=[2, 2]),
        node("GlobalAveragePool", ["h"], ["i"]),
        node("Conv", ["i", *names[9:]], ["logits"]),
        node("SoftmaxCrossEntropyLoss", ["logits", "labels"], ["loss"]),
    ]
    inputs = {"x": ["n", 2, 6, 7], "labels": value("labels", ["n", 1, 1], TensorProto.INT64)}
    return model(nodes, inputs, ["logits", "loss"], arrays), arrays
