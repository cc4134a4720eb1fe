"""Results of stages as JSON and arrays, and back: types by name, nothing that runs.

Types are restored from the list of classes below and from nowhere else. To keep a result of a new
class, add the class; it must be a value without behaviour of its own (a frozen dataclass or enum).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_qsmthal import anatomy, lesions, qsm, roi
from bids_qsmthal.anatomy.visits import HalfWay, VisitFrame
from bids_qsmthal.anatomy.volume_change import VolumeChange
from bids_qsmthal.core import scan_warnings
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm.separation import Sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Found by their base class: a new warning needs no entry here.
WARNINGS = tuple(
    item
    for item in vars(scan_warnings).values()
    if isinstance(item, type) and issubclass(item, scan_warnings.ScanWarning)
)

CLASSES: Mapping[str, type] = {
    item.__name__: item
    for item in (
        *(Image, Decision, *WARNINGS),
        *(anatomy.Prepared, anatomy.Anatomy, anatomy.Rigid, anatomy.Warp),
        *(anatomy.CarriedAtlas, anatomy.CarriedAtlases),
        *(VisitFrame, HalfWay, VolumeChange),
        *(lesions.Lesions, lesions.Enhancement, lesions.LesionsChanged),
        *(qsm.Maps, qsm.Variants, Sources),
        *(roi.RegionResults, roi.Check, roi.Limit, roi.ReferenceLevel, roi.ReferenceRegion),
        *(roi.LesionIron, roi.Mean),
    )
}
"""What a kept result may be made of."""

Keep = Callable[["NDArray[Any]"], str]
"""Takes an array and returns its SHA-256."""

Find = Callable[[str], "NDArray[Any]"]
"""Returns the array that has a SHA-256."""


def described(value: object, keep: Keep, *, known: Mapping[str, type] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Return a value as JSON can hold it, types included; equal values have equal descriptions.

    Parameters
    ----------
    value
        Numbers, text, arrays, tables, enums, dataclasses, and tuples, lists and mappings of them.
    keep
        What to do with an array.
    known
        The classes that may occur; all where none are given: what comes out cannot be restored.

    Raises
    ------
    TypeError
        A part is of another type.
    """
    # Exact types, for a StrEnum is a str, too, and has to come back as itself.
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, Enum | float | np.generic):
        return _described_scalar(value, known)
    if isinstance(value, np.ndarray):
        return {"array": keep(value)}

    def inner(part: object) -> Any:  # noqa: ANN401 - JSON
        return described(part, keep, known=known)

    if isinstance(value, pd.DataFrame):
        return {"frame": _described_frame(value, inner)}
    if is_dataclass(value):
        parts = {field.name: inner(getattr(value, field.name)) for field in fields(value)}
        return {"class": [_class_name(value, known), parts]}
    return _described_container(value, inner, known)


def restored(body: Any, find: Find) -> Any:  # noqa: ANN401 - JSON
    """Return the value that ``described`` made ``body`` from.

    Raises
    ------
    ValueError, TypeError, LookupError, AttributeError, QsmthalError
        It is not of that form.
    """
    if not isinstance(body, dict):
        return body
    # Exactly one key; anything else is no description, and the unpacking says so (ValueError).
    ((tag, content),) = body.items()
    return RESTORERS[tag](content, find)


def _described_scalar(value: Enum | float | np.generic, known: Mapping[str, type] | None) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Enum):
        return {"enum": [_class_name(value, known), value.name]}
    if isinstance(value, np.generic):
        # Bytes, not digits: every bit comes back.
        return {"numpy": [value.dtype.str, value.tobytes().hex()]}
    # JSON has no NaN and no infinity; they go as text.
    return value if math.isfinite(value) else {"float": str(value)}


