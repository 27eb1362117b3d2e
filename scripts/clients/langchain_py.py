"""LangChain's OpenAI classes, as an application would use them."""
import asyncio
import functools
import json

import openai
from langchain_core.messages import AIMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from checks import (
    API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, VERDICT_SCHEMA, WEATHER_TOOL,
    assert_distinct, assert_verdict, check, raises, run,
)

TEXT = "What is the weather in the harbour?"
VERDICT = VERDICT_SCHEMA | {"title": "verdict", "description": "A verdict"}


def model(**changes):
    settings = {"base_url": BASE_URL, "api_key": API_KEY, "model": MODEL, "max_tokens": 16}
    return ChatOpenAI(**settings | {"max_retries": 0, "timeout": 60} | changes)


def assert_answer(message):
    assert isinstance(message.content, str)
    assert message.usage_metadata["total_tokens"] > 0, message.usage_metadata


def joined(chunks):
    return functools.reduce(lambda whole, chunk: whole + chunk, chunks)


@check("invoke")
def _():
    assert_answer(model().invoke(TEXT))


@check("stream")
def _():
    chunks = list(model(stream_usage=True).stream(TEXT))
    assert_answer(joined(chunks))


@check("batch")
def _():
    answers = model().batch([TEXT] * 4)
    assert len({a.response_metadata.get("id", a.id) for a in answers}) == 4


@check("bind_tools")
def _():
    answer = model(max_tokens=64).bind_tools([WEATHER_TOOL]).invoke(TEXT)
    assert all(call["name"] == "get_weather" for call in answer.tool_calls)


def assert_call(message):
    assert message.tool_calls and message.tool_calls[0]["name"] == "get_weather", message
    assert message.tool_calls[0]["id"] and set(message.tool_calls[0]["args"]) == {"city"}, message


@check("bind_tools_stream")
def _():
    answer = joined(model(max_tokens=64, stream_usage=True).bind_tools([WEATHER_TOOL]).stream(TEXT))
    assert all(call["name"] == "get_weather" for call in answer.tool_calls)
    assert_answer(answer)


@check("bind_tools_forced")
def _():
    forced = model(max_tokens=1024).bind_tools([WEATHER_TOOL], tool_choice="required")
    assert_call(forced.invoke(TEXT))
    assert_call(joined(forced.stream(TEXT)))


@check("tool_result")
def _():
    call = {"id": "call_1", "name": "get_weather", "args": {"city": "Ostia"}}
    history = [("user", TEXT), AIMessage("", tool_calls=[call]), ToolMessage("warm", tool_call_id="call_1")]
    assert_answer(model().bind_tools([WEATHER_TOOL]).invoke(history))


@check("structured_output")
def _():
    asker = model(max_tokens=128).with_structured_output(VERDICT, method="json_schema")
    assert_verdict(json.dumps(asker.invoke(TEXT)))


@check("structured_output_stream")
def _():
    asker = model(max_tokens=128).with_structured_output(VERDICT, method="json_schema")
    assert_verdict(json.dumps(list(asker.stream(TEXT))[-1]))


@check("responses")
def _():
    answer = model(use_responses_api=True).invoke(TEXT)
    assert answer.usage_metadata["total_tokens"] > 0


@check("responses_stream")
def _():
    answer = joined(model(use_responses_api=True).stream(TEXT))
    assert answer.usage_metadata["total_tokens"] > 0


@check("responses_structured")
def _():
    asker = model(max_tokens=128, use_responses_api=True).with_structured_output(VERDICT, method="json_schema")
    assert_verdict(json.dumps(asker.invoke(TEXT)))


@check("responses_tools_forced")
def _():
    asker = model(max_tokens=1024, use_responses_api=True)
    assert_call(asker.bind_tools([WEATHER_TOOL], tool_choice="required").invoke(TEXT))


@check("embeddings")
def _():
    # check_embedding_ctx_length would download another model's tokenizer, and send its token ids.
    embedder = OpenAIEmbeddings(
        base_url=EMBED_BASE_URL, api_key=API_KEY, model=EMBED_MODEL, check_embedding_ctx_length=False, max_retries=0
    )
    vectors = embedder.embed_documents(["one", "two"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 0


@check("errors.bad_key")
def _():
    raises(openai.AuthenticationError, lambda: model(api_key="sk-not-a-key").invoke(TEXT))
    raises(openai.AuthenticationError, lambda: list(model(api_key="sk-not-a-key").stream(TEXT)))


@check("errors.unknown_model")
def _():
    unknown = model(model="no-such-model")
    raises(openai.NotFoundError, lambda: unknown.invoke(TEXT))
    raises(openai.NotFoundError, lambda: list(unknown.stream(TEXT)))
    raises(openai.NotFoundError, lambda: model(model="no-such-model", use_responses_api=True).invoke(TEXT))


@check("errors.bad_params")
def _():
    raises(openai.BadRequestError, lambda: model().invoke([]))


@check("faults.statuses")
def _():
    raises(openai.BadRequestError, lambda: model(model="demo-error-400").invoke(TEXT))
    raises(openai.RateLimitError, lambda: model(model="demo-rate-limited").invoke(TEXT))
    raises(openai.InternalServerError, lambda: model(model="demo-error-500").invoke(TEXT))
    raises(openai.InternalServerError, lambda: list(model(model="demo-error-503").stream(TEXT)))


@check("faults.broken_stream")
def _():
    for name in ("demo-broken-stream", "demo-error-in-stream"):
        raises(openai.APIError, lambda: list(model(model=name, max_tokens=100).stream(TEXT)))


@check("parallel.50")
def _():
    async def many():
        one = model(stream_usage=True)

        async def streamed():
            return joined([chunk async for chunk in one.astream(TEXT)])

        return await asyncio.gather(*(streamed() if n % 2 else one.ainvoke(TEXT) for n in range(50)))

    messages = asyncio.run(many())
    for message in messages:
        assert_answer(message)
    assert_distinct([m.response_metadata.get("id") or m.id for m in messages], 50)


run("langchain-openai")
