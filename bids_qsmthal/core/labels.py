"""Anatomical structures: one table, from which every set, name, colour and region word comes.

Numbers and names are FreeSurfer's (``FreeSurferColorLUT.txt``, version 7.4), which FastSurfer,
SynthSeg and SAMSEG share. Adding a structure is adding a row to ``ROWS`` and, where the packaged
atlas shows it, its voxels and its line in ``data/atlas``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIDES: Final = ("L", "R")
"""Left and right, in the order of the numbers of a paired structure."""

MIDLINE: Final = "n/a"
"""Hemisphere of a structure that has no side."""

_SIDE_WORDS: Final = {"left": "L", "lh": "L", "l": "L", "right": "R", "rh": "R", "r": "R"}

_EMPTY_WORDS: Final = {"proper", "area", "nucleus", "the", "of"}
"""Words of other programs' names that tell no two structures apart."""


class TissueClass(IntEnum):
    """Tissues by the numbers that BIDS gives them."""

    GRAY = 1
    WHITE = 2
    FLUID = 3


class Group(Enum):
    """What a structure belongs to, where a step treats its members alike."""

    DEEP_GRAY = "basal ganglia and thalamus"
    LIMBIC = "hippocampus and amygdala"
    LATERAL_VENTRICLES = "bodies and horns"
    VENTRICLES = "all ventricles"
    CEREBELLUM = "cerebellum"
    LESIONS = "white matter that a program calls a lesion or dark"
    INSIDE_CORTEX = "what the cerebral cortex encloses beside white matter"
    BESIDE_VENTRICLES = "gray structures that the lateral ventricles touch"
    IRON_RICH = "neighbours of the thalamus that are as bright as a half-filled vein voxel"


class Region(NamedTuple):
    """A region and its hemisphere: ``L``, ``R``, or ``n/a`` for a structure on the midline."""

    name: str
    hemisphere: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """One row of the table.

    Attributes
    ----------
    name
        Word for the region in tables, such as ``red_nucleus``.
    label
        FreeSurfer's name without the side.
    indices
        FreeSurfer's numbers: left and right; one on the midline; none where it has no number.
    tissue
        What its voxels are; ``None`` where that is not one tissue.
    parents
        Groups that it belongs to.
    spellings
        How other programs write its name, without side, space and ``_EMPTY_WORDS``, in lower
        case; empty where it is known by its number alone.
    color
        In figures, ``#RRGGBB``; empty where the figure chooses.
    atlas
        Whether the packaged atlas (``desc-deepgray_dseg``) shows it.
    measured
        Whether its volume is reported.
    """

    name: str
    label: str
    indices: tuple[int, ...] = ()
    tissue: TissueClass | None = None
    parents: tuple[Group, ...] = ()
    spellings: tuple[str, ...] = ()
    color: str = ""
    atlas: bool = False
    measured: bool = False

    @property
    def paired(self) -> bool:
        """Whether there is a left and a right one."""
        return len(self.indices) != 1

    @property
    def hemispheres(self) -> tuple[str, ...]:
        """The hemispheres it lies in, in the order of its numbers."""
        return SIDES if self.paired else (MIDLINE,)

    def full_label(self, hemisphere: str) -> str:
        """Return FreeSurfer's name with the side, such as ``Left-Thalamus``."""
        prefix = {"L": "Left-", "R": "Right-"}.get(hemisphere, "")
        return f"{prefix}{self.label}"


