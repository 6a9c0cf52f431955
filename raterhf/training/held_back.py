"""Evaluation on what is held back while a stage trains: the weights that were best there are kept, and a stage that gets no better ends.

An evaluation leaves the training's random numbers alone. What it has found is part of a state that resumes. Of several processes the first
evaluates and keeps weights.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch

from raterhf.log import log
from raterhf.models.checkpoint import load_training_state, save_training_state
from raterhf.training import ranks
from raterhf.training.sharded import load_shares, save_shares

BEST = "best"  # in the stage's folder, until the stage is saved


class HeldBack(L.Callback):
    """Asks for `loss()` every so many steps, and at the last. `patience` evaluations in a row without a better one end the training.

    `first` is the step that training begins or resumes at.
    """

    def __init__(self, loss: Callable[[], float], every: int, patience: int | None, folder: Path, steps: int):
        self.loss, self.every, self.patience, self.folder, self.steps = loss, every, patience, folder, steps
        self.best, self.best_step, self.worse, self.first = math.inf, 0, 0, 0
        self.sharded = False  # whether every process keeps its part of the weights

    @property
    def state(self) -> dict[str, float]:
        return {"best": self.best, "best_step": self.best_step, "worse": self.worse}

    def resume(self, first: int, state: dict | None) -> None:
        """Go on at step `first` with the state of an earlier part of the stage, None where that evaluated nothing."""
        self.first = first
        if state is not None:
            self.best, self.best_step, self.worse = state["best"], state["best_step"], state["worse"]

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = self.first + batch_idx + 1
        if step % self.every and step != self.steps:
            return
        value = ranks.of_first(lambda: self._evaluated(module))
        for logger in trainer.loggers:
            logger.log_metrics({"val/loss": value}, step - self.first - 1)
        if value < self.best:
            self.best, self.best_step, self.worse = value, step, 0
            self.save(step, module)
            return
        self.worse += 1
        if self.patience is not None and self.worse >= self.patience:
            log.info(f"  {self.folder.name}: ended at step {step}, after {self.worse} evaluations without a better one")
            trainer.should_stop = True

    def save(self, step: int, module: L.LightningModule) -> None:
        if self.sharded:
            save_shares(self.folder / BEST, step, module, None, {})
        elif ranks.first():
            save_training_state(self.folder / BEST, step, module, None, {})

    def _evaluated(self, module: L.LightningModule) -> float:
        module.eval()
        with torch.no_grad():
            value = self.loss()
        module.train()
        return value

    def restore(self, module: L.LightningModule) -> None:
        """Give the module the weights that were best; those it has where no evaluation gave a number."""
        if self.best_step:
            if self.sharded:
                load_shares(self.folder / BEST, module, None)
            else:
                load_training_state(self.folder / BEST, module)
            log.info(f"  {self.folder.name}: kept step {self.best_step}, where the loss on what is held back was least ({self.best:.4f})")
