"""The one place that saves and loads: model folders, rater pools, and the state from which an interrupted stage resumes.

Everything is safetensors and JSON; nothing is unpickled. What is saved is written beside its place and moved there when whole: after a full
disk or a killed process the previous model is usable, or, where a kill fell between two of the moves, refused.

A policy's folder is an ordinary `save_pretrained` folder of its language model plus `raterhf.json` (kind, sizes, schema),
`raterhf.safetensors` (reader, head, calibration), `raters.json` and `raters.safetensors`. A reward model's is alike, but that its trunk's
weights are the variant `trunk` (`model.trunk.safetensors`): transformers would load them under a score head of random numbers, or as a
language model, which they are not. Without the variant's name none of its classes loads the folder; `load_reward` does.

`raters.json`: schema, encoding, IDs in order, personas with their members, groups of raters, and the names of the populations: "" is
everybody's, the others "group:G" and "persona:P"; `inferred`: the IDs of raters who were inferred from labels. `raters.safetensors`:
`vectors` [raters, k] in the order of the IDs; for the i-th population `i.weights` [C], `i.means` [C, k] and `i.factors` [C, k, k], a
mixture of C Gaussians; `covariances` [inferred, k, k], what their labels leave uncertain.

`tokenizer_config.json` holds the recipe's `model.chat` and `model.system` under `raterhf`: prompts are put as in training.

Files that belong together are bound by digests, which are checked whenever they are read: `raters.json` holds that of itself and
`raters.safetensors` (an ID removed by hand would give everybody after it another person's taste), `raterhf.json` those of the
configuration, the tokenizer, `raterhf.safetensors` and `raters.json`. `raterhf raters drop` removes a rater from them.

Where the language model's weights stay (`model.train` lora or none), the folder holds none of them: `base` in `raterhf.json` names what
they are (`base.py`), and `adapter_model.safetensors` with `adapter_config.json` are the adapters, where there are any (`adapters.py`).

Beside the model, training leaves `recipe.resolved.yaml` (every default written out), `stage.json` (what the stage depends on and what it
wrote, by which it knows whether it is done; without it beside `started.json` the stage is not), `metrics.csv` (losses by step) and, with a
section `monitor`, `training_curve.csv`. While a process writes into the run folder, its `.lock` says which.
"""

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, Field
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.errors import UserError
from raterhf.io import check_whole, file_digest, fingerprint, read_json, write_file, write_folder
from raterhf.models.adapters import ADAPTER, CONFIG, has_adapters, has_adapters_in, load_adapters, save_adapters
from raterhf.models.base import Base, find_base
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import load_pretrained, load_tokenizer, no_whole_model
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy, make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.files import SCHEMA, read_safe, save_pool
from raterhf.raters.files import load_pool as load_pool  # whoever loads a model loads its raters
from raterhf.raters.pool import RaterPool
from raterhf.recipe_base import MAX_SIZE, MAX_WIDTH

FINISHED, STARTED = "stage.json", "started.json"  # what a stage leaves at its end, and at its beginning
STATE = "state.safetensors"
TRUNK = "trunk"  # the variant under which transformers saves a reward model's weights
WEIGHTS = {"policy": "model.safetensors", "reward": f"model.{TRUNK}.safetensors"}  # of the language model, by kind
# Files that are bound by their digests in raterhf.json, where they are.
BOUND = ("config.json", "tokenizer.json", "raterhf.safetensors", "raters.json", ADAPTER, CONFIG)
# What folders hold of a language model: another training's is not kept beside the new one's.
LANGUAGE_MODEL = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors.index.json", ADAPTER, CONFIG)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    return read_safe(path, load_file)


def _save_model(
    folder: Path, lm: PreTrainedModel, model: Policy | RewardModel, tokenizer: PreTrainedTokenizerBase, pool: RaterPool | None, header: dict
) -> None:
    """`lm` is the language model around what was trained, whose weights are saved with it where they do not stay."""
    trunk_name = "lm" if header["kind"] == "policy" else "backbone"
    if model.base is None:
        lm.save_pretrained(folder, variant=TRUNK if header["kind"] == "reward" else None)
    else:
        header |= {"base": model.base.record, "adapters": has_adapters(model.decoder)}
        if header["adapters"]:
            save_adapters(folder, getattr(model, trunk_name), model.decoder, model.base)
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

    write_folder(folder, lambda place: _save_model(place, policy.lm, policy, tokenizer, pool, header), LANGUAGE_MODEL)


