// Drives a server with the official `openai` package and prints what it told, as one JSON object.
// Arguments: base URL, JSON of the request. The request's "stream" decides which call is made.
import OpenAI from 'openai';

const [baseURL, body] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0 });
const told = { chunks: [], text: '', tools: {}, finish: null, usage: null, error: null };

try {
  const request = JSON.parse(body);
  if (!request.stream) {
    const answer = await client.chat.completions.create(request);
    told.text = answer.choices[0].message.content;
    told.finish = answer.choices[0].finish_reason;
    told.usage = answer.usage;
  } else {
    for await (const chunk of await client.chat.completions.create(request)) {
      told.chunks.push(chunk);
      if (chunk.usage) told.usage = chunk.usage;
      for (const choice of chunk.choices) {
        told.text += choice.delta.content ?? '';
        told.finish = choice.finish_reason ?? told.finish;
        for (const call of choice.delta.tool_calls ?? []) {
          const known = (told.tools[call.index] ??= { id: call.id, name: call.function.name, arguments: '' });
          known.arguments += call.function.arguments ?? '';
        }
      }
    }
  }
} catch (error) {
  told.error = { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null, message: error.message };
}
console.log(JSON.stringify(told));
