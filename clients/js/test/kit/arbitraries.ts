/** Events of whole answers, for property tests. */

import fc from "fast-check";
import type { StreamEvent } from "../../src/index.js";

const piece = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom("東京", "🌊", "naïve ", "\n", "\r\n", '"'),
);

const of = <T extends StreamEvent>(source: fc.Arbitrary<T>): fc.Arbitrary<StreamEvent> => source;

const content = fc.oneof(
  { weight: 6, arbitrary: of(fc.record({ type: fc.constant("text"), text: piece })) },
  { weight: 2, arbitrary: of(fc.record({ type: fc.constant("reasoning"), text: piece })) },
  of(
    fc.record({
      type: fc.constant("tool_call"),
      index: fc.nat(2),
      name: fc.constantFrom("clock", ""),
      arguments: piece,
    }),
  ),
  of(fc.record({ type: fc.constant("status"), stage: fc.constantFrom("queued", "retrying", "searching") })),
  of(fc.record({ type: fc.constant("sources"), items: fc.array(fc.record({ text: piece }), { maxLength: 2 }) })),
  of(fc.record({ type: fc.constant("metadata"), data: fc.record({ model: piece }) })),
);

const end: fc.Arbitrary<StreamEvent> = fc.constantFrom(
  { type: "done", reason: "stop" } as const,
  { type: "done", reason: "cancelled" } as const,
  { type: "error", reason: "provider_error", message: "it is gone" } as const,
);

/** `start`, anything, the end. */
export const answer: fc.Arbitrary<StreamEvent[]> = fc
  .tuple(fc.array(content, { maxLength: 40 }), end)
  .map(([middle, last]): StreamEvent[] => [
    { type: "start", stream: "s-1", model: "m", created_ms: 1 },
    ...middle,
    { type: "usage", prompt_tokens: 3, completion_tokens: middle.length, source: "exact" },
    last,
  ]);
