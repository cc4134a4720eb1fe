"""Documents that people write, in YAML or TOML: read safely, checked against a model.

What is wrong ends in one line with the file, the place in it, the name, what was found and what is
expected.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from bids_qsmthal.core.errors import DataError, MissingInputError, UsageError, raise_if_disk_fails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "names and values",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "int_type": "a whole number",
    "list_type": "a list, in brackets",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_type": "text (in quotes where it looks like a number)",
}
"""What is expected, by the code that pydantic gives a failure; its own sentence for any other."""

MOST_BYTES = 2**21
"""Of a file: reading YAML takes seconds for each megabyte. The packaged analysis has 17 kB,
settings that name every participant of a study of 50,000 have one megabyte."""

LONGEST = 60
"""Characters of a value that are shown."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and where in it; TOML is read without places."""

    path: Path
    content: Any
    root: yaml.Node | None = None

    def where(self, keys: Sequence[str | int] = (), *, of_key: bool = False) -> str:
        """Return the file and, where known, line and column of a value, or of its key."""
        node = self.root
        for depth, key in enumerate(keys, 1):
            found = _below(node, key)
            if found is None:
                break
            node = found[0 if of_key and depth == len(keys) else 1]
        if node is None:
            return str(self.path)
        return f"{self.path}, line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"

    def renamed(self, plain: Callable[[str], str]) -> Document:
        """Return it with its outermost names in another spelling.

        Raises
        ------
        UsageError
            Two of them are then the same.
        """
        content: dict[str, Any] = {}
        for key, value in self.content.items():
            name = plain(str(key))
            if name in content:
                raise UsageError(f"{self.where([key], of_key=True)}: {name} is given twice.")
            content[name] = value
        root = self.root
        if isinstance(root, yaml.MappingNode):
            pairs = [
                # The nodes are renamed as well, for where() looks names up in them; their marks
                # stay.
                (yaml.ScalarNode(key.tag, plain(str(key.value)), key.start_mark), value)
                for key, value in root.value
            ]
            root = yaml.MappingNode(root.tag, pairs, root.start_mark)
        return Document(self.path, content, root)


