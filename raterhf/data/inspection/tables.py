"""The figures as short rows of text, section by section, for the terminal and the page alike."""

from raterhf.data.inspection.words import copies, gain, interval, people, percent, plural, some

KINDS = ("comparisons", "ratings", "demonstrations")
LOST = {
    "without_pair": "one answer to a prompt, or all rated alike",
    "dropped": "no row that can be read",
    "skipped": "left out by data.labels",
    "other_split": "in other splits alone",
    "listed": "in the raters file alone",
}
RULES_SHOWN = 5
LONGEST = 200  # characters of a reason that are shown

Rows = list[tuple[str, str]]


def sections(figures: dict) -> dict[str, Rows]:
    """Title -> rows (what, value); a section of which nothing is known is left out."""
    found = {
        "Who": who(figures),
        "What": what(figures),
        "Agreement": agreement(figures),
        "Raters to look at": habits(figures),
        "What gives the choice away": shortcuts(figures),
        "Splits and IDs": identities(figures),
        "Files": files(figures),
    }
    return {title: rows for title, rows in found.items() if rows}


def who(figures: dict) -> Rows:
    found = figures["who"]
    spread, largest, accounted = found["labels_per_rater"], found["largest"], found["accounted"]
    rows = [
        ("raters", f"{found['raters']}: {len(accounted['train'])} to train on, {len(accounted['validate'])} kept back"),
        ("labels", str(found["labels"])),
        ("labels of a rater", f"{spread['min']} to {spread['max']}, median {spread['median']:g}"),
        ("most labels", f"{largest['rater']}: {largest['labels']} ({percent(largest['share'])})"),
        ("half of all labels", f"by {plural(found['half_of_labels'], 'rater')}"),
        ("raters with one label", _ids(found["one_label"])),
    ]
    if accounted["validate"]:
        rows.append(("kept back, to choose the population", _ids(accounted["validate"])))
    rows += [(f"not used: {why}", _ids(accounted[name])) for name, why in LOST.items() if accounted[name]]
    rows += [(kind, some([f"{name} {n}" for name, n in found[kind].items()])) for kind in ("groups", "personas") if found[kind]]
    return rows


def what(figures: dict) -> Rows:
    found = figures["what"]
    rows = []
    if found["comparisons"]:
        made = f", {found['pairs_of_ratings']} made of ratings" if found["pairs_of_ratings"] else ""
        repeated = found["duplicates"]["comparisons"]
        rows.append(
            ("comparisons", f"{found['comparisons']} of {found['questions']} pairs ({found['ties']} ties, {repeated} duplicates{made})")
        )
    if found["demonstrations"]:
        rows.append(("own answers", f"{found['demonstrations']} ({found['duplicates']['demonstrations']} duplicates)"))
    rows += _beside(found)
    rows += [("prompts", str(found["prompts"])), ("different answers", str(found["answers"]))]
    if found["conversations"]:
        rows.append(("rows with a conversation", str(found["conversations"])))
    for kind in ("prompt", "answer"):
        if spread := found[f"{kind}_words"]:
            rows.append((f"words of {'a prompt' if kind == 'prompt' else 'an answer'}", _spread(spread)))
    if tokens := found["tokens"]:
        looked = f" (of {tokens['examined']} examples)" if tokens["sampled"] else ""
        if tokens["lengths"]:
            rows.append(("tokens of prompt and answer", f"{_spread(tokens['lengths'] | {'max': tokens['longest']})}{looked}"))
        rows.append(
            (
                "longer than the window",
                f"{tokens['over']} examples, in {tokens['rows_over']} rows; the window has {tokens['window']} tokens",
            )
        )
    if "base" in found:
        rows.append(("base corpus", f"{found['base']} rows"))
    return rows


def _beside(found: dict) -> Rows:
    """What is said beside which answer is better."""
    rows: Rows = []
    for kind, name in (("both", "ties"), ("grades", "how much better"), ("attributes", "attributes")):
        words = [f"both {value} {n}" if kind == "both" else f"{value} {n}" for value, n in found[kind].items()]
        rows += [(name, some(words))] if words else []
    if (reasons := found["reasons"])["labels"]:
        rows.append(("labels with a reason", f"{reasons['labels']}, {reasons['different']} different"))
        shown = [(one["rater"], " ".join(one["reason"].split())) for one in reasons["examples"]]
        rows += [(f"... by {rater}", text if len(text) <= LONGEST else f"{text[:LONGEST]} ...") for rater, text in shown]
    return rows


