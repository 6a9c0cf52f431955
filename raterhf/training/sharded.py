"""A module shared out among processes by FSDP2 (`fully_shard`), and its state by torch.distributed.checkpoint.

Each process keeps its part of the weights and of AdamW's moments. Weights are gathered once a step, before its batch is made. Gradients are
summed and shared out when the backward pass has ended, layer by layer. So in a step a process samples, and reads its part in as many passes
as that takes, whatever the others do; it holds all weights and gradients meanwhile. To gather each layer for each pass, as FSDP2 does by
itself, all processes would have to make the same passes.

A state is a folder of safetensors files, one a process, whose name the state's own file says; any number of processes resumes it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as shards
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from raterhf.errors import UserError
from raterhf.models.checkpoint import STATE, read_training_state, write_state
from raterhf.training import ranks

SHARES = "shares"  # in what a state keeps: the name of the folder of its shares


def share_out(module: L.LightningModule) -> None:
    """Let every process keep its part of the weights, which must be the same in all of them."""
    mesh = init_device_mesh(next(module.parameters()).device.type, (ranks.count(),))
    for layer in _layers(module):
        fully_shard(layer, mesh=mesh)
        state = fully_shard.state(layer)
        for handle in (state._pre_forward_hook_handle, state._post_forward_hook_handle):
            handle.remove()  # or each pass would gather weights, and sum gradients
    fully_shard(module, mesh=mesh, reshard_after_forward=False)
    module.set_reduce_scatter_unused_params(True)  # some may go unused in one part of a batch
    register_fsdp_forward_method(module, "training_step")
    module.configure_model = lambda: None  # which Lightning asks for, and is done here


def _layers(module: nn.Module) -> list[nn.Module]:
    """Of a language model: what is in lists, which stand side by side."""
    return list(module) if isinstance(module, nn.ModuleList) else [layer for part in module.children() for layer in _layers(part)]


def shared(module: nn.Module) -> list[FSDPModule]:
    """The parts of a module that are shared out by themselves, itself first; none of one that is not."""
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def gather(module: nn.Module) -> None:
    """Let every process hold all weights, until gradients are summed or the state is saved."""
    for part in shared(module):
        part.unshard()


def release(module: nn.Module) -> None:
    """Let every process hold its part alone."""
    for part in shared(module):
        part.reshard()


def gathering(module: nn.Module, make_batch: Callable[[int], Any]) -> Callable[[int], Any]:
    """`make_batch`, for which the module may be asked."""

    def made(step: int) -> Any:
        gather(module)
        return make_batch(step)

    return made


class Gathered(L.Callback):
    """Gathers weights for the callbacks after it, which look at the module in one process."""

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        gather(module)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        gather(module)


def collect(module: nn.Module) -> None:
    """Give every process all weights for good."""
    release(module)
    whole: dict[int, nn.Parameter] = {}  # tied weights stay tied
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if isinstance(parameter, DTensor):
                if id(parameter) not in whole:
                    whole[id(parameter)] = nn.Parameter(parameter.full_tensor().detach(), parameter.requires_grad)
                part._parameters[name] = whole[id(parameter)]
    for part in shared(module):
        part.__class__ = type(part).__bases__[1]  # what it was before it was shared out


def save_shares(folder: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer | None, extra: dict) -> None:
    """As `checkpoint.save_training_state`, by all processes, each its part."""
    name = f"{SHARES}-{step:07d}"
    release(module)
    writer = shards.HuggingFaceStorageWriter(str(folder / name), save_distributed=True)
    shards.save(_tensors(module, optimizer), storage_writer=writer, no_dist=ranks.count() == 1)
    if ranks.first():
        write_state(folder, {}, step, extra | {SHARES: name})
        for older in folder.glob(f"{SHARES}-*"):
            if older.name != name:
                shutil.rmtree(older)
    ranks.wait()


def load_shares(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer | None) -> tuple[int, dict]:
    """Load weights and moments; the step, and what else was kept. All processes call it, of any number."""
    step, extra = read_training_state(folder)
    if optimizer is not None:
        get_optimizer_state_dict(module, optimizer)  # makes moments, to be filled
    release(module)
    try:
        reader = shards.HuggingFaceStorageReader(str(folder / extra[SHARES]))
        shards.load(_tensors(module, optimizer), storage_reader=reader, no_dist=ranks.count() == 1)
    except (shards.CheckpointException, RuntimeError, OSError) as error:
        raise UserError(
            f"{folder / extra[SHARES]} cannot be read, or is of another model; delete {folder}, and the stage begins again"
        ) from error
    return step, extra


def check_strategy(folder: Path, sharded: bool) -> None:
    """Raise UserError where a state is there that another strategy saved."""
    if (folder / STATE).is_file() and (SHARES in read_training_state(folder)[1]) != sharded:
        was, now = ("ddp", "fsdp") if sharded else ("fsdp", "ddp")
        raise UserError(
            f"{folder} was saved with trainer.strategy {was}, and {now} cannot resume it; set trainer.strategy={was}, or delete {folder} "
            "to begin the stage again"
        )


def _tensors(module: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    """What a state holds, by name; tied weights once. Loading writes into them."""
    named = dict(module.named_parameters())
    found = {f"module.{name}": tensor.detach() for name, tensor in [*named.items(), *module.named_buffers()]}
    if optimizer is not None:
        found |= {f"optimizer.{name}.{key}": value for name, tensor in named.items() for key, value in optimizer.state[tensor].items()}
    return found
