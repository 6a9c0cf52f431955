"""Published rivals of raters as unknowns: by hand, each on simulated people whom it should find, and none below nobody."""

import math

import numpy as np
import pytest
import torch
from torch import tensor

from raterhf.bench import rival_fits, rivals
from raterhf.bench.rival_fits import BASIS, ENCODER, GRIDS, HEADS, PROTOTYPES, TEXT_IDS
from raterhf.bench.rival_tellers import in_mind, resampled
from raterhf.bench.rivals import Basis, Encoder, Heads, Labels, Mixed, Prototypes, Written
from raterhf.bench.told import Told, together_in_mind


def test_a_head_by_hand():
    """Numbers (2, -1) on features (1, 3): -1."""
    model = Heads(tensor([[1.0, 3.0]]))
    assert model.worth(tensor([[2.0, -1.0]]), tensor([0]), tensor([0])).item() == -1


def test_a_basis_by_hand():
    """Three parts of 1 and one of 5 are 2."""
    model = Basis(1, 2)
    model.rewards.data = tensor([[1.0, 5.0]])
    assert model.worth(tensor([[math.log(3), 0.0]]), tensor([0]), tensor([0])).item() == pytest.approx(2)


def test_a_prototype_by_hand():
    """Ideal points 1 and -1 on a line, 0 between them: an item at 1 lies 0, 4 and 1 from who is at 1, at -1 and at 0; and these from the
    middle 1, 1 and 0: worth 1, -3 and -1."""
    model = Prototypes(1, 2)
    model.points.data, model.places.data = torch.zeros(2, rivals.PLACE), torch.zeros(1, rivals.PLACE)
    model.points.data[:, 0], model.places.data[:, 0] = tensor([1.0, -1.0]), 1.0
    people = tensor([[50.0, 0.0], [0.0, 50.0], [0.0, 0.0]])
    assert model.worth(people, tensor([0, 1, 2]), tensor([0, 0, 0])).tolist() == pytest.approx([1, -3, -1])


def test_a_table_says_what_single_products_say():
    people, items = torch.randn(3, 2), torch.randn(4, 2)
    rater, item = torch.arange(48) % 3, torch.arange(48) % 4
    assert torch.allclose(rivals.inner(people, items, rater, item)[:2], rivals.inner(people, items, rater[:2], item[:2]))


def test_what_labels_cost_by_hand():
    rating = Labels(tensor([0]), tensor([0]), None, tensor([3.0]), tensor([1.0]))
    assert rating.left().tolist() == [2] and rivals.nats(rating, tensor([2.0])).tolist() == [0.5]
    pair = Labels(tensor([0]), tensor([0]), tensor([1]), tensor([1.0]), tensor([0.0]))
    assert pair.left().tolist() == [0.5] and rivals.nats(pair, tensor([0.0])).item() == pytest.approx(math.log(2))


def test_features_are_the_widest_direction():
    """One rater likes items 0 and 1 alike and nothing of item 2: both on one side, of mean square 1 together with the third."""
    found = rivals.features(Labels(tensor([0, 0]), tensor([0, 1]), None, tensor([2.0, 2.0]), torch.zeros(2)), 1, 3, 1)
    assert np.abs(found[:, 0].numpy()) == pytest.approx([math.sqrt(1.5), math.sqrt(1.5), 0], abs=1e-6)


def two_kinds(compared: bool, raters: int = 120, items: int = 16, each: int = 40, seed: int = 0) -> tuple[Labels, np.ndarray]:
    """Half of the raters love what the other half hates; also the kinds [R], 1 or -1."""
    rng = np.random.default_rng(seed)
    kind, of = rng.choice([-1.0, 1.0], raters), 1.5 * rng.standard_normal(items)
    rater, a = np.repeat(np.arange(raters), each), rng.integers(items, size=raters * each)
    b = (a + rng.integers(1, items, size=len(a))) % items
    worth = kind[rater] * of[a]
    value = worth + rng.standard_normal(len(a))
    if compared:
        value = (rng.random(len(a)) < 1 / (1 + np.exp(kind[rater] * of[b] - worth))).astype(float)
    return Labels(*rivals.tensors(rater, a, b, value, np.zeros(len(a)))) if compared else Labels(
        *rivals.tensors(rater, a), None, *rivals.tensors(value, np.zeros(len(a)))
    ), kind


IDS = [f"u{i}" for i in range(120)]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(rival_fits, "STEPS", 150)
    monkeypatch.setattr(rival_fits, "GRIDS", {name: grid[:1] for name, grid in GRIDS.items()})


def parts(labels: Labels) -> tuple[Labels, Labels]:
    back = np.random.default_rng(1).random(len(labels)) < 0.2
    return labels.rows(np.flatnonzero(~back)), labels.rows(np.flatnonzero(back))


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("name", [HEADS, PROTOTYPES, ENCODER, BASIS])
def test_two_kinds_of_people_are_found(quick, name, compared):
    """Known people's labels cost far less than by nobody, and so do those of new people by ten labels of theirs."""
    labels, _ = two_kinds(compared)
    part, held = parts(labels)
    fitted = rival_fits.choose(name, part, held, IDS, 16, 0)
    nobody = float(rivals.nats(held, held.offset).mean())
    noise = 0.5 if not compared else 0.3  # what would be left if raters were known
    assert fitted.nats < nobody - 0.6 * (nobody - noise), (fitted.nats, nobody)
    new, query = parts(two_kinds(compared, seed=0)[0])
    few = new.rows(rival_fits._first(new.rater.numpy(), 10, 0))
    told = rival_fits.margins(fitted, query, fitted.model.new(few, 120, fitted.ridge))
    assert float(rivals.nats(query, torch.from_numpy(told).float()).mean()) < nobody - 0.4 * (nobody - noise)