def save_reward(
    folder: Path, model: RewardModel, lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pool: RaterPool, max_length: int, extra: dict
) -> None:
    """`lm` is the causal language model around the trunk, whose weights are saved with it."""
    reader = model.reader
    header = {
        "kind": "reward", "dim": reader.dim if reader else 0, "tokens": reader.tokens if reader else 0,
        "idiosyncratic_dim": _idiosyncratic_dim(model), "conditioning": model.conditioning, "max_length": max_length, **extra,
    }  # fmt: skip

    write_folder(folder, lambda place: _save_model(place, lm, model, tokenizer, pool, header), LANGUAGE_MODEL)


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
    path = check_whole(folder) / "raterhf.json"
    header = read_json(path)
    if header.get("schema") != SCHEMA:
        raise UserError(f"{folder} has schema {header.get('schema')}, this version reads {SCHEMA}; train it again with this version")
    if kind is not None and header.get("kind") != kind:
        raise UserError(f"{folder} holds a {header.get('kind')} model, a {kind} is needed; give the run folder, which has both")
    return read_json(path, RewardHeader if header.get("kind") == "reward" else Header)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model: ours, a plain one, or adapters."""
    return any((folder / name).is_file() for name in ("raterhf.json", "config.json", CONFIG))


def weights_of(folder: Path) -> str:
    """Where the weights of a folder's language model lie: a path or hub name, the folder's own where it holds them."""
    if (folder / "raterhf.json").is_file():
        return read_header(folder).get("base", {"path": str(folder)})["path"]
    if not has_adapters_in(folder):
        return str(folder)
    if (folder / "config.json").is_file():  # not what a stage writes: whether the adapters or the weights are meant is unknown
        raise no_whole_model(folder)
    return read_json(folder / CONFIG)["base_model_name_or_path"]


def weights_digest(folder: Path) -> str:
    """Of the weights of a folder's language model, as they lie there or as its base was."""
    if (folder / "raterhf.json").is_file() and "base" in (header := read_header(folder)):
        return header["base"]["digest"]
    return file_digest(str(folder / WEIGHTS["policy"]))


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


def _load_lm(
    folder: Path, header: dict, device: torch.device, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Base | None]:  # fmt: skip
    """The folder's language model, without adapters, its tokenizer, and what it lies on."""
    if "base" not in header:
        lm, tokenizer = load_pretrained(folder, TRUNK if header["kind"] == "reward" else None)
        return lm, tokenizer, None
    base = header["base"]
    if Path(base["path"]).is_absolute() and not Path(base["path"]).is_dir():
        raise UserError(
            f"{folder} was trained on the model in {base['path']}, which is not there; put it back, or set base.path in "
            f"{folder}/raterhf.json to where it is now"
        )
    found = find_base(base["path"], device, dtype or getattr(torch, base["dtype"]), base["digest"], base.get("load") == "4bit")
    return found.model(), load_tokenizer(folder, "tokenizer_config.json"), found


def _load_into(model: Policy | RewardModel, folder: Path, header: dict, device: torch.device) -> None:
    """Load adapters and what is not the language model, and place the model."""
    name = "lm" if header["kind"] == "policy" else "backbone"
    if header.get("adapters"):
        load_adapters(folder, getattr(model, name), model.decoder)
    _load_rest(folder, model, name)
    _check_bound(folder, header)
    place(model.eval(), device)


def load_policy(folder: Path, device: torch.device | None = None) -> tuple[Policy, PreTrainedTokenizerBase, dict]:
    header, device = read_header(folder, "policy"), device or pick_device()
    lm, tokenizer, base = _load_lm(folder, header, device, None)
    policy = make_policy(lm, tokenizer, header["dim"], header["tokens"], header["idiosyncratic_dim"], base)
    _load_into(policy, Path(folder), header, device)
    return policy, tokenizer, header


