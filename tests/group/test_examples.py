"""The page of documentation on the analysis file: all keys, and examples that run."""

from __future__ import annotations

from tools import write_schemas


def test_the_page_has_every_key_of_the_schema_as_it_is_now() -> None:
    page = write_schemas.PAGE.read_text(encoding="utf-8")
    assert page == write_schemas.with_grammar(page), "run: python tools/write_schemas.py"
    for key in ("Filter", "Groups", "TopCoded", "SmallestEffect", "OpenDirection"):
        assert f"| `{key}` |" in page
