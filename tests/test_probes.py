"""The probes' common ground: figures with intervals, what is asked of whom, holes, and the verb."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import CONFIG, fails, invoke, succeeds

from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.evaluation.metrics import repertoire
from raterhf.evaluation.metrics.intervals import clopper_pearson
from raterhf.evaluation.probes import numbers
from raterhf.evaluation.probes.distributions import Distributions, distributions_of, etv, gamma
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview
from raterhf.evaluation.probes.load import load_interview, said_by_people
from raterhf.evaluation.probes.measure import CannotMeasure, Measured, difference, false_alarms, measure, recovered
from raterhf.evaluation.probes.questions import Asked, read_questions, shipped_questions
from raterhf.evaluation.probes.suite import merge_probes, run_probes
from raterhf.models import load
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import sampling_distributions
from raterhf.reports.probes import at_gold
from raterhf.worlds.world import load_world


def fixed(value: float, *replicates: float) -> Measured:
    return Measured({"x": value}, {"x": np.array(replicates or (value,))})


def test_a_mean_has_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = measure(lambda rows: {"mean": values[rows].mean()}, 400, np.random.default_rng(1))
    value, low, high = found.interval("mean")
    assert value == values.mean()
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(value - half, abs=0.06) and high == pytest.approx(value + half, abs=0.06)


def test_few_rows_have_students_interval():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = measure(lambda rows: {"mean": values[rows].mean()}, 4, np.random.default_rng(1), 20000)
    # Halves of four are six, whose percentiles are coarse beside Student's 3.182 standard errors: compare the spread.
    assert found.replicates["mean"].std() == pytest.approx(3.182446 / 1.959964 * values.std(ddof=1) / 2, rel=0.03)


def test_an_odd_row_leaves_the_spread_of_a_mean():
    values = np.array([1.0, 2.0, 9.0])  # halves are single rows
    found = measure(lambda rows: {"mean": values[rows].mean()}, 3, np.random.default_rng(1), 20000)
    assert found.replicates["mean"].std() == pytest.approx(4.302653 / 1.959964 * values.std(ddof=1) / 3**0.5, rel=0.03)


def test_one_row_is_exact():
    assert measure(lambda rows: {"x": 2.5}, 1, np.random.default_rng(0)).interval("x") == (2.5, 2.5, 2.5)


def test_a_figure_that_seldom_exists_has_no_interval():
    found = measure(lambda rows: {"x": 1.0 if rows[0] == 0 else np.nan}, 10, np.random.default_rng(0))
    assert found.values["x"] == 1.0 and np.isnan(found.interval("x")[1:]).all()


def test_differences_and_the_gap_recovered():
    assert difference(fixed(5.0), fixed(3.0), "x") == (2.0, 2.0, 2.0)
    assert recovered(fixed(0.1), fixed(0.5), 0.0, "x") == pytest.approx((0.8, 0.8, 0.8))
    assert recovered(fixed(0.9), fixed(0.5), fixed(1.0), "x") == pytest.approx((0.8, 0.8, 0.8))
    # Farther from people than vanilla is less than nothing.
    assert recovered(fixed(-1.0), fixed(0.5), 0.0, "x")[0] == pytest.approx(-1.0)
    # Vanilla is where people are: no gap.
    assert np.isnan(recovered(fixed(0.1), fixed(0.0, -0.1, 0.1), 0.0, "x")).all()


def test_halves_of_one_sample_are_seldom_called_different():
    classes = np.random.default_rng(0).integers(6, size=200)
    rate, low, high = false_alarms(lambda rows: {"share": (classes[rows] == 0).mean()}, 200, np.random.default_rng(1), 200, 100)["share"]
    assert low <= 0.05 and (low, high) == clopper_pearson(round(rate * 200), 200)


def test_counts_of_rare_answers_tell_no_halves_apart():
    """A bootstrap, in which every answer may come twice, called halves different by `unseen` in 15 % of the repeats, by entropy in 8 %."""
    distribution = 1 / np.arange(1, 65)
    said = np.random.default_rng(0).choice(64, size=300, p=distribution / distribution.sum())

    def figures(rows: np.ndarray) -> dict[str, float]:
        counts = np.bincount(said[rows], minlength=64)
        return {
            "unseen": repertoire.good_turing(counts), "effective": repertoire.effective_number(counts),
            "entropy": metrics.entropy(counts / counts.sum(), len(rows)),
        }  # fmt: skip

    for rate, _, _ in false_alarms(figures, 300, np.random.default_rng(1), 300, 100).values():
        assert rate <= 0.06


def test_a_rare_event_tells_no_halves_apart():
    """Of two events in 300 one half may have both; the mean of replicates is off by chance, which must not lift their lower end off 0."""
    said = np.zeros(300)
    said[[7, 9]] = 1
    rate, _, _ = false_alarms(lambda rows: {"share": said[rows].mean()}, 300, np.random.default_rng(0), 200, 100)["share"]
    assert rate <= 0.05
    # Four in 150 against none: none has no spread of its own, but is not certain. Of an exact distribution it would be.
    none, four = (measure(lambda rows, n=n: {"share": (rows < n).mean()}, 150, np.random.default_rng(0)) for n in (0, 4))
    _, low, high = difference(four, none, "share")
    assert low < 0 < high
    exact = measure(lambda rows: {"share": 0.0}, 1, np.random.default_rng(0))
    assert difference(four, exact, "share") == pytest.approx(four.interval("share"))


def test_sampling_distributions_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.19, 0.01]]))
    assert torch.allclose(sampling_distributions(logits).exp(), torch.tensor([[0.5, 0.3, 0.19, 0.01]]))
    cut = sampling_distributions(logits, min_p=0.1).exp()
    assert torch.allclose(cut, torch.tensor([[0.5, 0.3, 0.19, 0.0]]) / 0.99)
    cold = sampling_distributions(logits, min_p=0.1, temperature=0.5).exp()
    assert torch.allclose(cold, torch.tensor([[0.25, 0.09, 0.0361, 0.0]]) / 0.3761)


@dataclass
class Stub:
    key: str = "q"
    topic: str = "numbers"
    distribution: np.ndarray | None = None
    classes: tuple = ("a", "b")


def test_distributions_by_hand():
    p = np.array([[1.0, 0.0, 0.0], [0.5, 0.3, 0.2]])
    distributions = Distributions([Stub(distribution=np.array([0.5, 0.5]))], [p], None, [0.05])
    both = np.arange(2)
    assert distributions.mean(0, both).tolist() == [0.75, 0.15, 0.1]
    assert etv(distributions, 0, both) == pytest.approx(0.5 * (0.25 + 0.35 + 0.1) - 0.05)
    peaked = Distributions([Stub(distribution=np.array([0.8, 0.2]))], [np.array([[16 / 17, 1 / 17, 0.0]])], None, [0.0])
    assert gamma(peaked, np.arange(1)) == pytest.approx(2.0, abs=1e-3)  # .8^2 : .2^2 is 16 : 1


def said(classes) -> Interview:
    classes = np.array(classes)
    return Interview({}, [], {"q": Answers(["x"] * len(classes), classes)}, len(classes))


def test_people_are_counted_and_bad_samples_refused():
    distributions = distributions_of(said([0, 0, 1, -1]), PEOPLE, [Stub()])
    assert distributions.mean(0, np.arange(4)).tolist() == [0.5, 0.25, 0.25] and distributions.draws == 4
    with pytest.raises(CannotMeasure, match="q: none of 2 answers of population is valid"):
        distributions_of(said([-1, -1]), PEOPLE, [Stub()])
    with pytest.raises(CannotMeasure, match="q: 1 draws for 2 classes; raise -n"):
        distributions_of(said([0]), PEOPLE, [Stub()])


def test_answers_in_free_text_are_read():
    number = Asked("n", "numbers", ["?"], classes=[str(i) for i in range(101)], pattern=r"\d+")
    assert [number.parse(text) for text in ("42", "I say 7!", "100.", "101", "none")] == [42, 7, 100, -1, -1]
    colour = Asked("c", "odd", ["?"], classes=["red", "dark red", "blue"])
    assert [colour.parse(text) for text in ("Dark red, as wine is", "bluer", "Blue.", "RED", "Red or blue")] == [1, -1, 2, 0, -1]
    assert Asked("o", "jokes", ["?"]).parse("anything") == -1


def test_shipped_questions_are_whole():
    questions = shipped_questions()
    assert len({q.key for q in questions}) == len(questions) > 0
    for question in questions:
        assert question.prompts and all(prompt.strip() for prompt in question.prompts + question.framed)


def test_bad_question_files_are_named(write):
    with pytest.raises(UserError, match="question 1: unknown field propmts"):
        read_questions(Path(write("bad.yaml", "- {key: a, topic: odd, propmts: [x]}")))
    with pytest.raises(UserError, match="the distribution has 2 entries that sum to 0.9"):
        read_questions(Path(write("distribution.yaml", "- {key: a, topic: odd, prompts: [x], answers: [x, y], distribution: [0.5, 0.4]}")))


def test_people_of_a_world_follow_its_distributions():
    world = load_world("dice")
    people = said_by_people(world, 2000, 0)
    for question in world.rated:
        answers = people[question.key]
        shares = np.bincount(answers.classes, minlength=len(question.classes)) / 2000
        assert 0.5 * np.abs(shares - question.distribution).sum() < 0.1
        assert answers.texts[0] == question.texts[np.flatnonzero(question.class_of == answers.classes[0])[0]]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A plain causal language model, saved as any other: it knows no raters."""
    folder = tmp_path_factory.mktemp("lm") / "plain"
    questions = shipped_questions()
    tokenizer = train_tokenizer([p for q in questions for p in q.prompts] + [str(i) for i in range(101)], 400)
    model = build_model(CONFIG, tokenizer, 32, 0)  # a window of 96 tokens
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_distributions_are_read_off_and_agree_with_draws(run):
    interview, _ = load_interview([f"raters={run / 'policy'}"], 400, 0)
    question = Asked("die", "dice", ["Roll a die."], classes=["1", "2"])
    texts = ["1", "2"]
    model = interview.policies["raters"]
    (rater,) = interview.raters("raters", 1)
    examples = [model.renderer.example("Roll a die.", text) for text in texts]
    log_probs = model.log_probs(examples, [rater] * 2, as_sampled=True)
    head = model.renderer.prompt("Roll a die.")
    eos = model.renderer.tokenizer.eos_token_id
    for example, log_prob in zip(examples, log_probs):
        said, total = example.ids[len(head) :], 0.0
        for t, token in enumerate(said):
            total += model.next_distributions([head + said[:t]], [rater])[0, token]
        assert said[-1] == eos and total == pytest.approx(log_prob, abs=1e-4)
    with pytest.raises(CannotMeasure, match="of its probability on the listed texts, less than 0.9"):
        replace(interview, policies={"nobody": replace(model, draws="none")}).distribution("nobody", question)


