"""Worker processes: tasks that fail, hang or kill their process, and what the others see of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from sim.workers.local import AloneError, Workers, one_sentence, run_alone


def work(task: str) -> str:
    """The function under test lives at module level, because a fresh process imports it."""
    if task == "raise":
        raise ValueError("two\n  lines")
    if task == "time":
        raise TimeoutError("the server did not answer")
    if task == "hang":
        time.sleep(60)
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "leave":
        os._exit(0)
    if task == "fork" and os.fork() == 0:
        return "the fork's answer"
    if task == "lambda":
        return lambda: None  # type: ignore[return-value]
    if task == "threads":
        return os.environ["OMP_NUM_THREADS"]
    return f"{task} in {os.getpid()}"


def outcomes(tasks: list[str], count: int = 1, timeout_s: float | None = None) -> dict[str, str | None]:
    with Workers(work, count, timeout_s) as workers:
        return {done.task: done.problem or done.value for done in workers.run(tasks)}


def test_workers_stay_warm_use_one_thread_and_leave_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = outcomes(["a", "b", "threads"])
    assert found["a"].split()[-1] == found["b"].split()[-1] != str(os.getpid())
    assert found["threads"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_failing_hanging_or_dying_task_leaves_the_others_alone() -> None:
    found = outcomes(["raise", "die", "hang", "time", "fine"], timeout_s=2.0)
    assert found["raise"] == "two lines"
    assert found["time"] == "the server did not answer"
    assert found["die"] == "Its process died (ended by SIGKILL), perhaps for lack of memory."
    assert found["hang"] == "It took longer than 2 s and was stopped."
    assert found["fine"].startswith("fine in")


def test_a_task_that_ends_or_doubles_its_process_or_returns_nonsense_is_one_failed_task() -> None:
    found = outcomes(["leave", "fork", "lambda", "fine"])
    assert "something in it ended it with exit code 0" in found["leave"]
    assert found["fork"].startswith("fork in")
    assert "returned cannot be sent" in found["lambda"]
    assert found["fine"].startswith("fine in")


@pytest.mark.parametrize("when", ["starting", "waiting"])
def test_workers_killed_before_they_begin_a_task_are_replaced_and_no_task_fails(when: str) -> None:
    with Workers(work, 2) as workers:
        if when == "waiting":
            assert len(list(workers.run(["x", "y"]))) == 2
        for worker in workers._workers:
            worker.process.kill()
        done = {ended.task: ended.problem for ended in workers.run(["a", "b", "c"])}
    assert done == {"a": None, "b": None, "c": None}


def test_workers_that_never_start_end_the_tasks_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workers, "_start", start_and_kill)
    with Workers(work, 1) as workers:
        problems = {ended.problem for ended in workers.run(["a", "b"])}
    assert problems == {"No worker process starts: Its process died (ended by SIGKILL), perhaps for lack of memory."}


def start_and_kill(workers: Workers[str, str], start: object = Workers._start) -> None:
    start(workers)  # type: ignore[operator]
    workers._workers[-1].process.kill()


def test_a_task_alone_changes_nothing_here() -> None:
    assert run_alone(work, "a") != run_alone(work, "a")
    with pytest.raises(AloneError, match="two lines"):
        run_alone(work, "raise")
    with pytest.raises(AloneError, match="exit code 0"):
        run_alone(work, "leave")


def interrupted() -> None:
    with Workers(work, 2) as workers:
        for _ in workers.run(["hang", "fine", "hang"]):
            raise KeyboardInterrupt


def test_leaving_early_stops_what_still_runs() -> None:
    begin_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begin_s < 15


def note(path: str) -> None:
    """Say which process works, and go on for long."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def test_workers_end_with_a_parent_that_was_killed_and_need_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from tests.sim.test_workers import note\n"
        "from sim.workers.local import Workers\n"
        "with Workers(note, 1) as workers:\n"
        "    list(workers.run([sys.argv[1]]))\n"
    )
    pid_file = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(script), str(pid_file)], env=environment) as parent:
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
        worker = int(pid_file.read_text())
        assert running(worker)
        parent.kill()
    wait_until(lambda: not running(worker))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float = 15.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.05)


def show_a_bar_and_die(task: str) -> None:
    list(tqdm(task, disable=True))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_that_showed_a_progress_bar_leaves_no_semaphore(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from tests.sim.test_workers import show_a_bar_and_die\n"
        "from sim.workers.local import Workers\n"
        "with Workers(show_a_bar_and_die, 1) as workers:\n"
        "    print([done.problem for done in workers.run(['a'])])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert "process died" in parent.stdout
    assert parent.stderr == ""  # Python's resource tracker would warn of a leaked semaphore here


def test_no_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="At least one worker"):
        Workers(work, 0)


def test_an_error_without_words_is_named() -> None:
    assert one_sentence(KeyError()) == "KeyError"
