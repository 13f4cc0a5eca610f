"""Drawings made from drawings: what is near a card, and what changed between two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from .model import Card, Drawing, Edge, Row


def around(drawing: Drawing, start: str, hops: int) -> Drawing:
    """What is within `hops` arrows of the cards whose title or path begins with `start`.

    Raises ValueError if there is none; the message names those there are.
    """
    paths = {group.id: group.title for group in drawing.groups}

    def is_meant(card: Card) -> bool:
        return any(_begins(name, start) for name in (card.title, card.tooltip, paths.get(card.group, "")))

    near = {card.id for card in drawing.cards if is_meant(card)}
    if not near:
        names = dict.fromkeys(name for card in drawing.cards for name in (card.tooltip or card.title,))
        raise ValueError(f"graph: focus={start!r} is no card; there are {', '.join(list(names)[:12])}")
    for _ in range(hops):
        near |= {
            end for edge in drawing.edges if {edge.source, edge.target} & near for end in (edge.source, edge.target)
        }
    near |= {edge.source for edge in drawing.edges if edge.kind in ("parameter", "constant") and edge.target in near}
    notes = {card.id for card in drawing.cards if card.shape == "note"}  # where arrows run backward, they end at notes
    near |= {edge.target for edge in drawing.edges if edge.target in notes and edge.source in near}
    cards = [card for card in drawing.cards if card.id in near]
    title = f"{drawing.title} · {len(cards)} of {len(drawing.cards)} cards, around {start}"
    return _with_cards(drawing, cards, title)


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(f"{start}.")


def _with_cards(drawing: Drawing, cards: list[Card], title: str) -> Drawing:
    """The drawing with these of its cards alone, without the edges and groups that nobody needs then."""
    ids = {card.id for card in cards}
    used = {card.group for card in cards}
    for group in reversed(drawing.groups):
        if group.id in used:
            used.add(group.parent)
    return replace(
        drawing,
        title=title,
        cards=cards,
        edges=[edge for edge in drawing.edges if edge.source in ids and edge.target in ids],
        groups=[group for group in drawing.groups if group.id in used],
        details={id: detail for id, detail in drawing.details.items() if id in ids},
    )


def relabel(drawing: Drawing, label: Callable[[Card], Card]) -> Drawing:
    """The drawing with every card as `label` returns it. Raises TypeError for what is no Card of the same id."""
    cards = [label(card) for card in drawing.cards]
    for before, after in zip(drawing.cards, cards, strict=True):
        if not isinstance(after, Card) or after.id != before.id:
            got = f"a Card of the id {after.id!r}" if isinstance(after, Card) else f"a {type(after).__name__}"
            raise TypeError(
                f"graph: label returned {got} for the card {before.title!r}; it must return a Card of the same id, "
                "as in dataclasses.replace(card, title=...)"
            )
    return replace(drawing, cards=cards)


@dataclass(frozen=True)
class Change:
    """A card that is not in both drawings, or says something else. before, after: its rows, "" where it is missing."""

    kind: str  # added, removed or changed
    title: str
    before: str
    after: str


def compare(before: Drawing, after: Drawing) -> tuple[Drawing, list[Change]]:
    """The later drawing with what was removed put back, all differences marked, and the rest pale; the Changes."""
    paths = {id(drawing): {group.id: group.title for group in drawing.groups} for drawing in (before, after)}
    keys = [[(paths[id(d)].get(c.group, ""), c.title, c.tag, c.shape) for c in d.cards] for d in (before, after)]
    same: dict[str, Card] = {}  # of a card of the later drawing, the card that it was
    for i, j, size in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_matching_blocks():
        same.update({after.cards[j + k].id: before.cards[i + k] for k in range(size)})
    cards, changes = [], []
    kept = {card.id: id for id, card in same.items()}
    fed = (_inputs(before), _inputs(after))
    for card in after.cards:
        was = same.get(card.id)
        if was is None:
            cards.append(replace(card, mark="added"))
            changes.append(Change("added", card.title, "", _said(card)))
            continue
        old = {kept.get(source, f"old~{source}"): shape for source, shape in fed[0].get(was.id, {}).items()}
        new = fed[1].get(card.id, {})
        is_rewired = _is_rewired(old, new, set(same))
        if (was.rows, was.problem) != (card.rows, card.problem) or is_rewired:
            before_rows, rows = was.rows, card.rows
            if is_rewired:
                before_rows += _from(fed[0].get(was.id, {}), before)
                rows += _from(new, after)
            cards.append(replace(card, mark="changed", rows=_both(before_rows, rows)))
            said = (_said(replace(was, rows=before_rows)), _said(replace(card, rows=rows)))
            changes.append(Change("changed", card.title, *said))
        else:
            cards.append(replace(card, faint=True))
    removed = [card for card in before.cards if card.id not in kept]
    groups = {title: id for id, title in paths[id(after)].items()}
    new_id = {card.id: kept.get(card.id, f"old~{card.id}") for card in before.cards}
    for card in removed:
        home = groups.get(paths[id(before)].get(card.group, ""), "")
        cards.append(replace(card, id=new_id[card.id], group=home, mark="removed"))
        changes.append(Change("removed", card.title, _said(card), ""))
    gone = {new_id[card.id] for card in removed}
    marked = {card.id for card in cards if card.mark}
    edges = [replace(edge, faint=not {edge.source, edge.target} & marked) for edge in after.edges]
    earlier = (replace(edge, source=new_id[edge.source], target=new_id[edge.target]) for edge in before.edges)
    edges += [replace(edge, faint=True) for edge in earlier if {edge.source, edge.target} & gone]
    title = f"{after.title} · {len(changes)} {'card differs' if len(changes) == 1 else 'cards differ'}"
    cards = _in_order(cards, edges)
    return replace(after, title=title, cards=cards, edges=edges, details={}), changes


def _inputs(drawing: Drawing) -> dict[str, dict[str, str]]:
    """Of every card, the ids of what enters it, with the shape."""
    found: dict[str, dict[str, str]] = {}
    for edge in drawing.edges:
        source, target = (edge.target, edge.source) if edge.kind == "gradient" else (edge.source, edge.target)
        shape = next((row.text for row in edge.rows if row.tone == "plain"), "")
        found.setdefault(target, {})[source] = shape
    return found


def _is_rewired(old: Mapping[str, str], new: Mapping[str, str], both: set[str]) -> bool:
    """Whether a card is fed otherwise, beyond what cards that were added or removed explain."""
    lost, gained = old.keys() - new.keys(), new.keys() - old.keys()
    if any(old[source] != new[source] for source in old.keys() & new.keys()):
        return True
    return bool((lost & both and gained <= both) or (gained & both and lost <= both))


def _from(inputs: Mapping[str, str], drawing: Drawing) -> tuple[Row, ...]:
    """What enters a card, in words."""
    titles = {card.id: card.title for card in drawing.cards}
    return tuple(Row(f"from {titles[source]}" + (f" ({shape})" if shape else "")) for source, shape in inputs.items())


def _said(card: Card) -> str:
    problem = [f"⚠ {card.problem}"] if card.problem else []
    return " · ".join([*problem, *(row.text for row in card.rows)])


def _both(before: tuple[Row, ...], after: tuple[Row, ...]) -> tuple[Row, ...]:
    """The later rows; where one differs, what it was before stands above it."""
    rows: list[Row] = []
    for kind, i, i_end, j, j_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            rows += [Row(f"before: {row.text}", "quiet") for row in before[i:i_end]]
        rows += after[j:j_end]
    return tuple(rows)


def _in_order(cards: list[Card], edges: list[Edge]) -> list[Card]:
    """Removed cards moved in front of what they led to."""
    place = {card.id: float(i) for i, card in enumerate(cards)}
    for edge in reversed(edges):
        first, second = (edge.target, edge.source) if edge.kind == "gradient" else (edge.source, edge.target)
        if first.startswith("old~") and place[first] > place[second]:
            place[first] = place[second] - 0.5
    return sorted(cards, key=lambda card: place[card.id])
