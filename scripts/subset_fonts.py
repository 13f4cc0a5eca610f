"""Cut the fonts that PNG files are drawn with down to the characters in diagram/fonts.py.

    pip install fonttools
    apt-get install fonts-croscore fonts-dejavu-core
    python scripts/subset_fonts.py /usr/share/fonts/truetype tinygrad_cnn/diagram/fonts

Arimo gives what it has, in regular and bold, and DejaVu Sans the rest (in regular alone, since resvg takes the first
substitute for both). Hints are left out, which resvg does not use; copyright and licence stay in the files. The same
fonts and the same fonttools give the same bytes.
"""

import argparse
import hashlib
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from tinygrad_cnn.diagram.fonts import COVERED

FACES = ("Arimo-Regular", "Arimo-Bold")
SUBSTITUTE = "DejaVuSans"


def subset(path: Path, characters: set[str]) -> tuple[TTFont, set[str]]:
    """The font with those of the characters that it has, and what it lacks."""
    font = TTFont(path, recalcTimestamp=False)
    had = set(map(chr, font.getBestCmap()))
    options = Options()
    options.hinting = False
    options.layout_features = ["ccmp", "mark", "mkmk", "locl"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 13, 14]
    options.drop_tables += ["FFTM"]  # the time of FontForge's last save
    options.notdef_outline = True
    subsetter = Subsetter(options)
    subsetter.populate(text="".join(characters & had))
    subsetter.subset(font)
    return font, characters - had


def find(name: str, folder: Path) -> Path:
    """The one file of that name below the folder."""
    paths = list(folder.rglob(f"{name}.ttf"))
    if len(paths) != 1:
        raise SystemExit(f"subset_fonts: there are {len(paths)} files {name}.ttf below {folder}; one is needed")
    return paths[0]


def write(font: TTFont, path: Path) -> None:
    """Write the font, and print the size and the checksum of the file."""
    font.save(path)
    content = path.read_bytes()
    print(f"{path}  {len(content)} bytes  sha256 {hashlib.sha256(content).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder with the TTF files somewhere below it")
    parser.add_argument("output", type=Path, help="the folder to write to")
    options = parser.parse_args()
    lacking: set[str] = set()
    for name in FACES:
        font, lacks = subset(find(name, options.source), set(COVERED))
        write(font, options.output / f"{name}.ttf")
        lacking |= lacks
    font, lacking = subset(find(SUBSTITUTE, options.source), lacking)
    write(font, options.output / f"{SUBSTITUTE}.ttf")
    if lacking:
        raise SystemExit(f"subset_fonts: no font has {''.join(sorted(lacking))}")


if __name__ == "__main__":
    main()
