"""A small export of every tool that `raterhf data convert` reads, in its real shape, by the file's name in the docs."""

import json
import shutil
from pathlib import Path

CASES = Path(__file__).parent / "cases"
PAIR = {"prompt": "Pet?", "answer_a": "Cat.", "answer_b": "Dog."}


def task(number: int, *annotations: dict, **data) -> dict:
    """A task of Label Studio."""
    return {
        "id": number,
        "data": PAIR | data,
        "annotations": list(annotations),
        "predictions": [],
        "project": 1,
        "created_at": "2026-01-01",
    }


def annotation(who: object, *results: dict, cancelled: bool = False) -> dict:
    return {"id": 1, "completed_by": who, "result": list(results), "was_cancelled": cancelled, "ground_truth": False, "lead_time": 4.2}


def pairwise(selected: str) -> dict:
    return {"id": "x", "type": "pairwise", "from_name": "pw", "to_name": "one,two", "value": {"selected": selected}}


def argilla(response: str, *ratings: int) -> dict:
    """A record of Argilla 2: raters u0, u1, ... gave the ratings."""
    users = {"quality.responses.users": [f"u{i}" for i in range(len(ratings))], "quality.responses.status": ["submitted"] * len(ratings)}
    return {
        "id": response,
        "status": "completed",
        "_server_id": "s",
        "prompt": "Pet?",
        "response": response,
        "quality.responses": [*ratings],
    } | users


def prodigy(who: str, accept: list[str], answer: str = "accept", **more) -> dict:
    options = [{"id": "x", "text": "Cat."}, {"id": "y", "text": "Dog."}, {"id": "z", "text": "Eel."}]
    hashes = {"_view_id": "choice", "_task_hash": 1, "_input_hash": 2, "_session_id": who, "_annotator_id": who}
    return {"prompt": "Pet?", "options": options, "accept": accept, "answer": answer} | hashes | more


def doccano(text: str, *labels: str, **more) -> dict:
    return {"id": 1, "text": text, "prompt": "Pet?", "label": [*labels], "Comments": []} | more


def multipref(normal: list[dict], expert: list[dict]) -> dict:
    texts = {"comparison_id": "1", "text": "Pet?", "completion_a": "Cat.", "completion_b": "Dog.", "model_a": "m1", "model_b": "m2"}
    return texts | {"normal_worker_annotations": normal, "expert_worker_annotations": expert}


def preferred(who: str, overall: str, helpful: str = "Tie") -> dict:
    """A worker's annotation of MultiPref."""
    reasons = {"overall_own_reason": "Short.", "helpful_checked_reasons": ["clear"]}
    return {"evaluator": who, "overall_pref": overall, "helpful_pref": helpful, "time_spent": 9} | reasons


def alpaca(preference: float, annotator: int, given: str = "1, 2") -> dict:
    texts = {"instruction": "Sum", "input": given, "output_1": "3", "output_2": "4", "generator_1": "m1", "generator_2": "m2"}
    return texts | {"preference": preference, "annotator": annotator}


def write_exports(folder: Path) -> None:
    lines = {
        "argilla.jsonl": [argilla("Cat.", 4, 2), argilla("Dog.", 1, 5)],
        "prodigy.jsonl": [prodigy("pets-ann", ["x"]), prodigy("pets-bob", ["y"])],
        "ann.jsonl": [doccano("Cat.", "4"), doccano("Dog.", "2")],
        "bob.jsonl": [doccano("Cat.", "1"), doccano("Dog.", "3")],
        "multipref.jsonl": [multipref([preferred("w1", "A-is-clearly-better")], [preferred("e1", "Tie", "B-is-slightly-better")])],
    }
    for name, rows in lines.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    studio = [task(1, annotation(3, pairwise("left")), annotation(4, pairwise("right")))]
    (folder / "label_studio.json").write_text(json.dumps(studio), "utf-8")
    (folder / "alpaca_farm.json").write_text(json.dumps([alpaca(1, 0), alpaca(2, 1)]), "utf-8")
    for name, case in (("arena.jsonl",) * 2, ("utterances.jsonl", "prism.jsonl"), ("helpsteer3.jsonl",) * 2, ("wide.csv",) * 2):
        shutil.copy(CASES / case, folder / name)
