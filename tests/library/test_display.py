"""What a person sees of a run in the terminal."""

import io
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from conftest import environment, snakemake

from insd import display
from insd.display import Display, RunningJob, duration

ITERATION = (
    "2026-01-01 00:00:00,000 INFO iteration 40/200: task loss 0.120, score 0.950, S [0.3 0.1], multiplier [1. 2.]"
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def job(rule="train_round", log="", outputs=(), **wildcards):
    return RunningJob(rule, wildcards, [str(log)], list(outputs))


@pytest.fixture
def training(tmp_path):
    log = tmp_path / "round-1.log"
    log.write_text(f"{ITERATION}, 20.0 it/s, 8 s left at most\n")
    return job(log=log, task="flip_flop", population="insd", seeds="0", round="1")


def test_a_line_says_what_is_made_and_how_far_training_is(training):
    assert training.name == "flip_flop insd seed 0 round 1"
    assert training.state() == "40/200 loss 0.120, S [0.3 0.1]"
    assert training.seconds_left() == 8
    assert job("sample_trials", task="flip_flop", regime="test").name == "sample_trials flip_flop test"
    assert job(seeds="0-4", task="flip_flop", population="insd", round="0").name == "flip_flop insd seeds 0-4 round 0"


def test_a_log_that_is_not_there_says_nothing(tmp_path):
    missing = job(log=tmp_path / "none.log")
    assert (missing.state(), missing.seconds_left(), missing.errors()) == ("", None, "")


def test_without_a_terminal_each_finished_job_is_a_plain_line(training):
    shown = Display(stream := io.StringIO())
    shown.begin({"train_round": 1, "figure_collapse": 1, "total": 2})
    shown.job_started(1, training)
    shown.job_finished(1)
    shown.job_started(
        2, job("figure_collapse", outputs=["results/figures/collapse.svg", "results/figures/collapse.png"])
    )
    shown.job_finished(2)
    shown.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "2 jobs"
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1 of 2: flip_flop insd seed 0 round 1, 0 s: 40/200 loss .*", lines[1])
    assert lines[3].startswith("the first figure: ") and lines[3].endswith("results/figures/collapse.png")
    assert lines[4].startswith("2 jobs done in 0 s")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_has_a_bar_and_a_line_for_each_running_job(training, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(display, "EVERY_SECONDS", 0.01)
    shown = Display(stream := Terminal())
    shown.begin({"train_round": 2, "figure_collapse": 1, "total": 3})
    shown.job_started(1, training)
    end = time.monotonic() + 20
    while "S [0.3 0.1]" not in stream.getvalue():
        assert time.monotonic() < end
        time.sleep(0.01)
    shown.close()
    text = stream.getvalue()
    assert re.search(r"░ 0 of 3 jobs, 0 s, about 2\d s left\n", text)
    # The lines at the foot are taken away at the end.
    assert text.endswith("\x1b[2F\x1b[J")


def test_the_time_left_comes_from_jobs_that_are_done_and_from_those_that_run(training):
    shown = Display(io.StringIO())
    shown.begin({"train_round": 3, "dsa": 2, "total": 5})
    assert shown.seconds_left() is None
    shown.job_started(1, training)
    # Two more rounds like this one, what it still takes, and two short jobs, on one core.
    assert shown.seconds_left() == pytest.approx(3 * 8 + 2 * display.A_SHORT_JOB, abs=1)
    shown.job_started(2, job("dsa"))
    assert shown.seconds_left() == pytest.approx((3 * 8 + 2 * display.A_SHORT_JOB) / 2, abs=1)


def test_a_terminal_shows_why_a_job_failed(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    log = tmp_path / "job.log"
    log.write_text("2026-01-01 00:00:00,000 INFO begins\n2026-01-01 00:00:00,000 ERROR the file is broken\nand more\n")
    shown = Display(stream := Terminal())
    shown.job_started(1, job("dsa", log=log))
    shown.job_failed(1)
    assert "error: the file is broken\nand more\n" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(5.4, "5 s"), (65.0, "1 min 5 s"), (3660.0, "1 h 1 min")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def small(folder, extra=""):
    """A workflow of two jobs, of which one may fail."""
    (folder / "Snakefile").write_text(
        "rule all:\n    input: 'b'\n"
        "rule a:\n    output: 'a'\n    log: 'a.log'\n    shell: 'touch {output}'\n"
        f"rule b:\n    input: 'a'\n    output: 'b'\n    log: 'b.log'\n    shell: '{extra}touch {{output}}'\n"
    )
    return folder


def logger_of(folder, *arguments):
    return snakemake(folder, "--logger", "insd", "--cores", "1", *arguments)


def test_snakemake_finds_the_display_and_keeps_its_own_log(tmp_path):
    result = logger_of(small(tmp_path))
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "3 jobs" and "3 jobs done" in lines[4] and lines[5].startswith("Complete log"), result.stdout
    [log] = (tmp_path / ".snakemake/log").glob("*.log")
    assert "reason: Missing output files: b" in log.read_text()
    assert "Nothing to be done" in logger_of(tmp_path).stdout


def test_a_job_that_fails_is_shown_as_without_the_display(tmp_path):
    result = logger_of(small(tmp_path, "echo broken > {log}; exit 1; "))
    plain = snakemake(small(tmp_path, "echo broken > {log}; exit 1; "), "--cores", "1")
    assert result.returncode == plain.returncode == 1
    for text in ("Error in rule b:", "b.log (check log file(s)", "At least one job did not complete successfully"):
        assert text in result.stdout and text in plain.stdout, result.stdout


def test_a_dry_run_is_the_same_with_it(tmp_path):
    shown, plain = logger_of(small(tmp_path), "-n").stdout, snakemake(tmp_path, "--cores", "1", "-n").stdout
    changing = r"\[.*\]|^  (Date|Workflow ID|Command): .*$"
    assert re.sub(changing, "", shown, flags=re.MULTILINE) == re.sub(changing, "", plain, flags=re.MULTILINE)


def test_a_real_terminal_is_left_clean(tmp_path):
    own, other = pty.openpty()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "insd"]
    folder = small(tmp_path, "sleep 2; ")
    process = subprocess.Popen(
        command, cwd=folder, env=environment(folder) | {"TERM": "xterm"}, stdout=other, stderr=other, stdin=other
    )
    text = ""
    while process.poll() is None or select.select([own], [], [], 0)[0]:
        if select.select([own], [], [], 0.1)[0]:
            text += os.read(own, 65536).decode()
    os.close(other)
    os.close(own)
    assert process.returncode == 0, text
    assert re.search(r"b +0:0\d\s+█+░+ 1 of 3 jobs", text), text
    assert "jobs done in" in text.rpartition("\x1b[J")[0]
