// The whole suite against the server that `cargo xtask streams` has started. Its own command line does
// not find its tests with the runner that it brings along, so they are called from here.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({
  baseUrl: process.env.STREAMS_URL,
  subscriptions: true,
  longPollTimeoutMs: Number(process.env.STREAMS_WAIT_MS),
});
