// The fetch reader of reference 003's document. Arguments: server's URL, number of the session, JSON of the body, and
// after how many chunks the page is reloaded (0: never). Prints the messages as a JSON array.
const [server, session, body, reloadAfter] = process.argv.slice(2);
const messages = [];
let lastId = '';

async function read(response, limit, controller) {
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
      messages.push(JSON.parse(line.slice(6)));
      if (limit && messages.filter((message) => message.type === 'chunk').length === limit) {
        controller.abort();
        return;
      }
    }
  }
}

const controller = new AbortController();
const response = await fetch(`${server}/api/chat/${session}/stream`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body,
  signal: controller.signal,
});
await read(response, Number(reloadAfter), controller);
if (controller.signal.aborted) {
  console.log('reloaded');
  const again = `${server}/v1/streams/${response.headers.get('x-stream-id')}/events?dialect=typed`;
  await read(await fetch(again, { headers: { 'Last-Event-ID': lastId } }), 0, null);
}
console.log(JSON.stringify(messages));
