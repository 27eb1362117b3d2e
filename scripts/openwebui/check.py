"""Open WebUI with two users in front of Ostia, in both ways in which it names its users.

    browser's API -> Open WebUI -> relay -> ostia serve -> relay -> ostia serve --demo

Each question has a number of words of its own. The simulated model counts words as tokens, so `prompt_tokens` of a row
says which question it is of. The relays pass bytes on and keep what was sent: the names that Open WebUI really signs,
and what reaches the backend. OSTIA_BIN names the binary. Nothing but loopback is called.
"""

import collections
import concurrent.futures
import contextlib
import importlib.metadata
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import jwt

ANN, BOB = "ann@lab.org", "bob@lab.org"
STRANGER = "eve@evil.org"  # of a domain for which the key may not act
NAMES = {ANN: "Ann Müller", BOB: "Bob", STRANGER: "Eve"}
PASSWORD = "correct horse battery staple"
EACH = 20  # chats of each user in each mode, every second one streamed
AT_ONCE = 8
TASKS = "title", "tags", "follow_up"  # what Open WebUI asks the model for after a first answer
PLAIN, SIGNED, ONCE = "X-OpenWebUI-User-Email", "X-OpenWebUI-User-Jwt", "X-Ostia-User-Jwt"
NO_SUCH_KEY = "sk-ostia-" + "A" * 43
UNKNOWN = {None: 401, NO_SUCH_KEY: 401}  # what the callers of such a key are told; anybody else: 403
HOSTS = "127.0.0.1", "127.0.0.2"  # the address that the front end's key is bound to, and another


def expect(what, value, expected):
    if value != expected:
        sys.exit(f"{what}: {value!r} instead of {expected!r}")
    print(f"ok {what}")


def await_(what, probe, seconds=120):
    """The first true answer of `probe`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(0.1)
    sys.exit(f"in vain: {what}")


class Relay:
    """Passes bytes on, and keeps those that clients send."""

    def __init__(self, upstream=None):
        self.upstream, self.connections = upstream, []
        self.listener = socket.create_server((HOSTS[0], 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection((HOSTS[0], self.upstream))
            kept = bytearray()
            self.connections.append(kept)
            threading.Thread(target=self.pump, args=(client, server, kept), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, None), daemon=True).start()

    @staticmethod
    def pump(source, sink, kept):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if kept is not None:
                    kept.extend(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def sent(self):
        return b"".join(bytes(kept) for kept in self.connections).decode("utf-8", "replace")


class Server:
    """A process that is stopped at the end; what it writes is in `log`."""

    def __init__(self, folder, name, command, environment):
        self.log = folder / f"{name}.log"
        self.folder = folder
        with self.log.open("w") as log, (folder / f"{name}.out").open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log
            )

    def is_up(self, probe):
        if self.process.poll() is not None:
            sys.exit(f"it ended: {self.log.read_text()[-3000:]}")
        return probe()

    def port(self, listener="listen"):
        def probe():
            found = re.findall(rf'"ostia listens".*"{listener}":"[^"]*:(\d+)"', self.log.read_text())
            return found and int(found[-1])

        return await_(f"{self.log.name} listens", lambda: self.is_up(probe))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            # Open WebUI may wait for its own tasks for as long as they like.
            self.process.kill()
            self.process.wait()


class Site:
    """A gateway in front of the simulated model, with its keys."""

    def __init__(self, folder, servers):
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        ostia = os.environ["OSTIA_BIN"]
        command = [ostia, "serve", "--demo", "--listen", "127.0.0.1:0", "--demo-tokens-per-second", "0"]
        demo = Server(folder, "demo", command, self.environment)
        servers.append(demo)
        self.backend = Relay(demo.port())
        printed = await_("the simulated model's key", lambda: re.search(r"OPENAI_API_KEY=(\S+)", (folder / "demo.out").read_text()))
        self.environment |= {"DEMO_KEY": printed[1]}
        (folder / "ostia.toml").write_text(
            "[[clusters]]\n"
            'cluster_name = "lab"\nframeworks = ["api"]\nopenai_endpoints = ["chat/completions"]\n'
            "[[endpoints]]\n"
            'cluster = "lab"\nframework = "api"\nmodel = "demo"\n'
            f'api_url = "http://127.0.0.1:{self.backend.port}/v1"\napi_key_env_name = "DEMO_KEY"\n'
            # Ostia listens on all of loopback, so that a caller may come from another address than Open WebUI's.
            '[server]\nlisten = "0.0.0.0:0"\nadmin_listen = "127.0.0.1:0"\n'
        )
        make = self.make_key
        self.front = make("webui@lab.org", "--on-behalf-of", "lab.org", "--allow-ip", HOSTS[0])
        self.loose = make("loose@lab.org", "--on-behalf-of", "lab.org")
        self.other = make("chat@uni.edu", "--on-behalf-of", "uni.edu", "--allow-ip", HOSTS[0])
        self.plain = make("eve@lab.org")
        self.bound = make("mallory@lab.org", "--allow-ip", HOSTS[0])
        self.admin = make("root@lab.org", "--role", "admin")
        self.gateway = Server(folder, "gateway", [ostia, "serve"], self.environment)
        servers.append(self.gateway)
        self.relay = Relay(self.gateway.port())
        self.url = f"http://127.0.0.1:{self.relay.upstream}/v1"

    def run(self, *words):
        command = [os.environ["OSTIA_BIN"], *words]
        ran = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"{words}: {ran.stderr}")
        return ran.stdout

    def make_key(self, user, *more):
        return json.loads(self.run("key", "create", "--user", user, *more, "--json"))["key"]

    def rows(self):
        admin = self.gateway.port("admin")
        page = httpx.get(f"http://127.0.0.1:{admin}/admin/usage/rows", params={"limit": 1000}, headers={"authorization": f"Bearer {self.admin}"})
        return page.raise_for_status().json()["data"]

    def ask(self, key, headers=(), *, host=HOSTS[0], words=3):
        """A chat straight to Ostia, with headers of one's own."""
        body = {"model": "demo", "messages": [{"role": "user", "content": "word " * words}]}
        authorization = [("authorization", f"Bearer {key}")] if key else []
        with httpx.Client(transport=httpx.HTTPTransport(local_address=host)) as client:
            return client.post(f"{self.url}/chat/completions", json=body, headers=[*authorization, *headers])


