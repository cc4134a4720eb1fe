"""Which columns may stand for a variable in the sensitivity analysis."""

from __future__ import annotations

from collections.abc import Mapping

from bids_qsmthal.group.measures import Catalogue, column_name
from bids_qsmthal.statistics.analysis import Alternative, Analysis


def named_columns(
    alternative: Alternative, column: str, catalogue: Catalogue, own: str
) -> dict[str, str]:
    """Return the columns an alternative stands for by the names of their specifications.

    Parameters
    ----------
    column
        The column that the alternative names, perhaps with ``*`` for every region.
    catalogue
        The measures there are.
    own
        Region of the variable itself, which ``*`` leaves out.
    """
    if alternative.variable.region != "*":
        return {alternative.name: column}
    wanted = alternative.variable
    return {
        f"{alternative.name}: {one.region.replace('_', ' ')}": name
        for name, one in catalogue.items()
        # By the measure and not by how the name begins: chi_se_thalamus_LR is no chi of a region.
        # The variable's own region is the row "as in the table" already.
        if one.measure == wanted.measure
        and one.region != own
        and name == column_name(wanted.measure, one.region, wanted.hemisphere)
    }


def of_harmonised(
    analysis: Analysis, columns: Mapping[str, str], catalogue: Catalogue
) -> dict[str, str]:
    """Return the columns that may replace a harmonised variable, each with that variable.

    ``columns`` holds the column of each alternative by its name.
    """
    if analysis.harmonisation is None or analysis.sensitivity is None:
        return {}
    return {
        column: alternative.replaces
        for alternative in analysis.sensitivity.measures
        if alternative.replaces in analysis.harmonisation.variables
        for column in named_columns(
            alternative,
            columns[alternative.name],
            catalogue,
            analysis.variables[alternative.replaces].region,
        ).values()
        # An alternative that no participant has is named in the sensitivity table, not here.
        if column in catalogue
    }
