"""Make the pictures and the example report of the gallery from the outputs of a finished run.

python tools/gallery.py OUTPUT_DIR PARTICIPANT docs/gallery

OUTPUT_DIR holds simulated participants, those of the demo or of a benchmark, so no face is shown.
"""

import argparse
import base64
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote

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

REPORT_QUALITY = 36
REPORT_WIDTH = 800
MOST_BYTES_OF_REPORT = 1_500_000


def main() -> None:
    """Draw figures and report of one participant, and the overview of all scans if there is one."""
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
    example(chosen.output_dir / f"{chosen.participant}.html", chosen.gallery)


def example(report: Path, gallery: Path) -> None:
    """Keep a whole report with its drawings as small pictures, without links to other files."""

    def small(drawing: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            svg, webp = Path(folder) / "figure.svg", Path(folder) / "figure.webp"
            svg.write_text(unquote(drawing[1]), encoding="utf-8")
            picture(svg, webp, height(svg), REPORT_QUALITY, REPORT_WIDTH)
            code = base64.b64encode(webp.read_bytes()).decode("ascii")
        return f'<img src="data:image/webp;base64,{code}"'

    text = report.read_text(encoding="utf-8")
    text = re.sub(r'<img src="data:image/svg\+xml,([^"]*)"', small, text)
    # The page of the group level is not there.
    text = re.sub(r'<details class="among">.*?</details>', "", text, flags=re.DOTALL)
    text = re.sub(r' *<li><a href="(?!#|data:|https:)[^"]*"[^>]*>[^<]*</a></li>\n', "", text)
    place = gallery / report.name
    place.write_text(text, encoding="utf-8")
    size = place.stat().st_size
    print(f"{place}: {size // 1000} kB")
    if size > MOST_BYTES_OF_REPORT:
        raise SystemExit(f"{place}: {size} bytes, expected at most {MOST_BYTES_OF_REPORT}")


def height(drawing: Path) -> int:
    """Return how high a drawing is at the width of the gallery, by its view box."""
    head = drawing.read_text(encoding="utf-8")[:2000]
    _, _, wide, high = map(float, head.partition('viewBox="')[2].partition('"')[0].split())
    return round(WIDTH * high / wide)


def picture(shown: Path, place: Path, high: int, quality: int = QUALITY, wide: int = WIDTH) -> None:
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
            kept = seen.convert("RGB").resize(
                (wide, high * wide // WIDTH), Image.Resampling.LANCZOS
            )
            kept.save(place, "webp", quality=quality, method=6)
    size = place.stat().st_size
    print(f"{place}: {wide} x {high * wide // WIDTH}, {size // 1000} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{place}: {size} bytes, expected at most {MOST_BYTES}")


if __name__ == "__main__":
    main()
