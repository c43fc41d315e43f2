// The Vercel AI SDK, with its provider for what is compatible with OpenAI, or the one for Anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { serve, server } from "./serving.mjs";

const providers = {
  openai: (apiKey) =>
    createOpenAICompatible({ name: "clinvk", baseURL: `${server}/openai/v1`, apiKey, includeUsage: true }),
  anthropic: (apiKey) => createAnthropic({ baseURL: `${server}/anthropic/v1`, apiKey }),
};
const provider = providers[process.argv[2]];

const request = ({ key, model, system, text }) => ({
  model: provider(key)(model),
  system,
  prompt: text,
  maxOutputTokens: 4096, // what it would assume for a model that it does not know, with a warning on stdout
  maxRetries: 0, // it does not read x-should-retry: it would run a failed task twice again
});

const end = (stop, usage) => ({ stop, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens });

async function* plain(question) {
  const answer = await generateText(request(question));
  yield answer.text;
  yield end(answer.finishReason, answer.usage);
}

async function* stream(question) {
  const gone = new AbortController();
  try {
    const answer = streamText({ ...request(question), abortSignal: gone.signal, onError() {} });
    for await (const part of answer.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") yield part.text;
    }
    yield end(await answer.finishReason, await answer.usage);
  } finally {
    gone.abort();
  }
}

await serve(plain, stream);
