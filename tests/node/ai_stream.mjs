// The hook `useAIStream` of reference 001 without React: its state, its callbacks, its buffer for incomplete chunks.
// Arguments: server's URL, JSON of `startStream`'s argument, and after how many chunks the page is reloaded (0: never).
// What a reload adds is one fetch: the stream by its `X-Stream-Id`, after the last id. Prints the state as JSON.
const [server, body, reloadAfter] = process.argv.slice(2);
const state = { text: '', isStreaming: false, error: null, isComplete: false };
const told = { chunks: [], completed: [], errors: [], status: null };
let lastId = '';
let streamId = '';

async function read(response, controller) {
  told.status = response.status;
  if (!response.ok) {
    state.error = (await response.json()).message;
    told.errors.push(state.error);
    return;
  }
  streamId = response.headers.get('x-stream-id');
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let buffer = '';
  let id = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += decoder.decode(value, { stream: true });
    const lines = buffer.split('\n');
    buffer = lines.pop();
    for (const line of lines) {
      if (line.startsWith('id: ')) id = line.slice(4);
      if (!line.startsWith('data: ')) continue;
      lastId = id || lastId;
      const data = JSON.parse(line.slice(6));
      if (data.error) {
        state.error = data.error;
        told.errors.push(data.error);
        return;
      }
      if (data.content) {
        state.text += data.content;
        told.chunks.push(data.content);
        if (controller && told.chunks.length === Number(reloadAfter)) {
          controller.abort();
          return;
        }
      }
      if (data.done) {
        state.isComplete = true;
        told.completed.push(state.text);
        return;
      }
    }
  }
}

state.isStreaming = true;
const controller = new AbortController();
const headers = { 'Content-Type': 'application/json' };
await read(await fetch(`${server}/api/ai-chat/stream`, { method: 'POST', headers, body, signal: controller.signal }), controller);
if (controller.signal.aborted) {
  console.log('reloaded');
  const again = `${server}/v1/streams/${streamId}/events?dialect=ai_chat`;
  await read(await fetch(again, { headers: { 'Last-Event-ID': lastId } }), null);
}
state.isStreaming = false;
console.log(JSON.stringify({ ...state, ...told }));
