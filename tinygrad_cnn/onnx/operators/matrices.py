"""Gemm and MatMul."""

from ...graph import Tensor
from ...ops.layout import transpose
from ...ops.matmul import linear, matmul
from ...shapes import broadcast_shape
from .registry import Node, operator

__all__: list[str] = []


@operator("Gemm")
def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha A' B' + beta C, where A' and B' are transposed as transA and transB say: (n k), (k m) -> (n m)

    C broadcasts to (n m).
    """
    if a.ndim != 2 or b.ndim != 2:
        raise node.fail(f"the factors have shapes {a.shape} and {b.shape}; two axes each are needed")
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turned_a, turned_b = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    n, m = a.shape[1 if turned_a else 0], b.shape[0 if turned_b else 1]
    node.allow((n, m), a.dtype.itemsize)
    if turned_b and not turned_a and alpha == beta == 1.0 and (c is None or c.shape == (m,)):
        return linear(a, b, c)
    left = transpose(a, 0, 1) if turned_a else a
    y = matmul(left, transpose(b, 0, 1) if turned_b else b)
    if alpha != 1.0:
        y = y * alpha
    if c is None:
        return y
    if c.ndim > 2 or any(k not in (1, size) for k, size in zip(c.shape[::-1], (m, n), strict=False)):
        raise node.fail(f"C has shape {c.shape}, which does not broadcast to {(n, m)}")
    return y + (c if beta == 1.0 else c * beta)


@operator("MatMul")
def product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The matrix product over the last two axes, as NumPy's: (... n k), (... k m) -> (... n m)"""
    if a.ndim > 1 and b.ndim > 1:
        lead = broadcast_shape(a.shape[:-2], b.shape[:-2])
        node.allow((*lead, a.shape[-2], b.shape[-1]), a.dtype.itemsize)
    return matmul(a, b)
