// Anthropic's JavaScript SDK: `node anthropic.mjs FOLDER URL TOKEN MODEL SCENARIO` prints what came as JSON. FOLDER is where
// its packages are.
import { createRequire } from "node:module";

const [folder, baseURL, apiKey, model, scenario] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const Anthropic = require("@anthropic-ai/sdk").default;
const { betaTool } = require("@anthropic-ai/sdk/helpers/beta/json-schema");

const client = new Anthropic({ baseURL, apiKey, maxRetries: 0, timeout: 15_000 });
const max_tokens = 2000;
const hello = [{ role: "user", content: "Hello" }];
const errands =
  'call get_weather {"city":"Oslo"} and call get_time {"city":"Oslo"}, ' +
  'then call get_weather {"city":"Rome"}, then call get_time {"city":"Rome"}';
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const names = ["get_weather", "get_time"];
const textOf = (message) => message.content.map((block) => block.text ?? "").join("");
const runErrand = (name, city) => `${name} ${city}: fine`;

async function ask(streamed, body) {
  return streamed ? client.messages.stream(body).finalMessage() : client.messages.create(body);
}

async function loop(streamed) {
  const tools = names.map((name) => ({ name, description: name, input_schema }));
  const messages = [{ role: "user", content: errands }];
  const steps = [];
  for (;;) {
    const message = await ask(streamed, { model, max_tokens, messages, tools });
    const calls = message.content.filter((block) => block.type === "tool_use");
    steps.push(calls.map((call) => [call.name, call.input.city]));
    if (calls.length === 0) return { steps, text: textOf(message), stop_reason: message.stop_reason };
    messages.push({ role: "assistant", content: message.content });
    const results = calls.map(({ id, name, input }) => ({
      type: "tool_result",
      tool_use_id: id,
      content: runErrand(name, input.city),
    }));
    messages.push({ role: "user", content: results });
  }
}

async function runner(stream) {
  const ran = [];
  const tools = names.map((name) =>
    betaTool({
      name,
      description: name,
      inputSchema: input_schema,
      run: ({ city }) => {
        ran.push([name, city]);
        return runErrand(name, city);
      },
    }),
  );
  const messages = [{ role: "user", content: errands }];
  const last = await client.beta.messages.toolRunner({ model, max_tokens, messages, tools, stream }).runUntilDone();
  return { ran, text: textOf(last) };
}

const scenarios = {
  async whole() {
    const message = await ask(false, { model, max_tokens, messages: hello });
    const counted = await client.messages.countTokens({ model, messages: hello });
    const models = [];
    for await (const listed of client.models.list()) models.push(listed.id);
    return { model: message.model, text: textOf(message), usage: message.usage, counted, models };
  },
  async stream() {
    const pieces = [];
    const stream = client.messages.stream({ model, max_tokens, messages: hello });
    stream.on("text", (piece) => pieces.push(piece));
    const message = await stream.finalMessage();
    return { model: message.model, text: textOf(message), pieces, stop_reason: message.stop_reason };
  },
  loop: () => loop(false),
  loop_streamed: () => loop(true),
  runner: () => runner(false),
  runner_streamed: () => runner(true),
  async failing() {
    const pieces = [];
    try {
      const stream = client.messages.stream({ model, max_tokens, messages: hello });
      stream.on("text", (piece) => pieces.push(piece));
      await stream.finalMessage();
      return { pieces };
    } catch (error) {
      return { pieces, error: error.constructor.name, type: error.type, message: error.message };
    }
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
