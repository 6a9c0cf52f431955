"""Other people's architectures and tokenizers, from text to a sampled answer and a saved folder that says the same. Tiny random weights."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from raterhf.data.renderer import Renderer, set_chat
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.models.checkpoint import load_policy, load_reward, save_policy, save_reward
from raterhf.models.load import load_pretrained, train_tokenizer
from raterhf.models.policy import make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
             max_position_embeddings=256, initializer_range=0.3)  # fmt: skip
MIXED = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8}
# The templates of these families, cut down to what they do to a conversation.
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>"
    "{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_SAID = "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nPick a colour.<|im_end|>\n<|im_start|>assistant\n"
THINKING = CHATML.replace("assistant\n{% endif %}", "assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}")
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA_SAID = "<s><|start_header_id|>user<|end_header_id|>\n\nPick a colour.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA_SAID = "<s><start_of_turn>user\nPick a colour.<end_of_turn>\n<start_of_turn>model\n"
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PHI_SAID = "<|user|>\nPick a colour.<|end|>\n<|assistant|>\n"
OLMO = "{{ eos_token }}" + PHI.replace("<|end|>", "")
PLAIN = "Pick a colour.\n"


@dataclass(frozen=True)
class Case:
    """A model type with its shape; and its tokenizer: template, as what a prompt is read, BOS before texts, PAD, further ends of a turn."""

    model_type: str
    shape: dict = field(default_factory=dict)
    template: str | None = None
    said: str = PLAIN
    bos: str | None = None
    pad: str | None = "<pad>"
    ends: tuple[str, ...] = ()


CASES = {
    "llama 3": Case("llama", {}, LLAMA, LLAMA_SAID, "<s>", None, ("<|eot_id|>", "<|end_of_text|>")),
    "llama, tied": Case("llama", {"tie_word_embeddings": True}, bos="<s>", said="<s>" + PLAIN),
    "smollm 2": Case("llama", {"tie_word_embeddings": True}, CHATML, CHATML_SAID, pad="<eos>"),
    "smollm 3": Case("smollm3", {"no_rope_layer_interval": 2}, THINKING, CHATML_SAID + "<think>\n\n</think>\n\n", ends=("<|im_end|>",)),
    "qwen 2": Case("qwen2", {"tie_word_embeddings": True}, CHATML, CHATML_SAID, ends=("<|im_end|>",)),
    "qwen 3": Case("qwen3", {}, THINKING, CHATML_SAID + "<think>\n\n</think>\n\n", ends=("<|im_end|>",)),
    "gemma 2": Case("gemma2", CAPS | MIXED, GEMMA, GEMMA_SAID, "<s>", ends=("<end_of_turn>",)),
    "gemma 3": Case("gemma3_text", MIXED, GEMMA, GEMMA_SAID, "<s>", ends=("<end_of_turn>",)),
    "mistral": Case("mistral", {"sliding_window": 6}, MISTRAL, "<s>[INST] Pick a colour.[/INST]", "<s>", None),
    "phi": Case("phi", {"num_key_value_heads": 2, "partial_rotary_factor": 0.5}, pad="<eos>"),
    "phi 3": Case("phi3", {"sliding_window": 6}, PHI, PHI_SAID, pad="<eos>", ends=("<|end|>",)),
    "olmo 2": Case("olmo2", {}, OLMO, "<eos><|user|>\nPick a colour.\n<|assistant|>\n"),
    "olmo 3": Case("olmo3", MIXED, OLMO, "<eos><|user|>\nPick a colour.\n<|assistant|>\n"),
    "gpt-neox": Case("gpt_neox", {}, pad=None),
    "gpt-2": Case("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 256}, pad="<eos>"),
}


def tokenizer_of(case: Case):
    """Byte-level BPE; what stands in < > and [ ] are special tokens."""
    tokenizer = train_tokenizer(["Pick a colour. red blue You help.", "user assistant system model"] * 3, 300)
    marks = [
        "<|im_start|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<start_of_turn>",
        "<think>",
        "</think>",
        "<|user|>",
        "<|assistant|>",
    ]
    tokenizer.add_special_tokens({"additional_special_tokens": [*marks, "<|im_end|>", "[INST]", "[/INST]", *case.ends]})
    tokenizer.pad_token = case.pad
    if case.bos:
        tokenizer.add_special_tokens({"bos_token": case.bos})
        post = TemplateProcessing(single=f"{case.bos} $A", special_tokens=[(case.bos, tokenizer.bos_token_id)])
        tokenizer._tokenizer.post_processor = post
    tokenizer.chat_template = case.template
    return tokenizer


@pytest.fixture(params=CASES, scope="module")
def made(request, tmp_path_factory):
    """A case, and the folder in which somebody saved such a model."""
    case = CASES[request.param]
    return case, save_case(case, tmp_path_factory.mktemp("lm"))


def save_case(case: Case, folder: Path) -> Path:
    tokenizer = tokenizer_of(case)
    torch.manual_seed(0)
    # Padded vocabularies are common: rows that no token has.
    config = AutoConfig.for_model(
        case.model_type, **SHAPE | case.shape, vocab_size=len(tokenizer) + 5, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    lm = AutoModelForCausalLM.from_config(config)
    lm.generation_config.eos_token_id = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(list(case.ends))]
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_from_text_to_a_sampled_answer_and_a_saved_folder(made, tmp_path):
    case, folder = made
    lm, tokenizer = load_pretrained(folder)
    set_chat(tokenizer, "auto", None)
    renderer = Renderer(tokenizer, 128)

    # Tokens: the prompt as the family puts it, one BOS at most, the answer, one EOS.
    example = renderer.example("Pick a colour.", "red")
    assert tokenizer.decode(example.prompt.ids) == case.said
    assert tokenizer.decode(example.ids[example.prompt_length :]) == "red<eos>"
    if case.template:
        assert renderer.example([{"role": "user", "content": "Pick a colour."}], "red") == example

    # Log-probabilities: transformers', every end of a turn counting as the end.
    examples = [example, renderer.example("Pick a colour.", "blue"), renderer.example("Say red.", "red blue")]
    plain = make_policy(lm, tokenizer).eval()
    expected = [teacher_forced(folder, tokenizer, one, plain.ends) for one in examples]
    found = completion_log_probs(plain, examples, RaterBatch.nobody(3))[0]
    np.testing.assert_allclose(found.detach(), expected, atol=2e-4)

    # A policy with raters learns, samples alike however many are asked at once, and ends its answers.
    torch.manual_seed(1)
    policy = make_policy(lm, tokenizer, 2, 3, 4)
    raters = RaterBatch(torch.randn(3, 6), torch.tensor([False, False, True]))
    completion_log_probs(policy.train(), examples, raters)[0].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in policy.parameters()) and policy.reader.linear.weight.grad.norm() > 0
    policy.eval()
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6)
    prompts = [one.prompt.ids for one in examples]
    said = sampler.generate(prompts * 8, RaterBatch(raters.vectors.repeat(8, 1), raters.null.repeat(8)), 0, idiosyncratic=True)
    for answer in said:
        completion = answer.ids[answer.prompt_length :]
        assert len(completion) == 6 or completion[-1] == tokenizer.eos_token_id
        assert max(completion) < len(tokenizer) and not set(policy.ends[1:]) & set(completion)

    # Saved and loaded: the same answers and log-probabilities, and a plain folder for others.
    pool = RaterPool(["a", "b"], np.zeros((2, 2), np.float32), 4, "embedding")
    save_policy(tmp_path / "policy", policy, tokenizer, pool, 128, {})
    loaded, tokens, _ = load_policy(tmp_path / "policy")
    assert loaded.ends == policy.ends and Renderer(tokens, 128).example("Pick a colour.", "red") == example
    torch.testing.assert_close(
        completion_log_probs(loaded, examples, raters)[0], completion_log_probs(policy, examples, raters)[0], rtol=0, atol=1e-5
    )
    again = Sampler(loaded, tokens.pad_token_id, tokens.eos_token_id, 6)
    assert again.generate(prompts, raters, 3) == sampler.generate(prompts, raters, 3)
    np.testing.assert_allclose([teacher_forced(tmp_path / "policy", tokens, one, plain.ends) for one in examples], expected, atol=2e-4)


@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix"])
@torch.no_grad()
def test_scores_of_one_text_are_those_among_others(made, conditioning, tmp_path):
    _, folder = made
    lm, tokenizer = load_pretrained(folder)
    renderer = Renderer(tokenizer, 128)
    examples = [renderer.example(prompt, text) for prompt in ("Pick a colour.", "Say red.") for text in ("red", "blue", "red blue red")]
    torch.manual_seed(1)
    model, raters = (
        RewardModel(lm.get_decoder(), 2, 3, conditioning).eval(),
        RaterBatch(torch.randn(3, 2), torch.tensor([False, True, False])),
    )
    matrix = Scorer(model).matrix(examples, raters)
    one_by_one = torch.stack([Scorer(model).matrix([example], raters)[:, 0] for example in examples], 1)
    torch.testing.assert_close(matrix, one_by_one, rtol=0, atol=1e-4)
    pool = RaterPool(["a", "b"], np.zeros((2, 2), np.float32), 0, "embedding")
    save_reward(tmp_path / "reward", model, lm, tokenizer, pool, 128, {})
    torch.testing.assert_close(Scorer(load_reward(tmp_path / "reward")[0]).matrix(examples, raters), matrix, rtol=0, atol=1e-5)


@torch.no_grad()
def teacher_forced(folder, tokenizer, example, ends: tuple[int, ...]) -> float:
    """The log-probability of an answer by transformers alone, any end counting as the end, unknown rows as never said."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()
    probability = model(torch.tensor([example.ids])).logits[0, :, : len(tokenizer)].float().softmax(-1)
    answer = example.ids[example.prompt_length :]
    rows = probability[example.prompt_length - 1 : -1]
    return float(sum(rows[i, token].log() for i, token in enumerate(answer[:-1])) + rows[-1, list(ends)].sum().log())
