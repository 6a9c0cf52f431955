"""What training a recipe takes on given devices, before any is paid for: tokens, FLOPs, memory, hours, and what bounds each stage.

Seconds of a stage are the sum of: products, at a share of a device's peak; sampling, where each token waits for all weights to come from
memory; the exchange of gradients; AdamW, which reads and writes what learns. In truth some of them overlap. Texts are counted by
`step_texts.py`, memory by `estimate.py`. Which share of its peak a device reaches is assumed; `raterhf bench plan` holds all this against
what it measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from raterhf.engine.sampler import BATCH_TOKENS
from raterhf.recipe import Recipe
from raterhf.training.estimate import GIB, Shape, estimate, our_numbers, shapes_of
from raterhf.training.step_texts import Lengths, Step, Texts

MOMENTS = (
    28  # bytes that AdamW moves for a number that learns: reads it, its gradient and two moments in float32, writes all but the gradient
)
GRADIENT = 4
ROOM = 0.9  # of a device's memory: the rest is the libraries'


@dataclass(frozen=True)
class Devices:
    """`count` devices, each with GIB of memory, FLOP/s in float32 and bfloat16, bytes a second from its memory and to another device, and
    the share of its FLOP/s that training reaches; `overhead` are seconds of a step that are the same however many share it."""

    count: int
    gib: float
    float32: float
    bfloat16: float
    bandwidth: float
    link: float
    used: float
    overhead: float = 0.0


@dataclass(frozen=True)
class Cost:
    """Of a stage: steps, tokens by kind, FLOPs of all devices, seconds by what takes them, bytes of one device by part."""

    stage: str
    steps: float
    tokens: dict[str, float]
    flops: float
    seconds: dict[str, float]
    memory: dict[str, float]

    @property
    def hours(self) -> float:
        return sum(self.seconds.values()) / 3600

    @property
    def bound(self) -> str:
        """What takes most of its time."""
        return max(self.seconds, key=self.seconds.__getitem__)

    @property
    def gib(self) -> float:
        return sum(self.memory.values()) / GIB


def costs(recipe: Recipe, steps: Mapping[str, Step], devices: Devices, device: str = "cuda") -> list[Cost]:
    """Of every stage of which there is a step. Raises UserError where the shape of the model is not known."""
    own = {stage: step.trained.tokens / devices.count for stage, step in steps.items()}
    memory = {found.stage: found.parts for found in estimate(recipe, device, own, devices.count)}
    asked = shapes_of(recipe, device)
    return [
        cost_of(asked[stage][0], stage, step, getattr(recipe, stage).steps, asked[stage][1], memory[stage], devices)
        for stage, step in steps.items()
    ]  # fmt: skip


def cost_of(
    recipe: Recipe, stage: str, step: Step, steps: float, shape: Shape, memory: dict[str, float], devices: Devices
) -> Cost:  # fmt: skip
    """Of so many steps of a stage."""
    flops = _trained(recipe, stage, step.trained, shape, devices.count) + _read(shape, step.read) + _sampled(shape, step)
    learned = shape.learned + our_numbers(recipe, stage, shape.hidden)[0]
    seconds = {
        "products": flops / devices.count / rate(recipe, devices),
        "weights for sampling": _waits(shape, step, devices) / devices.bandwidth,
        "gradients": 2 * (devices.count - 1) / devices.count * GRADIENT * learned / devices.link,
        "AdamW": MOMENTS * learned / devices.bandwidth,
        "overhead": devices.overhead,
    }
    tokens = {"trained": step.trained.tokens, "read": step.read.tokens, "sampled": step.sampled * step.longest}
    per_stage = [{name: steps * value for name, value in part.items()} for part in (tokens, seconds)]
    return Cost(stage, steps, per_stage[0], steps * flops, per_stage[1], memory)


def scoring(recipe: Recipe, scores: float, raters: int, lengths: Lengths, shape: Shape, devices: Devices) -> Cost:
    """Of so many scores, each completion for so many raters, each of a prompt of its own."""
    soft = recipe.raters.tokens if recipe.reward and recipe.reward.conditioning == "prefix" else 0
    passes = raters if soft else 1
    texts = lengths.texts(scores / raters * passes, soft)
    read = Texts(texts.tokens, 0, texts.length)
    if recipe.reward and recipe.reward.conditioning == "suffix":
        read = read + Texts(scores * recipe.raters.tokens, 0, texts.length)
    flops = _read(shape, read)
    seconds = {"products": flops / devices.count / rate(recipe, devices)}
    return Cost("scoring", scores, {"read": read.tokens}, flops, seconds, {"weights": shape.weights + shape.adapters})


def rate(recipe: Recipe, devices: Devices) -> float:
    """FLOP/s that a device reaches in what the recipe computes in."""
    halved = recipe.model.precision == "bf16-mixed" or (recipe.model.train != "all" and recipe.model.dtype != "float32")
    return devices.used * (devices.bfloat16 if halved else devices.float32)


def _trained(recipe: Recipe, stage: str, texts: Texts, shape: Shape, count: int) -> float:
    """FLOPs of forward and backward: backward is one more pass for the gradients of states, and one for those of weights, where these
    learn. What is not held for it is read again."""
    settings = recipe.model
    whole = settings.train == "all"
    trunk, said = shape.forward(texts.tokens, texts.length), shape.said(texts.said)
    if settings.train == "none" and stage == "reward" and recipe.reward and recipe.reward.conditioning == "head":
        return trunk  # read for the first time: later it is kept
    own = texts.tokens / count
    again = max(0.0, 1 - (settings.micro_batch_tokens or 0) / own)
    passes = (3 if whole else 2) + again + settings.gradient_checkpointing
    adapters = shape.adapters / 4
    return passes * trunk + (3 if whole else 2) * said + again * said + 6 * adapters * texts.tokens


def _read(shape: Shape, texts: Texts) -> float:
    return shape.forward(texts.tokens, texts.length) + shape.said(texts.said)


def _sampled(shape: Shape, step: Step) -> float:
    tokens = step.sampled * step.longest
    return shape.forward(tokens, 2 * step.prompt + step.longest) + shape.said(tokens)


def _waits(shape: Shape, step: Step, devices: Devices) -> float:
    """Bytes of weights that a device reads to sample: all of them for each token of a batch of samples."""
    texts = step.sampled / devices.count
    if not texts:
        return 0.0
    at_once = max(1.0, min(texts, BATCH_TOKENS / (step.prompt + step.longest)))
    return texts / at_once * step.longest * shape.weights
