"""One example of the data as the model reads it, shown before anything is trained."""

import json

import pandas as pd
import pytest
from small_run import CONFIG
from typer.testing import CliRunner

from raterhf.cli.main import app
from raterhf.errors import UserError
from raterhf.models.load import build_model, train_tokenizer
from raterhf.recipe_reader import parse_recipe
from raterhf.training.preview import preview, preview_text

STAGE = {"steps": 2, "lr": 1e-3}


def recipe_for(folder, **changes):
    rows = pd.DataFrame({"prompt": ["Name a pet."] * 4, "chosen": ["cat"] * 4, "rejected": ["dog"] * 4, "rater_id": list("abcd")})
    rows.to_csv(folder / "comparisons.csv", index=False)
    pd.DataFrame({"prompt": ["Say é."], "completion": ["é"]}).to_csv(folder / "base.csv", index=False)
    raw = {"name": "x", "runs": str(folder), "data": {"comparisons": str(folder / "comparisons.csv")}, "model": {"vocab_size": 300}}
    return parse_recipe(raw | changes, "x.yaml")


def test_what_is_imitated_is_marked(tmp_path):
    recipe = recipe_for(tmp_path, reward=STAGE, sft=STAGE | {"source": "chosen"}, raters={"tokens": 3})
    found = preview(recipe)
    assert "".join(found["tokens"]) == "Name a pet.\ncat<eos>" and found["rater"] == "a" and found["soft_tokens"] == 3
    answer = [token for token, trained in zip(found["tokens"], found["trained"]) if trained]
    assert "".join(answer) == "cat<eos>" and found["trained"] == sorted(found["trained"])
    text = preview_text(recipe)
    assert text.startswith("first row of the chosen completions by rater a: ") and text.endswith("['<eos>']")
    assert f"tokens after the rater's 3 soft tokens, of which the {len(answer)} in [ ] are trained on" in text


def test_a_reward_model_scores_the_whole(tmp_path):
    found = preview_text(recipe_for(tmp_path, reward=STAGE))
    assert "none is trained on, the whole is scored" in found and "[" not in found.splitlines()[1]


def test_a_base_stage_alone_and_bytes_that_are_no_character(tmp_path):
    found = preview(recipe_for(tmp_path, base=STAGE, data={"base": str(tmp_path / "base.csv")}, model={"vocab_size": 300}))
    assert found["what"] == "base corpus" and found["rater"] is None and found["trained"][-1]
    assert "\ufffd" not in "".join(found["tokens"])


def test_a_raters_text_and_a_chat_template_are_shown(tmp_path):
    tokenizer = train_tokenizer(["Name a pet.", "cat", "user assistant system"], 300)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
    for part in (build_model(CONFIG, tokenizer, 48, 0), tokenizer):
        part.save_pretrained(tmp_path / "lm")
    changes = {"sft": STAGE | {"source": "chosen"}, "raters": {"encoding": "text"}}
    model = {"path": str(tmp_path / "lm"), "max_length": 48, "system": "Be kind."}
    found = preview(recipe_for(tmp_path, model=model, **changes))
    assert "".join(found["tokens"]) == "<system>Rater a: Be kind.\n<user>Name a pet.\n<assistant>cat<eos>"
    found = preview(recipe_for(tmp_path, model=model | {"chat": "never", "system": None}, **changes))
    assert "".join(found["tokens"]) == "Rater a: Name a pet.\ncat<eos>"


def test_why_nothing_is_shown(tmp_path):
    with pytest.raises(UserError, match="no stage that reads data"):
        preview(recipe_for(tmp_path))
    recipe = recipe_for(tmp_path, reward=STAGE, model={"path": str(tmp_path / "absent")})
    assert preview_text(recipe).startswith("no example is shown: model ")


def test_dry_run_and_data_check_show_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(tmp_path, reward=STAGE, sft=STAGE | {"source": "chosen"})
    (tmp_path / "x.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    shown = preview_text(recipe)
    dry = CliRunner().invoke(app, ["train", "x.yaml", "--dry-run"])
    assert dry.exit_code == 0 and dry.stdout.endswith("".join(f"# {line}\n" for line in shown.splitlines()))
    checked = CliRunner().invoke(app, ["data", "check", "x.yaml"])
    assert checked.exit_code == 0 and f"\n{shown}\n" in checked.stdout
    assert json.loads(CliRunner().invoke(app, ["data", "check", "x.yaml", "--json"]).stdout)["example"] == shown
