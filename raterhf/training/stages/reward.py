"""The stage `reward`: train the reward model and the rater vectors, calibrate, find what persists, fit the populations.

What is fitted to data here, apart from the weights, is fitted on held-out comparisons of known raters or on validation raters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data import prepare
from raterhf.data.batches import StepRows
from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.models import checkpoint
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.place import pick_device, place
from raterhf.models.reward import RewardModel
from raterhf.progress import Progress
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import MIN_MEMBERS, fit_population
from raterhf.raters.space import RaterSpace, unit_spread
from raterhf.recipe import RatersSettings, Recipe, RewardSettings
from raterhf.training import ranks
from raterhf.training.fit import fit
from raterhf.training.held_back import HeldBack
from raterhf.training.needs import check_labels
from raterhf.training.persistence import fit_persistence, linear_weights, mean_answers, persistence_constant, repeated_pairs
from raterhf.training.reward_module import RewardBatch, RewardModule, calibrate, evaluate, marginal_likelihood
from raterhf.training.start import all_texts, pool_without_vectors, rater_texts, spare_memory, start_model

BLOCK = 32  # own answers to one prompt that are alternatives to each other
EMPTY = (np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class RewardTraining:
    """What the stage trains, and on what: `batch(step)`, learning `rates`, comparisons held back and those of validation raters."""

    module: RewardModule
    batch: Callable[[int], RewardBatch]
    rates: dict[str, float]
    train: ComparisonData
    held: ComparisonData
    validate: ComparisonData
    people: prepare.Roster
    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def run_reward(recipe: Recipe, folder: Path, labels: Labels) -> None:
    made = make_training(recipe, labels, recipe.folder)
    held_back = watch_held_back(made, recipe.reward, folder)
    shared = {"precision": recipe.judging.model.precision, "sharded": recipe.trainer.sharded}
    fit(made.module, made.batch, recipe.reward, folder, made.rates, recipe.logger, None, None, held_back, **shared)
    if not ranks.first():
        return
    made.lm.tie_weights()  # to embeddings that were shared out and are others now; its head is no part of what was trained
    if made.module.space is not None:
        unit_spread(made.module.space, made.module.model.reader)
    with Progress(f"calibration of {folder.parent.name}", 2, "part") as progress:
        report = finish_reward(recipe.raters.persistence, made.module, made.train, made.held)
        progress.advance(1, "the population")
        pool = make_pool(recipe.raters, made.people, made.module, made.validate, report, recipe.seed)
        progress.advance()
    checkpoint.save_reward(folder, made.module.model, made.lm, made.tokenizer, pool, recipe.model.max_length, {"report": report})


def watch_held_back(made: RewardTraining, settings: RewardSettings, folder: Path) -> HeldBack | None:
    """Evaluation on the comparisons of known raters that are kept from training, where the recipe wants it."""
    if settings.evaluate_every is None:
        return None
    if not len(made.held):
        raise UserError("reward.evaluate_every: no comparison is held back to evaluate on; raise data.held_out, or drop the key")

    def loss() -> float:
        return float(made.module.judged(made.held, evaluate(made.module, made.held, made.module.known(made.held.rater))))

    return HeldBack(loss, settings.evaluate_every, settings.patience, folder, settings.steps)


def make_training(recipe: Recipe, labels: Labels, folder: Path | None = None) -> RewardTraining:
    """Data, model and batches of the recipe's stage. The split of what is held out is kept in `folder`, where given."""
    check_labels(labels, recipe.raters.encoding, judged=True)
    people = prepare.find_people(labels)
    recipe = recipe.judging
    start = start_model(recipe, all_texts(labels))
    lm, tokenizer, raters, settings = start.lm, start.tokenizer, recipe.raters, recipe.reward
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    texts = rater_texts(raters, people)
    known = prepare.comparison_data(labels, window, people.known, texts)
    window.require("comparisons", len(known))
    validate = prepare.comparison_data(labels, window, people.validate, texts)
    with ranks.in_turn():
        train_rows, held_rows = prepare.held_out_rows(known, recipe.data.held_out, recipe.seed, folder)
    soft = raters.encoding == "embedding"
    torch.manual_seed(recipe.seed)
    idiosyncratic = make_idiosyncratic(raters.idiosyncratic_dim if soft else 0, lm, tokenizer)
    model = RewardModel(lm.get_decoder(), raters.dim if soft else 0, raters.tokens, settings.conditioning, idiosyncratic, start.base)
    spare_memory(model, recipe.model)
    space = RaterSpace(len(people.known), raters.dim, raters.noise) if soft else None
    weights = (settings.off_topic_weight, settings.demonstration_weight)
    module = place(RewardModule(model, space, raters.null_share, settings.label_noise, recipe.seed, weights, known.grades), pick_device())
    train = known.rows(train_rows)
    answers = own_answers(labels, window, people.known) if soft and settings.demonstrations else OwnAnswers([], *EMPTY)

    compared = StepRows(train.group, settings.batch_size, settings.block, recipe.seed)
    answered = StepRows(answers.group, settings.demonstrations, BLOCK, recipe.seed) if len(answers) else None

    def batch(step: int) -> RewardBatch:
        pairs = train.rows(compared(step))
        rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, step, 0x6F666674]))
        own = answers.rows(answered(step)) if answered else answers
        return RewardBatch(pairs, pairs.off_topic(settings.off_topic, recipe.model.max_length, rng), own)

    rates = {"space.": settings.vector_lr, "model.backbone.": settings.lr, "": settings.head_lr}
    return RewardTraining(module, batch, rates, train, known.rows(held_rows), validate, people, lm, tokenizer)


