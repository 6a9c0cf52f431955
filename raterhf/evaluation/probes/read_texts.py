"""Texts read by the first model as nobody in particular: where each lies in its space, and how likely it is. Each is read once, whatever
probes ask about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raterhf.data.example import Example
from raterhf.data.requests import Prompt
from raterhf.engine.scorer import read_completions
from raterhf.evaluation.probes.interview import Interview
from raterhf.raters.pool import Rater

NOBODY = Rater("none", None)


@dataclass(frozen=True)
class TextRead:
    """The mean last hidden state [d] of a text, its nats, and its tokens, the end included; `cut` where it was longer than the window."""

    state: np.ndarray
    nats: float
    tokens: int
    cut: bool


def read_texts(interview: Interview, texts: Sequence[tuple[Prompt, str]]) -> list[TextRead]:
    """Of texts, each after its prompt."""
    kept: dict[tuple[str, str], TextRead] = interview.kept.setdefault("read", {})
    keys = [(str(prompt), text) for prompt, text in texts]
    fresh = {key: text for key, text in zip(keys, texts) if key not in kept}
    if fresh:
        model = next(iter(interview.policies.values()))
        renderer = model.renderer
        heads = [renderer.prompt(prompt) for prompt, _ in fresh.values()]
        ends = [
            (*renderer.tokenizer(text, add_special_tokens=False)["input_ids"], renderer.tokenizer.eos_token_id)
            for _, text in fresh.values()
        ]
        examples = [Example((*head, *end)[: renderer.max_length], len(head)) for head, end in zip(heads, ends)]
        log_probs, _, states = read_completions(model.policy, examples, model.batch([NOBODY] * len(examples)))
        columns = zip(fresh, examples, ends, states.cpu().numpy().astype(np.float64), log_probs.cpu().tolist(), strict=True)
        for key, example, end, state, log_prob in columns:
            said = len(example) - example.prompt_length
            kept[key] = TextRead(state, -log_prob, said, said < len(end))
    return [kept[key] for key in keys]
