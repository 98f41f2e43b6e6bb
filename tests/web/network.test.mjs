// The heat map and the network's view in Chromium against the real daemon: what is drawn is compared
// with what the API says.
// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { accessible, closeAll, curl, curlBytes, golden, hand, path, predictions, serve, visit } from "./support.mjs";

let server, network;
before(async () => {
    server = await serve();
    network = JSON.parse(curlBytes(`${server.url}network`));
});
after(closeAll);

const photo = golden("crop-wide.png");
const shown = (page) => page.locator("#frame .heat").evaluate((canvas) => {
    const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let best = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > data[best + 3]) best = i - 3;
    const at = best / 4;
    const style = canvas.style;
    return { hottest: [(at % width) / width, Math.floor(at / width) / width], hidden: canvas.hidden,
        place: [style.left, style.top, style.width, style.height].map(parseFloat), opacity: Number(style.opacity) };
});

// The place of the highest value of a grid, as parts of its sides.
function hottest(grid) {
    const flat = grid.flat();
    const at = flat.indexOf(Math.max(...flat)), wide = grid[0].length;
    return [((at % wide) + 0.5) / wide, (Math.floor(at / wide) + 0.5) / grid.length];
}

test("the heat map lies where the API says, for the best class and for any that is pointed at", async () => {
    const page = await visit(server.url);
    await hand(page, "drop", photo);
    await page.locator("#frame .heat:visible").waitFor();
    const answer = curl(server.url, photo, { query: "?explain=cam" });
    const { image, explain, predictions: best } = answer;
    assert.equal(explain.class, best[0].index);
    assert.equal(await page.locator("#heat-of bdi").textContent(), best[0].label);
    const check = async (grid, region) => {
        const { hottest: at, place } = await shown(page);
        const cell = 1 / grid.length;
        hottest(grid).forEach((part, i) => assert.ok(Math.abs(part - at[i]) <= cell, `${at} for ${hottest(grid)}`));
        const sides = [image.width, image.height, image.width, image.height];
        region.forEach((side, i) => assert.ok(Math.abs(place[i] - (100 * side) / sides[i]) < 0.1, `${place}`));
    };
    await check(explain.grid, explain.region);
    for (const { index, label } of best.slice(1, 4)) {
        const other = curl(server.url, photo, { query: `?explain=cam&explain_class=${index}` }).explain;
        await page.hover(`.bar[data-class="${index}"]`);
        await page.locator(`#heat-of bdi:text-is("${label}")`).waitFor();
        await check(other.grid, other.region);
    }
    await page.focus(`.bar[data-class="${best[0].index}"]`);
    await page.locator(`#heat-of bdi:text-is("${best[0].label}")`).waitFor();
    await page.locator("#heat").fill("20");
    assert.equal((await shown(page)).opacity, 0.2);
    await page.leave(["willReadFrequently"]); // the test reads the canvas, the page does not
});

test("the network is drawn whole: every layer, solid and dashed shortcuts", async () => {
    const page = await visit(`${server.url}#/network`);
    await page.locator(".unit").first().waitFor();
    const drawn = new Set(["conv", "maxpool", "avgpool", "linear", "add", "shortcut"]);
    const expected = network.layers.filter(({ op }) => drawn.has(op)).map(({ name }) => name);
    const names = await page.locator(".unit").evaluateAll((units) => units.map((unit) => unit.getAttribute("aria-label").split(": ")[0]));
    assert.deepEqual([...names].sort(), [...expected].sort());
    const adds = network.layers.filter(({ op }) => op === "add");
    const projections = adds.filter(({ shortcut }) => shortcut === "projection").length;
    assert.equal(await page.locator(".block .shortcut").count(), adds.length);
    assert.equal(await page.locator(".block .shortcut.dashed").count(), projections);
    await page.leave();
});

test("a layer shows its numbers, its square on the photograph and its feature maps", async () => {
    const page = await visit(server.url, { refusals: true }); // the engine may be busy at first
    await hand(page, "drop", photo);
    const { image, explain } = curl(server.url, photo, { query: "?explain=cam" });
    await page.locator("#frame .heat:visible").waitFor();
    await page.click("#tab-network");
    for (const name of ["layer1.1.conv1", "layer3.0.conv2"]) {
        const row = network.layers.find((layer) => layer.name === name);
        const maps = page.waitForResponse((response) => response.url().includes(`features?layer=${name}&`) && response.ok());
        await page.hover(`.unit[aria-label^="${name}:"]`);
        const facts = await page.locator("#layer dd").allTextContents();
        assert.equal(facts[1], row.output.slice(1).join(" × "));
        assert.equal(facts[2], row.parameters.toLocaleString("en"));
        const bytes = await (await maps).body();
        const same = curlBytes(`${server.url}features?layer=${name}&top=16`, "--retry", "5", "-T", photo);
        assert.ok(bytes.equals(same), "the picture is curl's");
        await page.locator("#maps img").evaluate((img) => img.decode());
        assert.equal(await page.locator("#maps img").evaluate((img) => img.naturalWidth), same.readUInt32BE(16));
        const square = await page.locator(".side .field").evaluate((rect) => ["x", "y", "width", "height"].map((side) => Number(rect.getAttribute(side))));
        const scale = explain.region[2] / network.input[3];
        assert.ok(Math.abs(square[2] - row.receptive_field * scale) < 0.01, `${square}`);
        const middle = (square[0] + square[2] / 2 - explain.region[0]) / scale;
        assert.ok(Math.abs(middle - (row.center + Math.floor(row.output[3] / 2) * row.jump)) < 0.01);
        assert.ok(square[2] > 0 && image.width > 0);
    }
    await page.leave();
});

test("arrow keys go from layer to layer", async () => {
    const page = await visit(`${server.url}#/network`);
    await page.locator('.unit[tabindex="0"]').focus();
    const name = () => page.locator("#layer h3").textContent();
    await page.keyboard.press("Home");
    assert.equal(await name(), "conv1");
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
    const focused = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.equal(focused.split(":")[0], await name());
    await page.keyboard.press("End");
    assert.equal(await name(), network.layers.at(-1).name);
    await page.leave();
});

for (const colorScheme of ["light", "dark"])
    test(`axe-core finds nothing serious in the network's view, ${colorScheme}`, async () => {
        const page = await visit(server.url, { colorScheme, refusals: true });
        await page.click("#tab-network");
        await page.locator(".unit").first().waitFor();
        await accessible(page, "without a photograph");
        await hand(page, "drop", golden("baseline-444.jpg"));
        await page.locator("#maps img").waitFor();
        await accessible(page, "with maps");
        await page.setViewportSize({ width: 360, height: 640 });
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
        await page.click("#tab-classify");
        await predictions(page);
        await page.locator("#frame .heat:visible").waitFor();
        await accessible(page, "a heat map");
        await page.leave();
    });
