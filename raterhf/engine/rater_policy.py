"""A policy and its raters, behind one question: what do these raters answer to these prompts?

The policy comes from a folder of ours, or is a plain language model such as TRL writes; its raters are drawn as fictitious ones, known
ones, or nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raterhf.data.example import Example, budget_batches, collate
from raterhf.data.renderer import Renderer
from raterhf.data.requests import Prompt
from raterhf.engine.begun import PASS_TOKENS, BegunTexts
from raterhf.engine.sampler import Sampler, completion_text
from raterhf.engine.scorer import completion_log_probs
from raterhf.errors import UserError
from raterhf.io import check_whole
from raterhf.models import checkpoint, load
from raterhf.models.adapters import has_adapters_in, load_adapters
from raterhf.models.backbone import embeddings, with_prefix
from raterhf.models.base import find_base
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy, make_policy, sampling_distributions
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import Rater, RaterPool

# Is told which answers grew, by their numbers, and their texts so far. What it raises ends the sampling.
Heard = Callable[[dict[int, str]], None]


@dataclass
class RaterPolicy:
    """`draws` is how raters are drawn for it: "new", "known" or "none".

    With `deterministic` every answer and log-probability is computed alone, and is the same to the bit whatever else is asked.
    """

    name: str
    policy: Policy
    renderer: Renderer
    pool: RaterPool | None
    draws: str
    max_new_tokens: int
    min_p: float = 0.0
    temperature: float = 1.0
    deterministic: bool = False

    def with_limits(self, max_new_tokens: int | None, temperature: float) -> "RaterPolicy":
        """The same, sampled at another temperature and, where given, to another length."""
        return replace(self, max_new_tokens=max_new_tokens or self.max_new_tokens, temperature=temperature)

    def raters(self, n: int, seed: int) -> list[Rater]:
        """n raters: fresh fictitious ones, those whom training learned, in a random order and repeated where there are fewer, or nobody."""
        if self.draws not in ("new", "known"):
            return [Rater("none", None)] * n
        pool = self._its_pool()
        if self.draws == "new":
            return pool.resolve("new", n, seed)
        known = pool.learned().known
        order = np.random.default_rng(seed).permutation(len(known))
        return [pool.by_id(known[order[i % len(order)]]) for i in range(n)]

    def _its_pool(self) -> RaterPool:
        assert self.pool is not None  # a policy that reads or draws raters has one
        return self.pool

    def answer(self, prompts: Sequence[Prompt], raters: Sequence[Rater], seed: int, heard: Heard | None = None) -> list[Example]:
        """One completion for each prompt under its rater; `heard` is told of them while they grow."""
        ids = [self.renderer.prompt(p, r.text) for p, r in zip(prompts, raters)]
        return self._generate(ids, raters, seed, idiosyncratic=True, heard=heard)

    def go_on(
        self, contexts: Sequence[tuple[int, ...]], raters: Sequence[Rater], seed: int, heard: Heard | None = None
    ) -> list[Example]:  # fmt: skip
        """One ending for each begun text (token ids of prompt and its completion so far). Every rater draws afresh, without idiosyncratic
        taste. `heard` is told of them while they grow."""
        return self._generate(contexts, raters, seed, idiosyncratic=False, heard=heard)

    def _generate(
        self, contexts: Sequence[tuple[int, ...]], raters: Sequence[Rater], seed: int, idiosyncratic: bool, heard: Heard | None
    ) -> list[Example]:  # fmt: skip
        names = [rater.id for rater in raters]
        watch = None if heard is None else self._listening(heard)
        return self._sampler().generate(contexts, self.batch(raters), seed, self.temperature, idiosyncratic, names, watch)

    def _sampler(self) -> Sampler:
        tokenizer = self.renderer.tokenizer
        return Sampler(self.policy, tokenizer.pad_token_id, tokenizer.eos_token_id, self.max_new_tokens, self.min_p, self.deterministic)

    def fault(self, prompt: Prompt, raters: Sequence[Rater]) -> str:
        """Why a prompt cannot be asked of these raters, empty where it can: it leaves no room for them and an answer."""
        try:
            self._sampler().check_room([self.renderer.prompt(prompt, text) for text in {rater.text for rater in raters}])
        except UserError as error:
            return str(error)
        return ""

    def _listening(self, heard: Heard) -> Callable[[list[int], Tensor], None]:
        """What tells `heard` the texts of the completions that the last token added to."""
        decode, pad = self.renderer.tokenizer.decode, self.renderer.tokenizer.pad_token_id

        def watch(numbers: list[int], tokens: Tensor) -> None:
            grown = ((number, row) for number, row in zip(numbers, tokens.tolist()) if row[-1] != pad)
            heard({number: str(decode(row, skip_special_tokens=True)) for number, row in grown})

        return watch

    def next_distributions(self, contexts: Sequence[tuple[int, ...]], raters: Sequence[Rater]) -> np.ndarray:
        """Log-probabilities [N, V] of the next token after each begun text under its rater, as sampling draws it (-inf: never)."""
        return self.distributions_along(contexts, raters, 1)[:, 0]

    @torch.no_grad()
    def distributions_along(self, contexts: Sequence[tuple[int, ...]], raters: Sequence[Rater], last: int) -> np.ndarray:
        """The same [N, last, V] after each of the last tokens of each begun text, which has so many: in the end [:, -1] after all of it."""
        who = self.batch(raters)
        device, pad = self.policy.lm.device, self.renderer.tokenizer.pad_token_id
        out = np.empty((len(contexts), last, self.sayable), np.float32)
        for rows in budget_batches([len(c) for c in contexts], PASS_TOKENS):
            batch = collate([Example(contexts[i], len(contexts[i])) for i in rows], pad).to(device)
            at = torch.as_tensor(rows, device=device)
            prefix = self.policy.prefix(who[at])
            places = batch.mask.sum(1)[:, None] + torch.arange(-last, 0, device=device)
            states = with_prefix(self.policy.decoder, batch, prefix)[torch.arange(len(rows), device=device)[:, None], places]
            out[rows] = self.distributions_after(states.flatten(0, 1)).unflatten(0, (len(rows), last)).cpu().numpy()
        return out

    def begun_texts(self, heads: Sequence[tuple[int, ...]], raters: Sequence[Rater]) -> BegunTexts:
        """What `next_distributions` tells of texts that grow, each after its rater's prompt (token ids), for less work."""
        return BegunTexts(self.policy, heads, self.batch(raters), self.distributions_after)

    @property
    def sayable(self) -> int:
        """V: how many tokens the model and its tokenizer both know."""
        return min(len(self.renderer.tokenizer), embeddings(self.policy.lm).num_embeddings)

    def distributions_after(self, states: Tensor) -> Tensor:
        """Log-probabilities [N, V] of the next token after last hidden states [N, d], as sampling draws it."""
        return sampling_distributions(self.policy.next_logits(states), self.min_p, self.temperature)[:, : self.sayable]

    def texts(self, examples: Sequence[Example]) -> list[str]:
        return [completion_text(self.renderer.tokenizer, e) for e in examples]

    @torch.no_grad()
    def log_probs(self, examples: Sequence[Example], raters: Sequence[Rater], as_sampled: bool = False) -> np.ndarray:
        """Log-probability [N] of each completion under its rater, in nats: the model's, or `as_sampled`, with min_p and temperature."""
        warp = (self.min_p, self.temperature) if as_sampled else (0.0, 1.0)
        who, at_once = self.batch(raters), 1 if self.deterministic else max(1, len(examples))
        parts = [slice(i, i + at_once) for i in range(0, len(examples), at_once)]
        found = [completion_log_probs(self.policy, examples[part], who[part], warp=warp)[0] for part in parts]
        return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.float32)

    def batch(self, raters: Sequence[Rater]) -> RaterBatch:
        """The raters as the policy reads them."""
        device = self.policy.lm.device
        if self.policy.reader is None:
            return RaterBatch.nobody(len(raters), device)
        pool = self._its_pool()
        return RaterBatch.of(raters, pool.dim + pool.idiosyncratic_dim, device)


def load_rater_policy(
    name: str, folder: Path, draws: str, max_length: int, max_new_tokens: int, min_p: float = 0.0, temperature: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> RaterPolicy:  # fmt: skip
    """A policy from a folder of ours, a plain language model's, or one of adapters that peft wrote, whose base is held in `dtype`; for
    texts of at most `max_length` tokens."""
    pool = None
    if (folder / "raterhf.json").is_file():
        policy, tokenizer, _ = checkpoint.load_policy(folder)
        if (folder / "raters.json").is_file():
            pool = checkpoint.load_pool(folder)
    elif has_adapters_in(check_whole(folder)):
        base = find_base(checkpoint.weights_of(folder), pick_device(), dtype)
        lm, tokenizer = base.model(), load.load_tokenizer(folder, "tokenizer_config.json")
        load_adapters(folder, lm, lm.get_decoder())
        policy = place(make_policy(lm, tokenizer, base=base).eval(), pick_device())
    else:
        lm, tokenizer = load.load_pretrained(check_whole(folder))
        policy = place(make_policy(lm, tokenizer).eval(), pick_device())
    return RaterPolicy(name, policy, Renderer(tokenizer, max_length), pool, draws, max_new_tokens, min_p, temperature)
