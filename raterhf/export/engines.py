"""What vLLM and llama.cpp need beside a transformers folder: an example that asks it, or the commands that convert it."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from raterhf.export.card import literal
from raterhf.export.policy import ExportedPolicy
from raterhf.io import write_text

CLIENT = "vllm_client.py"
VLLM = '''\
"""Asks this folder in vLLM: `python vllm_client.py`. The same rater over HTTP, after `vllm serve FOLDER`:

    curl localhost:8000/v1/chat/completions -H "Content-Type: application/json" -d {request}
"""

from pathlib import Path

from vllm import LLM

if __name__ == "__main__":
    llm = LLM(str(Path(__file__).parent))
    sampling = llm.get_default_sampling_params()  # of generation_config.json
    sampling.n, sampling.max_tokens = 5, {tokens}{never}
    asked = [{{"role": "user", "content": "Say something."}}]
    for answer in llm.chat(asked, sampling, chat_template_kwargs={{"rater": {rater}}})[0].outputs:
        print(answer.text)
'''
NEVER = """
    # Raters' tokens are read, and would be said: vLLM reads no suppress_tokens.
    sampling.allowed_token_ids = list(range({known}))"""


def _request(rater: str) -> str:
    """The body of a request to a server, as a word of the shell."""
    body = {"messages": [{"role": "user", "content": "Say something."}], "chat_template_kwargs": {"rater": rater}}
    return shlex.quote(json.dumps(body, ensure_ascii=False))


def for_vllm(place: Path, rater: str, made: ExportedPolicy) -> list[str]:
    """Write the client; returns the section of the card."""
    settings, said = made.model.generation_config, made.unsaid
    assert settings is not None  # given by `export_policy`
    never = NEVER.format(known=min(settings.suppress_tokens)) if said is not None and said.share is None else ""
    request = _request(rater).replace("\\", "\\\\")  # it stands in a docstring
    client = VLLM.format(request=request, tokens=settings.max_new_tokens, rater=literal(rater), never=never)
    write_text(place / CLIENT, client)
    return [f"## vLLM\n\nvLLM loads this folder as it is; `{CLIENT}` asks it, in Python and over HTTP."]


def for_llamacpp(place: Path, rater: str, made: ExportedPolicy) -> list[str]:
    """The section of the card: llama.cpp reads GGUF, which its own script makes of this folder."""
    return [
        "## llama.cpp\n\nIt reads GGUF files; the converter in llama.cpp's repository makes one of this folder:\n\n```bash\n"
        "python convert_hf_to_gguf.py . --outfile raters.gguf\nllama-server -m raters.gguf --jinja\n"
        f'curl localhost:8080/v1/chat/completions -H "Content-Type: application/json" -d {_request(rater)}\n```'
    ]


# What a folder is written for -> what else it gets.
SERVERS: dict[str, Callable[[Path, str, ExportedPolicy], list[str]]] = {"vllm": for_vllm, "llamacpp": for_llamacpp}
