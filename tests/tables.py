"""Tables of `bench raters` that are made in seconds."""

from raterhf.bench import rival_fits, rival_tellers


def few_rivals(monkeypatch) -> None:
    """One setting of each rival, few updates, three members of an ensemble."""
    monkeypatch.setattr(rival_fits, "GRIDS", {name: grid[:1] for name, grid in rival_fits.GRIDS.items()})
    monkeypatch.setattr(rival_fits, "STEPS", 20)
    monkeypatch.setattr(rival_tellers, "MEMBERS", 3)