def own_answers(labels: Labels, window: prepare.Window, ids: list[str]) -> OwnAnswers:
    """The known raters' own answers, where the data hold it."""
    demonstrations = labels.demonstrations
    if demonstrations.empty or not demonstrations.rater_id.isin(ids).any():
        return OwnAnswers([], *EMPTY)
    examples, rater, _ = prepare.demonstration_data(labels, window, ids, {}, "demonstrations")
    _, group = np.unique([str(example.prompt.ids) for example in examples], return_inverse=True)
    return OwnAnswers(examples, rater, group.astype(np.int64))


def finish_reward(persistence: float | None, module: RewardModule, train_data: ComparisonData, held: ComparisonData) -> dict:
    """Calibrate on held-out comparisons; fit what persists (from repeats) and the features of idiosyncratic taste. Returns what was
    found. `persistence` is the share that persists, where given."""
    report: dict = {}
    if len(held):
        margin = evaluate(module, held, module.known(held.rater))
        report["scale"] = calibrate(module, margin, torch.as_tensor(held.label, device=margin.device))
    theta, label_noise = (float(p.detach()) for p in module.noise_parameters())
    report |= {"tie_width": theta, "label_noise": label_noise}
    if module.grade_gaps is not None:
        report["grade_cuts"] = module.cuts().tolist()
    idiosyncratic, scorer = module.model.idiosyncratic, module.scorer
    if idiosyncratic is None:
        return report
    idiosyncratic.weigh(train_data.examples)
    with torch.no_grad():
        asked, answers = mean_answers(idiosyncratic, train_data.judged)
        idiosyncratic.question.copy_(linear_weights(scorer.prompt_features(asked), answers))
    pairs, agree = repeated_pairs(train_data)
    report["repeated_comparisons"] = len(pairs)
    if persistence is not None:
        idiosyncratic.persistence[-1] = persistence_constant(persistence)
    elif len(pairs):
        first = train_data.rows(pairs[:, 0])
        margin = evaluate(module, first, module.known(first.rater))
        with torch.no_grad():
            prompts = scorer.prompt_features([train_data.examples[i] for i in first.a])
        idiosyncratic.persistence.copy_(fit_persistence(prompts.cpu(), torch.as_tensor(agree), margin.cpu(), torch.tensor(label_noise)))
    else:
        idiosyncratic.persistence[-1] = -10.0
        log.warning(
            "  reward: no rater compared the same pair twice, "
            "so idiosyncratic taste is taken as drawn again; set raters.persistence to change it"
        )
    return report


def make_pool(
    raters: RatersSettings, people: prepare.Roster, module: RewardModule, validate: ComparisonData, report: dict, seed: int
) -> RaterPool:  # fmt: skip
    """The known raters' vectors, and the populations fitted to them and chosen on validation raters."""
    pool = pool_without_vectors(raters, people)
    if module.space is None:
        return pool
    pool.vectors = module.space.vectors.detach().cpu().numpy().copy()
    # Where the trunk reads the rater, every draw of every candidate would cost a pass of all completions.
    cheap = module.model.conditioning == "head"
    if len(validate) and not cheap:
        log.info(
            f"  reward: the population is chosen by the vectors' density, "
            f"since conditioning {module.model.conditioning} reads every draw anew"
        )
    likelihood = marginal_likelihood(module, validate) if len(validate) and cheap else None
    report["population"] = fit_populations(raters, pool, seed, likelihood)
    return pool


def fit_populations(
    raters: RatersSettings, pool: RaterPool, seed: int, likelihood: Callable[[np.ndarray], float] | None = None
) -> list[dict]:  # fmt: skip
    """Fit the population of everybody, and one for each persona and group, to the pool's vectors. Returns the best trials for everybody."""
    pool.populations[""], trials = fit_population(pool.vectors, raters.components, raters.scales, seed, likelihood)
    for key, ids in members_of(pool).items():
        vectors = pool.vectors[[pool.index[r] for r in ids]]
        pool.populations[key], _ = fit_population(vectors, raters.components, raters.scales, seed)
    return trials[:5]


def members_of(pool: RaterPool) -> dict[str, list[str]]:
    """The members of each persona and group that is large enough for a population of its own, by the population's name; says which are
    not."""
    members = {f"persona:{name}": ids for name, ids in pool.personas.items()}
    for rater_id, group in pool.groups.items():
        members.setdefault(f"group:{group}", []).append(rater_id)
    for key, ids in members.items():
        if len(ids) < MIN_MEMBERS:
            log.warning(f"  {key} has {len(ids)} raters, fewer than {MIN_MEMBERS}: no fictitious ones can be drawn from it")
    return {key: ids for key, ids in members.items() if len(ids) >= MIN_MEMBERS}
