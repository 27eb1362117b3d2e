// The Vercel AI SDK with its provider for OpenAI-compatible servers.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import { z } from "zod";
import {
  API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, TEXT, WEATHER_PARAMETERS,
  check, collect, distinctIds, rejects, run,
} from "./checks.mjs";

const settings = { name: "gateway", apiKey: API_KEY, includeUsage: true, supportsStructuredOutputs: true };
const provider = createOpenAICompatible({ ...settings, baseURL: BASE_URL });
const stranger = createOpenAICompatible({ ...settings, baseURL: BASE_URL, apiKey: "sk-not-a-key" });
const embedder = createOpenAICompatible({ ...settings, baseURL: EMBED_BASE_URL });
const SHORT = { model: provider(MODEL), prompt: TEXT, maxOutputTokens: 16, maxRetries: 0 };
const ENDS = ["stop", "length", "tool-calls"];
const tools = { get_weather: tool({ inputSchema: jsonSchema(WEATHER_PARAMETERS) }) };

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

check("object", async () => {
  const schema = z.object({ colour: z.enum(["red", "green", "blue"]), certain: z.boolean() });
  const { object } = await generateObject({ ...SHORT, schema, maxOutputTokens: 128 });
  schema.parse(object);
});

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
};
check("errors.bad_key", () => status(401, stranger(MODEL)));
check("errors.unknown_model", () => status(404, provider("no-such-model")));

check("parallel.50", () =>
  distinctIds(50, async (n) => {
    if (n % 2 === 0) return (await generateText(SHORT)).response.id;
    const answer = streamText(SHORT);
    await answer.consumeStream();
    return (await answer.response).id;
  }));

await run("ai");
