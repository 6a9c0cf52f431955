"""The main figures of a comparison as small tables, policies down, in the terminal and on the report's first screen."""

from raterhf.reports.page import find, find_interval, number
from raterhf.reports.style import policy_name
from raterhf.terminal import show_table

# kind of comparison -> figures of its policies and of its reward models, and the value of each that is best
WORLD = {"etv": "0", "mi_ratio": "1", "c2st_auc": "0.5", "reward_gold": "high", "reward_proxy": "high", "valid": "1"}
OWN_DATA = {"top_share": "people's", "vendi_ratio": "1", "energy": "0", "nats": "people's", "repeated": "people's"}
RATED = {"rating": "high", "effective_items": "people's", "top_25": "people's", "tv": "0", "etv": "0", "new": ""}
ANSWERS = {
    "same_author_trees": "people's",
    "same_author_logistic": "people's",
    "energy": "people's",
    "near_copies": "people's",
    "nats": "people's",
}
DISCUSSIONS = {"etv": "0", "mi_ratio": "1", "joint_tv": "0", "c2st_auc": "0.5", "vote_nll": "low", "vote_accuracy": "high", "valid": "1"}
TRAININGS = {"updates": "", "seconds": "low", "peak_mib": "low"}
REWARD_MODELS = {"accuracy": "high", "accuracy_new_statement": "high", "nll": "low", "flip_rate": "high"}


def summary_rows(metrics: dict, wanted: dict[str, str], kind: str = "policies") -> dict:
    """`columns` (figure, best) that anything of the kind has, and `rows` (name, [(value, interval)]) of all that have a figure.

    The learned reward is left out where the gold reward is known.
    """
    measured = {name: row for name, row in (metrics.get(kind) or {}).items() if any((row or {}).get(f) is not None for f in wanted)}
    columns = {f: best for f, best in wanted.items() if any(row.get(f) is not None for row in measured.values())}
    if "reward_gold" in columns:
        columns.pop("reward_proxy", None)
    rows = [(n, [(find(metrics, kind, n, f), find_interval(metrics, "intervals", kind, n, f)) for f in columns]) for n in measured]
    return {"columns": list(columns.items()), "rows": rows}


def print_summary(metrics: dict, wanted: dict[str, str]) -> None:
    """The tables of policies, of reward models and of what trainings took, those that have a row; all figures, with their intervals, are on
    the page."""
    tables = (("policies", "policies", wanted), ("reward models", "reward_models", REWARD_MODELS), ("trainings", "trainings", TRAININGS))
    for title, kind, shown in tables:
        found = summary_rows(metrics, shown, kind)
        if not found["rows"]:
            continue
        rows = [
            [policy_name(name) if kind == "policies" else name, *("–" if v is None else number(v) for v, _ in row)]
            for name, row in found["rows"]
        ]
        names, best = zip(*found["columns"])
        show_table(["", *names], rows, [""], title, ["best", *best])
