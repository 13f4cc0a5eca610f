"""Mutants of kernels that no test can notice, because the results stay the same, each with the reason.

Keys are patterns for whole labels: "module.function: change | line of code". What differs only in time or memory is
not a result. A pattern that excuses no living mutant any more is stale.
"""

import re

from .plain import emitted

IDLE = "the general path gives the same numbers; the short one saves time"
COSTS = "only how much is worked on at once, or how long it takes"
DTYPE = "a conversion of what has that type or value already"
SIZE = "read for its size or dtype alone, which is the same"
NEVER = "a step that is never taken: any number will do, as long as it fits an integer"
ANY = "NumPy takes any negative length for the one that it has to find"
EMPTY = "of an empty range or slice any other bounds are empty too"
TRUTH = "only its truth is asked for, and -1 and any object are true"
SQUARE = "it is squared"
PLAIN = "the same in plain Python, which is what is judged; compiled code would compute it wider"
MASKED = "a vector may be wider: its mask says how much of it counts"
ONE_PHASE = "with a stride of 1 there is one phase, which has every pixel"
OVERLAP = "vectors that overlap hold the same numbers"
CAREFUL = "a window that lies inside may be read like one that leaves the image, which costs time"
LATER = "what lies behind is written afterwards, or not read"
WIDER = "room beside it that nothing reads"
CUT = "the loop says how far a cut array is read"

