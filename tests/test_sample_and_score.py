"""`raterhf sample` and `raterhf score`: who is asked, what comes out, and what is refused."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import CONFIG, fails, invoke, one_gaussian, rows_of, succeeds
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
)

from raterhf.data.example import collate
from raterhf.data.renderer import Renderer
from raterhf.engine import rater_policy
from raterhf.engine.sampler import Sampler
from raterhf.errors import UserError
from raterhf.models.checkpoint import WEIGHTS, load_policy, load_pool, load_reward, save_reward
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, load_pretrained, train_tokenizer
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.files import SCHEMA
from raterhf.raters.pool import RaterPool

ROOT = Path(__file__).parents[1]


# sample


def sampled(run: Path, *args: object) -> list[dict]:
    return rows_of(succeeds("sample", run, "--prompt", "Roll a die.", *args))


def test_new_asks_n_people_every_prompt(run):
    rows = sampled(run, "--prompt", "And again?", "--rater", "new", "-n", 3)
    assert [row["prompt"] for row in rows] == ["Roll a die."] * 3 + ["And again?"] * 3
    assert [row["rater"] for row in rows[:3]] == [row["rater"] for row in rows[3:]]
    assert len({row["rater"] for row in rows}) == 3
    assert all(row["rater"].startswith("new:") for row in rows)
    assert set(rows[0]) == {"prompt", "completion", "rater", "log_prob", "finished", "stage"}


@pytest.mark.parametrize(
    ("args", "raters"),
    [
        (["--rater", "new:7", "-n", 2], ["new:7"] * 2),
        (["--rater", "ann", "-n", 2], ["ann"] * 2),
        (["--rater", "none", "-n", 2], ["none"] * 2),
        (["--rater", "all", "-n", 2], ["ann", "ann", "bob", "bob", "cy", "cy"]),
        (["--rater", "all", "--group", "south"], ["bob", "cy"]),
        (["--rater", "new:7", "--group", "south"], ["new:7@south"]),
    ],
)
def test_who_answers(run, args, raters):
    assert [row["rater"] for row in sampled(run, *args)] == raters


def test_a_persona_gives_n_different_members(run):
    names = {row["rater"] for row in sampled(run, "--rater", "persona:sailor", "-n", 3)}
    assert len(names) == 3 and all(name.endswith("@persona:sailor") for name in names)


def test_sampling_is_a_function_of_the_seed(run):
    assert sampled(run, "-n", 4) == sampled(run, "-n", 4)
    assert sampled(run, "-n", 4) != sampled(run, "-n", 4, "--seed", 1)
    assert sampled(run, "--rater", "ann", "-n", 4) != sampled(run, "--rater", "ann", "-n", 4, "--seed", 1)
    greedy = sampled(run, "--rater", "ann", "-n", 3, "--temperature", 0)
    assert greedy[0] == greedy[1] == greedy[2]


def test_log_prob_is_the_whole_completions(run):
    """By hand: one forward pass over prefix and text, the log-softmax of each next token summed; a cut completion has no EOS."""
    (row,) = sampled(run, "--rater", "none", "--max-new-tokens", 2)
    policy, tokenizer, header = load_policy(run / "policy")
    head = Renderer(tokenizer, header["max_length"]).prompt("Roll a die.")
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 2)
    (answer,) = sampler.generate([head], RaterBatch.nobody(1), 0, idiosyncratic=True, names=["none"])
    with torch.no_grad():
        embedded = policy.lm.get_input_embeddings()(torch.tensor([answer.ids]))
        logits = policy.lm(inputs_embeds=torch.cat([policy.reader.null[None], embedded], 1)).logits[0]
    distributions = torch.log_softmax(logits, -1)
    by_hand = sum(float(distributions[2 + i - 1, answer.ids[i]]) for i in range(len(head), len(answer.ids)))
    assert row["log_prob"] == pytest.approx(by_hand, abs=1e-4)
    assert row["finished"] == (answer.ids[-1] == tokenizer.eos_token_id)


def test_length_comes_from_the_recipe_or_the_option(run, monkeypatch):
    lengths = []
    monkeypatch.setattr(rater_policy, "Sampler", lambda *args: lengths.append(args[3]) or Sampler(*args))
    sampled(run)
    sampled(run / "sft")  # has no resolved recipe: that key's default
    (row,) = sampled(run, "--max-new-tokens", 1, "--temperature", 0)
    assert lengths == [6, 40, 1] and not row["finished"]


def test_a_run_stands_for_its_last_stage(run, tmp_path):
    assert sampled(run, "-n", 2) == sampled(run / "policy", "-n", 2)
    partial = tmp_path / "partial"
    shutil.copytree(run / "sft", partial / "sft")
    shutil.copytree(run / "base", partial / "base")
    assert sampled(partial, "-n", 2) == sampled(run / "sft", "-n", 2)
    (row,) = sampled(run / "base", "--rater", "none")
    assert row["rater"] == "none"
    fails("sample", run / "base", "--prompt", "Hi", "--rater", "new", says="use none")


def test_prompts_from_a_file_may_be_any_text(run, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('prompt\n"two\nlines, ""quoted"""\n🎲 würfeln\n', "utf-8")
    rows = rows_of(succeeds("sample", run, "--prompts", path, "--rater", "ann"))
    assert [row["prompt"] for row in rows] == ['two\nlines, "quoted"', "🎲 würfeln"]


