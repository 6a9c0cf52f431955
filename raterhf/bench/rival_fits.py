"""Rivals fitted: by settings and a number of updates under which labels that are kept back cost least, the same care for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from raterhf.bench.rivals import Basis, Encoder, Heads, Labels, Mixed, Prototypes, Rival, Written, features, nats, says

RATE = 0.03  # Adam's
STEPS, LOOK, PATIENCE = 600, 10, 12  # updates at most; between looks at what was kept back; looks without gain
FEW = 10  # labels by which the ridge of new raters is chosen


@dataclass(frozen=True)
class Fitted:
    """A rival that was fitted, `settings` and `ridge` of new raters as chosen, and what labels kept back cost, in nats each."""

    model: Rival
    known: Labels
    settings: dict
    ridge: float
    nats: float


HEADS, PROTOTYPES, ENCODER, BASIS = "head of each rater", "mixture of prototypes", "variational encoder", "low-rank basis"
TEXT_IDS = "literal text IDs"
MIXTURES = [{"size": size, "ridge": ridge} for size, ridge in ((4, 1.0), (16, 0.25), (16, 1.0), (16, 4.0))]
GRIDS: dict[str, list[dict]] = {
    HEADS: [{"size": size, "ridge": ridge} for size, ridge in ((8, 1.0), (8, 4.0), (24, 4.0), (24, 16.0))],
    PROTOTYPES: MIXTURES,
    ENCODER: [{"size": 8, "beta": beta} for beta in (1.0, 0.1)],
    BASIS: MIXTURES,
    TEXT_IDS: [
        {"size": size, "hidden": hidden, "ridge": ridge}
        for size, hidden, ridge in ((8, 64, 1.0), (8, 512, 0.25), (8, 512, 1.0), (24, 512, 4.0))
    ],
}
NEW_RIDGES = (0.3, 1.0, 3.0, 10.0)  # of raters who come after training, times the ridge chosen


def make(name: str, labels: Labels, ids: Sequence[str], items: int, settings: dict, seed: int) -> nn.Module:
    """A rival that knows nothing yet, but its features; the same seed gives the same one."""
    torch.manual_seed(seed)
    size = min(settings["size"], items) if name == HEADS else settings["size"]  # there are no more features than items
    if name == ENCODER:
        return Encoder(len(ids), items, size, settings["beta"])
    if name == TEXT_IDS:
        return Written(ids, items, size, settings["hidden"], settings["ridge"])
    forms = {
        HEADS: lambda: Heads(features(labels, len(ids), items, size)),
        PROTOTYPES: lambda: Prototypes(items, size),
        BASIS: lambda: Basis(items, size),
    }
    return Mixed(len(ids), size, settings["ridge"], forms[name])


def train(model: nn.Module, labels: Labels, steps: int, held: Labels | None = None) -> tuple[int, float]:
    """Update the model in place; with labels kept back only to where these cost least: how many updates that were, and the cost of each."""
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    best, at, kept = np.inf, 0, {}
    for step in range(steps + 1):
        if held is not None and step % LOOK == 0:
            with torch.no_grad():
                cost = float(nats(held, says(model, model.known(labels), held)).mean())
            if cost < best - 1e-5:
                best, at, kept = cost, step, {name: one.clone() for name, one in model.state_dict().items()}
            elif step - at >= PATIENCE * LOOK:
                break
        if step == steps:
            break
        optimiser.zero_grad()
        model.loss(labels, step).backward()
        optimiser.step()
    if held is not None:
        model.load_state_dict(kept)
    return at, best


def choose(name: str, part: Labels, held: Labels, ids: Sequence[str], items: int, seed: int) -> Fitted:
    """The rival fitted to `part` with the settings under which labels kept back cost least; `steps` is among them."""
    best: Fitted | None = None
    for settings in GRIDS[name]:
        model = make(name, part, ids, items, settings, seed)
        steps, cost = train(model, part, STEPS, held)
        if best is None or cost < best.nats:
            best = Fitted(model, part, settings | {"steps": steps}, 0.0, cost)
    assert best is not None
    if not isinstance(best.model, Mixed):  # others have no ridge of new raters
        return best
    few = part.rows(_first(part.rater.numpy(), FEW, seed))
    costs = {}
    for ridge in (times * best.settings["ridge"] for times in NEW_RIDGES):
        costs[ridge] = float(nats(held, says(best.model, best.model.new(few, len(ids), ridge), held)).detach().mean())
    return replace(best, ridge=min(costs, key=lambda ridge: costs[ridge]))


def _first(rater: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Some `count` rows of each rater."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x666577])).permutation(len(rater))
    by_rater = order[np.argsort(rater[order], kind="stable")]
    return by_rater[np.arange(len(by_rater)) - np.searchsorted(rater[by_rater], rater[by_rater]) < count]


def refit(name: str, chosen: Fitted, train_labels: Labels, ids: Sequence[str], items: int, seed: int) -> Fitted:
    """The rival fitted to all labels, as it was chosen on a part of them."""
    settings = {key: value for key, value in chosen.settings.items() if key != "steps"}
    model = make(name, train_labels, ids, items, settings, seed)
    train(model, train_labels, chosen.settings["steps"])
    return replace(chosen, model=model, known=train_labels)


@torch.no_grad()
def margins(fitted: Fitted, asked: Labels, people: Tensor | None = None) -> np.ndarray:
    """What a fitted rival says [N] of pairs or ratings: of people whom it knows, or of these."""
    people = fitted.model.known(fitted.known) if people is None else people
    return says(fitted.model, people, asked).double().numpy()
