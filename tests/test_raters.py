"""Who judges: the grammar of SPEC, drawing that is the same everywhere, populations that fit, pools that survive saving."""

import re

import numpy as np
import pytest
from small_run import one_gaussian

from raterhf.errors import UserError
from raterhf.models.checkpoint import load_pool, save_pool
from raterhf.raters.batch import RaterBatch
from raterhf.raters.files import _pool_fault
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population, fit_population
from raterhf.run import _check_group

IDS = ["t0001", "t0002", "t0003", "lena", "new york"]


def one(mean: list[float], spread: float = 0.1) -> Population:
    return Population(np.ones(1), np.array([mean]), spread * np.eye(len(mean))[None])


def make_pool(encoding: str = "embedding") -> RaterPool:
    """Two clusters, at (-3, 0) and (3, 0); group north and persona sailor near the first."""
    soft = encoding == "embedding"
    two = Population(np.array([0.25, 0.75]), np.array([[-3.0, 0.0], [3.0, 0.0]]), 0.5 * np.stack([np.eye(2)] * 2))
    return RaterPool(
        IDS, np.arange(10, dtype=np.float32).reshape(5, 2) if soft else np.zeros((5, 0), np.float32), 3 if soft else 0, encoding,
        personas={"sailor": ["t0001"], "monk": ["lena"]}, groups={"t0001": "north", "t0002": "north", "lena": "south"},
        populations={"": two, "group:north": one([-3, 1]), "persona:sailor": one([-3, -1])} if soft else {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "kind"),
    [("new", "fresh"), ("new:7", "fixed"), ("new:0", "fixed"), ("new:64x", "counted"), ("all", "all"), ("none", "none"),
     ("lena", "known"), ("new york", "known"), ("persona:sailor", "persona"), ("new:[.5,-1e0]", "point"), ("new:[0, 0]", "point")],
)  # fmt: skip
def test_grammar(spec, kind):
    assert make_pool().check_spec(spec, counted=True) == kind


@pytest.mark.parametrize(
    ("spec", "counted", "says"),
    [
        ("new:", True, r"after `new:` comes a whole number \(new:NUMBER or new:COUNTx\)"),
        ("new:-1", False, r"\(new:NUMBER\); for one fresh rater use `new`, for 64 of them"),
        ("new:7.5", False, "whole number"),
        ("new:64x", False, r"\(new:NUMBER\)"),
        ("new:0x", True, "whole number"),
        (
            "new:[1]",
            False,
            r"'new:\[1\]' has 1 numbers that can be read; a point of this run's rater space is 2 numbers from -1000 to 1000",
        ),
        ("new:[1,2,3]", False, "has 3 numbers"),
        ("new:[1,x]", False, "has 0 numbers"),
        ("new:[1,+-2]", False, "has 0 numbers"),
        ("new:[1,2e9]", False, "from -1000 to 1000"),
        ("t0009", False, r"'t0009' is not known to this run \(5 raters; nearest: t000"),
        ("", False, "rater '' is not known"),
        ("New", False, "not known"),
        ("persona:sailer", False, "persona 'sailer' is not in this run; did you mean sailor?"),
        ("persona:monk", False, "persona 'monk' has 1 raters, fewer than the 8 .*there are: sailor"),
    ],
)
def test_grammar_errors_name_the_value_and_the_remedy(spec, counted, says):
    with pytest.raises(UserError, match=says):
        make_pool().resolve(spec, 1, 0, counted=counted)


def test_how_many_raters_a_spec_stands_for():
    pool = make_pool()
    count = lambda spec, **more: len(pool.resolve(spec, 4, 0, counted=True, **more))  # noqa: E731
    assert [count(s) for s in ("new", "new:7", "new:64x", "all", "none", "lena", "persona:sailor")] == [4, 1, 64, 5, 1, 1, 4]
    assert [r.id for r in pool.resolve("all", 4, 0, group="north")] == ["t0001", "t0002"]
    with pytest.raises(UserError, match="group 'east' has no known rater; there are: north, south"):
        pool.resolve("all", 4, 0, group="east")


