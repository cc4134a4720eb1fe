"""A figure drawn once, and played to as many kinds of file as are wanted.

Laying out titles and ticks takes more of a drawing than its lines do, and is the same for every
kind of file; matplotlib would do it anew for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.figure import Figure as Canvas
from matplotlib.transforms import Affine2D, IdentityTransform, Transform, TransformedPath

POINTS_PER_INCH = 72
"""The resolution at which PDF and SVG are written, and a recording is made."""

Stroke = Callable[[Any, Transform], None]
"""Draws one thing with a renderer, enlarged as the transform says."""


class Recorded(Canvas):
    """A figure that draws what another one has drawn.

    It can be saved as any figure can, in every format and at every resolution.
    """

    def __init__(self, canvas: Canvas) -> None:
        width, height = canvas.get_size_inches()
        super().__init__(figsize=(width, height))
        # The original keeps this resolution: an SVG asks its texts where they stand.
        canvas.set_dpi(POINTS_PER_INCH)
        recorder = _Recorder(canvas.bbox.width, canvas.bbox.height)
        canvas.draw(recorder)
        self._strokes = recorder.strokes

    def draw(self, renderer: RendererBase) -> None:
        """Draw everything at the resolution that the figure has now."""
        scale = self.dpi / POINTS_PER_INCH
        larger = IdentityTransform() if scale == 1 else Affine2D().scale(scale)
        for stroke in self._strokes:
            stroke(renderer, larger)


class _Recorder(RendererBase):
    """Keeps each call of a drawing; images and shaded triangles it refuses, as its base does.

    Transforms are kept as numbers: each would be worked out again for every file.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.size = width, height
        self.strokes: list[Stroke] = []

    def get_canvas_width_height(self) -> tuple[float, float]:
        """Return the size in points."""
        return self.size

    def flipy(self) -> bool:
        """Return that y grows upwards, as it does in PDF."""
        return False

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:  # noqa: ANN401 - matplotlib's signature
        """Return the size of a text, not rounded to the pixels of any screen."""
        return self._text2path.get_text_width_height_descent(s, prop, ismath)

    def open_group(self, s: str, gid: str | None = None) -> None:
        """Begin a group of an SVG."""
        self.strokes.append(lambda renderer, _: renderer.open_group(s, gid))

    def close_group(self, s: str) -> None:
        """End a group of an SVG."""
        self.strokes.append(lambda renderer, _: renderer.close_group(s))

    def draw_path(self, gc: GraphicsContextBase, *given: Any, **named: Any) -> None:  # noqa: ANN401 - matplotlib's signature
        """Keep a path: path, transform, colour."""
        self._keep("draw_path", (1,), gc, given, named)

    def draw_markers(self, gc: GraphicsContextBase, *given: Any, **named: Any) -> None:  # noqa: ANN401 - matplotlib's signature
        """Keep one mark at many places: mark, its transform, places, their transform, colour."""
        self._keep("draw_markers", (1, 3), gc, given, named)

    def draw_path_collection(self, gc: GraphicsContextBase, *given: Any, **named: Any) -> None:  # noqa: ANN401 - matplotlib's signature
        """Keep many paths: transform, paths, shapes, places, their transform, and looks."""
        transform, paths, *rest = given
        # matplotlib calls once without paths, to see whether the names are understood.
        if paths := list(paths):
            self._keep("draw_path_collection", (0, 4), gc, (transform, paths, *rest), named)

    def draw_text(self, gc: GraphicsContextBase, *given: Any, **named: Any) -> None:  # noqa: ANN401 - matplotlib's signature
        """Keep a text: x, y, letters, font, angle."""
        x, y, *rest = given
        pen = _pen(gc)

        def stroke(renderer: Any, larger: Transform) -> None:  # noqa: ANN401 - a renderer of any kind
            across, up = larger.transform((x, y))
            if renderer.flipy():
                up = renderer.get_canvas_width_height()[1] - up
            renderer.draw_text(pen(renderer, larger), across, up, *rest, **named)

        self.strokes.append(stroke)

    def _keep(
        self,
        name: str,
        places: tuple[int, ...],
        gc: GraphicsContextBase,
        given: tuple[Any, ...],
        named: dict[str, Any],
    ) -> None:
        """Keep a call; ``places`` are the arguments that are transforms to the page."""
        pen = _pen(gc)
        kept = [one.frozen() if place in places else one for place, one in enumerate(given)]

        def stroke(renderer: Any, larger: Transform) -> None:  # noqa: ANN401 - a renderer of any kind
            scaled = [one + larger if at in places else one for at, one in enumerate(kept)]
            getattr(renderer, name)(pen(renderer, larger), *scaled, **named)

        self.strokes.append(stroke)


def _pen(gc: GraphicsContextBase) -> Callable[[Any, Transform], Any]:
    """Return what makes the same pen for another renderer: colour, width, clips."""
    kept = GraphicsContextBase()
    kept.copy_properties(gc)

    def pen(renderer: Any, larger: Transform) -> Any:  # noqa: ANN401 - a renderer of any kind
        made = renderer.new_gc()
        made.copy_properties(kept)
        if isinstance(larger, IdentityTransform):
            # The artists' own clips: PDF opens one that many share only once.
            return made
        if (box := kept.get_clip_rectangle()) is not None:
            made.set_clip_rectangle(box.transformed(larger))
        clip: Any = kept.get_clip_path()  # the stubs have other kinds than the library
        path, transform = clip
        if path is not None:
            made.set_clip_path(TransformedPath(path, transform + larger))
        return made

    return pen
