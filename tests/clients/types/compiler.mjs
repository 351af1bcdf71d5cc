// The real compiler over callers of generated routes. The client is a stub: what its types are made
// of are the routes alone.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { resolve } = createRequire(import.meta.url);
const compiler = join(dirname(resolve("typescript/package.json")), "bin/tsc");

/** A folder for modules, with what they import. */
export function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), "fulmar-types-"));
  writeStub(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  return folder;
}

/** The least that both the compiler and node want of the client. */
function writeStub(folder) {
  const client = join(folder, "node_modules/@alien-rpc/client");
  mkdirSync(join(client, "protocols"), { recursive: true });
  writeFileSync(join(client, "package.json"), JSON.stringify({
    name: "@alien-rpc/client",
    type: "module",
    exports: { "./protocols/websocket": "./protocols/websocket.js" },
  }));
  writeFileSync(join(client, "protocols/websocket.js"), `export default { name: "ws" };\n`);
  writeFileSync(
    join(client, "protocols/websocket.d.ts"),
    "declare const protocol: { name: \"ws\" };\nexport default protocol;\n",
  );
}

/** Runs the compiler over files of a folder; what it complains of, by code and place. */
function compile(where, files) {
  writeFileSync(join(where, "tsconfig.json"), JSON.stringify({
    compilerOptions: {
      strict: true,
      noEmit: true,
      target: "es2022",
      module: "nodenext",
      lib: ["es2022", "dom", "dom.asynciterable"],
      types: [],
      skipLibCheck: false, // the declarations are what is under test
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      isolatedModules: true,
    },
    files,
  }));
  const run = spawnSync(process.execPath, [compiler, "--project", where, "--pretty", "false"], {
    encoding: "utf8",
    timeout: 120_000,
  });
  assert.ifError(run.error);
  const complaints = run.stdout.split("\n").filter(line => /error TS\d+/.test(line));
  assert.equal(run.status === 0, complaints.length === 0, run.stdout + run.stderr);
  return complaints;
}

/** Whether what callers may do compiles in a folder; `callers` has `good.ts` and `bad`. */
export function goodCallersCompile(where, callers) {
  cpSync(join(here, callers, "good.ts"), join(where, "good.ts"));
  assert.deepEqual(compile(where, ["good.ts"]), []);
}

/** Whether each of what they may not do is refused, for its own reason; how many there are. */
export function badCallersDoNot(where, callers) {
  const bad = join(here, callers, "bad");
  const names = readdirSync(bad).sort();
  for (const name of names) cpSync(join(bad, name), join(where, name));
  const complaints = compile(where, names);
  for (const name of names) {
    const text = readFileSync(join(bad, name), "utf8");
    const [, expected] = /^\/\/ expect: (TS\d+)$/m.exec(text);
    const own = complaints.filter(line => line.includes(`${name}(`));
    assert.equal(own.length, 1, `${name}: ${own.join("\n") || "compiles"}`);
    assert.match(own[0], new RegExp(`error ${expected}:`), name);
  }
  assert.equal(complaints.length, names.length, complaints.join("\n"));
  return names.length;
}
