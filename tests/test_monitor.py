"""MonitorSettings while training: they change no weight, name what collapsed, and stop, slow and resume."""

import json
import re
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from test_training import FORWARD_KL, RLOO, assert_same_weights, copy_before, interrupt, make_recipe, weights
from test_training import data as data  # fixtures
from test_training import done as done

from raterhf.engine import rater_policy
from raterhf.errors import UserError
from raterhf.recipe import MonitorSettings
from raterhf.training import monitor as collapsing
from raterhf.training import pipeline, start
from raterhf.training.training_curve import count_answers, describe, extend_training_curve, name_answer
from raterhf.worlds.world import load_world

pytestmark = pytest.mark.usefixtures("one_thread")
MONITOR = MonitorSettings(every=2, samples=32, prompts=2)


@pytest.fixture(autouse=True)
def ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def says_one_thing(monkeypatch, after: int) -> None:
    """Let a model answer the letter of each rater in turn up to a look, and then one letter."""
    looks = []

    def text(tokenizer, example) -> str:
        looks.append(None)
        number = len(looks) - 1
        return "heads" if number >= 2 * MONITOR.samples * after else f"answer {number % 8}"

    monkeypatch.setattr(rater_policy, "completion_text", text)


@pytest.mark.parametrize(("stage", "settings"), [("base", None), ("sft", None), ("policy", FORWARD_KL), ("policy", RLOO)])
def test_weights_are_the_same_with_probes_and_without(done, data, tmp_path, stage, settings):
    changes = {} if settings is None else {"policy": make_recipe(data, tmp_path, policy=settings).policy}
    plain = copy_before(done, stage, tmp_path / "plain", **changes)
    pipeline.train_stage(plain, stage, plain.folder / stage)
    probed = copy_before(done, stage, tmp_path / "probed", **changes, monitor=MONITOR)
    pipeline.train_stage(probed, stage, probed.folder / stage)
    assert_same_weights(plain.folder / stage, probed.folder / stage)
    curve = pd.read_csv(probed.folder / stage / "training_curve.csv")
    assert curve.step.tolist() == (list(range(0, 13, 2)) if stage == "base" else [0, 2, 4, 5])  # the last step is looked at
    assert curve.top_share.between(0, 1).all() and (curve.diversity >= 1).all()
    if stage == "policy":
        assert np.isfinite(curve[["reward", "kl", "entropy"]]).all(axis=None)
        assert curve.kl[0] == pytest.approx(0, abs=1e-5)  # it begins as the reference
    log = pd.read_csv(probed.folder / stage / "metrics.csv")
    there = log[log["monitor/diversity"].notna()]
    assert there.step.tolist() == [max(0, step - 1) for step in curve.step]
    assert (there["monitor/diversity_low"] <= there["monitor/diversity"]).all() and there["monitor/cost"].iloc[1:].between(0, 1).all()
    if stage == "base":
        assert log["train/loss"].notna().sum() == 1
    # the probes of another recipe train nothing again
    assert pipeline._finished(probed.folder / stage, pipeline._inputs(plain, stage))


@pytest.mark.parametrize("encoding", ["text", "none"])
def test_other_encodings_are_watched(data, done, tmp_path, encoding):
    recipe = make_recipe(data, tmp_path, raters={"encoding": encoding}, monitor=MONITOR.model_dump())
    shutil.copytree(done.folder / "base", recipe.folder / "base")
    pipeline.train(recipe)
    assert len(pd.read_csv(recipe.folder / "policy" / "training_curve.csv")) == 4


def test_a_warning_names_the_question(done, tmp_path, monkeypatch, capsys):
    recipe = copy_before(done, "policy", tmp_path, monitor=MONITOR)
    says_one_thing(monkeypatch, after=2)
    pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
    line, _ = [line for line in capsys.readouterr().out.splitlines() if "mode collapse" in line]
    different = list(dict.fromkeys(start.all_prompts(pipeline.prepare.read_data(recipe))))
    watched = collapsing.choose_prompts(different, 2, recipe.seed, None)
    assert all(repr(prompt) in line for prompt in watched)
    assert "at step 4" in line and "1.0 different answers" in line and "0.5 of the" in line and "monitor.alarm=stop" in line
    assert re.search(r"of 32 answers \d+ were different then, 1 now", line)


def test_a_diverse_policy_raises_no_alarm(done, tmp_path, monkeypatch, capsys):
    recipe = copy_before(done, "policy", tmp_path, monitor=MONITOR)
    says_one_thing(monkeypatch, after=99)
    pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
    assert "mode collapse" not in capsys.readouterr().out


