"""`raterhf personas --describe`: personas from a file of descriptions, by what a column says of known raters.

A persona of a run that nobody need belong to: its population is the prior that its description gives (`raters/described.py`). Descriptions
are read by their letters (`raters/letters.py`), and by a sentence encoder where one is given.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raterhf.data.files import read_rows
from raterhf.data.normalise import optional_names
from raterhf.errors import UserError
from raterhf.evaluation.personas import require_vectors, said_of
from raterhf.lock import hold_run
from raterhf.models.encoder import encode
from raterhf.models.pools import add_priors
from raterhf.raters.described import Described, describe, moved
from raterhf.raters.letters import fit_letters
from raterhf.raters.pool import RaterPool
from raterhf.run import Run

LEAST = 20  # described raters to learn from what their descriptions say


def read_descriptions(path: str, pool: RaterPool) -> dict[str, str]:
    """Descriptions by name, of a file with the columns `name` and `description`.

    Raises UserError for a column that is missing, an empty name or description, a name that is there twice, and one that is a persona of
    known raters already.
    """
    rows = read_rows(path)
    if missing := [column for column in ("name", "description") if column not in rows.frame]:
        columns = ", ".join(map(str, rows.frame.columns))
        raise UserError(
            f"{path}: no column {' and no column '.join(missing)}; there are {columns}: a row is a persona's name and description"
        )
    found: dict[str, str] = {}
    for i, (name, description) in enumerate(zip(*(optional_names(rows.frame[column]) for column in ("name", "description")))):
        for column, text in (("name", name), ("description", description)):
            if text is None or not text.strip():
                raise UserError(f"{path}, {rows.where(i)}: the {column} is empty; write it, or remove the row")
        if name in found:
            raise UserError(f"{path}, {rows.where(i)}: the name {name!r} stands there twice; each persona has a name of its own")
        if name in pool.personas:
            members = len(pool.personas[name])
            raise UserError(
                f"{path}, {rows.where(i)}: the run has a persona {name!r} of {members} known raters; give this one another name"
            )
        found[name] = description
    return found


def describe_personas(
    run: Run, path: str, column: str, files: Sequence[str], rater_column: str, encoder: str | None, seed: int
) -> tuple[dict, Described]:  # fmt: skip
    """Figures of the personas that a file describes, JSON-like, and their priors, in the same order.

    `column` of `files` is what is said of known raters. Figures: `explained` as in `Described`, `raters` whose descriptions were read, and
    of each persona `moved`, how far it is from everybody. Raises UserError for a run without vectors, files that say too little and what
    `read_descriptions` refuses.
    """
    require_vectors(run)
    pool = run.raters
    asked = read_descriptions(path, pool)
    said = {rater: text for rater, text in said_of(column, files, rater_column).items() if rater in pool.index}
    if len(said) < LEAST:
        raise UserError(
            f"{column}: {len(said)} of {len(pool.known)} known raters are described, and {LEAST} are needed to learn what descriptions say "
            "of them; name another column, or a file of rater IDs and descriptions with --file"
        )
    ids = [rater for rater in pool.known if rater in said]
    texts = [*(said[rater] for rater in ids), *asked.values()]
    blocks = [fit_letters(texts[: len(ids)], seed).points(texts), *([encode(encoder, texts)] if encoder else [])]
    features = np.concatenate(blocks, 1)
    vectors = pool.vectors[[pool.index[rater] for rater in ids]]
    found = describe(features[: len(ids)], vectors, features[len(ids) :], pool.population, seed)
    personas = [
        {"name": name, "description": text, "moved": round(moved(prior, pool.population), 3)}
        for (name, text), prior in zip(asked.items(), found.priors)
    ]
    return {"column": column, "raters": len(ids), "of_raters": len(pool.known), "explained": found.explained, "personas": personas}, found


def save_described(run: Path, found: dict, described: Described) -> list[Path]:
    """Make described personas personas of the run's stages; returns their folders.

    Raises UserError where descriptions tell nothing surely of raters: such personas would be everybody under other names.
    """
    value, low, high = found["explained"]
    if low <= 0:
        raise UserError(
            f"{found['column']}: descriptions tell {value:.1%} [{low:.1%}, {high:.1%}] of what other raters' vectors differ by, which may "
            "be nothing, so a persona of a description would be anybody, and none is saved; describe more raters, or say more of them"
        )
    with hold_run(run):
        return add_priors(run, {one["name"]: prior for one, prior in zip(found["personas"], described.priors)})
