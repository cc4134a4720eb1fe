"""Cut DejaVu Sans down to the letters of the figures: ``python tools/build_font.py``.

Writes ``bids_qsmthal/data/fonts/figures.ttf`` from the font that comes with matplotlib. The hints
for small screens and the rules for other scripts are left out.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from fontTools import subset  # type: ignore[import-untyped]

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
MADE = Path(__file__).parents[1] / "bids_qsmthal" / "data" / "fonts" / "figures.ttf"

FAMILY = "Figures of bids_qsmthal"
"""A name of its own, so that it is never taken for the whole font."""

NAMES = {1: FAMILY, 4: FAMILY, 6: "FiguresOfBidsQsmthal", 16: FAMILY}
"""Family, full name and PostScript name by their numbers in the table of names."""

LETTERS = (*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x2300))
"""Latin with accents, Greek, punctuation, superscripts, arrows and mathematical signs."""


def main() -> None:
    """Write the font."""
    options = subset.Options(layout_features=[], hinting=False, glyph_names=True)
    options.drop_tables += ["FFTM", "PfEd", "BDF", "meta", "GSUB", "GPOS", "GDEF", "kern"]
    with subset.load_font(FONTS / "DejaVuSans.ttf", options, lazy=False) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=LETTERS)
        cutter.subset(font)
        for entry in font["name"].names:
            entry.string = NAMES.get(entry.nameID, str(entry))
        # The time of the making would give other bytes each time.
        font.recalcTimestamp = False
        font.save(MADE)


if __name__ == "__main__":
    main()
