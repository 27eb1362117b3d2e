// The Anthropic Node client on /v1/messages.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import {
  API_KEY, MODEL, PROMPT, ROOT_URL, VERDICT, VERDICT_SCHEMA, WEATHER_PARAMETERS,
  check, collect, distinctIds, rejects, run,
} from "./checks.mjs";

const options = { baseURL: ROOT_URL, maxRetries: 0, timeout: 60_000 };
const client = new Anthropic({ apiKey: API_KEY, ...options });
const SHORT = { model: MODEL, max_tokens: 16, messages: PROMPT };
const tools = [{ name: "get_weather", input_schema: WEATHER_PARAMETERS, strict: true }];
const FORCED = { ...SHORT, max_tokens: 1024, tools, tool_choice: { type: "tool", name: "get_weather" } };
const JSON_OUT = {
  ...SHORT, max_tokens: 128, output_config: { format: { type: "json_schema", schema: VERDICT_SCHEMA } },
};

function assertMessage(message) {
  assert.equal(message.type, "message");
  assert(["end_turn", "max_tokens", "tool_use"].includes(message.stop_reason), message.stop_reason);
  assert(message.usage.output_tokens > 0);
}

check("messages.plain", async () => assertMessage(await client.messages.create(SHORT)));

check("messages.auth_token", async () => {
  const bearer = new Anthropic({ authToken: API_KEY, apiKey: null, ...options });
  assertMessage(await bearer.messages.create(SHORT));
});

check("messages.x_api_key", async () => {
  // What the client sent before version 1.
  const defaultHeaders = { "x-api-key": API_KEY, authorization: null };
  const old = new Anthropic({ apiKey: API_KEY, defaultHeaders, ...options });
  assertMessage(await old.messages.create(SHORT));
});

check("messages.stream", async () => assertMessage(await client.messages.stream(SHORT).finalMessage()));

check("messages.tools", async () => assertMessage(await client.messages.create({ ...SHORT, tools })));

check("messages.tools_stream", async () =>
  assertMessage(await client.messages.stream({ ...SHORT, max_tokens: 64, tools }).finalMessage()));

function assertCall(message) {
  const call = message.content.find((block) => block.type === "tool_use");
  assert.equal(message.stop_reason, "tool_use");
  assert.equal(call.name, "get_weather");
  assert.deepEqual(Object.keys(call.input), ["city"]);
}

check("messages.tools_forced", async () => assertCall(await client.messages.create(FORCED)));

check("messages.tools_forced_stream", async () =>
  assertCall(await client.messages.stream(FORCED).finalMessage()));

check("messages.tool_result", async () => {
  const messages = [
    ...PROMPT,
    { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "get_weather", input: { city: "Ostia" } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: "warm" }] },
  ];
  assertMessage(await client.messages.create({ ...SHORT, messages, tools }));
});

check("messages.json_schema", async () =>
  VERDICT.parse(JSON.parse((await client.messages.create(JSON_OUT)).content[0].text)));

check("messages.json_schema_stream", async () =>
  VERDICT.parse(JSON.parse(await client.messages.stream(JSON_OUT).finalText())));

check("messages.count_tokens", async () => {
  const { input_tokens } = await client.messages.countTokens({ model: MODEL, messages: PROMPT });
  assert(input_tokens > 0);
});

check("models.list", async () => {
  const ids = (await collect(client.models.list())).map((model) => model.id);
  assert(ids.includes(MODEL), `${ids}`);
});

async function failsWith(kind, word, request, by = client) {
  for (const stream of [false, true]) {
    const { error } = await rejects(kind, () => by.messages.create({ ...SHORT, ...request, stream }));
    assert.equal(error.type, "error");
    assert.equal(error.error.type, word);
  }
}

check("errors.bad_key", () => {
  const stranger = new Anthropic({ apiKey: "sk-not-a-key", ...options });
  return failsWith(Anthropic.AuthenticationError, "authentication_error", {}, stranger);
});

check("errors.unknown_model", () =>
  failsWith(Anthropic.NotFoundError, "not_found_error", { model: "no-such-model" }));

check("errors.bad_params", async () => {
  const body = { ...SHORT, stream: "yes" };
  const { error } = await rejects(Anthropic.BadRequestError, () => client.post("/v1/messages", { body }));
  assert.equal(error.error.type, "invalid_request_error");
});

check("faults.statuses", async () => {
  await failsWith(Anthropic.BadRequestError, "invalid_request_error", { model: "demo-error-400" });
  await failsWith(Anthropic.RateLimitError, "rate_limit_error", { model: "demo-rate-limited" });
  await failsWith(Anthropic.InternalServerError, "api_error", { model: "demo-error-500" });
  await failsWith(Anthropic.InternalServerError, "overloaded_error", { model: "demo-error-503" });
});

check("faults.broken_stream", async () => {
  for (const model of ["demo-broken-stream", "demo-error-in-stream"]) {
    const events = [];
    await rejects(Anthropic.APIError, async () => {
      const stream = await client.messages.create({ ...SHORT, max_tokens: 100, model, stream: true });
      for await (const event of stream) events.push(event);
    });
    assert(events.length > 0 && events.at(-1).type !== "message_stop");
  }
});

check("faults.halting", async () => {
  const message = await client.messages.stream({ ...SHORT, max_tokens: 100, model: "demo-halting" }).finalMessage();
  assert(message.stop_reason);
});

check("parallel.50", () =>
  distinctIds(50, async (n) => {
    const message = n % 2 ? await client.messages.stream(SHORT).finalMessage() : await client.messages.create(SHORT);
    assertMessage(message);
    return message.id;
  }));

await run("@anthropic-ai/sdk");
