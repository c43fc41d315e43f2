// The official OpenAI library for JavaScript.

import OpenAI from "openai";
import { serve, server } from "./serving.mjs";

const client = (key) => new OpenAI({ baseURL: `${server}/openai/v1`, apiKey: key });

const request = ({ model, system, text }) => ({
  model,
  messages: [
    { role: "system", content: system },
    { role: "user", content: text },
  ],
});

const end = (stop, usage, request_id) => ({
  stop,
  input_tokens: usage.prompt_tokens,
  output_tokens: usage.completion_tokens,
  request_id,
});

async function* plain(question) {
  const { data, request_id } = await client(question.key).chat.completions.create(request(question)).withResponse();
  const [choice] = data.choices;
  yield choice.message.content;
  yield end(choice.finish_reason, data.usage, request_id);
}

async function* stream(question) {
  const { data, request_id } = await client(question.key)
    .chat.completions.create({ ...request(question), stream: true, stream_options: { include_usage: true } })
    .withResponse();
  let stop, usage;
  for await (const chunk of data) {
    const choice = chunk.choices[0];
    stop = choice?.finish_reason ?? stop;
    usage = chunk.usage ?? usage;
    yield choice?.delta.content ?? "";
  }
  yield end(stop, usage, request_id);
}

await serve(plain, stream);
