"""The layers of the sandbox: rights that a Linux process gives up for good, without root.

Each layer is a function that takes rights away from the calling process and its children. A layer
raises if this machine does not have it. Layers call the kernel directly (ctypes), so that nothing
has to be installed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from solver.parent import die_with

STACK = 8 * 2**20

_libc = ctypes.CDLL(None, use_errno=True)


class MissingError(Exception):
    """A layer that this machine does not have; the message says why."""


Layer = Callable[[int], None]  # the argument: bytes of addresses that `limits` leaves


def namespaces(most: int) -> None:
    """Leave a network without any device, and no shared memory of other processes."""
    network, ipc, user = 0x40000000, 0x08000000, 0x10000000
    _call(_libc.unshare(network | ipc | (0 if os.geteuid() == 0 else user)))


def landlock(most: int) -> None:
    """Allow no file by any path, no TCP, and (newer kernels) no signals to processes outside."""
    _no_new_privileges()
    create, restrict, version = 444, 446, 1
    abi = _libc.syscall(create, None, 0, version)
    if abi < 1:
        raise MissingError(f"the kernel has no landlock ({os.strerror(ctypes.get_errno())})")
    files = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
    rules = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    ruleset = _call(_libc.syscall(create, rules, 8 * (1 + (abi >= 4) + (abi >= 6)), 0))
    _call(_libc.syscall(restrict, ruleset, 0))
    os.close(ruleset)


def identity(most: int) -> None:
    """Change root into a user without files, other processes or rights."""
    if os.geteuid() != 0:
        raise MissingError("not root, so no other user can be had")
    nobody = (1 << 30) + os.getppid()  # only for this sandbox: limits and signals count by user
    os.setgroups([])
    os.setresgid(nobody, nobody, nobody)
    os.setresuid(nobody, nobody, nobody)
    die_with(os.getppid())  # again, since the change of user cancels the first call


def limits(most: int) -> None:
    """Allow no process or thread, no new descriptor, no byte in a file, `most` address bytes."""
    nothing = dict.fromkeys(("NPROC", "NOFILE", "FSIZE", "CORE", "MEMLOCK", "MSGQUEUE"), 0)
    for name, wanted in (nothing | {"AS": most, "STACK": STACK}).items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (least, least))


# Numbers, on x86-64 and on aarch64, of the system calls that a program needs to compute and to
# send its answer.
CALLS = {
    "write": (1, 64),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "exit": (60, 93),
    "sigaltstack": (131, 132),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def seccomp(most: int) -> None:
    """Allow only the system calls in `CALLS`; a call of another ABI ends the process."""
    if platform.machine() not in MACHINES or sys.platform != "linux":
        raise MissingError(f"no list of system calls for {sys.platform} on {platform.machine()}")
    _no_new_privileges()
    column, machine = MACHINES[platform.machine()]
    code = bpf([numbers[column] for numbers in CALLS.values()], machine)
    set_seccomp, filter_mode = 22, 2
    program = _Filter(len(code) // 8, code)
    _call(_libc.prctl(set_seccomp, filter_mode, ctypes.byref(program), 0, 0))


def bpf(calls: list[int], machine: int) -> bytes:
    """A filter program: it kills at a call of another machine, allows `calls`, refuses the rest."""
    load, equal, end = 0x20, 0x15, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
    tests = [(equal, len(calls) - i, 0, number) for i, number in enumerate(calls)]
    steps = [
        (load, 0, 0, 4),  # the machine
        (equal, 1, 0, machine),
        (end, 0, 0, kill),
        (load, 0, 0, 0),  # the number
        *tests,
        (end, 0, 0, refuse),
        (end, 0, 0, allow),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


# The order matters: each layer needs rights that the next layers take away.
LAYERS: dict[str, Layer] = {
    "namespaces": namespaces,
    "identity": identity,
    "landlock": landlock,
    "limits": limits,
    "seccomp": seccomp,
}


def addresses() -> int:
    """Bytes of addresses in use by this process, and so by each of its children."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _no_new_privileges() -> None:
    """Let no program that is run from now on gain rights by being run."""
    set_no_new_privs = 38
    _call(_libc.prctl(set_no_new_privs, 1, 0, 0, 0))


def _call(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
