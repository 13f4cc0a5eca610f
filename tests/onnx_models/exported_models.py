"""Functions and networks written as ONNX models, checked, run by onnxruntime and compared."""

import numpy as np
import pytest

import tinygrad_cnn as tg

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

TOLERANCE = 1e-5


def run(content, *inputs):
    """What onnxruntime computes on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((x.name for x in session.get_inputs()), inputs, strict=True)))


def read(content):
    """The model of a file, after the checker has looked at it with its shapes."""
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return model


def ops_of(content):
    """The operators of a model in order, without those that hold constants."""
    return [node.op_type for node in read(content).graph.node if node.op_type != "Constant"]


def close(got, wanted, tolerance=TOLERANCE):
    """Fail unless dtypes, shapes and, to within the tolerance, numbers are the same."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def agree(f, *makers, traced=3, batches=(1, 2, 5), tolerance=TOLERANCE, **options):
    """Export f with a batch of `traced`; for each batch onnxruntime must compute what f does. Returns the file.

    makers: shapes of images without the batch, or functions from a batch to an array.
    """
    rng = np.random.default_rng(0)

    def draw(n):
        return [maker(n) if callable(maker) else rng.normal(size=(n, *maker)).astype(np.float32) for maker in makers]

    content = tg.onnx.export(f, tuple(draw(traced)), **options)
    for n in batches:
        arrays = draw(n)
        wanted = f(*map(tg.tensor, arrays))
        for got, want in zip(run(content, *arrays), [wanted] if isinstance(wanted, tg.Tensor) else wanted, strict=True):
            close(got, want.numpy(), tolerance)
    return content
