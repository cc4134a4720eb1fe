"""Write the JSON schema of configuration files into the package: python tools/write_schemas.py."""

from pathlib import Path

from bids_qsmthal.app import configuration

PLACE = Path(__file__).parents[1] / "bids_qsmthal" / "data" / "schemas" / "config.schema.json"

if __name__ == "__main__":
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(configuration.schema(), encoding="utf-8")
