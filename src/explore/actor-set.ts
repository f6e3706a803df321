/**
 * A set of actors, by index. The searches keep one per depth and change it in place; two words of bits make
 * the questions of their inner loops (does it sleep, was it tried, who is first) a few instructions each.
 * How many actors fit is `MAX_ACTORS`; nobody else counts actors in bits.
 */
export class ActorSet {
  /** Actors 0 to 31 and 32 to 63. A shift takes its distance modulo 32, so `1 << actor` is right for both. */
  private low = 0;
  private high = 0;

  has(actor: number): boolean {
    return ((actor < 32 ? this.low : this.high) & (1 << actor)) !== 0;
  }

  add(actor: number): void {
    if (actor < 32) this.low |= 1 << actor;
    else this.high |= 1 << actor;
  }

  delete(actor: number): void {
    if (actor < 32) this.low &= ~(1 << actor);
    else this.high &= ~(1 << actor);
  }

  clear(): void {
    this.low = 0;
    this.high = 0;
  }

  /** Becomes the union of two others. */
  unite(one: ActorSet, other: ActorSet): void {
    this.low = one.low | other.low;
    this.high = one.high | other.high;
  }

  isEmpty(): boolean {
    return (this.low | this.high) === 0;
  }

  /** How many they are. */
  size(): number {
    return bitCount(this.low) + bitCount(this.high);
  }

  /** The first member from index `from` on, or -1: `for (let at = set.next(0); at >= 0; at = set.next(at + 1))`. */
  next(from: number): number {
    if (from < 32) {
      const low = this.low & (-1 << from);
      if (low !== 0) return lowest(low);
      return this.high === 0 ? -1 : 32 + lowest(this.high);
    }
    const high = from < 64 ? this.high & (-1 << from) : 0;
    return high === 0 ? -1 : 32 + lowest(high);
  }
}

/** The set at `depth` of a list that grows as a search goes deeper, emptied. */
export function emptyAt(sets: ActorSet[], depth: number): ActorSet {
  const set = (sets[depth] ??= new ActorSet());
  set.clear();
  return set;
}

function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function bitCount(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++;
  return count;
}
