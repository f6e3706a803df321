import type { Program } from '../../src/explore/run.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add } from '../../src/machine/ops/memory.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import type { Steps } from '../../src/machine/op.ts';
import { build } from './program.ts';
import { times, type Words } from './words.ts';

/**
 * Litmus tests, written as in the table: threads separated by `||`, statements by `;`. `x=1` stores, `r=x`
 * loads, `FAA x` adds one; `MB` is a full barrier.
 */
export function litmus(text: string): Program {
  const threads = text.split('||').map((thread) => thread.split(';').map((part) => part.trim()));
  const names = threads.flat().flatMap((statement) => statement.match(/\b[a-qs-z]\d*\b/g) ?? []);
  return build({
    words: Object.fromEntries(names.map((name) => [name, 0])),
    threads: (w: Words) =>
      threads.map(
        (statements) =>
          function* () {
            const seen: number[] = [];
            for (const statement of statements) yield* execute(w, statement, seen);
            return seen.join();
          },
      ),
  });
}

function* execute(w: Words, statement: string, seen: number[]): Steps<void> {
  const [, added] = /^FAA (\w+)$/.exec(statement) ?? [];
  const [, left, right] = /^(\w+)=(\w+)$/.exec(statement) ?? [];
  if (added) yield* fetch_add(w[added]!, 1);
  else if (left === 'r' && right) seen.push(yield* READ_ONCE(w[right]!));
  else if (left) yield* WRITE_ONCE(w[left]!, Number(right));
  else if (statement === 'MB') yield* smp_mb();
  else throw new Error(`not a litmus statement: ${statement}`);
}

/** Thread i: x[i]=1; r=x[(i+1)%N]. */
export function SBring(n: number): Program {
  return litmus(times(n, (i) => `x${i}=1; r=x${(i + 1) % n}`).join(' || '));
}

/** x=1;r=y;r=x || x=2;r=z;r=x || k threads y=i;z=i. */
export function CoA(k: number): Program {
  const writers = times(k, (i) => ` || y=${i + 1}; z=${i + 1}`).join('');
  return litmus(`x=1; r=y; r=x || x=2; r=z; r=x${writers}`);
}

const bigWriters = 'x=1; y=1; x=2; y=2; x=3; y=3 || z=1; w=1; z=2; w=2; z=3; w=3';

export function big0(): Program {
  return litmus(`r=x; r=y; r=z; r=w; r=x; r=y; r=z || r=x; r=y; r=z || ${bigWriters}`);
}

export function big1(): Program {
  return litmus(
    `r=x; r=y; r=z; r=w; r=x; r=y; r=z; r=w || r=x; r=y; r=z; r=w; r=x; r=y || ${bigWriters}`,
  );
}

/** Name, program, executions under sequential consistency and under x86-TSO (null: nobody has counted). */
export const litmusTable: readonly (readonly [
  name: string,
  text: string,
  runs: number,
  tso: number | null,
])[] = [
  ['SB', 'x=1; r=y || y=1; r=x', 3, 4],
  ['SB+mb', 'x=1; MB; r=y || y=1; MB; r=x', 3, 3],
  ['MP', 'x=1; y=1 || r=y; r=x', 3, 3],
  ['LB', 'r=x; y=1 || r=y; x=1', 3, 3],
  ['S', 'x=2; y=1 || r=y; x=1', 3, 3],
  ['R', 'x=1; y=1 || y=2; r=x', 3, 4],
  ['2+2W', 'x=1; y=2 || y=1; x=2', 3, 3],
  ['IRIW', 'x=1 || y=1 || r=x; r=y || r=y; r=x', 15, 15],
  ['WRC', 'x=1 || r=x; y=1 || r=y; r=x', 7, 7],
  ['ISA2', 'x=1; y=1 || r=y; z=1 || r=z; r=x', 7, 7],
  ['RWC', 'x=1 || r=x; r=y || y=1; r=x', 7, 8],
  ['CoRR', 'x=1 || r=x; r=x || x=2', 12, 12],
  ['n6', 'x=1; r=x; r=y || y=1; x=2', 4, 5],
  ['W+RRR+W', 'x=1 || r=x; r=x; r=x || x=2', 20, null],
  ['sat', 'z=1 || r=z; y=1 || r=y; x=1 || x=2 || r=x; y=2; r=z || r=x; z=2; r=y', 2476, 3536],
  ['inc+inc+RR+W+RR', 'FAA x || FAA x || r=x; r=x || x=42 || r=x; r=x', 600, null],
  ['viktor-relseq', 'FAA x; FAA x || FAA x; FAA x || FAA x || FAA x', 180, null],
];
