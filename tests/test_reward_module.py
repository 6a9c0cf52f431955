"""What the reward stage reads beside comparisons: off-topic pairs and raters' own answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.data.example import Example, collate
from raterhf.data.renderer import Renderer
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.training import losses
from raterhf.training.reward_module import RewardBatch, RewardModule, calibrate, evaluate, marginal_likelihood

CONFIG = {"model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
          "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}  # fmt: skip
PROMPTS, ANSWERS = ("Pick a colour.", "Roll a die."), (("red", "blue"), ("one", "two"))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*PROMPTS, *ANSWERS[0], *ANSWERS[1]] * 20, 300)


def comparisons(tokenizer, labels: list[int]) -> ComparisonData:
    """Rater 0 on colours, rater 1 on dice."""
    renderer = Renderer(tokenizer, 48)
    examples = [renderer.example(p, a) for p, both in zip(PROMPTS, ANSWERS) for a in both]
    number = np.arange(2)
    return ComparisonData(examples, 2 * number, 2 * number + 1, np.array(labels), number, number)


def test_off_topic_pairs_set_the_chosen_answer_against_what_was_chosen_elsewhere(tokenizer):
    data = comparisons(tokenizer, [1, -1])
    found = [data.off_topic(2, 48, np.random.default_rng(seed)) for seed in range(10)]
    pairs = {(part.examples[a], part.examples[b], int(r)) for part in found for a, b, r in zip(part.a, part.b, part.rater)}
    red, _, _, two = data.examples
    red_as_die = Example(two.prompt.ids + red.ids[red.prompt_length :], two.prompt_length)
    two_as_colour = Example(red.prompt.ids + two.ids[two.prompt_length :], red.prompt_length)
    assert pairs == {(red, two_as_colour, 0), (two, red_as_die, 1)}
    assert all((part.label == 1).all() for part in found)


def test_ties_and_what_does_not_fit_make_no_off_topic_pair(tokenizer):
    rng = np.random.default_rng(0)
    assert len(comparisons(tokenizer, [0, 0]).off_topic(5, 48, rng)) == 0
    assert len(comparisons(tokenizer, [1, 1]).off_topic(5, 3, rng)) == 0
    assert len(comparisons(tokenizer, [1, 1]).off_topic(0, 48, rng)) == 0


@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix"])
def test_own_answers_are_read_alike_at_both_sites(tokenizer, conditioning):
    """By hand: every rater's gain over nobody in particular in every answer to the same prompt, score by score."""
    renderer = Renderer(tokenizer, 48)
    rows = [(0, "red", 0), (0, "blue", 1), (0, "red", 2), (1, "one", 0), (1, "two", 2)]
    data = OwnAnswers(
        [renderer.example(PROMPTS[p], a) for p, a, _ in rows], np.array([r for *_, r in rows]), np.array([p for p, *_ in rows])
    )
    lm = build_model(CONFIG, tokenizer, 48, 0)
    torch.manual_seed(0)
    module = RewardModule(RewardModel(lm.get_decoder(), 3, 2, conditioning), RaterSpace(3, 3, 0.0), 0.1, 0.05, 0)
    vectors = module.space.vectors.detach()
    gain = torch.zeros(5, 5)
    with torch.no_grad():
        for i in range(5):
            for j in range(5):
                batch = collate([data.examples[j]], tokenizer.pad_token_id)
                mine, nobodys = (
                    module.model(batch, RaterBatch(vectors[data.rater[i]][None], torch.tensor([null]))) for null in (False, True)
                )
                gain[i, j] = mine - nobodys
        found = module.own_answer_loss(data, module.known(data.rater))
    torch.testing.assert_close(found, losses.own_answer_loss(gain, torch.as_tensor(data.group)), rtol=0, atol=1e-5)


def make_module(tokenizer, label_noise: float | None) -> RewardModule:
    lm = build_model(CONFIG, tokenizer, 48, 0)
    return RewardModule(RewardModel(lm.get_decoder(), 0, 0, "head"), None, 0.1, label_noise, 0)


def labels_of(margin: torch.Tensor, label_noise: float, rng: np.random.Generator) -> torch.Tensor:
    """Labels without ties of people who mean a with probability sigmoid(margin), a share of them with the opposite of what they mean."""
    means_a = torch.tensor(rng.random(len(margin))) < torch.sigmoid(margin)
    slips = torch.tensor(rng.random(len(margin)) < label_noise)
    return torch.where(means_a ^ slips, 1, -1)


def test_a_label_noise_that_is_given_is_the_one_used(tokenizer):
    assert [float(make_module(tokenizer, given).noise_parameters()[1].detach()) for given in (0.05, 0.3)] == pytest.approx([0.05, 0.3])


