// Fails when the package, bundled and minified, is larger than its budgets: the core, which is all that a page needs to
// stream, and everything that `headwater` exports.
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const CORE = "createClient, HeadwaterError, errorFrom, applyEvent, emptyAnswer, createParser, ParseError";
const BUDGETS = [
  ["core", `export { ${CORE} } from "./index.ts"`, 6 * 1024],
  ["everything", 'export * from "./index.ts"', 6.5 * 1024],
];

for (const [name, contents, budget] of BUDGETS) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL("../src", import.meta.url)) },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes of ${budget} (minified, gzip)`);
  if (bytes > budget) process.exitCode = 1;
}
