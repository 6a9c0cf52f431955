"""Writes the reference pages, docs/reference/*.md, from the code: `python docs/reference.py`.

Nothing is described here: recipe keys come from `recipe_reader.keys()`, verbs from the command line's own help, figures from the report's
glossary and the docstrings of the functions that compute them, the run folder from the docstring of the module that writes it. The Python
API is left to mkdocstrings, which reads docstrings when the site is built. tests/test_docs.py says whether the pages are current.
"""

import ast
import inspect
import re
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from typer.main import get_command

import raterhf
from raterhf import recipe_compare, recipe_reader
from raterhf.cli.main import app
from raterhf.evaluation import metrics
from raterhf.evaluation.probes import suite
from raterhf.models import checkpoint
from raterhf.raters.pool import RaterPool
from raterhf.reports import answers, comparison, metrics_file, rated
from raterhf.training.algorithms.base import options_of

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/reference.py from the code. Change the code, then run it again. -->\n"
# Of the public names those that this page explains, in the order in which they are met.
PUBLIC = (
    "open",
    "Run",
    "Answer",
    "FittedRater",
    "Exported",
    "load_recipe",
    "train",
    "compare",
    "check_data",
    "drop_raters",
    "load_world",
    "UserError",
)
KEY_TABLE = ["key", "default", "what it is"]
METRICS = (
    "marginal",
    "coherence",
    "two_samples",
    "told",
    "authors",
    "writing",
    "quality",
    "frontier",
    "intervals",
    "diversity",
    "repertoire",
    "spanning",
    "leaves",
    "overoptimisation",
)


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    made = {"recipe.md": recipe_page(), "cli.md": cli_page(), "python.md": python_page()}
    made |= {"metrics.md": metrics_page(), "run-folder.md": run_folder_page()}
    return {name: NOTE + "\n" + text.strip() + "\n" for name, text in made.items()}


def recipe_page() -> str:
    parts = [
        "# Recipe keys",
        "A recipe is one YAML file. A section left out takes its defaults, but for `monitor` and `vanilla`, which are off then; "
        "a stage (`base`, `reward`, `sft`, `policy`) left out is not run. On the command line `monitor=` switches a section off."
        " Every key can be changed on the command line: `raterhf train recipes/dice.yaml policy.beta=0.5`. An unknown key is an error that "
        "names the nearest valid one. `raterhf recipes keys` prints this page in the terminal.",
    ]
    sections: dict[str, list] = {}
    for key, default, about in recipe_reader.keys():
        section, dot, _ = key.partition(".")
        sections.setdefault(section if dot else "", []).append([f"`{key}`", f"`{default}`", about])
    for section, rows in sections.items():
        parts += [f"## {section or 'The run'}", table(KEY_TABLE, rows)]
        parts += options() if section == "policy" else []
    return "\n\n".join(parts)


def options() -> list[str]:
    """The keys below `policy.options`, of each algorithm its own."""
    parts = []
    for name in recipe_compare.algorithms():
        rows = [
            [f"`{key}`", f"`{default}`", about] for key, default, about in recipe_reader.field_rows(options_of(name), "policy.options.")
        ]
        parts += [f"### policy.algorithm: {name}", table(KEY_TABLE, rows)]
    return parts


def cli_page() -> str:
    parts = [
        "# Command line",
        "A mistake in files, recipe or arguments is one message on stderr and exit code 2. An interrupt is exit code 130. Exit code 3 says "
        "that some rows or figures are missing, and where the reasons stand. Exit code 141 says that whoever read stdout, as `| head`, has "
        "gone. `raterhf VERB --help` prints the same as this page.",
        "A file given to be written is replaced when the new one is whole, and keeps its mode. A symbolic link stays: what it points to is "
        "written. A pipe, a terminal and `/dev/stdout` are written into. Any other device is refused.",
    ]
    for words, command in verbs("raterhf", get_command(app)):
        context = command.make_context(words, [], resilient_parsing=True)
        places = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
        parts += [f"## {words}", f"```text\n{' '.join([words, *places, '[OPTIONS]'])}\n```", inspect.cleandoc(command.help or "")]
        rows = [argument(one, context) for one in command.params if one.name != "help"]
        parts += [table(["argument", "what it is"], rows)] if rows else []
    return "\n\n".join(parts)


