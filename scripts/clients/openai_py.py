"""The official Python client, current and 1.x: the same calls must work in both."""
import asyncio
import base64
import json
import urllib.request
import uuid

from typing import Literal
from urllib.parse import urljoin

import openai
from pydantic import BaseModel

from checks import (
    API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, PROMPT, VERDICT_SCHEMA, WEATHER_PARAMETERS, WEATHER_TOOL,
    assert_distinct, assert_verdict, check, raises, run,
)

# Without retries, because a check must see the first answer.
options = {"api_key": API_KEY, "max_retries": 0, "timeout": 60}
client = openai.OpenAI(base_url=BASE_URL, **options)
embedder = openai.OpenAI(base_url=EMBED_BASE_URL, **options)
chat = client.chat.completions
SHORT = {"model": MODEL, "max_tokens": 16}
ENDS = ("stop", "length", "tool_calls")
VERDICT_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "verdict", "strict": True, "schema": VERDICT_SCHEMA},
}


class Verdict(BaseModel):
    colour: Literal["red", "green", "blue"]
    certain: bool


def assert_usage(usage):
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage


@check("models.list")
def _():
    listed = client.models.list()
    assert listed.object == "list" and MODEL in [m.id for m in listed.data], listed


@check("models.retrieve")
def _():
    assert client.models.retrieve(MODEL).id == MODEL


@check("chat.plain")
def _():
    answer = chat.create(messages=PROMPT, **SHORT)
    assert answer.object == "chat.completion" and answer.id
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.choices[0].finish_reason in ENDS
    assert_usage(answer.usage)


@check("chat.unknown_fields")
def _():
    # Engines' own parameters must reach the engine, and not be refused.
    chat.create(messages=PROMPT, extra_body={"top_k": 5, "x_unknown": {"a": [1]}}, **SHORT)


@check("chat.n")
def _():
    answer = chat.create(messages=PROMPT, n=2, **SHORT)
    assert [c.index for c in answer.choices] == [0, 1], answer


@check("chat.logprobs")
def _():
    answer = chat.create(messages=PROMPT, logprobs=True, top_logprobs=2, **SHORT)
    assert answer.choices[0].logprobs.content[0].logprob <= 0


@check("chat.stream")
def _():
    chunks = list(chat.create(messages=PROMPT, stream=True, **SHORT))
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    # A client that did not ask for usage must not get its chunk: many read choices[0] without a check.
    assert all(c.choices and c.usage is None for c in chunks)
    assert chunks[-1].choices[0].finish_reason in ENDS


@check("chat.stream_usage")
def _():
    stream = chat.create(messages=PROMPT, stream=True, stream_options={"include_usage": True}, **SHORT)
    chunks = list(stream)
    assert chunks[-1].choices == []
    assert_usage(chunks[-1].usage)
    assert all(c.usage is None for c in chunks[:-1])


@check("chat.stream_helper")
def _():
    with chat.stream(messages=PROMPT, **SHORT) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        answer = stream.current_completion_snapshot
    assert answer.choices[0].message.content == "".join(texts)


def assert_tool_calls(calls):
    for call in calls:
        assert call["id"] and call["name"] == "get_weather", call
        json.loads(call["arguments"])


def assembled(stream):
    """The calls of a stream, put together, and its finish reason."""
    calls, end = {}, None
    for chunk in stream:
        choice = chunk.choices[0]
        end = choice.finish_reason or end
        for part in choice.delta.tool_calls or []:
            call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += part.id or ""
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""
    return list(calls.values()), end


@check("chat.tools")
def _():
    answer = chat.create(model=MODEL, messages=PROMPT, max_tokens=64, tools=[WEATHER_TOOL], tool_choice="auto")
    choice = answer.choices[0]
    calls = choice.message.tool_calls or []
    assert calls or isinstance(choice.message.content, str)
    if choice.finish_reason != "length":
        assert_tool_calls([{"id": c.id, **c.function.model_dump()} for c in calls])


@check("chat.tools_stream")
def _():
    calls, end = assembled(
        chat.create(model=MODEL, messages=PROMPT, max_tokens=64, tools=[WEATHER_TOOL], stream=True)
    )
    assert end in ENDS
    if end != "length":
        assert_tool_calls(calls)


@check("chat.tools_required")
def _():
    answer = chat.create(model=MODEL, messages=PROMPT, max_tokens=1024, tools=[WEATHER_TOOL], tool_choice="required")
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert_tool_calls([{"id": c.id, **c.function.model_dump()} for c in calls])


