"""Adapters on a pretrained model that stays: one base in memory, folders that hold what was trained, exact to save, load and resume."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import ANSWERS, PROMPTS, make_recipe, write_labels, write_pretrained
from peft import PeftModel
from peft.tuners.lora import Linear
from safetensors.torch import load_file, save_file
from small_run import fails, rows_of, succeeds
from transformers import AutoModel, AutoModelForCausalLM

from raterhf.data.example import Example
from raterhf.data.prepare import read_data
from raterhf.engine.kept import KeptStates
from raterhf.engine.scorer import completion_log_probs
from raterhf.errors import UserError
from raterhf.evaluation.compare.needs import check_vanilla
from raterhf.evaluation.probes.load import policies_of
from raterhf.models.adapters import Added, add_lora
from raterhf.models.base import find_base, is_on
from raterhf.models.checkpoint import load_policy, load_reward, read_header, save_policy
from raterhf.models.load import load_tokenizer
from raterhf.models.policy import Policy, make_policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import LoraSettings, Recipe
from raterhf.training import drop, pipeline
from raterhf.training import fit as fitting
from raterhf.training.reward_module import RewardModule
from raterhf.training.stages import policy as policy_stage
from raterhf.training.stages import reward as reward_stage
from raterhf.training.stages import sft as sft_stage
from raterhf.training.start import spare_memory

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a pretrained model and labels."""
    folder = tmp_path_factory.mktemp("adapted")
    write_pretrained(folder / "base")
    write_labels(folder)
    return folder


@pytest.fixture(scope="module")
def done(made) -> Recipe:
    recipe = make_recipe(made)
    pipeline.train(recipe)
    return recipe


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found = {f"{path.name}:{key}": value for path in sorted(folder.glob("*.safetensors")) for key, value in load_file(path).items()}
    assert found
    return found


def assert_same(a: Path, b: Path) -> None:
    there, here = tensors(a), tensors(b)
    assert there.keys() == here.keys()
    assert [key for key in there if not torch.equal(there[key], here[key])] == []


def logits(lm, ids=(5, 6, 7, 8)) -> torch.Tensor:
    with torch.no_grad():
        return lm(torch.tensor([ids])).logits


def test_a_stage_s_folder_holds_what_was_trained_alone(done, made):
    base = sum(value.numel() for value in load_file(made / "base" / "model.safetensors").values())
    for stage in ("reward", "sft", "policy"):
        folder = done.folder / stage
        names = {path.name for path in folder.iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "raterhf.safetensors", "raterhf.json", "tokenizer.json"} <= names
        assert not {name for name in names if name.startswith("model")}
        adapters = load_file(folder / "adapter_model.safetensors")
        assert all(value.dtype == torch.float32 for value in adapters.values())
        # q, k, v, o, gate, up, down of two layers, two matrices each
        assert len(adapters) == 2 * 7 * 2 and sum(value.numel() for value in adapters.values()) < base
        assert any(value.abs().max() > 0 for name, value in adapters.items() if "lora_B" in name)
        header = json.loads((folder / "raterhf.json").read_text())
        assert header["base"] == {"path": str(made / "base"), "digest": header["base"]["digest"], "dtype": "float32"}


def test_training_leaves_the_base_as_it_was(done, made):
    before = load_file(made / "base" / "model.safetensors")
    base = find_base(str(made / "base"), CPU, torch.float32)
    assert all(torch.equal(base.lm.state_dict()[name], value) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in base.lm.parameters())


def test_adapters_load_in_plain_peft(done, made):
    policy, _, _ = load_policy(done.folder / "policy")
    plain = AutoModelForCausalLM.from_pretrained(made / "base", dtype=torch.float32)
    before = logits(plain)
    loaded = PeftModel.from_pretrained(plain, done.folder / "policy").eval()
    assert torch.allclose(logits(loaded), logits(policy.lm), atol=1e-6) and not torch.allclose(logits(loaded), before, atol=1e-3)
    # transformers finds the base by itself
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(done.folder / "policy")), logits(policy.lm), atol=1e-6)
    reward, _, _ = load_reward(done.folder / "reward")
    trunk = PeftModel.from_pretrained(AutoModel.from_pretrained(made / "base", dtype=torch.float32), done.folder / "reward").eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.allclose(trunk(ids).last_hidden_state, reward.backbone(ids).last_hidden_state, atol=1e-6)


