"""LangChain's OpenAI classes, as an application would use them."""
import asyncio

import openai
from langchain_core.messages import AIMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from checks import (
    API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, VERDICT_SCHEMA, WEATHER_TOOL, check, raises, run,
)

TEXT = "What is the weather in the harbour?"


def model(**changes):
    settings = {"base_url": BASE_URL, "api_key": API_KEY, "model": MODEL, "max_tokens": 16}
    return ChatOpenAI(**settings | {"max_retries": 0, "timeout": 60} | changes)


def assert_answer(message):
    assert isinstance(message.content, str)
    assert message.usage_metadata["total_tokens"] > 0, message.usage_metadata


@check("invoke")
def _():
    assert_answer(model().invoke(TEXT))


@check("stream")
def _():
    chunks = list(model(stream_usage=True).stream(TEXT))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert_answer(whole)


@check("batch")
def _():
    answers = model().batch([TEXT] * 4)
    assert len({a.response_metadata.get("id", a.id) for a in answers}) == 4


@check("bind_tools")
def _():
    answer = model(max_tokens=64).bind_tools([WEATHER_TOOL]).invoke(TEXT)
    assert all(call["name"] == "get_weather" for call in answer.tool_calls)


@check("tool_result")
def _():
    call = {"id": "call_1", "name": "get_weather", "args": {"city": "Ostia"}}
    history = [("user", TEXT), AIMessage("", tool_calls=[call]), ToolMessage("warm", tool_call_id="call_1")]
    assert_answer(model().bind_tools([WEATHER_TOOL]).invoke(history))


@check("structured_output")
def _():
    schema = VERDICT_SCHEMA | {"title": "verdict", "description": "A verdict"}
    verdict = model(max_tokens=128).with_structured_output(schema, method="json_schema").invoke(TEXT)
    assert verdict["colour"] in ("red", "green", "blue"), verdict


@check("responses")
def _():
    answer = model(use_responses_api=True).invoke(TEXT)
    assert answer.usage_metadata["total_tokens"] > 0


@check("embeddings")
def _():
    # check_embedding_ctx_length would send token ids of another model's tokenizer, and download it.
    embedder = OpenAIEmbeddings(
        base_url=EMBED_BASE_URL, api_key=API_KEY, model=EMBED_MODEL, check_embedding_ctx_length=False, max_retries=0
    )
    vectors = embedder.embed_documents(["one", "two"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 0


@check("errors.bad_key")
def _():
    raises(openai.AuthenticationError, lambda: model(api_key="sk-not-a-key").invoke(TEXT))


@check("errors.unknown_model")
def _():
    raises(openai.NotFoundError, lambda: model(model="no-such-model").invoke(TEXT))


@check("parallel.50")
def _():
    async def many():
        one = model(stream_usage=True)

        async def streamed():
            whole = None
            async for chunk in one.astream(TEXT):
                whole = chunk if whole is None else whole + chunk
            return whole

        return await asyncio.gather(*(streamed() if n % 2 else one.ainvoke(TEXT) for n in range(50)))

    for message in asyncio.run(many()):
        assert_answer(message)


run("langchain-openai")
