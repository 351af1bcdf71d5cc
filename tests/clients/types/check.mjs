// What Fulmar writes for TypeScript, under the real compiler and in node:
//   node types/check.mjs path/to/program [arguments...]
// The program is called with a folder behind its arguments and writes there what the example
// `chat` writes with `--types`. The client is a stub here: what its types are made of are the routes alone.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [program, ...programArguments] = process.argv.slice(2);
assert(program, "which program? node types/check.mjs path/to/program");
const { resolve } = createRequire(import.meta.url);
const compiler = join(dirname(resolve("typescript/package.json")), "bin/tsc");
const folder = mkdtempSync(join(tmpdir(), "fulmar-types-"));

/** The least that both the compiler and node want of the client. */
function writeStub() {
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

function goodCallersCompile(where) {
  cpSync(join(here, "good.ts"), join(where, "good.ts"));
  assert.deepEqual(compile(where, ["good.ts"]), []);
}

function badCallersDoNot(where) {
  const names = readdirSync(join(here, "bad")).sort();
  for (const name of names) cpSync(join(here, "bad", name), join(where, name));
  const complaints = compile(where, names);
  for (const name of names) {
    const text = readFileSync(join(here, "bad", name), "utf8");
    const [, expected] = /^\/\/ expect: (TS\d+)$/m.exec(text);
    const own = complaints.filter(line => line.includes(`${name}(`));
    assert.equal(own.length, 1, `${name}: ${own.join("\n") || "compiles"}`);
    assert.match(own[0], new RegExp(`error ${expected}:`), name);
  }
  assert.equal(complaints.length, names.length, complaints.join("\n"));
  return names.length;
}

async function routesLoad() {
  const { default: routes, admin } = await import(pathToFileURL(join(folder, "routes.js")).href);
  const patterns = object => Object.fromEntries(
    Object.entries(object).map(([name, route]) => {
      if (!("protocol" in route)) return [name, patterns(route)];
      assert.deepEqual(Object.keys(route), ["protocol", "pattern"]);
      assert.equal(route.protocol.name, "ws");
      return [name, route.pattern];
    }),
  );
  assert.deepEqual(patterns(routes), {
    add: "r", admin: { stats: "r" }, send: "r", sum: "r", typing: "n", watch: "s",
  });
  assert.equal(admin, routes.admin);
}

function schemasAreThere() {
  const schemas = JSON.parse(readFileSync(join(folder, "routes.json"), "utf8"));
  assert.equal(schemas.$schema, "https://json-schema.org/draft/2020-12/schema");
  assert.deepEqual(schemas.routes.add, {
    description: "Adds two numbers.",
    pattern: "r",
    params: {
      type: "array",
      minItems: 2,
      maxItems: 2,
      prefixItems: [
        { type: "number", format: "double", title: "a" },
        { type: "number", format: "double", title: "b" },
      ],
    },
    result: { type: "number", format: "double" },
  });
  const references = JSON.stringify(schemas).match(/"#\/\$defs\/\w+"/g);
  for (const reference of references) {
    assert(schemas.$defs[JSON.parse(reference).slice("#/$defs/".length)], reference);
  }
}

try {
  execFileSync(program, [...programArguments, folder], { stdio: "inherit", timeout: 60_000 });
  writeStub();
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  goodCallersCompile(folder);
  const refused = badCallersDoNot(folder);
  // The same from the source, with nothing but the source there.
  const source = join(folder, "source");
  goodCallersCompile(source);
  assert.equal(badCallersDoNot(source), refused);
  await routesLoad();
  schemasAreThere();
  console.log(`types: good callers compile, ${refused} bad ones do not, routes load`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
