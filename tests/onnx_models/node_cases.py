"""The node tests of the package onnx, made in memory and run on the engine's backend."""

import importlib
import pkgutil
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

# The modules of onnx.backend.test.case.node with the operators of convolutional networks.
CNN = (
    "averagepool", "batch_normalization", "celu", "conv", "convtranspose", "dropout", "elu", "gelu", "gemm",
    "globalaveragepool", "globalmaxpool", "groupnormalization", "hardmax", "hardsigmoid", "hardswish",
    "instance_normalization", "layernormalization", "leakyrelu", "logsoftmax", "lppool", "lpnormalization", "lrn",
    "matmul", "maxpool", "meanvariancenormalization", "mish", "negativeloglikelihoodloss", "prelu", "relu",
    "rmsnormalization", "selu", "sigmoid", "softmax", "softmax_cross_entropy_loss", "softplus", "softsign", "swish",
    "tanh", "thresholdedrelu",
)  # fmt: skip
# Those with the plain operators.
PLAIN = (
    "abs", "acos", "acosh", "add", "and_", "argmax", "argmin", "asin", "asinh", "atan", "atanh", "bernoulli", "bitcast",
    "bitshift", "bitwiseand", "bitwisenot", "bitwiseor", "bitwisexor", "cast", "castlike", "ceil", "center_crop_pad",
    "clip", "compress", "concat", "constant", "constantofshape", "cos", "cosh", "cumprod", "cumsum", "depthtospace",
    "div", "einsum", "equal", "erf", "exp", "expand", "eyelike", "flatten", "floor", "gather", "gatherelements",
    "gathernd", "greater", "greater_or_equal", "identity", "isinf", "isnan", "less", "less_or_equal", "log", "max",
    "mean", "min", "mod", "mul", "neg", "nonzero", "not_", "onehot", "or_", "pad", "pow", "rangeop", "reciprocal",
    "reduce_log_sum", "reduce_log_sum_exp", "reducel1", "reducel2", "reducemax", "reducemean", "reducemin",
    "reduceprod", "reducesum", "reducesumsquare", "reshape", "resize", "reversesequence", "round", "scatter",
    "scatterelements",
    "scatternd", "shape", "sign", "sin", "sinh", "size", "slice", "spacetodepth", "split", "sqrt", "squeeze",
    "sub", "sum", "tan", "tile", "topk", "transpose", "trilu", "unique", "unsqueeze", "upsample", "where", "xor",
)  # fmt: skip


@dataclass
class Report:
    """What became of each test: (its operator, its name, why it did not pass)."""

    passed: list = field(default_factory=list)
    unsupported: list = field(default_factory=list)
    failed: list = field(default_factory=list)

    def table(self):
        """Passed, unsupported and failed, by operator."""
        counts = [Counter(op for op, _, _ in found) for found in (self.passed, self.unsupported, self.failed)]
        rows = [f"{'operator':32} passed unsupported failed"]
        rows += [
            f"{op:32} {counts[0][op]:6} {counts[1][op]:11} {counts[2][op]:6}" for op in sorted(set().union(*counts))
        ]
        totals = [count.total() for count in counts]
        return "\n".join([*rows, f"{'all':32} {totals[0]:6} {totals[1]:11} {totals[2]:6}"])


_made = {}  # module of onnx.backend.test.case.node -> its cases, which are made when it is imported


def cases(modules=None):
    """The cases of these modules of onnx.backend.test.case.node, as far as the installed onnx has them, or of all."""
    from onnx.backend.test.case import node

    there = [module.name for module in pkgutil.iter_modules(node.__path__)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the making of the cases
        for name in there if modules is None else modules:
            if name in there and name not in _made:
                first = len(node._NodeTestCases)
                importlib.import_module(f"{node.__name__}.{name}")
                _made[name] = node._NodeTestCases[first:]
    return [case for name in (there if modules is None else modules) for case in _made.get(name, ())]


def run(found):
    """Prepare and run each case, and compare with its own tolerances, dtypes and shapes included."""
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    from tinygrad_cnn.onnx import backend

    operators = {case.name: case.model.graph.node[0].op_type for case in found}
    report = Report()
    for case in found:
        operator = operators.get(case.name.split("_expanded")[0], operators[case.name])
        try:
            prepared = backend.prepare(case.model)
            for inputs, outputs in case.data_sets:
                _compare(prepared.run(list(map(_array, inputs))), list(map(_array, outputs)), case)
        except BackendIsNotSupposedToImplementIt as error:
            report.unsupported.append((operator, case.name, str(error)))
        except Exception as error:
            report.failed.append((operator, case.name, f"{type(error).__name__}: {error}"))
        else:
            report.passed.append((operator, case.name, ""))
    return report


def _array(value):
    """An input or output of a case as an array; some are TensorProtos."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _compare(ours, theirs, case):
    assert len(ours) == len(theirs), f"{len(ours)} outputs, {len(theirs)} are expected"
    for one, other in zip(ours, theirs, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if "bernoulli" in case.name:  # drawn by other generators
            assert set(one.flat) <= {0, 1}
            continue
        rounding = 2 * np.finfo(np.float16).eps if other.dtype == np.float16 else 0  # each step of a test rounds
        np.testing.assert_allclose(one, other, max(case.rtol, rounding), case.atol)
