"""The Anthropic Python client on /v1/messages."""
import asyncio

import anthropic

from checks import API_KEY, MODEL, PROMPT, ROOT_URL, WEATHER_PARAMETERS, check, raises, run

options = {"base_url": ROOT_URL, "max_retries": 0, "timeout": 60}
client = anthropic.Anthropic(api_key=API_KEY, **options)  # sends x-api-key
TOOL = {"name": "get_weather", "description": "The weather of a city", "input_schema": WEATHER_PARAMETERS}
SHORT = {"model": MODEL, "max_tokens": 16, "messages": PROMPT}
ENDS = ("end_turn", "max_tokens", "stop_sequence", "tool_use")


def assert_message(message):
    assert message.type == "message" and message.role == "assistant" and message.id
    assert message.stop_reason in ENDS, message.stop_reason
    # input_tokens excludes what a cache served, and may be 0.
    assert message.usage.input_tokens >= 0 and message.usage.output_tokens > 0, message.usage


@check("messages.plain")
def _():
    assert_message(client.messages.create(**SHORT))


@check("messages.bearer")
def _():
    bearer = anthropic.Anthropic(auth_token=API_KEY, api_key=None, **options)
    assert_message(bearer.messages.create(**SHORT))


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


@check("errors.bad_key")
def _():
    stranger = anthropic.Anthropic(api_key="sk-not-a-key", **options)
    error = raises(anthropic.AuthenticationError, lambda: stranger.messages.create(**SHORT))
    assert error.body["error"]["type"] == "authentication_error", error.body


@check("errors.unknown_model")
def _():
    error = raises(anthropic.NotFoundError, lambda: client.messages.create(**SHORT | {"model": "no-such-model"}))
    assert error.body["type"] == "error" and error.body["error"]["type"] == "not_found_error", error.body


@check("errors.bad_params")
def _():
    body = {"model": MODEL, "max_tokens": 16, "messages": PROMPT, "stream": "yes"}
    error = raises(anthropic.BadRequestError, lambda: client.post("/v1/messages", body=body, cast_to=object))
    assert error.body["type"] == "error" and error.body["error"]["type"] == "invalid_request_error", error.body


@check("parallel.50")
def _():
    asyncio.run(parallel(50))


async def parallel(count):
    async with anthropic.AsyncAnthropic(api_key=API_KEY, **options) as many:

        async def plain():
            return await many.messages.create(**SHORT)

        async def streamed():
            async with many.messages.stream(**SHORT) as stream:
                return await stream.get_final_message()

        messages = await asyncio.gather(*(streamed() if n % 2 else plain() for n in range(count)))
    for message in messages:
        assert_message(message)
    assert len({m.id for m in messages}) == count


run("anthropic")
