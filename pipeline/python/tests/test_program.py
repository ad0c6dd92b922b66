"""Starting the program: options, exit codes, messages and signals."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import curate

MANIFEST = """
[run]
name = "small"
[[source]]
name = "notes"
path = "notes/*.txt"
"""


def small(folder: Path) -> Path:
    """Write a manifest with three texts."""
    (folder / "notes").mkdir()
    for number in range(3):
        (folder / "notes" / f"{number}.txt").write_text(
            f"Note {number} says that the kettle is on and the tea is warm."
        )
    manifest = folder / "small.toml"
    manifest.write_text(MANIFEST)
    return manifest


def test_a_run_is_found_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = curate.run(small(tmp_path))
    assert run.path == tmp_path / "runs" / "small"
    assert run.name == "small"
    assert "language part-00000" in capfd.readouterr().err, "the log is shown"

    assert curate.run("small.toml", quiet=True).path == run.path, "everything was cached"
    assert capfd.readouterr() == ("", "")
    assert curate.run("small.toml", quiet=True, run_dir="else where; in").path == tmp_path / "else where; in"


def test_options_are_those_of_the_command_line(tmp_path: Path) -> None:
    manifest, place = small(tmp_path), tmp_path / "place"
    sets = {
        "run.seed": 9,
        "run.memory": "1GiB",
        "language.keep": ["eng"],
        "source.notes.license": 'a "b" \\ é',
    }
    run = curate.run(manifest, quiet=True, run_dir=place, until="language", threads=1, repair=True, set=sets)
    assert list(run.tables()) == ["coverage", "documents", "quarantine", "language"]

    kept = (place / ".curate" / "manifest.toml").read_text()
    assert "seed = 9" in kept
    assert "license = 'a \"b\" \\ é'" in kept
    assert "1073741824" in kept
    assert curate.run(manifest, quiet=True, run_dir=place, allow_missing=False, threads=None).path == place

    with pytest.raises(curate.CommandError) as refused:
        curate.run(manifest, quiet=True, set={"source.notes.license": "a\"\x7f\n'"})
    assert refused.value.message.endswith('none a control character, found "a\\"\\u{7f}\\n\'"')


def test_a_failure_says_what_the_program_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(curate.CommandError) as missing:
        curate.run(tmp_path / "nope.toml", quiet=True)
    assert missing.value.exit_code == 2
    assert missing.value.message == f"curate: {tmp_path}/nope.toml: no such file"
    assert str(missing.value).endswith("no such file\n(exit code 2)")
    assert capfd.readouterr() == ("", "")

    manifest = small(tmp_path)
    with pytest.raises(curate.CommandError, match='there is no stage "nothing"\n\nhint: one of: documents,'):
        curate.run(manifest, quiet=True, until="nothing")
    with pytest.raises(curate.CommandError, match="unexpected argument '--frobnicate'"):
        curate.run(manifest, quiet=True, frobnicate=True)
    # What looks like an option is a manifest.
    with pytest.raises(curate.CommandError, match="curate: --help: no such file"):
        curate.run("--help", quiet=True)

    manifest.write_text(MANIFEST + "[filter.gopher]\n[nonsense]\n")
    with pytest.raises(curate.CommandError) as mistakes:
        curate.run(manifest, quiet=True)
    assert "filter.gopher" in mistakes.value.message
    assert "nonsense" in mistakes.value.message

    again = pickle.loads(pickle.dumps(mistakes.value))
    assert (again.exit_code, again.message, str(again)) == (
        2,
        mistakes.value.message,
        str(mistakes.value),
    )


def test_an_answer_of_no_is_an_error_with_its_output(copy: curate.Run) -> None:
    assert curate.command("verify", copy.path, quiet=True)
    with open(copy.table("language").files[0], "r+b") as file:
        file.write(b"PAR2")
    with pytest.raises(curate.CommandError) as damage:
        curate.command("verify", copy.path, quiet=True)
    assert damage.value.exit_code == 1
    assert "language/part-00000" in damage.value.stdout


def test_any_command_can_be_asked(capfd: pytest.CaptureFixture[str]) -> None:
    assert curate.command("--version").startswith("curate 0.")
    assert curate.command("schema", "mixture").startswith("mixture: ")
    assert capfd.readouterr() == ("", "")

    version = subprocess.run([sys.executable, "-m", "curate", "--version"], capture_output=True, check=True)
    assert version.stdout.startswith(b"curate 0.")


@pytest.mark.parametrize(("named", "says"), [("/nowhere/curate", "/nowhere/curate, which is not a file"), ("", None)])
def test_the_program_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, named: str, says: str | None) -> None:
    monkeypatch.setenv("CURATE_BIN", named)
    if says:
        with pytest.raises(curate.CurateError, match=says):
            curate.binary()
        return
    monkeypatch.setattr("sysconfig.get_path", lambda *_: "/nowhere")
    with pytest.raises(curate.CurateError, match=r"is in none of /nowhere, /nowhere, .*install curate-data again"):
        curate.binary()


def script(folder: Path, text: str) -> str:
    """Make a program that stands in for a run of any length."""
    path = folder / "stand-in"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_a_signal_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_BIN", script(tmp_path, "kill -9 $$"))
    with pytest.raises(curate.CommandError, match="ended by SIGKILL, perhaps for want of memory") as killed:
        curate.command("status", quiet=True)
    assert killed.value.exit_code == 137


def test_a_flood_on_both_pipes_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flood = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i+1)); done"
    monkeypatch.setenv("CURATE_BIN", script(tmp_path, flood))
    assert curate.command("status", quiet=True).count("\n") == 20_000


def interrupted(folder: Path, code: str, first_line: str) -> tuple[int, str, float]:
    """Start Python, send SIGINT to that one process at a line of its stderr, and wait for its end."""
    began = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert began.stderr is not None
    with began.stderr as stream:
        log = ""
        while first_line not in log:
            line = stream.readline()
            assert line, log
            log += line
        os.kill(began.pid, signal.SIGINT)
        at = time.monotonic()
        log += stream.read()
    return began.wait(), log, time.monotonic() - at


def test_keyboard_interrupt_reaches_the_program_and_the_run_goes_on_later(clone: Path, quickstart: curate.Run) -> None:
    code = "import curate; curate.run('manifests/quickstart.toml', run_dir='runs/interrupted', threads=1)"
    status, log, seconds = interrupted(clone, code, "part-")
    assert status == -signal.SIGINT
    assert "curate: stopping; shards under way are given up" in log
    assert log.rstrip().endswith("KeyboardInterrupt")
    assert seconds < 6

    # The program has ended and holds no lock, and the run goes on to the same bytes.
    again = curate.run(clone / "manifests" / "quickstart.toml", run_dir=clone / "runs" / "interrupted", quiet=True)
    for name, table in quickstart.tables().items():
        assert [Path(file).read_bytes() for file in table.files] == [
            Path(file).read_bytes() for file in again.table(name).files
        ]


def test_a_second_interrupt_is_handed_on_too(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        "trap 'echo first >&2; trap \"exit 130\" INT' INT; echo begun >&2; while :; do sleep 0.1; done",
    )
    code = f"""
import os, signal, sys, threading, time
os.environ["CURATE_BIN"] = {program!r}
def again():
    time.sleep(1.5)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=again, daemon=True).start()
import curate
curate.command("run")
"""
    status, log, seconds = interrupted(tmp_path, code, "begun")
    assert status == -signal.SIGINT
    assert "first" in log
    assert seconds < 5
