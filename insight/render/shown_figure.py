"""A matplotlib figure that a notebook shows by itself: a plain one is drawn only once pyplot has been set up."""

from __future__ import annotations

import io
import warnings

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure with a picture of itself for IPython."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self.savefig(buffer, format="png")
        return buffer.getvalue()
