"""Where everything in a Drawing goes: a layered layout with clusters and labels, in the standard library alone.

A group is laid out by itself and is then one block of the group around it, so that its box holds its own cards and
nothing else. Within a level: ranks by longest path, a place of its own in every layer that an edge or label passes,
barycenter sweeps against crossings, then positions by isotonic regression. Nothing recurs, and the work grows with
the cards, the edges and the layers that edges pass (bounded by LONG_EDGES).

"Across" is x and "along" is y where direction is "TB", the reverse where it is "LR".

Source: Sugiyama, Tagawa & Toda, Methods for visual understanding of hierarchical system structures (1981);
Sander, Layout of compound directed graphs (1996), for laying out groups as levels.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .level import LABEL_GAP, NOTE_STEP, STRAIGHT, Level, Size
from .model import Drawing

NOTE_GAP = 26.0  # between a note and the card it stands beside
NOTES = 6  # a card with more notes than this has them above it
MARGIN = 10.0  # free space on either side of a card
PORT_MARGIN = 14.0  # between a card's corner and the first edge
PORT_STEP = 9.0  # between two edges of a card
LINE = 5.0  # half the room of a line that passes a layer
PAD = 14.0  # inside a group's box


Part = tuple[float, ...]  # of a path
Station = tuple[float, float, float]  # a straight piece of a line: across, and from where to where along


class Box(NamedTuple):
    """A rectangle: its left top corner, in pixels from the picture's, and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Sizes:
    """What a writer needs room for, in the order of the Drawing's cards, edges and groups.

    labels: None for an edge without one. titles: every way to set a group's title, the best first.
    """

    cards: Sequence[Size]
    labels: Sequence[Size | None]
    titles: Sequence[Sequence[Size]]


@dataclass(frozen=True)
class Route:
    """An edge's line, from its source to its target, and the room for its label.

    path: the start as (x, y), then (x, y) for a straight line to there or (x1, y1, x2, y2, x, y) for a cubic curve.
    """

    path: tuple[tuple[float, ...], ...]
    label: Box | None = None


@dataclass(frozen=True)
class Layout:
    """Places in the order of the Drawing's cards, edges and groups.

    titles: of every group, which of the offered sizes was taken and where it is.
    """

    width: float
    height: float
    cards: list[Box]
    routes: list[Route]
    groups: list[Box]
    titles: list[tuple[int, Box]]


def place(drawing: Drawing, sizes: Sizes) -> Layout:
    """The places of all that the drawing shows. The same drawing gives the same places.

    Raises ValueError for an id that is unknown or given twice, groups that contain each other, an edge from a card to
    itself, or a direction that is not "TB" or "LR".
    """
    return _Placement(drawing, sizes).layout()