@check("chat.tools_required_stream")
def _():
    calls, end = assembled(chat.create(
        model=MODEL, messages=PROMPT, max_tokens=1024, tools=[WEATHER_TOOL], tool_choice="required", stream=True
    ))
    assert calls and end in ENDS
    assert_tool_calls(calls)
    assert set(json.loads(calls[0]["arguments"])) == {"city"}, calls


@check("chat.tool_result")
def _():
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Ostia"}'}}
    messages = [
        *PROMPT,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "warm"},
    ]
    assert chat.create(messages=messages, tools=[WEATHER_TOOL], **SHORT).choices


@check("chat.json_schema")
def _():
    answer = chat.create(model=MODEL, messages=PROMPT, max_tokens=128, response_format=VERDICT_FORMAT)
    assert_verdict(answer.choices[0].message.content)


@check("chat.json_schema_stream")
def _():
    stream = chat.create(model=MODEL, messages=PROMPT, max_tokens=128, response_format=VERDICT_FORMAT, stream=True)
    assert_verdict("".join(chunk.choices[0].delta.content or "" for chunk in stream))


@check("chat.parse")
def _():
    answer = chat.parse(model=MODEL, messages=PROMPT, max_tokens=128, response_format=Verdict)
    assert isinstance(answer.choices[0].message.parsed, Verdict)


@check("chat.parse_stream")
def _():
    with chat.stream(model=MODEL, messages=PROMPT, max_tokens=128, response_format=Verdict) as stream:
        answer = stream.get_final_completion()
    assert isinstance(answer.choices[0].message.parsed, Verdict)


@check("completions.plain")
def _():
    answer = client.completions.create(prompt="The harbour", **SHORT)
    assert answer.object == "text_completion" and isinstance(answer.choices[0].text, str)
    assert_usage(answer.usage)


@check("completions.list")
def _():
    answer = client.completions.create(prompt=["The harbour", "The wind"], **SHORT)
    assert sorted(c.index for c in answer.choices) == [0, 1]


@check("completions.stream")
def _():
    chunks = list(client.completions.create(prompt="The harbour", stream=True, **SHORT))
    assert chunks[-1].choices[0].finish_reason in ENDS


@check("embeddings.float")
def _():
    answer = embedder.embeddings.create(model=EMBED_MODEL, input=["one", "two"], encoding_format="float")
    assert [d.index for d in answer.data] == [0, 1]
    assert all(isinstance(x, float) for d in answer.data for x in d.embedding)
    assert answer.usage.prompt_tokens > 0


@check("embeddings.base64")
def _():
    answer = embedder.embeddings.create(model=EMBED_MODEL, input="one", encoding_format="base64")
    raw = base64.b64decode(answer.data[0].embedding, validate=True)
    assert raw and len(raw) % 4 == 0


@check("embeddings.default")
def _():
    # The client asks for base64 by itself, and decodes it.
    answer = embedder.embeddings.create(model=EMBED_MODEL, input="one")
    assert all(isinstance(x, float) for x in answer.data[0].embedding)


@check("embeddings.tokens")
def _():
    answer = embedder.embeddings.create(model=EMBED_MODEL, input=[[5, 6, 7], [8, 9]], encoding_format="float")
    assert len(answer.data) == 2


