// Asks as a page of AnythingLLM does, is reloaded in mid-answer, and joins the same answer again.
// node workspace.mjs <url> <chunks before the reload>; prints {before, after, final, types} as JSON.
const [url, cut] = [process.argv[2], Number(process.argv[3])];

async function read(response, onMessage) {
  const decoder = new TextDecoder();
  let buffer = "";
  for await (const value of response.body) {
    buffer += decoder.decode(value, { stream: true });
    const messages = buffer.split("\n\n");
    buffer = messages.pop();
    for (const message of messages) {
      const fields = {};
      for (const line of message.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (fields.data && onMessage(fields.id, JSON.parse(fields.data))) return;
    }
  }
}

const told = { before: "", after: "", final: null, types: [] };
let last = null;
const leaving = new AbortController();
const first = await fetch(`${url}/workspace/default/stream-chat`, {
  method: "POST",
  body: JSON.stringify({ message: "Tell me.", attachments: [] }),
  signal: leaving.signal,
});
let chunks = 0;
await read(first, (id, frame) => {
  last = id ?? last;
  if (frame.type === "textResponseChunk") {
    told.before += frame.textResponse;
    chunks += 1;
  }
  return chunks === cut;
}).finally(() => leaving.abort());
const stream = first.headers.get("x-stream-id");
const rest = await fetch(`${url}/v1/streams/${stream}/events?dialect=workspace`, { headers: { "Last-Event-ID": last } });
await read(rest, (_, frame) => {
  told.types.push(frame.type);
  if (frame.type === "textResponseChunk") told.after += frame.textResponse;
  if (frame.type === "finalizeResponseStream") told.final = frame;
  return frame.type === "finalizeResponseStream" || frame.type === "abort";
});
console.log(JSON.stringify(told));
