import { tableKindNamed } from '../../src/arch/kinds.ts';
import { core } from './core.ts';
import { Layout, Memory } from './layout.ts';

/**
 * test/fixtures/walk/guest.core: a guest's tables behind EPT. Guest-physical memory from 0 on is a page of
 * 2 MiB at 0x200000; that from 0x400000 on is one that may not be written; what is between is not there.
 */
export function guestCore(): Buffer {
  const memory = new Memory();
  const next = (from: bigint): (() => bigint) => {
    let at = from;
    return () => (at += 0x1000n) - 0x1000n;
  };
  const ept = tableKindNamed('ept');
  const host = new Layout(ept, (at, value) => memory.write(at, value, ept), next(0x1000n));
  host.map(0n, 0x200000n, 1, true);
  host.map(0x400000n, 0x800000n, 1, false);
  const x86 = tableKindNamed('x86_64');
  const write = (at: bigint, value: bigint): void => memory.write(0x200000n + at, value, x86);
  const guest = new Layout(x86, write, next(0x1000n));
  for (let page = 0n; page < 8n; page++) {
    guest.map(0x400000n + page * 0x1000n, 0x10000n + page * 0x1000n, 0, page >= 4n);
  }
  guest.map(0x409000n, 0x300000n, 0, true);
  guest.map(0x600000n, 0x400000n, 1, true);
  const part = (start: number, end: number): { start: bigint; content: Buffer } => ({
    start: BigInt(start),
    content: memory.bytes.subarray(start, end),
  });
  return core([part(0x1000, 0x4000), part(0x201000, 0x205000)], { width: 64, order: 'little' });
}
