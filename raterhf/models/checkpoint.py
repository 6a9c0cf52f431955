"""The one place that saves and loads: model folders, rater pools, and the state from which an interrupted stage resumes.

Everything is safetensors and JSON; nothing is unpickled. A folder is written beside its place and renamed when whole, so a full disk or
a killed process leaves the previous one usable.

A policy's folder is an ordinary `save_pretrained` folder of its language model plus `raterhf.json` (kind, sizes, schema),
`raterhf.safetensors` (reader, head, calibration), `raters.json` and `raters.safetensors`. A reward model's is alike, but that its trunk's
weights are the variant `trunk` (`model.trunk.safetensors`): transformers would load them under a score head of random numbers, or as a
language model, which they are not. Without the variant's name none of its classes loads the folder; `load_reward` does.

`raters.json`: schema, encoding, IDs in order, personas with their members, groups of raters, and the names of the populations: "" is
everybody's, the others "group:G" and "persona:P". `raters.safetensors`: `vectors` [raters, k] in the order of the IDs; for the i-th
population `i.weights` [C], `i.means` [C, k] and `i.factors` [C, k, k], a mixture of C Gaussians.

`tokenizer_config.json` holds the recipe's `model.chat` and `model.system` under `raterhf`: prompts are put as in training.

Files that belong together are bound by digests, which are checked whenever they are read: `raters.json` holds that of itself and
`raters.safetensors` (an ID removed by hand would give everybody after it another person's taste), `raterhf.json` those of the
configuration, the tokenizer, `raterhf.safetensors` and `raters.json`. `raterhf raters drop` removes a rater from them.

Beside the model, training leaves `recipe.resolved.yaml` (every default written out), `stage.json` (what the stage depends on, by which it
knows whether it is done), `metrics.csv` (losses by step) and, with a section `monitor`, `training_curve.csv`.
"""

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.errors import UserError
from raterhf.io import file_digest, read_json, recover, write_folder
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import load_pretrained
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy, make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.files import SCHEMA, read_safe, save_pool
from raterhf.raters.files import load_pool as load_pool  # whoever loads a model loads its raters
from raterhf.raters.pool import RaterPool
from raterhf.recipe import MAX_SIZE, MAX_WIDTH

TRUNK = "trunk"  # the variant under which transformers saves a reward model's weights
WEIGHTS = {"policy": "model.safetensors", "reward": f"model.{TRUNK}.safetensors"}  # of the language model, by kind
BOUND = ("config.json", "tokenizer.json", "raterhf.safetensors", "raters.json")  # by their digests in raterhf.json, where they are


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    return read_safe(path, load_file)


def _save_model(
    folder: Path, trunk: PreTrainedModel, model: nn.Module, tokenizer: PreTrainedTokenizerBase, pool: RaterPool | None, header: dict,
    trunk_name: str,
) -> None:  # fmt: skip
    trunk.save_pretrained(folder, variant=TRUNK if header["kind"] == "reward" else None)
    tokenizer.save_pretrained(folder)
    rest = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith(trunk_name + ".")}
    save_file(rest, folder / "raterhf.safetensors")
    (folder / "README.md").write_text(_model_card(header))
    if pool is not None:
        save_pool(folder, pool)
    digests = {name: file_digest(str(folder / name)) for name in BOUND if (folder / name).is_file()}
    (folder / "raterhf.json").write_text(json.dumps({"schema": SCHEMA, **header, "digests": digests}, indent=1))


def save_policy(
    folder: Path, policy: Policy, tokenizer: PreTrainedTokenizerBase, pool: RaterPool | None, max_length: int, extra: dict
) -> None:
    reader = policy.reader
    header = {
        "kind": "policy", "dim": reader.dim if reader else 0, "tokens": reader.tokens if reader else 0,
        "idiosyncratic_dim": _idiosyncratic_dim(policy), "max_length": max_length, **extra,
    }  # fmt: skip

    write_folder(folder, lambda place: _save_model(place, policy.lm, policy, tokenizer, pool, header, "lm"))


def save_reward(
    folder: Path, model: RewardModel, lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pool: RaterPool, max_length: int, extra: dict
) -> None:
    """`lm` is the causal language model around the trunk, whose weights are saved with it."""
    reader = model.reader
    header = {
        "kind": "reward", "dim": reader.dim if reader else 0, "tokens": reader.tokens if reader else 0,
        "idiosyncratic_dim": _idiosyncratic_dim(model), "conditioning": model.conditioning, "max_length": max_length, **extra,
    }  # fmt: skip

    write_folder(folder, lambda place: _save_model(place, lm, model, tokenizer, pool, header, "backbone"))


def _idiosyncratic_dim(model: Policy | RewardModel) -> int:
    return model.idiosyncratic.dim if model.idiosyncratic else 0


class Header(BaseModel):
    """What is read of a policy's `raterhf.json`."""

    dim: int = Field(ge=0, le=MAX_WIDTH)
    tokens: int = Field(ge=0, le=MAX_WIDTH)
    idiosyncratic_dim: int = Field(ge=0, le=MAX_WIDTH)
    max_length: int = Field(ge=1, le=MAX_SIZE)
    digests: dict[str, str | None]


class RewardHeader(Header):
    conditioning: Literal["prefix", "suffix", "head"]


