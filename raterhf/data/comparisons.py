"""Rendered comparisons and own answers as index arrays, the form in which the reward stage reads them."""

from dataclasses import dataclass

import numpy as np

from raterhf.data.example import Example


@dataclass(frozen=True)
class ComparisonData:
    """Rendered comparisons: examples [N] by index, `a`, `b`, `label`, `rater`, `group` arrays [B].

    `group` numbers what is asked: comparisons of one group share completions, and so the trunk's work. `grade` [B] says how much better,
    from 0, -1 where that is not said; None where no label of the data says it.
    """

    examples: list[Example]
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    rater: np.ndarray
    group: np.ndarray
    grade: np.ndarray | None = None

    @classmethod
    def nothing(cls) -> "ComparisonData":
        return cls([], *(np.zeros(0, np.int64) for _ in range(5)))

    def __len__(self) -> int:
        return len(self.a)

    @property
    def judged(self) -> list[Example]:
        """What was compared, as often as it was."""
        return [self.examples[i] for i in np.concatenate([self.a, self.b])]

    @property
    def grades(self) -> int:
        """How many grades of better there are: 1 where none is said."""
        return 1 if self.grade is None or not len(self) else max(1, int(self.grade.max()) + 1)

    def rows(self, index: np.ndarray) -> "ComparisonData":
        grade = None if self.grade is None else self.grade[index]
        return ComparisonData(self.examples, self.a[index], self.b[index], self.label[index], self.rater[index], self.group[index], grade)

    def beside(self, other: "ComparisonData") -> "ComparisonData":
        """These rows and then those of `other`, of what was compared alone; without grades."""
        n, m = len(self), len(other)
        mine, theirs, number = self.judged, other.judged, np.arange(n + m)
        label, rater, group = (np.concatenate([getattr(part, key) for part in (self, other)]) for key in ("label", "rater", "group"))
        return ComparisonData([*mine[:n], *theirs[:m], *mine[n:], *theirs[m:]], number, n + m + number, label, rater, group)

    def off_topic(self, count: int, max_length: int, rng: np.random.Generator) -> "ComparisonData":
        """Up to `count` chosen completions of these rows, each against what was chosen at another prompt (`label` 1 all).

        Pairs whose second would be longer than the window are left out.
        """
        decided = np.flatnonzero(self.label != 0)
        rows = rng.permutation(decided)[:count]
        others = rng.choice(decided, len(rows)) if len(rows) else rows
        chosen = np.where(self.label == 1, self.a, self.b)
        examples: list[Example] = []
        kept = []
        for row, other in zip(rows, others):
            own, foreign = self.examples[chosen[row]], self.examples[chosen[other]]
            swapped = Example(own.prompt.ids + foreign.ids[foreign.prompt_length :], own.prompt_length)
            if self.group[row] != self.group[other] and len(swapped) <= max_length and own != swapped:
                examples += [own, swapped]
                kept.append(row)
        a = np.arange(0, len(examples), 2)
        return ComparisonData(examples, a, a + 1, np.ones(len(kept), np.int64), self.rater[kept], self.group[kept])


@dataclass(frozen=True)
class OwnAnswers:
    """Raters' own answers: examples [N], `rater` and `group` arrays [N], the latter numbering what was asked."""

    examples: list[Example]
    rater: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.rater)

    def rows(self, index: np.ndarray) -> "OwnAnswers":
        return OwnAnswers([self.examples[i] for i in index], self.rater[index], self.group[index])
