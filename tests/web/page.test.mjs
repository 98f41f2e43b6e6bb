// The page in Chromium against the real daemon: what it shows is compared with what curl gets.
//   RESNETD_BINARY=build/resnetd node --test tests/web/
// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import test, { after, before } from "node:test";
import { accessible, closeAll, curl, golden, hand, modelWith, path, predictions, serve, visit } from "./support.mjs";

let server;
before(async () => (server = await serve()));
after(closeAll);

const photo = golden("baseline-444.jpg");
const names = ["baseline-444.jpg", "progressive-420.jpg", "cmyk.jpg", "grey.jpg", "orientation-6.jpg", "rgb16.png", "palette8.png"];
const fact = (page, name) => page.locator(`#answer .facts dt:text-is("${name}") + dd`).textContent();
const score = (text) => Number(text.replace(/[^\d.]/g, "")) / 100;

// The page's predictions are those of the daemon's JSON, to the digits that it shows.
async function same(page, answer) {
    const shown = await predictions(page);
    assert.deepEqual(shown.map(({ label }) => label), answer.predictions.map(({ label }) => label));
    shown.forEach((row, i) => assert.ok(Math.abs(score(row.score) - answer.predictions[i].score) <= 0.0051, row.score));
}

test("a dropped photograph shows what curl gets", async () => {
    const page = await visit(server.url);
    await hand(page, "drop", photo);
    await predictions(page); // before curl sends the same file, which would share the work
    await same(page, curl(server.url, photo));
    assert.match(await fact(page, "Image"), /^JPEG, 53 × 38/);
    assert.match(await fact(page, "Batch"), /alone/);
    assert.match(await fact(page, "Cache"), /^miss/);
    const stages = await page.locator(".waterfall tbody th").allTextContents();
    assert.deepEqual(stages, ["receive", "decode", "preprocess", "queue", "inference", "respond"]);
    const times = (await page.locator(".waterfall .number").allTextContents()).map(parseFloat);
    const total = times.pop();
    assert.ok(Math.abs(times.reduce((a, b) => a + b) - total) <= 0.02 * total + 0.05, `${times} make ${total}`);
    await page.leave();
});

test("a pasted photograph shows what curl gets", async () => {
    const page = await visit(server.url);
    await hand(page, "paste", golden("rgb8.png"));
    await same(page, curl(server.url, golden("rgb8.png")));
    await page.leave();
});

test("several files from the dialog each get an answer of their own", async () => {
    const page = await visit(server.url);
    await page.setInputFiles("#files", names.map(golden));
    await page.locator("#shots .shot[data-state=done]").nth(names.length - 1).waitFor();
    for (const [i, name] of names.entries()) {
        await page.locator("#shots .shot").nth(i).click();
        await same(page, curl(server.url, golden(name)));
    }
    await page.locator("#shots .shot").first().focus();
    await page.keyboard.press("Delete");
    assert.equal(await page.locator("#shots .shot").count(), names.length - 1);
    await page.click("#clear");
    assert.ok(await page.locator("#empty").isVisible());
    await page.leave();
});

test("WebP and AVIF are converted in the page before they are sent", async () => {
    const page = await visit(server.url);
    const webp = await page.evaluate(async (bytes) => {
        const image = await createImageBitmap(await (await fetch("web/icon.svg")).blob().then(() =>
            new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))])));
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.width, image.height];
        canvas.getContext("2d").drawImage(image, 0, 0);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", 1));
        return [...new Uint8Array(await blob.arrayBuffer())];
    }, readFileSync(golden("rgb8.png")).toString("base64"));
    assert.equal(Buffer.from(webp).subarray(8, 12).toString(), "WEBP");
    const avif = readFileSync(path("tests/web/rgb8.avif"));
    const [best] = curl(server.url, golden("rgb8.png")).predictions;
    for (const [name, bytes] of [["WebP", webp], ["AVIF", avif]]) {
        await hand(page, "drop", { name: "photo.webp", bytes: [...bytes] });
        await page.locator(`.note:has-text("Converted from ${name} to PNG")`).waitFor();
        assert.match(await fact(page, "Image"), /^PNG, 29 × 23/);
        assert.equal((await predictions(page))[0].label, best.label);
    }
    await page.leave();
});

test("what cannot be read is said in plain words", async () => {
    const page = await visit(server.url, { refusals: true });
    const jpeg = readFileSync(photo);
    const cases = [
        ["notes.jpg", readFileSync(path("Makefile")), "This kind of file cannot be read"],
        ["half.jpg", jpeg.subarray(0, jpeg.length / 2), "The file ends too early"],
        ["none.jpg", Buffer.alloc(0), "The file is empty"],
    ];
    for (const [name, bytes, title] of cases) {
        await hand(page, "drop", { name, bytes });
        await page.locator(`.trouble h2:text-is("${title}")`).waitFor();
    }
    await accessible(page, "a problem");
    await page.leave();
});

