"""Texts that nobody rated, imitated beside what a stage trains on, so that what the model says there stays (Ouyang et al. 2022 mix
pretraining texts into RL so).

They are rows of the base corpus of which raters saw neither prompt nor completion; without a corpus, what a pretrained model says of itself
before it is trained (Xu et al. 2024 let a chat model write the prompts too). They are read under the raters, or a rater's prefix would
change what it was never rated for.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raterhf.data.corpus import read_corpus
from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler, completion_text
from raterhf.io import write_text
from raterhf.log import log
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.recipe import DataSettings, PolicySettings, SftSettings
from raterhf.training.algorithms.base import Algorithm, Log
from raterhf.training.algorithms.imitation import Demonstrations, Imitation

SAID = "replay.jsonl"  # in the folder of stage sft: what the model said before it was trained
TEXTS, ASKED, ANSWERED = 128, 32, 64  # said, and the tokens of a prompt and of an answer at most
MARK = "\u2581"  # a message whose place in the template is looked for


@dataclass(frozen=True)
class Row:
    """A text to keep: its completion as text, or as the token ids that a model said, which may have been cut before their end."""

    prompt: str | list[dict]
    completion: str | tuple[int, ...]

    def example(self, renderer: Renderer, told: str) -> Example:
        """Rendered behind a rater's text. What a model said is cut at the window."""
        if isinstance(self.completion, str):
            return renderer.example(self.prompt, self.completion, told)
        head = renderer.prompt(self.prompt, told)
        return Example((*head, *self.completion)[: renderer.max_length], len(head))


# Raters to read so many texts under: as the policy reads them, their texts, and their rows of the rater space where that learns.
Drawn = tuple[RaterBatch, list[str], Tensor | None]


def unrated_rows(data: DataSettings, labels: Labels, renderer: Renderer, told: Iterable[str]) -> list[Row]:
    """Rows of the base corpus of which raters saw neither the prompt nor the completion, those that fit behind the raters' texts `told`."""
    assert data.base is not None  # whoever has no corpus does not ask
    corpus, longest = read_corpus(data.base, data.columns), max(told, key=len, default="")
    frames = (labels.comparisons, labels.demonstrations)
    prompts = {str(prompt) for frame in frames for prompt in frame.prompt}
    answers = {text for frame in frames for column in ("a", "b", "completion") if column in frame for text in frame[column]}
    rows = [Row(p, y) for p, y in zip(corpus.prompt, corpus.completion) if str(p) not in prompts and y not in answers]
    fitting = [row for row in rows if renderer.length(row.prompt, str(row.completion), longest) <= renderer.max_length]
    if long := len(rows) - len(fitting):
        log.warning(f"  {long} of {len(rows)} unrated texts of {data.base} are longer than model.max_length: not replayed")
    if not rows:
        log.warning(f"  every text of {data.base} was rated, prompt or completion: nothing is replayed, and what is not in it may be lost")
    return fitting


def said_rows(policy: Policy, renderer: Renderer, seed: int) -> list[Row]:
    """What a policy without raters says, to prompts of its own where it is a chat model, and else to nothing."""
    tokenizer, window = renderer.tokenizer, renderer.max_length

    def say(heads: Sequence[tuple[int, ...]], longest: int, seed: int) -> list[Example]:
        room = window - max(map(len, heads)) - 1
        sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, max(1, min(longest, room)))
        return sampler.generate(heads, RaterBatch.nobody(len(heads), policy.lm.device), seed)

    prompts = [""] * TEXTS
    if renderer.chats:
        opening = renderer.prompt_text(MARK).partition(MARK)[0]
        asked = say([tuple(tokenizer(opening, add_special_tokens=False)["input_ids"])] * TEXTS, min(ASKED, window // 4), seed)
        texts = [completion_text(tokenizer, one) for one in asked]
        # Bytes that are no character come back as more tokens than were said.
        prompts = [text for text in texts if text.strip() and renderer.length(text, "") <= 3 * window // 4]
    answered = say([renderer.prompt(prompt) for prompt in prompts], ANSWERED, seed + 1) if prompts else []
    return [Row(prompt, one.ids[one.prompt_length :]) for prompt, one in zip(prompts, answered)]


def write_rows(folder: Path, rows: list[Row]) -> None:
    write_text(folder / SAID, "".join(json.dumps(vars(row), ensure_ascii=False) + "\n" for row in rows))


def read_rows(folder: Path) -> list[Row]:
    """What `write_rows` left; nothing where it was not needed."""
    path = folder / SAID
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    return [Row(row["prompt"], tuple(row["completion"])) for row in found]


@dataclass(frozen=True)
class Replay:
    """Imitation of rows that nobody rated, drawn anew at each step, and its share of the loss."""

    imitation: Imitation
    share: float


def make_replay(
    rows: list[Row], settings: SftSettings | PolicySettings, policy: Policy, renderer: Renderer,
    draw: Callable[[int, np.random.Generator], Drawn], seed: int, space: RaterSpace | None = None,
) -> Replay | None:  # fmt: skip
    """What a stage replays of `rows` beside its batches, under raters that `draw` gives; None where it goes without."""
    if not rows or not settings.replay:
        return None

    def texts(step: int) -> Demonstrations:
        rng = np.random.default_rng(np.random.SeedSequence([seed, step, 0x7265706C]))
        chosen = [rows[i] for i in rng.integers(len(rows), size=max(1, round(settings.replay * settings.batch_size)))]
        raters, told, learned = draw(len(chosen), rng)
        examples = [row.example(renderer, who) for row, who in zip(chosen, told)]
        return Demonstrations(examples, raters, torch.ones(len(examples)), {}, learned)

    return Replay(Imitation(policy, texts, space), settings.replay)


class WithReplay:
    """An algorithm whose loss is shared with a replay."""

    def __init__(self, algorithm: Algorithm, replay: Replay):
        self.algorithm, self.replay, self.state = algorithm, replay, algorithm.state

    def batch(self, step: int) -> tuple[Any, Demonstrations]:
        return self.algorithm.batch(step), self.replay.imitation.batch(step)

    def loss(self, batch: tuple[Any, Demonstrations], step: int) -> tuple[Tensor, Log]:
        loss, log = self.algorithm.loss(batch[0], step)
        kept, _ = self.replay.imitation.loss(batch[1], step)
        return (1 - self.replay.share) * loss + self.replay.share * kept, log | {"replay": kept}


def beside(replay: Replay | None, algorithm: Algorithm) -> Algorithm:
    return algorithm if replay is None else WithReplay(algorithm, replay)
