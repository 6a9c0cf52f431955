"""Texts that share beginnings in one forward pass: states and gradients are those of each alone; what cannot branch is refused."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from raterhf.engine import layout
from raterhf.engine.attention import Keys, by_rows, hidden_states, refuse_states
from raterhf.engine.layout import Forest, lay_out
from raterhf.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
# Two roots; 0 has three children, of which 2 has two; 1 has two, of which 5 has one.
LENGTHS, PARENTS = [7, 5, 9, 3, 12, 4, 8, 2, 2, 2], [-1, -1, 0, 0, 0, 1, 1, 2, 2, 5]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.3, "vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1,
         "eos_token_id": 2}  # fmt: skip
WINDOWS = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
KINDS = {
    "qwen3": ("qwen3", {}),
    "llama": ("llama", {}),
    "window": ("mistral", {"sliding_window": 6}),
    "windows in some layers": ("gemma3_text", WINDOWS),
    "soft caps": ("gemma2", {"sliding_window": 5, "attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 8}),
    "learned positions": ("gpt2", {"n_embd": 32, "n_head": 4, "n_layer": 2}),
    "parallel layers": ("gpt_neox", {}),
}


def make(model_type: str, **changes) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES | changes), dtype=torch.float32).eval().get_decoder()


def chain(segment: int) -> list[int]:
    """A segment's ancestors, and itself."""
    return [segment] if PARENTS[segment] < 0 else [*chain(PARENTS[segment]), segment]


def ids() -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).integers(0, 50, sum(LENGTHS)))


def run(backbone: PreTrainedModel, forest: Forest) -> torch.Tensor:
    return hidden_states(backbone, backbone.get_input_embeddings()(ids()), forest)


def alone(backbone: PreTrainedModel, forest: Forest) -> torch.Tensor:
    """Each segment's states, its whole text read by itself."""
    texts = [backbone(input_ids=ids()[forest.tokens(chain(s))][None], use_cache=False).last_hidden_state[0] for s in range(len(LENGTHS))]
    return torch.cat([states[-length:] for states, length in zip(texts, LENGTHS)])


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row_tokens", [1, 16, 256])
def test_states_are_those_of_each_text_alone(kind, row_tokens, monkeypatch):
    monkeypatch.setattr(layout, "ROW_TOKENS", row_tokens)
    model_type, changes = KINDS[kind]
    backbone = make(model_type, **changes)
    forest = lay_out(LENGTHS, PARENTS, CPU)
    torch.testing.assert_close(run(backbone, forest), alone(backbone, forest), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_before_need_not_be_read_again(kind):
    """The first segments, then others after them, then the rest: states are those of one pass."""
    model_type, changes = KINDS[kind]
    backbone, keys, start = make(model_type, **changes), Keys(), np.cumsum([0, *LENGTHS])
    inputs, parts = backbone.get_input_embeddings()(ids()), []
    for kept, until in ((0, 2), (2, 6), (6, 10)):
        forest = lay_out(LENGTHS[:until], PARENTS[:until], CPU, kept)
        parts.append(hidden_states(backbone, inputs[start[kept] : start[until]], forest, keys, keep=True))
    torch.testing.assert_close(torch.cat(parts), run(backbone, lay_out(LENGTHS, PARENTS, CPU)), rtol=0, atol=1e-5)


def test_gradients_are_those_of_each_text_alone():
    compare_gradients(CPU, 1e-5)


@pytest.mark.gpu
def test_gradients_on_cuda_come_from_a_kernel_that_writes_no_scores_out():
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]):  # another would be an error
        compare_gradients(torch.device("cuda"), 1e-3)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_same_when_layers_are_computed_again(kind, reentrant):
    """Gradient checkpointing computes each layer a second time in the backward pass, outside of the shared pass."""
    model_type, changes = KINDS[kind]
    forest, gradients = lay_out(LENGTHS, PARENTS, CPU), []
    weight = torch.randn(sum(LENGTHS), 32, generator=torch.Generator().manual_seed(1))
    # Dropout, which some models train with, would differ between the two.
    still = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0} if model_type == "gpt2" else {}
    for again in (False, True):
        backbone = make(model_type, **changes, **still).train()
        if again:
            backbone.gradient_checkpointing_enable({"use_reentrant": reentrant})
        (run(backbone, forest) * weight).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in backbone.parameters() if p.grad is not None]))
    assert gradients[0].norm() > 1
    torch.testing.assert_close(*gradients, rtol=0, atol=float(1e-6 * gradients[0].norm()))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_forward_pass_is_that_of_transformers_to_the_bit(kind, monkeypatch):
    model_type, changes = KINDS[kind]
    backbone, texts = make(model_type, **changes), ids().view(2, -1)
    mask = torch.ones_like(texts)
    mask[0, :5] = 0
    read = [backbone(input_ids=texts, attention_mask=given).last_hidden_state for given in (None, mask)]
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", sdpa_attention_forward)
    for states, given in zip(read, (None, mask)):
        assert torch.equal(states, backbone(input_ids=texts, attention_mask=given).last_hidden_state)


