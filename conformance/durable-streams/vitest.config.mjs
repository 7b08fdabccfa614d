import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["suite.test.mjs"],
    // No test is tried twice, and none may pass because it was not run.
    retry: 0,
    passWithNoTests: false,
  },
});