def read_document(path: Path) -> Document:
    """Read a YAML file, or a TOML file by its name.

    Raises
    ------
    MissingInputError
        There is no such file.
    DataError
        It is too long, not readable, gives a value to one name twice, or holds a null character.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MOST_BYTES:
            raise DataError(
                f"{path}: {n_bytes} bytes; expected at most {MOST_BYTES}: is it the right file?"
            )
        # Editors on Windows put a byte order mark before UTF-8; tomllib and YAML would refuse it.
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            return _without_nulls(Document(path, tomllib.loads(text)))
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such file.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise_if_disk_fails(error, path)
        raise _unreadable(path, error) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """Return what YAML text holds.

    Raises
    ------
    DataError
        It is no YAML, gives a value to one name twice, or holds a null character.
    """
    try:
        document = Document(path, *_yaml(text))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unreadable(path, error) from error
    for node in _doubles(document.root):
        number = node.start_mark.line + 1
        raise DataError(f"{path}, line {number}: {node.value} is given twice; remove one of them.")
    return _without_nulls(document)


def _without_nulls(document: Document) -> Document:
    """Return a document of which no text can end in the system as another one.

    YAML and TOML have an escape for the null character, which ends the names of files: Python
    refuses such a name with an error that looks like a bug.
    """
    waiting, seen = [document.content], set[int]()  # an anchor may be used any number of times
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            raise DataError(f"{document.path}: holds a null character (\\0); remove it.")
        if isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
    return document


def _unreadable(path: Path, error: Exception) -> DataError:
    line = " ".join(str(error).split())
    return DataError(f"{path}: not readable as YAML or TOML ({line}).")


def checked(document: Document, model: type[M]) -> M:
    """Return the model that a document fills.

    Raises
    ------
    DataError
        The document is no mapping of names to values.
    UsageError
        A name is unknown, or its value is of the wrong kind.
    """
    if not isinstance(document.content, dict):
        kind = type(document.content).__name__
        raise DataError(f"{document.path}: holds a {kind}, expected names and values.")
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        # Only the first failure is told: one line, one thing to correct.
        failures = error.errors(include_url=False)
        # A misspelled name is both unknown and missing; only the first of these tells where.
        first = min(failures, key=lambda failure: failure["type"] != "extra_forbidden")
        # A number is tried as a whole one first; 2.5 would do, too.
        others = [one for one in failures if one["loc"][:-1] == first["loc"][:-1]]
        if first["type"] == "int_type":
            first = next((one for one in others if one["type"] == "float_type"), first)
        raise UsageError(_said(document, first, model)) from error


def _said(document: Document, failure: ErrorDetails, model: type[BaseModel]) -> str:
    keys = _present(document.content, failure["loc"])
    name = ".".join(str(key) for key in keys)
    if failure["type"] == "extra_forbidden":
        known = _names(model, keys[:-1])
        close = difflib.get_close_matches(str(keys[-1]), known, 1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."
        return f"{document.where(keys, of_key=True)}: unknown setting {name}; {advice}"
    if failure["type"] == "missing":
        return f"{document.where(keys)}: {name or 'the file'}: {failure['loc'][-1]} is missing."
    value = repr(failure["input"])
    shown = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    expected = EXPECTED.get(failure["type"], failure["msg"]).format(**failure.get("ctx", {}))
    return f"{document.where(keys)}: {name}: found {shown}, expected {expected}."


def _present(
    content: Any,  # noqa: ANN401 - whatever the document holds
    place: Sequence[str | int],
) -> list[str | int]:
    """Return the keys of a place as far as the document has them.

    After them a failure names what of several kinds was tried.
    """
    keys: list[str | int] = []
    for key in place:
        in_list = isinstance(content, list) and isinstance(key, int) and key < len(content)
        if not in_list and not (isinstance(content, dict) and key in content):
            break
        content = content[key]
        keys.append(key)
    return keys


def _names(model: type[BaseModel], keys: Sequence[str | int]) -> list[str]:
    """Return the names that a model knows where some keys lead."""
    here: Any = model
    for key in keys:
        entries = [part for part in _parts(here) if isinstance(part, type)]
        models = [part for part in entries if issubclass(part, BaseModel)]
        if models:
            fields = models[0].model_fields
            found = [field for name, field in fields.items() if (field.alias or name) == key]
            here = found[0].annotation if found else None
        else:
            # A list or a mapping: what it holds is its last parameter.
            inner = [part for part in _parts(here) if get_args(part)]
            here = get_args(inner[0])[-1] if inner else None
    models = [part for part in _parts(here) if isinstance(part, type)]
    fields = models[0].model_fields if models and issubclass(models[0], BaseModel) else {}
    return [field.alias or name for name, field in fields.items()]


def _parts(kind: object) -> tuple[object, ...]:
    """Return the kinds that a union is made of, or the one kind."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _yaml(text: str) -> tuple[Any, yaml.Node | None]:
    # Safe: a plain loader would build any Python object that a file asks for. Nodes keep lines and
    # columns, which yaml.safe_load drops.
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.construct_document(root)), root
    finally:
        loader.dispose()


def _below(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key and of its value; None where a merge brought it from elsewhere."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        # An entry of a list has no key of its own; its value says the place for both.
        return node.value[key], node.value[key]
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == str(key)), None)
    return None


def _doubles(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield keys that one mapping has twice: YAML would silently take the last."""
    waiting, seen = [root], set[int]()  # an anchor may be used any number of times
    while waiting:
        # A stack, not recursion: a deeply nested file must not overflow Python's.
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set[str]()
            for key, value in node.value:
                waiting += [key, value]
                if isinstance(key, yaml.ScalarNode):
                    if key.value in names:
                        yield key
                    names.add(key.value)
        else:
            waiting += node.value
