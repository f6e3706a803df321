import { EngineFault } from '../base/errors.ts';
import type { Cell, Cells, Reader } from './cells.ts';
import { PAGE_SIZE } from './memory.ts';

/**
 * Hardware that walks page tables and caches what it finds: a processor, the guest that a processor runs under a
 * hypervisor (it translates by tables of its own, and keeps what it has cached while it does not run), a device.
 */
export interface Walker {
  /** Its place in `machine.walkers`; processors come first. */
  readonly index: number;
  readonly name: string;
  /** Which kind of tables it walks: see stages.ts. */
  readonly stage: number;
  /** It translates a guest's physical addresses, which people call by their frame numbers. */
  readonly gfns: boolean;
  readonly virtual: boolean;
  /** 1: the host has taken the virtual CPU off its processor; nothing of it executes. */
  readonly out: Cell;
  /** Frame of the loaded page-table root, 0 if none. */
  readonly root: Cell;
  /** Satellite of `root`: the frame's generation when it was loaded. */
  readonly rootGeneration: Cell;
  /** Satellite of `root`: the tag (PCID, ASID, VPID) that it was loaded under. */
  readonly tag: Cell;
  /** 1: no user code of the loaded address space runs (lazy TLB mode). */
  readonly lazy: Cell;
  /** Interned set of frames that it holds translations to. */
  readonly tlbFrames: Cell;
}

/**
 * A processor, physical or virtual. Its cells are what other CPUs' protocols depend on: is it taking
 * interrupts, what runs on it, is it in a region that a grace period waits for.
 */
export interface Cpu extends Walker {
  /** 1: interrupts are off. */
  readonly irqOff: Cell;
  /** What executes: `TASK`, or an interrupt handler (its actor index + 1). */
  readonly run: Cell;
  /** The task the CPU is on, actor index + 1; used where several tasks share it. */
  readonly task: Cell;
  /** Depth of regions that cannot be preempted: interrupts off, preemption off, handlers. */
  readonly atomic: Cell;
  /** How often such a region has ended: a grace period waits for the change. */
  readonly quiescent: Cell;
  /** 1: it runs a guest, which is no region of the kernel's. */
  readonly guest: Cell;
}

export const TASK = 0;

/** An address that it translates, as people say it: `0x1000`, `gfn 1`. */
export function addressText({ gfns }: Walker, address: number): string {
  return gfns ? `gfn ${Math.floor(address / PAGE_SIZE)}` : `0x${address.toString(16)}`;
}

export function makeWalker(
  cells: Cells,
  index: number,
  name: string,
  stage: number,
  gfns: boolean = false,
): Walker {
  return {
    index,
    name,
    stage,
    gfns,
    virtual: false,
    out: cells.allocate(),
    root: cells.allocate(),
    rootGeneration: cells.allocate(),
    tag: cells.allocate(),
    lazy: cells.allocate(),
    tlbFrames: cells.union(),
  };
}

export function makeCpu(cells: Cells, index: number, name: string, virtual: boolean): Cpu {
  return {
    ...makeWalker(cells, index, name, 0),
    virtual,
    irqOff: cells.allocate(),
    run: cells.allocate(TASK),
    task: cells.allocate(),
    atomic: cells.allocate(),
    quiescent: cells.tally(),
    guest: cells.allocate(),
  };
}

/** Entering a region that grace periods wait for (interrupts or preemption off). */
export function enterAtomic(cells: Cells, cpu: Cpu): void {
  cells.set(cpu.atomic, cells.get(cpu.atomic) + 1);
}

/**
 * Leaving one; the outermost exit is a quiescent state. The ops refuse to leave what was not entered: a
 * depth below zero would pass for "not atomic" where it is, and hide every sleep there.
 */
export function leaveAtomic(cells: Cells, cpu: Cpu): void {
  const ends = endAtomic(cells, cpu);
  if (ends !== undefined) cells.set(ends, cells.get(ends) + 1);
}

/** The same as far as the CPU itself knows. Returns the count that must go up for others to know, if any. */
export function endAtomic(cells: Cells, cpu: Cpu): Cell | undefined {
  const depth = cells.get(cpu.atomic) - 1;
  if (depth < 0) throw new EngineFault(`${cpu.name} leaves an atomic region that it never entered`);
  cells.set(cpu.atomic, depth);
  return depth === 0 ? cpu.quiescent : undefined;
}

/** Has the host descheduled it? Physical CPUs never are, so nothing is recorded for them. */
export function isOut(read: Reader, cpu: Walker): boolean {
  return cpu.virtual && read.get(cpu.out) !== 0;
}

/** May a task take a step on `cpu` now? Interrupt handlers and the host take the processor away. */
export function taskMayRun(read: Reader, cpu: Cpu, task: number, shared: boolean): boolean {
  if (isOut(read, cpu) || read.get(cpu.run) !== TASK) return false;
  if (!shared) return true;
  return read.get(cpu.task) === task + 1 || read.get(cpu.atomic) === 0;
}

/** May an interrupt be taken now? */
export function interruptible(read: Reader, cpu: Cpu): boolean {
  return !isOut(read, cpu) && read.get(cpu.run) === TASK && read.get(cpu.irqOff) === 0;
}
