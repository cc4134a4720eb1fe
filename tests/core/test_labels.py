"""The table of labels: today's sets written out once, and what follows from a new row."""

import ast
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import bids_qsmthal
from bids_qsmthal.anatomy import atlas, deep_gray_of, lesions_of, structures, tissue_of
from bids_qsmthal.core import labels
from bids_qsmthal.core.labels import (
    ATLAS,
    ATLAS_REGIONS,
    MEASURED,
    ROWS,
    SIDES,
    TABLE,
    Group,
    LabelTable,
    Region,
    Structure,
    TissueClass,
    parsed,
    region,
)
from bids_qsmthal.lesions import context
from bids_qsmthal.participant import structural
from bids_qsmthal.roi import regions
from bids_qsmthal.simulate import nuclei, templates, tissues

PACKAGE = Path(bids_qsmthal.__file__).parent

GRAY = (
    *(3, 8, 42, 47),
    *(10, 11, 12, 13, 17, 18, 19, 20, 26, 27, 28, 49, 50, 51, 52, 53, 54, 55, 56, 58, 59, 60),
    *(80, 81, 82),
)
WHITE = (2, 7, 16, 30, 41, 46, 62, 77, 78, 79, 85, *range(250, 256))
FLUID = (4, 5, 14, 15, 24, 31, 43, 44, 63, 72)

SETS = {
    "thalami": (labels.THALAMUS, (10, 49)),
    "lateral ventricles": (labels.LATERAL_VENTRICLE, (4, 43)),
    "atlas": (
        ATLAS.indices(),
        (4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 43, 44, 49, 50, 51, 52, 53, 54),
    ),
    "measured": (
        MEASURED.indices(),
        (4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 43, 44, 49, 50, 51, 52, 53, 54, 58),
    ),
    "gray": (TABLE.of_tissue(TissueClass.GRAY), GRAY),
    "white": (TABLE.of_tissue(TissueClass.WHITE), WHITE),
    "fluid": (TABLE.of_tissue(TissueClass.FLUID), FLUID),
    "anatomy, gray nuclei": (
        structures.GRAY_NUCLEI,
        (11, 12, 13, 17, 18, 26, 50, 51, 52, 53, 54, 58),
    ),
    "anatomy, basal ganglia": (
        structures.BASAL_GANGLIA,
        (11, 12, 13, 26, 50, 51, 52, 58),
    ),
    "anatomy, beside ventricles": (
        structures.BESIDE_VENTRICLES,
        (10, 49, 11, 17, 18, 50, 53, 54),
    ),
    "anatomy, ventricles": (structures.VENTRICLES, (4, 43, 5, 44, 14, 15)),
    "anatomy, lateral ventricles": (structures.LATERAL_VENTRICLES, (4, 43, 5, 44)),
    "anatomy, inside the cortex": (
        structures.INSIDE_CORTEX,
        (10, 49, 11, 12, 13, 50, 51, 52, 4, 43, 5, 44, 14),
    ),
    "anatomy, no cortex": (
        structures.NOT_CORTEX,
        (10, 49, 11, 12, 13, 26, 50, 51, 52, 58, 4, 43, 5, 44, 14, 15, 16, 17, 18, 53, 54),
    ),
    "anatomy, cerebrum": (structures.CEREBRUM, (1, 2)),
    "anatomy, cerebellum": (structures.CEREBELLUM, (3, 4)),
    "lesions, lateral ventricles": (context.LATERAL_VENTRICLES, (4, 43, 5, 44)),
    "lesions, ventricles": (context.VENTRICLES, (4, 43, 5, 44, 14, 15)),
    "lesions, brainstem": (context.BRAINSTEM, (16,)),
    "lesions, deep gray": (context.DEEP_GRAY, (10, 11, 12, 13, 26, 49, 50, 51, 52, 58)),
    "lesions, limbic": (context.LIMBIC, (17, 18, 53, 54)),
    "lesions, cerebellum": (context.CEREBELLUM, (6, 7, 8, 45, 46, 47)),
    "rois, ventricles": (regions.VENTRICLES, (4, 43, 5, 44, 14, 15)),
}
"""What each room derives, and the numbers of FreeSurfer's look-up table that this must be."""


@pytest.mark.parametrize("name", SETS)
def test_every_derived_set_is_the_set_that_is_meant(name):
    derived, meant = SETS[name]

    assert sorted(derived) == sorted(meant)


