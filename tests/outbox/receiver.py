"""Receivers on loopback: real HTTP and HTTPS servers that take, refuse, redirect, hang, drip or flood; and what a letter to
one met with."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.outbox import delivery

SECRET = "s3cret-of-the-hook"


@dataclass
class Receiver:
    """What a server was sent, and how it answers."""

    url: str = ""
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    flood: bool = False
    drip: bool = False
    heard: Callable[[Any], object] = lambda message: None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def told(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.requests]


@contextmanager
def listening(certificate: Path | None = None, **how: Any) -> Iterator[Receiver]:
    """A server on a free port of loopback; with a certificate it speaks TLS."""
    receiver = Receiver(**how)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, dict(self.headers), body))
            receiver.heard(json.loads(body))
            time.sleep(receiver.hang)
            try:
                self.answer()
            except OSError:  # the sender has hung up
                self.close_connection = True

        def answer(self) -> None:
            if receiver.drip:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                for _ in range(1000):
                    self.wfile.write(b"X-Drip: 1\r\n")
                    self.wfile.flush()
                    time.sleep(0.02)
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)
            while receiver.flood:
                self.wfile.write(b"x" * 65536)

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # a handshake that the client broke off
            return

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}/told?who=ifp"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(path: Path) -> Path:
    """A certificate of 127.0.0.1, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path.with_suffix(".key")), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def hook(url: str, more: str = "") -> str:
    return f'[hook.ci]\nurl = "{url}"\nsecret = "{SECRET}"\n{more}'


def why(registry: ifp.Registry) -> str:
    """What one delivery of the only letter met with; no secret is in it."""
    done = delivery.deliver(registry)
    assert not done.delivered
    (letter,) = done.waiting
    everything = letter.why + json.dumps(letter.as_dict()) + json.dumps([e.as_dict() for e in registry.events()])
    assert SECRET not in everything
    assert "xoxb-1-tok" not in everything
    assert "T0/B0/hidden" not in everything
    return letter.why
