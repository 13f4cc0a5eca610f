"""The drawing model: what a picture of a graph shows, before anybody decides where or in which format.

A view (build.py) makes a Drawing from a graph; a writer (svg.py, dot.py, text.py, ...) makes a file from a Drawing.
Everything here is plain data with plain text: escaping is the writers' business.
"""

from dataclasses import dataclass, field

from ..observation import Summary

# Fill and line of every family. Measured: black text on each fill >= 16:1, the tag (line colour) on its fill
# >= 4.5:1, the line on white >= 5:1; the smallest CIE76 difference between the lines of two op families is 12.5, 7.5
# and 16 under simulated protanopia, deuteranopia and tritanopia. A tag repeats every colour in words.
PALETTE = {
    "conv": ("#D6E8F5", "#00619A"),  # and linear
    "act": ("#FBF4C6", "#4D4600"),
    "pool": ("#D2EDE2", "#004D38"),
    "norm": ("#F4E1EC", "#9B2F6D"),
    "shape": ("#EFEFEF", "#6B6B6B"),
    "loss": ("#FCE6D4", "#B34700"),
    "parameter": ("#FFF6E0", "#8A5E00"),
    "input": ("#EFEFEF", "#6B6B6B"),
    "math": ("#FFFFFF", "#4A4A4A"),
}
GRADIENT = "#A84300"  # always and only gradients, always after the sign of the partial derivative
PROBLEM = "#C00000"


@dataclass(frozen=True)
class Row:
    """A line of text on a card or beside an edge."""

    text: str
    tone: str = "plain"  # plain, bold, quiet (grey), gradient (burnt orange) or problem (red)
    share: float = 0.0  # 0 to 1: how much of the row a bar behind the text fills


@dataclass(frozen=True)
class Strip:
    """Small pictures side by side on a card: feature maps, their gradients, kernels."""

    pictures: tuple[bytes, ...]  # PNG files
    width: float  # of each as drawn, in pixels
    height: float
    label: str  # what they show, in words


@dataclass(frozen=True)
class Card:
    """A node of the picture.

    shape: "card" (header band with title and tag, rows below), "sign" (a small circle with the title in it, as for
        + and x), "input" (a parallelogram), "target" (the same, dashed), "note" (a parameter's folded note),
        "stack" (a folded module: several sheets).
    family: a key of PALETTE. tag: the family in words, in small capitals, on the right of the header.
    group: the id of the innermost Group around it, or "".
    mark: "added", "removed" or "changed" since another picture; drawn as a band with the word, and a border.
    faint: not what the picture is about; drawn pale.
    """

    id: str
    shape: str
    family: str
    title: str
    tag: str = ""
    rows: tuple[Row, ...] = ()
    group: str = ""
    tooltip: str = ""
    link: str = ""
    problem: str = ""  # what is wrong here, in words; draws a red border and a band
    strips: tuple[Strip, ...] = ()  # below the first row
    mark: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Edge:
    """An arrow from one card to another.

    kind: "forward" (dark, solid), "parameter" (amber, dashed, no head), "constant" (grey, dashed) or "gradient"
        (burnt orange, pointing backward).
    rows: the label: the shape once, then the gradient. width: of the line in points.
    """

    source: str
    target: str
    kind: str = "forward"
    rows: tuple[Row, ...] = ()
    width: float = 1.2
    tooltip: str = ""
    problem: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Group:
    """A module: a light grey rounded box around its cards.

    parent: the id of the group around it, or "". stack: the card that stands for the module where a page folds it; its
    id is that of no other card. folded: whether a page shows it folded at first.
    """

    id: str
    title: str  # the path, in bold
    kind: str = ""  # the class
    note: str = ""  # parameters, FLOPs
    parent: str = ""
    stack: Card | None = None
    folded: bool = False


@dataclass(frozen=True)
class Part:
    """What an op's rule sends to one of its inputs in backward: ∂input = formula, to the card `target`."""

    input: str
    target: str
    formula: str = ""  # without the "∂input = "
    gradient: Summary | None = None  # what was sent, where it was watched


@dataclass(frozen=True)
class Detail:
    """What a page shows of a card that is picked: facts by name, the values, the gradient, and where it goes."""

    facts: tuple[tuple[str, str], ...] = ()
    value: Summary | None = None
    gradient: Summary | None = None
    parts: tuple[Part, ...] = ()


@dataclass
class Drawing:
    """A picture: cards and edges in topological order, groups outermost first; details by the id of a card."""

    title: str
    cards: list[Card] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    legend: tuple[Row, ...] = ()
    direction: str = "TB"  # or "LR"
    theme: str = "auto"  # of an SVG: "light", "dark", or "auto", which follows the reader
    is_before_backward: bool = False  # then what is not there was not computed, else it was not kept
    details: dict[str, Detail] = field(default_factory=dict)
