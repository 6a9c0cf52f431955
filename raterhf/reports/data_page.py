"""The page of `raterhf data check --html`: figures of `data/inspection`, as a dict, to one self-contained file with plots."""

from pathlib import Path

from raterhf.data.inspection.tables import sections
from raterhf.data.show import LEVELS
from raterhf.io import write_text
from raterhf.reports.data_plots import plots
from raterhf.reports.page import CONTROLS, inlined, page_template
from raterhf.reports.style import COLOURS

PLACES = {  # section: its plots, with what they show
    "Who": {"labels": "Every rater's labels. What is learned for nobody in particular is what the left end says."},
    "What": {"lengths": "Lengths; all above the 99th percentile stand in the last bar."},
    "Agreement": {
        "person": "Choices predicted by the labels of other raters, then with the rater's own other labels, then with somebody else's."
    },
    "Raters to look at": {"others": "How often each rater chose what most others chose. At the grey line stands a coin."},
    "What gives the choice away": {"shortcuts": "How often a rule is right that reads nothing, on pairs it was not learned from."},
}


def write_data_page(figures: dict, name: str, path: Path) -> Path:
    """Write the page of what was found in the data `name` to `path`, whole or not at all."""
    verdict = [
        (heading, colour, [sentence["text"] for sentence in figures["verdict"] if sentence["level"] == level])
        for level, (_, colour, heading) in LEVELS.items()
    ]
    html = page_template("data_check.html.j2").render(
        name=name, colours=COLOURS, verdict=[part for part in verdict if part[2]], sections=sections(figures), places=PLACES,
        plots=inlined(plots(figures)), example=figures.get("example"),
    )  # fmt: skip
    write_text(path, html.translate(CONTROLS))
    return path
