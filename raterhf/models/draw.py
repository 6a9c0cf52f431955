"""Random numbers of samples. Each is a function of whose sample it is and of its step, so that no sample depends on its company.

A sample's key is a hash of the seed, the prompt, its rater and which of the rater's samples of that prompt it is. Its numbers are the
outputs of a counter-based generator (splitmix64, Steele, Lea and Flood 2014) in integer operations, so that they are the same bits on
every device. Equal answers in different company need equal logits too, which batches round differently: a token whose lead over the next
is that small may differ.

Notation: N samples, V tokens of the vocabulary.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil, isqrt

import numpy as np
import torch
from torch import Tensor, nn

# Tokens so far [n, t] and scores [n, V] (logits, log-probabilities) of these rows [n] of the samples -> the next tokens [n].
Choose = Callable[[Tensor, Tensor, Tensor], Tensor]

ONCE = 0  # the place of what is drawn once for a sample; token t is drawn at place t + 1
GAMMA = 0x9E3779B97F4A7C15
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def key_of(*parts: object) -> int:
    """A hash in 64 bits, signed, of numbers, strings and bytes."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little", signed=True)


def sample_keys(seed: int, prompts: Sequence[tuple[int, ...]], who: Sequence[str | bytes]) -> Tensor:
    """Keys [N] of samples in int64: each of a prompt (token ids) by whoever it is; a pair that comes again is that rater's next sample."""
    digest = {prompt: hashlib.blake2b(np.array(prompt, "<i8").tobytes(), digest_size=16).digest() for prompt in set(prompts)}
    seen: Counter = Counter()
    keys = []
    for prompt, rater in zip(prompts, who, strict=True):
        pair = (digest[prompt], rater)
        keys.append(key_of(seed, *pair, seen[pair]))
        seen[pair] += 1
    return torch.tensor(keys, dtype=torch.int64)


def uniforms(key: Tensor, place: int, count: int) -> Tensor:
    """Numbers [N, count] in float64, uniform within (0, 1), of samples with these keys [N] at a place."""
    state = _mixed(key + _signed(GAMMA * (place + 1)))
    steps = torch.arange(1, count + 1, device=key.device) * _signed(GAMMA)
    return (_right(_mixed(state[:, None] + steps), 12).double() + 0.5) * 2.0**-52


def normals(key: Tensor, place: int, count: int) -> Tensor:
    """Standard normal numbers [N, count] in float32."""
    return torch.special.ndtri(uniforms(key, place, count)).float()


def draw(scores: Tensor, key: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Tokens [N] drawn from the softmax of scores [N, V]; and the largest of scores plus Gumbel noise [N], whose place they are.

    The largest of a block of tokens has itself Gumbel noise about the block's logsumexp (max-stability), so a block is drawn, then a token
    in it, by some 2 sqrt(V) random numbers a sample rather than V. A draw changes by rounding only where two lead within rounding.
    """
    count = scores.shape[1]
    size = isqrt(count - 1) + 1
    blocks = ceil(count / size)
    split = nn.functional.pad(scores, (0, blocks * size - count), value=-torch.inf).view(len(scores), blocks, size)
    noise = -torch.log(-torch.log(uniforms(key, place, blocks + size)))
    largest, block = (split.logsumexp(-1) + noise[:, :blocks]).max(1)
    inside = split[torch.arange(len(scores), device=scores.device), block] + noise[:, blocks:]
    return block * size + inside.argmax(1), largest


def drawn_afresh(key: Tensor) -> Choose:
    """Tokens drawn from the softmax of their scores, for samples with these keys [N]."""
    return lambda tokens, scores, rows: draw(scores, key[rows], tokens.shape[1] + 1)[0]


def _mixed(x: Tensor) -> Tensor:
    """splitmix64's finaliser of int64, which wraps."""
    for shift, factor in MIX:
        x = (x ^ _right(x, shift)) * _signed(factor)
    return x ^ _right(x, 31)


def _right(x: Tensor, shift: int) -> Tensor:
    """Shifted right with zeros coming in; torch brings in the sign."""
    return (x >> shift) & (2 ** (64 - shift) - 1)


def _signed(x: int) -> int:
    """The int64 of the same lowest 64 bits."""
    return (x + 2**63) % 2**64 - 2**63
