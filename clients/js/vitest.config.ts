import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.{ts,tsx}"],
    unstubGlobals: true,
    restoreMocks: true,
    // A hang guard for tests with a real server, not a measurement.
    testTimeout: 60_000,
    coverage: {
      provider: "v8",
      reporter: ["text"],
      reportsDirectory: ".coverage-v8",
      include: ["src/**"],
      exclude: ["src/**/index.ts", "src/events.ts", "src/types.ts"],
      thresholds: { branches: 95, lines: 95, functions: 95 },
    },
  },
});
