import type { Decoded } from '../arch/decode.ts';
import type { TableKind } from '../arch/table-kind.ts';

/** What a walk allows: a set of bits, because permissions are ANDed at every level. */
export type Access = number;

export const READ: Access = 1;
export const WRITE: Access = 2;
export const EXECUTE: Access = 4;
export const USER: Access = 8;
export const EVERYTHING: Access = READ | WRITE | EXECUTE | USER;

/**
 * What one entry allows to itself and to all below it. Every access of a guest is a user's to the second
 * stage: an entry that keeps users out allows nothing there (AMD APM vol. 2, 15.25; RISC-V, Hypervisor
 * Extension, Two-Stage Address Translation).
 */
export function accessOf(kind: TableKind, entry: Decoded): Access {
  if (kind.stage === 2 && !entry.user) return 0;
  return (
    (entry.readable ? READ : 0) |
    (entry.writable ? WRITE : 0) |
    (entry.executable ? EXECUTE : 0) |
    (entry.user ? USER : 0)
  );
}

/** Every set of bits as text: lists have millions of them. */
const TEXTS = Array.from({ length: EVERYTHING + 1 }, (_, access) =>
  [
    access & USER ? 'u' : '-',
    access & READ ? 'r' : '-',
    access & WRITE ? 'w' : '-',
    access & EXECUTE ? 'x' : '-',
  ].join(''),
);

/** `urwx`, with `-` for what is not allowed, in the order of QEMU's `info mem`. */
export function accessText(access: Access): string {
  return TEXTS[access & EVERYTHING] ?? '';
}
