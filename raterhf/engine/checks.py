"""What cannot be scored, by name: examples, raters, and scores that are no numbers. Each raises UserError.

Notation: K raters, N examples, k dimensions of taste.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.passes import mean_states
from raterhf.engine.plan import plan
from raterhf.errors import UserError
from raterhf.models.backbone import window_of
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch

LARGEST = 1_000_000  # of a vector's numbers, which are about 1: much larger ones leave nothing of a norm's other terms


def soft_tokens(model: RewardModel | Policy) -> int:
    """The soft tokens of a rater that the trunk reads beside a text."""
    return model.reader.tokens if model.reader is not None and getattr(model, "conditioning", "prefix") != "head" else 0


def fault_finder(model: RewardModel | Policy) -> Callable[[Example], str]:
    """A function that says what is wrong with an example, "" for nothing: nothing asked or nothing answered, longer than the model's
    window, ids that it does not know, or another end than the first of `ends` in an answer. The model is asked once, which takes longer
    than looking at an example."""
    vocabulary, window, soft = model.decoder.config.vocab_size, window_of(model.decoder), soft_tokens(model)
    others = set(getattr(model, "ends", ())[1:])

    def fault(example: Example) -> str:
        if not 0 < example.prompt_length < len(example):
            return f"has {example.prompt_length} prompt tokens of {len(example)}: both parts need a token"
        if len(example) + soft > window:
            beside = "" if len(example) > window else f" beside the rater's {soft}"
            return f"has {len(example)} tokens{beside}, the model's window {window}; shorten it"
        if found := others.intersection(example.ids[example.prompt_length :]):
            return f"has token {min(found)} in its answer, by which the model ends a turn; remove it from the text, the end is added"
        if min(example.ids) < 0 or max(example.ids) >= vocabulary:
            return f"has token ids outside 0 to {vocabulary - 1}; render it with the model's own tokenizer"
        return ""

    return fault


def check_examples(model: RewardModel | Policy, examples: Sequence[Example]) -> None:
    """Raise for the first example that has a fault, by its number."""
    find = fault_finder(model)
    seen: set[int] = set()  # a jury asks about the same few many times over
    for i, example in enumerate(examples):
        if id(example) in seen:
            continue
        seen.add(id(example))
        if fault := find(example):
            raise UserError(f"example {i + 1} {fault}")


def check_raters(
    model: RewardModel | Policy, raters: RaterBatch, rater: Tensor | None = None, idiosyncratic: bool = False
) -> None:  # fmt: skip
    """Raise for no raters; numbers `rater` [N] that are none of theirs; vectors that are not float32 [K, k] or wider
    (with `idiosyncratic` [K, k + o]), hold NaN or infinity, or are too large to be read.
    """
    assert model.reader is not None  # nobody asks about the raters of a rater-free model
    dim = model.reader.dim
    if idiosyncratic:
        assert model.idiosyncratic is not None
        dim += model.idiosyncratic.dim
    vectors, null = raters.vectors, raters.null
    if not len(raters):
        raise UserError("no raters: give a RaterBatch of one at least, RaterBatch.nobody(1) for nobody in particular")
    shape, count = tuple(vectors.shape), len(vectors)
    if len(shape) != 2 or (shape[1] < dim and not null.all()) or vectors.dtype != torch.float32:
        raise UserError(f"raters' vectors are {vectors.dtype} of shape {shape}; give a row of {dim} numbers for each, in float32")
    if rater is not None and len(rater):
        if rater.ndim != 1 or rater.is_floating_point():
            raise UserError(f"raters' numbers are {rater.dtype} of shape {tuple(rater.shape)}; give an integer for each example")
        if not 0 <= int(rater.min()) <= int(rater.max()) < count:
            number = int(rater.min()) if rater.min() < 0 else int(rater.max())
            raise UserError(f"rater {number} is none of these {count}, which count from 0")
    # A training that diverges is told so by its loss; a null rater's vector is not read.
    if not model.training and (wrong := ~((vectors.abs() <= LARGEST).all(1) | null)).any():
        raise UserError(f"rater {int(wrong.nonzero()[0])}: the vector holds NaN or infinity, or numbers beyond {LARGEST:,}")


def check_rater_of_each(policy: Policy, count: int, raters: RaterBatch, idiosyncratic: bool = False) -> None:
    """As `check_raters`, one for each of so many texts."""
    check_raters(policy, raters, idiosyncratic=idiosyncratic)
    if len(raters) != count:
        raise UserError(f"{len(raters)} raters for {count} texts; give one for each")


@torch.no_grad()
def check_scores(model: RewardModel, scores: Tensor, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
    """The scores, where all are numbers. Else whose fault it is: each example and rater by itself, since one spoils those beside it."""
    if model.training or scores.isfinite().all():
        return scores
    for i, example in {id(example): (i, example) for i, example in reversed(list(enumerate(examples)))}.values():
        if not mean_states(model.backbone, plan([example], None, model.conditioning, 0, 1), None).isfinite().all():
            raise UserError(f"example {i + 1} has no score: the model's hidden states hold NaN or infinity there, and so may its weights")
    if model.reader is not None:
        read = model.weights if model.conditioning == "head" else model.reader
        for r in range(len(raters)):
            if not read(raters[r : r + 1]).isfinite().all():
                raise UserError(f"rater {r} gives no scores: the weights that read it hold NaN or infinity; train the model again")
    raise UserError("scores hold NaN or infinity: the model's head or scale holds them; train it again")
