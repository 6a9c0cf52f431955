"""What is written: whole or not at all, with the user's mode, through links, into pipes, and never in place of a device."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from small_run import fails, invoke, succeeds

from raterhf import io
from raterhf.errors import UserError
from raterhf.worlds import make


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def fill_two(place: Path) -> None:
    (place / "a.txt").write_text("new")
    save_file({"x": torch.ones(2)}, place / "b.safetensors")  # which makes its files for the user alone


def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask):
    io.write_folder(tmp_path / "model", fill_two)
    io.write_text(tmp_path / "out.csv", "1\n")
    io.write_file(tmp_path / "state.safetensors", lambda partial: save_file({"x": torch.ones(2)}, partial))
    assert mode_of(tmp_path / "model") == 0o750
    files = ("model/a.txt", "model/b.safetensors", "out.csv", "state.safetensors")
    assert {name: mode_of(tmp_path / name) for name in files} == dict.fromkeys(files, 0o640)


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, umask):
    path = tmp_path / "private.csv"
    path.write_text("old")
    path.chmod(0o600)
    io.write_text(path, "new")
    assert (path.read_text(), mode_of(path)) == ("new", 0o600)


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    for name in ("there", "not_there"):
        target, link = tmp_path / "far" / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        if name == "there":
            target.write_text("old")
        link.symlink_to(target)
        io.write_text(link, "new")
        assert link.is_symlink() and target.read_text() == "new" and not target.is_symlink()
    ring = tmp_path / "ring"
    ring.symlink_to(ring)
    with pytest.raises(UserError, match="ring.* could not be written"):
        io.write_text(ring, "new")
    assert ring.is_symlink()


def test_a_linked_folder_is_written_where_it_lies(tmp_path):
    (tmp_path / "far" / "model").mkdir(parents=True)
    (tmp_path / "model").symlink_to(tmp_path / "far" / "model")
    io.write_folder(tmp_path / "model", fill_two)
    assert (tmp_path / "model").is_symlink() and (tmp_path / "far" / "model" / "a.txt").read_text() == "new"


def test_a_pipe_and_a_terminal_are_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    io.write_text(pipe, "a,b\n")
    reader.join(10)
    assert read == ["a,b\n"] and stat.S_ISFIFO(pipe.stat().st_mode)
    leader, follower = os.openpty()  # a character device that nobody can replace by a file, not even root
    io.write_text(Path(os.ttyname(follower)), "a,b\n")
    assert os.read(leader, 100) == b"a,b\r\n" and stat.S_ISCHR(os.stat(os.ttyname(follower)).st_mode)
    os.close(leader)
    os.close(follower)


def test_an_open_file_is_added_to_by_its_name(tmp_path):
    """As /dev/stdout is where a shell redirects it: another file in its place would take what is written next from it."""
    with open(tmp_path / "log", "w") as file:
        file.write("before\n")
        file.flush()
        io.write_text(Path(f"/dev/fd/{file.fileno()}"), "a,b\n")
    assert (tmp_path / "log").read_text() == "before\na,b\n"


def test_what_is_neither_file_nor_stream_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "socket", tmp_path):
            with pytest.raises(UserError, match="is no regular file, and only those are replaced; give another path"):
                io.write_text(path, "text")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    leader, follower = os.openpty()
    with pytest.raises(UserError, match="is no regular file"):
        io.write_file(Path(os.ttyname(follower)), lambda partial: None)
    os.close(leader)
    os.close(follower)


def test_a_score_goes_to_a_link_and_to_stdout(run, answers, tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "scores.csv")
    succeeds("score", run, answers, "--raters", "none", "--out", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "scores.csv").read_text().startswith("rater,1,")


def test_a_world_is_written_through_links(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "world_files", lambda folder, seed, name: (folder / "base.csv").write_text(f"seed {seed}"))
    (tmp_path / "dice").mkdir()
    (tmp_path / "dice" / "base.csv").symlink_to(tmp_path / "far.csv")
    (tmp_path / "far.csv").write_text("seed 0")
    fails("data", "make", "dice", "--seed", 1, "--out", tmp_path / "dice", says="holds other base.csv")
    succeeds("data", "make", "dice", "--seed", 1, "--out", tmp_path / "dice", "--force")
    assert (tmp_path / "dice" / "base.csv").is_symlink() and (tmp_path / "far.csv").read_text() == "seed 1"


def refuse(*_):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_that_safetensors_notices_leaves_what_was_there(tmp_path, there):
    folder, file = tmp_path / "model", tmp_path / "a.safetensors"
    if there:
        io.write_folder(folder, fill_two)
        file.write_text("old")
    for write in (io.write_folder, io.write_file):
        with pytest.raises(UserError, match="could not be written .*No space left.* what was there before is unchanged. Free some space"):
            write(folder if write is io.write_folder else file, refuse)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["a.safetensors", "model"] if there else [])
    assert not there or (file.read_text() == "old" and (folder / "a.txt").read_text() == "new" and io.check_whole(folder))


def test_a_folder_is_saved_in_the_room_of_what_is_new(tmp_path):
    """What else lies in it, such as the training state, is not copied."""
    folder = tmp_path / "model"
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "big").write_text("0")
    before = (folder / "state" / "big").stat().st_ino
    io.write_folder(folder, fill_two)
    assert (folder / "state" / "big").stat().st_ino == before and (folder / "a.txt").read_text() == "new"


def test_a_folder_whose_writer_died_between_two_moves_is_refused_and_made_whole(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    io.write_folder(folder, lambda place: [(place / name).write_text("old") for name in ("a.txt", "b.safetensors")])

    class Killed(BaseException):
        pass

    def second(path: Path, to: Path) -> None:
        if to.name == "b.safetensors":
            raise Killed
        os.replace(path, to)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(io, "_move", second)
        io.write_folder(folder, fill_two)
    assert [(folder / name).read_text() for name in ("a.txt", "b.safetensors")] == ["new", "old"]
    with pytest.raises(UserError, match="is half written, since its writer was stopped; run the command that wrote it again"):
        io.check_whole(folder)
    io.sweep(tmp_path)
    assert sorted(path.name for path in io.check_whole(folder).iterdir()) == ["a.txt", "b.safetensors"]
    assert load_file(folder / "b.safetensors")["x"].tolist() == [1, 1] and os.listdir(tmp_path) == ["model"]


def test_what_was_ready_for_a_folder_that_is_gone_goes_too(tmp_path):
    (tmp_path / ".model.ready").mkdir()
    io.sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_debris_of_killed_processes_is_swept_and_nothing_else(tmp_path):
    for name in (".sft.123.partial/model.safetensors", "sft/.metrics.csv.9.partial", ".keep/a", ".env", "sft/a.partial", ".a.partial"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    io.sweep(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".a.partial", ".env", ".keep/a", "sft/a.partial"]


def test_a_file_is_known_again_by_size_and_time_and_else_by_its_bytes(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_text("abc")
    known = io.fingerprint(path)
    os.utime(path, ns=(0, 0))
    assert io.is_unchanged(path, known)  # a copy
    path.write_text("abd")
    assert not io.is_unchanged(path, known)
    path.write_text("abc")
    os.utime(path, ns=(known[1], known[1]))
    with monkeypatch.context() as patched:
        patched.setattr(io, "file_digest", None)  # neither is read
        assert io.is_unchanged(path, known)
        path.write_text("abcd")
        assert not io.is_unchanged(path, known)
    path.unlink()
    assert not io.is_unchanged(path, known)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "stdout or a file cannot be read or written (No space left on device)"),
        (PermissionError(13, "Permission denied", "runs/a"), "runs/a cannot be read or written (Permission denied)"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_message(monkeypatch, error, says):
    def refuse(*_):
        raise error

    monkeypatch.setattr("raterhf.worlds.make.make_world", refuse)
    fails("data", "make", "dice", says=(says, "that the disk has room, and run again"))
    assert "Traceback" in invoke("--debug", "data", "make", "dice").stderr
