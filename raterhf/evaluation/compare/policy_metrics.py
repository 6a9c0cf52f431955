"""Every figure of one policy in a simulated world, for one seed. The formulas are those of `evaluation/metrics`.

The fresh raters, real and fictitious, are drawn here; nothing that is trained on is looked at, but for `copying`, `skill` and `recall`.

Notation: R raters, Q rated questions, D repeated draws.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from raterhf.data.labels import Labels
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.engine.scorer import Scorer
from raterhf.evaluation import metrics
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import Rater
from raterhf.worlds.world import People, Question, World

SKILL_DRAWS = 64


@dataclass
class Arena:
    """The world, its fresh real raters, and the sizes of the samples; shared by all policies of a seed."""

    world: World
    seed: int
    draws: int
    people: int
    repeats: int
    train: People
    labels: Labels

    def rng(self, *salt: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, 0x6A756467, *salt]))

    @property
    def questions(self) -> list[Question]:
        return self.world.rated

    def columns(self, *kinds: str) -> list[int]:
        return [i for i, q in enumerate(self.questions) if q.kind in kinds]

    @cached_property
    def fresh(self) -> People:
        """Real raters never used before: the first `people` are compared with, the rest stand beside the training raters in `copying`."""
        return self.world.draw_people(self.people + len(self.train.ids), self.seed, "fresh")

    @cached_property
    def real(self) -> np.ndarray:
        return self.world.answers(self.fresh, self.rng(1))

    @cached_property
    def trained(self) -> np.ndarray:
        return self.world.answers(self.train, self.rng(2))

    @cached_property
    def real_repeats(self) -> np.ndarray:
        """Answers [R, Q, D] of fresh people asked again and again."""
        some = self.real[: min(200, self.people)]
        again = [self.world.answers(self.fresh, self.rng(3, d))[: len(some)] for d in range(self.repeats)]
        return np.stack(again, 2)

    @cached_property
    def label_counts(self) -> list[int]:
        """Demonstrations of each rated question by training raters: the m of etv."""
        train = set(self.train.ids)
        shown = self.labels.demonstrations
        keys = [self.world.question_of(p).key for p, r in zip(shown.prompt, shown.rater_id) if r in train]
        return [max(1, keys.count(q.key)) for q in self.questions]

    @cached_property
    def floors(self) -> list[float]:
        return [metrics.tv_floor(q.distribution, m, self.draws, self.rng(4)) for q, m in zip(self.questions, self.label_counts)]

    @cached_property
    def joint_floor(self) -> float:
        distributions = self.joint_distributions
        return metrics.mean_over_pairs(metrics.pair_tv_floor(distributions, int(np.mean(self.label_counts)) // 2, self.people, self.rng(5)))

    @cached_property
    def joint_distributions(self) -> list[np.ndarray]:
        taste = [self.questions[i] for i in self.columns("taste")]
        return [self.world.joint_distribution(a, b) for i, a in enumerate(taste) for b in taste[i + 1 :]]


@dataclass
class PolicyMetrics:
    """Figures of a policy for one seed, within-seed intervals, and per-question rows; NaN where a figure does not exist."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    questions: dict[str, dict]
    answers: np.ndarray
    samples: list[dict]


def ask_questions(evaluated: RaterPolicy, raters: list[Rater], questions: list[Question], rng: np.random.Generator, novel: bool = False):
    """Everybody answers every question, in a paraphrase of chance. Class indices [R, Q], and the raw rows."""
    seed, prompts, who = int(rng.integers(2**31)), [], []
    for rater in raters:
        for question in questions:
            wordings = question.novel_prompts if novel else question.prompts
            prompts.append(wordings[rng.integers(len(wordings))])
            who.append(rater)
    examples = evaluated.answer(prompts, who, seed)
    texts = evaluated.texts(examples)
    flat = [questions[i % len(questions)].parse(text) for i, text in enumerate(texts)]
    return np.array(flat).reshape(len(raters), len(questions)), (prompts, who, examples, texts)


