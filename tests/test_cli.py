"""The command line: what the verbs print, and that a mistake is one message and exit code 2, never a traceback."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from raterhf import cli
from raterhf.cli import app
from raterhf.data import make
from raterhf.data.batches import Renderer, collate
from raterhf.inference import requests
from raterhf.inference.sampler import Sampler
from raterhf.models.backbone import build_model, train_tokenizer
from raterhf.models.checkpoint import load_policy, load_pool, load_reward, save_policy, save_reward
from raterhf.models.own_noise import make_own_noise
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population
from raterhf.recipe import load_recipe
from raterhf.training import stages

ROOT = Path(__file__).parents[1]
DICE = str(ROOT / "recipes" / "dice.yaml")
# The environment without what conftest.py has set, so that the command line must see to it.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "TOKENIZERS_"))}
CONFIG = {
    "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True,
}  # fmt: skip


def invoke(*args: object):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def succeeds(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*args: object, says: str | tuple[str, ...]) -> str:
    """A mistake: exit code 2, nothing on stdout, one message on stderr."""
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for part in [says] if isinstance(says, str) else says:
        assert part in result.stderr, f"{part!r} is not in {result.stderr}"
    return result.stderr


def rows_of(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def one_gaussian(mean: float) -> Population:
    return Population(np.ones(1), np.full((1, 2), mean), np.eye(2)[None])


def save_run(root: Path, encoding: str) -> Path:
    """A run folder of untrained models: raters ann (north), bob and cy (south), persona sailor."""
    soft = encoding == "embedding"
    dim, own_dim = (2, 2) if soft else (0, 0)
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    populations = {"": one_gaussian(0.0), "group:south": one_gaussian(1.0), "persona:sailor": one_gaussian(-1.0)} if soft else {}
    vectors = np.random.default_rng(0).standard_normal((3, dim)).astype(np.float32)
    groups = {"ann": "north", "bob": "south", "cy": "south"}
    pool = RaterPool(["ann", "bob", "cy"], vectors, own_dim, encoding, {"sailor": ["ann", "bob"]}, groups, populations)
    for seed, stage in enumerate(("sft", "policy")):
        lm = build_model(CONFIG, tokenizer, 48, seed)
        save_policy(root / stage, Policy(lm, dim, 2, make_own_noise(own_dim, lm, tokenizer)), tokenizer, pool, 48, {})
    lm = build_model(CONFIG, tokenizer, 48, 2)
    model = RewardModel(lm.get_decoder(), dim, 2, "head", make_own_noise(own_dim, lm, tokenizer))
    save_reward(root / "reward", model, lm, tokenizer, pool, 48, {})
    save_policy(root / "base", Policy(build_model(CONFIG, tokenizer, 48, 3), 0, 0), tokenizer, None, 48, {})
    (root / "policy" / "recipe.resolved.yaml").write_text("policy: {max_new_tokens: 6}\n")
    return root


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("runs") / "tiny", "embedding")


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("text_runs") / "tiny", "text")


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({"prompt": "Roll a die.", "completion": str(i)}) + "\n" for i in range(1, 6)))
    return path


@pytest.fixture
def damaged(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "damaged"))


# Starting up


def test_help_is_quick_and_loads_nothing_heavy():
    heavy = "[m for m in ('torch', 'transformers', 'pandas', 'numpy', 'pydantic', 'yaml') if m in sys.modules]"
    loaded = subprocess.run([sys.executable, "-c", f"import raterhf.cli, sys; print({heavy})"], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "raterhf.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["sample", "--help"], ["recipes", "--help"], ["data", "make", "--help"]])
def test_help_of_verbs(args):
    assert "Usage:" in succeeds(*args)


def test_version():
    assert succeeds("--version").strip().count(".") == 2


def test_a_reader_that_has_gone_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "raterhf.cli", "train", DICE, "--dry-run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


def test_a_mistake_leaves_the_process_with_code_2_and_no_traceback():
    done = subprocess.run([sys.executable, "-m", "raterhf.cli", "train", "absent.yaml"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: recipe absent.yaml does not exist") and "Traceback" not in done.stderr


def test_a_verb_prints_its_result_and_nothing_else(run):
    done = subprocess.run([sys.executable, "-m", "raterhf.cli", "sample", run, "--prompt", "Hi"], capture_output=True, text=True, env=PLAIN)
    assert done.stderr == "" and len(rows_of(done.stdout)) == 1


# train, recipes


def test_dry_run_prints_the_resolved_recipe():
    printed = yaml.safe_load(succeeds("train", DICE, "policy.beta=0.1", "--dry-run"))
    assert printed["policy"]["beta"] == 0.1 and printed["raters"]["noise"] == 1.0


def test_mistakes_in_a_recipe_name_the_key():
    fails("train", DICE, "policy.beat=1", says="did you mean `policy.beta`?")
    fails("train", DICE, "raters.encoding=telepathy", "--dry-run", says="`raters.encoding` is 'telepathy'")
    fails("train", DICE, "policy.beta", says="KEY=VALUE")


def test_an_interrupt_says_how_to_resume(monkeypatch):
    def interrupt(recipe):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train", interrupt)
    result = invoke("train", DICE)
    assert result.exit_code == 130
    assert "Run the same command again: it resumes." in result.stderr


@pytest.mark.slow
def test_an_interrupted_training_keeps_its_state_and_says_so(tmp_path):
    (tmp_path / "base.csv").write_text("prompt,completion\n" + "Roll a die.,4\n" * 20)
    recipe = {
        "name": "long", "runs": str(tmp_path / "runs"), "data": {"base": str(tmp_path / "base.csv")},
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 48}, "base": {"steps": 100_000, "lr": 0.001, "save_every": 5},
    }  # fmt: skip
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "raterhf.cli", "train", str(tmp_path / "long.yaml")]
    state = tmp_path / "runs" / "long" / "base" / "state" / "state.safetensors"
    for said in ("base: training", "resuming at step"):
        before = state.stat().st_mtime_ns if state.is_file() else None
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (not state.is_file() or state.stat().st_mtime_ns == before):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "it resumes" in err and said in out and state.is_file()


def test_the_network_is_used_only_where_a_recipe_names_the_hub(tmp_path, monkeypatch):
    def offline(*overrides: str, **env: str) -> str | None:
        monkeypatch.setattr(os, "environ", env)
        cli._hush(load_recipe(DICE, overrides))
        return os.environ.get("HF_HUB_OFFLINE")

    monkeypatch.chdir(ROOT)
    assert offline() == offline(f"model.path={tmp_path}") == "1"
    assert offline("model.path=org/model") == offline("data.ratings=org/ratings")
    assert offline("model.path=org/model") is None
    assert offline("model.path=org/model", HF_HUB_OFFLINE="1") == "1"


def test_recipes_are_listed_and_checked():
    assert any(line.split("\t")[0] == "dice" for line in succeeds("recipes", "ls").splitlines())
    assert "stages base, reward, sft, policy" in succeeds("recipes", "check", DICE)
    assert "note: data file nowhere.csv is not there" in succeeds("recipes", "check", DICE, "data.base=nowhere.csv")
    fails("recipes", "check", DICE, "nmae=x", says="did you mean `name`?")


def test_recipes_cp_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeeds("recipes", "cp", "dice")
    assert Path("dice.yaml").read_bytes() == Path(DICE).read_bytes()
    Path("dice.yaml").write_text("mine")
    fails("recipes", "cp", "dice", says="dice.yaml exists")
    fails("recipes", "cp", "dice", ".", says="dice.yaml exists")
    assert Path("dice.yaml").read_text() == "mine"
    succeeds("recipes", "cp", "dice", "other.yaml")
    fails("recipes", "cp", "dice", "no/where.yaml", says="no folder no")
    fails("recipes", "cp", "dcie", says="there are: ")


# data


def test_data_make_gives_the_committed_bytes(tmp_path):
    succeeds("data", "make", "dice", "--seed", "0", "--out", tmp_path / "dice")
    # The card and its picture stand beside the files.
    committed = {path.name: path.read_bytes() for path in (ROOT / "data" / "dice").iterdir() if path.name not in ("README.md", "demo.png")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "dice").iterdir()} == committed


def test_data_make_destroys_nothing_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "dice_files", lambda folder, seed, name: (folder / "base.csv").write_text(f"seed {seed}"))
    out = tmp_path / "new" / "dice"
    assert "base.csv" in succeeds("data", "make", "dice", "--out", out)
    assert "byte for byte" in succeeds("data", "make", "dice", "--out", out)
    fails("data", "make", "dice", "--seed", 1, "--out", out, says="holds other base.csv")
    assert (out / "base.csv").read_text() == "seed 0"
    succeeds("data", "make", "dice", "--seed", 1, "--out", out, "--force")
    assert (out / "base.csv").read_text() == "seed 1"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    fails("data", "make", "dice", "--out", tmp_path / "mine", says="is not empty")
    fails("data", "make", "dice", "--out", tmp_path / "mine" / "diary.txt", says="is a file")
    fails("data", "make", "cards", says="there are: dice")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["base.csv", "diary.txt", "dice", "mine", "new"]


@pytest.fixture
def labels(tmp_path):
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y", "rater_id": rater} for rater in ("r1", "r2")]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_check_describes_files_and_recipes(labels, tmp_path):
    figures = json.loads(succeeds("data", "check", "--comparisons", labels, "--json"))
    assert (figures["raters"], figures["comparisons"], figures["labels"]) == (2, 2, 2)
    assert "raters with one label" in succeeds("data", "check", "--comparisons", labels)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: r\ndata: {{comparisons: {labels}, validate_share: 0}}\n")
    assert json.loads(succeeds("data", "check", recipe, "--json")) == figures
    assert json.loads(succeeds("data", "check", recipe, "data.validate_share=0.5", "--json"))["raters_validate"] == 1


def test_data_check_explains_mistakes(labels, tmp_path):
    fails("data", "check", says="give one of the two")
    fails("data", "check", DICE, "--comparisons", labels, says="give one of the two")
    fails("data", "check", labels, says=f"--comparisons {labels}")
    fails("data", "check", "--ratings", labels, says="no column response")
    fails("data", "check", "--comparisons", tmp_path / "no.csv", says="no such file")


# sample


def sampled(run: Path, *args: object) -> list[dict]:
    return rows_of(succeeds("sample", run, "--prompt", "Roll a die.", *args))


def test_new_asks_n_people_every_prompt(run):
    rows = sampled(run, "--prompt", "And again?", "--rater", "new", "-n", 3)
    assert [row["prompt"] for row in rows] == ["Roll a die."] * 3 + ["And again?"] * 3
    assert [row["rater"] for row in rows[:3]] == [row["rater"] for row in rows[3:]]
    assert len({row["rater"] for row in rows}) == 3
    assert all(row["rater"].startswith("new:") for row in rows)
    assert set(rows[0]) == {"prompt", "completion", "rater", "log_prob", "finished"}


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
    (answer,) = sampler.generate([head], torch.zeros(1, 4), torch.ones(1, dtype=torch.bool), 0, own=True)
    with torch.no_grad():
        embedded = policy.lm.get_input_embeddings()(torch.tensor([answer.ids]))
        logits = policy.lm(inputs_embeds=torch.cat([policy.reader.null[None], embedded], 1)).logits[0]
    laws = torch.log_softmax(logits, -1)
    by_hand = sum(float(laws[2 + i - 1, answer.ids[i]]) for i in range(len(head), len(answer.ids)))
    assert row["log_prob"] == pytest.approx(by_hand, abs=1e-4)
    assert row["finished"] == (answer.ids[-1] == tokenizer.eos_token_id)


def test_length_comes_from_the_recipe_or_the_option(run, monkeypatch):
    lengths = []
    monkeypatch.setattr(requests, "Sampler", lambda *args: lengths.append(args[3]) or Sampler(*args))
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


def test_mistakes_in_prompts_and_folders(run, tmp_path):
    fails("sample", run, says="no prompt; give --prompt")
    fails("sample", run.parent / "tinny", "--prompt", "Hi", says=("does not exist", "tiny"))
    fails("sample", tmp_path, "--prompt", "Hi", says="has no trained stage policy or sft or base")
    fails("sample", run / "reward", "--prompt", "Hi", says="holds a reward model, a policy is needed")
    path = tmp_path / "p.csv"
    path.write_text("question\nHi\n")
    fails("sample", run, "--prompts", path, says="no column prompt; it has question")
    path.write_text('prompt\nHi\n" "\n')
    fails("sample", run, "--prompts", path, says="row 2 (line 3)")
    result = invoke("sample", run, "--prompt", "Hi", "-n", 0)
    assert result.exit_code == 2 and "-n" in result.stderr


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
        alone = model(collate([example], tokenizer.pad_token_id), vector, torch.tensor([False]))
    assert scores[1, 2] == pytest.approx(float(alone), rel=1e-4)


def test_scoring_is_a_function_of_the_seed(run, answers):
    first, again = (scored(run, answers, "--raters", "new:3x") for _ in range(2))
    assert first[0] == again[0] and (first[1] == again[1]).all()
    assert scored(run, answers, "--raters", "new:3x", "--seed", 1)[0] != first[0]


def test_own_noise_is_added_for_raters_and_not_for_nobody(run, answers):
    asked = (run, answers, "--raters", "ann", "--raters", "none")
    plain, whole = scored(*asked)[1], scored(*asked, "--own-noise")[1]
    assert (plain[0] != whole[0]).all() and plain[1] == pytest.approx(whole[1], abs=1e-5)


def test_scores_of_raters_by_text(text_run, answers):
    ids, scores = scored(text_run, answers, "--raters", "all", "--raters", "none")
    assert len(ids) == 4 and scores.shape == (4, 5) and len(np.unique(scores[:, 0])) == 4
    fails("score", text_run, answers, "--raters", "ann", "--own-noise", says="leave out --own-noise")


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
    fails("score", run, path, "--raters", "ann", says=("completion is empty", "row 1"))
    path.write_text("prompt,answer\nHi,Ho\n")
    fails("score", run, path, "--raters", "ann", says="no column completion; it has prompt, answer")


# Damaged folders


@pytest.mark.parametrize("name", ["model.safetensors", "raterhf.safetensors", "raters.safetensors", "raters.json", "raterhf.json"])
@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_a_truncated_file_is_named(damaged, answers, stage, name):
    path = damaged / stage / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    asked = ("sample", damaged, "--prompt", "Hi") if stage == "policy" else ("score", damaged, answers, "--raters", "ann")
    fails(*asked, says=str(damaged / stage))


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