class _Placement:
    """Blocks are numbered: cards, then groups, then the whole picture."""

    def __init__(self, drawing: Drawing, sizes: Sizes) -> None:
        if drawing.direction not in ("TB", "LR"):
            raise ValueError(f"diagram: direction is 'TB' or 'LR', not {drawing.direction!r}")
        self.drawing = drawing
        self.turned = drawing.direction == "LR"
        self.sizes = sizes
        self.card_sizes = [self._turn(size) for size in sizes.cards]
        self.label_sizes = [None if size is None else self._turn(size) for size in sizes.labels]
        self.n_cards = len(drawing.cards)
        self.root = self.n_cards + len(drawing.groups)
        self.parent = self._parents()
        self.depth = self._depths()
        self.round = [card.shape == "sign" for card in drawing.cards]
        self.ends = self._ends()
        self.beside = self._notes_beside()  # of every card, its notes
        self.attached = {edge: card for card, notes in self.beside.items() for edge, _ in notes}
        self.sides = list(self.ends)  # (upper, lower) of every edge, as it will be
        self.room = [max(LINE, edge.width / 2 + 3) for edge in drawing.edges]
        self.host = {note: card for card, notes in self.beside.items() for _, note in notes}

    def _turn(self, size: Size) -> Size:
        return Size(size.height, size.width) if self.turned else size

    def _parents(self) -> list[int]:
        numbers = {group.id: self.n_cards + i for i, group in enumerate(self.drawing.groups)}
        if len(numbers) != len(self.drawing.groups):
            raise ValueError("diagram: two groups have the same id")
        if "" in numbers:
            raise ValueError("diagram: a group's id is not empty, which means no group")
        numbers[""] = self.root
        inner = [card.group for card in self.drawing.cards] + [group.parent for group in self.drawing.groups]
        for name in inner:
            if name not in numbers:
                raise ValueError(f"diagram: there is no group {name!r}")
        return [numbers[name] for name in inner] + [-1]

    def _depths(self) -> list[int]:
        depth = [-1] * (self.root + 1)
        depth[self.root] = 0
        for block in range(self.root):
            path: list[int] = []
            at = block
            while depth[at] < 0:
                if len(path) > len(self.drawing.groups):
                    raise ValueError("diagram: a group is inside itself")
                path.append(at)
                at = self.parent[at]
            for step, passed in enumerate(reversed(path)):
                depth[passed] = depth[at] + step + 1
        return depth

    def _ends(self) -> list[tuple[int, int]]:
        """(above, below) of every edge if the graph had no cycle."""
        numbers = {card.id: i for i, card in enumerate(self.drawing.cards)}
        if len(numbers) != self.n_cards:
            raise ValueError("diagram: two cards have the same id")
        ends = []
        for edge in self.drawing.edges:
            for name in (edge.source, edge.target):
                if name not in numbers:
                    raise ValueError(f"diagram: there is no card {name!r}")
            if edge.source == edge.target:
                raise ValueError(f"diagram: an edge leads from the card {edge.source!r} to itself")
            source, target = numbers[edge.source], numbers[edge.target]
            ends.append((target, source) if edge.kind == "gradient" else (source, target))
        return ends

    def _notes_beside(self) -> dict[int, list[tuple[int, int]]]:
        """(edge, note) of the notes that stand beside their only consumer, by consumer."""
        cards = self.drawing.cards
        uses = [0] * self.n_cards
        for above, below in self.ends:
            uses[above] += 1
            uses[below] += 1
        beside: dict[int, list[tuple[int, int]]] = {}
        for number, (above, below) in enumerate(self.ends):
            lone = uses[above] == 1 and cards[above].shape == "note" and cards[below].shape != "note"
            if lone and self.parent[above] == self.parent[below]:
                beside.setdefault(below, []).append((number, above))
        return {card: notes for card, notes in beside.items() if len(notes) <= NOTES}

    def layout(self) -> Layout:
        levels = self._levels()
        outside_in = sorted(levels.values(), key=lambda level: self.depth[level.number])
        for level in reversed(outside_in):
            self._fill(level, levels)
            level.arrange(self.room, self.sides)
        return self._collect(levels, outside_in)

    def _levels(self) -> dict[int, Level]:
        """Every level with its blocks in order from above to below, its edges, and those that pass its border."""
        children: dict[int, list[int]] = {block: [] for block in range(self.n_cards, self.root + 1)}
        for block in range(self.root):
            if block not in self.host:
                children[self.parent[block]].append(block)
        key = self._keys()
        meeting: dict[int, list[tuple[int, int, int]]] = {number: [] for number in children}
        for edge, (a, b) in enumerate(self.ends):
            if edge in self.attached:
                continue
            while self.parent[a] != self.parent[b]:
                if self.depth[a] >= self.depth[b]:
                    a = self.parent[a]
                else:
                    b = self.parent[b]
            meeting[self.parent[a]].append((edge, a, b))
        levels = {}
        for number, blocks in children.items():
            order = _acyclic_order(blocks, meeting[number], key)
            levels[number] = Level(number, order)
        for number, edges in meeting.items():
            level = levels[number]
            for edge, a, b in edges:
                swap = level.order[a] > level.order[b]
                upper, lower = self.sides[edge] = self.ends[edge][::-1] if swap else self.ends[edge]
                level.inner.append((edge, b, a) if swap else (edge, a, b))
                while self.parent[upper] != number:
                    levels[self.parent[upper]].leaving.append((edge, upper))
                    upper = self.parent[upper]
                while self.parent[lower] != number:
                    levels[self.parent[lower]].entering.append((edge, lower))
                    lower = self.parent[lower]
        return levels

    def _keys(self) -> list[int]:
        """The place of every block in the drawing's own order: a group's is that of its first card but notes."""
        last = self.n_cards
        key = list(range(self.n_cards)) + [2 * last] * (self.root + 1 - last)
        for card in range(last):
            if self.drawing.cards[card].shape == "note":
                key[card] += last  # behind every other card, if it is to stand for its group
        for block in sorted(range(self.root), key=lambda block: -self.depth[block]):
            key[self.parent[block]] = min(key[self.parent[block]], key[block])
        return key

    def _fill(self, level: Level, levels: dict[int, Level]) -> None:
        """Tell the level how large its blocks and labels are; the levels inside it are arranged."""
        for block in level.blocks:
            if block < self.n_cards:
                width, height = self.card_sizes[block]
                notes = [self.card_sizes[note] for _, note in self.beside.get(block, ())]
                half, left = width / 2 + MARGIN, 0.0
                if notes:
                    left = half + self._note_gap(block) + max(note.width for note in notes)
                within = 0.0 if self.round[block] else _ports_within(width)
                item = level.add_block(block, max(left, half), half, height, within)
                if notes:
                    level.add_notes(item, self._column(block), -left, -width / 2)
            else:
                inner = levels[block]
                half = inner.width / 2 + MARGIN
                level.add_block(block, half, half, inner.height)
                for edge, x in inner.ports.items():
                    level.offset[block, edge] = x - inner.width / 2
        for edge, _, _ in level.inner:
            size = self.label_sizes[edge]
            if size is not None:
                level.labels[edge] = size
        if level.number != self.root:
            titles = self.sizes.titles[level.number - self.n_cards]
            level.frame(PAD, titles, self.turned)

    def _collect(self, levels: dict[int, Level], outside_in: list[Level]) -> Layout:
        """Add up the places inside the levels, and draw the lines."""
        nowhere = Box(0.0, 0.0, 0.0, 0.0)
        boxes = [nowhere] * (self.root + 1)
        layers = [(0.0, 0.0)] * (self.root + 1)  # of every block: from where to where its layer reaches
        titles = [(0, nowhere)] * len(self.drawing.groups)
        labels: list[Box | None] = [None] * len(self.ends)
        stations: list[list[Station]] = [[] for _ in self.ends]
        for level in outside_in:
            number = level.number
            across, along = boxes[number].x, boxes[number].y
            if number != self.root:
                where = Box(
                    across + level.title_at[0], along + level.title_at[1], *self._turn(level.titles[level.title])
                )
                titles[number - self.n_cards] = (level.title, where)
            places = [
                (across + level.x[i], along + level.top[r], along + level.bottom[r]) for i, r in enumerate(level.layer)
            ]
            for block in level.blocks:
                x, top, bottom = places[level.item[block]]
                layers[block] = (top, bottom)
                if block < self.n_cards:
                    self._put_card(block, x, (top + bottom) / 2, boxes)
                else:
                    width, height = levels[block].width, levels[block].height
                    boxes[block] = Box(x - width / 2, (top + bottom) / 2 - height / 2, width, height)
            for edge, _, _ in level.inner:
                stations[edge] = [places[i] for i in level.passed[edge]]
                if edge in level.labels:
                    x, top, bottom = places[level.label_item[edge]]
                    width, height = level.labels[edge]
                    labels[edge] = Box(x + self.room[edge] + LABEL_GAP, (top + bottom - height) / 2, width, height)
            for edge, _ in level.leaving:
                passed = [places[i] for i in level.passed[edge]]
                passed[-1] = (*passed[-1][:2], layers[number][1])
                stations[edge] = passed + stations[edge]
            for edge, _ in level.entering:
                passed = [places[i] for i in level.passed[edge]]
                passed[0] = (passed[0][0], layers[number][0], passed[0][2])
                stations[edge] += passed
        routes = self._routes(boxes, layers, stations, labels)
        root = levels[self.root]
        turn = self._turn_box
        return Layout(
            *self._turn(Size(root.width, root.height)),
            [turn(box) for box in boxes[: self.n_cards]],
            routes,
            [turn(box) for box in boxes[self.n_cards : self.root]],
            [(way, turn(box)) for way, box in titles],
        )

    def _turn_box(self, box: Box) -> Box:
        return Box(box.y, box.x, box.height, box.width) if self.turned else box

    def _put_card(self, card: int, x: float, y: float, boxes: list[Box]) -> None:
        """The card around (x, y) and its notes in a column on its left."""
        width, height = self.card_sizes[card]
        boxes[card] = Box(x - width / 2, y - height / 2, width, height)
        notes = self.beside.get(card, ())
        at = y - self._column(card) / 2
        for edge, note in notes:
            room, (wide, high) = self._note_height(edge, note), self.card_sizes[note]
            boxes[note] = Box(x - width / 2 - self._note_gap(card) - wide, at + (room - high) / 2, wide, high)
            at += room + NOTE_STEP

    def _note_gap(self, card: int) -> float:
        labels = [self.label_sizes[edge] for edge, _ in self.beside[card]]
        return max([NOTE_GAP, *(label.width + 2 * LABEL_GAP for label in labels if label is not None)])

    def _note_height(self, edge: int, note: int) -> float:
        label = self.label_sizes[edge]
        return max(self.card_sizes[note].height, 0.0 if label is None else label.height)

    def _column(self, card: int) -> float:
        return sum(self._note_height(*note) + NOTE_STEP for note in self.beside.get(card, ())) - NOTE_STEP

    def _routes(
        self,
        boxes: list[Box],
        layers: list[tuple[float, float]],
        stations: list[list[Station]],
        labels: list[Box | None],
    ) -> list[Route]:
        leaving: list[list[tuple[float, int]]] = [[] for _ in range(self.n_cards)]
        entering: list[list[tuple[float, int]]] = [[] for _ in range(self.n_cards)]
        for edge, (upper, lower) in enumerate(self.sides):
            if edge not in self.attached:
                passed = stations[edge]
                leaving[upper].append((passed[0][0] if passed else _middle(boxes[lower]), edge))
                entering[lower].append((passed[-1][0] if passed else _middle(boxes[upper]), edge))
        start, end = [0.0] * len(self.ends), [0.0] * len(self.ends)
        for places, ports in ((leaving, start), (entering, end)):
            for card, wanted in enumerate(places):
                _spread(boxes[card], wanted, ports, self.round[card])
        routes = []
        ids = [card.id for card in self.drawing.cards]
        for edge, (upper, lower) in enumerate(self.sides):
            if edge in self.attached:
                path, labels[edge] = self._side_path(edge, boxes)
            else:
                above, below = boxes[upper], boxes[lower]
                circles = [
                    box if self.round[card] and layers[card][1] - layers[card][0] <= box.height + 1 else None
                    for card, box in ((upper, above), (lower, below))
                ]
                passed = [
                    (start[edge], above.y + above.height, layers[upper][1]),
                    *stations[edge],
                    (end[edge], layers[lower][0], below.y),
                ]
                path = _smooth(passed, *circles)
            if self.drawing.edges[edge].source != ids[upper]:
                path = _backward(path)
            if self.turned:
                path = [
                    tuple(value for y, x in zip(part[::2], part[1::2], strict=True) for value in (x, y))
                    for part in path
                ]
            label = labels[edge]
            routes.append(Route(tuple(path), None if label is None else self._turn_box(label)))
        return routes

    def _side_path(self, edge: int, boxes: list[Box]) -> tuple[list[Part], Box | None]:
        """From a note to the card on its right; the label lies on the line."""
        note, card = boxes[self.sides[edge][0]], boxes[self.sides[edge][1]]
        x0, y0 = note.x + note.width, note.y + note.height / 2
        x1, y1 = card.x, min(max(y0, card.y + 8), card.y + card.height - 8)
        if self.round[self.sides[edge][1]]:
            y1 = card.y + card.height / 2
        path: list[Part] = [(x0, y0), (x1, y1) if y0 == y1 else ((x0 + x1) / 2, y0, (x0 + x1) / 2, y1, x1, y1)]
        size = self.label_sizes[edge]
        if size is None:
            return path, None
        return path, Box((x0 + x1 - size.width) / 2, y0 - size.height / 2, *size)