def test_a_plain_model_is_asked_what_comes_with_the_project(lm, tmp_path):
    assert "numbers │ entropy_ratio" in succeeds("probe", lm, "--probes", "numbers", "-n", 101, "--out", tmp_path).replace("  ", " ")
    found = json.loads((tmp_path / "probes.json").read_text())
    probe = found["probes"]["numbers"]
    assert found["policies"] == ["plain"] and probe["holes"] == [] and probe["best"]["top_share"] is None
    interview, _ = load_interview([str(lm)], 10, 0)
    model = interview.policies["plain"]
    assert (model.max_new_tokens, model.renderer.max_length) == (48, 48)  # of a window of 96
    value, low, high = probe["policies"]["plain"]["top_share"]
    assert low <= value <= high
    assert "Which numbers are given?" in (tmp_path / "probes.html").read_text()


def test_what_is_never_said_is_a_hole(run):
    interview, _ = load_interview([str(run / "policy")], 20, 0)
    interview.questions = [Asked("words", "numbers", ["Roll a die."], classes=["neverland"])]
    found, plots = run_probes(interview, [numbers.PROBE])
    assert found["probes"]["numbers"]["holes"] == ["policy: words: none of 20 answers of policy is valid"] and plots == {}
    interview.questions = [Asked("words", "dice", ["Roll a die."], classes=["neverland"])]
    found, _ = run_probes(interview, [numbers.PROBE])
    assert found["probes"]["numbers"]["holes"] == ["policy: no question of this run is about numbers"]


