"""Training end to end with a model of one layer: stages in order, skipped when done, resumed exactly, never half written."""

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing

from raterhf import io
from raterhf.data import prepare
from raterhf.data.comparisons import ComparisonData
from raterhf.errors import UserError
from raterhf.models import checkpoint
from raterhf.models.checkpoint import WEIGHTS, load_policy, load_pool, load_reward, load_training_state, save_training_state
from raterhf.models.load import build_model, train_tokenizer
from raterhf.recipe import DataSettings, Recipe
from raterhf.recipe_reader import parse_recipe
from raterhf.run import open_run
from raterhf.training import fit as fitting
from raterhf.training import pipeline
from raterhf.training.objective import Objective
from raterhf.training.stages import base as base_stage
from raterhf.training.stages import policy as policy_stage
from raterhf.training.stages import reward as reward_stage
from raterhf.training.stages import sft as sft_stage
from raterhf.training.start import new_model
from raterhf.worlds.world import base_corpus, label_people, load_world

STAGES = ("base", "reward", "sft", "policy")
TINY = {
    "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True,
}  # fmt: skip
FORWARD_KL = {
    "algorithm": "forward_kl", "steps": 5, "batch_size": 8, "lr": 1e-3, "save_every": 2, "prompts": 2, "raters": 6, "samples": 6,
    "options": {"choices": 2}, "max_new_tokens": 8,
}  # fmt: skip
RLOO = FORWARD_KL | {"algorithm": "rloo", "prompts": 2, "raters": 2, "samples": 4, "options": {"target_kl": 0.5}}
REWORD = FORWARD_KL | {"algorithm": "reword"}
BEST_OF_N = FORWARD_KL | {"algorithm": "best_of_n"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def ctrl_c():
    """Lightning ignores SIGINT from the first interrupt on; the tests after these shall not."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Twelve raters of the dice world, ten to train on."""
    folder = tmp_path_factory.mktemp("data")
    world = load_world("dice")
    people = world.draw_people(12, 0, "t")
    for kind, frame in label_people(world, people, 0, n_questions=4, n_pairs=5, n_repeats=6, n_ratings=2).items():
        frame.to_csv(folder / f"{kind}.csv", index=False)
    rows = [{"rater_id": r, "persona": None, "split": "train" if i < 10 else "validate"} for i, r in enumerate(people.ids)]
    (folder / "raters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base_corpus(world, 0, n_per_prompt=1).to_csv(folder / "base.csv", index=False)
    return folder


def make_recipe(data: Path, runs: Path, **changes) -> Recipe:
    raw = {
        "name": "tiny", "runs": str(runs),
        "data": {kind: str(data / f"{kind}.csv") for kind in ("comparisons", "demonstrations", "base")}
        | {"raters": str(data / "raters.jsonl")},
        "model": {"config": TINY, "vocab_size": 500, "max_length": 128},
        "raters": {"dim": 3, "idiosyncratic_dim": 8, "tokens": 2, "components": [1, 2], "scales": [1.0]},
        "base": {"steps": 12, "batch_size": 8, "lr": 3e-3, "save_every": 2},
        "reward": {"steps": 6, "batch_size": 32, "lr": 1e-3, "save_every": 2},
        "sft": {"steps": 5, "batch_size": 8, "lr": 1e-3, "save_every": 2},
        "policy": FORWARD_KL,
    }  # fmt: skip
    for key, value in changes.items():
        raw[key] = raw.get(key, {}) | value if isinstance(value, dict) and key != "policy" else value
    return parse_recipe(raw, "the test")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory) -> Recipe:
    """A run whose four stages were trained without interruption."""
    recipe = make_recipe(data, tmp_path_factory.mktemp("runs"))
    pipeline.train(recipe)
    return recipe


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All that a stage has learned: of the raters those whom it trained on, not those who are inferred when training ends."""
    found = {
        f"{path.name}:{key}": value
        for path in sorted(folder.glob("*.safetensors"))
        for key, value in load_file(path).items()
        if key != "covariances"
    }  # fmt: skip
    if "raters.safetensors:vectors" in found:
        found["raters.safetensors:vectors"] = torch.tensor(load_pool(folder).learned().vectors)
    return found


def assert_same_weights(a: Path, b: Path) -> None:
    there, here = weights(a), weights(b)
    assert there.keys() == here.keys() and there
    different = [key for key in there if not torch.equal(there[key], here[key])]
    assert not different, different


def copy_before(done: Recipe, stage: str, runs: Path, **changes) -> Recipe:
    """A recipe whose run folder holds the finished stages before `stage`."""
    for earlier in STAGES[: STAGES.index(stage)]:
        shutil.copytree(done.folder / earlier, runs / "tiny" / earlier)
    return done.model_copy(update={"runs": str(runs), **changes})


def interrupt(monkeypatch, at: int) -> None:
    """Let `fit` run up to a step and then press Ctrl-C."""

    def fit(module, make_batch, *settings, **named):
        def interrupted(step: int):
            if step == at:
                raise KeyboardInterrupt
            return make_batch(step)

        fitting.fit(module, interrupted, *settings, **named)

    for place in (base_stage, reward_stage, sft_stage, policy_stage):
        monkeypatch.setattr(place, "fit", fit)


def test_all_stages_train_and_can_be_used(done):
    folder = done.folder
    for stage in STAGES:
        record = json.loads((folder / stage / "stage.json").read_text())
        assert record["finished"]
        assert (folder / stage / "recipe.resolved.yaml").is_file()
        assert not (folder / stage / "state").exists()
        assert all(torch.isfinite(value).all() for value in weights(folder / stage).values())
    pool = load_pool(folder / "policy")
    assert pool.learned().known == [f"t{i:04d}" for i in range(10)]
    assert pool.vectors.shape == (12, 3) and pool.idiosyncratic_dim == 8
    assert len(pool.populations[""].weights) in (1, 2)
    run = open_run(folder)
    answers = run.sample("Flip a coin.", "new", 3, max_new_tokens=4)
    assert len(answers) == 3 and all(answer.log_prob <= 0 for answer in answers)
    scores = run.score([("Flip a coin.", "heads."), ("Flip a coin.", "tails.")], ["all", "none"])
    assert scores.shape == (13, 2) and scores.index[-1] == "none"


def test_raters_kept_for_validation_are_known_at_the_end(done):
    """As inferred, to every stage, each by their own labels."""
    pools = [load_pool(done.folder / stage) for stage in ("reward", "sft", "policy")]
    for pool in pools:
        assert list(pool.covariances) == ["t0010", "t0011"] == pool.known[10:]
        assert np.array_equal(pool.vectors[10:], pools[0].vectors[10:]) and not np.array_equal(*pool.vectors[10:])
        assert all(np.linalg.eigvalsh(found)[0] > 0 for found in pool.covariances.values())
    assert open_run(done.folder).sample("Flip a coin.", "t0010", max_new_tokens=4)[0].rater == "t0010"


def test_no_stage_trains_on_raters_kept_for_validation_and_they_stay_known(done, tmp_path, monkeypatch):
    recipe = copy_before(done, "policy", tmp_path)
    drawn = []
    draw = Objective.draw_raters
    monkeypatch.setattr(Objective, "draw_raters", lambda self, *given: drawn.append(self.pool.known) or draw(self, *given))
    pipeline.train(recipe)
    assert drawn and all(known == [f"t{i:04d}" for i in range(10)] for known in drawn)
    assert load_pool(recipe.folder / "policy").known[10:] == ["t0010", "t0011"]
    assert_same_weights(done.folder / "policy", recipe.folder / "policy")


def test_training_changes_the_weights(done):
    folder = done.folder
    trunks = [load_file(folder / stage / WEIGHTS.get(stage, WEIGHTS["policy"])) for stage in STAGES]
    for other in trunks[1:]:
        assert any(not torch.equal(trunks[0][key], other[key]) for key in trunks[0])
    readers = [load_file(folder / stage / "raterhf.safetensors")["reader.linear.weight"] for stage in ("sft", "policy")]
    assert not torch.equal(*readers)


def test_nothing_in_a_run_folder_needs_unpickling(done):
    kinds = {path.suffix for path in done.folder.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".yaml", ".md", ".csv", ".jinja"}
    # and nothing half written is left
    assert not [path for path in done.folder.rglob(".*")]


def test_a_second_train_skips_every_stage(done, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*.safetensors")}
    pipeline.train(done)
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if "done before, skipped" in line] == list(STAGES)
    assert before == {path: path.stat().st_mtime_ns for path in done.folder.rglob("*.safetensors")}


def test_stages_depend_on_all_keys_of_the_labels():
    keys = {f"data.{key}" for key in DataSettings.model_fields} - {"data.world", "data.base"}
    assert keys <= set(pipeline.DEPENDS["reward"]) and keys - {"data.held_out"} <= set(pipeline.DEPENDS["sft"])


def test_a_model_folder_that_is_written_anew_is_another_model(data, tmp_path):
    recipe = make_recipe(data, tmp_path)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(tmp_path)})})
    before = pipeline._inputs(recipe, "reward")["model"]
    (tmp_path / "started.json").write_text("{}")  # says when, not what
    assert pipeline._inputs(recipe, "reward")["model"] == before
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert pipeline._inputs(recipe, "reward")["model"] != before


def test_a_stage_whose_files_are_gone_is_trained_again(done, tmp_path, capsys):
    recipe = copy_before(done, "reward", tmp_path)
    (recipe.folder / "base" / "model.safetensors").unlink()
    pipeline.train_stage(recipe, "base", recipe.folder / "base")
    assert "base: trained again, since model.safetensors is gone" in capsys.readouterr().out
    assert_same_weights(recipe.folder / "base", done.folder / "base")


def test_a_stage_whose_files_are_not_those_it_wrote_is_refused(done, tmp_path):
    """To train again would overwrite what somebody changed, or hide that the disk is failing."""
    recipe = copy_before(done, "reward", tmp_path)
    path = recipe.folder / "base" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)  # of the same size
    with pytest.raises(
        UserError, match="model.safetensors is not what the training wrote .* put that file back, or delete .*base to train"
    ):
        pipeline.train_stage(recipe, "base", recipe.folder / "base")
    assert path.read_bytes() == content


def test_the_state_of_another_training_is_not_resumed(done, tmp_path, monkeypatch, capsys):
    """As where somebody copies it, or it could not be removed."""
    recipe = copy_before(done, "sft", tmp_path)
    folder = recipe.folder / "sft"
    with monkeypatch.context() as patched:
        interrupt(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(recipe, "sft", folder)
    state = shutil.copytree(folder / "state", tmp_path / "state")
    changed = recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"lr": 2e-3})})
    with monkeypatch.context() as patched:
        interrupt(patched, 0)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(changed, "sft", folder)
    shutil.copytree(state, folder / "state")
    capsys.readouterr()
    pipeline.train_stage(changed, "sft", folder)
    out = capsys.readouterr().out
    assert "sft: the state there is another training's and is removed" in out and "resuming" not in out
    assert not (folder / "state").exists()
    assert any(not torch.equal(value, weights(done.folder / "sft")[key]) for key, value in weights(folder).items())


def test_state_left_in_a_finished_stage_is_removed(done, tmp_path):
    recipe = copy_before(done, "reward", tmp_path)
    (recipe.folder / "base" / "state").mkdir()
    pipeline.train_stage(recipe, "base", recipe.folder / "base")
    assert not (recipe.folder / "base" / "state").exists()


def test_a_changed_rate_trains_the_stage_and_those_after_it_again(done, data, tmp_path, capsys):
    copy_before(done, "policy", tmp_path)
    recipe = make_recipe(data, tmp_path, reward={"lr": 2e-3}, policy=None)
    pipeline.train(recipe)
    out = capsys.readouterr().out
    assert "base: done before, skipped" in out
    assert "reward: trained again, since reward changed" in out
    assert "sft: trained again, since stage reward changed" in out
    before, after = (weights(Path(folder) / "tiny" / "reward") for folder in (done.runs, tmp_path))
    assert any(not torch.equal(before[key], after[key]) for key in before)
    pipeline.train(recipe)
    assert capsys.readouterr().out.count("done before, skipped") == 3


def test_a_changed_file_and_a_dropped_stage_train_again(done, data, tmp_path, capsys):
    copied = shutil.copytree(data, tmp_path / "data")
    recipe = make_recipe(copied, tmp_path, reward=None, sft=None, policy=None)
    pipeline.train(recipe)
    with open(copied / "base.csv", "a") as file:
        file.write("Flip a coin.,heads.\n")
    pipeline.train(recipe)
    assert "base: trained again, since data.base changed" in capsys.readouterr().out
    assert not pipeline._finished(recipe.folder / "base", pipeline._inputs(recipe, "base") | {"data.base": None})
    shutil.copytree(done.folder / "reward", tmp_path / "plain" / "reward")
    without_base = pipeline._inputs(done.model_copy(update={"base": None}), "reward")
    assert not pipeline._finished(tmp_path / "plain" / "reward", without_base)
    assert "reward: trained again, since stage base changed" in capsys.readouterr().out


@pytest.mark.parametrize(("stage", "at"), [("base", 11), ("reward", 4), ("sft", 3), ("policy", 3)])
def test_an_interrupted_stage_resumes_to_the_same_weights(done, tmp_path, monkeypatch, capsys, stage, at):
    recipe = copy_before(done, stage, tmp_path)
    folder = recipe.folder / stage
    with monkeypatch.context() as patched:
        interrupt(patched, at)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(recipe, stage, folder)
    assert not (folder / "stage.json").exists() and not (folder / "model.safetensors").exists()
    torch.manual_seed(12345)  # another process starts from another state
    pipeline.train_stage(recipe, stage, folder)
    written = capsys.readouterr()
    assert f"{stage}: resuming at step {at // 2 * 2} of" in written.out
    assert f"  {stage} of {recipe.name}: " in written.err  # where there is no terminal
    assert_same_weights(folder, done.folder / stage)
    if stage == "base":  # the one with steps enough for a line of the log
        whole, parts = (pd.read_csv(place / stage / "metrics.csv") for place in (done.folder, recipe.folder))
        assert whole.step.tolist() == [9] and whole.equals(parts)


def test_rloo_steers_its_kl_and_resumes_to_the_same_weights(done, data, tmp_path, monkeypatch):
    settings = make_recipe(data, tmp_path, policy=RLOO).policy
    whole = copy_before(done, "policy", tmp_path / "whole", policy=settings)
    pipeline.train_stage(whole, "policy", whole.folder / "policy")
    parts = copy_before(done, "policy", tmp_path / "parts", policy=settings)
    with monkeypatch.context() as patched:
        interrupt(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(parts, "policy", parts.folder / "policy")
    # the controller has moved beta, and the state remembers it
    assert beta_of(parts.folder / "policy" / "state") != settings.beta
    pipeline.train_stage(parts, "policy", parts.folder / "policy")
    assert_same_weights(whole.folder / "policy", parts.folder / "policy")
    assert weights(whole.folder / "policy")["model.safetensors:model.norm.weight"].std() > 0


def beta_of(state: Path) -> float:
    with safe_open(state / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["extra"])["algorithm"]["beta"]


def test_a_stage_interrupted_under_another_recipe_starts_anew(done, data, tmp_path, monkeypatch, capsys):
    recipe = make_recipe(data, tmp_path, reward=None, sft=None, policy=None)
    with monkeypatch.context() as patched:
        interrupt(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(recipe)
    changed = make_recipe(data, tmp_path, base={"lr": 1e-3}, reward=None, sft=None, policy=None)
    pipeline.train(changed)
    out = capsys.readouterr().out
    assert "base: begun again, since base changed" in out and "resuming" not in out


def full_disk(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_model_there_before(done, tmp_path, monkeypatch):
    for stage, load in (("reward", load_reward), ("policy", load_policy)):
        folder = shutil.copytree(done.folder / stage, tmp_path / stage)
        model, tokenizer, header = load(folder)
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save_file", full_disk)
            with pytest.raises(UserError, match="No space left on device.*what was there before is unchanged. Free some space"):
                if stage == "reward":
                    lm = load_policy(done.folder / "base")[0].lm
                    checkpoint.save_reward(folder, model, lm, tokenizer, load_pool(folder), 128, {})
                else:
                    checkpoint.save_policy(folder, model, tokenizer, load_pool(folder), 128, {})
        assert_same_weights(folder, done.folder / stage)
        load(folder), load_pool(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy", "reward"]


def test_a_full_disk_leaves_the_training_state_there_before(tmp_path, monkeypatch):
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        module(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    step()
    save_training_state(tmp_path / "state", 1, module, optimizer, {"beta": 0.25})
    saved = {key: value.clone() for key, value in module.state_dict().items()}
    step()
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_training_state(tmp_path / "state", 2, module, optimizer, {})
    at, moments, extra = load_training_state(tmp_path / "state", module)
    assert (at, extra) == (1, {"beta": 0.25})
    assert all(torch.equal(module.state_dict()[key], saved[key]) for key in saved)
    assert moments.keys() == {0, 1} and moments[0]["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_full_disk_in_training_is_an_error_that_resumes(done, tmp_path, monkeypatch, capsys):
    recipe = copy_before(done, "sft", tmp_path)
    folder, real, calls = recipe.folder / "sft", checkpoint.save_file, []

    def second_fails(*args, **kwargs):
        calls.append(args)
        (full_disk if len(calls) == 2 else real)(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", second_fails)
        with pytest.raises(UserError, match="No space left"):
            pipeline.train_stage(recipe, "sft", folder)
    pipeline.train_stage(recipe, "sft", folder)
    assert "sft: resuming at step 2 of 5" in capsys.readouterr().out
    assert_same_weights(folder, done.folder / "sft")


@pytest.mark.parametrize("algorithm", [FORWARD_KL, RLOO, REWORD, BEST_OF_N])
@pytest.mark.parametrize("encoding", ["text", "none"])
def test_encodings_without_vectors(done, data, tmp_path, encoding, algorithm):
    recipe = make_recipe(data, tmp_path, raters={"encoding": encoding}, policy=algorithm)
    shutil.copytree(done.folder / "base", recipe.folder / "base")
    pipeline.train(recipe)
    assert load_pool(recipe.folder / "policy").encoding == encoding
    spec = "none" if encoding == "none" else "t0003"
    run = open_run(recipe.folder)
    assert len(run.sample("Flip a coin.", spec, 2, max_new_tokens=3)) == 2
    scores = run.score([("Flip a coin.", "heads.")], spec)
    assert scores.shape == (1, 1) and scores.notna().all(axis=None)


def batch_of(recipe: Recipe, monkeypatch) -> tuple:
    """The first batch of the stage `policy`, without texts that nobody rated, and a tokenizer to read it with."""
    found = []
    recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update={"replay": 0.0})})
    with monkeypatch.context() as patched:
        patched.setattr(policy_stage, "fit", lambda module, batch, *_, **__: found.append(batch(0)))
        policy_stage.run_policy(recipe, recipe.folder / "policy", prepare.read_data(recipe))
    return found[0], load_policy(recipe.folder / "sft")[1]


def test_raters_by_text_stand_in_what_the_policy_stage_asks_and_imitates(done, data, tmp_path, monkeypatch):
    recipe = make_recipe(data, tmp_path, raters={"encoding": "text"}, policy=None)
    shutil.copytree(done.folder / "base", recipe.folder / "base")
    pipeline.train(recipe)

    def asked(algorithm: dict) -> list[str]:
        recipe = make_recipe(data, tmp_path, raters={"encoding": "text"}, policy=algorithm)
        batch, tokenizer = batch_of(recipe, monkeypatch)
        heads = batch.prompts if algorithm is many else [example.prompt.ids for example in batch.examples]
        return [tokenizer.decode(head) for head in heads]

    known = {f"Rater {rater}: " for rater in load_pool(recipe.folder / "sft").known}
    many = RLOO | {"raters": 20, "known_share": 0.5}
    rounds = FORWARD_KL | {"raters": 20, "known_share": 0.5, "batch_size": 80}
    for texts, prompts in ((asked(many), 2), (asked(rounds), 10)):  # of one step's own, and of rounds that are imitated together
        assert len(texts) >= 40
        told = [re.match(r"Rater t\d+: ", text).group() for text in texts]
        assert known & set(told) and set(told) - known
        assert len({text.removeprefix(rater) for text, rater in zip(texts, told)}) == prompts


def test_the_policy_stage_renders_conversations_as_the_stages_before_it(data, tmp_path, monkeypatch):
    tokenizer = train_tokenizer(["Flip a coin.", "user assistant"], 300)
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    tokenizer.chat_template = "<bos>{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    build_model(TINY, tokenizer, 128, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    files, asked = {"base": None}, set()
    for kind in ("comparisons", "demonstrations"):
        rows = pd.read_csv(data / f"{kind}.csv")
        rows = rows[rows.rater_id.isin(sorted(set(rows.rater_id))[:4])]
        asked |= {tuple(tokenizer(f"[user]{text}[assistant]")["input_ids"]) for text in rows.prompt}
        rows["prompt"] = [[{"role": "user", "content": prompt}] for prompt in rows.prompt]
        files[kind] = str(tmp_path / f"{kind}.jsonl")
        rows.to_json(files[kind], orient="records", lines=True)
    recipe = make_recipe(data, tmp_path, base=None, reward={"steps": 1}, sft={"steps": 1})
    changes = {"data": recipe.data.model_copy(update=files), "model": recipe.model.model_copy(update={"path": str(tmp_path / "lm")})}
    recipe = recipe.model_copy(update=changes)
    pipeline.train(recipe.model_copy(update={"policy": None}))
    imitated, _ = batch_of(recipe, monkeypatch)
    assert {example.prompt.ids for example in imitated.examples} <= asked
    rloo = recipe.model_copy(update={"policy": make_recipe(data, tmp_path, policy=RLOO).policy})
    assert set(batch_of(rloo, monkeypatch)[0].prompts) <= asked


@pytest.mark.parametrize("conditioning", ["prefix", "suffix"])
def test_other_sites_train(done, data, tmp_path, conditioning, capsys):
    recipe = make_recipe(
        data, tmp_path, reward={"conditioning": conditioning, "steps": 2}, sft={"steps": 2}, policy=FORWARD_KL | {"steps": 2}
    )
    shutil.copytree(done.folder / "base", recipe.folder / "base")
    pipeline.train(recipe)
    model, _, header = load_reward(recipe.folder / "reward")
    assert "the population is chosen by the vectors' density, since conditioning " + conditioning in capsys.readouterr().out
    assert header["conditioning"] == conditioning and model.reader.tokens == 2


def test_learning_rate():
    # 100 steps: five of warm-up, then a cosine to a tenth
    rates = [fitting.learning_rate(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == pytest.approx(1.0) and max(rates) <= 1.0
    assert fitting.learning_rate(52, 100) == pytest.approx(0.5 * (1 + torch.cos(torch.tensor(47 / 95 * torch.pi)).item()))
    assert fitting.learning_rate(100, 100) == pytest.approx(0)
    assert fitting.learning_rate(0, 1) == 1.0
    assert fitting.learning_rate(52, 100, 0.05, "linear") == pytest.approx(1 - 47 / 95)
    assert fitting.learning_rate(52, 100, 0.05, "constant") == fitting.learning_rate(50, 100, 0.5, "cosine") == 1.0
    assert fitting.learning_rate(9, 100, 0.2) == 0.5


def test_a_diverging_training_stops(data, tmp_path):
    recipe = make_recipe(data, tmp_path, reward={"lr": 1e20, "steps": 12}, sft=None, policy=None)
    with pytest.raises(UserError, match="the training diverged; lower the learning rate"):
        pipeline.train(recipe)
    assert not (tmp_path / "tiny" / "reward" / "raterhf.json").exists()


def test_one_rater_left_to_train_on_is_refused_before_anything_is_trained(data, tmp_path):
    rows = pd.read_csv(data / "comparisons.csv")
    rows[rows.rater_id.isin(sorted(set(rows.rater_id))[:2])].to_csv(tmp_path / "two.csv", index=False)
    recipe = make_recipe(data, tmp_path, base=None, sft=None, policy=None)
    two = {"comparisons": str(tmp_path / "two.csv"), "demonstrations": None, "raters": None}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=two)})
    with pytest.raises(UserError, match="1 labelled rater.* to train on beside 1 kept for validation.*data.validate_share=0"):
        pipeline.train(recipe)


def test_bad_labels_are_named_before_a_base_model_is_trained_for_them(data, tmp_path, capsys):
    bad = tmp_path / "comparisons.csv"
    bad.write_text("prompt,chosen,rejected,rater_id\nPick.,a,b,new\n")
    recipe = make_recipe(data, tmp_path)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"comparisons": str(bad)})})
    with pytest.raises(UserError, match="1 bad row"):
        pipeline.train(recipe)
    assert "base: training" not in capsys.readouterr().out


def test_what_cannot_be_written_is_a_message_even_under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        io.write_text(tmp_path / "file" / "a.txt", "text")


def window_from_scratch(recipe) -> int:
    return new_model(recipe.model, ["Roll a die."], recipe.seed, recipe.soft_tokens, recipe.room).lm.config.max_position_embeddings


@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
def test_texts_that_do_not_fit_beside_a_rater_are_refused_before_training(conditioning, data, tmp_path):
    small = {"model": {"config": TINY | {"max_position_embeddings": 128}}, "reward": {"conditioning": conditioning}}
    whole = make_recipe(data, tmp_path, **small)
    reward_alone = whole.model_copy(update={"base": None, "sft": None, "policy": None})
    for recipe in (whole, reward_alone):
        if recipe is reward_alone and conditioning == "head":  # no model reads a rater beside a text
            assert window_from_scratch(recipe) == 128
            continue
        with pytest.raises(UserError, match="a rater's 2 tokens .* more than the 128 positions .* set model.max_length to 126 at most"):
            window_from_scratch(recipe)


def test_a_model_from_scratch_has_room_for_a_prompt_its_rater_and_an_answer(data, tmp_path):
    recipe = make_recipe(data, tmp_path, policy=FORWARD_KL | {"max_new_tokens": 200})
    assert window_from_scratch(recipe) == 128 + 2 + 200


def test_what_is_held_out_is_saved_and_read_again(done, tmp_path):
    saved = json.loads((done.folder / "held_out.json").read_text())
    data = ComparisonData([], np.arange(40) % 7, np.arange(40) % 5 + 7, np.ones(40, int), np.arange(40) % 4, np.zeros(40, int))
    assert saved["rows"] == sorted(set(saved["rows"])) and saved["rows"]
    train, held = prepare.held_out_rows(data, 0.3, 1, tmp_path)
    assert sorted([*train, *held]) == list(range(40)) and 0 < len(held) < 40
    written = json.loads((tmp_path / "held_out.json").read_text())
    assert written["rows"] == held.tolist()
    (tmp_path / "held_out.json").write_text(json.dumps(written | {"rows": [0, 1]}))
    assert prepare.held_out_rows(data, 0.3, 1, tmp_path)[1].tolist() == [0, 1]  # read, not drawn again
    for share, seed in ((0.4, 1), (0.3, 2)):  # another question, another split
        assert prepare.held_out_rows(data, share, seed, tmp_path)[1].tolist() != [0, 1]
    assert prepare.held_out_rows(data, 0.3, 1, None)[1].tolist() == held.tolist()


def test_a_small_model_trains_on_one_thread_and_others_get_theirs_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for parameters, threads in ((fitting.SMALL - 1, 1), (fitting.SMALL, 2)):
            with pytest.raises(KeyError), fitting._threads(torch.nn.Embedding(parameters, 1, device="meta")):
                assert torch.get_num_threads() == threads
                raise KeyError
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