def load_reward(
    folder: Path, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> tuple[RewardModel, PreTrainedTokenizerBase, dict]:  # fmt: skip
    """`dtype` is that of the trunk; without it the one that it was trained in."""
    header, device = read_header(folder, "reward"), device or pick_device()
    lm, tokenizer, base = _load_lm(folder, header, device, dtype)
    model = RewardModel(
        lm.get_decoder(),
        header["dim"],
        header["tokens"],
        header["conditioning"],
        make_idiosyncratic(header["idiosyncratic_dim"], lm, tokenizer),
        base,
    )
    _load_into(model, Path(folder), header, device)
    return model if base else place(model, dtype=dtype), tokenizer, header


def replace_pool(folder: Path, pool: RaterPool) -> None:
    """Put another pool in a model folder's place, whole or not at all, bind it to the weights, and let the stage's record know it."""
    header = read_json(folder / "raterhf.json")

    def fill(place: Path) -> None:
        save_pool(place, pool)
        new = {"raters.json": file_digest(str(place / "raters.json"))}
        (place / "raterhf.json").write_text(json.dumps(header | {"digests": header["digests"] | new}, indent=1))
        if (folder / FINISHED).is_file():  # in the same step, or a process killed after it would leave a stage that `train` refuses
            record = read_json(folder / FINISHED)
            written = {path.name: fingerprint(path) for path in place.iterdir() if path.name in record.get("outputs", {})}
            (place / FINISHED).write_text(json.dumps(record | {"outputs": record.get("outputs", {}) | written}, indent=1))

    write_folder(folder, fill)


def frozen_names(module: nn.Module) -> set[str]:
    """Names of parameters that do not learn, as `state_dict` has them: those of tied weights too."""
    return {name for name, parameter in module.named_parameters(remove_duplicate=False) if not parameter.requires_grad}


def save_training_state(folder: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer | None, extra: dict) -> None:
    """All that resuming needs, in one file: what learns, AdamW moments, step. Random numbers are functions of the step, not saved.

    Without an optimiser what learns alone."""
    frozen = frozen_names(module)
    tensors = {f"module.{k}": v for k, v in module.state_dict().items() if k not in frozen}
    for index, state in optimizer.state_dict()["state"].items() if optimizer is not None else ():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    # Tied weights share memory, which safetensors refuses.
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensors[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    write_state(folder, tensors, step, extra)


def write_state(folder: Path, tensors: dict[str, torch.Tensor], step: int, extra: dict) -> None:
    """A state's file: tensors, none of which shares memory, the step and what else is kept."""
    about = {"step": str(step), "extra": json.dumps(extra)}
    write_file(folder / STATE, lambda partial: save_file(tensors, partial, about))


def load_training_state(folder: Path, module: nn.Module) -> tuple[int, dict[int, dict[str, torch.Tensor]], dict]:
    """Load weights into `module`; returns the step, the optimiser's moments and what else was kept."""
    step, extra = read_training_state(folder)
    path = folder / STATE
    tensors = read_tensors(path)
    found = module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")}, strict=False)
    if differ := sorted({*found.unexpected_keys, *found.missing_keys} - frozen_names(module)):
        raise UserError(
            f"{path} is of another model (differs in {', '.join(differ[:3])}); delete {path.parent}, and the stage begins again"
        )
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    return step, moments, extra


def read_training_state(folder: Path) -> tuple[int, dict]:
    """The step and what else was kept; the weights are not read."""

    def metadata(path: Path) -> dict[str, str]:
        with safe_open(path, "pt") as file:
            return file.metadata()

    found = read_safe(folder / STATE, metadata)
    return int(found["step"]), json.loads(found["extra"])


def _model_card(header: dict) -> str:
    about, use = {
        "policy": (
            "The weights are an ordinary transformers folder; the rater's prefix is read",
            'sample THIS_FOLDER --prompt "..." --rater new -n 10',
        ),
        "reward": ("Only raterhf loads it: the score head is read", "score THIS_FOLDER FILE --raters new:64x"),
    }[header["kind"]]
    library, base = "transformers" if header["kind"] == "policy" else "raterhf", ""
    if "base" in header:
        library, name = "peft", Path(header["base"]["path"]).name
        base = f"It lies on {name} (digest {header['base']['digest']}), whose weights stayed as they were and are not in this folder.\n"
        about = "What was trained of the language model are adapters, where there are any, in peft's format; what reads raters is read"
    return (
        f"---\nlibrary_name: {library}\ntags: [raterhf, {header['kind']}]\n---\n\n"
        f"A {header['kind']} model trained with raterhf. {about} from `raterhf.safetensors` and the raters from `raters.safetensors`.\n"
        f"{base}"
        f"The recipe stands in `recipe.resolved.yaml`.\n\n```bash\nraterhf {use}\n```\n"
    )
