"""Before any test imports them: no network, no progress bars of the Hugging Face libraries, and threads that sleep while they wait."""

import json
import os
import shutil
from pathlib import Path

import pytest

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "passive",
}


@pytest.fixture(scope="session", autouse=True)
def shown_log():
    """As on the command line, whose messages tests read from stdout."""
    from raterhf.log import show_log

    show_log()


@pytest.fixture(scope="module")
def one_thread():
    """Where results are compared to the bit, or many small operations would wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    from small_run import save_run

    return save_run(tmp_path_factory.mktemp("runs") / "tiny", "embedding")


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    from small_run import save_run

    return save_run(tmp_path_factory.mktemp("text_runs") / "tiny", "text")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A real chat model: the folder that `make smollm2` writes, or that the environment variable SMOLLM2 names."""
    folder = Path(os.environ.get("SMOLLM2") or Path(__file__).parents[1] / "smollm2")
    if not (folder / "config.json").is_file():
        pytest.skip(f"{folder} is not there; `make smollm2` writes it")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A sentence encoder: the folder that `make minilm` writes, or that the environment variable MINILM names."""
    folder = Path(os.environ.get("MINILM") or Path(__file__).parents[1] / "minilm")
    if not (folder / "config.json").is_file():
        pytest.skip(f"{folder} is not there; `make minilm` writes it")
    return folder


@pytest.fixture(scope="session")
def moments() -> Path:
    """Answers of real people, which the project does not ship."""
    file = Path(__file__).parents[2] / "shared" / "data" / "moments" / "answers.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    return file


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({"prompt": "Roll a die.", "completion": str(i)}) + "\n" for i in range(1, 6)))
    return path


@pytest.fixture
def damaged(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "damaged"))


@pytest.fixture
def write(tmp_path):
    """write(name, rows) -> path; rows are dicts (JSONL, CSV by suffix) or the file's text or bytes."""

    import pandas as pd

    def write(name: str, rows) -> str:
        path = tmp_path / name
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        elif isinstance(rows, str):
            path.write_text(rows, encoding="utf-8", newline="")
        elif name.endswith(".csv"):
            pd.DataFrame(rows).to_csv(path, index=False)
        elif name.endswith(".parquet"):
            pd.DataFrame(rows).to_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write
