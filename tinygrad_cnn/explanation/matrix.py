"""A convolution written as the matrix that it is: sparse, and of few weights that are repeated in blocks."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import as_array
from ..geometry import conv2d_geometry
from ..graph import Array, Tensor
from ..shapes import ShapeError, is_int
from . import matrix_picture
from .table import place, shown_number

__all__ = ["ConvMatrix", "Counts", "conv2d_matrix"]

Shape = tuple[int, ...]


class Counts(NamedTuple):
    """How many weights there are: of a dense layer, of the connections that are left, and of different ones."""

    dense: int
    connections: int
    shared: int


@dataclass(frozen=True, eq=False)
class ConvMatrix:
    """A sparse matrix whose entries share weights: entry k stands in rows[k], cols[k] and is data[k].

    which: for each entry, the flat index of its weight: data = weight.ravel()[which]. Sorted by row, then by column.
    row_shape, col_shape: what a row and a column stand for, as (channel, row, column) of an image.
    `M @ v` takes v of as many real numbers as there are columns, in any shape, and gives a vector: of floats summed in
    float64, of integers exact as far as their dtype goes.
    """

    rows: Array
    cols: Array
    data: Array
    which: Array
    weight: Array
    row_shape: Shape
    col_shape: Shape
    row_name: str = "y"
    col_name: str = "x"

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return int(np.prod(self.row_shape)), int(np.prod(self.col_shape))

    @property
    def counts(self) -> Counts:
        """Weights of a dense layer of this shape, connections, and different weights."""
        rows, cols = self.shape
        return Counts(rows * cols, len(self.data), self.weight.size)

    @property
    def T(self) -> "ConvMatrix":
        """The transpose: the matrix of conv_transpose2d, and of the gradient for the image."""
        order = np.lexsort((self.rows, self.cols))
        return ConvMatrix(
            rows=self.cols[order],
            cols=self.rows[order],
            data=self.data[order],
            which=self.which[order],
            weight=self.weight,
            row_shape=self.col_shape,
            col_shape=self.row_shape,
            row_name=self.col_name,
            col_name=self.row_name,
        )

    def dense(self) -> Array:
        """The whole matrix, zeros included."""
        out = np.zeros(self.shape, self.data.dtype)
        out[self.rows, self.cols] = self.data
        return out

    def __matmul__(self, v: Any) -> Array:
        flat = np.asarray(v.array if isinstance(v, Tensor) else v).ravel()
        if flat.size != self.shape[1]:
            raise ShapeError(
                f"ConvMatrix @ v: v has {flat.size} numbers, the matrix has {self.shape[1]} columns, one for each of "
                f"{self.col_name} {self.col_shape}"
            )
        if flat.dtype.kind not in "biuf":
            raise TypeError(f"ConvMatrix @ v: v is {flat.dtype}; real numbers are needed: floats, integers or booleans")
        products = self.data * flat[self.cols]
        if products.dtype.kind == "f" and products.dtype.itemsize <= 8:
            return np.bincount(self.rows, products, self.shape[0]).astype(products.dtype, copy=False)
        sums = np.zeros(self.shape[0], products.dtype)
        np.add.at(sums, self.rows, products)
        return sums

    def letters(self) -> list[str]:
        """What each weight is called in tables and pictures: a to z, or a number where there are more."""
        n = self.weight.size
        return [chr(ord("a") + k) for k in range(n)] if n <= 26 else [str(k) for k in range(n)]

    def legend(self) -> list[str]:
        """a = w[0,0,0,0] = 1.5, for each weight."""
        named = zip(self.letters(), np.ndindex(self.weight.shape), strict=True)
        return [f"{letter} = {place('w', at)} = {shown_number(float(self.weight[at]))}" for letter, at in named]

    def svg(self) -> str:
        """A picture: one colour for each weight, its letter where there is room, lines between the blocks.

        Raises ValueError above a hundred thousand connections.
        """
        return matrix_picture.svg(self)

    def _repr_svg_(self) -> str | None:
        return self.svg() if len(self.data) <= matrix_picture.MOST else None

    def __str__(self) -> str:
        return matrix_picture.text(self)

    def __repr__(self) -> str:
        return f"<ConvMatrix {self.shape[0]}x{self.shape[1]}, {len(self.data)} connections>"


def conv2d_matrix(
    weight: Any, input_shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> ConvMatrix:
    """The matrix M with conv2d(x, weight).ravel() = M @ x.ravel() for one image: doubly block Toeplitz at stride 1.

    (o c/groups kh kw), (c h w) or (h w) -> (o*oh*ow, c*h*w)

    The gradient for the image is M.T @ (the gradient of the output), and conv_transpose2d is M.T @ x.

        >>> import tinygrad_cnn as tg
        >>> M = tg.conv2d_matrix([[[[1.0, 2.0], [3.0, 4.0]]]], (3, 3))
        >>> M.counts
        Counts(dense=36, connections=16, shared=4)
        >>> print(M)
        conv2d as a 4 x 9 matrix: 36 weights if dense, 16 connections, 4 different weights
          a b · c d · · · ·
          · a b · c d · · ·
          · · · a b · c d ·
          · · · · a b · c d
          a = w[0,0,0,0] = 1
          b = w[0,0,0,1] = 2
          c = w[0,0,1,0] = 3
          d = w[0,0,1,1] = 4

    stride, padding, dilation, groups: as for conv2d. A connection to the padding is no entry.

    Raises ShapeError where conv2d does, and for a batch.
    Source: Dumoulin & Visin, A guide to convolution arithmetic for deep learning (2016), section 4.1.
    """
    w = as_array(weight.array if isinstance(weight, Tensor) else weight)
    shape = _image_shape(input_shape, w, groups)
    at = conv2d_geometry((1, *shape), w.shape, stride, padding, dilation, groups)
    filters, channels, kh, kw = w.shape
    (oh, ow), (h, width) = at.out, at.size
    o, i, j = np.ogrid[:filters, :oh, :ow]
    first = o // (filters // at.groups) * channels  # of the group's channels
    rows, cols, which = [], [], []
    for c, p, q in np.ndindex(channels, kh, kw):
        r = i * at.stride[0] - at.padding[0][0] + p * at.dilation[0]
        s = j * at.stride[1] - at.padding[1][0] + q * at.dilation[1]
        inside = np.broadcast_to((r >= 0) & (r < h) & (s >= 0) & (s < width), (filters, oh, ow))
        rows.append(np.broadcast_to((o * oh + i) * ow + j, inside.shape)[inside])
        cols.append(np.broadcast_to(((first + c) * h + r) * width + s, inside.shape)[inside])
        which.append(np.broadcast_to(((o * channels + c) * kh + p) * kw + q, inside.shape)[inside])
    row, col, index = map(np.concatenate, (rows, cols, which))
    order = np.lexsort((col, row))
    row, col, index = row[order], col[order], index[order]
    return ConvMatrix(row, col, w.ravel()[index], index, w, at.out_shape[1:], shape)


def _image_shape(given: Any, w: Array, groups: int) -> Shape:
    """(c, h, w) of one image."""
    shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not all(map(is_int, shape)):
        raise TypeError(f"conv2d_matrix: input_shape is {given!r}; a tuple of ints is needed: (c, h, w) or (h, w)")
    if w.ndim != 4:
        raise ShapeError(f"conv2d_matrix: the weight has shape {w.shape}, needs (o, c/groups, kh, kw)")
    if len(shape) == 2:
        return w.shape[1] * groups, *shape
    if len(shape) == 4 and shape[0] == 1:
        return shape[1:]
    if len(shape) != 3:
        raise ShapeError(
            f"conv2d_matrix: input_shape is {shape}; the matrix is that of one image, (c, h, w) or (h, w); "
            "leave out the batch"
        )
    return shape
