"""The formula beside each gradient rule says what the rule computes, and a formula that is broken is noticed."""

import importlib
import pkgutil
from functools import cache

import numpy as np
import pytest
from kinks import KINKS

import tinygrad_cnn.ops
from tinygrad_cnn.declaration import Op, registry
from tinygrad_cnn.notation import LEGEND, parse
from tinygrad_cnn.primitive import op
from tinygrad_cnn.testing import Draw, GradientError, check_op
from tinygrad_cnn.testing.cases import Case
from tinygrad_cnn.testing.formulas import FUNCTIONS, Scene
from tinygrad_cnn.testing.properties import formulas_agree_with_the_rules

for module in pkgutil.walk_packages(tinygrad_cnn.ops.__path__, "tinygrad_cnn.ops."):
    importlib.import_module(module.name)

OURS = [declared for declared in registry.values() if declared.forward.__module__.startswith("tinygrad_cnn.")]
DIFFERENTIABLE = [declared for declared in OURS if declared.differentiable]
FORMULAS = [(declared, name) for declared in DIFFERENTIABLE for name in declared.formulas]
LONGEST = 64
SEEDS = range(25)

# Where a rule says more than its formula: the limit at a pole, or what is left out whatever it holds.
BEYOND = {
    **{
        ("chosen", op): "the formula is that of the default; another convention differs at ties and kinks alone"
        for op in ("abs", "maximum", "minimum", "clip", "amax", "amin", "power_norm")
    },
    ("H12", "pow"): "0 where x ** y is constant, though log 0 and 0 ** -1 are infinite",
    ("H3", "hardswish"): "0 up to -3 whatever the gradient of the output holds",
    **{
        ("limit", op): "the limit"
        for op in ("silu", "silu_gradient", "mish", "gelu_erf", "gelu_gradient", "gelu_tanh", "gaussian")
    },
    ("clamped", "binary_cross_entropy"): "1e-12 for x (1 - x), and -100 for a logarithm",
    ("beta-0", "smooth_l1_loss"): "the sign, 0 where x = y",
    ("vanished", "power_norm"): "1 for a norm of 0, which is too small for the dtype, beside x that are not",
    ("H40", "var"): "n - correction is at least 0",
    ("H98", "cross_entropy_of_labels"): "logits whose label is ignored may be nan",
}

# Broken formulas that mean the same.
SAME = {
    **{(name, "x", "−(0)"): "−0 is 0" for name in ("sign", "floor", "ceil", "trunc", "round", "floor_divide")},
    ("floor_divide", "y", "−(0)"): "−0 is 0",
    ("parametric_relu", "slope", "∂out · x · 1[x≤0]"): "x is 0 there",
    ("linear", "b", "(∂out)"): "to undo broadcasting is to sum over the rows; the formula says it all the same",
}


@cache
def drawn(declared: Op) -> list[tuple[Scene, int, np.ndarray]]:
    """(a call, the place of an input, the rule's gradient there) for several samples and all kinks of the op."""
    found = []
    for seed in SEEDS:
        case = Case(declared, Draw.seeded(seed))
        if case.free:
            c = case.cotangent()
            out, gradients = case.vjp(case.present(), c)
            scene = Scene(declared, case.arrays, case.params, out, c)
            found += [(scene, place, g) for place, g in zip(case.free, gradients, strict=True)]
    for kink in KINKS:
        if kink.op == declared.name and (kink.id, kink.op) not in BEYOND:
            found += at_kink(kink)
    return found


def at_kink(kink):
    arrays = [np.array(x, np.float64) for x in kink.inputs]
    with np.errstate(all="ignore"):
        out = registry[kink.op].apply(*arrays, **kink.params)
    scene = Scene(registry[kink.op], arrays, kink.params, out, np.array(kink.g, np.float64))
    return [(scene, place, np.array(g, np.float64)) for place, g in enumerate(kink.gradients) if g is not None]


def agrees(scene, place, gradient, formula=None):
    found = scene.gradient(place, formula)
    scale = np.max(np.abs(gradient[np.isfinite(gradient)]), initial=0.0)
    return found.shape == gradient.shape and np.allclose(found, gradient, 1e-10, 1e-10 * (1 + scale), equal_nan=True)


def name_of(declared, place):
    return declared.variadic or declared.inputs[place]


@pytest.mark.parametrize("declared", DIFFERENTIABLE, ids=lambda declared: declared.name)
def test_every_input_with_a_rule_has_a_formula(declared):
    with_rule = declared.inputs if declared.joint else [n for n, rule in declared.rules.items() if rule is not None]
    assert set(declared.formulas) == set(with_rule)


def test_no_input_without_a_rule_has_a_formula():
    assert [declared.name for declared in OURS if not declared.differentiable and declared.formulas] == []


