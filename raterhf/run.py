"""What `raterhf sample` and `raterhf score` ask of a run: a SPEC, texts and a seed in, rows out.

RUN is a run folder (runs/dice) or the folder of one stage (runs/dice/sft). Everything that comes out is a function of the arguments and
the folder. Nothing here generates or scores by itself; `sampler.py` and `scorer.py` do.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from raterhf.data.checks import Problems, answer_fault, prompt_fault
from raterhf.data.example import Example
from raterhf.data.files import Rows, read_rows
from raterhf.data.renderer import Renderer
from raterhf.engine.checks import example_fault
from raterhf.engine.sampler import Sampler, completion_text
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.errors import UserError
from raterhf.models.checkpoint import load_policy, load_pool, load_reward, read_header
from raterhf.models.place import pick_device, pick_dtype
from raterhf.models.reward import RewardModel
from raterhf.raters.pool import Rater, RaterPool, stack_vectors
from raterhf.recipe import PolicySettings

SAMPLED_FROM = ("policy", "sft", "base")
SCORED_BY = ("reward",)

Prompt = str | list[dict]


def find_stage(run: Path, stages: tuple[str, ...]) -> Path:
    """The model folder meant by RUN: RUN itself, or the first of `stages` trained in it."""
    for folder in (run, *(run / stage for stage in stages)):
        begun = (folder / "started.json").is_file() and not (folder / "stage.json").is_file()
        if begun:
            raise UserError(
                f"{folder} is being trained, or its training was interrupted; run the same `raterhf train` again to end it, or give the "
                "folder of an earlier stage"
            )
        if (folder / "raterhf.json").is_file():
            return folder
    if trained := sorted(path.parent.name for path in run.glob("*/raterhf.json")):
        raise UserError(
            f"run {run} has the stage {', '.join(trained)} alone, and {' or '.join(stages)} is needed: add it to the recipe and run "
            "`raterhf train` again"
        )
    what = f"has no trained stage {' or '.join(stages)}" if run.is_dir() else "does not exist"
    there = sorted(path.parent.parent.as_posix() for path in run.parent.glob("*/*/raterhf.json"))
    near = f"; runs beside it: {', '.join(dict.fromkeys(there))}" if there else ""
    raise UserError(f"run {run} {what}{near}; give a folder that `raterhf train RECIPE` wrote, such as runs/NAME")


def read_prompts(texts: list[str], file: Path | None) -> list[Prompt]:
    """The prompts given as text, then those of a file's `prompt` column."""
    for text in texts:
        if fault := prompt_fault(text):
            raise UserError(f"--prompt {text!r} {fault}")
    read, problems = [], Problems()
    if file:
        rows = _with_columns(file, ["prompt"])
        problems.check(rows, rows.frame["prompt"], "prompt", prompt_fault)
        problems.raise_above()
        read = list(rows.frame["prompt"])
    if not texts and not read:
        raise UserError("no prompt; give --prompt TEXT (once or more) or --prompts FILE with a column `prompt`")
    return texts + read


@dataclass
class Completions:
    """Rows of a file to score: number (from 1) -> prompt and completion; and what cannot be scored, number -> why."""

    rows: dict[int, tuple[Prompt, str]]
    rejects: dict[int, str]

    def reject(self, row: int, why: str) -> None:
        del self.rows[row]
        self.rejects[row] = why


def read_completions(file: Path) -> Completions:
    """The rows `prompt, completion` of a file; an assistant's message becomes its text. Bad rows are set apart with the reason."""
    rows = _with_columns(file, ["prompt", "completion"])
    found = Completions({}, {})
    for i, (prompt, answer) in enumerate(zip(rows.frame["prompt"], rows.frame["completion"])):
        faults = (("prompt", prompt_fault(prompt)), ("completion", answer_fault(answer)))
        if why := "; ".join(f"{name} {fault}" for name, fault in faults if fault):
            found.rejects[i + 1] = why
        else:
            found.rows[i + 1] = (prompt, answer[-1]["content"] if isinstance(answer, list) else answer)
    return found


