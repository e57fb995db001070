// The page: pictures in, answers drawn. What computes is worker.mjs; every answer is also an event "answer" of the document.

import { orientationOf, seenBox, wholePixels } from "./pixels.mjs";

const part = Object.fromEntries([...document.querySelectorAll("[id]")].map(element => [element.id, element]));
const LAST = 15; // runs of which the median is shown
const AGAIN = 5; // runs of a picture that stays
const HEAD = 1 << 18; // bytes of a file in which a JPEG says how it is turned
const SHARP = 128; // pixels of a picture's shown part below which they are drawn as squares
const DROPPED = {
  "mean-similarity": "look like the mean of all others",
  "token-importance": "others attend to least",
  "saliency": "the class token attends to least",
  "bipartite": "look most like another one",
};
const times = new Map();
let facts, worker, base, answer, camera = null, busy = false, wanted = null, runs = 0, number = 0, chosenStage = null;

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const made = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text }, attributes);
const ratio = () => facts.graphs[Number(part.dial.value)].ratio;
const graphAt = value => facts.graphs.find(graph => graph.ratio === value);
const median = values => [...values].sort((one, other) => one - other)[values.length >> 1];
const patches = () => facts.grid[0] * facts.grid[1];

function complain(text) {
  part.fault.textContent = text;
  part.fault.hidden = !text;
}

function stopFor(text) {
  part.state.hidden = true;
  part.main.hidden = true;
  complain(`The model cannot be run here: ${text}. Reload the page to try again; another browser may help.`);
}

async function begin() {
  try {
    const said = await fetch("model.json");
    if (!said.ok) throw new Error(`model.json is missing: the server answers ${said.status}`);
    facts = await said.json();
    worker = new Worker("worker.mjs", { type: "module" });
  } catch (error) {
    return stopFor(error.message);
  }
  worker.onerror = event => { event.preventDefault(); stopFor(event.message || "worker.mjs cannot be started"); };
  worker.onmessage = ({ data }) => hear(data);
  worker.postMessage({ facts });
  lay();
}

function lay() {
  const shares = facts.graphs.map(graph => percent(graph.ratio));
  part.dial.max = facts.graphs.length - 1;
  part.dial.value = facts.graphs.findIndex(graph => graph.ratio === facts.start);
  [part.least.textContent, part.most.textContent] = [`${shares[0]}: slowest`, `${shares.at(-1)}: fastest`];
  [part.picture.height, part.picture.width] = zoomed();
  const { criterion, fold } = facts.rule, become = fold === "merge" ? "merged into others" : "dropped";
  part.about.textContent = `Patches that ${DROPPED[criterion]} are ${become} on the way through the network: fewer patches, less time.`;
  if (facts.multi_label) part["classes-title"].textContent = "Most likely classes, each for itself";
  const size = `${facts.image_size[0]} × ${facts.image_size[1]} pixels`;
  part.made.textContent = `Model: ${facts.classes.length} classes, ${size}, ${patches()} patches. Made by pcae ${facts.pcae}; computed by ONNX Runtime Web ${facts.onnxruntime_web} (MIT licence).`;
  part.times.replaceChildren(...facts.graphs.map(({ ratio: value, kept }) => {
    const row = document.createElement("tr");
    row.append(made("th", percent(value), { scope: "row" }), made("td", Object.values(kept).at(-1) ?? patches()), made("td", "–"), made("td", "0"));
    return row;
  }));
  turn();
}

/** Height and width of the drawn picture: the model's, times a whole number. */
function zoomed() {
  const zoom = Math.max(1, Math.ceil(672 / Math.max(...facts.image_size)));
  return facts.image_size.map(side => side * zoom);
}

