"""What a probe is: how one model is asked, the figures of what it said, and the picture of all models side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raterhf.evaluation.probes.interview import Interview


class Sample(Protocol):
    """What one model said to a probe, in `rows` independent units."""

    @property
    def rows(self) -> int: ...


@dataclass(frozen=True)
class Probe:
    """`ask(interview, name)` gives the sample of a model, or of the population, whom interviews know as `population`.

    `figures(sample, rows)` is a pure function: the figures of those rows. `best` says of each figure what a perfect sampler gets: a number,
    None for what people get themselves, or nan where there is no better and worse. `headline` is the figure by which the gap to people
    is read, and `apart` the one by which vanilla and base are told apart, where that is another: base is as far from people as vanilla is,
    but on the other side. `draw(interview, samples)` gives SVG texts by name. `ask` and `figures` raise CannotMeasure.
    `about` are the models that the probe can speak of, None for all; the others are left out without a word.
    """

    name: str
    title: str
    caption: str
    headline: str
    best: dict[str, float | None]
    ask: Callable[[Interview, str], Sample]
    metrics: Callable[[Any, np.ndarray], dict[str, float]]
    draw: Callable[[Interview, dict[str, Any]], dict[str, str]]
    about: tuple[str, ...] | None = None
    apart: str | None = None
