"""The filters of system calls that systemd makes of a unit's settings, by the library that systemd makes them with."""

import ctypes
import subprocess
from functools import cache

from support.programs import require_program

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # libseccomp's seccomp.h: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NOT_EQUAL, _EQUAL, _MASKED_EQUAL = 1, 4, 7  # enum scmp_compare
_NAMESPACES = 0x7E020000  # linux/sched.h: CLONE_NEWNS and the six others but CLONE_NEWTIME
_WRITE, _EXEC = 2, 4  # PROT_WRITE, PROT_EXEC
_SHM_EXEC = 0o100000


class _Comparison(ctypes.Structure):
    """Of an argument: masked, where the operator is that, and compared."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _with(argument, bits):
    return _Comparison(argument, _MASKED_EQUAL, bits, bits)


def _is(argument, value):
    return _Comparison(argument, _EQUAL, value, 0)


def _is_not(argument, value):
    return _Comparison(argument, _NOT_EQUAL, value, 0)


class _Filter:
    """One filter of the kernel's; of several the strictest counts."""

    def __init__(self, otherwise):
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action, name, *comparisons):
        """What to answer a call of that name; one that this processor has not is passed over, as systemd does."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        failed = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        if failed:
            raise OSError(-failed, f"seccomp_rule_add_array: {name}")

    def load(self):
        """From now on, for this process and all that it becomes."""
        failed = self._library.seccomp_load(self._context)
        if failed:
            raise OSError(-failed, "seccomp_load")


@cache
def calls_of(group):
    """The names of a group's system calls (`@system-service`), as the systemd that is installed has them."""
    program = require_program("/usr/bin/systemd-analyze")
    said = subprocess.run(
        [program, "syscall-filter", "--no-pager", group], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    names = set()
    for word in (line.strip() for line in said.splitlines()[1:]):
        if word.startswith("@"):
            names |= calls_of(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return frozenset(names)


def allowed_calls(settings):
    """What the lines SystemCallFilter= of a unit leave, in their order: the first one says what is allowed at all."""
    allowed = set(calls_of("@default"))
    for line in settings.get("SystemCallFilter", []):
        for word in line.removeprefix("~").split():
            names = calls_of(word) if word.startswith("@") else {word}
            allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def refuse_calls(settings, allowed):
    """Load what the unit's settings ask for; this process and its children have it until they end.

    `allowed`: the only calls that are left, None for all.
    """
    refusing = _Filter(_ALLOW)
    for name, rule in _REFUSALS.items():
        if settings.get(name, ["no"])[-1] == "yes":
            rule(refusing)
    families = settings.get("RestrictAddressFamilies", [""])[-1].split()
    if families:
        _refuse_families(refusing, families)
    refusing.load()
    if allowed is None:
        return
    chosen = _Filter(_ERRNO | _EPERM)  # last, since it may refuse to load another
    for name in allowed:
        chosen.add(_ALLOW, name)
    chosen.load()


def _refuse_families(refusing, families):
    numbers = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
    kept = {numbers[family] for family in families}
    for other in set(range(46)) - kept:
        refusing.add(_ERRNO | _EAFNOSUPPORT, "socket", _is(0, other))


def _refuse_namespaces(refusing):
    refusing.add(_ERRNO | _ENOSYS, "clone3")  # its flags cannot be looked at: the C library falls back to clone
    for bit in range(32):
        if _NAMESPACES >> bit & 1:
            refusing.add(_ERRNO | _EPERM, "clone", _with(0, 1 << bit))
            refusing.add(_ERRNO | _EPERM, "unshare", _with(0, 1 << bit))
    refusing.add(_ERRNO | _EPERM, "setns")


def _refuse_writable_code(refusing):
    refusing.add(_ERRNO | _EPERM, "mmap", _with(2, _WRITE | _EXEC))
    refusing.add(_ERRNO | _EPERM, "mprotect", _with(2, _EXEC))
    refusing.add(_ERRNO | _EPERM, "pkey_mprotect", _with(2, _EXEC))
    refusing.add(_ERRNO | _EPERM, "shmat", _with(2, _SHM_EXEC))


def _refuse_set_ids(refusing):
    for bit in (0o4000, 0o2000):
        for name, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1)):
            refusing.add(_ERRNO | _EPERM, name, _with(mode, bit))


def _refuse_realtime(refusing):
    for policy in (1, 2, 6):  # SCHED_FIFO, SCHED_RR, SCHED_DEADLINE
        refusing.add(_ERRNO | _EPERM, "sched_setscheduler", _is(1, policy))


def _refuse_personality(refusing):
    refusing.add(_ERRNO | _EPERM, "personality", _is_not(0, 0))


_REFUSALS = {
    "RestrictNamespaces": _refuse_namespaces,
    "MemoryDenyWriteExecute": _refuse_writable_code,
    "RestrictSUIDSGID": _refuse_set_ids,
    "RestrictRealtime": _refuse_realtime,
    "LockPersonality": _refuse_personality,
}
