import { Run, type Program, type Schedule } from '../explore/run.ts';
import { explainBlocked } from './blocked.ts';
import { nameOfSign, signsOf } from './signs.ts';

export interface Waits {
  readonly sentences: readonly string[];
  /** The steps (from 0) that they speak of. */
  readonly told: ReadonlySet<number>;
}

/**
 * Who waits while a run goes on, for whom, and until what: callbacks for their grace periods, and tasks for
 * acknowledgements and locks. It is what delays a free where an order is possible and harmless.
 */
export function waitsIn(program: Program, schedule: Schedule): Waits {
  const run = new Run(program);
  const names: string[] = [];
  const open = new Map<number, { readonly since: string; readonly sentences: readonly string[] }>();
  const sentences: string[] = [];
  const told = new Set<number>();
  const nameOf = (step: number): string => {
    told.add(step);
    return names[step] ?? '';
  };
  for (const [at, local] of schedule.actors.entries()) {
    run.execute(run.created()[local] as number, schedule.outcomes[at] as number);
    const does = run.last && signsOf(run.machine, run.last).find(({ sign }) => sign === 'does');
    names.push(does ? nameOfSign(does) : '');
    for (const index of run.order) {
      const wait = open.get(index);
      if (!isWaiting(run, index)) {
        if (wait) sentences.push(...sentencesOf(wait, `until ${nameOf(at)}`));
        open.delete(index);
      } else {
        const why = explainBlocked(run, index, nameOf).sentences;
        open.set(index, { since: wait?.since ?? nameOf(at), sentences: why });
      }
    }
  }
  for (const wait of open.values())
    sentences.push(...sentencesOf(wait, 'to the end of this order'));
  return { sentences, told };
}

/** On a condition of its own, and not because its CPU is away. */
function isWaiting(run: Run, index: number): boolean {
  const node = run.nodes[index];
  const who = run.machine.actor(index);
  if (!node?.op || !run.isAlive(index) || who.daemon) return false;
  if (who.kind !== 'task' && who.kind !== 'softirq') return false;
  const { def, args } = node.op;
  return def.guard !== undefined && !def.guard(run.now, run.machine, who, args);
}

function sentencesOf(
  { since, sentences }: { readonly since: string; readonly sentences: readonly string[] },
  until: string,
): string[] {
  const [first = '', ...rest] = sentences;
  return [`From ${since} on, ${until}: ${first}`, ...rest];
}
