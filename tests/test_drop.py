"""Raters of a folder: the two files that hold them belong together, and somebody can be removed from all that names them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from small_run import CONFIG, RECIPE, fails, invoke, rows_of, succeeds

import raterhf
from raterhf.data.dropped import DROPPED, id_digest
from raterhf.errors import UserError
from raterhf.models.checkpoint import load_policy, load_pool, load_reward, replace_pool
from raterhf.raters.files import SCHEMA
from raterhf.raters.pool import RaterPool
from raterhf.training import pipeline

# Files that do not belong together


def change(folder: Path, **changes) -> None:
    path = folder / "raters.json"
    text = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(text | {key: make(text[key]) for key, make in changes.items()}, ensure_ascii=False), "utf-8")


def change_tensors(folder: Path, **changes) -> None:
    tensors = load_file(folder / "raters.safetensors")
    save_file(tensors | {key.replace("_", "."): make(tensors[key.replace("_", ".")]) for key, make in changes.items()},
              folder / "raters.safetensors")  # fmt: skip


WRONG = {
    "the first ID deleted": (lambda f: change(f, ids=lambda ids: ids[1:], personas=lambda _: {}, groups=lambda _: {}),
                             "2 IDs, and vectors of shape [3, 2] instead of [2, k]"),
    "an ID twice": (lambda f: change(f, ids=lambda ids: ["ann", "ann", "cy"]), "the ID 'ann' is there 2 times"),
    "IDs in another order": (lambda f: change(f, ids=lambda ids: ids[::-1]), "do not belong together"),
    "another ID": (lambda f: change(f, ids=lambda ids: ["dora", *ids[1:]], personas=lambda _: {}, groups=lambda _: {}), "do not belong"),
    "another group": (lambda f: change(f, groups=lambda groups: groups | {"ann": "south"}), "do not belong together"),
    "a member who is nobody": (lambda f: change(f, personas=lambda _: {"sailor": ["dora"]}), "the member 'dora', who is none of the IDs"),
    "rows in another order": (lambda f: change_tensors(f, vectors=lambda v: v[::-1].copy()), "do not belong together"),
    "a row less": (lambda f: change_tensors(f, vectors=lambda v: v[1:].copy()), "3 IDs, and vectors of shape [2, 2]"),
    "a dimension less": (lambda f: change_tensors(f, vectors=lambda v: v[:, :1].copy()), "population '' has the shapes"),
    "a flat table": (lambda f: change_tensors(f, vectors=lambda v: v.reshape(-1)), "vectors of shape [6] instead of [3, k]"),
    "a number that is none": (lambda f: change_tensors(f, vectors=lambda v: v * np.float32("nan")), "vectors holds NaN or infinity"),
    "a population that is none": (lambda f: change_tensors(f, **{"0_weights": lambda w: w[:0]}), "population '' has the shapes [[0]"),
    "another population": (lambda f: change_tensors(f, **{"0_means": lambda m: m + 1}), "do not belong together"),
    "no digest": (lambda f: change(f, digest=lambda _: None), "do not belong together"),
    "no groups": (lambda f: (f / "raters.json").write_text(json.dumps({"schema": SCHEMA})), "is damaged (`encoding`: field required)"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_files_that_do_not_belong_together_score_nobody(damaged, answers, stage, wrong):
    damage, named = WRONG[wrong]
    damage(damaged / stage)
    asked = ("sample", damaged, "--prompt", "Hi", "--rater", "bob") if stage == "policy" else ("score", damaged, answers, "--raters", "bob")
    fails(*asked, says=(named, str(damaged / stage), "train that stage again"))


@pytest.mark.parametrize("stage", ["policy", "reward"])
def test_the_raters_of_another_training_are_refused(damaged, run, answers, tmp_path, stage):
    """A pool whole in itself, of other people or of the same, with another model's weights."""
    other = shutil.copytree(run / stage, tmp_path / "other")
    raterhf.drop_raters(other, ["cy"])
    for name in ("raters.json", "raters.safetensors"):
        shutil.copy(other / name, damaged / stage / name)
    assert load_pool(damaged / stage).known == ["ann", "bob"]
    asked = ("sample", damaged, "--prompt", "Hi", "--rater", "bob") if stage == "policy" else ("score", damaged, answers, "--raters", "bob")
    fails(*asked, says=(f"{damaged / stage / 'raters.json'} is not the file that was saved with the weights", "put that one back"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "raterhf.safetensors"])
