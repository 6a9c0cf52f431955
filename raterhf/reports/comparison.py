"""The report of a comparison: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

The page must suffice to understand what happened: every sentence about the outcome is
computed from the figures. Figures and policies that are absent or null read "not measured". It loads
nothing from outside, runs no script, and escapes all text, since prompts and completions are model output.
No figure is computed here, no sentence about the outcome made (summary.py), nothing drawn (comparison_plots.py, tradeoff.py).
"""

from pathlib import Path

import numpy as np

from raterhf.io import write_text
from raterhf.reports import bars, comparison_plots, frontier, tradeoff
from raterhf.reports.heat import off_diagonal
from raterhf.reports.page import find, find_interval, inlined, page_template, write_page
from raterhf.reports.probes import sections
from raterhf.reports.style import COLOURS, file_name
from raterhf.reports.summary import first_screen
from raterhf.reports.summary_table import WORLD, summary_rows

# group -> figure -> what it is, and a perfect sampler's value
GLOSSARY = {
    "quality": {
        "valid": ("The share of answers that are valid answers to the question.", "1"),
        "reward_gold": ("The mean quality of the answers on which all raters agree; only simulated worlds know it.", "high"),
        "reward_proxy": ("The mean reward that the learned reward model gives the answers.", "high"),
        "kl_to_base": ("How far the policy is from the base model: the KL divergence in nats a completion.", "no target"),
        "skill": (
            "The share that is foretold of what can be known of raters' unlabelled answers: (NLL_null − NLL) / (NLL_null − NLL_Bayes).",
            "1",
        ),
        "recall": ("The probability that the policy gives known raters' labelled answers; memorising raises it.", "no target"),
        "valid_novel": ("`valid` on wordings of the questions that were not in training.", "1"),
    },
    "marginal": {
        "tv": ("The total variation between answers and people's, ½ Σ |p − q|, where invalid answers are one more class.", "small"),
        "etv": ("The `tv` minus what the best learner would have from as many labels.", "0"),
        "entropy_ratio": ("The entropy of the answers divided by that of people's (Miller-Madow).", "1"),
        "coverage_ratio": ("The number of different answers divided by the number expected from people.", "1"),
        "top_share": ("The share of the most frequent answer to a question, mean over questions.", "people's"),
        "gamma": ("The exponent with which p ∝ q^gamma fits best; above 1 popular answers are exaggerated.", "1"),
        "etv_novel": ("`etv` on wordings of the questions that were not in training.", "0"),
        "tv_unrated": ("`tv` on questions that nobody rated.", "small"),
    },
    "coherence": {
        "mi": ("The mutual information, in nats, of two answers of one rater to questions of taste.", "people's"),
        "mi_ratio": ("`mi` divided by that of real raters.", "1"),
        "joint_tv": ("The `tv` of the joint distribution of two answers of one rater, minus its floor.", "0"),
        "kappa_taste": (
            "How often a rater asked again gives the same answer to a question of taste, corrected for chance (Fleiss).",
            "people's",
        ),
        "kappa_favourite": ("The same of favourite numbers.", "people's"),
        "kappa_dice": ("The same of dice and coins; at 1 they always fall alike.", "people's"),
        "c2st_auc": ("The AUC of a classifier that separates fictitious from real raters by all their answers; 0.5 is guessing.", "0.5"),
        "c2st_taste": ("The same by the answers to questions of taste alone.", "0.5"),
        "c2st_favourite": ("The same by the favourite numbers alone.", "0.5"),
        "copying": ("The share of fictitious raters nearer to a training rater than to as many others; 1 would be copies.", "0.5"),
    },
}
REWARD_GLOSSARY = {
    "accuracy": ("The share of comparisons in which the preferred answer has the higher reward.", "high"),
    "accuracy_new_pairs": ("The same on pairs of answers that nobody judged in training, where no memory of a pair helps.", "high"),
    "new_pairs": ("The number of these comparisons.", "many"),
    "nll": ("The negative log-likelihood of the labels, in nats a comparison.", "low"),
    "ece": ("The calibration error of the predicted preference probabilities.", "0"),
    "flip_rate": ("Where two raters disagree, how often the predicted preference changes with the rater.", "high"),
    "accuracy_worst_decile": ("The accuracy for the tenth of raters for whom it is lowest.", "high"),
    "heldout_accuracy": ("The accuracy for raters who were never trained on.", "high"),
    "pairs": ("The number of comparisons, ties among them, that these figures are of.", "many"),
}
# policy: what it is, in one line
POLICIES = {
    "base": "the model before any training on these labels",
    "sft_no_ids": "imitation of all raters' answers, rater unknown: has the mix of answers, not the quality",
    "sft": "imitation of each rater's answers under that rater's vector",
    "vanilla": "the usual three stages, no rater: imitation, one reward model, reinforcement learning",
    "vanilla_best_t": "vanilla sampled at the temperature that is best for it",
    "none": "the rater-conditioned policy asked as nobody in particular",
    "rater_known": "the rater-conditioned policy asked as the raters it was trained on",
    "rater_new": "the rater-conditioned policy asked as raters who never existed, a new one for each answer",
    "shuffled": "control: rater IDs shuffled within each question; should keep the mix and lose the person",
    "text_ids": "control: the rater's ID as literal text in the prompt",
    "text_new": "control: literal text IDs that were never used",
    "comparisons_only": "the rater-conditioned policy without demonstrations",
}
REWARD_MODELS = {
    "rater": "knows the rater",
    "null": "the same, asked as nobody in particular",
    "vanilla": "never saw a rater",
    "shuffled": "trained with IDs shuffled",
}
# kind of question: what the report calls it, in the report's order
KINDS = {"coin": "chance", "dice": "chance", "favourite": "favourite", "taste": "taste", "unrated": "unrated"}


