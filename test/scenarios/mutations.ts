import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/gracewalk.ts';

/** The table of ids: which variant shows which of them, with what result. */

export interface Shown {
  readonly scenario: string;
  readonly variant: string;
  readonly machine: string;
  readonly model: string;
  readonly verdict: string;
  readonly kinds: readonly string[];
  readonly shows: readonly string[];
  readonly explored: { readonly runs: number };
  readonly switches?: number;
}

export interface Id {
  readonly id: string;
  readonly title: string;
  /** Why nothing shows it yet. */
  readonly waits?: string;
}

export const ids = JSON.parse(
  readFileSync(join(ROOT, 'scenarios', 'specification.json'), 'utf8'),
) as readonly Id[];

const HEAD = `# What each variant shows

Every way of breaking the protocols that the scenarios know, every step-by-step schedule and every
configuration, with the variants that show it. A correct twin stands beside each broken one. \`M\` is a
mutation: one protection removed or one order changed. \`L\` is the schedule of a mutation, step by step.
\`N\`, \`I\` and \`G\` are
mutations of the notifiers of secondary MMUs. \`mm:C\` is a configuration with the verdict that it must
have. Switches are the context switches of the shortest counterexample, runs what the search executed: all
runs that differ.

\`gracewalk check SCENARIO --variant 'NAME'\` shows any of them.
`;

const group = (id: string): string => {
  if (id.startsWith('mm:') || id.startsWith('kvm:')) return 'Configurations';
  if (/^X\d/.test(id)) return 'KVM on x86: its own page tables';
  if (id.startsWith('L')) return 'Schedules';
  const parts: Readonly<Record<string, string>> = {
    M1: 'GUP-fast and its writers',
    M2: 'Entries in two halves',
    M3: 'mmu_gather',
    M4: 'TLB shootdown and the paravirtual flush',
    M5: 'RCU',
  };
  const letters: Readonly<Record<string, string>> = {
    N: 'MMU notifiers',
    I: 'Interval notifiers',
    G: 'A device with a TLB and no tables',
  };
  return parts[id.split('.')[0] ?? ''] ?? letters[/^[A-Z](?=\d+$)/.exec(id)?.[0] ?? ''] ?? 'Others';
};

function row({ id }: Id, shown: Shown): string {
  const verdict = shown.verdict === 'fails' ? shown.kinds.join(', ') : shown.verdict;
  const where = `${shown.scenario} / ${shown.variant}`;
  const model = shown.model === 'sc' ? '' : ` (${shown.model.toUpperCase()})`;
  const cells = [id, where, verdict + model, shown.switches ?? '', shown.explored.runs];
  return `| ${cells.join(' | ')} |`;
}

/** The page as it should be. */
export function mutationsPage(results: readonly Shown[]): string {
  const lines: string[] = [HEAD];
  for (const title of new Set(ids.map(({ id }) => group(id)))) {
    const own = ids.filter(({ id }) => group(id) === title);
    lines.push(`## ${title}\n`);
    lines.push(...own.map(({ id, title: what }) => `- **${id}** ${what}`), '');
    lines.push('| id | scenario / variant | verdict | switches | runs |', '|---|---|---|---|---|');
    for (const one of own) {
      const showing = results.filter(({ shows }) => shows.includes(one.id));
      lines.push(...showing.map((shown) => row(one, shown)));
      if (showing.length === 0) lines.push(`| ${one.id} | ${one.waits ?? '?'} | | | |`);
    }
    lines.push('');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}
