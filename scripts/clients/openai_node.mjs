// The official Node client.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import {
  API_KEY, BASE_URL, EMBED_BASE_URL, EMBED_MODEL, MODEL, PROMPT, VERDICT, WEATHER_PARAMETERS, WEATHER_TOOL,
  check, collect, distinctIds, rejects, run,
} from "./checks.mjs";

const options = { apiKey: API_KEY, maxRetries: 0, timeout: 60_000 };
const client = new OpenAI({ baseURL: BASE_URL, ...options });
const stranger = new OpenAI({ baseURL: BASE_URL, ...options, apiKey: "sk-not-a-key" });
const embedder = new OpenAI({ baseURL: EMBED_BASE_URL, ...options });
const SHORT = { model: MODEL, messages: PROMPT, max_tokens: 16 };
const ENDS = ["stop", "length", "tool_calls"];
const tools = [WEATHER_TOOL];
const FORCED = { ...SHORT, max_tokens: 1024, tools, tool_choice: "required" };
const ANSWER = { model: MODEL, input: "Hello", max_output_tokens: 16 };
const ANSWER_TOOL = { type: "function", name: "get_weather", parameters: WEATHER_PARAMETERS, strict: true };
const ANSWER_FORCED = { ...ANSWER, max_output_tokens: 1024, tools: [ANSWER_TOOL], tool_choice: "required" };

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

// The one call of a stream, put together.
async function assembled(stream) {
  const call = { id: "", name: "", arguments: "" };
  for await (const chunk of stream) {
    for (const part of chunk.choices[0].delta.tool_calls ?? []) {
      call.id += part.id ?? "";
      call.name += part.function?.name ?? "";
      call.arguments += part.function?.arguments ?? "";
    }
  }
  return call;
}

function assertCall({ id, name, arguments: text }) {
  assert(id);
  assert.equal(name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(text)), ["city"]);
}

check("chat.tools_stream", async () => {
  const stream = await client.chat.completions.create({ ...SHORT, max_tokens: 64, tools, stream: true });
  assert(["", "get_weather"].includes((await assembled(stream)).name));
});

check("chat.tools_required", async () => {
  const [call] = (await client.chat.completions.create(FORCED)).choices[0].message.tool_calls;
  assertCall({ id: call.id, ...call.function });
});

check("chat.tools_required_stream", async () =>
  assertCall(await assembled(await client.chat.completions.create({ ...FORCED, stream: true }))));

check("chat.tool_result", async () => {
  const call = { id: "call_1", type: "function", function: { name: "get_weather", arguments: '{"city": "Ostia"}' } };
  const messages = [
    ...PROMPT,
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "warm" },
  ];
  assert((await client.chat.completions.create({ ...SHORT, messages, tools })).id);
});

const verdict = { ...SHORT, max_tokens: 128, response_format: zodResponseFormat(VERDICT, "verdict") };

check("chat.json_schema", async () => {
  const answer = await client.chat.completions.parse(verdict);
  VERDICT.parse(answer.choices[0].message.parsed);
});

check("chat.json_schema_stream", async () => {
  const answer = await client.chat.completions.stream(verdict).finalChatCompletion();
  VERDICT.parse(answer.choices[0].message.parsed);
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
  const answer = await client.responses.create(ANSWER);
  assert.equal(typeof answer.output_text, "string");
  assert(answer.usage.output_tokens > 0);
});

check("responses.stream", async () => {
  const types = (await collect(await client.responses.create({ ...ANSWER, stream: true }))).map((e) => e.type);
  assert.equal(types[0], "response.created");
  assert(["response.completed", "response.incomplete"].includes(types.at(-1)), types.at(-1));
});

const assertAnswerCall = (answer) => {
  const call = answer.output.find((item) => item.type === "function_call");
  assertCall({ id: call.call_id, ...call });
};

check("responses.tools_required", async () => assertAnswerCall(await client.responses.create(ANSWER_FORCED)));

check("responses.tools_required_stream", async () =>
  assertAnswerCall(await client.responses.stream(ANSWER_FORCED).finalResponse()));

const answerVerdict = { ...ANSWER, max_output_tokens: 128, text: { format: zodTextFormat(VERDICT, "verdict") } };

check("responses.json_schema", async () =>
  VERDICT.parse((await client.responses.parse(answerVerdict)).output_parsed));

check("responses.json_schema_stream", async () =>
  VERDICT.parse((await client.responses.stream(answerVerdict).finalResponse()).output_parsed));

check("errors.bad_key", async () => {
  for (const stream of [false, true]) {
    await rejects(OpenAI.AuthenticationError, () => stranger.chat.completions.create({ ...SHORT, stream }));
  }
});

check("errors.unknown_model", async () => {
  const model = "no-such-model";
  const calls = [
    () => client.chat.completions.create({ ...SHORT, model }),
    () => client.chat.completions.create({ ...SHORT, model, stream: true }),
    () => client.responses.create({ ...ANSWER, model, stream: true }),
    () => embedder.embeddings.create({ model, input: "one" }),
    () => client.models.retrieve(model),
  ];
  for (const call of calls) assert.equal((await rejects(OpenAI.NotFoundError, call)).code, "model_not_found");
});

check("errors.bad_params", () =>
  rejects(OpenAI.BadRequestError, () => client.chat.completions.create({ ...SHORT, messages: [] })));

check("faults.statuses", async () => {
  for (const stream of [false, true]) {
    const fault = (kind, model) => rejects(kind, () => client.chat.completions.create({ ...SHORT, model, stream }));
    assert.equal((await fault(OpenAI.BadRequestError, "demo-error-400")).code, "context_length_exceeded");
    assert(Number((await fault(OpenAI.RateLimitError, "demo-rate-limited")).headers.get("retry-after")) > 0);
    assert.equal((await fault(OpenAI.InternalServerError, "demo-error-500")).status, 502);
    assert.equal((await fault(OpenAI.InternalServerError, "demo-error-503")).status, 503);
  }
});

check("faults.broken_stream", async () => {
  for (const model of ["demo-broken-stream", "demo-error-in-stream"]) {
    const chunks = [];
    const error = await rejects(OpenAI.APIError, async () => {
      const stream = await client.chat.completions.create({ ...SHORT, max_tokens: 100, model, stream: true });
      for await (const chunk of stream) chunks.push(chunk);
    });
    assert(chunks.length > 0 && error.message);
  }
});

check("faults.halting", async () => {
  const call = { ...SHORT, max_tokens: 100, model: "demo-halting", stream: true };
  const chunks = await collect(await client.chat.completions.create(call));
  assert(chunks.findLast((chunk) => chunk.choices.length).choices[0].finish_reason);
});

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