@check("responses.plain")
def _():
    answer = client.responses.create(model=MODEL, input="Hello", max_output_tokens=16)
    assert answer.object == "response" and isinstance(answer.output_text, str)
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@check("responses.stream")
def _():
    events = list(client.responses.create(model=MODEL, input="Hello", max_output_tokens=16, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert events[-1].response.usage.output_tokens > 0


@check("responses.conversation")
def _():
    said = [*PROMPT, {"role": "assistant", "content": "Warm."}, {"role": "user", "content": "And tomorrow?"}]
    answer = client.responses.create(model=MODEL, instructions="Be brief.", input=said, max_output_tokens=16)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens, answer.usage


RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": WEATHER_PARAMETERS, "strict": True}
RESPONSES_FORMAT = {"format": {"type": "json_schema", "name": "verdict", "strict": True, "schema": VERDICT_SCHEMA}}


def assert_call(answer):
    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "get_weather" and call.call_id, call
    assert set(json.loads(call.arguments)) == {"city"}, call


@check("responses.tools")
def _():
    request = {"model": MODEL, "input": "Hello", "max_output_tokens": 64, "tools": [RESPONSES_TOOL]}
    assert client.responses.create(**request).output is not None
    types = [event.type for event in client.responses.create(**request, stream=True)]
    assert types[-1] in ("response.completed", "response.incomplete"), types


@check("responses.tools_required")
def _():
    assert_call(client.responses.create(
        model=MODEL, input="Hello", max_output_tokens=1024, tools=[RESPONSES_TOOL], tool_choice="required"
    ))


@check("responses.tools_required_stream")
def _():
    events = list(client.responses.create(
        model=MODEL, input="Hello", max_output_tokens=1024, tools=[RESPONSES_TOOL], tool_choice="required", stream=True
    ))
    assert_call(events[-1].response)
    parts = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert set(json.loads("".join(parts))) == {"city"}, parts


@check("responses.json_schema")
def _():
    answer = client.responses.create(model=MODEL, input="Hello", max_output_tokens=128, text=RESPONSES_FORMAT)
    assert_verdict(answer.output_text)


@check("responses.json_schema_stream")
def _():
    stream = client.responses.create(
        model=MODEL, input="Hello", max_output_tokens=128, text=RESPONSES_FORMAT, stream=True
    )
    assert_verdict("".join(e.delta for e in stream if e.type == "response.output_text.delta"))


@check("responses.unknown_previous")
def _():
    # Another user's response, or one that never existed: the gateway refuses, and does not ask the engine.
    raises(
        openai.BadRequestError,
        lambda: client.responses.create(model=MODEL, input="Hello", previous_response_id="resp_unknown"),
    )


@check("errors.bad_key")
def _():
    stranger = client.with_options(api_key="sk-not-a-key")
    error = raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(messages=PROMPT, **SHORT))
    assert error.status_code == 401 and error.body["message"], error.body


@check("errors.bad_key_stream")
def _():
    stranger = client.with_options(api_key="sk-not-a-key")
    raises(
        openai.AuthenticationError,
        lambda: stranger.chat.completions.create(messages=PROMPT, stream=True, **SHORT),
    )


@check("errors.unknown_model")
def _():
    error = raises(openai.NotFoundError, lambda: chat.create(model="no-such-model", messages=PROMPT))
    assert error.code == "model_not_found", error.body


@check("errors.unknown_model_everywhere")
def _():
    unknown = "no-such-model"
    calls = [
        lambda: chat.create(model=unknown, messages=PROMPT, stream=True),
        lambda: client.completions.create(model=unknown, prompt="Hello"),
        lambda: embedder.embeddings.create(model=unknown, input="one"),
        lambda: client.responses.create(model=unknown, input="Hello"),
        lambda: client.responses.create(model=unknown, input="Hello", stream=True),
        lambda: client.models.retrieve(unknown),
    ]
    for call in calls:
        error = raises(openai.NotFoundError, call)
        assert error.code == "model_not_found", error.body


@check("errors.bad_params")
def _():
    error = raises(openai.BadRequestError, lambda: chat.create(messages=[], **SHORT))
    assert error.type == "invalid_request_error", error.body


@check("errors.param")
def _():
    error = raises(openai.BadRequestError, lambda: client.post("/chat/completions", cast_to=object, body={
        "model": MODEL, "messages": PROMPT, "stream": "yes",
    }))
    assert error.param == "stream" and error.code == "invalid_value", error.body


@check("errors.not_served")
def _():
    # Would mix the data of users who share the gateway's key at the engine.
    error = raises(openai.InternalServerError, lambda: client.files.list())
    assert error.status_code == 501 and error.code == "not_implemented", error.body


# Azure's form: the client puts the model into the path, and the key into `api-key`.
def azure(key=API_KEY):
    return openai.AzureOpenAI(
        azure_endpoint=urljoin(BASE_URL, "/"), api_version="2024-10-21", **{**options, "api_key": key}
    )


@check("azure.chat")
def _():
    answer = azure().chat.completions.create(messages=PROMPT, **SHORT)
    assert answer.choices[0].finish_reason in ENDS
    assert_usage(answer.usage)


@check("azure.stream")
def _():
    chunks = list(azure().chat.completions.create(messages=PROMPT, stream=True, **SHORT))
    assert chunks[-1].choices[0].finish_reason in ENDS


@check("azure.embeddings")
def _():
    assert azure().embeddings.create(model=EMBED_MODEL, input=["one", "two"]).data[1].index == 1


@check("azure.errors")
def _():
    unknown = lambda: azure().chat.completions.create(model="no-such-model", messages=PROMPT)
    assert raises(openai.NotFoundError, unknown).code == "model_not_found"
    stranger = azure("sk-not-a-key").chat.completions
    raises(openai.AuthenticationError, lambda: stranger.create(messages=PROMPT, **SHORT))


def fails_with(kind, status, code, **call):
    error = raises(kind, lambda: list(chat.create(messages=PROMPT, **call)))
    assert (error.status_code, error.code) == (status, code), (error.status_code, error.body)
    return error


@check("faults.statuses")
def _():
    for stream in (False, True):
        fails_with(openai.BadRequestError, 400, "context_length_exceeded", model="demo-error-400", stream=stream)
        fails_with(openai.UnprocessableEntityError, 422, "invalid_value", model="demo-error-422", stream=stream)
        limited = fails_with(openai.RateLimitError, 429, "rate_limit_exceeded", model="demo-rate-limited", stream=stream)
        assert int(limited.response.headers["retry-after"]) > 0
        # The engine refused the gateway's key. That is not the caller's fault, so it is not a 401.
        fails_with(openai.InternalServerError, 502, "upstream_auth", model="demo-error-401", stream=stream)
        failed = raises(openai.InternalServerError, lambda: chat.create(messages=PROMPT, model="demo-error-500"))
        assert failed.status_code == 502 and "worker.py" not in str(failed.body), failed.body
        busy = raises(openai.InternalServerError, lambda: chat.create(messages=PROMPT, model="demo-error-503"))
        assert busy.status_code == 503 and busy.response.headers["retry-after"]
    fails_with(openai.InternalServerError, 502, "upstream_invalid", model="demo-html")
    fails_with(openai.InternalServerError, 504, "upstream_timeout", model="demo-silent")


@check("faults.broken_stream")
def _():
    for model in ("demo-broken-stream", "demo-error-in-stream"):
        received = []

        def read():
            received.extend(chat.create(messages=PROMPT, model=model, stream=True))

        error = raises(openai.APIError, read)
        assert received and not isinstance(error, openai.APIStatusError), error


@check("faults.broken_stream_responses")
def _():
    events = []

    def read():
        events.extend(client.responses.create(model="demo-broken-stream", input="Hello", stream=True))

    raises(openai.APIError, read)
    assert events and events[-1].type != "response.completed"


@check("faults.halting")
def _():
    # Silent for three seconds, twice: comments keep the connection open, and clients do not see them.
    call = {"messages": PROMPT, "model": "demo-halting", "stream": True}
    chunks = list(chat.create(**call))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ENDS
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{BASE_URL}/chat/completions", json.dumps(call).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().split("\n")[:-1]
    before = [lines[i - 1] for i, line in enumerate(lines) if i and line == ": keep-alive"]
    assert lines.count(": keep-alive") >= 4 and set(before) <= {"", ": keep-alive"}, lines
    assert lines[-2:] == ["data: [DONE]", ""], lines[-4:]


@check("raw.headers")
def _():
    raw = chat.with_raw_response.create(messages=PROMPT, **SHORT)
    assert raw.status_code == 200
    assert raw.headers["content-type"].split(";")[0] == "application/json"
    assert raw.parse().choices


@check("raw.stream_headers")
def _():
    with chat.with_streaming_response.create(messages=PROMPT, stream=True, **SHORT) as raw:
        assert raw.headers["content-type"].split(";")[0] == "text/event-stream"
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]", lines[-1]


