"""Kinds of data files, their columns under our names, what a user asks of a reading, and a file under way."""

from dataclasses import dataclass, field

import pandas as pd

from raterhf.data.files import Rows

NAMES = {
    "comparisons": (
        "prompt", "chosen", "rejected", "a", "b", "label", "rater_id", "split", "source_a", "source_b", "strength", "attribute", "reason",
    ),
    "ratings": ("prompt", "response", "rating", "rater_id", "split", "source", "within", "attribute", "reason"),
    "demonstrations": ("prompt", "completion", "rater_id", "split"),
    "raters": ("rater_id", "persona", "group", "split"),
}  # fmt: skip
REQUIRED = {
    "ratings": ("prompt", "response", "rating", "rater_id"),
    "demonstrations": ("prompt", "completion", "rater_id"),
    "raters": ("rater_id",),
}
OPTIONAL = ("split", "persona", "group", "source", "source_a", "source_b", "strength", "within", "attribute", "reason")
# What the columns that name the model of an answer are often called; read where no mapping says otherwise.
SOURCES = {
    "comparisons": (("model_a", "model_b"), ("chosen_model", "rejected_model"), ("model_chosen", "model_rejected"), ("model_1", "model_2")),
    "ratings": (("model",), ("model_name",), ("model_id",), ("generator",)),
}
DATA_KINDS = ("comparisons", "ratings", "demonstrations")
IMPLICIT = "{}"
"""In the place of the prompt's column: there is none, and both answers hold it."""
EVERYONE = "everyone"
"""The one rater of rows that do not say who judged, where models know no raters."""


@dataclass(frozen=True)
class Request:
    """What the user asked for. `paths` by kind; `split` None is every row; `group_column` and `within` are columns of data.

    `preset` names the tool whose export the data files are, where they are not to be recognised by their columns. With `one_rater` rows
    need not say who judged; with `prefix_raters` a rater of a file is nobody in another. `values` are words among the ratings and the
    numbers they stand for.
    """

    paths: dict[str, list[str]]
    columns: dict[str, str] = field(default_factory=dict)
    split: tuple[str, ...] | None = None
    group_column: str | None = None
    within: str | None = None
    preset: str | None = None
    prefix_raters: bool = False
    one_rater: bool = False
    values: dict[str, float] = field(default_factory=dict)

    def names(self, kind: str) -> dict[str, str]:
        """Our name -> the file's."""
        names = {n: self.columns.get(f"{kind}.{n}", self.columns.get(n, n)) for n in NAMES[kind]}
        if self.group_column and kind in DATA_KINDS:
            names["group"] = self.group_column
        if self.within and kind == "ratings":
            names["within"] = self.within
        return names


@dataclass(frozen=True)
class Part:
    """The chosen rows of one file under our names; the index is the row's place in `rows`. `names`: our name -> that in `rows`.

    `there` are the columns of the file itself, which `rows` no longer has where they were made of an export.
    """

    rows: Rows
    frame: pd.DataFrame
    names: dict[str, str]
    there: frozenset[str] = frozenset()
