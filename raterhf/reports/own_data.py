"""The report of a comparison on data of one's own: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

Sentences about the outcome are computed from the figures.
"""

from pathlib import Path

from raterhf.reports.comparison import POLICIES, REWARD_GLOSSARY, flatten, reward_table, sample_blocks
from raterhf.reports.page import find, inlined, interval_text, number, page_template, write_page
from raterhf.reports.probes import sections
from raterhf.reports.style import COLOURS, policy_name
from raterhf.reports.summary import Groups, counted, joined
from raterhf.reports.summary_table import OWN_DATA, summary_rows

# probe and figure: a sentence for the values of those who come after it
SENTENCES = {
    ("templates", "top_share"): (
        "The most frequent opening takes this share of the answers to a prompt: {}.",
        ("population", "vanilla", "rater_new"),
    ),
    ("spanning", "vendi_ratio"): (
        "The effective number of different answers, divided by that of raters, is {} (1 is best).",
        ("vanilla", "rater_new"),
    ),
    ("spanning", "energy"): (
        "The distance from raters' own answers (energy distance of embeddings, minus its floor) is {} (0 is best).",
        ("vanilla", "rater_new"),
    ),
    ("fluency", "nats"): (
        "Read by the base model, an answer takes {} nats a token; many more than raters' own is gibberish.",
        ("population", "vanilla", "rater_new"),
    ),
}
WHO = {"population": "of raters", "vanilla": "with vanilla RLHF", "rater_new": "with fictitious raters"}
MIN_ANSWERS = 10  # raters who answered a prompt, at least, for their answers to stand beside the models'
NOT_KEPT = "Which reward model is right more often is not known, since no comparison was kept from training (data.held_out)."
NOT_SHARED = f"The models' answers are not compared with raters' own, since no prompt was answered by {MIN_ANSWERS} raters or more."
NO_GOLD = (
    "How good the answers are is not measured: outside a simulated world only the learned reward models know it. Read the samples "
    "below, and ask your own raters."
)
MODELS = {
    "rater": "with raters", "null": "for nobody in particular", "vanilla": "with vanilla's", "shuffled": "with IDs shuffled",
}  # fmt: skip


def write_own_report(metrics: dict, out: Path, samples: dict[str, list[dict]], drawn: dict[str, str]) -> Path:
    """Write the plots and report.html into `out`; returns the latter's path."""
    parts, drawn = sections(metrics["probes"], drawn)
    page = page_template("own_data.html.j2").render(
        name=find(metrics, "recipe", "name"), colours=COLOURS, plots=inlined(drawn), metrics=metrics, summary=summary(metrics),
        main=summary_rows(metrics, OWN_DATA),
        with_raters=with_raters(metrics),
        policies={name: POLICIES[name] for name in metrics["policies"]}, samples=sample_blocks(samples, ()),
        reward_table=reward_table(metrics), glossary=REWARD_GLOSSARY, recipe=flatten(metrics["recipe"]), **parts,
    )  # fmt: skip
    return write_page(out, drawn, page)


def summary(metrics: dict) -> Groups:
    """What was compared, what came back, and at what price, as far as it was measured; and why there is less of it."""
    groups = [
        ("What was compared", compared(metrics)),
        ("What came back", came_back(metrics)),
        ("Who predicts raters' choices", predicted(metrics)),
        ("At what price in quality", [NO_GOLD]),
    ]
    return [(heading, sentences) for heading, sentences in groups if sentences]


def compared(metrics: dict) -> list[str]:
    names = joined([policy_name(name) for name in metrics["policies"]])
    beside = ", beside the raters' own answers" if with_raters(metrics) else ""
    asked = counted(len(metrics["prompts"]), "prompt")
    return [f"Answers to {asked} that most raters answered, from models trained on the same labels{beside}: {names}."]


def came_back(metrics: dict) -> list[str]:
    found = [] if with_raters(metrics) else [NOT_SHARED]
    for (probe, figure), (sentence, names) in SENTENCES.items():
        values = [(find(metrics, "probes", probe, "policies", name) or {}).get(figure) for name in names]
        spans = [f"{number(value[0])} {interval_text(value[1:])} {WHO[name]}" for name, value in zip(names, values) if there(value)]
        found += [sentence.format(", ".join(spans))] if spans else []
    return found


def predicted(metrics: dict) -> list[str]:
    found = []
    for figure, number_of, of in (
        ("accuracy", "pairs", "comparisons kept from training"),
        ("accuracy_new_pairs", "new_pairs", "of these, whose two answers nobody judged in training,"),
    ):
        pairs = find(metrics, "reward_models", "rater", number_of)
        right = [(find(metrics, "reward_models", name, figure), how) for name, how in MODELS.items()]
        shares = [f"{100 * value:.1f} % {how}" for value, how in right if value is not None]
        found += [f"Of {pairs:.0f} {of} the reward model is right on {', '.join(shares)}."] if shares else []
    return found or [NOT_KEPT]


def with_raters(metrics: dict) -> bool:
    """Whether raters' own answers stand beside the models'."""
    return any(prompt["raters"] for prompt in metrics["prompts"].values())


def there(value: list | None) -> bool:
    return bool(value) and None not in value
