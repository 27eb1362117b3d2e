#!/usr/bin/env python3
"""Stands between an agent and a gateway and writes down what the agent sends: record.py BASE_URL FILE NAME.

Prints the URL to use and, when it is told to end, a line for each request: its path, the status, how the answer ended.
What is written holds no secret, no path of this machine and no long text: a text of more than MOST characters becomes
{"$text": N}, which the replaying test turns into a text of N characters again.
"""
import gzip
import http.client
import json
import re
import signal
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST = 48
# Headers that we set, that belong to the connection, or that differ each time.
DROPPED = {
    "host", "connection", "content-length", "transfer-encoding", "authorization", "x-api-key", "accept-encoding", "date",
    "keep-alive", "content-encoding", "expect",
}
base, target, name = sys.argv[1:4]
upstream = urllib.parse.urlsplit(base)
lock = threading.Lock()
requests = []
ends = {}  # by the order in which the requests came


def short(value, key=""):
    if isinstance(value, str):
        if len(value) > MOST or "/" in value and key in ("cwd", "workdir", "path", "user_id"):
            return {"$text": len(value)}
        return value
    if isinstance(value, list):
        return [short(item, key) for item in value]
    if isinstance(value, dict):
        return {name: short(item, name) for name, item in value.items()}
    return value


def told(key, value):
    """A header's value. Of what an agent says of this machine and its session, only the length."""
    named = key.startswith("anthropic-") or key in ("user-agent", "content-type", "accept")
    return value if named or len(value) <= MOST else "x" * len(value)


def plain(body, encoding):
    if encoding == "gzip":
        body = gzip.decompress(body)
    try:
        return short(json.loads(body)) if body else None
    except ValueError:
        return {"$bytes": len(body)}


def ending(answer):
    """How an answer ended: its last reason, and the last event of a stream."""
    text = answer.decode(errors="replace")
    reasons = re.findall(r'"(?:finish_reason|stop_reason)" ?: ?"(\w+)"|"type" ?: ?"(function_call)"', text)
    events = re.findall(r"^(?:event: ?|data: ?(?=\[))(\S+)", text, re.M)
    return " ".join(["".join(reason) for reason in reasons[-1:]] + events[-1:])


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def relay(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        connection = http.client.HTTPConnection(upstream.netloc, timeout=600)
        connection.request(self.command, upstream.path + self.path, body or None, headers)
        answer = connection.getresponse()
        kept = [
            [key.lower(), told(key.lower(), value)] for key, value in self.headers.items() if key.lower() not in DROPPED
        ]
        case = {
            "method": self.command,
            "target": self.path,
            "headers": kept,
            "encoding": self.headers.get("content-encoding"),
            "body": plain(body, self.headers.get("content-encoding")),
            "status": answer.status,
        }
        with lock:
            requests.append(case)
            number = len(requests)
            ends[number] = f"{self.command} {self.path} {answer.status}"
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                self.send_header(key, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        whole = b""
        if self.command != "HEAD":
            while part := answer.read1(65536):
                whole += part
                ends[number] = f"{self.command} {self.path} {answer.status} {ending(whole)}".rstrip()
                self.wfile.write(part)
                self.wfile.flush()

    do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = relay


server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
server.daemon_threads = True


def finish(*_):
    with lock, open(target, "w", encoding="utf-8") as out:
        json.dump({"agent": name, "requests": requests}, out, indent=1, ensure_ascii=True)
        out.write("\n")
    print(*(f"# request {end}" for end in ends.values()), sep="\n", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, finish)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.pause()
