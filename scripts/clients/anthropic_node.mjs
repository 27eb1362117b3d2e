// The Anthropic Node client on /v1/messages.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import {
  API_KEY, MODEL, PROMPT, ROOT_URL, WEATHER_PARAMETERS, check, distinctIds, rejects, run,
} from "./checks.mjs";

const options = { baseURL: ROOT_URL, maxRetries: 0, timeout: 60_000 };
const client = new Anthropic({ apiKey: API_KEY, ...options });
const SHORT = { model: MODEL, max_tokens: 16, messages: PROMPT };
const tools = [{ name: "get_weather", input_schema: WEATHER_PARAMETERS }];

function assertMessage(message) {
  assert.equal(message.type, "message");
  assert(["end_turn", "max_tokens", "tool_use"].includes(message.stop_reason), message.stop_reason);
  assert(message.usage.output_tokens > 0);
}

check("messages.plain", async () => assertMessage(await client.messages.create(SHORT)));

check("messages.bearer", async () => {
  const bearer = new Anthropic({ authToken: API_KEY, apiKey: null, ...options });
  assertMessage(await bearer.messages.create(SHORT));
});

check("messages.stream", async () => assertMessage(await client.messages.stream(SHORT).finalMessage()));

check("messages.tools", async () => assertMessage(await client.messages.create({ ...SHORT, tools })));

check("messages.count_tokens", async () => {
  const { input_tokens } = await client.messages.countTokens({ model: MODEL, messages: PROMPT });
  assert(input_tokens > 0);
});

check("errors.bad_key", () => {
  const stranger = new Anthropic({ apiKey: "sk-not-a-key", ...options });
  return rejects(Anthropic.AuthenticationError, () => stranger.messages.create(SHORT));
});

check("errors.unknown_model", () =>
  rejects(Anthropic.NotFoundError, () => client.messages.create({ ...SHORT, model: "no-such-model" })));

check("parallel.50", () =>
  distinctIds(50, async (n) => {
    const message = n % 2 ? await client.messages.stream(SHORT).finalMessage() : await client.messages.create(SHORT);
    assertMessage(message);
    return message.id;
  }));

await run("@anthropic-ai/sdk");
