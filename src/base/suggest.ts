/** The name that `typed` was probably meant to be, or null if nothing comes close. */
export function suggest(typed: string, names: Iterable<string>): string | null {
  let best: string | null = null;
  // A third of the letters may be wrong; more than that is guessing.
  let bestDistance = Math.max(1, Math.floor(typed.length / 3)) + 1;
  for (const name of names) {
    const distance = distanceTo(name.toLowerCase(), typed.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Names are long, and people begin them: a beginning counts nearly as much as the whole. One of few letters
 * resembles too many names, so it must be right.
 */
function distanceTo(name: string, typed: string): number {
  const whole = editDistance(typed, name);
  if (typed.length < 3 || typed.length >= name.length) return whole;
  const begun = editDistance(typed, name.slice(0, typed.length));
  return begun > 0 && typed.length < 5 ? whole : Math.min(whole, begun + 0.5);
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  const cell = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++) {
    const row: number[] = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(
        cell(i - 1, j) + 1,
        cell(i, j - 1) + 1,
        cell(i - 1, j - 1) + (same ? 0 : 1),
      );
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) least = Math.min(least, cell(i - 2, j - 2) + 1);
      row.push(least);
    }
  }
  return cell(a.length, b.length);
}
