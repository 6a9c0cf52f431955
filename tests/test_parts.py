"""Files done part by part: which parts there are, what is done and what is left, and (slow) Ray's workers, killed ones too."""

import io
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import fails, invoke, rows_of, save_run, succeeds

from raterhf.cli import parts as cli_parts
from raterhf.errors import UserError
from raterhf.parts import folder, rows
from raterhf.parts.rows import Part, PartReader, files_of, parts_of
from raterhf.parts.work import Asked, do_part

SETTINGS = {"raters": ["ann", "new:2x"], "seed": 0, "group": None, "idiosyncratic": False, "dtype": "float32", "deterministic": True}


def write_rows(path: Path, count: int, group: int, bad: dict[int, object] | None = None) -> pd.DataFrame:
    """Rows of a prompt and the number of the row, in row groups of this size; `bad` are other completions, by row from 1."""
    answers = [(bad or {}).get(i, str(i % 6)) for i in range(1, count + 1)]
    frame = pd.DataFrame({"prompt": [f"Roll {i % 3}." for i in range(count)], "completion": answers, "note": range(count)})
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=group)
    return frame


@pytest.fixture
def run(tmp_path) -> Path:
    return save_run(tmp_path / "run", "embedding")


def test_parts_are_of_one_row_group_and_numbered_over_all_files(tmp_path):
    """Row groups of 5, 2 and of 3, in parts of 3: 3 and 2; 2; 3."""
    write_rows(tmp_path / "a.parquet", 7, 5)
    write_rows(tmp_path / "b.parquet", 3, 5)
    found = parts_of(files_of(tmp_path), ["prompt"], 3)
    assert [(part.group, part.begin, part.rows, part.first) for part in found] == [(0, 0, 3, 1), (0, 3, 2, 4), (1, 0, 2, 6), (0, 0, 3, 8)]
    assert [part.number for part in found] == [0, 1, 2, 3] and Path(found[3].path).name == "b.parquet"


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_a_reader_gives_the_rows_of_parts_in_any_order(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(rows, "ROWS", batch)
    frame = write_rows(tmp_path / "a.parquet", 11, 7)
    found, reader = parts_of([tmp_path / "a.parquet"], ["prompt"], 3), PartReader()
    for part in [*found, found[1], found[0], found[3], found[2]]:
        own = slice(part.first - 1, part.first - 1 + part.rows)
        assert list(reader.read(part)["note"]) == list(frame["note"][own])
    with pytest.raises(UserError, match="not a readable parquet file"):
        reader.read(Part(9, found[0].path, 1, 3, 5, 1))


def test_files_that_no_worker_reads(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion\nx,y\n")
    (tmp_path / "bad.parquet").write_text("no parquet")
    for path, says in [
        (tmp_path / "a.csv", "workers read parquet, a file or a folder of them"),
        (tmp_path / "none.parquet", "no such file"),
        (tmp_path / "bad.parquet", "not a readable parquet file"),
    ]:
        with pytest.raises(UserError, match=says):
            parts_of(files_of(path), ["prompt"])
    write_rows(tmp_path / "empty.parquet", 0, 5)
    with pytest.raises(UserError, match="no rows"):
        parts_of([tmp_path / "empty.parquet"], ["prompt"])
    write_rows(tmp_path / "a.parquet", 2, 5)
    with pytest.raises(UserError, match="no column text; it has prompt, completion, note"):
        parts_of([tmp_path / "a.parquet"], ["prompt", "text"])


def test_a_folder_takes_one_question_alone(tmp_path):
    write_rows(tmp_path / "a.parquet", 2, 5)
    out, files = tmp_path / "out", [tmp_path / "a.parquet"]
    folder.begin(out, {"seed": 0}, files)
    folder.begin(out, {"seed": 0}, files)
    with pytest.raises(UserError, match="was begun with another seed"):
        folder.begin(out, {"seed": 1}, files)
    write_rows(tmp_path / "a.parquet", 3, 5)
    with pytest.raises(UserError, match="was begun with another .*a.parquet"):
        folder.begin(out, {"seed": 0}, files)
    with pytest.raises(UserError, match="was begun with another list of files"):
        folder.begin(out, {"seed": 0}, [])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    with pytest.raises(UserError, match="holds mine and no asked.json"):
        folder.begin(tmp_path / "other", {}, files)


def test_a_part_that_was_begun_too_often_is_given_up_with_its_rows(run, tmp_path):
    pytest.importorskip("ray")
    from raterhf.parts.pool import TRIES, Worker

    write_rows(tmp_path / "a.parquet", 7, 5)
    part = parts_of([tmp_path / "a.parquet"], ["prompt"], 3)[1]
    worker = Worker(Asked("score", str(run), SETTINGS), str(tmp_path))
    batch = {name: np.array([getattr(part, name)]) for name in Part.__slots__}
    for _ in range(TRIES):  # by workers that were killed
        folder.count_tries(tmp_path, part)
    says = worker(batch)["fault"][0]
    assert says.startswith("rows 4 to 5: a worker was killed there 3 times") and not folder.done(tmp_path, part)
    (tmp_path / "part-000001.begun").unlink()
    assert worker(batch)["fault"][0] == "" and folder.done(tmp_path, part) and not list(tmp_path.glob("*.begun"))
    assert worker(batch)["number"][0] == 1  # done: not again


def test_a_mistake_is_told_by_the_worker(run, tmp_path):
    pytest.importorskip("ray")
    from raterhf.parts.pool import Worker

    write_rows(tmp_path / "a.parquet", 2, 5)
    part = parts_of([tmp_path / "a.parquet"], ["prompt"])[0]
    worker = Worker(Asked("score", str(run), SETTINGS | {"group": "south"}), str(tmp_path))
    says = worker({name: np.array([getattr(part, name)]) for name in Part.__slots__})["fault"][0]
    assert "a group narrows `new`, `new:NUMBER` and `all` only" in says


def done_alone(asked: Asked, path: Path, out: Path, size: int) -> list[Part]:
    """Every part, by this process."""
    parts = parts_of(files_of(path), asked.columns, size)
    work, reader = asked.open(), PartReader()
    for part in parts:
        do_part(work, reader, part, out)
    return parts


def scored(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(out.glob("part-*.parquet"))], ignore_index=True)


def test_parts_hold_the_scores_of_the_whole_and_bad_rows_are_set_apart(run, tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "out"
    write_rows(path, 10, 6, {2: "", 8: "long " * 99})
    parts = done_alone(Asked("score", str(run), SETTINGS), path, out, 3)
    found = scored(out)
    result = invoke("score", run, path, "--raters", "ann", "--raters", "new:2x", "--deterministic")
    table = pd.read_csv(io.StringIO(result.stdout), index_col="rater")
    assert result.exit_code == 3
    assert list(found["row"]) == [1, 3, 4, 5, 6, 7, 9, 10] == [int(row) for row in table.columns]
    assert list(found.columns) == ["row", *table.index] and len(table) == 3
    assert np.abs(found[list(table.index)].to_numpy().T - table.to_numpy()).max() < 1e-5
    rejects = pd.concat([pd.read_csv(one) for one in sorted(out.glob("*.rejects.csv"))])
    whole = pd.read_csv(tmp_path / "a.parquet.rejects.csv")
    assert list(rejects["row"]) == [2, 8] and list(rejects["reason"]) == list(whole["reason"]) and list(rejects["note"]) == [1, 7]
    assert folder.counts(out, parts) == folder.Counts(4, 10, 2)


def test_parts_hold_the_answers_of_the_whole(run, tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "out"
    pd.DataFrame({"prompt": ["Roll.", "Again?", "", "x " * 99, "And?"]}).to_parquet(path)
    settings = {"rater": "new", "n": 2, "seed": 3, "group": None, "temperature": 1.0, "max_new_tokens": 4, "deterministic": True}
    done_alone(Asked("sample", str(run), settings), path, out, 2)
    found = scored(out)
    asked = ["--prompt", "Roll.", "--prompt", "Again?", "--prompt", "And?"]
    whole = rows_of(succeeds("sample", run, *asked, "-n", 2, "--seed", 3, "--max-new-tokens", 4, "--deterministic"))
    assert list(found["row"]) == [1, 1, 2, 2, 5, 5]
    for name in ("rater", "completion", "finished", "stage"):
        assert list(found[name]) == [row[name] for row in whole]
    reasons = pd.concat([pd.read_csv(one) for one in sorted(out.glob("*.rejects.csv"))])["reason"]
    assert list(reasons)[0].startswith("prompt is empty") and "has 198 tokens, the window (model.max_length) 48" in list(reasons)[1]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--workers", 2], "--workers 2 are Ray's; add --engine ray"),
        (["--engine", "spark"], "--engine 'spark' is unknown; ray is the one there is"),
        (["--engine", "ray"], "--engine ray writes parts into a folder; name it with --out FOLDER"),
        (["--engine", "ray", "--out", "o", "--verdict", "mean"], "--verdict does not go with --engine ray"),
    ],
)
def test_what_is_asked_of_ray_and_cannot_be(run, tmp_path, args, says):
    pytest.importorskip("ray")
    write_rows(tmp_path / "a.parquet", 2, 5)
    fails("score", run, tmp_path / "a.parquet", *args, says=says)


def test_prompts_of_ray_are_rows_of_a_file(run, tmp_path):
    pytest.importorskip("ray")
    fails("sample", run, "--prompt", "x", "--engine", "ray", "--out", tmp_path / "o", says="--prompt does not go with --engine ray")
    fails("sample", run, "--engine", "ray", "--out", tmp_path / "o", says="name it with --prompts FILE")
    fails("sample", run, "--prompt", "x", "--out", tmp_path / "o", says="is for --engine ray")


def test_ray_is_an_extra(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_parts, "find_spec", lambda name: None)
    says = "workers are Ray Data's, which is not installed: pip install 'raterhf[ray]'"
    fails("score", run, tmp_path / "a.parquet", "--engine", "ray", "--out", tmp_path / "o", says=says)


def test_workers_are_no_more_than_ray_has(run, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from raterhf.parts import pool

    monkeypatch.setattr(pool, "_ray", lambda: nullcontext({"CPU": 2.0}))
    write_rows(tmp_path / "a.parquet", 2, 5)
    command = ["score", run, tmp_path / "a.parquet", "--engine", "ray", "--workers", 3, "--out", tmp_path / "o"]
    fails(*command, says="--workers 3: Ray has 2 CPU(s), and a worker needs one; ask for 2 at most")


def test_an_interrupt_says_that_parts_stay(run, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from raterhf.parts import pool

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "answer_file", interrupted)
    write_rows(tmp_path / "a.parquet", 2, 5)
    result = invoke("score", run, tmp_path / "a.parquet", "--engine", "ray", "--out", tmp_path / "o")
    assert result.exit_code == 130 and "Interrupted. Run the same command again: it does what is left." in result.stderr


@pytest.fixture
def quiet(monkeypatch):
    """Workers find the tests' package where this process does, and count as many cores as they ask for."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_two_workers_score_a_file_and_a_killed_one_loses_nothing(run, tmp_path, quiet):
    """The first to have done a part is killed. Its parts are done by who comes after it, and what was done is not done again."""
    from raterhf.parts.pool import answer_file, do_parts

    path, out, alone = tmp_path / "a.parquet", tmp_path / "out", tmp_path / "alone"
    write_rows(path, 60, 25, {7: ""})
    asked = Asked("score", str(run), SETTINGS)
    parts = done_alone(asked, path, alone, 3)
    folder.begin(out, asked.described() | {"rows of a part": 3}, [path])
    done, killed = [], 0
    for one in do_parts(asked, parts, out, 2):
        done.append(one)
        if not killed:
            killed = one.process
            os.kill(killed, signal.SIGKILL)
    assert sorted(one.number for one in done) == list(range(len(parts))) and len({one.process for one in done}) > 1
    pd.testing.assert_frame_equal(scored(out), scored(alone))
    assert len(list(out.glob("*.rejects.csv"))) == 1
    times = {one.name: one.stat().st_mtime_ns for one in out.glob("part-*.parquet")}
    (out / "part-000003.parquet").unlink()
    counted = answer_file(asked, path, out, 2, 3)
    assert counted == folder.Counts(len(parts), 60, 1)
    again = {one.name for one in out.glob("part-*.parquet") if one.stat().st_mtime_ns != times[one.name]}
    assert again == {"part-000003.parquet"}
    pd.testing.assert_frame_equal(scored(out), scored(alone))


@pytest.mark.slow
def test_the_command_line_asks_ray(run, tmp_path, quiet):
    write_rows(tmp_path / "a.parquet", 20, 10, {7: ""})
    result = invoke("score", run, tmp_path / "a.parquet", "--engine", "ray", "--workers", 1, "--out", tmp_path / "o", "--raters", "ann")
    assert result.exit_code == 3 and "1 of 20 rows were rejected" in result.stderr
    assert list(scored(tmp_path / "o").columns) == ["row", "ann"]
