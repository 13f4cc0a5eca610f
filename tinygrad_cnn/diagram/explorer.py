"""A drawing as JSON for Model Explorer (https://github.com/google-ai-edge/model-explorer)."""

import json
from typing import Any

from .model import Card, Drawing, Group, Row
from .text import printable


def to_model_explorer(drawing: Drawing) -> str:
    """The drawing as a Model Explorer graph collection: one graph, with a namespace per group.

    A value's shape is metadata of the output that it leaves by; an edge's gradient is metadata of the input that it
    enters by.
    """
    title = printable(drawing.title) or "graph"
    namespaces, attributes = _namespaces(drawing.groups)
    nodes = {card.id: _node(card, namespaces.get(card.group, "")) for card in drawing.cards}
    for edge in drawing.edges:
        if edge.source not in nodes or edge.target not in nodes:
            continue
        source, target = nodes[edge.source], nodes[edge.target]
        entry = str(len(target["incomingEdges"]))
        target["incomingEdges"].append(
            {"sourceNodeId": source["id"], "sourceNodeOutputId": "0", "targetNodeInputId": entry}
        )
        shapes = [row for row in edge.rows if row.tone == "plain"]
        if shapes and not source["outputsMetadata"]:
            values = " · ".join(printable(row.text) for row in shapes)
            source["outputsMetadata"].append({"id": "0", "attrs": [{"key": "tensor_shape", "value": values}]})
        marks = _attributes(tuple(row for row in edge.rows if row.tone != "plain"))
        kind = [] if edge.kind == "forward" else [{"key": "kind", "value": printable(edge.kind)}]
        problem = [{"key": "problem", "value": "yes"}] if edge.problem else []
        if marks or kind or problem:
            target["inputsMetadata"].append({"id": entry, "attrs": kind + marks + problem})
    graph = {"id": title, "nodes": list(nodes.values()), "groupNodeAttributes": attributes}
    return json.dumps({"label": title, "graphs": [graph]}, ensure_ascii=False, indent=1) + "\n"


def _node(card: Card, namespace: str) -> dict[str, Any]:
    facts = [
        ("family", card.tag or card.family),
        ("change", card.mark),
        ("problem", card.problem),
        ("about", card.tooltip),
        ("at", card.link),
    ]
    return {
        "id": printable(card.id),
        "label": printable(card.title),
        "namespace": namespace,
        "attrs": [{"key": key, "value": printable(value)} for key, value in facts if value] + _attributes(card.rows),
        "incomingEdges": [],
        "inputsMetadata": [],
        "outputsMetadata": [],
    }


def _attributes(rows: tuple[Row, ...]) -> list[dict[str, str]]:
    """Rows as attributes with different keys: detail, gradient, detail 2, ..."""
    seen: dict[str, int] = {}
    found = []
    for row in rows:
        key = {"gradient": "gradient", "problem": "problem"}.get(row.tone, "detail")
        seen[key] = seen.get(key, 0) + 1
        found.append({"key": key if seen[key] == 1 else f"{key} {seen[key]}", "value": printable(row.text)})
    return found


def _namespaces(groups: list[Group]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The namespace of every group, a path of names without their parents' prefix, and what is known about each."""
    paths: dict[str, str] = {}
    titles = {"": ""}
    attributes: dict[str, dict[str, str]] = {}
    copies: dict[str, int] = {}
    for group in groups:
        if group.id in paths:
            continue
        outer = paths.get(group.parent, "")
        parent_title = titles.get(group.parent, "")
        name = group.title.removeprefix(parent_title + ".") if parent_title else group.title
        label = printable(f"{name} ({group.kind})" if group.kind else name).replace("/", "∕") or "module"
        path = f"{outer}/{label}" if outer else label
        first = path
        while path in attributes:
            copies[first] = copies.get(first, 1) + 1
            path = f"{first} {copies[first]}"
        paths[group.id] = path
        titles[group.id] = group.title
        facts = {"path": group.title, "class": group.kind, "about": group.note}
        attributes[path] = {key: printable(value) for key, value in facts.items() if value}
    return paths, attributes
