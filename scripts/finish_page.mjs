// The last step of a build: `node finish_page.mjs DIRECTORY`.
// Removes fonts that no browser asks for which can run the page, and writes `.br` and `.gz` beside each file that gets
// smaller by it; the server passes them on as they are. Neither format holds a time, so a build is reproducible.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const SMALLEST = 512; // below that the headers cost what is won
const OLD_FONTS = /\.(ttf|woff|eot)$/; // each is there as .woff2, too, which a style names first
const TEXT = /\.(html|js|css|svg|json|webmanifest)$/;

const compressed = (content) => ({
  br: brotliCompressSync(content, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  }),
  gz: gzipSync(content, { level: constants.Z_BEST_COMPRESSION }),
});

const files = (directory) =>
  readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });

const [directory] = process.argv.slice(2);
const built = files(directory);
for (const path of built) {
  if (OLD_FONTS.test(path) && built.some((other) => other.endsWith(".woff2") && stem(other) === stem(path))) {
    rmSync(path);
  } else if (TEXT.test(path)) {
    const content = readFileSync(path);
    if (content.length < SMALLEST) continue;
    for (const [suffix, smaller] of Object.entries(compressed(content))) {
      if (smaller.length < content.length * 0.95) writeFileSync(`${path}.${suffix}`, smaller);
    }
  }
}

/** A font's name without the hash of its content, which each format has its own of. */
function stem(path) {
  return path.replace(/-[\w-]{8}\.\w+$/, "");
}
