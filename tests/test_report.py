"""The report, from made-up figures shaped like real ones: its first screen, wording, escaping, missing figures."""

import html
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from raterhf.reports import bars, comparison, comparison_plots, summary
from raterhf.reports.page import number, write_page
from raterhf.reports.summary_table import WORLD, print_summary, summary_rows

HUES = ["red", "orange", "yellow", "green", "blue", "purple"]
TASTES = {
    "poem": ("Write me a poem.", ["haiku", "rhymed quatrain", "free verse", "limerick", "sonnet"]),
    "colour": ("Name a colour.", HUES),
    "season": ("Which season is best?", ["spring", "summer", "autumn", "winter"]),
    "music": ("What should I listen to?", ["jazz", "folk", "techno", "a string quartet"]),
    "tone": ("How do I turn down an invitation?", ["kindly, with a reason", "in three words", "with a joke"]),
    "pet": ("Which pet should I get?", ["cat", "dog", "fish", "no pet at all", "rabbit"]),
    "town": ("Where shall I live?", ["by the sea", "in the mountains", "in a large city"]),
}
# reward_gold, etv, mi_ratio of each policy
LEVELS = {
    "base": (-2.90, 0.31, 0.01), "sft_no_ids": (-0.52, 0.02, 0.00), "sft": (-0.47, 0.02, 0.84),
    "vanilla": (-0.24, 0.41, 0.00), "vanilla_best_t": (-0.38, 0.16, 0.00), "none": (-0.33, 0.22, 0.01),
    "rater_known": (-0.26, 0.03, 1.06), "rater_new": (-0.27, 0.04, 0.94), "shuffled": (-0.35, 0.07, 0.02),
    "text_ids": (-0.41, 0.17, 0.31), "text_new": (-0.44, 0.21, 0.09), "comparisons_only": (-0.36, 0.28, 0.05),
}  # fmt: skip
SWEEPS = {
    "vanilla": [(3, -0.47, 0.08), (1, -0.40, 0.18), (0.3, -0.30, 0.33), (0.1, -0.24, 0.41)],
    "rater_new": [(3, -0.42, 0.03), (1, -0.34, 0.03), (0.3, -0.27, 0.04), (0.1, -0.20, 0.09)],
    "none": [(3, -0.45, 0.05), (1, -0.39, 0.12), (0.3, -0.33, 0.22), (0.1, -0.29, 0.30)],
}


def fake_question(rng, kind, prompt, classes, distribution=None):
    classes = [str(c) for c in classes]
    chance = kind in ("coin", "dice")
    q = np.full(len(classes), 1 / len(classes)) if chance else rng.dirichlet(np.full(len(classes), 1.2))
    q = q if distribution is None else np.asarray(distribution, float)
    sharp = (rng.dirichlet(np.full(len(classes), 40.0)) if chance else q) ** 6
    vanilla, near = sharp / sharp.sum(), rng.dirichlet(q * 400 + 0.01) * 0.994
    if kind == "unrated":
        vanilla, near = (0.5 * vanilla + 0.5 * q) * 0.98, near * 0.97
    policies = {}
    for name, p in (("vanilla", vanilla), ("rater_new", near)):
        tv = 0.5 * float(np.abs(p - q).sum() + 1 - p.sum())
        policies[name] = {"p": p.tolist(), "tv": tv, "etv": tv - 0.02, "valid": float(p.sum())}
    return {
        "kind": kind,
        "prompt": prompt,
        "classes": classes,
        "population": q.tolist(),
        "policies": policies,
    }