def test_the_stages_of_a_run_are_asked_side_by_side(run, tmp_path):
    """A run without a world is asked what comes with the project; prompts longer than its window are holes."""
    result = invoke("probe", run, "--probes", "numbers,templates", "-n", 20, "--out", tmp_path)
    found = json.loads((tmp_path / "probes.json").read_text())
    assert result.exit_code == 3 and found["policies"] == ["base", "sft", "none", "rater_new"]
    assert any("the window (model.max_length) 48" in hole for probe in found["probes"].values() for hole in probe["holes"])


def other_seed(run, place):
    shutil.copytree(run, place)
    for path in place.glob("*/recipe.resolved.yaml"):
        path.write_text(path.read_text() + "\nseed: 1\n")
    return place


def test_a_model_that_a_run_lacks_is_a_hole(run, tmp_path):
    other = other_seed(run, tmp_path / "other")
    shutil.rmtree(other / "base")
    result = invoke("probe", other, run, "--probes", "numbers", "-n", 101, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "probes.json").read_text())
    assert result.exit_code == 3 and f"numbers: base: not in {other}" in result.stderr
    assert found["policies"] == ["sft", "none", "rater_new"]


def test_runs_are_merged(run, tmp_path):
    once, other = tmp_path / "once", other_seed(run, tmp_path / "other")
    assert invoke("probe", run, "--probes", "numbers", "-n", 101, "--out", once).exit_code == 3
    result = invoke("probe", run, other, "--probes", "numbers", "-n", 101, "--out", tmp_path / "twice")
    assert result.exit_code == 3 and "means of 2 runs" in result.stdout
    one, two = (json.loads((folder / "probes.json").read_text()) for folder in (once, tmp_path / "twice"))
    assert len(two["runs"]) == 2 and two["probes"]["numbers"]["policies"] == one["probes"]["numbers"]["policies"]