test("an image over a limit is sent again as a smaller copy made in the page", async () => {
    const small = await serve("--max-side", "1500");
    const page = await visit(small.url, { refusals: true });
    const wide = await page.evaluate(async () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [2000, 1000];
        const context = canvas.getContext("2d");
        context.fillStyle = "teal";
        context.fillRect(0, 0, 1500, 700);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
        return [...new Uint8Array(await blob.arrayBuffer())];
    });
    await hand(page, "drop", { name: "wide.png", bytes: wide });
    await page.locator('.trouble h2:text-is("The image is too long")').waitFor();
    await page.click('button:text-is("Send a smaller copy")');
    await page.locator('.note:has-text("A smaller copy")').waitFor();
    assert.match(await fact(page, "Image"), /1,?280 × 640/);
    await page.leave();
    await small.stop();
});

test("a server that is down is said, and tried again when it is back", async () => {
    const first = await serve();
    const page = await visit(first.url, { refusals: true });
    await first.stop();
    await hand(page, "drop", photo);
    await page.locator('.trouble h2:text-is("The server does not answer")').waitFor();
    const second = await serve("--listen", `127.0.0.1:${first.port}`);
    await page.click('button:text-is("Try again")');
    await same(page, curl(second.url, photo));
    await page.leave();
    await second.stop();
});

test("an API key is asked for, refused when wrong, and used", async () => {
    const digest = createHash("sha256").update("open sesame").digest("hex");
    writeFileSync(path("build/web/keys"), `friend ${digest}\n`);
    const locked = await serve("--api-keys", path("build/web/keys"));
    const page = await visit(locked.url, { refusals: true });
    const use = async (key) => {
        await page.fill("#key", key);
        await page.keyboard.press("Enter");
    };
    await page.locator("#key-form").waitFor();
    await accessible(page, "the key's form");
    await use("wrong");
    await page.locator('#key-problem:has-text("does not take")').waitFor();
    await hand(page, "drop", photo);
    await page.locator('.trouble h2:text-is("The server does not take this API key")').waitFor();
    await use("open sesame");
    await same(page, curl(locked.url, photo, { headers: ["Authorization: Bearer open sesame"] }));
    assert.ok(await page.locator("#key-form").isHidden());
    assert.ok(!(await page.locator(".curl code").textContent()).includes("sesame"));
    await page.leave();
    await locked.stop();
});

