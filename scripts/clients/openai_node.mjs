// The official Node client.
import assert from "node:assert/strict";
import OpenAI from "openai";
import {
  API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, PROMPT, WEATHER_PARAMETERS,
  check, collect, distinctIds, rejects, run,
} from "./checks.mjs";

const options = { apiKey: API_KEY, maxRetries: 0, timeout: 60_000 };
const client = new OpenAI({ baseURL: BASE_URL, ...options });
const stranger = new OpenAI({ baseURL: BASE_URL, ...options, apiKey: "sk-not-a-key" });
const embedder = new OpenAI({ baseURL: EMBED_BASE_URL, ...options });
const SHORT = { model: MODEL, messages: PROMPT, max_tokens: 16 };
const ENDS = ["stop", "length", "tool_calls"];
const tools = [{ type: "function", function: { name: "get_weather", parameters: WEATHER_PARAMETERS } }];

check("models.list", async () => {
  const ids = (await collect(client.models.list())).map((m) => m.id);
  assert(ids.includes(MODEL), `${ids}`);
});

check("models.retrieve", async () => {
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
});

check("chat.plain", async () => {
  const answer = await client.chat.completions.create(SHORT);
  assert.equal(typeof answer.choices[0].message.content, "string");
  assert(answer.usage.total_tokens > 0);
});

check("chat.stream", async () => {
  const chunks = await collect(await client.chat.completions.create({ ...SHORT, stream: true }));
  assert(chunks.every((c) => c.choices.length === 1 && !c.usage));
  assert(ENDS.includes(chunks.at(-1).choices[0].finish_reason));
});

check("chat.stream_usage", async () => {
  const chunks = await collect(
    await client.chat.completions.create({ ...SHORT, stream: true, stream_options: { include_usage: true } }),
  );
  assert.deepEqual(chunks.at(-1).choices, []);
  assert(chunks.at(-1).usage.total_tokens > 0);
});

check("chat.stream_helper", async () => {
  const answer = await client.chat.completions.stream({ ...SHORT }).finalChatCompletion();
  assert(ENDS.includes(answer.choices[0].finish_reason));
});

check("chat.stream_abort", async () => {
  const stream = await client.chat.completions.create({ ...SHORT, max_tokens: 200, stream: true });
  for await (const chunk of stream) {
    assert(chunk.id);
    break; // leaving the loop aborts the request
  }
  assert((await client.chat.completions.create(SHORT)).id);
});

check("chat.tools", async () => {
  const answer = await client.chat.completions.create({ ...SHORT, max_tokens: 64, tools });
  for (const call of answer.choices[0].message.tool_calls ?? []) assert.equal(call.function.name, "get_weather");
});

check("completions.plain", async () => {
  const answer = await client.completions.create({ model: MODEL, prompt: "Hello", max_tokens: 16 });
  assert.equal(typeof answer.choices[0].text, "string");
});

check("embeddings.default", async () => {
  const answer = await embedder.embeddings.create({ model: EMBED_MODEL, input: ["one", "two"] });
  assert.equal(answer.data.length, 2);
  assert(answer.data.every((d) => d.embedding.length > 0 && d.embedding.every(Number.isFinite)));
});

check("responses.plain", async () => {
  const answer = await client.responses.create({ model: MODEL, input: "Hello", max_output_tokens: 16 });
  assert.equal(typeof answer.output_text, "string");
});

check("responses.stream", async () => {
  const request = { model: MODEL, input: "Hello", max_output_tokens: 16, stream: true };
  const types = (await collect(await client.responses.create(request))).map((e) => e.type);
  assert.equal(types[0], "response.created");
  assert(["response.completed", "response.incomplete"].includes(types.at(-1)), types.at(-1));
});

check("errors.bad_key", () => rejects(OpenAI.AuthenticationError, () => stranger.chat.completions.create(SHORT)));

check("errors.unknown_model", async () => {
  const request = { ...SHORT, model: "no-such-model" };
  const error = await rejects(OpenAI.NotFoundError, () => client.chat.completions.create(request));
  assert.equal(error.code, "model_not_found");
});

check("errors.bad_params", () =>
  rejects(OpenAI.BadRequestError, () => client.chat.completions.create({ ...SHORT, messages: [] })));

check("raw.request_id", async () => {
  const { request_id } = await client.chat.completions.create(SHORT).withResponse();
  assert(request_id);
});

check("parallel.50", () =>
  distinctIds(50, async (n) => {
    if (n % 2 === 0) return (await client.chat.completions.create(SHORT)).id;
    const chunks = await collect(await client.chat.completions.create({ ...SHORT, stream: true }));
    assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
    return chunks[0].id;
  }));

await run("openai");
