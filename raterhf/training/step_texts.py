"""The texts of a training step, as the engine reads them: of a recipe's data, or of given lengths. Loads a tokenizer and no weights.

Of what is known only while a policy trains (how many candidates say the same as an answer) the most is taken.

Notation: p, c tokens of a prompt and of a completion, m of a rater.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from raterhf.data import prepare
from raterhf.data.batches import StepRows
from raterhf.data.comparisons import ComparisonData
from raterhf.data.corpus import read_corpus
from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.plan import plan
from raterhf.engine.scorer import TOKEN_BUDGET
from raterhf.recipe import PolicySettings, Recipe
from raterhf.training.start import rater_texts

STEPS, ROWS = 3, 2000  # of the data that sharing and lengths are measured on


@dataclass(frozen=True)
class Texts:
    """Tokens that go through the trunk, tokens that are said (whose logits are taken), and tokens of one text on average."""

    tokens: float
    said: float
    length: float

    def __add__(self, other: "Texts") -> "Texts":
        tokens = self.tokens + other.tokens
        return Texts(tokens, self.said + other.said, (self.tokens * self.length + other.tokens * other.length) / max(tokens, 1e-9))


@dataclass(frozen=True)
class Step:
    """What processes do together in a step: learn from texts, read others without gradients, and sample so many, each of at most `longest`
    tokens after a prompt."""

    trained: Texts
    read: Texts = Texts(0, 0, 0)
    sampled: float = 0
    longest: int = 0
    prompt: float = 0


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt and of a completion, EOS included."""

    prompt: float
    completion: float

    def texts(self, count: float, soft: int, completions: float = 1) -> Texts:
        """So many prompts, each behind `soft` tokens and with so many completions, all of them said."""
        begun = soft + self.prompt
        return Texts(
            count * (begun + completions * self.completion), count * completions * self.completion, begun + self.completion
        )  # fmt: skip


def steps_of(recipe: Recipe, renderer: Renderer, labels: Labels | None) -> dict[str, Step]:
    """A step of each stage on the recipe's data."""
    found = {}
    if recipe.base:
        rows = _some(read_corpus(recipe.data.base, recipe.data.columns), recipe.seed)
        found["base"] = base_step(recipe, _lengths([renderer.example(p, y) for p, y in zip(rows.prompt, rows.completion)]))
    if labels is None:
        return found
    said = None
    if recipe.sft:
        rows = _some(prepare.imitated(labels, recipe.sft.source), recipe.seed)
        said = _lengths([renderer.example(p, y) for p, y in zip(rows.prompt, rows.completion)])
        found["sft"] = sft_step(recipe, said)
    if recipe.reward:
        found["reward"] = _reward_step(recipe, renderer, labels)
    if recipe.policy and said:
        found["policy"] = policy_step(recipe, said)
    return {stage: found[stage] for stage in recipe.stages}


def steps_for(recipe: Recipe, lengths: Lengths) -> dict[str, Step]:
    """A step of each stage for texts of these lengths, each comparison of a prompt of its own."""
    makers = {"base": base_step, "reward": apart, "sft": sft_step, "policy": policy_step}
    return {stage: makers[stage](recipe, lengths) for stage in recipe.stages}


def lengths_of(labels: Labels, renderer: Renderer, seed: int) -> Lengths:
    """Of what raters judged, or said where they judged nothing."""
    frame, column = (labels.comparisons, "a") if len(labels.comparisons) else (labels.demonstrations, "completion")
    rows = _some(frame, seed)
    return _lengths([renderer.example(p, y) for p, y in zip(rows.prompt, rows[column])])


