"""Which ops a picture shows as one stack: modules from a depth on, and repeats of the same modules or ops.

Repeats are units of one module (modules and ops in order) that come again and again with the same ops, parameters and
shapes, each fed by the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph import Node
from .captions import settings
from .skeleton import Skeleton, op_name, outlines

PAGE = 24  # ops that fit a readable page
FEWEST_CARDS = 6  # that are worth a picture: what would leave fewer stays open up to two pages
LONGEST_PERIOD = 8
FEWEST = 2  # copies of modules; of single ops, twice as many


@dataclass(frozen=True, eq=False)
class Stack:
    """Ops that are drawn as one card. copies: the ops of each repeat, the first copy first; one copy if not repeated.

    path: of the module, or of the first copy's. inside: the path of the module around it.
    """

    title: str
    kind: str
    path: str
    last_path: str
    inside: str
    copies: tuple[tuple[Node, ...], ...]

    @property
    def nodes(self) -> list[Node]:
        """All ops in it, in order."""
        return [node for copy in self.copies for node in copy]


@dataclass(eq=False)
class _Unit:
    """A module, or a single op, of the module `inside`."""

    path: str  # "" for an op that is no layer
    kind: str
    nodes: list[Node]
    is_module: bool


def fold(
    skeleton: Skeleton, depth: int | None, repeats: bool, keep: frozenset[Node] = frozenset()
) -> dict[Node, Stack]:
    """The stack of every op that is folded.

    depth: fold modules at this many levels below the outermost one, from 1; None folds none for its depth.
    repeats: fold repeats, too. Of folded modules, those that repeat share a stack in any case. keep: ops to leave open,
        with the modules around them.
    """
    found: dict[Node, Stack] = {}
    waiting: list[tuple[str, list[Node]]] = [("", skeleton.ops)]
    while waiting:
        inside, nodes = waiting.pop()
        level = inside.count(".") + 2 if inside else 1
        units = _units(skeleton, inside, nodes)
        deep = depth is not None and level >= depth
        for start, period, copies in _runs(skeleton, units, repeats, deep, keep):
            stack = _stack(units[start : start + period * copies], period, inside)
            if stack is not None:
                found.update(dict.fromkeys(stack.nodes, stack))
        for unit in units:
            if not unit.is_module or unit.nodes[0] in found:
                continue
            if deep and keep.isdisjoint(unit.nodes):
                stack = Stack(unit.path, unit.kind, unit.path, unit.path, inside, (tuple(unit.nodes),))
                found.update(dict.fromkeys(unit.nodes, stack))
            else:
                waiting.append((unit.path, unit.nodes))
    return found


def _units(skeleton: Skeleton, inside: str, nodes: Sequence[Node]) -> list[_Unit]:
    """What the module `inside` is made of, in the order of first ops."""
    units: dict[object, _Unit] = {}
    start = len(inside) + 1 if inside else 0
    for node in nodes:
        place = skeleton.place[node]
        if place.group == inside:
            units[node] = _Unit(place.layer, place.kind or op_name(node), [node], False)
            continue
        name = place.group[start:].partition(".")[0]
        path = place.group[: start + len(name)]
        unit = units.setdefault(path, _Unit(path, skeleton.kinds.get(path, ""), [], True))
        unit.nodes.append(node)
    return list(units.values())


def _runs(
    skeleton: Skeleton, units: list[_Unit], repeats: bool, deep: bool, keep: frozenset[Node]
) -> list[tuple[int, int, int]]:
    """(first unit, units per copy, copies) of every run of repeats: at each place, the one with the most units."""
    if not repeats and not deep:
        return []
    signs = [i if keep.intersection(unit.nodes) else _signature(unit) for i, unit in enumerate(units)]
    names = {sign: i for i, sign in enumerate(dict.fromkeys(signs))}
    codes = [names[sign] for sign in signs]
    place = {node: i for i, unit in enumerate(units) for node in unit.nodes}
    same = [_same(codes, period) for period in range(min(LONGEST_PERIOD, len(units) // 2) + 1)]
    runs = []
    at = 0
    while at < len(units):
        best = (0, 0, 0)
        for period in range(1, min(LONGEST_PERIOD, (len(units) - at) // 2) + 1):
            if any(codes[at : at + period - k] == codes[at + k : at + period] for k in _divisors(period)):
                continue  # itself a repetition
            copies = same[period][at] // period + 1
            modules = all(unit.is_module for unit in units[at : at + period])
            if copies < (FEWEST if modules else 2 * FEWEST) or (not repeats and not modules):
                continue
            copies = _chained(skeleton, units, place, at, period, copies)
            if copies >= FEWEST and copies * period > best[1] * best[2]:
                best = (at, period, copies)
        if best[2]:
            runs.append(best)
        at += max(1, best[1] * best[2])
    return runs


def _same(codes: list[int], period: int) -> list[int]:
    """Of every place, how many codes from there on equal the one `period` further."""
    found = [0] * (len(codes) + 1)
    for i in range(len(codes) - period - 1, -1, -1):
        found[i] = found[i + 1] + 1 if codes[i] == codes[i + period] else 0
    return found


def _divisors(n: int) -> list[int]:
    return [k for k in range(1, n) if n % k == 0]


def _signature(unit: _Unit) -> object:
    inner = {node: i for i, node in enumerate(unit.nodes)}
    return unit.kind, unit.is_module, tuple(
        (
            node.plan.op.name,
            tuple(settings(node)),
            node.shape,
            tuple(
                (i, p.shape if p.plan is None and i else inner.get(p, -1))  # what comes first is data, whoever made it
                for i, p in zip(node.plan.indices, node.parents, strict=False)
                if i or p in inner
            ),
            tuple((i, outline.shape) for i, outline in outlines(node) if i),
        )
        for node in unit.nodes
    )  # fmt: skip


def _chained(
    skeleton: Skeleton, units: list[_Unit], place: Mapping[Node, int], at: int, period: int, copies: int
) -> int:
    """How many copies from the first on are each used by the next one alone."""
    for k in range(copies - 1):
        start = at + k * period
        for unit in units[start : start + period]:
            for node in unit.nodes:
                if any(not start <= place.get(user, -1) < start + 2 * period for user, _ in skeleton.consumers[node]):
                    return k + 1
    return copies


def _stack(units: list[_Unit], period: int, inside: str) -> Stack | None:
    copies = [units[i : i + period] for i in range(0, len(units), period)]
    kinds = [unit.kind or unit.path.rpartition(".")[2] for unit in copies[0]]
    title = kinds[0] if period == 1 else f"({', '.join(kinds)})"
    return Stack(
        f"{title} ×{len(copies)}",
        "",
        copies[0][0].path,
        copies[-1][-1].path,
        inside,
        tuple(tuple(node for unit in copy for node in unit.nodes) for copy in copies),
    )


def choose(
    skeleton: Skeleton, depth: int | None, repeats: bool | None, max_nodes: int, keep: frozenset[Node] = frozenset()
) -> dict[Node, Stack]:
    """The stacks that were asked for, and those that bring the number of cards below the limits.

    With neither a depth nor a wish about repeats, repeats and then modules fold from the inside until a page holds
    what is left; otherwise until max_nodes cards are. What no module or repeat can fold becomes ranges of ops.
    """
    is_free = depth is None and repeats is None
    limit = min(max_nodes, PAGE) if is_free else max_nodes
    stacks = fold(skeleton, depth, repeats is True, keep)
    if visible(skeleton, stacks) > limit and repeats is not False:
        stacks = fold(skeleton, depth, True, keep)
    deepest = max((place.group.count(".") + 1 for place in skeleton.place.values() if place.group), default=0)
    for level in range(deepest if depth is None else min(depth - 1, deepest), 0, -1):
        if visible(skeleton, stacks) <= limit:
            break
        folded = fold(skeleton, level, repeats is not False, keep)
        is_poor = visible(skeleton, folded) < FEWEST_CARDS
        if is_free and is_poor and visible(skeleton, stacks) <= min(2 * PAGE, max_nodes):
            break
        stacks = folded
    if visible(skeleton, stacks) > max_nodes:
        stacks.update(_ranges(skeleton, stacks, max_nodes, keep))
    return stacks


def _ranges(skeleton: Skeleton, stacks: Mapping[Node, Stack], most: int, keep: frozenset[Node]) -> dict[Node, Stack]:
    """Stacks of ops that were recorded one after the other in one module, as long as it takes."""
    runs: list[list[Node]] = [[]]
    for node in skeleton.ops:
        is_open = node not in stacks and node not in keep
        if not is_open or (runs[-1] and skeleton.place[runs[-1][-1]].group != skeleton.place[node].group):
            runs.append([])
        if is_open:
            runs[-1].append(node)
    runs = [run for run in runs if run]
    room = max(1, most - len(set(stacks.values())) - len(keep) - len(runs))
    length = -(-sum(map(len, runs)) // room)
    found: dict[Node, Stack] = {}
    for run in runs:
        for i in range(0, len(run), length):
            part = tuple(run[i : i + length])
            title = f"{op_name(part[0])} … {op_name(part[-1])}"
            found.update(dict.fromkeys(part, Stack(title, "", "", "", skeleton.place[part[0]].group, (part,))))
    return found


def visible(skeleton: Skeleton, stacks: Mapping[Node, Stack]) -> int:
    """How many cards for ops are drawn."""
    return sum(node not in stacks for node in skeleton.ops) + len(set(stacks.values()))


def folded_paths(skeleton: Skeleton, stacks: Mapping[Node, Stack]) -> set[str]:
    """The paths of the modules that are folded."""
    paths = set()
    for stack in set(stacks.values()):
        depth = stack.path.count(".")
        for node in stack.nodes:
            path = ".".join(skeleton.place[node].path.split(".")[: depth + 1])
            if path in skeleton.kinds:
                paths.add(path)
    return paths
