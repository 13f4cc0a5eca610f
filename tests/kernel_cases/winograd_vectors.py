"""What drives the vector code of tiles, with a stand-in for that code: sums by the definition, every size checked."""

from contextlib import contextmanager

import numpy as np
import pytest

from tinygrad_cnn.kernels import compiled, packing, parallel, tiles, winograd

from . import case
from .winograd import IMAGES, A, B, Blocks, F, near, outlier, solved

LANES, PANEL = 4, 8


class Standin:
    """In place of vectors.py. blocks: which were asked for; packed: how often kernels were."""

    LANES, PANEL = LANES, PANEL

    def __init__(self):
        self.blocks, self.packed = [], 0

    def kernels_to_tiles(self, w, channels, u):
        panels, c, lanes = u.shape[1:]
        assert (w.shape, u.dtype, len(u)) == ((panels, 9, c, lanes), F, 36)
        k, last = channels
        self.packed += not k
        u[:, :, k:last] = np.einsum("fk,pkcl->fpcl", np.kron(tiles.G, tiles.G), w[:, :, k:last])

    def correlate_tiles(self, x, blocks, tw, corner, u, bias, y, room, seen):
        oh, ow, o = y.shape[1:]
        panels, channels, lanes = u.shape[1:]
        assert (lanes % LANES, panels, bias.shape) == (0, -(-o // lanes), (panels * lanes,))
        kernels = u.transpose(0, 2, 1, 3).reshape(36, channels, panels * lanes)
        for _, places, v, m in self._each(blocks, tw, (oh, ow), room, x, corner, channels, panels * lanes, seen):
            m[:] = np.einsum("ftc,fco->fto", v, kernels).reshape(36, -1)
            for t, (n, i, j) in enumerate(places):
                tile = m.reshape(6, 6, len(places), -1)[:, :, t]
                part = y[n, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                found = np.einsum("pa,abo,qb->pqo", A, tile, A) + bias
                part[:] = found[: part.shape[0], : part.shape[1], :o]

    def correlate_tiles_weights(self, x, g, blocks, tw, corner, lanes, du, room, seen, seen_g):
        oh, ow, o = g.shape[1:]
        channels, outputs = du.shape[1:]
        assert (lanes % LANES, outputs) == (0, -(-o // lanes) * lanes)
        for block, places, v, m in self._each(blocks, tw, (oh, ow), room, x, corner, channels, outputs, seen):
            n0, n1, r0, r1 = block
            _sizes(g[n0:n1, 4 * r0 : 4 * r1], seen_g[n0:n1, r0])
            wide = np.zeros((len(g), 4 * r1, 4 * tw, outputs))
            wide[:, :oh, :ow, :o] = g[:, : 4 * r1]
            spread = m.reshape(6, 6, len(places), outputs)
            for t, (n, i, j) in enumerate(places):
                given = wide[n, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                spread[:, :, t] = np.einsum("pa,pqo,qb->abo", A, given, A)
            du += np.einsum("ftc,fto->fco", v, spread.reshape(36, len(places), outputs))

    def _each(self, blocks, tw, out, room, x, corner, channels, outputs, seen):
        """Every block, the places of its tiles, and memory for them: in, filled, and out."""
        padded, v, m, spare, zeros = room
        assert (out[1] + 3) // 4 == tw
        assert [a.dtype for a in room] == [F, F, F, F, np.int64]
        assert (len(v), len(m), spare.shape, zeros.tolist()) == (36, 36, (16 * LANES,), [0] * PANEL)
        for block in blocks.tolist():
            self.blocks.append(block)
            n0, n1, r0, r1 = block
            assert 4 * (r1 - 1) < out[0]
            places = [(n, i, j) for n in range(n0, n1) for i in range(r0, r1) for j in range(tw)]
            assert len(padded) >= (4 * (r1 - r0) + 2) * (4 * tw + 2) * max(channels, outputs)
            top, left = corner
            wide = np.zeros((len(x), top + x.shape[1] + 4 * r1, left + x.shape[2] + 4 * tw, channels))
            wide[:, top : top + x.shape[1], left : left + x.shape[2], : x.shape[3]] = x
            pixels, result = v[:, : len(places) * channels], m[:, : len(places) * outputs]
            result[:] = np.nan
            tiled = pixels.reshape(6, 6, len(places), channels)
            for t, (n, i, j) in enumerate(places):
                d = wide[n, 4 * i : 4 * i + 6, 4 * j : 4 * j + 6]
                tiled[:, :, t] = np.einsum("ap,pqc,bq->abc", B, d, B)
            last = x.shape[1] if r1 == seen.shape[1] else 4 * r1
            _sizes(x[n0:n1, 4 * r0 : last], seen[n0:n1, r0])
            yield block, places, pixels.reshape(36, len(places), channels), result


def _sizes(x, seen):
    size = abs(x.astype(float)).reshape(len(x), -1)
    seen[:, 0] += size.sum(1)
    seen[:, 1] += (size * size).sum(1)
    seen[:, 2] = np.maximum(seen[:, 2], size.max(1, initial=0))


@contextmanager
def standing_in(block):
    """Blocks of so many bytes, and scratch memory that is the same under the same name."""
    code, memory = Standin(), {}

    def scratch(name, size, dtype=F):
        whole = memory.setdefault(name, np.full(2**18, 99, np.uint8))
        return whole[: size * np.dtype(dtype).itemsize].view(dtype)

    with Blocks(block, "BLOCK"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "vectors", lambda: code)
        patch.setattr(compiled, "available", lambda: True)
        patch.setattr(parallel, "scratch", scratch)
        patch.setattr(packing, "_kept", {})
        yield code


def once(code, made):
    assert sorted(code.blocks) == made.blocks.tolist()
    code.blocks.clear()


@case("winograd", *[(at, block) for at in range(len(IMAGES)) for block in (1, 20000, 2**19)])
def vector_code_is_asked_for_every_block_once(at, block):
    x, w, b, g, corner, out, y, dw, dx = solved(at)
    back, size = (2 - corner[0], 2 - corner[1]), x.shape[1:3]
    with standing_in(block) as code:
        for bias, keep in ((b, False), (None, True), (b, True), (b, True)):
            found, rest = winograd.forward(x, w, bias, corner, out, keep=keep)
            near(found, y if bias is not None else y - b)
            assert rest.tolist() == []
            once(code, winograd.Tiles(x.shape, (*out, len(w))))
        assert code.packed == 3
        near(winograd.weight_grad(x, g, corner), dw)
        once(code, winograd.Tiles(x.shape, g.shape[1:], winograd.LEAST))
        found, rest = winograd.forward(g, w, None, back, size, turned=True)
        near(found, dx)
        assert (code.packed, len(packing._kept), rest.tolist()) == (4, 1, [])


@case("winograd", (4,), (5,))
def kernels_are_kept_for_both_directions_and_blocks_have_memory_of_their_own(channels):
    rng = np.random.default_rng(channels)
    x, g = (rng.standard_normal((2, 5, 6, channels)).astype(F) for _ in range(2))
    w = rng.standard_normal((channels, channels, 3, 3)).astype(F)
    with standing_in(20000) as code:
        for _ in range(2):
            found = [winograd.forward(a, w, None, (1, 1), (5, 6), turned=turned, keep=True)[0]
                     for a, turned in ((x, False), (g, True))]  # fmt: skip
        found.append(winograd.weight_grad(x, g, (1, 1)))
        assert code.packed == 2
    wanted = [
        winograd.forward(x, w, None, (1, 1), (5, 6))[0],
        winograd.forward(g, np.ascontiguousarray(w[:, :, ::-1, ::-1].swapaxes(0, 1)), None, (1, 1), (5, 6))[0],
        winograd.weight_grad(x, g, (1, 1)),
    ]
    for one, other in zip(found, wanted, strict=True):
        near(one, other)


@case("winograd", (1,), (2**21,))
def what_vector_code_sees_is_judged(block):
    x, w, _, g, corner, out, *_ = solved(0)
    broken, spoilt = outlier(x, 1e6, 1, 8), outlier(g, 1e6, 1, 8)
    with standing_in(block):
        assert winograd.forward(broken, w, None, corner, out)[1].tolist() == [1]
        assert winograd.forward(broken, w, None, corner, out, trust=True)[1].tolist() == []
        assert winograd.weight_grad(broken, g, corner) is None
        assert winograd.weight_grad(x, spoilt, corner) is None
        assert winograd.weight_grad(broken, spoilt, corner, trust=True) is not None


@case("winograd", (3, 9), (9, 3))
def there_is_room_for_the_largest_block(c, o):
    with standing_in(144 * (12 + 12) * 8):
        made = winograd.Tiles((3, 30, 11, c), (29, 10, o))
        assert (made.lanes, made.panels, made.o, made.c) == (4 if o == 3 else 8, 1 if o == 3 else 2, *(
            (4, 12) if o == 3 else (16, 4)))  # fmt: skip
        assert [a.shape for a in made.room()] == [
            ((4 * made.rows + 2) * 14 * max(made.c, made.o),),
            (36, made.rows * 3 * made.c + 16),
            (36, made.rows * 3 * made.o + 16),
            (64,),
            (8,),
        ]
        assert 1 < made.rows < 8
        assert made.rows == max(r1 - r0 for _, _, r0, r1 in made.blocks.tolist())
