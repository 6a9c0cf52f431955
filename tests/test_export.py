"""Exported folders: what transformers alone reads in them is what the run says. Tiny random weights."""

import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import PROMPTS, make_recipe, write_labels, write_pretrained
from jinja2 import TemplateError
from small_run import CONFIG, fails, invoke, one_gaussian, save_run, succeeds
from test_architectures import CASES, CHATML, made, save_case  # noqa: F401  # `made` is a fixture
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES as TOKEN_CLASSIFIERS

import raterhf
from raterhf.data.renderer import Renderer, set_chat
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.export.policy import export_policy
from raterhf.export.template import prompt_ids
from raterhf.models.adapters import add_lora, merged_weights
from raterhf.models.checkpoint import load_policy, load_pool, replace_pool, save_policy, save_reward
from raterhf.models.load import build_model, load_pretrained
from raterhf.models.policy import make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.pool import RaterPool
from raterhf.recipe import LoraSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def asked_of(folder, encoding: str = "embedding", system: str | None = None) -> RaterPolicy:
    lm, tokenizer = load_pretrained(folder)
    set_chat(tokenizer, "auto", system)
    torch.manual_seed(1)
    soft = encoding == "embedding"
    pool = RaterPool(["ann", "bob"], np.ones((2, 2 * soft), np.float32), 0, encoding, populations={"": one_gaussian(0.0)} if soft else {})
    policy = make_policy(lm, tokenizer, 2 * soft, 3).eval()
    return RaterPolicy("policy", policy, Renderer(tokenizer, 128), pool, "new", 8)


