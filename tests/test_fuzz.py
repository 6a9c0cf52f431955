"""Damaged files and odd arguments, thousands of them, seeded: every one ends in exit code 0, 2 or 3 with one message, never in a traceback.

Each case is a function of its kind and number, which a failure names. The quick tests take the first cases of each kind, `make test-slow`
the others.
"""

import json
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mutations import damaged_bytes, damaged_text, damaged_value, json_lines, odd
from small_run import RECIPE, invoke

from raterhf.recipe_reader import shipped

SECONDS = 60  # after which a case counts as hanging
MEMORY = 16 * 2**30  # beside what the process has
KINDS = {
    "comparisons": [{"prompt": "A die?", "chosen": "1", "rejected": str(i), "rater_id": f"r{i % 3}"} for i in range(2, 8)],
    "ratings": [{"prompt": "A die?", "response": str(i), "rating": i, "rater_id": f"r{i % 2}"} for i in range(6)],
    "demonstrations": [
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": str(i), "rater_id": i % 3, "split": "x"} for i in range(6)
    ],
    "raters": [{"rater_id": f"r{i}", "persona": "p", "group": None, "split": "train"} for i in range(3)],
}
Case = Callable[[Random, Path], list[str]]


@pytest.fixture(autouse=True)
def bounds(tmp_path, monkeypatch) -> Iterator[None]:
    """In a folder of its own, within time and memory."""
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        resource.setrlimit(resource.RLIMIT_AS, (int(file.read().split()[0]) * resource.getpagesize() + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def hanging(*_: object) -> None:
    raise AssertionError(f"no end after {SECONDS} s")


def check_cases(kind: str, numbers: Sequence[int], case: Case, folder: Path) -> None:
    """Run the cases; report all that broke the rule."""
    broken = []
    for number in numbers:
        rng, place = Random(f"{kind}:{number}"), folder / f"{kind}-{number}"
        place.mkdir()
        args = case(rng, place)
        before = signal.signal(signal.SIGALRM, hanging)
        signal.alarm(SECONDS)
        try:
            result = invoke(*args)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        if why := fault(args, result):
            broken.append(f"{kind}:{number} {args}: {why}")
        shutil.rmtree(place, ignore_errors=True)
    assert not broken, f"{len(broken)} of {len(numbers)} cases:\n" + "\n".join(broken[:20])


def fault(args: list[str], result) -> str:
    """What a case did that no case may do."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        last = result.exc_info[2]
        while last.tb_next is not None:
            last = last.tb_next
        return f"{type(result.exception).__name__}: {str(result.exception)[:200]} in {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
    if result.exit_code not in (0, 2, 3):
        return f"exit code {result.exit_code}"
    messages = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    if len(messages) != (result.exit_code == 2):
        return f"exit code {result.exit_code} with {len(messages)} errors: {result.stderr[:200]!r}"
    if "Traceback" in result.output and "--debug" not in args:
        return "a traceback"
    if found := re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.output):
        return f"a control character {found[0]!r}"
    return ""


# Data files


def csv_text(rows: list[dict]) -> str:
    names = list(rows[0])
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]) + "\n"


def odd_column(rng: Random, n: int) -> pa.Array:
    """A parquet column of some type, whole or with bits that no writer would write."""
    raw = pa.array([rng.randint(-(2**62), 2**62) for _ in range(n)], pa.int64())
    text = pa.array([rng.randbytes(3) for _ in range(n)], pa.binary())
    return rng.choice([
        lambda: raw, lambda: text, lambda: raw.cast(pa.timestamp("us")), lambda: raw.cast(pa.timestamp("ns", tz="No/Where")),
        lambda: raw.cast(pa.duration("s")), lambda: pa.Array.from_buffers(pa.string(), n, text.buffers()),
        lambda: pa.array([rng.randint(-(2**31), 2**31 - 1) for _ in range(n)], pa.int32()).cast(pa.date32()),
        lambda: pa.array([[{"role": "user", "content": "x"}]] * n), lambda: pa.array(["a", None] * n, pa.string())[:n],
        lambda: pa.array(["a"] * n).dictionary_encode(), lambda: pa.nulls(n), lambda: pa.array([1.5] * n, pa.float16()),
        lambda: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())), lambda: pa.array([True] * n),
    ])()  # fmt: skip


def data_case(rng: Random, place: Path) -> list[str]:
    kind, form = rng.choice(list(KINDS)), rng.choice(["jsonl", "csv", "parquet"])
    rows, path = KINDS[kind], place / f"{kind}.{form}"
    if form == "jsonl":
        data = json_lines(rows)
        path.write_bytes(damaged_bytes(data, rng) if rng.random() < 0.4 else json_lines([damaged_value(row, rng) for row in rows]))
    elif form == "csv":
        text = csv_text(rows)
        data = damaged_text(text, rng).encode("utf-8", "surrogatepass") if rng.random() < 0.5 else damaged_bytes(text.encode(), rng)
        path.write_bytes(data)
    else:
        columns = [(name, pa.array([row[name] for row in rows])) for name in rows[0]]
        if rng.random() < 0.7:
            columns.append((rng.choice([*rows[0], "more", "[/b]", "\x1b[0m", ""]), odd_column(rng, len(rows))))
        if rng.random() < 0.4:
            columns = [(name, odd_column(rng, len(rows)) if rng.random() < 0.3 else column) for name, column in columns]
        pq.write_table(pa.Table.from_arrays([column for _, column in columns], names=[name for name, _ in columns]), path)
        if rng.random() < 0.5:
            path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    whole = place / "whole.jsonl"
    whole.write_bytes(json_lines(KINDS["comparisons"]))
    beside = ["--comparisons", str(whole)] if kind == "raters" or rng.random() < 0.2 else []
    return ["data", "check", f"--{kind}", str(path), *beside, *(["--json"] if rng.random() < 0.3 else [])]


# Recipes


def recipe_case(rng: Random, place: Path) -> list[str]:
    path, text = place / "recipe.yaml", rng.choice([RECIPE, *(file.read_text("utf-8") for file in shipped().values())])
    how = rng.randrange(5)
    if how == 0:
        path.write_bytes(damaged_bytes(text.encode(), rng))
    elif how == 1:
        path.write_bytes(damaged_text(text, rng).encode("utf-8", "surrogatepass"))
    else:
        value = yaml.safe_load(text)
        for _ in range(rng.randint(1, 2)):
            value = damaged_value(value, rng)
        path.write_text(json.dumps(value))  # JSON is YAML, more or less
    sections = ["policy", "data", "model", "raters", "base", "vanilla", "x"]
    keys = ["steps", "lr", "options", "options.choices", "held_out", "config", "rl.beta", "text_template", "path", ""]
    given = [f"{rng.choice(sections)}.{rng.choice(keys)}={str(odd(rng))[:60]}" for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    verb = rng.choice([["recipes", "check"], ["train", "--dry-run"], ["compare", "--dry-run"], ["data", "check"]])
    return [*verb, str(path), *given]


# Run folders


def run_case(run: Path) -> Case:
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())

    def case(rng: Random, place: Path) -> list[str]:
        folder, stage = place / "run", rng.choice(["policy", "reward", "sft", "base"])
        shutil.copytree(run, folder)
        path = folder / rng.choice([file for file in files if file.parts[0] == stage])
        how = rng.randrange(8)
        if how == 0:
            path.unlink()
        elif how == 1:
            path.unlink()
            path.symlink_to("/dev/zero") if rng.random() < 0.5 else path.mkdir()
        elif path.suffix == ".json" and how < 6:
            path.write_text(json.dumps(damaged_value(json.loads(path.read_text("utf-8")), rng)))
        elif path.suffix in (".json", ".yaml", ".md"):
            path.write_bytes(damaged_text(path.read_text("utf-8"), rng).encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        if stage == "reward":
            rows = place / "rows.jsonl"
            rows.write_bytes(json_lines([{"prompt": "Roll a die.", "completion": "1"}]))
            return ["score", str(folder), str(rows), "--raters", rng.choice(["new:3x", "all", "ann", "persona:sailor"])]
        asked = folder / stage if rng.random() < 0.5 or stage != "policy" else folder
        spec = "none" if stage == "base" else rng.choice(["new", "ann", "all", "new:7@south", "persona:sailor", "none"])
        return ["sample", str(asked), "--prompt", "Roll a die.", "--rater", spec, "--max-new-tokens", "2"]

    return case


# Arguments


def argument_case(run: Path) -> Case:
    def case(rng: Random, place: Path) -> list[str]:
        rows = place / "rows.jsonl"
        rows.write_bytes(json_lines([{"prompt": "Roll a die.", "completion": str(i)} for i in range(3)]))
        verbs: list[list[str]] = [
            ["sample", str(run), "--prompt", "Roll a die.", "--rater", "new", "-n", "1", "--seed", "0", "--temperature", "1",
             "--max-new-tokens", "2", "--group", "south"],
            ["score", str(run), str(rows), "--raters", "new:2x", "--seed", "1", "--dtype", "float32", "--out", str(place / "out.csv")],
            ["sample", str(run), "--prompts", str(rows), "--rater", "ann"],
            ["recipes", "keys", "policy"], ["recipes", "cp", "own", str(place / "own.yaml")], ["recipes", "ls"],
            ["data", "check", "--comparisons", str(rows)], ["data", "make", "nowhere", "--seed", "1", "--out", str(place / "world")],
            ["train", "none.yaml", "policy.beta=1"], ["compare", "none.yaml", "--controls", "all", "--seeds", "2"],
            ["probe", "none", "--probes", "dice", "-n", "4", "--questions", str(rows), "--out", str(place / "page")],
            ["bench", "score", "none", "--raters", "2", "--prompts", "1"], ["--version"],
        ]  # fmt: skip
        args = list(rng.choice(verbs))
        for _ in range(rng.randint(1, 3)):
            i, how = rng.randrange(len(args) or 1), rng.randrange(6)
            if how == 0 or not args:
                args = [*args[:i], *args[i + 1 :]]
            elif how == 1:
                args.append(args[i])
            elif how < 5 and i:
                args[i] = str(odd(rng))[:200].replace("\x00", "")
            else:
                args.insert(i, rng.choice(["--", "-", "--help", "--json", "--nothing", "-n", "--debug", "--out", "\x1b[31m"]))
        return args or ["--help"]

    return case


# Quick: the first cases of each kind. Slow: all of them.

QUICK = {"data": 40, "recipe": 40, "run": 8, "argument": 30}
FOUND = {"data": [460, 566, 678, 718, 770, 951]}  # cases that broke the rule once: rows are looked at before they are checked
ALL = {"data": 1200, "recipe": 800, "run": 250, "argument": 500}


def cases(kind: str, run: Path) -> Case:
    return {"data": data_case, "recipe": recipe_case, "run": run_case(run), "argument": argument_case(run)}[kind]


@pytest.mark.parametrize("kind", QUICK)
def test_the_first_cases_end_well(kind, run, tmp_path):
    check_cases(kind, [*range(QUICK[kind]), *FOUND.get(kind, [])], cases(kind, run), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
def test_all_cases_end_well(kind, run, tmp_path):
    check_cases(kind, range(QUICK[kind], ALL[kind]), cases(kind, run), tmp_path)
