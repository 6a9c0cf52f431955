"""A rater's idiosyncratic taste: taste that hangs together with nothing else. One standard normal vector e [o] a rater, heard in two
places.

In scoring, as e . psi(y): psi is a unit feature of the completion, a projection of its words, so that a rater likes one answer alike
however it is put and different answers nearly independently.

In sampling, as the noise of Gumbel-max sampling (Maddison, Tarlow and Minka 2014): argmax_v log pi(v) + g_v draws v from pi exactly when
g is standard Gumbel, whoever supplies it. With probability sqrt(rho) a rater answers by noise of their own, the same whenever v is a
candidate, g_v = gumbel(e . d_v) with d_v the unit direction of token v; otherwise by fresh noise. So the distribution over fictitious
raters is the policy's own, but for the chance correlations of directions (of order 1 / sqrt(o)), while one rater asked twice draws both
answers by the same noise with probability rho(x): that of giving the same favourite again (near 1) or of rolling the die again (near 0).
The reward stage estimates it from repeated comparisons.

What hangs together with nothing else belongs to one question: who likes 7 among the numbers to ten need not like 7 among those to a
hundred. So e is turned by the question, in pairs of its dimensions, through angles that are random features of g(x), a unit vector read
from the prompt (Rahimi and Recht 2007). The reward stage fits g to the mean psi of what was answered to each prompt: prompts that are
answered in the same words are one question, however they are put. Turned by g and g', e has correlation exp(-|g - g'|^2 / (2 width^2)).

Notation: N rows, V tokens of the vocabulary, F features of a prompt, o dimensions of idiosyncratic taste.
"""

import re
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data.example import Example
from raterhf.errors import UserError
from raterhf.models.draw import ONCE, draw, uniforms

WIDTH = 0.5  # of the kernel between questions: more than paraphrases of one differ by, less than questions that share some answers do
WORD_STARTS = ("Ġ", "▁", "Ċ", "ĉ", " ", "\n", "\t")  # how byte-level BPE and SentencePiece write a leading blank


class IdiosyncraticTaste(nn.Module):
    """The fixed directions by which idiosyncratic taste is heard; and from a prompt's features, how much of it persists and which question
    it is."""

    BUCKETS = 8192

    weight: Tensor
    directions: Tensor
    frequencies: Tensor
    persistence: Tensor
    question: Tensor
    fold: Tensor
    starts_word: Tensor
    blank: Tensor

    def __init__(self, idiosyncratic_dim: int, tokenizer: PreTrainedTokenizerBase, vocab_size: int, features: int):
        super().__init__()
        self.tokenizer = tokenizer
        self.register_buffer("weight", torch.ones(self.BUCKETS))
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("directions", torch.randn(self.BUCKETS, idiosyncratic_dim, generator=generator))
        self.register_buffer("frequencies", torch.randn(idiosyncratic_dim, idiosyncratic_dim // 2, generator=generator) / WIDTH)
        self.register_buffer("persistence", torch.zeros(features + 1))
        self.register_buffer("question", torch.zeros(features + 1, idiosyncratic_dim))
        # Tokens that differ in case or leading space alone are one word to a rater. What a padded vocabulary adds is never sampled.
        if len(tokenizer) > vocab_size:
            raise UserError(
                f"the tokenizer has {len(tokenizer)} tokens, the model's vocabulary {vocab_size}: they do not belong together; give the "
                "model its own tokenizer, or set raters.idiosyncratic_dim=0"
            )
        pieces = [piece or "" for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]  # numbers that no token has
        texts = [_text(tokenizer, [i]).strip().lower() for i in range(len(tokenizer))]
        spare = vocab_size - len(texts)
        fold = [self.bucket(text or piece) for text, piece in zip(texts, pieces)] + [0] * spare
        self.register_buffer("fold", torch.tensor(fold), persistent=False)
        starts = [piece.startswith(WORD_STARTS) for piece in pieces] + [True] * spare
        self.register_buffer("starts_word", torch.tensor(starts), persistent=False)
        self.register_buffer("blank", torch.tensor([not text for text in texts] + [False] * spare), persistent=False)

    @property
    def dim(self) -> int:
        return self.directions.shape[1]

    def bucket(self, word: str) -> int:
        return zlib.crc32(word.encode()) % self.BUCKETS

    def share(self, prompts: Tensor) -> Tensor:
        """rho in [0, 1] from prompt features [N, F] -> [N]."""
        return torch.sigmoid(prompts @ self.persistence[:-1] + self.persistence[-1])

    def questions(self, prompts: Tensor) -> Tensor:
        """g [N, o] from prompt features [N, F]; zero where nothing was fitted."""
        return nn.functional.normalize(prompts @ self.question[:-1] + self.question[-1], dim=-1)

    def turned(self, own: Tensor, prompts: Tensor, back: bool = False) -> Tensor:
        """Vectors [N, o] turned by the questions of prompt features [N, F], or `back`. Lengths and angles at one prompt stay."""
        angle = (-1 if back else 1) * self.questions(prompts) @ self.frequencies
        first, second, rest = own.split([angle.shape[1], angle.shape[1], own.shape[1] % 2], -1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos * first - sin * second, sin * first + cos * second, rest], -1)

    def words(self, examples: Sequence[Example]) -> list[list[int]]:
        """Buckets of the words of each completion, case folded; of the whole text where it has no word."""
        completions = [e.ids[e.prompt_length :] for e in examples]
        different = dict.fromkeys(completions)  # many raters judged the same ones
        texts = self.tokenizer.batch_decode([list(ids) for ids in different], skip_special_tokens=True)
        bucket = cache(self.bucket)
        rows = [[bucket(word) for word in re.findall(r"\w+", text) or [text.strip()]] for text in map(str.lower, texts)]
        place = dict(zip(different, rows))
        return [place[ids] for ids in completions]

    def weigh(self, examples: Sequence[Example]) -> None:
        """Weigh words by how rare they are in the completions of `examples`."""
        squares = np.zeros(self.BUCKETS)
        for row in self.words(examples):
            bucket, count = np.unique(row, return_counts=True)
            squares[bucket] += count**2
        # Not the variance: what stands in every answer varies as little as what stands in one. Never seen is as rare as seen once.
        self.weight.copy_(torch.tensor(1 / np.maximum(squares, 1)))

    def forward(self, examples: Sequence[Example]) -> Tensor:
        """psi(y) [N, o]: unit features of completions, each word divided by its mean square over the training completions."""
        rows = self.words(examples)
        flat = torch.tensor([bucket for row in rows for bucket in row], device=self.weight.device)
        offsets = torch.tensor(np.cumsum([0] + [len(row) for row in rows[:-1]]), device=self.weight.device)
        summed = nn.functional.embedding_bag(flat, self.directions, offsets, mode="sum", per_sample_weights=self.weight[flat])
        return nn.functional.normalize(summed, dim=-1)


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int], skip_special_tokens: bool = False) -> str:
    return tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)  # type: ignore[return-value]  # a list only for lists


