"""What the page of `raterhf explore` is tried on: a run of untrained models, sure enough of what they say for a tree to have branches, the
data of its recipe, and vanilla."""

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from small_run import RECIPE, save_run

DIE, COIN = "Roll a die.", "Flip a coin."
DATA = {
    "comparisons.csv": "prompt,a,b,label,rater_id\n"
    + "".join(f"{DIE},{i},{i + 1},{1 if who == 'ann' else -1},{who}\n" for who in ("ann", "bob", "cy") for i in range(1, 5)),
    "demonstrations.csv": f"prompt,completion,rater_id\n{DIE},6,ann\n{DIE}, 6. ,bob\n{DIE},1,cy\n{COIN},1,cy\n",
}


def save_explored(root: Path, vanilla: bool = False) -> Path:
    run = save_run(root / "tiny", "embedding")
    recipe = RECIPE + ("compare: {vanilla_betas: [0.1]}\n" if vanilla else "")
    for name, text in DATA.items():
        (root / name).write_text(text)
        recipe = recipe.replace(name, str(root / name))
    for stage in ("policy", "reward"):
        (run / stage / "recipe.resolved.yaml").write_text(recipe)
    weights = run / "policy" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] *= 12  # which the logits grow with
    save_file(tensors, weights, {"format": "pt"})
    if vanilla:
        shutil.copytree(run / "base", run / "vanilla" / "rl-beta-0.1")
    return run