@pytest.mark.parametrize("declared", DIFFERENTIABLE, ids=lambda declared: declared.name)
def test_every_formula_is_what_the_rule_computes(declared):
    seen = set()
    for scene, place, gradient in drawn(declared):
        assert agrees(scene, place, gradient), (name_of(declared, place), scene.gradient(place), gradient)
        seen.add(name_of(declared, place))
    assert seen == set(declared.formulas)


@pytest.mark.parametrize("kink", [kink for kink in KINKS if (kink.id, kink.op) in BEYOND], ids=str)
def test_rules_say_more_than_formulas_where_it_is_listed(kink):
    rows = [row for other in KINKS if (other.id, other.op) == (kink.id, kink.op) for row in at_kink(other)]
    assert not all(agrees(*row) for row in rows)


@pytest.mark.parametrize(("declared", "name"), FORMULAS, ids=lambda part: getattr(part, "name", part))
def test_every_formula_fits_on_a_card(declared, name):
    assert len(declared.formulas[name]) <= LONGEST


_SWAPPED = {
    "+": "−",
    "−": "+",
    "·": "/",
    "/": "·",
    "^": "·",
    "@": "·",
    "⋆": "⋆ᵀ",
    "⋆ᵀ": "⋆",
    "⋆ʷ": "⋆",
    "=": "≠",
    "≠": "=",
    "<": "≥≤",
    ">": "≤≥",
    "≤": "><",
    "≥": "<>",
}


def broken(text):
    """The formula with one operator swapped, one operand, function or sign dropped, or one relation turned."""
    found = [f"−({text})"]

    def put(node, new):
        found.append(text[: node.start] + new + text[node.end :])

    def source(node):
        return text[node.start : node.end]

    for e in parse(text).walk():
        inner = [source(part) for part in e.parts]
        if e.kind == "sign":
            put(e, f"({inner[0]} {_SWAPPED[e.text]} {inner[1]})")
            put(e, f"({inner[0]})")
            put(e, f"({inner[1]})")
        elif e.kind in ("minus", "transpose", "square", "index"):
            put(e, f"({inner[0]})")
        elif e.kind == "function":
            put(e, f"({inner[0]})")
            if e.text[0] == "Σ" or e.text[:4] == "mean":
                put(e, f"{'mean' if e.text[0] == 'Σ' else 'Σ'}({inner[0]})")
        elif e.kind == "number":
            put(e, f"{float(e.text) + 1}")
        elif e.kind == "indicator":
            put(e, "1")
            if len(inner) == 1:
                put(e, f"1[{'' if e.text else '¬'}{inner[0]}]")
            for i, sign in enumerate(e.text if len(inner) > 1 else ""):
                for other in _SWAPPED[sign]:
                    signs = [*e.text[:i], other, *e.text[i + 1 :], ""]
                    put(e, f"1[{''.join(part + s for part, s in zip(inner, signs, strict=True))}]")
    return found


def notices(declared, name, formula):
    for scene, place, gradient in drawn(declared):
        if name_of(declared, place) == name:
            try:
                if not agrees(scene, place, gradient, formula):
                    return True
            except Exception:  # operands that do not fit, names that are not there
                return True
    return False


@pytest.mark.parametrize(("declared", "name"), FORMULAS, ids=lambda part: getattr(part, "name", part))
def test_a_broken_formula_is_noticed(declared, name):
    wrong = broken(declared.formulas[name])
    assert [w for w in wrong if (declared.name, name, w) not in SAME and not notices(declared, name, w)] == []


def test_no_excuse_for_a_broken_formula_is_stale():
    for name, of, formula in SAME:
        assert formula in broken(registry[name].formulas[of])
        assert not notices(registry[name], of, formula)


def test_a_formula_for_what_is_no_input_is_refused(halves):
    with pytest.raises(TypeError, match=r"halves: a formula for y, but the inputs are \['x'\]"):
        halves.formula(x="∂out / 2", y="∂out")
    assert halves.op.formulas == {}


def test_formulas_may_be_declared_one_by_one_and_again(halves):
    halves.formula(x="∂out / 3")
    halves.formula(x="∂out / 2")
    assert halves.op.formulas == {"x": "∂out / 2"}


def test_a_users_op_may_do_without_a_formula_and_one_that_it_has_is_proved(halves):
    check_op(halves, Draw.seeded(3))
    halves.formula(x="∂out / 2")
    check_op(halves, Draw.seeded(3))
    halves.formula(x="∂out · 2")
    with pytest.raises(GradientError, match="the formula ∂x = ∂out · 2 is not what the rule computes: apart by"):
        check_op(halves, Draw.seeded(3))


def test_a_rule_that_is_wrong_disagrees_with_its_formula(halves):
    halves.formula(x="∂out / 2")
    halves.vjp(x=lambda g: g / 2.5)
    case = Case(halves, Draw.seeded(3))
    with pytest.raises(GradientError, match="the formula ∂x = ∂out / 2 is not what the rule computes"):
        formulas_agree_with_the_rules(case)


