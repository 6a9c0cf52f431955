"""The sections of a recipe that say what it is compared with: `vanilla` (TRL's baseline) and `compare` (controls, rivals, sizes)."""

from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field, model_validator

from raterhf.recipe_base import MAX_SIZE, Section

# Arguments of TRL's trainers that no recipe sets, and what the program does instead.
VANILLA_FIXED = (
    dict.fromkeys(
        (
            *("output_dir", "use_cpu", "dataloader_pin_memory"),
            *("save_strategy", "enable_jit_checkpoint", "load_best_model_at_end", "eval_strategy", "disable_tqdm"),
            *("completion_only_loss", "remove_unused_columns", "accelerator_config", "parallelism_config", "deepspeed"),
            *("fsdp", "fsdp_config"),
        ),
        "runs each stage in one process and writes its folder itself",
    )
    | dict.fromkeys(("seed", "data_seed"), "takes the recipe's `seed`")
    | dict.fromkeys(("gradient_checkpointing", "activation_checkpointing"), "takes the recipe's `model.gradient_checkpointing`")
    | dict.fromkeys(
        ("model_init_kwargs", "trust_remote_code", "chat_template_path", "resume_from_checkpoint"),
        "starts from the recipe's own model and runs no code that comes with a model",
    )
    | dict.fromkeys(
        (
            *("report_to", "project", "run_name", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
            *("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision"),
            "log_completions_hub_repo",
            *("use_vllm", "vllm_mode", "vllm_model_impl", "vllm_server_base_url", "vllm_server_host", "vllm_server_port"),
            *("vllm_server_timeout", "vllm_group_port"),
        ),
        "sends nothing to other programs or machines",
    )
)


class VanillaSettings(Section):
    method: str = "rloo"
    """A file of raterhf/evaluation/methods, each TRL's own trainer: REINFORCE leave-one-out with the KL penalty in the reward (rloo), GRPO
    (grpo), GRPO on quality times distinctness among a prompt's samples (darling), or DPO on the comparisons (dpo)."""
    sft: dict[str, Any] = {}
    """Arguments of trl.SFTConfig, all written out but for those that the program sets: where a stage runs, what it loads, whom it tells."""
    reward: dict[str, Any] = {}
    """Arguments of trl.RewardConfig, likewise."""
    rl: dict[str, Any] = {}
    """Arguments of the method's config (trl.RLOOConfig, GRPOConfig or DPOConfig), likewise."""

    @model_validator(mode="after")
    def check_arguments(self) -> "VanillaSettings":
        for section, arguments in (("sft", self.sft), ("reward", self.reward), ("rl", self.rl)):
            check_trl(arguments, f"vanilla.{section}.")
        if self.method not in methods():
            raise ValueError(f"`vanilla.method` is {self.method!r}; it is one of {', '.join(methods())}")
        return self


class SampledSettings(Section, frozen=True):
    temperature: float = Field(1.0, ge=0)
    """Temperature of sampling, 0: the likeliest token."""
    min_p: float | None = Field(None, ge=0, lt=1)
    """As policy.min_p, which it is where not given."""


class RivalSettings(Section):
    """One of `policy`, `vanilla` and `sampled`, and how strongly it acts."""

    policy: dict[str, Any] | None = None
    """What differs of section `policy`: a policy of ours from the same stages before it, asked as fictitious raters."""
    vanilla: dict[str, Any] | None = None
    """`method`, vanilla's where not given, and arguments of its config that differ from vanilla.rl, of which it takes those that its config
    has too: a policy of TRL's from vanilla's SFT model, reward model and prompts."""
    sampled: SampledSettings | None = None
    """Vanilla's main policy, sampled otherwise."""
    sweep: dict[str, list[int | float]] = {}
    """A key of these settings, such as beta or options.choices, and values that it takes: its strength. The first is the main one, and the
    others are trained and measured with the sweeps."""

    @model_validator(mode="after")
    def check_kind(self) -> "RivalSettings":
        given = [name for name in ("policy", "vanilla", "sampled") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a rival in `compare.rivals` has one of policy, vanilla and sampled, and this one has {' and '.join(given) or 'none'}: "
                "write for example {policy: {algorithm: forward_kl}} or {vanilla: {method: dpo}}"
            )
        if len(self.sweep) > 1 or any(not values or len(set(values)) < len(values) for values in self.sweep.values()):
            raise ValueError(f"`sweep` of a rival is {self.sweep}; it is one key and different values, such as {{beta: [0.1, 0.3]}}")
        if self.vanilla is not None:
            check_trl(self.vanilla)
        for key, settings, known in (("algorithm", self.policy, algorithms()), ("method", self.vanilla, methods())):
            if (chosen := (settings or {}).get(key)) not in (None, *known):
                raise ValueError(f"`{key}` of a rival is {chosen!r}; it is one of {', '.join(known)}")
        return self


class CompareSettings(Section):
    controls: list[str] = ["base", "sft_no_ids", "vanilla", "rater_known", "rater_new", "shuffled"]
    """Policies that `compare` measures; `--controls all` takes all of them. For votes of real people: reward models, `shuffled` and `none`
    unless --controls says otherwise."""
    betas: list[Annotated[float, Field(gt=0)]] = Field([0.5], min_length=1)
    """Betas at which the rater-conditioned policy is trained for the sweep; the first is the main one."""
    vanilla_betas: list[Annotated[float, Field(gt=0)]] = Field([0.1], min_length=1)
    """Betas of the vanilla sweep; the first is the main one."""
    rivals: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], RivalSettings] = {}
    """Other ways to the same end by name, each measured as a control of that name: other settings of section `policy`
    ({policy: {algorithm: forward_kl}}), other methods of TRL's ({vanilla: {method: dpo}}), or vanilla sampled otherwise
    ({sampled: {temperature: 1.5}}), each with its strength to sweep ({sweep: {beta: [0.1, 0.3]}})."""
    draws: int = Field(4000, ge=10, le=MAX_SIZE)
    """Draws per question, each from a fresh rater."""
    people: int = Field(400, ge=10, le=MAX_SIZE)
    """Fresh raters whose answers are compared, and as many fictitious ones."""
    repeats: int = Field(5, ge=2, le=MAX_SIZE)
    """Times each rater is asked the same thing for kappa."""
    encoder: str | None = None
    """A sentence encoder, a folder or a hub name (sentence-transformers/all-MiniLM-L6-v2), by which answers are compared where they are all
    there is. Without it some figures are missing."""
    probes: str = "none"
    """Probes of mode collapse that `compare` runs and reports too: names separated by commas, all, or none."""


def check_trl(arguments: dict[str, Any], prefix: str = "") -> None:
    """Raise ValueError for an argument of TRL's that the program sets itself."""
    for name in arguments:
        if name in VANILLA_FIXED:
            raise ValueError(f"`{prefix}{name}` is set by the program, which {VANILLA_FIXED[name]}; remove it from the recipe")


def algorithms() -> list[str]:
    """Names that `policy.algorithm` may have: the files of the folder of algorithms but what they share."""
    return _modules("training", "algorithms", but={"base", "imitation"})


def methods() -> list[str]:
    """Names that `vanilla.method` may have, likewise."""
    return _modules("evaluation", "methods", but={"base", "online"})


def _modules(room: str, folder: str, but: set[str]) -> list[str]:
    stems = {file.name.removesuffix(".py") for file in (files("raterhf") / room / folder).iterdir() if file.name.endswith(".py")}
    return sorted(stems - but)
