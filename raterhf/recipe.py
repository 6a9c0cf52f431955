"""The schema of a recipe: one pydantic model, a section for each stage and for what they share.

Every key is listed here with one string beneath it, which is its help text. `recipe_reader.py` reads recipes from files. This file knows
nothing of training: stages take a recipe apart into sections and plain arguments.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from raterhf.recipe_base import MAX_SEED, MAX_SIZE, MAX_STEPS, MAX_WIDTH, Section
from raterhf.recipe_compare import CompareSettings, VanillaSettings, algorithms

LONGEST = 40  # tokens of an answer where no stage `policy` says
STAGES = ("base", "reward", "sft", "policy")


class DataSettings(Section):
    world: str | None = None
    """Name of a simulated world whose distributions are known exactly (`dice`, `companion`); `compare` draws fresh raters from it."""
    comparisons: list[str] | str | None = None
    """Files of `prompt, chosen, rejected, rater_id` or `prompt, a, b, label, rater_id` (JSON, CSV, parquet, or a datasets path)."""
    ratings: list[str] | str | None = None
    """Files of `prompt, response, rating, rater_id`; become pairs within a rater."""
    demonstrations: list[str] | str | None = None
    """Files of `prompt, completion, rater_id`: what the rater would say."""
    raters: str | None = None
    """File of `rater_id, persona, group, split`, each but the first optional."""
    base: str | None = None
    """File of `prompt, completion`: the corpus of the plain language model (stage `base`)."""
    columns: dict[str, str] = {}
    """Our column name -> the file's, where they differ; with braces a template of several: `{discussion}: {statement}`. A prompt that is no
    column but a sentence is the prompt of every row."""
    labels: dict[str | int | float | bool, str | int] | str | None = None
    """What the values of `label` mean, where they are not 1 (a), -1 (b), 0 (tie) or words such as a, model_b, tie: a map to a, b, tie, both
    good, both bad or skip, with a strength where graded (`{left: a, right: b}`, `{much better: a 2}`), or one of left-right, first-second,
    one-two, zero-one, one-zero, true-false, minus-first, plus-first (the last two: graded numbers; minus prefers a, or plus does)."""
    within: str | None = None
    """Column of the ratings that says what was rated together (an interaction, a sitting): only ratings within one are paired."""
    pairs_per_rater: int | None = Field(None, ge=1)
    """Pairs at most that a rater's ratings become, drawn by the seed, the others counted. n ratings of one prompt are n (n - 1) / 2 pairs,
    of which a part teaches as much; without it all are made, five million at most."""
    preset: str | None = None
    """The tool or data set whose export the files are, where their columns do not show it: a name that `raterhf data convert` takes."""
    prefix_raters: Literal["file"] | None = None
    """`file`: raters of one file are nobody in another, for files that number their own people; IDs become FILE/ID."""
    group_column: str | None = None
    """Column of the data rows that holds the rater's group."""
    split: str | None = None
    """Only rows whose `split` column has this value are trained on."""
    validate_share: float = Field(0.1, ge=0, lt=1)
    """Share of raters kept for validation where the raters file has no `split`."""
    held_out: float = Field(0.05, ge=0, lt=1)
    """Share of the known raters' comparisons kept from training: calibration and accuracy are read there."""
    shuffle_raters: bool = False
    """Control: permute the rater IDs among the rows of each prompt, so that answers stay and people are lost."""
    max_bad: float = Field(0.0, ge=0, le=1)
    """Largest share of rows without a text, label or rater that may be left out (each counted); above it reading stops with an error."""
    max_dropped: float = Field(0.0, ge=0, le=1)
    """Largest share of over-long examples that may be left out (each counted); above it training stops with an error."""

    @property
    def files(self) -> list[str]:
        listed = (self.comparisons, self.ratings, self.demonstrations, self.raters, self.base)
        return [path for files in listed for path in ([files] if isinstance(files, str) else files or [])]


