// Events through the server by the CloudEvents package of npm: `write` appends every case in each mode,
// `check LANGUAGE` reads in each mode what `LANGUAGE` wrote in each mode, and compares.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CloudEvent, HTTP } from "cloudevents";

const CASES = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf8"));
const BATCH = "application/cloudevents-batch+json";
const EVENT = "application/cloudevents+json";
const MODES = ["binary", "structured", "batch"];
const url = process.env.HBUF_URL;

function attributes({ name, json, text, base64, ...given }) {
  return { specversion: "1.0", ...given };
}

function payload(of) {
  if (of.base64 !== undefined) return new Uint8Array(Buffer.from(of.base64, "base64"));
  return of.json ?? of.text;
}

async function append(mode, headers, body) {
  const reply = await fetch(`${url}/buffers/javascript-${mode}`, { method: "POST", headers, body });
  assert.equal(reply.status, 201, await reply.text());
}

async function write() {
  const events = CASES.map((of) => new CloudEvent({ ...attributes(of), data: payload(of) }));
  for (const event of events) {
    const binary = HTTP.binary(event);
    await append("binary", encoded(binary.headers), binary.body);
    const structured = HTTP.structured(event);
    await append("structured", structured.headers, structured.body);
  }
  const all = events.map((event) => HTTP.structured(event).body);
  await append("batch", { "content-type": BATCH }, `[${all}]`);
}

// The package leaves the percent-encoding of the HTTP binding to whoever calls it, both ways.
function encoded(headers) {
  const encode = (text) => encodeURIComponent(text);
  const value = ([name, value]) =>
    [name, name.startsWith("ce-") ? String(value).replace(/[^!#$&-~]/gu, encode) : value];
  return Object.fromEntries(Object.entries(headers).map(value));
}

function decoded(headers) {
  const value = ([name, value]) => [name, name.startsWith("ce-") ? decodeURIComponent(value) : value];
  return Object.fromEntries([...headers].map(value));
}

async function read(buffer, mode) {
  if (mode === "batch") {
    const reply = await fetch(`${url}/buffers/${buffer}/messages`, { headers: { accept: BATCH } });
    const headers = Object.fromEntries(reply.headers);
    return HTTP.toEvent({ headers, body: await reply.text() });
  }
  const events = [];
  for (let seq = 1; seq <= CASES.length; seq += 1) {
    const accept = mode === "structured" ? { accept: EVENT } : {};
    const reply = await fetch(`${url}/buffers/${buffer}/messages/${seq}`, { headers: accept });
    assert.equal(reply.status, 200);
    const type = reply.headers.get("content-type") ?? "";
    const bytes = type.startsWith("application/octet-stream");
    const body = bytes ? new Uint8Array(await reply.arrayBuffer()) : await reply.text();
    const headers = mode === "structured" ? Object.fromEntries(reply.headers) : decoded(reply.headers);
    events.push(HTTP.toEvent({ headers, body }));
  }
  return events;
}

async function check(language) {
  let count = 0;
  for (const written of MODES) {
    for (const mode of MODES) {
      const events = await read(`${language}-${written}`, mode);
      assert.equal(events.length, CASES.length, `${language} ${written} ${mode}`);
      const typed = written !== "binary" && mode !== "binary";
      CASES.forEach((of, at) => {
        compare(of, events[at], typed, `${language} ${written}, read ${mode}: ${of.name}`);
        count += 1;
      });
    }
  }
  return count;
}

function compare(of, event, typed, where) {
  const found = event.toJSON();
  const { data, data_base64, datacontenttype, ...rest } = found;
  const others = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const { datacontenttype: type, ...expected } = attributes(of);
  for (const [name, value] of Object.entries(expected)) {
    // Headers are strings, whatever they stand for.
    if (!typed) expected[name] = String(value);
  }
  assert.deepEqual(others, expected, where);
  // The package sends events without data as JSON.
  if (type !== undefined) assert.equal(datacontenttype, type, where);
  if (of.base64 !== undefined) {
    assert.deepEqual([...new Uint8Array(event.data)], [...payload(of)], where);
  } else {
    assert.deepEqual(parsed(data, datacontenttype), payload(of), where);
  }
}

// It takes JSON apart under the usual name of its type only.
function parsed(data, type) {
  if (data === "" || data === null) return undefined;
  return typeof data === "string" && type?.endsWith("+json") ? JSON.parse(data) : data;
}

const [, , task, language] = process.argv;
if (task === "write") {
  await write();
} else {
  console.log(`javascript read ${await check(language)} events that ${language} wrote`);
}
