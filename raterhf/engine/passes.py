"""Running the passes of a plan: embeddings of text and raters' soft tokens in, hidden states out, read at the ends of paths.

Notation: T tokens of a pass, E ends, m soft tokens, d hidden size.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from raterhf.engine.attention import Keys, hidden_states
from raterhf.engine.layout import Forest
from raterhf.engine.plan import Pass, Plan, plan_prompts
from raterhf.models.backbone import HELD_TOKENS
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel


def in_passes(
    planned: Plan, run: Callable[[Pass, Forest], tuple[Tensor, ...]], device: torch.device, held: int
) -> tuple[Tensor, ...]:  # fmt: skip
    """Apply `run` to every pass; its results, a row for each end, in the order in which the paths were wanted.

    Where gradients are wanted, what the backward pass needs is held for the last passes, of at most `held` tokens; those before are run
    again when it comes to them. So memory does not grow with a batch, and gradients are the same.
    """
    sizes = [planned.tokens_of(part) for part in planned.passes]
    parts = []
    for i, part in enumerate(planned.passes):
        forest = part.forest(planned.soft_tokens, device)
        again = torch.is_grad_enabled() and i + 1 < len(sizes) and sum(sizes[i:]) > held
        parts.append(checkpoint(run, part, forest, use_reentrant=False) if again else run(part, forest))
    place = np.argsort(np.concatenate([part.paths for part in planned.passes]))[planned.path]
    place = torch.as_tensor(place, device=device)
    return tuple(torch.cat(column)[place] for column in zip(*parts))


def states_of(
    backbone: PreTrainedModel, part: Pass, forest: Forest, soft: Tensor | None, keys: Keys | None = None, keep: bool = False
) -> Tensor:  # fmt: skip
    """Last hidden states [T, d] of a pass; `soft` [K, m, d] are the raters' tokens, by rater number. `keys`, `keep`: `hidden_states`."""
    device = forest.positions.device
    text = [s for s, segment in enumerate(part.segments) if not isinstance(segment, int)]
    raters = [s for s, segment in enumerate(part.segments) if isinstance(segment, int)]
    ids = torch.tensor([token for s in text for token in part.text(s)], dtype=torch.long, device=device)
    inputs = backbone.get_input_embeddings()(ids)
    if raters:
        assert soft is not None  # whoever plans raters' tokens gives them
        # Text first, then soft tokens; `order` puts them where the forest has them.
        order = np.argsort(np.concatenate([forest.tokens(text), forest.tokens(raters)]))
        tokens = soft[[part.segments[s] for s in raters]].flatten(0, 1).to(inputs.dtype)
        inputs = torch.cat([inputs, tokens])[torch.as_tensor(order, device=device)]
    return hidden_states(backbone, inputs, forest, keys, keep)


def mean_states(backbone: PreTrainedModel, planned: Plan, soft: Tensor | None, held: int = HELD_TOKENS) -> Tensor:
    """The mean of the last hidden states over the last segment of each path [N, d], in fp32. `held`: `in_passes`."""

    def run(part: Pass, forest: Forest) -> tuple[Tensor]:
        total, length = sums(states_of(backbone, part, forest, soft), part, forest)
        return (total / length[:, None],)

    return in_passes(planned, run, backbone.device, held)[0]


def sums(states: Tensor, part: Pass, forest: Forest) -> tuple[Tensor, Tensor]:
    """Sums [E, d] in fp32 of a pass's states [T, d] over the last segment of each path, and how many they are [E]."""
    tokens, owner, length = ends(part, forest)
    return states.new_zeros(len(length), states.shape[1], dtype=torch.float32).index_add(0, owner, states[tokens].float()), length


def prompt_features(model: Policy | RewardModel, prompts: Sequence[tuple[int, ...]], token_budget: int) -> Tensor:
    """Features [N, 2 d] of prompts (token ids) for nobody in particular, by which idiosyncratic taste is heard: mean and last hidden state.

    The last knows what will be answered, the mean how it was asked.
    """
    null = model.null_prefix

    def run(part: Pass, forest: Forest) -> tuple[Tensor]:
        states = states_of(model.decoder, part, forest, None if null is None else null[None])
        total, length = sums(states, part, forest)
        return (torch.cat([total / length[:, None], states[forest.start[1:][part.ends] - 1].float()], 1),)

    return in_passes(plan_prompts(prompts, 0 if null is None else len(null), token_budget), run, model.decoder.device, model.held_tokens)[0]


def ends(part: Pass, forest: Forest) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens of the last segments of a pass's paths [E'], to which path each belongs [E'], and their number [E]."""
    length = np.diff(forest.start)[part.ends]
    owner = np.repeat(np.arange(len(length)), length)
    tensor = partial(torch.as_tensor, device=forest.positions.device)
    return tensor(forest.tokens(part.ends)), tensor(owner), tensor(length)


def before(part: Pass, forest: Forest) -> Tensor:
    """For each token of the last segments of a pass's paths [E'] the token before it, in its own or its parent's segment."""
    found = forest.tokens(part.ends) - 1
    first = np.concatenate([[0], np.cumsum(np.diff(forest.start)[part.ends])[:-1]])
    found[first] = forest.start[np.array(part.parents)[part.ends] + 1] - 1
    return torch.as_tensor(found, device=forest.positions.device)
