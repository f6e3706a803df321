import type { Run } from './run.ts';

/**
 * A number for the equivalence class of a complete run: the same for all runs that differ only in the order
 * of independent steps, and (but for one chance in 2^53) another for every other class.
 *
 * A class is its happens-before relation over named steps: which actor, its how-manieth step, with which
 * outcome, after how many steps of each other actor. Actors created in the run are named by their creator
 * and their place among its creations, because the order in which two creators act may differ within a class.
 */
export function classHash(run: Run, clockOf: (step: number, actor: number) => number): number {
  const names = nameActors(run);
  const taken: number[] = [];
  let low = 0x9e3779b9;
  let high = 0x7f4a7c15;
  for (let step = 0; step < run.depth; step++) {
    const actor = run.actorAt[step] as number;
    const place = (taken[actor] = (taken[actor] ?? 0) + 1);
    let past = 0;
    for (let other = 0; other < names.length; other++) {
      const clock = clockOf(step, other);
      if (clock > 0 && other !== actor) past = (past + mix(names[other] as number, clock)) | 0;
    }
    const name = mix(names[actor] as number, place);
    const what = mix(name, mix(past, run.outcomeAt[step] as number));
    low = (low + what) | 0;
    high = (high + mix(what, 0x27d4eb2f)) | 0;
  }
  return (low >>> 0) * 2 ** 21 + (high >>> 11);
}

function nameActors(run: Run): number[] {
  const names: number[] = [];
  const children: number[] = [];
  for (const index of run.created()) {
    const { creator } = run.machine.actor(index);
    if (creator < 0) names[index] = mix(0x165667b1, index);
    else {
      const place = (children[creator] = (children[creator] ?? 0) + 1);
      names[index] = mix(names[creator] as number, place);
    }
  }
  return names;
}

/** Murmur3's finaliser over a combination of both. */
function mix(one: number, other: number): number {
  let mixed = (Math.imul(one, 0x85ebca6b) ^ Math.imul(other + 0x3c6ef372, 0xc2b2ae35)) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
