"""Who judges: known raters, fictitious ones, the null rater, personas and groups; and the SPEC grammar that names them.

    new          a fresh fictitious rater for each sample       all            every known rater
    new:7        fictitious rater number 7, always the same     none           the null rater
    new:64x      64 fresh ones                                  persona:NAME   a fictitious member of a persona
    ID           a known rater                                  new:7@G, new:7@persona:NAME   number 7 of a group or persona
    new:[.5,-1]  the person at this point of rater space (k numbers)

A rater's vector is taste (k dimensions, learned or drawn from the population) and idiosyncratic taste (o standard normal dimensions, which
sampling draws with; a known rater's are seeded by the ID, and all points have the same, so that between them taste alone differs). Drawing
is seeded with numpy's PCG64 and never yields a known rater: fictitious IDs begin with `new:`, which the data may not use.
"""

import difflib
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from raterhf.data.dropped import id_digest
from raterhf.errors import UserError
from raterhf.raters.population import MIN_MEMBERS, Population
from raterhf.recipe import rater_text
from raterhf.recipe_base import MAX_WIDTH

MOST = 10**6  # fresh raters that one SPEC asks for
LARGEST = 2**63  # number of a fictitious rater
POINT = re.compile(r"new:\[([-+.0-9eE, ]*)\]")
FURTHEST = 1e3  # coordinate of a point: a population's spread is about 1
FIXED = re.compile(r"new:([0-9]+)(?:@(?!persona:)(.+)|@persona:(.+))?")


def require_text(spec: object) -> None:
    """Raise UserError where what should say who judges is no text."""
    if not isinstance(spec, str):
        raise UserError(f'rater {spec!r} is no text; give "new", "new:7", "none", "all", "persona:NAME" or an ID')


@dataclass(frozen=True)
class Rater:
    """One point of view. `vector` [k + o] float32 is None for the null rater; `text` is the prefix under encoding `text`."""

    id: str
    vector: np.ndarray | None
    text: str = ""


class PoolText(BaseModel):
    """What is read of `raters.json`."""

    encoding: Literal["embedding", "text", "none"]
    idiosyncratic_dim: int = Field(ge=0, le=MAX_WIDTH)
    text_template: str
    ids: list[str]
    personas: dict[str, list[str]]
    groups: dict[str, str]
    populations: list[str]
    dropped: list[str]
    inferred: list[str]


