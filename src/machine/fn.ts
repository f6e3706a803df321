import { GracewalkError, type Site } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import type { ArchDescriptor } from './arch.ts';
import type { Steps } from './op.ts';
import { ProtectionState, type Protection, type Section } from './protection.ts';

/**
 * Kernel functions. `fn(function* name(...) {...})` gives the function a frame in diagrams and makes it
 * replaceable by a variant's patch. `leaf` is the same for a function that performs exactly one op: it is
 * printed as a statement (`pmd_clear(pmdp);`), where an `fn` opens an indented frame (`munmap()`).
 *
 * Calling one only creates it; it does nothing until it is delegated to with `yield*`. Forgetting that is
 * the commonest mistake of authors, so every creation is remembered until it starts (E101).
 */
export interface KernelFn<A extends readonly unknown[], V> {
  (...args: A): Steps<V>;
  readonly body: (...args: A) => Steps<V>;
  readonly isLeaf: boolean;
  readonly title: string;
  readonly options: FnOptions<A, V>;
}

export interface FnOptions<A extends readonly unknown[], V> {
  /** Not a kernel function but gracewalk's own scaffolding: no frame in diagrams. */
  readonly hidden?: boolean;
  /** The CPU does not execute this itself: printed as `<event>`. */
  readonly event?: string;
  /** Arguments the kernel passes by address, by position: printed with `&`. */
  readonly address?: readonly number[];
  /** It is there so that others do no harm, and can be taken away. */
  readonly protects?: Protection<A, V>;
  /** Ends a section that a protection opens, and does nothing where that was taken away. */
  readonly closes?: Section;
  /** What its caller is told by `false`, a remark in diagrams: `invalidate_range_start() returns -EAGAIN`. */
  readonly refusal?: string;
  /** Protects for its caller: what it waits for is what its caller waits for. */
  readonly onBehalf?: boolean;
}

export type AnyFn = KernelFn<never[], unknown>;

/** A variant's replacement of one function by another of the same signature. Immutable. */
export interface Patch {
  readonly target: AnyFn;
  readonly replacement: (...args: never[]) => Steps<unknown>;
  /** Where `patch()` was called. */
  readonly site: Site | null;
}

type Replacement = (...args: never[]) => Steps<unknown>;

/** How a program differs from the kernel's functions as they are written. */
export interface PatchTable {
  get(target: unknown): Replacement | undefined;
  /** Names of protections that are not there. */
  readonly without?: ReadonlySet<string>;
}

/** A function activation: what a diagram indents by. */
export interface Frame {
  readonly fn: AnyFn;
  /** Distinguishes two calls of the same function in one actor: ordinal of the call. */
  readonly call: number;
  /** The caller's frame. */
  readonly up: Frame | null;
  /** The name of the protection that this call is, if it is one (see protection.ts). */
  protection: string | null;
  readonly depth: number;
}

/** A call whose steps have not begun, and where it was made. */
interface ForgottenCall {
  readonly name: string;
  readonly at: Error | null;
}

/** A call was forgotten; run the actor again, tracing, to say which. */
export class TracingNeeded extends Error {}

/** What one running generator instance of an actor has going on. */
export class Activation {
  frame: Frame | null = null;
  calls = 0;
  readonly patches: PatchTable;
  readonly cpu: number;
  readonly arch: ArchDescriptor | null;
  /** Patched functions and functions whose return somebody asked about, as they happen. */
  readonly returned: { fn: AnyFn; value: unknown }[] = [];
  readonly entered: Set<unknown> = new Set();
  readonly protections: ProtectionState;
  /** Loops over `bounded` that are running, and the first one that ran out of rounds. */
  bounds = 0;
  /** Loops that wait for a change before each further round (ops/retry.ts), nested. */
  rounds = 0;
  exhausted: { readonly limit: number; readonly at: Error } | null = null;
  private readonly unstarted: Map<object, ForgottenCall> = new Map();
  /** Remember where each call was made: only to explain a mistake, because it costs much. */
  private readonly tracing: boolean;

  constructor(
    patches: PatchTable,
    cpu: number,
    protections: ProtectionState = new ProtectionState('', undefined, new Map()),
    tracing = false,
    arch: ArchDescriptor | null = null,
  ) {
    this.patches = patches;
    this.cpu = cpu;
    this.arch = arch;
    this.protections = protections;
    this.tracing = tracing;
  }

  created(steps: object, name: string): void {
    this.unstarted.set(steps, { name, at: this.tracing ? new Error() : null });
  }

  started(steps: object): void {
    this.unstarted.delete(steps);
  }

  /** The call that made these steps, if they have not begun. */
  callOf(steps: object): ForgottenCall | undefined {
    const call = this.unstarted.get(steps);
    if (call && !call.at) throw new TracingNeeded();
    return call;
  }

