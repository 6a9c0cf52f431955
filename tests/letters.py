"""Models whose distributions are written by hand, for the probes that read tokens: every letter is a token, every distribution a table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from raterhf.data.example import Example
from raterhf.data.renderer import Renderer
from raterhf.raters.pool import Rater

LETTERS = "\0?\nabcd"  # the first is the end
LEAST = 1e-12  # of tokens that a table leaves out


class Letters:
    eos_token_id, pad_token_id, bos_token_id, chat_template, init_kwargs = 0, 0, None, None, {}

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict:
        return {"input_ids": [LETTERS.index(letter) for letter in text]}

    def decode(self, ids, skip_special_tokens: bool) -> str:
        return "".join(LETTERS[i] for i in ids if i)

    def get_vocab(self) -> dict[str, int]:
        return {letter: i for i, letter in enumerate(LETTERS)}


@dataclass
class Scripted:
    """What a RaterPolicy is asked, answered from `table(rater id, what was said)`, distributions {letter: probability}; the prompt is
    `?`."""

    name: str
    table: Callable[[str, str], dict[str, float]]
    draws: str = "none"
    max_new_tokens: int = 6
    min_p: float = 0.0
    temperature: float = 1.0
    renderer: Renderer = field(default_factory=lambda: Renderer(Letters(), 16))
    pool: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(fictitious=lambda n: Rater(f"new:{n}", None)))
    policy: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(lm=SimpleNamespace(config=SimpleNamespace(vocab_size=len(LETTERS))))
    )

    def raters(self, n: int, seed: int) -> list[Rater]:
        return [Rater("none" if self.draws == "none" else f"new:{i}", None) for i in range(n)]

    def next_distributions(self, contexts, raters) -> np.ndarray:
        distributions = np.full((len(contexts), len(LETTERS)), LEAST)
        for row, context, rater in zip(distributions, contexts, raters, strict=True):
            for letter, p in self.table(rater.id, self.said(context)).items():
                row[LETTERS.index(letter)] = p
        return np.log(distributions)

    def distributions_along(self, contexts, raters, last: int) -> np.ndarray:
        cuts = [[context[: len(context) - back] for context in contexts] for back in range(last - 1, -1, -1)]
        return np.stack([self.next_distributions(cut, raters) for cut in cuts], 1)

    def begun_texts(self, heads, raters) -> SimpleNamespace:
        def after(begun) -> np.ndarray:
            return self.next_distributions([heads[r] + path for r, path in begun], [raters[r] for r, _ in begun])

        return SimpleNamespace(next_distributions=after, forget=lambda: None)

    def said(self, context) -> str:
        return self.renderer.tokenizer.decode(context, skip_special_tokens=True).removeprefix("?\n")

    def log_probs(self, examples, raters) -> np.ndarray:
        return np.array(
            [
                sum(self.next_distributions([e.ids[:t]], [r])[0, e.ids[t]] for t in range(e.prompt_length, len(e)))
                for e, r in zip(examples, raters, strict=True)
            ]
        )

    def go_on(self, contexts, raters, seed: int) -> list[Example]:
        rng = np.random.default_rng(seed)
        out = []
        for context, rater in zip(contexts, raters, strict=True):
            ids = tuple(context)
            while len(ids) < len(context) + self.max_new_tokens and (len(ids) == len(context) or ids[-1]):
                p = np.exp(self.next_distributions([ids], [rater])[0])
                ids += (int(rng.choice(len(p), p=p / p.sum())),)
            out.append(Example(ids, len(context)))
        return out

    def answer(self, prompts, raters, seed: int) -> list[Example]:
        return self.go_on([self.renderer.prompt(prompt) for prompt in prompts], raters, seed)

    def texts(self, examples) -> list[str]:
        return [self.renderer.tokenizer.decode(e.ids[e.prompt_length :], skip_special_tokens=True) for e in examples]
