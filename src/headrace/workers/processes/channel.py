"""Messages between processes of one machine: they arrive whole, and take file descriptors along."""

from __future__ import annotations

import errno
import os
import socket
import sys
from array import array
from typing import TYPE_CHECKING

from headrace.workers.processes.segments import create_file, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Channel", "MOST_FILES"]  # noqa: RUF022 - in plain order

# Both keep the bounds of messages; only the first tells when the other side has gone, and only Linux
# has it for sockets without a network.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
# A socket's buffer takes some 200 KB; what is longer than this travels in a memory file.
_LONGEST = 1 << 16
# As plain integers: an enumeration takes longer to combine them than the system to act on them.
_NO_WAIT = int(socket.MSG_DONTWAIT)
_NOT_INHERITED = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # what is received is for no child process
_SOME_LOST = int(socket.MSG_CTRUNC)  # of the descriptors that were sent
_HERE, _IN_FILE = b"\0", b"\1"  # where the message is
MOST_FILES = 250  # that go with a message: Linux takes three more descriptors
_ANCILLARY = socket.CMSG_SPACE((MOST_FILES + 3) * array("i").itemsize)


class Channel:
    """One end of a connection, or an end that several processes share: then each message goes to one.

    Args:
        end: a connected socket that keeps the bounds of messages.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        one, other = socket.socketpair(socket.AF_UNIX, _KIND)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """Return the descriptor, for `select` and for inheritance."""
        return self.socket.fileno()

    def send(self, message: bytes, descriptors: Sequence[int] = (), *, wait: bool = True) -> None:
        """Send a message.

        Args:
            message: any number of bytes.
            descriptors: open files of this process; the receiver gets descriptors of its own.
            wait: wait for room in the connection.

        Raises:
            BlockingIOError: there is no room, and `wait` is false.
            OSError: the other side has gone.
        """
        flags = 0 if wait else _NO_WAIT
        if len(message) <= _LONGEST:
            self._send([_HERE, message], descriptors, flags)
            return
        file = create_file(len(message))
        try:
            write_file(file, memoryview(message))
            self._send([_IN_FILE], [file, *descriptors], flags)
        finally:
            os.close(file)

    def receive(self, *, wait: bool = True) -> tuple[bytes, list[int]]:
        """Return the next message, and the descriptors that came with it.

        Raises:
            BlockingIOError: there is none, and `wait` is false.
            EOFError: the other side has gone.
            OSError: this process has too many files open to get another.
        """
        flags = _NOT_INHERITED | (0 if wait else _NO_WAIT)
        try:
            data, ancillary, found, _ = self.socket.recvmsg(_LONGEST + 1, _ANCILLARY, flags)
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if not data:
            raise EOFError("the other side has gone")
        descriptors = [file for _, _, files in ancillary for file in array("i", files)]
        if found & _SOME_LOST:
            for file in descriptors:
                os.close(file)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if data[:1] == _HERE:
            return data[1:], descriptors
        file = descriptors.pop(0)
        try:
            return read_file(file), descriptors
        finally:
            os.close(file)

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def _send(self, parts: list[bytes], descriptors: Sequence[int], flags: int) -> None:
        # `socket.send_fds` and `recv_fds` would do, if they did not leave their flags out (CPython 3.11).
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        self.socket.sendmsg(parts, ancillary, flags)