def read_header(folder: Path, kind: str | None = None) -> dict:
    """`raterhf.json` of a model folder, checked for schema, kind, where given, and what it must hold."""
    path = recover(folder) / "raterhf.json"
    header = read_json(path)
    if header.get("schema") != SCHEMA:
        raise UserError(f"{folder} has schema {header.get('schema')}, this version reads {SCHEMA}; train it again with this version")
    if kind is not None and header.get("kind") != kind:
        raise UserError(f"{folder} holds a {header.get('kind')} model, a {kind} is needed; give the run folder, which has both")
    return read_json(path, RewardHeader if header.get("kind") == "reward" else Header)


def _check_bound(folder: Path, header: dict) -> None:
    """Raise UserError for a file that is not the one saved with this header."""
    for name in BOUND:
        if (header["digests"].get(name) or "not a file") != file_digest(str(folder / name)):
            raise UserError(
                f"{folder / name} is not the file that was saved with the weights in {folder} (their digests in raterhf.json differ); put "
                "that one back, or delete the folder and train that stage again"
            )


def _load_rest(folder: Path, model: nn.Module, trunk_name: str) -> None:
    """Load what is not the trunk. Every tensor must be there in its shape, a missing one would stay random; and every number be finite."""
    path = folder / "raterhf.safetensors"
    weights = read_tensors(path)
    shapes = {k: v.shape for k, v in model.state_dict().items() if not k.startswith(trunk_name + ".")}
    differ = sorted(k for k in shapes.keys() | weights.keys() if k not in weights or k not in shapes or weights[k].shape != shapes[k])
    if differ:
        raise UserError(
            f"{path} was written by another version (differs in {', '.join(differ)}); delete its folder and train that stage again"
        )
    model.load_state_dict(weights, strict=False)
    if broken := [name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise UserError(f"{path.parent}: weights {', '.join(broken[:3])} hold NaN or infinity; train that stage again, at a lower lr")


def load_policy(folder: Path, device: torch.device | None = None) -> tuple[Policy, PreTrainedTokenizerBase, dict]:
    header = read_header(folder, "policy")
    lm, tokenizer = load_pretrained(folder)
    policy = make_policy(lm, tokenizer, header["dim"], header["tokens"], header["idiosyncratic_dim"])
    _load_rest(Path(folder), policy, "lm")
    _check_bound(Path(folder), header)
    return place(policy.eval(), device or pick_device()), tokenizer, header


def load_reward(folder: Path, device: torch.device | None = None) -> tuple[RewardModel, PreTrainedTokenizerBase, dict]:
    header = read_header(folder, "reward")
    lm, tokenizer = load_pretrained(folder, TRUNK)
    model = RewardModel(
        lm.get_decoder(),
        header["dim"],
        header["tokens"],
        header["conditioning"],
        make_idiosyncratic(header["idiosyncratic_dim"], lm, tokenizer),
    )
    _load_rest(Path(folder), model, "backbone")
    _check_bound(Path(folder), header)
    return place(model.eval(), device or pick_device()), tokenizer, header


def replace_pool(folder: Path, pool: RaterPool) -> None:
    """Put another pool in a model folder's place, whole or not at all, and bind it to the weights."""
    header = read_json(folder / "raterhf.json")

    def fill(place: Path) -> None:
        save_pool(place, pool)
        new = {"raters.json": file_digest(str(place / "raters.json"))}
        (place / "raterhf.json").write_text(json.dumps(header | {"digests": header["digests"] | new}, indent=1))

    write_folder(folder, fill)


def save_training_state(folder: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer, extra: dict) -> None:
    """All that resuming needs: weights, AdamW moments, step. Random numbers are functions of the step and need no saving."""
    tensors = {f"module.{k}": v.contiguous() for k, v in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v.contiguous() for k, v in state.items()}
    # Tied weights share memory, which safetensors refuses; the copy costs little beside the moments.
    tensors = {k: v.clone() for k, v in tensors.items()}

    def fill(place: Path) -> None:
        save_file(tensors, place / "state.safetensors", {"step": str(step), "extra": json.dumps(extra)})

    write_folder(folder, fill)


def load_training_state(folder: Path, module: nn.Module) -> tuple[int, dict[int, dict[str, torch.Tensor]], dict]:
    """Load weights into `module`; returns the step, the optimiser's moments and what else was kept."""
    from safetensors import safe_open

    path = Path(folder) / "state.safetensors"
    tensors = read_tensors(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    return int(metadata["step"]), moments, json.loads(metadata["extra"])


def _model_card(header: dict) -> str:
    about, use = {
        "policy": (
            "The weights are an ordinary transformers folder; the rater's prefix is read",
            'sample THIS_FOLDER --prompt "..." --rater new -n 10',
        ),
        "reward": ("Only raterhf loads it: the score head is read", "score THIS_FOLDER FILE --raters new:64x"),
    }[header["kind"]]
    return (
        f"---\nlibrary_name: {'transformers' if header['kind'] == 'policy' else 'raterhf'}\ntags: [raterhf, {header['kind']}]\n---\n\n"
        f"A {header['kind']} model trained with raterhf. {about} from `raterhf.safetensors` and the raters from `raters.safetensors`.\n"
        f"The recipe stands in `recipe.resolved.yaml`.\n\n```bash\nraterhf {use}\n```\n"
    )