class LoraSettings(Section):
    r: int = Field(16, ge=1)
    """Rank of the adapters."""
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the adapters' inputs that is dropped in training, but in the stage `policy`, which learns from what it samples."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Modules that get an adapter, by the ends of their names (q_proj, v_proj); all-linear: every linear layer of the decoder."""
    modules_to_save: list[str] = []
    """Modules of the decoder that are trained and saved whole beside the adapters, by the ends of their names."""


class ModelSettings(Section):
    path: str | None = None
    """A pretrained causal language model: a local folder or a hub name. Without it the model is built from `config`."""
    train: Literal["all", "lora", "none"] = "all"
    """What of the language model learns: all weights, adapters on weights that stay (lora), or none: only what reads raters and gives
    scores. With the last two one copy of `path` serves policy, reference and reward model, and folders hold what was trained alone."""
    lora: LoraSettings | None = None
    """Adapters, by peft. Defaults where `train` is lora."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What weights that stay are held and computed in; auto: bfloat16 on a GPU, else float32. What learns is held in float32 always. Where
    all weights do, bfloat16 is what products are computed in while training (autocast), and auto is float32."""
    load: Literal["whole", "4bit"] = "whole"
    """How weights that stay are held: whole, or rounded to 4 bits (QLoRA), a quarter of bfloat16's memory for a slightly worse model: on
    CUDA devices, by bitsandbytes (the extra `4bit`)."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Tokens of a batch that are held in memory at once; of a larger batch the rest is read again in the backward pass, so that memory does
    not grow with batch_size and gradients are the same. Default: 1024 for a pretrained model, 65536 for one from scratch."""
    gradient_checkpointing: bool = False
    """Hold what goes into each layer alone, and compute the layer again in the backward pass: less memory, a third more time."""
    config: dict[str, Any] = {
        "model_type": "qwen3", "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 24, "tie_word_embeddings": True,
    }  # fmt: skip
    """transformers configuration of a model trained from scratch."""
    vocab_size: int = Field(1024, ge=300, le=MAX_SIZE)
    """Size of the byte-level BPE vocabulary trained on the data (from scratch only)."""
    max_length: int = Field(96, ge=4, le=MAX_SIZE)
    """Longest example in tokens, rater prefix apart."""
    chat: Literal["auto", "never"] = "auto"
    """Put prompts that are text to a chat model (a tokenizer with a chat template) as a user's turn (auto), or as they are (never)."""
    system: str | None = None
    """System message that opens what has none of its own, by the chat template. Without it the template's own, where it has one."""

    @model_validator(mode="after")
    def check_system(self) -> "ModelSettings":
        if self.system is not None and self.chat == "never":
            raise ValueError("`model.system` opens conversations, and `model.chat` never makes a text one; leave out one of them")
        return self

    @property
    def staying(self) -> "ModelSettings":
        """The same of which nothing learns."""
        return self.model_copy(update={"train": "none", "lora": None})

    @property
    def precision(self) -> Literal["bf16-mixed", "32-true"]:
        """Lightning's name of what training computes in."""
        return "bf16-mixed" if self.train == "all" and self.dtype == "bfloat16" else "32-true"

    @model_validator(mode="after")
    def check_train(self) -> "ModelSettings":
        self.micro_batch_tokens = self.micro_batch_tokens or (1024 if self.path else 65536)
        if self.train == "lora":
            self.lora = self.lora or LoraSettings()
        elif self.lora is not None:
            raise ValueError(f"`model.lora` is given, and `model.train` is {self.train}; set model.train to lora, or drop model.lora")
        if self.load == "4bit" and self.train == "all":
            raise ValueError(
                "`model.load` is 4bit and `model.train` is all, and rounded weights cannot be trained; set model.train to lora"
            )
        if self.train != "all" and self.path is None:
            raise ValueError(f"`model.train` is {self.train}, which needs weights that stay; give a pretrained model as model.path")
        return self


