"""How much memory the stages of a recipe take, by part, without reading a weight.

The model is made without numbers (torch's meta device), adapters and readers too; a pass of as many tokens as are held at once goes through
it, and autograd says what it would keep for the backward pass. Texts are taken to be as long as `model.max_length` allows. What a library
needs besides, and room that an allocator cannot use again, is not counted.

Notation: T tokens that are held, V tokens of the vocabulary.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from raterhf.engine.attention import NO_MASK
from raterhf.engine.sampler import BATCH_TOKENS
from raterhf.engine.scorer import CHUNK_LOGITS
from raterhf.errors import UserError
from raterhf.models.adapters import add_lora
from raterhf.models.four_bit import check_device, four_bit_bytes
from raterhf.models.idiosyncratic import IdiosyncraticTaste
from raterhf.models.load import empty_model
from raterhf.models.place import kept_dtype, pick_device
from raterhf.raters.space import PrefixReader
from raterhf.recipe import ModelSettings, PolicySettings, Recipe, TrainerSettings

GIB = 2**30
REMEDY = "lower model.micro_batch_tokens, set model.gradient_checkpointing=true, or train adapters (model.train=lora)"
OFF = 1.2  # how far an estimate may lie above what is taken
LOGIT_COPIES = 6  # of a chunk of logits in fp32 while its log-probabilities and their gradients are taken


@dataclass(frozen=True)
class Estimate:
    """Bytes of a stage, by part."""

    stage: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Shape:
    """Of one language model: bytes of its weights, of adapters, and numbers that learn in it."""

    weights: float
    adapters: float
    learned: float
    lm: PreTrainedModel

    @property
    def vocabulary(self) -> int:
        return self.lm.get_input_embeddings().weight.shape[0]

    @property
    def hidden(self) -> int:
        return self.lm.config.get_text_config().hidden_size

    def forward(self, tokens: float, length: float) -> float:
        """FLOPs of so many tokens through the trunk, in texts of this mean length: two a number and token, and attention over what stands
        before, half the text on average."""
        config, embedded = self.lm.config.get_text_config(), self.lm.get_input_embeddings().weight.numel()
        trunk = sum(weight.numel() for name, weight in self.lm.get_decoder().named_parameters() if ".lora_" not in name) - embedded
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return tokens * (2 * trunk + 4 * config.num_hidden_layers * config.num_attention_heads * size * length / 2)

    def said(self, tokens: float) -> float:
        """FLOPs of the logits after so many tokens."""
        return 2 * self.vocabulary * self.hidden * tokens


def estimate(recipe: Recipe, device: str, tokens: Mapping[str, float] | None = None, processes: int = 1) -> list[Estimate]:
    """Of every stage of the recipe on a device of this type ("cpu", "cuda"), one of so many. `tokens` are those that the device learns from
    in a step, by stage, where known. Raises UserError where the model is not there."""
    shapes, known = shapes_of(recipe, device), tokens or {}
    return [Estimate(stage, _parts(changed, stage, shape, known.get(stage), processes)) for stage, (changed, shape) in shapes.items()]


def shapes_of(recipe: Recipe, device: str) -> dict[str, tuple[Recipe, Shape]]:
    """The recipe of each stage as that reads it, and the shape of its model."""
    model, judging = shape_of(recipe.model, device), recipe.judging
    judged = model if judging.model == recipe.model else shape_of(judging.model, device)
    return {stage: (judging, judged) if stage == "reward" else (recipe, model) for stage in recipe.stages}


def estimate_vanilla(recipe: Recipe, device: str) -> float:
    """Bytes that TRL's largest stage holds: it pads a batch to its longest text, keeps all of its logits, and has no micro-batches."""
    asked, model = recipe.vanilla, shape_of(recipe.model, device)
    if asked is None:
        return 0.0
    vocabulary, longest = model.vocabulary, recipe.model.max_length
    held = {}
    for name, arguments, texts in (("sft", asked.sft, 1), ("reward", asked.reward, 2), ("rl", asked.rl, 1)):
        tokens = texts * arguments.get("per_device_train_batch_size", 8) * min(arguments.get("max_length") or longest, longest)
        held[name] = activations(model.lm, tokens) + (0 if name == "reward" else 4 * LOGIT_COPIES * vocabulary * tokens)
    copies = 2 if recipe.model.train == "all" else 1  # RLOO's reference; with adapters it is the model without them
    return copies * model.weights + model.adapters + 12 * model.learned + max(held.values())


