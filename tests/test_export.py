"""Exported folders: what transformers alone reads in them is what the run says. Tiny random weights."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import invoke, one_gaussian
from test_architectures import CASES, made, teacher_forced  # noqa: F401  # `made` is a fixture
from transformers import AutoModelForCausalLM, AutoTokenizer

import raterhf
from raterhf.data.renderer import Renderer, set_chat
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.export.policy import export_policy
from raterhf.models.load import load_pretrained
from raterhf.models.policy import make_policy
from raterhf.raters.pool import RaterPool

pytestmark = pytest.mark.usefixtures("one_thread")


def asked_of(folder, encoding: str = "embedding", system: str | None = None) -> RaterPolicy:
    lm, tokenizer = load_pretrained(folder)
    set_chat(tokenizer, "auto", system)
    torch.manual_seed(1)
    soft = encoding == "embedding"
    pool = RaterPool(["ann", "bob"], np.ones((2, 2 * soft), np.float32), 0, encoding, populations={"": one_gaussian(0.0)} if soft else {})
    policy = make_policy(lm, tokenizer, 2 * soft, 3).eval()
    return RaterPolicy("policy", policy, Renderer(tokenizer, 128), pool, "new", 8)


@pytest.mark.parametrize("encoding", ["embedding", "text"])
@torch.no_grad()
def test_log_probabilities_of_an_export_are_the_runs(made, encoding, tmp_path):  # noqa: F811
    _, folder = made
    asked = asked_of(folder, encoding)
    people = [asked.pool.null(), asked.pool.by_id("ann"), asked.pool.fictitious(7)]
    exported = export_policy(asked, people, 0)
    exported.save(tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    for person in people:
        example = asked.renderer.example("Pick a colour.", "red", person.text)
        expected = asked.log_probs([example], [person])[0]
        begun = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Pick a colour."}], add_generation_prompt=True, rater=person.id, return_dict=False
        )
        answer = tokenizer("red", add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([begun + answer])).logits[0, len(begun) - 1 :]
        known = len(asked.renderer.tokenizer)
        probability = logits[:, :known].softmax(-1)
        found = (
            sum(probability[i, token].log() for i, token in enumerate(answer))
            + probability[-1, model.generation_config.eos_token_id].sum().log()
        )
        assert float(found) == pytest.approx(expected, abs=1e-4)
        print(exported.unsaid and exported.unsaid.logit, logits[:, known:].max().item() if logits.shape[1] > known else None)


# The verb


def run_code(folder: Path) -> dict:
    """Run what the model card of a folder shows, as whoever reads it does."""
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    space: dict = {}
    for block in blocks:
        exec(compile(block.replace('folder = "."', f"folder = {str(folder)!r}"), "README.md", "exec"), space)
    return space


def test_the_verb_writes_a_folder_that_its_card_explains(run, tmp_path):
    out = tmp_path / "out"
    result = invoke("export", run, "--rater", "new:7", "--rater", "ann", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "1 of its raters are known ones ('ann')" in result.stderr
    space = run_code(out)
    assert list(space["AutoTokenizer"].from_pretrained(out).get_added_vocab())[-1] == "<|rater ann 1|>"


def test_what_persists_is_drawn_as_the_run_draws_it(run, tmp_path):
    out = tmp_path / "out"
    invoke("export", run, "--rater", "new:7", "--rater", "ann", "--out", out)
    space = run_code(out)
    opened = raterhf.open(run)
    for rater in ("none", "new:7", "ann"):
        expected = [answer.completion for answer in opened.sample("Roll a die.", rater, n=3, seed=5)]
        tokenizer, model = space["tokenizer"], space["model"]
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Roll a die."}], rater=rater, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        taste = space["RaterTaste"](model, out, seed=5)
        answers = model.generate(**inputs, logits_processor=[taste], num_return_sequences=3)[:, inputs["input_ids"].shape[1] :]
        assert tokenizer.batch_decode(answers, skip_special_tokens=True) == expected
