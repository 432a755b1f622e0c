/* The concepts of a photo's patches as the server sends them (sparse rows), and what can be read off them. */

export class Codes {
  constructor(answer) {
    Object.assign(this, {
      grid: answer.grid,
      fvu: answer.fvu,
      table: answer.table,
      names: answer.names,
      m: answer.m,
      offsets: answer.offsets,
      concepts: answer.concepts,
      activations: answer.activations,
    });
    const strongest = new Map();
    this.concepts.forEach((id, i) => strongest.set(id, Math.max(strongest.get(id) ?? 0, this.activations[i])));
    this.ranked = [...strongest]
      .map(([id, activation]) => ({id, activation, ...this.table[id]}))
      .sort((a, b) => b.activation - a.activation);
    this.peaks = strongest;
  }

  get patches() {
    return this.offsets.length - 1;
  }

  /* The activation of a concept on each patch. */
  map(id) {
    const values = new Float32Array(this.patches);
    for (let patch = 0; patch < this.patches; patch++)
      for (let i = this.offsets[patch]; i < this.offsets[patch + 1]; i++)
        if (this.concepts[i] === id) values[patch] = this.activations[i];
    return values;
  }

  /* The concepts on one patch, strongest first. */
  at(patch) {
    const here = [];
    for (let i = this.offsets[patch]; i < this.offsets[patch + 1]; i++)
      here.push({id: this.concepts[i], activation: this.activations[i], ...this.table[this.concepts[i]]});
    return here.sort((a, b) => b.activation - a.activation);
  }

  /* The strongest concept of each patch among those up to a level, -1 where there is none. */
  strongest(level) {
    const winners = new Int32Array(this.patches).fill(-1);
    for (let patch = 0; patch < this.patches; patch++) {
      let best = 0;
      for (let i = this.offsets[patch]; i < this.offsets[patch + 1]; i++)
        if (this.activations[i] > best && this.table[this.concepts[i]].level <= level) {
          best = this.activations[i];
          winners[patch] = this.concepts[i];
        }
    }
    return winners;
  }
}
