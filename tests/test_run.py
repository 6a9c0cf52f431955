"""The public API: an opened run, loaded once, and what it answers and scores."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from small_run import rows_of, succeeds

import raterhf
from raterhf import run as running

PAIRS = [("Roll a die.", "1"), ("Roll a die.", "6"), ("Flip a coin.", "2 3")]


@pytest.fixture
def opened(run) -> raterhf.Run:
    return raterhf.open(run)


def test_the_public_names_are_these():
    public = "Answer Exported FittedRater Recipe Run UserError check_data compare drop_raters load_recipe load_world metrics open train"
    assert raterhf.__all__ == public.split()
    assert all(inspect.getdoc(getattr(raterhf, name)) for name in raterhf.__all__)
    methods = [name for name, value in vars(raterhf.Run).items() if not name.startswith("_")]
    asked = [
        "raters",
        "sample",
        "sample_where_possible",
        "log_probs",
        "score",
        "score_where_possible",
        "fit_rater",
        "add_raters",
        "export",
        "ask",
    ]
    assert methods == [*asked, "reward_function", "policy"]
    with pytest.raises(AttributeError, match="no attribute 'opne'; public names: Answer, "):
        raterhf.opne  # noqa: B018


def test_models_are_loaded_once_and_only_when_asked(run, monkeypatch):
    loads = []
    for name in ("load_policy", "load_reward"):
        load = getattr(running, name)
        monkeypatch.setattr(running, name, lambda folder, *where, load=load: loads.append(folder.name) or load(folder, *where))
    opened = raterhf.open(str(run))
    assert opened.raters.known == ["ann", "bob", "cy"] and loads == []
    for _ in range(2):
        opened.sample("Roll a die.")
        opened.score(PAIRS)
        opened.log_probs(PAIRS)
    assert loads == ["policy", "reward"]


def test_a_text_is_one_prompt_and_a_list_is_several(opened):
    alone = opened.sample("Roll a die.", "new:7", n=2)
    assert [answer.prompt for answer in alone] == ["Roll a die."] * 2 and {answer.rater for answer in alone} == {"new:7"}
    assert [answer.prompt for answer in opened.sample(["Roll a die.", "Flip a coin."], "ann")] == ["Roll a die.", "Flip a coin."]


def test_the_command_line_says_the_same(run, opened):
    printed = rows_of(succeeds("sample", run, "--prompt", "Roll a die.", "--rater", "new", "-n", 3, "--seed", 1))
    answers = opened.sample("Roll a die.", "new", n=3, seed=1)
    assert [(row["rater"], row["completion"], row["log_prob"]) for row in printed] == [(a.rater, a.completion, a.log_prob) for a in answers]


def test_answers_are_heard_while_they_grow_and_may_be_stopped(opened):
    told: list[dict[int, str]] = []
    answers = opened.sample(["Roll a die.", "Flip a coin."], "new", n=3, seed=1, heard=lambda grown: told.append(dict(grown)))
    assert answers == opened.sample(["Roll a die.", "Flip a coin."], "new", n=3, seed=1)
    last: dict[int, str] = {}
    for grown in told:
        assert all(text.startswith(last.get(i, "").rstrip("\ufffd")) for i, text in grown.items())
        last |= grown
    assert [last[i] for i in range(6)] == [answer.completion for answer in answers]

    def enough(grown: dict[int, str]) -> None:
        told.append(grown)
        raise KeyError("stop")

    told.clear()
    opened.policy.policy.train()
    with pytest.raises(KeyError, match="stop"):
        opened.sample("Roll a die.", "new", n=3, heard=enough)
    assert len(told) == 1 and opened.policy.policy.training  # as it was before
    opened.policy.policy.eval()


def test_a_point_of_rater_space_answers_scores_and_stays_itself(opened, run):
    point = opened.raters.at(np.array([0.12345, -1.0]))
    assert point.id == "new:[0.123,-1]" and point.vector[:2].tolist() == pytest.approx([0.123, -1.0])
    again = rows_of(succeeds("sample", run, "--prompt", "Roll a die.", "--rater", point.id, "-n", 2))
    assert [row["rater"] for row in again] == [point.id] * 2
    assert list(opened.score(PAIRS, [point.id, "ann"]).index) == [point.id, "ann"]


def test_distributions_along_a_text_are_those_after_each_of_its_tokens(opened):
    policy, people = opened.policy, [opened.raters.by_id("ann"), opened.raters.fictitious(7)]
    whole = policy.renderer.example("Roll a die.", "1 2 3").ids
    along = policy.distributions_along([whole, whole[:-1]], people, 3)
    for place in range(3):
        cut = len(whole) - 2 + place
        expected = policy.next_distributions([whole[:cut], whole[: cut - 1]], people)
        np.testing.assert_allclose(along[:, place], expected, atol=1e-5)


def test_scores_are_a_table_of_raters_and_pairs(opened):
    scores = opened.score(PAIRS, raters=["ann", "none", "new:4x"])
    assert scores.shape == (6, 3) and list(scores.index[:2]) == ["ann", "none"] and list(scores.columns) == [0, 1, 2]
    frame = pd.DataFrame(PAIRS, columns=["prompt", "completion"])
    dicts = [{"prompt": prompt, "completion": answer} for prompt, answer in PAIRS]
    for same in (frame, dicts):
        pd.testing.assert_frame_equal(opened.score(same, raters=["ann", "none", "new:4x"]), scores)
    assert (opened.score(PAIRS, "ann", idiosyncratic=True) - scores.loc[["ann"]]).abs().max(axis=None) > 0


def test_log_probs_are_those_of_the_samples(opened):
    answers = opened.sample(["Roll a die.", "Flip a coin."], "bob", seed=3)
    whole = [answer for answer in answers if answer.finished]
    found = opened.log_probs([(answer.prompt, answer.completion) for answer in whole], "bob")
    assert found.shape == (len(whole),)
    np.testing.assert_allclose(found, [answer.log_prob for answer in whole], atol=1e-5)
    assert (opened.log_probs(PAIRS, "bob") != opened.log_probs(PAIRS, "none")).all()


def test_raters_are_known_grouped_and_drawn(opened, run):
    assert opened.raters.personas == {"sailor": ["ann", "bob"]} and opened.raters.groups["cy"] == "south"
    assert opened.raters.population.draws(5, seed=0).shape == (5, 2)
    base = raterhf.open(run / "base")
    assert base.raters.known == []
    with pytest.raises(raterhf.UserError, match="knows no raters"):
        _ = base.raters.population


def test_a_reward_function_of_trl_scores_each_prompt_for_one_rater(opened):
    prompts, completions = [prompt for prompt, _ in PAIRS], [answer for _, answer in PAIRS]
    known = opened.reward_function("ann")
    np.testing.assert_allclose(known(prompts=prompts, completions=completions), opened.score(PAIRS, "ann").loc["ann"], atol=1e-5)
    messages = [[{"role": "assistant", "content": answer}] for answer in completions]
    assert known(prompts=prompts, completions=messages, trainer_state=None) == known(prompts=prompts, completions=completions)
    by_column = opened.reward_function("none")(prompts=prompts, completions=completions, rater_id=["ann", "ann", "bob"])
    table = opened.score(PAIRS, ["ann", "bob"]).to_numpy()
    np.testing.assert_allclose(by_column, [table[0, 0], table[0, 1], table[1, 2]], atol=1e-5)
    fresh = opened.reward_function("new", seed=1)
    first, second = (fresh(prompts=["Roll a die."] * 2, completions=["1", "1"]) for _ in range(2))
    assert first[0] == pytest.approx(first[1]) and first != second
    assert opened.reward_function("new", seed=1)(prompts=["Roll a die."] * 2, completions=["1", "1"]) == first
    assert fresh.__name__ == "raterhf_reward"


# What others wrote is imported once; each name is looked up in a process that has imported nothing of ours.
FRESH = """
import os, torch, transformers, lightning, peft, pandas, matplotlib.figure, scipy.stats, sklearn.metrics
for name in ("metrics", "open", "load_world"):
    if (child := os.fork()) == 0:
        exec(f"from raterhf import {name}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_every_public_name_is_found_in_a_fresh_interpreter():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr


def test_mistakes_of_a_reward_function_are_named(opened, run):
    ask = {"prompts": ["Roll a die."], "completions": ["1"]}
    with pytest.raises(raterhf.UserError, match="'all' stands for 3 raters, a reward asks one"):
        opened.reward_function("all")(**ask)
    with pytest.raises(raterhf.UserError, match="a group narrows"):
        opened.reward_function("ann", group="south")(**ask)


MISTAKES = {
    "give \\(prompt, completion\\)": lambda run: run.score(["6"]),
    "pairs are 'Roll a die.'": lambda run: run.score("Roll a die."),
    "pair 0: completion is empty": lambda run: run.score([("Roll a die.", " ")]),
    "pair 1 \\(counted from 0\\) example .* has": lambda run: run.score([PAIRS[0], ("Roll a die.", "1 " * 200)]),
    "rater 'all' stands for 3 raters": lambda run: run.log_probs(PAIRS, "all"),
    "rater 'zoe' is not known": lambda run: run.sample("Roll a die.", "zoe"),
    "prompt '' is empty": lambda run: run.sample([""]),
    "runs/nowhere does not exist": lambda run: raterhf.open("runs/nowhere"),
}


@pytest.mark.parametrize("says", MISTAKES)
def test_mistakes_are_named(opened, says):
    with pytest.raises(raterhf.UserError, match=says):
        MISTAKES[says](opened)


@pytest.mark.parametrize("spec", [7, None, ["new"], 1.5])
def test_who_judges_is_a_text(opened, spec):
    for ask in (
        lambda: opened.sample("Roll a die.", rater=spec),
        lambda: opened.log_probs(PAIRS, rater=spec),
        lambda: opened.score(PAIRS, raters=[spec]),
        lambda: opened.reward_function(rater=spec),
    ):
        with pytest.raises(raterhf.UserError, match='is no text; give "new", "new:7"'):
            ask()


def test_a_run_says_what_it_is_and_a_folder_of_runs_which_it_holds(opened, run):
    assert repr(opened).startswith(f"raterhf.open('{run}'): stage policy, on ")
    with pytest.raises(raterhf.UserError, match=f"runs in it: .*{run.name}"):
        raterhf.open(run.parent)
