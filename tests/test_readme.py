"""Every command of the README runs: trainings as dry runs, the rest on a small run folder in the place of runs/dice."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from small_run import save_run
from typer.testing import CliRunner

from raterhf.cli.main import app

ROOT = Path(__file__).parents[1]
BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S))
COMMANDS = [shlex.split(line, comments=True) for line in BLOCKS.splitlines() if line.startswith("raterhf ")]
TARGETS = [line.split()[1] for line in BLOCKS.splitlines() if line.startswith("make ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A checkout of data and recipes, with a run folder of untrained models."""
    place = tmp_path_factory.mktemp("checkout")
    for name in ("data", "recipes"):
        shutil.copytree(ROOT / name, place / name)
    save_run(place / "runs" / "dice", "embedding")
    rows = [{"prompt": "Roll a die.", "completion": str(i)} for i in range(1, 7)]
    (place / "answers.csv").write_text("prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in rows))
    return place


def test_the_readme_opens_with_two_commands():
    assert TARGETS == ["demo", "test"]
    assert {command[1] for command in COMMANDS} >= {"train", "sample", "score", "compare", "recipes", "data"}


def test_commands_run_in_order(place, monkeypatch):
    monkeypatch.chdir(place)
    for command in COMMANDS:
        less = {"train": ["--dry-run"], "compare": ["--dry-run"], "probe": ["--probes", "numbers", "-n", "20"]}
        result = CliRunner().invoke(app, command[1:] + less.get(command[1], []))
        # What untrained models say to a probe is no answer: exit code 3.
        assert result.exit_code == (3 if command[1] == "probe" else 0), (command, result.output)
        if command[1] == "sample":
            rows = [json.loads(line) for line in result.stdout.splitlines()]
            assert rows and all(row["prompt"] for row in rows)