def test_a_file_changed_without_a_change_of_shape_is_refused(damaged, name):
    path = damaged / "policy" / name
    if name == "raterhf.safetensors":
        tensors = load_file(path)
        save_file(tensors | {"reader.null": tensors["reader.null"] + 1}, path)
    else:
        changed = {"config.json": {"rms_norm_eps": 0.5}, "tokenizer.json": {"version": "1.0", "truncation": None, "padding": None}}[name]
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed))
    fails("sample", damaged, "--prompt", "Hi", says=f"{path} is not the file that was saved with the weights in {path.parent}")


# Who is there


def test_raters_are_listed(run, text_run):
    rows = rows_of(succeeds("raters", "list", run))
    assert rows == [
        {"rater": "ann", "group": "north", "personas": ["sailor"]},
        {"rater": "bob", "group": "south", "personas": ["sailor"]},
        {"rater": "cy", "group": "south", "personas": []},
    ]
    assert rows_of(succeeds("raters", "list", text_run)) == rows
    assert succeeds("raters", "list", run / "base") == ""


# Dropping


def files_that_name(folder: Path, name: bytes) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and name in path.read_bytes()]


@pytest.fixture
def known(run, tmp_path) -> Path:
    """A run in which a rater with a name that nothing else holds was trained on: bob, renamed."""
    root = shutil.copytree(run, tmp_path / "known")
    for stage in ("reward", "sft", "policy"):
        pool = load_pool(root / stage)
        renamed = {"ann": "ann", "bob": "Zoë Quince", "cy": "cy"}
        replace_pool(root / stage, RaterPool(
            [renamed[i] for i in pool.known], pool.vectors, pool.idiosyncratic_dim, pool.encoding,
            {name: [renamed[i] for i in members] for name, members in pool.personas.items()},
            {renamed[i]: group for i, group in pool.groups.items()}, pool.populations, pool.text_template,
        ))  # fmt: skip
    return root


