"""A pool of raters in a model folder: `raters.json` (who) and `raters.safetensors` (their vectors, the populations), bound by a digest.

What they hold stands in `models/checkpoint.py`, which describes the whole folder.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from raterhf.errors import UserError
from raterhf.io import check_whole, file_digest, read_json, write_file
from raterhf.raters.answers import AnswerModel
from raterhf.raters.letters import Letters
from raterhf.raters.pool import PoolText, RaterPool
from raterhf.raters.population import Population

Tensors = TypeVar("Tensors")
SCHEMA = 6  # of a model folder
ANSWERS = "answers.safetensors"  # how raters are known by their answers, where they are
PUT_BACK = "put the saved files back, or delete the folder and train that stage again"


def read_safe(path: Path, load: Callable[[Path], Tensors]) -> Tensors:
    """A safetensors file of a run folder. Raises UserError where it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path} is missing, so {path.parent} is no complete run folder; train it again")
    try:
        return load(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); delete its folder and train that stage again") from error


def save_pool(folder: Path, pool: RaterPool) -> None:
    """Write `raters.safetensors` and `raters.json`, new files where there are older ones."""
    arrays = {"vectors": pool.vectors.astype(np.float32)}
    names = list(pool.populations)
    for i, name in enumerate(names):
        population = pool.populations[name]
        arrays |= {f"{i}.weights": population.weights, f"{i}.means": population.means, f"{i}.factors": population.factors}
    if pool.covariances:
        arrays["covariances"] = np.stack(list(pool.covariances.values())).astype(np.float32)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "raters.safetensors")
    text = {
        "schema": SCHEMA, "encoding": pool.encoding, "idiosyncratic_dim": pool.idiosyncratic_dim, "text_template": pool.text_template,
        "ids": pool.known, "personas": pool.personas, "groups": pool.groups, "populations": names, "dropped": pool.dropped,
        "inferred": list(pool.covariances),
    }  # fmt: skip
    (folder / "raters.json").write_text(json.dumps(text | {"digest": _pool_digest(folder, text)}, ensure_ascii=False), "utf-8")


def _pool_digest(folder: Path, text: dict) -> str:
    """Of what `raters.json` says beside its digest, and of `raters.safetensors`."""
    whole = json.dumps(text, ensure_ascii=False, sort_keys=True) + file_digest(str(folder / "raters.safetensors"))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def load_pool(folder: Path) -> RaterPool:
    """The raters of a model folder. Raises UserError where its two files are not a pool, or not the pool that was saved."""
    text = read_json(check_whole(folder) / "raters.json", PoolText)
    if text.get("schema") != SCHEMA:
        raise UserError(f"{folder}/raters.json has schema {text.get('schema')}, this version reads {SCHEMA}; train it again")
    arrays = read_safe(folder / "raters.safetensors", load_file)
    if fault := _pool_fault(text, arrays):
        raise UserError(f"{folder}/raters.json and raters.safetensors are no pool of raters: {fault}; {PUT_BACK}")
    digest = text.pop("digest", None)
    if digest != _pool_digest(folder, text):
        raise UserError(
            f"{folder}/raters.json and raters.safetensors do not belong together, or were changed since they were saved (their digest "
            f"differs), so an ID could stand for another person; {PUT_BACK}; `raterhf raters drop` removes a rater"
        )
    populations = {
        name: Population(arrays[f"{i}.weights"], arrays[f"{i}.means"], arrays[f"{i}.factors"]) for i, name in enumerate(text["populations"])
    }
    return RaterPool(
        text["ids"],
        arrays["vectors"],
        text["idiosyncratic_dim"],
        text["encoding"],
        text["personas"],
        text["groups"],
        populations,
        text["text_template"],
        text["dropped"],
        dict(zip(text["inferred"], arrays.get("covariances", ()))),
    )


def save_answer_model(folder: Path, model: AnswerModel, letters: Letters, prompts: list[str]) -> None:
    """Write how raters are known by their answers, for people who come later."""
    tensors = {name: getattr(model, name) for name in ("centres", "axes", "noise")}
    tensors |= {"rarity": letters.rarity, "main": letters.axes}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    about = {"prompts": json.dumps(prompts), "terms": json.dumps(letters.terms)}
    write_file(folder / ANSWERS, lambda partial: save_file(tensors, partial, about))


def load_answer_model(folder: Path) -> tuple[AnswerModel, Letters, list[str]]:
    """What `save_answer_model` wrote. Raises UserError where it is damaged."""

    def about(path: Path) -> list[list[str]]:
        with safe_open(path, "np") as file:
            return [json.loads(file.metadata()[name]) for name in ("prompts", "terms")]

    path = folder / ANSWERS
    tensors, (prompts, terms) = read_safe(path, load_file), read_safe(path, about)
    sizes = {name: tensors[name].shape if name in tensors else () for name in ("centres", "axes", "noise", "rarity", "main")}
    k, points = sizes["noise"][:1], sizes["main"][1:]
    wanted = {
        "centres": (len(prompts) + 1, *points),
        "axes": (*points, *k),
        "noise": k,
        "rarity": (len(terms),),
        "main": (len(terms), *points),
    }
    if sizes != wanted or not points or not k or not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise UserError(f"{path} does not hold what people are known by; delete {folder} and train that stage again")
    model = AnswerModel(tensors["centres"], tensors["axes"], tensors["noise"])
    return model, Letters(terms, tensors["rarity"], tensors["main"]), prompts


def check_specs(run: Path, specs: Iterable[str], stages: Iterable[str]) -> None:
    """Raise UserError for a SPEC that names nobody of the run's first of `stages` that has raters, before anything heavy is imported.

    A run without such a stage is left to whoever opens it.
    """
    folder = next((one for one in (run, *(run / stage for stage in stages)) if (one / "raters.json").is_file()), None)
    if folder is not None:
        pool = load_pool(folder)
        for spec in specs:
            pool.check_spec(spec, counted=True)


def _pool_fault(text: dict, arrays: dict[str, np.ndarray]) -> str:
    """Why these are no pool, empty where they are one: every ID once, a row for each, the same k everywhere."""
    ids, vectors = text["ids"], arrays.get("vectors", np.zeros(0))
    if twice := [rater_id for rater_id, n in Counter(ids).items() if n > 1]:
        return f"the ID {twice[0]!r} is there {ids.count(twice[0])} times"
    if vectors.ndim != 2 or len(vectors) != len(ids):
        return f"{len(ids)} IDs, and vectors of shape {list(vectors.shape)} instead of [{len(ids)}, k]"
    members = [*text["groups"], *text["inferred"], *(rater_id for one in text["personas"].values() for rater_id in one)]
    known = set(ids)
    if strangers := [rater_id for rater_id in members if rater_id not in known]:
        return f"a group or persona has the member {strangers[0]!r}, who is none of the IDs"
    k = vectors.shape[1]
    for i, name in enumerate(text["populations"]):
        shapes = [list(arrays[f"{i}.{part}"].shape) if f"{i}.{part}" in arrays else None for part in ("weights", "means", "factors")]
        components = shapes[0][0] if shapes[0] else 0
        if shapes != [[components], [components, k], [components, k, k]] or not components:
            return f"population {name!r} has the shapes {shapes} instead of [C], [C, {k}] and [C, {k}, {k}]"
    covariances = arrays.get("covariances", np.zeros((0, k, k)))
    if covariances.shape != (len(text["inferred"]), k, k):
        return f"{len(text['inferred'])} inferred raters, and covariances of shape {list(covariances.shape)} instead of [..., {k}, {k}]"
    if broken := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        return f"{broken[0]} holds NaN or infinity"
    return ""