def test_calibration_finds_scale_and_slips_on_held_out_comparisons(tokenizer):
    rng = np.random.default_rng(0)
    margin = torch.tensor(rng.normal(0, 3, 40_000), dtype=torch.float32)
    module = make_module(tokenizer, None)
    # The model's margins are twice what they should be, and training found hardly any slips.
    scale = calibrate(module, 2 * margin, labels_of(margin, 0.08, rng))
    assert scale == pytest.approx(0.5, abs=0.03)
    assert float(module.model.scale) == pytest.approx(scale)
    assert float(module.noise_parameters()[1].detach()) == pytest.approx(0.08, abs=0.01)


def test_few_held_out_comparisons_leave_what_training_found(tokenizer):
    module = make_module(tokenizer, None)
    before = [float(p.detach()) for p in module.noise_parameters()]
    # Two comparisons that a label_noise explains best: the likelihood alone would take the label noise to one half.
    scale = calibrate(module, torch.tensor([2.0, 1.0]), torch.tensor([-1, -1]))
    assert 0.3 < scale < 1
    assert [float(p.detach()) for p in module.noise_parameters()] == pytest.approx(before, abs=0.1)


def test_calibration_leaves_a_given_label_noise_alone(tokenizer):
    module = make_module(tokenizer, 0.05)
    calibrate(module, torch.tensor([2.0, 1.0]), torch.tensor([-1, -1]))
    assert float(module.noise_parameters()[1].detach()) == pytest.approx(0.05)


def test_grades_reach_the_loss_and_are_learned(tokenizer):
    plain = comparisons(tokenizer, [1, -1])
    data = replace(plain, grade=np.array([1, 0]))
    assert (plain.grades, data.grades, data.rows(np.array([1])).grade.tolist()) == (1, 2, [0])
    lm = build_model(CONFIG, tokenizer, 48, 0)
    module = RewardModule(RewardModel(lm.get_decoder(), 0, 0, "head"), None, 0.1, None, 0, grades=data.grades)
    module.log_dict = module.log = lambda *args, **kwargs: None
    cuts = module.cuts()
    assert len(cuts) == 2 and 0 < cuts[0] < cuts[1]
    nothing = (plain.rows(np.zeros(0, int)), OwnAnswers([], *(np.zeros(0, np.int64),) * 2))
    loss = module.training_step((0, RewardBatch(data, *nothing)), 0)
    margin = module.margins(data, module.drawn(data.rater))
    expected = losses.graded_loss(margin, torch.tensor([1, -1]), torch.tensor([1, 0]), cuts, module.noise_parameters()[1]).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert float(module.grade_gaps.grad.abs().sum()) > 0
    assert make_module(tokenizer, None).grade_gaps is None


def test_what_is_fitted_after_training_keeps_nothing_for_gradients(tokenizer):
    """All completions of validation raters went through the trunk as in training, so that memory grew with their number."""
    lm = build_model(CONFIG, tokenizer, 48, 0)
    module = RewardModule(RewardModel(lm.get_decoder(), 2, 1, "head"), RaterSpace(2, 2, 0.0), 0.0, None, 0)
    data, kept = comparisons(tokenizer, [1, -1]), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        likelihood = marginal_likelihood(module, data)
        assert np.isfinite(likelihood(np.zeros((3, 2), np.float32)))
        evaluate(module, data, module.known(data.rater))
    assert kept == []


def test_comparisons_and_off_topic_pairs_are_read_together(tokenizer, monkeypatch):
    lm = build_model(CONFIG, tokenizer, 48, 0)
    torch.manual_seed(0)
    module = RewardModule(RewardModel(lm.get_decoder(), 2, 1, "head"), RaterSpace(2, 2, 0.0), 0.0, None, 0, (0.5, 0.0)).train()
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    data = comparisons(tokenizer, [1, -1])
    off_topic = data.off_topic(2, 48, np.random.default_rng(0))
    loss = module.training_step((0, RewardBatch(data, off_topic, OwnAnswers([], *(np.zeros(0, np.int64),) * 2))), 0)
    apart = [module.judged(part, module.margins(part, module.known(part.rater))) for part in (data, off_topic)]
    torch.testing.assert_close(loss, apart[0] + 0.5 * apart[1])
    torch.testing.assert_close(logged["train/off_topic"], apart[1])
    both = data.beside(off_topic)
    assert [both.examples[i] for i in both.a] == data.judged[:2] + off_topic.judged[: len(off_topic)]
    assert [both.examples[i] for i in both.b] == data.judged[2:] + off_topic.judged[len(off_topic) :]
    assert both.rater.tolist() == [*data.rater, *off_topic.rater] and both.label.tolist() == [1, -1, *off_topic.label]
