// Sends an image as a page would, and prints the best label: fetch.mjs URL FILE
// SPDX-License-Identifier: MIT
import { readFile } from "node:fs/promises";

const [, , url, file] = process.argv;
const form = new FormData();
form.append("image", new Blob([await readFile(file)], { type: "image/jpeg" }), "photo.jpg");
const response = await fetch(url, { method: "POST", body: form });
const answer = await response.json();
if (!response.ok) throw new Error(JSON.stringify(answer));
console.log(answer.predictions[0].label);