@dataclass
class RaterPool:
    """The known raters (row i of `vectors` [R, k] belongs to `known[i]`) and the populations fitted to them.

    `populations` maps "" (everybody), "group:G" and "persona:P" to mixtures. `dropped` are digests of the IDs of those who were removed.
    `covariances` maps the IDs of raters who were inferred to what their labels leave uncertain of their vector [k, k].
    """

    known: list[str]
    vectors: np.ndarray
    idiosyncratic_dim: int
    encoding: str
    personas: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    text_template: str = "Rater {}: "
    dropped: list[str] = field(default_factory=list)
    covariances: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        self.index = {rater_id: i for i, rater_id in enumerate(self.known)}

    @property
    def dim(self) -> int:
        """Dimensions k of taste."""
        return self.vectors.shape[1]

    @property
    def population(self) -> Population:
        """Everybody's, from which `new` is drawn. Raises UserError where the model knows no raters."""
        return self._population(None, None)

    @property
    def askable(self) -> list[str]:
        """Names of the personas of whom `persona:NAME` draws a member."""
        if self.encoding == "text":
            return sorted(self.personas)
        return sorted(name.partition(":")[2] for name in self.populations if name.startswith("persona:"))

    def by_id(self, rater_id: str) -> Rater:
        if rater_id not in self.index:
            near = difflib.get_close_matches(rater_id, self.known, n=3)
            hint = f"nearest: {', '.join(near)}; " if near else ""
            raise UserError(
                f"rater {rater_id!r} is not known to this run ({len(self.known)} raters; {hint}or use new, new:7, all, none, persona:NAME)"
            )
        vector = self._with_own(self.vectors[self.index[rater_id]], rater_id)
        return Rater(rater_id, vector, rater_text(self.text_template, rater_id) if self.encoding == "text" else "")

    def at(self, point: np.ndarray) -> Rater:
        """The person at a point [k] of rater space, whose ID is the SPEC of that point: its numbers rounded to thousandths."""
        return self._at("new:[" + ",".join(f"{round(float(x), 3) + 0.0:.3f}".rstrip("0").rstrip(".") for x in point) + "]")

    def _at(self, spec: str) -> Rater:
        """Raises UserError for a SPEC of no point of this space."""
        found = POINT.fullmatch(spec)
        try:
            numbers = [float(part) for part in found[1].split(",")] if found else []
        except ValueError:
            numbers = []
        if self.encoding != "embedding":
            raise UserError(f"rater {spec[:40]!r}: only a run with raters.encoding embedding has points; use new, an ID or none")
        if len(numbers) != self.dim or not all(abs(x) <= FURTHEST for x in numbers):
            raise UserError(
                f"rater {spec[:40]!r} has {len(numbers)} numbers that can be read; a point of this run's rater space is {self.dim} numbers "
                f"from -{FURTHEST:g} to {FURTHEST:g} with commas between them, as the map of `raterhf explore` gives it"
            )
        return Rater(spec, self._with_own(np.array(numbers), "point"))

    def _with_own(self, taste: np.ndarray, name: str) -> np.ndarray:
        """A taste [k] with the idiosyncratic taste that a name seeds [k + o]."""
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        own = np.random.default_rng(seed).standard_normal(self.idiosyncratic_dim)
        return np.concatenate([taste, own]).astype(np.float32)

    def without(self, ids: Collection[str]) -> "RaterPool":
        """The pool of the others. The populations stay as they were fitted, and who was removed is remembered by a digest."""
        digests = (id_digest(rater_id) for rater_id in ids if rater_id in self.index)
        return replace(self._of({*self.known} - {*ids}), dropped=sorted({*self.dropped, *digests}))

    def learned(self) -> "RaterPool":
        """The pool of those whom training learned: nobody who was inferred."""
        return self._of({*self.known} - {*self.covariances})

    def _of(self, ids: Collection[str]) -> "RaterPool":
        known = [rater_id for rater_id in self.known if rater_id in ids]
        members = {name: [rater_id for rater_id in listed if rater_id in ids] for name, listed in self.personas.items()}
        return replace(
            self, known=known, vectors=self.vectors[[self.index[rater_id] for rater_id in known]],
            personas={name: listed for name, listed in members.items() if listed},
            groups={rater_id: group for rater_id, group in self.groups.items() if rater_id in ids},
            covariances={rater_id: found for rater_id, found in self.covariances.items() if rater_id in ids},
        )  # fmt: skip

    def with_raters(self, people: Sequence[tuple[str, np.ndarray, np.ndarray, str | None]]) -> "RaterPool":
        """The pool with more known raters (ID, vector [k], its covariance [k, k], group), after the others in this order, or with other
        vectors for those it knows. Populations stay."""
        place = dict(self.index)
        for rater_id, *_ in people:
            place.setdefault(rater_id, len(place))
        vectors = np.concatenate([self.vectors, np.zeros((len(place) - len(self.known), self.dim), self.vectors.dtype)])
        for rater_id, mean, _, _ in people:
            vectors[place[rater_id]] = mean
        groups = self.groups | {rater_id: group for rater_id, _, _, group in people if group is not None}
        covariances = self.covariances | {rater_id: covariance for rater_id, _, covariance, _ in people}
        return replace(self, known=list(place), vectors=vectors, groups=groups, covariances=covariances)

    def prior(self, group: str | None = None, rater_id: str | None = None) -> Population:
        """What is known of a person before their labels: the population, a group's, or of an inferred rater what was found before.

        Raises UserError for a rater of whom it is not known how sure their vector is.
        """
        if rater_id is None:
            return self._population(group, None)
        if rater_id not in self.covariances:
            raise UserError(
                f"rater {rater_id!r} was learned in training, which does not say how sure their vector is; add their labels to the data "
                "and train again, or give all their labels under another ID"
            )
        vector = self.vectors[self.index[rater_id]].astype(np.float64)
        return Population(np.ones(1), vector[None], np.linalg.cholesky(self.covariances[rater_id].astype(np.float64))[None])

    def null(self) -> Rater:
        return Rater("none", None)

    def fictitious(self, number: int, group: str | None = None, persona: str | None = None) -> Rater:
        """Fictitious rater `number`, within a group or persona where given."""
        name = f"new:{number}" + (f"@{group}" if group is not None else "") + (f"@persona:{persona}" if persona is not None else "")
        rng = np.random.default_rng(np.random.SeedSequence([number, 0x726174]))
        if self.encoding == "text":
            text_id = persona if persona else self._unused_id(rng)
            return Rater(name, np.zeros(self.idiosyncratic_dim, np.float32), rater_text(self.text_template, text_id))
        own = rng.standard_normal(self.idiosyncratic_dim)
        taste = self._population(group, persona).draw(rng)
        return Rater(name, np.concatenate([taste, own]).astype(np.float32))

    def _population(self, group: str | None, persona: str | None) -> Population:
        key = f"persona:{persona}" if persona is not None else f"group:{group}" if group is not None else ""
        if key in self.populations:
            return self.populations[key]
        kind, _, name = key.partition(":")
        if not kind:
            raise UserError("this model knows no raters (it is the base model, or raters.encoding is none); use --rater none")
        members = self.personas.get(name, []) if persona is not None else [r for r, g in self.groups.items() if g == name]
        few = f"has {len(members)} raters, fewer than the {MIN_MEMBERS} to draw fictitious ones from" if members else "is not in this run"
        names = sorted(k.partition(":")[2] for k in self.populations if k.startswith(kind + ":"))
        near = difflib.get_close_matches(name, names, n=1)
        raise UserError(f"{kind} {name!r} {few}; {'did you mean ' + near[0] + '? ' if near else ''}there are: {', '.join(names) or 'none'}")

    def _unused_id(self, rng: np.random.Generator) -> str:
        """A string shaped like the known IDs that none of them has, nor had who was dropped: the model still knows that text."""
        shape = self.known[int(rng.integers(len(self.known)))]
        if not re.search(r"\d", shape):
            shape += "-0"
        while True:
            candidate = re.sub(r"\d", lambda _: str(rng.integers(10)), shape)
            if candidate not in self.index and id_digest(candidate) not in self.dropped:
                return candidate
            shape += "0" if rng.random() < 0.1 else ""

    def fresh_numbers(self, n: int, seed: int) -> list[int]:
        """Numbers of n different fictitious raters, a function of the seed alone."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6E6577]))
        numbers = dict.fromkeys(int(i) for i in rng.integers(2**53, size=n))
        while len(numbers) < n:
            numbers[int(rng.integers(2**53))] = None
        return list(numbers)

    def check_spec(self, spec: str, counted: bool = False) -> str:
        """The kind of a SPEC: `fresh`, `fixed`, `point`, `counted`, `persona`, `all`, `none` or `known`. Raises UserError."""
        require_text(spec)
        if spec in ("new", "all", "none"):
            return {"new": "fresh"}.get(spec, spec)
        if spec.startswith("new:"):
            rest = spec[4:]
            if rest.startswith("["):
                self._at(spec)
                return "point"
            if parts := FIXED.fullmatch(spec):
                number, group, persona = parts.groups()
                if len(number) > 20 or int(number) > LARGEST:
                    raise UserError(f"rater {spec[:40]!r}: fictitious raters have numbers up to {LARGEST}; give a smaller one")
                if group or persona:
                    self._check_population(group, persona)
                return "fixed"
            if counted and re.fullmatch(r"[1-9][0-9]*x", rest):
                if len(rest) > 20 or int(rest[:-1]) > MOST:
                    raise UserError(f"rater {spec[:40]!r}: at most {MOST} fresh raters are drawn at once; give a smaller number")
                return "counted"
            form = "new:NUMBER or new:COUNTx" if counted else "new:NUMBER"
            several = "for a fresh rater use `new`" if counted else "for one fresh rater use `new`, for 64 of them `new` and n = 64 (-n 64)"
            raise UserError(f"rater {spec!r}: after `new:` comes a whole number ({form}); {several}")
        if spec.startswith("persona:"):
            self._check_population(None, spec[8:])
            return "persona"
        self.by_id(spec)
        return "known"

    def _check_population(self, group: str | None, persona: str | None) -> None:
        """Raise UserError where no fictitious rater can be drawn from this group or persona."""
        if self.encoding == "embedding":
            self._population(group, persona)
        elif group is not None:
            raise UserError(f"group {group!r}: this run knows raters by text, which has no groups to draw from; leave it out")
        elif persona not in self.personas:
            raise UserError(f"persona {persona!r} is not in this run; there are: {', '.join(sorted(self.personas)) or 'none'}")

    def resolve(self, spec: str, n: int, seed: int, group: str | None = None, counted: bool = False) -> list[Rater]:
        """The raters that SPEC stands for. `new` and personas give n fresh ones, `new:64x` 64, `all` every known one, the rest one."""
        kind = self.check_spec(spec, counted)
        if self.encoding == "none" and kind != "none":
            raise UserError(f"rater {spec!r}: this model knows no raters (it is the base model, or raters.encoding is none); use none")
        if kind == "none":
            return [self.null()]
        if kind == "all":
            members = [i for i in self.known if group is None or self.groups.get(i) == group]
            if not members:
                raise UserError(f"group {group!r} has no known rater; there are: {', '.join(sorted(set(self.groups.values())))}")
            return [self.by_id(i) for i in members]
        if kind == "known":
            return [self.by_id(spec)]
        if kind == "point":
            return [self._at(spec)]
        if kind == "fixed":
            parts = FIXED.fullmatch(spec)
            assert parts is not None  # check_spec matched it
            number, within, persona = parts.groups()
            if group and (within or persona):
                raise UserError(f"rater {spec!r} names whom it is drawn from already; leave out the group {group!r}")
            return [self.fictitious(int(number), within or group, persona)]
        count = int(spec[4:-1]) if kind == "counted" else n
        persona = spec[8:] if kind == "persona" else None
        return [self.fictitious(number, group, persona) for number in self.fresh_numbers(count, seed)]