def test_an_untrained_model_raises_no_alarm(done, tmp_path, monkeypatch, capsys):
    recipe = copy_before(done, "base", tmp_path, monitor=MONITOR)
    says_one_thing(monkeypatch, after=1)
    pipeline.train_stage(recipe, "base", recipe.folder / "base")
    assert "mode collapse" not in capsys.readouterr().out


def test_stop_saves_the_state_and_resumes(done, tmp_path, monkeypatch, capsys):
    stopping = MONITOR.model_copy(update={"alarm": "stop"})
    recipe = copy_before(done, "policy", tmp_path, monitor=stopping)
    folder = recipe.folder / "policy"
    with monkeypatch.context() as patched:
        says_one_thing(patched, after=2)
        with pytest.raises(UserError, match="mode collapse at step 4.*go on from here with monitor.alarm=warn"):
            pipeline.train_stage(recipe, "policy", folder)
    assert not (folder / "stage.json").exists() and (folder / "state").is_dir()
    capsys.readouterr()
    pipeline.train_stage(recipe.model_copy(update={"probes": MONITOR}), "policy", folder)
    assert "policy: resuming at step 4 of 5" in capsys.readouterr().out
    assert_same_weights(folder, done.folder / "policy")


def test_slow_halves_the_rate_and_resumes_to_the_same_weights(done, tmp_path, monkeypatch, capsys):
    slowing = MONITOR.model_copy(update={"alarm": "slow"})

    def trained(name: str, at: int | None):
        recipe = copy_before(done, "policy", tmp_path / name, monitor=slowing)
        if at is not None:
            with monkeypatch.context() as patched:
                says_one_thing(patched, after=1)
                interrupt(patched, at)
                with pytest.raises(KeyboardInterrupt):
                    pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
            with safe_open(recipe.folder / "policy" / "state" / "state.safetensors", "pt") as file:
                state = json.loads(file.metadata()["extra"])["monitor"]
            assert state["pace"] == 0.5 and np.sum(state["counts"]) == 2 * MONITOR.samples
        with monkeypatch.context() as patched:
            says_one_thing(patched, after=1 if at is None else 0)
            pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
        return recipe.folder / "policy"

    whole = trained("whole", None)
    assert capsys.readouterr().out.count("The learning rate is 0.") == 2  # at steps 2 and 4
    assert_same_weights(whole, trained("parts", 3))
    assert any(not torch.equal(value, weights(done.folder / "policy")[key]) for key, value in weights(whole).items())
    curve = pd.read_csv(whole / "training_curve.csv")
    assert curve.step.tolist() == [0, 2, 4, 5]


def test_looks_after_the_state_are_taken_again(done, tmp_path, monkeypatch):
    recipe = copy_before(done, "policy", tmp_path, monitor=MONITOR.model_copy(update={"every": 1}))
    with monkeypatch.context() as patched:
        interrupt(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
    curve = recipe.folder / "policy" / "training_curve.csv"
    before = pd.read_csv(curve)
    assert before.step.tolist() == [0, 1, 2, 3]
    pipeline.train_stage(recipe, "policy", recipe.folder / "policy")
    after = pd.read_csv(curve)
    assert after.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert after.iloc[:4].equals(before)


def test_answers_and_their_figures():
    world = load_world("dice")
    die = next(q for q in world.questions if q.key == "die")
    prompt, four = die.prompts[0], [die.texts[int(np.flatnonzero((die.class_of == 3) & (die.wording_of == w))[0])] for w in (0, 1)]
    assert four[0] != four[1] and {name_answer(prompt, text, world) for text in four} == {die.classes[3]}
    assert name_answer(prompt, "No idea, sorry!", None) == name_answer(prompt, " no IDEA sorry", None)
    assert name_answer(prompt, "?!", None) == "?!"
    assert count_answers([["a", "b", "a"], ["c", "c", "c"]]).tolist() == [[2, 1], [3, 0]]
    said = describe([prompt] * 4, [*four, die.texts[0], "qqq"], world)
    assert said["top_share"] == 0.5 and said["diversity"] == pytest.approx(6)
    assert said["gold"] == pytest.approx(np.mean([world.gold(prompt, text) for text in (*four, die.texts[0], "qqq")]))
    assert "overrated" not in said
    story = next(q for q in load_world("companion").questions if q.bonus.any())
    loved, other = (story.texts[int(i)] for i in (story.bonus.argmax(), story.bonus.argmin()))
    assert describe([story.prompts[0]] * 4, [loved, other, other, "qqq"], load_world("companion"))["overrated"] == 0.25


def test_an_earlier_trainings_looks_go(tmp_path):
    for step in (0, 10, 20, 0, 10):
        extend_training_curve(tmp_path / "training_curve.csv", {"step": step, "gold": step / 10})
    assert pd.read_csv(tmp_path / "training_curve.csv").to_dict("list") == {"step": [0, 10], "gold": [0, 1]}
