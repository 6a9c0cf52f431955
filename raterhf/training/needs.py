"""What the stages of a recipe need of its data: checked before the first of them, not where hours later one finds nothing to train on."""

from dataclasses import replace

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.errors import UserError
from raterhf.training.start import check_population


def check_labels(labels: Labels, encoding: str, judged: bool, imitated: str | None = None) -> None:
    """Raise UserError where a stage would have no rater or no row to train on.

    `encoding` is the raters'; `judged` where there is a stage `reward`; `imitated` is what the stage `sft` imitates, None without one.
    """
    people = prepare.find_people(labels)
    said = set(prepare.imitated(labels, imitated).rater_id) if imitated else set()
    known, few = set(people.known), "add labels, or keep fewer raters for validation (data.validate_share, or `split` in data.raters)"
    if encoding == "embedding" and (judged or imitated):  # without comparisons raters are learned by what they say
        check_population(people if judged else replace(people, known=sorted(known & said)))
    if judged and not labels.comparisons.rater_id.isin(known).any():
        raise UserError(f"reward: no comparison is of a rater to train on, of whom there are {len(known)}; {few}")
    if imitated and not known & said:
        other = "demonstrations" if imitated == "chosen" else "chosen"
        raise UserError(f"sft: no {imitated} of training raters in the data; {few}, or set sft.source={other}")
