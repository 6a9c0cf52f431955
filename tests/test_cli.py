"""The command line: what the verbs print, and that a mistake is one message and exit code 2, never a traceback."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from small_run import CONFIG, fails, invoke, rows_of, succeeds

import raterhf
from raterhf.cli.common import set_environment
from raterhf.errors import UserError
from raterhf.recipe_reader import keys, load_recipe
from raterhf.worlds import make

ROOT = Path(__file__).parents[1]
DICE = str(ROOT / "recipes" / "dice.yaml")
COMPANION = str(ROOT / "recipes" / "companion.yaml")
# The environment without what conftest.py has set, so that the command line must see to it.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "TOKENIZERS_"))}


# Starting up


def test_help_loads_nothing_heavy():
    heavy = "[m for m in ('torch', 'transformers', 'pandas', 'numpy', 'pydantic', 'yaml') if m in sys.modules]"
    loaded = subprocess.run([sys.executable, "-c", f"import raterhf.cli.main, sys; print({heavy})"], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"
    subprocess.run([sys.executable, "-m", "raterhf", "--help"], capture_output=True, check=True)


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["sample", "--help"], ["recipes", "--help"], ["data", "make", "--help"]])
def test_help_of_verbs(args):
    assert "Usage:" in succeeds(*args)


def test_version():
    assert succeeds("--version").strip().count(".") == 2


def test_a_reader_that_has_gone_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "raterhf", "recipes", "keys", "data"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


@pytest.mark.parametrize(("arguments", "code"), [(["recipes", "keys", "data"], 0), (["--help"], 0), (["train", "absent.yaml"], 2)])
def test_closed_streams_are_no_error(arguments, code):
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = " ".join(map(shlex.quote, [sys.executable, "-m", "raterhf", *map(str, arguments)]))
        done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="writes to a full device")
@pytest.mark.parametrize("arguments", [["train", DICE, "--dry-run"], ["--help"], ["train", "--help"], ["train"]])
def test_a_full_stdout_is_one_message(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "raterhf", *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr, done.stderr


def test_a_mistake_leaves_the_process_with_code_2_and_no_traceback():
    done = subprocess.run([sys.executable, "-m", "raterhf", "train", "absent.yaml"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: recipe absent.yaml does not exist") and "Traceback" not in done.stderr


def test_a_verb_prints_its_result_and_nothing_else(run):
    done = subprocess.run([sys.executable, "-m", "raterhf", "sample", run, "--prompt", "Hi"], capture_output=True, text=True, env=PLAIN)
    assert done.stderr == "" and len(rows_of(done.stdout)) == 1


# train, recipes


def test_dry_run_prints_the_resolved_recipe():
    printed = yaml.safe_load(succeeds("train", DICE, "policy.beta=0.1", "--dry-run"))
    assert printed["policy"]["beta"] == 0.1 and printed["raters"]["noise"] == 1.0


def test_mistakes_in_a_recipe_name_the_key():
    fails("train", DICE, "policy.beat=1", says="did you mean `policy.beta`?")
    fails("train", DICE, "raters.encoding=telepathy", "--dry-run", says="`raters.encoding` is 'telepathy'")
    fails("train", DICE, "policy.beta", says="KEY=VALUE")


def test_an_interrupt_says_how_to_resume(monkeypatch):
    def interrupt(recipe):
        raise KeyboardInterrupt

    monkeypatch.setattr(raterhf, "train", interrupt)
    result = invoke("train", DICE)
    assert result.exit_code == 130
    assert "Run the same command again: it resumes." in result.stderr


def test_a_training_says_what_its_run_can_do(monkeypatch):
    monkeypatch.setattr(raterhf, "train", lambda recipe: None)
    assert "next: raterhf sample runs/dice " in succeeds("train", DICE)
    assert "next: raterhf score runs/dice FILE" in succeeds("train", DICE, "base=", "sft=", "policy=", "data.base=")


@pytest.mark.slow
def test_an_interrupted_training_keeps_its_state_and_says_so(tmp_path):
    (tmp_path / "base.csv").write_text("prompt,completion\n" + "Roll a die.,4\n" * 20)
    recipe = {
        "name": "long", "runs": str(tmp_path / "runs"), "data": {"base": str(tmp_path / "base.csv")},
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 48}, "base": {"steps": 100_000, "lr": 0.001, "save_every": 5},
    }  # fmt: skip
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "raterhf", "train", str(tmp_path / "long.yaml")]
    state = tmp_path / "runs" / "long" / "base" / "state" / "state.safetensors"
    for said in ("base: training", "resuming at step"):
        before = state.stat().st_mtime_ns if state.is_file() else None
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (not state.is_file() or state.stat().st_mtime_ns == before):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "it resumes" in err and said in out and state.is_file()


def test_the_network_is_used_only_where_a_recipe_names_the_hub(tmp_path, monkeypatch):
    def offline(*overrides: str, **env: str) -> str | None:
        monkeypatch.setattr(os, "environ", env)
        set_environment(load_recipe(DICE, overrides))
        return os.environ.get("HF_HUB_OFFLINE")

    monkeypatch.chdir(ROOT)
    assert offline() == offline(f"model.path={tmp_path}") == "1"
    assert offline("model.path=org/model") == offline("data.ratings=org/ratings")
    assert offline("model.path=org/model") is None
    assert offline("model.path=org/model", HF_HUB_OFFLINE="1") == "1"


def test_probe_leaves_the_network_on_for_a_model_that_can_only_be_on_the_hub(tmp_path, monkeypatch):
    asked = []

    def offline(*models: str) -> str | None:
        monkeypatch.setattr(os, "environ", {})
        monkeypatch.setattr(
            "raterhf.evaluation.probes.run.probe_models", lambda *_: asked.append(os.environ.get("HF_HUB_OFFLINE")) or fail()
        )
        fails("probe", *models, says="stop here")
        return asked.pop()

    def fail():
        raise UserError("stop here")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "a=b").mkdir()
    assert offline("org/model") == offline("base=org/model") == offline("org/other") == offline("a=b") == offline("runs") == "1"
    assert offline("base=hub/model") is None and offline("hub/model") is None and offline("org/model", "new=hub/model") is None


def test_recipes_are_listed_and_checked():
    assert any(line.split("\t")[0] == "dice" for line in succeeds("recipes", "ls").splitlines())
    assert "stages base, reward, sft, policy" in succeeds("recipes", "check", DICE)
    assert "note: data file nowhere.csv is not there" in succeeds("recipes", "check", DICE, "data.base=nowhere.csv")
    fails("recipes", "check", DICE, "nmae=x", says="did you mean `name`?")


def test_recipes_keys_explains_every_key():
    shown = succeeds("recipes", "keys", "policy")
    assert "policy.beta = 0.5\n    Weight of the reference's log-probability against the reward" in shown
    assert "reward.steps" not in shown and "reward.steps = required" in succeeds("recipes", "keys")
    assert all(about for _, _, about in keys())
    fails("recipes", "keys", "polizy", says="'polizy' is no key and no section; did you mean policy? the sections are name, seed")
    fails("recipes", "keys", "policy.bta", says="did you mean policy.beta?")
    assert succeeds("recipes", "keys", "policy.beta").startswith("policy.beta = 0.5\n")


def test_recipes_cp_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeeds("recipes", "cp", "dice")
    assert Path("dice.yaml").read_text("utf-8") == Path(DICE).read_text("utf-8").replace("recipes/dice.yaml", "dice.yaml")
    Path("dice.yaml").write_text("mine")
    fails("recipes", "cp", "dice", says="dice.yaml exists")
    fails("recipes", "cp", "dice", ".", says="dice.yaml exists")
    assert Path("dice.yaml").read_text() == "mine"
    succeeds("recipes", "cp", "dice", "other.yaml")
    assert "writes into runs/other" in succeeds("recipes", "check", "other.yaml")
    assert Path("other.yaml").read_text().startswith("# raterhf compare other.yaml\n")
    for name, folder in (("7.yaml", "runs/7"), ("my own.yaml", "runs/my-own"), ("no.yaml", "runs/no")):
        succeeds("recipes", "cp", "dice", name)
        assert f"writes into {folder}\n" in succeeds("recipes", "check", name)
    fails("recipes", "cp", "dice", "no/where.yaml", says="no folder no")
    fails("recipes", "cp", "dcie", says="there are: ")


# data


def test_data_make_gives_the_committed_bytes(tmp_path):
    succeeds("data", "make", "dice", "--seed", "0", "--out", tmp_path / "dice")
    # The card and its picture stand beside the files.
    committed = {path.name: path.read_bytes() for path in (ROOT / "data" / "dice").iterdir() if path.name not in ("README.md", "demo.png")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "dice").iterdir()} == committed


def test_data_make_destroys_nothing_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "world_files", lambda folder, seed, name: (folder / "base.csv").write_text(f"seed {seed}"))
    out = tmp_path / "new" / "dice"
    assert "base.csv" in succeeds("data", "make", "dice", "--out", out)
    assert "byte for byte" in succeeds("data", "make", "dice", "--out", out)
    fails("data", "make", "dice", "--seed", 1, "--out", out, says="holds other base.csv")
    assert (out / "base.csv").read_text() == "seed 0"
    succeeds("data", "make", "dice", "--seed", 1, "--out", out, "--force")
    assert (out / "base.csv").read_text() == "seed 1"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    fails("data", "make", "dice", "--out", tmp_path / "mine", says="is not empty")
    fails("data", "make", "dice", "--out", tmp_path / "mine" / "diary.txt", says="is a file")
    fails("data", "make", "cards", says="there are: companion, dice")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["base.csv", "diary.txt", "dice", "mine", "new"]


def test_absent_files_of_a_world_name_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    says = ("data/companion/comparisons.csv: no such file", "raterhf data make companion --out data/companion")
    fails("train", COMPANION, says=says)
    fails("data", "check", COMPANION, says=says)
    compared = invoke("compare", COMPANION)
    assert compared.exit_code == 2 and all(part in compared.stderr for part in says)
    assert not list(tmp_path.iterdir())
    elsewhere = [f"data.{kind}=made/{kind}.csv" for kind in ("comparisons", "ratings", "demonstrations", "base")]
    fails("data", "check", COMPANION, *elsewhere, says="raterhf data make companion --out made")
    fails("data", "check", COMPANION, "data.world=null", says="check the path")


@pytest.fixture
def labels(tmp_path):
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y", "rater_id": rater} for rater in ("r1", "r2")]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_check_describes_files_and_recipes(labels, tmp_path):
    figures = json.loads(succeeds("data", "check", labels, "--json"))
    who = figures["who"]
    assert (who["raters"], figures["what"]["comparisons"], who["labels"]) == (2, 2, 2)
    assert json.loads(succeeds("data", "check", "--comparisons", labels, "--json")) == figures
    shown = succeeds("data", "check", labels)
    assert "raters with one label" in shown and shown.index("Who") < shown.index("Verdict") < shown.index("There are 2 raters.")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: r\ndata: {{comparisons: {labels}, validate_share: 0}}\n")
    found = json.loads(succeeds("data", "check", recipe, "--json"))
    assert found["what"]["tokens"]["window"] == 96 and not found["who"]["accounted"]["validate"]
    found = json.loads(succeeds("data", "check", recipe, "data.validate_share=0.5", "--json"))
    assert len(found["who"]["accounted"]["validate"]) == 1


def test_data_check_maps_the_columns_of_a_file(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("question,better,worse,who\np,x,y,r1\np,x,y,r2\nq,x,y,r1\n")
    mapped = [
        f"data.columns.{ours}={theirs}"
        for ours, theirs in zip(("prompt", "chosen", "rejected", "rater_id"), ("question", "better", "worse", "who"))
    ]
    assert json.loads(succeeds("data", "check", path, *mapped, "--json"))["what"]["comparisons"] == 3
    fails("data", "check", path, says="cannot be told from its columns (question, better, worse, who)")
    fails("data", "check", path, "data.colums.prompt=question", says="data.columns")


def test_data_check_writes_a_page(tmp_path):
    """A page of text that a file holds: everything of it is text, and nothing is loaded from elsewhere."""
    path, page = tmp_path / "c.jsonl", tmp_path / "page" / "data.html"
    rows = [{"prompt": f"p{i}", "chosen": "x y", "rejected": "['<script>']", "rater_id": f"<b>{i % 3}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert str(page) in succeeds("data", "check", path, "--html", page)
    text = page.read_text("utf-8")
    assert text.count("<svg") == 3 and "&lt;b&gt;0" in text
    assert not any(part in text for part in ("<script", "<b>0", "src="))
    assert "://" not in text.replace("http://www.w3.org", "")
    assert "Mend this first" in text and "Every rater&#39;s labels" in text


def test_data_check_explains_mistakes(labels, tmp_path):
    fails("data", "check", says="give one of the two")
    fails("data", "check", DICE, "--comparisons", labels, says="give one of the two")
    fails("data", "check", DICE, labels, says="give one of the two")
    fails("data", "check", "--ratings", labels, says="no column response")
    fails("data", "check", "--comparisons", tmp_path / "no.csv", says="no such file")
    fails("data", "check", tmp_path / "no.csv", says="no such file")


def test_debug_shows_what_caused_an_error(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    plain = invoke("train", broken)
    assert plain.exit_code == 2 and "Traceback" not in plain.stderr
    shown = invoke("--debug", "train", broken)
    assert shown.exit_code == 2 and "Traceback" in shown.stderr and "yaml.parser.ParserError" in shown.stderr
    assert shown.stderr.startswith("Error: ")