def test_rater_seven_is_the_same_on_every_machine():
    # Written out: numpy's PCG64 under SeedSequence([7, 0x726174]); a change of these numbers changes everybody's raters.
    rater = make_pool().fictitious(7)
    assert rater.id == "new:7"
    np.testing.assert_allclose(rater.vector, [3.266935, -0.790710, 0.771604, 0.149322, -1.135982], atol=1e-6)
    np.testing.assert_allclose(make_pool().by_id("lena").vector, [6, 7, 1.377920, -0.078733, -1.257971], atol=1e-6)
    assert make_pool().fresh_numbers(2, seed=0) == [6671631837222684, 3201949710082864]


def test_drawing_is_a_function_of_the_seed():
    pool = make_pool()
    ids = lambda seed: [r.id for r in pool.resolve("new", 20, seed)]  # noqa: E731
    assert ids(1) == ids(1) and len(set(ids(1))) == 20
    assert not set(ids(1)) & set(ids(2))
    # a fresh rater can be asked again by the name it was given
    first = pool.resolve("new", 1, 3)[0]
    np.testing.assert_array_equal(pool.resolve(first.id, 1, 99)[0].vector, first.vector)


def test_known_raters_have_their_vector_and_noise_of_their_own():
    pool = make_pool()
    a, b = pool.by_id("t0001"), pool.by_id("t0002")
    np.testing.assert_array_equal(a.vector[:2], [0, 1])
    np.testing.assert_array_equal(b.vector[:2], [2, 3])
    assert a.vector.dtype == np.float32 and len(a.vector) == 5
    assert not np.allclose(a.vector[2:], b.vector[2:])
    np.testing.assert_array_equal(pool.by_id("t0001").vector, a.vector)


def test_points_differ_in_taste_alone():
    pool = make_pool()
    a, b = pool.at(np.array([0.5, -1.25])), pool.at(np.array([-0.0001, 2.0]))
    assert (a.id, b.id) == ("new:[0.5,-1.25]", "new:[0,2]")
    np.testing.assert_allclose(a.vector[:2], [0.5, -1.25])
    np.testing.assert_array_equal(a.vector[2:], b.vector[2:])
    np.testing.assert_array_equal(pool.resolve(a.id, 3, 9)[0].vector, a.vector)
    with pytest.raises(UserError, match="only a run with raters.encoding embedding has points"):
        make_pool("text").check_spec("new:[0,0]")
    with pytest.raises(UserError, match="new:.0,0.'.*a group narrows"):
        _check_group(pool, "new:[0,0]", "north")


def test_fictitious_raters_come_from_the_population():
    pool = make_pool()
    drawn = np.stack([pool.fictitious(n).vector for n in range(800)])
    left = drawn[:, 0] < 0
    assert left.mean() == pytest.approx(0.25, abs=0.05)
    assert drawn[left, 0].mean() == pytest.approx(-3, abs=0.2) and drawn[~left, 0].std() == pytest.approx(0.5, abs=0.06)
    assert np.abs(drawn[:, 2:].mean(0)).max() < 0.15 and drawn[:, 2:].std(0) == pytest.approx(np.ones(3), abs=0.1)
    known = {tuple(pool.by_id(i).vector) for i in IDS}
    assert not known & {tuple(v) for v in drawn}
    assert not set(IDS) & {r.id for r in pool.resolve("new", 50, 0)}


def test_group_and_persona_draws():
    pool = make_pool()
    north = pool.resolve("new", 30, 0, group="north")
    sailors = pool.resolve("persona:sailor", 30, 0)
    assert np.abs(np.stack([r.vector[:2] for r in north]).mean(0) - [-3, 1]).max() < 0.1
    assert np.abs(np.stack([r.vector[:2] for r in sailors]).mean(0) - [-3, -1]).max() < 0.1
    assert all(re.fullmatch(r"new:\d+@north", r.id) for r in north)
    assert all(re.fullmatch(r"new:\d+@persona:sailor", r.id) for r in sailors)
    assert pool.resolve("new:7", 1, 0, group="north")[0].vector[1] == pytest.approx(1, abs=0.5)
    with pytest.raises(UserError, match="group 'nord' is not in this run; did you mean north?"):
        pool.resolve("new", 1, 0, group="nord")


