"""What systemd puts around a service, put around a command without systemd as the first process; runs as root.

`python confined.py UNIT[,DROP-IN...] STATE-FOLDER KEPT[,KEPT...] -- COMMAND...` reads the settings of the unit and its
drop-ins, makes the mounts, the user, the capabilities and the filters of system calls that they ask for, in the order
in which systemd makes them, and becomes the command. STATE-FOLDER is /var/lib/triage-agent in there, and all that
can be written. KEPT are folders that stay readable where they lie below one that is hidden (a clone in a home, a Python
in another), which a site has not.

Not put around it: what control groups do (DevicePolicy=, IPAddressDeny=), keyrings, and the private name spaces of IPC.
"""

import ctypes
import os
import re
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a program has its own folder alone

from support.filters import allowed_calls, refuse_calls

USER = 10001
STATE = Path("/var/lib/triage-agent")
_HIDDEN = {"ProtectHome": ("/home", "/root", "/run/user"), "PrivateTmp": ("/tmp", "/var/tmp")}  # noqa: S108 - hidden
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18  # MS_BIND, MS_REC, MS_PRIVATE
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY = 442, 0x8000, 1
_CAP_DROP, _DUMPABLE, _NO_NEW_PRIVILEGES = 24, 4, 38  # prctl(2): PR_CAPBSET_DROP, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS
_library = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users"))


def read_settings(*files):
    """The settings of a unit and of its drop-ins: each name's lines, in order; an empty line forgets those before."""
    settings = {}
    for file in files:
        for name, value in re.findall(r"^(\w+)=(.*)$", Path(file).read_text(), re.MULTILINE):
            settings[name] = [*settings.get(name, []), value] if value else []
    return settings


def is_on(settings, name):
    """Whether a setting that is yes or no is yes."""
    return settings.get(name, ["no"])[-1:] == ["yes"]


def _call(name, *arguments):
    if getattr(_library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def _mount(what, where, kind=None, flags=0, options=None):
    encoded = [None if text is None else str(text).encode() for text in (what, where, kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), None if options is None else options.encode())


def _read_only(where, *, wanted):
    """Of a mount and of those below it."""
    attributes = _Attributes(set=_READ_ONLY if wanted else 0, clear=0 if wanted else _READ_ONLY)
    flags = _AT_RECURSIVE if wanted else 0
    _call("syscall", _MOUNT_SETATTR, -100, str(where).encode(), flags, ctypes.byref(attributes), 32)


def _empty(where, mode="0755"):
    _mount("tmpfs", where, "tmpfs", options=f"mode={mode}")


def _bind(descriptor, where):
    Path(where).mkdir(parents=True, exist_ok=True)
    _mount(f"/proc/self/fd/{descriptor}", where, flags=_BIND | _RECURSIVE)


def _make_mounts(settings, state, kept):
    """The tree of files as the service sees it."""
    opened = {Path(folder).resolve(): os.open(folder, os.O_PATH) for folder in kept}
    own = os.open(state, os.O_PATH)
    _empty("/var/lib")
    hidden = [folder for name, folders in _HIDDEN.items() if is_on(settings, name) for folder in folders]
    hidden += {closed for folder in opened if (closed := _closed_above(folder))} - {*hidden}
    for folder in filter(os.path.isdir, hidden):
        _empty(folder, "1777" if folder.endswith("tmp") else "0755")
    for folder, descriptor in opened.items():
        if any(folder.is_relative_to(one) for one in hidden):
            _bind(descriptor, folder)
    _bind(own, STATE)
    if is_on(settings, "PrivateDevices"):
        _make_devices()
    if settings.get("ProcSubset") == ["pid"] or settings.get("ProtectProc"):
        options = {"invisible": "hidepid=invisible"}.get(settings.get("ProtectProc", [""])[-1], "hidepid=off")
        _mount("proc", "/proc", "proc", options=options + (",subset=pid" * (settings.get("ProcSubset") == ["pid"])))
    if settings.get("ProtectSystem") == ["strict"]:
        _read_only("/", wanted=True)
    for folder in (STATE, "/dev", "/dev/shm", "/proc", *(one for one in hidden if one.endswith("tmp"))):  # noqa: S108
        if os.path.ismount(folder):
            _read_only(folder, wanted=False)


def _closed_above(folder):
    """The outermost folder above that only its owner gets through, as root's home is; None where there is none."""
    return next((str(one) for one in reversed(folder.parents) if not one.stat().st_mode & 0o001), None)


def _make_devices():
    nodes = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES}
    shared = os.open("/dev/shm", os.O_PATH)  # noqa: S108 - the device
    _empty("/dev")
    for name, descriptor in nodes.items():
        Path("/dev", name).touch()
        _mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", flags=_BIND)
    _bind(shared, "/dev/shm")  # noqa: S108


def _drop_capabilities():
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text()) if Path("/proc/sys").exists() else 40
    for capability in range(last + 1):
        _library.prctl(_CAP_DROP, capability, 0, 0, 0)


def _become(settings):
    """The user, in a name space of its own where it is asked for, who can become nobody else."""
    _drop_capabilities()
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    if is_on(settings, "PrivateUsers"):
        _call("prctl", _DUMPABLE, 1, 0, 0, 0)  # its own files in /proc are its own again
        _call("unshare", _NEW_USERS)
        Path("/proc/self/setgroups").write_text("deny")
        for name in ("uid_map", "gid_map"):
            Path("/proc/self", name).write_text(f"{USER} {USER} 1")
        _drop_capabilities()


def main():
    """Become the command."""
    units, state, kept = sys.argv[1:4]
    command = sys.argv[sys.argv.index("--") + 1 :]
    settings = read_settings(*units.split(","))
    allowed = (
        allowed_calls(settings) if "SystemCallFilter" in settings else None
    )  # asked of systemd before anything is hidden
    _call("unshare", _NEW_MOUNTS)
    _mount(None, "/", flags=_PRIVATE | _RECURSIVE)
    _make_mounts(settings, state, kept.split(","))
    os.umask(int(settings.get("UMask", ["0022"])[-1], 8))
    if settings.get("LimitCORE") == ["0"]:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _become(settings)
    os.chdir(STATE)
    if is_on(settings, "NoNewPrivileges"):
        _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    refuse_calls(settings, allowed)
    os.execv(command[0], command)  # noqa: S606 - what it is for


if __name__ == "__main__":
    main()
