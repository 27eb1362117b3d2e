"""LiteLLM as a library, with its OpenAI and its Anthropic dialect."""
import asyncio
import json
import os

# Otherwise the import downloads a price list.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from checks import (
    API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, PROMPT, ROOT_URL, VERDICT_SCHEMA, WEATHER_TOOL,
    assert_distinct, assert_verdict, check, raises, run,
)

litellm.suppress_debug_info = True
OPENAI = {"api_base": BASE_URL, "api_key": API_KEY, "timeout": 60, "max_retries": 0}
CHAT = {"model": f"openai/{MODEL}", "messages": PROMPT, "max_tokens": 16, **OPENAI}
ANTHROPIC = {
    "model": f"anthropic/{MODEL}", "messages": PROMPT, "max_tokens": 16,
    "api_base": ROOT_URL, "api_key": API_KEY, "timeout": 60, "max_retries": 0,
}
VERDICT_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "verdict", "strict": True, "schema": VERDICT_SCHEMA},
}


def assert_answer(answer):
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")
    assert answer.usage.total_tokens > 0


@check("completion")
def _():
    assert_answer(litellm.completion(**CHAT))


@check("stream")
def _():
    chunks = list(litellm.completion(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert_answer(litellm.stream_chunk_builder(chunks, messages=PROMPT))


@check("tools")
def _():
    assert_answer(litellm.completion(**CHAT | {"max_tokens": 64}, tools=[WEATHER_TOOL], tool_choice="auto"))


def joined(stream):
    return litellm.stream_chunk_builder(list(stream), messages=PROMPT)


def assert_call(answer):
    call = answer.choices[0].message.tool_calls[0]
    assert call.id and call.function.name == "get_weather", call
    assert set(json.loads(call.function.arguments)) == {"city"}, call


@check("tools_stream")
def _():
    assert_answer(joined(litellm.completion(
        **CHAT | {"max_tokens": 64}, tools=[WEATHER_TOOL], stream=True, stream_options={"include_usage": True}
    )))


@check("tools_required")
def _():
    forced = CHAT | {"max_tokens": 1024, "tools": [WEATHER_TOOL], "tool_choice": "required"}
    assert_call(litellm.completion(**forced))
    assert_call(joined(litellm.completion(**forced, stream=True)))


@check("tool_result")
def _():
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Ostia"}'}}
    messages = [
        *PROMPT,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "warm"},
    ]
    assert_answer(litellm.completion(**CHAT | {"messages": messages}, tools=[WEATHER_TOOL]))


@check("json_schema")
def _():
    answer = litellm.completion(**CHAT | {"max_tokens": 128}, response_format=VERDICT_FORMAT)
    assert_verdict(answer.choices[0].message.content)


@check("json_schema_stream")
def _():
    stream = litellm.completion(**CHAT | {"max_tokens": 128}, response_format=VERDICT_FORMAT, stream=True)
    assert_verdict("".join(chunk.choices[0].delta.content or "" for chunk in stream))


@check("text_completion")
def _():
    answer = litellm.text_completion(model=f"text-completion-openai/{MODEL}", prompt="Hello", max_tokens=16, **OPENAI)
    assert isinstance(answer.choices[0].text, str)


@check("responses")
def _():
    answer = litellm.responses(model=f"openai/{MODEL}", input="Hello", max_output_tokens=16, **OPENAI)
    assert answer.usage.output_tokens > 0


@check("responses_stream")
def _():
    events = list(litellm.responses(
        model=f"openai/{MODEL}", input="Hello", max_output_tokens=16, stream=True, **OPENAI
    ))
    assert events[-1].type in ("response.completed", "response.incomplete"), events[-1]
    assert events[-1].response.usage.output_tokens > 0


@check("models")
def _():
    models = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_key=API_KEY, api_base=BASE_URL
    )
    assert MODEL in models, models


@check("messages_api.plain")
def _():
    assert_answer(litellm.completion(**ANTHROPIC))


@check("messages_api.stream")
def _():
    assert_answer(joined(litellm.completion(**ANTHROPIC, stream=True)))


@check("messages_api.errors")
def _():
    raises(litellm.AuthenticationError, lambda: litellm.completion(**ANTHROPIC | {"api_key": "sk-not-a-key"}))
    raises(litellm.NotFoundError, lambda: litellm.completion(**ANTHROPIC | {"model": "anthropic/no-such-model"}))


@check("embedding")
def _():
    answer = litellm.embedding(
        model=f"openai/{EMBED_MODEL}", input=["one", "two"], api_base=EMBED_BASE_URL, api_key=API_KEY,
        encoding_format="float",
    )
    assert len(answer.data) == 2


@check("errors.bad_key")
def _():
    stranger = CHAT | {"api_key": "sk-not-a-key"}
    raises(litellm.AuthenticationError, lambda: litellm.completion(**stranger))
    raises(litellm.AuthenticationError, lambda: list(litellm.completion(**stranger, stream=True)))


@check("errors.unknown_model")
def _():
    unknown = {"model": "openai/no-such-model"}
    raises(litellm.NotFoundError, lambda: litellm.completion(**CHAT | unknown))
    raises(litellm.NotFoundError, lambda: list(litellm.completion(**CHAT | unknown, stream=True)))
    raises(litellm.NotFoundError, lambda: litellm.embedding(**unknown, **OPENAI | {"api_base": EMBED_BASE_URL}, input=["one"]))
    raises(litellm.NotFoundError, lambda: litellm.responses(**unknown, **OPENAI, input="Hello"))


@check("errors.bad_params")
def _():
    raises(litellm.BadRequestError, lambda: litellm.completion(**CHAT | {"messages": []}))


@check("faults.statuses")
def _():
    def fault(model, kind):
        raises(kind, lambda: litellm.completion(**CHAT | {"model": f"openai/{model}"}))

    fault("demo-error-400", litellm.BadRequestError)
    fault("demo-rate-limited", litellm.RateLimitError)
    fault("demo-error-500", litellm.BadGatewayError)
    fault("demo-error-503", litellm.ServiceUnavailableError)


@check("faults.broken_stream")
def _():
    for name in ("demo-broken-stream", "demo-error-in-stream"):
        request = CHAT | {"model": f"openai/{name}", "max_tokens": 100, "stream": True}
        raises(Exception, lambda: list(litellm.completion(**request)))


@check("parallel.50")
def _():
    async def many():
        async def streamed():
            stream = await litellm.acompletion(**CHAT, stream=True, stream_options={"include_usage": True})
            return litellm.stream_chunk_builder([chunk async for chunk in stream], messages=PROMPT)

        return await asyncio.gather(*(streamed() if n % 2 else litellm.acompletion(**CHAT) for n in range(50)))

    answers = asyncio.run(many())
    for answer in answers:
        assert_answer(answer)
    assert_distinct([answer.id for answer in answers], 50)


run("litellm")