def test_a_folder_may_have_an_equals_sign_in_its_name(lm, tmp_path):
    place = shutil.copytree(lm, tmp_path / "lr=1")
    assert "done:" in invoke("probe", place, "--probes", "numbers", "-n", 101).stdout and (place / "probes" / "probes.html").is_file()
    assert "done:" in invoke("probe", f"mine={place}", "--probes", "numbers", "-n", 101).stdout


def test_a_model_of_the_hub_is_loaded_by_its_name(lm, tmp_path, monkeypatch):
    fails("probe", "somebody/model", "--probes", "numbers", says="somebody/model is no folder here; give a run folder")
    fails("probe", "somebody/model", "--probes", "numbers", "--out", tmp_path, says="model somebody/model cannot be loaded")
    original, asked = load.load_pretrained, []
    monkeypatch.setattr(load, "load_pretrained", lambda path: asked.append(str(path)) or original(lm))
    succeeds("probe", "base=somebody/model", "--probes", "numbers", "-n", 101, "--out", tmp_path)
    assert asked == ["somebody/model"]


def test_own_questions_are_asked_and_base_comes_first(lm, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("- {key: pet, topic: numbers, prompts: ['Cat 1 or dog 2?'], answers: ['1', '2']}\n")
    result = invoke("probe", f"mine={lm}", f"base={lm}", "--probes", "numbers", "-n", 50, "--questions", mine, "--out", tmp_path)
    found = json.loads((tmp_path / "probes.json").read_text())
    assert found["policies"] == ["base", "mine"] and "mine" in result.stdout
    # Nobody knows what people say: a figure that needs none speaks for the probe.
    assert found["probes"]["numbers"]["headline"] == "entropy_ratio"


def test_halves_are_of_the_first_model_where_none_has_raters(lm, tmp_path):
    succeeds("probe", f"mine={lm}", "--probes", "numbers,numbers", "-n", 202, "--repeats", 2, "--out", tmp_path)
    found = json.loads((tmp_path / "probes.json").read_text())["probes"]
    assert list(found) == ["numbers"] and "entropy_ratio" in found["numbers"]["false_alarms"]


def test_mistakes(run, tmp_path, lm):
    fails("probe", tmp_path / "nowhere", says="is no folder here; give a run folder")
    fails("probe", tmp_path / "nowhere", "--out", tmp_path, says="does not exist; give a run folder")
    fails("probe", lm, "--probes", "nmubers", says=("probe 'nmubers' is not known", "numbers"))
    fails("probe", lm, run / "policy", says="say with --out where to write")
    fails("probe", f"a={lm}", f"a={lm}", "--out", tmp_path, says="2 models have 1 names")
    fails("probe", run, run, "--repeats", "5", "--out", tmp_path, says=("--repeats 5 with 2 runs", "give one run"))
    fails("probe", run, run, "--out", tmp_path, says=("averaged over their seeds, which must differ", "name models: NAME=FOLDER"))
    other = other_seed(run, tmp_path / "other")
    for path in other.glob("*/recipe.resolved.yaml"):
        path.write_text(path.read_text() + "\nraters: {dim: 5}\n")
    fails("probe", run, other, "--out", tmp_path, says=("is no other seed of", "recipes differ in raters", "side by side"))
    fails("probe", f"population={lm}", says="the name 'population' is what people go by")
    fails("probe", f"a={run}", says=("is a run, not a model", f"rater_new={run}/policy"))
    fails("probe", lm / "config.json", "--out", tmp_path, says="is a file; give the folder that it lies in")
    fails("probe", lm, "--probes", "none", says="names no probe; give all, or some: numbers, dice")
    (tmp_path / "file").write_text("")
    fails("probe", lm, "--out", tmp_path / "file", says=("cannot be made a folder", "give another one"))


def test_damaged_weights_are_a_hole_and_others_go_on(lm, tmp_path):
    tokenizer = train_tokenizer(["Pick a random number from 0 to 100."] + [str(i) for i in range(101)], 400)
    damaged = build_model(CONFIG, tokenizer, 256, 0)
    damaged.model.norm.weight.data.fill_(float("nan"))
    for part in (damaged, tokenizer):
        part.save_pretrained(tmp_path / "nan")
    result = invoke("probe", f"nan={tmp_path / 'nan'}", f"plain={lm}", "--probes", "numbers", "-n", 101, "--out", tmp_path / "out")
    assert result.exit_code == 3 and "numbers: nan: its log-probabilities are not numbers (NaN)" in result.stderr


def test_the_page_says_at_what_gold_the_gap_is_recovered():
    # Seeds that spread do not make a lower reward an equal one.
    below = at_gold({"vanilla": (-0.1, -0.2, 0.0), "rater_new": (-0.4, -0.9, 0.1)})
    assert below == "The gold reward of fictitious raters is lower than vanilla RLHF's (−0.400, −0.100)."
    assert "not lower than vanilla RLHF's" in at_gold({"vanilla": (-0.2, None, None), "rater_new": (-0.1, None, None)})
    assert at_gold({"vanilla": (-0.1, -0.2, 0.0), "rater_new": None}) is None and at_gold({}) is None


def test_seeds_are_merged():
    def seed(etv: float, hole: list[str]) -> dict:
        row = {"etv": (etv, etv - 0.1, etv + 0.1), "gamma": (float("nan"),) * 3}
        verdicts = {"separation": (0.2, 0.1, 0.3), "recovered": (0.9, 0.8, 1.0)}
        return {"numbers": {"title": "t", "best": {"etv": 0.0}, "policies": {"vanilla": row}, "holes": hole} | verdicts}

    one = seed(0.3, [])
    assert merge_probes([one]) is one
    two = merge_probes([seed(0.3, ["a"]), seed(0.5, ["a", "b"])])["numbers"]
    # Two seeds have no interval of their own: the mean of theirs.
    assert two["policies"]["vanilla"]["etv"] == pytest.approx((0.4, 0.3, 0.5)) and two["holes"] == ["a", "b"]
    assert two["policies"]["vanilla"]["gamma"] == (None, None, None)
    three = merge_probes([seed(x, []) for x in (0.3, 0.4, 0.5)])["numbers"]
    half = 4.302652730 * 0.1 / 3**0.5
    assert three["policies"]["vanilla"]["etv"] == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert three["recovered"] == pytest.approx((0.9, 0.9, 0.9))
