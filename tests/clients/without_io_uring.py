"""Runs a command that may not use io_uring: what a container's seccomp profile does.

    without_io_uring.py EPERM|ENOSYS COMMAND [ARGUMENT]...
"""

import ctypes
import errno
import os
import struct
import sys

IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427  # on every architecture
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF


def program(code: int) -> bytes:
    """Refuses the three calls with this error, allows all others."""
    steps = [(LOAD_WORD, 0, 0, 0)]  # the number of the call
    calls = [IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER]
    for place, call in enumerate(calls):
        steps.append((JUMP_IF_EQUAL, len(calls) - place, 0, call))
    steps.append((RETURN, 0, 0, SECCOMP_RET_ALLOW))
    steps.append((RETURN, 0, 0, SECCOMP_RET_ERRNO | code))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def main() -> None:
    """Forbids, then becomes the command."""
    steps = program(getattr(errno, sys.argv[1]))
    buffer = ctypes.create_string_buffer(steps, len(steps))
    header = struct.pack("HxxxxxxP", len(steps) // 8, ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    no_new_privileges = (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for arguments in (no_new_privileges, (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header)):
        if library.prctl(*arguments) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