@pytest.fixture
def halves():
    @op
    def halves(x, /):
        return x / 2.0

    halves.vjp(x=lambda g: g / 2.0)
    yield halves
    registry.pop("halves")


X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
C = np.array([[1.0, -1.0, 2.0], [0.5, 3.0, -2.0]])


def value(formula, **params):
    """The formula evaluated for an op on X whose output is 10 X and whose cotangent is C."""
    return Scene(registry["flipped"], [X], {"axis": 1, **params}, 10 * X, C).gradient(0, formula)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("1 + 2·3", 7),
        ("8 / 2 · 2", 8),
        ("8 − 2 − 2", 4),
        ("−2²", -4),
        ("2 · 3^2", 18),
        ("2^(1 − 2)", 0.5),
        ("(1 + 2)·3", 9),
        ("exp 0 · 3", 3),
        ("x + out · 2", 21 * X),
        ("∂out · 1[x > 2]", C * (X > 2)),
        ("1[1 < x ≤ 3] + 1[x = 1] · 5", [[5, 1, 1], [0, 0, 0]]),
        ("1[¬1[x ≠ 2]]", X == 2),
        ("log x · 1[x > 1]", np.log(X)),
        ("Σ x·x + 1", (X * X).sum(1, keepdims=True) + np.ones_like(X)),
        ("Σ(x)·x", X.sum(1, keepdims=True) * X),
        ("mean x / 2", X.mean(1, keepdims=True) / 2 + 0 * X),
        ("Σ_rows x", X.sum(0) + 0 * X),
        ("x @ xᵀ @ x", X @ X.T @ X),
        ("x[shape x]", None),
        ("softmax x", np.exp(X) / np.exp(X).sum(1, keepdims=True)),
        ("axis", np.ones_like(X)),
    ],
)
def test_the_notation_means(formula, expected):
    if expected is None:
        with pytest.raises(IndexError):
            value(formula)
    else:
        np.testing.assert_allclose(value(formula), np.broadcast_to(expected, X.shape), rtol=1e-15)


def test_an_indicator_is_zero_whatever_it_is_multiplied_with():
    scene = Scene(registry["neg"], [np.array([0.0, 1.0])], {}, np.zeros(2), np.array([np.inf, 3.0]))
    assert scene.gradient(0, "∂out · 1[x > 0]").tolist() == [0.0, 3.0]
    assert scene.gradient(0, "1[x > 0] · ∂out").tolist() == [0.0, 3.0]
    assert np.isnan(scene.gradient(0, "∂out · x")[0])


def test_what_is_absent_is_a_factor_of_one_and_a_bound_that_holds():
    scene = Scene(registry["clip"], [X], {"min": None, "max": 2.5}, X, C)
    assert scene.gradient(0, "∂out · min").tolist() == C.tolist()
    assert scene.gradient(0, "∂out · 1[min ≤ x ≤ max]").tolist() == (C * (X <= 2.5)).tolist()


def test_the_gradient_of_another_input_is_its_formula():
    scene = Scene(registry["mul"], [X, X + 1.0], {}, X * (X + 1.0), C)
    assert scene.gradient(0, "∂y · 2").tolist() == (C * X * 2).tolist()


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("", "⟨here⟩"),
        ("∂out ·", "∂out ·⟨here⟩"),
        ("∂out * y", "∂out⟨here⟩ * y"),
        ("(∂out", "(∂out⟨here⟩"),
        ("∂out)", "∂out⟨here⟩)"),
        ("1[x > 0", "1[x > 0⟨here⟩"),
        ("__import__('os')", "⟨here⟩__import__('os')"),
        ("x.shape", "x⟨here⟩.shape"),
    ],
)
def test_what_is_no_formula_is_shown_where_reading_stopped(formula, shown):
    with pytest.raises(ValueError, match=r"formula: ") as caught:
        parse(formula)
    assert str(caught.value) == f"formula: {shown} cannot be read; the notation is in tinygrad_cnn.notation"


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("∂out · z", "flipped: its formula speaks of 'z', which it does not have"),
        ("∂x", "flipped: its formula speaks of '∂x', which it does not have"),
        ("eval x", r"flipped: its formula has eval\(...\); there are exp, log, sqrt"),
        ("Σ_h x", "flipped: its formula has Σ_h; there are Σ, Σ_c, Σ_rows"),
    ],
)
def test_a_name_that_the_op_does_not_have_is_named(formula, message):
    with pytest.raises(ValueError, match=message):
        value(formula)


def test_every_function_and_every_name_of_the_legend_is_used_and_nothing_else():
    used, named = set(), set()
    for declared, name in FORMULAS:
        for e in parse(declared.formulas[name]).walk():
            if e.kind == "function":
                used.add(e.text)
            elif e.kind == "name" and e.text not in declared.inputs + declared.params and e.text in LEGEND:
                named.add(e.text)
    assert named == set(LEGEND)
    assert set(FUNCTIONS) - used <= {"sqrt"}
