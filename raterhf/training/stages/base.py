"""The stage `base`: a plain language model trained on a corpus that nobody rated."""

from pathlib import Path

import numpy as np

from raterhf.data.corpus import read_corpus
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.models import checkpoint
from raterhf.models.place import pick_device, place
from raterhf.models.policy import make_policy
from raterhf.recipe import Recipe
from raterhf.training import ranks
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.fit import fit
from raterhf.training.stages.imitation import imitate
from raterhf.training.start import corpus_texts, new_model, spare_memory, watch


def run_base(recipe: Recipe, folder: Path) -> None:
    rows = read_corpus(recipe.data.base, recipe.data.columns)
    prompts, completions = list(rows.prompt), list(rows.completion)
    texts = corpus_texts(rows, recipe.raters.text_template)
    start = new_model(recipe.model, texts, recipe.seed, recipe.soft_tokens, recipe.room)
    tokenizer = start.tokenizer
    renderer = Renderer(tokenizer, recipe.model.max_length)
    examples = [renderer.example(p, c) for p, c in zip(prompts, completions)]
    policy = place(make_policy(start.lm, tokenizer, base=start.base), pick_device())
    spare_memory(policy, recipe.model)
    asked = RaterPolicy(folder.name, policy, renderer, None, "none", *recipe.limits)
    steps, trained = recipe.base.steps, bool(recipe.model.path)
    monitor = watch(recipe.monitor, asked, prompts, recipe.data.world, folder, recipe.seed, steps, trained=trained)

    def batch(rows: np.ndarray, step: int) -> Demonstrations:
        return Demonstrations.of_nobody([examples[i] for i in rows])

    training = imitate(policy, batch, len(examples), recipe.base.batch_size, recipe.seed)
    fit(*training, recipe.base, folder, {}, recipe.logger, monitor, precision=recipe.model.precision, sharded=recipe.trainer.sharded)
    if ranks.first():
        checkpoint.save_policy(folder, policy, tokenizer, None, recipe.model.max_length, {})