class OpenWebUI:
    """One run of it. Both runs share a folder, so the second has the users of the first."""

    def __init__(self, site, servers, mode):
        port = socket.create_server((HOSTS[0], 0))
        number = port.getsockname()[1]
        port.close()
        data = site.folder / "data"
        data.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "DATA_DIR": str(data),
            "WEBUI_SECRET_KEY": "a secret of these tests alone, 0123456789",
            "OPENAI_API_BASE_URL": f"http://127.0.0.1:{site.relay.port}/v1",
            "OPENAI_API_KEY": site.front,
            "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
            # New users are approved, and members see models without a grant for each.
            "DEFAULT_USER_ROLE": "user",
            "BYPASS_MODEL_ACCESS_CONTROL": "true",
            # It needs no packages for documents and speech then, and calls nobody.
            "USE_SLIM_DOCKER": "true",
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "RAG_EMBEDDING_ENGINE": "openai",
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_VERSION_UPDATE_CHECK": "false",
        }
        if mode == "signed":
            environment["FORWARD_USER_INFO_HEADER_JWT_SECRET"] = site.front
        # pip makes the command beside Python's.
        command = [Path(sys.executable).parent / "open-webui", "serve", "--host", HOSTS[0], "--port", str(number)]
        self.server = Server(data, f"open-webui-{mode}", command, environment)
        servers.append(self.server)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{number}", timeout=60, trust_env=False)
        self.tokens = {}
        await_("Open WebUI is up", lambda: self.server.is_up(self.health), 600)

    def health(self):
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/health").status_code == 200

    def call(self, method, path, user=None, **more):
        headers = {"authorization": f"Bearer {self.tokens[user]}"} if user else {}
        # The session's cookie would name whoever signed in last.
        self.client.cookies.clear()
        return self.client.request(method, path, headers=headers, **more)

    def sign_up(self, user):
        """The first user becomes the administrator, and adds the others."""
        form = {"name": NAMES[user], "email": user, "password": PASSWORD}
        if not self.tokens:
            answer = self.call("POST", "/api/v1/auths/signup", json=form)
        else:
            form["role"] = "user"
            answer = self.call("POST", "/api/v1/auths/add", next(iter(self.tokens)), json=form)
        self.tokens[user] = answer.raise_for_status().json()["token"]

    def sign_in(self, user):
        answer = self.call("POST", "/api/v1/auths/signin", json={"email": user, "password": PASSWORD})
        self.tokens[user] = answer.raise_for_status().json()["token"]

    def models(self, user):
        return [model["id"] for model in self.call("GET", "/api/models", user).raise_for_status().json()["data"]]

    def chat(self, user, text, stream):
        """The text of the answer."""
        body = {"model": "demo", "stream": stream, "messages": [{"role": "user", "content": text}]}
        answer = self.call("POST", "/api/chat/completions", user, json=body)
        if answer.status_code != 200:
            return f"{answer.status_code}: {answer.text}"
        if not stream:
            return answer.json()["choices"][0]["message"]["content"]
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        if events[-1] != "[DONE]":
            return f"a broken stream: {answer.text}"
        choices = itertools.chain.from_iterable(json.loads(event)["choices"] for event in events[:-1])
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    def browse(self, user, text):
        """A new chat as the browser begins it: the answer goes into Open WebUI's database, and tasks follow. Its id."""
        question = {"id": f"{user}-1", "parentId": None, "childrenIds": [], "role": "user", "content": text, "models": ["demo"]}
        body = {
            "model": "demo",
            "stream": True,
            "messages": [{"role": "user", "content": text}],
            "parent_id": None,
            "user_message": question,
            "id": f"{user}-2",
            "session_id": "no socket listens",
            "background_tasks": {f"{task}_generation": True for task in TASKS},
        }
        return self.call("POST", "/api/chat/completions", user, json=body).raise_for_status().json()["chat_id"]

    def saved(self, user, chat):
        """The answer in a chat that was saved, once it is whole."""
        history = self.call("GET", f"/api/v1/chats/{chat}", user).raise_for_status().json()["chat"]["history"]
        answer = history["messages"][history["currentId"]]
        return answer.get("done") and answer["content"]


