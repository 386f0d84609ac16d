"""One HTTP request to an address that somebody configured, without reaching what only we can reach.

The name is resolved once, every address it has must be public, and the connection goes to the address that was
checked, so that a name cannot change its mind in between (reliability.md S-09). Redirects are not followed. A proxy
for outgoing traffic with an allow-list could replace the checks.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

TIMEOUT, TOTAL = 10.0, 20.0  # seconds: for one step, and for everything
LONGEST_ANSWER = 64 * 1024


class Forbidden(Exception):
    """This address may not be asked; the message says why and does not repeat it."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool = False) -> int:
    """The status of the answer. Raises Forbidden, or OSError when there is none; nothing names the address."""
    status, _ = _ask("POST", url, body, headers, private)
    return status


def get(url: str) -> bytes:
    """The body of a good answer from a public https address. Raises Forbidden or OSError."""
    status, body = _ask("GET", url, None, {}, False)
    if status != 200:
        raise OSError(f"it answered {status}")
    return body


def _ask(method: str, url: str, body: bytes | None, headers: Mapping[str, str], private: bool) -> tuple[int, bytes]:
    parts = urlsplit(url)
    if parts.scheme != "https" and not private:
        raise Forbidden("not an https address")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    place = _place(host, port, private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    with _connection(host, port, place, tls) as connection:
        try:
            connection.request(method, path, body, {**headers, "User-Agent": "Reprieve"})
            answer = connection.getresponse()
            read = answer.status, answer.read(LONGEST_ANSWER)
        except http.client.HTTPException as error:
            raise OSError(f"its answer is not HTTP: {type(error).__name__}") from error
    return read


def _place(host: str, port: int, private: bool) -> str:
    """The address to connect to: the first of those that the name has, if all of them may be reached."""
    try:
        found = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError) as error:
        raise OSError("its name cannot be resolved") from error
    if not found:
        raise OSError("its name has no address")
    if not private and not all(public(address) for address in found):
        raise Forbidden("it leads into a private network")
    return found[0]


def public(address: str) -> bool:
    """Is this an address of the open internet, also when it is written as one of the other family?"""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner or ip in NAT64:
            return public(str(inner or ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


NAT64 = ipaddress.ip_network("64:ff9b::/96")


@contextlib.contextmanager
def _connection(host: str, port: int, place: str, tls: ssl.SSLContext | None) -> Iterator[http.client.HTTPConnection]:
    """A connection to `place` that is cut when everything together took too long, however busy the other side is."""
    plain = socket.create_connection((place, port), TIMEOUT)
    late = threading.Event()
    cut = threading.Timer(TOTAL, _cut, (plain, late))
    cut.daemon = True
    cut.start()
    try:
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT)) as connection:
            connection.sock = tls.wrap_socket(plain, server_hostname=host) if tls else plain
            yield connection
    finally:
        cut.cancel()
        plain.close()
    if late.is_set():  # what was read until then may look whole
        raise TimeoutError("it took too long")


def _cut(plain: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)
