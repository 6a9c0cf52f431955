"""Tables of `bench raters` that are made in seconds."""

from raterhf.bench import rival_tellers, rivals


def few_rivals(monkeypatch) -> None:
    """One setting of each rival, few updates, three members of an ensemble."""
    monkeypatch.setattr(rivals, "GRIDS", {name: grid[:1] for name, grid in rivals.GRIDS.items()})
    monkeypatch.setattr(rivals, "STEPS", 20)
    monkeypatch.setattr(rival_tellers, "MEMBERS", 3)
