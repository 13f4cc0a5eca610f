"""The cards of a drawing inside their groups, as one flat sequence."""

from collections.abc import Iterator

from .model import Card, Drawing, Group


def nested(drawing: Drawing) -> Iterator[Group | Card | None]:
    """Every card once, between its Group and the None that closes that group; in order of first appearance.

    Groups without cards are left out. A group whose parent does not come before it, and a card whose group does not
    exist, stand outside.
    """
    groups: dict[str, Group] = {}
    parents: dict[str, str] = {}
    for group in drawing.groups:
        parents.setdefault(group.id, group.parent if group.parent in groups else "")
        groups.setdefault(group.id, group)
    contents: dict[str, list[Group | Card]] = {"": []}
    for card in drawing.cards:
        home = card.group if card.group in groups else ""
        opening = []
        while home not in contents:
            contents[home] = []
            opening.append(home)
            home = parents[home]
        for inner in opening:
            contents[parents[inner]].append(groups[inner])
        contents[card.group if card.group in groups else ""].append(card)
    stack = [iter(contents[""])]
    while stack:
        for item in stack[-1]:
            yield item
            if isinstance(item, Group):
                stack.append(iter(contents[item.id]))
                break
        else:
            stack.pop()
            if stack:
                yield None
