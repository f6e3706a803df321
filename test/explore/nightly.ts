import { explore, type Engine } from '../../src/explore/explore.ts';
import { SLOW, algorithms, benchmarks, litmusTests, title } from '../zoo/index.ts';
import { underTso } from '../zoo/program.ts';

/**
 * Every program with a known count, by both engines under sequential consistency and by source sets under
 * x86-TSO, the ones included that are too large for `npm test`. What `npm run nightly` runs first.
 */
interface Row {
  readonly what: string;
  readonly engine: Engine;
  readonly counted: { readonly runs: number; readonly sleepBlocked: number };
  readonly known: number;
}

function* rows(): Generator<Row> {
  for (const program of [...litmusTests, ...benchmarks, ...algorithms]) {
    for (const engine of ['source', 'optimal'] as const) {
      const counted = explore(program.build(), { engine });
      yield { what: `${title(program)}, SC`, engine, counted, known: program.runs };
    }
    if (program.tso === null) continue;
    const counted = explore(underTso(program.build()));
    yield { what: `${title(program)}, TSO`, engine: 'source', counted, known: program.tso };
  }
}

/** Prints a line for each large program and for each wrong count; returns how many are wrong. */
export function nightlyCounts(print: (text: string) => void): number {
  let [wrong, programs] = [0, 0];
  for (const { what, engine, counted, known } of rows()) {
    programs++;
    const right = counted.runs === known && (engine === 'source' || counted.sleepBlocked === 0);
    if (!right) wrong++;
    if (right && known <= SLOW) continue;
    const verdict = right ? 'as known' : `WRONG: ${known} are known`;
    print(
      `${what}, ${engine}: ${counted.runs} runs, ${verdict}, ${counted.sleepBlocked} blocked\n`,
    );
  }
  print(`${programs} counts, ${wrong} wrong\n`);
  return wrong;
}