def test_policy_reference_and_reward_share_one_base(done):
    policy, reference, (reward, *_) = load_policy(done.folder / "policy")[0], load_policy(done.folder / "sft")[0], load_reward(
        done.folder / "reward"
    )  # fmt: skip
    where = {tensor.data_ptr() for tensor in policy.base.lm.parameters()}
    for model in (policy, reference, reward):
        trunk = model.lm if isinstance(model, Policy) else model.backbone
        own = [name for name, value in trunk.named_parameters() if value.data_ptr() not in where]
        assert own and all("lora_" in name for name in own)
    # and each computes by its own adapters
    assert not torch.allclose(logits(policy.lm), logits(reference.lm), atol=1e-4)


def test_a_base_that_nobody_holds_is_let_go(made):
    base = find_base(str(made / "base"), CPU, torch.float32)
    assert find_base(str(made / "base"), CPU, torch.float32) is base
    assert find_base(str(made / "base"), CPU, torch.bfloat16) is not base
    held = weakref.ref(base)
    del base
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("stage", ["reward", "sft", "policy"])
def test_an_interrupted_stage_resumes_to_the_same_weights(done, made, tmp_path, monkeypatch, stage):
    def fit(module, make_batch, *settings, **named):
        def interrupted(step: int):
            if step == 3:
                raise KeyboardInterrupt
            return make_batch(step)

        fitting.fit(module, interrupted, *settings, **named)

    stages = ["reward", "sft", "policy"]
    for earlier in stages[: stages.index(stage)]:
        shutil.copytree(done.folder / earlier, tmp_path / "run" / earlier)
    recipe = done.model_copy(update={"runs": str(tmp_path)})
    with monkeypatch.context() as patched:
        for place in (sft_stage, reward_stage, policy_stage):
            patched.setattr(place, "fit", fit)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(recipe, stage, recipe.folder / stage)
    state = load_file(recipe.folder / stage / "state" / "state.safetensors")
    assert not [name for name in state if "base_layer" in name or "embed_tokens" in name]
    torch.manual_seed(12345)
    pipeline.train_stage(recipe, stage, recipe.folder / stage)
    assert_same(recipe.folder / stage, done.folder / stage)


def test_the_command_line_samples_and_scores(done, tmp_path):
    asked = ("--prompt", PROMPTS[0], "--rater", "new", "-n", 3, "--max-new-tokens", 4)
    rows = rows_of(succeeds("sample", done.folder, *asked))
    assert len(rows) == 3 and rows == rows_of(succeeds("sample", done.folder, *asked))
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"prompt": PROMPTS[0], "completion": text}) + "\n" for text in ANSWERS[PROMPTS[0]]))
    table = succeeds("score", done.folder, file, "--raters", "all").splitlines()
    assert len(table) == 9 and table[0] == "rater,1,2"


def test_saved_and_loaded_is_the_same_model(done, tmp_path):
    policy, tokenizer, _ = load_policy(done.folder / "policy")
    save_policy(tmp_path / "again", policy, tokenizer, None, 32, {})
    for name in ("adapter_model.safetensors", "raterhf.safetensors"):
        there, here = (load_file(folder / name) for folder in (done.folder / "policy", tmp_path / "again"))
        assert there.keys() == here.keys() and all(torch.equal(there[key], here[key]) for key in there)


def test_a_folder_trained_anew_with_adapters_keeps_no_weights_of_the_old(done, tmp_path):
    policy, tokenizer, _ = load_policy(done.folder / "policy")
    for name in ("model.safetensors", "generation_config.json", "metrics.csv"):
        (tmp_path / name).write_text("of before")
    save_policy(tmp_path, policy, tokenizer, None, 32, {})
    assert not (tmp_path / "model.safetensors").exists() and not (tmp_path / "generation_config.json").exists()
    assert (tmp_path / "metrics.csv").read_text() == "of before"


