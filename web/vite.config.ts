import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Where `npm run dev` sends what is not the page: a running `headwater serve`. */
const server = process.env["HEADWATER_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
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
