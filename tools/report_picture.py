"""Make the picture of a report for the README: the top of a page, as a browser shows it.

python tools/report_picture.py OUTPUT_DIR/sub-01.html docs/report.png
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

WINDOW = (1280, 1330)
WIDTH = 960
MOST_BYTES = 300_000


def main() -> None:
    """Open the page without a window and keep a small picture of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--hide-scrollbars", f"--user-data-dir={folder}/profile"),
                *(f"--window-size={WINDOW[0]},{WINDOW[1]}", f"--screenshot={shot}"),
                chosen.page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as seen:
            height = round(seen.height * WIDTH / seen.width)
            small = seen.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    # The outlines are few pixels in strong colours: a palette by frequency would lose them.
    few = small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(chosen.picture, optimize=True)
    size = chosen.picture.stat().st_size
    print(f"{chosen.picture}: {WIDTH} x {height}, {size // 1000} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{chosen.picture}: {size} bytes, expected at most {MOST_BYTES}")


if __name__ == "__main__":
    main()