def measure_policy(evaluated: RaterPolicy, arena: Arena, base: RaterPolicy, proxy: Scorer | None) -> PolicyMetrics:
    """All figures of one policy."""
    rng = arena.rng(10)
    questions = arena.world.questions
    raters = evaluated.raters(arena.draws, arena.seed)
    everything, (prompts, who, examples, texts) = ask_questions(evaluated, raters, questions, rng)
    rated = [i for i, q in enumerate(questions) if q.kind != "unrated"]
    answers = everything[:, rated]
    measured, intervals, rows = _marginals(answers, arena)
    measured["gamma"], intervals["gamma"] = _gamma(answers, arena)
    coherent, spans = _coherence(answers[: arena.people], arena)
    measured |= coherent
    intervals |= spans
    some = raters[: min(200, arena.people)]
    again = [ask_questions(evaluated, some, arena.questions, arena.rng(11, d))[0] for d in range(arena.repeats)]
    measured |= kappas(np.stack(again, 2), arena)
    mask = np.tile([q.kind != "unrated" for q in questions], len(raters))
    gold = np.array([arena.world.gold(p, t) for p, t, m in zip(prompts, texts, mask) if m]).reshape(answers.shape)
    measured["reward_gold"] = float(gold.mean())
    intervals["reward_gold"] = metrics.cluster_bootstrap(lambda r, q: gold[r].mean(), len(gold), None, arena.rng(12), n=200)
    chosen = np.flatnonzero(mask)[:2000]
    kept, by = [examples[i] for i in chosen], [who[i] for i in chosen]
    measured["kl_to_base"] = float((evaluated.log_probs(kept, by) - base.log_probs(_plain(kept, prompts, chosen, base), by)).mean())
    if proxy is not None:
        plain = _plain(kept, prompts, chosen, base)
        with torch.no_grad():
            measured["reward_proxy"] = float(proxy.pairs(plain, RaterBatch.nobody(len(plain))).mean())
    novel, _ = ask_questions(evaluated, raters[: max(50, arena.draws // 3)], arena.questions, arena.rng(13), novel=True)
    novel_figures, _, _ = _marginals(novel, arena)
    measured |= {"etv_novel": novel_figures["etv"], "valid_novel": novel_figures["valid"]}
    unrated = [i for i, q in enumerate(questions) if q.kind == "unrated"]
    for i in unrated:
        distribution = metrics.class_distribution(everything[:, i], len(questions[i].classes))
        rows[questions[i].key] = {
            "p": distribution.tolist(),
            "tv": metrics.tv(distribution, questions[i].distribution),
            "valid": 1 - float(distribution[-1]),
        }
    measured["tv_unrated"] = float(np.mean([rows[questions[i].key]["tv"] for i in unrated])) if unrated else float("nan")
    samples = [{"prompt": p, "completion": t, "rater": w.id} for p, t, w in zip(prompts[: 8 * len(questions)], texts, who)]
    return PolicyMetrics(measured, intervals, rows, answers, samples)


def _plain(examples, prompts, chosen, base):
    """The same completions after the prompts as the base model reads them, without a rater's text."""
    from raterhf.data.example import Example

    out = []
    for example, i in zip(examples, chosen):
        head = base.renderer.prompt(prompts[i])
        out.append(Example(head + example.ids[example.prompt_length :], len(head)))
    return out


def _marginals(answers: np.ndarray, arena: Arena) -> tuple[dict, dict, dict]:
    rows, floors = {}, {}
    for i, question in enumerate(arena.questions):
        distribution = metrics.class_distribution(answers[:, i], len(question.classes))
        floor = (
            arena.floors[i]
            if len(answers) == arena.draws
            else metrics.tv_floor(question.distribution, arena.label_counts[i], len(answers), arena.rng(4, i))
        )
        floors[i] = floor
        distance = metrics.tv(distribution, question.distribution)
        rows[question.key] = {
            "p": distribution.tolist(), "tv": distance, "etv": distance - floor,
            "valid": 1 - float(distribution[-1]), "top_share": float(distribution[:-1].max()),
            "entropy_ratio": metrics.entropy_ratio(distribution, question.distribution, len(answers)),
            "coverage_ratio": metrics.coverage_ratio(answers[:, i], question.distribution),
        }  # fmt: skip
    names = ("valid", "tv", "etv", "entropy_ratio", "coverage_ratio", "top_share")
    measured = {name: float(np.mean([row[name] for row in rows.values()])) for name in names}

    def mean_etv(raters: np.ndarray, chosen: np.ndarray) -> float:
        distributions = [metrics.class_distribution(answers[raters, i], len(arena.questions[i].classes)) for i in chosen]
        return float(
            np.mean(
                [metrics.tv(distribution, arena.questions[i].distribution) - floors[i] for i, distribution in zip(chosen, distributions)]
            )
        )

    span = metrics.cluster_bootstrap(mean_etv, len(answers), len(arena.questions), arena.rng(20), n=200)
    valid = metrics.cluster_bootstrap(lambda r, q: float((answers[r] >= 0).mean()), len(answers), None, arena.rng(21), n=200)
    return measured, {"etv": span, "valid": valid}, rows


def _gamma(answers: np.ndarray, arena: Arena) -> tuple[float, tuple[float, float]]:
    distributions = [q.distribution for q in arena.questions]

    def fit(raters: np.ndarray, _: np.ndarray | None) -> float:
        return metrics.gamma(
            [metrics.class_counts(answers[raters, i], len(distribution)) for i, distribution in enumerate(distributions)], distributions
        )

    value = fit(np.arange(len(answers)), None)
    return value, metrics.cluster_bootstrap(fit, len(answers), None, arena.rng(22), n=100)


def _coherence(answers: np.ndarray, arena: Arena) -> tuple[dict, dict]:
    taste, favourite = arena.columns("taste"), arena.columns("favourite")
    real = arena.real[: arena.people]
    fake, true = metrics.c2st_scores(answers, real, arena.seed)
    measured = {
        "mi": metrics.mean_over_pairs(metrics.mutual_information(answers[:, taste])),
        "mi_ratio": metrics.mi_ratio(answers[:, taste], real[:, taste]),
        "joint_tv": metrics.mean_over_pairs(metrics.pair_tv(answers[:, taste], arena.joint_distributions)) - arena.joint_floor,
        "c2st_auc": metrics.auc(fake, true),
        "c2st_taste": metrics.c2st_auc(answers[:, taste], real[:, taste], arena.seed),
        "c2st_favourite": metrics.c2st_auc(answers[:, favourite], real[:, favourite], arena.seed),
        "copying": metrics.copying(answers, arena.trained, arena.real[arena.people :]),
    }
    rows = metrics.copying_by_row(answers, arena.trained, arena.real[arena.people :])
    target = metrics.mean_over_pairs(metrics.mutual_information(real[:, taste]))

    def area(raters: np.ndarray, _: np.ndarray | None) -> float:
        return metrics.auc(fake[raters], true[raters])

    intervals = {
        "mi_ratio": metrics.cluster_bootstrap(
            lambda r, q: metrics.mean_over_pairs(metrics.mutual_information(answers[r][:, taste])) / target,
            len(answers),
            None,
            arena.rng(23),
            n=50,
        ),
        "c2st_auc": metrics.cluster_bootstrap(area, min(len(fake), len(true)), None, arena.rng(24), n=200),
        "copying": metrics.cluster_bootstrap(lambda r, q: float(rows[r].mean()), len(rows), None, arena.rng(25), n=200),
    }
    return measured, intervals


def kappas(repeats: np.ndarray, arena: Arena) -> dict[str, float]:
    """Fleiss kappa of repeated draws from one rater, by what kind of question it is. A policy that never varies has none: NaN."""
    groups = {"kappa_taste": ("taste",), "kappa_favourite": ("favourite",), "kappa_dice": ("coin", "dice")}
    return {name: metrics.fleiss_kappa(repeats[:, arena.columns(*kinds)]) for name, kinds in groups.items()}


def skill_and_recall(evaluated: RaterPolicy, arena: Arena) -> dict[str, float]:
    """How well known raters' answers are foretold: to taste questions they did not label (skill) and to those they did (recall).

    Probabilities are smoothed frequencies of draws with fresh idiosyncratic taste, which nobody can know of an unlabelled question.
    NLL_null is the population's distribution q, the best that any rater-free model could do; NLL_Bayes the distribution of the rater's own
    hidden type.
    """
    pool, rng = evaluated.pool, arena.rng(30)
    people = arena.train
    labelled: dict[str, set[str]] = {}
    for frame in (arena.labels.comparisons, arena.labels.demonstrations):
        for prompt, rater_id in zip(frame.prompt, frame.rater_id):
            labelled.setdefault(rater_id, set()).add(arena.world.question_of(prompt).key)
    tasks = [(r, i) for r in range(len(people.ids)) if people.ids[r] in pool.index for i in arena.columns("taste")]
    tasks = [tasks[i] for i in rng.permutation(len(tasks))[:800]]
    prompts, who = [], []
    for r, i in tasks:
        question, known = arena.questions[i], pool.by_id(people.ids[r])
        for _ in range(SKILL_DRAWS):
            vector = known.vector.copy()
            if pool.idiosyncratic_dim:
                vector[pool.dim :] = rng.standard_normal(pool.idiosyncratic_dim)
            who.append(Rater(known.id, vector, known.text))
            prompts.append(question.prompts[rng.integers(len(question.prompts))])
    texts = evaluated.texts(evaluated.answer(prompts, who, int(rng.integers(2**31))))
    losses: dict[bool, list] = {True: [], False: []}
    for t, (r, i) in enumerate(tasks):
        question = arena.questions[i]
        drawn = np.array([question.parse(x) for x in texts[t * SKILL_DRAWS : (t + 1) * SKILL_DRAWS]])
        answer = arena.trained[r, i]
        k = len(question.classes)
        share = ((drawn == answer).sum() + 0.5) / (len(drawn) + 0.5 * k)
        own_distribution = question.type_distributions[people.types[r], answer]
        losses[question.key in labelled.get(people.ids[r], ())].append(
            (-np.log(question.distribution[answer]), -np.log(share), -np.log(own_distribution), share)
        )
    unseen, seen = np.array(losses[False]), np.array(losses[True])
    null, nll, bayes, _ = unseen.mean(0)
    return {"skill": metrics.skill(null, nll, bayes), "recall": float(seen[:, 3].mean())}
