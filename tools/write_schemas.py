"""Write the JSON schemas of what people write into the package: python tools/write_schemas.py."""

from pathlib import Path

from bids_qsmthal.app import configuration
from bids_qsmthal.group import analysis_file

FOLDER = Path(__file__).parents[1] / "bids_qsmthal" / "data" / "schemas"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.schema.json").write_text(configuration.schema(), encoding="utf-8")
    (FOLDER / "analysis.schema.json").write_text(analysis_file.schema_text(), encoding="utf-8")