def test_labels_of_freesurfer_are_sorted_by_tissue_structure_and_lesion():
    numbers = np.arange(6000)

    tissue = tissue_of(numbers)

    assert set(np.flatnonzero(tissue == 1)) == {*GRAY, *range(1000, 3000)}
    assert set(np.flatnonzero(tissue == 2)) == {*WHITE, *range(3000, 5003)}
    assert set(np.flatnonzero(tissue == 3)) == set(FLUID)
    assert set(np.flatnonzero(lesions_of(numbers))) == {77, 78, 79, 99}
    assert set(np.flatnonzero(deep_gray_of(numbers))) == set(MEASURED.indices())


def test_pairs_are_left_then_right_and_the_cerebellum_keeps_its_side():
    for row in ROWS:
        for label, side in zip(row.indices, row.hemispheres, strict=False):
            assert TABLE.labels[label].startswith({"L": "Left-", "R": "Right-"}.get(side, ""))
    assert structural.CEREBELLUM == {3: 8, 4: 47}
    assert labels.TABLE.index("brainstem") == 16
    assert all(left < right for left, right in map(TABLE.pair, ("thalamus", "caudate")))


def test_no_number_name_or_spelling_is_there_twice():
    numbers = [index for row in ROWS for index in row.indices]
    spellings = [spelling for row in ROWS for spelling in row.spellings]

    assert len(set(numbers)) == len(numbers)
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len(set(spellings)) == len(spellings)
    assert len(set(TABLE.colors.values())) == len(TABLE.colors)


def test_tables_of_the_packaged_atlas_name_what_the_table_names():
    assert atlas.names("desc-deepgray_dseg") == dict(sorted(ATLAS.labels.items()))
    named = atlas.names("desc-regions_dseg")
    assert named == {
        index: " ".join(filter(None, ({"L": "left", "R": "right"}.get(side), name)))
        for index, (name, side) in ATLAS_REGIONS.regions.items()
    }
    assert set(np.unique(atlas.template("desc-deepgray_dseg").data)) == {0, *ATLAS.indices()}
    assert set(np.unique(atlas.template("desc-regions_dseg").data)) == {0, *named}


def test_every_nucleus_of_the_simulation_has_tissue_properties():
    finer = {*nuclei.BASAL_GANGLIA, *labels.MIDBRAIN}
    drawn = {*templates.NUCLEI, "brainstem", "dentate"} - {*templates.FINER} | finer
    assert drawn <= set(tissues.TISSUES)
    assert (
        *("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala"),
    ) == templates.NUCLEI


def test_measured_rows_keep_the_order_of_tables_of_volumes():
    assert [row.name for row in MEASURED.rows] == [
        *("thalamus", "lateral_ventricle", "caudate", "putamen", "pallidum", "hippocampus"),
        *("amygdala", "third_ventricle", "fourth_ventricle", "brainstem", "accumbens"),
        "inferior_lateral_ventricle",
    ]


CLAUSTRUM = Structure(
    name="claustrum",
    label="Claustrum",
    indices=(138, 139),
    tissue=TissueClass.GRAY,
    parents=(Group.DEEP_GRAY, Group.IRON_RICH),
    spellings=("claustrum",),
    color="#123456",
    measured=True,
)