def test_text_raters_never_bear_a_known_id():
    # Of the ten IDs of this shape nine are taken, so that a careless draw would meet one.
    pool = RaterPool([f"t{i}" for i in range(9)], np.zeros((9, 0), np.float32), 0, "text")
    texts = [pool.fictitious(n).text for n in range(200)]
    names = {t.removeprefix("Rater ").removesuffix(": ") for t in texts}
    assert not names & set(pool.known)
    assert all(re.fullmatch(r"Rater t\d+: ", t) for t in texts)
    assert pool.by_id("t3").text == "Rater t3: "
    assert pool.fictitious(7).text == pool.fictitious(7).text
    # IDs without a digit are made different too
    named = RaterPool(["lena", "otto"], np.zeros((2, 0), np.float32), 0, "text")
    assert all(re.fullmatch(r"Rater (lena|otto)-\d+: ", named.fictitious(n).text) for n in range(50))


def test_text_personas_stand_in_the_text():
    pool = make_pool("text")
    assert {r.text for r in pool.resolve("persona:sailor", 3, 0)} == {"Rater sailor: "}
    with pytest.raises(UserError, match="persona 'cook' is not in this run; there are: monk, sailor"):
        pool.resolve("persona:cook", 1, 0)


def test_a_run_without_raters_knows_nobody():
    pool = make_pool("none")
    assert pool.resolve("none", 3, 0)[0].vector is None
    for spec in ("new", "all", "lena"):
        with pytest.raises(UserError, match="raters.encoding is none.*use none"):
            pool.resolve(spec, 1, 0)


def test_a_batch_holds_vectors_and_who_is_nobody():
    pool = make_pool()
    batch = RaterBatch.of([pool.by_id("t0002"), pool.null()], 5)
    assert batch.null.tolist() == [False, True]
    assert batch.vectors[0, :2].tolist() == [2, 3] and batch.vectors[1].tolist() == [0] * 5


def test_log_density_of_a_standard_normal():
    # 2 pi e^(x^2/2) in two dimensions: -log(2 pi) - 1/2 at (1, 0)
    log_density = one([0.0, 0.0], 1.0).log_density(np.array([[1.0, 0.0]]))
    assert log_density == pytest.approx([-np.log(2 * np.pi) - 0.5])
    # twice as wide: -log(2 pi) - log 4 - 1/8
    assert one([0.0, 0.0], 1.0).widened(2).log_density(np.array([[1.0, 0.0]])) == pytest.approx([-np.log(8 * np.pi) - 0.125])


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("clusters", [1, 2, 4])
def test_the_number_of_clusters_is_found(clusters, judged):
    rng = np.random.default_rng(0)
    centres = 6 * np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])[:clusters]
    train, fresh = (centres[rng.integers(clusters, size=200)] + 0.5 * rng.standard_normal((200, 2)) for _ in range(2))

    def judge(draws: np.ndarray) -> float:
        """How well the draws cover fresh raters: a kernel density of the draws."""
        squared = ((fresh[:, None] - draws[None]) ** 2).sum(-1)
        return float(np.log(np.exp(-squared / 0.5).mean(1) + 1e-300).mean())

    population, trials = fit_population(train, [1, 2, 4], [1.0], 0, judge if judged else None)
    best = {size: max(t["log_likelihood"] for t in trials if t["components"] == size) for size in (1, 2, 4)}
    assert trials[0]["components"] == len(population.weights)
    assert trials[0]["log_likelihood"] == max(best.values())
    if judged:  # by 256 draws, which cannot tell components that lie upon each other
        assert len(population.weights) >= clusters
        assert all(best[clusters] > best[fewer] + 0.2 for fewer in best if fewer < clusters)
        assert all(best[clusters] > best[more] - 0.1 for more in best if more > clusters)
    else:
        assert len(population.weights) == clusters
    gaps = np.linalg.norm(population.means[:, None] - centres[None], axis=-1).min(0)
    assert gaps.max() < 0.5


