import { askVariant, type AskOptions } from '../../src/ask/ask.ts';
import { readDiagram } from '../../src/ask/read-diagram.ts';
import type { AskResult } from '../../src/ask/result.ts';
import { columnsOf } from '../../src/scenario/facts.ts';
import { definitionOf } from '../../src/scenario/program.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

/** Asks as the command line does. */
export function ask(
  scenario: Scenario,
  variant: string,
  text: string,
  options: Partial<AskOptions> = {},
): AskResult {
  const diagram = readDiagram(text, columnsOf(definitionOf(scenario, variant)), 'race.txt');
  return askVariant(scenario, variant, diagram, {
    title: 'race.txt',
    limits: {},
    now: () => 0,
    plainCalls: new Set(['pmd_none', 'pte_page']),
    fixTypos: false,
    ...options,
  });
}
