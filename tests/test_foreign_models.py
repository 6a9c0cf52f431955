"""Language models that somebody else made: what they say is what transformers says they say, or they are refused."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import load_rater_policy
from raterhf.errors import UserError
from raterhf.models.load import load_pretrained, train_tokenizer
from raterhf.raters.pool import Rater

SHAPE = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8)
NOBODY = Rater("none", None)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Toss a coin.", "heads", "tails"] * 3, 300)


def saved(tokenizer, path, model_type: str, spare: int = 0, **settings):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type, vocab_size=len(tokenizer) + spare, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None, **settings,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    model.lm_head.weight.data.mul_(30)  # so that capping and scaling tell
    for part in (model, tokenizer):
        part.save_pretrained(path)
    return model


@pytest.mark.parametrize(
    "model_type, settings",
    [
        ("gemma2", SHAPE | {"final_logit_softcapping": 2.0, "attn_logit_softcapping": None}),
        ("cohere", SHAPE | {"logit_scale": 0.25}),
        ("granite", SHAPE | {"logits_scaling": 4.0}),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}),
    ],
)
def test_distributions_are_those_of_the_model(tokenizer, tmp_path, model_type, settings):
    model = saved(tokenizer, tmp_path, model_type, **settings).eval()
    asked = load_rater_policy("plain", tmp_path, "none", 64, 8)
    ids = asked.renderer.prompt("Toss a coin.")
    expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).detach().numpy()
    assert np.allclose(asked.next_distributions([ids], [NOBODY])[0], expected, atol=1e-4)
    assert np.abs(model.lm_head(model.get_decoder()(torch.tensor([ids])).last_hidden_state)[0, -1].log_softmax(-1).detach().numpy()
                  - expected).max() > 0.1 or model_type == "gpt2"  # fmt: skip


def test_every_end_of_a_turn_ends_an_answer(tokenizer, tmp_path):
    model = saved(tokenizer, tmp_path, "qwen3", **SHAPE)
    turn = tokenizer("heads", add_special_tokens=False)["input_ids"][0]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, turn]
    model.save_pretrained(tmp_path)
    asked, plain = load_rater_policy("plain", tmp_path, "none", 64, 8), model.eval()
    ids = asked.renderer.prompt("Toss a coin.")
    (distribution,) = np.exp(asked.next_distributions([ids], [NOBODY]))
    own = plain(torch.tensor([ids])).logits[0, -1].softmax(-1).detach().numpy()
    assert distribution[tokenizer.eos_token_id] == pytest.approx(own[tokenizer.eos_token_id] + own[turn], abs=1e-6)
    assert distribution[turn] == 0 and distribution.sum() == pytest.approx(1, abs=1e-5)
    said = asked.answer(["Toss a coin."] * 50, [NOBODY] * 50, 0)
    assert not any(turn in example.ids[example.prompt_length :] for example in said)


def test_rows_beyond_the_tokenizer_are_never_said(tokenizer, tmp_path):
    saved(tokenizer, tmp_path, "qwen3", spare=200, **SHAPE)
    asked = load_rater_policy("plain", tmp_path, "none", 64, 8)
    (distribution,) = np.exp(asked.next_distributions([asked.renderer.prompt("Toss a coin.")], [NOBODY]))
    assert len(distribution) == len(tokenizer) and distribution.sum() == pytest.approx(1, abs=1e-5)


def test_a_prompt_begins_as_the_tokenizer_begins_texts(tokenizer):
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens(["<bos>"])
    backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", backend.token_to_id("<bos>"))])
    begins = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    begins.chat_template = "{% for m in messages %}<bos>{{ m.content }}\n{% endfor %}"
    renderer, bos = Renderer(begins, 64), begins.bos_token_id
    example = renderer.example("Toss a coin.", "heads")
    assert example.ids[: example.prompt_length] == tuple(begins("Toss a coin.\n")["input_ids"]) and example.ids.count(bos) == 1
    assert renderer.length("Toss a coin.", "heads") == len(example)
    # A chat template says itself how a conversation begins.
    assert renderer.prompt([{"role": "user", "content": "Toss a coin."}]).count(bos) == 1


HYBRID = SHAPE | {"num_hidden_layers": 2, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("mamba", {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}),
        ("lfm2", HYBRID | {"layer_types": ["conv", "full_attention"]}),
        # Reads one continuation of a text well, and fails at several.
        ("falcon_h1", HYBRID | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}),
    ],
)
def test_a_model_that_several_samples_cannot_continue_is_refused(kind, shape, tokenizer, tmp_path):
    saved(tokenizer, tmp_path, kind, **shape)
    with pytest.raises(UserError, match=f"of type {kind} is no decoder .* several samples can continue .*; give another model"):
        load_pretrained(tmp_path)
