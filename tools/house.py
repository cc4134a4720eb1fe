"""Measures how the package is built: ``python tools/house.py [CHECKOUT ...]``.

One column a checkout, one row a figure, as a Markdown table. Everything is read from the syntax
trees; nothing is imported. ``docs/architecture.md`` holds the table.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

PACKAGE = "bids_qsmthal"
LONG = 20
"""Lines of a function body from which it counts as long."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A module: its dotted name without the package, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder below the package, or the module's own name where it lies at the root."""
        return self.name.split(".")[0]

    @property
    def loose(self) -> bool:
        """Whether it lies at the package's root."""
        return "." not in self.name


def modules(root: Path) -> list[Module]:
    """Return the modules of a checkout; a folder's ``__init__`` has the folder's name."""
    found = []
    package = root / PACKAGE
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, text, ast.parse(text)))
    return [module for module in found if not module.name.startswith("__")]


def functions(tree: ast.Module) -> list[Function]:
    """Return every function and method."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def body_lines(function: Function) -> int:
    """Return the lines of a body without its docstring."""
    first, *rest = function.body
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = (rest[0] if documented and rest else first).lineno
    return max(1, (function.end_lineno or start) - start + 1)


def parameters(function: Function) -> list[ast.arg]:
    """Return the parameters but ``self`` and ``cls``."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [one for one in every if one.arg not in {"self", "cls"}]


def is_public(name: str) -> bool:
    """Say whether a name is for others."""
    return not name.startswith("_")


def comments(text: str) -> int:
    """Return the number of comments that are no directives of a checker."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    words = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return sum(not word.startswith(("# noqa", "# type:", "#!")) for word in words)


def imported_rooms(module: Module, names: set[str]) -> set[str]:
    """Return the rooms that a module imports, for checking types as well."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            first, _, rest = node.module.partition(".")
            if first == PACKAGE:
                wanted = [rest] if rest else [alias.name for alias in node.names]
                found |= {one.split(".")[0] for one in wanted}
    return found & names - {module.room}


def floors(arrows: dict[str, set[str]]) -> int:
    """Return how many rooms the longest way down passes; a circle is an error."""

    def depth(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise SystemExit(f"circle: {' > '.join((*above, room))}")
        return 1 + max((depth(below, (*above, room)) for below in arrows[room]), default=0)

    return max(depth(room) for room in list(arrows))


def class_names_with_two_meanings(found: list[Module]) -> list[str]:
    """Return the names of public classes that two modules define."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for module in found:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and is_public(node.name):
                homes[node.name].add(module.name)
    return sorted(name for name, places in homes.items() if len(places) > 1)


def documented(found: list[Module]) -> float:
    """Return the fraction of public functions, methods and classes that have a docstring."""
    public = [
        node
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, Function | ast.ClassDef) and is_public(node.name)
    ]
    return sum(ast.get_docstring(node) is not None for node in public) / len(public)


def lines_of(folder: Path) -> int:
    """Return the lines of the Python files below a folder."""
    return sum(len(path.read_text(encoding="utf-8").split("\n")) for path in folder.rglob("*.py"))


def figures(root: Path) -> dict[str, str]:
    """Return every figure of a checkout, in words."""
    found = modules(root)
    rooms = {module.room for module in found}
    arrows = {
        room: set().union(*(imported_rooms(m, rooms) for m in found if m.room == room))
        for room in rooms
    }
    lines = sum(module.text.count("\n") for module in found)
    every = [function for module in found for function in functions(module.tree)]
    lengths = [body_lines(function) for function in every]
    arguments = [one for function in every for one in parameters(function)]
    annotated = sum(one.annotation is not None for one in arguments)
    folders: defaultdict[str, int] = defaultdict(int)
    for module in found:
        folders[module.room if not module.loose else ""] += 1
    twice = class_names_with_two_meanings(found)
    in_folders = {module.room for module in found if not module.loose}
    loose = [module for module in found if module.loose and module.room not in in_folders]
    long = sum(length > LONG for length in lengths)
    return {
        "modules": str(len(found)),
        "lines": f"{lines:,}",
        "folders (rooms)": str(len(rooms)),
        "layers": str(floors(arrows)),
        "imports between folders": str(sum(map(len, arrows.values()))),
        "modules outside of any folder": str(len(loose)),
        "modules in one folder, most": str(max(folders.values())),
        "functions": str(len(every)),
        "lines of a function, median / max": f"{statistics.median(lengths):g} / {max(lengths)}",
        f"functions over {LONG} lines, %": f"{100 * long / len(every):.0f}",
        "parameters of a function, most": str(max(len(parameters(one)) for one in every)),
        "parameters annotated, %": f"{100 * annotated / len(arguments):.1f}",
        "public docstrings, %": f"{100 * documented(found):.1f}",
        "comments per 100 lines": f"{100 * sum(comments(m.text) for m in found) / lines:.1f}",
        "class names with two meanings": str(len(twice)),
        "test lines per code line": f"{lines_of(root / 'tests') / lines:.2f}",
    }


def main() -> None:
    """Print the table."""
    roots = [Path(word) for word in sys.argv[1:]] or [Path(__file__).parents[1]]
    columns = [figures(root) for root in roots]
    print(f"| | {' | '.join(root.resolve().name for root in roots)} |")
    print(f"|---|{'--:|' * len(roots)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main()
