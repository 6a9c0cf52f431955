"""Map: raters in two dimensions, by principal components of the known raters' tastes or by UMAP, and who is between two of them.

Each says how much it keeps: the share of variance that the two components show, and, of both, how many of everyone's nearest people are
still the nearest on the map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from raterhf.errors import UserError
from raterhf.explore.asked import AskedMap, AskedPath, Projection
from raterhf.explore.opened import Opened
from raterhf.explore.unrolled import unroll
from raterhf.raters.pool import Rater, RaterPool

NUMBERED = 2048  # fictitious people that a click may mean: new:0, new:1, ...
STEPS = 5
FEW = 3  # fewer known raters have no principal components: the population's are taken
NEAREST = 10  # people whose staying near is counted
LOOKED_AT = 2000  # people of whom it is counted, at most


@dataclass(frozen=True)
class Plane:
    """`axes` [2, k] through `centre` [k]; `shown` is the share of the variance that they hold."""

    centre: np.ndarray
    axes: np.ndarray
    shown: float

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Points [N, 2] of vectors [N, k]; of one vector, one point."""
        return (vectors - self.centre) @ self.axes.T


@dataclass(frozen=True)
class Placed:
    """Everybody who has a mark: the known raters' points [N, 2], the numbered fictitious people's [M, 2], and how others are placed.

    `kept` is the share of people's `NEAREST` nearest in rater space that are so on the map.
    """

    known: np.ndarray
    numbered: np.ndarray
    place: Callable[[np.ndarray], np.ndarray]
    kept: float

    def at(self, pool: RaterPool, person: Rater) -> list[float]:
        """One person's point, for JSON: that of their mark where they have one."""
        if person.id in pool.index:
            return rounded(self.known[pool.index[person.id]])
        number = person.id.removeprefix("new:")
        if number.isdecimal() and int(number) < len(self.numbered):
            return rounded(self.numbered[int(number)])
        return rounded(self.place(_taste(pool, person)[None])[0])


def rounded(points: np.ndarray) -> list:
    return np.round(points, 3).tolist()


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


def placed(opened: Opened, by: Projection) -> Placed:
    """Where everybody stands, worked out once. Raises UserError where raters are no vectors, or UMAP is not installed."""
    if by not in opened.placed:
        pool = opened.run.raters
        plane = plane_of(pool)
        known = pool.vectors.astype(np.float64).reshape(len(pool.known), pool.dim)
        numbered = np.stack([_taste(pool, pool.fictitious(number)) for number in range(NUMBERED)])
        everybody = np.concatenate([known, numbered])
        points, place = (plane.place(everybody), plane.place) if by == "pca" else unroll(everybody)
        opened.placed[by] = Placed(points[: len(known)], points[len(known) :], place, neighbours_kept(everybody, points))
    return opened.placed[by]


def neighbours_kept(vectors: np.ndarray, points: np.ndarray) -> float:
    """Of the nearest people [N, k], the share that are among as many nearest points [N, 2]; of at most LOOKED_AT people, evenly taken."""
    nearest = min(NEAREST, len(vectors) - 1)
    rows = np.arange(0, len(vectors), -(-len(vectors) // LOOKED_AT))
    near, near_here = (
        NearestNeighbors(n_neighbors=nearest + 1).fit(space).kneighbors(space[rows], return_distance=False) for space in (vectors, points)
    )
    others = lambda row, found: {one for one in found if one != row} if row in found else set(found[:-1])  # noqa: E731
    same = [len(others(row, a) & others(row, b)) for row, a, b in zip(rows.tolist(), near.tolist(), near_here.tolist())]
    return float(np.mean(same) / nearest)


def draw_map(opened: Opened, asked: AskedMap) -> dict:
    """Everything that the map shows, for JSON."""
    pool = opened.run.raters
    plane, everybody = plane_of(pool), placed(opened, asked.by)
    persona_of = {member: name for name, members in pool.personas.items() for member in members}
    named = {name: found for name, found in pool.populations.items() if name}
    middles = np.array([found.weights @ found.means / found.weights.sum() for found in named.values()]).reshape(len(named), pool.dim)
    return {
        "by": asked.by,
        "shown": round(plane.shown, 3),
        "kept": round(everybody.kept, 3),
        "nearest": NEAREST,
        "dims": pool.dim,
        "known": [
            {
                "id": one, "at": at, "labels": opened.label_counts[one], "persona": persona_of.get(one, ""),
                "group": pool.groups.get(one, ""),
            }
            for one, at in zip(pool.known, rounded(everybody.known))
        ],
        "centres": [
            {"name": name, "at": at, "members": _members(pool, name)}
            for name, at in zip(named, rounded(everybody.place(middles)) if named else [])
        ],
        "numbered": rounded(everybody.numbered),
    }  # fmt: skip


def walk(opened: Opened, asked: AskedPath) -> list[dict]:
    """Five people on the straight way through rater space from one to another, both included; those between are points."""
    pool = opened.run.raters
    everybody = placed(opened, asked.by)
    a, b = (opened.one(spec) for spec in (asked.a, asked.b))
    for person in (a, b):
        if person.vector is None:
            raise UserError("none is nobody in particular, who has no place on the map; walk between people")
    if a.id == b.id:
        raise UserError(f"both ends are {a.id}; choose another person to walk to")
    ends = [_taste(pool, person) for person in (a, b)]
    between = [pool.at(ends[0] + (ends[1] - ends[0]) * step / (STEPS - 1)) for step in range(1, STEPS - 1)]
    return [{"rater": person.id, "at": everybody.at(pool, person)} for person in (a, *between, b)]


def _taste(pool: RaterPool, person: Rater) -> np.ndarray:
    assert person.vector is not None
    return person.vector[: pool.dim].astype(np.float64)


def _members(pool: RaterPool, name: str) -> int:
    kind, _, of = name.partition(":")
    return len(pool.personas.get(of, [])) if kind == "persona" else sum(group == of for group in pool.groups.values())
