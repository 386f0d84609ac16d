"""Loaded by the interpreter that runs localstripe, before it: keeps that program on 127.0.0.1 and off the disk.

As packaged it listens on every interface, and it writes its store with pickle to a fixed name in /tmp and reads it
back. Both are stopped here from the outside, with the standard library only.
"""

import builtins
import os
import socket
from typing import Any

STORE = "/tmp/localstripe.pickle"

_open = builtins.open


class LoopbackSocket(socket.socket):
    """A socket that can be bound to 127.0.0.1 only, whatever it is asked."""

    def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
        super().__init__(socket.AF_INET if family == socket.AF_INET6 else family, *rest, **more)

    def bind(self, address: Any) -> None:
        super().bind(("127.0.0.1", address[1]))


def open_except_store(file: Any, *rest: Any, **more: Any) -> Any:
    return _open(os.devnull if file == STORE else file, *rest, **more)


setattr(socket, "socket", LoopbackSocket)  # noqa: B010 - mypy forbids to assign to a type
builtins.open = open_except_store
