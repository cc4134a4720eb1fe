"""Make the pictures of the gallery from the outputs of a finished run, as a browser shows them.

python tools/gallery.py OUTPUT_DIR PARTICIPANT docs/gallery

That of the demo is demo/derivatives.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

FIGURES = (
    "desc-thalamus_Chimap",
    "desc-sensitivity_chart",
    "desc-chi_Chimap",
    "desc-nuclei_dseg",
    "desc-t1wtotemplatefixed_reg",
    "desc-lesion_FLAIR",
)
"""Figures of a participant, by what follows its label in their names."""

WIDTH = 1000
OVERVIEW_HEIGHT = 820
QUALITY = 74
MOST_BYTES = 170_000


def main() -> None:
    """Draw each figure of one participant, and the overview of all scans where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("participant", help="such as sub-01")
    parser.add_argument("gallery", type=Path)
    chosen = parser.parse_args()
    chosen.gallery.mkdir(exist_ok=True)
    figures = chosen.output_dir / chosen.participant / "figures"
    for name in FIGURES:
        drawing = figures / f"{chosen.participant}_{name}.svg"
        picture(drawing, chosen.gallery / f"{name}.webp", height(drawing))
    overview = chosen.output_dir / "group" / "quality.html"
    if overview.exists():
        picture(overview, chosen.gallery / "quality.webp", OVERVIEW_HEIGHT)


def height(drawing: Path) -> int:
    """Return how high a drawing is at the width of the gallery, by its view box."""
    head = drawing.read_text(encoding="utf-8")[:2000]
    _, _, wide, high = map(float, head.partition('viewBox="')[2].partition('"')[0].split())
    return round(WIDTH * high / wide)


def picture(shown: Path, place: Path, high: int) -> None:
    """Open a file without a window and keep a small picture of it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(
            '<body style="margin:0">'
            f'<img src="{shown.resolve().as_uri()}" width="{WIDTH}" height="{high}">',
            encoding="utf-8",
        )
        shot = Path(folder) / "shot.png"
        opened = page if shown.suffix == ".svg" else shown
        subprocess.run(
            [
                *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--hide-scrollbars", f"--user-data-dir={folder}/profile"),
                *(f"--window-size={WIDTH},{high}", f"--screenshot={shot}"),
                opened.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as seen:
            seen.convert("RGB").save(place, "webp", quality=QUALITY, method=6)
    size = place.stat().st_size
    print(f"{place}: {WIDTH} x {high}, {size // 1000} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{place}: {size} bytes, expected at most {MOST_BYTES}")


if __name__ == "__main__":
    main()
