// Checks answers to test vectors: node checker.mjs float64|float32 ./ANSWERER.mjs [FILE.json ...]   (no packages)
//
// ANSWERER.mjs exports answer(kind, component, keywords, inputs) -> {output: array of numbers}, or null for what it has
// not. Its answers are kept in answers.json. Exit status: 0 all right, 1 something is not, 2 nothing was answered.
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const SMALLEST_NORMAL = 2 ** -1022;

function fromBits(hex) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt("0x" + hex));
  return view.getFloat64(0);
}

// Whether every output is within its allowance: largest difference over largest number expected. NaN never is.
function agrees(answer, outputs, allowances) {
  for (const [name, output] of Object.entries(outputs)) {
    const expected = output.hex.map(fromBits);
    if (!output.decimal.every((number, i) => Object.is(Number(number), expected[i]))) throw new Error(name + ": bits");
    const found = answer[name] === undefined ? null : [answer[name]].flat(Infinity).map(Number);
    if (found === null || found.length !== expected.length || ![...found, ...expected].every(Number.isFinite)) return false;
    const difference = Math.max(0, ...expected.map((number, i) => Math.abs(found[i] - number)));
    const scale = Math.max(0, ...expected.map(Math.abs));
    const allowance = allowances[name];
    if (allowance !== null && difference >= SMALLEST_NORMAL && !(difference <= allowance * scale)) return false;
  }
  return Object.keys(answer).length === Object.keys(outputs).length;
}

// The answers by test, and the tests that are not as they must be; null for what is not answered.
function check(path, dtype, answer) {
  const vectors = JSON.parse(readFileSync(path, "utf8"));
  const answers = {}, wrong = [];
  for (const test of vectors.groups.flatMap((group) => group.tests)) {
    const given = Object.entries(test.inputs);
    const found = vectors.kind === "checker"
      ? Object.fromEntries(given.map(([name, value]) => [name, value.decimal]))
      : answer(vectors.kind, vectors.component, vectors.keywords, test.inputs);
    if (found === null) return [null, []];
    answers[test.id] = found;
    if (agrees(found, test.outputs, test.allowances[dtype]) !== (test.result === "valid"))
      wrong.push(`${path} test ${test.id} (${test.result}): ${test.comment}`);
  }
  return [vectors.kind === "checker" ? "checked" : answers, wrong];
}

const [dtype, answerer, ...files] = process.argv.slice(2);
const { answer } = await import(pathToFileURL(resolve(answerer)));
const folders = readdirSync(HERE).filter((name) => statSync(join(HERE, name)).isDirectory()).sort();
const all = folders.flatMap((folder) => readdirSync(join(HERE, folder)).sort().map((name) => join(HERE, folder, name)));
const paths = files.length ? files : all.filter((name) => name.endsWith(".json"));
const answered = {}, wrong = [];
for (const path of paths) {
  const [answers, bad] = check(path, dtype, answer);
  wrong.push(...bad);
  if (answers !== null && answers !== "checked") answered[resolve(path).split(sep).slice(-2).join("/")] = answers;
}
const result = { schema: "framework-conformance/answers/1", dtype, answers: answered };
writeFileSync("answers.json", JSON.stringify(result, (_, x) => (typeof x === "number" && !Number.isFinite(x) ? String(x) : x)));
const count = Object.keys(answered).length;
console.log([...wrong, `files answered: ${count} of ${paths.length}, tests wrong: ${wrong.length}`].join("\n"));
process.exit(wrong.length ? 1 : count ? 0 : 2);
