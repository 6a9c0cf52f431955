"""Rounds of sampling, and how their answers are shared out over updates."""

from collections import Counter
from types import SimpleNamespace

import torch

from raterhf.data.example import Example
from raterhf.raters.batch import RaterBatch
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import TOGETHER, Demonstrations, imitate_rounds


def make_start(steps: int, prompts: int = 2, raters: int = 4, batch_size: int = 4, known: int = 5) -> Start:
    settings = SimpleNamespace(steps=steps, prompts=prompts, raters=raters, batch_size=batch_size)
    sampler = SimpleNamespace(check_room=lambda prompts: None)
    objective = SimpleNamespace(seed=0, pool=None)
    renderer = SimpleNamespace(prompt=lambda prompt, text="": (0,))
    return Start(None, objective, sampler, None, renderer, [f"p{i}" for i in range(known)], settings, 0, None)


def rounds_of(rows: int, asked: list[int]):
    """Targets whose row i of round k is the text (k, i), of weight k + 1."""

    def targets(number: int) -> Demonstrations:
        asked.append(number)
        examples = [Example((0, number, i), 1) for i in range(rows)]
        return Demonstrations(
            examples, RaterBatch.people(torch.full((rows, 1), float(number))), torch.full((rows,), number + 1.0), {"r": number}
        )

    return targets


def test_a_batch_has_answers_of_every_round_and_each_answer_is_imitated_once():
    asked: list[int] = []
    imitation = imitate_rounds(make_start(steps=100), 1, rounds_of(8, asked))
    batches = [imitation.batch(step) for step in range(2 * TOGETHER)]  # 8 answers a round, 4 an update
    assert asked == list(range(TOGETHER))
    seen = Counter(example.ids[1:] for batch in batches for example in batch.examples)
    assert seen == Counter((k, i) for k in range(TOGETHER) for i in range(8))
    for batch in batches:
        assert batch.whole == len(batch.examples) == 4 and len({example.ids[1] for example in batch.examples}) == 4
        # Whose words, and what they weigh, stay with them.
        assert [e.ids[1] for e in batch.examples] == batch.raters.vectors[:, 0].tolist() == (batch.weight - 1).tolist()
        assert batch.log == {"r": 3.5}  # the mean of rounds 0 to 7
    again = imitate_rounds(make_start(steps=100), 1, rounds_of(8, []))
    assert again.batch(2 * TOGETHER + 3).examples == imitation.batch(2 * TOGETHER + 3).examples  # a function of the step


def test_no_more_is_sampled_than_the_steps_use():
    asked: list[int] = []
    imitation = imitate_rounds(make_start(steps=3), 1, rounds_of(8, asked))
    assert all(imitation.batch(step).examples for step in range(3)) and asked == [0, 1]


def test_rounds_of_fewer_answers_than_batches_leave_none_empty():
    """Two of the eight answers of a round are there, as where the data hold fewer prompts than a round asks."""
    imitation = imitate_rounds(make_start(steps=100), 1, rounds_of(2, []))
    assert all(imitation.batch(step).examples for step in range(2 * TOGETHER))


def test_rounds_pass_over_all_prompts_each_time_in_another_order():
    start = make_start(steps=1, prompts=2)
    passes = [[start.choose_prompts(2 * number + i, 1) for i in range(2)] for number in range(20)]
    assert all(len(set(a + b)) == 4 for a, b in passes)  # of five prompts; the fifth fills no round
    left_out = Counter(next(p for p in start.prompts if p not in a + b) for a, b in passes)
    assert len(left_out) == 5 and len({tuple(a + b) for a, b in passes}) > 15
    assert make_start(1, prompts=9).choose_prompts(0, 1) != start.prompts and set(make_start(1, prompts=9).choose_prompts(3, 1)) == set(
        start.prompts
    )
