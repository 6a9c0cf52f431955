"""The page of a real chat model that was trained with adapters for two steps a stage: its template, its signs, other alphabets."""

import json
from pathlib import Path

import pytest
from small_run import succeeds

import raterhf
from raterhf.explore.opened import EVERYONE, Opened
from raterhf.explore.static import Kept

pytestmark = pytest.mark.slow
PET, GREETING = "Name a pet.", "Say hello in Japanese."
RECIPE = """\
name: chat
data: {comparisons: said.jsonl}
model: {path: MODEL, max_length: 96, train: lora, lora: {r: 4, alpha: 8}, dtype: float32}
raters: {dim: 4, idiosyncratic_dim: 8, tokens: 4, noise: 1.0, components: [1]}
reward: {steps: 2, batch_size: 4, block: 2, lr: 1.0e-4}
sft: {source: chosen, steps: 2, batch_size: 4, lr: 1.0e-4}
policy: {beta: 0.1, steps: 2, batch_size: 4, lr: 1.0e-4, prompts: 1, raters: 2, samples: 2, options: {choices: 2}, max_new_tokens: 12}
"""
SAID = [(PET, "A cat.", "A dog."), (PET, "A dog.", "A hamster."), (GREETING, "こんにちは！", "Hello."), (GREETING, "やあ 👋", "Bonjour.")]


@pytest.fixture(scope="module")
def kept(smollm2, tmp_path_factory) -> Kept:
    home = tmp_path_factory.mktemp("chat")
    rows = [{"prompt": prompt, "chosen": a, "rejected": b, "rater_id": f"r{i}"} for i in range(6) for prompt, a, b in SAID]
    (home / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "chat.yaml").write_text(RECIPE.replace("MODEL", str(smollm2)))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(home)
        succeeds("train", "chat.yaml")
        yield Kept(Opened(raterhf.open(Path("runs/chat").resolve())))


def signs(opened: Opened) -> list[str]:
    return opened.run.policy.renderer.tokenizer.all_special_tokens


def test_people_are_asked_in_the_models_own_form(kept):
    told = []
    kept.tell = lambda kind, data: told.append((kind, data))
    found = kept.opened and kept.ask("ask", {"prompt": PET, "n": 3, "seed": 1})
    answers = dict(told)["answers"]
    assert found["totals"]["people"] == 3 and [one["text"] for one in answers] == [
        one.completion for one in kept.opened.run.sample(PET, "new", 3, 1)
    ]
    grown = [text for kind, data in told if kind == "grown" for text in data.values()]
    assert grown and not any(sign in text for text in [*grown, *(one["text"] for one in answers)] for sign in signs(kept.opened))
    begun = kept.opened.run.policy.renderer.tokenizer.decode(kept.opened.begun(kept.opened.run.policy, PET, (), kept.opened.one("new:7")))
    assert "<|im_start|>user\n" in begun and begun.endswith("<|im_start|>assistant\n")


def test_a_text_in_another_alphabet_is_read_and_grown(kept):
    text = "やあ 👋"
    steps = kept.ask("read", {"prompt": GREETING, "text": text, "voice": "new:7"})["steps"]
    assert "".join(step["text"] for step in steps) == text and len(steps) > len(text)
    assert not any("\ufffd" in step["text"] for step in steps)
    ids = [step["id"] for step in steps[:2]]
    tree = kept.ask("tree", {"prompt": GREETING, "said": ids, "voice": EVERYONE, "n": 3, "least": 0.2})["tree"]
    assert tree["p"] == 1.0 and tree["ids"][:2] == ids
    done = kept.ask("go", {"prompt": GREETING, "said": ids, "voice": "new:7", "seed": 2})
    assert done["ids"][:2] == ids and not any(sign in done["text"] for sign in signs(kept.opened))
    assert done == kept.ask("go", {"prompt": GREETING, "said": ids, "voice": "new:7", "seed": 2})


def test_a_jury_hears_them_and_a_person_is_met(kept):
    found = kept.ask("jury", {"prompt": PET, "answers": ["A cat.", "A dog.", "An axolotl 🦎"], "n": 8})
    scored = kept.opened.run.score([(PET, one["text"]) for one in found["answers"]], "new:8x", 0).to_numpy()
    assert found["margins"] == [pytest.approx(row, abs=1e-3) for row in scored - scored.mean(1, keepdims=True)]
    assert kept.ask("person", {"rater": "r0"})["likes"]["of"] >= 4
