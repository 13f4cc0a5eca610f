"""One level of a layered layout: the blocks (cards and closed boxes) of one group, in layers, without overlap.

An item is what takes room in a layer: a block, an edge's label, or a line that passes. A port is the item where an
edge passes the group's border. See layout.py for how levels make a picture.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import chain, pairwise
from operator import sub
from typing import NamedTuple

NOTHING, PORT = -1, -2
LABEL_GAP = 5.0  # between a line and its label
STRAIGHT_GAP, GAP, ARROW_GAP = 8.0, 13.0, 18.0  # between a layer and the next one; an arrow head needs more
STEEPEST = 0.45  # a line that moves by d across has at least this part of d for it along
WIDEST_GAP = 80.0
LONG_EDGES = 8  # lines may pass this number of layers per block and edge; longer ones are drawn behind the cards
LONG_EDGES_AT_LEAST = 5000
ORDER_SWEEPS, PLACE_SWEEPS = 6, 6
SETTLED = 0.01  # sweeps whose places differ by less are the same
FIXED = 1e8  # the weight of what is in its place
NOTE_STEP = 8.0  # between two notes of a card, and between a note and what stands above or below it
STRAIGHT = 0.05  # a bend below this is none
ROW = 8  # more blocks without an edge than this stand in several rows


# (layers between, whether the neighbour leads no further, place in the drawing, edge, neighbour)
_Choice = tuple[float, bool, float, int, int]
_NONE: _Choice = (math.inf, True, 0.0, NOTHING, NOTHING)


_Span = tuple[float, float]  # from where to where across
# Of every item, on one side: its neighbour of the spine, the shift from it, its neighbours, the sum of their shifts.
_Side = tuple[list[int], list[float], list[list[int]], list[float]]


class Size(NamedTuple):
    """A width and a height in pixels."""

    width: float
    height: float


class Level:
    """The blocks of one group, from the first to the last, and the edges among them and across its border."""

    def __init__(self, number: int, blocks: Sequence[int]) -> None:
        self.number = number
        self.blocks = blocks
        self.order = {block: i for i, block in enumerate(blocks)}
        self.inner: list[tuple[int, int, int]] = []  # (edge, upper block, lower block)
        self.entering: list[tuple[int, int]] = []  # (edge, block), from above
        self.leaving: list[tuple[int, int]] = []  # (edge, block), downward
        self.labels: dict[int, Size] = {}
        self.offset: dict[tuple[int, int], float] = {}  # (block, edge): from the block's anchor to its port

        self.left: list[float] = []  # of every item: room on the left of its anchor, on the right, and along
        self.right: list[float] = []
        self.along: list[float] = []
        self.layer: list[int] = []
        self.layers: list[list[int]] = []
        self.item: dict[int, int] = {}  # of a block
        self.notes: dict[int, tuple[float, float, float]] = {}  # of an item: how far along, and from where to where
        self.ports_within: list[float] = []  # of every item: how far from its anchor an edge may touch it
        self.passed: dict[int, list[int]] = {}  # of an edge: its items from above to below, without blocks
        self.label_item: dict[int, int] = {}
        self.ups: list[list[int]] = []  # the neighbours in the layer before
        self.downs: list[list[int]] = []
        self.up_shift: list[float] = []  # the sum over the links: straight where x == neighbour's x + shift
        self.down_shift: list[float] = []
        self.shift: dict[tuple[int, int], float] = {}  # of a link (upper, lower), where it is not 0
        self.spine_up: list[int] = []
        self.spine_down: list[int] = []
        self.work = 0

        self.pad = 0.0
        self.turned = False
        self.titles: Sequence[Size] = ()
        self.title = 0
        self.title_at = (0.0, 0.0)
        self.width = self.height = 0.0
        self.x: list[float] = []
        self.top: list[float] = []  # of every layer
        self.bottom: list[float] = []
        self.ports: dict[int, float] = {}

    def frame(self, pad: float, titles: Sequence[Size], turned: bool) -> None:
        """Draw a box around the level, with one of the titles on top (on its left where the picture is turned)."""
        self.pad, self.titles, self.turned = pad, titles, turned

    def add_block(self, block: int, left: float, right: float, along: float, ports_within: float = 0.0) -> int:
        """Make an item of the block. With several edges on one side they touch it within that of the anchor."""
        item = self.item[block] = self._add(left, right, along)
        self.ports_within[item] = ports_within
        return item

    def add_notes(self, item: int, along: float, low: float, high: float) -> None:
        """A column as long as that beside the item's middle, from low to high across, seen from its anchor."""
        self.notes[item] = (along, low, high)

    def _add(self, left: float, right: float, along: float, layer: int = 0) -> int:
        self.left.append(left)
        self.right.append(right)
        self.along.append(along)
        self.layer.append(layer)
        self.ports_within.append(0.0)
        self.ups.append([])
        self.downs.append([])
        self.up_shift.append(0.0)
        self.down_shift.append(0.0)
        return len(self.left) - 1

    def arrange(self, room: Sequence[float], sides: Sequence[tuple[int, int]]) -> None:
        """Find every place. room: half of what every edge's line takes. sides: the cards at every edge's ends."""
        ends = self._layers(room)
        self._spines(ends, sides)
        self._reduce_crossings()
        self._place_across()
        self._place_along()
        self._close()

    def _ranks(self) -> dict[int, int]:
        """The length of the longest path to every block; what comes from nowhere else stands just above its use."""
        above: dict[int, list[int]] = {block: [] for block in self.blocks}
        below: dict[int, list[int]] = {block: [] for block in self.blocks}
        for _, a, b in self.inner:
            above[b].append(a)
            below[a].append(b)
        touched = {block for _, block in self.entering}
        rank: dict[int, int] = {}
        loose = set()
        for block in self.blocks:
            rank[block] = max((rank[a] + 1 for a in above[block]), default=0)
            if block not in touched and all(a in loose and len(below[a]) == 1 for a in above[block]):
                loose.add(block)
        for block in reversed(self.blocks):
            if block in loose and below[block]:
                rank[block] = min(rank[b] for b in below[block]) - 1
        touched.update(block for _, block in self.leaving)
        alone = [block for block in self.blocks if block not in touched and not above[block] and not below[block]]
        if len(alone) > ROW:
            row = max(ROW, math.isqrt(len(alone)))
            rank.update((block, i // row) for i, block in enumerate(alone))
        return rank

    def _layers(self, room: Sequence[float]) -> list[tuple[int, int, int]]:
        """Give every item its layer; (edge, upper item, lower item) of every edge here."""
        rank = self._ranks()
        n_ranks = max(rank.values(), default=-1) + 1
        labelled = [False] * (n_ranks + 1)
        for edge, a, _ in self.inner:
            labelled[rank[a]] |= edge in self.labels
        base, at = [], 1  # layer 0 is for the ports above
        for r in range(n_ranks):
            base.append(at)
            at += 2 if labelled[r] else 1
        last = at
        for block in self.blocks:
            self.layer[self.item[block]] = base[rank[block]]
        item = self.item
        ends = [(edge, item[a], item[b]) for edge, a, b in self.inner]
        for edges, layer, entering in ((self.entering, 0, True), (self.leaving, last, False)):
            for edge, block in edges:
                port = self._add(room[edge], room[edge], 0.0, layer)
                ends.append((edge, port, item[block]) if entering else (edge, item[block], port))
                self.passed[edge] = [port]
        budget = max(LONG_EDGES_AT_LEAST, LONG_EDGES * (len(self.blocks) + len(ends)))
        spans = [self.layer[b] - self.layer[a] for _, a, b in ends]
        for k in sorted(range(len(ends)), key=lambda k: (spans[k], k)):
            edge, a, b = ends[k]
            budget -= spans[k] - 1
            self._pass(edge, a, b, room[edge], budget >= 0)
        self.layers = [[] for _ in range(last + 1)]
        for i, layer in enumerate(self.layer):
            self.layers[layer].append(i)
        return ends

    def _pass(self, edge: int, a: int, b: int, room: float, reserve: bool) -> None:
        """Reserve the layers between a and b for the edge, and link them."""
        items, previous = [], a
        first, last = self.layer[a] + 1, self.layer[b]
        size = self.labels.get(edge)
        offset = self.offset.get((self._block(a), edge), 0.0)
        for layer in range(first, last if reserve else min(last, first + (size is not None))):
            if layer == first and size is not None:
                new = self._add(room, room + LABEL_GAP + size.width + LABEL_GAP, size.height, layer)
                self.label_item[edge] = new
            else:
                new = self._add(room, room, 0.0, layer)
            self._link(previous, new, offset)
            items.append(new)
            previous, offset = new, 0.0
        if previous == a or reserve:
            self._link(previous, b, offset - self.offset.get((self._block(b), edge), 0.0))
        port = self.passed.get(edge)
        if port is None:
            self.passed[edge] = items
        else:
            self.passed[edge] = port + items if port[0] == a else items + port

    def _block(self, item: int) -> int:
        return self.blocks[item] if item < len(self.blocks) else NOTHING

    def _link(self, a: int, b: int, offset: float) -> None:
        if self.layer[b] == self.layer[a] + 1:
            self.downs[a].append(b)
            self.ups[b].append(a)
            if offset:
                self.down_shift[a] -= offset
                self.up_shift[b] += offset
                self.shift[a, b] = offset

    def _spines(self, ends: list[tuple[int, int, int]], sides: Sequence[tuple[int, int]]) -> None:
        """Link what shall stand exactly below each other: long lines, and every block with its nearest neighbour."""
        n, blocks = len(self.left), len(self.blocks)
        self.spine_up, self.spine_down = [NOTHING] * n, [NOTHING] * n
        has_up, has_down = [False] * n, [False] * n
        for _, a, b in ends:
            has_down[a] = has_up[b] = True
        down: list[_Choice] = [_NONE] * n
        up: list[_Choice] = [_NONE] * n
        for edge, a, b in ends:
            span = self.layer[b] - self.layer[a]
            upper, lower = sides[edge]  # the first to use a value and the last to make one belong to the main path
            down[a] = _nearest(down[a], (span, not has_down[b] and b < blocks, lower, edge, b if b < blocks else PORT))
            up[b] = _nearest(up[b], (span, not has_up[a] and a < blocks, -upper, edge, a if a < blocks else PORT))
        for edge, a, b in ends:
            path = [a, *(item for item in self.passed[edge] if item not in (a, b)), b]
            whole = len(path) == self.layer[b] - self.layer[a] + 1
            for k, (p, q) in enumerate(pairwise(path)):
                if not whole and (k > 0 or q == b):
                    break
                if (p == a and down[a][3] != edge) or (q == b and up[b][3] != edge):
                    continue
                self.spine_down[p], self.spine_up[q] = q, p

    def _reduce_crossings(self) -> None:
        """Order every layer by the mean place of its neighbours in the one before, to and fro; keep the best order."""
        place = [0.0] * len(self.left)
        self._number(self.layers, place)
        if all(len(layer) <= 1 for layer in self.layers):
            return
        best, fewest = [list(layer) for layer in self.layers], self._crossings(place)
        for sweep in range(ORDER_SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            near, shift = (self.ups, self.up_shift) if down else (self.downs, self.down_shift)
            for layer in self.layers if down else reversed(self.layers):
                if len(layer) < 2:
                    continue
                self.work += len(layer)
                key = {
                    i: (sum([place[j] for j in near[i]]) + shift[i] / 1e4) / len(near[i]) if near[i] else place[i]
                    for i in layer
                }
                layer.sort(key=key.__getitem__)
                self._number([layer], place)
            crossings = self._crossings(place)
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    def _number(self, layers: list[list[int]], place: list[float]) -> None:
        """Number the items of each layer, the middle one 0, so that the layers' places can be compared."""
        for layer in layers:
            middle = (len(layer) - 1) / 2
            for k, i in enumerate(layer):
                place[i] = k - middle

    def _crossings(self, place: list[float]) -> int:
        """How often lines cross between neighbouring layers, counted by insertion into a sorted list."""
        total = 0
        for layer in self.layers:
            seen: list[float] = []
            for i in layer:
                targets = [place[j] for j in self.downs[i]]
                for target in targets:
                    total += len(seen) - bisect_right(seen, target)
                for target in targets:
                    insort(seen, target)
        return total

    def _place_across(self) -> None:
        """Pull every item to its neighbours, layer by layer, to and fro; then make the spines exactly straight."""
        n = len(self.left)
        x = self.x = [0.0] * n
        for layer in self.layers:
            at = 0.0
            for i in layer:
                x[i] = at + self.left[i]
                at += self.left[i] + self.right[i]
        weight, spines = self._weights()
        get = self.shift.get
        down_from = [get((above, i), 0.0) for i, above in enumerate(self.spine_up)]
        up_from = [-get((i, below), 0.0) for i, below in enumerate(self.spine_down)]
        upper = (self.spine_up, down_from, self.ups, self.up_shift)
        lower = (self.spine_down, up_from, self.downs, self.down_shift)
        pulls = self._pulls(upper, lower), self._pulls(lower, upper)
        layers = [layer for layer in self.layers if layer]
        size = sum(map(len, layers))
        passed: list[list[float]] = []
        for sweep in range(PLACE_SWEEPS):
            pull = pulls[sweep % 2]
            self.work += size
            for layer in reversed(layers) if sweep % 2 else layers:
                want = []
                for i in layer:
                    near, offset = pull[i]
                    if len(near) == 1:
                        want.append(x[near[0]] + offset)
                    else:
                        want.append((sum([x[j] for j in near]) + offset) / len(near))
                if len(layer) == 1:
                    x[layer[0]] = want[0]
                else:
                    self._separate(layer, want, weight)
            passed.append(x[:])
            if sweep >= 2 and _same(x, passed[-3]):  # nothing new will come; end as the last sweep would, upward
                x = self.x = passed[-1 - (sweep + 1) % 2]
                break
        self._straighten(spines, down_from)
        for i, up in enumerate(self.spine_up):
            if up >= 0 or self.spine_down[i] >= 0:
                weight[i] = FIXED
        for layer in self.layers:  # what is on no spine follows
            if len(layer) > 1 and any(weight[i] < FIXED for i in layer):
                want = []
                for i in layer:
                    above = bool(self.ups[i]) and (i < len(self.blocks) or not self.downs[i])  # a line looks ahead
                    ends, offset = (self.ups[i], self.up_shift[i]) if above else (self.downs[i], self.down_shift[i])
                    loose = weight[i] < FIXED and ends
                    want.append((sum([x[j] for j in ends]) + offset) / len(ends) if loose else x[i])
                self._separate(layer, want, weight)

    def _pulls(self, first: _Side, second: _Side) -> list[tuple[list[int], float]]:
        """What every item wants to stand in the middle of: (items, sum of its shifts from them).

        That is its neighbour of the spine on the first side, else its neighbours there, else those on the second.
        """
        result = []
        for i in range(len(self.left)):
            pull: tuple[list[int], float] = ([i], 0.0)
            for spine, delta, near, shift in (first, second):
                if spine[i] >= 0:
                    pull = ([spine[i]], delta[i])
                    break
                if near[i]:
                    pull = (near[i], shift[i])
                    break
            result.append(pull)
        return result

    def _weights(self) -> tuple[list[float], list[list[int]]]:
        """How much every item resists being moved: the length of its spine."""
        weight = [1.0] * len(self.left)
        spines = []
        for i, above in enumerate(self.spine_up):
            if above >= 0 or self.spine_down[i] < 0:
                continue
            spine = [i]
            while self.spine_down[spine[-1]] >= 0:
                spine.append(self.spine_down[spine[-1]])
            spines.append(spine)
            for member in spine:
                weight[member] = float(min(len(spine), 100))
        return weight, spines

    def _separate(self, layer: list[int], want: list[float], weight: list[float]) -> None:
        """Move the items of a layer to where they want to be, or as near as their order and room allow.

        Minimizes the weighted squares of the distances: pool adjacent violators (Ayer et al. 1955).
        """
        x, left, right = self.x, self.left, self.right
        edge = -math.inf
        for i, place in zip(layer, want, strict=True):
            if place - left[i] < edge:
                break
            edge = place + right[i]
        else:
            for i, place in zip(layer, want, strict=True):
                x[i] = place
            return
        offsets, at = [], 0.0
        for k, i in enumerate(layer):
            if k:
                at += right[layer[k - 1]] + left[i]
            offsets.append(at)
        pools: list[tuple[float, float, int]] = []  # (weighted sum, weight, first)
        for k, i in enumerate(layer):
            w = weight[i]
            total, first = w * (want[k] - offsets[k]), k
            while pools and pools[-1][0] * w > total * pools[-1][1]:
                before, w_before, first = pools.pop()
                total += before
                w += w_before
            pools.append((total, w, first))
        end = len(layer)
        for total, w, first in reversed(pools):
            mean = total / w
            for k in range(first, end):
                x[layer[k]] = mean + offsets[k]
            end = first

    def _straighten(self, spines: list[list[int]], delta: list[float]) -> None:
        """Give the members of every spine one line if their neighbours leave room for it, the longest first."""
        x, left, right = self.x, self.left, self.right
        before, after = [NOTHING] * len(x), [NOTHING] * len(x)
        for layer in self.layers:
            for i, j in pairwise(layer):
                after[i], before[j] = j, i
        spines = sorted(spines, key=len, reverse=True)
        bent: list[list[int]] = []
        for number, spine in enumerate(chain(spines, bent)):  # a bent one once more, when the others are in place
            self.work += len(spine)
            low, high, at = -math.inf, math.inf, 0.0
            offsets, wants = [], []
            for k, i in enumerate(spine):
                at += delta[i] if k else 0.0
                offsets.append(at)
                wants.append(x[i] - at)
                if before[i] >= 0:
                    low = max(low, x[before[i]] + right[before[i]] + left[i] - at)
                if after[i] >= 0:
                    high = min(high, x[after[i]] - left[after[i]] - right[i] - at)
            if low <= high:
                line = min(max(sorted(wants)[len(wants) // 2], low), high)
                for i, offset in zip(spine, offsets, strict=True):
                    x[i] = line + offset
            elif number < len(spines):
                bent.append(spine)

    def _place_along(self) -> None:
        """Layer below layer, with more room between two where lines move far across."""
        heights = [max([self.along[i] for i in layer], default=0.0) for layer in self.layers]
        far, bends = self._bends()
        notes, reach = self._reaching(heights, bends)
        self.top, self.bottom = [], []
        at, blocks_above = 0.0, False
        for k, layer in enumerate(self.layers):
            blocks = min(layer, default=len(self.blocks)) < len(self.blocks)
            if k and (self.titles or (layer and self.layers[k - 1])):  # else the edge of the picture
                straight = far[k] < STRAIGHT and not (blocks_above and (blocks or k == len(self.layers) - 1))
                least = STRAIGHT_GAP if straight else ARROW_GAP if blocks and self.layers[k - 1] else GAP
                at += min(max(least, STEEPEST * far[k]), WIDEST_GAP)
            if notes[k]:
                at = max(at, self.top[k - 1] + reach[k])
                if _meet(notes[k], self._rooms(k - 1)):
                    at = max(at, self.bottom[k - 1] + NOTE_STEP + reach[k])
                if k > 1 and notes[k - 2] and _meet(notes[k], notes[k - 2]):
                    at = max(at, self.bottom[k - 2] + reach[k - 2] + NOTE_STEP + reach[k])
            if k and notes[k - 1]:
                end = self.bottom[k - 1] + reach[k - 1]
                at = max(at, end - heights[k])
                if _meet(notes[k - 1], self._rooms(k)):
                    at = max(at, end + NOTE_STEP)
                if _meet(notes[k - 1], notes[k]):
                    at = max(at, end + NOTE_STEP + reach[k])
            self.top.append(at)
            at += heights[k]
            self.bottom.append(at)
            blocks_above = blocks

    def _bends(self) -> tuple[list[float], list[list[_Span]]]:
        """Of the gap above every layer: how far across a line moves at most, and where lines bend."""
        x, within, get = self.x, self.ports_within, self.shift.get
        far = [0.0] * len(self.layers)
        bends: list[list[_Span]] = [[] for _ in self.layers]
        for k, layer in enumerate(self.layers, 1):
            for i in layer:
                downs = self.downs[i]
                from_ = within[i] if len(downs) > 1 else 0.0
                for j in downs:
                    shift = get((i, j), 0.0)
                    to = within[j] if len(self.ups[j]) > 1 else 0.0
                    moves = abs(x[j] - x[i] - shift)
                    if moves < STRAIGHT and not (from_ or to):
                        continue
                    far[k] = max(far[k], moves - from_ - to)
                    if shift:  # at a port of a closed box
                        from_, to = max(self.left[i], self.right[i]), max(self.left[j], self.right[j])
                    bends[k].append((min(x[i] - from_, x[j] - to), max(x[i] + from_, x[j] + to)))
        return far, [_union(spans) for spans in bends]

    def _reaching(self, heights: list[float], bends: list[list[_Span]]) -> tuple[list[list[_Span]], list[float]]:
        """Where the notes of every layer reach out of it, and how far; a layer whose notes must not grows instead.

        They reach no further than over the next layer on either side, and not where a line bends or out of the level.
        """
        spans: list[list[_Span]] = [[] for _ in self.layers]
        reach = [0.0] * len(self.layers)
        for i, (along, low, high) in self.notes.items():
            k = self.layer[i]
            if along > heights[k]:
                spans[k].append((self.x[i] + low, self.x[i] + high))
                reach[k] = max(reach[k], (along - heights[k]) / 2)
        for k, notes in enumerate(spans):
            if not notes:
                continue
            notes.sort()
            inside = 1 < k < len(self.layers) - 2
            if not inside or _meet(notes, bends[k]) or _meet(notes, bends[k + 1]):
                heights[k] += 2 * reach[k]
                spans[k], reach[k] = [], 0.0
        return spans, reach

    def _rooms(self, k: int) -> list[_Span]:
        return [(self.x[i] - self.left[i], self.x[i] + self.right[i]) for i in self.layers[k]]

    def _close(self) -> None:
        """Put the box around it, find a place for the title that no line passes, and count from the box's corner."""
        x = self.x
        low = min((x[i] - self.left[i] for i in range(len(x))), default=0.0) - self.pad
        high = max((x[i] + self.right[i] for i in range(len(x))), default=0.0) + self.pad
        length = self.bottom[-1]
        shift = 0.0
        if self.titles and self.turned:
            self.title, size = 0, self.titles[0]
            low -= size.height + 4
            length = max(length, size.width + 2 * self.pad)
            self.bottom[-1] = self.top[-1] = length
            self.title_at = (6.0, self.pad)
        elif self.titles:
            first = min((x[i] for i in self.layers[0]), default=high)  # the ports, which no title may cover
            final = max((x[i] for i in self.layers[0]), default=low)
            for number, size in enumerate(self.titles):
                room = 2 * self.pad + size.width
                self.title, at = number, low
                if first - low >= room:
                    break
                if high - final >= room:
                    at = high - room
                    break
            else:
                at = low = first - room
            shift = size.height + 6
            self.title_at = (at - low + self.pad, 6.0)
        for i in range(len(x)):
            x[i] -= low
        if shift:
            self.top[1:] = [y + shift for y in self.top[1:]]
            self.bottom = [y + shift for y in self.bottom]
            length += shift
        self.width, self.height = high - low, length
        self.ports = {edge: x[self.passed[edge][0]] for edge, _ in self.entering}
        self.ports.update((edge, x[self.passed[edge][-1]]) for edge, _ in self.leaving)


def _same(one: list[float], other: list[float]) -> bool:
    """Whether the places are the same but for a shift of all."""
    moves = list(map(sub, one, other))
    return max(moves, default=0.0) - min(moves, default=0.0) < SETTLED


def _union(spans: list[_Span]) -> list[_Span]:
    """The same places as spans that do not touch, from low to high."""
    result: list[_Span] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return result


def _meet(one: list[_Span], other: list[_Span]) -> bool:
    """Whether two lists of spans, each from low to high, have a place in common."""
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i][1] <= other[j][0]:
            i += 1
        elif other[j][1] <= one[i][0]:
            j += 1
        else:
            return True
    return False


def _nearest(best: _Choice, other: _Choice) -> _Choice:
    """The nearer neighbour. Between two blocks that are equally near there is none: the middle is the place."""
    if other[:2] != best[:2]:
        return min(best, other)
    if best[4] != other[4] and PORT not in (best[4], other[4]):
        return (*best[:3], NOTHING, NOTHING)
    return min(best, other) if best[3] != NOTHING else best
