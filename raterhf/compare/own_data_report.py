"""The report of a comparison on data of one's own: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

Sentences about the outcome are computed from the figures.
"""

from pathlib import Path

from raterhf.compare.report import POLICIES, REWARD_GLOSSARY, flatten, reward_table, sample_blocks
from raterhf.pages.page import find, inlined, number, page_template, write_page
from raterhf.pages.style import COLOURS
from raterhf.probes.page import sections

# probe and figure: a sentence for the values of all
SAID = {
    ("templates", "top_share"): "Of the answers to a prompt the opening said most takes {}",
    ("spanning", "vendi_ratio"): "The number of different answers in effect, over raters' own, is {}",
    ("spanning", "energy"): "The energy distance to raters' own answers, in embeddings, is {}",
}
WHO = {"population": "of raters", "vanilla": "with vanilla RLHF", "rater_new": "with fictitious raters"}
MODELS = {
    "rater": "with raters", "null": "for nobody in particular", "vanilla": "with vanilla's", "shuffled": "with IDs shuffled",
}  # fmt: skip


def write_own_report(metrics: dict, out: Path, samples: dict[str, list[dict]], drawn: dict[str, str]) -> Path:
    """Write the plots and report.html into `out`; returns the latter's path."""
    parts, drawn = sections(metrics["probes"], drawn)
    page = page_template("own_data.html.j2").render(
        name=find(metrics, "recipe", "name"), colours=COLOURS, plots=inlined(drawn), metrics=metrics, summary=summary(metrics),
        policies={name: POLICIES[name] for name in metrics["policies"]}, samples=sample_blocks(samples, ()),
        reward_table=reward_table(metrics), glossary=REWARD_GLOSSARY, recipe=flatten(metrics["recipe"]), **parts,
    )  # fmt: skip
    return write_page(out, drawn, page)


def summary(metrics: dict) -> list[str]:
    """What came out, in sentences; what was not measured is left out of them."""
    right = [(find(metrics, "reward_models", name, "accuracy"), how) for name, how in MODELS.items()]
    told = [f"{100 * value:.1f} % {how}" for value, how in right if value is not None]
    said = [f"Of comparisons kept from training the reward model is right on {', '.join(told)}."] if told else []
    for (probe, figure), sentence in SAID.items():
        values = [(find(metrics, "probes", probe, "subjects", name) or {}).get(figure) for name in WHO]
        told = [f"{number(value[0])} {how}" for value, how in zip(values, WHO.values()) if value and value[0] is not None]
        said += [sentence.format(", ".join(told)) + "."] if told else []
    return said
