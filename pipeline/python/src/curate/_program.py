"""The program that the wheel brings: where it lies, and how it is started, stopped and asked why it failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from pathlib import Path
from typing import IO, Union

#: What an argument may be.
Argument = Union[str, int, float, "os.PathLike[str]"]

#: Lines of the log that are kept for the message of a failure.
_LINES_KEPT = 200


class CurateError(Exception):
    """A request that cannot be met. The message says what happened, where, and what to do."""


class CommandError(CurateError):
    """The program ended with another exit code than 0.

    Attributes:
        exit_code: The exit code. `curate --help` lists them. 128 + n if signal n ended the program.
        message: What the program said: the error, and below it the hint, if there is one.
        stdout: What the program had printed before.

    """

    def __init__(self, exit_code: int, message: str, stdout: str = "") -> None:
        """Make the error of a program that ended with `exit_code`."""
        super().__init__(f"{message}\n(exit code {exit_code})")
        self.exit_code = exit_code
        self.message = message
        self.stdout = stdout

    def __reduce__(self) -> tuple[type[CommandError], tuple[int, str, str]]:
        """Let the error travel between processes."""
        return CommandError, (self.exit_code, self.message, self.stdout)


def binary() -> str:
    """Path of the program: the file that `CURATE_BIN` names, else the one that the wheel installed.

    Raises:
        CurateError: If there is no such file.

    """
    named = os.environ.get("CURATE_BIN")
    if named:
        if not os.path.isfile(named):
            raise CurateError(f"CURATE_BIN names {named}, which is not a file")
        return os.path.abspath(named)

    user = sysconfig.get_path("scripts", f"{os.name}_user")
    # `pip install --target DIR` puts scripts into DIR/bin, beside the package.
    beside = Path(__file__).parents[1] / "bin"
    folders = [sysconfig.get_path("scripts"), user, str(beside)]
    for folder in folders:
        path = os.path.join(folder, "curate")
        if os.path.isfile(path):
            return path
    places = ", ".join(folders)
    raise CurateError(f"the program is in none of {places}; install curate-data again, or set CURATE_BIN")


def command(*arguments: Argument, quiet: bool = False) -> str:
    """Run `curate ARGUMENTS…` and return what it printed.

    Its log goes to `sys.stderr`, line by line, unless `quiet`. The program runs in a session of its own, so a signal
    reaches it through this function alone. KeyboardInterrupt is handed on as SIGINT, and raised again once the program
    has ended. That takes up to five seconds, and what was committed is kept. A second KeyboardInterrupt ends the
    program at once.

    Example:
        >>> print(curate.command("plan", "manifests/quickstart.toml"))

    Raises:
        CommandError: If the program ends with another exit code than 0.
        CurateError: If the program is not there.

    """
    words = [
        binary(),
        *(os.fspath(it) if isinstance(it, os.PathLike) else str(it) for it in arguments),
    ]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    printed: list[str] = []
    log: deque[str] = deque(maxlen=_LINES_KEPT)
    readers: list[threading.Thread] = []
    try:
        readers.append(_reader(process.stdout, printed, shown=False))
        readers.append(_reader(process.stderr, log, shown=not quiet))
        process.wait()
    except BaseException as stop:
        _stop(process, signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
        raise
    finally:
        for reader in readers:
            reader.join()

    stdout = "".join(printed)
    if process.returncode != 0:
        raise _failure(process.returncode, "".join(log), stdout)
    return stdout


def _reader(stream: IO[str] | None, lines: list[str] | deque[str], shown: bool) -> threading.Thread:
    """Start a thread that takes each line at once, so that a full pipe never holds the program up."""
    assert stream is not None, "the stream is a pipe"

    def read() -> None:
        with stream:
            for line in stream:
                lines.append(line)
                if shown:
                    _show(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _show(line: str) -> None:
    # `sys.stderr`, not the file descriptor: a notebook shows the one and not the other.
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # a log that nobody can read ends no run


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Hand a signal on, and wait until the program has ended."""
    process.send_signal(number)
    while True:
        try:
            process.wait()
            return
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def _failure(code: int, log: str, stdout: str) -> CommandError:
    """The error of a program that ended with `code`; -n stands for signal n."""
    if code < 0:
        name = signal.Signals(-code).name
        said = f"the program was ended by {name}"
        if name == "SIGKILL":
            said += ", perhaps for want of memory"
        return CommandError(128 - code, said, stdout)
    return CommandError(code, _message(log) or _message(stdout), stdout)


def _message(log: str) -> str:
    """The error at the end of a log: the program writes it last, behind its name."""
    lines = log.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith(("curate: ", "error: "))]
    return "\n".join(lines[starts[-1] :] if starts else lines[-20:]).strip()
