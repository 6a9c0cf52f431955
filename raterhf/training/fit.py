"""Run one training: a LightningModule, batches that are a function of the step, an optimiser; progress, logs, and resuming.

An interrupted fit resumes from `FOLDER/state`, written every so many steps, and ends with the same weights as an uninterrupted one:
batches and random numbers are functions of seed and step, and the state holds weights and optimiser moments. It also holds the digest of
`FOLDER/started.json`, what the stage depends on: the state of a training that depended on something else is removed.

Several processes (`ranks.py`) fit one module by Lightning's DDP: each computes the loss of its part of a batch, and gradients are averaged.
All have the same weights and moments, so that the state, which the first writes, is resumed by any number of them. Or each keeps a part of
them (`sharded.py`), and of the state, which any number resumes too.
"""

import io
import logging
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.utils.data import DataLoader, Dataset

from raterhf.errors import UserError
from raterhf.io import file_digest, write_text
from raterhf.log import log
from raterhf.models.checkpoint import STARTED, STATE, load_training_state, read_training_state, save_training_state
from raterhf.models.place import place
from raterhf.progress import Progress
from raterhf.recipe import Optimisation
from raterhf.training import ranks
from raterhf.training.held_back import BEST, HeldBack
from raterhf.training.loggers import make_logger
from raterhf.training.monitor import Monitor
from raterhf.training.sharded import Gathered, check_strategy, collect, gathering, load_shares, save_shares, share_out
from raterhf.training.training_curve import TRAINING_CURVE

SMALL = 1_000_000  # parameters below which threads take longer than one alone
CHECK_EVERY = 5  # steps between two looks at the loss, each of which waits for the device

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Steps(Dataset):
    """Item i is the batch of step first + i."""

    def __init__(self, make_batch: Callable[[int], Any], first: int, total: int):
        self.make_batch, self.first, self.total = make_batch, first, total

    def __len__(self) -> int:
        return self.total - self.first

    def __getitem__(self, i: int) -> tuple[int, Any]:
        return self.first + i, self.make_batch(self.first + i)


def learning_rate(step: int, total: int, warmup: float = 0.05, schedule: str = "cosine") -> float:
    """Factor of the peak rate: linear warm-up, then a decay to 0 along a cosine or a line, or none (constant)."""
    rise = max(1, int(warmup * total))
    if step < rise:
        return (step + 1) / rise
    fallen = (step - rise) / max(1, total - rise)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * fallen)), "linear": 1 - fallen, "constant": 1.0}[schedule]


