"""The live lines of a terminal: rich's progress bars, drawn from the forecast.

Imported when a run begins on a terminal, as rich takes long enough to be felt in ``--help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn

from bids_qsmthal.app.forecast import spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, RenderableType

    from bids_qsmthal.app.forecast import Forecast


class Screen(Progress):
    """One line for each running participant, and one for the whole run.

    The tasks are made anew from the forecast each time they are drawn, so that there is one record
    of how far the run is.
    """

    def __init__(self, forecast: Forecast, console: Console | None = None) -> None:
        self._forecast = forecast
        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[place]}", markup=False),
            TextColumn("{task.fields[stage]}", markup=False),
            TextColumn("{task.fields[spent]}", markup=False),
            BarColumn(bar_width=20),
        )
        super().__init__(*columns, console=console, refresh_per_second=2, transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the table of bars."""
        yield self.make_tasks_table(list(self._lines()))

    def _lines(self) -> Iterator[Task]:
        forecast, now = self._forecast, self._forecast.clock()
        # Drawn by a thread of its own: a copy, so that nobody joins in the middle.
        for who, one in sorted(dict(forecast.running).items()):
            step = one.step
            yield self._line(
                *(who, one.done + one.reused, step.planned_share),
                place=f"[{step.number}/{step.total}]",
                stage=step.title if step.state == "started" else f"{step.title}: {step.state}",
                spent=spelled(now - one.since),
            )
        yield self._line(
            *("all", float(forecast.ended), float(forecast.total)),
            place=f"[{forecast.ended}/{forecast.total}]",
            stage=_time_left(forecast),
            spent="",
        )

    def _line(self, name: str, completed: float, total: float, **fields: str) -> Task:
        return Task(
            TaskID(0), name, total, completed, _get_time=self._forecast.clock, fields=dict(fields)
        )


def _time_left(forecast: Forecast) -> str:
    left = forecast.seconds_left()
    if left is None:
        return "time left: not known yet"
    return f"about {spelled(left)} left" if left >= 1 else "about to end"
