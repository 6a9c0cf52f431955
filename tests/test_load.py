"""Model folders load whole or not at all, whoever reads them, and nothing that comes with a model is run."""

import ast
import json
import shutil
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import CONFIG, fails
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from raterhf.errors import UserError
from raterhf.models import load
from raterhf.models.checkpoint import WEIGHTS, load_policy, load_reward
from raterhf.models.load import build_model, load_model, load_pretrained, train_tokenizer
from raterhf.recipe_compare import VANILLA_FIXED
from raterhf.recipe_reader import parse_recipe

ROOT = Path(__file__).parents[1]
TEXTS = ["Name a colour.\n", "red", "blue"]
NORM = "model.layers.0.input_layernorm.weight"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3, 300)


@pytest.fixture(scope="module")
def whole(tokenizer, tmp_path_factory) -> Path:
    """A plain language model with a head of its own, so that a missing head is not a tied one."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    return save(build_model(CONFIG | {"tie_word_embeddings": False}, tokenizer, 48, 0), tokenizer, folder)


def save(model, tokenizer, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# Damage: file of weights and folder -> what the error must name


def weights_file(folder: Path) -> Path:
    return next(folder / name for name in WEIGHTS.values() if (folder / name).is_file())


def change_tensors(folder: Path, change) -> None:
    path = weights_file(folder)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def missing(folder: Path) -> str:
    change_tensors(folder, lambda tensors: tensors.pop(NORM))
    return f"{NORM} is missing"


def unexpected(folder: Path) -> str:
    change_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(2)))
    return "extra is not expected"


def misshaped(folder: Path) -> str:
    change_tensors(folder, lambda tensors: tensors.update({NORM: torch.zeros(3)}))
    return f"{NORM} is [3] instead of [16]"


def empty(folder: Path) -> str:
    save_file({}, weights_file(folder), {"format": "pt"})
    return "model.embed_tokens.weight is missing"


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def other_type(folder: Path) -> str:
    """llama has the tensors of qwen3 without its norms; a type with the very same tensors is the next."""
    change_config(folder, model_type="llama", architectures=None)
    return "(model_type llama): model.layers.0.self_attn.k_norm.weight is not expected"


def type_with_the_same_tensors(folder: Path) -> str:
    change_config(folder, model_type="llama")
    return "has the model_type 'llama', but was saved as Qwen3ForCausalLM, whose type is 'qwen3'"


def unknown_type(folder: Path) -> str:
    change_config(folder, model_type="newest", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text("open('was_run', 'w')\nclass Config: pass\nclass Model: pass\n")
    return "has the model_type 'newest', which transformers"


def attention_from_elsewhere(folder: Path) -> str:
    change_config(folder, _attn_implementation="somebody/attention")
    return "has the _attn_implementation 'somebody/attention', which is code of another place"


def adapter(folder: Path) -> str:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "other/model"}))
    return "is an adapter (adapter_config.json), not a whole model; merge it"


def no_config(folder: Path) -> str:
    (folder / "config.json").unlink()
    return "no config.json"


DAMAGES = [
    missing,
    unexpected,
    misshaped,
    empty,
    other_type,
    type_with_the_same_tensors,
    unknown_type,
    attention_from_elsewhere,
    adapter,
    no_config,
]


# Readers: every way in which a folder of a model is read


def baseline(name: str):
    def read(folder: Path) -> None:
        from raterhf.evaluation import trl_trainers
        from raterhf.evaluation.methods import rloo
        from raterhf.evaluation.methods.base import Work

        asked = {"max_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-3}
        rows = pd.DataFrame({"prompt": TEXTS[:1] * 4, "completion": TEXTS[1:] * 2, "chosen": ["red"] * 4, "rejected": ["blue"] * 4})
        if name == "train_rl":
            sizes = {"num_generations": 2, "max_completion_length": 4}
            rloo.train(Work(folder, rows, TEXTS[:1], lambda p, c: [0.0] * len(p), asked | sizes, 0), folder.parent / "out")
        elif name == "load_scorer":
            trl_trainers.load_scorer(folder)
        else:
            getattr(trl_trainers, name)(folder, folder.parent / "out", rows, asked | {"max_length": 32}, 0)

    return read


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_a_damaged_stage_is_refused(run, tmp_path, monkeypatch, stage, damage):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    folder = tmp_path / stage
    shutil.copytree(run / stage, folder)
    named = damage(folder)
    with pytest.raises(UserError) as caught:
        {"policy": load_policy, "reward": load_reward}[stage](folder)
    assert named in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [load_pretrained, *map(baseline, ("train_sft", "train_reward", "train_rl"))])
def test_a_damaged_plain_model_is_refused(whole, tmp_path, monkeypatch, read, damage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    named = damage(folder)
    with pytest.raises(UserError) as caught:
        read(folder)
    assert named in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() and not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("damage", [*DAMAGES[:4], type_with_the_same_tensors, unknown_type, adapter])
def test_a_damaged_scorer_of_the_baseline_is_refused(tokenizer, tmp_path, damage):
    config = AutoConfig.for_model(**CONFIG, vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, eos_token_id=1, bos_token_id=None)
    folder = save(AutoModelForSequenceClassification.from_config(config), tokenizer, tmp_path / "reward")
    baseline("load_scorer")(folder)
    named = damage(folder).replace("ForCausalLM", "ForSequenceClassification")
    with pytest.raises(UserError) as caught:
        baseline("load_scorer")(folder)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_a_language_model_is_no_scorer(whole):
    with pytest.raises(UserError, match="score.weight is missing, lm_head.weight is not expected; give another folder"):
        baseline("load_scorer")(whole)


def test_a_head_that_is_missing_is_not_made_up_and_a_tied_one_is_not_missed(whole, tokenizer, tmp_path):
    shutil.copytree(whole, tmp_path / "headless")
    change_tensors(tmp_path / "headless", lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(UserError, match="lm_head.weight is missing"):
        load_pretrained(tmp_path / "headless")
    tied = save(build_model(CONFIG, tokenizer, 48, 0), tokenizer, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    model, _ = load_pretrained(tied)
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_what_transformers_itself_leaves_out_is_not_unexpected(tokenizer, tmp_path):
    """Old checkpoints of GPT-2 hold masks of attention."""
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
    folder = save(build_model(config, tokenizer, 48, 0), tokenizer, tmp_path / "gpt2")
    change_tensors(folder, lambda tensors: tensors.update({"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4)}))
    assert load_pretrained(folder)[0].config.model_type == "gpt2"


def test_a_model_in_several_files_loads_and_misses_none(whole, tmp_path):
    model = load_model(whole)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    shards = sorted((tmp_path / "sharded").glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load_model(tmp_path / "sharded")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    shards[-1].unlink()
    with pytest.raises(UserError, match=f"cannot be loaded: .*{shards[-1].name}"):
        load_model(tmp_path / "sharded")


@pytest.mark.parametrize("read", [load_pretrained, *map(baseline, ("train_sft", "train_reward", "train_rl", "load_scorer"))])
def test_pickled_weights_are_refused(whole, tmp_path, read):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="weights in pytorch_model.bin alone, and pickled files are never read.*save_pretrained"):
        read(folder)


def test_code_beside_a_model_that_needs_none_is_not_run(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    change_config(folder, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, trust_remote_code=True)
    (folder / "custom_generate").mkdir()
    for name in ("evil.py", "custom_generate/generate.py"):
        (folder / name).write_text("open('was_run', 'w')\nclass Config: pass\nclass Model: pass\ndef generate(*_, **__): pass\n")
    assert load_pretrained(folder)[0].config.model_type == "qwen3"
    assert not (tmp_path / "was_run").exists()


def test_code_of_a_tokenizer_is_not_run(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    path = folder / "tokenizer_config.json"
    changed = {"tokenizer_class": "Newest", "auto_map": {"AutoTokenizer": ["evil.Newest", "evil.Newest"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    (folder / "evil.py").write_text("open('was_run', 'w')\nclass Newest: pass\n")
    try:
        load_pretrained(folder)  # what tokenizer.json holds needs no code
    except UserError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    assert not (tmp_path / "was_run").exists()


def test_verbs_say_it_in_one_sentence(whole, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    unknown_type(folder)
    said = fails("probe", folder, "--probes", "numbers", "-n", 2, says="give another model, code that comes with one is never run")
    assert said.count("\n") == 1


def test_only_one_place_loads_models():
    """And always with `trust_remote_code=False`, the weights with `use_safetensors=True`. peft's adapters have no code, and are read where
    they are safetensors (test below)."""
    for path in sorted((ROOT / "raterhf").rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        found = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained"]
        assert not found or path == Path(load.__file__), path
        for node in found:
            if ast.unparse(node.func) == "PeftModel.from_pretrained":
                continue
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            assert given["trust_remote_code"] is False, ast.unparse(node)
            assert given.get("use_safetensors") is True or ast.unparse(node.func).startswith(("AutoConfig", "AutoTokenizer"))


def test_pickled_adapters_are_not_read(tmp_path):
    adapter(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="has no adapter_model.safetensors, and pickled files are never read"):
        load.with_adapters(None, tmp_path)


# Arguments of TRL's trainers


VANILLA = {
    "name": "tiny", "data": {"comparisons": "c.csv"}, "reward": {"steps": 1, "lr": 1e-3}, "vanilla": {"sft": {}, "reward": {}, "rl": {}},
}  # fmt: skip


@pytest.mark.parametrize("section", ["sft", "reward", "rl"])
@pytest.mark.parametrize("name", sorted(VANILLA_FIXED))
def test_what_the_program_sets_is_refused_when_the_recipe_is_loaded(section, name):
    with pytest.raises(UserError, match=rf"`vanilla.{section}.{name}` is set by the program, which .*; remove it from the recipe"):
        parse_recipe(VANILLA | {"vanilla": {section: {"learning_rate": 1e-3, name: True}}}, "the test")


def test_what_lets_somebody_in_or_something_out_is_listed():
    """By TRL's own lists of arguments, so that an argument that is new to it shows here."""
    from trl import DPOConfig, GRPOConfig, RewardConfig, RLOOConfig, SFTConfig

    known = {field.name for kind in (SFTConfig, RewardConfig, RLOOConfig, GRPOConfig, DPOConfig) for field in fields(kind) if field.init}
    assert [name for name in VANILLA_FIXED if name not in known] == []
    tells = ("hub", "token_", "_token", "trust", "remote", "url", "host", "port", "server", "path", "dir", "init_kwargs", "report", "space")
    harmless = {"eos_token", "pad_token", "include_num_input_tokens_seen", "average_tokens_across_devices", "num_input_tokens"}
    telling = {name for name in known if any(word in name.replace("importance", "") for word in tells)} - harmless
    assert telling - VANILLA_FIXED.keys() == set()


def test_the_baseline_loads_as_the_program_says(whole, tmp_path):
    from trl import RLOOConfig

    from raterhf.evaluation.trl_trainers import make_config

    made = make_config(RLOOConfig, {"learning_rate": 1e-3, "num_generations": 2, "per_device_train_batch_size": 2}, tmp_path / "out", 0)
    assert made.model_init_kwargs == {"dtype": "float32", "use_safetensors": True}
    assert (made.trust_remote_code, made.push_to_hub, made.report_to) == (False, False, [])
    assert AutoModelForCausalLM.from_pretrained(whole, **made.model_init_kwargs).dtype == torch.float32