class Asked:
    """Who asked the question of that many words, and for whom Open WebUI sent requests of its own."""

    def __init__(self):
        self.users, self.tasks, self.lock, self.numbers = {}, {}, threading.Lock(), itertools.count(10)

    def question(self, user, begin):
        with self.lock:
            words = next(self.numbers)
            self.users[words] = user
        return begin + " word" * (words - 1)

    def owner(self, row):
        return self.tasks.get(row["request_id"]) or self.users.get(row["prompt_tokens"])

    def settled(self, site):
        """The rows, once there are as many as were asked for."""
        wanted = len(self.users) + len(self.tasks)
        return await_(f"{wanted} rows", lambda: len(rows := site.rows()) >= wanted and rows, 30)


def use(site, servers, mode, asked):
    """Both users in turn, many requests at once; then each as in a browser."""
    webui = OpenWebUI(site, servers, mode)
    for user in NAMES:
        (webui.sign_up if mode == "plain" else webui.sign_in)(user)
    for user in (ANN, BOB):
        expect(f"{mode}: {user} lists models", webui.models(user), ["demo"])

    def one(number, user):
        begin = f"{user}/{mode}/{number}"
        text = webui.chat(user, asked.question(user, begin), stream=number % 2 == 0)
        return text.startswith(f'You said: "{begin} word') or text

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        numbers, users = zip(*itertools.product(range(EACH), (ANN, BOB)))
        answers = list(pool.map(one, numbers, users))
    expect(f"{mode}: {len(answers)} chats, half of them streamed, have their own answers", set(answers), {True})
    for user in (ANN, BOB):
        known = {row["request_id"] for row in asked.settled(site)}
        begin = f"{user}/{mode}/browser"
        chat = webui.browse(user, asked.question(user, begin))
        text = await_("the answer is saved", lambda: webui.saved(user, chat), 30)
        expect(f"{mode}: {user} chats as in a browser", begin in text, True)
        whole = len(known) + 1 + len(TASKS)
        rows = await_("rows of tasks", lambda: len(rows := site.rows()) >= whole and rows, 30)
        new = [row for row in rows if row["request_id"] not in known and not row["stream"]]
        expect(f"{mode}: a title, tags and questions that may follow, for {user}", len(new), len(TASKS))
        asked.tasks |= {row["request_id"]: user for row in new}
    refused = [webui.chat(STRANGER, "hello", stream) for stream in (False, True)]
    told = {"may not name users of evil.org" in text for text in refused}
    expect(f"{mode}: a user of another domain is refused, and told why", told, {True})
    webui.server.stop()


