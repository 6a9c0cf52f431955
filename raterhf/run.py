"""An opened run: its models and raters, loaded once, and what they answer and score.

    run = raterhf.open("runs/dice")
    run.sample("Pick a number from 1 to 10.", rater="new", n=5)
    run.score([("Roll a die.", "6")], raters="new:64x")

RUN is a run folder (runs/dice) or the folder of one stage (runs/dice/sft). Models are loaded when they are first needed and kept. What
comes out is a function of the arguments and the folder. Nothing here generates or scores by itself; `engine` does.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from raterhf.data.checks import answer_fault, prompt_fault
from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.people import Given, read_people
from raterhf.data.prepare import read_data
from raterhf.data.renderer import Renderer
from raterhf.data.requests import Prompt
from raterhf.engine.checks import fault_finder
from raterhf.engine.newcomers import FittedRater, fit_by_answers, fit_raters, noise_of
from raterhf.engine.questions import Question, next_questions
from raterhf.engine.rater_policy import Heard, RaterPolicy
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.export.adapter import fill_adapter
from raterhf.export.card import Origin
from raterhf.export.folder import Exported, check_export, check_free, fill_policy, fill_reward, write_export
from raterhf.lock import hold_run
from raterhf.models.checkpoint import load_policy, load_pool, load_reward
from raterhf.models.draw import key_of
from raterhf.models.place import pick_device, pick_dtype
from raterhf.models.pools import add_raters
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.files import ANSWERS, load_answer_model
from raterhf.raters.pool import Rater, RaterPool, require_text
from raterhf.raters.population import Population
from raterhf.recipe import LONGEST, Recipe
from raterhf.run_folder import SAMPLED_FROM, SCORED_BY, find_stage, home_of, read_pool, recipe_of

Pairs = pd.DataFrame | Sequence[tuple[Prompt, str] | dict]


@dataclass(frozen=True)
class Answer:
    """A completion by a rater. `log_prob` is in nats, under that rater at temperature 1; `finished` is False where it was cut; `stage` is
    the folder of the model that answered."""

    prompt: Prompt
    completion: str
    rater: str
    log_prob: float
    finished: bool
    stage: str


@dataclass(frozen=True)
class _Jury:
    """What scores: a reward model, who may judge, and how texts are rendered for it."""

    folder: Path
    model: RewardModel
    pool: RaterPool
    renderer: Renderer


def open_run(
    folder: str | Path, device: str | torch.device | None = None, dtype: str = "float32", deterministic: bool = False
) -> "Run":  # fmt: skip
    """Open a run folder or one stage's folder.

    `device` is the GPU where there is one, else the CPU; `dtype` (float32, bfloat16, auto) is that of the reward model's trunk. With
    `deterministic` each answer and each score is computed alone, which is slower, and is the same to the bit whatever else is asked.
    Raises UserError where nothing there is trained.
    """
    return Run(Path(folder), torch.device(device) if device is not None else pick_device(), dtype, deterministic)


class Run:
    """See `open_run`, which makes one."""

    def __init__(self, folder: Path, device: torch.device, dtype: str, deterministic: bool = False):
        self.folder, self.device, self.dtype, self.deterministic = folder, device, dtype, deterministic
        find_stage(folder, (*SAMPLED_FROM, *SCORED_BY))

    def __repr__(self) -> str:
        return f"raterhf.open({str(self.folder)!r}): stage {find_stage(self.folder, SAMPLED_FROM + SCORED_BY).name}, on {self.device}"

    @cached_property
    def raters(self) -> RaterPool:
        """Who answers and scores: known raters, personas, groups, and the population that fictitious ones are drawn from."""
        return read_pool(find_stage(self.folder, ("policy", "sft", "reward", "base")))

    def sample(
        self, prompts: Prompt | Sequence[Prompt], rater: str = "new", n: int = 1, seed: int = 0, group: str | None = None,
        temperature: float = 1.0, max_new_tokens: int | None = None, heard: Heard | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Answers, by prompt and then by rater. A prompt is text or a list of messages; several are a list of them.

        With `new` and personas n fresh raters answer, the same n every prompt; other SPECs give n answers of each rater. An answer is a
        function of the seed, its rater, its prompt and which of that rater's answers to it it is: the first of n is that of n = 1, and the
        same whatever else is asked. Temperature 0 is greedy. `heard` is called while answers grow, with a dict of those that grew, by
        their place in what is returned, to their texts so far; what it raises ends the sampling. Raises UserError for a prompt or rater
        that cannot be asked.
        """
        prompts = _as_list(prompts)
        if not 0 <= temperature < float("inf"):
            raise UserError(f"temperature is {temperature}; give a number from 0, which is greedy; 1 is as the model was trained")
        for prompt in prompts:
            if fault := prompt_fault(prompt):
                raise UserError(f"prompt {str(prompt)[:60]!r} {fault}")
        pool = self._policy_pool
        _check_group(pool, rater, group)
        people = pool.resolve(rater, n, seed, group)
        repeats = 1 if pool.check_spec(rater) in ("fresh", "persona") else n
        asked = [(prompt, person) for prompt in prompts for person in people for _ in range(repeats)]
        policy = self.policy.with_limits(max_new_tokens, temperature)
        texts, who = [prompt for prompt, _ in asked], [person for _, person in asked]
        completions = policy.answer(texts, who, seed, heard)
        log_probs = policy.log_probs(completions, who)
        end = policy.renderer.tokenizer.eos_token_id
        return [
            Answer(prompt, text, person.id, float(log_prob), example.ids[-1] == end, policy.name)
            for (prompt, person), text, log_prob, example in zip(asked, policy.texts(completions), log_probs, completions)
        ]

    def sample_where_possible(
        self, rows: dict[int, Prompt], rater: str = "new", n: int = 1, seed: int = 0, group: str | None = None, temperature: float = 1.0,
        max_new_tokens: int | None = None,
    ) -> tuple[dict[int, list[Answer]], dict[int, str]]:  # fmt: skip
        """As `sample`, for numbered prompts; those that leave no room for an answer are left out, and come back with the reason."""
        _check_group(self._policy_pool, rater, group)
        people, policy = self._policy_pool.resolve(rater, n, seed, group), self.policy.with_limits(max_new_tokens, temperature)
        rejects = {row: why for row, prompt in rows.items() if (why := policy.fault(prompt, people))}
        asked = {row: prompt for row, prompt in rows.items() if row not in rejects}
        answers = self.sample(list(asked.values()), rater, n, seed, group, temperature, max_new_tokens)
        each = len(answers) // max(1, len(asked))
        return {row: answers[i * each : (i + 1) * each] for i, row in enumerate(asked)}, rejects

    def log_probs(self, pairs: Pairs, rater: str = "none", seed: int = 0, group: str | None = None) -> np.ndarray:
        """Log-probability [N] of each (prompt, completion), its end included, under one rater, in nats."""
        pool, rows = self._policy_pool, _as_rows(pairs)
        _check_group(pool, rater, group)
        people = pool.resolve(rater, 1, seed, group)
        if len(people) != 1:
            raise UserError(f"rater {rater!r} stands for {len(people)} raters, log_probs asks one; give an ID, new:7 or none")
        examples = [self.policy.renderer.example(prompt, text, people[0].text) for prompt, text in rows.values()]
        return self.policy.log_probs(examples, people * len(examples))

    def score(
        self, pairs: Pairs, raters: str | Sequence[str] = "new:16x", seed: int = 0, group: str | None = None, idiosyncratic: bool = False
    ) -> pd.DataFrame:  # fmt: skip
        """Scores, a row for each rater (by ID) and a column for each (prompt, completion), in units of Bradley-Terry noise.

        A rater that several SPECs name has one row. With `idiosyncratic` the raters' whole utilities: the score plus taste that hangs
        together with nothing else. Raises UserError that names the first pair that cannot be scored.
        """
        table, rejects = self.score_where_possible(_as_rows(pairs), raters, seed, group, idiosyncratic)
        if rejects:
            row, why = next(iter(rejects.items()))
            raise UserError(f"pair {row} (counted from 0) {why}; {len(rejects)} of {len(rejects) + table.shape[1]} cannot be scored")
        return table

    def score_where_possible(
        self, rows: dict[int, tuple[Prompt, str]], raters: str | Sequence[str], seed: int = 0, group: str | None = None,
        idiosyncratic: bool = False,
    ) -> tuple[pd.DataFrame, dict[int, str]]:  # fmt: skip
        """As `score`, for numbered pairs; those that do not fit the model are left out, and come back with the reason."""
        jury = self._jury
        people: dict[str, Rater] = {}
        specs: list[str] = list(raters) if isinstance(raters, list | tuple) else [cast(str, raters)]
        for spec in specs:
            _check_group(jury.pool, spec, group)
            people |= {person.id: person for person in jury.pool.resolve(spec, 1, seed, group, counted=True)}
        _check_idiosyncratic(jury, idiosyncratic)
        by_text = jury.pool.encoding == "text"  # the rater stands in the text, so everybody's examples are their own
        examples, rejects = _rendered(jury, rows, [person.text for person in people.values()] if by_text else [""])
        kept = [row for row in rows if row not in rejects]
        scores = self._scores(list(people.values()), examples, idiosyncratic) if kept else np.zeros((len(people), 0), np.float32)
        return pd.DataFrame(scores, index=pd.Index(people, name="rater"), columns=kept), rejects

    def fit_rater(
        self, labels: Given | None, rater_id: str | None = None, group: str | None = None, update: bool = False
    ) -> list[FittedRater]:  # fmt: skip
        """Who people are, inferred from their labels under the population; the weights stay, and nothing is saved (see `add_raters`).

        `labels` is a file or a table of comparisons or ratings, with columns as in the run's own data, or of own answers for a run that was
        trained on these alone: of one person, `rater_id`, or of several, whom its column `rater_id` names. Without any a person is the
        population. `group` is theirs, whose population is the prior then. With `update` people whom an earlier call added are known better
        by labels that came since. Raises UserError for texts that the model cannot read, and for people whom the run knows already.
        """
        if (spoken := self._spoken) is not None:
            read, ids = self._read_newcomers(self._policy_pool, spoken, labels, rater_id, group, update, answers=True)
            known = load_answer_model(spoken)

            def fit(ids: Sequence[str], prior: Population) -> list[FittedRater]:
                return fit_by_answers(*known, read, ids, prior)

            return _fitted(fit, self._policy_pool, ids, group, update)
        jury = self._jury
        if jury.model.reader is None:
            raise UserError(
                f"{jury.folder} knows raters by {jury.pool.encoding}, which nothing can be fitted to; raters.encoding=embedding can"
            )
        read, ids = self._read_newcomers(jury.pool, jury.folder, labels, rater_id, group, update)
        noise = noise_of(jury.folder)
        return _fitted(lambda ids, prior: fit_raters(self._scorer, jury.renderer, noise, read, ids, prior), jury.pool, ids, group, update)

    def _read_newcomers(
        self, pool: RaterPool, folder: Path, labels: Given | None, rater_id: str | None, group: str | None, update: bool,
        answers: bool = False,
    ) -> tuple[Labels, list[str]]:  # fmt: skip
        recipe = recipe_of(folder)
        read, ids = read_people(labels, rater_id, recipe.data if recipe else None, home_of(self.folder), answers)
        _check_newcomers(pool, ids, group, update)
        return read, ids

    def add_raters(self, fitted: Sequence[FittedRater], group: str | None = None) -> list[Path]:
        """Make fitted people known raters of all stages of the run, so that `--rater ID` samples, scores and exports; returns the folders.

        An ID that is known gets its new vector, the populations stay. Raises UserError where the run is one stage of several.
        """
        stages = [self.folder.name] if home_of(self.folder) != self.folder else [*SAMPLED_FROM, *SCORED_BY]
        with hold_run(self.folder):
            done = add_raters(home_of(self.folder), stages, [(one.id, one.mean, one.covariance, group) for one in fitted])
        for cached in ("raters", "_policy_pool", "policy", "_jury"):  # what was read before
            self.__dict__.pop(cached, None)
        return done

    def export(
        self, raters: str | Sequence[str], folder: str | Path | None = None, to: str = "transformers", stage: str = "policy", seed: int = 0,
        group: str | None = None, mean: bool = False,
    ) -> Exported:  # fmt: skip
        """Write a folder that other programs load without raterhf, in which these raters, and nobody, are asked by name.

        `raters` are SPECs, of which `new` is one fresh rater and `new:16x` are 16. `to` is transformers, vllm, llamacpp or peft; `stage` is
        policy (the last stage that answers) or reward. `mean` makes a reward model of the raters' mean. The folder is RUN/export/TO where
        not given, is written whole or not at all, and holds a README.md that says how it is used. Raises UserError where it exists, where a
        rater is not known, and where what is asked for would not give the run's own log-probabilities or scores.
        """
        check_export(to, stage, mean)
        target = Path(folder) if folder is not None else home_of(self.folder) / "export" / (to if stage == "policy" else f"{to}-{stage}")
        check_free(target)
        pool = self._policy_pool if stage == "policy" else self._jury.pool
        people: dict[str, Rater] = {} if mean else {"none": pool.null()}
        specs = [raters] if isinstance(raters, str) else list(raters)
        for spec in specs:
            _check_group(pool, spec, group)
            people |= {person.id: person for person in pool.resolve(spec, 1, seed, group, counted=True)}
        if not specs:
            raise UserError("no raters; name some, such as new:7, an ID, or none for nobody in particular")
        chosen, about = list(people.values()), {"to": to, "stage": stage}
        trained_in = find_stage(self.folder, SAMPLED_FROM if stage == "policy" else SCORED_BY)
        origin = Origin(home_of(self.folder), recipe_of(trained_in), pool)
        if stage == "reward":
            jury = self._jury
            fill = fill_reward(jury.model, jury.renderer, chosen, _batch(jury, chosen, self.device), mean)
        elif to == "peft":
            fill = fill_adapter(self.policy, chosen)
        else:
            fill = fill_policy(self.policy, chosen, seed, to)
        return write_export(target, fill, origin, chosen, about)

    def ask(
        self, rater_id: str, completions: Pairs | None = None, labels: Given | None = None, n: int = 1, group: str | None = None,
        seed: int = 0,
    ) -> list[Question]:  # fmt: skip
        """The n pairs whose labels are expected to tell most of a person, each beside those before it.

        The person is who the run infers `rater_id` to be, and the population, or that of their `group`, where it does not know them yet;
        `labels`, as of `fit_rater`, are what they said since, and these pairs are not asked again. Pairs are of any two `completions` of
        one prompt, of the run's own comparisons where none are given. Raises UserError where there is no pair.
        """
        jury = self._jury
        known = rater_id in jury.pool.index
        if known and group is not None:
            raise UserError(f"group {group!r}: the run knows {rater_id!r}, which goes before what their group is; leave it out")
        taste = self.fit_rater(labels, rater_id, group, update=known)[0].taste
        recipe = recipe_of(jury.folder)
        asked: set[tuple[str, frozenset[str]]] = set()
        if labels is not None:
            read, _ = read_people(labels, rater_id, recipe.data if recipe else None, home_of(self.folder))
            asked = set(map(_unordered, *(read.comparisons[name] for name in ("prompt", "a", "b"))))
        pairs = _candidates(completions, recipe, jury.folder)
        left = [pair for pair in pairs if _unordered(*pair) not in asked]
        return next_questions(self._scorer, jury.renderer, noise_of(jury.folder), taste, left, n, seed)

    def reward_function(self, rater: str = "new", seed: int = 0, group: str | None = None, idiosyncratic: bool = False) -> Callable:
        """A reward function as TRL's trainers take them: `GRPOTrainer(reward_funcs=run.reward_function())`.

        All completions of a prompt in a call are scored for one rater: that of the data's column `rater_id` where it has one, else
        `rater`; with `new` a fresh fictitious rater for each prompt and call. Raises UserError for texts that do not fit the model.
        """
        require_text(rater)
        calls = 0

        def raterhf_reward(prompts: list, completions: list, rater_id: list[str] | None = None, **_: object) -> list[float]:
            nonlocal calls
            calls += 1
            jury = self._jury
            _check_group(jury.pool, rater, group)
            _check_idiosyncratic(jury, idiosyncratic)
            chosen: dict[tuple[str, str | None], Rater] = {}
            for i, prompt in enumerate(prompts):
                key = (str(prompt), rater_id[i] if rater_id else None)
                if key not in chosen:
                    draw = key_of(seed, calls, *key) % 2**63
                    people = jury.pool.resolve(key[1] or rater, 1, draw, None if key[1] else group)
                    if len(people) != 1:
                        raise UserError(
                            f"rater {rater!r} stands for {len(people)} raters, a reward asks one; give new, new:7, an ID or none"
                        )
                    chosen[key] = people[0]
            who = [chosen[str(prompt), rater_id[i] if rater_id else None] for i, prompt in enumerate(prompts)]
            texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
            examples = [jury.renderer.example(prompt, text, person.text) for prompt, text, person in zip(prompts, texts, who)]
            different = list({person.id: person for person in who}.values())
            place = {person.id: i for i, person in enumerate(different)}
            batch = _batch(jury, different, self.device)
            with torch.no_grad():
                rows = torch.tensor([place[person.id] for person in who])
                if idiosyncratic:
                    return self._scorer.utility(examples, batch)[rows, torch.arange(len(rows))].tolist()
                return self._scorer.pairs(examples, batch, rows).tolist()

        return raterhf_reward

    def _scores(self, people: list[Rater], examples: list[list[Example]], idiosyncratic: bool) -> np.ndarray:
        """Scores [K, N]: of one list of examples for everybody, or of each rater's own list."""
        scorer, nobody = self._scorer, RaterBatch.nobody(1, self.device)
        with torch.no_grad():
            if self._jury.pool.encoding == "text":
                return torch.cat([scorer.matrix(mine, nobody) for mine in examples]).cpu().numpy()
            batch = _batch(self._jury, people, self.device)
            return (scorer.utility if idiosyncratic else scorer.matrix)(examples[0], batch).cpu().numpy()

    @cached_property
    def _policy_pool(self) -> RaterPool:
        """Read before the model, so that a rater who is not known is an error at once."""
        return read_pool(find_stage(self.folder, SAMPLED_FROM))

    @cached_property
    def policy(self) -> RaterPolicy:
        """The model that answers, for what is more than answers: distributions of the next token, and how begun texts go on."""
        folder = find_stage(self.folder, SAMPLED_FROM)
        policy, tokenizer, header = load_policy(folder, self.device)
        recipe = recipe_of(folder)
        limits = recipe.limits if recipe else (LONGEST, 0.0)
        renderer = Renderer(tokenizer, header["max_length"])
        return RaterPolicy(folder.resolve().name, policy, renderer, self._policy_pool, "new", *limits, deterministic=self.deterministic)

    @cached_property
    def _jury(self) -> _Jury:
        folder = find_stage(self.folder, SCORED_BY)
        pool = load_pool(folder)
        model, tokenizer, header = load_reward(folder, self.device, pick_dtype(self.dtype, self.device))
        return _Jury(folder, model, pool, Renderer(tokenizer, header["max_length"]))

    @property
    def _spoken(self) -> Path | None:
        """The stage whose raters are known by their answers alone, where they are."""
        folder = find_stage(self.folder, (*SAMPLED_FROM, *SCORED_BY))
        return folder if (folder / ANSWERS).is_file() else None

    @property
    def _scorer(self) -> Scorer:
        return Scorer(self._jury.model, deterministic=self.deterministic)