def test_what_raters_by_text_are_not_drawn_from(text_run):
    fails("sample", text_run, "--prompt", "x", "--rater", "new:7@persona:typo", says="persona 'typo' is not in this run; there are: sailor")
    fails("sample", text_run, "--prompt", "x", "--rater", "new:7@south", says="group 'south': this run knows raters by text")


def test_raters_by_text_change_the_answer(text_run):
    rows = sampled(text_run, "--rater", "all", "--temperature", 0)
    assert [row["rater"] for row in rows] == ["ann", "bob", "cy"]
    assert len({row["log_prob"] for row in rows}) == 3
    fails("sample", text_run, "--prompt", "Hi", "--rater", "new", "--group", "south", says="has no groups to draw from")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--rater", "new:x"], "new:NUMBER"),
        (["--rater", "new:-1"], "new:NUMBER"),
        (["--rater", "new:64x"], "new:NUMBER"),
        (["--rater", "anne"], ("'anne' is not known", "nearest: ann")),
        (["--rater", ""], "is not known"),
        (["--rater", "persona:pirate"], ("'pirate'", "there are: sailor")),
        (["--group", "east"], ("'east'", "south")),
        (["--rater", "all", "--group", "east"], ("'east'", "south")),
        (["--rater", "ann", "--group", "north"], "narrows"),
        (["--prompt", ""], "is empty"),
        (["--prompt", "long " * 100], "shorten the prompt"),
    ],
)
def test_mistakes_in_asking(run, args, says):
    fails("sample", run, "--prompt", "Hi", *args, says=says)


