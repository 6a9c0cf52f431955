"""The vanilla baseline in terms of a recipe: which rows and prompts TRL's three stages get, and how its reward is standardised.

The same demonstrations, comparisons and prompts as ours, from the same base checkpoint, with the same adapters and dtype (`trl_means.py`),
without the raters; how many updates each takes is the recipe's. The standardisation is ours
too: one scale, fitted on the same held-out comparisons, so that margins are log-odds and beta means the same for both.
"""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raterhf import io
from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.memory import cost_of
from raterhf.errors import UserError
from raterhf.evaluation import trl_trainers
from raterhf.evaluation.methods.base import Work, arguments, load_method
from raterhf.evaluation.trl_means import INPUTS, Means
from raterhf.log import log
from raterhf.models import checkpoint, load
from raterhf.recipe import Recipe
from raterhf.training import losses
from raterhf.training.start import all_prompts
from raterhf.training.training_curve import TRAINING_CURVE, describe, write_training_curve
from raterhf.worlds.world import World, load_world

LOOKS = 20  # windows that the curve of an RL training is cut into


def train_vanilla(recipe: Recipe, labels: Labels, folder: Path, method: str, own: dict) -> None:
    """TRL's three stages, those that are missing: SFT, reward model, and into `folder` the policy by a method, with arguments of its config
    beside those of vanilla (`methods.base.arguments`)."""
    if recipe.vanilla is None or not recipe.vanilla.rl:
        raise UserError("the vanilla baseline needs the recipe's section `vanilla` (sft, reward, rl); see recipes/dice.yaml")
    home, base = recipe.folder / "vanilla", recipe.start
    settings, means = recipe.vanilla, Means.of(recipe.model)
    train, held = pair_rows(recipe, labels)
    known = set(prepare.find_people(labels).known)
    shown = prepare.imitated(labels, recipe.sft.source)
    shown = shown[shown.rater_id.isin(known)]
    shown = shown[_window(recipe).keep("demonstrations", shown, ["completion"], [""] * len(shown))]
    key = [recipe.seed, _digest(shown), _digest(train), checkpoint.weights_digest(base), means.record]
    sft = _once(home / "sft", [key, settings.sft], lambda out: trl_trainers.train_sft(base, out, shown, settings.sft, recipe.seed, means))
    decided = train[train.label != 0]
    pairs = pd.DataFrame({
        "prompt": decided.prompt, "chosen": decided.a.where(decided.label == 1, decided.b),
        "rejected": decided.b.where(decided.label == 1, decided.a),
    })  # fmt: skip
    graded = ["margin"] if "strength" in decided and decided.strength.notna().any() else []
    if graded:
        pairs["margin"] = margins(decided.strength)
    reward = _once(
        home / "reward",
        [key, settings.reward, *graded],
        lambda out: trl_trainers.train_reward(base, out, pairs, settings.reward, recipe.seed, means),
    )
    score = trl_trainers.load_scorer(reward, dtype=means.dtype)
    scale = standard_scale(score(list(held.prompt), list(held.a)) - score(list(held.prompt), list(held.b)), held.label.to_numpy())
    prompts = list({str(prompt): prompt for prompt in all_prompts(labels)}.values())
    args = arguments(method, settings, own)

    def run(out: Path) -> None:
        drawn = Rollouts(load_world(recipe.data.world) if recipe.data.world else None)

        def reward(prompts: list, texts: list[str]) -> list[float]:
            return list(scale * score(prompts, texts))

        load_method(method).train(Work(sft, pairs, prompts, reward, args, recipe.seed, means, drawn.add), out)
        if drawn.drawn and (rows := drawn.curve(pd.read_csv(out / "log.csv"))):
            write_training_curve(out / TRAINING_CURVE, rows)

    _once(folder, [key, settings.sft, settings.reward, method, args], run)


def margins(strength: pd.Series) -> np.ndarray:
    """TRL's margins [N], in logits, of how much better the chosen answers are [N]: the grade's place from 0 (the least) to 1 (the most).

    As the small margins of Llama 2 (Touvron et al. 2023, section 3.2.2). No more than the order is taken from the numbers, as our reward
    model takes it; 0 where nothing is said.
    """
    grade = prepare.grades(strength)
    return np.maximum(grade, 0) / max(grade.max(), 1)