def argument(parameter: Any, context: Any) -> list[str]:
    """One row of a verb's table: an argument by its place, an option by its name and the type of its value."""
    name, about = parameter.get_help_record(context)
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
    return [f"`{re.sub('<([a-z]+)[^>]*>', lambda found: found[1].upper(), name)}`", about]


def verbs(words: str, command: Any) -> list[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    inner = getattr(command, "commands", None)
    if not inner:
        return [(words, command)]
    return [found for name, one in inner.items() for found in verbs(f"{words} {name}", one)]


def python_page() -> str:
    parts = [
        "# Python",
        "`import raterhf` loads nothing heavy: torch comes with the first name that needs it. These are all public names; "
        "`raterhf.Recipe` is the schema of [recipe keys](recipe.md), `raterhf.metrics` the functions of [metrics.json](metrics.md).",
    ]
    named = {f"raterhf.{name}": getattr(raterhf, name) for name in PUBLIC} | {"RaterPool": RaterPool}
    parts += [
        f"::: {one.__module__}.{one.__qualname__}\n    options:\n      heading: {name}\n      toc_label: {name}"
        for name, one in named.items()
    ]
    return "\n\n".join(parts)


def metrics_page() -> str:
    parts = ["# metrics.json", prose(doc(metrics_file))]
    for title, glossary in (*comparison.GLOSSARY.items(), ("reward models", comparison.REWARD_GLOSSARY)):
        parts += [
            f"## {title.capitalize()}",
            table(["figure", "what it is", "a perfect sampler"], [[f"`{k}`", *v] for k, v in glossary.items()]),
        ]
    parts += ["## Rated texts", table(["figure", "what it is"], [[f"`{name}`", about] for name, about in rated.FIGURES.items()])]
    parts += ["## Answers alone", table(["figure", "what it is"], [[f"`{name}`", about] for name, about in answers.FIGURES.items()])]
    names = [*comparison.POLICIES.items(), *comparison.REWARD_MODELS.items()]
    parts += ["## Policies and reward models", table(["name", "what it is"], [[f"`{name}`", about] for name, about in names])]
    parts += ["## Probes", prose(doc(suite)), probe_table()]
    parts += ["## How each figure is computed", "Pure functions of numpy arrays, in `raterhf.evaluation.metrics`."]
    for name in METRICS:
        module = import_module(f"{metrics.__name__}.{name}")
        parts += [f"### {name}", prose(doc(module)), table(["function", "what it is"], functions(module))]
    return "\n\n".join(parts)


def probe_table() -> str:
    rows = [[f"`{name}`", probe.title, f"`{probe.headline}`", probe.caption] for name, probe in suite.PROBES.items()]
    return table(["probe", "question", "figure it is read by", "how to read its picture"], rows)


def run_folder_page() -> str:
    """The docstring of the module that writes model folders, from its third paragraph on: the first two are about how it writes."""
    _, _, *about = doc(checkpoint).split("\n\n")
    return "\n\n".join(["# Run folder", "`raterhf train` writes one folder a stage: `runs/NAME/STAGE`.", *(prose(part) for part in about)])


def functions(module: ModuleType) -> list[list[str]]:
    """Name and first paragraph of the docstring of every public function, in the file's order."""
    tree = ast.parse(inspect.getsource(module))
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return [[f"`{node.name}`", prose(" ".join((ast.get_docstring(node) or "").split("\n\n")[0].split()))] for node in public]


def doc(module: ModuleType) -> str:
    return inspect.cleandoc(module.__doc__ or "")


def prose(text: str) -> str:
    """A docstring as Markdown: what is not in a code span must not be read as markup."""
    parts = text.replace("<", "&lt;").split("`")
    parts[::2] = [part.replace("*", "\\*").replace("[", "\\[") for part in parts[::2]]
    return "`".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell_text(cell: str) -> str:
    """A cell on one line; a bar in a code span as HTML, since renderers disagree on how to escape it there."""
    spans = re.sub(r"`([^`|]*\|[^`]*)`", lambda found: f"<code>{escape(found[1]).replace('|', '&#124;')}</code>", cell)
    return spans.replace("|", "\\|").replace("\n", " ")


def write() -> None:
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write()