@dataclass(frozen=True)
class LabelTable:
    """Structures, and the questions that the package asks of them."""

    rows: tuple[Structure, ...]

    @cached_property
    def regions(self) -> Mapping[int, Region]:
        """Region of each number, in the order of the rows, left before right."""
        return {index: Region(row.name, side) for row, side, index in self._numbered()}

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """FreeSurfer's name of each number."""
        return {index: row.full_label(side) for row, side, index in self._numbered()}

    @cached_property
    def colors(self) -> Mapping[str, str]:
        """Colour of each region that has one of its own; both sides share it."""
        return {row.name: row.color for row in self.rows if row.color}

    @cached_property
    def _spelled(self) -> Mapping[str, Structure]:
        return {spelling: row for row in self.rows for spelling in row.spellings}

    def indices(self, *groups: Group) -> tuple[int, ...]:
        """Return the numbers of the members of any of the groups; of all rows without a group."""
        chosen = (row for row in self.rows if not groups or set(groups) & set(row.parents))
        return tuple(index for row in chosen for index in row.indices)

    def of_tissue(self, tissue: TissueClass) -> tuple[int, ...]:
        """Return the numbers of the structures that are of one tissue."""
        return tuple(index for row in self.rows if row.tissue is tissue for index in row.indices)

    def members(self, group: Group) -> frozenset[str]:
        """Return the names of the members of a group."""
        return frozenset(row.name for row in self.rows if group in row.parents)

    def structure(self, name: str) -> Structure:
        """Return the row of a name; ``KeyError`` where there is none."""
        return {row.name: row for row in self.rows}[name]

    def pair(self, name: str) -> tuple[int, int]:
        """Return the left and the right number of a paired structure."""
        left, right = self.structure(name).indices
        return left, right

    def index(self, name: str) -> int:
        """Return the number of a structure on the midline."""
        (index,) = self.structure(name).indices
        return index

    def named(self, text: str) -> Region | None:
        """Return the region that another program's name means; ``None`` if it is not known.

        >>> TABLE.named("Left-Thalamus-Proper*"), TABLE.named("R Globus Pallidus")
        (Region(name='thalamus', hemisphere='L'), Region(name='pallidum', hemisphere='R'))
        """
        # SynthSeg and 3D Slicer write "LeftThalamus" as well as "Left-Thalamus".
        words = _words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
        # A set, so that a side said twice counts once and two sides make the name unusable.
        sides = {_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS}
        rest = "".join(word for word in words if word not in {*_SIDE_WORDS, *_EMPTY_WORDS})
        row = self._spelled.get(rest)
        # A paired structure without a side would be measured on neither; one on the midline with a
        # side is another structure.
        if row is None or len(sides) != (1 if row.paired else 0):
            return None
        return Region(row.name, sides.pop() if sides else MIDLINE)

    def number(self, text: str) -> int | None:
        """Return FreeSurfer's number of another program's name; ``None`` if it has none."""
        return self._numbers.get(self.named(text))

    @cached_property
    def _numbers(self) -> Mapping[Region | None, int]:
        return {region: index for index, region in self.regions.items()}

    def _numbered(self) -> Iterator[tuple[Structure, str, int]]:
        for row in self.rows:
            # Not strict: a structure without a number has hemispheres all the same.
            for side, index in zip(row.hemispheres, row.indices, strict=False):
                yield row, side, index


# In the order of the class.
_GRAY, _WHITE, _FLUID = TissueClass
_VENTRICLE = (Group.VENTRICLES,)
_LATERAL = (Group.LATERAL_VENTRICLES, Group.VENTRICLES)
_GANGLION = (Group.DEEP_GRAY, Group.INSIDE_CORTEX)
_LIMBIC = (Group.LIMBIC, Group.BESIDE_VENTRICLES)

