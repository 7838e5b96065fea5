import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Where `npm run dev` sends what is not the page: a running `headwater serve`. */
const server = process.env["HEADWATER_URL"] ?? "http://127.0.0.1:8000";

/**
 * The program is begun by `boot.ts` once the shell is drawn, and fetched meanwhile. `blocking`: nothing is drawn in the
 * wrong colours before `boot.ts` has run; browsers that do not know it may, for a moment.
 */
const fetchedFromTheStart: Plugin = {
  name: "headwater:boot",
  transformIndexHtml: {
    order: "post",
    handler(html, { bundle, chunk, path }) {
      if (!bundle || !chunk || path !== "/index.html") return html;
      const wanted = new Set<string>();
      const want = (name: string): void => {
        const found = bundle[name];
        if (found?.type !== "chunk" || wanted.has(name) || found === chunk || chunk.imports.includes(name)) return;
        wanted.add(name);
        found.imports.forEach(want);
      };
      chunk.dynamicImports.forEach(want);
      return {
        html: html.replace('<script type="module"', '<script type="module" blocking="render"'),
        tags: [...wanted].map((name) => ({
          tag: "link",
          attrs: { rel: "modulepreload", crossorigin: true, href: `./${name}` },
          injectTo: "head",
        })),
      };
    },
  },
};

export default defineConfig({
  plugins: [react(), fetchedFromTheStart],
  // Relative addresses: the server may be mounted below a path.
  base: "./",
  resolve: {
    // The client's sources, so that no build has to come before this one.
    alias: [
      { find: /^headwater\/react$/, replacement: at("../clients/js/src/react/index.ts") },
      { find: /^headwater$/, replacement: at("../clients/js/src/index.ts") },
    ],
  },
  build: {
    outDir: at("../src/headwater/server/page_files"),
    emptyOutDir: true,
    target: "es2022",
    // The policy of the page allows no data: scripts or styles; files are cached for ever by their hashed names.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { index: at("index.html"), dashboard: at("dashboard.html") } },
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/health", "/ready", "/api-docs", "/openapi.json"].map((path) => [path, server])),
  },
  test: {
    environment: "happy-dom",
    setupFiles: [at("test/setup.ts")],
    include: ["test/**/*.test.{ts,tsx}"],
    restoreMocks: true,
  },
});
