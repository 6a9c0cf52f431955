"""Weights that stay in 4 bits: refused where they cannot be computed with, counted, and, on a GPU, trained on by adapters."""

import importlib.util

import pytest
import torch
from adapted import make_recipe, write_labels
from small_run import CONFIG, fails, succeeds
from transformers import AutoConfig

from raterhf.data.example import Example
from raterhf.engine.scorer import completion_log_probs
from raterhf.errors import UserError
from raterhf.models import checkpoint
from raterhf.models.adapters import add_lora, merged_weights
from raterhf.models.base import find_base
from raterhf.models.four_bit import check_four_bit, four_bit_bytes
from raterhf.models.load import build_model, empty_model, load_tokenizer, train_tokenizer
from raterhf.models.policy import make_policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import LoraSettings
from raterhf.recipe_reader import dump_recipe
from raterhf.training.estimate import estimate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four_bit")
    tokenizer = train_tokenizer(["Toss a coin. heads tails"] * 3, 300)
    build_model(CONFIG, tokenizer, 96, 0).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_labels(folder)
    return folder


def test_it_is_refused_before_a_weight_is_read(made, tmp_path, monkeypatch):
    recipe = make_recipe(made, model={"load": "4bit", "train": "lora"})
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    monkeypatch.setattr("raterhf.models.base.load_pretrained", lambda *_, **__: pytest.fail("weights were read"))
    fails("train", tmp_path / "recipe.yaml", says="model.load is 4bit, which bitsandbytes computes with on CUDA devices")
    whole = ["model.train=all", "model.lora=null"]
    fails("train", tmp_path / "recipe.yaml", *whole, says="rounded weights cannot be trained; set model.train to lora")
    shown = succeeds("train", tmp_path / "recipe.yaml", "--dry-run")
    assert "memory is not estimated: model.load is 4bit" in " ".join(shown.split())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'raterhf\\[4bit\\]'; or set model.load=whole"):
        check_four_bit(torch.device("cuda"))


def test_bytes_by_hand(made):
    # Llama: four matrices of attention and three of an MLP a layer; embeddings, which are the head too, and norms stay in float32.
    shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    lm = empty_model(None, {"model_type": "llama", "tie_word_embeddings": True} | shape, 100, torch.float32)
    matrices = 2 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128)
    assert four_bit_bytes(lm) == pytest.approx(matrices * (0.5 + 1 / 64 + 4 / 64 / 256) + 4 * (100 * 64 + 5 * 64))


def test_an_estimate_for_a_gpu_holds_a_quarter_of_the_matrices(made, tmp_path):
    """Of a model of 1.7B numbers, of which 201 million are embeddings: without reading any."""
    shape = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32)
    AutoConfig.for_model("llama", vocab_size=49152, **shape).save_pretrained(tmp_path / "large")
    large = {"path": str(tmp_path / "large"), "train": "lora"}
    whole, rounded = (estimate(make_recipe(made, model=large | {"load": load}), "cuda")[0].parts for load in ("whole", "4bit"))
    matrices, rest = 24 * (4 * 2048**2 + 3 * 2048 * 8192), 2 * 49152 * 2048 + 49 * 2048
    assert whole["weights"] == 2 * (matrices + rest)
    assert rounded["weights"] == pytest.approx(0.516 * matrices + 4 * rest, rel=1e-3)


@pytest.mark.gpu
def test_adapters_learn_on_them_and_come_back(made, tmp_path):
    pytest.importorskip("bitsandbytes")
    device, tokenizer = torch.device("cuda"), load_tokenizer(made / "base")
    base = find_base(str(made / "base"), device, torch.bfloat16, four_bit=True)
    held = sum(p.nbytes for p in base.lm.parameters())
    assert held < 0.6 * sum(p.nbytes for p in find_base(str(made / "base"), device, torch.float32).lm.parameters())
    torch.manual_seed(0)
    lm = base.model()
    add_lora(lm.get_decoder(), LoraSettings(r=4), 0)
    policy = make_policy(lm, tokenizer, 2, 2, 0, base).to(device)
    before = {name: p.detach().clone() for name, p in base.lm.named_parameters()}
    examples, raters = [Example((5, 6, 7, 8), 2), Example((5, 6, 9, 10), 2)], RaterBatch.people(torch.randn(2, 2))
    learned = [p for p in policy.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.Adam(learned, 1e-2), []
    for _ in range(10):
        optimizer.zero_grad()
        loss = -completion_log_probs(policy, examples, raters)[0].mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.5 and all(p.grad is not None for p in learned)
    assert all(torch.equal(p, before[name]) for name, p in base.lm.named_parameters())
    with torch.no_grad():
        expected = completion_log_probs(policy, examples, raters)[0]
        checkpoint.save_policy(tmp_path / "sft", policy, tokenizer, None, 96, {})
        back, _, _ = checkpoint.load_policy(tmp_path / "sft")
        assert back.base is base
        torch.testing.assert_close(completion_log_probs(back, examples, raters)[0], expected, rtol=0, atol=0.05)
    with pytest.raises(UserError, match="give --to peft"):
        merged_weights(policy.lm, base)
