import { GracewalkError } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import type { ArchDescriptor } from './arch.ts';
import { Activation, TracingNeeded, outside, within, type Frame, type PatchTable } from './fn.ts';
import { outOfRounds } from './ops/control.ts';
import { sameArgument, sameOp, traced, type Op, type Steps } from './op.ts';
import { ProtectionState, type Protections } from './protection.ts';

/**
 * A coroutine is a trie, not a replay.
 *
 * What an actor does next is a function of the values it has received, so its behaviour is a tree: a node
 * per history of received values, holding the op it yields there. The generator is run only to make a node
 * that did not exist. An actor's state is then one pointer: undo, snapshot and hash cost nothing.
 *
 * This is right only if actors really are such functions. Whenever a history is run again (a generator
 * cannot be cloned, so branching off an old node does that) every op is compared with the one stored; a
 * difference is error E303, not a wrong verdict. What actors keep outside themselves for each other to see
 * shows when they are run in another order: see explore/verify.ts.
 */
export interface TrieNode {
  readonly id: number;
  readonly coroutine: Coroutine;
  /** The pending op, or null: the actor has finished with `result`. */
  readonly op: Op | null;
  readonly result: unknown;
  readonly parent: TrieNode | null;
  /** What was received to get here from `parent`. */
  readonly received: unknown;
  readonly depth: number;
  /** Innermost function activation at the pending op. */
  readonly frame: Frame | null;
  /** Functions that returned between the parent's op and this one. */
  readonly returned: readonly { readonly fn: unknown; readonly value: unknown }[];
  /** Where the op is yielded: a stack. */
  readonly trace: string | null;
  children: Map<unknown, TrieNode> | null;
  lastValue: unknown;
  lastChild: TrieNode | null;
  /** Did the step into this node write anything? Set by the explorer; loops that only read are reported. */
  wrote: boolean;
}

interface Live {
  readonly steps: Steps<unknown>;
  readonly activation: Activation;
  node: TrieNode;
}

/** Counts of what the tries of one exploration cost. */
export interface TrieStatistics {
  nodes: number;
  generators: number;
}

/** Above the bounds of loops that people write out, and little enough that a spin loop is found at once. */
const SPIN_LIMIT = 12;

export class Coroutine {
  readonly root: TrieNode;
  readonly name: string;
  /** Every `fn` that any history has entered (for: was the patched function ever called?). */
  readonly entered: Set<unknown> = new Set();
  /** Every protection that any history has come by. */
  readonly protections: Protections = new Map();
  private readonly begin: () => Steps<unknown>;
  private readonly patches: PatchTable;
  private readonly cpu: number;
  private readonly arch: ArchDescriptor | null;
  private readonly traced: boolean;
  private readonly statistics: TrieStatistics;
  private live: Live | null = null;

  constructor(
    name: string,
    begin: () => Steps<unknown>,
    options: {
      patches: PatchTable;
      cpu: number;
      arch?: ArchDescriptor;
      traced: boolean;
      statistics: TrieStatistics;
    },
  ) {
    this.name = name;
    this.begin = begin;
    this.patches = options.patches;
    this.cpu = options.cpu;
    this.arch = options.arch ?? null;
    this.traced = options.traced;
    this.statistics = options.statistics;
    const activation = this.activation();
    const steps = within(activation, () => begin());
    if (typeof (steps as Partial<Steps<unknown>> | undefined)?.next !== 'function') {
      throw new GracewalkError('E119', `what ${name} does is no generator`, {
        notes: ['an actor is a generator function, or returns a call of one'],
        help: `write *${name.replace(/\W.*/, '')}(state) { ... } with the star`,
      });
    }
    this.statistics.generators++;
    this.root = this.node(steps, activation, null, undefined, false);
    this.live = { steps, activation, node: this.root };
  }

  private activation(tracing = false): Activation {
    const protections = new ProtectionState(this.name, this.patches.without, this.protections);
    return new Activation(this.patches, this.cpu, protections, tracing, this.arch);
  }

  /** The node after `node` receives `value`. `wrote`: the step changed something (see `TrieNode.wrote`). */
  next(node: TrieNode, value: unknown, wrote: boolean): TrieNode {
    if (node.lastChild !== null && Object.is(node.lastValue, value)) return node.lastChild;
    let child = node.children?.get(value);
    if (child === undefined) {
      child = this.extend(node, value, wrote);
      node.children ??= new Map();
      node.children.set(value, child);
    }
    node.lastValue = value;
    node.lastChild = child;
    return child;
  }

