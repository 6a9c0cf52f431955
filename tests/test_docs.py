"""README and docs: every command is run or parsed, every block of code executed or compiled, every key and link is there, and the reference
pages are those of the code.

Trainings are dry runs, benchmarks are parsed, and the rest runs on a small run folder in the place of the runs that the pages speak of.
The commands of docs/results.md need runs of hours, so they are parsed too.
"""

import ast
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from exports import write_exports
from small_run import CONFIG, RECIPE, invoke, rows_of, save_run, succeeds
from typer.main import get_command

import raterhf
from raterhf.cli.main import app
from raterhf.models.checkpoint import load_pool
from raterhf.models.load import build_model, train_tokenizer
from raterhf.raters.answers import AnswerModel
from raterhf.raters.files import save_answer_model
from raterhf.raters.letters import fit_letters
from raterhf.recipe_reader import RENAMED, keys, parse_recipe

ROOT = Path(__file__).parents[1]
SITE = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] + sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
PAGES = [page for page in SITE if not page.startswith("docs/reference/")]
TEXT = {page: (ROOT / page).read_text("utf-8") for page in SITE}
KEYS = {key for key, _, _ in keys()}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
FILES = (".py", ".md", ".json", ".csv", ".yaml", ".safetensors")
RUNS = ("dice", "first", "mine", "jokes", "moments")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT[page], re.S)


def commands(page: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for block in blocks(page, "bash") for line in block.splitlines() if line.strip()]


