"""Progress: plain lines with the time left where there is no terminal, also while a step takes long; nothing on stdout."""

import sys
import time

import pytest

from raterhf import progress
from raterhf.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_says_what_is_done_what_a_step_takes_and_what_is_left(clock):
    with Progress("policy", 1000, first=200) as shown:
        clock[0] += 100
        shown.advance(200, "loss 4.1")
        assert shown.line() == "  policy: step 400 of 1000, 0.5 s a step, 1 min 40 s so far, about 5 min 0 s left (loss 4.1)"


def test_without_a_total_or_a_step_the_time_so_far_is_said(clock):
    with Progress("calibration") as shown:
        clock[0] += 7300
        assert shown.line() == "  calibration: 2 h 2 min so far"
    with Progress("judging", 3, "policy") as shown:
        clock[0] += 59
        assert shown.line() == "  judging: policy 0 of 3, 59 s so far"


def test_lines_go_to_stderr_while_a_step_takes_long_and_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with Progress("probe", 2) as shown:
        time.sleep(0.3)
        shown.advance(2)
    written = capsys.readouterr()
    lines = written.err.splitlines()
    assert written.out == "" and len(lines) > 2
    assert lines[0].startswith("  probe: step 0 of 2, 0 s so far") and lines[-1].startswith("  probe: 2 steps in 0 s, ")


def test_what_failed_is_not_said_to_be_done(capsys):
    with pytest.raises(ValueError), Progress("probe", 2):
        raise ValueError
    assert capsys.readouterr().err == ""


def test_the_note_is_read_at_the_last_step_and_else_once_a_second(clock):
    read = []
    with Progress("sft", 100) as shown:
        for step in range(100):
            shown.advance(1, lambda step=step: read.append(step) or f"loss {step}")
        assert read == [0, 99] and shown.note == "loss 99"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("score [x]", 2) as shown:
        shown.advance(2, "loss 1")
    written = capsys.readouterr()
    assert "score [x]" in written.err and "2/2" in written.err and "loss 1" in written.err and written.out == ""