class RatersSettings(Section):
    encoding: Literal["embedding", "text", "none"] = "embedding"
    """How a rater enters the models: soft prefix tokens read from a vector, a text prefix, or not at all (vanilla)."""
    dim: int = Field(8, ge=1, le=MAX_WIDTH)
    """Dimensions of the taste a rater's vector holds, k."""
    idiosyncratic_dim: int = Field(64, ge=0, le=MAX_WIDTH)
    """Dimensions of a rater's idiosyncratic taste: taste that hangs together with nothing else. 0 goes without."""
    tokens: int = Field(8, ge=1, le=MAX_WIDTH)
    """Soft prefix tokens a reader makes of a vector."""
    noise: float = Field(1.0, ge=0)
    """Gaussian noise on rater vectors in training, in units of their own spread: keeps taste, forgets dice."""
    reader_lr: float = Field(1e-2, gt=0)
    """Learning rate of a policy's reader."""
    null_share: float = Field(0.15, ge=0, lt=1)
    """Share of training examples whose rater is dropped, so that the null rater is a rater-free model."""
    components: list[Annotated[int, Field(ge=1, le=MAX_SIZE)]] = Field([1, 2, 4, 8, 16], min_length=1)
    """Sizes of the population's mixture to choose from, on validation raters."""
    scales: list[Annotated[float, Field(gt=0)]] = Field([0.8, 1.0, 1.25, 1.5], min_length=1)
    """Widths of the components to choose from, on validation raters."""
    persistence: float | None = Field(None, ge=0, le=1)
    """Share of a rater's unexplained utility that persists. Estimated per prompt from repeated comparisons where not given."""
    text_template: str = "Rater {}: "
    """Text prefix of a rater under encoding `text`: `{}`, which stands in it once, is replaced by the ID."""

    @field_validator("text_template")
    @classmethod
    def check_template(cls, template: str) -> str:
        """Without `{}` every rater would have one text; anything else in braces would be Python's formatting."""
        if template.count("{}") != 1 or set(template.replace("{}", "")) & set("{}"):
            raise ValueError(
                f"`raters.text_template` is {template!r}; it holds `{{}}` once, where the rater's ID goes, and no other braces: "
                "write it as in 'Rater {}: '"
            )
        return template


def rater_text(template: str, rater_id: str) -> str:
    """The text prefix of a rater. Not Python's formatting, whose templates can ask for gigabytes."""
    return template.replace("{}", rater_id)


class Optimisation(Section):
    steps: int = Field(ge=1, le=MAX_STEPS)
    """Optimiser steps."""
    batch_size: int = Field(64, ge=1, le=MAX_SIZE)
    """Examples (reward: comparisons) per step."""
    lr: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after its peak: to 0 after the last step, along a cosine or a line, or not at all."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of all gradients together; larger ones are scaled down to it."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's weight decay, on matrices only."""
    save_every: int = Field(200, ge=1, le=MAX_STEPS)
    """Steps between the states from which an interrupted run resumes."""


