"""The digits and letters as strokes on a grid: the prototypes of drawn images."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["NAMES", "segments"]

# Each stroke is a chain of points "xy" on a grid of 5 x 7, x from 0 to 4 to the right, y from 0 to 6 downwards.
STROKES = {
    "0": "10 30 41 45 36 16 05 01 10, 14 32",
    "1": "11 20 26, 16 36",
    "2": "01 10 30 41 42 06 46",
    "3": "00 40 23 33 44 45 36 16 05",
    "4": "30 04 44, 30 36",
    "5": "40 00 03 33 44 45 36 06",
    "6": "40 20 02 05 16 36 45 44 33 03",
    "7": "00 40 16, 13 33",
    "8": "10 30 41 23 05 16 36 45 23 01 10",
    "9": "43 13 02 01 10 30 41 44 26 06",
    "A": "06 20 46, 14 34",
    "B": "00 06 36 45 44 33 03, 33 42 41 30 00",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 06 26 44 42 20 00",
    "E": "40 00 06 46, 03 33",
    "F": "40 00 06, 03 33",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06, 40 46, 03 43",
    "I": "00 40, 20 26, 06 46",
    "J": "20 40, 30 35 26 16 05",
    "K": "00 06, 40 03 46",
    "L": "00 06 46",
    "M": "06 00 23 40 46",
    "N": "06 00 46 40",
    "O": "20 42 44 26 04 02 20",
    "P": "06 00 30 41 42 33 03",
    "Q": "20 42 44 26 04 02 20, 24 46",
    "R": "06 00 30 41 42 33 03, 23 46",
    "S": "41 30 10 01 02 44 45 36 16 05",
    "T": "00 40, 20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "W": "00 16 22 36 40",
    "X": "00 46, 40 06",
    "Y": "00 23 40, 23 26",
    "Z": "00 40 06 46, 13 33",
}
NAMES = "".join(STROKES)


def segments(classes: int) -> NDArray[np.float32]:
    """The lines of the first glyphs: (classes s 4) as x0 y0 x1 y1, around (0, 0), from -1 to 1 high.

    Glyphs with fewer lines than s repeat their last one.
    """
    lines = []
    for name in NAMES[:classes]:
        chains = [[(int(at[0]), int(at[1])) for at in chain.split()] for chain in STROKES[name].split(",")]
        lines.append([(*a, *b) for chain in chains for a, b in pairwise(chain)])
    most = max(map(len, lines))
    grid = np.array([glyph + glyph[-1:] * (most - len(glyph)) for glyph in lines], np.float32)
    return (grid - np.array([2, 3, 2, 3], np.float32)) / np.float32(3)
