import type { ExecutedStep } from '../explore/run.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import type { Frame } from '../machine/fn.ts';
import type { Machine } from '../machine/machine.ts';

/**
 * What a step shows of itself to somebody who draws diagrams, in the order in which rows would show it: the
 * functions it enters, what it does, the functions it returns from. All of it is a function of the step and of
 * the state of its own footprint, so it is the same in every order of independent steps.
 */
export type Sign =
  | { readonly sign: 'enters'; readonly name: string }
  | {
      readonly sign: 'does';
      /** The function that the statement calls, and the machine's op. */
      readonly names: readonly string[];
      /** What is printed in angle brackets instead of the statement. */
      readonly event: string | null;
      /** What is printed behind it: `-> pteA`, `true`. */
      readonly comment: string | null;
      /** What it returned. */
      readonly value: unknown;
      /** Under store buffers, a store's comment says what happens when it reaches memory. */
      readonly buffered: boolean;
      readonly violations: readonly string[];
      /** A check's own step: drawn only if it found something. */
      readonly ghost: boolean;
    }
  | { readonly sign: 'returns'; readonly name: string; readonly value: unknown };

/** Functions and events by name, without what a step observes: known before it is taken. */
interface Shape {
  readonly enters: readonly Sign[];
  readonly names: readonly string[];
  readonly event: string | null;
}

const shapes: WeakMap<TrieNode, Shape> = new WeakMap();
const returns: WeakMap<TrieNode, readonly Sign[]> = new WeakMap();

export function signsOf(machine: Machine, step: ExecutedStep): readonly Sign[] {
  const { who, before, after, value } = step;
  const shape = shapeOf(before);
  const op = before.op as NonNullable<TrieNode['op']>;
  const note = op.def.describe?.(machine, who, op.args, value) ?? {};
  const does: Sign = {
    sign: 'does',
    names: shape.names,
    event: shape.event ?? note.event ?? null,
    comment: note.comment ?? null,
    value,
    buffered: op.def.ordering === 'store' && machine.buffers?.has(who) === true,
    violations: machine.found.map(({ kind }) => kind),
    ghost: op.def.ghost === true || who.kind === 'observer',
  };
  // An event is drawn without the functions around it: they come with the next statement.
  const enters = does.event === null ? [] : shape.enters;
  return [...shape.enters, does, ...enters, ...(after === before ? [] : returnsOf(after))];
}

function shapeOf(node: TrieNode): Shape {
  const known = shapes.get(node);
  if (known) return known;
  const own = node.frame?.fn.isLeaf ? node.frame : null;
  const opName = node.op?.def.name ?? '';
  const shape: Shape = {
    enters: entered(node).map((name): Sign => ({ sign: 'enters', name })),
    names: own ? [own.fn.title, opName] : [opName],
    event: own?.fn.options.event ?? null,
  };
  shapes.set(node, shape);
  return shape;
}

/** Functions whose first step this is, outermost first. A leaf is its own statement, unless it calls others. */
function entered(node: TrieNode): string[] {
  const before = new Set<number>();
  for (let frame = node.parent?.frame ?? null; frame; frame = frame.up) before.add(frame.call);
  const names: string[] = [];
  for (let frame: Frame | null = node.frame; frame; frame = frame.up) {
    if (before.has(frame.call)) break;
    const isStatement = frame === node.frame && frame.fn.isLeaf;
    if (!isStatement && !frame.fn.options.hidden) names.unshift(frame.fn.title);
  }
  return names;
}

function returnsOf(node: TrieNode): readonly Sign[] {
  const known = returns.get(node);
  if (known) return known;
  const signs = node.returned.flatMap(({ fn, value }, at): Sign[] => {
    const { title, isLeaf, options } = fn as Frame['fn'];
    const isStatement = isLeaf && at === 0;
    return isStatement || options.hidden ? [] : [{ sign: 'returns', name: title, value }];
  });
  returns.set(node, signs);
  return signs;
}

/** What a reader calls the step: `<event>`, or its function. */
export function nameOfSign(sign: Sign): string {
  if (sign.sign !== 'does') return `${sign.name}()`;
  return sign.event === null ? `${sign.names[0]}()` : `<${sign.event}>`;
}