def fake_questions():
    rng = np.random.default_rng(0)
    ten = np.array([2, 4, 12, 8, 9, 7, 33, 12, 8, 5]) / 100
    hundred = np.exp(-0.5 * ((np.arange(101) - 55) / 24) ** 2) * (1 + 6 * np.isin(np.arange(101) % 10, [7, 3]))
    hundred[[42, 50, 69, 100]] = [14, 10, 11, 9]
    pick = "Pick a random number from"
    questions = {
        "coin": fake_question(rng, "coin", "Flip a coin.", ["heads", "tails"]),
        "die": fake_question(rng, "dice", "Roll a die.", range(1, 7)),
        "spinner": fake_question(rng, "dice", "Spin the wheel of letters.", "ABCDEFGH"),
        "num10": fake_question(rng, "favourite", f"{pick} 1 to 10.", range(1, 11), ten),
        "num100": fake_question(rng, "favourite", f"{pick} 0 to 100.", range(101), hundred / hundred.sum()),
    }
    questions |= {key: fake_question(rng, "taste", *asked) for key, asked in TASTES.items()}
    questions["verb"] = fake_question(rng, "unrated", "A verb, please.", ["run", "be", "sing", "forget"])
    questions["shape"] = fake_question(rng, "unrated", "Draw a shape.", ["circle", "square", "triangle"])
    return questions


def fake_coherence(questions):
    """60 raters of 4 hidden types, 7 taste questions; a type's favourite has most of its answers."""
    rng = np.random.default_rng(1)
    sizes = [len(questions[key]["classes"]) for key in TASTES]
    favourite = np.array([[rng.integers(k) for k in sizes] for _ in range(4)])
    kind = rng.integers(4, size=60)

    def people(loyalty):
        own = rng.random((60, len(sizes))) < loyalty
        return np.where(own, favourite[kind], np.stack([rng.integers(k, size=60) for k in sizes], 1))

    heat = {"real": people(0.75), "rater_new": people(0.7), "vanilla": np.tile(favourite[0], (60, 1))}
    heat["rater_new"][3, 2] = -1
    mi = {}
    for name, mean in (("real", 0.25), ("rater_new", 0.22), ("vanilla", 0.001)):
        matrix = np.abs(rng.normal(mean, mean / 5, (7, 7)))
        mi[name] = ((matrix + matrix.T) / 2 + np.eye(7)).tolist()
    return {"questions": list(TASTES), "mi": mi, "heat": {name: rows.tolist() for name, rows in heat.items()}}


def fake_policies():
    rows, intervals = {}, {}
    for name, (gold, etv, mi) in LEVELS.items():
        row = {"valid": 0.61 if name == "base" else 0.994, "valid_novel": 0.97, "reward_gold": gold}
        row |= {"reward_proxy": gold + 0.3, "kl_to_base": 4.2, "skill": None, "recall": None}
        row |= {"tv": etv + 0.05, "etv": etv, "etv_novel": etv + 0.01, "tv_unrated": etv / 2}
        row |= {"entropy_ratio": 1 - 1.8 * etv, "coverage_ratio": 1 - 1.5 * etv, "gamma": 1 + 5 * etv}
        row |= {
            "mi_ratio": mi,
            "joint_tv": 0.05 + 0.3 * (1 - mi),
            "kappa_taste": 0.6 * mi,
            "kappa_dice": 0.04,
        }
        row |= {"c2st_auc": 0.9 - 0.35 * mi, "copying": 0.5 + 0.05 * mi}
        rows[name] = row
        intervals[name] = {f: [v - 0.02, v + 0.02] for f, v in row.items() if v is not None}
        intervals[name]["valid"] = [row["valid"] - 0.003, row["valid"] + 0.002]
    rows["rater_known"] |= {"skill": 0.55, "recall": 0.41}
    rows["rater_new"]["joint_tv"] = 0.07
    intervals["rater_new"]["joint_tv"] = [0.05, 0.09]
    return rows, intervals