@dataclass
class Rollouts:
    """The completions that an RL training of TRL's samples, for its curve: its own, so that looking at them costs nothing."""

    world: World | None
    drawn: list[tuple[int, list, list[str]]] = field(default_factory=list)

    def add(self, step: int, prompts: list, texts: list[str]) -> None:
        self.drawn.append((step, prompts, texts))

    def curve(self, log: pd.DataFrame) -> list[dict[str, float]]:
        """The rows of training_curve.csv, `LOOKS` windows of samples as even as can be; reward, KL and entropy are TRL's means over a
        window.

        None where TRL logged nothing.
        """
        rows: list[dict[str, float]] = []
        if log.empty:
            return rows
        for part in np.array_split(np.arange(len(self.drawn)), min(LOOKS, len(self.drawn))):
            first, last = self.drawn[part[0]][0], self.drawn[part[-1] + 1][0] if part[-1] + 1 < len(self.drawn) else math.inf
            logged = log[(log.step > first) & (log.step <= last)]
            prompts, texts = ([one for i in part for one in self.drawn[i][column]] for column in (1, 2))
            kl = logged.kl_completion.mean() if "kl_completion" in log else math.nan  # TRL reads none at beta 0
            entropy = logged.entropy.mean() * logged["completions/mean_length"].mean()  # TRL's is nats a token
            means = {"reward": logged.reward.mean(), "kl": kl, "entropy": entropy}
            rows.append({"step": float(logged.step.mean())} | means | describe(prompts, texts, self.world))
        return rows


def pair_rows(recipe: Recipe, labels: Labels) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Comparisons of known raters: those that every reward model trains on, and those held back from all of them."""
    people, window = prepare.find_people(labels), _window(recipe)
    rows = labels.comparisons[labels.comparisons.rater_id.isin(set(people.known))]
    rows = rows[window.keep("comparisons", rows, ["a", "b"], [""] * len(rows))].reset_index(drop=True)
    data = prepare.comparison_data(replace(labels, comparisons=rows), window, people.known, {})
    train, held = prepare.held_out_rows(data, recipe.data.held_out, recipe.seed, recipe.folder)
    return rows.iloc[train], rows.iloc[held]


def _window(recipe: Recipe) -> prepare.Window:
    """What leaves out over-long rows, the same that our stages leave out."""
    return prepare.Window(
        Renderer(load.load_tokenizer(recipe.start, "tokenizer_config.json"), recipe.model.max_length), recipe.data.max_dropped
    )


def standard_scale(margin: np.ndarray, label: np.ndarray) -> float:
    """The factor that makes margins log-odds on these comparisons, by maximum likelihood over a grid of label noise, ties left out.

    Its logarithm has a normal prior of width 1, as ours has (`calibrate`), since comparisons may be few; 1 where there are none.
    """
    decided = torch.tensor(np.array(label) != 0)
    margin, label = torch.tensor(margin)[decided], torch.tensor(np.array(label))[decided]
    grid = torch.exp(torch.linspace(-2, 2, 81)).double()
    noise_levels = torch.tensor([0.001, 0.02, 0.05, 0.1]).double()
    fits = [
        (float(losses.comparison_loss(scale * margin, label, torch.zeros(()), level).sum() + scale.log() ** 2 / 2), float(scale))
        for scale in grid
        for level in noise_levels
    ]
    return min(fits)[1]


def _digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()[:16]


def _once(folder: Path, inputs: list, run) -> Path:
    """Run a stage of the baseline unless its folder was made from the same inputs and is as it was made."""
    record = folder / INPUTS
    wanted = json.loads(json.dumps(inputs))
    if record.is_file():
        before = io.read_json(record)
        if before["inputs"] == wanted and all(io.is_unchanged(folder / name, known) for name, known in before["outputs"].items()):
            log.info(f"vanilla {folder.name}: done before, skipped ({folder})")
            return folder
    log.info(f"vanilla {folder.name}: training in {folder} (TRL)")
    if folder.is_dir():
        shutil.rmtree(folder)  # made from other inputs, or damaged: nobody may read it for this one
    cost = cost_of(lambda: run(folder))
    outputs = {path.name: io.fingerprint(path) for path in sorted(folder.iterdir()) if path.is_file()}
    io.write_text(record, json.dumps({"inputs": wanted, "outputs": outputs, "cost": cost}, indent=1))
    return folder
