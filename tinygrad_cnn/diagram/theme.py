"""The colours of the SVG pictures: the light ones that a picture is drawn in, and the dark one of each."""

import re

from .model import GRADIENT, PROBLEM

PAGE, INK, QUIET = "#FFFFFF", "#000000", "#595959"
GROUP, GROUP_LINE = "#F7F7F7", "#9A9A9A"
LINE, CONSTANT = "#333333", "#757575"
BAR = "#EFEFEF"  # of a share, where the family has no fill of its own

# Bands are the same in light and dark: none of these is a key of DARK.
ON_BAND = "#FEFEFE"
BAND_FILL = "#BF0000"

DARK = {
    PAGE: "#1E1E1E",
    INK: "#F0F0F0",
    QUIET: "#B4B4B4",
    GROUP: "#282828",
    GROUP_LINE: "#7A7A7A",
    LINE: "#CCCCCC",
    CONSTANT: "#A0A0A0",
    GRADIENT: "#FFA166",
    PROBLEM: "#FF8585",
    "#D6E8F5": "#10324D",
    "#00619A": "#2B9DFF",
    "#FBF4C6": "#3A3600",
    "#4D4600": "#FED527",
    "#D2EDE2": "#0B3D2D",
    "#004D38": "#64E0AE",
    "#F4E1EC": "#481A36",
    "#9B2F6D": "#EE68BD",
    "#EFEFEF": "#343434",
    "#6B6B6B": "#B8B8B8",
    "#FCE6D4": "#522605",
    "#B34700": "#FFAB74",
    "#FFF6E0": "#3D2E0A",
    "#8A5E00": "#EFC062",
    "#4A4A4A": "#D0D0D0",
}
TONES = {
    "plain": (INK, False),
    "bold": (INK, True),
    "quiet": (QUIET, False),
    "gradient": (GRADIENT, False),
    "problem": (PROBLEM, True),
}
EDGES = {
    "forward": (LINE, ""),
    "parameter": ("#8A5E00", "4 3"),
    "constant": (CONSTANT, "5 3"),
    "gradient": (GRADIENT, ""),
}
# What a mark says, the colour of its border and words, that of its band, and the dashes of the border.
MARKS = {
    "added": ("+ added", "#00619A", "#00609A", ""),
    "removed": ("− removed", "#6B6B6B", "#6A6A6A", "6 4"),
    "changed": ("~ changed", "#8A5E00", "#895E00", ""),
}

_COLOURED = re.compile('(fill|stroke)="(#[0-9A-F]{6})"')
_COLOUR = re.compile('(?<=(?:fill|roke)=")#[0-9A-F]{6}(?=")')


def check_theme(theme: str) -> None:
    """Raises ValueError for what is neither "auto" nor "light" nor "dark"."""
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"diagram: theme is 'auto', 'light' or 'dark', not {theme!r}")


def style(text: str) -> str:
    """The dark value of every colour in the text, for a dark system, Jupyter or VS Code; light ones stay light."""
    every = [(what, colour) for colour in DARK for what in ("fill", "stroke")]
    found = set(_COLOURED.findall(text)) if len(text) < 1_000_000 else every  # a search would cost more than it saves
    used = [pair for pair in every if pair in found]

    def rules(before: str, dark: bool) -> str:
        return "".join(
            f'{before} [{what}="{colour}"]{{{what}:{DARK[colour] if dark else colour}}}' for what, colour in used
        )

    own = "svg.tinygrad-cnn"
    light_place = f':is([data-jp-theme-light="true"],.vscode-light) {own}'
    dark_place = f':is([data-jp-theme-light="false"],.vscode-dark) {own}'
    return (
        f"<style>@media screen and (prefers-color-scheme:dark){{{own}{{fill:{DARK[INK]}}}{rules(own, True)}"
        f"{light_place}{{fill:{INK}}}{rules(light_place, False)}}}"
        f"{dark_place}{{fill:{DARK[INK]}}}{rules(dark_place, True)}</style>"
    )


def darkened(text: str) -> str:
    """The picture in dark colours alone."""
    return _COLOUR.sub(lambda match: DARK.get(match.group(), match.group()), text)
