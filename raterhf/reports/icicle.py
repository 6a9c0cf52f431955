"""An icicle of texts as an SVG text: the tree of what may be said, begun on the left, heights in shares of the probability."""

from dataclasses import dataclass

from matplotlib.patches import Rectangle

from raterhf.reports.style import LETTER, WIDTH, canvas, short, svg_text

HEIGHT, LINE = 300, 11  # pixels: of the whole, and of a line of text
COLUMNS = 5  # what branches further is not drawn
SLIM = 0.01  # boxes of less height make no column of their own


@dataclass(frozen=True)
class Box:
    """A text in a column from the left; its top and height are shares of the whole. A box that ends goes on to the right edge."""

    column: int
    top: float
    height: float
    text: str
    is_end: bool


def icicle(boxes: list[Box], colour: str, title: str) -> str:
    """Boxes side by side, labelled where a line of text fits."""
    figure, (ax,) = canvas(WIDTH, HEIGHT + 24, left=2, right=2, top=20, bottom=4)
    columns = min(COLUMNS, 1 + max(box.column for box in boxes if box.column == 0 or box.height >= SLIM))
    width = (WIDTH - 4) / columns
    for box in boxes:
        if box.column >= columns:
            continue
        x, height = box.column * width, box.height * HEIGHT
        across = columns * width - x if box.is_end else width
        gap = 1 if height > 3 else 0.25 * height
        # Deeper boxes are darker, so that a branch is told from what it grows from.
        shade = 0.22 + 0.1 * box.column
        ax.add_patch(Rectangle((x, box.top * HEIGHT), across - 1, height - gap, facecolor=colour, alpha=shade, linewidth=0))
        if height >= LINE:
            label = short(" / ".join(box.text.split("\n")), max(1, int((across - 6) / (1.2 * LETTER))))
            ax.text(x + 3, box.top * HEIGHT + (height - gap) / 2, label, fontsize=min(11, height - 1), va="center", clip_on=True)
    ax.set_xlim(0, columns * width)
    ax.set_ylim(HEIGHT, 0)
    ax.set_axis_off()
    ax.set_title(title, loc="left", fontsize=11, pad=4)
    return svg_text(figure)
