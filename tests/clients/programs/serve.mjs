// Calls from the tests: { function, arguments } on each line; { result } or { failed } comes back.
import { createInterface } from 'node:readline';

const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // the tests alone read this output

export const serve = async (functions) => {
  for await (const line of createInterface({ input: process.stdin })) {
    const { function: name, arguments: given } = JSON.parse(line);
    let outcome;
    try {
      outcome = { result: await functions[name](given) };
    } catch (error) {
      outcome = { failed: String(error.stack ?? error) };
    }
    write(`${JSON.stringify(outcome)}\n`);
  }
};

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const seen = (error) => ({ class: error.constructor.name, text: String(error.message) });

// What each click ends with: nothing, or the exception as the client's user sees it.
export const clicks = (count, pause, click) => Promise.all(Array.from({ length: count }, async (_, number) => {
  await sleep(number * pause);
  return click().then(() => ({}), (error) => ({ error: seen(error) }));
}));

export const readAll = async (stream) => {
  for await (const _ of stream) ; // a stream's run ends with it
};
