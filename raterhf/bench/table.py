"""The figures of a benchmark as a table in the terminal."""

from rich.box import SIMPLE_HEAD

from raterhf.log import log
from raterhf.reports.style import policy_name
from raterhf.terminal import show_table

COLUMNS = {
    "gain": ("gain", "{:.2f}x"), "scores_per_second": ("texts/s", "{:.4g}"), "useful_tokens_per_second": ("tokens/s", "{:.4g}"),
    "mfu": ("MFU", "{:.1%}"), "padding": ("padding", "{:.0%}"), "masked": ("masked", "{:.0%}"), "planned_gain": ("planned", "{:.1f}x"),
    "realised": ("realised", "{:.0%}"),
    "deviation": ("deviation", "{:.1e}"), "peak_mib": ("MiB", "{:.0f}"),
}  # fmt: skip


def print_rows(found: dict) -> None:
    """One table for each conditioning and number of raters, rungs down; gains are over the table's first rung, ± is half the range of
    repeats."""
    on = found["machine"]
    rate = on["matrix_product_flops"] / 1e9
    by = f", attention by {on['attention']}" if "attention" in on else ""
    log.info(f"{on['name']} ({on['device']}, {on['threads']} threads), {on['dtype']}, matrix product {rate:.0f} GFLOP/s{by}")
    for key in dict.fromkeys((row["conditioning"], row["raters"]) for row in found["rows"]):
        rows = [row for row in found["rows"] if (row["conditioning"], row["raters"]) == key]
        there = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
        scaled = "".join(f"; {r['rung']}: {r['timed']} of {r['wanted']} timed" for r in rows if r["timed"] < r["wanted"])
        cells = []
        for row in rows:
            seconds = f"{row['seconds']:.3g} ±{(row['high'] - row['low']) / 2 / row['seconds']:.0%}"
            metrics = ["" if row.get(name) is None else COLUMNS[name][1].format(row[name]) for name in there]
            cells.append([row["rung"], seconds, *metrics])
        columns, title = ["rung", "seconds", *(COLUMNS[name][0] for name in there)], f"conditioning {key[0]}, K = {key[1]}{scaled}"
        show_table(columns, cells, ["rung"], title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)


def print_accuracy(found: dict) -> None:
    """A row for each conditioning: when the accuracy was reached, and the best."""
    measured = f"of split {found['split']}" if found["split"] else "kept back"
    columns = {"updates": "{:.0f}", "seconds": "{:.0f}", "seconds_per_update": "{:.3g}", "best": "{:.4f}", "last": "{:.4f}"}
    rows = []
    for row in found["rows"]:
        missing = {"updates": "not reached", "seconds": ""}
        cells = [missing.get(c, "") if row.get(c) is None else shown.format(row[c]) for c, shown in columns.items()]
        rows.append([row["conditioning"], *cells])
    names = ["conditioning", *(name.replace("_", " ") for name in columns)]
    show_table(names, rows, ["conditioning"], f"{found['recipe']}: until {found['target']} of comparisons {measured} are right")


def print_lm(found: dict) -> None:
    """A table for each part."""
    on, work = found["machine"], found["workload"]
    log.info(
        f"{work['folder']} on {on['name']} ({on['device']}, {on['threads']} threads), {on['dtype']}; adapters of rank {work['rank']}, "
        f"batch {work['batch']}, {found['repeats']} repeats that take turns, {work['updates']} updates each"
    )
    columns = {"seconds": "{:.3g}", "times": "{:.2f}x", "tokens": "{:.0f}", "mib": "{:.0f}"}
    heads = {"times": "speed of the first", "mib": "MiB"}
    for part in dict.fromkeys(row["part"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["part"] == part]
        there = [name for name in columns if any(row.get(name) is not None for row in rows)]
        cells = []
        for row in rows:
            values = ["" if row.get(name) is None else columns[name].format(row[name]) for name in there]
            if "seconds" in row:
                values[0] += f" [{row['low']:.3g}, {row['high']:.3g}]"
            cells.append([row["what"], row["run"], *values])
        show_table(["what", "run", *(heads.get(name, name) for name in there)], cells, ["what", "run"], part)


def print_perplexity(found: dict) -> None:
    """A row for each model."""
    rows = [
        [policy_name(name), f"{row['perplexity']:.3f}", f"{row['ratio']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"]
        for name, row in found["rows"].items()
    ]
    title = f"{found['run']}: {found['windows']} windows of {found['tokens']} tokens, seed {found['seed']}"
    show_table(["model", "perplexity", "of the base model's"], rows, ["model"], title)
