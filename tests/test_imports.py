"""No module imports itself by way of others, and no class name has two meanings."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bids_qsmthal

PACKAGE = Path(bids_qsmthal.__file__).parent


def imported_modules(source: str, known: set[str]) -> set[str]:
    """Return the modules of the package that a source imports anywhere, also for types alone."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= inner or ({node.module} & known)
    return found


def graph(package: Path) -> dict[str, set[str]]:
    """Return the modules of a package with what each imports; folders count as ``__init__``."""
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts): path
        for path in package.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {
        name: imported_modules(path.read_text(), set(modules)) for name, path in modules.items()
    }


def cycle(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle, first and last the same; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_of_the_package_have_no_circle() -> None:
    imports = graph(PACKAGE)

    assert len(imports["bids_qsmthal.simulate.heads"]) > 3
    assert cycle(imports) == []


@pytest.mark.parametrize(
    "lines",
    [
        "from package.b import c",
        "import package.b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package import b",
        "def later():\n    from package.b import c",
    ],
)
def test_a_circle_is_noticed_whichever_way_it_is_imported(tmp_path: Path, lines: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name, content in (("__init__", ""), ("a", lines), ("b", "from package.a import d")):
        (package / f"{name}.py").write_text(content)

    assert set(cycle(graph(package))) == {"package.a", "package.b"}


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.name}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
