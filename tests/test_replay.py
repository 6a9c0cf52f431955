"""Texts that nobody rated, read beside what is trained on: which they are, what they weigh, and that they keep what was said there."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from test_data_alone import ASKED, TINY, recipe_for

from raterhf.data.prepare import read_data
from raterhf.data.renderer import Renderer
from raterhf.models.checkpoint import load_policy
from raterhf.models.load import build_model, load_tokenizer, train_tokenizer
from raterhf.models.policy import make_policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import SftSettings
from raterhf.run import open_run
from raterhf.training import pipeline
from raterhf.training.replay import Row, WithReplay, beside, make_replay, said_rows, unrated_rows

pytestmark = pytest.mark.usefixtures("one_thread")
STEP = {"steps": 10, "lr": 1e-3, "batch_size": 8}


def write_corpus(folder) -> dict:
    """The rated prompts in other words, an answer that raters gave to another prompt, and two prompts that nobody rated."""
    rows = [(prompt, "green") for prompt in ASKED] + [("Say a colour.", "red")]
    rows += [("Name a fruit.", fruit) for fruit in ("fig", "fig", "fig", "plum")] + [("Name a river.", "Nile")] * 4
    pd.DataFrame(rows * 10, columns=["prompt", "completion"]).to_csv(folder / "base.csv", index=False)
    return {"base": str(folder / "base.csv")}


def test_rated_prompts_and_rated_completions_are_not_replayed(tmp_path, capsys):
    recipe = recipe_for(tmp_path, "comparisons", data=write_corpus(tmp_path))
    labels, renderer = read_data(recipe), Renderer(train_tokenizer(["Name a river."], 300), 64)
    rows = unrated_rows(recipe.data, labels, renderer, [])
    assert {(row.prompt, row.completion) for row in rows} == {
        ("Name a fruit.", "fig"),
        ("Name a fruit.", "plum"),
        ("Name a river.", "Nile"),
    }
    assert len(rows) == 80
    long = max(renderer.length(row.prompt, row.completion, "Rater 7: ") for row in rows)
    short = unrated_rows(recipe.data, labels, Renderer(renderer.tokenizer, long - 1), ["", "Rater 7: "])
    assert {row.completion for row in short} < {"fig", "plum", "Nile"}
    assert f"{80 - len(short)} of 80 unrated texts" in capsys.readouterr().out


def test_where_everything_was_rated_it_is_said(tmp_path, capsys):
    recipe = recipe_for(tmp_path, "comparisons", data=write_corpus(tmp_path))
    pd.DataFrame({"prompt": list(ASKED), "completion": ["x", "y"]}).to_csv(tmp_path / "base.csv", index=False)
    renderer = Renderer(train_tokenizer(["Name a river."], 300), 64)
    assert unrated_rows(recipe.data, read_data(recipe), renderer, []) == [] and "nothing is replayed" in capsys.readouterr().out


def test_a_share_of_the_loss_by_hand():
    """A replay of one tenth of a batch of 20 is two texts, and their loss weighs a tenth."""
    tokenizer = train_tokenizer(["Name a river.", "Nile"], 300)
    policy = make_policy(build_model(TINY, tokenizer, 32, 0), tokenizer)
    settings = SftSettings(steps=1, lr=1e-3, batch_size=20, replay=0.1)
    drawn = []

    def draw(count, rng):
        drawn.append(count)
        return RaterBatch.nobody(count), [""] * count, None

    renderer = Renderer(tokenizer, 32)
    cut = Row("Name a river.", tuple(tokenizer("Ni")["input_ids"]))
    replay = make_replay([Row("Name a river.", "Nile"), cut], settings, policy, renderer, draw, 0)
    other = SimpleNamespace(state={"beta": 1.0}, batch=lambda step: step, loss=lambda batch, step: (torch.tensor(5.0), {"loss": 5.0}))
    algorithm = beside(replay, other)
    assert isinstance(algorithm, WithReplay) and algorithm.state is other.state
    batches = [algorithm.batch(step) for step in range(8)]
    assert drawn == [2] * 8 and [batch[0] for batch in batches] == list(range(8))
    # What was cut teaches no end.
    texts = {example.ids for _, texts in batches for example in texts.examples}
    assert texts == {renderer.example("Name a river.", "Nile").ids, renderer.example("Name a river.", "Ni").ids[:-1]}
    kept, _ = replay.imitation.loss(batches[0][1], 0)
    loss, log = algorithm.loss(batches[0], 0)
    assert loss.item() == pytest.approx(0.9 * 5 + 0.1 * kept.item(), rel=1e-6) and log["replay"].item() == pytest.approx(kept.item())
    assert [b[1].examples for b in batches] == [algorithm.batch(step)[1].examples for step in range(8)]
    assert beside(make_replay([], settings, policy, renderer, draw, 0), other) is other


def test_what_nobody_rated_stays_and_without_replay_goes(tmp_path):
    """After imitation at a high rate the model still says what it read of rivers, under any rater."""
    base = {"steps": 60, "lr": 1e-2, "batch_size": 32}
    sft = {"steps": 40, "batch_size": 24, "lr": 1e-2}
    named = {}
    for replay in (0.0, 0.2):
        recipe = recipe_for(tmp_path, "demonstrations", data=write_corpus(tmp_path), base=base, sft=sft | {"replay": replay})
        pipeline.train(recipe)
        answers = open_run(recipe.folder).sample(["Name a river.", "Name a fruit."], "new", 40)
        named[replay] = [np.mean([answer.completion in right for answer in answers if answer.prompt == prompt])
                         for prompt, right in (("Name a river.", ["Nile"]), ("Name a fruit.", ["fig", "plum"]))]  # fmt: skip
    assert min(named[0.2]) >= 0.9 > max(named[0.0]), named


def test_a_pretrained_model_keeps_what_it_says_itself(tmp_path):
    tokenizer = train_tokenizer(["Name a pet.", "cat dog red blue", "user assistant"] * 4, 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    for template in (None, "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}\n{% endfor %}<|im_start|>assistant "):
        tokenizer.chat_template = template
        folder = tmp_path / str(template is None)
        for part in (build_model(TINY, tokenizer, 48, 0), tokenizer):
            part.save_pretrained(folder / "lm")
        changes = {
            "model": {"path": str(folder / "lm"), "max_length": 48},
            "policy": STEP | {"max_new_tokens": 4, "samples": 4, "prompts": 2},
        }
        recipe = recipe_for(folder, "comparisons", reward=STEP, sft=STEP, **changes)
        pipeline.train(recipe)
        rows = [json.loads(line) for line in (recipe.folder / "sft" / "replay.jsonl").read_text().splitlines()]
        assert len(rows) > 60 and {row["prompt"] == "" for row in rows} == {template is None}
        policy = make_policy(build_model(TINY, tokenizer, 48, 0), tokenizer).eval()
        again = said_rows(policy, Renderer(load_tokenizer(folder / "lm"), 48), 0)
        assert [{"prompt": row.prompt, "completion": list(row.completion)} for row in again] == rows
        for stage in ("sft", "policy"):
            assert "train/replay" in pd.read_csv(recipe.folder / stage / "metrics.csv").columns
            assert load_policy(recipe.folder / stage)[0].reader is not None
