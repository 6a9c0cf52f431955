"""An opened run and what a page shows beside it: vanilla, the run's data, its world. Nothing here writes into the run's folder."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from raterhf.data.labels import Labels
from raterhf.data.prepare import read_data
from raterhf.data.requests import Prompt
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation.policies import of_recipe, vanilla_folder
from raterhf.models.checkpoint import is_model, read_header
from raterhf.raters.pool import Rater
from raterhf.recipe import Recipe
from raterhf.recipe_reader import load_recipe
from raterhf.run import Run
from raterhf.run_folder import SAMPLED_FROM, SCORED_BY, check_trained, find_stage
from raterhf.worlds.world import Question, load_world

SUGGESTED = 14  # prompts
VANILLA, EVERYONE = "vanilla", "everyone"


def whole(text: str) -> str:
    """A text without the character that its last tokens have only begun, which decoding shows as U+FFFD."""
    return text.rstrip("\ufffd")


class Opened:
    """See the module. What is not there (a policy, vanilla, data, a reward model) is None, False or empty, and `missing` says why."""

    def __init__(self, run: Run):
        self.run = run
        self.missing: dict[str, str] = {}
        self.placed: dict[str, Any] = {}  # where people stand on the map, by projection
        self.others: dict[int, Any] = {}  # what those like whom people are compared with, by seed
        self.answers, self.scores = self._has("policy", SAMPLED_FROM), self._has("reward", SCORED_BY)
        self.stage = find_stage(run.folder, SAMPLED_FROM if self.answers else SCORED_BY)

    def _has(self, kind: str, stages: tuple[str, ...]) -> bool:
        """Whether a model of this kind lies in the run."""
        try:
            read_header(find_stage(self.run.folder, stages), kind)
        except UserError as error:
            self.missing[kind] = str(error)
            return False
        return True

    @cached_property
    def recipe(self) -> Recipe | None:
        path = self.stage / "recipe.resolved.yaml"
        return load_recipe(path) if path.is_file() else None

    @cached_property
    def vanilla(self) -> RaterPolicy | None:
        """Vanilla of the same data, where `raterhf compare` trained one."""
        folder = vanilla_folder(self.stage.parent, self.recipe) if self.recipe and self.answers else None
        if folder is None or self.recipe is None or not is_model(folder):
            self.missing[VANILLA] = "no vanilla model lies in the run; `raterhf compare` trains one"
            return None
        try:
            check_trained(folder)
            found = of_recipe(VANILLA, folder, "none", self.recipe)
        except UserError as error:
            self.missing[VANILLA] = str(error)
            return None
        return found.with_limits(self.run.policy.max_new_tokens, 1.0)

    @cached_property
    def labels(self) -> Labels | None:
        """The run's own data, where they still are where they were."""
        try:
            return read_data(self.recipe) if self.recipe else None
        except (UserError, OSError) as error:
            self.missing["data"] = f"the run's data cannot be read: {str(error).splitlines()[0]}"
            return None

    @cached_property
    def questions(self) -> dict[str, Question]:
        """The questions of the run's simulated world by prompt; none where it has no world."""
        world = load_world(self.recipe.data.world) if self.recipe and self.recipe.data.world else None
        return {prompt: question for question in world.questions for prompt in question.paraphrases} if world else {}

    @cached_property
    def prompts(self) -> list[str]:
        """Prompts to begin with: those that most answers in the data are to, one of each question of a world."""
        if self.labels is None:
            return []
        shown, compared = self.labels.demonstrations, self.labels.comparisons
        asked = list(shown.prompt if len(shown) else compared.prompt)
        found: dict[str, str] = {}
        for prompt, _ in Counter(prompt for prompt in asked if isinstance(prompt, str)).most_common():
            found.setdefault(self.questions[prompt].key if prompt in self.questions else prompt, prompt)
        return list(found.values())[:SUGGESTED]

    @cached_property
    def label_counts(self) -> Counter:
        """How many labels each rater gave, comparisons and own answers."""
        if self.labels is None:
            return Counter()
        return Counter(self.labels.comparisons.rater_id) + Counter(self.labels.demonstrations.get("rater_id", []))

    def real_answers(self, prompt: str) -> list[str]:
        """What people answered to this prompt, word for word, in the data; to any wording of it in a simulated world."""
        if self.labels is None or not len(self.labels.demonstrations):
            return []
        shown = self.labels.demonstrations
        question = self.questions.get(prompt)
        same = set(question.paraphrases) if question else {prompt}
        return [str(text) for text in shown.completion[[isinstance(one, str) and one in same for one in shown.prompt]]]

    def group_of(self, prompt: str, text: str) -> str:
        """By which answers are the same: the class of a simulated world's answer, else words without case and punctuation."""
        return self._class_of(prompt, text) or re.sub(r"\W+", " ", text.casefold()).strip() or text.strip() or "(nothing)"

    def name_of(self, prompt: str, text: str) -> str:
        """What such an answer is called on the page: its class in a simulated world, else its own words."""
        return self._class_of(prompt, text) or text.strip() or "(nothing)"

    def _class_of(self, prompt: str, text: str) -> str:
        question = self.questions.get(prompt)
        place = question.parse(text) if question else -1
        return question.classes[place] if question and place >= 0 else ""

    def warm(self) -> None:
        """Load all that a page begins with, before anybody waits for it."""
        self.vanilla, self.prompts, self.label_counts, self.questions  # noqa: B018
        if self.answers:
            self.run.policy  # noqa: B018

    def candidates(self, most: int) -> list[tuple[Prompt, str]]:
        """Answers in the data, by prompt, those first that are met most often; of at most so many."""
        each = max(2, most // max(1, len(self.prompts)))
        taken: Counter = Counter()
        found: list[tuple[Prompt, str]] = []
        for prompt, answer in self._often_met:
            if taken[prompt] < each:
                taken[prompt] += 1
                found.append((prompt, answer))
        return found[:most]

    @cached_property
    def _often_met(self) -> list[tuple[str, str]]:
        """Every answer to one of the prompts in the comparisons, those first that are met most often."""
        met: Counter = Counter()
        if self.labels is not None:
            rows, wanted = self.labels.comparisons, set(self.prompts)
            for prompt, *answers in zip(rows.prompt, rows.a, rows.b):
                if isinstance(prompt, str) and prompt in wanted:
                    met.update((prompt, answer) for answer in answers)
        return [pair for pair, _ in met.most_common()]

    def one(self, spec: str) -> Rater:
        """The one rater that a SPEC stands for. Raises UserError where it is several."""
        people = self.run.raters.resolve(spec, 1, 0)
        if len(people) != 1:
            raise UserError(f"rater {spec[:60]!r} stands for {len(people)} people; name one, such as new:7, an ID or none")
        return people[0]

    def begun(self, model: RaterPolicy, prompt: str, said: Iterable[int], rater: Rater) -> tuple[int, ...]:
        """Token ids of a prompt and a begun answer to it. Raises UserError for tokens that the model does not have."""
        said, known = tuple(said), len(model.renderer.tokenizer)
        if strange := [token for token in said if token >= known]:
            raise UserError(f"token {strange[0]} is none of the {known} that this model has; the text was begun with another model")
        return model.renderer.prompt(prompt, rater.text) + said