def test_unknown_ids_are_said_before_a_model_is_opened(run, answers, monkeypatch):
    def not_yet(*args, **kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr("raterhf.open", not_yet)
    for words in (["sample", run, "--prompt", "x", "--rater", "nobody"], ["score", run, answers, "--raters", "nobody"]):
        fails(*words, says="rater 'nobody' is not known to this run")


def test_mistakes_in_prompts_and_folders(run, tmp_path):
    fails("sample", run, says="no prompt; give --prompt")
    fails("sample", run.parent / "tinny", "--prompt", "Hi", says=("does not exist", "tiny"))
    fails("sample", tmp_path, "--prompt", "Hi", says="has no trained stage policy or sft or base")
    fails("sample", run / "reward", "--prompt", "Hi", says="holds a reward model, a policy is needed")
    shutil.copytree(run / "reward", tmp_path / "judge" / "reward")
    fails(
        "sample",
        tmp_path / "judge",
        "--prompt",
        "Hi",
        says="has the stage reward alone, and policy or sft or base is needed: add it to the",
    )
    path = tmp_path / "p.csv"
    path.write_text("question\nHi\n")
    fails("sample", run, "--prompts", path, says="no column prompt; it has question")
    path.write_text('prompt\nHi\n" "\n')
    fails("sample", run, "--prompts", path, says="row 2 (line 3)")
    result = invoke("sample", run, "--prompt", "Hi", "-n", 0)
    assert result.exit_code == 2 and "-n" in result.stderr


def test_members_of_personas_and_groups_can_be_asked_again(run):
    for args in (["--rater", "persona:sailor"], ["--rater", "new", "--group", "south"]):
        first = sampled(run, "--prompt", "Roll a die.", *args)[0]
        again = sampled(run, "--prompt", "Roll a die.", "--rater", first["rater"])[0]
        assert again["rater"] == first["rater"] and "@" in first["rater"]
        pool = load_pool(run / "policy")
        kind, _, name = args[-1].rpartition(":")
        fresh = pool.resolve("persona:sailor", 1, 0)[0] if kind else pool.resolve("new", 1, 0, name)[0]
        assert (pool.resolve(first["rater"], 1, 0)[0].vector == fresh.vector).all()
    fails("sample", run, "--prompt", "x", "--rater", "new:7@nowhere", says="group 'nowhere' is not in this run")
    fails("sample", run, "--prompt", "x", "--rater", "new:7@south", "--group", "south", says="names whom it is drawn from already")
    fails("sample", run, "--prompt", "x", "--rater", "new", "--group", "north", says="group 'north' has 1 raters, fewer than the 8 to draw")


def test_an_unfinished_stage_does_not_answer(damaged):
    (damaged / "policy" / "started.json").write_text("{}")
    fails("sample", damaged, "--prompt", "x", says="is being trained, or its training was interrupted; run the same `raterhf train` again")
    (damaged / "policy" / "stage.json").write_text("{}")
    succeeds("sample", damaged, "--prompt", "x")


def test_an_earlier_stage_that_answers_is_said(damaged):
    """On stderr, where the recipe of the run has a later one; and in every row."""
    asked = ("--prompt", "Hi", "-n", 2)
    whole = invoke("sample", damaged, *asked)
    assert whole.stderr == "" and {row["stage"] for row in rows_of(whole.stdout)} == {"policy"}
    shutil.copy(damaged / "policy" / "recipe.resolved.yaml", damaged / "sft")
    shutil.rmtree(damaged / "policy")
    earlier = invoke("sample", damaged, *asked)
    assert earlier.exit_code == 0 and {row["stage"] for row in rows_of(earlier.stdout)} == {"sft"}
    assert earlier.stderr == f"{damaged}: the stage sft answers, since policy of its recipe is not trained\n"
    named = invoke("sample", damaged / "sft", *asked)
    assert named.stderr == "" and named.stdout == earlier.stdout
    recipe = damaged / "sft" / "recipe.resolved.yaml"
    recipe.write_text("".join(line for line in recipe.read_text().splitlines(True) if not line.startswith("policy:")))
    assert invoke("sample", damaged, *asked).stderr == ""  # the recipe has no such stage


def test_reading_a_run_changes_nothing_in_it(damaged, answers):
    """So it may be read-only, and be read while another stage of it is trained."""

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in damaged.rglob("*")}

    before = files()
    succeeds("sample", damaged, "--prompt", "Hi")
    succeeds("score", damaged, answers, "--raters", "none")
    assert files() == before


def test_a_half_written_model_answers_nobody(damaged):
    (damaged / "policy" / ".half-written").touch()
    fails("sample", damaged, "--prompt", "Hi", says="policy is half written, since its writer was stopped; run the command that wrote it")
    fails("probe", f"a={damaged / 'policy'}", "--out", damaged / "out", says="policy is half written")
    (damaged / "base" / "raterhf.json").unlink()  # a plain model now
    (damaged / "base" / ".half-written").touch()
    fails("probe", f"a={damaged / 'base'}", "--out", damaged / "out", says="base is half written")


def test_probes_do_not_read_a_stage_that_is_being_trained(damaged):
    (damaged / "policy" / "started.json").write_text("{}")
    fails("probe", damaged, "--probes", "numbers", says="policy is being trained, or its training was interrupted")


@pytest.mark.parametrize("text", ["[]", json.dumps({"schema": SCHEMA, "kind": "policy"}), "{"])
def test_a_damaged_header_is_named(damaged, text):
    (damaged / "policy" / "raterhf.json").write_text(text)
    fails("sample", damaged, "--prompt", "x", says=("raterhf.json is damaged", "train that stage again"))


def test_lost_raters_are_named(damaged):
    (damaged / "policy" / "raters.json").unlink()
    fails("sample", damaged, "--prompt", "x", says="raters.json is missing")


# score


def scored(*args: object) -> tuple[list[str], np.ndarray]:
    header, *rows = csv.reader(io.StringIO(succeeds("score", *args)))
    assert header == ["rater", *map(str, range(1, len(header)))]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], float)


