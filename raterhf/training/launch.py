"""How many processes train, whether this machine and the recipe allow them, and their start by torch's own launcher, as torchrun's.

Processes are started here where a recipe asks for several and torchrun has started none. They are of this machine alone; for several
machines torchrun runs on each of them.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.distributed.elastic.agent.server.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from raterhf.errors import UserError
from raterhf.log import log
from raterhf.recipe import TrainerSettings
from raterhf.training import ranks

SHUTDOWN = 5  # seconds that processes have to end when one has; what they write is whole whenever they are killed
WORKER = "raterhf.training.worker"
ENDED = "All processes of this training were ended; run the same command again: it resumes"


def check_trainer(settings: TrainerSettings, shared: Mapping[str, int]) -> int:
    """How many processes train, on all machines. Raises UserError where this machine has no device for each, torchrun started another
    number than the recipe says, or they cannot share what they should: `shared` are sizes by their key in the recipe.
    """
    devices, nodes = settings.devices or 1, settings.num_nodes or 1
    if ranks.started():
        devices, whole = ranks.started_here(), int(os.environ["WORLD_SIZE"])
        nodes = whole // devices
        for key, wanted, found in (("devices", settings.devices, devices), ("num_nodes", settings.num_nodes, nodes)):
            if wanted not in (None, found):
                option = {"devices": "--nproc-per-node", "num_nodes": "--nnodes"}[key]
                raise UserError(f"trainer.{key} is {wanted}, and torchrun started {found} ({option}); let them agree, or drop the key")
    elif nodes > 1:
        raise UserError(
            f"trainer.num_nodes is {nodes}: torchrun starts the processes of several machines, on each of them; run there torchrun "
            f"--nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d --rdzv-endpoint HOST -m raterhf train RECIPE"
        )
    there, what = (torch.cuda.device_count(), "GPU(s)") if torch.cuda.is_available() else (_cores(), "core(s), and no GPU")
    if devices > there:
        raise UserError(f"{devices} processes on this machine (trainer.devices), which has {there} {what}; ask for {there} at most")
    for key, size in shared.items():
        if size % (devices * nodes):
            fitting = -(-size // (devices * nodes)) * devices * nodes
            raise UserError(
                f"{key} is {size}, which {devices * nodes} processes cannot share evenly; set it to {fitting}, or a multiple of them"
            )
    return devices * nodes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(recipe: str, processes: int) -> None:
    """Train a recipe (its text in YAML) in so many processes of this machine. Raises UserError with what ended them, where they did not end
    by themselves.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says of failures is said below
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP tells every process that no parameter went unused
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // processes)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(recipe, "utf-8")
        here = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
        config = LaunchConfig(1, 1, processes, run_id=path.parent.name, max_restarts=0, shutdown_timeout=SHUTDOWN, **here)
        try:
            elastic_launch(config, sys.executable)("-m", WORKER, str(path), str(log.getEffectiveLevel()))
        except ChildFailedError as error:
            raise UserError(_why(error.failures)) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            sys.exit(128 + error.sigval)  # told to end, and all processes with it: as a shell's exit code says so


def _why(failures: Mapping[int, ProcessFailure]) -> str:
    """What ended the processes: of several that ended, one that was killed, or that met a mistake, and not one that lost another."""
    told = {rank: _message(failure) for rank, failure in failures.items()}
    killed = [rank for rank, failure in failures.items() if failure.exitcode < 0]
    if killed:
        return f"the process of rank {killed[0]} was killed ({failures[killed[0]].signal_name()}). {ENDED}"
    mistaken = [message for message in told.values() if message not in ("", ranks.LOST)]
    if mistaken:
        return mistaken[0]
    lost = [rank for rank, message in told.items() if not message] or list(told)
    return f"the process of rank {lost[0]} ended with an error (shown above, where it could say one). {ENDED}"


def _message(failure: ProcessFailure) -> str:
    """What a process said of a mistake as it ended; empty where it did not."""
    found = failure.error_file_data["message"]
    return found["message"].removeprefix("UserError: ") if isinstance(found, dict) else ""