def test_a_structure_added_to_the_table_has_its_names_sets_and_colour():
    larger = LabelTable((*ROWS, CLAUSTRUM))

    assert larger.pair("claustrum") == (138, 139)
    assert larger.regions[139] == Region("claustrum", "R")
    assert larger.labels[138] == "Left-Claustrum"
    assert larger.named("claustrum_R") == Region("claustrum", "R")
    assert larger.number("lh claustrum") == 138
    assert larger.colors["claustrum"] == "#123456"
    assert {138, 139} <= set(larger.indices(Group.DEEP_GRAY))
    assert {138, 139} <= set(larger.of_tissue(TissueClass.GRAY))
    assert "claustrum" in larger.members(Group.IRON_RICH)
    assert not {138, 139} & set(TABLE.indices())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Left-Thalamus-Proper*", 10),
        ("thalamus_R", 49),
        ("R Globus Pallidus", 52),
        ("LeftCaudate", 11),
        ("lh.caudate", 11),
        ("rh_putamen", 51),
        ("r pallidum", 52),
        ("Inferior Lateral Ventricle, left", 5),
        ("left accumbens area", 26),
        ("Right-VentralDC", 60),
        ("brain-stem", 16),
        ("Third Ventricle", 14),
        ("Left-Red-Nucleus", None),  # FreeSurfer has no number for it
        ("thalamus", None),  # which side?
        ("left right thalamus", None),
        ("Left-Brain-Stem", None),
        ("skull", None),
    ],
)
def test_names_of_other_programs_are_known_with_their_side(text, number):
    assert TABLE.number(text) == number


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Left-Thalamus", Region("thalamus", "L")),
        ("Right-Thalamus-Proper", Region("thalamus", "R")),
        ("Left-Accumbens-area", Region("accumbens", "L")),
        ("rednucleus_R", Region("red_nucleus", "R")),
        ("Right-Red-Nucleus", Region("red_nucleus", "R")),
        ("Left-Substantia-Nigra", Region("substantia_nigra", "L")),
        ("lh_pulvinar", Region("pulvinar", "L")),
        ("Brain-Stem", Region("brainstem", "n/a")),
        ("3rd-Ventricle", Region("third_ventricle", "n/a")),
        ("Left-Pallidum", Region("pallidum", "L")),
        ("Left-R", Region("r", "L")),
        ("Right-L-Sg", Region("l_sg", "R")),
        ("Left-VLa", Region("vla", "L")),
    ],
)
def test_names_are_split_into_region_and_side(name, expected):
    assert parsed(name) == expected


def test_nuclei_of_the_thalamus_keep_names_of_their_own_on_both_sides():
    for table in ("desc-thalamicnuclei_dseg", "desc-freesurfernuclei_dseg"):
        found = [parsed(name) for name in atlas.names(table).values()]

        assert len(set(found)) == len(found)
        assert all(nucleus.name and nucleus.hemisphere in SIDES for nucleus in found)
        assert len({nucleus.name for nucleus in found}) == len(found) / 2


def test_external_names_win_and_unknown_labels_keep_their_number():
    assert region(10, {10: "Right-Something"}) == Region("something", "R")
    assert region(10, {}) == Region("thalamus", "L")
    assert region(777, {}) == Region("label_777", "n/a")


def test_a_row_without_a_side_is_a_structure_of_the_midline():
    third = TABLE.structure("third_ventricle")

    assert (third.paired, third.full_label("n/a")) == (False, "3rd-Ventricle")
    assert replace(third, indices=(1, 2)).hemispheres == SIDES


def _integers(node: ast.AST) -> tuple[int, ...]:
    """The numbers of a literal tuple, list or set, or the keys of a literal dict."""
    if isinstance(node, ast.Dict):
        parts = [key for key in node.keys if key is not None]
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = list(node.elts)
    else:
        return ()
    values = [part.value for part in parts if isinstance(part, ast.Constant)]
    whole = len(values) == len(parts) and all(type(value) is int for value in values)
    return tuple(values) if whole else ()


def _label_literals(source: str) -> list[str]:
    """Literals that hold both numbers of a pair, or are one of the derived sets."""
    pairs = [set(row.indices) for row in ROWS if len(row.indices) == 2]
    meant = [set(numbers) for _, numbers in SETS.values() if min(numbers) > 2 and len(numbers) > 1]
    found = []
    for node in ast.walk(ast.parse(source)):
        numbers = set(_integers(node))
        if any(pair <= numbers for pair in pairs) or numbers in meant:
            found.append(ast.unparse(node))
    return found


def test_no_other_file_of_the_package_writes_label_numbers_out():
    table = PACKAGE / "core" / "labels.py"
    written = {
        str(path.relative_to(PACKAGE)): found
        for path in PACKAGE.rglob("*.py")
        if path != table and (found := _label_literals(path.read_text()))
    }

    assert written == {}
    assert len(_label_literals(table.read_text())) > 10


@pytest.mark.parametrize("source", ["(10, 49)", "[4, 43]", "{10: 'L', 49: 'R'}", "x = {3, 4}"])
def test_written_label_numbers_are_noticed(source):
    assert _label_literals(source)


def test_the_look_up_tables_of_the_atlas_are_sorted():
    for name in ("desc-deepgray_dseg", "desc-regions_dseg", "desc-thalamicnuclei_dseg"):
        assert all(first < second for first, second in pairwise(atlas.names(name)))