def test_a_base_that_was_changed_is_an_error(done, tmp_path):
    changed = shutil.copytree(done.folder / "policy", tmp_path / "policy")
    base = shutil.copytree(Path(json.loads((changed / "raterhf.json").read_text())["base"]["path"]), tmp_path / "base")
    header = json.loads((changed / "raterhf.json").read_text())
    header["base"]["path"] = str(base)
    (changed / "raterhf.json").write_text(json.dumps(header))
    load_policy(changed)  # the same weights elsewhere
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"weights in .* are not those that were trained on .*; put those back, or train again"):
        load_policy(changed)
    shutil.rmtree(base)
    with pytest.raises(UserError, match="was trained on the model in .*, which is not there; put it back, or set base.path in"):
        load_policy(changed)


def test_adapters_of_another_base_are_an_error(done, tmp_path):
    other = shutil.copytree(done.folder / "policy", tmp_path / "policy")
    weights = load_file(other / "adapter_model.safetensors")
    weights.popitem()
    save_file(weights, other / "adapter_model.safetensors")
    with pytest.raises(UserError, match="do not fit their base .differs in .*train that stage again"):
        load_policy(other)
    (other / "adapter_config.json").unlink()
    with pytest.raises(UserError, match="adapters in .* cannot be loaded .*train that stage again"):
        load_policy(other)


def test_targets_that_match_nothing_are_named(made):
    decoder = find_base(str(made / "base"), CPU, torch.float32).model().get_decoder()
    with pytest.raises(UserError, match="target_modules: 'query' names nothing in this model's decoder; it has .*q_proj.*up_proj"):
        add_lora(decoder, LoraSettings(target_modules=["q_proj", "query"]), 0)
    with pytest.raises(UserError, match="modules_to_save: 'lm_head' names nothing"):
        add_lora(decoder, LoraSettings(modules_to_save=["lm_head"]), 0)


def test_whole_modules_are_trained_and_saved_beside_adapters(made, tmp_path):
    recipe = make_recipe(made, model={"lora": {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["norm"]}}, policy=None)
    recipe = recipe.model_copy(update={"runs": str(tmp_path)})
    pipeline.train(recipe)
    adapters = load_file(recipe.folder / "sft" / "adapter_model.safetensors")
    before = load_file(made / "base" / "model.safetensors")["model.norm.weight"]
    (norm,) = [value for name, value in adapters.items() if name.endswith("model.norm.weight")]
    assert not torch.equal(norm, before)
    assert torch.equal(load_policy(recipe.folder / "sft")[0].decoder.norm.modules_to_save["default"].weight, norm)


def test_a_bfloat16_base_has_float32_adapters(made, tmp_path):
    recipe = make_recipe(made, model={"dtype": "bfloat16"}).model_copy(update={"runs": str(tmp_path)})
    pipeline.train(recipe)
    policy, _, header = load_policy(recipe.folder / "policy")
    assert header["base"]["dtype"] == "bfloat16" and policy.lm.dtype == torch.bfloat16
    assert {value.dtype for name, value in policy.named_parameters() if "lora_" in name} == {torch.float32}
    assert {value.dtype for value in policy.reader.parameters()} == {torch.float32}
    with pytest.raises(UserError, match="modules_to_save are trained in float32, .* held in bfloat16.*set model.dtype to float32"):
        add_lora(policy.base.model().get_decoder(), LoraSettings(modules_to_save=["norm"]), 0)


def test_fresh_adapters_change_nothing(made):
    base = find_base(str(made / "base"), CPU, torch.float32)
    lm = base.model()
    add_lora(lm.get_decoder(), LoraSettings(r=4), 0)
    assert torch.equal(logits(lm), logits(base.lm))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            {"train": "all", "lora": {"r": 4}},
            "`model.lora` is given, and `model.train` is all; set model.train to lora, or drop model.lora",
        ),
        ({"path": None}, "`model.train` is lora, which needs weights that stay; give a pretrained model as model.path"),
        ({"lora": {"rank": 4}}, "unknown key `model.lora.rank`; did you mean `model.lora.r`"),
        ({"train": "none", "lora": None, "path": "x"}, None),
    ],
)
def test_the_recipe_says_what_does_not_go_together(made, model, says):
    if says is None:
        assert make_recipe(made, model=model).model.train == "none"
        return
    with pytest.raises(UserError, match=says.replace("(", r"\(")):
        make_recipe(made, model=model)


