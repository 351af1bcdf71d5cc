// What the node scripts share: the server's address, deadlines, and a result that a shell can read.

/** The address of the server under test, such as `127.0.0.1:9000`. */
export const address = process.argv[2];

/** Rejects when `promise` takes longer than `milliseconds`; `what` names it in the error. */
export function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs named steps in order; exits with 1 at the first that fails. */
export async function main(name, steps) {
  if (!address) {
    console.error(`usage: node ${name}.mjs host:port`);
    process.exit(2);
  }
  for (const [what, step] of Object.entries(steps)) {
    try {
      await within(60_000, what, step());
    } catch (error) {
      console.error(`${name}: FAILED: ${what}\n${error.stack ?? error}`);
      process.exit(1);
    }
  }
  console.log(`${name}: ${Object.keys(steps).length} steps passed`);
  process.exit(0);
}
