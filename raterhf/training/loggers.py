"""Where a training's figures go beside `metrics.csv`, by the recipe's `logger`: TensorBoard, wandb or trackio.

One run of a tracker is one stage, in the project `raterhf`; a stage that resumes goes on in a run of its own, named after the step that
it begins at, whose steps count from there. TensorBoard writes into the stage's folder. wandb and trackio have settings of their own
(environment variables, `wandb login`), which say where they write and what they send.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from raterhf.errors import UserError

PROJECT = "raterhf"
# Packages of which one must be there.
NEEDED = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}


def check_logger(name: str | None) -> None:
    """Raise UserError where the package of this logger is not installed."""
    if name is not None and not any(find_spec(package) for package in NEEDED[name]):
        raise UserError(f"logger: {name} needs the package {name}, which is not installed: pip install 'raterhf[{name}]'")


def make_logger(name: str, folder: Path, first: int) -> Logger:
    """A logger of the stage in RUN/STAGE from step `first` on. Raises UserError where the tracker does not start."""
    run = f"{folder.parent.name}/{folder.name}" + (f" from {first}" if first else "")
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="tensorboard", version=f"from_{first:07d}")
    try:
        if name == "trackio":
            return _Trackio(run, folder.parent.name)
        return _Wandb(name=run, project=PROJECT, group=folder.parent.name, save_dir=folder)
    except Exception as error:  # of many kinds: no account, no network, another version
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        known = "run `wandb login`, or set WANDB_MODE=offline" if name == "wandb" else "correct that"
        raise UserError(f"logger: {name} does not start: {why}; {known}, or leave out the key") from error


class _Wandb(WandbLogger):
    """Lightning's, begun at once and ended with the stage; its own begins when first logged to, and lets the next stage log into it."""

    def __init__(self, **run: Any):
        super().__init__(**run)
        self.run = self.experiment

    def finalize(self, status: str) -> None:
        super().finalize(status)
        self.run.finish()


class _Trackio(Logger):
    """Lightning has none of its own."""

    def __init__(self, run: str, group: str):
        super().__init__()
        import trackio  # an optional package

        self.run_name, self.run = run, trackio.init(project=PROJECT, name=run, group=group)

    @property
    def name(self) -> str:
        return PROJECT

    @property
    def version(self) -> str:
        return self.run_name

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.run.log(dict(metrics), step=step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """None: the resolved recipe lies in the stage's folder."""

    def finalize(self, status: str) -> None:
        self.run.finish()
