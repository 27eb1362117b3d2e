"""Short requests one after another, with random pauses: how many fail because a connection had been closed.

usage: reconnect.py COUNT LEDGER   reads BASE_URL, API_KEY, MODEL; exit code 1 if one failed
LEDGER is the gateway's SQLite file; it tells how many requests the gateway had to send again.

Half are streamed: after a streamed answer llama-server closes the connection without saying so. Most pauses are
short; now and then one is as long as an idle connection may live in the gateway or the engine.
"""
import http.client
import json
import os
import random
import sqlite3
import sys
import time
from urllib.parse import urlsplit

url = urlsplit(os.environ["BASE_URL"] + "/chat/completions")
HEADERS = {"authorization": f"Bearer {os.environ['API_KEY']}", "content-type": "application/json"}
BODY = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


def pause(n: int) -> float:
    # llama-server closes a connection after five idle seconds, the gateway by default after four.
    return random.choice((3.9, 4.0, 4.1, 4.9, 5.0, 5.1)) if n % 100 == 99 else random.choice((0, 0, 0.001, 0.01, 0.05))


def ask(stream: bool) -> None:
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request("POST", url.path, json.dumps(BODY | {"stream": stream}), HEADERS)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200 or (stream and not text.endswith("data: [DONE]\n\n")):
        raise ValueError(f"{answer.status} {text[-200:]}")


def sent_again(ledger: str) -> int:
    with sqlite3.connect(ledger) as rows:
        return rows.execute("select count(*) from ledger where attempts > 1").fetchone()[0]


def main(count: int, ledger: str) -> int:
    failures = []
    for n in range(count):
        try:
            ask(stream=n % 2 == 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"request {n}: {type(error).__name__}: {error}")
        time.sleep(pause(n))
    time.sleep(2)  # the ledger is written in batches
    print(*failures[:10], f"{count} requests, {len(failures)} failed, {sent_again(ledger)} sent again", sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
