// What `fulmar gen ts` writes for the routes of a configuration, under the real compiler:
//   node types/configured.mjs path/to/fulmar
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { badCallersDoNot, goodCallersCompile, makeFolder } from "./compiler.mjs";

const [fulmar] = process.argv.slice(2);
assert(fulmar, "which binary? node types/configured.mjs path/to/fulmar");
const configuration = join(dirname(fileURLToPath(import.meta.url)), "configured/fulmar.toml");
const folder = makeFolder();
try {
  const generate = ["gen", "ts", "--config", configuration, "--out", folder];
  execFileSync(fulmar, generate, { stdio: ["ignore", "ignore", "inherit"], timeout: 60_000 });
  goodCallersCompile(folder, "configured");
  console.log(`configured: ${1 + badCallersDoNot(folder, "configured")} steps passed`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
