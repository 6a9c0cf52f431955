"""Texts that grow under raters: the distributions of reading each anew, and new tokens alone are read."""

import numpy as np
import pytest
import torch
from small_talk import tiny

from raterhf.engine import begun

pytestmark = pytest.mark.usefixtures("one_thread")
PATHS = [(), (5,), (6,), (5, 7), (5, 8), (6, 7), (5, 8, 9), (5, 8, 9, 10)]  # the last before its turn, after another


def distances(asked, raters, kept: int = 2**30) -> tuple[float, int]:
    """How far log-probabilities are from those of whole texts at most, and how many tokens were read after the prompts."""
    heads = [asked.renderer.prompt("Say a letter.", rater.text) for rater in raters]
    texts, far = asked.begun_texts(heads, raters), []
    before = texts.texts.tokens_read
    with pytest.MonkeyPatch.context() as here:
        here.setattr(begun, "KEPT_BYTES", kept)
        for level in ([0], [1, 2], [3, 4, 5], [7, 6]):
            asked_of = [(r, PATHS[i]) for i in level for r in range(len(raters))]
            expected = asked.next_distributions([heads[r] + path for r, path in asked_of], [raters[r] for r, _ in asked_of])
            far.append(np.abs(texts.next_distributions(asked_of) - expected).max())
    return float(max(far)), texts.texts.tokens_read - before


@pytest.mark.parametrize("soft", [False, True])
def test_distributions_are_those_of_texts_read_whole(soft):
    asked = tiny("rater_new" if soft else "base", 3, soft)
    raters = asked.raters(4 if soft else 1, 0)
    far, read = distances(asked, raters)
    assert far < 1e-4
    # The last token of the prompt; then one token each, but two of the text whose beginning was not asked about.
    assert read == len(raters) * (1 + 2 + 3 + 3)
    far, more = distances(asked, raters, kept=0)
    assert far < 1e-4 and more > read


def test_a_prompt_of_one_token_without_raters():
    asked = tiny("base", 3)
    texts = asked.begun_texts([(5,)], asked.raters(1, 0))
    expected = asked.next_distributions([(5, 6)], asked.raters(1, 0))
    np.testing.assert_allclose(texts.next_distributions([(0, (6,))]), expected, atol=1e-4)
    assert texts.texts.tokens_read == 2 and torch.is_grad_enabled()
