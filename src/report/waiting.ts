import type { RunReport } from '../scenario/result.ts';

/** Below the diagram: who waits for what, as far as the sentence above it has not said so. */
export function waitingLines({ violation, waiting }: RunReport): string[] {
  const said = violation?.message ?? '';
  const isSaid = (line: string): boolean =>
    said.includes(line) ||
    said.includes(line.replace(' waits for ', ' tries again and again, without '));
  return waiting.filter((line) => !isSaid(line)).map((line) => `${line}.`);
}
