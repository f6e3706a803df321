import type { Cell } from '../cells.ts';
import { leaf } from '../fn.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { may_sleep } from './rcu-gp.ts';

/**
 * Regions in which a task could sleep and must not: it is what somebody waits for who gives memory back.
 * Follows linux v6.12 include/linux/kernel.h (non_block_start, might_sleep) and kernel/sched/core.c.
 */

/** How deep the actor is in such regions. A satellite: nobody asks about others. */
function depthOf(m: Machine, actor: number): Cell {
  let depths = m.objects.get('non_block_count') as Map<number, Cell> | undefined;
  if (!depths) m.objects.set('non_block_count', (depths = new Map()));
  let cell = depths.get(actor);
  if (cell === undefined) depths.set(actor, (cell = m.cells.allocate()));
  return cell;
}

/** Is the actor in such a region? */
export function mayNotBlock(m: Machine, actor: number): boolean {
  return m.cells.peek(depthOf(m, actor)) > 0;
}

const nonBlockOp = defineOp('non_block', {
  ordering: 'none',
  exec: (m, who, [change]: [1 | -1]) => {
    const cell = depthOf(m, who.index);
    m.cells.poke(cell, m.cells.peek(cell) + change);
    return undefined;
  },
});

/** current->non_block_count++. */
export const non_block_start = leaf(function* non_block_start(): Steps<void> {
  yield* perform(nonBlockOp, [1]);
});

export const non_block_end = leaf(function* non_block_end(): Steps<void> {
  yield* perform(nonBlockOp, [-1]);
});

/** An allocation with GFP_KERNEL: it may sleep until reclaim has found memory. */
export const kmalloc_GFP_KERNEL = leaf(function* kmalloc_GFP_KERNEL(): Steps<void> {
  yield* may_sleep('kmalloc(GFP_KERNEL)');
});
