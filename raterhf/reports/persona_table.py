"""What `raterhf personas` found, as tables for the terminal."""

from raterhf.data.inspection.words import percent
from raterhf.data.show import print_rows
from raterhf.log import log
from raterhf.reports.audit_text import quoted, span
from raterhf.reports.page import number


def print_personas(found: dict) -> None:
    """A table for each persona, then which is the least contested and which the most reliable."""
    for one in found["personas"]:
        rows = [
            ("raters", f"{len(one['members'])} ({percent(len(one['members']) / found['raters'])})"),
            ("contested: others like its favourite less than the average text", span(one["contested"])),
            ("reliable: right about its members' comparisons", span(one["reliable"]) if one["reliable"] else "no comparison of theirs"),
        ]
        for name, word in (("likes", "likes better than others"), ("dislikes", "likes less than others")):
            for text in one[name]:
                prompt = text["prompt"] if isinstance(text["prompt"], str) else text["prompt"][-1]["content"]
                told = f"{quoted(text['text'])} (margin {number(text['margin'])}, others {number(text['others'])})"
                rows.append((f"{word}: {quoted(prompt, 40)}", told))
        print_rows(one["name"], rows)
    tried = ", ".join(f"{count}: {value:.2f}" for count, value in found["silhouette"].items())
    print_rows(
        "Personas",
        [
            *([("clusters, by silhouette (1: far apart, 0: one cloud)", tried)] if tried else []),
            ("least contested, the safest to show everybody", found["least_contested"]),
            ("most reliable", found["most_reliable"]),
        ],
    )


def print_described(found: dict) -> None:
    """How much descriptions tell, then a row for each persona."""
    value, low, high = found["explained"]
    print_rows(
        f"Personas by descriptions, with {found['column']} of {found['raters']} of {found['of_raters']} known raters",
        [
            ("told by descriptions", f"{value:.1%} [{low:.1%}, {high:.1%}] of what raters' vectors differ by, in folds that were not read"),
            *(
                (one["name"], f"{number(one['moved'])} from everybody, where a person is 1: {quoted(one['description'])}")
                for one in found["personas"]
            ),
        ],
    )
    if low <= 0:
        log.warning("  the descriptions of known raters may tell nothing of them; a persona of a description is then anybody")
