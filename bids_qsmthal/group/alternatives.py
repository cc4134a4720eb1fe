"""Which columns may stand for a variable in the sensitivity analysis."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bids_qsmthal.statistics.analysis import Alternative, Analysis


def named_columns(
    alternative: Alternative, column: str, units: Mapping[str, str], own: str
) -> dict[str, str]:
    """Return the columns an alternative stands for by the names of their specifications.

    Parameters
    ----------
    column
        The column that the alternative names, perhaps with ``*`` for every region.
    units
        The measures there are, each with its unit.
    own
        Region of the variable itself, which ``*`` leaves out.
    """
    if alternative.variable.region != "*":
        return {alternative.name: column}
    # Anchored at both ends: chi_*_LR is chi_putamen_LR, not a longer name that begins so.
    pattern = re.compile(re.escape(column).replace(r"\*", r"(\w+?)") + r"$")
    found = {name: pattern.match(str(name)) for name in units}
    return {
        f"{alternative.name}: {match.group(1)}": name
        for name, match in found.items()
        # The variable's own region is the row "as in the table" already.
        if match and match.group(1) != own
    }


def of_harmonised(
    analysis: Analysis, columns: Mapping[str, str], units: Mapping[str, str]
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
            units,
            analysis.variables[alternative.replaces].region,
        ).values()
        # An alternative that no participant has is named in the sensitivity table, not here.
        if column in units
    }
