"""A new op in ten lines: squareplus, a smooth relu, with its gradient rule, its sample and its proof.

    python examples/add_an_op.py

Source: Barron, Squareplus: A Softplus-Like Algebraic Rectifier (2021), eq. 1.
"""

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.testing import Draw, GradientError, check_op, gradcheck


@tg.op(method=True)
def squareplus(x, /, b=4.0):
    """(x + sqrt(x^2 + b)) / 2, elementwise; b >= 0 is the width of the bend."""
    return (x + np.sqrt(x * x + b)) / 2


squareplus.vjp(x=lambda g, out, x, b: g * out / tg.sqrt(x * x + b))


@squareplus.sample
def _(draw):
    return (draw.array(*draw.shape()),), {"b": draw.choice([4.0, 0.5])}


def main() -> None:
    x = tg.Tensor([-1.5, 0.0, 1.5], requires_grad=True)
    y = x.squareplus()
    y.sum().backward()
    print("squareplus", y.numpy())
    print("slope     ", x.grad.numpy())

    # Gradients of both orders against central differences, dtypes, memory layouts, aliasing: on 20 drawn examples.
    for seed in range(20):
        check_op(squareplus, Draw.seeded(seed))
    print("check_op: proved on 20 examples")

    # Any function of Tensors can be checked, here the op behind a convolution.
    rng = np.random.default_rng(0)
    image, w = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(4, 3, 3, 2))
    gradcheck(lambda image, w: squareplus(tg.conv2d(image, w), b=1.0), [image, w])
    print("gradcheck: right behind conv2d, too")

    # A wrong rule does not pass.
    squareplus.vjp(x=lambda g, out, x, b: g * out / tg.sqrt(x * x + 1.0))
    try:
        check_op(squareplus, Draw.seeded(0))
    except GradientError:
        print("check_op: refused a rule with b forgotten")


if __name__ == "__main__":
    main()