def check_room(recipe: Recipe, device: str, held: float) -> None:
    """Raise UserError where a stage takes more than the `held` bytes of a device of this type, whatever the estimate is off."""
    for one in estimate(recipe, device):
        if one.total / OFF > held:
            raise UserError(
                f"stage {one.stage} takes about {one.total / GIB:.1f} GiB of the device's memory, which has {held / GIB:.1f}; {REMEDY}, or "
                "give a smaller model (model.path)"
            )


def estimate_text(recipe: Recipe, gpu: float | None = None) -> str:
    """The estimate as lines for people, or why there is none: for this machine, or for a GPU of so many GiB."""
    if not recipe.stages:
        return "memory is not estimated: the recipe has no stage, so nothing is trained"
    try:
        return _told(estimate(recipe, "cuda" if gpu is not None else pick_device().type), gpu)
    except UserError as error:
        return f"memory is not estimated: {error}"


def _told(found: list[Estimate], gpu: float | None) -> str:
    names = list(dict.fromkeys(name for one in found for name in one.parts))
    width = max(len(name) for name in names)
    lines = [f"memory in GiB, by stage{'':{width - 8}}" + "".join(f"{one.stage:>9}" for one in found)]
    for name in names:
        lines.append(f"  {name:{width}}      " + "".join(f"{one.parts.get(name, 0) / GIB:9.2f}" for one in found))
    lines.append(f"  {'together':{width}}      " + "".join(f"{one.total / GIB:9.2f}" for one in found))
    if gpu is not None:
        most = max(found, key=lambda one: one.total)
        fits = "fits" if most.total / GIB <= 0.9 * gpu else f"does not fit; {REMEDY}"
        lines.append(f"a GPU of {gpu:g} GiB, of which a tenth is left to the libraries: the largest stage, {most.stage}, {fits}")
    return "\n".join(lines)


def shape_of(settings: ModelSettings, device: str) -> Shape:
    """The model of a recipe, without numbers, on a device of this type. Raises UserError where it is not there."""
    rounded = settings.load == "4bit"  # what is between such weights is in float32
    if rounded:
        check_device(device)
    lm = empty_model(settings.path, settings.config, settings.vocab_size, torch.float32 if rounded else kept_dtype(settings, device))
    weights, held = _bytes(lm), four_bit_bytes(lm) if rounded else _bytes(lm)
    if settings.train != "all":
        lm.requires_grad_(False)
    if settings.lora:
        with torch.device("meta"):
            add_lora(lm.get_decoder(), settings.lora, 0)
    learned = sum(parameter.numel() for parameter in lm.parameters() if parameter.requires_grad)
    return Shape(held, _bytes(lm) - weights, learned, lm)


def _bytes(module: nn.Module) -> float:
    return sum(parameter.nbytes for parameter in module.parameters())


