"""The template: a process that has imported what roles need, and forks a role from itself whenever it is asked to.

A forked role starts within milliseconds, where an interpreter of its own would import for most of a second. The
template has one thread, no connection and no client of Kafka, so that a role that is forked from it is as good as new.
It is told what to start through a socket, and tells of each role's end through it. It ends when the other end does.

What it promises of a role's process is what `subprocess` does: a session of its own, the environment, the folder and
the files that were asked for, no other file, signals as at the start of a program, and exit codes.
"""

import atexit
import errno
import gc
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import msgspec

from tallystick.supervision.child import LIFELINE_VARIABLE
from tallystick.supervision.titles import show_arguments

_HEADER = struct.Struct("!I")
_FAILED_CODE = 1
_LEAST_FILES, _FILES = 2, 3
"""Standard output, standard error and perhaps a lifeline come with a wish."""
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""They are for the supervisor, which ends the template by its own end, whoever else has been sent them."""


class Wish(msgspec.Struct, frozen=True):
    """A process that is wanted: `python -m module arguments…`, run by calling `main()` of that module."""

    argv: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    folder: bytes
    yields: int = 0
    """Is added to its niceness before it does anything."""

    @property
    def module(self) -> str:
        """The module whose `main` is called."""
        return os.fsdecode(self.argv[2])


class Born(msgspec.Struct, frozen=True, tag=True):
    """The answer to a wish."""

    pid: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The other answer to a wish: the operating system gives no process."""

    reason: str


class Died(msgspec.Struct, frozen=True, tag=True):
    """The end of a process; `code` is negative for a signal."""

    pid: int
    code: int


Word = Born | Refused | Died
"""What the template says."""
_decode_wish = msgspec.msgpack.Decoder(Wish).decode
_decode_word = msgspec.msgpack.Decoder[Word](Word).decode


def send(control: socket.socket, message: Wish | Word, files: Sequence[int] = ()) -> None:
    """Send a message, and file descriptors with it. Raises OSError where the other end has ended."""
    body = msgspec.msgpack.encode(message)
    socket.send_fds(control, [_HEADER.pack(len(body))], files)
    control.sendall(body)


def receive_word(control: socket.socket) -> Word | None:
    """Return what the template says next, None where it has ended."""
    body, _ = _receive(control)
    return _decode_word(body) if body else None


def serve(control: socket.socket, modules: Sequence[str]) -> None:
    """Import `modules`, then start what is wished for, until the other end of `control` is closed. Main thread only."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for module in modules:
        with suppress(ImportError):  # the role that needs it says so, in its own log
            import_module(module)
    gc.collect()
    gc.freeze()  # a collection would copy pages that are shared
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(awake, selectors.EVENT_READ)
        with suppress(ConnectionError):  # the other end is gone, which is seen at once
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if control in ready and not _fulfil(control, own_files=(selector, awake, wake)):
                    return
                if awake in ready:
                    os.read(awake, 4096)
                    _tell_of_the_dead(control)


def _fulfil(control: socket.socket, *, own_files: tuple[selectors.DefaultSelector, int, int]) -> bool:
    """Start what is wished for next; return False where nobody is left to wish."""
    body, files = _receive(control)
    if not body:
        return False
    try:
        answer: Word = Born(_fork(_decode_wish(body), files, control, own_files))
    except OSError as error:
        answer = Refused(str(error))
    for file in files:
        os.close(file)
    send(control, answer)
    return True


def _fork(
    wish: Wish, files: Sequence[int], control: socket.socket, own_files: tuple[selectors.DefaultSelector, int, int]
) -> int:
    """Start what is wished for; return its process id once it leads a session, which may be killed from then on."""
    if len(files) < _LEAST_FILES:  # the system leaves out those for which there is no room
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    begun, begin = os.pipe()
    try:
        # What is sent to the new process meanwhile waits until it has the dispositions that it shall have.
        signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
        try:
            if not (pid := os.fork()):
                selector, *pipes = own_files
                selector.close()
                control.close()
                for pipe in (*pipes, begun):
                    os.close(pipe)
                _become(wish, files, begin)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
            os.close(begin)
        os.read(begun, 1)  # returns at its end
        return pid
    finally:
        os.close(begun)


def _tell_of_the_dead(control: socket.socket) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            send(control, Died(ended[0], os.waitstatus_to_exitcode(ended[1])))


def _become(wish: Wish, files: Sequence[int], begin: int) -> NoReturn:
    """Be the process that was wished for, to its end."""
    code = _FAILED_CODE
    try:
        os.setsid()
        _reset_signals()
        os.close(begin)
        _take_files(*files[:2])
        os.nice(wish.yields)
        os.chdir(wish.folder)
        os.environb.clear()
        os.environb.update(wish.environment)
        if lifeline := files[2:]:
            os.environ[LIFELINE_VARIABLE] = str(lifeline[0])
        time.tzset()
        show_arguments(wish.argv)
        sys.argv = list(map(os.fsdecode, wish.argv[2:]))
        code = _run_main(wish.module)
        _finish()
    except BaseException:  # noqa: BLE001  (the last frame: nothing may get back to the template's)
        traceback.print_exc()
    finally:
        os._exit(code)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *_IGNORED):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)


def _take_files(stdout: int, stderr: int) -> None:
    """Make these the standard files, as at the start of a program."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, stdout, stderr)):
        os.dup2(file, number)
        os.close(file)
    options: Any = {"buffering": 1, "encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(number, "w" if number else "r", **options)  # noqa: SIM115, PTH123
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run_main(module: str) -> int:
    try:
        import_module(module).main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return (ended.code or 0) & 0xFF
        sys.stderr.write(f"{ended.code}\n")
        return _FAILED_CODE
    except BaseException:  # noqa: BLE001  (told, as an interpreter does before it ends)
        traceback.print_exc()
        return _FAILED_CODE
    return 0


def _finish() -> None:
    """Do what an interpreter does at its end."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001  (as multiprocessing does, which forks likewise)
    sys.stdout.flush()


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """Return the body of a message and the files that came with it; empty where the other end has ended."""
    try:
        header, files, _, _ = socket.recv_fds(control, _HEADER.size, _FILES)
        header += _exactly(control, _HEADER.size - len(header)) if header else b""
        return (_exactly(control, *_HEADER.unpack(header)), files) if header else (b"", [])
    except ConnectionError:
        return b"", []


def _exactly(control: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        if not (more := control.recv(size - len(received))):
            raise ConnectionResetError
        received += more
    return bytes(received)
