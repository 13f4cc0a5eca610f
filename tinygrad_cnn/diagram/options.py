"""How to draw a graph: what `draw` takes, and what a question marks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..graph import Node, Tensor
from ..shapes import is_int

_CHOICES = {
    "params": ("nodes", "inline", "hide"),
    "direction": ("TB", "LR"),
    "theme": ("auto", "light", "dark", "print"),
}


@dataclass(frozen=True)
class Options:
    """How to draw a graph; `picture.draw` says what each of these does."""

    view: str = "ops"
    focus: str | None = None  # what stays open: a path or title; what is around it is `changes.around`'s business
    depth: int | None = None
    fold: bool | None = None
    params: str = "nodes"
    max_nodes: int = 400
    title: str | None = None
    legend: bool = True
    direction: str = "TB"
    theme: str = "auto"
    parameters: Mapping[str, Tensor] = field(default_factory=dict)  # of the model, by path
    problems: Mapping[Node, str] = field(default_factory=dict)  # of ops, beside those that the view finds
    stamps: Mapping[str, str] = field(default_factory=dict)  # of ops by name: what gradcheck said
    emphasis: frozenset[Node] | None = None  # all else is pale
    is_page: bool = False  # draw every module open, with the stack that stands for it where the page folds it

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                *most, last = map(repr, allowed)
                raise ValueError(f"graph: {name}={value!r}; it can be {', '.join(most)} or {last}")
        for name, kind, wanted in (("title", str | None, "a text or None"), ("focus", str | None, "a text or None"),
                                   ("legend", bool, "True or False")):  # fmt: skip
            if not isinstance(value := getattr(self, name), kind):
                raise TypeError(f"graph: {name} is {value!r}; {wanted} is needed")
        if self.fold is not None and not isinstance(self.fold, bool):  # 1 == True, but folds as None does
            raise ValueError(f"graph: fold={self.fold!r}; it can be None, True or False")
        for name, number in (("depth", 1 if self.depth is None else self.depth), ("max_nodes", self.max_nodes)):
            if not is_int(number) or number < 1:
                raise ValueError(f"graph: {name}={number!r}; it can be an int from 1 on")
