"""The `llm` command line program, as a person would use it: one process a check."""
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import API_KEY, BASE_URL, MODEL, VERDICT_SCHEMA, assert_distinct, assert_verdict, check, run

home = tempfile.TemporaryDirectory()
LLM = str(Path(sys.executable).with_name("llm"))
ENV = os.environ | {"LLM_USER_PATH": home.name}
# With an api_base of its own, llm sends a key only if the model names one.
server = {"api_base": BASE_URL, "api_key_name": "gateway"}
common = {**server, "model_name": MODEL, "can_stream": True, "supports_schema": True, "supports_tools": True}
Path(home.name, "keys.json").write_text(json.dumps({"gateway": API_KEY}))
# JSON is YAML too, and needs no quoting rules of our own.
Path(home.name, "extra-openai-models.yaml").write_text(json.dumps([
    {"model_id": "here", **common},
    {"model_id": "nowhere", **common, "model_name": "no-such-model"},
    {"model_id": "here-responses", **common, "responses": True},
    {"model_id": "rate-limited", **common, "model_name": "demo-rate-limited"},
    {"model_id": "broken", **common, "model_name": "demo-broken-stream"},
    {"model_id": "here-completion", **server, "model_name": MODEL, "completion": True},
]))


def llm(*words):
    return subprocess.run([LLM, *words], env=ENV, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def ask(*words, model="here"):
    done = llm("prompt", "What is the weather?", "-m", model, "-o", "max_tokens", "16", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@check("models")
def _():
    assert "here" in llm("models", "list").stdout


@check("prompt")
def _():
    ask("--no-stream")


@check("prompt_stream")
def _():
    ask()


@check("usage")
def _():
    done = llm("prompt", "Hello", "-m", "here", "-o", "max_tokens", "16", "--usage")
    assert done.returncode == 0 and "input" in done.stderr and "output" in done.stderr, done.stderr


@check("system")
def _():
    ask("--system", "Be brief.")


@check("continue")
def _():
    ask()
    ask("--continue")


@check("schema")
def _():
    done = llm("prompt", "Hello", "-m", "here", "--schema", json.dumps(VERDICT_SCHEMA), "-o", "max_tokens", "128")
    assert done.returncode == 0, done.stderr
    assert_verdict(done.stdout)


@check("tools")
def _():
    ask("-T", "llm_time")


@check("schema_no_stream")
def _():
    assert_verdict(ask("--no-stream", "--schema", json.dumps(VERDICT_SCHEMA), "-o", "max_tokens", "128"))


@check("responses")
def _():
    ask("--no-stream", model="here-responses")
    ask(model="here-responses")


@check("completion")
def _():
    done = llm("prompt", "Hello", "-m", "here-completion", "-o", "max_tokens", "16")
    assert done.returncode == 0, done.stderr


@check("errors.bad_key")
def _():
    done = llm("prompt", "Hello", "-m", "here", "--key", "sk-not-a-key")
    assert done.returncode != 0 and "401" in done.stderr, done.stderr


@check("errors.unknown_model")
def _():
    for words in ([], ["--no-stream"]):
        done = llm("prompt", "Hello", "-m", "nowhere", *words)
        assert done.returncode != 0 and "404" in done.stderr, done.stderr


@check("faults.rate_limited")
def _():
    done = llm("prompt", "Hello", "-m", "rate-limited")
    assert done.returncode != 0 and "429" in done.stderr, done.stderr


@check("faults.broken_stream")
def _():
    done = llm("prompt", "Hello", "-m", "broken")
    assert done.returncode != 0 and done.stdout, (done.returncode, done.stdout, done.stderr)


@check("parallel.50")
def _():
    # Fifty processes would measure Python's start, so this uses the program's own library in one process.
    os.environ["LLM_USER_PATH"] = home.name
    import llm as library

    async def one(streamed):
        model = library.get_async_model("here")
        answer = model.prompt("What is the weather?", max_tokens=16, stream=streamed)
        assert isinstance(await answer.text(), str)
        assert (await answer.usage()).output > 0
        return answer.response_json["id"]

    async def many():
        return await asyncio.gather(*(one(bool(n % 2)) for n in range(50)))

    assert_distinct(asyncio.run(many()), 50)


run("llm")