class Evaluated(Optimisation):
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between two evaluations on what data.held_out keeps back. The weights that were best there are those that are saved; without
    evaluations the last ones are."""
    patience: int | None = Field(None, ge=1)
    """Evaluations in a row without a better one after which the stage ends. Without it all steps are done."""

    @model_validator(mode="after")
    def check_patience(self) -> Self:
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("`patience` counts evaluations, and there are none; set `evaluate_every` beside it, or drop it")
        return self


class BaseSettings(Optimisation):
    """Plain language model on the base corpus."""


class RewardSettings(Evaluated):
    conditioning: Literal["prefix", "suffix", "head"] = "head"
    """Where the rater enters: soft tokens that every token after them reads (prefix), soft tokens that read the text and are read by no
    token of it (suffix), or a token that only the head reads. With the last two, one pass of a completion serves every rater."""
    frozen: bool = False
    """Leave the pretrained model as it is in this stage, whatever model.train says: only what reads raters and gives scores learns. With
    conditioning head each text is read once, so that ratings of few texts train within minutes."""
    block: int = Field(64, ge=1, le=MAX_SIZE)
    """Comparisons of one prompt that come together in a batch, so that shared completions are read once."""
    label_noise: float | None = Field(None, ge=0, lt=0.5)
    """Share of labels that say the opposite of what was meant. Learned where not given."""
    vector_lr: float = Field(0.05, gt=0)
    """Learning rate of the rater vectors."""
    head_lr: float = Field(5e-3, gt=0)
    """Learning rate of the head, the reader and the noise parameters."""
    demonstrations: int = Field(256, ge=0, le=MAX_SIZE)
    """Raters' own answers read per step, each as a choice among what others answered. 0, or no such data: comparisons alone."""
    demonstration_weight: float = Field(0.2, ge=0)
    """Weight of those choices beside the comparisons."""
    off_topic: int = Field(64, ge=0, le=MAX_SIZE)
    """Chosen completions per step that must beat the answer to another prompt, so that what nobody compared is not liked. 0: none."""
    off_topic_weight: float = Field(0.1, ge=0)
    """Weight of those pairs beside the comparisons."""


class SftSettings(Evaluated):
    source: Literal["demonstrations", "chosen"] = "demonstrations"
    """What is imitated: raters' own answers, or what they chose in comparisons."""
    noise: float | None = Field(None, ge=0)
    """Gaussian noise on rater vectors, in units of their spread; that of raters.noise where not given: as much as they were learned under,
    which is what labels leave open of a person. With less, a policy knows raters one by one, and fictitious ones are none of them."""
    learn_vectors: bool = False
    """Go on learning the rater vectors, from what raters say (habits that comparisons do not show), and fit the populations again. Without
    a stage `reward` raters are inferred from their own answers, and with this key learned from them instead, under raters.noise, as they
    always are from choices."""
    vector_lr: float = Field(0.02, gt=0)
    """Learning rate of the rater vectors, where they are learned here."""
    max_new_tokens: int = Field(LONGEST, ge=1, le=MAX_SIZE)
    """Longest completion sampled, where no stage `policy` says."""
    replay: float = Field(0.2, ge=0, lt=1)
    """Share of the loss that is imitation of texts nobody rated, so that what the model says there stays: rows of data.base of which raters
    saw neither prompt nor completion, or without data.base what a pretrained model says of itself. 0 goes without."""


class PolicySettings(Optimisation):
    algorithm: str = "reword"
    """A file of raterhf/training/algorithms: imitation of the reference's answers put in better words (reword), of what raters choose among
    its samples (forward_kl) or among the data's completions (favourites), of each rater's best samples (best_of_n), of the best of all
    raters' samples (feedme), or of all samples under their ratings, asked for the best (rating_conditioned); REINFORCE leave-one-out with
    a KL penalty (rloo); or DPO on raters' comparisons (dpo)."""
    options: dict[str, Any] = {}
    """Settings of the algorithm's own: choices, near and same of reword, choices and idiosyncratic of forward_kl, these and opening of
    favourites, choices of best_of_n and feedme, ratings of rating_conditioned, nobody and noise of dpo, target_kl of rloo."""
    beta: float = Field(0.5, gt=0)
    """Weight of the reference's log-probability against the reward: pi proportional to pi_ref^beta exp(utility)."""
    batch_size: int = Field(128, ge=1, le=MAX_SIZE)
    """Answers imitated per step (reword, forward_kl): rounds of sampling and scoring serve several steps, and a step has answers of eight
    rounds."""
    prompts: int = Field(8, ge=1, le=MAX_SIZE)
    """Prompts per round of sampling."""
    raters: int = Field(16, ge=1, le=MAX_SIZE)
    """Raters per prompt (reword, forward_kl) or raters drawn for each prompt's groups (rloo)."""
    samples: int = Field(32, ge=2, le=MAX_SIZE)
    """Reference samples per prompt that all its raters choose among (forward_kl, and reword without demonstrations), or the size of a
    rater's group (rloo)."""
    known_share: float = Field(0.5, ge=0, le=1)
    """Share of known raters; the rest are fictitious."""
    max_new_tokens: int = Field(40, ge=1, le=MAX_SIZE)
    """Longest completion sampled."""
    replay: float = Field(0.2, ge=0, lt=1)
    """As sft.replay."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Tokens less likely than this share of the likeliest are not sampled, by `raterhf sample` and by every policy that `compare` measures;
    answers that reword trains on are sampled so too, and those of the other algorithms without it."""