  private extend(node: TrieNode, value: unknown, wrote: boolean): TrieNode {
    let live = this.live;
    if (live === null || live.node !== node) live = this.rerun(node);
    const child = this.node(live.steps, live.activation, node, value, wrote);
    this.live = { steps: live.steps, activation: live.activation, node: child };
    return child;
  }

  private node(
    steps: Steps<unknown>,
    activation: Activation,
    parent: TrieNode | null,
    received: unknown,
    wrote: boolean,
  ): TrieNode {
    const returnedBefore = activation.returned.length;
    const { op, result, trace } = this.explained(parent, received, () =>
      advance(steps, activation, received, this.traced),
    );
    for (const entered of activation.entered) this.entered.add(entered);
    const node: TrieNode = {
      id: this.statistics.nodes++,
      coroutine: this,
      op,
      result,
      parent,
      received,
      depth: parent ? parent.depth + 1 : 0,
      frame: activation.frame,
      returned: activation.returned.slice(returnedBefore),
      trace: op ? trace : null,
      children: null,
      lastValue: undefined,
      lastChild: null,
      wrote,
    };
    if (this.traced && parent && activation.bounds === 0) refuseSpinning(node);
    return node;
  }

  /** Does `attempt`, the step from `parent`; if a call was forgotten in it, once more to see where. */
  private explained<T>(parent: TrieNode | null, received: unknown, attempt: () => T): T {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof TracingNeeded)) throw error;
      const values = [received];
      for (let at = parent; at; at = at.parent) values.push(at.received);
      const activation = this.activation(true);
      const steps = within(activation, () => this.begin());
      for (const value of values.reverse()) advance(steps, activation, value, false);
      activation.finish();
      throw notDeterministic(this.name, parent ?? this.root, null);
    }
  }

  /** A new generator brought to `node`, checking on the way that it does what it did before. */
  private rerun(node: TrieNode): Live {
    const path: TrieNode[] = [];
    for (let at: TrieNode | null = node; at; at = at.parent) path.push(at);
    path.reverse();
    const activation = this.activation();
    this.statistics.generators++;
    const steps = within(activation, () => this.begin());
    for (const expected of path) {
      const { op, result } = advance(steps, activation, expected.received, false);
      if (!sameOp(op, expected.op) || (op === null && !sameArgument(result, expected.result))) {
        throw notDeterministic(this.name, expected, op);
      }
    }
    return { steps, activation, node };
  }

  /** A second life of this actor, to be led beside the others' (see explore/verify.ts). */
  relive(): (expected: TrieNode) => void {
    const activation = this.activation();
    this.statistics.generators++;
    const steps = within(activation, () => this.begin());
    return (expected) => {
      const { op, result } = advance(steps, activation, expected.received, false);
      const same =
        sameOp(op, expected.op) && (op !== null || sameArgument(result, expected.result));
      if (!same) throw notDeterministic(this.name, expected, op);
    };
  }

  /** Runs up to `most` histories once more, to check that they are functions of what was received (E303). */
  verify(most: number): void {
    const open: TrieNode[] = [this.root];
    let left = most;
    for (let node = open.pop(); node && left > 0; node = open.pop()) {
      const children = node.children ? [...node.children.values()] : [];
      open.push(...children);
      if (children.length > 0) continue;
      left--;
      // An actor that never ends has forgotten a `yield*` all the same.
      this.explained(node.parent, node.received, () => this.rerun(node).activation.finish());
    }
  }
}

function advance(
  steps: Steps<unknown>,
  activation: Activation,
  received: unknown,
  trace: boolean,
): { op: Op | null; result: unknown; trace: string | null } {
  const { value: step, trace: stack } = traced(trace, () =>
    within(activation, () => steps.next(received)),
  );
  const { exhausted } = activation;
  if (exhausted)
    return {
      op: outOfRounds(exhausted.limit),
      result: undefined,
      trace: exhausted.at.stack ?? null,
    };
  if (step.done) {
    activation.finish();
    return { op: null, result: step.value, trace: null };
  }
  if (typeof step.value !== 'object' || step.value === null || !('def' in step.value)) {
    throw notAnOperation(step.value, activation);
  }
  if (step.value.args.includes(undefined)) throw undefinedArgument(activation, stack);
  freeze(step.value.args);
  return { op: step.value, result: undefined, trace: stack };
}

