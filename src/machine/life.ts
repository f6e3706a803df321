/** The lives of page frames: a number says which life it is, and what the frame is in it. */

/** What a frame is, the low bits of its life cell; the generation is above. */
export const FREE = 0;
export const ALLOCATED = 1;
/** Unlinked and handed to RCU, not yet returned to the allocator. */
export const PENDING = 2;
/** Handed out to an owner outside the scenario. */
export const FOREIGN = 3;
const LIFE_BITS = 2;

export function lifeState(life: number): number {
  return life & ((1 << LIFE_BITS) - 1);
}
export function lifeGeneration(life: number): number {
  return life >> LIFE_BITS;
}
export function makeLife(generation: number, state: number): number {
  return (generation << LIFE_BITS) | state;
}