EQUIVALENT: dict[str, str] = {
    r"conv_loops\.dtypes: np\.dtype\(np\.float32\) -> np\.float32 .*": DTYPE,
    r"conv_loops\._run: loop\.python if dtype\.kind == 'O' else loop -> loop\.python .*": COSTS,
    r"windows\.cells: max\(first, (.*)\) -> \1 \| return .*": EMPTY,
    r"windows\.spans: if kernel <= out: .* -> if False: .*": IDLE,
    r"windows\.spans: (kernel <= out -> kernel < out|out -> (stride|dilation|size)) \| if kernel <= out": IDLE,
    r"windows\.spans: list\(range\(kernel\)\) -> range\(kernel\) .*": "it is only read",
    r"windows\.spans: max\(seen, inside\.stop\) -> inside\.stop .*": "an earlier window never ends at an earlier cell",
    r"windows\.windows: 0 -> 1 \| (rows, columns|down, right) = .*": NEVER,
    r"windows\.padded_rows: 0 -> 1 \| part = .* \([23]\)": "what is cut off too late falls into no place of the block",
    r"norm\.fits: bool\(enough\) -> enough .*": DTYPE,
    r"norm\._is_channels_last: return .* -> return -.*": TRUTH,
    r"norm\.moments: means -> squares \| counts = .*": SIZE,
    r"norm\.moments: means - mean -> mean - means .*": SQUARE,
    r"norm\.(affine|combined): rows -> y \| _swept\(rows, .*": SIZE,
    r"norm\._moments: np\.empty\(c, np\.float32\) -> np\.empty\(c\) .* \(2\)": (
        "a mean in float64 is not rounded, so nothing is away"
    ),
    r"norm\._moments: means\[e\] - mean\[e\] -> mean\[e\] - means\[e\] .*": SQUARE,
    r"norm\._(affine|combined): centre -> \w+ \| for e in range\(len\(centre\)\)": SIZE,
    r"reduce\.sum_pairwise: x\.size <= SMALL -> x\.size < SMALL .*": COSTS,
    r"reduce\.sum_pairwise: np\.dtype\(np\.float32\) -> np\.float32 .*": DTYPE,
    r"reduce\.sum_pairwise: .* \| order = .*": (
        "axes in any order are summed right; in memory order they are read in runs"
    ),
    r"conv_im2col\.conv2d: (\(kh, kw, stride, padding, .*\) -> \(kw, kh, .*|kh -> kw|kw -> kh) \| if \(kh, .*": (
        "both are compared with 1"
    ),
    r"conv_im2col\.conv2d: b\.astype\(work\) -> b \| .*": DTYPE,
    r"conv_im2col\.conv2d: (if groups == c > 1: .*|without if groups == c > 1: .*)": IDLE,
    r"conv_im2col\.conv2d: (groups == c > 1 -> .*|1 -> 2) \| if groups == c > 1": IDLE,
    r"conv_im2col\.conv2d_input_grad: w\.reshape\(.*, kh, kw\) -> w\.reshape\(.*, kw, kh\) \| turned = .*": (
        "the last two axes are put together again"
    ),
    r"conv_im2col\.conv2d_input_grad: (after\[[01]\] -> after|0 -> 1) \| sides = .*": (
        "the padding behind is not read: size says where the windows end"
    ),
    r"conv_im2col\.conv2d_input_grad: conv2d\(.*, size\) -> conv2d\(.*, groups\) \| return .*": (
        "the sides say the same size"
    ),
    r"conv_im2col\.conv2d_\w+: .* \| (per_image|step|at_once) = .*": COSTS,
    r"norm\._step: int\(rows\.shape\[1\]\) -> rows\.shape\[1\] .*": DTYPE,
    r"conv_im2col\.conv2d_input_grad: .* \| after = .*": IDLE,
    r"conv_im2col\.conv2d_input_grad: c -> n \| if stride == .*": IDLE,
    r"conv_im2col\.conv2d_input_grad: np\.ascontiguousarray\(last\[images\], work\) -> .*": DTYPE,
    r"conv_im2col\.conv2d_input_grad: -n // step -> (-n \* step|-n) .*": "blocks beyond the last image are empty",
    r"conv_im2col\.conv2d_weight_grad: (without )?if is_product .*": IDLE,
    r"conv_im2col\.conv2d_weight_grad: .* \| (is_product = .*|if is_product .*)": IDLE,
    r"reduce\._sum_run: (int|np\.prod)\(.* -> .* \| (length|width) = .*": DTYPE,
    r"reduce\._sum_run: (width == 1 or length <= RUN -> width == 1|length <= RUN -> length < RUN) .*": IDLE,
    r"reduce\._sum_run: length > RUN -> length >= RUN .*": COSTS,
    r"reduce\._sum_run: .* \| (fold|whole) = .*": "how many lines are added as one; the sums stay in runs",
    r"reduce\._sum_run: .* \| parts = _add\(y\[:, :whole\]\.reshape\(.*": (
        "axes that are one run of memory, and are taken apart again"
    ),
    r"reduce\._sum_run: (if whole < length: .*|whole < length -> .*)": "the sum of no rest is 0",
    r"pool\.max_pool2d: .* \| with_nan = .*": IDLE,
    r"pool\.max_pool2d: (np\.array|list)\(.* -> .*": DTYPE,
    r"pool\.max_pool2d: np\.zeros\(\(\*y\.shape, len\(seen\)\), bool\) -> .*": DTYPE,
    r"pool\.max_pool2d: np\.uint8 if .* -> np\.int64 .*": COSTS,
    r"pool\.max_pool2d: 1 -> 2 \| by_rank = .*": "one place more that nothing refers to",
    r"pool\.(max_pool2d|sum_pool2d): .* \| if (ties != 'split'|channels_last\(x\)) and pool_loops\.fits\(x, kernel\)": (
        IDLE
    ),
    r"pool\.gather: x\.(transpose\(.*\)\.)?reshape\(-1\) -> x.*": "np.take reads it flat anyway",
    r"pool\.scatter: .* \| wide = .*": "in float64 what is in float64, or added to nothing, already",
    r"pool\.scatter: c > 1 -> c >= 1 .*": IDLE,
    r"pool\.sum_pool2d: (without )?if channels_last\(x\) .*": IDLE,
    r"pool\.sum_pool2d: x -> kernel \| across = .*": COSTS,
    r"\w+\.\w+: compiled\.available\(\) -> compiled \| .*": TRUTH,
    r"conv_im2col\.conv2d_weight_grad: x -> g \| n = len\(x\)": SIZE,
    r"conv_im2col\.conv2d_weight_grad: False -> True \| return sum_pairwise.*": "it is reshaped",
    r"conv_im2col\.conv2d_weight_grad: (without )?if groups == c > 1.*": IDLE,
    r"conv_im2col\.conv2d_weight_grad: .* \| if groups == c > 1": IDLE,
    r"conv_im2col\.(conv2d_weight_grad|_matrix): np\.ascontiguousarray\(.* -> .*": DTYPE,
    r"conv_im2col\.(conv2d_weight_grad|_matrix): \w+\.reshape\(.*kh, kw.* -> \w+\.reshape\(.*kw, kh.*": (
        "the two axes are put together again"
    ),
    r"conv_im2col\._planes: return .* -> return -.*": TRUTH,
    r"conv_im2col\._planes: x\.flags.* -> .* \| return .*": IDLE,
    r"conv_im2col\.Columns\.__init__: .* \| (per_row|images|height) = .*": COSTS,
    r"conv_im2col\.Columns\.__getitem__: (without )?if self\.(kernel ==|_compiles).*": IDLE,
    r"conv_im2col\.Columns\.__getitem__: .* \| if self\.kernel == .*": IDLE,
    r"conv_im2col\.Columns\.__getitem__: .* \| last = self\.last if .*": COSTS,
    r"conv_im2col\.Columns\.__getitem__: seen -> split \| .*": SIZE,
    r"conv_im2col\._by_pixel: .* \| fits = .*": IDLE,
    r"conv_im2col\._by_pixel: if fits: .* -> if False: .*": IDLE,
    r"conv_im2col\._by_(pixel|depth): .* \| (cells|run|cells\[.*\]) = .*": LATER,
    r"conv_im2col\._by_depth: .* \| if (first|stop) < ow and .*": "beyond the last window there is nothing to cut",
    r"conv_im2col\._by_depth: if sw == 1: .* -> if False: .*": IDLE,
    r"conv_im2col\._by_depth: inside -> run \| .*": SIZE,
    r"reduce\._sum_run: parts\.shape -> parts\.shape\[::-1\] .*": "of three axes the second",
    r"reduce\._sum_run: (np\.asarray\()?_add\(y, 1, dtype\)\)? -> .*": DTYPE,
    r"pool\.max_pool2d: if channels_last\(code\): .* -> if .*": IDLE,
    r"pool\.sum_pool2d(_input_grad)?: .* \| (across|down) = .*": COSTS,
    r"pool\.sum_pool2d_input_grad: kernel -> size \| if pool_loops.*": IDLE,
    r"pool\.pool_counts: np\.array\(.* -> .*": DTYPE,
    r"pool\._equal: same \| \(x != x\) if with_nan else same -> .*": IDLE,
    r"pool\._add_at: (without )?if distinct: .*": IDLE,
    r"pool_loops\.\w+: _in_spans\(.*\) -> _in_spans\(.*": "blocks beyond the last image are empty",
    r"pool_loops\.scatter: (g -> winners|total -> flat) \| .*": SIZE,
    r"pool_loops\.scatter: if wide: .* -> if True: .*": "it is the same memory",
    r"pool_loops\._steps: .* \| strides = .*": NEVER,
    r"pool_loops\._in_spans: 1 -> 2 \| step = .*": COSTS,
    r"pool_loops\._maxima: (y -> winners|rows -> columns) \| .*": SIZE,
    r"pool_loops\._maxima: 3 -> 4 \| at = .*": "one place more",
    r"pool_loops\._maxima: cells -> k \| at\[k\] = .*": "the place before it holds the same",
    r"pool_loops\._maxima: range\(0, cells, 4\) -> .*": "a cell that comes again changes nothing",
    r"pool_loops\._maxima: 0 -> 1 \| begun = .*": "k is a multiple of 4",
    r"pool_loops\._add: (g\.shape -> g\.shape\[::-1\]|g -> winners) \| for .*": SIZE,
    r"pool_loops\._add: np\.uint64\(cells\) -> cells .*": DTYPE,
    r"pool_loops\._add: (wrong \+= 1 -> wrong (-= 1|= 1)|1 -> 2 \| wrong \+= 1|return wrong -> return -wrong)": TRUTH,
    r"pool_loops\._add: if distinct: .* -> if False: .*": IDLE,
    r"sweeps\.\w+: (x -> (keep|where|y)|\w+\.shape -> \w+\.shape\[::-1\]) \| .*": SIZE,
    r"sweeps\.masked: in_one_order\(x, keep\) or .* \| flat = .*": COSTS,
    r"sweeps\.masked: x\.dtype\.type\(0\) -> 0 .*": DTYPE,
    r"sweeps\.masked_positive: (without )?if .*": IDLE,
    r"sweeps\.masked_positive: .* \| (if x\.size|if flat|flat =) .*": IDLE,
    r"sweeps\.rectified: _rectify if .* -> .*": IDLE,
    r"sweeps\.rectified: _ZEROS\.get\(x\.dtype, 0\) -> 0 .*": DTYPE,
    r"sweeps\.added: in_one_order\(x, y\) -> in_one_order\(y, x\) .*": "a sum has no order",
    r"sweeps\._masked: (without )?if compiled\.available\(\): .*": IDLE,
    r"sweeps\.masked_by_bits: np\.dtype\((.*)\) -> \1 .*": DTYPE,
    r"sweeps\.masked_by_bits: np\.bitwise_and\(.* -> np\.bitwise_and\(.*": COSTS,
    r"packing\.lanes_of: int\(next.* -> next.*": DTYPE,
    r"packing\.kept: .* \| (place|values) = .*": "any name of the same array, whose values are compared anyway",
    r"packing\.kept: _same\(found\[0\], values\) -> _same\(values, found\[0\]\) .*": "equality has no order",
    r"packing\._bytes_kept: list\(_kept\.values\(\)\) -> .*": "for when another thread is at it too",
    r"packing\.kept: .* \| (if len\(_kept\) > 1 and .*|_kept\.pop\(next\(.*)": "for when another thread is at it too",
    r"packing\._same: (return .* -> return -.*|bool\((.*)\) -> \2 .*)": TRUTH,
    r"packing\._same: zip\(old, new, strict=True\) -> zip\(new, old, .*": "equality has no order",
    r"packing\.packed: np\.(ascontiguousarray|array)\(.* -> .*": DTYPE,
    r"packing\._unpack: taps -> _ \| .*": SIZE,
    r"normal\.share_below: 30\.0 -> 31\.0 .*": "beyond either the tail is 0",
    r"normal\.share_below: .* \| if x\.dtype == np\.float64 and .*": "about there both approximations are right",
    r"normal\._tail: .* \| if y\.dtype == np\.float64 and .*": "about there both approximations are right",
    r"normal\.erf: 30\.0 -> 31\.0 .*": "beyond either it is 1",
    r"normal\.erf: 1\.0 - _tail\(y\) -> _tail\(y\) - 1\.0 .*": "copysign takes the sign of x",
    r"normal\.erf: y <= 0\.46875 -> y < 0\.46875 .*": "at the seam both approximations are right",
    r"normal\.share_below: x > 0 -> x >= 0 \| above = .*": "at 0 both halves are the same",
    r"normal\.share_below: tail \* \((.*)\) -> tail / \(\1\) .*": "it is 1 or -1",
    r"normal\._ratio: y \* below\[0\] -> .*": "the first coefficient below is 1",
    # activations, conv_depthwise, standardize, conv
    r"activations\.\w+: (16 -> 17|8 -> 9|2 -> 3) \| return _swept.*": COSTS,
    r"activations\._swept: if not \(flat := .* -> if True: .*": IDLE,
    r"activations\._swept: first:last -> first: \| loop\(.*": "a loop ends where y does",
    r"activations\._swept: np\.ascontiguousarray\(a\) -> a \| flat = .*": COSTS,
    r"activations\._swept: x -> y \| parallel\.spans.*": SIZE,
    r"activations\.\w+: (x|v) > 0 -> \1 >= 0 \| (above|s|y\[i\]) = .*": "at 0 both halves are the same",
    r"activations\._tail: 15\.0 -> 16\.0 .*": "beyond either exp(-a^2 / 2) is 0",
    r"activations\._tail: np\.exp\(e, out=e\) -> np\.exp\(e\) .*": COSTS,
    r"activations\._gelu(_gradient)?_by_numpy: if x\.dtype == np\.float64: .* -> if True: .*": (
        "what is right for float64 is right for float32, and slower"
    ),
    r"activations\._gelu(_gradient)?_by_numpy: (15|40)\.0 -> (16|41)\.0 .*": "beyond either the tail is 0",
    r"activations\._gelu_gradient_by_numpy: np\.clip\(x, -40\.0, 40\.0\) -> np\.clip\(-40\.0, x, 40\.0\) .*": (
        "the larger of two numbers, in any order"
    ),
    r"activations\._silu_by_numpy: (np\.(negative|divide)\((.*), out=z\) -> np\.\2\(\3\)|z -> d) \| .*out=z\).*": COSTS,
    r"activations\._silu(_gradient)?_by_numpy: 800\.0 -> 801\.0 .*": "beyond either exp is 0",
    r"activations\._hardswish(_by_numpy)?: 3(\.0)? -> 4(\.0)? \| (s \*= .*|y\[i\] = .*)": "it is multiplied by 0",
    r"activations\._hardswish_gradient_by_numpy: masked_by_bits\(.* -> np\.where\(.*": COSTS,
    r"activations\._(gelu|silu)(_gradient)?: (a > _FAR -> a >= _FAR|u < -_FURTHER -> u <= -_FURTHER) .*": (
        "at the bound both are the bound"
    ),
    r"activations\._(gelu|silu): v < (-_FAR|-_FURTHER) -> v <= \2 .*": "at the bound both are the bound",
    r"activations\._(gelu|silu)(_gradient)?: np\.float32\(n\) -> n .*": DTYPE,
    r"activations\._(gelu|silu)(_gradient)?: 1 -> 2 \| k1 = k >> 1": "a power of 2 in two parts, both in range",
    r"activations\._(gelu|silu)(_gradient)?: np\.int32\((k1|k - k1) \+ 127 << 23\) -> .*": PLAIN,
    r"activations\._hardswish(_gradient)?: _F\((.*)\) -> \2 .*": PLAIN,
    r"activations\._hardswish: (s < 0 -> s <= 0|s > 6 -> s >= 6|v < -3 -> v <= -3) .*": (
        "at the bound both are the bound"
    ),
    r"conv_depthwise\.\w+: block if o == c else block\.repeat\(o // c, axis=3\) -> block\.repeat\(.*": COSTS,
    r"conv_depthwise\.weight_grad: o -> c \| exact = .*": "one kernel a channel: o is c",
    r"conv_depthwise\.weight_grad: \(0, 1, 2\) -> \((1, 0, 2|0, 2, 1)\) .*": "a sum over axes in any order",
    r"conv_depthwise\.weight_grad: False -> True \| sums\[k, p, q\] = .*": "one row either way",
    r"conv_depthwise\._images_at_once: int\((.*)\) -> \1 .*": DTYPE,
    r"conv_depthwise\._images_at_once: zip\(size, corner, .* -> zip\(corner, size, .*": "a sum has no order",
    r"conv_depthwise\._forward: .* -> \(taps\[p, q\], x\[image, .*\]\) .*": "a product has no order",
    r"standardize\.standardized: apply\(c, values\[at\], out=c\) -> apply\(values\[at\], c, out=c\) .*": (
        "a product and a sum have no order"
    ),
    r"standardize\.standardized: if c is not out: .* -> if True: .*": "it is the same memory",
    r"standardize\.standardized: c -> n \| if c is not out": "it is the same memory",
    r"standardize\.input_gradient: np\.ascontiguousarray\(given\) -> given .*": COSTS,
    r"standardize\.input_gradient: if out\.dtype != block\.dtype: .* -> if True: .*": "it is the same memory",
    r"standardize\.input_gradient: centred -> known \| _deviations.*": "the mean is 0",
    r"standardize\._are_rows: return .* -> return -.*": TRUTH,
    r"standardize\._deviations: (if not centred: .* -> if False: .*|without if not centred: .*)": "the mean is 0",
    r"standardize\._deviations: mean\.astype\(x\.dtype\) -> mean .*": (
        "a mean in float64 is not rounded, so nothing is left"
    ),
    r"standardize\._deviations: if x\.dtype != mean\.dtype: .* -> if True: .*": "nothing is left of it",
    r"standardize\._deviations: \(mean - near\)\.astype\(x\.dtype\) -> mean - near .*": (
        "what is subtracted is below the last place of x, rounded or not"
    ),
    r"standardize\._inverse_std: variance\.dtype\.type\(eps\) -> eps .*": DTYPE,
    r"standardize\._like: return (.*) -> return -.*": LATER,
    r"standardize\._like: .* -> np\.empty_like\(x\) .*": COSTS,
    r"standardize\._in_blocks: x\.ndim -> x\.ndim \+ 1 .*": "one value fits into any block",
    r"standardize\._in_blocks: prod\(x\.shape\[d:\]\) <= BLOCK -> prod\(x\.shape\[d:\]\) < BLOCK .*": "the same block",
    r"standardize\._in_blocks: (outer -> length|.* -> np\.unravel_index\(k // per, outer\)) \| place = .*": IDLE,
    r"standardize\._(measure|combine): 16 -> 17 \| whole = .*": "what is in no lane is added after the lanes",
    r"standardize\._\w+: np\.empty\((\d+), x\.dtype\) -> np\.empty\(\1\) \| .*level = .*": (
        "what is rounded less is right too; as compiled code it would be slower"
    ),
    r"standardize\._\w+: (16 -> 17|1 -> 2|2 -> 3|4 -> 5) \| .*level = .*": "one place more that nothing reads",
    r"standardize\._measure: start.* \| part\[e\] \+= row\[start \+ e\]": (
        "the first mean need only be near: the deviations from it are averaged once more"
    ),
    r"standardize\._measure: row\[start \+ e\] - near -> near - row\[start \+ e\] .* \(2\)": SQUARE,
    r"standardize\._measure: np\.float64\(0\.0\) -> 0\.0 \| total = .*": "a float64 too, once it is compiled",
    r"standardize\._measure: square < 0 -> square <= 0 .*": "0 either way",
    r"standardize\._scale: row -> out \| for e in .*": SIZE,
    r"conv\.conv2d(_\w+)?: _few_products\((.*)stride, +(.*)\) -> _few_products\(\2dilation.*": (
        "both are compared with (1, 1)"
    ),
    r"conv\.conv2d: \(w\.shape\[2\], w\.shape\[3\]\) -> \(w\.shape\[3\], w\.shape\[2\]\) \| if _few_products.*": (
        "both are compared with 3"
    ),
    r"conv\.conv2d(_input_grad)?: (stride -> dilation|dilation -> stride) \| again = .*": "both are (1, 1) there",
    r"conv\.conv2d(_\w+)?: _in_vectors\((.*), (\w), (\w)\) -> _in_vectors\(\2, \4, \3\) .*": (
        "both are asked for the same"
    ),
    r"conv\._few_products: \('im2col', 'direct'\) -> \('direct', 'im2col'\) .*": "neither comes first",
    r"conv\._in_vectors: \('auto', 'direct'\) -> \('direct', 'auto'\) .*": "neither comes first",
    r"conv\._few_products: \(kernel, stride, dilation, groups\) -> \(kernel, dilation, stride, groups\) .*": (
        "both are compared with (1, 1)"
    ),
    r"conv\._(few_products|in_vectors): return .* -> return -.*": TRUTH,
    r"conv\._few_products: bool\((.*)\) -> .*": DTYPE,
    r"conv\._last: copy -> x \| parallel\.spans\(.* \(2\)": SIZE,
    # tiles and winograd
    r"tiles\.\w+_tiles: (without )?if compiled\.available\(\): .*": IDLE,
    r"tiles\.to_tiles: (4 -> 5|2 -> 3) \| width = .*": WIDER,
    r"tiles\.to_tiles: .* \| line\[:, (:left \* c|\(left \+ inside\) \* c:)\] = 0": LATER,
    r"tiles\.to_tiles: (4 -> 5|2 -> 3|r1 - r0 -> r1( \+ r0)?) \| d = .*": WIDER,
    r"tiles\.(to|spread)_tiles: (6 -> 7|4 -> 5) \| _(pixels|spread)\(.*": "one slice more that is not read",
    r"tiles\.from_tiles: np\.empty\((.*), F\) -> np\.empty\(\1\) \| out = .*": (
        "a sum of two that is rounded twice is the one that is rounded once"
    ),
    r"tiles\.from_tiles: (n1 - n0 -> n0 - n1|r1 - r0 -> r0 - r1) \| image = .*": ANY,
    r"tiles\.spread_tiles: .* \| line\[:, ow \* o:\] = 0": LATER,
    r"tiles\._spread: y -> out \| even, odd = .*": "it has just been put there",
    r"tiles\._\w+: (\w)\.shape -> \1\.shape\[::-1\] \| .*": "of three axes the second",
    r"tiles\._\w+: (start|[sz]( \+ .*)?):([sz].*) -> \1: \| .*": CUT,
    r"tiles\._\w+: 2 -> 3 \| (y[03], \w+, \w+|l0, l1|out) = .*": CUT,
    r"tiles\._\w+: 3 -> 4 \| (y[03], \w+, \w+|l2, l3|out) = .*": CUT,
    r"tiles\._(from|spread)_tiles: 4 -> 5 \| (l2, l3|out) = .*": CUT,
    r"winograd\.(forward|weight_grad): 3 -> 4 \| seen = .*": "one number more that nothing reads",
    r"winograd\.forward: (1 -> 2|1e-38 -> 1\.0) \| limit = .*": (
        "any negative number; any large one: beyond 1e19 no square is finite"
    ),
    r"winograd\.weight_grad: Tiles\(.* -> Tiles\(.*": COSTS,
    r"winograd\.weight_grad: x -> g \| seen = .*": SIZE,
    r"winograd\.weight_grad: .* \| (most|parts) = .*": COSTS,
    r"winograd\.weight_grad: parts -> total \| parallel\.run\(.*": SIZE,
    r"winograd\._kernels: (without )?if .*": IDLE,
    r"winograd\.Tiles\.__init__: image <= most -> image < most .*": "one image in a block, either way",
    r"winograd\.Tiles\.__init__: np\.array\(whole, np\.int64\) -> .*": DTYPE,
    r"winograd\._forward: np\.zeros\(o, F\) -> np\.zeros\(o\) .*": DTYPE,
    r"winograd\._(forward|weights): (tiles\.blocks\[first:last\])\.tolist\(\) -> \2 .*": COSTS,
    r"winograd\._forward_vectors: .* \| u = np\.empty\(shape, F\) if keep else .*": COSTS,
    r"winograd\._forward_vectors: list\(range\(9\)\) -> range\(9\) .*": "it is only read",
    r"winograd\._weights: np\.matmul\((.*), out=product\) -> np\.matmul\(\1\) .*": COSTS,
    r"winograd\.(measure|_refused): (without )?if compiled\.available\(\): .*": IDLE,
    r"winograd\._measure: \(lanes.* -> \(lanes.* \| sums, squares, most = .*": "which of three lines holds which sums",
    r"winograd\._measure: size > most\[e\] -> size >= .*": "of two that are equal either is the largest",
    r"winograd\._measure: n0 -> n1 \| seen\[.*": "from the end it is the same image",
    r"winograd\._refused: float\((.*)\) -> \1 .*": DTYPE,
    r"winograd\._refused: np\.zeros\(len\(seen\), np\.bool_\) -> .*": DTYPE,
    r"winograd\._judge: (False -> True|found -> n) \| found = .*": IDLE,
    r"winograd\._judge: return found -> return -found": TRUTH,
    r"winograd\._judge: seen\.shape -> seen\.shape\[::-1\] .*": "of three axes the second",
    # depthwise_vectors, pool_vectors, conv_direct, instructions, vectors
    r"depthwise_vectors\._write_tap: \(.*\) -> \(.*\) \| cell, given = .*": "a product has no order",
    r"depthwise_vectors\.forward: range\(0, c, LANES\) -> range\(0, c\) .*": OVERLAP,
    r"depthwise_vectors\.forward: (if ow - j >= AT_ONCE: .* -> if False: .*|ow - j .*-> .* \| if ow - j >= .*)": IDLE,
    r"depthwise_vectors\.forward: (sw|c|4|c \* 4|sw \* c( \* 4)?) -> .* \| _output\(.*": (
        "there is no next output, so no way to it"
    ),
    r"pool_vectors\._write_best: b\.fcmp_ordered\('ord', .* -> b\.fcmp_unordered\('ord', .*": (
        "both ask whether neither is nan"
    ),
    r"pool_vectors\.maxima: range\(0, c, LANES\) -> range\(0, c\) .*": OVERLAP,
    r"pool_vectors\.maxima: y -> winners \| oh, ow = .*": SIZE,
    r"pool_vectors\.maxima: rows -> columns \| (for k in range\(len\(rows\)\)|numbers, cells, base = ).*": SIZE,
    r"pool_vectors\.maxima: (rows -> columns|\(rows.* -> \(rows.*) \| first_row, last_row, first_column, .*": CAREFUL,
    r"pool_vectors\.maxima: (i \* sh \+ first_row( >= 0)?|i \* sh|0) -> .* \| inside = .* < h": CAREFUL,
    r"pool_vectors\.maxima: (j \* sw \+ first_column( < 0)?|j \* sw|0) -> .* \| if not inside or .* >= w": CAREFUL,
    r"pool_vectors\.maxima: last_column -> image \| if not inside or .*": CAREFUL,
    r"pool_vectors\.maxima: if not inside or .* -> if True: .*": CAREFUL,
    r"conv_direct\.fits: \(F, np\.float16\) -> .*": "either of two",
    r"conv_direct\.(conv2d|weight_grad): o -> \w+ \| lanes = lanes_of\(o\)": "any number of lanes; some are faster",
    r"conv_direct\.conv2d: list\(range\(.*\)\) -> range\(.*": "it is only read",
    r"conv_direct\.input_grad: (d -> k|s <= k -> s < k) \| whole = .*": IDLE,
    r"conv_direct\.input_grad: dilation -> stride \| whole = .*": ONE_PHASE,
    r"conv_direct\.input_grad: zip\(stride, dilation, (.*)\) -> zip\(dilation, stride, \1\) \| whole = .*": ONE_PHASE,
    r"conv_direct\.input_grad: if not whole: .* -> if True: .*": IDLE,
    r"conv_direct\.input_grad: (min\(.*\) -> size\[[01]\]|stride -> size) \| for [ij] in .*": (
        "a pixel is computed again in the phase after all others"
    ),
    r"conv_direct\.weight_grad: ow -> width \| lines, panel = .*": "more room than it takes",
    r"conv_direct\.Taps\.offsets: np\.array\(.*, np\.int64\) -> np\.array\(.*": DTYPE,
    r"conv_direct\._phase: at - p \* dilation -> p \* dilation - at \| .* \(2\)": "a multiple, whatever its sign",
    r"conv_direct\._correlate: kernels\.shape -> kernels\.shape\[::-1\] .*": "of three axes the second",
    r"conv_direct\._blocks: np\.array\(blocks, np\.int64\) -> np\.array\(blocks\) .*": DTYPE,
    r"conv_direct\._rows: int\((.*)\) -> \1 \| .*": DTYPE,
    r"instructions\.all_lanes: 32 -> 33 \| single = .*": "an integer of any width counts lanes",
    r"instructions\.all_lanes: nothing -> single \| return .*": "the second vector is not read",
    r"instructions\.store_some: b -> value \| found = .*": "both know the module",
    r"vectors\._write_block: load\(b, address, kind\) -> load\(b, address\) .*": "two vectors are whole ones",
    r"vectors\.\w+: at\(b, (.*), (\(.*\)), (\(.*\))\) -> at\(b, \1, \3, \2\) .*": "a sum has no order",
    r"vectors\._write_blocks: ('>=' -> '>'|8 -> 9) \| again = .*": "8 rows are one block either way",
    r"vectors\._write_blocks: (7 -> 8 \| blocks = .*|b\.select\(again, INT\(0\), rows\) -> rows \| rest = .*)": (
        "some rows are computed again"
    ),
    r"vectors\._write_blocks: \(\('a', 'by_row'\), .* -> .* \| moved = .*": "they are moved in any order",
    r"vectors\._write_blocks: (\(b\.shl\(.* -> .* \| first, latest = .*|'<' -> '<=' \| block\(b\.select.*)": (
        "the smaller of two numbers"
    ),
    r"vectors\._write_blocks: \(3, 2, 1\) -> .* \| for size in .*": "one of them, in any order",
    r"vectors\._write_blocks: ('>' -> '>='|LANES // 2 -> 2|2 -> 3) \| with .*b\.if_else.*": MASKED,
    r"vectors\._write_blocks: LANES // 2 -> LANES( \* 2)? \| all_rows\(1, .*": MASKED,
    r"vectors\._transform: b -> address \| added = .*": "the builder of the other part of a sum is asked",
    r"vectors\._write_sizes: '>' -> '>=' \| .*": "the larger of two numbers",
    r"vectors\._write_sizes: b\.fcmp_ordered\('>', value, .* -> b\.fcmp_unordered.*": "neither is nan",
    r"vectors\._write_sizes: 32 -> 33 \| value = .*": "an integer of any width counts lanes",
    r"vectors\._copy_padded: inside <= 0 -> inside < 0 \| .*": IDLE,
    r"vectors\._copy_padded: first -> stop \| _clear\(to, first .*": LATER,
    r"vectors\.correlate: min\(lanes, (o - p \* lanes)\) -> \1 \| _multiply.*": LATER,
    r"vectors\.correlate_weights: if panels > 1: .* -> if True: .*": IDLE,
    r"vectors\.correlate_weights: panels > 1 -> panels >= 1 .*": IDLE,
    r"vectors\._pixels_to_tiles: seen\.shape -> seen\.shape\[::-1\] .*": "of three axes the second",
    r"vectors\.correlate_tiles: (.* <= (oh|ow|o) -> .* < \2|4 -> 5|ow -> tw|k -> place) \| whole = .*": (
        "a tile that is whole may be written like one that sticks out"
    ),
    r"vectors\.correlate_tiles_weights: seen\.shape -> seen\.shape\[::-1\] .*": "of three axes the second",
    r"vectors\.correlate_tiles_weights: seen -> seen_g \| sizes = .*": SIZE,
    r"vectors\.correlate_tiles_weights: tiles -> t \| _multiply.*": "by then they are counted",
    r"instructions\.Value\.__(add|sub)__: self -> other \| .*": "both know the builder",
}