function undefinedArgument(activation: Activation, stack: string | null): GracewalkError {
  const title = activation.frame?.fn.title ?? 'an operation';
  const sites = outside(parseStack(stack ?? ''));
  const inside = sites.findIndex((site) => site.function === title);
  return new GracewalkError('E120', `${title}() was given undefined`, {
    site: sites[inside + 1],
    notes: ['is it a field that setup() does not return, or a misspelt name?'],
    help: 'words come from m.memory.variable(name) or from the kernel structures in gracewalk/linux',
  });
}

/**
 * What an op was given is part of the trie and may reach another actor: changing it afterwards would be
 * sharing memory behind the machine's back. It throws instead.
 */
function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const item of Object.values(value)) freeze(item);
}

/** Most of the time it is what a call made, and the call is where the star is missing. */
function notAnOperation(value: unknown, activation: Activation): GracewalkError {
  const call = activation.callOf(value as object);
  return new GracewalkError('E101', 'an actor yielded something that is not an operation', {
    site: call && outside(parseStack(call.at?.stack ?? ''))[0],
    label: call && 'handed over, not run',
    notes: ['`yield f()` hands over the function itself; `yield* f()` runs it'],
    help: call ? `write \`yield* ${call.name}();\`` : 'write `yield*` with the star',
  });
}

function opName(op: Op | null): string {
  return op ? `${op.def.name}(${op.args.map(argumentName).join(', ')})` : 'the end';
}

function argumentName(value: unknown): string {
  if (typeof value === 'function' && 'title' in value) return String(value.title);
  if (typeof value !== 'object' || value === null) return String(value);
  return 'name' in value ? String(value.name) : '...';
}

function notDeterministic(name: string, expected: TrieNode, op: Op | null): GracewalkError {
  return new GracewalkError('E303', 'the scenario is not deterministic', {
    notes: [
      `with the same results, ${name} did different things:`,
      `first  time, step ${expected.depth + 1}: ${opName(expected.op)}`,
      `second time, step ${expected.depth + 1}: ${opName(op)}`,
    ],
    help: 'an actor may depend only on what its yield*s return; look for a variable that is declared outside the actor and changed inside it',
  });
}

/**
 * A loop that reads the same values again although nothing was written would be explored for ever. Waiting
 * is said with `spin_until`, retrying with `bounded`; both are exempt because neither comes back here with
 * the same op at the same place.
 */
function refuseSpinning(node: TrieNode): void {
  const op = node.op;
  if (!op || node.wrote) return;
  const before: TrieNode[] = [];
  for (let at: TrieNode = node; at.parent && !at.wrote; at = at.parent) {
    if (sameOp(at.parent.op, op) && Object.is(at.received, node.received)) before.push(at.parent);
  }
  if (before.length < SPIN_LIMIT) return;
  const site = siteOf(node);
  if (!site) return;
  const same = before.filter((earlier) => {
    const place = siteOf(earlier);
    return place?.line === site.line && place.column === site.column && place.file === site.file;
  });
  if (same.length < SPIN_LIMIT) return;
  throw new GracewalkError('E301', `spin loop in ${node.coroutine.name} makes no progress`, {
    site,
    label: `read the same value ${SPIN_LIMIT} times`,
    notes: ['each further round would be explored as a new run, without end'],
    help: 'say what is waited for: `yield* spin_until([word], (value) => ...)`; the engine then explores each change once instead of each retry; a whole round that is to be repeated goes in `yield* retry(function* () {...})`',
  });
}

/** The call chain of the pending op in the author's files, innermost first. */
export function sitesOf(node: TrieNode): ReturnType<typeof outside> {
  return node.trace ? outside(parseStack(node.trace)) : [];
}

/** The source position of the statement that a diagram prints for the pending op. */
export function siteOf(node: TrieNode): ReturnType<typeof outside>[number] | undefined {
  const sites = sitesOf(node);
  const leaf = node.frame?.fn.isLeaf ? node.frame.fn.title : null;
  if (leaf === null) return sites[0];
  const inside = sites.findIndex((site) => site.function === leaf);
  return sites[inside + 1] ?? sites[0]; // whoever called the leaf
}