def _ports_within(width: float) -> float:
    """How far from the middle of a side the edges of a card may touch it."""
    return width / 2 - min(PORT_MARGIN, width / 2)


def _middle(box: Box) -> float:
    return box.x + box.width / 2


def _spread(box: Box, wanted: list[tuple[float, int]], ports: list[float], round_: bool) -> None:
    """Where the edges of one side of a card touch it: straight on if the card is as wide as that."""
    if len(wanted) == 1 or round_:
        for _, edge in wanted:
            ports[edge] = _middle(box)
        return
    wanted.sort()
    within = _ports_within(box.width)
    low, high = _middle(box) - within, _middle(box) + within
    step = min(PORT_STEP, (high - low) / max(2, len(wanted) - 1))  # of two edges one may keep the middle
    at = low - step
    for x, edge in wanted:
        at = ports[edge] = max(min(x, high), at + step)
    at = high + step
    for _, edge in reversed(wanted):
        at = ports[edge] = min(ports[edge], at - step)


def _smooth(stations: list[Station], upper: Box | None, lower: Box | None) -> list[Part]:
    """Straight down inside every station, curves between them; from and to a circle along its radius."""
    x, y, _ = stations[0]
    path: list[Part] = [(x, y)]
    last = len(stations) - 1
    for k, (at, top, bottom) in enumerate(stations):
        if abs(at - x) > STRAIGHT:
            first_control: tuple[float, float] = (x, (y + top) / 2)
            second_control, end = (at, (y + top) / 2), (at, top)
            if len(path[-1]) == 2 and k == 1 and upper is not None:
                start, first_control = _radial(upper, at - x, top - y)
                path[-1] = start
            elif path[-1][-2:] != (x, y):
                path.append((x, y))
            if k == last and lower is not None:
                end, second_control = _radial(lower, x - at, y - top)
            path.append((*first_control, *second_control, *end))
            x, y = at, end[1]
            if k == last and lower is not None:
                return path
        y = max(y, bottom)
    x = stations[-1][0]  # the line may have been off by STRAIGHT; a circle is touched at its middle alone
    if path[-1][-2:] != (x, y):
        path.append((x, y))
    return path


