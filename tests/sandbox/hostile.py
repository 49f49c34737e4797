"""Hostile programs, what they are after, and how to tell that one got out.

Each says `[[1]]` if it got anywhere. Most first get hold of the real `os` and the real
built-ins, past the list of imports, so that what stops them is the kernel.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from solver.deadline import Deadline
from solver.grid import as_grid, same
from solver.sandbox.parent import Sandbox

GRIDS = [as_grid([[1, 2], [3, 4]]), as_grid([[5, 6, 7]])]
HONEST = "import numpy as np\ndef transform(grid):\n    return np.flipud(grid)\n"
OUT = as_grid([[1]])

# The real modules, by the classes that every object leads to.
REAL = """
wrap = next(c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close")
sys = wrap.__init__.__globals__["sys"]
os, builtins = sys.modules["os"], sys.modules["builtins"]
open, ctypes = builtins.open, sys.modules["ctypes"]
libc = ctypes.CDLL(None, use_errno=True)

def address(place):
    host = bytes(map(int, place[0].split(".")))
    return sys.modules["struct"].pack("=H", 2) + place[1].to_bytes(2, "big") + host + bytes(8)
"""


def inside(lines: str) -> str:
    """A program whose `transform` runs these lines with the real modules at hand."""
    return REAL + "def transform(grid):\n" + "".join(f"    {x}\n" for x in lines.splitlines())


# fork(), called as 32-bit x86 does: mov eax, 2; int 0x80; ret. Elsewhere: no instruction.
INT80 = "b802000000cd80c3" if platform.machine() == "x86_64" else "00000000"
HOSTILE = {
    # Processes. Forking is bounded, so that a hole here would be seen and not felt.
    "fork bomb": "for _ in range(6):\n    os.fork()\nwhile True:\n    pass",
    "fork by its number": "return [[int(libc.fork() >= 0)]]",
    "subprocess": "os.posix_spawn('/bin/touch', ['touch', FOLDER + '/x'], {})\nreturn [[1]]",
    "system": "return [[int(os.system('touch ' + FOLDER + '/x') == 0)]]",
    "exec": "os.execv('/bin/touch', ['touch', FOLDER + '/x'])",
    "a thread": "import_ = builtins.__import__\nimport_('_thread').start_new_thread(print, ())\n"
    "return [[1]]",
    "a session of its own": "os.setsid()\nreturn [[1]]",
    # Files.
    "read": "return [[int(open(SECRET).read())]]",
    "read by descriptor": "return [[int(os.read(os.open(SECRET, 0), 1))]]",
    "numpy reads": "np = sys.modules['numpy']\nreturn np.fromfile(SECRET, np.uint8)[None] - 48",
    "numpy maps": "np = sys.modules['numpy']\nreturn np.memmap(SECRET, np.uint8)[None] - 48",
    "write": "open(FOLDER + '/x', 'w').write('x')\nreturn [[1]]",
    "append": "open(SECRET, 'a').write('x')\nreturn [[1]]",
    "numpy writes": "sys.modules['numpy'].save(FOLDER + '/x', 1)\nreturn [[1]]",
    "delete": "os.unlink(SECRET)\nreturn [[1]]",
    "rename": "os.rename(SECRET, FOLDER + '/x')\nreturn [[1]]",
    "truncate": "os.truncate(SECRET, 0)\nreturn [[1]]",
    "rights": "os.chmod(SECRET, 0)\nreturn [[1]]",
    "link": "os.symlink(SECRET, FOLDER + '/x')\nreturn [[1]]",
    "a folder": "os.mkdir(FOLDER + '/x')\nreturn [[1]]",
    "list": "return [[int(len(os.listdir(FOLDER)) > 0)]]",
    "look": "return [[int(os.path.exists(SECRET))]]",
    "memory of the parent": "open(f'/proc/{os.getppid()}/mem', 'rb')\nreturn [[1]]",
    "memory of the tests": "open('/proc/TESTS/environ', 'rb')\nreturn [[1]]",
    "a secret environment": "return [[int('PYTEST_CURRENT_TEST' in os.environ)]]",
    # The network.
    "a socket": "return [[int(libc.socket(2, 1, 0) >= 0)]]",
    "connect": "s = libc.socket(2, 1, 0)\n"
    "return [[int(s >= 0 and libc.connect(s, address(TCP), 16) == 0)]]",
    "send": "s = libc.socket(2, 2, 0)\n"
    "return [[int(s >= 0 and libc.sendto(s, b'x', 1, 0, address(UDP), 16) == 1)]]",
    "a pipe": "os.pipe()\nreturn [[1]]",
    # Others.
    "kill the parent": "os.kill(TESTS, 9)\nreturn [[1]]",
    "a look at the parent": "os.kill(TESTS, 0)\nreturn [[1]]",
    "raise the limits": "r = builtins.__import__('resource')\n"
    "r.setrlimit(r.RLIMIT_NPROC, (9, 9))\nreturn [[1]]",
    "another user": "os.setresuid(0, 0, 0)\nreturn [[1]]",
    "outlive the parent": "return [[int(libc.prctl(1, 0, 0, 0, 0) == 0)]]",
    "trace": "return [[int(libc.ptrace(16, TESTS, 0, 0) == 0)]]",
    "a new namespace": "return [[int(libc.unshare(0x10000000) == 0)]]",
    "io_uring": "return [[int(libc.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0)]]",
    "a later import": "builtins.__import__('sqlite3')\nreturn [[1]]",
    "another machine's calls": "code = ctypes.create_string_buffer(bytes.fromhex(INT80), 64)\n"
    "at = ctypes.addressof(code) & ~4095\nlibc.mprotect(ctypes.c_void_p(at), 8192, 7)\n"
    "fork = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(code))\n"
    "return [[int(fork() >= 0)]]",
    "another machine's numbers": "return [[int(libc.syscall(0x40000000 + 57) >= 0)]]",
    # Time.
    "a loop": "while True:\n    pass",
    "a loop in C": "return sum(range(10**13))",
    "signals ignored": "signal = builtins.__import__('_signal')\nfor s in range(1, 65):\n"
    "    try:\n        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n"
    "        pass\nwhile True:\n    pass",
    "errors caught": "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass",
    "printing": "while True:\n    print('x' * 10**6)",
    # Its own end.
    "exit 0": "os._exit(0)",
    "exit 3": "os._exit(3)",
    "quit": "raise SystemExit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "abort": "os.abort()",
    "a wild pointer": "ctypes.string_at(1)",
    "the stack": "f = lambda: f()\nf()",
    "the stack of C": "sys.setrecursionlimit(10**9)\nf = lambda x: sorted([1, 2], key=f)\nf(1)",
    "itself": "x = []\nx.append(x)\nreturn x",
    # Memory.
    "memory at once": "return sys.modules['numpy'].ones(2**40)",
    "memory in steps": "x = []\nwhile True:\n    x.append(bytearray(2**24))",
    "memory mapped": "return [[int(libc.mmap(0, 2**36, 3, 0x22, -1, 0) not in (-1, 2**32 - 1))]]",
    "a big number": "return 10 ** 10 ** 9",
    # The channel of results.
    "too much": "while True:\n    os.write(3, b'x' * 65536)",
    "too much of a grid": "return sys.modules['numpy'].zeros((9999, 9999))",
    "closed": "os.close(3)\nwhile True:\n    pass",
    "junk": "os.write(3, b'\\xff\\x00{\\n' * 9)\nos._exit(0)",
    "half a line": "os.write(3, b'{\"output\": [[1')\nos._exit(0)",
    "other words": 'os.write(3, b\'{"verified": true}\\n{"kind": "done"}\\n\')\nos._exit(0)',
    "another's channel": "for fd in (0, 1, 2, 4, 5, 6):\n    os.write(fd, b'x')\nreturn [[1]]",
    "an error that cannot be said": "class E(Exception):\n    def __str__(self):\n"
    "        return 'x' * 10**10\nraise E()",
    "deep JSON": "os.write(3, b'[' * 10**5 + b'\\n')\nos._exit(0)",
    "an endless number": "os.write(3, b'{\"output\": [[' + b'1' * 10**5 + b']]}\\n')\nos._exit(0)",
    # Pickles, and objects that are not what they seem.
    "pickle": "sys.modules['pickle']._loads("
    'b"cposix\\nsystem\\n(S\'touch " + FOLDER.encode() + b"/x\'\\ntR.")\nreturn [[2]]',
    "an object with a reduce": "class X:\n    def __reduce__(self):\n"
    "        return os.system, ('touch ' + FOLDER + '/x',)\nreturn X()",
    "an array that lies": "np = sys.modules['numpy']\nclass X(np.ndarray):\n"
    "    def tolist(self):\n        return {'output': 1}\nreturn np.zeros((2, 2)).view(X)",
}


# These see that they failed and say so.
RETURNS = {
    *("fork by its number", "system", "look", "a secret environment", "a socket", "connect"),
    *("send", "outlive the parent", "trace", "a new namespace", "io_uring", "memory mapped"),
    *("another machine's numbers", "pickle", "an array that lies"),
}
ENDLESS = {"a loop", "a loop in C", "signals ignored", "errors caught", "printing", "a big number"}


@dataclass(frozen=True)
class Prey:
    """The targets of programs: a secret, a folder that anyone may write to, two listeners."""

    secret: Path
    folder: Path
    tcp: socket.socket
    udp: socket.socket

    def fill(self, program: str) -> str:
        """The program with the places filled in that it wants to reach."""
        places = {
            "SECRET": repr(str(self.secret)),
            "FOLDER": repr(str(self.folder)),
            "TCP": repr(self.tcp.getsockname()),
            "UDP": repr(self.udp.getsockname()),
            "TESTS": str(os.getpid()),
            "INT80": repr(INT80),
        }
        for name, value in places.items():
            program = program.replace(name, value)
        return program

    def check(self) -> None:
        """Nothing was written, deleted, connected to or received."""
        assert self.secret.read_text() == "1"
        assert list(self.folder.iterdir()) == [self.secret]
        for ear in (self.tcp.accept, lambda: self.udp.recv(1)):
            with pytest.raises(BlockingIOError):
                ear()


@contextmanager
def prey_in(folder: Path) -> Iterator[Prey]:
    """Prey in a new folder; no rights of files protect it."""
    for above in (folder, folder.parent, folder.parent.parent):
        above.chmod(0o777)
    secret = folder / "secret"
    secret.write_text("1")
    secret.chmod(0o666)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as u:
        u.bind(("127.0.0.1", 0))
        tcp.setblocking(False)
        u.setblocking(False)
        yield Prey(secret, folder, tcp, u)


def attempt(sandbox: Sandbox, program: str, prey: Prey, seconds: float = 20) -> str:
    """Run a hostile program, then an honest one in the same sandbox. Returns what the hostile
    one was stopped by."""
    before = jailed()
    outcomes = sandbox.run(prey.fill(program), GRIDS, Deadline.after(seconds)).outcomes
    prey.check()
    assert jailed() == before
    check_honest(sandbox)
    stopped = [o for o in outcomes if isinstance(o, str)]
    grids = [o for o in outcomes if not isinstance(o, str)]
    assert not any(same(grid, OUT) for grid in grids), outcomes
    return "; ".join(stopped)


def check_honest(sandbox: Sandbox) -> None:
    outcomes = sandbox.run(HONEST, GRIDS, Deadline.after(60)).outcomes
    for grid, outcome in zip(GRIDS, outcomes, strict=True):
        assert not isinstance(outcome, str), outcome
        assert same(outcome, as_grid(np.flipud(grid)))


def jailed() -> list[int]:
    """The processes of this test's sandboxes, and whatever they left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"solver.sandbox.child" in words and str(os.getpid()).encode() in words:
            found.append(int(entry.name))
    return sorted(found)
