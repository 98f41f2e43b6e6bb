// The real daemon and a real browser for the tests of the page, and what every page is watched for:
// errors on the console, violations of the Content-Security-Policy, requests to anywhere else.
//
// $RESNETD_BINARY is the daemon; the npm packages are in build/web (tests/deps.sh web).
// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const require = createRequire(new URL("build/web/", root));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const path = (name) => fileURLToPath(new URL(name, root));
export const golden = (name) => path(`tests/golden/images/${name}`);
const binary = path(process.env.RESNETD_BINARY ?? "build/resnetd");

// ---- the daemon -----------------------------------------------------------------------------------

const daemons = new Set();

// {url, stop()} of `serve` with these options; ready when it resolves.
export async function serve(...options) {
    const listen = options.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    const child = spawn(binary, ["serve", ...listen, ...options], { stdio: ["ignore", "ignore", "pipe"] });
    daemons.add(child);
    let text = "";
    const url = await new Promise((resolve, reject) => {
        child.on("exit", (code) => reject(new Error(`the daemon ended with ${code}: ${text}`)));
        child.stderr.on("data", (piece) => {
            text += piece;
            const address = /msg="listening" address=(\S+)/.exec(text)?.[1];
            if (address && text.includes('msg="model ready"')) resolve(`${address}/`);
        });
    });
    for (let ready = false; !ready;) ready = (await fetch(`${url}readyz`)).ok;
    return {
        url,
        port: new URL(url).port,
        stop: () => new Promise((resolve) => {
            daemons.delete(child);
            child.removeAllListeners("exit");
            child.on("exit", resolve);
            child.kill("SIGTERM");
        }),
    };
}

// What curl gets for a file, as JSON.
export function curl(url, file, { query = "", headers = [] } = {}) {
    const more = headers.flatMap((header) => ["-H", header]);
    return JSON.parse(execFileSync("curl", ["-sS", ...more, "-T", file, `${url}classify${query}`], { encoding: "utf8" }));
}

// What curl gets from any path, as bytes.
export const curlBytes = (url, ...more) => execFileSync("curl", ["-sS", "-f", ...more, url], { maxBuffer: 1 << 26 });

// The embedded model with other metadata: same weights, other words.
export function modelWith(metadata, name) {
    const bytes = readFileSync(path("config/models/cifar10-resnet20.safetensors"));
    const n = Number(bytes.readBigUInt64LE(0));
    const head = JSON.parse(bytes.subarray(8, 8 + n).toString());
    Object.assign(head.__metadata__, metadata);
    let text = JSON.stringify(head);
    text += " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
    writeFileSync(path(`build/web/${name}`), Buffer.concat([size, Buffer.from(text), bytes.subarray(8 + n)]));
    return path(`build/web/${name}`);
}

// ---- the browser ------------------------------------------------------------------------------------

let browser;

// A page at url. `refusals: true` where answers of 400 and more are part of the test, which Chromium
// writes to the console as failed resources.
export async function visit(url, { refusals = false, ...options } = {}) {
    browser ??= await chromium.launch({ executablePath: "/usr/bin/chromium" });
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    const complaints = [], { origin } = new URL(url);
    page.on("console", (message) => {
        const failed = message.text().startsWith("Failed to load resource");
        if (["error", "warning"].includes(message.type()) && !(refusals && failed)) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("request", (request) => {
        const to = request.url();
        if (!to.startsWith(`${origin}/`) && !to.startsWith("blob:")) complaints.push(`request to ${to}`);
    });
    await page.exposeFunction("reportViolation", (what) => complaints.push(what));
    await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) =>
        window.reportViolation(`violates ${event.violatedDirective}: ${event.blockedURI}`)));
    await page.goto(url);
    await page.locator("#state[data-state=ready]").waitFor();
    // Ends the visit: nothing may have been complained about.
    page.leave = async (expected = []) => {
        await context.close();
        assert.deepEqual(complaints.filter((text) => !expected.some((some) => text.includes(some))), []);
    };
    return page;
}

export async function closeAll() {
    await browser?.close();
    for (const child of daemons) child.kill("SIGKILL");
}

const asFiles = (files) => files.map((file) => typeof file === "string"
    ? { name: file.split("/").at(-1), bytes: readFileSync(file).toString("base64") }
    : { name: file.name, bytes: Buffer.from(file.bytes).toString("base64") });

// Drops or pastes files (paths, or {name, bytes}) as the browser would hand them over.
export async function hand(page, how, ...files) {
    await page.evaluate(({ how, files }) => {
        const data = new DataTransfer();
        for (const { name, bytes } of files)
            data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
        const target = document.querySelector("#stage");
        const init = { bubbles: true, cancelable: true };
        if (how === "paste") target.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: data }));
        else for (const type of ["dragenter", "dragover", "drop"])
            target.dispatchEvent(new DragEvent(type, { ...init, dataTransfer: data }));
    }, { how, files: asFiles(files) });
}

// [{label, score}] as they stand in the page, best first.
export async function predictions(page) {
    await page.locator("#answer .bars").waitFor();
    return page.locator("#answer .bar").evaluateAll((bars) => bars.map((bar) =>
        ({ label: bar.querySelector(".label").textContent, score: bar.querySelector(".score").textContent })));
}

// Nothing serious or critical by the rules of axe-core.
export async function accessible(page, where) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document));
    const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`), [], where);
    return violations.length;
}
