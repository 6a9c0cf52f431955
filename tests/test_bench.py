"""The benchmarks run and count; how fast they are is for `raterhf bench` to say."""

import json
import sys
from pathlib import Path

import pytest
import torch
from small_run import fails, invoke, succeeds

from raterhf.bench import workload
from raterhf.bench.lm_updates import WORDS, Workload, comparison_data, tokens_of
from raterhf.bench.measure import interleaved
from raterhf.bench.scale import exponent
from raterhf.bench.workload import Sizes, draw_examples, make_reward, parameters
from raterhf.evaluation import trl_trainers
from raterhf.models import place
from raterhf.models.load import build_model, train_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TINY = {"model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 100, "initializer_range": 0.3}  # fmt: skip

LANGUAGE = {key: value for key, value in TINY.items() if key != "vocab_size"} | {"tie_word_embeddings": True}

TAKEN = place.product_seconds


@pytest.fixture(autouse=True)
def products(monkeypatch):
    """What this machine's products take is measured in every benchmark, and half of these tests' time would go there."""
    monkeypatch.setattr(place, "product_seconds", lambda *_: 0.01)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(workload.SHAPES, "tiny", TINY)


def test_score_prints_a_ladder_and_writes_its_figures(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # narrower, heads fold
    out = tmp_path / "bench.json"
    command = ["bench", "score", "tiny", "-k", 1, "-k", 3, "--prompt-tokens", 8, "--completion-tokens", 4, "--completions", 3]
    shown = succeeds(*command, "--soft-tokens", 2, "--spread", 0.5, "--repeats", 1, "--dtype", "float32", "--out", out)
    found = json.loads(out.read_text())
    rungs = {(row["conditioning"], row["raters"], row["rung"]) for row in found["rows"]}
    plain = {("none", 1, rung) for rung in ("pipeline", "TRL", "+ sorting", "+ packing", "+ sharing")}
    assert rungs == plain | {
        (conditioning, k, rung) for conditioning in ("prefix", "suffix", "head") for k in (1, 3) for rung in ("naive", "shared")
    }
    ours = [row for row in found["rows"] if row["rung"] in ("shared", "+ sharing")]
    assert all(row["deviation"] < 1e-5 < 1e-2 < row["spread_of_scores"] for row in ours)
    assert all(row["wanted"] == 3 * row["raters"] and row["gain"] > 0 for row in found["rows"])
    assert found["machine"]["matrix_product_flops"] > 0 and "attention by rows" in shown
    assert "conditioning suffix, K = 3" in shown and "planned" in shown


def test_planned_gains_are_those_of_the_arithmetic(tiny):
    """T of each conditioning for K raters, N completions of one prompt, r soft tokens: K N (r + Lp + Lc) over what is pushed."""
    from raterhf.bench.score import jury_rungs
    from raterhf.engine.scorer import Scorer

    examples = draw_examples(Sizes(1, 4, 16, 8, 2, 0.0), 100)
    k, n, r, lp, lc = 5, 4, 2, 16, 8
    pushed = {"prefix": k * (r + lp + n * lc), "suffix": lp + n * (lc + k * r), "head": lp + n * lc}
    for conditioning, tokens in pushed.items():
        rungs = dict(jury_rungs(Scorer(make_reward("tiny", conditioning, r, CPU, torch.float32, 64)), examples, k))
        naive = k * n * ((0 if conditioning == "head" else r) + lp + lc)
        assert rungs["shared"].tokens == tokens
        assert rungs["shared"].planned_gain == pytest.approx(naive / tokens)


def test_train_times_an_update_at_every_site(tiny, tmp_path):
    out = tmp_path / "bench.json"
    sizes = ["--prompt-tokens", 8, "--completion-tokens", 4, "--completions", 3, "--soft-tokens", 2, "--repeats", 1, "--dtype", "float32"]
    succeeds("bench", "train", "tiny", *sizes, "--out", out)
    rows = {(row["conditioning"], row["rung"]): row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {(conditioning, rung) for conditioning in ("prefix", "suffix", "head") for rung in ("naive", "shared")}
    # By hand, two prompts: 4 comparisons, 8 sides of 8 + 4 + 2 tokens; shared: 2 prompts, 6 completions, 8 raters' tokens.
    assert rows["suffix", "shared"]["planned_gain"] == pytest.approx(8 * 14 / (2 * 8 + 6 * 4 + 8 * 2))


def test_adapt_times_a_person(tiny, tmp_path):
    shown = succeeds("bench", "adapt", "tiny", "--prompt-tokens", 4, "--completion-tokens", 3, "--repeats", 1, "--out", tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert [row["labels"] for row in found["rows"]] == [1, 10, 40, 200] and all(row["read"]["median"] > 0 for row in found["rows"])
    assert found["conditioning"] == "head" and "a person inferred" in shown


def test_rollout_counts_the_prompts_that_are_read(tiny, tmp_path):
    out = tmp_path / "bench.json"
    sizes = ["--prompt-tokens", 8, "--completion-tokens", 4, "--completions", 3, "--soft-tokens", 2, "--repeats", 1, "--dtype", "float32"]
    succeeds("bench", "rollout", "tiny", "-k", 2, *sizes, "--out", out)
    naive, shared = json.loads(out.read_text())["rows"]
    # Six samples: each reads 2 + 8 tokens and draws 4; shared, the two raters read theirs once.
    assert (naive["rung"], shared["rung"]) == ("generate", "shared")
    assert shared["planned_gain"] == pytest.approx(6 * 14 / (2 * 10 + 6 * 4))


@pytest.mark.slow
def test_rollout_times_a_compiled_decoder_or_says_why_not(tiny, monkeypatch):
    sizes = ["--prompt-tokens", 8, "--completion-tokens", 4, "--completions", 3, "--soft-tokens", 2, "--repeats", 1, "--dtype", "float32"]
    compiled, asked = torch.nn.Module.compile, []
    torch._dynamo.reset()
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **given: asked.append(given) or compiled(self, backend="eager", **given))
    assert "compiled" in succeeds("bench", "rollout", "tiny", "-k", 2, *sizes, "--compile") and asked == [{"dynamic": True}]
    torch._dynamo.reset()
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **given: compiled(self, backend=lambda *_: 1 / 0, **given))
    fails("bench", "rollout", "tiny", "-k", 2, *sizes, "--compile", says=("--compile: BackendCompilerFailed", "leave it out"))


def test_rloo_does_the_work_of_trl(tiny, tmp_path):
    out = tmp_path / "bench.json"
    sizes = ["--prompt-tokens", 8, "--completion-tokens", 4, "--completions", 3, "--repeats", 1, "--dtype", "float32"]
    succeeds("bench", "rloo", "tiny", *sizes, "--out", out)
    theirs, ours = json.loads(out.read_text())["rows"]
    assert (theirs["rung"], ours["rung"], theirs["wanted"], ours["wanted"]) == ("TRL", "shared", 6, 6)
    assert ours["planned_gain"] == pytest.approx(6 * 12 / (2 * 8 + 6 * 4))


def test_accuracy_is_reached_or_not_at_every_site(write, tmp_path):
    rows = [
        {
            "prompt": "Pick.",
            "chosen": f"word {i % 7}",
            "rejected": f"word {(i + 1 + i % 5) % 7}",
            "rater_id": f"r{i % 6}",
            "split": "later" if i % 5 == 0 else "train",
        }
        for i in range(90)
    ]
    comparisons = write("comparisons.csv", [row for row in rows if row["chosen"] != row["rejected"]])
    recipe = write("recipe.yaml", f"""
name: tiny
runs: {tmp_path / "runs"}
data: {{comparisons: {comparisons}, held_out: 0.3}}
model: {{config: {{model_type: qwen3, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
         num_key_value_heads: 2, head_dim: 8}}, vocab_size: 300, max_length: 32}}
raters: {{dim: 3, idiosyncratic_dim: 0, tokens: 2}}
reward: {{steps: 3, batch_size: 8, lr: 1.0e-3}}
""")  # fmt: skip
    out = tmp_path / "bench.json"
    shown = succeeds("bench", "accuracy", recipe, "--target", 0.0, "--every", 2, "--unshared", "--out", out)
    rows = {row["conditioning"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["prefix", "prefix, unshared", "suffix", "head"] and "prefix, unshared" in shown
    for conditioning in ("prefix", "suffix", "head"):
        assert [point["updates"] for point in rows[conditioning]["curve"]] == [2, 3] and rows[conditioning]["updates"] == 2
    assert rows["prefix, unshared"]["seconds"] == 2 * rows["prefix, unshared"]["seconds_per_update"]
    succeeds("bench", "accuracy", recipe, "--target", 0.0, "--every", 2, "--conditioning", "suffix", "--stop", "--out", out)
    assert [point["updates"] for point in json.loads(out.read_text())["rows"][0]["curve"]] == [2]
    assert "not reached" in succeeds("bench", "accuracy", recipe, "--target", 1.0, "--conditioning", "head")
    later = ["--split", "later", "--conditioning", "head", "--target", 0.0, "--out", out]
    assert "of comparisons of split later are right" in succeeds("bench", "accuracy", recipe, "data.split=train", *later)
    assert json.loads(out.read_text())["split"] == "later"
    fails("bench", "accuracy", recipe, "data.split=train", *later, "--split", "never", says="no row has split never")
    fails(
        "bench",
        "accuracy",
        recipe,
        "--conditioning",
        "tail",
        says="conditioning 'tail' is not one of the conditionings, which are prefix, suffix, head",
    )
    fails("bench", "accuracy", recipe, "--conditioning", "head", "--unshared", says="add --conditioning prefix")
    fails("bench", "accuracy", recipe, "raters.encoding=none", says="needs the stage reward and raters.encoding embedding")


def test_lengths_are_fixed_or_log_normal():
    fixed = draw_examples(Sizes(2, 3, 10, 5, 1, 0.0), 50)
    assert {(e.prompt_length, len(e)) for e in fixed} == {(10, 15)} and len(fixed) == 6
    assert fixed[0].prompt == fixed[2].prompt != fixed[3].prompt
    drawn = [len(e) - e.prompt_length for e in draw_examples(Sizes(500, 4, 10, 50, 1, 0.7), 50)]
    assert 47 < sum(drawn) / len(drawn) < 51 and max(drawn) == 200 and len(set(drawn)) > 50


def test_parameters_leave_out_the_embeddings(tiny):
    # A layer: q 32x32, k and v 32x16, o 32x32, norms of q and k 16 each, three 32x48, two norms of 32; and the last norm.
    assert parameters(workload.make_backbone("tiny", CPU, torch.float32, 64)) == 2 * (2048 + 1024 + 32 + 4608 + 64) + 32


def test_words_are_read_as_their_ids():
    ids = list(range(100))
    assert workload.word_tokenizer(100)(workload.words_of(ids)).input_ids == ids


def test_runs_take_turns():
    turns = []
    found = interleaved({name: lambda name=name: turns.append(name) for name in "ab"}, 2, CPU, "turns")
    assert turns == ["a", "b"] * 3
    assert all(timing.low <= timing.median <= timing.high for timing in found.values())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="it is Linux that is asked")
def test_peaks_are_of_each_run_alone():
    found = interleaved({"much": lambda: torch.ones(2**26), "little": lambda: torch.ones(2**20)}, 1, CPU, "peaks")
    assert 256 <= found["much"].peak_mib < 300 and 4 <= found["little"].peak_mib < 48


def test_a_rate_is_measured_on_products_that_take_no_time(monkeypatch):
    asked = []

    def seconds(size, device, dtype, repeats=1):
        asked.extend([2 * size**3 / (1e9 if dtype == torch.bfloat16 else 1e12)] * repeats)
        return asked[-1]

    monkeypatch.setattr(place, "product_seconds", seconds)
    assert place.matrix_product_rate(CPU, torch.float32) == pytest.approx(1e12)
    assert asked[-1] == 2 * 2048**3 / 1e12
    asked.clear()
    assert not place.fast_bf16(CPU) and sum(asked) < 2


def test_a_product_takes_time():
    assert TAKEN(8, CPU, torch.float32, 3) > 0


def test_mistakes():
    fails("bench", "score", "9b", says="shape '9b' is none of 20m")
    fails("bench", "score", "--dtype", "int8", says="dtype 'int8' is none of auto, float32, bfloat16")
    assert place.pick_dtype("bfloat16", CPU) == torch.bfloat16


def test_a_run_folder_is_timed_at_its_own_site(run, tmp_path):
    fails("bench", "score", run / "reward", "--conditioning", "suffix", says="conditioning 'suffix' is not one of")
    sizes = ["--prompt-tokens", 4, "--completion-tokens", 2, "--completions", 2, "-k", 2, "--repeats", 1, "--dtype", "float32"]
    assert "conditioning head, K = 2" in succeeds("bench", "score", run / "reward", *sizes, "--out", tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["sizes"]["soft_tokens"] == 0  # beside a text, whatever was asked for
    fails("bench", "score", run / "reward", says=("do not fit the model's window", "lower --prompt-tokens and --completion-tokens"))
    result = invoke("bench", "score", run / "reward", *sizes, "--out", run)
    assert result.exit_code == 2 and "is a directory" in result.stderr


def test_a_run_that_knows_no_raters_by_vectors_has_no_site(text_run):
    sizes = ["--prompt-tokens", 4, "--completion-tokens", 2, "--completions", 2, "--repeats", 1, "--dtype", "float32"]
    shown = succeeds("bench", "score", text_run, *sizes)
    assert "conditioning none, K = 1" in shown and "K = 4" not in shown
    for verb in (["score", text_run, "--conditioning", "head"], ["train", text_run]):
        fails("bench", *verb, *sizes, says="knows no raters by vectors")


def test_data_is_checked_in_a_process_of_its_own_in_every_format(tmp_path):
    out = tmp_path / "data.json"
    said = succeeds("bench", "data", "--rows", "200", "--raters", "10", "--labels", "5", "--out", str(out))
    assert "200 comparisons of 40 prompts, 10 raters" in said and "peak MiB" in said
    checks = json.loads(out.read_text())["checks"]
    assert [one["format"] for one in checks] == ["jsonl", "csv", "parquet"]
    assert all(one["peak_mib"] > 50 and one["seconds"] > 0 and one["file_mib"] > 0 for one in checks)
    assert "files are jsonl, csv, parquet" in invoke("bench", "data", "--format", "xls").stderr


def test_lm_times_the_stages_of_a_chat_model_beside_trl(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    tokenizer = train_tokenizer([" ".join(WORDS)] * 3, 400)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    build_model(LANGUAGE, tokenizer, 96, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    out, sizes = tmp_path / "bench.json", ["--batch", 4, "--prompt-words", 2, "--completion-tokens", 6, "--soft-tokens", 2, "--rank", 2]
    command = ["bench", "lm", tmp_path / "lm", *sizes, "--repeats", 1, "--dtype", "float32", "--out", out]
    shown = succeeds(*command, *(f"--part={part}" for part in ("updates", "sampling", "jury", "folders")))
    rows = json.loads(out.read_text())["rows"]
    assert [(row["what"], row["run"]) for row in rows if row["part"] == "updates"] == [
        (stage, who) for stage in ("sft", "reward", "policy") for who in ("TRL, adapters", "ours, adapters", "ours, all weights")
    ]
    assert all(row["seconds"] > 0 and row["times"] > 0 for row in rows if row["part"] != "folders")
    # By hand: "user: w w?" and a line break; four completions, eight sides, and four samples of six tokens.
    work = Workload(tmp_path / "lm", CPU, torch.float32, 4, 2, 6, 2, 2, 1)
    head = [len(work.renderer.prompt(prompt)) for prompt in work.prompts(2)]
    assert tokens_of(work, "policy") == 2 * (head[0] + 6) + 2 * (head[1] + 6)
    assert [row["run"] for row in rows if row["part"] == "jury"] == ["one judge", "64 raters, head", "64 raters, suffix"]
    assert "speed of the first" in shown and "folders" in shown
    fails(*command[:3], "--part", "all", says="--part all is none of updates, memory, sampling, jury, folders")
    fails(*command[:3], "--batch", 5, says="--batch 5 is odd")
    sampling = [*command, "--part", "sampling", "--vllm"]
    fails(*sampling, tmp_path / "no-python", says="give the Python of an environment that has vLLM")
    fails(*sampling, sys.executable, says="vLLM ended before it was ready:")
    fails("bench", "lm", tmp_path, says="is no model folder")


def test_trl_and_ours_read_the_same_comparisons_and_demonstrations(tmp_path):
    """And everything of a batch, in one update."""
    tokenizer = train_tokenizer([" ".join(WORDS)] * 3, 400)
    build_model(LANGUAGE, tokenizer, 96, 0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    work = Workload(tmp_path, CPU, torch.float32, 4, 2, 6, 2, 2, 1)
    data, rows = comparison_data(work), work.comparisons()
    texts = {tuple(data.examples[i].ids) for i in (*data.a, *data.b)}
    args = {"max_length": 90, "per_device_train_batch_size": 4, "max_steps": 1}
    trainer = trl_trainers.reward_trainer(tmp_path, tmp_path / "out", rows, args, 0)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = [tuple(i for i, m in zip(ids, mask) if m) for ids, mask in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist())]
    assert set(theirs) == texts and len(theirs) == 8 and len(texts) == 6
    assert tokens_of(work, "reward") == sum(map(len, theirs))


@pytest.mark.slow
def test_memory_of_an_update_is_that_of_a_process_of_its_own(tmp_path):
    tokenizer = train_tokenizer([" ".join(WORDS)] * 3, 400)
    build_model(LANGUAGE, tokenizer, 96, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    out = tmp_path / "bench.json"
    succeeds("bench", "lm", tmp_path / "lm", "--batch", 4, "--completion-tokens", 6, "--part", "memory", "--out", out)
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 9 and all(100 < row["mib"] < 4000 for row in rows)


def test_what_grows_with_raters_is_timed_on_a_ladder(tmp_path):
    out = tmp_path / "scale.json"
    shown = succeeds("bench", "scale", "-k", 200, "-k", 100, "--labels", 2, "--out", out)
    found = json.loads(out.read_text())
    assert found["raters"] == [100, 200] and len(found["rows"]) == 12
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) >= 0 for row in found["rows"])
    assert "fit a population of four" in shown and "exponent" in shown


def test_exponents_of_growth():
    """Ten times the raters: ten times the seconds is linear, a hundred times is squared; what takes no time says nothing."""
    assert exponent([10, 100], [0.1, 1.0]) == pytest.approx(1) and exponent([10, 100], [0.1, 10.0]) == pytest.approx(2)
    assert exponent([10, 100], [1e-4, 1e-2]) is None and exponent([10], [1.0]) is None
