"""The TRL baseline sees the ids we see, reads the reward at the EOS, learns, and fails loudly."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from trl import RewardTrainer, RLOOTrainer, SFTTrainer

from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import load_rater_policy
from raterhf.errors import UserError
from raterhf.evaluation import trl_trainers
from raterhf.evaluation.methods import rloo
from raterhf.evaluation.methods.base import Work
from raterhf.evaluation.methods.rloo import ReadOnceRLOO, rloo_trainer
from raterhf.evaluation.trl_baseline import margins
from raterhf.evaluation.trl_means import HEAD, Means, begin
from raterhf.io import file_digest
from raterhf.models.adapters import add_lora
from raterhf.models.load import load_model, load_tokenizer
from raterhf.raters.pool import Rater
from raterhf.recipe import LoraSettings, ModelSettings

PROMPTS = ["Name a colour.", "Pick a colour, please.\n"]
COLOURS = ["red", "green", "blue", "purple"]
SFT = {"learning_rate": 5.0e-3, "per_device_train_batch_size": 16, "max_steps": 1, "max_length": 32}
REWARD = {"learning_rate": 5.0e-3, "per_device_train_batch_size": 16, "max_steps": 1, "max_length": 32}
RL = {
    "learning_rate": 5.0e-3,
    "per_device_train_batch_size": 32,
    "num_generations": 8,
    "max_steps": 1,
    "max_completion_length": 6,
    "beta": 0.02,
    "logging_steps": 1,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """An untrained Qwen3 of width 32 whose byte-level BPE makes "\\nred" one token: joining matters."""
    folder = tmp_path_factory.mktemp("base")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([f"\n{colour}" for colour in COLOURS] * 9 + COLOURS + PROMPTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
        pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def batches(monkeypatch) -> dict[str, list[dict]]:
    """What TRL's trainers compute their loss on, by trainer."""
    seen: dict[str, list[dict]] = {}
    for trainer in (SFTTrainer, RewardTrainer, RLOOTrainer):

        def record(self, model, inputs, *args, original=trainer.compute_loss, name=trainer.__name__, **kwargs):
            seen.setdefault(name, []).append({k: v for k, v in inputs.items()})
            return original(self, model, inputs, *args, **kwargs)

        monkeypatch.setattr(trainer, "compute_loss", record)
    return seen