  /** Throws E101 if something was called and never ran. */
  finish(): void {
    const first = this.unstarted.values().next();
    if (first.done) return;
    const { name, at } = first.value;
    if (!at) throw new TracingNeeded();
    throw new GracewalkError('E101', `${name}() was called but never ran`, {
      site: outside(parseStack(at.stack ?? ''))[0],
      label: 'an operation does nothing until it is yielded',
      help: `write \`yield* ${name}();\``,
    });
  }
}

let current: Activation | null = null;

/** Runs `advance` with `activation` as the one that newly called functions belong to. */
export function within<T>(activation: Activation, advance: () => T): T {
  const outer = current;
  current = activation;
  try {
    return advance();
  } finally {
    current = outer;
  }
}

/** What the actor that is being advanced has going on; null outside of any. */
export function currentActivation(): Activation | null {
  return current;
}

/** The CPU of the actor that is being advanced: tasks stay on theirs, so this is no access. */
export function smp_processor_id(): number {
  return current ? current.cpu : -1;
}

/** What the kernel is compiled for: constant, so asking is no access. */
export function this_arch(): ArchDescriptor {
  if (current?.arch) return current.arch;
  throw new GracewalkError('E122', 'an operation asks for the architecture where nothing runs', {
    help: 'kernel functions are for actors, delegated to with `yield*`',
  });
}

const machinery = /\/machine\/(fn|op|coroutine|ops\/control)\.[jt]s$/;

/** Leaves out the positions that are gracewalk's own plumbing. */
export function outside(sites: readonly Site[]): Site[] {
  return sites.filter((site) => !machinery.test(site.file));
}

function noGenerator(name: string): GracewalkError {
  return new GracewalkError('E119', `the replacement of ${name}() is no generator`, {
    help: `write patch(${name}, function* (...) { ... }), or patch(${name}, nop)`,
  });
}

function* nothing<A extends readonly unknown[], V>(..._args: A): Steps<V> {
  return undefined as V;
}

function make<A extends readonly unknown[], V>(
  body: (...args: A) => Steps<V>,
  isLeaf: boolean,
  options: FnOptions<A, V>,
): KernelFn<A, V> {
  const { protects, closes } = options;
  /** Is this call a protection that was taken away, or the end of one? */
  const isGone = (activation: Activation, args: A): boolean => {
    const { protections, frame } = activation;
    if (closes !== undefined) return protections.close(closes);
    if (protects === undefined) return false;
    return protections.enter(protects as unknown as Protection<A, never>, args, frame as Frame);
  };

  function* invoke(self: { steps: object | null }, args: A): Steps<V> {
    const activation = current as Activation;
    if (self.steps) activation.started(self.steps);
    const up = activation.frame;
    activation.frame = {
      fn: made as unknown as AnyFn,
      call: activation.calls++,
      up,
      protection: null,
      depth: up ? up.depth + 1 : 0,
    };
    activation.entered.add(made);
    const gone = isGone(activation, args);
    const patched = activation.patches.get(made) as ((...args: A) => Steps<V>) | undefined;
    const steps = gone ? (protects?.without ?? nothing<A, V>) : (patched ?? body);
    try {
      const inner = steps(...args);
      if (typeof (inner as Partial<Steps<V>> | undefined)?.next !== 'function')
        throw noGenerator(body.name);
      const value = yield* inner;
      if (protects?.opens && value !== false) activation.protections.open(protects.opens, gone);
      activation.returned.push({ fn: made as unknown as AnyFn, value });
      return value;
    } finally {
      activation.frame = up;
    }
  }
  const call = (...args: A): Steps<V> => {
    const self: { steps: object | null } = { steps: null };
    const steps = invoke(self, args);
    self.steps = steps;
    current?.created(steps, body.name);
    return steps;
  };
  const made: KernelFn<A, V> = Object.assign(call, { body, isLeaf, title: body.name, options });
  Object.defineProperty(made, 'name', { value: body.name });
  return made;
}

export function fn<A extends readonly unknown[], V>(
  body: (...args: A) => Steps<V>,
  options: FnOptions<A, NoInfer<V>> = {},
): KernelFn<A, V> {
  return make(body, false, options);
}

export function leaf<A extends readonly unknown[], V>(
  body: (...args: A) => Steps<V>,
  options: FnOptions<A, NoInfer<V>> = {},
): KernelFn<A, V> {
  return make(body, true, options);
}

export function patch<A extends readonly unknown[], V>(
  target: KernelFn<A, V>,
  replacement: (...args: A) => Steps<V>,
): Patch {
  return {
    target: target as unknown as AnyFn,
    replacement: replacement as unknown as Patch['replacement'],
    site: outside(parseStack(new Error().stack ?? ''))[0] ?? null,
  };
}
