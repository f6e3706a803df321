/**
 * Litmus tests by shape, each with the outcome that closes its cycle: what the threads read, and what some
 * words say at the end. The names and shapes are the usual ones of the herd tools' catalogue.
 */
export interface Shape {
  readonly name: string;
  readonly text: string;
  /** What each thread reads in the outcome asked about; undefined: no matter what. */
  readonly reads: readonly (string | undefined)[];
  /** Final values in it. */
  readonly finals: Readonly<Record<string, number>>;
}

function shape(
  name: string,
  text: string,
  reads: string,
  finals: Readonly<Record<string, number>> = {},
): Shape {
  return { name, text, reads: reads.split('|').map((each) => each.trim()), finals };
}

/** Never, under sequential consistency and under x86-TSO. */
export const NEVER: readonly Shape[] = [
  shape('MP', 'x=1; y=1 || r=y; r=x', '| 1,0'),
  shape('LB', 'r=x; y=1 || r=y; x=1', '1 | 1'),
  shape('S', 'x=2; y=1 || r=y; x=1', '| 1', { x: 2 }),
  shape('2+2W', 'x=2; y=1 || y=2; x=1', '|', { x: 2, y: 2 }),
  shape('WRC', 'x=1 || r=x; y=1 || r=y; r=x', '| 1 | 1,0'),
  shape('ISA2', 'x=1; y=1 || r=y; z=1 || r=z; r=x', '| 1 | 1,0'),
  shape('WWC', 'x=2 || r=x; y=1 || r=y; x=1', '| 2 | 1', { x: 2 }),
  shape('WRR+2W', 'x=2 || r=x; r=y || y=1; x=1', '| 2,0 |', { x: 2 }),
  shape('WRW+2W', 'x=2 || r=x; y=1 || y=2; x=1', '| 2 |', { x: 2, y: 2 }),
  shape('Z6.1', 'x=2; y=1 || y=2; z=1 || r=z; x=1', '| | 1', { x: 2, y: 2 }),
  shape('Z6.2', 'x=2; y=1 || r=y; z=1 || r=z; x=1', '| 1 | 1', { x: 2 }),
  shape('Z6.3', 'x=1; y=1 || y=2; z=1 || r=z; r=x', '| | 1,0', { y: 2 }),
  shape('3.LB', 'r=x; y=1 || r=y; z=1 || r=z; x=1', '1 | 1 | 1'),
  shape('3.2W', 'x=2; y=1 || y=2; z=1 || z=2; x=1', '| |', { x: 2, y: 2, z: 2 }),
  shape('IRIW', 'x=1 || r=x; r=y || y=1 || r=y; r=x', '| 1,0 | | 1,0'),
  shape('IRRWIW', 'x=2 || r=x; r=y || y=1 || r=y; x=1', '| 2,0 | | 1', { x: 2 }),
  shape('IRWIW', 'x=2 || r=x; y=1 || y=2 || r=y; x=1', '| 2 | | 2', { x: 2, y: 2 }),
];

/** Never under sequential consistency, sometimes under x86-TSO: a load overtakes a store. */
export const STORE_LOAD: readonly Shape[] = [
  shape('SB', 'x=1; r=y || y=1; r=x', '0 | 0'),
  shape('R', 'x=1; y=1 || y=2; r=x', '| 0', { y: 2 }),
  shape('RWC', 'x=1 || r=x; r=y || y=1; r=x', '| 1,0 | 0'),
  shape('W+RWC', 'x=1; y=1 || r=y; r=z || z=1; r=x', '| 1,0 | 0'),
  shape('WRW+WR', 'x=1 || r=x; y=1 || y=2; r=x', '| 1 | 0', { y: 2 }),
  shape('Z6.0', 'x=1; y=1 || r=y; z=1 || z=2; r=x', '| 1 | 0', { z: 2 }),
  shape('Z6.4', 'x=1; y=1 || y=2; r=z || z=1; r=x', '| 0 | 0', { y: 2 }),
  shape('Z6.5', 'x=1; y=1 || y=2; z=1 || z=2; r=x', '| | 0', { y: 2, z: 2 }),
  shape('3.SB', 'x=1; r=y || y=1; r=z || z=1; r=x', '0 | 0 | 0'),
];

/** With some barriers, still sometimes under x86-TSO. */
export const TOO_FEW: readonly Shape[] = [
  shape('SB+mfence+po', 'x=1; MB; r=y || y=1; r=x', '0 | 0'),
  shape('R+mfence+po', 'x=1; MB; y=1 || y=2; r=x', '| 0', { y: 2 }),
  shape('SB+rfi-po', 'x=1; r=x; r=y || y=1; r=y; r=x', '1,0 | 1,0'),
  shape('Z6.4+po+mfence+po', 'x=1; y=1 || y=2; MB; r=z || z=1; r=x', '| 0 | 0', { y: 2 }),
  shape('Z6.4+po+po+mfence', 'x=1; y=1 || y=2; r=z || z=1; MB; r=x', '| 0 | 0', { y: 2 }),
  shape('3.SB+mfence+mfence+po', 'x=1; MB; r=y || y=1; MB; r=z || z=1; r=x', '0 | 0 | 0'),
];

/** A barrier between the one store and the load behind it is enough. */
export const ENOUGH: readonly Shape[] = [
  shape('R+po+mfence', 'x=1; y=1 || y=2; MB; r=x', '| 0', { y: 2 }),
  shape('RWC+po+mfence', 'x=1 || r=x; r=y || y=1; MB; r=x', '| 1,0 | 0'),
  shape('W+RWC+po+po+mfence', 'x=1; y=1 || r=y; r=z || z=1; MB; r=x', '| 1,0 | 0'),
  shape('WRW+WR+po+mfence', 'x=1 || r=x; y=1 || y=2; MB; r=x', '| 1 | 0', { y: 2 }),
  shape('Z6.0+po+po+mfence', 'x=1; y=1 || r=y; z=1 || z=2; MB; r=x', '| 1 | 0', { z: 2 }),
  shape('Z6.5+po+po+mfence', 'x=1; y=1 || y=2; z=1 || z=2; MB; r=x', '| | 0', { y: 2, z: 2 }),
];

/** The shape with a full barrier between any two accesses of a thread. */
export function fenced({ text, ...rest }: Shape): Shape {
  return { ...rest, text: text.replaceAll(/;(?! MB)/g, '; MB;') };
}