def _some(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.sample(min(ROWS, len(rows)), random_state=seed)


def _lengths(examples: Sequence[Example]) -> Lengths:
    prompts = np.array([example.prompt_length for example in examples])
    return Lengths(float(prompts.mean()), float(np.mean([len(example) for example in examples]) - prompts.mean()))


def soft_of(recipe: Recipe, stage: str) -> int:
    """Soft tokens that stand before every text of a stage."""
    if stage == "base" or recipe.raters.encoding != "embedding":
        return 0
    if stage == "reward":
        return 0 if recipe.reward.conditioning == "head" else recipe.raters.tokens
    return recipe.raters.tokens


def base_step(recipe: Recipe, lengths: Lengths) -> Step:
    return Step(lengths.texts(recipe.base.batch_size, 0))


def sft_step(recipe: Recipe, lengths: Lengths) -> Step:
    """Texts that nobody rated, which are imitated beside, are taken to be as long."""
    return Step(lengths.texts(recipe.sft.batch_size * (1 + recipe.sft.replay), soft_of(recipe, "sft")))


def apart(recipe: Recipe, lengths: Lengths) -> Step:
    """A step of the reward stage in which the two sides of a comparison share their prompt and nothing else is shared."""
    settings, soft = recipe.reward, soft_of(recipe, "reward")
    read = lengths.texts(settings.batch_size, soft, 2) + replace(lengths.texts(settings.off_topic, soft, 1), said=0)
    if recipe.data.demonstrations and settings.demonstrations and recipe.raters.encoding == "embedding":
        read += lengths.texts(settings.demonstrations, soft)
    return Step(replace(read, said=0))


def _reward_step(recipe: Recipe, renderer: Renderer, labels: Labels) -> Step:
    """The mean of the first steps, planned as they will be read."""
    settings, people = recipe.reward, prepare.find_people(labels)
    window = prepare.Window(renderer, recipe.data.max_dropped)
    known = prepare.comparison_data(labels, window, people.known, rater_texts(recipe.raters, people))
    train = known.rows(prepare.held_out_rows(known, recipe.data.held_out, recipe.seed, None)[0])
    soft, together = soft_of(recipe, "reward"), Texts(0, 0, 0)
    compared = StepRows(train.group, settings.batch_size, settings.block, recipe.seed)
    for step in range(STEPS):
        pairs = train.rows(compared(step))
        unrelated = pairs.off_topic(settings.off_topic, recipe.model.max_length, np.random.default_rng(step))
        together += _planned(pairs.beside(unrelated), recipe, soft)
    read = Texts(together.tokens / STEPS, 0, together.length)
    answered = labels.demonstrations[labels.demonstrations.rater_id.isin(people.known)]
    if settings.demonstrations and len(answered) and recipe.raters.encoding == "embedding":
        rows = _some(answered, recipe.seed)
        own = _lengths([renderer.example(p, y) for p, y in zip(rows.prompt, rows.completion)])
        # Answers to one thing come together and share its prompt, and equal ones are read once; both only as far as data have them.
        different = rows.drop_duplicates(["prompt", "completion"]).shape[0] / len(rows)
        read += replace(own.texts(settings.demonstrations * different, soft), said=0)
    return Step(read)


def _planned(data: ComparisonData, recipe: Recipe, soft: int) -> Texts:
    examples, rater = data.judged, np.concatenate([data.rater, data.rater])
    planned = plan(examples, rater if soft else None, recipe.reward.conditioning, soft, min(TOKEN_BUDGET, recipe.model.micro_batch_tokens))
    return Texts(planned.tokens, 0, float(np.mean([len(example) + soft for example in examples])))


def policy_step(recipe: Recipe, lengths: Lengths) -> Step:
    """A step of the policy stage: of a round of sampling and scoring its share."""
    settings, soft = recipe.policy, soft_of(recipe, "policy")
    asked = settings.prompts * settings.raters
    trunk_reads_rater = bool(soft_of(recipe, "reward"))

    def scored(texts: float) -> Texts:
        """Texts of each prompt, scored for every rater."""
        count = asked if trunk_reads_rater else settings.prompts
        return replace(lengths.texts(count, soft_of(recipe, "reward"), texts), said=0)

    if settings.algorithm == "rloo":
        n = settings.samples
        read = scored(n if trunk_reads_rater else n * settings.raters) + lengths.texts(asked, soft, n)
        return Step(lengths.texts(asked, soft, n), read, asked * n, settings.max_new_tokens, soft + lengths.prompt)
    if settings.algorithm == "dpo":  # two completions of each pair
        pairs = lengths.texts(settings.batch_size / 2, soft, 2)
        return Step(pairs + lengths.texts(settings.replay * settings.batch_size, soft), pairs)
    choices = settings.samples if settings.algorithm == "rating_conditioned" else int(settings.options.get("choices", 4))
    pool, drawn, read = _round(recipe, settings, choices, lengths, soft)
    rounds = max(1, asked * choices // settings.batch_size)
    read = scored(pool) + read if pool else read
    trained = lengths.texts(asked * choices / rounds + settings.replay * settings.batch_size, soft)
    read = Texts(read.tokens / rounds, read.said / rounds, read.length)
    return Step(trained, read, drawn / rounds, settings.max_new_tokens, soft + lengths.prompt)


def _round(recipe: Recipe, settings: PolicySettings, choices: int, lengths: Lengths, soft: int) -> tuple[float, float, Texts]:
    """Of a round: different texts of each prompt at most, texts sampled, and what the reference reads of them."""
    asked = settings.prompts * settings.raters
    if settings.algorithm == "best_of_n":
        each = settings.raters * choices * settings.samples
        return each, settings.prompts * each, Texts(0, 0, 0)
    if settings.algorithm in ("feedme", "rating_conditioned"):  # each rater's samples, once
        each = settings.raters * settings.samples
        return each, settings.prompts * each, Texts(0, 0, 0)
    if settings.algorithm == "favourites":  # chooses among the data's completions, which the reward model reads once
        return 0, 0, Texts(0, 0, 0)
    if settings.algorithm == "reword" and recipe.sft.source == "demonstrations":
        pool = settings.raters * choices
        return pool, settings.prompts * pool, lengths.texts(asked, soft, pool)
    return settings.samples, settings.prompts * settings.samples, lengths.texts(asked, soft, settings.samples)
