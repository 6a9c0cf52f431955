"""Rewording: the best wording of what was said, never something else that is said."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from raterhf.data.comparisons import ComparisonData
from raterhf.data.example import Example
from raterhf.raters.batch import RaterBatch
from raterhf.training.algorithms.base import Round, Start
from raterhf.training.algorithms.forward_kl import Chosen
from raterhf.training.algorithms.reword import Rewording, Settings, fit_trust

EOS = 9
PROMPT = (0, 0)
# An answer is what it says, how it is put, and the end: (1, 5, 9) says 1, put as 5.
BADLY, WELL = 5, 6
WORTH = {(1, BADLY): 0.0, (1, WELL): 1.0, (2, BADLY): 3.0, (2, WELL): 4.0}


def psi(examples: list[Example]) -> torch.Tensor:
    """Quite alike where the same is said, however it is put; else not at all."""
    rows = torch.zeros(len(examples), 4)
    for row, example in zip(rows, examples):
        said, put = example.ids[2:4]
        row[2 * (said - 1) : 2 * said] = torch.tensor([0.6, 0.8]) if put == WELL else torch.tensor([0.8, 0.6])
    return rows


def scores(examples: list[Example], raters: RaterBatch) -> torch.Tensor:
    """Raters with vector 1 see it as nobody does; one with -1 likes what is badly put."""
    sign = torch.where(raters.null, 1.0, raters.taste(1)[:, 0])
    return torch.tensor([WORTH[e.ids[2:4]] for e in examples]) * sign


class Says:
    """A sampler that says what it is told, in turn."""

    eos_id = EOS

    def __init__(self, *answers: tuple[int, ...]):
        self.answers = answers

    def leaving_out(self, min_p: float) -> "Says":
        return self

    def check_room(self, prompts) -> None:
        pass

    def generate(self, prompts, raters, seed) -> list[Example]:
        return [Example(prompt + self.answers[i % len(self.answers)], len(prompt)) for i, prompt in enumerate(prompts)]


def make_start(sampler: Says, vectors: list[float], held: ComparisonData | None = None, beta: float = 1e-9) -> Start:
    objective = SimpleNamespace(
        scorer=SimpleNamespace(model=SimpleNamespace(idiosyncratic=psi), device=torch.device("cpu")),
        pool=SimpleNamespace(encoding="embedding", vectors=np.array(vectors, np.float32)[:, None]),
        scores=scores,
        reference_log_probs=lambda examples, raters: torch.tensor([-float(e.ids[3] == WELL) for e in examples]),
        seed=0,
    )
    settings = SimpleNamespace(beta=beta, min_p=0.0, samples=4, prompts=1, raters=len(vectors), batch_size=4)
    return Start(None, objective, sampler, None, None, [], settings, 0, held or ComparisonData.nothing())


def reworded(start: Start, choices: int = 2, **options) -> list[tuple[int, ...]]:
    vectors = torch.tensor(start.objective.pool.vectors)
    asked = Round([[PROMPT] * len(vectors)], RaterBatch.people(vectors), np.random.default_rng(0))
    object.__setattr__(start, "ask", lambda step, salt: asked)
    return [e.ids[2:] for e in Rewording(start, Settings(choices=choices, **options))(0).examples]


def test_each_answer_is_put_in_the_best_words_that_anybody_found_for_it():
    says = Says((1, BADLY, EOS), (2, BADLY, EOS), (1, WELL, EOS), (2, BADLY, EOS))
    # 2 is worth more than 1, and 1 stays 1; nobody found better words for 2.
    assert reworded(make_start(says, [1, 1])) == [(1, WELL, EOS), (2, BADLY, EOS), (1, WELL, EOS), (2, BADLY, EOS)]


def test_each_rater_by_their_own_score():
    says = Says((1, BADLY, EOS), (1, WELL, EOS))
    assert reworded(make_start(says, [1, -1])) == [(1, WELL, EOS)] * 2 + [(1, BADLY, EOS)] * 2


def test_the_reference_keeps_what_it_is_surer_of():
    """The score gains 1 by better words; the reference loses 1 beta, and being less like the answer .04 same."""
    says = Says((1, BADLY, EOS), (1, WELL, EOS))
    assert reworded(make_start(says, [1], beta=0.9), same=2.0)[0] == (1, WELL, EOS)
    assert reworded(make_start(says, [1], beta=0.9), same=3.0)[0] == (1, BADLY, EOS)
    assert reworded(make_start(says, [1], beta=1.1), same=2.0)[0] == (1, BADLY, EOS)


def test_an_answer_that_did_not_end_is_left_out_unless_there_is_no_other():
    says = Says((1, BADLY, 1), (2, WELL, EOS))
    assert reworded(make_start(says, [1])) == [(2, WELL, EOS)]
    assert reworded(make_start(Says((1, BADLY, 1)), [1])) == [(1, BADLY, 1)]


def test_without_own_answers_raters_choose_what_is_said(monkeypatch):
    start = make_start(Says(), [1, -1])
    object.__setattr__(start, "own_answers", False)

    def choose(start, asked, draws, idiosyncratic):
        told = [(1, BADLY, EOS), (2, WELL, EOS), (1, WELL, EOS), (2, BADLY, EOS)]  # all raters in turn, then again
        return [Chosen([Example(PROMPT + answer, 2) for answer in told], torch.zeros(4), 4)]

    monkeypatch.setattr("raterhf.training.algorithms.reword.choose", choose)
    assert reworded(start) == [(1, WELL, EOS)] * 2 + [(2, BADLY, EOS)] * 2


@pytest.mark.parametrize(("vector", "trust"), [(1.0, 0.0), (-1.0, 1.0)])
def test_trust_is_what_held_out_labels_bear_out(vector, trust):
    """Everybody says that the badly put is better: a rater of vector -1 foresees it, and of vector 1 does not, nor does nobody."""
    examples = [Example(PROMPT + (1, put, EOS), 2) for put in (BADLY, WELL)] + [Example(PROMPT + (2, WELL, EOS), 2)]
    n = 60
    a, b, rater = np.zeros(n, np.int64), np.ones(n, np.int64), np.zeros(n, np.int64)
    held = ComparisonData(examples, a, b, np.ones(n, np.int64), rater, rater)
    assert fit_trust(make_start(Says(), [vector], held), psi, 0.5) == trust
    # Ties and pairs that say different things tell nothing, and too few pairs too little.
    assert fit_trust(make_start(Says(), [vector], held.rows(np.arange(40))), psi, 0.5) == 1
    others = ComparisonData(examples, a, b + 1, held.label, rater, rater)
    assert fit_trust(make_start(Says(), [vector], others), psi, 0.5) == 1