def write_report(metrics: dict, out: Path, samples: dict[str, list[dict]] | None = None, probed: dict[str, str] | None = None) -> Path:
    """Write `out`/plots/*.svg, `out`/frontier.csv and `out`/report.html, each whole or not at all; returns the latter's path.

    samples: policy, or "population" -> rows {prompt, completion, rater}. probed: SVG texts of the probes.
    """
    parts, drawn = sections(
        metrics.get("probes") or {}, comparison_plots.draw(metrics) | tradeoff.draw(metrics) | frontier.draw(metrics) | (probed or {})
    )
    if find(metrics, "frontier", "points"):
        write_text(Path(out) / "frontier.csv", frontier.points_csv(metrics))
    return write_page(Path(out), drawn, render(metrics, inlined(drawn), samples or {}, parts))


def render(metrics, drawn, samples, parts):
    cards = question_cards(metrics)
    coherence = metrics.get("coherence") or {}
    return page_template("report.html.j2").render(
        name=find(metrics, "recipe", "name"),
        colours=COLOURS,
        summary=first_screen(metrics),
        main=summary_rows(metrics, WORLD),
        plots=drawn,
        tradeoff=tradeoff_facts(metrics),
        frontier=frontier.at_equal_gold(metrics),
        questions=[card for card in cards if card["group"] != "unrated"],
        unrated=[card for card in cards if card["group"] == "unrated"],
        peaks=peaks(metrics),
        class_key=class_key(metrics, coherence),
        mi_means=mi_means(coherence),
        samples=sample_blocks(samples),
        tables=policy_tables(metrics),
        policies=POLICIES,
        reward_table=reward_table(metrics),
        glossary={name: row for rows in (*GLOSSARY.values(), REWARD_GLOSSARY) for name, row in rows.items()},
        recipe=flatten(metrics.get("recipe") or {}),
        metrics=metrics,
        **parts,
    )


def tradeoff_facts(metrics):
    """What the caption of the trade-off plot says."""
    equal = metrics.get("equal_gold") or {}
    facts = {"sweeps": list(metrics.get("sweeps") or {}), "gold": equal.get("reward_gold")}
    facts |= {"gap": equal.get("difference_etv"), "span": find_interval(equal, "interval")}
    return facts | {policy: find(equal, policy, "etv") for policy in ("vanilla", "rater_new")}


def question_cards(metrics):
    """What a question's panel shows, in the order chance, favourites, taste, unrated."""
    order = list(dict.fromkeys(KINDS.values()))
    cards = []
    for key, question in (metrics.get("questions") or {}).items():
        rows = {policy: find(question, "policies", policy) or {} for policy in ("vanilla", "rater_new")}
        distance = "etv" if any(row.get("etv") is not None for row in rows.values()) else "tv"
        card = {"key": key, "group": KINDS[question["kind"]], "plot": file_name(f"question-{key}")}
        card["prompt"] = prompt_text(question.get("prompt") or "")
        card["figures"] = {
            policy: {figure: row[figure] for figure in (distance, "valid") if row.get(figure) is not None} for policy, row in rows.items()
        }
        cards.append(card)
    return sorted(cards, key=lambda card: order.index(card["group"]))