def _radial(circle: Box, across: float, along: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The point of the circle towards a far point, at most 45 degrees from the axis, and the control point beyond."""
    radius = circle.width / 2
    angle = min(math.pi / 4, math.atan2(abs(across), abs(along) + radius))
    sine, cosine = math.copysign(math.sin(angle), across), math.copysign(math.cos(angle), along)
    x, y = _middle(circle), circle.y + circle.height / 2
    reach = radius + abs(along) / 2
    return (x + radius * sine, y + radius * cosine), (x + reach * sine, y + reach * cosine)


def _backward(path: list[Part]) -> list[Part]:
    """The same line from its end to its start."""
    result: list[Part] = [path[-1][-2:]]
    for part, before in zip(reversed(path[1:]), reversed(path[:-1]), strict=True):
        result.append((*part[2:4], *part[0:2], *before[-2:]) if len(part) == 6 else before[-2:])
    return result


def _acyclic_order(blocks: Sequence[int], edges: Iterable[tuple[int, int, int]], key: Sequence[int]) -> list[int]:
    """The blocks with every edge from an earlier to a later one; in a cycle, the block with the least key comes first.

    Source: Kahn, Topological sorting of large networks (1962).
    """
    waiting = dict.fromkeys(blocks, 0)
    below: dict[int, list[int]] = {block: [] for block in blocks}
    for _, a, b in edges:
        waiting[b] += 1
        below[a].append(b)
    ready = [(key[block], block) for block in blocks if not waiting[block]]
    heapq.heapify(ready)
    rest = iter(sorted(blocks, key=lambda block: (key[block], block)))
    order: list[int] = []
    placed: set[int] = set()
    while len(order) < len(blocks):
        block = heapq.heappop(ready)[1] if ready else next(block for block in rest if block not in placed)
        if block in placed:
            continue
        placed.add(block)
        order.append(block)
        for other in below[block]:
            waiting[other] -= 1
            if not waiting[other] and other not in placed:
                heapq.heappush(ready, (key[other], other))
    return order
