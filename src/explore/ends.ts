import type { Actor } from '../machine/actor.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import { TASK, isOut, type Cpu } from '../machine/cpu.ts';
import type { ActorResult } from '../machine/machine.ts';
import { isByChance, isRetry, retriedWords } from '../machine/ops/retry.ts';
import type { Violation } from '../machine/violation.ts';
import type { Run, RunEnding } from './run.ts';

/**
 * What the end of a run shows: a deadlock, or what the sanitizers say about a final state in which every
 * actor has finished. These are functions of the final state, which reduction preserves; they need no
 * footprint. A run in which a violation stopped somebody is no complete run and is not judged.
 */
export function endViolations(run: Run, ending: RunEnding): readonly Violation[] {
  if (ending === 'deadlock') return [stuck(run)];
  if (ending !== 'complete') return [];
  const { machine } = run;
  const results = finishedActors(run);
  machine.found.length = 0;
  for (const sanitizer of machine.sanitizers) sanitizer.quiescence?.(machine, results);
  return machine.found.length === 0 ? [] : [...machine.found];
}

function finishedActors(run: Run): ActorResult[] {
  const results: ActorResult[] = [];
  run.order.forEach((index) => {
    const node = run.nodes[index];
    if (node && node.op === null)
      results.push({ actor: run.machine.actor(index), value: node.result });
  });
  return results;
}

/** Nobody can go on. If somebody would go round a loop for ever, it is a livelock: he never stops to wait. */
function stuck(run: Run): Violation {
  const blocked = waiting(run);
  const loops = blocked.filter(({ retries }) => retries);
  if (loops.length > 0) return livelock(blocked, loops);
  return {
    kind: 'deadlock',
    actor: blocked.map(({ name }) => name).join(' and '),
    object: blocked.map(({ name }) => name).join(', '),
    message: `Nobody can go on: ${blocked.map(({ name, what }) => `${name} waits for ${what}`).join('; ')}.`,
    stops: true,
  };
}

function livelock(blocked: readonly Waiting[], loops: readonly Waiting[]): Violation {
  const rest = blocked.filter(({ retries }) => !retries);
  const round = loops.map(({ name, what }) => `${name} tries again and again, without ${what}`);
  const wait = rest.map(({ name, what }) => `${name} waits for ${what}`);
  return {
    kind: 'livelock',
    actor: loops.map(({ name }) => name).join(' and '),
    object: loops.map(({ name }) => name).join(', '),
    message: `Nobody is left who could change it: ${[...round, ...wait].join('; ')}.`,
    stops: true,
  };
}

interface Waiting {
  readonly index: number;
  readonly name: string;
  readonly what: string;
  /** It goes round a loop. */
  readonly retries: boolean;
  /** All the words of which a change would make it do something else; `what` names some. */
  readonly words: readonly string[];
}

/** Every actor that cannot go on although it has not finished, and what it waits for. */
export function waiting(run: Run): Waiting[] {
  const { machine } = run;
  const list: Waiting[] = [];
  run.order.forEach((index) => {
    const node = run.nodes[index];
    if (!node?.op || !run.isAlive(index) || run.enabled(index)) return;
    const who = machine.actor(index);
    if (who.daemon) return;
    const cpu = machine.cpus[who.cpu];
    const paused = cpu && who.kind === 'task' && !isOwnCondition(run, node, index);
    const reason = paused
      ? withoutCpu(run, cpu, who)
      : (node.op.def.waitsFor?.(machine, who, node.op.args) ?? node.op.def.name);
    const retries = !paused && isRetry(node.op.def) && !isByChance(node.op);
    const words = retries ? retriedWords(machine, who, node.op) : [];
    list.push({ index, name: who.name, what: reason, retries, words });
  });
  return list;
}

/** Why a task cannot go on that could, had it its CPU. */
function withoutCpu({ now, machine }: Run, cpu: Cpu, who: Actor): string {
  if (isOut(now, cpu)) return `the host to run ${cpu.name}`;
  if (now.get(cpu.run) !== TASK) return `${cpu.name} to return from its interrupt handler`;
  if (!who.shared) return 'its stores to reach memory';
  return `${cpu.name}, which runs ${machine.actor(now.get(cpu.task) - 1).name}`;
}

function isOwnCondition(run: Run, node: TrieNode, index: number): boolean {
  const who = run.machine.actor(index);
  const { def, args } = node.op as NonNullable<TrieNode['op']>;
  return def.guard !== undefined && !def.guard(run.now, run.machine, who, args);
}
