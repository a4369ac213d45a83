"""Draws text, frames and axes at pixels of a picture, in the colours of a theme."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

DPI: Final = 100
POINT_PX: Final = DPI / 72


@dataclass(frozen=True)
class Theme:
    """Colours of everything but data."""

    page: str
    panel: str
    border: str
    text: str
    faint: str
    grid: str


THEMES: Final[Mapping[str, Theme]] = {
    "dark": Theme("#111217", "#181B1F", "#26282E", "#D8D9DA", "#8E8F95", "#2A2D33"),
    "light": Theme("#F4F5F5", "#FFFFFF", "#E3E4E6", "#24292E", "#6E7075", "#E6E7E9"),
}


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture, in pixels from its top left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Return the middle of its width."""
        return self.x + self.width / 2

    def inside(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """Return the box without margins."""
        width, height = self.width - left - right, self.height - top - bottom
        return Box(self.x + left, self.y + top, width, height)


class Canvas:
    """A picture of a width and a height in pixels."""

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.width = width
        self.height = height
        self.theme = theme
        self.figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor=theme.page)
        canvas = FigureCanvasAgg(self.figure)
        self._renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # it has no type

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 9.5,
        *,
        colour: str | None = None,
        align: str = "left",
        bold: bool = False,
    ) -> float:
        """Write *text*, its height centred on *y*; return its width in pixels."""
        artist = self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            fontsize=size,
            color=colour or self.theme.text,
            ha=align,
            va="center",
            weight="bold" if bold else "normal",
            parse_math=False,
            zorder=5,
        )
        return float(artist.get_window_extent(self._renderer).width)

    def measure(self, text: str, size: float, *, bold: bool = False) -> float:
        """Return the width of *text* in pixels."""
        weight = "bold" if bold else "normal"
        artist = self.figure.text(0, 0, text, fontsize=size, weight=weight, parse_math=False)
        width = float(artist.get_window_extent(self._renderer).width)
        artist.remove()
        return width

    def fitting(self, text: str, size: float, width: float, *, bold: bool = False) -> str:
        """Return *text*, cut off with an ellipsis where it is wider than *width* pixels."""
        if self.measure(text, size, bold=bold) <= width:
            return text
        while len(text) > 1 and self.measure(f"{text}…", size, bold=bold) > width:
            text = text[:-1]
        return f"{text}…"

    def rectangle(self, box: Box, colour: str) -> None:
        """Fill *box*."""
        self.figure.add_artist(
            Rectangle(
                (box.x / self.width, 1 - (box.y + box.height) / self.height),
                box.width / self.width,
                box.height / self.height,
                transform=self.figure.transFigure,
                color=colour,
                linewidth=0,
            )
        )

    def frame(self, box: Box) -> None:
        """Draw a panel without content."""
        self.figure.add_artist(
            FancyBboxPatch(
                (box.x, self.height - box.y - box.height),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=3",
                facecolor=self.theme.panel,
                edgecolor=self.theme.border,
                linewidth=0.8,
                transform=None,
                zorder=-1,
            )
        )

    def axes(self, box: Box) -> Axes:
        """Return axes that fill *box*, with the theme's look."""
        bottom = 1 - (box.y + box.height) / self.height
        place = (box.x / self.width, bottom, box.width / self.width, box.height / self.height)
        axes = self.figure.add_axes(place, facecolor="none")
        axes.set_axisbelow(True)
        axes.grid(color=self.theme.grid, linewidth=0.8)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=8.5, labelcolor=self.theme.faint)
        return axes