# What drives vector code is judged with it, where it can be emitted.
if emitted():
    EQUIVALENT |= {
        r"pool_loops\.max_pool2d: compiled\.pool_vectors\(\) if .* -> None \| vectors = .*": IDLE,
        r"pool_loops\.max_pool2d: (.* == .* -> .* != .*|winners -> across|4 -> 5) \| vectors = .*": IDLE,
        r"pool_loops\.max_pool2d: if vectors: .* -> if False: .*": IDLE,
        r"pool_loops\.max_pool2d: x\.dtype\.char == 'f' and .* -> .* \| vectors = .*": (
            "float32 alone has winners of four bytes, in all planes of less than 2^31 cells"
        ),
        r"pool_loops\.max_pool2d: rows -> columns \| at = .*": SIZE,
        r"conv_depthwise\.conv2d: (compiled\.depthwise_vectors\(\) .* -> None .*|if vectors: .* -> if False: .*)": IDLE,
        r"conv_depthwise\.weight_grad: (if vectors: .* -> if False: .*|without if vectors: .*)": IDLE,
        r"conv_depthwise\.weight_grad: o -> c \| rows = .*": "one kernel a channel: o is c",
    }
else:
    EQUIVALENT |= {r"pool_loops\._last: np\.ascontiguousarray\((.*)\) -> \1 \| .*": COSTS}


def reason(label: str) -> str | None:
    """Why a mutant is equivalent, or None."""
    return next((why for pattern, why in EQUIVALENT.items() if re.fullmatch(pattern, label)), None)


def stale(module: str, living: list[str]) -> list[str]:
    """The patterns for a kernel module that excuse none of its living mutants."""
    own = [pattern for pattern in EQUIVALENT if pattern.startswith(rf"{module}\.")]
    return [pattern for pattern in own if not any(re.fullmatch(pattern, label) for label in living)]
