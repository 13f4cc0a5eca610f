"""The layers without weights, under PyTorch's names: nonlinearities, dropout, flattening."""

from __future__ import annotations

import numpy as np

from ..graph import Tensor
from ..ops.layout import flatten
from ..shapes import ShapeError
from . import functional as F
from .module import Layer


class ReLU(Layer):
    """max(x, 0)"""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Sigmoid(Layer):
    """1 / (1 + exp(-x))"""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class _Along(Layer):
    def __init__(self, dim: int | None = None, *, axis: int | None = None) -> None:
        super().__init__()
        self.dim = F.one_axis(type(self).__name__, dim, axis)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Along):
    """exp(x) / sum(exp(x)) along `dim`, or `axis`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)


class LogSoftmax(_Along):
    """log(softmax(x)) along `dim`, or `axis`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)


class Softmin(_Along):
    """softmax(-x) along `dim`, or `axis`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmin(x, self.dim)


class Softmax2d(Layer):
    """softmax over the channels at each pixel: (n c h w) -> (n c h w), or without n"""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: x has shape {tuple(x.shape)}; (n, c, h, w) or (c, h, w) is needed")
        return F.softmax(x, -3)


class _Dropout(Layer):
    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: np.random.Generator | None = None) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p={p}; a probability from 0 to 1 is needed")
        self.p, self.inplace, self.generator = p, inplace, generator

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, zeros with probability p and the rest divided by 1 - p; in eval, x itself.

    generator: where the choices are drawn; the package's default generator unless given.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.inplace, generator=self.generator)


class Dropout1d(_Dropout):
    """In training, zeros for whole channels with probability p, the rest divided by 1 - p: (n c l) or (c l)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training, self.inplace, generator=self.generator)


class Dropout2d(_Dropout):
    """In training, zeros for whole channels with probability p, the rest divided by 1 - p: (n c h w)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training, self.inplace, generator=self.generator)


class AlphaDropout(_Dropout):
    """In training, selu's limit with probability p, all scaled and shifted so that mean 0 and variance 1 stay."""

    def forward(self, x: Tensor) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training, self.inplace, generator=self.generator)


class Flatten(Layer):
    """The axes from start_dim to end_dim joined into one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
