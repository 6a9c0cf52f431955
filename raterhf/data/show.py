"""`raterhf data check`: reads data as training would and shows the figures of `describe`. Trains and tokenises nothing."""

from rich.box import SIMPLE

from raterhf.data.corpus import read_corpus
from raterhf.data.labels import Labels, describe, read_labels, read_recipe
from raterhf.recipe import Recipe
from raterhf.terminal import console, printable, show_table

KINDS = ("comparisons", "ratings", "demonstrations")
SHOWN_IDS = 5


def check_data(recipe: Recipe, show: bool = True) -> dict:
    """Read a recipe's data as training would; print what is in it, as `raterhf data check` does, and return the figures.

    Raises UserError that names file, row and remedy.
    """
    figures = describe_recipe(recipe)
    if show:
        print_figures(figures)
    return figures


def describe_recipe(recipe: Recipe, labels: Labels | None = None) -> dict:
    """Figures of a recipe's data, read here where they are not given."""
    data = recipe.data
    found = describe(read_recipe(recipe) if labels is None else labels)
    return found | ({"base": len(read_corpus(data.base, data.columns))} if data.base else {})


def describe_files(files: dict[str, list[str] | None]) -> dict:
    """Figures of files by kind: comparisons, ratings, demonstrations, raters."""
    return describe(read_labels(files["comparisons"], files["ratings"], files["demonstrations"], files["raters"]))


def print_figures(figures: dict) -> None:
    """Two tables: the files and what became of their rows; the labels and who gave them."""
    read = figures["read"]
    files = []
    for kind in KINDS:
        if counts := read[kind]:
            cells = (counts["read"], counts["other_split"], counts["dropped"], counts["used"])
            files.append([kind, *map(str, cells), ", ".join(counts["files"])])
    if read["raters"].get("files"):
        files.append(["raters", str(read["raters"]["read"]), "", "", "", ", ".join(read["raters"]["files"])])
    columns = ["kind", "rows", "other split", "dropped", "used", "files"]
    show_table(columns, files, columns, box=SIMPLE)
    show_table(["figure", "value"], _rows(figures), ["figure", "value"], box=SIMPLE)
    for sentence in figures["read"]["notices"]:
        console().print(printable(sentence), soft_wrap=True)


def _rows(figures: dict) -> list[tuple[str, str]]:
    spread, repeats, read = figures["labels_per_rater"], figures["repeated_questions"], figures["read"]
    rows = [
        ("raters", f"{figures['raters']} ({figures['raters_train']} train, {figures['raters_validate']} validate)"),
        ("labels a rater", f"{spread['min']} to {spread['max']}, median {spread['median']:g}"),
        ("raters with one label", _ids(figures["raters_with_one_label"])),
        ("raters without labels", _ids(figures["raters_without_labels"])),
        ("comparisons", f"{figures['comparisons']} ({figures['ties']} ties, {figures['duplicates']['comparisons']} duplicates)"),
        ("pairs made of ratings", str(read["ratings"].get("pairs", 0))),
        ("demonstrations", f"{figures['demonstrations']} ({figures['duplicates']['demonstrations']} duplicates)"),
        ("prompts", str(figures["prompts"])),
    ]
    for kind in ("comparisons", "demonstrations"):
        asked, changed = repeats[kind]["asked"], repeats[kind]["answered_differently"]
        rows.append((f"asked again ({kind})", f"{asked}, of which {changed} answered differently"))
    ignored = {file: names for kind in KINDS for file, names in read[kind].get("columns_ignored", {}).items()}
    rows.append(("columns not used", "; ".join(f"{file}: {', '.join(names)}" for file, names in ignored.items()) or "none"))
    splits = {kind: read[kind]["split"] for kind in KINDS if read[kind].get("split")}
    if splits and not any(read[kind].get("other_split") for kind in KINDS):
        shown = "; ".join(f"{kind} {', '.join(f'{name} {n}' for name, n in found.items())}" for kind, found in splits.items())
        rows.append(("column `split`", f"{shown}: all of them used, since data.split does not choose one"))
    if "base" in figures:
        rows.append(("base corpus", f"{figures['base']} rows"))
    for kind in ("personas", "groups"):
        rows.append((kind, ", ".join(f"{name} {n}" for name, n in figures[kind].items()) or "none"))
    return rows


def _ids(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
    return f"{len(ids)}: {', '.join(ids[:SHOWN_IDS])}{more}" if ids else "none"
