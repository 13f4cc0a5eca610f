"""What the tests of hard cases share: values and gradients at given points, checked exactly."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tinygrad_cnn import Tensor, grad


def leaf(values, dtype=np.float64):
    return Tensor(np.asarray(values, dtype), requires_grad=True)


def value_and_gradients(f, *values, g=None):
    """f's value and its gradients for the cotangent g (ones unless given), all as arrays."""
    xs = [leaf(v) for v in values]
    y = f(*xs)
    got = grad(y, xs, np.ones(y.shape) if g is None else np.asarray(g, float), allow_unused=True)
    return [y.array, *(d.array for d in got)]


def check(f, values, y, *gradients, g=None):
    got = value_and_gradients(f, *values, g=g)
    for have, want in zip(got, [y, *gradients], strict=True):
        np.testing.assert_array_equal(have, np.asarray(want, float), strict=True)


def run_python(code, *flags):
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def integers(*shape, seed=0):
    """Small integers stored as floats: what is bilinear in them is exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)


def adjoint_holds(f, *arrays, seed=3):
    """<g, f'(u)> = <f'^T(g), u> exactly, for f linear in each of its arrays, at integers."""
    xs = [leaf(a) for a in arrays]
    y = f(*xs)
    g = integers(*y.shape, seed=seed)
    for i, (d, x) in enumerate(zip(grad(y, xs, g), xs, strict=True)):
        assert (d.shape, d.dtype) == (x.shape, x.dtype)
        u = integers(*x.shape, seed=seed + 1 + i)
        moved = f(*[Tensor(v.array + u) if v is x else v.detach() for v in xs]).array
        assert np.sum(g * (moved - y.array)) == np.sum(d.array * u)
    return y.array
