/* A photo on a canvas, with a map of light, coloured regions or a framed patch on it (insight/render/figure.py draws the same light). */

/* Okabe and Ito's colours, told apart by colour-blind eyes, then lighter and darker ones. */
export const COLOURS = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#f0e442",
  "#ffffff",
  "#8c564b",
  "#7f7f7f",
  "#17d0c0",
  "#6a3d9a",
];
const rgb = colour => [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));

/* Values [h, w] enlarged bilinearly to size × size, as bytes of 0 to 255 of their peak. */
function enlarged(values, h, w, size) {
  const peak = values.reduce((a, b) => Math.max(a, b), 1e-9);
  const small = new OffscreenCanvas(w, h),
    context = small.getContext("2d"),
    cells = context.createImageData(w, h);
  values.forEach((value, i) => {
    cells.data[4 * i] = (255 * value) / peak;
    cells.data[4 * i + 3] = 255;
  });
  context.putImageData(cells, 0, 0);
  const large = new OffscreenCanvas(size, size),
    canvas = large.getContext("2d", {willReadFrequently: true});
  canvas.imageSmoothingQuality = "medium";
  canvas.drawImage(small, 0, 0, size, size);
  return canvas.getImageData(0, 0, size, size).data;
}

export class Stage {
  constructor(canvas, image, size = 560) {
    this.canvas = canvas;
    this.size = canvas.width = canvas.height = size;
    this.context = canvas.getContext("2d", {willReadFrequently: true});
    this.image = image;
    this.context.drawImage(image, 0, 0, size, size);
    this.photo = this.context.getImageData(0, 0, size, size).data;
  }

  plain() {
    this.context.drawImage(this.image, 0, 0, this.size, this.size);
  }

  /* The photo stays bright where the map is high: amber light on a dark blue ground. */
  light(values, [h, w]) {
    const weight = enlarged(values, h, w, this.size),
      out = this.context.createImageData(this.size, this.size);
    for (let i = 0; i < weight.length; i += 4) {
      const t = Math.pow(weight[i] / 255, 0.7),
        p = this.photo;
      const grey = (0.3 * (p[i] + p[i + 1] + p[i + 2])) / 3;
      out.data[i] = t * (0.8 * p[i] + 51) + (1 - t) * (grey + 6);
      out.data[i + 1] = t * (0.8 * p[i + 1] + 38) + (1 - t) * (grey + 9);
      out.data[i + 2] = t * (0.8 * p[i + 2] + 12) + (1 - t) * (grey + 28);
      out.data[i + 3] = 255;
    }
    this.context.putImageData(out, 0, 0);
  }

  /* Regions: labels [H, W] with a colour each; a label without a colour leaves the photo dark. */
  regions(labels, [h, w], colours) {
    const out = this.context.createImageData(this.size, this.size),
      known = new Map([...colours].map(([label, colour]) => [label, rgb(colour)]));
    for (let y = 0; y < this.size; y++)
      for (let x = 0; x < this.size; x++) {
        const i = 4 * (y * this.size + x),
          row = Math.floor((y * h) / this.size),
          column = Math.floor((x * w) / this.size);
        const colour = known.get(labels[row * w + column]),
          grey = (this.photo[i] + this.photo[i + 1] + this.photo[i + 2]) / 3;
        for (let c = 0; c < 3; c++) out.data[i + c] = colour ? 0.45 * grey + 0.55 * colour[c] : 0.35 * grey;
        out.data[i + 3] = 255;
      }
    this.context.putImageData(out, 0, 0);
  }

  frame(patch, [h, w]) {
    const wide = this.size / w,
      tall = this.size / h,
      x = (patch % w) * wide,
      y = Math.floor(patch / w) * tall;
    for (const [colour, width] of [
      ["#000", 5],
      ["#fff", 2],
    ]) {
      this.context.strokeStyle = colour;
      this.context.lineWidth = width;
      this.context.strokeRect(x, y, wide, tall);
    }
  }
}

/* Tells which patch is pointed at, by mouse, touch or arrow keys; null when none is. */
export function pointing(canvas, [h, w], tell, choose = () => {}) {
  let patch = null;
  const of = event => {
    const box = canvas.getBoundingClientRect();
    const column = Math.min(w - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * w)));
    const row = Math.min(h - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * h)));
    return row * w + column;
  };
  const move = to => {
    if (to !== patch) tell((patch = to));
  };
  canvas.onpointermove = event => move(of(event));
  canvas.onpointerleave = () => move(null);
  canvas.onclick = event => {
    move(of(event));
    choose(patch);
  };
  canvas.onblur = () => move(null);
  canvas.onkeydown = event => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (event.key === "Enter" && patch !== null) choose(patch);
    if (!step) return;
    event.preventDefault();
    const [row, column] = patch === null ? [h >> 1, w >> 1] : [Math.floor(patch / w) + step[0], (patch % w) + step[1]];
    move(Math.min(h - 1, Math.max(0, row)) * w + Math.min(w - 1, Math.max(0, column)));
  };
}

/* Runs of (label, count) → one label a pixel. */
export function unroll(runs, length) {
  const labels = new Int32Array(length);
  for (let i = 0, at = 0; i < runs.length; at += runs[i + 1], i += 2) labels.fill(runs[i], at, at + runs[i + 1]);
  return labels;
}