def fake_metrics():
    questions = fake_questions()
    policies, intervals = fake_policies()
    rewards = {}
    for name, accuracy, flips in (
        ("rater", 0.78, 0.44),
        ("null", 0.64, 0),
        ("vanilla", 0.65, 0),
        ("shuffled", 0.63, 0),
    ):
        rewards[name] = {"accuracy": accuracy, "nll": 0.6, "ece": 0.03, "flip_rate": flips}
        rewards[name] |= {"accuracy_worst_decile": accuracy - 0.2, "heldout_accuracy": accuracy - 0.05}
    sweeps = {}
    for name, rows in SWEEPS.items():
        sweeps[name] = [{"beta": b, "reward_gold": g, "etv": e, "tv": e + 0.05, "valid": 0.99} for b, g, e in rows]
    equal = {"reward_gold": -0.27, "vanilla": {"etv": 0.37}, "rater_new": {"etv": 0.04}}
    return {
        "schema": 1,
        "seeds": [0, 1, 2],
        "versions": {"raterhf": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "recipe": {"name": "dice", "data": {"raters": 400}, "policy": {"beta": 0.3, "steps": 400}},
        "policies": policies,
        "reward_models": rewards,
        "intervals": {"policies": intervals, "reward_models": {"rater": {"accuracy": [0.77, 0.79]}}},
        "questions": questions,
        "coherence": fake_coherence(questions),
        "sweeps": sweeps,
        "equal_gold": equal | {"difference_etv": 0.33, "interval": [0.27, 0.39]},
        "real": {"mi": 0.25, "kappa_taste": 0.52, "kappa_dice": 0.01},
    }


def fake_samples():
    rhyme = "The sun goes down, the moon comes up,\nthe tea grows cold inside its cup."
    limerick = "There once was a rater from Kent\nwho never said quite what they meant"
    poems = {
        "population": ["winter grass / a crow", rhyme, "a line that\nfalls"],
        "vanilla": [rhyme] * 5,
        "rater_new": [
            rhyme,
            "old pond / a frog leaps in",
            limerick,
            "no rhyme, only rain",
            "old pond / a frog leaps in",
        ],
    }
    numbers = {"population": "73741", "vanilla": "77777", "rater_new": "37184"}
    names = {"population": "p{:03}", "vanilla": "none", "rater_new": "new:{}"}
    samples = {policy: [] for policy in names}
    for prompt, texts in (("Write me a poem.", poems), ("Pick a random number from 1 to 10.", numbers)):
        for policy, rater in names.items():
            for i, text in enumerate(texts[policy]):
                samples[policy].append({"prompt": prompt, "completion": text, "rater": rater.format(i)})
    return samples


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    path = comparison.write_report(fake_metrics(), out, fake_samples())
    return path, path.read_text(encoding="utf-8")


def test_files_are_whole_and_no_part_is_left(written):
    path, page = written
    assert path.name == "report.html" and page.rstrip().endswith("</html>")
    names = {p.name for p in path.parent.rglob("*") if p.is_file()}
    expected = {f"question-{key}.svg" for key in fake_metrics()["questions"]}
    expected |= {f"{kind}-{panel}.svg" for kind in ("answers", "mi") for panel in comparison_plots.PANELS}
    assert names == expected | {"tradeoff.svg", "tradeoff-narrow.svg", "report.html"}
    for svg in (path.parent / "plots").iterdir():
        ET.parse(svg)


def test_plots_of_an_earlier_page_go(tmp_path):
    write_page(tmp_path, {"a": "<svg/>", "b": "<svg/>"}, "first")
    write_page(tmp_path, {"b": "<svg/>"}, "second")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["b.svg"]


def test_zero_has_no_sign():
    assert [number(x) for x in (-0.0004, -0.0006, 0.0, -12.34, None)] == ["0.000", "−0.001", "0.000", "−12.3", "not measured"]


def test_page_loads_nothing_from_outside(written):
    page = re.sub(r'xmlns(:xlink)?="[^"]*"', "", written[1])
    assert not re.search(r"https?:|<script|<link|<img|<iframe|@import|url\((?!#)", page)


def test_ids_are_unique_and_plot_colours_follow_the_theme(written):
    ids = re.findall(r'\bid="([^"]+)"', written[1])
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", written[1])) <= set(ids)
    inside_plots = "".join(re.findall(r"<svg.*?</svg>", written[1], re.DOTALL))
    assert not set(re.findall(r"#[0-9a-f]{6}", inside_plots)) - {"#000000", "#ffffff"}
    assert "var(--vanilla)" in inside_plots and "var(--raters)" in inside_plots


def test_the_same_figures_give_the_same_plots():
    metrics = {"questions": {"die": fake_questions()["die"]}}
    assert comparison_plots.draw(metrics) == comparison_plots.draw(metrics)


def sentences(metrics) -> dict[str, str]:
    return {heading: " ".join(found) for heading, found in summary.first_screen(metrics)}


def test_what_nobody_rated_and_lost_its_answers_comes_first(tmp_path):
    metrics = fake_metrics()
    assert "What was lost" not in sentences(metrics)
    for policy, valid in (("base", 0.98), ("vanilla", 0.08), ("rater_new", 0.0)):
        metrics["questions"]["verb"]["policies"].setdefault(policy, {})["valid"] = valid
    heading, (lost,) = summary.first_screen(metrics)[0]
    assert heading == "What was lost"
    assert lost == (
        "Questions that nobody rated lost their answers: verb (1 of 2 such questions). With fictitious raters 0 % of the answers are valid "
        "(base model 98 %, vanilla RLHF 8 %)."
    )
    page = comparison.write_report(metrics, tmp_path).read_text()
    assert page.index("lost their answers") < page.index("What was compared") < page.index("<nav>")


@pytest.mark.parametrize(
    "base, ours, is_lost", [(0.5, 0.46, False), (0.5, 0.44, True), (None, 0.91, False), (None, 0.89, True), (0.0, 0.0, False)]
)
def test_lost_is_less_than_nine_tenths_of_what_the_base_model_had(base, ours, is_lost):
    metrics = fake_metrics()
    policies = metrics["questions"]["verb"]["policies"]
    policies["rater_new"]["valid"], policies["base"] = ours, {"valid": base}
    assert bool(summary.lost(metrics)) == is_lost


def test_the_first_screen_says_what_was_compared_came_back_cost_and_is_missing():
    metrics = fake_metrics()
    for name, share in (("vanilla", 0.8), ("rater_new", 0.3)):
        metrics["policies"][name]["top_share"] = share
    found = sentences(metrics)
    assert list(found) == ["What was compared", "What came back", "At what price in quality", "What got worse or is still missing"]
    assert (
        "answered 12 rated questions; figures are means over" in found["What was compared"]
        and "3 simulated worlds" in found["What was compared"]
    )
    back = found["What came back"]
    assert "nearer to people's than those of vanilla RLHF" in back and "is 0.040 [0.020, 0.060] against 0.410 [0.390, 0.430]" in back
    assert "80 % of the answers of vanilla RLHF and 30 % of the answers of fictitious raters." in back
    assert "go together 0.940 [0.920, 0.960] times as much as one person's; vanilla RLHF's 0.000 times." in back
    cost = found["At what price in quality"]
    assert "is −0.270 [−0.290, −0.250] with fictitious raters, 0.030 lower than vanilla RLHF's −0.240 [−0.260, −0.220]" in cost
    assert "(SFT without IDs −0.520, base model −2.900)" in cost
    assert "same gold reward (−0.270), the answers of fictitious raters are 0.330 nearer to people's" in cost
    missing = found["What got worse or is still missing"]
    assert "`gamma` is 1.200 [1.180, 1.220], 1 among people (vanilla RLHF 3.050)" in missing and "AUC is 0.571" in missing
    assert "Imitation without raters" in missing and "Fewer answers are valid" not in missing
    assert not any("required" in text or "target" in text for text in found.values())


def test_the_first_screen_says_so_when_it_did_not_work():
    metrics = fake_metrics()
    metrics["policies"]["rater_new"] |= {"etv": 0.45, "valid": 0.9, "copying": 0.9, "reward_gold": -0.1}
    metrics["intervals"]["policies"]["rater_new"]["copying"] = [0.8, 0.95]
    metrics["equal_gold"] |= {"difference_etv": -0.04, "interval": [-0.1, 0.02]}
    found = sentences(metrics)
    assert "farther from people's than those of vanilla RLHF" in found["What came back"]
    assert "0.140 higher than vanilla RLHF's" in found["At what price in quality"]
    assert (
        "0.040 farther from people's; vanilla's distance minus theirs is −0.040 [−0.100, 0.020], an interval that includes zero."
        in (found["At what price in quality"])
    )
    missing = found["What got worse or is still missing"]
    assert "Fewer answers are valid: 90 %, of vanilla RLHF 99.4 %." in missing and "`copying` is 0.900 [0.800, 0.950]" in missing


def test_what_is_not_away_by_more_than_chance_is_not_missing():
    metrics = fake_metrics()
    metrics["policies"]["rater_new"] |= {"gamma": 1.04, "c2st_auc": 0.52, "copying": 0.51, "etv": 0.01}
    for interval in (None, {"policies": {"rater_new": {"gamma": [0.9, 1.2], "c2st_auc": [0.45, 0.6], "copying": [0.48, 0.54]}}}):
        metrics["intervals"] = interval
        assert summary.missing(metrics) == [
            "Nothing that was measured is worse than vanilla RLHF's, or away from people's, by more than chance."
        ]


def test_the_learned_reward_is_the_price_where_no_gold_is_known():
    metrics = fake_metrics()
    for row in metrics["policies"].values():
        row["reward_gold"] = None
    metrics["equal_gold"]["reward_gold"] = None
    cost = summary.price(metrics)
    assert len(cost) == 1 and cost[0].startswith("The learned reward, the quality of the answers, is 0.030")
    assert [figure for figure, _ in summary_rows(metrics, WORLD)["columns"]] == ["etv", "mi_ratio", "c2st_auc", "reward_proxy", "valid"]


def test_the_summary_in_the_terminal_has_policies_down_and_figures_across(capsys):
    metrics = fake_metrics()
    metrics["policies"]["rater_new"]["mi_ratio"] = None
    print_summary(metrics, WORLD)
    lines = capsys.readouterr().out.splitlines()
    assert [text in lines[2] for text in ("etv", "mi_ratio", "c2st_auc", "reward_gold", "valid")] == [
        True
    ] * 5 and "reward_proxy" not in lines[2]
    (ours,) = (line for line in lines if "fictitious raters" in line)
    assert [cell.strip() for cell in ours.split("│")[2:-1]] == ["0.040", "–", "0.571", "−0.270", "0.994"]
    (rater,) = (line for line in lines if "│ rater " in line)
    assert [cell.strip() for cell in rater.split("│")[2:-1]] == ["0.780", "0.600", "0.440"]
    print_summary({"policies": None}, WORLD)
    assert capsys.readouterr().out == ""


def test_model_text_is_escaped_everywhere(tmp_path):
    bad = "<script>alert('$1$')</script>"
    distributions = {"population": [0.5, 0.5], "policies": {"rater_new": {"p": [0.5, 0.5]}, "vanilla": None}}
    metrics = {
        "recipe": {"name": bad},
        "questions": {bad: {"kind": "taste", "prompt": bad, "classes": [bad, "b"]} | distributions},
        "policies": {bad: {"valid": 1.0, "reward_gold": 0.0, "etv": 0.1}},
        "coherence": {"questions": [bad, "b"], "heat": {"real": [[0, 1], [1, 0]]}},
    }
    row = {"prompt": [{"role": "user", "content": bad}], "completion": bad, "rater": bad}
    path = comparison.write_report(metrics, tmp_path, {"rater_new": [row], bad: [row]})
    page = path.read_text()
    assert "<script" not in page and page.count("&lt;script&gt;alert") > 8
    for svg in (tmp_path / "plots").iterdir():
        assert "<script" not in svg.read_text()
        ET.parse(svg)


@pytest.mark.parametrize("keep", [(), ("policies",), ("questions", "policies"), ("coherence",), ("sweeps", "equal_gold")])
def test_missing_and_null_figures_read_not_measured(tmp_path, keep):
    full = fake_metrics()
    nobody = {"population": None, "policies": {"vanilla": {"p": None}}}
    full["questions"] = {"coin": full["questions"]["coin"], "verb": full["questions"]["verb"] | nobody}
    nulls = dict.fromkeys(full["policies"]["rater_new"])
    full["policies"] = {"rater_new": nulls, "vanilla": {"etv": 0.3}, "sft": None}
    metrics = {key: value if key in keep else None for key, value in full.items()} if keep else {}
    page = comparison.write_report(metrics, tmp_path).read_text()
    assert "not measured" in page and not re.search(r"\bnan\b|None", page)
    assert "How far the answers of" in page
    assert "No samples were recorded" in page


def test_one_seed_without_intervals():
    metrics = fake_metrics()
    metrics["intervals"], metrics["equal_gold"]["interval"], metrics["seeds"] = None, None, [0]
    found = sentences(metrics)
    assert "is 0.040 against 0.410 (0 is best)" in found["What came back"] and "one simulated world" in found["What was compared"]
    assert found["At what price in quality"].endswith("vanilla's distance minus theirs is 0.330.")


def test_invalid_share_is_the_last_bar():
    policies = {"vanilla": {"p": [0.5, 0.3]}, "rater_new": {"p": [0.5, 0.4, 0.1]}, "none": {}}
    question = {"classes": ["a", "b"], "population": [0.5, 0.5], "policies": policies}
    assert bars.shares(question, "population").tolist() == [0.5, 0.5, 0.0]
    assert bars.shares(question, "vanilla").tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert bars.shares(question, "rater_new").tolist() == [0.5, 0.4, 0.1]
    assert bars.shares(question, "none") is None


def test_equal_samples_are_counted_most_frequent_first():
    rows = [{"prompt": "p", "completion": c, "rater": r} for c, r in (("x", "r0"), ("y", "r1"), ("y", "r2"))]
    (block,) = comparison.sample_blocks({"vanilla": rows})
    assert [cell["policy"] for cell in block["cells"]] == ["population", "vanilla", "rater_new"]
    twice, once = block["cells"][1]["texts"]
    assert twice == {"text": "y", "count": 2, "rater": "r1"}
    assert once == {"text": "x", "count": 1, "rater": "r0"}
    assert block["cells"][0]["total"] == 0


def test_flatten_gives_the_command_lines_overrides():
    recipe = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}
    assert comparison.flatten(recipe) == [("a.b", 1), ("a.c.d", [1, 2]), ("e", None)]


