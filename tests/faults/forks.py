"""Processes that cost a fork: a server imports ifpdb once, and each task then runs in a new child of it.

A child is as fresh as a started process: the server itself never opens a registry. A child that is to be traced waits,
after its last import, until strace has taken hold of it, so that the calls that strace counts are those of the task.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
CALLS = (
    "openat,read,pread64,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,truncate,ftruncate,"
    "mkdir,mkdirat,fchmod,chmod,close,link,linkat,symlink,symlinkat,pwritev,pwritev2,fallocate,copy_file_range,sendfile,"
    "sync_file_range,ioctl"
)
"""Every system call that reads or changes a file; stat and its kin, which only look, are left out."""
SAYS = "writev"
"""The call by which a task says something: none of those above, so that a disk that is full doesn't silence it."""

WITHOUT_STRACE = "there is no strace that works here: apt-get install strace, and allow ptrace"
PATIENCE = 300
"""Seconds after which a task that hangs is killed."""


def has_strace() -> bool:
    """Whether calls can be failed on this machine."""
    command = ["strace", "-o", os.devnull, "true"]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit status (negative: the signal), the lines that it wrote, the lines of strace's log."""

    status: int
    lines: tuple[str, ...]
    calls: tuple[str, ...] = ()


class Forks:
    """A server of forks, for a `with` block; one task at a time."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ifp-forks-"))
        self._said, self._log = self._folder / "said", self._folder / "strace"
        self._server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self._server.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, task: str, *arguments: Any, strace: Sequence[str] | None = None) -> Ended:
        """Run `module:function` with these JSON arguments in a new child, under strace with these options or without."""
        self._said.write_bytes(b"")
        child = self._ask({"task": task, "arguments": arguments, "said": str(self._said)})
        tracer = None if strace is None else self._take_hold(child, strace)
        os.kill(child, signal.SIGUSR1)
        status = self._answer()
        if tracer is not None:
            tracer.communicate()
        lines = self._said.read_text(errors="replace").splitlines()
        calls = self._log.read_text(errors="replace").splitlines() if tracer is not None else []
        return Ended(status, tuple(lines), tuple(calls))

    def _take_hold(self, child: int, options: Sequence[str]) -> subprocess.Popen[str]:
        command = ["strace", "-f", "-y", "-o", str(self._log), *options, "-p", str(child)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            os.kill(child, signal.SIGKILL)
            self._answer()
            raise RuntimeError(f"strace can't attach: {said}{tracer.communicate()[1]}")
        return tracer

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def serve() -> None:
    """The server: for each order on stdin a child; its process id on stdout, then its exit status."""
    sys.path[0] = str(HERE)
    listed = subprocess.run([sys.executable, __file__, "modules"], stdout=subprocess.PIPE, text=True, check=True)
    for module in listed.stdout.splitlines()[-1].split():
        with suppress(Exception):  # what only its own importer may import
            importlib.import_module(module)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _child(order: dict[str, Any]) -> None:
    """Do one task and leave: no exit handler and no buffer of the server's runs a second time."""
    status = 1
    try:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: strace is a cousin, no parent
        said = os.open(order["said"], os.O_WRONLY | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        module, _, function = order["task"].partition(":")
        task = getattr(importlib.import_module(module), function)
        signal.alarm(PATIENCE)
        signal.sigwait({signal.SIGUSR1})
        task(*order["arguments"])
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(status)


def modules() -> None:
    """Print, last, every module that the more various works bring in, so that no child needs to import any."""
    sys.path[0] = str(HERE)
    import oracle
    import work

    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(("track", "register", "gc", "backup")):
            box = Path(folder, str(number), "box")
            box.mkdir(parents=True)
            work.prepare(name, str(box))
            oracle.inspect(name, str(box), number)
    print(*sys.modules)


if __name__ == "__main__":
    modules() if sys.argv[1:] == ["modules"] else serve()
