"""Programs that are run for what they print."""

import os
import selectors
from collections.abc import Sequence
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from pipeline.clock import SystemClock

# Nobody else's environment: what a user or a service manager has set may change the answer.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "SYSTEMD_IGNORE_CHROOT": "1",  # a container's view of its host is one
}

_CHUNK = 65_536
_MOST = 8 * 1024**2  # ten thousand units are a fourth of it


def run(command: Sequence[str], timeout_s: float) -> bytes:
    """Run a program, end it after so many seconds at the latest, and return what it printed.

    Raises:
        TimeoutError: It has not ended in time.
        OSError: It cannot be run, fails, or prints more than 8 MiB.
    """
    until = SystemClock().monotonic() + timeout_s
    program = Popen(  # noqa: S603 - its callers' own commands
        command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=_ENVIRONMENT
    )
    with program:
        try:
            printed, said = _output(program, until)
            status = program.wait(_left(until))
        except TimeoutExpired as error:
            raise TimeoutError(f"no answer within {1000 * timeout_s:.0f} ms") from error
        finally:
            program.kill()
    if status:
        why = said.decode(errors="backslashreplace").strip().rpartition("\n")[2]
        raise OSError(why or f"it ended with status {status}")
    return printed


def _output(program: Popen[bytes], until: float) -> Sequence[bytes]:
    """Return what a program prints, and what it says of errors; neither is held beyond a limit."""
    pipes = [pipe for pipe in (program.stdout, program.stderr) if pipe]
    parts: dict[int, list[bytes]] = {pipe.fileno(): [] for pipe in pipes}
    length = 0
    with selectors.DefaultSelector() as waiting:
        for pipe in parts:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(_left(until))
            if not ready:
                raise TimeoutExpired(program.args, 0)
            for key, _ in ready:
                if more := os.read(key.fd, _CHUNK):
                    parts[key.fd].append(more)
                    length += len(more)
                else:
                    waiting.unregister(key.fd)
            if length > _MOST:
                raise OSError(f"it prints more than {_MOST} bytes")
    return [b"".join(its) for its in parts.values()]


def _left(until: float) -> float:
    return max(0.0, until - SystemClock().monotonic())
