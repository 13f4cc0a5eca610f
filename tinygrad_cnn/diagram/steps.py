"""The order in which a Drawing's ops ran forward and run backward, and what each sends to which card."""

from .model import Card, Detail, Drawing, Part

OPS = ("card", "sign", "stack")


def forward_steps(drawing: Drawing) -> list[int]:
    """The numbers of the op cards, in the order in which they were computed."""
    return [i for i, card in enumerate(drawing.cards) if card.shape in OPS]


def backward_steps(drawing: Drawing) -> list[int]:
    """The numbers of the op cards that pass a gradient on, from the last op to the first.

    An op passes one on if the last op was computed from it and it was computed from a parameter.
    """
    parts = sent(drawing)
    passing = [i for i in forward_steps(drawing) if parts[i]]
    if not passing:
        return []
    number = {card.id: i for i, card in enumerate(drawing.cards)}
    reached = {passing[-1]}
    steps = []
    for i in reversed(passing):
        if i in reached:
            steps.append(i)
            reached.update(number[part.target] for part in parts[i])
    return steps


def sent(drawing: Drawing) -> list[tuple[Part, ...]]:
    """What every card sends backward: as its Detail says, else one part to each input that needs a gradient."""
    number = {card.id: i for i, card in enumerate(drawing.cards)}
    into: list[list[int]] = [[] for _ in drawing.cards]
    needs = [False] * len(drawing.cards)
    for edge in drawing.edges:
        source, target = number[edge.source], number[edge.target]
        if edge.kind == "gradient":
            source, target = target, source
        into[target].append(source)
        if edge.kind in ("parameter", "gradient"):
            needs[source] = True
    parts: list[tuple[Part, ...]] = []
    for i, card in enumerate(drawing.cards):
        told = drawing.details.get(card.id, Detail()).parts
        known = tuple(part for part in told if part.target in number)
        if not known and card.shape in OPS:
            inputs = dict.fromkeys(source for source in into[i] if needs[source])
            known = tuple(Part("", drawing.cards[source].id) for source in inputs)
        needs[i] = needs[i] or bool(known)
        parts.append(known)
    return parts


def path(drawing: Drawing, card: Card) -> str:
    """The titles of the modules around a card, outermost first."""
    groups = {group.id: group for group in drawing.groups}
    titles: list[str] = []
    at = card.group
    while at in groups and len(titles) <= len(groups):
        titles.append(groups[at].title)
        at = groups[at].parent
    return " / ".join(reversed(titles))
