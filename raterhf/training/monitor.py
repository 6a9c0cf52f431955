"""Mode collapse while training: a few answers to a few prompts every so many steps, and an alarm where their diversity fell.

Each answer is a fresh fictitious rater's, with idiosyncratic taste, as users sample; nobody's where the model has no raters. A look is a
function of seed and step and leaves the training's random numbers alone, so that weights are the same to the bit with it and without it.

The alarm compares with the first look of the stage and fires where a question's diversity beyond one answer (1 / lambda - 1) is below
`level` times what it was then: a one-sided test, Bonferroni over prompts and looks, so that a whole stage whose diversity is at the level
raises it with probability 5 % at most. How often it does `raterhf bench alarm` counts. A stage that begins with an untrained model is
watched without alarm: it has no diversity to lose.

Of several processes the first looks, and the others wait for what it found.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from raterhf.data.example import Example
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation.metrics.diversity import collapse_p_value, diversity_interval
from raterhf.log import log
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import MonitorSettings
from raterhf.training import ranks
from raterhf.training.training_curve import TRAINING_CURVE, Prompt, count_answers, describe, extend_training_curve, name_answer
from raterhf.worlds.world import World

FALSE_ALARMS = 0.05  # of a stage whose diversity is at the level
DEAR = 0.2  # share of the time from which looks are too many
MEASURED = 128  # answers of a look, evenly over prompts, that `Watched.measure` reads: a pass each costs more than saying them

Measure = Callable[[list[Example], RaterBatch], dict[str, float]]


@dataclass(frozen=True)
class Watched:
    """Who is watched answering what: a policy, prompts [Q], and how raters are drawn (`pool` None: nobody).

    `measure` gives further figures of some of what was sampled, from examples [N] and their raters.
    """

    policy: RaterPolicy
    prompts: list[Prompt]
    world: World | None = None
    measure: Measure | None = None
    trained: bool = True

    def answer(self, n: int, seed: int) -> tuple[list[Example], RaterBatch]:
        """n answers to each prompt, prompt by prompt, and the raters who gave them."""
        raters = self.policy.raters(n * len(self.prompts), seed)
        prompts = [prompt for prompt in self.prompts for _ in range(n)]
        return self.policy.answer(prompts, raters, seed), self.policy.batch(raters)


def choose_prompts(prompts: Sequence[Prompt], n: int, seed: int, world: World | None) -> list[Prompt]:
    """n of the training prompts, of different questions as far as a world knows them; those with over-rated answers come first."""
    order = [prompts[i] for i in np.random.default_rng(np.random.SeedSequence([seed, 0x70726F62])).permutation(len(prompts))]
    different = {world.question_of(prompt).key if world else str(prompt): prompt for prompt in order}
    return sorted(different.values(), key=lambda prompt: not (world and world.question_of(prompt).bonus.any()))[:n]


class Monitor(L.Callback):
    """Looks, logs and raises the alarm. `first` is the step that training begins or resumes at.

    `counts` are those of the stage's first look [Q, K] and `pace` what the alarm has multiplied the learning rate by; both are part of a
    state that resumes.
    """

    def __init__(self, watched: Watched, settings: MonitorSettings, folder: Path, seed: int, steps: int):
        self.watched, self.settings, self.folder, self.seed, self.steps = watched, settings, folder, seed, steps
        self.counts: list[list[int]] | None = None
        self.pace, self.first = 1.0, 0
        self.spent, self.looks = 0.0, 0
        self.save: Callable[[int], None] = lambda step: None

    @property
    def state(self) -> dict:
        return {"counts": self.counts, "pace": self.pace}

    def resume(self, first: int, state: dict | None) -> None:
        """Go on at step `first` with the state of an earlier part of the stage, None where that had no monitor."""
        self.first = first
        if state is not None:
            self.counts, self.pace = state["counts"], state["pace"]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.began = time.perf_counter()
        if self.counts is None:
            self._watch(trainer, module, self.first)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = self.first + batch_idx + 1
        if step % self.settings.every == 0 or step == self.steps:  # a stage shorter than `every` is looked at too
            self._watch(trainer, module, step)

    def _watch(self, trainer: L.Trainer, module: L.LightningModule, step: int) -> None:
        if ranks.first():
            self._look(trainer, module, step)
        self._set_pace(trainer, ranks.of_first(lambda: self.pace))

    def _set_pace(self, trainer: L.Trainer, pace: float) -> None:
        for optimizer in trainer.optimizers if pace != self.pace else ():  # the schedule has set the next step's rate already
            for group in optimizer.param_groups:
                group["lr"] *= pace / self.pace
        self.pace = pace

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not ranks.first():
            return
        fewer = "; a larger monitor.every takes less" if self.cost > DEAR else ""
        log.info(f"  {self.folder.name}: the monitor took {self.cost:.1%} of the time ({self.looks} looks, {self.spent:.1f} s){fewer}")

    @property
    def cost(self) -> float:
        """Share of the time since training began, or resumed, that looks took."""
        return self.spent / (time.perf_counter() - self.began)

    def _look(self, trainer: L.Trainer, module: L.LightningModule, step: int) -> None:
        start = time.perf_counter()
        watched, n = self.watched, self.settings.samples
        training = module.training
        module.eval()
        with torch.no_grad():
            seed = int(np.random.SeedSequence([self.seed, step, 0x636F6C6C]).generate_state(1)[0])
            examples, raters = watched.answer(n, seed)
            some = slice(0, None, max(1, len(examples) // MEASURED))
            measured = watched.measure(examples[some], raters[some]) if watched.measure else {}
        module.train(training)
        prompts = [prompt for prompt in watched.prompts for _ in range(n)]
        texts = watched.policy.texts(examples)
        names = [name_answer(prompt, text, watched.world) for prompt, text in zip(prompts, texts)]
        counts = count_answers([names[i * n : (i + 1) * n] for i in range(len(watched.prompts))])
        value, low, high = diversity_interval(counts)
        extend_training_curve(self.folder / TRAINING_CURVE, {"step": step} | measured | describe(prompts, texts, watched.world))
        fell = [] if self.counts is None or not watched.trained else self._fell(counts)
        if self.counts is None:
            self.counts = counts.tolist()
        self.looks += 1
        self.spent += time.perf_counter() - start
        logged = {"diversity": value, "diversity_low": low, "diversity_high": high}
        if self.looks > 1:
            logged["cost"] = self.cost  # the first look is all there was
        for logger in trainer.loggers:  # with the loss's step; the first look is before it
            logger.log_metrics({f"monitor/{key}": number for key, number in logged.items()}, max(0, step - self.first - 1))
        if fell:
            self._alarm(trainer, step, fell)

    def _fell(self, counts: np.ndarray) -> list[str]:
        """A line for each prompt whose diversity is below the level, as far as chance cannot explain it."""
        first, level = np.array(self.counts), self.settings.level
        looks = -(-self.steps // self.settings.every)
        tail = FALSE_ALARMS / (len(counts) * looks)
        lines = []
        for i in np.flatnonzero(collapse_p_value(first, counts, level) < tail):
            value, low, high = diversity_interval(counts[i : i + 1])
            before = diversity_interval(first[i : i + 1])[0]
            lines.append(
                f"{self.watched.prompts[i]!r}: {value:.1f} different answers [{low:.1f}, {high:.1f}], below the level of "
                f"{1 + level * (before - 1):.1f} ({level:g} of the {before - 1:.1f} beyond one that the stage began with, estimated; of "
                f"{counts[i].sum()} answers {np.count_nonzero(first[i])} were different then, {np.count_nonzero(counts[i])} now)"
            )
        return lines

    def _alarm(self, trainer: L.Trainer, step: int, fell: list[str]) -> None:
        settings, stage = self.settings, self.folder.name
        message = f"{stage}: mode collapse at step {step}: " + "; ".join(fell)
        if settings.alarm == "stop":
            self.save(step)
            raise UserError(
                f"{message}. The state is saved. Raise the stage's beta or lower its learning rate, which begins it again; "
                "or go on from here with monitor.alarm=warn"
            )
        if settings.alarm == "slow" and step < self.steps:  # at the end there is nothing to slow
            self._set_pace(trainer, self.pace / 2)
            log.warning(f"  {message}. The learning rate is {self.pace:g} of the schedule's from here on")
            return
        log.warning(f"  {message}. Raise the stage's beta or lower its learning rate; or let monitor.alarm=stop end such a training")
