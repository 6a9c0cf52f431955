"""The stage `sft`: imitate each rater's own answers, or choices, under that rater's soft prefix."""

from pathlib import Path

import numpy as np
import torch

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.models import checkpoint
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.recipe import Recipe
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.fit import fit
from raterhf.training.persistence import carry_idiosyncratic
from raterhf.training.stages.imitation import imitate
from raterhf.training.stages.reward import fit_populations
from raterhf.training.start import all_prompts, all_texts, pool_without_vectors, rater_texts, start_model, watch


def run_sft(recipe: Recipe, folder: Path, labels: Labels) -> None:
    people = prepare.find_people(labels)
    lm, tokenizer = start_model(recipe, all_texts(labels))
    raters, settings = recipe.raters, recipe.sft
    soft = raters.encoding == "embedding"
    pool = checkpoint.load_pool(recipe.folder / "reward") if soft else pool_without_vectors(raters, people)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    examples, rater = prepare.demonstration_data(labels, window, pool.known, rater_texts(raters, people), settings.source)
    torch.manual_seed(recipe.seed)
    policy = place(
        Policy(lm, pool.dim if soft else 0, raters.tokens, make_idiosyncratic(pool.idiosyncratic_dim if soft else 0, lm, tokenizer)),
        pick_device(),
    )
    vectors = torch.tensor(pool.vectors)
    noise = settings.noise * vectors.std(0).mean() if soft else 0.0

    def batch(rows: np.ndarray, step: int) -> Demonstrations:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        if not soft:
            return Demonstrations.of_nobody([examples[i] for i in rows])
        taste = vectors[rater[rows]]
        taste = taste + noise * torch.randn(taste.shape, generator=generator)
        null = torch.rand(len(rows), generator=generator) < raters.null_share
        learned = torch.as_tensor(rater[rows]) if space else None
        return Demonstrations([examples[i] for i in rows], RaterBatch(taste, null), torch.ones(len(rows)), {}, learned)

    space = None
    if soft and settings.learn_vectors:
        space = RaterSpace(len(pool.known), pool.dim, settings.noise)
        space.vectors.data.copy_(vectors)
    who, draws = (pool, "new") if raters.encoding != "none" else (None, "none")
    asked = RaterPolicy(folder.name, policy, window.renderer, who, draws, *recipe.limits)
    trained = bool(recipe.base or recipe.model.path)
    monitor = watch(recipe.monitor, asked, all_prompts(labels), recipe.data.world, folder, recipe.seed, settings.steps, trained=trained)
    training = imitate(policy, batch, len(examples), settings.batch_size, recipe.seed, space)
    rates = {"policy.reader.": raters.reader_lr, "space.": settings.vector_lr}
    fit(*training, settings, folder, rates, recipe.tensorboard, monitor)
    if space is not None:
        pool.vectors = space.vectors.detach().cpu().numpy().copy()
        fit_populations(raters, pool, recipe.seed)
    if policy.idiosyncratic is not None:
        carry_idiosyncratic(policy, recipe.folder / "reward", prepare.comparison_data(labels, window, pool.known, {}))
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})