def test_the_matrix_has_a_row_a_rater_and_a_column_a_completion(run, answers):
    ids, scores = scored(run, answers, "--raters", "all", "--raters", "new:4x", "--raters", "none", "--raters", "ann")
    assert ids[:3] == ["ann", "bob", "cy"] and ids[7:] == ["none"] and len(set(ids)) == 8
    assert scores.shape == (8, 5)
    model, tokenizer, header = load_reward(run / "reward")
    example = Renderer(tokenizer, header["max_length"]).example("Roll a die.", "3")
    vector = torch.from_numpy(load_pool(run / "reward").vectors[1:2])
    with torch.no_grad():
        alone = model(collate([example], tokenizer.pad_token_id), RaterBatch.people(vector))
    assert scores[1, 2] == pytest.approx(float(alone), rel=1e-4)


def test_scoring_is_a_function_of_the_seed(run, answers):
    first, again = (scored(run, answers, "--raters", "new:3x") for _ in range(2))
    assert first[0] == again[0] and (first[1] == again[1]).all()
    assert scored(run, answers, "--raters", "new:3x", "--seed", 1)[0] != first[0]


def test_idiosyncratic_is_added_for_raters_and_not_for_nobody(run, answers):
    asked = (run, answers, "--raters", "ann", "--raters", "none")
    plain, whole = scored(*asked)[1], scored(*asked, "--idiosyncratic")[1]
    assert (plain[0] != whole[0]).all() and plain[1] == pytest.approx(whole[1], abs=1e-5)


def test_scores_of_raters_by_text(text_run, answers):
    ids, scores = scored(text_run, answers, "--raters", "all", "--raters", "none")
    assert len(ids) == 4 and scores.shape == (4, 5) and len(np.unique(scores[:, 0])) == 4
    fails("score", text_run, answers, "--raters", "ann", "--idiosyncratic", says="leave out --idiosyncratic")


def test_scores_in_bfloat16_are_near_those_in_float32(run, answers):
    exact, near = (scored(run, answers, "--raters", "new:3x", "--dtype", name)[1] for name in ("float32", "bfloat16"))
    assert 0 < abs(exact - near).max() < 0.05
    fails("score", run, answers, "--raters", "new:3x", "--dtype", "half", says="dtype 'half' is none of auto, float32, bfloat16")


def test_the_matrix_can_go_into_a_file(run, answers, tmp_path):
    printed = succeeds("score", run, answers, "--raters", "ann")
    assert succeeds("score", run, answers, "--raters", "ann", "--out", tmp_path / "new" / "s.csv") == ""
    assert (tmp_path / "new" / "s.csv").read_text() == printed


def test_mistakes_in_scoring(run, answers, tmp_path):
    fails("score", run, answers, "--raters", "new:0x", says="new:COUNTx")
    fails("score", run, answers, "--raters", "ann", "--raters", "dave", says="'dave' is not known")
    fails("score", run / "policy", answers, "--raters", "ann", says="holds a policy model, a reward is needed")
    fails("score", run, tmp_path / "no.jsonl", "--raters", "ann", says="no such file")
    path = tmp_path / "half.csv"
    path.write_text("prompt,completion\nHi,\n")
    result = invoke("score", run, path, "--raters", "ann")
    assert result.exit_code == 3 and result.stdout == "" and "1 of 1 rows were not scored" in result.stderr
    assert invoke("score", run, path, "--raters", "ann", "--idiosyncratic").exit_code == 3
    rejects = path.with_name("half.csv.rejects.csv")
    assert "completion is empty" in rejects.read_text()
    path.write_text("prompt,completion\nHi,Ho\n")
    assert "removed: every row was scored" in invoke("score", run, path, "--raters", "ann").stderr and not rejects.exists()
    path.write_text("prompt,answer\nHi,Ho\n")
    fails("score", run, path, "--raters", "ann", says="no column completion; it has prompt, answer")


