import { describe, expect, it } from "vitest";
import { HeadwaterError, errorFrom } from "../../src/index.js";

const of = (status: number, body: unknown, headers: Record<string, string> = {}): Promise<HeadwaterError> =>
  errorFrom(new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }));

it("keeps what Headwater tells", async () => {
  const error = await of(
    404,
    { error: { message: "there is no model 'x'", type: "not_found_error", code: "model_not_found", param: "model" } },
    { "retry-after": "7" },
  );
  expect(error).toBeInstanceOf(HeadwaterError);
  expect(error).toMatchObject({
    name: "HeadwaterError",
    status: 404,
    code: "model_not_found",
    type: "not_found_error",
    message: "there is no model 'x'",
    param: "model",
    retryAfter: 7,
    retryable: false,
  });
});

it("reads the forms of other routes", async () => {
  expect(await of(400, { statusCode: 400, message: "message is empty", error: "Bad Request" })).toMatchObject({
    code: "invalid_request",
    message: "message is empty",
  });
  expect(await of(404, { success: false, error: "no such connection", code: "not_found" })).toMatchObject({
    code: "not_found",
    message: "no such connection",
  });
});

describe("without a code of Headwater's", () => {
  it.each([
    [400, "invalid_request"],
    [401, "invalid_api_key"],
    [403, "invalid_api_key"],
    [404, "unexpected_answer"],
    [405, "method_not_allowed"],
    [413, "invalid_request"],
    [422, "invalid_request"],
    [429, "overloaded"],
    [500, "unexpected_answer"],
    [503, "overloaded"],
  ])("the status %i means %s", async (status, code) => {
    for (const body of ["<html>", "", "[1]", '"text"', { error: { code: 7, message: "" } }]) {
      const error = await of(status, body);
      expect([error.code, error.message]).toEqual([code, `the server answered with HTTP status ${status}`]);
    }
  });

  it("even where the body breaks off", async () => {
    const body = new ReadableStream({ start: (controller) => controller.error(new Error("cut")) });
    expect(await errorFrom(new Response(body, { status: 502 }))).toMatchObject({ status: 502, retryable: true });
  });
});

it.each([
  ["12", 12],
  ["", undefined],
  ["-3", undefined],
  ["soon", undefined],
  ["1234567890", undefined],
  ["Thu, 01 Jan 1970 00:00:00 GMT", undefined],
])("Retry-After %j", async (value, seconds) => {
  expect((await of(503, "", { "retry-after": value })).retryAfter).toBe(seconds);
});

it("Retry-After may be a date", async () => {
  const error = await of(503, "", { "retry-after": new Date(Date.now() + 60_000).toUTCString() });
  expect(error.retryAfter).toBeGreaterThan(50);
  expect(error.retryAfter).toBeLessThan(61);
});

it.each<[number, string, boolean]>([
  [0, "connection_lost", true],
  [0, "frame_too_large", false],
  [429, "queue_full", true],
  [429, "insufficient_quota", false],
  [503, "shutting_down", true],
  [503, "switched_off", false],
  [504, "provider_timeout", true],
  [500, "internal_error", false],
  [401, "invalid_api_key", false],
])("%i %s: retryable is %s", (status, code, retryable) => {
  expect(new HeadwaterError(code, "", { status }).retryable).toBe(retryable);
});
