"""Attention by runs of tokens: what it puts together is attention, whatever the kernel that computes the parts."""

import numpy as np
import pytest
import torch
from test_attention import KINDS, LENGTHS, PARENTS, alone, ids, make, run

from raterhf.engine import attention, layout, varlen
from raterhf.engine.attention import Keys, hidden_states
from raterhf.engine.layout import lay_out

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
CUDA = pytest.mark.gpu


@pytest.fixture
def calls(monkeypatch) -> list[bool]:
    """Runs are used, by a kernel written out; the list says of every call whether it was causal."""
    made = []

    def attend(query, key, value, queries_at, keys_at, most, causal, scaling):
        made.append(causal)
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
        outs, weights = [], []
        for i in range(len(queries_at) - 1):
            a, b, c, d = (int(x) for x in (queries_at[i], queries_at[i + 1], keys_at[i], keys_at[i + 1]))
            assert b - a <= most[0] and d - c <= most[1]
            score = torch.einsum("qhd,khd->hqk", query[a:b], key[c:d]) * (scaling or query.shape[2] ** -0.5)
            if causal:
                score = score.masked_fill(torch.ones(b - a, d - c).triu(1).bool(), -torch.inf)
            outs.append(torch.einsum("hqk,khd->qhd", score.softmax(-1), value[c:d]))
            weights.append(score.logsumexp(-1))
        return torch.cat(outs), torch.cat(weights, 1)

    monkeypatch.setattr(varlen, "attend", attend)
    monkeypatch.setattr(attention, "runs_work", lambda *_: True)
    return made


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_each_text_alone(kind, calls):
    model_type, changes = KINDS[kind]
    backbone, forest = make(model_type, **changes), lay_out(LENGTHS, PARENTS, CPU)
    torch.testing.assert_close(run(backbone, forest), alone(backbone, forest), rtol=0, atol=1e-5)
    # Two layers of two calls; layers whose window is shorter than the texts, and soft caps, go by rows.
    windowed = sum(kind == "sliding_attention" for kind in backbone.config.layer_types) if "window" in kind and "layer" in kind else 0
    assert calls == ([] if kind in ("window", "soft caps") else [True, False] * (2 - windowed))


@torch.no_grad()
def test_a_window_that_no_text_leaves_is_none(calls):
    backbone = make("mistral", sliding_window=22)
    run(backbone, lay_out(LENGTHS, PARENTS, CPU))
    assert calls == [True, False] * 2  # the longest text has 7 + 9 + 2 tokens, or 7 + 12


@torch.no_grad()
def test_what_was_read_before_need_not_be_read_again(calls):
    backbone, keys, start = make("qwen3"), Keys(), np.cumsum([0, *LENGTHS])
    inputs, parts = backbone.get_input_embeddings()(ids()), []
    for kept, until in ((0, 2), (2, 6), (6, 10)):
        forest = lay_out(LENGTHS[:until], PARENTS[:until], CPU, kept)
        parts.append(hidden_states(backbone, inputs[start[kept] : start[until]], forest, keys, keep=True))
    torch.testing.assert_close(torch.cat(parts), run(backbone, lay_out(LENGTHS, PARENTS, CPU)), rtol=0, atol=1e-5)
    assert calls[:2] == [True, True]  # the two roots continue nothing


@torch.no_grad()
def test_a_call_gathers_so_many_keys_at_most(calls, monkeypatch):
    monkeypatch.setattr(layout, "CALL_KEYS", 10)
    backbone, forest = make("qwen3"), lay_out(LENGTHS, PARENTS, CPU)
    torch.testing.assert_close(run(backbone, forest), alone(backbone, forest), rtol=0, atol=1e-5)
    # What families continue: 7 tokens, 5, 7 + 9, 5 + 4.
    assert [len(runs.keys) for runs in forest.context_runs] == [7, 5, 16, 9]


def test_what_learns_goes_by_rows(calls):
    backbone = make("qwen3")
    run(backbone, lay_out(LENGTHS, PARENTS, CPU)).sum().backward()
    assert calls == []


def test_the_kernel_takes_what_it_is_given():
    """Shapes alone, on no device: 10 tokens of 4 heads in two runs, 2 heads of keys."""
    query, key = (torch.empty(10, heads, 16, dtype=torch.bfloat16, device="meta") for heads in (4, 2))
    at = torch.empty(3, dtype=torch.int32, device="meta")
    out, weight = varlen.attend(query, key, key, at, at, (6, 6), True, 0.25)
    assert (out.shape, weight.shape) == (query.shape, (4, 10))


def test_there_are_no_runs_on_a_cpu():
    assert not attention.runs_work(CPU, torch.bfloat16, (4, 16), 2)


@CUDA
@torch.no_grad()
def test_runs_work_on_cuda():
    device = torch.device("cuda")
    for heads, key_heads in (((6, 64), 2), ((16, 128), 8)):
        assert attention.runs_work(device, torch.bfloat16, heads, key_heads)
    backbone = make("qwen3", head_dim=16).to(device)
    expected = alone(backbone.cpu(), lay_out(LENGTHS, PARENTS, CPU))
    forest = lay_out(LENGTHS, PARENTS, device)
    inputs = backbone.get_input_embeddings()(ids())
    found = hidden_states(backbone.to(device, torch.bfloat16), inputs.to(device, torch.bfloat16), forest)
    # States reach 3.6; bfloat16 alone is off by .06 by rows.
    torch.testing.assert_close(found.float().cpu(), expected, rtol=0, atol=0.15)