ROWS: Final = (
    Structure(
        name="cerebral_white_matter",
        label="Cerebral-White-Matter",
        indices=(2, 41),
        tissue=_WHITE,
        spellings=("cerebralwhitematter",),
    ),
    Structure(
        name="cerebral_cortex",
        label="Cerebral-Cortex",
        indices=(3, 42),
        tissue=_GRAY,
        spellings=("cerebralcortex", "cortex"),
    ),
    Structure(
        name="cerebellar_exterior",
        label="Cerebellum-Exterior",
        indices=(6, 45),
        parents=(Group.CEREBELLUM,),
    ),
    Structure(
        name="cerebellar_white_matter",
        label="Cerebellum-White-Matter",
        indices=(7, 46),
        tissue=_WHITE,
        parents=(Group.CEREBELLUM,),
        spellings=("cerebellumwhitematter",),
    ),
    Structure(
        name="cerebellar_cortex",
        label="Cerebellum-Cortex",
        indices=(8, 47),
        tissue=_GRAY,
        parents=(Group.CEREBELLUM,),
        spellings=("cerebellumcortex",),
    ),
    Structure(
        name="thalamus",
        label="Thalamus",
        indices=(10, 49),
        tissue=_GRAY,
        parents=(*_GANGLION, Group.BESIDE_VENTRICLES),
        spellings=("thalamus",),
        color="#56B4E9",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="lateral_ventricle",
        label="Lateral-Ventricle",
        indices=(4, 43),
        tissue=_FLUID,
        parents=(*_LATERAL, Group.INSIDE_CORTEX),
        spellings=("lateralventricle", "ventriclelateral"),
        color="#E69F00",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="caudate",
        label="Caudate",
        indices=(11, 50),
        tissue=_GRAY,
        parents=(*_GANGLION, Group.BESIDE_VENTRICLES, Group.IRON_RICH),
        spellings=("caudate",),
        color="#00B98A",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="putamen",
        label="Putamen",
        indices=(12, 51),
        tissue=_GRAY,
        parents=(*_GANGLION, Group.IRON_RICH),
        spellings=("putamen",),
        color="#F0E442",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="pallidum",
        label="Pallidum",
        indices=(13, 52),
        tissue=_GRAY,
        parents=(*_GANGLION, Group.IRON_RICH),
        spellings=("pallidum", "globuspallidus"),
        color="#4C8DFF",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="hippocampus",
        label="Hippocampus",
        indices=(17, 53),
        tissue=_GRAY,
        parents=_LIMBIC,
        spellings=("hippocampus",),
        color="#9A6A00",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="amygdala",
        label="Amygdala",
        indices=(18, 54),
        tissue=_GRAY,
        parents=_LIMBIC,
        spellings=("amygdala",),
        color="#A4E0FF",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="third_ventricle",
        label="3rd-Ventricle",
        indices=(14,),
        tissue=_FLUID,
        parents=(*_VENTRICLE, Group.INSIDE_CORTEX),
        spellings=("3rdventricle", "thirdventricle"),
        color="#FF6A13",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="fourth_ventricle",
        label="4th-Ventricle",
        indices=(15,),
        tissue=_FLUID,
        parents=_VENTRICLE,
        spellings=("4thventricle", "fourthventricle"),
        color="#CC79A7",
        atlas=True,
        measured=True,
    ),
    Structure(
        # White by its intensity on T1w.
        name="brainstem",
        label="Brain-Stem",
        indices=(16,),
        tissue=_WHITE,
        spellings=("brainstem",),
        color="#B8B8B8",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="accumbens",
        label="Accumbens-area",
        indices=(26, 58),
        tissue=_GRAY,
        parents=(Group.DEEP_GRAY,),
        spellings=("accumbens",),
        color="#7CE0B8",
        measured=True,
    ),
    Structure(
        # Mixed (subthalamic and red nucleus, substantia nigra, white matter between them); counted
        # as gray.
        name="ventral_dc",
        label="VentralDC",
        indices=(28, 60),
        tissue=_GRAY,
        spellings=("ventraldc",),
    ),
    Structure(
        name="inferior_lateral_ventricle",
        label="Inf-Lat-Vent",
        indices=(5, 44),
        tissue=_FLUID,
        parents=(*_LATERAL, Group.INSIDE_CORTEX),
        spellings=("inflatvent", "inferiorlateralventricle"),
        color="#FFC2E2",
        atlas=True,
        measured=True,
    ),
    Structure(
        name="substantia_nigra",
        label="Substancia-Nigra",  # FreeSurfer's own spelling
        indices=(27, 59),
        tissue=_GRAY,
        parents=(Group.IRON_RICH,),
        spellings=("substantianigra", "substancianigra"),
        color="#7A4FD0",
    ),
    Structure(
        name="red_nucleus",
        label="Red-Nucleus",
        parents=(Group.IRON_RICH,),
        spellings=("red", "rednucleus"),
        color="#E0004D",
    ),
    Structure(
        name="subthalamic_nucleus",
        label="Subthalamic-Nucleus",
        spellings=("subthalamic", "stn", "sth"),
        color="#FFD9A0",
    ),
    Structure(
        name="pallidum_external",
        label="Pallidum-External",
        spellings=("pallidumexternal", "externalpallidum", "globuspallidusexternal", "gpe"),
        color="#2F6BE0",
    ),
    Structure(
        name="pallidum_internal",
        label="Pallidum-Internal",
        spellings=("palliduminternal", "internalpallidum", "globuspallidusinternal", "gpi"),
        color="#9CC3FF",
    ),
    Structure(name="dentate", label="Dentate", spellings=("dentate",)),
    Structure(name="insula", label="Insula", indices=(19, 55), tissue=_GRAY),
    Structure(name="operculum", label="Operculum", indices=(20, 56), tissue=_GRAY),
    Structure(name="csf", label="CSF", indices=(24,), tissue=_FLUID),
    Structure(name="vessel", label="vessel", indices=(30, 62), tissue=_WHITE),
    # Tissue within a ventricle; programs that do not draw it call it fluid.
    Structure(name="choroid_plexus", label="choroid-plexus", indices=(31, 63), tissue=_FLUID),
    Structure(name="fifth_ventricle", label="5th-Ventricle", indices=(72,), tissue=_FLUID),
    Structure(
        name="white_matter_hypointensities",
        label="WM-hypointensities",
        indices=(77,),
        tissue=_WHITE,
        parents=(Group.LESIONS,),
    ),
    Structure(
        name="hemispheric_white_matter_hypointensities",
        label="WM-hypointensities",
        indices=(78, 79),
        tissue=_WHITE,
        parents=(Group.LESIONS,),
    ),
    Structure(
        name="gray_matter_hypointensities",
        label="non-WM-hypointensities",
        indices=(80,),
        tissue=_GRAY,
    ),
    Structure(
        name="hemispheric_gray_matter_hypointensities",
        label="non-WM-hypointensities",
        indices=(81, 82),
        tissue=_GRAY,
    ),
    Structure(name="optic_chiasm", label="Optic-Chiasm", indices=(85,), tissue=_WHITE),
    # SAMSEG's lesions; which tissue they replace is for the caller to say.
    Structure(name="lesion", label="Lesion", indices=(99,), parents=(Group.LESIONS,)),
    Structure(name="fornix", label="Fornix", indices=(250,), tissue=_WHITE),
    *(
        Structure(
            name=f"corpus_callosum_{where.lower()}",
            label=f"CC_{where}",
            indices=(index,),
            tissue=_WHITE,
        )
        for index, where in enumerate(
            ("Posterior", "Mid_Posterior", "Central", "Mid_Anterior", "Anterior"), start=251
        )
    ),
)
"""Every structure once. The order of measured ones is that of rows in tables of volumes."""

