"""vLLM beside our sampler, in a Python of its own that has it (`in_vllm.py` runs there); for `raterhf bench lm`."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from raterhf.errors import UserError

PROGRAM = Path(__file__).with_name("in_vllm.py")


class Vllm:
    """A running vLLM that draws a set number of tokens after each prompt."""

    def __init__(self, running: subprocess.Popen, said: Path):
        self.running, self.said = running, said

    def wait(self, word: str) -> None:
        """Until it says this word. Raises UserError where it ends instead."""
        answer = self.running.stdout.readline().strip()  # type: ignore[union-attr]  # both are pipes
        if answer != word:
            last = " ".join(self.said.read_text("utf-8", "replace").split("\n")[-8:]).strip()
            raise UserError(f"vLLM ended before it was {word}: {last[-600:]}; see that `PYTHON -c 'import vllm'` works")

    def sample(self, file: Path, each: int = 1) -> None:
        """So many answers to each prompt in a file that `write_prompts` wrote."""
        print(each, file, file=self.running.stdin, flush=True)
        self.wait("done")


def write_prompts(file: Path, prompts: Sequence[Tensor]) -> Path:
    """Token ids [T] or input embeddings [T, d] of each prompt."""
    save_file({str(i): prompt.detach().cpu().contiguous() for i, prompt in enumerate(prompts)}, file)
    return file


def _settings() -> dict[str, str]:
    """This environment without paths to its packages; on a CPU vLLM has as many threads as torch here, and a gigabyte of keys."""
    cores = sorted(os.sched_getaffinity(0))[: torch.get_num_threads()] if hasattr(os, "sched_getaffinity") else []
    bound = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)) or "auto", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return bound | os.environ | {"PYTHONPATH": ""}


@contextmanager
def started(python: str, folder: Path, dtype: torch.dtype, tokens: int) -> Iterator[Vllm]:
    """vLLM with the model in a folder, loaded. Raises UserError where that Python is not there, or has no vLLM."""
    with tempfile.NamedTemporaryFile() as said:
        command = [python, "-c", PROGRAM.read_text("utf-8"), str(folder.resolve()), str(dtype).removeprefix("torch."), str(tokens)]
        pipe, away = subprocess.PIPE, tempfile.gettempdir()  # where no raterhf lies beside it
        try:
            running = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True, cwd=away, env=_settings())
        except OSError as error:
            raise UserError(f"--vllm {python}: {error.strerror}; give the Python of an environment that has vLLM") from error
        with running:
            try:
                vllm = Vllm(running, Path(said.name))
                vllm.wait("ready")
                yield vllm
            finally:
                running.stdin.close()  # type: ignore[union-attr]  # which ends it
                running.wait()
