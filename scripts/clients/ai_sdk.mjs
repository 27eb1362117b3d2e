// The Vercel AI SDK with its provider for OpenAI-compatible servers, and those of OpenAI (responses) and Anthropic.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamObject, streamText, tool,
} from "ai";
import {
  API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, TEXT, VERDICT, WEATHER_PARAMETERS,
  check, collect, distinctIds, rejects, run,
} from "./checks.mjs";

const settings = { name: "gateway", apiKey: API_KEY, includeUsage: true, supportsStructuredOutputs: true };
const provider = createOpenAICompatible({ ...settings, baseURL: BASE_URL });
const stranger = createOpenAICompatible({ ...settings, baseURL: BASE_URL, apiKey: "sk-not-a-key" });
const embedder = createOpenAICompatible({ ...settings, baseURL: EMBED_BASE_URL });
const SHORT = { model: provider(MODEL), prompt: TEXT, maxOutputTokens: 16, maxRetries: 0 };
const ENDS = ["stop", "length", "tool-calls"];
const tools = { get_weather: tool({ inputSchema: jsonSchema(WEATHER_PARAMETERS), strict: true }) };
const responses = createOpenAI({ apiKey: API_KEY, baseURL: BASE_URL }).responses(MODEL);
const messages = createAnthropic({ authToken: API_KEY, baseURL: BASE_URL })(MODEL);

check("generate", async () => {
  const answer = await generateText(SHORT);
  assert(ENDS.includes(answer.finishReason), answer.finishReason);
  assert(answer.usage.totalTokens > 0);
});

check("stream", async () => {
  const answer = streamText(SHORT);
  const types = (await collect(answer.fullStream)).map((part) => part.type);
  assert(!types.includes("error"), `${types}`);
  assert(ENDS.includes(await answer.finishReason));
  assert((await answer.usage).totalTokens > 0);
});

check("tools", async () => {
  const answer = await generateText({ ...SHORT, tools, maxOutputTokens: 64 });
  assert(answer.toolCalls.every((call) => call.toolName === "get_weather"));
});

check("tools_stream", async () => {
  const answer = streamText({ ...SHORT, tools, maxOutputTokens: 64 });
  const types = (await collect(answer.fullStream)).map((part) => part.type);
  assert(!types.includes("error"), `${types}`);
});

const FORCED = { tools, toolChoice: "required", maxOutputTokens: 1024 };
function assertCall([call]) {
  assert.equal(call.toolName, "get_weather");
  assert.deepEqual(Object.keys(call.input), ["city"]);
}

check("tools_required", async () => assertCall((await generateText({ ...SHORT, ...FORCED })).toolCalls));

check("tools_required_stream", async () => assertCall(await streamText({ ...SHORT, ...FORCED }).toolCalls));

check("tools_round_trip", async () => {
  // The SDK runs the tool and sends its result in a second request.
  let cities = 0;
  const execute = async () => `warm ${(cities += 1)}`;
  const ran = { get_weather: tool({ inputSchema: jsonSchema(WEATHER_PARAMETERS), strict: true, execute }) };
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" });
  const answer = await generateText({ ...SHORT, ...FORCED, tools: ran, prepareStep, stopWhen: stepCountIs(2) });
  assert(cities > 0 && answer.steps.length === 2, `${cities} calls, ${answer.steps.length} steps`);
});

const OBJECT = { ...SHORT, schema: VERDICT, maxOutputTokens: 128 };

check("object", async () => VERDICT.parse((await generateObject(OBJECT)).object));

check("object_stream", async () => VERDICT.parse((await collect(streamObject(OBJECT).partialObjectStream)).at(-1)));

check("responses.generate", async () => {
  const answer = await generateText({ ...SHORT, model: responses });
  assert(answer.usage.outputTokens > 0);
});

check("responses.stream_typed", async () => {
  const answer = streamText({ ...SHORT, model: responses });
  const types = (await collect(answer.fullStream)).map((part) => part.type);
  assert(!types.includes("error"), `${types}`);
  assert((await answer.usage).outputTokens > 0);
});

check("responses.object", async () => VERDICT.parse((await generateObject({ ...OBJECT, model: responses })).object));

check("responses.tools_required", async () =>
  assertCall((await generateText({ ...SHORT, ...FORCED, model: responses })).toolCalls));

check("messages.generate", async () => {
  const answer = await generateText({ ...SHORT, model: messages });
  assert(answer.usage.outputTokens > 0);
});

check("messages.stream", async () => {
  const answer = streamText({ ...SHORT, model: messages });
  const types = (await collect(answer.fullStream)).map((part) => part.type);
  assert(!types.includes("error"), `${types}`);
});

check("messages.tools_required", async () =>
  assertCall((await generateText({ ...SHORT, ...FORCED, model: messages })).toolCalls));

check("completion", async () => {
  const answer = await generateText({ ...SHORT, model: provider.completionModel(MODEL) });
  assert(ENDS.includes(answer.finishReason), answer.finishReason);
});

check("embeddings", async () => {
  const model = embedder.textEmbeddingModel(EMBED_MODEL);
  const { embeddings } = await embedMany({ model, values: ["one", "two"], maxRetries: 0 });
  assert(embeddings.length === 2 && embeddings[0].length > 0);
});

const status = async (wanted, model) => {
  const error = await rejects(APICallError, () => generateText({ ...SHORT, model }));
  assert.equal(error.statusCode, wanted);
  // A stream hands its error over as a part.
  const parts = await collect(streamText({ ...SHORT, model, onError: () => {} }).fullStream);
  assert.equal(parts.find((part) => part.type === "error")?.error.statusCode, wanted);
};
check("errors.bad_key", () => status(401, stranger(MODEL)));
check("errors.unknown_model", () => status(404, provider("no-such-model")));

check("faults.statuses", async () => {
  await status(400, provider("demo-error-400"));
  await status(429, provider("demo-rate-limited"));
  await status(502, provider("demo-error-500"));
  await status(503, provider("demo-error-503"));
});

check("faults.broken_stream", async () => {
  for (const name of ["demo-broken-stream", "demo-error-in-stream"]) {
    // A broken connection is an error part or a rejection, by how far the SDK had read.
    const types = [];
    try {
      const answer = streamText({ ...SHORT, maxOutputTokens: 100, model: provider(name), onError: () => {} });
      for await (const part of answer.fullStream) types.push(part.type);
    } catch (error) {
      assert(APICallError.isInstance(error), `${error}`);
      types.push("error");
    }
    assert(types.includes("text-delta") && types.includes("error"), `${types}`);
  }
});

check("faults.halting", async () => {
  const answer = streamText({ ...SHORT, maxOutputTokens: 100, model: provider("demo-halting") });
  assert((await answer.text).length > 0 && (await answer.finishReason) !== "error");
});

check("parallel.50", () =>
  distinctIds(50, async (n) => {
    if (n % 2 === 0) return (await generateText(SHORT)).response.id;
    const answer = streamText(SHORT);
    await answer.consumeStream();
    return (await answer.response).id;
  }));

await run("ai");
