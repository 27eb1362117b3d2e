"""LiteLLM as a library, with its OpenAI and its Anthropic dialect."""
import asyncio
import os

# Otherwise the import fetches a price list from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from checks import (
    API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, PROMPT, ROOT_URL, VERDICT_SCHEMA, WEATHER_TOOL,
    assert_verdict, check, raises, run,
)

litellm.suppress_debug_info = True
OPENAI = {"api_base": BASE_URL, "api_key": API_KEY, "timeout": 60, "max_retries": 0}
CHAT = {"model": f"openai/{MODEL}", "messages": PROMPT, "max_tokens": 16, **OPENAI}


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


@check("json_schema")
def _():
    schema = {"name": "verdict", "strict": True, "schema": VERDICT_SCHEMA}
    answer = litellm.completion(
        **CHAT | {"max_tokens": 128}, response_format={"type": "json_schema", "json_schema": schema}
    )
    assert_verdict(answer.choices[0].message.content)


@check("text_completion")
def _():
    answer = litellm.text_completion(model=f"text-completion-openai/{MODEL}", prompt="Hello", max_tokens=16, **OPENAI)
    assert isinstance(answer.choices[0].text, str)


@check("responses")
def _():
    answer = litellm.responses(model=f"openai/{MODEL}", input="Hello", max_output_tokens=16, **OPENAI)
    assert answer.usage.output_tokens > 0


@check("anthropic")
def _():
    answer = litellm.completion(
        model=f"anthropic/{MODEL}", messages=PROMPT, max_tokens=16, api_base=ROOT_URL, api_key=API_KEY, timeout=60
    )
    assert_answer(answer)


@check("embedding")
def _():
    answer = litellm.embedding(
        model=f"openai/{EMBED_MODEL}", input=["one", "two"], api_base=EMBED_BASE_URL, api_key=API_KEY,
        encoding_format="float",
    )
    assert len(answer.data) == 2


@check("errors.bad_key")
def _():
    raises(litellm.AuthenticationError, lambda: litellm.completion(**CHAT | {"api_key": "sk-not-a-key"}))


@check("errors.unknown_model")
def _():
    raises(litellm.NotFoundError, lambda: litellm.completion(**CHAT | {"model": "openai/no-such-model"}))


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
    assert len({a.id for a in answers}) == 50


run("litellm")
