"""The structures that are found in a T1w image, and what they lie beside: FreeSurfer's numbers."""

from __future__ import annotations

from typing import Final

from bids_qsmthal.core.labels import ATLAS, ATLAS_REGIONS, FOUND, Group

CEREBRUM: Final = ATLAS_REGIONS.pair("cerebrum")
CEREBELLUM: Final = ATLAS_REGIONS.pair("cerebellum")
"""Left and right, among the coarse regions of the atlas."""

GRAY_NUCLEI: Final = tuple(
    index
    for index in FOUND.indices(Group.DEEP_GRAY, Group.LIMBIC)
    if FOUND.regions[index].name != "thalamus"
)
"""Nuclei beside the thalamus, which is found apart from them."""

BASAL_GANGLIA: Final = tuple(
    index for index in FOUND.indices(Group.DEEP_GRAY) if FOUND.regions[index].name != "thalamus"
)
"""Nuclei that the image moves; hippocampus and amygdala stay where the atlas puts them."""

BESIDE_VENTRICLES: Final = ATLAS.indices(Group.BESIDE_VENTRICLES)
VENTRICLES: Final = ATLAS.indices(Group.VENTRICLES)
LATERAL_VENTRICLES: Final = ATLAS.indices(Group.LATERAL_VENTRICLES)
"""With the temporal horns."""
BRAINSTEM: Final = ATLAS.index("brainstem")
INSIDE_CORTEX: Final = ATLAS.indices(Group.INSIDE_CORTEX)

NOT_CORTEX: Final = FOUND.indices()
"""No labelled voxel belongs to the cerebral cortex."""