def make_optimizer(module: torch.nn.Module, lr: float, weight_decay: float, rates: dict[str, float]) -> torch.optim.AdamW:
    """AdamW, decay on matrices only. `rates` maps prefixes of parameter names to rates of their own; rater vectors do not decay."""
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate = next((value for prefix, value in rates.items() if name.startswith(prefix)), lr)
            decay = weight_decay if parameter.ndim > 1 and not name.startswith("space.") else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise UserError(
            "nothing learns in this stage: the language model stays (model.train none) and reads no raters; set model.train to lora"
        )
    return torch.optim.AdamW([{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()], betas=(0.9, 0.98))


class _Resumable(L.Callback):
    def __init__(self, save: Callable[[int], None], first: int, save_every: int):
        self.save, self.first, self.save_every = save, first, save_every
        self.losses: list[torch.Tensor] = []  # since the last look

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = self.first + batch_idx + 1
        self.losses.append(outputs["loss"])
        if step % CHECK_EVERY == 0:
            check_finite(torch.stack(self.losses).tolist(), step)
            self.losses.clear()
        if step % self.save_every == 0:
            self.save(step)


def check_finite(losses: list[float], step: int) -> None:
    """Raise UserError, in every process, where a loss of the last steps up to this one is no number in one of them; the first says where it
    came from, since gradients carry it to all.
    """
    for ago, found in enumerate(zip(*ranks.gathered(losses)), 1 - len(losses)):
        if wrong := [rank for rank, loss in enumerate(found) if not math.isfinite(loss)]:
            where = f" on rank {', '.join(map(str, wrong))} of {len(found)}" if len(found) > 1 else ""
            raise UserError(
                f"the loss is {found[wrong[0]]} at step {step + ago}{where}: the training diverged; lower the learning rate of this stage"
            )


class _Lines(L.Callback):
    """Shows progress, with what the module logs for a progress bar, and tokens a second: those of all texts that a step trains on, as often
    as they are in it. Lightning's own bar is silent where there is no terminal."""

    def __init__(self, folder: Path, first: int, total: int):
        self.progress = Progress(f"{folder.name} of {folder.parent.name}", total, first=first)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.began, self.tokens = time.monotonic(), 0
        self.progress.__enter__()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.tokens += int(trainer.callback_metrics.get("train/tokens", 0))

        def losses() -> str:
            values = {k.removeprefix("train/"): float(v) for k, v in trainer.progress_bar_metrics.items() if k.startswith("train/")}
            rate = [f"{self.tokens / (time.monotonic() - self.began):,.0f} tokens a second"] if self.tokens else []
            return ", ".join([*rate, *(f"{k} {v:.3f}" for k, v in values.items())])

        self.progress.advance(1, losses)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.progress.__exit__(None, None, None)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self.progress.__exit__(type(exception), exception, None)


def fit(
    module: L.LightningModule,
    make_batch: Callable[[int], Any],
    settings: Optimisation,
    folder: Path,
    rates: dict[str, float],
    logger: str | None = None,
    monitor: Monitor | None = None,
    state: dict[str, float] | None = None,
    held_back: HeldBack | None = None,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    sharded: bool = False,
) -> None:
    """Train `module` for `settings.steps` steps on `make_batch(step)`, resuming from `folder/state` where an earlier run left one.

    `rates` maps prefixes of parameter names to learning rates other than `settings.lr`. `logger` is a name of `loggers.py`. `monitor`
    watches what the model says. `state` is what an algorithm must remember beside weights: it is saved with them, and set again where
    training resumes. With `held_back` the module ends with the weights that were best there. `precision` is what layers
    compute in: with bf16-mixed products are in bfloat16, weights, moments and losses in float32. `sharded`: each process keeps its part of
    the weights and moments while it trains.

    Of several processes the first has the weights that shall be kept, and the others are done with the stage.
    """
    steps, device = settings.steps, next(module.parameters()).device
    folder.mkdir(parents=True, exist_ok=True)
    saved, state, inputs = folder / "state", {} if state is None else state, file_digest(str(folder / STARTED))
    first = 0
    _clear_strange_state(folder, inputs)
    check_strategy(saved, sharded)
    if sharded and ranks.count() > 1:
        share_out(module)
        make_batch = gathering(module, make_batch)
    optimizer = make_optimizer(module, settings.lr, settings.weight_decay, rates)
    if (saved / STATE).is_file():
        first, extra = load_shares(saved, module, optimizer) if sharded else _load_state(saved, module, optimizer)
        state.update(extra["algorithm"])
        if monitor is not None:
            monitor.resume(first, extra.get("monitor"))
        if held_back is not None:
            held_back.resume(first, extra.get("held_back"))
        log.info(f"  {folder.name}: resuming at step {first} of {steps}")
    elif ranks.first():
        (folder / TRAINING_CURVE).unlink(missing_ok=True)  # another training's

    def save(step: int) -> None:
        extra = {"inputs": inputs, "algorithm": state} | ({"monitor": monitor.state} if monitor else {})
        extra |= {"held_back": held_back.state} if held_back else {}
        if sharded:
            save_shares(saved, step, module, optimizer, extra)
        elif ranks.first():
            save_training_state(saved, step, module, optimizer, extra)

    def rate(step: int) -> float:
        return learning_rate(step + first, steps, settings.warmup, settings.schedule) * (monitor.pace if monitor else 1)

    watching = [callback for callback in (monitor, held_back) if callback]  # before the state is saved, which holds what they saw
    if monitor is not None:
        monitor.save = save
    if held_back is not None:
        held_back.sharded = sharded
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    module.configure_optimizers = lambda: {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
    # The batches are dataclasses that hold Python objects beside tensors; the modules move the tensors themselves.
    module.transfer_batch_to_device = lambda batch, device, index: batch
    lines = [_Lines(folder, first, steps)] if ranks.first() else []
    callbacks = [*([Gathered()] if sharded else []), *watching, _Resumable(save, first, settings.save_every), *lines]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer(_loggers(folder, first, logger), callbacks, settings.clip, precision, sharded)
        module.train()
        try:
            with _threads(module):
                trainer.fit(module, DataLoader(Steps(make_batch, first, steps), batch_size=None, shuffle=False))
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    if held_back is not None and (sharded or ranks.first()):
        held_back.restore(module)
    collect(module)
    place(module.eval(), device)  # Lightning leaves it on the CPU
    if ranks.first():
        _merge_logs(folder)


def _clear_strange_state(folder: Path, inputs: str) -> None:
    """Remove a state that depended on something else than this stage's `inputs`."""
    with ranks.in_turn():
        if (folder / "state" / STATE).is_file() and read_training_state(folder / "state")[1].get("inputs") != inputs:
            log.info(f"  {folder.name}: the state there is another training's and is removed")
            clear_state(folder)


def _load_state(saved: Path, module: L.LightningModule, optimizer: torch.optim.Optimizer) -> tuple[int, dict]:
    """Load weights and moments; the step, and what else was kept."""
    first, moments, extra = load_training_state(saved, module)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return first, extra


@contextmanager
def _threads(module: torch.nn.Module) -> Iterator[None]:
    """One thread for a small model, whose threads would wait more than they work; else as many as torch has."""
    threads = torch.get_num_threads()
    if sum(parameter.numel() for parameter in module.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _loggers(folder: Path, first: int, logger: str | None) -> list[Logger]:
    """What the first process writes the figures of steps with: a file of the part that begins at `first`, and the recipe's logger."""
    if not ranks.first():
        return []
    parts: list[Logger] = [CSVLogger(folder, name="logs", version=f"from_{first:07d}", flush_logs_every_n_steps=50)]
    return parts + ([make_logger(logger, folder, first)] if logger is not None else [])


def _trainer(
    loggers: list[Logger], callbacks: list[L.Callback], clip: float, precision: Literal["32-true", "bf16-mixed"], sharded: bool
) -> L.Trainer:  # fmt: skip
    """Lightning's trainer of one pass over the steps, without what this program does itself."""
    return L.Trainer(
        max_epochs=1, accelerator="auto", **_devices(sharded), precision=precision, logger=loggers, log_every_n_steps=10,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False, gradient_clip_val=clip, callbacks=callbacks,
    )  # fmt: skip


def _devices(sharded: bool) -> dict[str, Any]:
    """What Lightning is told of processes: this one alone, or all those that torchrun started. They know how to share out batches."""
    if ranks.count() == 1:
        return {"devices": 1}
    strategy: Strategy
    if sharded:
        strategy = ModelParallelStrategy(data_parallel_size=ranks.count(), tensor_parallel_size=1)
        strategy.cluster_environment = TorchElasticEnvironment()
    else:
        # Some weights may go unused in one part of a batch: experts of a mixture, say.
        strategy = DDPStrategy(
            cluster_environment=TorchElasticEnvironment(),
            find_unused_parameters=True,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,  # or gradients would be held twice
        )
    here = ranks.started_here()
    return {"devices": here, "num_nodes": ranks.count() // here, "strategy": strategy, "use_distributed_sampler": False}


def _merge_logs(folder: Path) -> None:
    """One metrics.csv of all parts of an interrupted run, steps counted from the first."""
    parts = []
    for path in sorted((folder / "logs").glob("from_*/metrics.csv")):
        part = pd.read_csv(path)
        part["step"] += int(path.parent.name.removeprefix("from_"))
        parts.append(part)
    if parts:
        # A look and the loss of one step are rows of their own; of parts that overlap the later one counts.
        merged = pd.concat(parts).groupby("step", as_index=False).last().drop(columns="epoch", errors="ignore")
        text = io.StringIO()
        merged.to_csv(text, index=False)
        write_text(folder / "metrics.csv", text.getvalue())


def clear_state(folder: Path) -> None:
    """Forget what resuming needed, once the stage's result is saved."""
    for needed in (folder / "state", folder / "logs", folder / BEST):
        if needed.is_dir():
            shutil.rmtree(needed)
