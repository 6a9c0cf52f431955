"""What reaches the terminal: escapes and markup in data are text, colours are left out where asked, tables fold."""

import json
import sys

import pytest
from small_run import invoke, succeeds

from raterhf import terminal
from raterhf.bench import alarm, table
from raterhf.log import log
from raterhf.progress import Progress
from raterhf.reports.probe_table import print_probes
from raterhf.reports.summary_table import OWN_DATA, print_summary
from raterhf.terminal import printable, show_table

NASTY = "\x1b[31mred\x9b2J\x07‮\ud800[/b][red]:smile:"
SHOWN = "\\u001b[31mred\\u009b2J\\u0007\\u202e\\ud800[/b][red]:smile:"


def test_what_a_terminal_would_obey_is_text():
    assert printable(NASTY) == SHOWN
    assert printable("two\tcells\nnext line, café, 日本") == "two\tcells\nnext line, café, 日本"
    assert json.loads(printable(json.dumps(NASTY, ensure_ascii=False))) == NASTY


def test_names_in_data_are_neither_markup_nor_commands(write):
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y", "rater_id": f"[/b]\x1b[2J{i}", "[/i]\x1b[1m": 1} for i in range(2)]
    rows += [{"prompt": "p", "chosen": "x", "rejected": "y", "rater_id": "c"}]
    shown = succeeds("data", "check", "--comparisons", write("[bold]c.jsonl", rows))
    assert "[/b]\\u001b[2J0" in shown and "[/i]\\u001b[1m" in shown and "[bold]c.jsonl" in shown and "\x1b" not in shown
    result = invoke("data", "check", "--comparisons", write("d.jsonl", [row | {"chosen": "\x1b[31m"} | {"rejected": None} for row in rows]))
    assert result.exit_code == 2 and "\x1b" not in result.output
    result = invoke("train", "no\x1b[31m\udcff.yaml")
    assert result.exit_code == 2 and "no\\u001b[31m\\udcff.yaml does not exist" in result.stderr


def test_messages_and_progress_hold_no_commands(capsys):
    # Without the half of a character: pytest keeps messages as they were given, and its processes send each other UTF-8.
    nasty, shown = NASTY.replace("\ud800", ""), SHOWN.replace("\\ud800", "")
    log.warning(f"rater {nasty}")
    with Progress(nasty, 1) as progress:
        progress.advance(1, nasty)
    out, err = capsys.readouterr()
    assert f"rater {shown}" in out and err.count(shown) == 2 and "\x1b" not in out + err


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_where_asked(monkeypatch, name, value, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    show_table(["a"], [["b"]], head=["best"])
    assert terminal.alive(sys.stderr) and not terminal.plain() and "\x1b" in capsys.readouterr().out
    monkeypatch.setenv(name, value)
    assert terminal.plain() and terminal.alive(sys.stderr) == (name != "TERM")
    result = invoke("train", "none.yaml")
    assert "Error: recipe none.yaml does not exist" in result.stderr and "\x1b[31m" not in result.stderr


def squeezed(text: str) -> str:
    """Text without what folding and a table's lines put in."""
    return "".join(letter for letter in text if letter.isalnum() or letter in "[]%.,")


PROBES = {
    "policies": ["base", "vanilla", "rater_new"],
    "probes": {
        name: {"headline": "a_figure_of_it", "best": {"a_figure_of_it": 0.123}, "recovered": [0.5, 0.25, 0.75], "false_alarms": {},
               "policies": {m: {"a_figure_of_it": [0.111, 0.222, 0.333]} for m in ("base", "vanilla", "rater_new")}}
        for name in ("templates", "substitution")
    },
}  # fmt: skip
ROW = {
    "conditioning": "suffix", "raters": 64, "rung": "shared-attention", "seconds": 1.5, "low": 1.4, "high": 1.6, "timed": 5, "wanted": 9,
    "gain": 3.25, "scores_per_second": 12345.0, "useful_tokens_per_second": 67890.0, "mfu": 0.125, "padding": 0.5, "peak_mib": 777.0,
}  # fmt: skip
MACHINE = {"name": "A processor", "device": "cpu", "threads": 2, "dtype": "torch.float32", "matrix_product_flops": 2e9}
POLICIES = {"policies": {"vanilla": {"top_share": 0.25, "vendi_ratio": 0.75, "energy": 0.125}}}


def test_tables_fold_at_40_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    print_probes(PROBES)
    print_summary(POLICIES, OWN_DATA)
    table.print_rows({"machine": MACHINE, "rows": [ROW]})
    accuracies = [{"conditioning": "suffix", "updates": None, "seconds": 7.0, "seconds_per_update": 0.5, "best": 0.75, "last": 0.7}]
    table.print_accuracy({"recipe": "polis", "target": 0.755, "split": "test", "rows": accuracies})
    rates = {"distribution": "100 even answers", "halves": (0.01, 0.0, 0.02), "1 of the level": (0.03, 0.01, 0.05)}
    rates |= {f"{fall:g} of the level": (0.5, 0.4, 0.6) for fall in alarm.FALLS[1:]}
    rates |= {f"looks until {fall:g}": 2.0 for fall in alarm.FALLS[1:]}
    found = {"rows": [rates], "repeats": 10, "looks": 4, "nominal": 0.05, "settings": {"prompts": 4, "samples": 96, "level": 0.5}}
    alarm.print_alarms(found)
    shown = capsys.readouterr().out
    tables = [line for line in shown.splitlines() if not line.startswith("A processor")]
    assert max(map(len, tables)) <= 40 and "…" not in shown
    columns = squeezed_columns(shown)
    for cell in ("afigureofit", "0.111[0.222,0.333]", "substitution", "notreached", "3.0%[1.0%,5.0%]", "100evenanswers", "0.125"):
        assert any(cell in column for column in columns), cell


def squeezed_columns(shown: str) -> list[str]:
    """The text of each column of the tables, read downwards."""
    cells: dict[tuple[int, int], str] = {}
    part = 0
    for line in shown.splitlines():
        if "│" not in line and "┃" not in line:
            part += 1
            cells[part, 0] = cells.get((part, 0), "") + squeezed(line)
            continue
        for i, cell in enumerate(line.replace("┃", "│").split("│")):
            cells[part, i] = cells.get((part, i), "") + squeezed(cell)
    return list(cells.values())