def _parts(recipe: Recipe, stage: str, model: Shape, tokens: float | None, processes: int) -> dict[str, float]:
    """Every model that the stage holds, and what training one of them takes, of texts of so many tokens where that is known."""
    settings, hidden = recipe.model, model.hidden
    readers, taste = our_numbers(recipe, stage, hidden)
    copies = {"policy": 3, "sft": 1, "reward": 1, "base": 1}[stage] if settings.train == "all" else 1
    adapted = 3 if stage == "policy" else 1
    most = settings.micro_batch_tokens or 0
    held = min(most, _batch_tokens(recipe, stage))
    beside = 0
    if stage == "reward" and recipe.data.demonstrations and recipe.reward.demonstrations:  # own answers are read beside the comparisons
        beside = min(most, recipe.reward.demonstrations * settings.max_length)
    read = held + beside if tokens is None else min(held + beside, ceil(tokens))
    held = min(held, read)
    frozen = stage == "reward" and settings.train == "none" and recipe.reward.conditioning == "head"
    parts = {
        "weights": copies * model.weights,
        "adapters, readers": adapted * (model.adapters + 4 * (readers + taste)),
        "gradients, optimiser": _learning(recipe.trainer, processes) * (model.learned + readers),
    }
    vocabulary = model.vocabulary
    logits = 4 * LOGIT_COPIES * vocabulary * min(held, max(1, CHUNK_LOGITS // vocabulary)) if stage != "reward" else 0
    if not frozen:
        kept = activations(model.lm, read)
        # When the logits are gone, the backward pass has three gradients of a layer's widest states at once.
        inside = 3.0 * held * _widest(model.lm) * model.lm.dtype.itemsize
        if settings.gradient_checkpointing:  # what goes into each layer, and then the inside of one
            layers = model.lm.config.get_text_config().num_hidden_layers
            kept, inside = layers * held * hidden * model.lm.dtype.itemsize, inside + kept / layers
        parts["activations"] = kept + max(0.0, inside - logits)
    if stage != "reward":
        parts["logits"] = logits
    if stage == "policy":
        parts["cache of samples"] = _cache(recipe.policy, settings.max_length, model.lm)
    return parts


def _learning(trainer: TrainerSettings, processes: int) -> float:
    """Bytes beside the weights themselves of a number that learns: its gradient and two moments; or, shared out, all of its gradient and a
    part of it, of the weight and of the moments."""
    return 4 + 16 / processes if trainer.sharded and processes > 1 else 12


def our_numbers(recipe: Recipe, stage: str, hidden: int) -> tuple[int, int]:
    """Numbers in what reads raters and gives scores, which learns, and in what idiosyncratic taste is heard by."""
    raters = recipe.raters
    if stage == "base" or raters.encoding != "embedding":
        return hidden, 0
    tokens = 1 if stage == "reward" and recipe.reward.conditioning == "head" else raters.tokens
    with torch.device("meta"):
        reader = PrefixReader(raters.dim, tokens, hidden, 1.0)
    taste = (IdiosyncraticTaste.BUCKETS + 2 * hidden) * raters.idiosyncratic_dim
    return sum(parameter.numel() for parameter in reader.parameters()) + hidden, taste


def _batch_tokens(recipe: Recipe, stage: str) -> int:
    """Tokens of a step's texts, each as long as may be."""
    longest = recipe.model.max_length
    if stage == "reward":
        read = recipe.reward
        return longest * 2 * (read.batch_size + read.off_topic)
    settings = getattr(recipe, stage)
    texts = settings.batch_size
    if stage == "policy" and settings.algorithm == "rloo":
        texts = settings.prompts * settings.raters * settings.samples
    return texts * (longest + (recipe.raters.tokens if stage != "base" and recipe.raters.encoding == "embedding" else 0))


def _widest(lm: PreTrainedModel) -> int:
    """Numbers of a token's widest state in a layer: of the largest side of a matrix."""
    layers = [module for module in lm.get_decoder().modules() if not isinstance(module, nn.Embedding)]
    return max(max(weight.shape) for module in layers for weight in module.parameters(recurse=False) if weight.ndim == 2)


def _cache(settings: PolicySettings, max_length: int, lm: PreTrainedModel) -> float:
    """Keys and values of what is sampled at once, in room twice as large as what is there at most."""
    config = lm.config.get_text_config()
    samples = settings.prompts * settings.samples * (settings.raters if settings.algorithm == "rloo" else 1)
    tokens = min(BATCH_TOKENS, samples * (max_length + settings.max_new_tokens))
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2.0 * tokens * 2 * config.num_hidden_layers * heads * size * lm.dtype.itemsize


def activations(lm: PreTrainedModel, tokens: int) -> float:
    """Bytes that autograd keeps of a pass of so many tokens through the decoder of a model on the meta device."""
    decoder, config = lm.get_decoder().train(), lm.config.get_text_config()
    inputs = torch.empty(1, tokens, config.hidden_size, device="meta", dtype=lm.dtype, requires_grad=True)
    with _counted(decoder) as kept:
        decoder(
            inputs_embeds=inputs, attention_mask=torch.zeros(1, 1, 1, 1, dtype=NO_MASK, device="meta"),
            position_ids=torch.arange(tokens, device="meta")[None], use_cache=False,
        )  # fmt: skip
    return float(sum(kept.values()))


@contextmanager
def _counted(decoder: PreTrainedModel) -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd keeps meanwhile, weights apart."""
    weights = {tensor.untyped_storage()._cdata for tensor in [*decoder.parameters(), *decoder.buffers()]}
    kept: dict[int, int] = {}
    alive = []  # so that no place is taken twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    before = decoder.config._attn_implementation
    decoder.set_attn_implementation(COUNTED)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            yield kept
    finally:
        decoder.set_attn_implementation(before)


class _Attention(torch.autograd.Function):
    """Attention that keeps what fast kernels keep, and computes nothing."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        out = query.new_empty(*query.shape[:3], value.shape[3])
        ctx.save_for_backward(query, key, value, out)
        return out


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> tuple[Tensor, None]:
    return _Attention.apply(query, key, value).transpose(1, 2), None


COUNTED = "counted"
AttentionInterface.register(COUNTED, _attend)
