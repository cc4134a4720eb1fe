"""Write what is made from the schemas: python tools/write_schemas.py.

JSON schemas of what people write into the package, the keys of an analysis file into
docs/analysis-file.md, and the Boutiques descriptor into boutiques.json.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bids_qsmthal.app import configuration, descriptor, options
from bids_qsmthal.group import analysis_file
from bids_qsmthal.statistics import schema

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "bids_qsmthal" / "data" / "schemas"
PAGE = ROOT / "docs" / "analysis-file.md"
BEGIN, END = "<!-- begin of what tools/write_schemas.py writes -->\n", "<!-- end -->\n"

WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}


def with_grammar(page: str) -> str:
    """Return a page with the keys of an analysis file between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{grammar()}\n{END}{after}"


def grammar() -> str:
    """Return a table of keys for the file and for each kind of entry."""
    whole = schema.json_schema()
    kinds = {"": whole} | whole["$defs"]
    # From the top, each kind before those that are in it.
    order = [""]
    for name in order:
        found = re.findall(r"#/\$defs/(\w+)", str(kinds[name]["properties"]))
        order += [other for other in dict.fromkeys(found) if other not in order]
    return "\n".join(_table(_name(name) or "The file", kinds[name]) for name in order)


def _table(title: str, kind: dict[str, Any]) -> str:
    rows = [
        f"| `{key}` | {_type(value)} | {_default(key, value, kind)} | {value['description']} |"
        for key, value in kind["properties"].items()
    ]
    head = ["| key | what | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"### {title}", "", kind["description"], "", *head, *rows, ""])


def _name(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Entry")).capitalize()


def _default(key: str, value: dict[str, Any], kind: dict[str, Any]) -> str:
    if key in kind.get("required", []):
        return "**required**"
    default = value.get("default")
    # The defaults of an entry stand in its own table.
    return "" if not default or isinstance(default, dict) else f"`{default}`"


def _type(value: dict[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in value:
        name = _name(value["$ref"].rpartition("/")[2]).lower()
        return f"[{name}](#{name.replace(' ', '-')})"
    if "anyOf" in value:
        words = [_type(part) for part in value["anyOf"] if part.get("type") != "null"]
        # A whole number is a number.
        return " or ".join([word for word in words if word != "whole number"] or words)
    if "enum" in value or "const" in value:
        return ", ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    if value["type"] == "array":
        return f"list of {_type(value['items'])}"
    if value["type"] == "object":
        # Names with a pattern of their own are under patternProperties.
        inner = value.get("additionalProperties") or next(iter(value["patternProperties"].values()))
        return f"names, each with {_type(inner)}"
    return WORDS[value["type"]]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.schema.json").write_text(configuration.schema(), encoding="utf-8")
    (FOLDER / "analysis.schema.json").write_text(analysis_file.schema_text(), encoding="utf-8")
    PAGE.write_text(with_grammar(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    stored = descriptor.describe(options.main_parser())
    (ROOT / "boutiques.json").write_text(stored, encoding="utf-8")
