"""The report of a comparison on data of one's own: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

Sentences about the outcome are computed from the figures.
"""

from pathlib import Path

from raterhf.reports.comparison import POLICIES, REWARD_GLOSSARY, flatten, reward_table, sample_blocks
from raterhf.reports.page import find, inlined, interval_text, number, page_template, write_page
from raterhf.reports.probes import sections
from raterhf.reports.style import COLOURS

# probe and figure: a sentence for the values of those who come after it
SAID = {
    ("templates", "top_share"): ("Of the answers to a prompt the opening said most takes {}.", ("population", "vanilla", "rater_new")),
    ("spanning", "vendi_ratio"): ("The number of different answers in effect, over raters' own, is {}.", ("vanilla", "rater_new")),
    ("spanning", "energy"): (
        "The energy distance to raters' own answers, in embeddings and less its floor, is {}.",
        ("vanilla", "rater_new"),
    ),
}
WHO = {"population": "of raters", "vanilla": "with vanilla RLHF", "rater_new": "with fictitious raters"}
MIN_ANSWERS = 10  # raters who answered a prompt, at least, for their answers to stand beside the models'
NOT_KEPT = "No comparison was kept from training (data.held_out), so that nothing tells which reward model is right more often."
NOT_SHARED = f"No prompt was answered by {MIN_ANSWERS} raters or more, so that what models say stands beside nobody's answers."
MODELS = {
    "rater": "with raters", "null": "for nobody in particular", "vanilla": "with vanilla's", "shuffled": "with IDs shuffled",
}  # fmt: skip


def write_own_report(metrics: dict, out: Path, samples: dict[str, list[dict]], drawn: dict[str, str]) -> Path:
    """Write the plots and report.html into `out`; returns the latter's path."""
    parts, drawn = sections(metrics["probes"], drawn)
    page = page_template("own_data.html.j2").render(
        name=find(metrics, "recipe", "name"), colours=COLOURS, plots=inlined(drawn), metrics=metrics, summary=summary(metrics),
        with_raters=with_raters(metrics),
        policies={name: POLICIES[name] for name in metrics["policies"]}, samples=sample_blocks(samples, ()),
        reward_table=reward_table(metrics), glossary=REWARD_GLOSSARY, recipe=flatten(metrics["recipe"]), **parts,
    )  # fmt: skip
    return write_page(out, drawn, page)


def summary(metrics: dict) -> list[str]:
    """What came out, in sentences; and why there is less of it, where nothing was kept back or too few raters share a prompt."""
    pairs = find(metrics, "reward_models", "rater", "pairs")
    right = [(find(metrics, "reward_models", name, "accuracy"), how) for name, how in MODELS.items()]
    told = [f"{100 * value:.1f} % {how}" for value, how in right if value is not None]
    said = [f"Of {pairs:.0f} comparisons kept from training the reward model is right on {', '.join(told)}."] if told else [NOT_KEPT]
    if not with_raters(metrics):
        said.append(NOT_SHARED)
    for (probe, figure), (sentence, names) in SAID.items():
        values = [(find(metrics, "probes", probe, "policies", name) or {}).get(figure) for name in names]
        spans = [f"{number(value[0])} {interval_text(value[1:])} {WHO[name]}" for name, value in zip(names, values) if there(value)]
        said += [sentence.format(", ".join(spans))] if spans else []
    return said


def with_raters(metrics: dict) -> bool:
    """Whether what raters said stands beside what models say."""
    return any(prompt["raters"] for prompt in metrics["prompts"].values())


def there(value: list | None) -> bool:
    return bool(value) and None not in value
