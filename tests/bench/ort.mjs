// Times ONNX Runtime: ort.mjs MODEL.onnx BATCH THREADS SECONDS; prints the median in ms.
// SPDX-License-Identifier: MIT
import ort from "onnxruntime-node";

const [, , model, batch, threads, seconds] = process.argv;
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: "all",
});
const shape = [Number(batch), 3, 224, 224];
const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => Math.random() - 0.5);
const feeds = { input: new ort.Tensor("float32", values, shape) };
await session.run(feeds);
const times = [];
const end = performance.now() + 1000 * Number(seconds);
while (times.length < 3 || performance.now() < end) {
  const start = performance.now();
  await session.run(feeds);
  times.push(performance.now() - start);
}
times.sort((a, b) => a - b);
console.log(times[times.length >> 1].toFixed(3));
