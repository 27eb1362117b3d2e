"""What the Python client checks share: the environment, SKIP, the lines they print, the exit code.

A check asserts what the protocol promises, never what a model says: the same scripts run
against a real engine and against a simulated one. What an engine lacks is named in SKIP, so
that a check never has to guess whether a failure is allowed. The part of a name before
its first dot names the whole group: SKIP=faults leaves out what only the simulated backend does.
"""
import json
import os
import sys
from importlib.metadata import version

BASE_URL = os.environ["BASE_URL"].rstrip("/")  # with /v1
ROOT_URL = BASE_URL.removesuffix("/v1")  # for clients that add /v1 themselves
API_KEY = os.environ["API_KEY"]
MODEL = os.environ["MODEL"]
EMBED_MODEL = os.environ.get("EMBED_MODEL", MODEL)
EMBED_BASE_URL = os.environ.get("EMBED_BASE_URL", BASE_URL).rstrip("/")
SKIP = set(os.environ.get("SKIP", "").replace(",", " ").split())

PROMPT = [{"role": "user", "content": "What is the weather in the harbour?"}]
WEATHER_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": WEATHER_PARAMETERS,
        "strict": True,
    },
}
# Every value is from a closed set, so that no model can go on for ever inside the JSON.
VERDICT_SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green", "blue"]},
        "certain": {"type": "boolean"},
    },
    "required": ["colour", "certain"],
    "additionalProperties": False,
}

_checks = []


def check(name):
    def register(function):
        _checks.append((name, function))
        return function

    return register


def raises(kind, call):
    """The error that `call` must raise; any other error is the check's failure."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def assert_distinct(ids, count):
    assert len(set(ids)) == count, f"{len(set(ids))} distinct ids of {count}"


def assert_verdict(text):
    verdict = json.loads(text)
    assert set(verdict) == {"colour", "certain"}, verdict
    assert verdict["colour"] in ("red", "green", "blue"), verdict
    assert isinstance(verdict["certain"], bool), verdict


def run(package):
    """Runs every check and exits: 0 only if nothing failed and something passed."""
    print(f"# {package} {version(package)}", flush=True)
    passed = failed = skipped = 0
    for name, function in _checks:
        if {name, name.partition(".")[0]} & SKIP:
            skipped += 1
            print(f"skip {name}", flush=True)
            continue
        try:
            function()
        except Exception as error:
            failed += 1
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"FAIL {name}: {why[:300]}", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if passed and not failed else 1)