def rejects_csv(file: Path, rejects: dict[int, str]) -> str:
    """The rejected rows of a file as CSV, in its order: row, reason, and the row's own columns; messages as JSON."""
    frame, numbers = read_rows(file).frame, sorted(rejects)
    columns = {"row": numbers, "reason": [rejects[row] for row in numbers]}
    for name in frame:
        cells, own = frame[name].iloc[[row - 1 for row in numbers]], _cell(str(name))
        while own in columns:  # as in a rejects file that was mended and is scored again
            own += "_before"
        columns[own] = pd.Series([_cell(cell) for cell in cells], dtype=object)
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def _cell(value: object) -> object:
    """Messages as JSON; half a character, for which a row may be rejected, by its number: it has no UTF-8."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


def _with_columns(file: Path, names: list[str]) -> Rows:
    rows = read_rows(file)
    if missing := [name for name in names if name not in rows.frame]:
        raise UserError(f"{file}: no column {', '.join(missing)}; it has {', '.join(map(str, rows.frame.columns))}: add or rename columns")
    return rows


def sample(
    run: Path, prompts: list[Prompt], spec: str, n: int, seed: int, group: str | None = None, temperature: float = 1.0,
    max_new_tokens: int | None = None,
) -> list[dict]:  # fmt: skip
    """Rows `prompt, completion, rater, log_prob, finished`, by prompt and then by rater.

    `new` and personas: n fresh raters give one answer each, the same n to every prompt. Other SPECs: n answers of each rater. `log_prob`
    (nats) is the completion's under its rater at temperature 1, recomputed; `finished` is False where it was cut at `max_new_tokens`.
    """
    folder = find_stage(run, SAMPLED_FROM)
    # The base model, which nobody rates, has no raters.
    knows = (folder / "raters.json").is_file() or read_header(folder, "policy")["dim"] > 0
    pool = load_pool(folder) if knows else RaterPool([], np.zeros((0, 0), np.float32), 0, "none")
    _check_group(pool, spec, group)
    raters = pool.resolve(spec, n, seed, group)
    repeats = 1 if pool.check_spec(spec) in ("fresh", "persona") else n
    policy, tokenizer, header = load_policy(folder)
    policy, device = _placed(policy)

    asked = [(prompt, rater) for prompt in prompts for rater in raters for _ in range(repeats)]
    renderer = Renderer(tokenizer, header["max_length"])
    heads = [renderer.prompt(prompt, rater.text) for prompt, rater in asked]
    vectors, null = _on(device, [rater for _, rater in asked], header["dim"] + header["idiosyncratic_dim"])
    trained = _policy_stage(folder)
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, max_new_tokens or trained.max_new_tokens, trained.min_p)
    answers = sampler.generate(heads, vectors, null, seed, temperature, own=True)
    with torch.no_grad():
        log_probs, _ = completion_log_probs(policy, answers, vectors, null)
    return [
        {
            "prompt": prompt, "completion": completion_text(tokenizer, answer), "rater": rater.id, "log_prob": log_prob,
            "finished": answer.ids[-1] == tokenizer.eos_token_id,
        }
        for (prompt, rater), answer, log_prob in zip(asked, answers, log_probs.tolist())
    ]  # fmt: skip


def score(
    run: Path,
    asked: Completions,
    specs: list[str],
    seed: int,
    group: str | None = None,
    idiosyncratic: bool = False,
    dtype: str = "float32",
) -> tuple[list[str], np.ndarray]:
    """Raters' IDs [K] and their scores [K, N] of the N completions of `asked`, in units of Bradley-Terry noise.

    Completions that do not fit the model's window are moved to `asked.rejects`. With `idiosyncratic` the raters' whole utilities: the score
    plus taste that hangs together with nothing else. A rater that several SPECs name has one row. The trunk computes in `dtype`.
    """
    folder = find_stage(run, SCORED_BY)
    pool = load_pool(folder)
    raters: dict[str, Rater] = {}
    for spec in specs:
        _check_group(pool, spec, group)
        raters |= {rater.id: rater for rater in pool.resolve(spec, 1, seed, group, counted=True)}
    people = list(raters.values())
    model, tokenizer, header = load_reward(folder)
    if idiosyncratic and not header["idiosyncratic_dim"]:
        raise UserError(
            f"{folder} was trained without idiosyncratic taste "
            f"(raters.idiosyncratic_dim 0, or an encoding without vectors); leave out --idiosyncratic"
        )
    model, device = _placed(model)
    model.backbone.to(pick_dtype(dtype, device))

    renderer, scorer = Renderer(tokenizer, header["max_length"]), Scorer(model)
    by_text = pool.encoding == "text"  # the rater stands in the text, so everybody's examples are their own
    examples = _rendered(model, renderer, asked, [rater.text for rater in people] if by_text else [""])
    if not asked.rows:
        return list(raters), np.zeros((len(people), 0), np.float32)
    with torch.no_grad():
        if by_text:
            return list(raters), torch.cat([scorer.matrix(mine, None, None) for mine in examples]).cpu().numpy()
        (examples,) = examples
        vectors, null = _on(device, people, header["dim"] + header["idiosyncratic_dim"])
        if idiosyncratic:
            return list(raters), scorer.utility(examples, vectors, null).cpu().numpy()
        return list(raters), scorer.matrix(examples, vectors, null, len(people)).cpu().numpy()


def _rendered(model: RewardModel, renderer: Renderer, asked: Completions, texts: list[str]) -> list[list[Example]]:
    """The completions after each rater text, by text; those that do not fit after one of them are rejected."""
    examples = []
    for row, (prompt, answer) in list(asked.rows.items()):
        try:
            column = [renderer.example(prompt, answer, text) for text in texts]
            fault = next(filter(None, (example_fault(model, example) for example in column)), "")
        except UserError as error:
            fault = str(error)
        if fault:
            asked.reject(row, fault)
        else:
            examples.append(column)
    return [list(column) for column in zip(*examples)]


def matrix_csv(ids: list[str], rows: list[int], scores: np.ndarray) -> str:
    """The matrix as CSV with the header `rater,1,2,...`: a column is the row number of its completion's file."""
    table = pd.DataFrame(scores, columns=rows)
    table.insert(0, "rater", ids)
    return table.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def _check_group(pool: RaterPool, spec: str, group: str | None) -> None:
    """A group narrows whom `new` and `all` stand for; with anything else it would be ignored."""
    if group is None:
        return
    kind = pool.check_spec(spec, counted=True)
    if kind not in ("fresh", "fixed", "counted", "all"):
        raise UserError(f"--group {group!r} with rater {spec!r}: a group narrows `new`, `new:NUMBER` and `all` only; leave one of them out")
    if pool.encoding == "text" and kind != "all":
        raise UserError(f"--group {group!r}: this run knows raters by text, which has no groups to draw from; leave it out")


def _placed(model: torch.nn.Module) -> tuple[torch.nn.Module, torch.device]:
    device = pick_device()
    return model.to(device), device


def _on(device: torch.device, raters: list[Rater], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    vectors, null = stack_vectors(raters, width)
    return torch.from_numpy(vectors).to(device), torch.from_numpy(null).to(device)


def _policy_stage(folder: Path) -> PolicySettings:
    """How the policy was trained to sample: the resolved recipe's `policy`, or that section's defaults."""
    path = folder / "recipe.resolved.yaml"
    stage = yaml.safe_load(path.read_text("utf-8")).get("policy") if path.is_file() else None
    return PolicySettings.model_validate({"steps": 1, "lr": 1.0} | (stage or {}))