@check("raw.request_id")
def _():
    ids = {chat.with_raw_response.create(messages=PROMPT, **SHORT).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(uuid.UUID(i) for i in ids)


@check("parallel.50")
def _():
    asyncio.run(parallel(50))


async def parallel(count):
    async with openai.AsyncOpenAI(base_url=BASE_URL, **options) as many:

        async def plain():
            answer = await many.chat.completions.create(messages=PROMPT, **SHORT)
            assert_usage(answer.usage)
            return answer.id

        async def streamed():
            stream = await many.chat.completions.create(
                messages=PROMPT, stream=True, stream_options={"include_usage": True}, **SHORT
            )
            chunks = [chunk async for chunk in stream]
            assert_usage(chunks[-1].usage)
            assert len({c.id for c in chunks}) == 1, "two answers in one stream"
            return chunks[0].id

        ids = await asyncio.gather(*(streamed() if n % 2 else plain() for n in range(count)))
    assert_distinct(ids, count)


@check("parallel.50_responses")
def _():
    asyncio.run(parallel_responses(50))


async def parallel_responses(count):
    request = {"model": MODEL, "input": "Hello", "max_output_tokens": 16}
    async with openai.AsyncOpenAI(base_url=BASE_URL, **options) as many:

        async def one(streamed):
            if not streamed:
                return (await many.responses.create(**request)).id
            events = [event async for event in await many.responses.create(**request, stream=True)]
            return events[-1].response.id

        assert_distinct(await asyncio.gather(*(one(n % 2) for n in range(count))), count)


run("openai")