TABLE: Final = LabelTable(ROWS)
"""Everything that is known by a number or by a name."""

ATLAS: Final = LabelTable(tuple(row for row in ROWS if row.atlas))
"""What the packaged atlas shows (``desc-deepgray_dseg``)."""

FOUND: Final = LabelTable(tuple(row for row in ROWS if row.atlas or row.name == "accumbens"))
"""What ``anatomy`` finds in a T1w image; the accumbens is in ``desc-subcortex_dseg``."""

PARTS: Final = ("pallidum_external", "pallidum_internal")
"""Parts of the pallidum, which FreeSurfer does not number."""

MIDBRAIN: Final = ("red_nucleus", "substantia_nigra", "subthalamic_nucleus")
"""Nuclei that no contrast of T1w outlines: they lie where the registration puts them."""

SMALL_NUCLEI: Final = (*PARTS, *MIDBRAIN)
"""What an image of its own shows (``desc-smallnuclei_dseg``), beside the labels of FreeSurfer."""

MEASURED: Final = LabelTable(tuple(row for row in ROWS if row.measured))
"""What is measured where its label is there, whoever drew it."""

ATLAS_REGIONS: Final = LabelTable(
    (
        Structure(name="cerebrum", label="cerebrum", indices=(1, 2)),
        Structure(name="cerebellum", label="cerebellum", indices=(3, 4)),
        Structure(name="brainstem", label="brainstem", indices=(5,)),
    )
)
"""Coarse parts of the brain (``desc-regions_dseg``), with numbers of their own."""

CORTICAL_PARCELS: Final = range(1000, 3000)
"""FreeSurfer's parcels of the cortex (``aparc``), left from 1000, right from 2000: gray matter."""

WHITE_PARCELS: Final = range(3000, 5003)
"""Parcels of the white matter below them (``wmparc``), and what lies deeper (5001, 5002)."""

THALAMUS: Final = TABLE.pair("thalamus")
LATERAL_VENTRICLE: Final = TABLE.pair("lateral_ventricle")
"""Left and right number of the two structures that most of the package is about."""


def region(index: int, names: Mapping[int, str]) -> Region:
    """Return the region of a label; ``names`` (``Left-Red-Nucleus``, say) win over FreeSurfer's."""
    if index in names:
        return parsed(names[index])
    return TABLE.regions.get(index, Region(f"label_{index}", MIDLINE))


def of_thalamus(nucleus: str) -> str:
    """Return a nucleus of the thalamus as tables name it: ``av`` is ``thalamus_av``."""
    return nucleus if nucleus.startswith("thalamus") else f"thalamus_{nucleus}"


def parsed(name: str) -> Region:
    """Split a name into region and side, however the side is written; known or not.

    >>> parsed("Left-Thalamus-Proper")
    Region(name='thalamus', hemisphere='L')
    >>> parsed("dentate_R")
    Region(name='dentate', hemisphere='R')
    >>> parsed("Right-L-Sg")
    Region(name='l_sg', hemisphere='R')
    >>> parsed("3rd-Ventricle").hemisphere
    'n/a'
    """
    known = TABLE.named(name)
    if known is not None:
        return known
    words = [word for word in _words(name) if word not in {"proper", "area"}]
    # The side comes first or last; between them R and L are nuclei (reticular, limitans).
    for place in (0, -1):
        if len(words) > 1 and words[place] in _SIDE_WORDS:
            return Region(
                "_".join(words[1:] if place == 0 else words[:-1]), _SIDE_WORDS[words[place]]
            )
    return Region("_".join(words), MIDLINE)


def without_side(name: str) -> str:
    """Return a name as it is spelled, without the side that it begins or ends with.

    >>> [without_side(name) for name in ("GPe_LH", "Left-Caudate", "R_frontal_cortex", "L_Sg_x")]
    ['GPe', 'Caudate', 'frontal_cortex', 'Sg_x']
    """
    pieces = re.split(r"([^A-Za-z0-9]+)", name)
    for place, rest in ((0, pieces[2:]), (-1, pieces[:-2])):
        if rest and pieces[place].lower() in _SIDE_WORDS:
            return "".join(rest)
    return name


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
