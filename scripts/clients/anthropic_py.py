"""The Anthropic Python client on /v1/messages."""
import asyncio

import anthropic

from checks import (
    API_KEY, MODEL, PROMPT, ROOT_URL, VERDICT_SCHEMA, WEATHER_PARAMETERS,
    assert_distinct, assert_verdict, check, raises, run,
)

options = {"base_url": ROOT_URL, "max_retries": 0, "timeout": 60, "api_key": API_KEY}
client = anthropic.Anthropic(**options)
TOOL = {"name": "get_weather", "description": "The weather of a city", "input_schema": WEATHER_PARAMETERS, "strict": True}
FORCED = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_weather"}, "max_tokens": 1024}
VERDICT = {"output_config": {"format": {"type": "json_schema", "schema": VERDICT_SCHEMA}}, "max_tokens": 128}
SHORT = {"model": MODEL, "max_tokens": 16, "messages": PROMPT}
ENDS = ("end_turn", "max_tokens", "stop_sequence", "tool_use")


def assert_message(message):
    assert message.type == "message" and message.role == "assistant" and message.id
    assert message.stop_reason in ENDS, message.stop_reason
    # input_tokens excludes cached tokens, so it may be 0.
    assert message.usage.input_tokens >= 0 and message.usage.output_tokens > 0, message.usage


@check("messages.plain")
def _():
    assert_message(client.messages.create(**SHORT))


@check("messages.auth_token")
def _():
    bearer = anthropic.Anthropic(**options | {"auth_token": API_KEY, "api_key": None})
    assert_message(bearer.messages.create(**SHORT))


@check("messages.x_api_key")
def _():
    # How the client authenticated before version 2.
    header = {"x-api-key": API_KEY, "authorization": anthropic.Omit()}
    assert_message(client.with_options(default_headers=header).messages.create(**SHORT))


@check("messages.system")
def _():
    assert_message(client.messages.create(system="Be brief.", **SHORT))


@check("messages.stream")
def _():
    with client.messages.stream(**SHORT) as stream:
        types = [event.type for event in stream]
        message = stream.get_final_message()
    assert types[0] == "message_start" and types[-1] == "message_stop", types
    assert "message_delta" in types
    assert_message(message)


@check("messages.tools")
def _():
    message = client.messages.create(**SHORT | {"max_tokens": 64}, tools=[TOOL])
    assert_message(message)
    for block in message.content:
        assert block.type == "text" or (block.type == "tool_use" and block.name == "get_weather"), block


@check("messages.tools_stream")
def _():
    with client.messages.stream(**SHORT | {"max_tokens": 64}, tools=[TOOL]) as stream:
        assert_message(stream.get_final_message())


def assert_call(message):
    call = next(block for block in message.content if block.type == "tool_use")
    assert message.stop_reason == "tool_use" and call.id and call.name == "get_weather", message
    assert set(call.input) == {"city"}, call


@check("messages.tools_forced")
def _():
    assert_call(client.messages.create(**SHORT | FORCED))


@check("messages.tools_forced_stream")
def _():
    with client.messages.stream(**SHORT | FORCED) as stream:
        assert_call(stream.get_final_message())


@check("messages.json_schema")
def _():
    message = client.messages.create(**SHORT | VERDICT)
    assert_verdict("".join(block.text for block in message.content if block.type == "text"))


@check("messages.json_schema_stream")
def _():
    with client.messages.stream(**SHORT | VERDICT) as stream:
        assert_verdict("".join(stream.text_stream))


@check("messages.tool_result")
def _():
    messages = [
        *PROMPT,
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Ostia"}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "warm"}]},
    ]
    assert_message(client.messages.create(**SHORT | {"messages": messages}, tools=[TOOL]))


@check("messages.count_tokens")
def _():
    assert client.messages.count_tokens(model=MODEL, messages=PROMPT).input_tokens > 0


@check("models.list")
def _():
    assert MODEL in [model.id for model in client.models.list()]


@check("models.retrieve")
def _():
    assert client.models.retrieve(MODEL).id == MODEL


def fails_with(kind, status, word, call):
    error = raises(kind, call)
    assert error.status_code == status and error.body["type"] == "error", error.body
    assert error.body["error"]["type"] == word and error.body["error"]["message"], error.body
    return error


@check("errors.bad_key")
def _():
    stranger = anthropic.Anthropic(**options | {"api_key": "sk-not-a-key"})
    for stream in (False, True):
        fails_with(
            anthropic.AuthenticationError, 401, "authentication_error",
            lambda: stranger.messages.create(**SHORT, stream=stream),
        )


@check("errors.unknown_model")
def _():
    unknown = {"model": "no-such-model", "messages": PROMPT}
    for call in (
        lambda: client.messages.create(**unknown, max_tokens=16),
        lambda: client.messages.create(**unknown, max_tokens=16, stream=True),
        lambda: client.messages.count_tokens(**unknown),
    ):
        fails_with(anthropic.NotFoundError, 404, "not_found_error", call)


@check("errors.bad_params")
def _():
    body = {"model": MODEL, "max_tokens": 16, "messages": PROMPT, "stream": "yes"}
    fails_with(
        anthropic.BadRequestError, 400, "invalid_request_error",
        lambda: client.post("/v1/messages", body=body, cast_to=object),
    )


@check("faults.statuses")
def _():
    def fault(model, kind, status, word):
        for stream in (False, True):
            call = {"model": model, "max_tokens": 16, "messages": PROMPT, "stream": stream}
            error = fails_with(kind, status, word, lambda: client.messages.create(**call))
        return error

    fault("demo-error-400", anthropic.BadRequestError, 400, "invalid_request_error")
    limited = fault("demo-rate-limited", anthropic.RateLimitError, 429, "rate_limit_error")
    assert int(limited.response.headers["retry-after"]) > 0
    fault("demo-error-401", anthropic.InternalServerError, 502, "api_error")
    fault("demo-error-500", anthropic.InternalServerError, 502, "api_error")
    fault("demo-error-503", anthropic.InternalServerError, 503, "overloaded_error")


@check("faults.broken_stream")
def _():
    for model in ("demo-broken-stream", "demo-error-in-stream"):
        events = []

        def read():
            with client.messages.stream(**SHORT | {"model": model, "max_tokens": 100}) as stream:
                events.extend(stream)

        error = raises(anthropic.APIStatusError, read)
        assert error.body["error"]["type"] == "api_error", error.body
        assert events and events[-1].type != "message_stop"


@check("faults.halting")
def _():
    with client.messages.stream(**SHORT | {"model": "demo-halting", "max_tokens": 100}) as stream:
        assert stream.get_final_message().stop_reason


@check("parallel.50")
def _():
    asyncio.run(parallel(50))


async def parallel(count):
    async with anthropic.AsyncAnthropic(**options) as many:

        async def plain():
            return await many.messages.create(**SHORT)

        async def streamed():
            async with many.messages.stream(**SHORT) as stream:
                return await stream.get_final_message()

        messages = await asyncio.gather(*(streamed() if n % 2 else plain() for n in range(count)))
    for message in messages:
        assert_message(message)
    assert_distinct([message.id for message in messages], count)


run("anthropic")
