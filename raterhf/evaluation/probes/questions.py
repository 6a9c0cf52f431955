"""The questions that come with the project for any language model, and how an answer in free text is read.

`data/probes/*.yaml` hold lists of questions: `key`, `topic`, `prompts`, and, where there are any, `framed` wordings, `answers` (a list of
classes, or `{range: [low, high]}`), `distribution` of a perfect sampler over them, `pattern` (a regular expression whose first match in the
answer is the class; without it answers are read as `reading.py` says).
"""

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np

from raterhf.errors import UserError
from raterhf.evaluation.probes.reading import read_answer
from raterhf.yaml_reader import read_yaml

MOST = 10_000  # answers of a range
REQUIRED, OPTIONAL = {"key", "topic", "prompts"}, {"framed", "answers", "distribution", "pattern"}


@dataclass(frozen=True)
class Asked:
    """One question to any language model; see `probes/interview.py` for what the fields mean."""

    key: str
    topic: str
    prompts: list[str]
    framed: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    distribution: np.ndarray | None = None
    pattern: str = ""
    kind: str = ""

    @property
    def texts(self) -> list[str]:
        """The classes themselves are the texts whose probability can be read off."""
        return self.classes

    @property
    def class_of(self) -> np.ndarray:
        return np.arange(len(self.classes))

    def parse(self, completion: str) -> int:
        """The class that an answer gives, -1 where it gives none, more than one is left, or the question is open."""
        if not self.classes:
            return -1
        if not self.pattern:
            return read_answer(completion, self.classes)
        found = re.search(self.pattern, completion, re.IGNORECASE)
        return {name.lower(): i for i, name in enumerate(self.classes)}.get(found[0].lower(), -1) if found else -1


def shipped_questions() -> list[Asked]:
    """All questions of `data/probes`, from the package or from a checkout."""
    inside = Path(str(files("raterhf"))) / "probe_questions"
    folder = inside if inside.is_dir() else Path(str(files("raterhf"))).parent / "data" / "probes"
    return [question for path in sorted(folder.glob("*.yaml")) for question in read_questions(path)]


def read_questions(path: Path) -> list[Asked]:
    """The questions of one file. Raises UserError where it is no list of questions, and for a distribution or a field that does not fit."""
    rows = read_yaml(path, "file of questions")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is no list of questions; each is `- key: ...` with fields {', '.join(sorted(REQUIRED | OPTIONAL))}")
    return [_read(path, number, row) for number, row in enumerate(rows, 1)]


def _read(path: Path, number: int, row: dict) -> Asked:
    if unknown := {str(name) for name in row} - REQUIRED - OPTIONAL:
        raise UserError(
            f"{path}: question {number}: unknown field {', '.join(sorted(unknown))}; there are {', '.join(REQUIRED | OPTIONAL)}"
        )
    if missing := REQUIRED - set(row):
        raise UserError(f"{path}: question {number}: field {', '.join(sorted(missing))} is missing")
    for field_name in ("key", "topic", "pattern"):
        if not isinstance(row.get(field_name, ""), str) or row.get(field_name) == "":
            raise UserError(f"{path}: question {number}: {field_name} is {row[field_name]!r}; give a text")
    for field_name in ("prompts", "framed"):
        texts = row.get(field_name, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts) or not row["prompts"]:
            raise UserError(f"{path}: {row['key']}: {field_name} is {texts!r}; give a list of texts, of prompts at least one")
    answers, pattern = _answers(path, row), row.get("pattern", "")
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"{path}: {row['key']}: pattern {pattern!r} is no regular expression ({error}); correct it") from error
    return Asked(
        row["key"], row["topic"], row["prompts"], row.get("framed", []), answers, _distribution(path, row, answers), pattern
    )  # fmt: skip


def _answers(path: Path, row: dict) -> list[str]:
    answers = row.get("answers", [])
    if isinstance(answers, dict) and isinstance(span := answers.get("range"), list) and [*map(type, span)] == [int, int]:
        if not 0 <= span[1] - span[0] < MOST:
            raise UserError(f"{path}: {row['key']}: the range {span} has {span[1] - span[0] + 1} answers; give one of 1 to {MOST}")
        return [str(answer) for answer in range(span[0], span[1] + 1)]
    if not isinstance(answers, list) or not all(isinstance(answer, str | int | float) for answer in answers):
        raise UserError(f"{path}: {row['key']}: answers is {answers!r}; give a list, or {{range: [low, high]}}")
    return [str(answer) for answer in answers]


def _distribution(path: Path, row: dict, answers: list[str]) -> np.ndarray | None:
    """The shares of the answers, where the question states them."""
    given = row.get("distribution")
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(share) in (int, float) and 0 <= share <= 1 for share in given):
        raise UserError(f"{path}: {row['key']}: distribution is {given!r}; give a list of shares, each from 0 to 1")
    if len(given) != len(answers) or abs(sum(given) - 1) > 1e-6:
        raise UserError(
            f"{path}: {row['key']}: the distribution has {len(given)} entries that sum to {sum(given):.6f}, for {len(answers)} answers"
        )
    return np.array(given, float)
