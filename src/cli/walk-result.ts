import type { TableKind } from '../arch/table-kind.ts';
import type { End } from '../walk/tables.ts';
import type { Translation } from '../walk/translate.ts';

/** One address, walked. */
export interface Translated {
  readonly kind: TableKind;
  readonly second: TableKind | null;
  readonly address: bigint;
  readonly translation: Translation;
  /** Of both stages together. */
  readonly result: End;
}

/** What a list had in it. */
export interface Listed {
  readonly pages: number;
  readonly bytes: bigint;
  readonly ranges: number;
  /** Bytes that the guest maps and the second stage does not. */
  readonly unbacked: bigint;
  /** The limit that ended it: `tables=1000000`. */
  readonly stopped: string | null;
}
