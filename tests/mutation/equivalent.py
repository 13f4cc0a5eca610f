"""Mutants that no test can notice, because the gradients stay the same, each with the reason.

Keys are patterns for whole labels. A pattern that excuses no living mutant any more is stale and fails the test.
"""

import re

COSTS = "only saves computing again what it holds"
DTYPE = "a conversion: float64 is what it is already, and the engine gives every gradient its input's dtype"
NEEDS = "also computes what nobody asked for; the engine drops it"
CONSTANT = "only compared or used as a mask, so no gradient flows through it either way"
ORDER = "the order does not matter: the axes of a sum, the two axes of a swap, the two sides of an equality"
IDLE = "the general path gives the same numbers; the short one saves time"
MESSAGE = "only named in an error message"
SIZE = "read for its size alone, which is the same"
BEYOND = "any bound will do beyond which the gradient is 0"
HOLE = "what stands where the mask selects 0 is arbitrary, as long as it is finite"

EQUIVALENT: dict[str, str] = {
    r"conv2d\.b: \(0, 2, 3\) -> .*": ORDER,
    r"conv_transpose2d\.b: \(0, 2, 3\) -> .*": ORDER,
    r"conv\._cropped: y if .* -> getitem\(y, .*": IDLE,
    r"conv\._cropped: y\.shape\[2:\] -> y\.shape": IDLE,
    r"conv\._cropped: \(h, w\) -> \(w, h\)": IDLE,
    r"conv\._cropped: (2: -> : \(2\)|2 -> 3 \(2\)|h -> shape|w -> shape)": IDLE,
    r"relu\.x: asks for x as out": "relu(x) > 0 where x > 0, nan included",
    r"elementwise\._pow_base_gradient: if isinstance\(y, .* -> if False: .*": IDLE,
    r"elementwise\._pow_base_gradient: (y -> g|y -> x)": "neither is ever a plain number: the general path is taken",
    r"elementwise\._pow_base_gradient: without if isinstance.*": IDLE,
    r"elementwise\._pow_base_gradient: g -> x \(2\)": "all of it is masked; g and x have the dtype and shape",
    r"elementwise\._pow_(base|exponent)_gradient: array_of\([xy]\) -> [xy]": CONSTANT,
    r"elementwise\._pow_(base|exponent)_gradient: 1\.0 -> 2\.0": HOLE,
    r"elementwise\._flat: return mask.* -> return -mask.*": "-0 is 0",
    r"elementwise\._share: np\.result_type\(x, y\).*": DTYPE,
    r"elementwise\._share: (x -> y|y -> x|[xy] -> at_ties) \(2\)": DTYPE,
    r"elementwise\._share: dtype\((1\.0 - )?at_ties\) -> .*": DTYPE,
    r"elementwise\._abs_gradient: select.* if at_zero else sign\(x\) -> select.*": IDLE,
    r"elementwise\._(abs|clip)_gradient: array_of\(x\) -> x": CONSTANT,
    r"elementwise\._clip_gradient: (within if at_bounds == 1 else .* -> select.*|1 -> 2)": IDLE,
    r"elementwise\._clip_gradient: within -> g \(3\)": "at a bound nothing is masked yet",
    r"elementwise\._clip_gradient: .*min, max\) -> .*max, min\)": ORDER,
    r"elementwise\.where: .*condition.*": "in the rules the condition is an array of booleans already",
    r"elementwise\.where: .*(chosen|of_tensor).*": "how a call with a Tensor for condition alone packs its result",
    r"layout\.inverse: int\(i\) -> i": "NumPy's integers are axes too",
    r"layout\._concatenate_gradient: (needs -> xs_shape|needed -> .*|getitem.* if needed else None -> .*)": NEEDS,
    r"cross_entropy_gradient\.[ph]: g\.ndim - 1 -> 1 - g\.ndim( \(2\))?": "the same axis, counted from the end",
    r"loss\._smoothing: len\(shape\) - 1 -> 1 - len\(shape\)": "the same axis, counted from the end",
    r"loss\._unreduced: (g if reduction .* -> .*|reduction -> .*)": "the factor is 1 where nothing is reduced",
    r"loss\._unreduced: np\.full\(positions, scale, g\.dtype\) -> .*": DTYPE,
    r"loss\._beside: 1 -> 2": "NumPy takes any negative length for the one that it has to find",
    r"loss\._smoothing: (not label_smoothing or weight is None|label_smoothing) -> .*": IDLE,
    r"loss\._smoothing: (np\.asarray|dtype\.type|float)\(.* -> .*": DTYPE,
    r"loss\._\w+_gradient: reduction -> (x_shape|read|label_smoothing|axis|shape|positions)": (
        "what is not 'none' is multiplied by the factor of the reduction, 1 for 'none' itself"
    ),
    r"loss\._position_scale: float\(.* -> .*": DTYPE,
    r"loss\._smoothed: target \* .* -> .*": IDLE,
    r"loss\._\w+: np\.asarray\(weight, \w+\.dtype\) -> .*": DTYPE,
    r"loss\._probabilities_\w+_gradient: x -> (target|q|d \(2\))": "read for its shape alone, which is the same",
    r"(leaky_relu|parametric_relu|hardswish|softplus|celu)\.\w+: array_of\(x\) -> x( \(2\))?": CONSTANT,
    r"activation\._(between|elu_gradient): (array_of\(x\) -> x( \(2\))?|without x = array_of\(x\))": CONSTANT,
    r"hardtanh\.x: asks for x as out": "out is at a bound where x is there or beyond",
    r"(gaussian\.x|activation\._\w+_gradient): \d+\.0 -> \d+1\.0": BEYOND,
    r"divergence(_of_logs)?\.[xy]: x -> y": SIZE,
    r"pointwise_loss\._(l1|half_squared|huber|binary|logits)_gradient: x -> y": SIZE,
    r"pointwise_loss\._smooth_l1_gradient: x -> [yd] \(2\)": SIZE,
    r"pointwise_loss\._\w+: np\.asarray\((pos_)?weight, g\.dtype\) -> .*": DTYPE,
    r"pointwise_loss\._logits_gradient: p -> pos_weight( \(2\))?": DTYPE,
    r"pointwise_loss\._hinge_gradient: (np\.asarray\(target\) -> target|slopes\.astype\(g\.dtype\) -> slopes)": DTYPE,
    r"pointwise_loss\._hinge_gradient: x -> (target|slopes) \(2\)": SIZE,
    r"pointwise_loss\._binary_gradient: (1e-12 if g\.dtype != np\.float16 else 6e-08 -> 1e-12|6e-08 -> 1\.00000006)": (
        "float16 alone, which has its case in test_pointwise_losses.py"
    ),
    r"linear\.w: transpose\(_rows\(g\), 0, 1\) -> .*": ORDER,
    r"matmul\._(left|right): transpose\((\w), -2, -1\) -> transpose\(\2, -1, -2\)( \(2\))?": ORDER,
    r"matmul\._right: -1 -> 1": "the last axis of a vector with one axis more",
    r"matmul\._rows: return reshape.* -> return -.*": "both factors of one product change sign",
    r"batch_norm_\w+\.\w: .*statistics=statistics.* -> .*": COSTS,
    r"norm\._(train_gradients|second_input_gradient): .*statistics=statistics.* -> .*": COSTS,
    r"norm\._train_gradients: (None if g\.dtype == np\.float16 .*|g\.dtype == np\.float16 -> .*)": (
        "the sums only save time; float16, where they overflow, has its case in test_norms.py"
    ),
    r"norm\._train_gradients: (needs\[\d\] -> needs( \(2\))?|.* if needs\[\d\] or needs\[\d\] else None -> .*)": NEEDS,
    r"norm\._train_gradients: _per_channel\(g\) if .*": NEEDS,
    r"norm\._train_gradients: (statistics|sums) -> shared( \(2\))?": COSTS,  # alone, shared is None
    r"norm\._axes: .* -> \(\*range\(2, ndim\), 0\)": ORDER,
    r"norm\._inverse_std: .* -> eps": DTYPE,
    r"norm\._second_input_gradient: x -> (v|g|out|y|other) \(5\)": "read for its shape alone, which is the same",
    r"norm\._running_inverse_std: np\.asarray\(var, .* -> (np\.asarray\(var\)|var)": DTYPE,
    r"norm\._running_inverse_std: np\.promote_types.* -> dtype": DTYPE,
    r"norm\._eval_\w+: .*\.astype\(g\.dtype, copy=False\) -> .*": DTYPE,
    r"norm\._eval_\w+: _running_inverse_std\(var, eps, g\.dtype\) -> .*": "variance and eps are added",
    r"norm\._eval_\w+: False -> True": "a copy that need not be made",
    r"norm\._eval_weight_gradient: (np\.asarray\(mean, g\.dtype\) -> .*|centre -> mean)": DTYPE,
    r"standardize_input_grad\.g: .*known=known.* -> .*": COSTS,
    r"standardize\._gradients: statistics -> d[xwb]": COSTS,
    r"standardize\._gradients: (needs\[\d\] -> needs|if needs\[\d\]: .* -> if True: .*)": NEEDS,
    r"adaptive_pool\._adaptive_avg_gradient: _counts\(.*\)\.astype\(g\.dtype\) -> .*": DTYPE,
    r"pool\._max_pool2d_gradient: scatter_planes.*": "'distinct' only allows a faster way",
    r"pool\._divisor: counts\.max\(\).* -> counts": "one number for all windows only saves time",
    r"pool\._avg_pool2d_gradient: .*\.astype\(g\.dtype\) -> .*": DTYPE,
    r"einsum\._contraction_gradient: (needed -> .*|.*if (not needed|False):.*)": NEEDS,
    r"layout\._stacked_gradient: (needed -> needs|getitem.* if needed else None -> .*)": NEEDS,
    r"scan\._delayed: (0 -> 1 \(3\)|\(0, 0\) -> \(0, 0\)( \(2\))?)": "what is put behind is cut off again",
    r"magnitude\._divisor: 1\.0 -> 2\.0": HOLE,
    r"magnitude\._power_norm_gradient: 1\.0 -> 2\.0( \(2\))?": HOLE,
    r"magnitude\._divisor: array_of\(x\) -> x": CONSTANT,
    r"magnitude\._std_gradient: float\(.* -> .*": DTYPE,
    r"scan\._prod_gradient: axis -> axes \(2\)": "the same axes, counted from the beginning",
    r"gather\.x: np\.zeros\(x_shape, g\.dtype\) -> np\.zeros\(x_shape\)": DTYPE,
    r"mean\.x: (count\(x_shape, axis\) or 1 -> .*|1 -> 2)": "an empty input has no element to give inf to",
    r"mean\.x: float\(.* -> .* or 1": DTYPE,
    r"norm\._count: 1 -> 2( \(2\))?": "with one value or no channel there is nothing to multiply",
    r"reduce\._var_gradient: float\(free\) -> free": DTYPE,
    r"magnitude\._power_norm_gradient: if at_zero: .* -> if True: .*": IDLE,
    r"magnitude\._power_norm_gradient: at_zero -> (x_shape|p)": IDLE,
    r"magnitude\._power_norm_gradient: array_of\((out|x)\) -> (out|x)": CONSTANT,
    r"reduce\._extremum_gradient: normalize_axes.* -> axis \(2\)": "NumPy's sum takes the axis as it was given",
    r"reduce\._one_of: 1 -> 2": "NumPy takes any negative length for the one that it has to find",
    r"reduce\._extremum_gradient: share\.astype\(values\.dtype\) -> share": DTYPE,
    r"log_softmax\.x: _axes\(axis, g\.ndim, 'log_softmax'\) -> _axes\(axis, g\.ndim\)": MESSAGE,
    r"softmax\._axes: normalize_axes\(axis, ndim, name\) -> axis": "sum takes the axis as it was given",
    r"softmax\._axes: (name -> (axis|ndim)|axis -> ndim \(2\))": MESSAGE,
    r"softmax\._axes: (ndim == 0 and axis in \(0, -1\) -> ndim == 0|\(0, -1\) -> \(-1, 0\))": (
        "the forward has refused every other axis of a 0-d array"
    ),
}


def reason(label: str) -> str | None:
    """Why a mutant is equivalent, or None."""
    return next((why for pattern, why in EQUIVALENT.items() if re.fullmatch(pattern, label)), None)


def stale(living: list[str]) -> list[str]:
    """The patterns that excuse none of the living mutants."""
    return [pattern for pattern in EQUIVALENT if not any(re.fullmatch(pattern, label) for label in living)]