def inline(page: str) -> list[str]:
    """What stands in code spans, blocks apart."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT[page], flags=re.S))


def parse(words: list[str]) -> None:
    """Raises where the verb, an option or a type is not one of ours."""
    assert words[0] == "raterhf", words
    command, rest = get_command(app), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    if rest:
        command.make_context(" ".join(words), list(rest))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A checkout of data and recipes, with run folders of untrained models, and the files that a reader is told to write."""
    for name in ("data", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name)
    save_run(tmp_path / "runs" / RUNS[0], "embedding")
    for name in RUNS[1:]:
        shutil.copytree(tmp_path / "runs" / RUNS[0], tmp_path / "runs" / name)
    known_by_answers(tmp_path / "runs" / "moments")
    (tmp_path / "diary.csv").write_text("prompt,completion\nWhat made you happy?,my cat\nWhat made you happy?,a walk\n")
    (tmp_path / "answers.csv").write_text("prompt,completion\nRoll a die.,6\nRoll a die.,1\n")
    (tmp_path / "labels.csv").write_text("prompt,chosen,rejected\nRoll a die.,6,1\nRoll a die.,5,2\n")
    (tmp_path / "my_comparisons.csv").write_text(comparisons())
    (tmp_path / "spreadsheet.csv").write_text(spreadsheet())
    write_exports(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def known_by_answers(run: Path) -> None:
    """Make a run one of answers alone, whose raters are known by their letters."""
    for stage in ("reward", "policy"):
        shutil.rmtree(run / stage)
    letters, dim = fit_letters(["my cat", "a dog", "a walk"], 0), load_pool(run / "sft").dim
    size = letters.axes.shape[1]
    model = AnswerModel(np.zeros((1, size)), np.ones((size, dim)), np.ones(dim))
    save_answer_model(run / "sft", model, letters, [])


def comparisons(raters: int = 14) -> str:
    """Every rater judges two pairs, half of them the other way round."""
    rows = ["prompt,chosen,rejected,rater_id"]
    for r in range(raters):
        rows += [f"Name a {what}.,{'A cat.,A dog.' if r % 2 else 'A dog.,A cat.'},r{r}" for what in ("pet", "friend")]
    return "\n".join(rows) + "\n"


def spreadsheet(raters: int = 14) -> str:
    """Two answers and which is preferred, under other names than ours."""
    rows = ["Question,Answer A,Answer B,Preferred,Annotator", *(f"Name a pet.,A dog.,A cat.,{'AB'[r % 2]},r{r}" for r in range(raters))]
    return "\n".join(rows) + "\n"


# The README


def test_the_readme_is_short_and_opens_with_two_commands():
    assert len(TEXT["README.md"].split()) <= 600
    assert [words for words in commands("README.md") if words[0] == "make"] == [["make", "demo"], ["make", "test"]]
    verbs = {words[1] for words in commands("README.md") if words[0] == "raterhf"}
    assert verbs >= {"train", "sample", "score", "probe", "compare", "recipes", "data"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_it_links_to_is_there(page):
    """The site's own links are checked where it is built (`make docs`)."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT[page]) if "://" not in link]
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


# The reference


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_those_of_the_code():
    pages = reference().pages()
    stale = [name for name, text in pages.items() if TEXT.get(f"docs/reference/{name}") != text]
    assert stale == [], "run `python docs/reference.py` and commit what it writes"
    assert {f"docs/reference/{name}" for name in pages} == {page for page in SITE if page.startswith("docs/reference/")}


def test_reference_pages_hold_every_key_verb_and_figure():
    pages = reference().pages()
    assert [key for key in KEYS if f"| `{key}` |" not in pages["recipe.md"]] == []
    command = get_command(app)
    verbs = [f"{name} {inner}".strip() for name, one in command.commands.items() for inner in getattr(one, "commands", {"": 0})]
    assert [verb for verb in verbs if f"## raterhf {verb}\n" not in pages["cli.md"]] == []
    assert "| `--dtype STR` |" in pages["cli.md"] and "| `[KEY=VALUE]...` |" in pages["cli.md"]
    assert "| `etv` | The `tv` minus" in pages["metrics.md"] and "| `mi_ratio` | Mean mutual information" in pages["metrics.md"]
    assert "raters.safetensors" in pages["run-folder.md"]
    assert [name for name in raterhf.__all__ if f"raterhf.{name}" not in pages["python.md"]] == []


def test_a_table_keeps_its_columns():
    made = reference().table(["a", "b"], [["x|y", "1\n2"], ["`<p|q>`", "`z`"]])
    assert made.splitlines()[2:] == ["| x\\|y | 1 2 |", "| <code>&lt;p&#124;q&gt;</code> | `z` |"]


def test_the_site_has_every_page():
    found = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = re.findall(r"[\w/-]+\.md", str(found["nav"]))
    assert sorted(f"docs/{page}" for page in listed) == [page for page in SITE if page.startswith("docs/")]


def test_the_changelog_names_every_renamed_key():
    assert [old for old, new in RENAMED.items() if f"| `{old}` | `{new}` |" not in TEXT["CHANGELOG.md"]] == []


# Commands


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_run_in_order(page, place):
    for words in commands(page):
        run(words, only_parse=page == "docs/results.md")


def run(words: list[str], only_parse: bool) -> None:
    tool, *rest = words
    if tool == "make":
        assert re.search(rf"(?m)^{rest[0]}:", (ROOT / "Makefile").read_text("utf-8")), words
    elif tool == "pip":
        assert rest == ["install", "-c", "constraints.txt", "."] and (ROOT / rest[2]).is_file()
    elif tool == "python":
        assert (ROOT / rest[0]).is_file(), words
    elif rest[0] in ("train", "compare"):
        succeeds(*rest, "--dry-run")
    elif only_parse or rest[0] == "bench" or (rest[0] == "explore" and "--static" not in rest):  # which serves until it is interrupted
        parse(words)
    else:
        result = invoke(*rest, *(["--probes", "numbers", "-n", "20"] if rest[0] == "probe" else []))
        # What untrained models say to a probe is no answer: exit code 3.
        assert result.exit_code == (3 if rest[0] == "probe" else 0), (words, result.output)
        if rest[0] == "sample":
            assert all(row["prompt"] for row in rows_of(result.stdout))


@pytest.mark.parametrize("page", SITE)
def test_commands_in_the_text_parse(page):
    """And every recipe key that is named exists."""
    spans = inline(page)
    if page != "CHANGELOG.md":  # which names old keys and options too
        for span in spans:
            if span.startswith("raterhf ") and "VERB" not in span:
                parse(shlex.split(span))
        named = [span.partition("=")[0].partition(":")[0] for span in spans if span.partition(".")[0] in SECTIONS]
        named = [key for key in named if re.fullmatch(r"[a-z]+\.[a-z_]+", key) and not key.endswith(FILES)]
        assert [key for key in named if key not in KEYS] == []
    makes = [span.split()[1] for span in spans if re.match(r"make \w", span)]
    assert [name for name in makes if not re.search(rf"(?m)^{name}:", (ROOT / "Makefile").read_text("utf-8"))] == []


def test_a_command_that_is_wrong_does_not_parse():
    with pytest.raises(Exception, match="No such option"):
        parse(shlex.split("raterhf score runs/dice answers.csv --raters new --own-noise"))


# Blocks of recipes and of Python


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")])
def test_parts_of_recipes_are_valid(page):
    for block in blocks(page, "yaml"):
        whole = yaml.safe_load(RECIPE)
        for section, values in yaml.safe_load(block).items():
            whole[section] = (whole.get(section) or {}) | values
        parse_recipe(whole, page)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_blocks_of_python_run(page, place):
    """Those that train are compiled and their imports resolved."""
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        if "train()" in block:
            tree = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        exec(compile(tree, page, "exec"), {})


# Recipes to start from


def tiny(name: str) -> list[str]:
    """Overrides that make a recipe to start from train in seconds."""
    small = ["raters.tokens=2", "raters.components=[1]", "reward.batch_size=8", "reward.block=4", "policy.batch_size=8", "policy.prompts=2"]
    small += [
        "policy.raters=2",
        "policy.samples=4",
        "policy.options.choices=2",
        "policy.max_new_tokens=4",
        "monitor.samples=16",
        "monitor.every=2",
    ]
    return [f"name={name}", *(f"{stage}.steps=2" for stage in ("reward", "sft", "policy")), *small]


def test_own_annotators_from_a_csv_to_an_answer(place):
    succeeds("recipes", "cp", "own", "mine.yaml")
    assert Path("mine.yaml").read_text("utf-8").startswith("# raterhf compare mine.yaml\n# raterhf train mine.yaml policy.beta=0.5\n")
    assert "note" not in succeeds("recipes", "check", "mine.yaml")
    succeeds("train", "mine.yaml", *tiny("tiny"), "model.vocab_size=300")
    rows = rows_of(succeeds("sample", "runs/tiny", "--prompt", "Name a pet.", "-n", "3"))
    assert len({row["rater"] for row in rows}) == 3
    assert len(succeeds("score", "runs/tiny", "answers.csv", "--raters", "r3").splitlines()) == 2


@pytest.mark.parametrize("recipe", ["chat", "chat-lora"])
def test_conversations_with_a_chat_model(place, recipe):
    tokenizer = train_tokenizer(["Name a pet. A cat. A dog. user assistant"], 300)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    build_model(CONFIG, tokenizer, 64, 0).save_pretrained("chat_model")
    tokenizer.save_pretrained("chat_model")
    said = [line.split(",") for line in comparisons().splitlines()[1:]]
    row = '{"prompt": [{"role": "user", "content": "%s"}], "chosen": "%s", "rejected": "%s", "rater_id": "%s"}\n'
    Path("my_conversations.jsonl").write_text("".join(row % tuple(cells) for cells in said))
    succeeds("recipes", "cp", recipe, "talk.yaml")
    assert "note" not in succeeds("recipes", "check", "talk.yaml")
    succeeds("train", "talk.yaml", *tiny("tiny"), "model.path=chat_model", "model.max_length=64")
    Path("asked.jsonl").write_text('{"prompt": [{"role": "user", "content": "Name a pet."}]}\n')
    said = rows_of(succeeds("sample", "runs/tiny", "--prompts", "asked.jsonl", "-n", "2"))
    as_text = rows_of(succeeds("sample", "runs/tiny", "--prompt", "Name a pet.", "-n", "2"))
    assert [row["completion"] for row in as_text] == [row["completion"] for row in said] and len(said) == 2
