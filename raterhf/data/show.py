"""`raterhf data check`: reads data as training would, and prints what `inspection` finds. Trains nothing."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.padding import Padding
from rich.table import Column, Table

from raterhf.data.corpus import read_corpus
from raterhf.data.inspection.figures import inspect_labels
from raterhf.data.inspection.tables import sections
from raterhf.data.labels import Labels, labels_of
from raterhf.errors import UserError
from raterhf.recipe import Recipe
from raterhf.terminal import console, printable

if TYPE_CHECKING:
    from raterhf.data.renderer import Renderer

LEVELS = {
    "stop": ("stop", "bold red", "Mend this first"),
    "warn": ("look", "yellow", "Look at this"),
    "good": ("good", "green", "What can be learned"),
    "note": ("open", "dim", "What cannot be known from these data"),
}
"""Of a verdict's sentence: its mark, its colour, and the heading above its kind."""


def inspect_recipe(recipe: Recipe, labels: Labels, renderer: "Renderer | None" = None) -> dict:
    """The figures of a recipe's labels, as `labels_of` gave them. Where it takes one split, pairs are looked for in all of them."""
    everything, unread = None, None
    if recipe.data.split is not None:
        try:
            everything = labels_of(recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": None})}))
        except UserError as error:  # in rows that training never reads
            unread = str(error)
    figures = inspect_labels(labels, everything, renderer, longest_rater_text(recipe, labels), recipe.seed, unread)
    if recipe.data.base:
        figures["what"]["base"] = len(read_corpus(recipe.data.base, recipe.data.columns))
    return figures


def longest_rater_text(recipe: Recipe, labels: Labels) -> str:
    if recipe.raters.encoding != "text":
        return ""
    return recipe.raters.text_template.format(max(labels.raters["rater_id"], key=len))


def print_rows(title: str, rows: list[tuple[str, str]]) -> None:
    """A section: its title, and a table of (what, value)."""
    table = Table(
        Column(ratio=2, overflow="fold"), Column(ratio=3, overflow="fold"), box=SIMPLE, show_header=False, expand=True, pad_edge=False
    )
    for row in rows:
        table.add_row(*map(printable, row))
    out = console()
    out.print(title, style="bold")
    out.print(table)


def print_figures(figures: dict) -> None:
    """A table for each section, then the verdict."""
    out = console()
    for title, rows in sections(figures).items():
        print_rows(title, rows)
    if "example" in figures:
        out.print("One example, as the model reads it\n", style="bold")
        out.print(printable(figures["example"]) + "\n", soft_wrap=True)
    out.print("Verdict", style="bold")
    for sentence in figures["verdict"]:
        mark, colour, _ = LEVELS[sentence["level"]]
        verdict = Table.grid(Column(width=6, style=colour), Column(ratio=1, overflow="fold"))
        verdict.add_row(mark, printable(sentence["text"]))
        out.print(Padding(verdict, (0, 0, 1, 0)))