def test_a_trunk_that_stays_is_no_part_of_the_folder(made, tmp_path):
    recipe = make_recipe(made, model={"train": "none", "lora": None}).model_copy(update={"runs": str(tmp_path)})
    pipeline.train(recipe)
    for stage in ("reward", "sft", "policy"):
        names = {path.name for path in (recipe.folder / stage).glob("*.safetensors")}
        assert names == {"raterhf.safetensors", "raters.safetensors"}
    policy, _, header = load_policy(recipe.folder / "policy")
    assert header["adapters"] is False
    example = Example((5, 6, 7, 8), 2)
    assert torch.equal(logits(policy.lm), logits(policy.base.lm)) and len(RaterBatch.nobody(1)) == 1 and len(example) == 4


def test_the_reward_stage_alone_can_leave_the_model_as_it_is(made, tmp_path):
    """Texts are read once there, and the policy has adapters all the same."""
    recipe = make_recipe(made, reward={"frozen": True}).model_copy(update={"runs": str(tmp_path)})
    assert reward_stage.make_training(recipe, read_data(recipe)).module.stays
    pipeline.train(recipe)
    adapted = {stage for stage in ("reward", "sft", "policy") if read_header(recipe.folder / stage)["adapters"]}
    assert adapted == {"sft", "policy"}


def test_without_a_pretrained_model_there_is_nothing_to_leave(made):
    with pytest.raises(UserError, match="`reward.frozen` leaves a pretrained model as it is, and there is none; give model.path"):
        make_recipe(made, model={"path": None, "train": "all", "lora": None}, reward={"frozen": True})


def test_nothing_to_learn_is_an_error(made, tmp_path):
    recipe = make_recipe(made, model={"train": "none", "lora": None}, raters={"encoding": "none"}, reward=None, policy=None)
    with pytest.raises(UserError, match="nothing learns in this stage: .*set model.train to lora"):
        pipeline.train(recipe.model_copy(update={"runs": str(tmp_path)}))