test("hostile labels, model names, file names and errors stay text", async () => {
    const attack = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`;
    const labels = Array.from({ length: 10 }, (_, i) => `${attack}${i}`).join("\n");
    const file = modelWith({ "resnetd.labels": labels, "resnetd.name": attack, "resnetd.source": attack, "resnetd.accuracy": attack }, "hostile.safetensors");
    const hostile = await serve("--model", file, "--model", `other=${file}`);
    const page = await visit(hostile.url, { refusals: true });
    await page.locator(".model-card").waitFor();
    await hand(page, "drop", { name: `${attack}.jpg`, bytes: readFileSync(photo) }, { name: `${attack}.png`, bytes: readFileSync(path("Makefile")) });
    assert.match((await predictions(page))[0].label, /^<img src=x onerror=/);
    for (const shot of await page.locator(".shot").all()) await shot.click();
    await page.locator(".trouble").waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await page.locator("main script, main [onerror], main img[src=x], header [onerror]").count(), 0);
    await page.leave();
    await hostile.stop();
});

test("the browser refuses HTML from strings, inline scripts and foreign connections here", async () => {
    const page = await visit(server.url);
    const refused = await page.evaluate(async () => {
        const tries = [
            () => (document.body.innerHTML += "<b>x</b>"),
            () => fetch("https://example.org/"),
        ];
        const script = document.createElement("script");
        try {
            script.textContent = "window.pwned = 1";
            document.head.append(script);
        } catch { /* so much the better */ }
        const ends = await Promise.all(tries.map(async (attempt) => attempt()).map((done) => done.then(() => "done", () => "refused")));
        return [...ends, String(window.pwned)];
    });
    assert.deepEqual(refused, ["refused", "refused", "undefined"]);
    await page.leave(["violates", "Content Security Policy", "TrustedHTML", "TrustedScript"]);
});

test("the curl line runs in a shell, whatever the file is called", async () => {
    const page = await visit(server.url);
    const folder = path("build/web/shell");
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const name of ["it's $(touch pwned) `touch pwned`.jpg", "-d[1-3]{a,b}.jpg", "plain.jpg"]) {
        copyFileSync(photo, `${folder}/${name}`);
        await hand(page, "drop", { name, bytes: readFileSync(photo) });
        const line = await page.locator(".curl code").textContent();
        const answer = JSON.parse(execFileSync("sh", ["-c", line.replace(/^curl/, "curl -sS")], { cwd: folder, encoding: "utf8" }));
        await same(page, answer);
        await page.click("#clear");
    }
    assert.ok(!existsSync(`${folder}/pwned`));
    assert.equal(readdirSync(folder).length, 3);
    await page.leave();
});

test("a model is chosen where there are several", async () => {
    const labels = Array.from({ length: 10 }, (_, i) => `number ${i}`).join("\n");
    const two = await serve("--model", `plain=${path("config/models/cifar10-resnet20.safetensors")}`,
        "--model", `numbers=${modelWith({ "resnetd.labels": labels }, "numbers.safetensors")}`);
    const page = await visit(two.url);
    await hand(page, "drop", photo);
    const [{ label: plain }] = await predictions(page);
    assert.doesNotMatch(plain, /^number/);
    await page.selectOption("#model", "numbers");
    await page.locator('.bars .label:text-matches("^number ")').first().waitFor();
    await same(page, curl(two.url, photo, { query: "?model=numbers" }));
    await page.leave();
    await two.stop();
});

test("the live view follows the metrics, and asks only while it is open", async () => {
    const busy = await serve();
    const page = await visit(busy.url, { refusals: true });
    let n = 0;
    page.on("request", (request) => (n += request.url().endsWith("/metrics")));
    await page.click("#tab-live");
    await page.locator(".tile").first().waitFor();
    for (let i = 0; i < 12; i++) curl(busy.url, photo);
    curl(busy.url, path("Makefile"));
    await page.locator('.refusals th:text-is("unsupported-format")').waitFor();
    assert.equal(await page.locator(".refusals td.number").nth(1).textContent(), "1");
    await page.locator('.plot[aria-label^="Latency of answers: median"]:not([aria-label*="median –"])').waitFor();
    assert.match(await page.locator('.plot[aria-label^="Batch sizes"]').getAttribute("aria-label"), /last minute 1 100 %/);
    await page.click("#tab-classify");
    await page.waitForTimeout(200);
    const before = n;
    await page.waitForTimeout(2500);
    assert.ok(before > 0 && n === before, `${n - before} requests while closed`);
    await page.leave();
    await busy.stop();
});

test("the keyboard reaches everything", async () => {
    const page = await visit(server.url);
    const chooser = page.waitForEvent("filechooser"); // asked for early: the browser is told in its own time
    await page.keyboard.press("Tab");
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
    assert.equal(await focused(), "tab-classify");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await focused(), "tab-live");
    assert.ok(await page.locator("#live").isVisible());
    await page.keyboard.press("Home");
    assert.ok(await page.locator("#classify").isVisible());
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "choose");
    await page.keyboard.press("Enter");
    await (await chooser).setFiles(photo);
    await predictions(page);
    await page.leave();
});

for (const colorScheme of ["light", "dark"])
    test(`axe-core finds nothing serious, ${colorScheme}`, async () => {
        const page = await visit(server.url, { colorScheme, reducedMotion: "reduce" });
        await page.locator(".model-card").waitFor();
        await accessible(page, "empty");
        await page.setInputFiles("#files", names.map(golden));
        await page.locator("#shots .shot[data-state=done]").nth(names.length - 1).waitFor();
        await accessible(page, "with answers");
        await page.click("#tab-live");
        await page.locator('.plot[aria-label^="Batch sizes"]').waitFor();
        await accessible(page, "live");
        await page.leave();
    });

test("a narrow screen shows everything without scrolling sideways", async () => {
    const page = await visit(server.url, { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true });
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
    assert.ok(await fits());
    await page.setInputFiles("#camera", photo);
    await predictions(page);
    assert.ok(await fits());
    await page.click("#tab-live");
    await page.locator('.plot[aria-label^="Batch sizes"]').waitFor();
    assert.ok(await fits());
    await accessible(page, "narrow");
    await page.leave();
});

test("the page weighs at most 60 KB gzipped", () => {
    const files = readdirSync(path("server/web")).map((name) => path(`server/web/${name}`));
    const weight = files.reduce((sum, file) => sum + execFileSync("gzip", ["-9nc", file]).length, 0);
    console.log(`# ${files.length} files, ${weight} bytes gzipped one by one`);
    assert.ok(weight <= 60 * 1024);
});
