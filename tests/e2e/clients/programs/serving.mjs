// What serving.py is for programs in Python: the same lines in, the same lines out.

import { createInterface } from "node:readline";

const ENOUGH = 3;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const server = process.env.CLIENT_SERVER;

const say = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");

function classes(error) {
  const names = [error?.name];
  for (let type = error?.constructor; type?.name; type = Object.getPrototypeOf(type)) names.push(type.name);
  return names;
}

async function tell(talk, leave) {
  let pieces = 0;
  for await (const said of talk) {
    if (typeof said !== "string") return say({ end: said });
    say({ said });
    if (said) pieces += 1;
    if (leave && pieces >= ENOUGH) {
      say({ waiting: true });
      await lines.next();
      break; // closes the talk
    }
  }
  say({ end: {} });
}

/** Answer questions until stdin ends; plain and stream are async generators of texts and, at last, an object. */
export async function serve(plain, stream) {
  say({ ready: true });
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const question = JSON.parse(line.value);
    try {
      await tell((question.how === "plain" ? plain : stream)(question), question.how === "leave");
    } catch (error) {
      const status = error?.status ?? error?.statusCode ?? 0;
      say({ error: { classes: classes(error), status, message: String(error?.message ?? error) } });
    }
  }
}