def test_the_width_is_chosen():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 2))
    _, trials = fit_population(vectors, [1], [0.3, 1.0, 3.0], 0)
    assert trials[0]["scale"] == 1.0


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("judge", [None, lambda draws: 0.0])
def test_a_population_of_few_raters_is_one_component(n, judge):
    vectors = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[:n]
    population, _ = fit_population(vectors, [1, 2, 16], [1.0], 0, judge)
    assert len(population.weights) == 1 and np.isfinite(population.draws(10, 0)).all()
    np.testing.assert_allclose(population.means[0], vectors.mean(0))


@pytest.mark.parametrize("encoding", ["embedding", "text", "none"])
def test_a_pool_survives_saving(encoding, tmp_path):
    pool = make_pool(encoding)
    save_pool(tmp_path, pool)
    back = load_pool(tmp_path)
    assert (back.known, back.personas, back.groups, back.idiosyncratic_dim, back.encoding, back.text_template) == (
        pool.known, pool.personas, pool.groups, pool.idiosyncratic_dim, pool.encoding, pool.text_template,
    )  # fmt: skip
    np.testing.assert_array_equal(back.vectors, pool.vectors)
    assert list(back.populations) == list(pool.populations)
    if encoding == "embedding":
        for spec, group in (("new", None), ("new:7", "north"), ("persona:sailor", None), ("all", None)):
            for a, b in zip(pool.resolve(spec, 3, 0, group), back.resolve(spec, 3, 0, group)):
                assert a.id == b.id
                np.testing.assert_array_equal(a.vector, b.vector)


def test_a_population_too_small_for_every_size_is_one_gaussian():
    vectors = np.random.default_rng(0).standard_normal((8, 2))
    found, trials = fit_population(vectors, [4, 8], [1.0], seed=0)
    assert len(found.weights) == 1 and {trial["components"] for trial in trials} == {1}


@pytest.mark.parametrize("spec", ["new:1000001x", "new:999999999x", f"new:{'9' * 5000}x", f"new:{2**63 + 1}", f"new:{'9' * 5000}"])
def test_gigantic_numbers_of_raters_are_refused_at_once(spec):
    pool = RaterPool(["a", "b"], np.zeros((2, 2), np.float32), 0, "embedding")
    with pytest.raises(UserError, match="fresh raters are drawn at once|have numbers up to"):
        pool.check_spec(spec, counted=True)


def test_a_text_template_is_not_python_formatting():
    pool = RaterPool(["a"], np.zeros((1, 0), np.float32), 0, "text", text_template="{:>9999999999}{}")
    assert pool.by_id("a").text == "{:>9999999999}a"


def test_many_raters_become_known_at_once():
    """Old ones keep their place and get new vectors, new ones follow in order; the pool is made once, not once for each."""
    pool = RaterPool(["a", "b"], np.zeros((2, 2), np.float32), 0, "embedding", {}, {"a": "north"}, {"": one_gaussian(0.0)})
    people = [("c", np.ones(2), np.eye(2), "south"), ("b", np.full(2, 2.0), np.eye(2), None), ("d", np.full(2, 3.0), np.eye(2), None)]
    found = pool.with_raters(people)
    assert found.known == ["a", "b", "c", "d"] and found.vectors[:, 0].tolist() == [0, 2, 1, 3]
    assert found.groups == {"a": "north", "c": "south"} and list(found.covariances) == ["c", "b", "d"]
    assert pool.known == ["a", "b"] and pool.vectors.sum() == 0 and found.populations is pool.populations


def test_a_pool_is_checked_in_a_few_passes_over_its_ids():
    """Not in one for each member of a group."""

    class Counted(list):
        passes = 0

        def __iter__(self):
            Counted.passes += 1
            return super().__iter__()

    ids = Counted(f"r{i}" for i in range(50))
    text = {"ids": ids, "groups": dict.fromkeys(map("r{}".format, range(50)), "g"), "inferred": [], "personas": {}, "populations": []}
    assert _pool_fault(text, {"vectors": np.zeros((50, 2))}) == "" and Counted.passes <= 5
