"""The stage `sft`: imitate each rater's own answers, or choices, under that rater's soft prefix.

The raters' vectors are those of the stage `reward`. Without one raters are inferred from their answers before anything is learned
(`training/inferred.py`); or, with `sft.learn_vectors` and of choices, vectors are learned here, by imitation, and the population is fitted
to them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.engine.scorer import completion_log_probs
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.models import checkpoint
from raterhf.models.backbone import embeddings
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy, make_policy
from raterhf.raters.answers import Inferred
from raterhf.raters.batch import RaterBatch
from raterhf.raters.files import ANSWERS, save_answer_model
from raterhf.raters.pool import RaterPool
from raterhf.raters.space import RaterSpace, unit_spread
from raterhf.recipe import RatersSettings, Recipe
from raterhf.training import ranks
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.fit import fit
from raterhf.training.held_back import HeldBack
from raterhf.training.inferred import begin_reader, know_by_answers
from raterhf.training.persistence import carry_idiosyncratic, idiosyncratic_of_answers
from raterhf.training.replay import TEXTS, Drawn, Row, make_replay, read_rows, said_rows, unrated_rows, write_rows
from raterhf.training.stages.imitation import imitate
from raterhf.training.stages.reward import fit_populations
from raterhf.training.start import (
    Source,
    all_prompts,
    all_texts,
    check_population,
    pool_without_vectors,
    rater_texts,
    spare_memory,
    start_model,
    watch,
)


def run_sft(recipe: Recipe, folder: Path, labels: Labels) -> None:
    start = start_model(recipe, all_texts(labels))
    tokenizer, raters, settings = start.tokenizer, recipe.raters, recipe.sft
    people = prepare.find_people(labels)
    soft = raters.encoding == "embedding"
    alone = soft and recipe.reward is None
    inferred = alone and settings.source == "demonstrations" and not settings.learn_vectors
    fresh = alone and not inferred
    if alone:
        pool = unknown_raters(raters, people, labels, settings.source)
    else:
        pool = checkpoint.load_pool(recipe.folder / "reward").learned() if soft else pool_without_vectors(raters, people)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    told = rater_texts(raters, people)
    examples, rater, spoken = prepare.demonstration_data(labels, window, pool.known, told, settings.source)
    trained_on, back = split(len(examples), recipe.data.held_out if settings.evaluate_every else 0.0, recipe.seed)
    kept: list[Row] = []
    if settings.replay and recipe.data.base:
        kept = unrated_rows(recipe.data, labels, window.renderer, told.values())
    elif settings.replay and recipe.model.path:
        with ranks.in_turn():
            if ranks.first():
                write_rows(folder, _texts_of_its_own(start, window.renderer, recipe.seed))
            kept = read_rows(folder)
    torch.manual_seed(recipe.seed)
    known = None
    if inferred:
        spoken = spoken.iloc[trained_on]
        prompts, texts = list(spoken.prompt.map(str)), list(spoken.completion)
        known = know_by_answers(prompts, texts, rater[trained_on], pool, raters, folder, recipe.seed)
    sizes = (pool.dim, raters.tokens, pool.idiosyncratic_dim) if soft else (0, 0, 0)
    policy = place(make_policy(start.lm, tokenizer, *sizes, start.base), pick_device())
    spare_memory(policy, recipe.model)
    noise = raters.noise if settings.noise is None else settings.noise
    if known is not None:
        begin_reader(policy.reader, embeddings(policy.lm).weight, [examples[i] for i in trained_on], pool.vectors[rater[trained_on]])
    space = None
    if fresh or soft and settings.learn_vectors:
        space = RaterSpace(len(pool.known), pool.dim, raters.noise if fresh else noise)
        if not fresh:
            space.vectors.data.copy_(torch.tensor(pool.vectors))
    read = Read(torch.tensor(pool.vectors) if soft else None, noise, raters.null_share, space is not None, known and known.raters)

    def batch(rows: np.ndarray, step: int) -> Demonstrations:
        rows = trained_on[rows]
        taken, learned = read(rater[rows], recipe.seed * 1_000_003 + step)
        return Demonstrations([examples[i] for i in rows], taken, torch.ones(len(rows)), {}, learned)

    def draw(count: int, rng: np.random.Generator) -> Drawn:
        picks = rng.integers(len(pool.known), size=count)
        taken, learned = read(picks, int(rng.integers(2**31)))
        return taken, [told.get(pool.known[i], "") for i in picks], learned

    def loss() -> float:
        who = RaterBatch.nobody(len(back))
        if soft:
            who = RaterBatch.people((space.vectors.detach().cpu() if space else torch.tensor(pool.vectors))[rater[back]])
        return -float(completion_log_probs(policy, [examples[i] for i in back], who)[0].mean())

    # Nobody answers while there is no population to draw from.
    who, draws = (pool, "new") if raters.encoding != "none" and not fresh else (None, "none")
    asked = RaterPolicy(folder.name, policy, window.renderer, who, draws, *recipe.limits)
    trained = bool(recipe.base or recipe.model.path)
    monitor = watch(recipe.monitor, asked, all_prompts(labels), recipe.data.world, folder, recipe.seed, settings.steps, trained=trained)
    held_back = HeldBack(loss, settings.evaluate_every, settings.patience, folder, settings.steps) if settings.evaluate_every else None
    replay = make_replay(kept, settings, policy, window.renderer, draw, recipe.seed, space)
    together = rater[trained_on] if known is not None else None
    training = imitate(policy, batch, len(trained_on), settings.batch_size, recipe.seed, space, replay, together)
    rates = {"policy.reader.": raters.reader_lr, "space.": settings.vector_lr}
    shared = {"precision": recipe.model.precision, "sharded": recipe.trainer.sharded}
    fit(*training, settings, folder, rates, recipe.logger, monitor, None, held_back, **shared)
    if not ranks.first():
        return
    if space is not None:
        _keep_vectors(space, pool, policy, fresh)
        fit_populations(raters, pool, recipe.seed)
    if policy.idiosyncratic is not None and recipe.reward:
        reward, _, _ = checkpoint.load_reward(recipe.folder / "reward")
        carry_idiosyncratic(policy, reward, prepare.comparison_data(labels, window, pool.known, {}))
    elif policy.idiosyncratic is not None:
        idiosyncratic_of_answers(policy, examples, raters.persistence)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})
    if known is not None:
        save_answer_model(folder, known.model, known.letters, known.prompts)
    else:
        (folder / ANSWERS).unlink(missing_ok=True)  # of an earlier training


@dataclass(frozen=True)
class Read:
    """Raters as imitation reads them: vectors [R, k] (None: nobody) under noise in units of their spread, or draws of who they could be
    where they were inferred from their answers (`known`); some of the raters dropped."""

    vectors: torch.Tensor | None
    noise: float
    null_share: float
    learned: bool
    known: Inferred | None = None

    def __call__(self, who: np.ndarray, seed: int) -> tuple[RaterBatch, torch.Tensor | None]:
        """Raters `who` [N]; and their rows of the rater space, where that learns."""
        if self.vectors is None:
            return RaterBatch.nobody(len(who)), None
        generator = torch.Generator().manual_seed(seed)
        if self.known is not None:  # a rater of the batch is one person in it
            different, place = np.unique(who, return_inverse=True)
            taste = torch.from_numpy(self.known.draw(different, np.random.default_rng(seed))).float()[place]
            null = (torch.rand(len(different), generator=generator) < self.null_share)[place]
            return RaterBatch(taste, null), None
        taste = self.vectors[who]
        taste = taste + self.noise * self.vectors.std(0).mean() * torch.randn(taste.shape, generator=generator)
        null = torch.rand(len(who), generator=generator) < self.null_share
        return RaterBatch(taste, null), torch.as_tensor(who) if self.learned else None


def _texts_of_its_own(start: Source, renderer: Renderer, seed: int) -> list[Row]:
    """What a pretrained model says of itself, before it learns anything."""
    log.info(f"  sft: the model says {TEXTS} texts of its own, to be kept")
    itself = place(make_policy(start.lm, start.tokenizer, base=start.base).eval(), pick_device())
    return said_rows(itself, renderer, seed)


def _keep_vectors(space: RaterSpace, pool: RaterPool, policy: Policy, fresh: bool) -> None:
    """Put the learned vectors into the pool, those learned from nothing in units of their spread."""
    if fresh:
        unit_spread(space, policy.reader)
    pool.vectors = space.vectors.detach().cpu().numpy().copy()


def split(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of n examples to train on, and about this share of them to evaluate on. Raises UserError where a part would have none."""
    kept = np.random.default_rng(np.random.SeedSequence([seed, 0x73667468])).random(n) < share
    if share and kept.all() | ~kept.any():
        raise UserError(
            f"sft.evaluate_every: data.held_out {share} keeps {kept.sum()} of {n} examples to evaluate on, and both parts need one; change "
            "it, or drop the key"
        )
    return np.flatnonzero(~kept), np.flatnonzero(kept)


def unknown_raters(raters: RatersSettings, people: prepare.Roster, labels: Labels, source: str) -> RaterPool:
    """The raters who said something to imitate, before anything is known of them. Raises UserError where they are too few."""
    said = set(prepare.imitated(labels, source).rater_id)
    personas = {name: [rater for rater in ids if rater in said] for name, ids in people.personas.items()}
    groups = {rater: group for rater, group in people.groups.items() if rater in said}
    speaking = prepare.Roster([rater for rater in people.known if rater in said], people.validate, personas, groups)
    if silent := len(people.known) - len(speaking.known):
        log.warning(f"  sft: {silent} of {len(people.known)} raters have no {source} to learn them by, and are left out")
    check_population(speaking)
    pool = pool_without_vectors(raters, speaking)
    pool.vectors = np.zeros((len(speaking.known), raters.dim), np.float32)
    if pool.idiosyncratic_dim and raters.persistence is None:
        pool.idiosyncratic_dim = 0
        log.warning(
            "  sft: without comparisons nothing tells what of a rater's taste persists, so idiosyncratic taste is taken as drawn again; "
            "set raters.persistence to change it"
        )
    return pool
