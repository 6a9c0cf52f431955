"""A model that cannot be trained is refused with one sentence that says what to give instead."""

from pathlib import Path

import pytest
from adapted import make_recipe, write_labels, write_pretrained
from small_run import invoke
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from raterhf.models.load import load_tokenizer
from raterhf.recipe_reader import dump_recipe

TINY = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=300)


@pytest.fixture
def made(tmp_path) -> Path:
    write_pretrained(tmp_path / "base")
    write_labels(tmp_path)
    return tmp_path


def refused(made: Path, path: object, says: str) -> None:
    (made / "recipe.yaml").write_text(dump_recipe(make_recipe(made)))
    result = invoke("train", made / "recipe.yaml", f"model.path={path}")
    assert result.exit_code == 2 and says in result.stderr, result.output


def test_a_hub_name_without_a_network(made):
    refused(made, "nobody/no-such-model", "it is a name on the hub: run once where there is a network")


def test_a_folder_without_a_tokenizer(made):
    for file in (made / "base").glob("*token*"):
        file.unlink()
    refused(made, made / "base", "has no tokenizer; put its files")


@pytest.mark.parametrize("name", ["BertModel", "LlamaForSequenceClassification"])
def test_what_writes_no_text(made, name):
    if name == "BertModel":
        model = AutoModel.from_config(AutoConfig.for_model("bert", **TINY))
    else:
        model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("llama", num_labels=1, pad_token_id=0, **TINY))
    model.save_pretrained(made / "other")
    load_tokenizer(made / "base").save_pretrained(made / "other")
    refused(made, made / "other", f"was saved as {name}, which writes no text; give a causal language model")


def test_a_folder_of_gguf(made):
    (made / "base" / "model.safetensors").unlink()
    (made / "base" / "model-q4.gguf").write_bytes(b"GGUF")
    refused(made, made / "base", "has weights in GGUF alone")
    (made / "base" / "config.json").unlink()
    refused(made, made / "base", "give the model that they were made of, as save_pretrained writes it")