def test_a_dropped_rater_is_gone_from_every_file(known, answers):
    before = {stage: load_pool(known / stage) for stage in ("reward", "sft", "policy")}
    scored = pd.read_csv(pd.io.common.StringIO(succeeds("score", known, answers, "--raters", "ann", "--raters", "cy", "--raters", "new:7")))
    (known / "compare").mkdir()
    (known / "compare" / "report.html").write_text('<div class="text"><small>Zoë Quince</small>6</div>', "utf-8")
    (known / "probes").mkdir()
    (known / "probes" / "probes.html").write_text("<small>ann</small>")
    (known / "audit" / "plots").mkdir(parents=True)
    for name in ("audit.json", "audit.html", "plots/ratings-map.svg"):
        (known / "audit" / name).write_text('{"people": [{"rater": "Zoë Quince"}]}', "utf-8")
    (known / "scores.csv").write_text("rater,0\nann,1.0\nZoë Quince,2.0\n", "utf-8")
    said = succeeds("raters", "drop", known, "Zoë Quince")
    assert files_that_name(known, "Zoë Quince".encode()) == [known / "scores.csv"] and not files_that_name(known, b"Zo\\u00eb")
    for stage, pool in before.items():
        after = load_pool(known / stage)
        assert after.known == ["ann", "cy"] and after.groups == {"ann": "north", "cy": "south"} and after.personas == {"sailor": ["ann"]}
        assert np.array_equal(after.vectors, pool.vectors[[0, 2]]) and list(after.populations) == list(pool.populations)
        assert f"removed: {known / stage}: 'Zoë Quince': vector, ID, personas and group" in said
    for line in (
        f"removed: {known / 'compare' / 'report.html'}, which named them; `raterhf compare` writes it again",
        f"removed: {known / 'audit'}, which their labels are in; `raterhf audit` writes it again",
        f"not removed: {known / 'scores.csv'} names them",
        f"not removed: the weights in {known / 'base'}, {known / 'policy'}, {known / 'reward'}, {known / 'sft'}: trained with their labels",
        "not removed: the populations",
        f"not removed: answers of theirs that {known / 'probes' / 'probes.html'} may show without a name",
        "not removed: the data files, which are yours",
    ):
        assert line in said
    # The others are who they were, and nobody can ask for whom is gone.
    again = pd.read_csv(pd.io.common.StringIO(succeeds("score", known, answers, "--raters", "ann", "--raters", "cy", "--raters", "new:7")))
    pd.testing.assert_frame_equal(again, scored)
    fails("score", known, answers, "--raters", "Zoë Quince", says="rater 'Zoë Quince' is not known to this run (2 raters")
    fails("raters", "drop", known, "Zoë Quince", says="is not known to this run")
    for load, stage in ((load_policy, "sft"), (load_policy, "policy"), (load_reward, "reward")):
        load(known / stage)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["annn"], "rater 'annn' is not known to this run (3 raters; nearest: ann"),
        (["new:7"], "rater 'new:7' is not known to this run"),
        (["ann", "bob", "cy"], "would know nobody without 'ann', 'bob', 'cy'; delete the folder instead"),
    ],
)
def test_who_cannot_be_dropped(damaged, ids, says):
    before = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    fails("raters", "drop", damaged, *ids, says=says)
    assert {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()} == before


def test_a_run_is_dropped_from_whole_and_a_stage_that_stands_alone(damaged, run, tmp_path):
    fails("raters", "drop", damaged / "sft", "ann", says=f"sft is one stage of {damaged}, whose stages policy, reward know raters too")
    alone = shutil.copytree(run / "sft", tmp_path / "shared" / "sft")
    succeeds("raters", "drop", alone, "ann", "bob")
    assert load_pool(alone).known == ["cy"] and load_pool(alone).personas == {}
    fails("raters", "drop", run / "base", "ann", says="one stage of")
    fails("raters", "drop", shutil.copytree(run / "base", tmp_path / "plain" / "base"), "ann", says="is no run that knows raters; give")
    fails("raters", "drop", damaged.parent, "ann", says="is no run that knows raters; give")
    fails("raters", "drop", tmp_path / "nothing", "ann", says="does not exist")


def test_nobody_made_up_is_given_the_id_of_who_was_dropped():
    """The weights of a model that reads IDs as text still know that text."""
    pool = RaterPool([f"t{i}" for i in range(10)], np.zeros((10, 0), np.float32), 0, "text").without(["t3"])
    assert pool.dropped == [id_digest("t3")] and "t3" not in pool.index
    assert not {pool.fictitious(number).text for number in range(200)} & {"Rater t3: "}


def test_what_was_dropped_cannot_be_read_from_the_record(known):
    raterhf.drop_raters(known, ["Zoë Quince"])
    raterhf.drop_raters(known, "cy")
    assert json.loads((known / DROPPED).read_text()) == {"raters": sorted([id_digest("Zoë Quince"), id_digest("cy")])}


# And what `train` does then