def right_rows(site, asked):
    """How many rows there are, and those of another user than the one who asked."""
    rows = asked.settled(site)
    questions = sorted(row["prompt_tokens"] for row in rows if row["request_id"] not in asked.tasks)
    expect("one row for each question", questions, sorted(asked.users))
    expect("all are answered", {row["outcome"] for row in rows}, {"ok"})
    expect("half of the chats were streamed", sum(row["stream"] for row in rows), 2 * len((ANN, BOB)) * (EACH // 2 + 1))
    leaked = re.findall(r"(?i)x-openwebui[\w-]*|x-ostia-user[\w-]*", site.backend.sent())
    expect("headers about users that reached the backend", leaked, [])
    wrong = [row for row in rows if row["username"] != asked.owner(row)]
    counted = collections.Counter(asked.owner(row) for row in rows)
    report = json.loads(site.run("usage", "--by", "user", "--json"))
    expect("ostia usage has the same sums", {line["user"]: line["requests"] for line in report}, dict(counted))
    return len(rows), wrong


def name(key, *, algorithm="HS256", **more):
    """What Open WebUI signs, with changes; `None` leaves a claim out."""
    now = int(time.time())
    claims = {"sub": "1", "email": ANN, "name": "Ann", "role": "admin", "iss": "open-webui", "iat": now, "exp": now + 300}
    claims = {claim: value for claim, value in (claims | more).items() if value is not None}
    return jwt.encode(claims, key or None, algorithm=algorithm)


def forgeries(site, genuine):
    """What, the key, the headers, the address, and the user whose row it becomes; `None`: it is refused. Those that become
    Ann's are genuine."""
    front, loose, now = site.front, site.loose, int(time.time())
    elsewhere = HOSTS[1]
    for header, value in ((PLAIN, ANN), (SIGNED, genuine), (SIGNED, name(front)), ("X-LibreChat-User-Email", ANN)):
        what = f"{header}{' that Open WebUI sent' if value is genuine else ''}"
        yield f"{what}, from another address", front, [(header, value)], elsewhere, None
        claimed = [(header, value), ("X-Forwarded-For", HOSTS[0]), ("Forwarded", f"for={HOSTS[0]}"), ("X-Real-IP", HOSTS[0])]
        yield f"{what}, from another address that claims to be the right one", front, claimed, elsewhere, None
        yield f"{what}, a front end's key without --allow-ip", loose, [(header, value)], HOSTS[0], None
        yield f"{what}, a key without --on-behalf-of", site.plain, [(header, value)], HOSTS[0], "eve@lab.org"
        yield f"{what}, the same with --allow-ip", site.bound, [(header, value)], HOSTS[0], "mallory@lab.org"
        yield f"{what}, another front end's key", site.other, [(header, value)], HOSTS[0], None
        yield f"{what}, no key", None, [(header, value)], HOSTS[0], None
        yield f"{what}, a key that does not exist", NO_SUCH_KEY, [(header, value)], HOSTS[0], None
    yield "signed by a key without --on-behalf-of", site.plain, [(SIGNED, name(site.plain))], HOSTS[0], "eve@lab.org"
    once = name(site.plain, aud="ostia", jti="x")
    yield "the same for single use", site.plain, [(ONCE, once)], HOSTS[0], "eve@lab.org"
    yield "signed with --on-behalf-of but without --allow-ip", loose, [(SIGNED, name(loose))], HOSTS[0], None
    for what, token in {
        "another secret": name("another secret, of thirty-two bytes or more"),
        "another front end's key as its secret": name(site.other),
        "no signature": name("", algorithm="none"),
        "another algorithm": name(front, algorithm="HS384"),
        "expired": name(front, iat=now - 301, exp=now - 1),
        "valid for an hour": name(front, exp=now + 3600),
        "without an expiry": name(front, exp=None),
        "made in the future": name(front, iat=now + 200, exp=now + 400),
        "another domain": name(front, email=STRANGER),
        "a domain below": name(front, email="ann@sub.lab.org"),
        "a domain that ends alike": name(front, email="ann@evil-lab.org"),
        "two domains": name(front, email="ann@lab.org@evil.org"),
        "no domain": name(front, email="ann"),
        "its claims exchanged": ".".join([genuine.split(".")[0], name(front, email=BOB).split(".")[1], genuine.split(".")[2]]),
        "its signature cut": genuine[:-4],
    }.items():
        yield f"signed: {what}", front, [(SIGNED, token)], HOSTS[0], None
    for what, email in {"another domain": STRANGER, "a domain below": "ann@sub.lab.org", "no domain": "ann"}.items():
        yield f"plain: {what}", front, [(PLAIN, email)], HOSTS[0], None
    yield "plain: two users", front, [(PLAIN, ANN), (PLAIN, BOB)], HOSTS[0], None
    yield "signed and wrong, with a plain name beside it", front, [(SIGNED, name(site.other)), (PLAIN, ANN)], HOSTS[0], None
    # Without an id in it, all that Open WebUI signs for a user within a second is the same.
    yield "signed, and sent again from the same address", front, [(SIGNED, genuine)], HOSTS[0], ANN
    fields = {"aud": "ostia", "jti": "first"}
    used = name(front, **fields)
    yield "single use, the first time", front, [(ONCE, used)], HOSTS[0], ANN
    yield "single use, replayed", front, [(ONCE, used)], HOSTS[0], None
    yield "single use, replayed with another key", site.other, [(ONCE, used)], HOSTS[0], None
    for what, more in {
        "without an id": {"aud": "ostia"},
        "without an audience": {"jti": "a"},
        "for another service": {"aud": "other", "jti": "b"},
        "expired": {"aud": "ostia", "jti": "c", "iat": now - 301, "exp": now - 1},
        "another domain": {"aud": "ostia", "jti": "d", "email": STRANGER},
    }.items():
        yield f"single use, {what}", front, [(ONCE, name(front, **more))], HOSTS[0], None


def forge(site, genuine, asked):
    """How many were tried, and those that were accepted."""
    owners, accepted, tried = {}, [], 0
    for what, key, headers, host, owner in forgeries(site, genuine):
        words = next(asked.numbers)
        status = site.ask(key, headers, host=host, words=words).status_code
        tried += owner != ANN
        if status == 200:
            owners[words] = what, owner
        else:
            expect(f"refused: {what}", status, 200 if owner else UNKNOWN.get(key, 403))
    wanted = len(asked.users) + len(asked.tasks) + len(owners)
    rows = await_("rows of what was let in", lambda: len(rows := site.rows()) >= wanted and rows, 30)
    for row in rows:
        if row["request_id"] in asked.tasks or row["prompt_tokens"] not in owners:
            continue
        what, owner = owners[row["prompt_tokens"]]
        if row["username"] == owner:
            print(f"ok {owner}'s: {what}")
        else:
            accepted.append(f"{what}: {row['username']}")
    return tried, accepted


def main():
    servers = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            site, asked = Site(Path(folder), servers), Asked()
            for mode in ("plain", "signed"):
                use(site, servers, mode, asked)
            total, wrong = right_rows(site, asked)
            sent = site.relay.sent()
            expect("names that it sent plainly", set(re.findall(rf"(?i){PLAIN}: (\S+)", sent)), {ANN, BOB, STRANGER})
            tokens = re.findall(rf"(?i){SIGNED}: (\S+)", sent)
            of_ann = [token for token in tokens if jwt.decode(token, site.front, ["HS256"])["email"] == ANN]
            tried, accepted = forge(site, of_ann[-1], asked)
        finally:
            for server in servers:
                server.stop()
    print(
        f"Open WebUI {importlib.metadata.version('open-webui')}: {total - len(wrong)} of {total} rows of the right user, "
        f"{len(accepted)} of {tried} forgeries accepted; {len(tokens)} signed names, {len(set(tokens))} different"
    )
    expect("rows of the wrong user", wrong, [])
    expect("forgeries that were accepted", accepted, [])


if __name__ == "__main__":
    main()
