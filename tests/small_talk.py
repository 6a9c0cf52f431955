"""Interviews for the tests of probes: questions written by hand, and untrained models that have said what a test wants."""

from dataclasses import dataclass, field

import numpy as np
from small_run import CONFIG

from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.evaluation.probes.interview import Answers, Interview
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import Policy
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population

LETTERS = "a b c d e f g h"


@dataclass(frozen=True)
class Said:
    """A closed question of one-letter answers; `listed` False: its texts are not listed, so that answers are counted."""

    key: str
    topic: str
    distribution: np.ndarray | None
    size: int = 2
    kind: str = ""
    listed: bool = True
    prompts: list[str] = field(default_factory=lambda: ["Say a letter.", "A letter?"])
    framed: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return LETTERS.split()[: self.size]

    @property
    def texts(self) -> list[str]:
        return self.classes if self.listed else []

    @property
    def class_of(self) -> np.ndarray:
        return np.arange(len(self.texts))

    def parse(self, completion: str) -> int:
        return self.classes.index(completion) if completion in self.classes else -1


def tiny(name: str, seed: int, soft: bool = False) -> RaterPolicy:
    """An untrained model; with `soft`, of fictitious raters."""
    tokenizer = train_tokenizer([f"Say a letter. A letter? {LETTERS}"], 300)
    lm = build_model(CONFIG, tokenizer, 48, seed)
    if not soft:
        return RaterPolicy(name, Policy(lm, 0, 0).eval(), Renderer(tokenizer, 48), None, "none", 3)
    vectors = np.random.default_rng(seed).standard_normal((3, 2)).astype(np.float32)
    populations = {"": Population(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])}
    pool = RaterPool(["ann", "bob", "cy"], vectors, 2, "embedding", {}, {}, populations)
    return RaterPolicy(name, Policy(lm, 2, 2, make_idiosyncratic(2, lm, tokenizer)).eval(), Renderer(tokenizer, 48), pool, "new", 3)


def interview(questions, said: dict[str, dict[str, np.ndarray]], people: dict[str, np.ndarray] | None = None, **kwargs) -> Interview:
    """Untrained models that have already said `said` {model: {question: classes [R]}}, and what people say."""
    by_key = {q.key: q for q in questions}

    def answers(key: str, classes: np.ndarray) -> Answers:
        return Answers([by_key[key].classes[k] if k >= 0 else "hm" for k in classes], np.asarray(classes))

    policies = {name: tiny(name, seed, soft=name == "rater_new") for seed, name in enumerate(said)}
    known = {(name, key, False): answers(key, classes) for name, columns in said.items() for key, classes in columns.items()}
    draws = max([len(classes) for columns in said.values() for classes in columns.values()], default=20)
    spoken = {key: answers(key, classes) for key, classes in (people or {}).items()}
    return Interview(policies, questions, spoken, **{"draws": draws, "kept": known} | kwargs)
