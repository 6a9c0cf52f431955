"""The stage `base`: a plain language model trained on a corpus that nobody rated."""

from pathlib import Path

from raterhf.data.corpus import read_corpus
from raterhf.data.renderer import Renderer
from raterhf.models import checkpoint
from raterhf.models.place import pick_device, place
from raterhf.models.policy import Policy
from raterhf.recipe import Recipe
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.stages.imitation import fit_imitation
from raterhf.training.start import corpus_texts, new_model, watch


def run_base(recipe: Recipe, folder: Path) -> None:
    rows = read_corpus(recipe.data.base, recipe.data.columns)
    prompts, completions = list(rows.prompt), list(rows.completion)
    lm, tokenizer = new_model(recipe, corpus_texts(recipe, rows))
    renderer = Renderer(tokenizer, recipe.model.max_length)
    examples = [renderer.example(p, c) for p, c in zip(prompts, completions)]
    policy = place(Policy(lm, 0, 0), pick_device())
    monitor = watch(recipe, folder, recipe.base.steps, policy, renderer, None, prompts, trained=bool(recipe.model.path))
    fit_imitation(
        recipe,
        folder,
        policy,
        recipe.base,
        lambda rows, step: Demonstrations.of_nobody([examples[i] for i in rows]),
        len(examples),
        monitor,
    )
    checkpoint.save_policy(folder, policy, tokenizer, None, recipe.model.max_length, {})
