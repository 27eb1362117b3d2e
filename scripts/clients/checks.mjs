// What the Node client checks share; checks.py says the same for Python and why.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { z } from "zod";

const trimmed = (url) => url.replace(/\/+$/, "");
export const BASE_URL = trimmed(process.env.BASE_URL); // with /v1
export const ROOT_URL = BASE_URL.replace(/\/v1$/, ""); // for clients that add /v1 themselves
export const API_KEY = process.env.API_KEY;
export const MODEL = process.env.MODEL;
export const EMBED_MODEL = process.env.EMBED_MODEL ?? MODEL;
export const EMBED_BASE_URL = trimmed(process.env.EMBED_BASE_URL ?? BASE_URL);
const SKIP = new Set((process.env.SKIP ?? "").split(/[\s,]+/));

export const TEXT = "What is the weather in the harbour?";
export const PROMPT = [{ role: "user", content: TEXT }];
export const WEATHER_PARAMETERS = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const WEATHER_TOOL = {
  type: "function",
  function: { name: "get_weather", parameters: WEATHER_PARAMETERS, strict: true },
};
export const VERDICT_SCHEMA = {
  type: "object",
  properties: { colour: { type: "string", enum: ["red", "green", "blue"] }, certain: { type: "boolean" } },
  required: ["colour", "certain"],
  additionalProperties: false,
};
export const VERDICT = z.object({ colour: z.enum(["red", "green", "blue"]), certain: z.boolean() });

const checks = [];
export const check = (name, run) => checks.push([name, run]);

// The error that `call` must reject with; any other error is the check's failure.
export async function rejects(kind, call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`no ${kind.name}`);
}

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

// `one(n)` for n in 0..count at once; each answers with its id, and no two may be equal.
export async function distinctIds(count, one) {
  const ids = await Promise.all(Array.from({ length: count }, (_, n) => one(n)));
  const distinct = new Set(ids.filter(Boolean)).size;
  if (distinct !== count) throw new Error(`${distinct} distinct ids of ${count}`);
}

function version(name) {
  // Not every package exports its package.json, so it is looked for beside the modules.
  const paths = createRequire(import.meta.url).resolve.paths(name);
  for (const path of paths) {
    try {
      return JSON.parse(readFileSync(`${path}/${name}/package.json`)).version;
    } catch {
      continue;
    }
  }
  return "unknown";
}

// Without a timer, Node would end silently when only a promise that never settles is left.
function settled(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("not settled after 100 s")), 100_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function run(name) {
  console.log(`# ${name} ${version(name)}`);
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [check, call] of checks) {
    if (SKIP.has(check) || SKIP.has(check.split(".")[0])) {
      skipped += 1;
      console.log(`skip ${check}`);
      continue;
    }
    try {
      await settled(call());
      passed += 1;
      console.log(`ok ${check}`);
    } catch (error) {
      failed += 1;
      const why = `${error?.name}: ${error?.message}`.replace(/\s+/g, " ");
      console.log(`FAIL ${check}: ${why.slice(0, 300)}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(passed && !failed ? 0 : 1);
}