def update(made, stage: str, **model) -> dict[str, torch.Tensor]:
    """The gradients of a stage's first step."""
    recipe = make_recipe(made, model=model)
    labels = read_data(recipe)
    if stage == "reward":
        training = reward_stage.make_training(recipe, labels)
        module = training.module.train()
        loss = module.training_step((0, training.batch(0)), 0)
    else:
        policy, _, _ = load_policy(Path(recipe.runs) / "run" / "sft")
        spare_memory(policy, recipe.model)
        module = policy.train()
        examples = [Example((*range(5, 5 + n), 1), 3) for n in (5, 9, 7, 12)]
        log_prob, _ = completion_log_probs(
            policy, examples, RaterBatch.people(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
        )
        loss = -log_prob.mean()
    loss.backward()
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("stage", ["reward", "policy"])
@pytest.mark.parametrize(
    "model", [{"micro_batch_tokens": 20}, {"gradient_checkpointing": True}, {"micro_batch_tokens": 8, "gradient_checkpointing": True}]
)
def test_memory_is_spared_without_a_change_of_gradients(done, made, monkeypatch, stage, model):
    monkeypatch.setattr(RewardModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(RewardModule, "log_dict", lambda *_, **__: None)
    whole, spared = update(made, stage), update(made, stage, **model)
    assert whole.keys() == spared.keys() and sum(float(value.abs().sum()) for value in whole.values()) > 0
    for name, gradient in whole.items():
        assert (spared[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


def test_a_batch_of_many_passes_holds_the_last_alone(done, monkeypatch):
    """Counted by the saved tensors of the layers: those of a pass that is run again are freed."""
    policy, _, _ = load_policy(done.folder / "sft")
    examples = [Example((*range(5, 5 + n), 1), 3) for n in range(4, 24)]
    raters = RaterBatch.nobody(len(examples))

    def held(tokens: int) -> int:
        policy.held_tokens = tokens
        kept: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
            completion_log_probs(policy, examples, raters)
        return sum(x.numel() for x in kept)

    total = sum(map(len, examples))
    assert held(total // 8) < held(2 * total) / 4


def test_a_frozen_trunk_reads_each_text_once(made, monkeypatch):
    monkeypatch.setattr(RewardModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(RewardModule, "log_dict", lambda *_, **__: None)
    recipe = make_recipe(made, model={"train": "none", "lora": None}, raters={"noise": 0.0})
    training = reward_stage.make_training(recipe, read_data(recipe))
    module, read = training.module.train(), []
    backbone = module.model.backbone
    assert not backbone.training and module.model.reader.training
    forward = backbone.forward
    backbone.forward = lambda **inputs: (read.append(inputs["inputs_embeds"].shape[1]), forward(**inputs))[1]
    losses = [module.training_step((0, training.batch(step)), 0) for step in (0, 1, 2, 0)]
    # two prompts with two answers, each also as the answer to the other prompt
    assert len(module.scorer.kept.place) <= 8 and len(read) <= 4
    del backbone.forward
    module.scorer.kept = None
    torch.testing.assert_close(module.training_step((0, training.batch(0)), 0), losses[-1])


def test_states_that_do_not_fit_are_read_each_time():
    read: list[int] = []

    def states(examples: list[Example]) -> torch.Tensor:
        read.append(len(examples))
        return torch.tensor([[float(example.ids[0]), 0.0] for example in examples])

    a, b, c = (Example((i, 1), 1) for i in (5, 6, 7))
    kept = KeptStates(most_bytes=2 * 8)
    assert kept.of([a, b, a], states)[:, 0].tolist() == [5, 6, 5]
    assert kept.of([b, c, a, c], states)[:, 0].tolist() == [6, 7, 5, 7]
    assert kept.of([c], states)[:, 0].tolist() == [7] and kept.of([b], states)[:, 0].tolist() == [6]
    assert read == [2, 1, 1]


@pytest.mark.slow
def test_a_stage_of_a_real_chat_model_fits_in_40_mb(smollm2, tmp_path):
    """Rank 16 on every linear layer, eight soft tokens: what recipes/chat-lora.yaml writes, untrained."""
    base = find_base(str(smollm2), CPU, torch.float32)
    lm = base.model()
    add_lora(lm.get_decoder(), LoraSettings(), 0)
    policy = make_policy(lm, load_tokenizer(smollm2), 8, 8, 64, base)
    save_policy(tmp_path / "sft", policy, load_tokenizer(smollm2), None, 384, {})
    assert sum(path.stat().st_size for path in (tmp_path / "sft").iterdir()) < 40e6


def test_a_run_of_adapters_is_a_run_of_models(done):
    """To those who look for models in it by their files, too."""
    assert set(policies_of(done, done.folder)) == {"sft", "none", "rater_new"}
    left = drop._remaining(done.folder, {})[0]
    assert left.startswith(f"the weights in {', '.join(str(done.folder / stage) for stage in ('policy', 'reward', 'sft'))}: trained")


def test_controls_that_would_begin_without_the_adapters_of_a_stage_base_are_refused(made):
    recipe = make_recipe(made, base={"steps": 1, "lr": 1e-3}, data={"base": "corpus.csv"})
    check_vanilla(recipe, ["base", "rater_new"], "base")
    with pytest.raises(UserError, match="shuffled, none would not; set model.train to all, or leave them out: --controls base"):
        check_vanilla(recipe, ["base", "shuffled", "none"], "base")


def test_what_a_stage_took_is_known_unless_it_resumed(made, monkeypatch):
    recipe = make_recipe(made, name="costs", policy=None, sft=None)
    record = recipe.folder / "reward" / "stage.json"
    pipeline.train(recipe)
    cost = json.loads(record.read_text())["cost"]
    assert cost["seconds"] > 0 and (cost["peak_mib"] is None or cost["peak_mib"] > 100)
    record.unlink()
    stopping = fitting._Resumable.on_train_batch_end

    def stop(self, trainer, module, outputs, batch, batch_idx):
        stopping(self, trainer, module, outputs, batch, batch_idx)
        if batch_idx == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting._Resumable, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(recipe)
    pipeline.train(recipe)
    assert "cost" not in json.loads(record.read_text())


def test_perplexity_stands_beside_that_of_the_model_that_training_began_with(done, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text, out = tmp_path / "text.txt", tmp_path / "out.json"
    text.write_text("Toss a coin. Name a day. heads Monday tails Friday " * 8)
    shown = succeeds("bench", "perplexity", done.folder, text, "--tokens", 8, "--most", 6, "--out", out)
    found = json.loads(out.read_text())
    assert list(found["rows"]) == ["base", "sft", "none", "rater_new"] and found["windows"] == 6
    assert found["rows"]["base"]["ratio"] == 1 and "of the base model's" in shown
    # By hand: mean nats of the seven tokens after the first of each window.
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(done.model.path).eval(), load_tokenizer(done.model.path)
    ids = torch.tensor(tokenizer(text.read_text(), add_special_tokens=False)["input_ids"])
    windows = ids[: len(ids) // 8 * 8].view(-1, 8)
    drawn = windows[sorted(np.random.default_rng(0).permutation(len(windows))[:6])]
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(lm(drawn).logits[:, :-1].flatten(0, 1), drawn[:, 1:].flatten())
    assert found["rows"]["base"]["perplexity"] == pytest.approx(float(nats.exp()), rel=1e-4)
    assert found["rows"]["rater_new"]["ratio"] == pytest.approx(
        found["rows"]["rater_new"]["perplexity"] / found["rows"]["base"]["perplexity"], rel=1e-4
    )
    fails("bench", "perplexity", done.folder, text, "--tokens", 800, says="have 0 windows of 800 tokens")
    fails("bench", "perplexity", tmp_path, text, says="holds no policy; give a run folder")


def test_all_weights_learn_in_float32_where_products_are_in_bfloat16(made, tmp_path, monkeypatch):
    computed, read = set(), torch.nn.Linear.forward

    def recorded(self, x):
        out = read(self, x)
        if torch.is_grad_enabled():
            computed.add(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Linear, "forward", recorded)
    weights = {}
    for dtype in ("bfloat16", "float32"):
        model = {"train": "all", "lora": None, "dtype": dtype}
        recipe = make_recipe(made, name=dtype, runs=str(tmp_path), model=model, policy=None)
        pipeline.train(recipe)
        assert computed == {getattr(torch, dtype)}
        computed.clear()
        weights[dtype] = {k: v for stage in ("reward", "sft") for k, v in tensors(recipe.folder / stage).items() if v.is_floating_point()}
    learning = reward_stage.make_training(recipe, read_data(recipe))
    step = (0, learning.batch(0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = float(learning.module.training_step(step, 0))
    assert rounded != float(learning.module.training_step(step, 0)) == pytest.approx(rounded, rel=0.1)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_adapters_give_pefts_numbers_and_gradients(made, dropout):
    found = []
    for ours in (True, False):
        lm = AutoModelForCausalLM.from_pretrained(made / "base").requires_grad_(False)
        add_lora(lm.get_decoder(), LoraSettings(r=4, alpha=12, dropout=dropout), 0)
        layers = [module for module in lm.modules() if isinstance(module, Added)]
        assert len(layers) == 14  # seven in each of two
        for i, layer in enumerate(layers):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1, generator=torch.Generator().manual_seed(i))
            if not ours:
                layer.__class__ = Linear
        torch.manual_seed(1)
        out = lm.train()(torch.tensor([[5, 6, 7, 8], [9, 5, 5, 6]])).logits
        out.square().sum().backward()
        found.append((out.detach(), [p.grad for p in lm.parameters() if p.requires_grad]))
    torch.testing.assert_close(found[0], found[1], rtol=2e-3, atol=1e-4)
    assert len(found[0][1]) == 28 and all(grad.abs().sum() > 0 for grad in found[0][1])


def test_a_device_without_a_number_is_that_of_its_tensors():
    """Or a base on a GPU, which tensors call cuda:0, would be loaded once more for each model on it."""
    first, second, cpu = torch.device("cuda:0"), torch.device("cuda:1"), torch.device("cpu")
    assert is_on(first, torch.device("cuda")) and is_on(first, first) and is_on(cpu, cpu)
    assert not is_on(first, second) and not is_on(cpu, torch.device("cuda"))
