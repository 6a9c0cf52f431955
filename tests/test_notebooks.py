"""The notebooks: kept without outputs, made of code that exists, and, slowly, executed for the numbers that they compute.

Executing takes minutes, since two of them train: `make test-slow`.
"""

import ast
import json
import os
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def code(name: str) -> list[str]:
    return [cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def executed(name: str, place: Path, asked: dict[str, str]) -> dict:
    """Run a notebook in `place`; the values of expressions `asked` at its end, which must be JSON."""
    notebook = nbformat.v4.new_notebook(cells=[*NOTEBOOKS[name].cells], metadata=NOTEBOOKS[name].metadata)
    pairs = ", ".join(f"{key!r}: {expression}" for key, expression in asked.items())
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\n\nprint(json.dumps({{{pairs}}}))"))
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    (said,) = notebook.cells[-1].outputs
    return json.loads(said.text)


@pytest.fixture
def own_code(monkeypatch):
    """The kernel imports the package of this checkout, and one thread computes: the same numbers whatever the machine does beside."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *([path] if path else [])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_there_are_three():
    assert list(NOTEBOOKS) == ["bring_your_own_raters", "founding_experiment", "reading_the_report"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_no_outputs(name):
    nbformat.validate(NOTEBOOKS[name])
    for cell in NOTEBOOKS[name].cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), f"{cell.id}: clear the outputs before committing"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_code_parses_and_what_it_names_exists(name):
    """Imports, and attributes of imported modules (`figures.etv`): a renamed function shows here, not after minutes of training."""
    tree = ast.parse("\n".join(code(name)))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {}
    exec(compile(ast.Module(imports, []), name, "exec"), found)
    used = [(node.value.id, node.attr) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    modules = {alias: value for alias, value in found.items() if isinstance(value, ModuleType)}
    assert [f"{alias}.{name}" for alias, name in used if alias in modules and not hasattr(modules[alias], name)] == []


@pytest.mark.slow
def test_the_report_is_read_with_and_without_a_run(tmp_path, own_code):
    """The four samplers get what their names say; a run's figures are those of its files."""
    asked = {"table": "table.astype(object).where(table.notna(), None).to_dict()"}
    place = tmp_path / "notebooks"
    place.mkdir()
    found = executed("reading_the_report", place, asked | {"rows": "len(compared) + len(probed)"})
    table = found["table"]
    assert found["rows"] == 0
    assert abs(table["perfect"]["etv"]) < 0.02 and abs(table["perfect"]["mi_ratio"] - 1) < 0.2 and table["perfect"]["kappa_taste"] == 1
    assert abs(table["collapsed"]["gamma"] - 3) < 0.2 and table["collapsed"]["etv"] > 0.1
    assert abs(table["nobody"]["etv"]) < 0.02 and abs(table["nobody"]["mi_ratio"]) < 0.05 and table["nobody"]["c2st_auc"] > 0.75
    assert table["stereotype"]["mi_ratio"] > 3 and table["stereotype"]["kappa_dice"] is None

    policies = {
        name: {"etv": value, "gamma": 1.0, "mi_ratio": 0.9, "c2st_auc": 0.6} for name, value in (("vanilla", 0.3), ("rater_new", 0.05))
    }
    question = {"prompt": "?", "classes": ["red", "blue"], "population": [0.5, 0.5]}
    metrics = {
        "policies": policies,
        "intervals": {"policies": {name: {"etv": [0.0, 0.4]} for name in policies}},
        "real": {"kappa_taste": 1.0},
        "questions": {"colour": question | {"policies": {name: {"p": [0.4, 0.6, 0.0]} for name in policies}}},
    }
    policies = {"vanilla": {"etv": [0.3, 0.2, 0.4]}, "rater_new": {"etv": [0.05, None, None]}}
    probe = {
        "title": "?",
        "headline": "etv",
        "best": {"etv": 0.0},
        "policies": policies,
        "recovered": [0.8, 0.7, 0.9],
        "holes": ["base: no"],
    }
    for name, written in (("compare/metrics.json", metrics), ("probes/probes.json", {"probes": {"numbers": probe}})):
        path = tmp_path / "runs" / "dice" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(written))
    asked = {"etv": "float(compared.loc['etv', 'rater_new'])", "recovered": "float(probed.loc['numbers', 'recovered'])"}
    assert executed("reading_the_report", place, asked) == {"etv": 0.05, "recovered": 0.8}


@pytest.mark.slow
def test_own_raters_make_a_jury_that_splits_as_they_do(tmp_path, own_code):
    asked = {
        "jury": "split['jury of 64'].to_dict()",
        "annotators": "split['30 annotators'].to_dict()",
        "completions": "answers.completion.tolist()",
        "finished": "bool(answers.finished.all())",
    }
    asked["shares"] = "{name: row['top_share'][0] for name, row in models.items()}"
    found = executed("bring_your_own_raters", tmp_path, asked)
    assert found["finished"] and len(set(found["completions"])) > 1
    assert found["jury"]["false"] == found["annotators"]["false"] == 0
    distance = sum(abs(found["jury"][style] - share) for style, share in found["annotators"].items()) / 2
    assert distance < 0.2, found
    assert min(found["jury"][style] for style in ("short", "exact", "lively")) > 0.1, found
    assert found["shares"]["vanilla"] > found["shares"]["rater_new"] + 0.1, found


@pytest.mark.slow
def test_with_ids_the_distribution_comes_back(tmp_path, own_code):
    found = executed("founding_experiment", tmp_path, {"table": "table.to_dict()", "remembered": "remembered", "agreement": "agreement"})
    tv, most, valid = (found["table"][name] for name in ("tv", "most frequent", "valid"))
    for without, with_ids in (("averaged judge", "jury of fictitious raters"), ("RLHF, no IDs", "with IDs, as raters #101, #102, …")):
        assert tv[without] > tv[with_ids] + 0.2, found
        assert most[without] > 0.55 and most[with_ids] < 0.45, found
    assert min(valid.values()) > 0.9, found
    assert found["remembered"] > 0.5 and found["agreement"] > 0.25, found