def _as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt, as text or as messages, or several."""
    if isinstance(prompts, str) or (len(prompts) and isinstance(prompts[0], dict)):
        return [cast(Prompt, prompts)]
    return list(cast(Sequence[Prompt], prompts))  # a list of messages is told from one of prompts by its first element


def _as_rows(pairs: Pairs) -> dict[int, tuple[Prompt, str]]:
    """Pairs by their position. Raises UserError for one that is no prompt with a completion."""
    rows: Iterable = pairs.to_dict("records") if isinstance(pairs, pd.DataFrame) else pairs
    if isinstance(pairs, str):
        raise UserError(f"pairs are {pairs[:60]!r}; give a list of (prompt, completion)")
    found = {}
    for i, row in enumerate(rows):
        try:
            prompt, answer = (row["prompt"], row["completion"]) if isinstance(row, dict) else row
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"pair {i} is {str(row)[:60]!r}; give (prompt, completion), or a dict or columns of these names") from error
        faults = (("prompt", prompt_fault(prompt)), ("completion", answer_fault(answer)))
        if why := "; ".join(f"{name} {fault}" for name, fault in faults if fault):
            raise UserError(f"pair {i}: {why}")
        found[i] = (prompt, answer[-1]["content"] if isinstance(answer, list) else answer)
    return found


def _rendered(jury: _Jury, rows: dict[int, tuple[Prompt, str]], texts: list[str]) -> tuple[list[list[Example]], dict[int, str]]:
    """The completions after each rater text, by text; and those that do not fit after one of them, with the reason."""
    examples, rejects, find = [], {}, fault_finder(jury.model)
    for row, (prompt, answer) in rows.items():
        try:
            column = [jury.renderer.example(prompt, answer, text) for text in texts]
            fault = next(filter(None, map(find, column)), "")
        except UserError as error:
            fault = str(error)
        if fault:
            rejects[row] = fault
        else:
            examples.append(column)
    return [list(column) for column in zip(*examples)], rejects


def _unordered(prompt: Prompt, a: str, b: str) -> tuple[str, frozenset[str]]:
    return str(prompt), frozenset((a, b))


def _candidates(completions: Pairs | None, recipe: Recipe | None, folder: Path) -> list[tuple[Prompt, str, str]]:
    """Every two different completions of a prompt; without any, the pairs of the comparisons that the run was trained on."""
    if completions is not None:
        by_prompt: dict[str, tuple[Prompt, dict[str, None]]] = {}
        for prompt, answer in _as_rows(completions).values():
            by_prompt.setdefault(str(prompt), (prompt, {}))[1][answer] = None
        return [(prompt, a, b) for prompt, answers in by_prompt.values() for a, b in combinations(answers, 2)]
    if recipe is None:
        raise UserError(f"{folder} does not say what data it was trained on; give completions to choose pairs from")
    rows = read_data(recipe).comparisons
    different = {_unordered(*pair): pair for pair in zip(rows.prompt, rows.a, rows.b)}
    return list(different.values())


def _fitted(
    fit: Callable[[Sequence[str], Population], list[FittedRater]], pool: RaterPool, ids: list[str], group: str | None, update: bool
) -> list[FittedRater]:
    """People under the population, or each under what is known of them already."""
    if not update:
        return fit(ids, pool.prior(group))
    return [fitted for one in ids for fitted in fit([one], pool.prior(rater_id=one))]


def _check_newcomers(pool: RaterPool, ids: Sequence[str], group: str | None, update: bool) -> None:
    known = [one for one in ids if one in pool.index]
    if known and not update:
        raise UserError(
            f"rater {known[0]!r} is known to this run; give --update to add these labels to what is known of them, or another ID"
        )
    if update and (strangers := [one for one in ids if one not in known]):
        raise UserError(f"rater {strangers[0]!r} is not known to this run, so there is nothing to update; leave out --update")
    if update and group is not None:
        raise UserError(f"group {group!r} with --update: what is known of a person goes before their group; leave one of them out")


def _check_idiosyncratic(jury: _Jury, idiosyncratic: bool) -> None:
    if idiosyncratic and jury.model.idiosyncratic is None:
        raise UserError(
            f"{jury.folder} was trained without idiosyncratic taste (raters.idiosyncratic_dim 0, or an encoding without vectors); "
            "leave out --idiosyncratic"
        )


def _check_group(pool: RaterPool, spec: str, group: str | None) -> None:
    """A group narrows whom `new` and `all` stand for; with anything else it would be ignored."""
    if group is None:
        return
    kind = pool.check_spec(spec, counted=True)
    if kind not in ("fresh", "fixed", "counted", "all"):
        raise UserError(f"--group {group!r} with rater {spec!r}: a group narrows `new`, `new:NUMBER` and `all` only; leave one of them out")
    if pool.encoding == "text" and kind != "all":
        raise UserError(f"--group {group!r}: this run knows raters by text, which has no groups to draw from; leave it out")


def _batch(jury: _Jury, people: list[Rater], device: torch.device) -> RaterBatch:
    if jury.model.reader is None:
        return RaterBatch.nobody(len(people), device)
    return RaterBatch.of(people, jury.pool.dim + jury.pool.idiosyncratic_dim, device)