def agreement(figures: dict) -> Rows:
    rows: Rows = []
    for kind, name in (("comparisons", "pairs"), ("demonstrations", "prompts")):
        if kind not in figures["agreement"]:
            continue
        found = figures["agreement"][kind]
        rows.append((f"{name} answered by several raters", str(found["shared_questions"])))
        if between := found["between"]:
            low, high = between["interval"]
            rows.append(("Krippendorff's alpha", f"{between['alpha']:.2f} [{low:.2f}, {high:.2f}] (0: chance, 1: as one)"))
        again = found["again"]
        rows.append((f"{name} asked again", f"{again['asked']}, of which {again['changed']} answered differently"))
        if again["repeats"] is not None:
            rows.append(("disagreement that comes back", f"{percent(again['repeats'])} {interval(*again['interval'])}"))
        if person := found["person"]:
            rows += [
                ("choices predicted by others' labels", percent(person["others"])),
                ("... and the rater's own", percent(person["own"])),
                ("... and somebody else's instead", percent(person["another"])),
                ("gain of knowing the rater", f"{gain(person)}, on {person['pairs']} choices"),
            ]
            if careful := person["careful"]:
                rows.append(("... among careful raters", f"{gain(careful)} ({careful['raters']} raters)"))
    return rows


def habits(figures: dict) -> Rows:
    found, rows = figures["habits"], []
    for kind, more, less in (("side", "first", "second"), ("length", "longer", "shorter")):
        habit = found.get(kind)
        if habit and habit["share"] is not None:
            rows.append((f"chose the {more} answer", f"{percent(habit['share'])} of {habit['labels']}"))
            rows += [(f"nearly always the {end}", _people(habit[name])) for name, end in (("always", more), ("never", less)) if habit[name]]
    others = found.get("others")
    if others and others["share"] is not None:
        rows.append(("chose as most others did", f"{percent(others['share'])} ({others['raters']} raters)"))
        rows += [
            (what, _people(others[name]))
            for name, what in (("random", "no more than a coin"), ("reversed", "less than a coin"))
            if others[name]
        ]
    if pairs := found.get("copies", {}).get("pairs"):
        rows.append(("copies", copies(pairs)))
    return rows


def shortcuts(figures: dict) -> Rows:
    found = figures["shortcuts"]
    if found is None:
        return []
    rows = [
        (rule["rule"], f"right on {percent(rule['accuracy'])} (says something of {percent(rule['says'])})")
        for rule in found["rules"][:RULES_SHOWN]
    ]
    if not found["side_known"]:
        rows.append(("side", "not in the data"))
    if found["lists"]["texts"]:
        rows.append(("answers that are lists", f"{found['lists']['texts']}, such as {found['lists']['example']!r}"))
    return [*rows, ("knowing nothing", percent(found["baseline"]))]


def identities(figures: dict) -> Rows:
    rows: Rows = []
    for where, parts in figures["leaks"].items():
        for name, part in parts.items():
            n = part["comparisons"]
            if where == "files" and not part["same_rater"] + part["another_rater"]:
                continue
            by = [
                f"{percent(part[f'{who}_rater'] / n)} by {words} ({part[f'{who}_rater_swapped']} swapped)"
                for who, words in (("same", "the same rater"), ("another", "others alone"))
            ]
            rows.append((f"{name}: pairs that {part['reference']} has too", f"{', '.join(by)}, of {n} comparisons"))
    alike = figures["lookalikes"][:RULES_SHOWN]
    return rows + [("IDs that look alike", f"{', '.join(map(repr, group['ids']))}: {', '.join(group['differ_by'])}") for group in alike]


def files(figures: dict) -> Rows:
    read, rows = figures["read"], []
    for kind in KINDS:
        if (counts := read[kind]) and counts["files"]:
            other = f", {counts['other_split']} of other splits" if counts["other_split"] else ""
            rows.append(
                (kind, f"{counts['read']} rows{other}, {counts['dropped']} left out, {counts['used']} used: {', '.join(counts['files'])}")
            )
            rows += [("read as", f"{name}: {'; '.join(told)}") for name, told in counts["notes"].items()]
            for name, columns in counts["columns_ignored"].items():
                rows.append(("columns not used", f"{name}: {', '.join(columns)}"))
            if counts["split"] and not counts["other_split"]:
                splits = ", ".join(f"{name} {n}" for name, n in counts["split"].items())
                rows.append(("column split", f"{splits}; all are used, since data.split does not choose one"))
    for name, raters in read["dropped"].items():
        most = sorted(raters, key=lambda rater: -raters[rater])
        rows.append(("rows left out, by rater", f"{name}: {some([f'{rater} {raters[rater]}' for rater in most])}"))
    if read["raters"].get("files"):
        rows.append(("raters", f"{read['raters']['read']} rows: {', '.join(read['raters']['files'])}"))
    return rows


def _spread(lengths: dict) -> str:
    return f"{lengths['min']} to {lengths['max']}, median {lengths['median']:g}"


def _ids(ids: list[str]) -> str:
    return f"{len(ids)}: {some(ids)}" if ids else "none"


def _people(found: list[dict]) -> str:
    return f"{len(found)}: {people(found)}"
