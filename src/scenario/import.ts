import { GracewalkError } from '../base/errors.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import type { Recorder } from './record.ts';

/** A step as a run's JSON document tells it: enough to find it again by names. */
export interface ImportedStep {
  readonly actor: string;
  readonly op: string;
  readonly text: string;
  readonly comment: string | null;
}

/** Takes the steps of a document, each by its actor and the name of its op; throws E601 where they diverge. */
export function importSteps(recorder: Recorder, steps: readonly ImportedStep[]): void {
  for (const [at, step] of steps.entries()) {
    const actor = actorOf(recorder, step);
    if (actor === null) throw diverged(recorder, step, at + 1);
    recorder.step(actor, outcomeOf(recorder, actor, step));
  }
}

function actorOf({ run }: Recorder, step: ImportedStep): number | null {
  const found = run.created().find((index) => {
    if (run.machine.actor(index).name !== step.actor || !run.isAlive(index)) return false;
    return (run.nodes[index] as TrieNode).op?.def.name === step.op && run.enabled(index);
  });
  return found ?? null;
}

/** Of several outcomes the one that reads the same. */
function outcomeOf({ run }: Recorder, actor: number, step: ImportedStep): number {
  const count = run.outcomesOf(actor);
  const { op } = run.nodes[actor] as TrieNode;
  const who = run.machine.actor(actor);
  for (let outcome = 0; outcome < count && count > 1; outcome++) {
    run.execute(actor, outcome);
    const note = op?.def.describe?.(run.machine, who, op.args, run.last?.value) ?? {};
    run.undo();
    const sameEvent = note.event === undefined || step.text === `<${note.event}>`;
    if (sameEvent && (note.comment ?? null) === step.comment) return outcome;
  }
  return 0;
}

function diverged({ run }: Recorder, step: ImportedStep, n: number): GracewalkError {
  const now = run
    .created()
    .filter((index) => run.machine.actor(index).name === step.actor && run.isAlive(index))
    .map((index) => (run.nodes[index] as TrieNode).op?.def.name ?? '');
  const there = now.length > 0 ? `is now at ${now.join(' or ')}` : 'does not exist or has finished';
  return new GracewalkError('E601', 'the run does not fit this version of the scenario', {
    notes: [`step ${n}: ${step.actor} ${there}, the run expected ${step.op}: ${step.text}`],
    help: '--minimize searches for the same violation in the present version',
  });
}