def compare_gradients(device: torch.device, tolerance: float):
    """Texts read together on the device, and each alone on a CPU."""
    backbone, forest = make("qwen3"), lay_out(LENGTHS, PARENTS, device)
    twin = copy.deepcopy(backbone).to(device)
    together = hidden_states(twin, twin.get_input_embeddings()(ids().to(device)), forest)
    weight = torch.randn(sum(LENGTHS), 32, generator=torch.Generator().manual_seed(1))
    gradients = []
    for model, states in ((twin, together), (backbone, alone(backbone, forest))):
        (states * weight.to(states.device)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in model.parameters()]))
    assert gradients[1].norm() > 1
    torch.testing.assert_close(*gradients, rtol=0, atol=float(tolerance * gradients[1].norm()))


def test_positions_count_from_the_beginning_of_the_text():
    assert lay_out([2, 3, 2], [-1, 0, 0], CPU).positions.tolist() == [0, 1, 2, 3, 4, 2, 3]


def test_siblings_stand_in_rows_that_read_their_context_once():
    forest = lay_out([100, *[8] * 64], [-1, *[0] * 64], CPU)
    # By hand: the root alone, 100 x 100; 512 tokens of siblings as four rows of 128, each of which reads 100 + 128.
    assert sorted(tuple(rows.queries.shape) + tuple(rows.keys.shape) for rows in forest.rows) == [(1, 100, 1, 100), (4, 128, 4, 228)]
    assert forest.computed == 100 * 100 + 4 * 128 * 228


def test_rows_of_like_size_stand_together_and_others_apart():
    forest = lay_out([4] * 5 + [400], [-1] * 6, CPU)
    assert [tuple(rows.queries.shape) for rows in forest.rows] == [(5, 4), (1, 400)]


def test_a_call_of_attention_gathers_so_many_keys_at_most(monkeypatch):
    forest = lay_out([100, *[8] * 64], [-1, *[0] * 64], CPU)
    monkeypatch.setattr(layout, "CALL_KEYS", 500)
    # Each of the four rows reads 100 + 128.
    assert sorted(rows.keys.shape for rows in forest.rows) == [(1, 100), (2, 228), (2, 228)]


@pytest.mark.parametrize(("lengths", "parents"), [([0], [-1]), ([2, 2], [1, -1]), ([2], [0])])
def test_segments_have_tokens_and_come_after_their_parents(lengths, parents):
    with pytest.raises(ValueError, match="comes after its parent"):
        lay_out(lengths, parents, CPU)


def test_layers_that_carry_a_state_are_refused_by_name():
    hybrid = make("lfm2", layer_types=["conv", "full_attention"])
    with pytest.raises(UserError, match="layers of kind conv cannot read a shared beginning once"):
        refuse_states(hybrid)


