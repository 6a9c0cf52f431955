"""Map: raters in two dimensions, by principal components of the known raters' tastes, and who is between two of them.

Projection is linear, so a population of Gaussians is one in two dimensions too, exactly; how much of the raters' spread two dimensions
show is said beside them.
"""

from dataclasses import dataclass

import numpy as np

from raterhf.errors import UserError
from raterhf.explore.asked import AskedPath
from raterhf.explore.opened import Opened
from raterhf.raters.pool import Rater, RaterPool

NUMBERED = 2048  # fictitious people that a click may mean: new:0, new:1, ...
STEPS = 5
FEW = 3  # fewer known raters have no principal components: the population's are taken


@dataclass(frozen=True)
class Plane:
    """`axes` [2, k] through `centre` [k]; `shown` is the share of the variance that they hold."""

    centre: np.ndarray
    axes: np.ndarray
    shown: float

    def place(self, vectors: np.ndarray) -> list:
        """Points [N, 2] of vectors [N, k], for JSON; of one vector, one point."""
        return np.round((vectors - self.centre) @ self.axes.T, 3).tolist()


def plane_of(pool: RaterPool) -> Plane:
    """Raises UserError where raters are no vectors."""
    if pool.encoding != "embedding" or not pool.dim:
        raise UserError(
            "this run knows raters by text or not at all, so there is no space to draw; a run with raters.encoding embedding has one"
        )
    known = pool.learned().vectors.astype(np.float64)
    centre = known.mean(0) if len(known) >= FEW else pool.population.weights @ pool.population.means
    covariance = np.cov(known.T, bias=True).reshape(pool.dim, pool.dim) if len(known) >= FEW else pool.population.covariance()
    values, vectors = np.linalg.eigh(covariance)
    axes = np.zeros((2, pool.dim))
    axes[: min(2, pool.dim)] = vectors.T[::-1][:2]
    # An eigenvector's sign is free: the same map on every machine.
    axes *= np.where(axes[[0, 1], np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]
    return Plane(centre, axes, float(values[::-1][:2].sum() / max(values.sum(), 1e-12)))


def draw_map(opened: Opened) -> dict:
    """Everything that the map shows, for JSON."""
    pool = opened.run.raters
    plane = plane_of(pool)
    persona_of = {member: name for name, members in pool.personas.items() for member in members}
    mixture = pool.population
    drawn = np.stack([_taste(pool, pool.fictitious(number)) for number in range(NUMBERED)])
    spread = plane.axes @ mixture.factors @ mixture.factors.transpose(0, 2, 1) @ plane.axes.T
    return {
        "shown": round(plane.shown, 3),
        "dims": pool.dim,
        "known": [
            {
                "id": one, "at": at, "labels": opened.label_counts[one], "persona": persona_of.get(one, ""),
                "group": pool.groups.get(one, ""),
            }
            for one, at in zip(pool.known, plane.place(pool.vectors))
        ],
        "centres": [
            {"name": name, "at": plane.place(found.weights @ found.means / found.weights.sum()), "members": _members(pool, name)}
            for name, found in pool.populations.items() if name
        ],
        "numbered": plane.place(drawn),
        "population": {
            "weights": mixture.weights.tolist(), "means": plane.place(mixture.means), "covariances": np.round(spread, 5).tolist(),
        },
    }  # fmt: skip


def walk(opened: Opened, asked: AskedPath) -> list[dict]:
    """Five people on the straight way from one to another, both included; those between are points."""
    pool = opened.run.raters
    plane = plane_of(pool)
    a, b = (opened.one(spec) for spec in (asked.a, asked.b))
    for person in (a, b):
        if person.vector is None:
            raise UserError("none is nobody in particular, who has no place on the map; walk between people")
    if a.id == b.id:
        raise UserError(f"both ends are {a.id}; choose another person to walk to")
    ends = [_taste(pool, person) for person in (a, b)]
    between = [pool.at(ends[0] + (ends[1] - ends[0]) * step / (STEPS - 1)) for step in range(1, STEPS - 1)]
    return [{"rater": person.id, "at": plane.place(_taste(pool, person))} for person in (a, *between, b)]


def _taste(pool: RaterPool, person: Rater) -> np.ndarray:
    assert person.vector is not None
    return person.vector[: pool.dim].astype(np.float64)


def _members(pool: RaterPool, name: str) -> int:
    kind, _, of = name.partition(":")
    return len(pool.personas.get(of, [])) if kind == "persona" else sum(group == of for group in pool.groups.values())