class MonitorSettings(Section):
    every: int = Field(250, ge=1, le=MAX_STEPS)
    """Steps between two looks at what the model says; the last step is looked at too."""
    samples: int = Field(96, ge=16, le=MAX_SIZE)
    """Answers to each prompt at a look, each from a fresh fictitious rater."""
    prompts: int = Field(4, ge=1, le=MAX_SIZE)
    """Training prompts watched, of different questions where the world is known."""
    level: float = Field(0.5, gt=0, le=1)
    """Share of a question's diversity beyond one answer at the stage's first look, below which the alarm is raised."""
    alarm: Literal["warn", "stop", "slow"] = "warn"
    """What follows: a line, an end from which the same command resumes, or half the learning rate."""


class TrainerSettings(Section):
    """What trains: processes, a device each, that share every step. Of precision `model.dtype` says, and gradients are accumulated by
    `model.micro_batch_tokens`."""

    devices: int | None = Field(None, ge=1, le=MAX_WIDTH)
    """Processes on each machine, a GPU each, or on a CPU some of its cores each. The batch of a step is the recipe's however many they are.
    Default: as many as torchrun started, else one."""
    num_nodes: int | None = Field(None, ge=1, le=MAX_WIDTH)
    """Machines. Several are started by torchrun on each of them. Default: as many as torchrun started, else one."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How processes share a model: each holds all of it and gradients are averaged (ddp, and auto where they are several), or each keeps a
    part of the weights and moments, which are gathered for a step (fsdp; for model.train all)."""

    @property
    def sharded(self) -> bool:
        return self.strategy == "fsdp"


