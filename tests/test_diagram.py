"""Pictures of graphs: what the text of one says."""

import math
import re

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn


def shown_norm(gradient):
    """The norm that the picture shows for a leaf with this gradient."""
    p = Tensor(np.zeros_like(gradient), requires_grad=True)
    p.grad = Tensor(gradient)
    (text,) = re.findall('‖∂‖ = ([^\\\\"]*)', tg.draw(p * 1.0).source)
    return float(text)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_norm_of_a_gradient_is_right_to_three_digits(dtype):
    g = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(dtype)
    assert math.isclose(shown_norm(g), math.hypot(*g.astype(np.float64).ravel()), rel_tol=5e-3)


@pytest.mark.parametrize(
    ("gradient", "norm"),
    [([3e300, 4e300], 5e300), ([3e-300, 4e-300], 5e-300), ([0.0, 0.0], 0.0), ([], 0.0), ([5e-324], 5e-324),
     ([1e308, 1e308, 1e308, 1e308], math.inf), ([math.inf, 1.0], math.inf), ([math.nan, 1.0], math.nan)],
)  # fmt: skip
def test_the_norm_of_a_huge_or_tiny_gradient_is_shown_whatever_numpy_is_told_to_raise(gradient, norm):
    with np.errstate(all="raise"):
        shown = shown_norm(np.array(gradient))
    assert math.isclose(shown, norm, rel_tol=0.02) or (math.isnan(shown) and math.isnan(norm))


@pytest.mark.parametrize("output", [3, None, np.ones(2), "loss", [Tensor(1.0)]])
def test_what_is_no_tensor_cannot_be_drawn(output):
    with pytest.raises(TypeError, match=f"draw: a {type(output).__name__} was given; the Tensor at the end"):
        tg.draw(output)


def test_names_are_a_dict_of_tensors():
    model = nn.Linear(2, 1)
    loss = model(Tensor(np.ones((1, 2), np.float32))).sum()
    for names in (model.named_parameters(), ["weight"], {"weight": 3}, 5):
        with pytest.raises(TypeError, match=r"as in dict\(model.named_parameters\(\)\)"):
            tg.draw(loss, names)
    assert "weight" in tg.draw(loss, dict(model.named_parameters())).source


def test_a_tensor_without_a_graph_cannot_be_drawn():
    with pytest.raises(RuntimeError, match="draw: this Tensor has no graph"):
        tg.draw(Tensor(1.0))
