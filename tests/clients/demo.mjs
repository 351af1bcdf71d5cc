// The demo page in Chromium: node demo.mjs host:port [path/to/chromium]
// Screenshots go to $OUT, if it is set.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { address, main } from "./support.mjs";

const executablePath = process.argv[3] ?? process.env.CHROMIUM ?? "/usr/bin/chromium";
const out = process.env.OUT;
const complaints = [];
let browser, light, dark;

/** Opens the page as someone else: another profile, another look. */
async function visit(who, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("console", message => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${who}: ${message.text()}`);
  });
  page.on("pageerror", error => complaints.push(`${who}: ${error}`));
  const response = await page.goto(`http://${address}/`);
  assert.equal(response.status(), 200);
  await page.fill("#room", "harbour");
  await page.fill("#name", who);
  await page.click("#join");
  await page.waitForSelector("#state[data-state=connected]");
  return page;
}

async function say(page, words) {
  await page.fill("#text", words);
  await page.click("#send");
}

async function hears(page, from, words) {
  const line = page.locator("#messages li", { hasText: words });
  await line.waitFor();
  assert.equal(await line.locator(".from").textContent(), from);
  assert.equal(await line.count(), 1, "once");
}

async function picture(page, name) {
  if (out) await page.screenshot({ path: join(out, `${name}.png`) });
}

await main("demo", {
  "Chromium starts": async () => {
    if (out) mkdirSync(out, { recursive: true });
    const args = [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ];
    browser = await chromium.launch({ executablePath, args });
  },
  "two pages connect to one room": async () => {
    light = await visit("Ada", { colorScheme: "light", viewport: { width: 900, height: 640 } });
    dark = await visit("Grace", { colorScheme: "dark", viewport: { width: 360, height: 640 } });
  },
  "they hear each other and themselves": async () => {
    await say(light, "Is anybody out there?");
    await hears(dark, "Ada", "Is anybody out there?");
    await hears(light, "Ada", "Is anybody out there?");
    await say(dark, "Yes. The wind is fair, and <b>this</b> is no markup & 🐦");
    await hears(light, "Grace", "<b>this</b> is no markup & 🐦");
    await hears(dark, "Grace", "<b>this</b> is no markup & 🐦");
    await say(light, "A line that is long enough to be broken on a narrow screen, several times even");
    await hears(dark, "Ada", "A line that is long enough");
  },
  "the round trip becomes a number": async () => {
    for (const page of [light, dark]) {
      await page.waitForFunction(() => /^\d+(\.\d+)? ms$/.test(document.querySelector("#rtt").textContent));
    }
  },
  "nothing is wider than a narrow screen": async () => {
    const width = await dark.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels`);
  },
  "a page that changes rooms hears the old one no more": async () => {
    await picture(light, "demo-light");
    await picture(dark, "demo-dark-narrow");
    await dark.fill("#room", "elsewhere");
    await dark.click("#join");
    await dark.waitForSelector("#state[data-state=connected]");
    await say(light, "Goodbye then");
    await hears(light, "Ada", "Goodbye then");
    await say(dark, "Quiet here");
    await hears(dark, "Grace", "Quiet here");
    assert.equal(await dark.locator("#messages li", { hasText: "Goodbye" }).count(), 0);
  },
  "the console stays empty": async () => assert.deepEqual(complaints, []),
  "Chromium ends": () => browser.close(),
});
