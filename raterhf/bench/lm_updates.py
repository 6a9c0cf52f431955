"""Updates of a pretrained chat model's three stages, by TRL's trainers and by ours, on the same texts; for `raterhf bench lm`.

TRL's are its own trainers as they come: every text padded and read as often as it is in the batch, nobody conditioned on. Ours are the
stages' own modules, every example under its rater, without what only we have: no replay, no off-topic pairs, no own answers beside
comparisons. Texts are common words in a random order; samples have no end, so that both draw the same number of tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.data.example import Example
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer
from raterhf.evaluation import trl_trainers
from raterhf.evaluation.methods.rloo import rloo_trainer
from raterhf.evaluation.trl_means import Means, load_judge
from raterhf.models.adapters import add_lora
from raterhf.models.base import Base, find_base
from raterhf.models.load import load_pretrained, load_tokenizer
from raterhf.models.place import place
from raterhf.models.policy import Policy, make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.recipe import LoraSettings, ModelSettings, Optimisation, PolicySettings
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.algorithms.rloo import RLOO, Groups
from raterhf.training.fit import fit
from raterhf.training.objective import Objective
from raterhf.training.policy_module import PolicyModule
from raterhf.training.reward_module import RewardBatch, RewardModule
from raterhf.training.stages.imitation import imitate
from raterhf.training.start import spare_memory

STAGES = ("sft", "reward", "policy")
TRL, OURS, WHOLE = "TRL, adapters", "ours, adapters", "ours, all weights"
DIM, LR, BETA = 8, 1e-4, 0.1
WORDS = """time year people way day man thing woman life child world school state family student group country problem hand part place case
week company system program question work government number night point home water room mother area money story fact month lot right study
book eye job word business issue side kind head house service friend father power hour game line end member law car city""".split()


@dataclass(frozen=True)
class Workload:
    """A model's folder, and how much of what: a batch is so many demonstrations, comparisons or samples."""

    folder: Path
    device: torch.device
    dtype: torch.dtype
    batch: int
    prompt_words: int
    answer_tokens: int
    soft_tokens: int
    rank: int
    updates: int
    checkpointing: bool = False

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.folder)

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(self.tokenizer, 2**20)

    @property
    def settings(self) -> ModelSettings:
        """As a recipe has them."""
        dtype = "bfloat16" if self.dtype == torch.bfloat16 else "float32"
        lora = LoraSettings(r=self.rank, alpha=2 * self.rank)
        return ModelSettings(path=str(self.folder), train="lora", lora=lora, dtype=dtype, gradient_checkpointing=self.checkpointing)

    def texts(self, count: int, seed: int) -> list[str]:
        """As many texts of common words, each of `answer_tokens` tokens or the few more that its last word takes."""
        rng, found = np.random.default_rng(seed), []
        for _ in range(count):
            words: list[str] = []
            while len(self.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) < self.answer_tokens:
                words.append(WORDS[rng.integers(len(WORDS))])
            found.append(" ".join(words))
        return found

    def prompts(self, count: int) -> list[str]:
        rng = np.random.default_rng(0)
        return [" ".join(WORDS[i] for i in rng.integers(len(WORDS), size=self.prompt_words)) + "?" for _ in range(count)]

    def demonstrations(self) -> pd.DataFrame:
        """A prompt and a rater each."""
        return pd.DataFrame({"prompt": self.prompts(self.batch), "completion": self.texts(self.batch, 1)})

    def comparisons(self) -> pd.DataFrame:
        """Of two prompts, each with half the batch: answer i against answer i + 1 by a rater of their own, so that most answers are in
        two."""
        rows, each = [], -(-self.batch // 2)
        for number, prompt in enumerate(self.prompts(2)):
            answers = self.texts(each + 1, 2 + number)
            rows += [(prompt, answers[i], answers[i + 1]) for i in range(each)]
        return pd.DataFrame(rows[: self.batch], columns=["prompt", "chosen", "rejected"])

    def asked(self) -> list[str]:
        """The prompts of an update of RLOO, half of the batch samples of each."""
        return self.prompts(2)

    def vectors(self, count: int) -> torch.Tensor:
        return torch.randn(count, DIM, generator=torch.Generator().manual_seed(2))


def update(work: Workload, stage: str, who: str, scratch: Path) -> Callable[[], None]:
    """`work.updates` updates in a row of a stage by one of TRL, OURS, WHOLE; `scratch` is an empty folder."""
    if who == TRL:
        return TRL_STAGES[stage](work, scratch)
    return OUR_STAGES[stage](work, who == WHOLE, scratch)


def _trl_sft(work: Workload, scratch: Path) -> Callable[[], None]:
    args = _trl_args(work) | {"max_length": 2**16}
    trainer = trl_trainers.sft_trainer(work.folder, scratch / "trl", work.demonstrations(), args, 0, Means.of(work.settings))
    return lambda: trl_trainers.train_quietly(trainer, "sft of TRL")


def _trl_reward(work: Workload, scratch: Path) -> Callable[[], None]:
    args = _trl_args(work) | {"max_length": 2**16}
    trainer = trl_trainers.reward_trainer(work.folder, scratch / "trl", work.comparisons(), args, 0, Means.of(work.settings))
    return lambda: trl_trainers.train_quietly(trainer, "reward of TRL")


def _trl_policy(work: Workload, scratch: Path) -> Callable[[], None]:
    args = _trl_args(work) | {
        "num_generations": work.batch // 2, "steps_per_generation": 1, "num_iterations": 1, "beta": BETA,
        "max_completion_length": work.answer_tokens, "generation_kwargs": {"min_new_tokens": work.answer_tokens}, "temperature": 1.0,
        "top_k": 0, "shuffle_dataset": False,
    }  # fmt: skip
    means = Means.of(work.settings)
    judge = load_judge(work.folder, work.tokenizer, means.dtype).to(work.device).requires_grad_(False)
    trainer = rloo_trainer(work.folder, scratch / "trl", work.asked(), judge, args, 0, means=means)
    return lambda: trl_trainers.train_quietly(trainer, "policy of TRL")


TRL_STAGES = {"sft": _trl_sft, "reward": _trl_reward, "policy": _trl_policy}


def _trl_args(work: Workload) -> dict:
    return {"per_device_train_batch_size": work.batch, "max_steps": work.updates, "learning_rate": LR, "logging_steps": work.updates}


def language_model(work: Workload, whole: bool, trained: bool = True) -> tuple[PreTrainedModel, Base | None]:
    """A model of its own weights, or one with adapters on the base that all share."""
    if whole:
        lm, _ = load_pretrained(work.folder)
        return lm.requires_grad_(trained), None
    base = find_base(str(work.folder), work.device, work.dtype)
    lm = base.model()
    add_lora(lm.get_decoder(), work.settings.lora, 0)
    return lm if trained else lm.requires_grad_(False), base


def make_policy_for(work: Workload, whole: bool, trained: bool = True) -> Policy:
    lm, base = language_model(work, whole, trained)
    torch.manual_seed(0)
    policy = place(make_policy(lm, work.tokenizer, DIM, work.soft_tokens, 0, base), work.device)
    spare_memory(policy, work.settings)
    return policy if trained else policy.requires_grad_(False).eval()


def make_reward_for(work: Workload, whole: bool, conditioning: str | None = "head", trained: bool = True) -> RewardModel:
    """`conditioning` None: a model without raters."""
    lm, base = language_model(work, whole, trained)
    torch.manual_seed(1)
    tokens = work.soft_tokens if conditioning else 0
    model = place(RewardModel(lm.get_decoder(), DIM if conditioning else 0, tokens, conditioning or "head", None, base), work.device)
    spare_memory(model, work.settings)
    return model if trained else model.requires_grad_(False).eval()


def _our_sft(work: Workload, whole: bool, scratch: Path) -> Callable[[], None]:
    rows = work.demonstrations()
    examples = [work.renderer.example(prompt, completion) for prompt, completion in zip(rows.prompt, rows.completion)]
    vectors = work.vectors(len(rows))

    def batch(chosen: np.ndarray, step: int) -> Demonstrations:
        return Demonstrations([examples[i] for i in chosen], RaterBatch.people(vectors[chosen]), torch.ones(len(chosen)), {})

    module, make = imitate(make_policy_for(work, whole), batch, len(examples), work.batch, 0)
    return lambda: fit(module, make, _optimisation(work), scratch / "ours" / "sft", {})


def _our_reward(work: Workload, whole: bool, scratch: Path) -> Callable[[], None]:
    module = RewardModule(make_reward_for(work, whole), RaterSpace(work.batch, DIM, 1.0), 0.0, None, 0).to(work.device)
    data = comparison_data(work)
    none = np.zeros(0, np.int64)
    batch = RewardBatch(data, ComparisonData.nothing(), OwnAnswers([], none, none))
    return lambda: fit(module, lambda step: batch, _optimisation(work), scratch / "ours" / "reward", {})


def comparison_data(work: Workload) -> ComparisonData:
    rows, n = work.comparisons(), work.batch
    sides = [work.renderer.example(p, y) for column in ("chosen", "rejected") for p, y in zip(rows.prompt, rows[column])]
    group = np.unique(rows.prompt, return_inverse=True)[1]
    return ComparisonData(sides, np.arange(n), n + np.arange(n), np.ones(n, np.int64), np.arange(n), group)


def _our_policy(work: Workload, whole: bool, scratch: Path) -> Callable[[], None]:
    policy, reference = make_policy_for(work, whole), make_policy_for(work, whole, trained=False)
    reward = make_reward_for(work, whole, trained=False)
    # No id ends a completion: all are of full length.
    samplers = (Sampler(model, work.tokenizer.pad_token_id, -1, work.answer_tokens) for model in (reference, policy))
    settings = PolicySettings(algorithm="rloo", beta=BETA, steps=work.updates, lr=LR)
    start = Start(
        policy, Objective(Scorer(reward), reference, None, 0), *samplers, work.renderer, [], settings, 0, ComparisonData.nothing()
    )
    module = PolicyModule(policy, RLOO(start, None), 0)
    groups = Groups([work.renderer.prompt(prompt) for prompt in work.asked()], RaterBatch.people(work.vectors(2)), work.batch // 2, 2)
    return lambda: fit(module, lambda step: groups, _optimisation(work), scratch / "ours" / "policy", {})


OUR_STAGES = {"sft": _our_sft, "reward": _our_reward, "policy": _our_policy}


def _optimisation(work: Workload) -> Optimisation:
    return Optimisation(steps=work.updates, batch_size=work.batch, lr=LR)


def tokens_of(work: Workload, stage: str) -> int:
    """Tokens of the texts of an update, as often as they are in it, raters' soft tokens apart."""
    if stage == "policy":
        return sum(len(work.renderer.prompt(prompt)) + work.answer_tokens for prompt in work.asked()) * (work.batch // 2)
    if stage == "reward":
        return sum(map(len, comparison_data(work).examples))
    rows = work.demonstrations()
    return sum(len(work.renderer.example(p, y)) for p, y in zip(rows.prompt, rows.completion))


def answers(work: Workload, count: int, tokens: int) -> list[Example]:
    """So many answers of `tokens` random tokens to one prompt."""
    head, rng = work.renderer.prompt(work.prompts(1)[0]), np.random.default_rng(3)
    return [Example((*head, *rng.integers(0, len(work.tokenizer), tokens).tolist()), len(head)) for _ in range(count)]