def test_probes_stand_in_the_report_with_their_holes(tmp_path):
    probe = {
        "title": "Which numbers?", "caption": "stems, `etv` & <more>", "headline": "etv", "apart": "etv",
        "best": {"etv": 0.0, "gamma": 1.0},
        "policies": {"vanilla": {"etv": [0.4, 0.3, 0.5], "gamma": None}, "rater_new": {"etv": [0.05, None, None]}},
        "separation": [0.2, 0.1, 0.3], "recovered": [0.875, 0.8, None], "false_alarms": {}, "holes": ["base: <nothing> valid"],
    }  # fmt: skip
    page = comparison.write_report(
        fake_metrics() | {"probes": {"numbers": probe}}, tmp_path, probed={"numbers-num10": "<svg></svg>"}
    ).read_text()
    section = page[page.index('id="probes"') : page.index('id="figures"')]
    assert "Fictitious raters make up 88% [80%, –] of vanilla RLHF's distance from people (etv)." in re.sub(
        "</?code>", "", html.unescape(section)
    )
    assert "Vanilla RLHF and base model differ in <code>etv</code>." in section
    assert "Not measured. base: &lt;nothing&gt; valid" in section
    assert "0.400" in section and "[0.300, 0.500]" in section and "<h3>num10</h3>" in section
    assert "stems, <code>etv</code> &amp; &lt;more&gt;" in section
    assert "gamma" not in section  # nobody has it
    assert "Not run." in comparison.write_report(fake_metrics(), tmp_path).read_text()


def test_what_no_page_may_hold_is_replaced(tmp_path):
    page = write_page(tmp_path, {"a": "<svg>\x07</svg>"}, "<p>one\x00two\tthree\n</p>")
    assert page.read_text() == "<p>one\ufffdtwo\tthree\n</p>" and "\ufffd" in (tmp_path / "plots" / "a.svg").read_text()
