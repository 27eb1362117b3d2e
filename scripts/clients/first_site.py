"""A site of FIRST, moved: 41 endpoints of Globus Compute, 9 of Metis, Minerva beside them.

Writes its fixtures and its .env, lets `ostia import first` make the rest, serves them, and runs what its people use:
alcf-ai, openai and anthropic. OSTIA_BIN names the binary. Nothing but loopback is called.
"""

import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ADAPTERS = "resource_server_async"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Salve."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Salve."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
METIS = [f"org/metis-{n}" for n in range(9)]
MINERVA = ["inkling-bf16", "nemotron-3-ultra"]
COMPUTE = [f"Org/Compute-{n}B" for n in range(41)]
SECRET = "a-secret-for-this-site-of-more-than-32-bytes"


class Site(BaseHTTPRequestHandler):
    """The status pages of both clusters, and the backends of all models."""

    protocol_version = "HTTP/1.1"
    bodies: list[dict] = []

    def do_GET(self):
        model = {"status": "Live", "model_version": "1", "description": "d"}
        names = METIS[1:] if self.path == "/metis" else MINERVA
        page = {name: {**model, "model": name} for name in names}
        # Metis's form for a mixture of experts: both keys count.
        if self.path == "/metis":
            page["shared"] = {**model, "model": "another", "experts": [METIS[1], METIS[2]]}
        self.reply("application/json", json.dumps(page).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.bodies.append({"body": body, "affinity": self.headers.get("x-minerva-affinity-key")})
        if self.path.endswith("/messages"):
            return self.reply("application/json", json.dumps(MESSAGE).encode())
        if not body.get("stream"):
            return self.reply("application/json", json.dumps(ANSWER).encode())
        choice = {"index": 0, "delta": {"content": "Salve."}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        events = [json.dumps(chunk), json.dumps(last), "[DONE]"]
        self.reply("text/event-stream", "".join(f"data: {event}\n\n" for event in events).encode())

    def reply(self, kind, data):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True


def cluster(name, adapter, frameworks, config):
    fields = {
        "cluster_name": name,
        "cluster_adapter": f"{ADAPTERS}.clusters.{adapter}",
        "frameworks": frameworks,
        "openai_endpoints": ["chat/completions", "completions", "embeddings", "responses", "messages"],
        "config": config,
    }
    return {"model": f"{ADAPTERS}.cluster", "pk": 1, "fields": fields}


def endpoint(cluster, framework, model, adapter, config):
    fields = {
        "cluster": cluster,
        "framework": framework,
        "model": model,
        "endpoint_adapter": f"{ADAPTERS}.endpoints.{adapter}",
        # dumpdata's form: a string in Python's notation.
        "config": repr(config),
    }
    return {"model": f"{ADAPTERS}.endpoint", "pk": 1, "fields": fields}


def write_site(folder: Path, backend: str):
    details = {"display_name": "A model", "capabilities": {"api_protocols": ["chat_completions", "messages"]}}
    direct = {"api_url": f"{backend}/v1", "api_key_env_name": "SITE_KEY", "trust_env": True, **details}
    compute = {"api_port": 8000, "endpoint_uuid": "e", "function_uuid": "f"}
    clusters = [
        cluster("sophia", "globus_compute.GlobusComputeCluster", ["vllm"], {"qstat_endpoint_uuid": "e", "qstat_function_uuid": "f"}),
        cluster("metis", "metis.MetisCluster", ["api"], {"status_url": f"{backend}/metis"}),
        cluster("minerva", "minerva.MinervaCluster", ["api"], {"status_url": f"{backend}/minerva"}),
    ]
    endpoints = [endpoint("sophia", "vllm", model, "globus_compute.GlobusComputeEndpoint", compute) for model in COMPUTE]
    endpoints += [endpoint("metis", "api", model, "metis.MetisEndpoint", direct) for model in METIS]
    endpoints += [endpoint("minerva", "api", model, "minerva.MinervaEndpoint", direct) for model in MINERVA]
    (folder / "fixtures").mkdir()
    (folder / "fixtures/clusters.json").write_text(json.dumps(clusters))
    (folder / "fixtures/endpoints.json").write_text(json.dumps(endpoints))
    mapping = json.dumps({"minerva-api-nemotron-2": "minerva-api-nemotron-3-ultra"})
    (folder / ".env").write_text(
        "SECRET_KEY='<a-key>'\nGLOBUS_APPLICATION_ID=id\nGLOBUS_APPLICATION_SECRET=secret\n"
        "AUTHORIZED_IDP_DOMAINS='lab.org'\nRATE_LIMIT_PER_SEC_PER_USER=50\nSITE_KEY=sk-site-canary\n"
        f"MINERVA_AFFINITY_HMAC_KEY='{SECRET}'\nMODEL_DETAILS_KEYS='[\"display_name\",\"capabilities\"]'\n"
        f"LEGACY_ENDPOINT_SLUG_MAPPING='{mapping}'\n"
    )


def expect(what, value, expected):
    if value != expected:
        sys.exit(f"{what}: {value!r} instead of {expected!r}")
    print(f"ok {what}")


class Gateway:
    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "OSTIA_AUTH__PROVIDERS": "globus,api_key",
            "OSTIA_SERVER__LISTEN": "127.0.0.1:0",
            "OSTIA_SERVER__ADMIN_LISTEN": "127.0.0.1:0",
        }

    def run(self, *words):
        words = ("--env-file", ".env", *words)
        return subprocess.run(
            [os.environ["OSTIA_BIN"], *words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )

    def start(self):
        log = (self.folder / "log").open("w")
        command = [os.environ["OSTIA_BIN"], "--env-file", ".env", "serve"]
        self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=log)
        while self.process.poll() is None:
            for line in (self.folder / "log").read_text().splitlines():
                if line.endswith("}") and "ostia listens" in line:
                    return "http://" + json.loads(line)["listen"]
            time.sleep(0.1)
        sys.exit((self.folder / "log").read_text())


def importing(gateway: Gateway):
    told = gateway.run("import", "first")
    expect("import first exits as check does", told.returncode, gateway.run("check").returncode)
    expect("and has nothing to mend", told.returncode, 0)
    compute = told.stdout.count("GlobusComputeEndpoint is not served yet: 503 adapter_unavailable")
    expect("endpoints of Globus Compute that are told", compute, len(COMPUTE))
    expect("endpoints of Metis that are told", told.stdout.count("  metis-api-"), len(METIS))
    expect("no secret in what is written", "canary" in (gateway.folder / "ostia.toml").read_text(), False)


def with_openai(base: str, key: str):
    import openai

    client = openai.OpenAI(base_url=f"{base}/resource_server/metis/api/v1", api_key=key)
    hello = [{"role": "user", "content": "Hello"}]
    answer = client.chat.completions.create(model=METIS[1].upper(), messages=hello)
    expect("openai, Metis, a name in other letters", answer.choices[0].message.content, "Salve.")
    stream = client.chat.completions.create(model=METIS[2], messages=hello, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    expect("openai, Metis, streamed", text, "Salve.")
    refused = [(client, METIS[0], "model_not_running")]
    sophia = openai.OpenAI(base_url=f"{base}/resource_server/sophia/vllm/v1", api_key=key)
    refused.append((sophia, COMPUTE[0], "adapter_unavailable"))
    for client, model, code in refused:
        begun = time.monotonic()
        try:
            client.chat.completions.create(model=model, messages=hello)
            sys.exit(f"{model} was served")
        except openai.InternalServerError as error:
            expect(f"openai, {model}", error.code, code)
        # The SDK would retry twice more if nothing told it not to.
        expect(f"openai, {model} is not tried again", time.monotonic() - begun < 5, True)

    minerva = openai.OpenAI(base_url=f"{base}/resource_server/minerva/api/v1", api_key=key)
    for session in ("one", "two"):
        Site.bodies.clear()
        headers = {"X-ALCF-Session-ID": session}
        minerva.chat.completions.create(model=MINERVA[1], messages=hello, extra_headers=headers)
        seen = Site.bodies[-1]
        expect("openai, Minerva has a cache salt and an affinity key", bool(seen["body"].get("cache_salt") and seen["affinity"]), True)
    answer = minerva.chat.completions.create(model="Nemotron-2", messages=hello)
    expect("openai, Minerva by a name that is gone", answer.choices[0].message.content, "Salve.")
    try:
        minerva.chat.completions.create(model=MINERVA[1], messages=hello, extra_body={"cache_salt": "mine"})
        sys.exit("a salt of the caller's own passed")
    except openai.APIStatusError as error:
        expect("openai, a salt of the caller's own", error.status_code, 422)


def with_anthropic(base: str, key: str):
    import anthropic

    client = anthropic.Anthropic(base_url=f"{base}/resource_server/minerva/api", auth_token=key)
    message = client.messages.create(model=MINERVA[0], max_tokens=9, messages=[{"role": "user", "content": "Hello"}])
    expect("anthropic, Minerva", message.content[0].text, "Salve.")


def with_alcf_ai(base: str, key: str, home: Path):
    import alcf_ai.agent
    from alcf_ai.cli import cli
    import alcf_ai.client
    from typer.testing import CliRunner

    # Globus is its only source of tokens.
    for module in (alcf_ai.agent, alcf_ai.client):
        module.get_access_token = lambda _service: key
    home.mkdir()
    os.environ["HOME"] = str(home)

    def run(*words):
        told = CliRunner().invoke(cli, ["--base-url", f"{base}/resource_server/", *words])
        expect(f"alcf-ai {' '.join(words)}", (told.exit_code, told.exception), (0, None))
        return told.output

    run("ls-endpoints")
    for name in ("sophia", "metis", "minerva"):
        run("ls-models", name)
        run("ls-jobs", name)
    run("chat", "Hello", "--cluster", "metis", "--model", METIS[1])
    run("chat", "Hello", "--cluster", "minerva", "--model", MINERVA[0], "--stream")
    for agent in ("pi", "claude", "opencode"):
        run("agent", "configure", agent, "--include-experimental")
    models = json.loads((home / ".pi/agent/models.json").read_text())["providers"]
    names = [entry["id"] for provider in models.values() for entry in provider["models"]]
    expect("alcf-ai configures Minerva's models", set(MINERVA) <= set(names), True)

    client = alcf_ai.client.InferenceClient(f"{base}/resource_server/")
    listed = client.list_endpoints()["clusters"]
    counts = {name: len(entry["frameworks"][kind]["models"]) for name, kind, entry in kinds(listed)}
    expect("alcf-ai lists", counts, {"sophia": 41, "metis": 9, "minerva": 2})
    shown = client.list_models("minerva")[0]
    expect("alcf-ai, model details", (shown["display_name"], "api_url" in shown), ("A model", False))
    jobs = client.clusters("metis").get_jobs()
    running = {name for job in jobs["running"] for name in job["Models"].split(",")}
    expect("alcf-ai, what runs on Metis", set(METIS[1:]) <= running, True)


def kinds(listed):
    return [(name, next(iter(entry["frameworks"])), entry) for name, entry in listed.items()]


def main():
    server = Server(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        write_site(gateway.folder, f"http://127.0.0.1:{server.server_port}")
        importing(gateway)
        key = json.loads(gateway.run("key", "create", "--user", "ada@lab.org", "--json").stdout)["key"]
        base = gateway.start()
        try:
            with_openai(base, key)
            with_anthropic(base, key)
            with_alcf_ai(base, key, gateway.folder / "home")
        finally:
            gateway.process.terminate()
            gateway.process.wait()
        used = json.loads(gateway.run("usage", "--by", "cluster", "--json").stdout)
        expect("the ledger knows the clusters", {"metis", "minerva", "sophia"} <= {row["cluster"] for row in used}, True)
    print("A site of FIRST was moved, and its clients work.")


if __name__ == "__main__":
    main()