def demonstrations(n: int) -> pd.DataFrame:
    return pd.DataFrame({"prompt": PROMPTS * (n // 2), "completion": (COLOURS * n)[:n]})


def pairs(n: int) -> pd.DataFrame:
    """Everybody prefers what comes earlier in COLOURS."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        good, bad = sorted(rng.choice(len(COLOURS), 2, replace=False))
        rows.append((PROMPTS[i % 2], COLOURS[good], COLOURS[bad]))
    return pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"])


def train_rl(sft: Path, out: Path, reward, args: dict | None = None, prompts: list[str] = PROMPTS, **work) -> Path:
    return rloo.train(Work(sft, pairs(0), prompts, reward, RL | (args or {}), 0, **work), out)


def unpadded(ids: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(i for i in row.tolist() if i != 0) for row in ids]


def test_every_stage_sees_prompt_completion_eos(base, tmp_path, batches):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    head = {p: tokenizer(p.strip() + "\n").input_ids for p in PROMPTS}
    # What TRL's own rendering would get wrong: joined, newline and completion merge into one token.
    assert tokenizer("Name a colour.\nred").input_ids != head[PROMPTS[0]] + tokenizer("red").input_ids
    expected = {(*head[p], *tokenizer(c).input_ids, 1) for p in PROMPTS for c in COLOURS}

    sft = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT, seed=0)
    (batch,) = batches["SFTTrainer"]
    assert set(unpadded(batch["input_ids"])) <= expected
    # Loss on the completion and its EOS alone.
    trained = {tuple(i for i in row.tolist() if i != -100) for row in batch["labels"]}
    assert trained == {(*tokenizer(c).input_ids, 1) for c in COLOURS}

    trl_trainers.train_reward(base, tmp_path / "reward", pairs(16), REWARD, seed=0)
    (batch,) = batches["RewardTrainer"]
    assert set(unpadded(batch["input_ids"])) <= expected and len(batch["input_ids"]) == 32

    judged = []
    reward = lambda prompts, completions: judged.extend(zip(prompts, completions)) or [0.0] * len(prompts)  # noqa: E731
    watched = []
    watch = lambda step, prompts, completions: watched.append((step, len(prompts), len(completions)))  # noqa: E731
    train_rl(sft, tmp_path / "rl", reward, watch=watch)
    assert watched == [(0, 32, 32)]
    (batch,) = batches["RLOOTrainer"]
    assert set(unpadded(batch["prompt_ids"])) == {tuple(ids) for ids in head.values()}
    # Up to the first EOS, and nothing behind it; padding on the left of prompts is masked.
    for ids, mask in zip(batch["completion_ids"].tolist(), batch["completion_mask"].tolist()):
        length = ids.index(1) + 1 if 1 in ids else 6
        assert sum(mask) == min(length, len(mask))
    assert torch.equal(batch["prompt_mask"].bool(), batch["prompt_ids"] != 0)
    # Prompts come back as they were given, two of them filling a batch of four groups of eight.
    assert len(judged) == 32 and {prompt for prompt, _ in judged} == set(PROMPTS)


def test_how_much_better_is_trls_margin(base, tmp_path, batches):
    trl_trainers.train_reward(base, tmp_path / "reward", pairs(16).assign(margin=[0.0, 0.25] * 8), REWARD, seed=0)
    assert sorted(batches["RewardTrainer"][0]["margin"].tolist()) == [0.0] * 8 + [0.25] * 8
    strength = pd.Series([3.0, 1.0, np.nan, 2.0])  # grades 2, 0, not said, 1 of 0 to 2
    assert margins(strength).tolist() == [1.0, 0.0, 0.0, 0.5]
    assert margins(pd.Series([80.0, 80.0])).tolist() == [0.0, 0.0]


def test_reward_is_read_at_the_eos(base, tmp_path):
    folder = trl_trainers.train_reward(base, tmp_path / "reward", pairs(16), REWARD, seed=0)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    prompts, completions = [PROMPTS[0]] * 3 + [PROMPTS[1]], ["red", "a much longer purple", "red", "blue"]
    by_hand = []
    for prompt, completion in zip(prompts, completions):
        ids = tokenizer(prompt.strip() + "\n").input_ids + tokenizer(completion).input_ids + [1]
        with torch.no_grad():
            states = model.model(torch.tensor([ids])).last_hidden_state
            by_hand.append(model.score(states[0, -1]).item())
    for batch_size in (1, 3, 256):
        scores = trl_trainers.load_scorer(folder, batch_size)(prompts, completions)
        assert np.allclose(scores, by_hand, atol=1e-5)
    assert scores[0] == scores[2]


def test_learns(base, tmp_path):
    sft_args = SFT | {"max_steps": 60, "lr_scheduler_type": "constant"}
    sft = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(64), sft_args, seed=0)
    reward = trl_trainers.train_reward(base, tmp_path / "reward", pairs(256), REWARD | {"max_steps": 40}, seed=0)
    score = trl_trainers.load_scorer(reward)
    order = score([PROMPTS[0]] * 4, COLOURS)
    assert np.all(np.diff(order) < -0.5), order

    standardised = lambda p, c: (score(p, c) - order.mean()) / order.std()  # noqa: E731
    rl = train_rl(sft, tmp_path / "rl", standardised, {"max_steps": 20})
    log = pd.read_csv(rl / "log.csv")
    assert log["reward"].iloc[-3:].mean() > log["reward"].iloc[:3].mean() + 0.5
    assert log["kl_completion"].iloc[-1] > 0.3
    assert log["entropy"].iloc[-1] < log["entropy"].iloc[0]
    assert {"kl", "frac_reward_zero_std", "completions/clipped_ratio"} <= set(log)
    # Nothing is left beside the three model folders.
    assert {path.name for path in tmp_path.iterdir()} == {"sft", "reward", "rl"}


@pytest.mark.parametrize(
    "args, message",
    [
        ({"learnin_rate": 1e-3}, "Did you mean 'learning_rate'"),
        ({"report_to": "wandb"}, "set by the program"),
        ({"learning_rate": "1e-3"}, "Write a number"),
    ],
)
def test_wrong_arguments(base, tmp_path, args, message):
    with pytest.raises(UserError, match=message):
        trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(2), args, seed=0)
    assert not (tmp_path / "sft").exists()


def test_too_long_is_an_error(base, tmp_path):
    long = "red " * 40
    with pytest.raises(UserError, match="tokens"):
        trl_trainers.train_sft(base, tmp_path / "a", demonstrations(2).assign(completion=long), SFT, seed=0)
    with pytest.raises(UserError, match="tokens"):
        trl_trainers.train_reward(base, tmp_path / "b", pairs(2).assign(rejected=long), REWARD, seed=0)
    with pytest.raises(UserError, match="tokens"):
        train_rl(base, tmp_path / "c", lambda p, c: [0.0] * len(p), prompts=[long * 2])


def test_a_chat_model_whose_pad_is_its_eos_and_that_begins_texts_with_bos(base, tmp_path, batches):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    tokenizer.pad_token = tokenizer.bos_token = tokenizer.eos_token  # as GPT-2's
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    tokenizer.chat_template = "<eos>{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}"
    chat = shutil.copytree(base, tmp_path / "chat")
    tokenizer.save_pretrained(chat)
    head = {tuple(tokenizer(f"user {p}\n").input_ids) for p in PROMPTS}  # with one <eos> before it
    sft = trl_trainers.train_sft(chat, tmp_path / "sft", demonstrations(16), SFT, seed=0)
    answers = {(*tokenizer(c, add_special_tokens=False).input_ids, 1) for c in COLOURS}
    for row, labels, mask in zip(*(batches["SFTTrainer"][0][key].tolist() for key in ("input_ids", "labels", "attention_mask"))):
        trained = tuple(i for i in labels if i != -100)
        assert trained in answers and tuple(row[: sum(mask) - len(trained)]) in head

    reward = trl_trainers.train_reward(chat, tmp_path / "reward", pairs(16), REWARD, seed=0)
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    ids = [1, *tokenizer("user Name a colour.\n", add_special_tokens=False).input_ids]
    ids += [*tokenizer("red", add_special_tokens=False).input_ids, 1]
    with torch.no_grad():
        by_hand = model.score(model.model(torch.tensor([ids])).last_hidden_state[0, -1]).item()
    assert trl_trainers.load_scorer(reward)([PROMPTS[0]] * 2, ["red", "a much longer purple"])[0] == pytest.approx(by_hand, abs=1e-5)

    train_rl(sft, tmp_path / "rl", lambda p, c: [float(len(text)) for text in c])
    (batch,) = batches["RLOOTrainer"]
    asked = zip(batch["prompt_ids"].tolist(), batch["prompt_mask"].tolist())
    assert {tuple(i for i, m in zip(row, mask) if m) for row, mask in asked} == head
    saved = PreTrainedTokenizerFast.from_pretrained(tmp_path / "rl")
    assert saved("red").input_ids[0] == 1 and saved.chat_template == tokenizer.chat_template


def test_a_stage_shows_its_updates_where_there_is_no_terminal(base, tmp_path, capsys):
    trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT | {"max_steps": 2, "logging_steps": 1}, 0)
    written = capsys.readouterr()
    assert "  sft of vanilla: 2 steps in " in written.err and "(loss " in written.err and "sft of vanilla" not in written.out


@pytest.mark.parametrize("dropout", [True, False])
def test_texts_read_once_give_trls_rewards_loss_and_gradients(base, tmp_path, dropout):
    frame = pd.DataFrame({"prompt": PROMPTS * 8, "chosen": ["red", "green", "green", "purple"] * 4, "rejected": ["blue"] * 16})
    found = []
    for kind in (trl_trainers._RewardTrainer, RewardTrainer):
        data = trl_trainers.Dataset.from_dict({
            f"{side}_ids": [[*range(2, 3 + len(text)), 1] for text in frame[side]] for side in ("chosen", "rejected")
        })  # fmt: skip
        config = trl_trainers.make_config(trl_trainers.RewardConfig, REWARD | {"disable_dropout": dropout}, tmp_path / "out", 0)
        torch.manual_seed(0)
        trainer = kind(str(base), args=config, train_dataset=data, processing_class=trl_trainers.padding_tokenizer(base))
        batch = next(iter(trainer.get_train_dataloader()))
        loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
        loss.backward()
        found.append((loss.detach(), outputs.logits.detach(), [p.grad for p in trainer.model.parameters() if p.grad is not None]))
    (loss, logits, gradients), (theirs, their_logits, their_gradients) = found
    torch.testing.assert_close((loss, logits), (theirs, their_logits), rtol=1e-5, atol=1e-6)
    assert len(gradients) == len(their_gradients) > 10
    torch.testing.assert_close(gradients, their_gradients, rtol=1e-3, atol=1e-6)


def test_completions_read_once_give_trls_log_probabilities_and_gradients(base, tmp_path):
    ids = torch.tensor([[0, 5, 6, 7, 1, 0, 0], [4, 5, 6, 8, 9, 1, 0], [0, 5, 6, 7, 1, 0, 0], [0, 5, 6, 7, 9, 1, 0]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 0]])
    weight = torch.tensor([[1.0, -2, 3, -4], [2, 1, 1, 2], [3, 3, 1, 1], [1, 5, 2, 2]])
    found = []
    for kind in (ReadOnceRLOO, RLOOTrainer):
        trainer = rloo_trainer(base, tmp_path / "out", PROMPTS, lambda p, c: [0.0] * len(c), RL | {"disable_dropout": True}, 0, kind)
        log_probs, entropies, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 4, None, compute_entropy=True)
        (log_probs * weight * mask[:, 3:]).sum().backward()
        found.append((log_probs.detach(), entropies.detach() * mask[:, 3:], [p.grad for p in trainer.model.parameters()]))
    (log_probs, entropies, gradients), theirs = found
    torch.testing.assert_close((log_probs * mask[:, 3:], entropies), (theirs[0] * mask[:, 3:], theirs[1]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients, theirs[2], rtol=1e-3, atol=1e-5)


LORA = Means(LoraSettings(r=4, alpha=8))


def test_with_adapters_the_base_stays_and_folders_hold_adapters_alone(base, tmp_path):
    before = file_digest(str(base / "model.safetensors"))
    sft = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT | {"max_steps": 8}, 0, LORA)
    reward = trl_trainers.train_reward(base, tmp_path / "reward", pairs(16), REWARD, 0, LORA)
    rl = train_rl(sft, tmp_path / "rl", lambda p, c: [float(len(text)) for text in c], {"max_steps": 4}, means=LORA)
    for folder in (sft, reward, rl):
        assert [path.name for path in folder.rglob("*.safetensors")] == ["adapter_model.safetensors"]
    assert file_digest(str(base / "model.safetensors")) == before
    # The same modules as ours, and only they.
    ours = load_model(base)
    add_lora(ours.get_decoder(), LORA.lora, 0)
    theirs = begin(base, LORA, "CAUSAL_LM")["peft_config"]
    trained = {name for name, parameter in trl_trainers.SFTTrainer(
        str(base), args=trl_trainers.make_config(trl_trainers.SFTConfig, SFT, tmp_path / "x", 0, LORA), peft_config=theirs,
        train_dataset=trl_trainers.Dataset.from_dict({"input_ids": [[2, 1]], "labels": [[2, 1]]}), processing_class=load_tokenizer(base),
    ).model.named_parameters() if parameter.requires_grad}  # fmt: skip
    assert trained == {f"base_model.model.{name}" for name, parameter in ours.named_parameters() if ".lora_" in name}
    # The reference is the SFT model, adapters and all: before the first update nothing differs from it.
    kl = pd.read_csv(rl / "log.csv")["kl_completion"]
    assert abs(kl[0]) < 1e-5 < 1e-3 < abs(kl.iloc[-1])


def test_a_judge_reads_adapters_as_peft_does(base, tmp_path):
    from peft import AutoPeftModelForCausalLM

    folder = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT | {"max_steps": 8}, 0, LORA)
    policy = load_rater_policy("sft", folder, "none", 32, 6)
    example = Renderer(load_tokenizer(base), 32).example(PROMPTS[0], "red")
    with torch.no_grad():
        logits = AutoPeftModelForCausalLM.from_pretrained(folder).eval()(torch.tensor([example.ids])).logits[0]
        plain = load_model(base)(torch.tensor([example.ids])).logits[0]
    by_hand = [
        sum(one[i].log_softmax(-1)[example.ids[i + 1]].item() for i in range(example.prompt_length - 1, len(example) - 1))
        for one in (logits, plain)
    ]
    assert policy.log_probs([example], [Rater("none", None)])[0] == pytest.approx(by_hand[0], abs=1e-4)
    assert abs(by_hand[0] - by_hand[1]) > 0.1


def test_a_reward_of_adapters_is_read_at_the_eos_by_the_head_that_was_trained(base, tmp_path):
    folder = trl_trainers.train_reward(base, tmp_path / "reward", pairs(64), REWARD | {"max_steps": 20}, 0, LORA)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    score = trl_trainers.load_scorer(folder)
    model = trl_trainers.load_classifier(folder, tokenizer, torch.float32)
    ids = tokenizer(PROMPTS[0].strip() + "\n").input_ids + tokenizer("red").input_ids + [1]
    with torch.no_grad():
        inner = model.base_model.model
        by_hand = getattr(inner, HEAD)(inner.model(torch.tensor([ids])).last_hidden_state[0, -1]).item()
    assert score([PROMPTS[0]] * 2, ["red", "a much longer purple"])[0] == pytest.approx(by_hand, abs=1e-5)
    assert np.all(np.diff(score([PROMPTS[0]] * 4, COLOURS)) < 0)


def test_products_are_in_bfloat16_where_ours_are(base, tmp_path):
    settings = ModelSettings(path=str(base), dtype="bfloat16", gradient_checkpointing=True)
    config = trl_trainers.make_config(trl_trainers.SFTConfig, SFT, tmp_path / "sft", 0, Means.of(settings))
    assert config.bf16 and config.activation_checkpointing and config.model_init_kwargs["dtype"] == "float32"
    trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT, 0, Means.of(settings))
    assert load_model(tmp_path / "sft").dtype == torch.float32