def prompt_text(prompt):
    """A prompt as one text; a conversation as `role: content` lines."""
    return prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)


def peaks(metrics):
    """(series, share of its most frequent answer, mean over rated questions): a collapse drives it to one."""
    rated = [q for q in (metrics.get("questions") or {}).values() if q["kind"] != "unrated"]
    means = []
    for name in bars.SERIES:
        tops = [p.max() for q in rated if (p := bars.shares(q, name)) is not None]
        if tops:
            means.append((name, float(np.mean(tops))))
    return means


def class_key(metrics, coherence):
    """The classes behind the colours of the coherence maps: (question, class names)."""
    if not coherence.get("heat"):
        return []
    return [(key, find(metrics, "questions", key, "classes") or []) for key in coherence["questions"]]


def mi_means(coherence):
    """(panel, mean mutual information over pairs of different questions)."""
    matrices = [(panel, find(coherence, "mi", panel)) for panel in comparison_plots.PANELS]
    return [(panel, float(np.nanmean(off_diagonal(m)))) for panel, m in matrices if m and len(m) > 1]


def sample_blocks(samples, expected=("population", "vanilla", "rater_new"), prompts=8, shown=6):
    """Completions by prompt and policy, equal ones counted, the most frequent first; of those expected also that there are none."""
    if not samples:
        return []
    columns = list(dict.fromkeys([*expected, *samples]))
    asked = dict.fromkeys(prompt_text(row["prompt"]) for rows in samples.values() for row in rows)
    blocks = []
    for prompt in list(asked)[:prompts]:
        cells = []
        for column in columns:
            rows = [row for row in samples.get(column) or [] if prompt_text(row["prompt"]) == prompt]
            raters = {}
            for row in rows:
                raters.setdefault(row["completion"], []).append(row.get("rater"))
            counted = sorted(raters.items(), key=lambda item: -len(item[1]))
            texts = [{"text": text, "count": len(who), "rater": who[0]} for text, who in counted[:shown]]
            cells.append({"policy": column, "total": len(rows), "different": len(raters), "texts": texts})
        blocks.append({"prompt": prompt, "cells": cells})
    return blocks


def policy_tables(metrics):
    """One table for each group of figures, policies down, figures across; those without a group come last."""
    policies = metrics.get("policies") or {}
    names = list(dict.fromkeys([*POLICIES, *policies]))
    known = {figure for rows in GLOSSARY.values() for figure in rows}
    other = sorted({figure for row in policies.values() for figure in row or {}} - known)
    tables = []
    for group, glossary in (GLOSSARY | ({"other": dict.fromkeys(other, ("", ""))} if other else {})).items():
        table = {
            "group": group,
            "columns": list(glossary),
            "perfect": [best for _, best in glossary.values()],
        }
        table |= {"real": [find(metrics, "real", figure) for figure in glossary]}
        tables.append(table | {"rows": cells(metrics, "policies", names, list(glossary))})
    return tables


def reward_table(metrics):
    models = metrics.get("reward_models") or {}
    other = {figure for row in models.values() for figure in row or {}} - set(REWARD_GLOSSARY)
    columns = [*REWARD_GLOSSARY, *sorted(other)]
    names = list(dict.fromkeys([*REWARD_MODELS, *models]))
    rows = cells(metrics, "reward_models", names, columns)
    return {"columns": columns, "about": REWARD_MODELS, "rows": rows}


def cells(metrics, kind, names, columns):
    """Rows (name, [(value, interval)]); the list is empty for a name that has no figure at all."""
    rows = []
    for name in names:
        values = [find(metrics, kind, name, figure) for figure in columns]
        intervals = [find_interval(metrics, "intervals", kind, name, figure) for figure in columns]
        measured = any(value is not None for value in values)
        rows.append((name, list(zip(values, intervals, strict=True)) if measured else []))
    return rows


def flatten(tree, path=""):
    """A nested dict as (dotted path, value) pairs, the form in which the command line overrides a recipe."""
    if not isinstance(tree, dict) or not tree:
        return [(path, tree)] if path else []
    start = f"{path}." if path else ""
    return [pair for key, value in tree.items() for pair in flatten(value, f"{start}{key}")]
