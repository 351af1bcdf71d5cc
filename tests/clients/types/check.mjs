// What Fulmar writes for TypeScript, under the real compiler and in node:
//   node types/check.mjs path/to/program [arguments...]
// The program is called with a folder behind its arguments and writes there what the example
// `chat` writes with `--types`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { badCallersDoNot, goodCallersCompile, makeFolder } from "./compiler.mjs";

const [program, ...programArguments] = process.argv.slice(2);
assert(program, "which program? node types/check.mjs path/to/program");
const folder = makeFolder();

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
  goodCallersCompile(folder, "chat");
  const refused = badCallersDoNot(folder, "chat");
  // The same from the source, with nothing but the source there.
  const source = join(folder, "source");
  goodCallersCompile(source, "chat");
  assert.equal(badCallersDoNot(source, "chat"), refused);
  await routesLoad();
  schemasAreThere();
  console.log(`types: ${2 * (1 + refused) + 2} steps passed`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