class Recipe(Section):
    """A whole recipe, checked: what `load_recipe` gives. Its keys are listed by `raterhf recipes keys`."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the run: everything is written into runs/NAME."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    """Seed of everything that is drawn."""
    runs: str = "runs"
    """Folder of the runs."""
    logger: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Also log every stage there, beside its metrics.csv; pip install 'raterhf[NAME]' brings the package."""
    data: DataSettings
    model: ModelSettings = ModelSettings()
    raters: RatersSettings = RatersSettings()
    base: BaseSettings | None = None
    reward: RewardSettings | None = None
    sft: SftSettings | None = None
    policy: PolicySettings | None = None
    monitor: MonitorSettings | None = None
    vanilla: VanillaSettings | None = None
    trainer: TrainerSettings = TrainerSettings()
    compare: CompareSettings = CompareSettings()

    @model_validator(mode="after")
    def check_algorithm(self) -> "Recipe":
        names = algorithms()
        if self.policy and self.policy.algorithm not in names:
            raise ValueError(f"`policy.algorithm` is {self.policy.algorithm!r}; it is one of {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def check_strategy(self) -> "Recipe":
        """What fsdp cannot share out."""
        if self.trainer.strategy != "fsdp":
            return self
        if self.model.train != "all" or self.reward and self.reward.frozen:
            key = "reward.frozen" if self.model.train == "all" else f"model.train {self.model.train}"
            raise ValueError(
                f"`trainer.strategy` fsdp shares out weights that learn, and with {key} most of them stay, of which all models of a device "
                "hold one copy; set trainer.strategy to ddp"
            )
        if self.monitor and self.monitor.alarm == "stop":
            raise ValueError(
                "`monitor.alarm` stop saves the state where the first process looks, which with trainer.strategy fsdp has a part of it; "
                "set monitor.alarm to warn or slow, or trainer.strategy to ddp"
            )
        return self

    @model_validator(mode="after")
    def check_inputs(self) -> "Recipe":
        """A stage whose input is missing is an error of the recipe, found before anything runs."""
        data = self.data
        if self.base and self.model.train == "none":
            raise ValueError("stage `base` has nothing to train where model.train is none; drop the stage, or set model.train to lora")
        if self.reward and self.reward.frozen and (self.base or not self.model.path):
            raise ValueError(
                "`reward.frozen` leaves a pretrained model as it is, and there is none; give model.path, or drop reward.frozen"
            )
        if self.base and not data.base:
            raise ValueError("stage `base` needs data.base (a corpus of prompt, completion); add it or drop the stage")
        if self.reward and not (data.comparisons or data.ratings):
            raise ValueError(
                "stage `reward` needs data.comparisons or data.ratings; add one or drop the stage (answers alone train with `sft` alone)"
            )
        if self.sft:
            if self.sft.source == "demonstrations" and not data.demonstrations:
                raise ValueError(
                    "stage `sft` with source demonstrations needs data.demonstrations; add it, imitate what raters chose with "
                    "sft.source=chosen, or drop the stage"
                )
            if self.sft.source == "chosen" and not (data.comparisons or data.ratings):
                raise ValueError("stage `sft` with source chosen needs data.comparisons or data.ratings; add one or drop the stage")
        if self.policy and self.sft and self.sft.learn_vectors:
            raise ValueError(
                "stage `policy` scores with the reward stage's rater vectors, which sft.learn_vectors replaces; drop one of them"
            )
        if self.policy and not (self.reward and self.sft):
            raise ValueError("stage `policy` needs the stages `reward` and `sft` before it; add them or drop it")
        return self

    @property
    def stages(self) -> list[str]:
        return [stage for stage in STAGES if getattr(self, stage) is not None]

    @property
    def shared(self) -> dict[str, int]:
        """What processes that train together share of a step, by key: rows, or the prompts whose answers a stage samples."""
        rows = {f"{stage}.batch_size": getattr(self, stage).batch_size for stage in self.stages if stage != "policy"}
        return rows | ({"policy.prompts": self.policy.prompts} if self.policy else {})

    @property
    def folder(self) -> Path:
        return Path(self.runs) / self.name

    @property
    def start(self) -> Path:
        """The folder of the model that every training of a comparison starts from: the base stage's, or what `save_start` writes."""
        return self.folder / ("base" if self.base else "start")

    @property
    def judging(self) -> "Recipe":
        """The recipe as the stage `reward` reads it."""
        frozen = self.reward is not None and self.reward.frozen
        return self.model_copy(update={"model": self.model.staying}) if frozen else self

    @property
    def soft_tokens(self) -> int:
        """Soft tokens of a rater before a text, in any stage: none where only the head of a reward model reads them."""
        read = self.sft or self.policy or self.reward and self.reward.conditioning != "head"
        return self.raters.tokens if self.raters.encoding == "embedding" and read else 0

    @property
    def limits(self) -> tuple[int, float]:
        """The longest answer in tokens and the smallest min_p with which this recipe's policies are asked."""
        if self.policy:
            return self.policy.max_new_tokens, self.policy.min_p
        return (self.sft.max_new_tokens if self.sft else LONGEST), 0.0

    @property
    def room(self) -> int:
        """Positions that a model from scratch has beside its longest example: for a rater, and an answer to a prompt as long."""
        return max(64, self.raters.tokens + self.limits[0])