def _described_container(
    value: object, inner: Callable[[object], Any], known: Mapping[str, type] | None
) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {"dict": [[inner(name), inner(part)] for name, part in value.items()]}
    if type(value) is tuple:
        return {"tuple": [inner(part) for part in value]}
    if type(value) is list:
        return {"list": [inner(part) for part in value]}
    # Named tuples occur in arguments. These are only hashed and never restored.
    if known is None and isinstance(value, tuple):
        return {"class": [_class_name(value, known), [inner(part) for part in value]]}
    raise TypeError(f"a value of the type {type(value).__name__} has no description")


def _class_name(value: object, known: Mapping[str, type] | None) -> str:
    kind = type(value)
    if known is None:
        return f"{kind.__module__}.{kind.__qualname__}"
    if known.get(kind.__name__) is not kind:
        raise TypeError(f"{kind.__module__}.{kind.__name__} is not listed in CLASSES")
    return kind.__name__


def _described_frame(table: pd.DataFrame, inner: Callable[[object], Any]) -> dict[str, Any]:
    return {
        "columns": _described_column(table.columns, inner),
        "index": _described_column(table.index, inner),
        "values": [
            _described_column(table.iloc[:, place], inner) for place in range(table.shape[1])
        ],
    }


def _described_column(
    column: pd.Series[Any] | pd.Index[Any], inner: Callable[[object], Any]
) -> dict[str, Any]:
    """Describe the cells and the type; of cells without a value, which are ``None``."""
    # Written out, a RangeIndex would come back as an index of another type.
    if isinstance(column, pd.RangeIndex):
        return {"range": [column.start, column.stop, column.step]}
    cells = zip(column, column.isna(), strict=True)
    return {
        "dtype": str(column.dtype),
        "values": [None if missing else inner(cell) for cell, missing in cells],
        "none": [cell is None for cell in column],
    }


def _restored_frame(content: Any, find: Find) -> pd.DataFrame:  # noqa: ANN401 - JSON
    values = [_restored_column(column, find) for column in content["values"]]
    index = _restored_column(content["index"], find)
    # By position first: names of columns may occur twice, keys of a dict may not.
    table = pd.DataFrame(dict(enumerate(values)), index=index, columns=range(len(values)))
    table.columns = _restored_column(content["columns"], find)
    return table


def _restored_column(content: Any, find: Find) -> pd.Index[Any]:  # noqa: ANN401 - JSON
    if "range" in content:
        return pd.RangeIndex(*content["range"])
    cells = [
        math.nan if cell is None and not none else restored(cell, find)
        for cell, none in zip(content["values"], content["none"], strict=True)
    ]
    column: pd.Index[Any] = pd.Index(cells, dtype=content["dtype"])
    return column


def _restored_class(content: Any, find: Find) -> Any:  # noqa: ANN401 - JSON
    name, parts = content
    kind = CLASSES[name]
    # The file names the class. Listed or not, only what is a plain value is called.
    if not is_dataclass(kind):
        raise TypeError(f"{name} is no dataclass")
    return kind(**{field: restored(part, find) for field, part in parts.items()})


def _restored_enum(content: Any, _: Find) -> Enum:  # noqa: ANN401 - JSON
    name, member = content
    kind = CLASSES[name]
    if not issubclass(kind, Enum):
        raise TypeError(f"{name} is no enum")
    return kind[member]


def _restored_numpy(content: Any, _: Find) -> Any:  # noqa: ANN401 - JSON
    dtype, data = content
    return np.frombuffer(bytes.fromhex(data), np.dtype(dtype))[0]


RESTORERS: Mapping[str, Callable[[Any, Find], Any]] = {
    "array": lambda content, find: find(content),
    "class": _restored_class,
    "dict": lambda content, find: {
        restored(name, find): restored(part, find) for name, part in content
    },
    "enum": _restored_enum,
    "float": lambda content, _: float(content),
    "frame": _restored_frame,
    "list": lambda content, find: [restored(part, find) for part in content],
    "numpy": _restored_numpy,
    "tuple": lambda content, find: tuple(restored(part, find) for part in content),
}
"""How each kind of description is turned back."""