def make_idiosyncratic(idiosyncratic_dim: int, lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> IdiosyncraticTaste | None:
    """The raters' idiosyncratic taste of a model of this vocabulary; None where it has none."""
    return IdiosyncraticTaste(idiosyncratic_dim, tokenizer, lm.config.vocab_size, 2 * lm.config.hidden_size) if idiosyncratic_dim else None


class IdiosyncraticSampling:
    """Draws tokens from their distributions as raters of idiosyncratic taste [N, o], turned already, do, for samples with these keys [N].

    `share` [N] is rho, the probability that two such draws of a rater are by the same noise. A token that continues a word hears its own
    noise mixed with the token before it, or the second digit of a number would depend on the first; a word used once is not liked twice,
    or it would be repeated.
    """

    def __init__(self, noise: IdiosyncraticTaste, own: Tensor, share: Tensor, key: Tensor):
        self.noise, self.own, self.key = noise, own, key
        self.by_own = uniforms(key, ONCE, 1) < share.sqrt()[:, None]
        self.directions = nn.functional.normalize(noise.directions[noise.fold], dim=-1)
        self.at_word_start = own @ self.directions.T

    def __call__(self, ids: Tensor, scores: Tensor, rows: Tensor) -> Tensor:
        """Tokens so far [n, t] and log-distributions [n, V] of these rows [n] of the samples -> the next tokens [n]."""
        noise = self.noise
        heard, by_own = self.at_word_start[rows], self.by_own[rows].expand_as(scores)
        if ids.shape[1]:
            used = torch.zeros(len(ids), noise.BUCKETS, dtype=torch.bool, device=ids.device).scatter(1, noise.fold[ids], True)
            inside = ~noise.starts_word[None] & ~noise.blank[ids[:, -1:]]
            mixed = self.own[rows] * self.directions[ids[:, -1]].sign()
            heard = torch.where(inside, mixed @ self.directions.T, heard)
            by_own = by_own & (inside | ~used[:, noise.fold])
        # The largest of all is the larger of the largest by own noise and the largest by fresh noise.
        fresh, lead = draw(scores.masked_fill(by_own, -torch.inf), self.key[rows], ids.shape[1] + 1)
        noisy = scores.masked_fill(~by_own, -torch.inf)
        kept = noisy > -torch.inf  # `min_p` leaves a few of a vocabulary; the rest stays out whatever its noise
        noisy[kept] += gumbel_of_normal(heard[kept])
        largest, token = noisy.max(1)
        return torch.where(largest > lead, token, fresh)


def gumbel_of_normal(normal: Tensor) -> Tensor:
    """Standard normal values to standard Gumbel values of the same rank: -log(-log Phi(t))."""
    cdf = torch.special.ndtr(normal.double()).clamp(1e-12, 1 - 1e-12)
    return -torch.log(-torch.log(cdf)).to(normal.dtype)