function turn() {
  const { ratio: value, kept } = graphAt(ratio()), counts = Object.values(kept), blocks = Object.keys(kept);
  const where = facts.rule.before_mlp ? "in" : "after"; // a stage before a block's MLP is inside it
  part["dial-said"].value = percent(value);
  part.dial.setAttribute("aria-valuetext", percent(value));
  part.left.textContent = counts.length ? `${[patches(), ...counts].join(" → ")} patches` : `All ${patches()} patches stay.`;
  const steps = [["all", "all"], ...blocks.map((block, stage) => [String(stage), `${where} block ${block}`])];
  if (!steps.some(([step]) => step === chosenStage)) chosenStage = null;
  part.stages.replaceChildren(...steps.map(([step, text], index) => {
    const label = made("label", ""), input = made("input", "", { type: "radio", name: "stage", value: step });
    input.checked = chosenStage === null ? index === steps.length - 1 : chosenStage === step;
    input.onchange = () => { chosenStage = step; draw(); };
    label.append(input, text);
    return label;
  }));
  [...part.times.rows].forEach((row, index) => {
    if (index === Number(part.dial.value)) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
  draw();
}

/** Ask for an answer, or note that one is wanted when the one on the way has come. */
function ask(picture = null) {
  if (picture) wanted?.picture?.bitmap.close();
  wanted = { ratio: ratio(), picture: picture ?? wanted?.picture };
  if (!busy && ready) send();
}

let ready = false;
function send() {
  const { ratio: value, picture } = wanted;
  [wanted, busy] = [null, true];
  if (picture) {
    keep(picture.bitmap);
    number++;
  }
  worker.postMessage({ id: number, ratio: value, ...picture }, picture ? [picture.bitmap] : []);
}

function hear(data) {
  if (data.said) return void (part.state.textContent = data.said);
  if (data.ready) {
    [ready, part.main.hidden, part.state.hidden] = [true, false, true];
    if (wanted) send();
    return;
  }
  busy = false;
  if (data.fault) {
    if (data.starting) return stopFor(data.fault);
    closeCamera();
    complain(`This picture cannot be classified: ${data.fault}`);
  } else take(data);
  if (wanted) send();
  else if (camera) void look();
  else if (!data.fault && ++runs < AGAIN) ask();
}

function take(found) {
  const known = times.get(found.ratio) ?? [];
  times.set(found.ratio, [...known, found.milliseconds].slice(-LAST));
  if (found.pixels || answer?.ratio !== found.ratio) runs = 0;
  const fresh = !answer || found.id !== answer.id || found.ratio !== answer.ratio;
  answer = found;
  showTimes();
  if (!fresh) return;
  const chances = showClasses();
  draw();
  document.dispatchEvent(new CustomEvent("answer", { detail: { ...found, chances } }));
}

function showTimes() {
  facts.graphs.forEach(({ ratio: value }, index) => {
    const known = times.get(value);
    if (!known) return;
    const [, , time, count] = part.times.rows[index].cells;
    time.textContent = median(known).toFixed(median(known) < 10 ? 1 : 0);
    count.textContent = known.length;
  });
}

/** What the logits say: the softmax of all, or the sigmoid of each. */
function chancesOf(logits) {
  if (facts.multi_label) return logits.map(logit => 1 / (1 + Math.exp(-logit)));
  const most = Math.max(...logits), powers = logits.map(logit => Math.exp(logit - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map(power => power / total);
}

function showClasses() {
  const chances = chancesOf(answer.logits);
  const best = chances.map((chance, place) => ({ name: facts.classes[place], chance }))
    .sort((one, other) => other.chance - one.chance).slice(0, 5);
  part["none-yet"].hidden = true;
  part.classes.replaceChildren(...best.map(({ name, chance }) => {
    const item = made("li", ""), line = made("div", "", { className: "named" }), bar = made("div", "", { className: "bar" });
    const fill = document.createElement("i");
    fill.style.width = `${100 * chance}%`;
    line.append(made("span", name), made("span", percent(chance, 1)));
    bar.append(fill);
    item.append(line, bar);
    return item;
  }));
  const said = `${best[0].name}, ${percent(best[0].chance)}`;
  part.picture.setAttribute("aria-label", `The picture, ${part.left.textContent}`);
  if (!camera) part.heard.textContent = `Most likely: ${said}`;
  return best;
}

/** The part of a picture that the model sees, as large as it is drawn, before the picture goes to the worker. */
function keep(bitmap) {
  const [height, width] = zoomed(), [modelHeight, modelWidth] = facts.image_size, size = [bitmap.width, bitmap.height];
  const box = wholePixels(seenBox(size, [modelWidth, modelHeight], facts.crop_pct), size);
  base = Object.assign(document.createElement("canvas"), { width, height });
  const context = base.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = Math.min(box[2], box[3]) >= SHARP;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...box, 0, 0, width, height);
}

function draw() {
  if (!base) return;
  const context = part.picture.getContext("2d"), { width, height } = part.picture;
  part.invite.hidden = true;
  part.stand.classList.add("full");
  context.drawImage(base, 0, 0);
  const stage = document.querySelector("#stages :checked")?.value;
  if (stage === "all" || stage === undefined || answer?.ratio !== ratio() || answer.id !== number) return;
  const left = new Set(answer.kept[Number(stage)]), [rows, columns] = facts.grid;
  context.fillStyle = "rgba(22, 27, 36, .8)";
  for (let place = 0; place < rows * columns; place++) {
    if (left.has(place)) continue;
    const x = place % columns, y = Math.floor(place / columns);
    context.fillRect(x * width / columns, y * height / rows, width / columns, height / rows);
  }
}

/** A picture as its file has it: turned as it says, without a change of colours. */
async function opened(source) {
  const head = source instanceof Blob ? new Uint8Array(await source.slice(0, HEAD).arrayBuffer()) : new Uint8Array();
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return { bitmap: await createImageBitmap(source, options), orientation: orientationOf(head) };
}

async function read(file) {
  closeCamera();
  complain("");
  try {
    ask(await opened(file));
  } catch (error) {
    complain(`${file.name || "This"} cannot be read as a picture (${error.message}). Browsers read JPEG, PNG, WebP, GIF, BMP and most AVIF.`);
  }
}

const first = files => [...files].find(file => file.type.startsWith("image/")) ?? files[0];

async function openCamera() {
  complain("");
  try {
    if (!navigator.mediaDevices) throw new Error("browsers allow it over https and on localhost alone");
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    part.video.srcObject = camera;
    await part.video.play();
  } catch (error) {
    closeCamera();
    return complain(`The camera cannot be used: ${error.message}`);
  }
  part.camera.setAttribute("aria-pressed", "true");
  part.camera.textContent = "Stop the camera";
  if (!busy) void look();
}

async function look() {
  try {
    ask(await opened(part.video));
  } catch (error) {
    closeCamera();
    complain(`The camera gives no picture: ${error.message}`);
  }
}

function closeCamera() {
  camera?.getTracks().forEach(track => track.stop());
  camera = part.video.srcObject = null;
  part.camera.setAttribute("aria-pressed", "false");
  part.camera.textContent = "Use the camera";
}

part.choose.onclick = () => part.file.click();
part.file.onchange = () => { if (part.file.files.length) void read(part.file.files[0]); part.file.value = ""; };
part.camera.onclick = () => camera ? closeCamera() : openCamera();
part.dial.oninput = () => { turn(); if (base) ask(); };
addEventListener("dragover", event => { event.preventDefault(); part.stand.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) part.stand.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  part.stand.classList.remove("over");
  if (event.dataTransfer.files.length) void read(first(event.dataTransfer.files));
  else complain("What was dropped is no file; drop a picture's file, or choose one.");
});
addEventListener("paste", event => { if (event.clipboardData.files.length) void read(first(event.clipboardData.files)); });
void begin();
