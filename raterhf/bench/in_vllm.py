"""A program for a Python that has vLLM, which need not have raterhf: it samples as `bench lm` tells it to, to be timed beside ours.

    python in_vllm.py FOLDER DTYPE TOKENS

Its standard input is lines: a number of answers to each prompt, and the path of a safetensors file with tensors "0", "1", ...: the token
ids [T] or the input embeddings [T, d] of a prompt each. It answers `done` when TOKENS tokens were drawn for every answer, and `ready` once
it has loaded the model in FOLDER.
"""

import os
import sys

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}


def main(folder: str, dtype: str, tokens: int) -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    from safetensors.torch import load_file
    from vllm import LLM, SamplingParams

    llm = LLM(folder, dtype=dtype, enable_prompt_embeds=True, enforce_eager=True, max_model_len=1024, disable_log_stats=True)
    print("ready", file=told, flush=True)
    for line in sys.stdin:
        each, file = line.rstrip("\n").split(" ", 1)
        given = load_file(file)
        prompts = [given[str(i)] for i in range(len(given))]
        asked = [{"prompt_embeds": p} if p.is_floating_point() else {"prompt_token_ids": p.tolist()} for p in prompts]
        llm.reset_prefix_cache()  # or what was read when the same was asked before would not be read again
        said = llm.generate(asked, SamplingParams(n=int(each), max_tokens=tokens, ignore_eos=True, detokenize=False), use_tqdm=False)
        drawn = [len(one.token_ids) for answers in said for one in answers.outputs]
        assert drawn == [tokens] * (int(each) * len(prompts)), drawn
        print("done", file=told, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
