"""As much of an IMAP server as reading a mailbox needs; it remembers which mails were marked as seen."""

from __future__ import annotations

import re
import socketserver
import threading
from typing import Any, cast


class ImapServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, *mails: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.mails = dict(enumerate(mails, start=1))
        self.seen: set[int] = set()
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> ImapServer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()


class _Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast(ImapServer, self.server)
        self.wfile.write(b"* OK here\r\n")
        for line in self.rfile:
            tag, _, command = line.strip().partition(b" ")
            uid = int(found[1]) if (found := re.match(rb"UID (?:FETCH|STORE) (\d+)", command)) else 0
            if command.startswith(b"CAPABILITY"):
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif command.startswith(b"LOGIN") and b"right" not in command:
                self.wfile.write(tag + b" NO who are you\r\n")
                continue
            elif command.startswith(b"UID SEARCH"):
                unseen = " ".join(str(n) for n in server.mails if n not in server.seen)
                self.wfile.write(f"* SEARCH {unseen}".strip().encode() + b"\r\n")
            elif command.startswith(b"UID FETCH"):
                mail = server.mails[uid]
                self.wfile.write(b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (uid, uid, len(mail), mail))
            elif command.startswith(b"UID STORE") and rb"+FLAGS (\Seen)" in command:
                server.seen.add(uid)
            self.wfile.write(tag + b" OK done\r\n")
            if command == b"LOGOUT":
                return