@torch.no_grad()
def test_soft_caps_are_those_of_transformers():
    """transformers has no sdpa with soft caps, so that such a model comes with eager attention."""
    model_type, changes = KINDS["soft caps"]
    backbone, forest = make(model_type, **changes), lay_out(LENGTHS, PARENTS, CPU)
    assert backbone.config._attn_implementation == "eager"
    expected = alone(backbone, forest)
    uncapped = run(make(model_type, **changes | {"attn_logit_softcapping": None}), forest)
    states = run(backbone, forest)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)
    assert (states - uncapped).abs().max() > 1e-2
    # From then on plain passes are ours too: padded, without padding, and token by token.
    assert backbone.config._attn_implementation == "sdpa"
    torch.testing.assert_close(alone(backbone, forest), expected, rtol=0, atol=1e-5)
    text = ids()[:21][None]
    whole, cache = backbone(input_ids=text, use_cache=False).last_hidden_state, None
    for t in range(text.shape[1]):
        out = backbone(input_ids=text[:, t : t + 1], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        torch.testing.assert_close(out.last_hidden_state[:, 0], whole[:, t], rtol=0, atol=1e-5)
    padded = torch.cat([text.new_zeros(1, 4), text], 1)
    mask = (torch.arange(25) >= 4)[None].long()
    read = backbone(input_ids=padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).last_hidden_state
    torch.testing.assert_close(read[:, 4:], whole, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_positions_that_depend_on_the_longest_text_are_refused_beyond_the_usual_ones(kind):
    """19 tokens are the longest text."""
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4} if kind == "longrope" else {"factor": 2.0}

    def model(usual: int) -> PreTrainedModel:
        rope = {"rope_type": kind, "rope_theta": 1e4, "original_max_position_embeddings": usual, **factors}
        # Dynamic positions change beyond the window itself.
        window = {"original_max_position_embeddings": usual} if kind == "longrope" else {"max_position_embeddings": usual}
        return make("phi3" if kind == "longrope" else "llama", rope_parameters=rope, **window)

    forest = lay_out(LENGTHS, PARENTS, CPU)
    assert forest.longest == 19
    backbone = model(19)
    torch.testing.assert_close(run(backbone, forest), alone(backbone, forest), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match=f"a text has 19 tokens, and beyond 18 the {kind} positions of model .* depend on the longest"):
        run(model(18), forest)
    hidden_states(model(18), model(18).get_input_embeddings()(ids()[:21]), lay_out([7, 14], [-1, 0], CPU))  # one text alone


@pytest.mark.parametrize(("model_type", "changes"), [("nemotron", {}), ("doge", {})])
def test_layers_with_their_own_way_of_masking_are_refused(model_type, changes):
    with pytest.raises(UserError, match="cannot share beginnings|cannot read a shared beginning"):
        run(make(model_type, **changes), lay_out(LENGTHS, PARENTS, CPU))


def test_what_learns_in_bfloat16_has_the_gradients_of_float32_to_rounding():
    """A CPU computes it in float32, since its kernels are slow in bfloat16; what comes out is bfloat16 again."""
    forest = lay_out(LENGTHS, PARENTS, CPU)
    drawn = torch.Generator().manual_seed(0)
    whole = [torch.randn(forest.start[-1], heads, 8, generator=drawn) for heads in (4, 2, 2)]
    rounded = [x.bfloat16().requires_grad_() for x in whole]
    exact = [x.detach().float().requires_grad_() for x in rounded]
    found, wanted = by_rows(forest, *rounded, None, None), by_rows(forest, *exact, None, None)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.01, atol=0.01)
    for out in (found, wanted):
        out.float().pow(2).sum().backward()
    for a, b in zip(rounded, exact):
        torch.testing.assert_close(a.grad.float(), b.grad, rtol=0.02, atol=0.05)
