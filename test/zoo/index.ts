import { counted, family, scOnly, underTso, type Counted } from './counted.ts';
import { ainc, binc, casrot, casw, inc } from './counters.ts';
import { fib, fib3, fibobs } from './fibonacci.ts';
import { filesystem, indexer } from './hash-tables.ts';
import { CoA, SBring, big0, big1, litmus, litmusTable } from './litmus.ts';
import { msq, treiber } from './lock-free.ts';
import { ABBA, lockinc, spinlock, spinlockAssume, ticket, ticketAssume } from './locks.ts';
import { dekkerL, lamport, peterson, petersonL } from './mutual-exclusion.ts';
import { toyRcu } from './rcu.ts';
import { seqlock } from './seqlock.ts';
import { szym1, szymL } from './szymanski.ts';
import * as writers from './writers.ts';

/** Litmus tests. */
export const litmusTests: readonly Counted[] = [
  ...litmusTable.flatMap(([name, text, runs, tso]) =>
    underTso([counted(name, [], () => litmus(text), runs)], tso),
  ),
  ...underTso(
    family('SBring', SBring, [2, 3], [3, 7], [4, 15], [5, 31], [6, 63]),
    4,
    8,
    16,
    32,
    64,
  ),
];

/** Programs that show what a reduction is worth. */
export const benchmarks: readonly Counted[] = [
  ...family('readers', writers.readers, [2, 4], [8, 256], [13, 8192]),
  ...family(
    'lastzero',
    writers.lastzero,
    ...[
      [1, 2],
      [2, 5],
      [3, 12],
      [4, 28],
      [5, 64],
      [10, 3328],
      [15, 147_456],
    ],
  ),
  ...family('nwriters1r', writers.nwriters1r, [1, 2], [2, 6], [3, 24], [4, 120], [5, 720]),
  ...family('lastwrite', writers.lastwrite, [1, 1], [2, 2], [3, 6], [4, 24], [5, 120], [6, 720]),
  ...family('floatread', writers.floatread, [1, 2], [2, 6], [3, 24], [4, 120], [5, 720]),
  ...family('nw2t', writers.nw2t, [1, 4], [2, 14], [3, 50], [4, 182]),
  ...family('redco', writers.redco, [1, 12], [2, 90], [3, 560], [4, 3150], [5, 16_632]),
  ...family('racepar', writers.racepar, [1, 4], [2, 34], [3, 328], [4, 3334], [5, 34_904]),
  ...family('inc', inc, [2, 4], [3, 36], [4, 576], [5, 14_400]),
  ...family('ainc', ainc, [2, 2], [3, 6], [4, 24], [5, 120], [6, 720]),
  ...family('binc', binc, [2, 4], [3, 36], [4, 576], [5, 14_400]),
  ...family(
    'casrot',
    casrot,
    ...[
      [2, 2],
      [3, 5],
      [4, 14],
      [5, 43],
      [6, 144],
      [7, 523],
      [8, 2048],
    ],
  ),
  ...scOnly(family('casrot', casrot, [9, 8597])),
  ...family('casw', casw, [2, 6], [3, 66], [4, 1200]),
  ...scOnly(family('casw', casw, [5, 32_880])),
  ...scOnly(family('wcas', writers.wcas, [2, 5], [3, 13], [4, 33], [5, 81], [9, 2305])),
  ...scOnly(family('wrw', writers.wrw, [2, 22], [3, 300], [4, 6576])),
  ...scOnly(family('CoA', CoA, [0, 4], [1, 15], [2, 130], [3, 2028], [4, 49_776])),
  ...underTso(family('fib', fib, [1, 3], [2, 19], [3, 141], [4, 1107]), 3, 20, 175, 1764),
  ...underTso(family('fibobs', fibobs, [1, 11], [2, 140], [3, 1698]), 11, 153, 2258),
  ...underTso(family('fib3', fib3, [1, 11], [2, 140], [3, 1698]), 11, 153, 2258),
  ...family('indexer', indexer, [11, 1], [12, 8], [13, 64], [14, 512], [15, 4096]),
  ...family('filesystem', filesystem, [13, 1], [14, 2], [16, 8], [18, 32], [19, 64]),
  ...scOnly(family('big0', big0, [69_112])),
  ...scOnly(family('big1', big1, [1_820_474])),
];

/** Locks, mutual exclusion, data structures, RCU. */
export const algorithms: readonly Counted[] = [
  ...family('lockinc', lockinc, [2, 2], [3, 6], [4, 24], [5, 120], [6, 720]),
  ...family('spinlock', spinlock, [2, 2], [3, 6], [4, 24], [5, 120], [6, 720]),
  ...family('ticket', ticket, [2, 2], [3, 6], [4, 24], [5, 120], [6, 720]),
  ...family('spinlock with assume', spinlockAssume, [3, 6], [4, 24], [5, 120]),
  ...family('ticket with assume', ticketAssume, [3, 6], [4, 24], [5, 120]),
  ...scOnly([counted('ABBA', [], ABBA, 3, 1)]),
  ...family('peterson', () => peterson(), [4]),
  ...family('petersonL', () => petersonL(), [2420]),
  ...underTso(
    family('dekkerL', () => dekkerL(), [1599]),
    1719,
  ),
  ...family('szym1', () => szym1(), [6]),
  ...family('szymL', () => szymL(), [22_945]),
  ...family('lamport', () => lamport(), [16]),
  ...underTso([counted('lamport without barriers', [], () => lamport(false), 16)], 28),
  ...family(
    'treiber',
    treiber,
    ...[
      [1, 1, 2],
      [1, 2, 7],
      [2, 1, 22],
      [2, 2, 220],
      [3, 1, 1002],
      [3, 2, 34_968],
    ],
  ),
  ...family('msq', msq, [1, 1, 4], [1, 2, 67], [2, 1, 188], [2, 2, 11_198], [3, 1, 122_676]),
  ...family('seqlock', seqlock, [1, 1, 11], [2, 1, 37], [3, 1, 89], [1, 2, 121], [2, 2, 1369]),
  ...family(
    'seqlock with tries',
    seqlock,
    ...[
      [1, 1, 2, 16],
      [2, 1, 2, 145],
      [3, 1, 2, 707],
      [1, 2, 2, 256],
      [2, 2, 2, 21_025],
    ],
  ),
  ...family('toyRcu', (m: number) => toyRcu(m), [1, 3], [2, 9], [3, 27]),
];

export const zoo: readonly Counted[] = [...litmusTests, ...benchmarks, ...algorithms].filter(
  ({ benchOnly }) => !benchOnly,
);

export { SLOW, title, type Counted } from './counted.ts';
