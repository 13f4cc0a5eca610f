"""Dtypes where rules meet 0-d arrays: float64 gradients stay float64."""

import numpy as np

from tinygrad_cnn import Tensor, exp, grad, mean


def test_a_float64_gradient_does_not_pass_through_float32_where_a_rule_meets_a_0_d_array():
    x = Tensor(np.linspace(0.1, 0.7, 7), requires_grad=True)
    mean(exp(x)).backward(np.array(1 / 3))
    np.testing.assert_allclose(x.grad.numpy(), np.exp(x.numpy()) / 21, rtol=1e-15)


def test_a_second_order_gradient_from_a_0_d_output_keeps_float64():
    x = Tensor(np.linspace(0.1, 0.7, 7), requires_grad=True)
    (g,) = grad(mean(x * x * x), x, create_graph=True)
    (h,) = grad(mean(g * g), x)
    np.testing.assert_allclose(h.numpy(), 4 * 9 * x.numpy() ** 3 / 7**3, rtol=1e-14)