STAYED = ["r0", "r2", "r3", "r4", "r5", "r6", "r7"]  # without r1; the last two were kept for validation


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with data, a recipe and the run that it trained."""
    place = tmp_path_factory.mktemp("trained")
    rows = [
        {"prompt": f"Name a {what}.", "chosen": chosen, "rejected": rejected, "rater_id": f"r{r}"}
        for r in range(8) for what in ("pet", "friend")
        for chosen, rejected in [("A cat.", "A dog.") if r % 2 else ("A dog.", "A cat.")]
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(place / "comparisons.csv", index=False)
    (place / "raters.jsonl").write_text("".join(json.dumps({"rater_id": f"r{r}", "split": "validate" if r > 5 else "train"}) + "\n"
                                                for r in range(8)))  # fmt: skip
    text = RECIPE.replace("demonstrations: demonstrations.csv", "raters: raters.jsonl").replace("sft: {", "sft: {source: chosen, ")
    small = "{raters: 2, prompts: 2, samples: 4, batch_size: 4, options: {choices: 2}, "
    text = text.replace("policy: {", f"policy: {small}").replace("max_length: 48", f"max_length: 48, vocab_size: 300, config: {CONFIG}")
    (place / "tiny.yaml").write_text(text + "raters: {dim: 2, idiosyncratic_dim: 4, tokens: 2, components: [1]}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        raterhf.train("tiny.yaml")
    return place


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "place"))
    return Path(".")


def stamps() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path("runs/tiny").rglob("model*.safetensors")}


def test_training_does_not_bring_a_dropped_rater_back(place):
    raterhf.drop_raters("runs/tiny", ["r1"])
    before = stamps()
    refused = (
        "the data hold labels of rater 'r1', whom `raterhf raters drop` removed from runs/tiny; remove their rows from comparisons.csv"
    )
    for verb in (("train", "tiny.yaml"), ("compare", "tiny.yaml", "--controls", "base,rater_new")):
        result = invoke(*verb)
        assert result.exit_code == 2 and refused in result.stderr, result.output
        assert "or, to train with them, delete runs/tiny/dropped.json" in result.stderr
    assert stamps() == before
    # Whoever wants the person back must say so; even then nothing runs that is done.
    Path("runs/tiny", DROPPED).unlink()
    out = succeeds("train", "tiny.yaml")
    assert out.count("done before, skipped") == 3 and stamps() == before
    assert [load_pool(Path("runs/tiny", stage)).known for stage in ("reward", "sft", "policy")] == [STAYED] * 3


def test_without_the_rows_every_stage_is_trained_again(place):
    raterhf.drop_raters("runs/tiny", ["r1"])
    rows = pd.read_csv("comparisons.csv")
    rows[rows.rater_id != "r1"].to_csv("comparisons.csv", index=False)
    before = stamps()
    out = succeeds("train", "tiny.yaml")
    assert out.count("trained again, since") == 3 and all(stamps()[path] > before[path] for path in before)
    assert load_pool(Path("runs/tiny/policy")).known == STAYED


def test_an_interrupted_training_forgets_them_too(place, monkeypatch):
    """Its state holds a row for each rater."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(pipeline.RATED, "policy", stop)
    with pytest.raises(KeyboardInterrupt):
        raterhf.train("tiny.yaml", ["policy.beta=0.3"])
    state = Path("runs/tiny/policy/state")
    state.mkdir()
    save_file({"module.space.vectors": np.zeros((6, 2), np.float32)}, state / "state.safetensors")
    done = raterhf.drop_raters("runs/tiny", ["r1"])
    assert not state.exists() and "runs/tiny/policy/state: what the interrupted training had learned; it begins again" in done.removed


def test_a_control_does_not_bring_them_back_either(place):
    shutil.copytree("runs/tiny/sft", "runs/tiny/controls/shuffled/sft")
    raterhf.drop_raters("runs/tiny", ["r1"])
    assert load_pool(Path("runs/tiny/controls/shuffled/sft")).known == STAYED
    with pytest.raises(UserError, match="removed from runs/tiny/controls/shuffled; remove their rows"):
        raterhf.train("tiny.yaml", ["runs=runs/tiny/controls", "name=shuffled", "data.shuffle_raters=true"])