@pytest.mark.parametrize("encoding", ["embedding", "text"])
@torch.no_grad()
def test_log_probabilities_of_an_export_are_the_runs(made, encoding, tmp_path):  # noqa: F811
    _, folder = made
    asked = asked_of(folder, encoding)
    people = [asked.pool.null(), asked.pool.by_id("ann"), asked.pool.fictitious(7)]
    exported = export_policy(asked, people, 0)
    exported.save(tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    for person in people:
        example = asked.renderer.example("Pick a colour.", "red", person.text)
        expected = asked.log_probs([example], [person])[0]
        begun = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Pick a colour."}], add_generation_prompt=True, rater=person.id, return_dict=False
        )
        answer = tokenizer("red", add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([begun + answer])).logits[0, len(begun) - 1 :]
        known = len(asked.renderer.tokenizer)
        probability = logits[:, :known].softmax(-1)
        found = (
            sum(probability[i, token].log() for i, token in enumerate(answer))
            + probability[-1, model.generation_config.eos_token_id].sum().log()
        )
        assert float(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("model", ["gpt-2", "smollm 2", "gemma 2"])
@torch.no_grad()
def test_raters_tokens_are_read_and_never_said(model, tmp_path):
    """Where hidden states have something in common, as in trained models, the probabilities of all other tokens are what they were."""
    case = CASES[model]
    caps = {"final_logit_softcapping": 30.0} if "final_logit_softcapping" in case.shape else {}
    asked = asked_of(save_case(replace(case, shape=case.shape | caps), tmp_path / "lm"))
    lm = asked.policy.lm
    lm.get_input_embeddings().weight[:, 0] += 20  # in common to all states of models without biases
    if model == "gpt-2":
        lm.get_decoder().ln_f.bias.fill_(0.5)
    people, known = [asked.pool.null(), asked.pool.by_id("ann")], len(asked.renderer.tokenizer)
    exported = export_policy(asked, people, 0)
    for rater in ("none", "ann"):
        ids = torch.tensor([prompt_ids(exported.tokenizer, "Pick a colour.", rater)])
        logits = exported.model(ids).logits[0, 3:]  # of the tokens of the text
        torch.testing.assert_close(logits.log_softmax(-1)[:, :known], logits[:, :known].log_softmax(-1), rtol=0, atol=1e-6)
        said = exported.model.generate(ids, max_new_tokens=20, num_return_sequences=20)
        assert said[:, ids.shape[1] :].max() < known
        assert float(logits[:, known:].max()) < -29
    assert exported.unsaid.share < 1e-12


def test_a_window_of_few_tokens_is_enough(tmp_path):
    asked = asked_of(save_case(replace(CASES["gpt-2"], shape=CASES["gpt-2"].shape | {"n_positions": 24}), tmp_path / "lm"))
    assert export_policy(asked, [asked.pool.null(), asked.pool.by_id("ann")], 0).words["ann"]


@torch.no_grad()
def test_where_nothing_keeps_them_low_they_are_suppressed(tmp_path):
    asked = asked_of(save_case(CASES["smollm 2"], tmp_path / "lm"))
    exported, known = export_policy(asked, [asked.pool.null(), asked.pool.by_id("ann")], 0), len(asked.renderer.tokenizer)
    assert exported.unsaid.share is None
    ids = torch.tensor([prompt_ids(exported.tokenizer, "Pick a colour.", "ann")])
    out = exported.model.generate(ids, max_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    expected = exported.model(ids).logits[0, -1, :known].log_softmax(-1)
    torch.testing.assert_close(out.scores[0][0, :known].log_softmax(-1), expected, rtol=0, atol=1e-5)
    assert out.scores[0][0, known:].max() == -torch.inf


@pytest.mark.slow
@torch.no_grad()
def test_a_real_chat_model(smollm2, tmp_path):
    """134.5 million weights, tied: eight raters' tokens have none of the probability after a conversation."""
    asked = asked_of(smollm2)
    people = [asked.pool.null(), *asked.pool.resolve("new:7x", 1, 0, counted=True)]
    exported = export_policy(asked, people, 0)
    exported.save(tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    known, prompt, text = len(asked.renderer.tokenizer), "Name three trees.", "Oak, elm and ash. I like the oak best, for its shade."
    for person in people[::4]:
        begun, answer = prompt_ids(tokenizer, prompt, person.id), tokenizer(text, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([[*begun, *answer]])).logits[0, len(begun) - 1 :].log_softmax(-1)
        found = log_prob(logits, [*answer, tokenizer.eos_token_id], len(tokenizer))
        expected = asked.log_probs([asked.renderer.example(prompt, text)], [person])[0]
        assert found == pytest.approx(float(expected), abs=1e-4)
        assert logits[:, known:].max() < -100
    assert exported.unsaid.share < 1e-12


# The verb


def run_code(folder: Path) -> dict:
    """Run what the model card of a folder shows, as whoever reads it does."""
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    space: dict = {}
    for block in blocks:
        exec(compile(block.replace('folder = "."', f"folder = {str(folder)!r}"), "README.md", "exec"), space)
    return space


def test_the_verb_writes_a_folder_that_its_card_explains(run, tmp_path):
    out = tmp_path / "out"
    result = invoke("export", run, "--rater", "new:7", "--rater", "ann", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "1 of its raters are known ones ('ann')" in result.stderr
    space = run_code(out)
    assert list(space["AutoTokenizer"].from_pretrained(out).get_added_vocab())[-1] == "<|rater ann 1|>"


@torch.no_grad()
def test_what_persists_is_drawn_as_the_run_draws_it(tmp_path):
    """The same answers from the same seeds, where some of it persists and every prompt is a question of its own."""
    root, out = save_run(tmp_path / "tiny", "embedding"), tmp_path / "out"
    policy, tokenizer, header = load_policy(root / "policy")
    policy.idiosyncratic.persistence.normal_(generator=torch.Generator().manual_seed(0))
    policy.idiosyncratic.question.normal_(generator=torch.Generator().manual_seed(1))
    save_policy(root / "policy", policy, tokenizer, load_pool(root / "policy"), header["max_length"], {})
    succeeds("export", root, "--rater", "new:7", "--rater", "ann", "--out", out)
    space, opened = run_code(out), raterhf.open(root)
    assert "import raterhf" not in (out / "rater_taste.py").read_text("utf-8")
    for rater, prompt in product(("none", "new:7", "ann"), ("Roll a die.", "Roll it again.")):
        expected = [answer.completion for answer in opened.sample(prompt, rater, n=3, seed=5)]
        tokenizer, model = space["tokenizer"], space["model"]
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], rater=rater, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        taste = space["RaterTaste"](model, out, seed=5)
        answers = model.generate(**inputs, logits_processor=[taste], num_return_sequences=3)[:, inputs["input_ids"].shape[1] :]
        assert tokenizer.batch_decode(answers, skip_special_tokens=True) == expected
    with pytest.raises(ValueError, match="begins with no rater's tokens"):
        model.generate(torch.tensor([[5, 6, 7]]), logits_processor=[taste])
    with pytest.raises(ValueError, match="the rows are different prompts"):
        model.generate(torch.tensor([[5, 6, 7], [5, 6, 8]]), logits_processor=[taste])


# Templates


def test_a_tokenizer_that_marks_the_first_word(tmp_path):
    """SentencePiece writes a blank before a text, and none before what goes on after a special token."""
    pieces = Tokenizer(BPE())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    pieces.train_from_iterator(["Say something. red blue"] * 5, BpeTrainer(vocab_size=100, special_tokens=["<pad>", "<eos>", "<s>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="<eos>", bos_token="<s>")
    build_model(CONFIG, tokenizer, 64, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    asked = asked_of(tmp_path / "lm")
    exported = export_policy(asked, [asked.pool.null(), asked.pool.by_id("ann")], 0)
    begun = prompt_ids(exported.tokenizer, "Say something.", "ann")
    assert begun[3:] == asked.renderer.prompt("Say something.") and '~ " " ~' in exported.tokenizer.chat_template


def test_a_system_message_and_reasoning_that_is_not_wanted(tmp_path):
    """Of the run's settings, and of a template that opens a block for reasoning whatever it is told."""
    template = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    asked = asked_of(save_case(replace(CASES["qwen 3"], template=template), tmp_path / "lm"), "text", "You are terse.")
    exported = export_policy(asked, [asked.pool.null(), asked.pool.by_id("ann")], 0)
    begun = exported.tokenizer.decode(prompt_ids(exported.tokenizer, "Hello.", "ann"))
    assert "system\nRater ann: You are terse." in begun and begun.endswith("assistant\n<think>\n\n</think>\n\n")


# Reward models


def reward_run(folder: Path, root: Path, conditioning: str, encoding: str = "embedding", tokens: int = 3) -> Path:
    """A run folder of an untrained reward model on the model in `folder`."""
    lm, tokenizer = load_pretrained(folder)
    set_chat(tokenizer, "auto", None)
    torch.manual_seed(2)
    soft = encoding == "embedding"
    model = RewardModel(lm.get_decoder(), 2 * soft, tokens, conditioning).eval()
    model.scale.fill_(0.7)
    pool = RaterPool(["ann", "bob"], np.ones((2, 2 * soft), np.float32), 0, encoding, populations={"": one_gaussian(0.0)} if soft else {})
    save_reward(root / "reward", model, lm, tokenizer, pool, 128, {})
    return root


PAIRS = [("Pick a colour.", "red"), ("Pick a colour.", "blue red"), ("Say red.", "red")]


def test_an_exported_head_has_a_label_for_each_rater(made, tmp_path):  # noqa: F811
    case, folder = made
    root = reward_run(folder, tmp_path, "head")
    if case.model_type not in TOKEN_CLASSIFIERS:
        fails("export", root, "--rater", "ann", "--stage", "reward", says="transformers has no AutoModelForTokenClassification of type")
        assert not (root / "export").exists()
        return
    table = raterhf.open(root).score(PAIRS, ["ann", "new:7", "none"])
    succeeds("export", root, "--rater", "ann", "--rater", "new:7", "--rater", "none", "--stage", "reward")
    space = run_code(root / "export" / "transformers-reward")
    assert list(space["model"].config.id2label.values()) == ["none", "ann", "new:7"]
    found = np.array([space["score"](*pair) for pair in PAIRS])
    np.testing.assert_allclose(found.T, table.loc[["none", "ann", "new:7"]].to_numpy(), atol=1e-4)


@pytest.mark.parametrize("model", ["smollm 2", "gemma 2", "gpt-2"])
@pytest.mark.parametrize(
    ("conditioning", "encoding", "tokens"),
    [("prefix", "embedding", 3), ("suffix", "embedding", 3), ("suffix", "embedding", 1), ("head", "text", 1)],
)
def test_scores_of_raters_that_are_vocabulary(model, conditioning, encoding, tokens, tmp_path):
    folder = save_case(CASES[model], tmp_path / "lm")
    root = reward_run(folder, tmp_path / "run", conditioning, encoding, tokens)
    table = raterhf.open(root).score(PAIRS, ["ann", "new:7", "none"])
    succeeds("export", root, "--rater", "ann", "--rater", "new:7", "--stage", "reward", "--out", tmp_path / "out")
    space = run_code(tmp_path / "out")
    for rater in table.index:
        found = [float(np.squeeze(space["score"](*pair, rater))) for pair in PAIRS]
        np.testing.assert_allclose(found, table.loc[rater].to_numpy(), atol=1e-4)
    kind = "Sequence" if conditioning == "suffix" and tokens == 1 else "Token"
    assert type(space["model"]).__name__.endswith(f"For{kind}Classification")


def test_a_sequence_classifier_scores_padded_texts(tmp_path):
    """transformers reads the last token that is no padding, which is the rater's."""
    folder = save_case(CASES["smollm 2"], tmp_path / "lm")
    root = reward_run(folder, tmp_path / "run", "suffix", tokens=1)
    succeeds("export", root, "--rater", "ann", "--stage", "reward", "--out", tmp_path / "out")
    space = run_code(tmp_path / "out")
    rows = [raterhf.open(root)._jury.renderer.example(*pair).ids for pair in PAIRS]
    rater = space["tokenizer"].convert_tokens_to_ids("<|rater ann 0|>")
    batch = space["tokenizer"].pad({"input_ids": [[*ids, rater] for ids in rows]}, return_tensors="pt")
    with torch.no_grad():
        found = space["model"](**batch).logits[:, 0]
    np.testing.assert_allclose(found, raterhf.open(root).score(PAIRS, "ann").to_numpy()[0], atol=1e-4)


def test_a_jurys_mean_is_one_score(tmp_path):
    root = reward_run(save_case(CASES["llama 3"], tmp_path / "lm"), tmp_path / "run", "head")
    table = raterhf.open(root).score(PAIRS, "new:16x", seed=3)
    succeeds("export", root, "--rater", "new:16x", "--seed", "3", "--stage", "reward", "--mean", "--out", tmp_path / "out")
    space = run_code(tmp_path / "out")
    assert list(space["model"].config.id2label.values()) == ["mean of the raters"]
    assert prompt_ids(space["tokenizer"], "Say red.", "ann") == ()  # whom the template does not know
    np.testing.assert_allclose(np.squeeze([space["score"](*pair) for pair in PAIRS]), table.mean().to_numpy(), atol=1e-4)


# Names, cards, nobody

ODD = 'Ann "{{ o }}" %} \\ \'|` é <b>'


def test_an_id_is_only_a_name(tmp_path):
    """In the template, the card, the client and the tokens."""
    root = save_run(tmp_path / "tiny", "embedding")
    for stage in ("reward", "sft", "policy"):
        pool = load_pool(root / stage)
        replace_pool(root / stage, pool.with_raters([(ODD, np.ones(2, np.float32), np.eye(2, dtype=np.float32), None)]))
    out = tmp_path / "out"
    assert invoke("export", root, "--rater", ODD, "--to", "vllm", "--out", out).exit_code == 0
    space = run_code(out)
    begun = prompt_ids(space["tokenizer"], "Roll a die.", ODD)
    assert begun[:2] == tuple(space["tokenizer"].convert_tokens_to_ids([f"<|rater {ODD} {i}|>" for i in range(2)]))
    compile((out / "vllm_client.py").read_text("utf-8"), "vllm_client.py", "exec")
    assert json.loads((out / "export.json").read_text("utf-8"))["raters"].keys() == {"none", ODD}
    with pytest.raises(TemplateError, match="rater bob is not in this model; there are: none, Ann"):
        space["tokenizer"].apply_chat_template([{"role": "user", "content": "?"}], rater="bob", tokenize=False)


def test_a_model_of_nobody(run, tmp_path):
    """The base model has no raters: the folder is plain, and asking it for one is an error."""
    out = tmp_path / "out"
    assert invoke("export", run / "base", "--rater", "none", "--out", out).stderr == ""
    space = run_code(out)
    assert space["model"].config.tie_word_embeddings
    answer = [*space["tokenizer"]("6", add_special_tokens=False)["input_ids"], space["tokenizer"].eos_token_id]
    begun = prompt_ids(space["tokenizer"], "Roll a die.")
    with torch.no_grad():
        logits = space["model"](torch.tensor([[*begun, *answer]])).logits[0, len(begun) - 1 : -1]
    expected = raterhf.open(run / "base").log_probs([("Roll a die.", "6")])[0]
    assert log_prob(logits, answer, logits.shape[1]) == pytest.approx(expected, abs=1e-4)
    assert prompt_ids(space["tokenizer"], "Roll a die.", "new:7") == ()


def test_a_card_has_the_figures_of_the_comparison(tmp_path):
    root = save_run(tmp_path / "tiny", "embedding")
    (root / "compare").mkdir()
    figures = {"rater_new": {"etv": 0.0471, "mi_ratio": 0.85}, "vanilla": {"etv": 0.265, "mi_ratio": None}}
    (root / "compare" / "metrics.json").write_text(json.dumps({"policies": figures, "seeds": [0, 1], "recipe": {"name": "dice"}}))
    succeeds("export", root, "--rater", "new:7", "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| policy | etv | mi_ratio |\n| --- | --- | --- |\n" in card and " | 0.047 | 0.850 |\n" in card and " | 0.265 | null |\n" in card
    assert "(recipe `dice`, seeds 0, 1)" in card and "labels of 3 raters" in card
    assert "all raters are fictitious, or nobody in particular" in card


# Adapters


@pytest.mark.parametrize(("model", "kept"), [("smollm 2", ["embed_tokens"]), ("gpt-2", ["wte"]), ("gemma 2", [])])
@torch.no_grad()
def test_weights_are_merged_and_the_model_stays(model, kept, tmp_path):
    lm, _ = load_pretrained(save_case(CASES[model], tmp_path / "lm"))
    add_lora(lm.get_decoder(), LoraSettings(r=4, modules_to_save=kept), 0)
    for parameter in lm.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 10)
    ids, before = torch.arange(12)[None], {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    plain = AutoModelForCausalLM.from_config(lm.config).eval()
    plain.config.tie_word_embeddings = False
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.clone())
    plain.load_state_dict(merged_weights(lm, None))
    torch.testing.assert_close(plain(ids).logits, lm.eval()(ids).logits, rtol=0, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.state_dict().items())


@pytest.fixture(scope="module")
def lora(tmp_path_factory) -> Path:
    """A run of adapters, trained for some steps."""
    folder = tmp_path_factory.mktemp("lora")
    write_pretrained(folder / "base")
    write_labels(folder)
    raterhf.train(make_recipe(folder, policy=None))
    return folder / "run"


def log_prob(logits: torch.Tensor, answer: list[int], known: int) -> float:
    """Of an answer that follows by these logits [len(answer), V], among the first `known` tokens."""
    return float(logits[:, :known].log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].sum())


@torch.no_grad()
def test_merged_adapters_say_what_the_run_says(lora, tmp_path):
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in lora.parent.rglob("*.safetensors")}
    result = invoke("export", lora, "--rater", "new:7", "--rater", "r3", "--out", out)
    assert result.exit_code == 0 and "an earlier stage is exported" not in result.stderr, result.output
    assert before == {path: path.read_bytes() for path in lora.parent.rglob("*.safetensors")}
    space = run_code(out)
    tokenizer, model, opened = space["tokenizer"], space["model"], raterhf.open(lora)
    assert not any("lora" in name for name in model.state_dict())
    end, known = tokenizer.eos_token_id, len(opened.policy.renderer.tokenizer)
    for rater in ("none", "new:7", "r3"):
        begun = prompt_ids(tokenizer, PROMPTS[0], rater)
        answer = [*tokenizer("heads", add_special_tokens=False)["input_ids"], end]
        logits = model(torch.tensor([[*begun, *answer]])).logits[0, len(begun) - 1 : -1]
        expected = opened.log_probs([(PROMPTS[0], "heads")], rater)[0]
        assert log_prob(logits, answer, known) == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_adapters_in_plain_peft_with_soft_tokens(lora, tmp_path):
    out = tmp_path / "out"
    result = invoke("export", lora, "--rater", "new:7", "--to", "peft", "--out", out)
    assert result.exit_code == 0, result.output
    space = run_code(out)
    model, tokenizer = space["model"], space["tokenizer"]
    begun = torch.tensor([prompt_ids(tokenizer, PROMPTS[0])])
    answer = [*tokenizer("heads", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    for rater in ("none", "new:7"):
        soft = space["load_file"](out / "soft_tokens.safetensors")[rater]
        ids = torch.cat([begun, torch.tensor([answer])], 1)
        logits = model(inputs_embeds=torch.cat([soft[None], model.get_input_embeddings()(ids)], 1)).logits[0, -len(answer) - 1 : -1]
        expected = raterhf.open(lora).log_probs([(PROMPTS[0], "heads")], rater)[0]
        assert log_prob(logits, answer, logits.shape[1]) == pytest.approx(expected, abs=1e-4)


def test_scores_of_adapters(lora, tmp_path):
    out, pairs = tmp_path / "out", [(PROMPTS[0], "heads"), (PROMPTS[1], "Friday")]
    succeeds("export", lora, "--rater", "r3", "--stage", "reward", "--out", out)
    found = np.array([run_code(out)["score"](*pair) for pair in pairs])
    np.testing.assert_allclose(found[:, 1], raterhf.open(lora).score(pairs, "r3").to_numpy()[0], atol=1e-4)


# What is refused, and what is never overwritten


def test_what_cannot_be_exported(run, text_run, tmp_path):
    out = tmp_path / "out"
    cases = [
        (["--rater", "anne"], "rater 'anne' is not known to this run (3 raters; nearest: ann"),
        ([], "no raters; name some, such as new:7"),
        (["--rater", ""], "rater '' is not known"),
        (["--rater", "new:x"], "after `new:` comes a whole number"),
        (["--rater", "ann", "--group", "south"], "a group narrows"),
        (["--rater", "new:7", "--to", "onnx"], "--to 'onnx': nothing is exported to that; there are transformers, peft"),
        (["--rater", "new:7", "--stage", "base"], "--stage 'base' is not exported"),
        (["--rater", "new:7", "--mean"], "--mean is the mean of raters' scores, and a policy has none"),
        (["--rater", "new:7", "--stage", "reward", "--to", "vllm"], "a reward model is exported to transformers alone"),
        (["--rater", "new:7", "--to", "peft"], "this run has no adapters, since all weights were trained"),
        (["--rater", "new:7", "--push", "me"], "--push 'me' is no name on the hub; give OWNER/NAME"),
    ]
    for words, says in cases:
        fails("export", run, *words, "--out", out, says=says)
    fails("export", run / "base", "--rater", "new:7", "--out", out, says="this model knows no raters")
    fails("export", tmp_path / "nothing", "--rater", "new:7", "--out", out, says="does not exist")
    fails("export", run / "reward", "--rater", "new:7", "--out", out, says="holds a reward model, a policy is needed")
    fails("export", text_run, "--rater", "ann", "--rater", "bob", "--stage", "reward", "--mean", "--out", out, says="leave out --mean")
    assert not out.exists()


def test_a_missing_stage_is_named(run, tmp_path):
    shutil.copytree(run / "policy", tmp_path / "run" / "policy")
    fails("export", tmp_path / "run", "--rater", "new:7", "--stage", "reward", says="has the stage policy alone, and reward is needed")


def test_a_folder_is_never_overwritten(run, tmp_path):
    (tmp_path / "out").mkdir()
    fails("export", run, "--rater", "new:7", "--out", tmp_path / "out", says="exists and is never overwritten")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_template_that_cannot_be_put_alike_is_refused(tmp_path):
    """One that says when it was asked is another at every look."""
    folder = save_case(CASES["qwen 2"], tmp_path / "lm")
    asked = asked_of(folder)
    asked.renderer.tokenizer.chat_template = "{{ 'a' if rater is defined else 'b' }}" + asked.renderer.tokenizer.chat_template
    with pytest.raises(UserError, match="chat template cannot be exported with its raters"):
        export_policy(asked, [asked.pool.null()], 0)


def test_without_a_network_an_upload_is_one_sentence(run, tmp_path):
    result = invoke("export", run, "--rater", "new:7", "--out", tmp_path / "out", "--push", "me/mine")
    assert result.exit_code == 2 and "me/mine could not be uploaded" in result.stderr and "is whole" in result.stderr
    assert "Traceback" not in result.stderr and (tmp_path / "out" / "model.safetensors").is_file()


def test_who_is_dropped_leaves_exports_too(tmp_path):
    root = save_run(tmp_path / "tiny", "embedding")
    for name, rater in (("with", "ann"), ("without", "bob")):
        succeeds("export", root, "--rater", rater, "--out", root / "export" / name)
    dropped = raterhf.drop_raters(root, "ann")
    assert [path.name for path in (root / "export").iterdir()] == ["without"]
    assert any("an export that answered as them" in line for line in dropped.removed)
    assert any("uploaded elsewhere" in line for line in dropped.left)