@pytest.mark.parametrize("name", GRIDS)
def test_none_is_worse_than_nobody_where_raters_are_alike(quick, name):
    """IDs that tell nothing: few updates are chosen, or a wide ridge."""
    labels, _ = two_kinds(True)
    labels = Labels(labels.rater[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))], *(
        getattr(labels, part) for part in ("a", "b", "value", "offset")
    ))  # fmt: skip
    part, held = parts(labels)
    fitted = rival_fits.choose(name, part, held, IDS, 16, 0)
    assert fitted.nats < float(rivals.nats(held, held.offset).mean()) + 0.003


def test_an_id_is_read_by_the_place_of_its_characters():
    """From the end: 1 of u1 stands where 1 of u21 does, and u of u1 where 2 of u21 does, and nothing where its u does."""
    u1, u21, u11 = rivals.characters(["u1", "u21", "u11"])
    assert u1.tolist() == [1, 1, 0, 0, 0] and u21.tolist() == [1, 0, 1, 1, 0] and u11.tolist() == [1, 0, 0, 1, 1]


def test_a_written_vector_by_hand():
    """Letters 1, -2 and 3 (u, 1 and 2 at their places): u1 is -1, no more than nothing; u2 is 4, doubled 8, times the item's .5."""
    model = Written(["u1", "u2"], 1, 1, 1, 1.0)
    model.letters.data = tensor([[-2.0], [1.0], [3.0]])
    model.weights.data, model.items.data = tensor([[2.0]]), tensor([[0.5]])
    assert model.known(None).tolist() == [[0], [8]]
    assert model.worth(model.known(None), tensor([0, 1]), tensor([0, 0])).tolist() == [0, 4]
    assert model.new(None, 3, 1.0).tolist() == [[0], [0], [0]]  # an ID that was never read says nothing


def test_text_ids_find_people_and_say_nothing_of_new_ones(monkeypatch):
    labels, _ = two_kinds(True)
    part, held = parts(labels)
    monkeypatch.setattr(rival_fits, "STEPS", 200)
    fitted = rival_fits.choose(TEXT_IDS, part, held, IDS, 16, 0)
    nobody = float(rivals.nats(held, held.offset).mean())
    assert fitted.nats < nobody - 0.5 * (nobody - 0.3) and fitted.settings["steps"] > 0
    told = rival_fits.margins(fitted, held, fitted.model.new(part, 120, fitted.ridge))
    assert told == pytest.approx(held.offset.numpy())


def test_fewer_items_than_features(quick):
    part, held = parts(two_kinds(True, items=5)[0])
    assert rival_fits.choose(HEADS, part, held, IDS, 5, 0).model.people.shape == (120, 5)


def test_the_same_seed_gives_the_same_rival(quick):
    part, held = parts(two_kinds(False)[0])
    one, other = (rival_fits.choose(ENCODER, part, held, IDS, 16, 3) for _ in range(2))
    assert one.nats == other.nats and one.settings == other.settings
    again = rival_fits.refit(ENCODER, one, part, IDS, 16, 3)
    assert np.allclose(rival_fits.margins(again, held), rival_fits.margins(one, held), atol=1e-5)


def test_without_labels_a_new_person_is_the_mean_of_known_ones():
    labels, _ = two_kinds(False)
    model = Mixed(120, 2, 1.0, lambda: Basis(16, 2))
    nothing = labels.rows(np.zeros(0, np.int64))
    assert torch.allclose(model.new(nothing, 2, 1.0), model.people.detach().mean(0).repeat(2, 1))
    encoder = Encoder(120, 16, 2, 1.0)
    found = encoder.new(nothing, 2, 1.0)
    assert torch.equal(found[0], found[1])


def test_who_is_drawn_twice_is_two_raters():
    """Raters 0, 0, 1 have rows 0 and 2 (rater 0) and 1 (rater 1)."""

    class Drawn:
        def integers(self, high, size):
            return np.array([0, 0])

    rows, rater = resampled(np.array([0, 1, 0]), 2, Drawn())
    assert rows.tolist() == [0, 2, 0, 2] and rater.tolist() == [0, 0, 1, 1]


def test_members_speak_by_their_mean_probability():
    """.9 and .5 are .7; the scale is that of members of a part."""
    sure, unsure = Told(np.zeros(1, np.int64), np.array([math.log(9)])), Told(np.zeros(1, np.int64), np.zeros(1))
    assert together_in_mind([sure, unsure]).margin == pytest.approx([math.log(7 / 3)])
    asked = Told(np.zeros(4, np.int64), np.array([2.0, 2.0, 2.0, -2.0]))  # three of four right: log-odds of log 3 at a margin of 2
    found = in_mind("both", [lambda _: sure, lambda _: unsure], [lambda _: asked, lambda _: asked], None)
    scaled = 1 / (1 + 9 ** -(math.log(3) / 2))
    assert found.known(None).margin == pytest.approx([math.log((scaled + 0.5) / (1.5 - scaled))], rel=1e-2) and found.new is None