@pytest.mark.parametrize("encoding", ["run", "text_run"])
def test_bad_rows_are_set_apart_with_the_reason_and_the_rest_is_scored(encoding, request, tmp_path):
    run = request.getfixturevalue(encoding)
    good, path = {"prompt": "Roll a die.", "completion": "4"}, tmp_path / "answers.jsonl"
    rows = [good, good | {"completion": " "}, good | {"completion": "6"}, good | {"completion": "5 " * 60}, good | {"prompt": 7}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = invoke("score", run, path, "--raters", "ann")
    assert result.exit_code == 3
    header, *scores = result.stdout.splitlines()
    assert header == "rater,1,3" and len(scores) == 1
    assert f"3 of 5 rows were not scored; {path}.rejects.csv says why" in result.stderr.replace("\n", "")
    with open(f"{path}.rejects.csv") as file:
        rejects = {row["row"]: row["reason"] for row in csv.DictReader(file)}
    assert list(rejects) == ["2", "4", "5"]
    assert "completion is empty or only white space" in rejects["2"]
    assert "tokens, the window (model.max_length) 48" in rejects["4"]
    assert "prompt is not text" in rejects["5"]


def test_a_row_without_room_for_the_raters_tokens_is_set_apart(tmp_path):
    """It fits model.max_length, and not the model's positions beside them."""
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    lm = build_model(CONFIG | {"max_position_embeddings": 48}, tokenizer, 48, 0)
    pool = RaterPool(["ann"], np.ones((1, 2), np.float32), 0, "embedding", {}, {}, {"": one_gaussian(0.0)})
    save_reward(tmp_path / "run" / "reward", RewardModel(lm.get_decoder(), 2, 4, "suffix"), lm, tokenizer, pool, 48, {})
    path, length = tmp_path / "a.csv", len(tokenizer("Roll a die.\n")["input_ids"])
    path.write_text(f"prompt,completion\nRoll a die.,\nRoll a die.,4\nRoll a die.,{'5' * (48 - length - 2)}\n")
    result = invoke("score", tmp_path / "run", path, "--raters", "ann")
    assert result.exit_code == 3 and result.stdout.startswith("rater,2\n")
    with open(f"{path}.rejects.csv") as file:
        reasons = {row["row"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["3"] == "has 47 tokens beside the rater's 4, the model's window 48; shorten it" and set(reasons) == {"1", "3"}


def test_rejects_hold_whatever_the_rows_hold(run, tmp_path):
    """Columns of their own by these names, half a character, messages; and what is mended can be put back."""
    path = tmp_path / "a.jsonl"
    talk = [{"role": "user", "content": "Röll."}]
    rows = [{"row": 7, "reason": "x", "prompt": "Hi", "completion": "\ud800"}, {"prompt": talk, "completion": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert invoke("score", run, path, "--raters", "ann").exit_code == 3
    with open(f"{path}.rejects.csv", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["row", "reason", "row_before", "reason_before", "prompt", "completion"]
    assert (first["row"], first["row_before"], first["reason_before"], first["completion"]) == ("1", "7", "x", "\\ud800")
    assert json.loads(second["prompt"]) == talk


def test_the_file_that_is_scored_is_not_written_over(run, answers):
    before = answers.read_bytes()
    fails("score", run, answers, "--raters", "ann", "--out", answers, says="would be overwritten")
    fails("score", run, answers, "--raters", "ann", "--out", f"{answers}.rejects.csv", says="would be overwritten")
    assert answers.read_bytes() == before
    assert invoke("score", run, answers, "--raters", "ann", "--out", answers.parent).exit_code == 2


def test_a_sample_stays_in_the_window(run):
    asked = ("sample", run, "--prompt", "Roll a die.")
    fails(*asked, "--rater", "ann", "--max-new-tokens", 200, says=("its rater's 2 and 200 new ones", "the model's window of 112"))
    fails(*asked, "--rater", "persona:", says="persona '' is not in this run")
    fails(*asked, "--rater", "new:٣", says="a whole number")


# Damaged folders


@pytest.mark.parametrize("name", [None, "raterhf.safetensors", "raters.safetensors", "raters.json", "raterhf.json"])
@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_a_truncated_file_is_named(damaged, answers, stage, name):
    path = damaged / stage / (name or WEIGHTS[stage])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    asked = ("sample", damaged, "--prompt", "Hi") if stage == "policy" else ("score", damaged, answers, "--raters", "ann")
    fails(*asked, says=str(damaged / stage))


@pytest.mark.parametrize(
    "load", [AutoModelForSequenceClassification, AutoModelForCausalLM, AutoModel, Qwen3ForSequenceClassification, Qwen3ForCausalLM]
)
def test_transformers_loads_a_policy_and_refuses_a_reward_model(run, load):
    """Its head is not transformers', which would put random numbers in its place."""
    with pytest.raises(OSError, match="no file named model.safetensors"):
        load.from_pretrained(run / "reward")
    card = (run / "reward" / "README.md").read_text()
    assert "Only raterhf loads it" in card and "raterhf score" in card
    policy = AutoModelForCausalLM.from_pretrained(run / "policy")
    assert torch.equal(policy.get_input_embeddings().weight, load_policy(run / "policy")[0].lm.get_input_embeddings().weight)


@pytest.mark.parametrize("name", ["raterhf.json", "raters.json"])
def test_another_schema_is_refused(damaged, name):
    path = damaged / "policy" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    fails("sample", damaged, "--prompt", "Hi", says=("schema 99", "train it again"))


@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_missing_weights_are_not_made_up(damaged, answers, stage):
    """A folder of an older version, whose reader has fewer weights, must not be filled with random ones."""
    path = damaged / stage / "raterhf.safetensors"
    weights = load_file(path)
    del weights["reader.null"]
    save_file(weights, path)
    asked = ("sample", damaged, "--prompt", "Hi") if stage == "policy" else ("score", damaged, answers, "--raters", "ann")
    fails(*asked, says=("reader.null", str(damaged / stage)))


@pytest.mark.parametrize("stage", ["policy", "reward"])
@pytest.mark.parametrize("name", [None, "raterhf.safetensors"])
def test_weights_that_are_no_numbers_are_named(damaged, answers, stage, name):
    path = damaged / stage / (name or WEIGHTS[stage])
    weights = load_file(path)
    key = next(key for key in weights if weights[key].is_floating_point() and weights[key].numel() > 1)
    weights[key].view(-1)[1] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    command = ("sample", damaged, "--prompt", "Hi") if stage == "policy" else ("score", damaged, answers, "--raters", "ann")
    fails(*command, says=("hold NaN or infinity", key.removeprefix("model."), "train that stage again"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--temperature", "nan"], "temperature"),
        (["--temperature", "inf"], "temperature is inf"),
        (["-n", "99999999999"], "Invalid value for '-n'"),
        (["--seed", str(2**32)], "Invalid value for '--seed'"),
        (["--max-new-tokens", "9" * 30], "Invalid value for '--max-new-tokens'"),
        (["--rater", "new:" + "9" * 5000], "fictitious raters have numbers up to"),
    ],
)
def test_numbers_beyond_reason_are_refused(run, options, says):
    result = invoke("sample", run, "--prompt", "Roll a die.", *options)
    assert result.exit_code == 2 and says in result.stderr and result.stdout == ""


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("raterhf.json", "dim", "2"), ("raterhf.json", "tokens", [2]), ("raterhf.json", "max_length", -1), ("raterhf.json", "dim", 10**9),
        ("raters.json", "ids", ["ann", ["bob"], "cy"]), ("raters.json", "text_template", None), ("raters.json", "personas", [1]),
    ],
)  # fmt: skip
def test_a_file_of_a_run_that_holds_another_type_is_damaged(damaged, file, key, value):
    path = damaged / "policy" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    fails("sample", damaged, "--prompt", "Roll a die.", "--rater", "ann", says=f"{file} is damaged (`{key}")


def test_a_tokenizer_that_does_not_fit_its_model_is_named():
    tokenizer = train_tokenizer(["Roll a die."], 300)
    lm = build_model(CONFIG, tokenizer, 48, 0)
    tokenizer.add_tokens(["<one more>"])
    with pytest.raises(UserError, match="tokenizer has .* tokens, the model's vocabulary .*: they do not belong together"):
        make_idiosyncratic(2, lm, tokenizer)


def test_a_configuration_of_giants_is_refused_before_it_is_built(tmp_path):
    tokenizer = train_tokenizer(["Roll a die."], 300)
    for key in ("num_hidden_layers", "hidden_size", "intermediate_size"):
        with pytest.raises(UserError, match=f"{key} is 1000000000, and no model has more than"):
            build_model(CONFIG | {key: 10**9}, tokenizer, 48, 0)
    build_model(CONFIG, tokenizer, 48, 0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 10**9, "layer_types": None}))
    with pytest.raises(UserError, match="num_hidden_layers is 1000000000"):
        load_pretrained(tmp_path)
