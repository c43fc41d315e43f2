// The official Anthropic library for JavaScript, streams by its helper.

import Anthropic from "@anthropic-ai/sdk";
import { serve, server } from "./serving.mjs";

const client = (key) => new Anthropic({ baseURL: `${server}/anthropic/v1`, apiKey: key });

const request = ({ model, system, text }) => ({
  model,
  max_tokens: 4096,
  system,
  messages: [{ role: "user", content: text }],
});

const end = (message, request_id) => ({
  stop: message.stop_reason,
  input_tokens: message.usage.input_tokens,
  output_tokens: message.usage.output_tokens,
  request_id,
});

async function* plain(question) {
  const { data, request_id } = await client(question.key).messages.create(request(question)).withResponse();
  yield data.content.map((block) => block.text ?? "").join("");
  yield end(data, request_id);
}

async function* stream(question) {
  const events = client(question.key).messages.stream(request(question));
  for await (const event of events) {
    if (event.type === "content_block_delta") yield event.delta.text ?? "";
  }
  yield end(await events.finalMessage(), events.request_id);
}

await serve(plain, stream);
