/** The built bundle in Chromium, against the real server: what only a browser can show. */

import { build } from "esbuild";
import { type Browser, type BrowserContext, type Page, chromium } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient } from "../../src/index.js";
import { Front, SERVER, body, control, scripted } from "../kit/front.js";

const EXECUTABLE = process.env["HEADWATER_CHROMIUM"];
const FLAGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " +
  "--disable-component-update --disable-sync";

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [new URL("../kit/page.ts", import.meta.url).pathname],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return outputFiles[0]!.text;
}

describe.skipIf(!SERVER || !EXECUTABLE)("in Chromium", () => {
  let front: Front;
  let browser: Browser;
  let context: BrowserContext;

  beforeAll(async () => {
    const html = '<!doctype html><title>test</title><body><script type="module" src="/bundle.js"></script>';
    front = await new Front({
      "/page": ["text/html", html],
      "/bundle.js": ["text/javascript", await bundle()],
    }).open();
    browser = await chromium.launch({ executablePath: EXECUTABLE!, args: FLAGS.split(" ") });
  });

  afterAll(async () => {
    await browser.close();
    await front.close();
  });

  beforeEach(async () => {
    context = await browser.newContext();
  });

  afterEach(async () => {
    front.isDown = false;
    await context.close();
  });

  async function open(hash = ""): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${front.url}/page${hash}`);
    await page.waitForFunction(() => "hw" in window);
    return page;
  }

  async function begin(script: object, model?: string): Promise<{ page: Page; id: string }> {
    const page = await open();
    await page.evaluate((asked) => window.hw.begin(asked), body(script, model));
    await page.waitForFunction(() => window.hw.stream?.id);
    return { page, id: (await page.evaluate(() => window.hw.stream!.id))! };
  }

  const characters = (page: Page, atLeast: number) =>
    page.waitForFunction((length) => window.hw.text.length > length, atLeast, { timeout: 30_000 });

  const ended = async (page: Page): Promise<{ text: string; phase: string }> => {
    await page.waitForFunction(() => window.hw.stream?.connection.status === "closed", null, { timeout: 50_000 });
    return page.evaluate(() => ({ text: window.hw.text, phase: window.hw.phase }));
  };

  /** From a viewer that was never cut. */
  const whole = async (id: string): Promise<string> => (await createClient({ baseUrl: SERVER! }).follow(id).done).text;

  it("a reload at ten points: with the kept state the identical answer", async () => {
    const { page, id } = await begin({ tokens: 900, delay_ms: 5, seed: 20 });
    for (let turn = 1; turn <= 10; turn++) {
      await characters(page, turn * 300 + Math.floor(Math.random() * 200));
      await page.evaluate(() => window.hw.keep());
      await page.reload();
      await page.waitForFunction(() => "hw" in window);
      await page.evaluate(() => window.hw.resume());
    }
    expect(await ended(page)).toEqual({ text: await whole(id), phase: "done" });
  });

  it("a reload that kept nothing but the id", async () => {
    const { page, id } = await begin({ tokens: 300, delay_ms: 5, seed: 21 });
    await characters(page, 300);
    await page.reload();
    await page.waitForFunction(() => "hw" in window);
    await page.evaluate((stream) => window.hw.follow(stream), id);
    expect(await ended(page)).toEqual({ text: await whole(id), phase: "done" });
  });

  it("cut sockets, again and again", async () => {
    const { page, id } = await begin({ tokens: 600, delay_ms: 5, seed: 22 });
    for (let cut = 1; cut <= 6; cut++) {
      await characters(page, cut * 300);
      front.cut();
    }
    expect(await ended(page)).toEqual({ text: await whole(id), phase: "done" });
    expect(await page.evaluate(() => window.hw.states)).toContain("reconnecting");
  });

  it("a server that is killed and started again", async () => {
    const { page, id } = await begin({ tokens: 400, delay_ms: 5, seed: 23 }, "kept");
    await characters(page, 300);
    await control("restart");
    const { text, phase } = await ended(page);
    expect([phase, text]).toEqual(["done", await whole(id)]);
    expect(await page.evaluate(() => window.hw.stream!.state.seams.map(({ stage }) => stage))).toContain("recovering");
  });

  it("offline: it says so, asks nothing in vain, and is back at once", async () => {
    const { page, id } = await begin({ tokens: 600, delay_ms: 10, seed: 24 });
    await characters(page, 300);
    front.isDown = true;
    await context.setOffline(true);
    front.cut();
    await page.waitForFunction(() => window.hw.stream!.connection.status === "offline");
    expect(await page.evaluate(() => window.hw.stream!.connection.attempt)).toBe(0);
    front.isDown = false;
    await context.setOffline(false);
    // Far below the 15 seconds after which it would have asked without being told.
    await page.waitForFunction(() => window.hw.stream!.connection.status === "open", null, { timeout: 5_000 });
    expect(await page.evaluate(() => window.hw.stream!.connection.resumedAt)).toBeGreaterThan(0);
    expect(await ended(page)).toEqual({ text: await whole(id), phase: "done" });
  });

  it("stop stops, and closing the page does not", async () => {
    const { page, id } = await begin({ tokens: 5000, delay_ms: 5, seed: 25 });
    await characters(page, 100);
    await page.close();
    const client = createClient({ baseUrl: SERVER! });
    const status = async () => (await client.request<{ status: string }>("GET", `/v1/streams/${id}`)).status;
    const other = await open();
    await other.evaluate((stream) => window.hw.follow(stream), id);
    await characters(other, 200);
    expect(await status()).toBe("streaming");
    await other.evaluate(() => window.hw.stream!.cancel());
    const { text, phase } = await ended(other);
    expect([phase, text]).toEqual(["cancelled", await whole(id)]);
    expect(await status()).toBe("cancelled");
  });

  it("an unknown cursor: reset, then all of it", async () => {
    const { page, id } = await begin({ tokens: 30, seed: 26 });
    const { text } = await ended(page);
    await page.evaluate(
      ([stream, state]) => {
        sessionStorage.setItem("kept", JSON.stringify([stream, state]));
        window.hw.resume();
      },
      [
        id,
        {
          text: "of another life",
          toolCalls: [],
          sources: [],
          seams: [],
          metadata: {},
          phase: "streaming",
          events: 3,
          cursor: "99.3",
        },
      ] as const,
    );
    expect(await ended(page)).toEqual({ text, phase: "done" });
  });

  it("ten tabs share one connection; when tabs go the others read on", async () => {
    const { page, id } = await begin({ tokens: 1500, delay_ms: 10, seed: 27 });
    const pages = [page];
    while (pages.length < 10) {
      const tab = await open();
      await tab.evaluate((stream) => window.hw.follow(stream), id);
      pages.push(tab);
    }
    await Promise.all(pages.map((each) => characters(each, 300)));
    await vi.waitFor(() => expect(front.streams.size).toBe(1), { timeout: 10_000 });
    const opened = front.opened;
    // The leader goes, without a word, and then the next one.
    await pages.shift()!.close();
    await vi.waitFor(() => expect(front.streams.size).toBe(1), { timeout: 10_000 });
    await pages.shift()!.close();
    const finals = await Promise.all(pages.map(ended));
    const text = await whole(id);
    expect(finals).toEqual(finals.map(() => ({ text, phase: "done" })));
    // One for each change of leader, and at most a few of who had to make sure of a gap.
    expect(front.opened - opened).toBeLessThan(12);
  });

  it("without sharing the seventh tab starves, which is why", async () => {
    // Before anything streams: a seventh could not even load its page.
    const pages = [await open()];
    while (pages.length < 7) pages.push(await open());
    const stream = createClient({ baseUrl: SERVER! }).start(body({ tokens: 5000, delay_ms: 10, seed: 28 }));
    await vi.waitFor(() => expect(stream.id).toBeDefined());
    for (const page of pages) await page.evaluate((id) => window.hw.follow(id, false), stream.id!);
    await Promise.all(pages.slice(0, 6).map((page) => characters(page, 100)));
    expect(front.streams.size).toBe(6);
    expect(await pages[6]!.evaluate(() => window.hw.text)).toBe("");
    await stream.cancel();
  });

  it("useAIStream in strict mode: asks once, stops, and finds its answer after a reload", async () => {
    const page = await open();
    const ask = (script: object) => ({ message: scripted(script), history: [], sessionId: "s-1", model: "scripted" });
    const chat = page.locator("#chat");
    const title = (argument: object) => page.evaluate((text) => void (document.title = text), JSON.stringify(argument));
    await page.evaluate(() => window.hw.hook());
    await title(ask({ tokens: 60, seed: 29, delay_ms: 2 }));
    await page.locator("#send").click();
    await page.waitForSelector('#chat[data-complete="true"]');
    const id = (await chat.getAttribute("data-id"))!;
    const text = await whole(id);
    expect(await chat.locator("p").textContent()).toBe(text);
    expect((await page.locator("body").textContent())!.match(/\[complete: \d+\]/g)).toEqual([
      `[complete: ${text.length}]`,
    ]);
    await title(ask({ tokens: 5000, seed: 30, delay_ms: 5 }));
    await page.locator("#send").click();
    await page.waitForSelector(`#chat[data-id]:not([data-id="${id}"])`);
    await page.waitForFunction(() => (document.querySelector("#chat p")?.textContent?.length ?? 0) > 100);
    const long = (await chat.getAttribute("data-id"))!;
    await page.goto(`${front.url}/page?again#${long}`);
    await page.waitForFunction(() => "hw" in window);
    await page.evaluate(() => window.hw.hook());
    await page.locator("#resume").click();
    await page.waitForFunction(() => (document.querySelector("#chat p")?.textContent?.length ?? 0) > 200);
    await page.locator("#stop").click();
    await page.waitForSelector('#chat[data-streaming="false"]');
    expect(await chat.locator("p").textContent()).toBe(await whole(long));
    expect(await chat.getAttribute("data-error")).toBeNull();
    expect(await chat.getAttribute("data-complete")).toBe("false");
  });
});
