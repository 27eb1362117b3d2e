#!/usr/bin/env python3
"""What hostile callers and backends cost a gateway, as figures: memory, CPU, and what others notice of it.

    scripts/hostile.py [BINARY]          (target/release/ostia)

It runs the binary on loopback, with a backend of its own, and prints one line a case. Nothing is left behind.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
HEAD = "POST /v1/{api} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
END = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
SETTINGS = """
[server]
listen = "127.0.0.1:{port}"
admin_listen = "127.0.0.1:{admin}"
header_timeout = "60s"
body_idle_timeout = "60s"
max_buffered_bytes = 268435456
max_connections = {connections}
[fixtures]
clusters = "clusters.json"
endpoints = "endpoints.json"
[limits]
requests_per_second_per_user = 0
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Backend:
    """Answers each request with the bytes in `answer`."""

    def __init__(self):
        self.answer = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            received = b""
            while b"\r\n\r\n" not in received:
                received += peer.recv(65536)
            peer.sendall(STREAM + self.answer)
        except OSError:
            pass
        finally:
            peer.close()


class Gateway:
    def __init__(self, binary, backend, connections=10_000):
        self.folder = tempfile.TemporaryDirectory()
        self.port, admin = free_port(), free_port()
        path = lambda name: os.path.join(self.folder.name, name)
        settings = SETTINGS.format(port=self.port, admin=admin, connections=connections)
        cluster = {"cluster_name": "c", "frameworks": ["f"], "openai_endpoints": ["chat/completions", "responses"]}
        endpoint = {"cluster": "c", "framework": "f", "model": "m",
                    "config": {"api_url": f"http://127.0.0.1:{backend.port}/v1", "trust_env": False}}
        for name, text in [
            ("ostia.toml", settings),
            ("clusters.json", json.dumps([{"model": "resource_server_async.cluster", "fields": cluster}])),
            ("endpoints.json", json.dumps([{"model": "resource_server_async.endpoint", "fields": endpoint}])),
        ]:
            with open(path(name), "w") as file:
                file.write(text)
        self.command = [binary, "--config", path("ostia.toml")]
        self.log = open(path("log"), "w")
        self.process = subprocess.Popen(self.command + ["serve"], stderr=self.log, cwd=self.folder.name)
        self.wait()
        self.keys = {}

    def wait(self):
        for _ in range(200):
            try:
                return self.connect().close()
            except OSError:
                time.sleep(0.05)
        raise SystemExit(open(self.log.name).read())

    def key(self, user):
        if user not in self.keys:
            words = ["key", "create", "--user", f"{user}@lab.org", "--json"]
            made = subprocess.run(self.command + words, capture_output=True, check=True, cwd=self.folder.name)
            self.keys[user] = json.loads(made.stdout)["key"]
        return self.keys[user]

    def connect(self, source=None):
        return socket.create_connection(("127.0.0.1", self.port), 60, source_address=source)

    def head(self, user, length, api="chat/completions"):
        return HEAD.format(api=api, key=self.key(user), length=length).encode()

    def status(self, name):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def health(self):
        begun = time.monotonic()
        with self.connect() as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = read_all(client)
        return answer[9:12].decode(), time.monotonic() - begun

    def chat(self, user, stream=True):
        body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]}).encode()
        with self.connect() as client:
            client.sendall(self.head(user, len(body)) + body)
            return read_all(client, until=b"0\r\n\r\n")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


def read_all(client, until=None):
    received = bytearray()
    while until is None or not received.endswith(until):
        try:
            piece = client.recv(1 << 16)
        except OSError:
            break
        if not piece:
            break
        received += piece
        if until and received.startswith(b"HTTP/1.1 4"):
            break
    return bytes(received)


def parse(gateway):
    """Bodies of 31 MiB that are refused, two at a time, while somebody asks for /health."""
    body = b'{"model":"absent","input":[' + b"{}," * (31 * MIB // 3) + b"{}]}"
    gateway.key("eve")
    gateway.forget_peak()
    before, cpu, slowest = gateway.status("VmRSS"), gateway.cpu(), [0.0]

    def send():
        with gateway.connect() as client:
            client.sendall(gateway.head("eve", len(body), "responses") + body)
            client.recv(4096)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        slowest[0] = max(slowest[0], gateway.health()[1])
        time.sleep(0.01)
    peak = gateway.status("VmHWM") - before
    return (f"two refused bodies of {len(body) / MIB:.0f} MiB: memory +{peak / MIB:.0f} MiB"
            f" ({peak / (2 * len(body)):.1f} times their size), {gateway.cpu() - cpu:.1f} s of CPU,"
            f" slowest /health {slowest[0] * 1000:.0f} ms")


def line_ends(gateway, backend, piece):
    backend.answer = piece * (10 * MIB // len(piece)) + END
    gateway.key("ann")
    cpu, begun = gateway.cpu(), time.monotonic()
    answer = gateway.chat("ann")
    return (f"a stream of 10 MiB of {piece!r}: {len(answer) / MIB:.1f} MiB sent on,"
            f" {gateway.cpu() - cpu:.2f} s of CPU, {time.monotonic() - begun:.1f} s")


def half_heads(gateway, count=200):
    before = gateway.status("VmRSS")
    held = []
    for _ in range(count):
        client = gateway.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60_000)
        held.append(client)
    time.sleep(1)
    grown = gateway.status("VmRSS") - before
    answer, _ = gateway.health()
    for client in held:
        client.close()
    return f"{count} half-sent heads of 60 kB: memory +{grown / MIB:.0f} MiB ({grown / count / 1024:.0f} KiB each), /health {answer}"


def half_bodies(gateway, backend, count=8):
    backend.answer = END
    held = []
    for _ in range(count):
        client = gateway.connect()
        client.sendall(gateway.head("eve", 32 * MIB))
        client.settimeout(5)
        try:
            client.sendall(b" " * (32 * MIB - 1))
        except OSError:
            pass
        held.append(client)
    time.sleep(1)
    answer = gateway.chat("bob")[9:12].decode()
    for client in held:
        client.close()
    return f"{count} half-sent bodies of 32 MiB of one user, of a budget of 256 MiB: another user's request is {answer}"




def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/ostia")
    backend = Backend()
    cases = [
        lambda gateway: parse(gateway),
        lambda gateway: half_heads(gateway),
        lambda gateway: half_heads(gateway, 1_000),
        lambda gateway: half_bodies(gateway, backend),
        lambda gateway: line_ends(gateway, backend, b"\n"),
        lambda gateway: line_ends(gateway, backend, b"\r\n"),
        lambda gateway: line_ends(gateway, backend, b":\n\n"),
    ]
    for case in cases:
        gateway = Gateway(binary, backend)
        try:
            print(case(gateway), flush=True)
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
