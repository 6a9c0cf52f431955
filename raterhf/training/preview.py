"""One example of a recipe's data as its first stage with raters reads it, token by token. Loads a tokenizer and no weights."""

from raterhf.data import prepare
from raterhf.data.corpus import read_corpus
from raterhf.data.labels import Labels, read_recipe
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.recipe import Recipe
from raterhf.training.start import all_texts, corpus_texts, new_tokenizer, rater_texts


def recipe_renderer(recipe: Recipe, labels: Labels | None) -> Renderer:
    """What renders a recipe's examples for the model that it starts from. `labels` are its data, if it has any."""
    if recipe.base and recipe.data.base:
        texts = corpus_texts(read_corpus(recipe.data.base, recipe.data.columns), recipe.raters.text_template)
    else:
        texts = all_texts(labels) if labels else []
    return Renderer(new_tokenizer(recipe.model, texts), recipe.model.max_length)


def preview(recipe: Recipe, labels: Labels | None = None, renderer: Renderer | None = None) -> dict:
    """The first row that is imitated, or else judged, or else of the base corpus: `what`, `rater`, `soft_tokens`, and of each token its
    `ids`, `tokens` and whether it is `trained` on.

    `labels` are the recipe's data and `renderer` its model's, made here where not given. Raises UserError where nothing can be read
    or rendered.
    """
    rated = recipe.sft or recipe.reward
    if rated and labels is None:
        labels = read_recipe(recipe)
    renderer = renderer or recipe_renderer(recipe, labels)
    if labels is None or not rated:
        if recipe.data.base is None:
            raise UserError("the recipe has no stage that reads data; add one of base, reward, sft")
        what, row, rater, told = "base corpus", read_corpus(recipe.data.base, recipe.data.columns).iloc[0], None, ""
    else:
        source = recipe.sft.source if recipe.sft else "chosen"
        rows = prepare.imitated(labels, source)
        if rows.empty:
            raise UserError(f"the data hold no {source} to show; correct sft.source or data")
        row = rows.iloc[0]
        what = {"demonstrations": "demonstrations", "chosen": "chosen completions"}[source]
        rater, told = str(row.rater_id), rater_texts(recipe.raters, prepare.find_people(labels)).get(row.rater_id, "")
    example = renderer.example(row.prompt, row.completion, told)
    soft = recipe.raters.tokens if rater is not None and recipe.sft and recipe.raters.encoding == "embedding" else 0
    trained = [bool((recipe.sft or not rated) and i >= example.prompt_length) for i in range(len(example))]
    tokens = [_shown(renderer, token) for token in example.ids]
    return {"what": what, "rater": rater, "soft_tokens": soft, "ids": list(example.ids), "tokens": tokens, "trained": trained}


def preview_text(recipe: Recipe, labels: Labels | None = None, renderer: Renderer | None = None) -> str:
    """The preview as lines for people; or why there is none."""
    try:
        found = preview(recipe, labels, renderer)
    except UserError as error:
        return f"no example is shown: {error}"
    by = f" by rater {found['rater']}" if found["rater"] is not None else ""
    soft = f" after the rater's {found['soft_tokens']} soft tokens" if found["soft_tokens"] else ""
    marked = f"the {sum(found['trained'])} in [ ] are trained on" if any(found["trained"]) else "none is trained on, the whole is scored"
    tokens = (f"[{token!r}]" if trained else repr(token) for token, trained in zip(found["tokens"], found["trained"]))
    return f"first row of the {found['what']}{by}: {len(found['ids'])} tokens{soft}, of which {marked}\n{' '.join(tokens)}"


def _shown(renderer: Renderer, token: int) -> str:
    """A token as text; as the vocabulary spells it where its bytes are no whole character."""
    text = str(renderer.tokenizer.decode([token]))
    return str(renderer.tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else text
