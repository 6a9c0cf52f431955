"""`raterhf probe`: which models are asked, what, and where it is written."""

from collections import Counter
from pathlib import Path

from raterhf.errors import UserError
from raterhf.evaluation.probes.load import load_interview, recipe_of, seeds_of_one_recipe
from raterhf.evaluation.probes.questions import read_questions
from raterhf.evaluation.probes.suite import PROBES, chosen, merge_runs, run_probes
from raterhf.lock import hold
from raterhf.log import log
from raterhf.reports.probes import write_probes


def probe_models(
    models: list[str], probes: str, n: int, seed: int, repeats: int, questions: list[Path], out: Path | None
) -> tuple[dict, Path]:  # fmt: skip
    """Runs, seeds of one recipe, or models by name, measured and written; what probes.json holds and the page's path.

    Raises UserError, before anything is measured, where these do not go together.
    """
    wanted = chosen(probes)
    if not wanted:
        raise UserError(f"--probes {probes} names no probe; give all, or some: {', '.join(PROBES)}")
    if out is None and len(models) > 1:
        raise UserError("several models have no common run folder; say with --out where to write")
    out = out or _home(models[0]) / "probes"
    runs = all(recipe_of(Path(model)) for model in models)
    if len(models) > 1 and runs:
        if repeats:
            raise UserError(f"--repeats {repeats} with {len(models)} runs; false alarms are of one run's answers, so give one run")
        seeds_of_one_recipe(models)
    asked = [question for path in questions for question in read_questions(path)]
    if twice := [key for key, count in Counter(question.key for question in asked).items() if count > 1]:
        raise UserError(f"--questions: key {twice[0]!r} stands there twice; every question needs a key of its own")
    with hold(out):
        results = {}
        for together in [[run] for run in models] if runs else [models]:
            interview, world = load_interview(together, n, seed, asked)
            if runs and world is None and not asked:
                note = "has no simulated world: it is asked the questions of data/probes; --questions asks others"
                log.info(f"{together[0]} {note}")
            results[together[0]] = run_probes(interview, wanted, world, repeats)
        merged = merge_runs({run: found for run, (found, _) in results.items()})
        return write_probes(merged, next(iter(results.values()))[1], out)


def _home(model: str) -> Path:
    """The folder of a run or a model, which figures are written into. Raises UserError where there is none, as of a model of the hub."""
    home = Path(model if Path(model).exists() else model.partition("=")[2] or model)
    if not home.is_dir():
        raise UserError(f"{home} is no folder here; give a run folder (runs/NAME) or a model's, or say with --out where to write")
    return home
