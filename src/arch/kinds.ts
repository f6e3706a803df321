import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import {
  arm64_16k_lpa2_tables,
  arm64_16k_tables,
  arm64_64k_lpa_tables,
  arm64_64k_tables,
  arm64_lpa2_tables,
  arm64_tables,
} from './arm64.ts';
import type { TableKind } from './table-kind.ts';
import {
  arm64_s2_16k_tables,
  arm64_s2_48_tables,
  arm64_s2_64k_tables,
  arm64_s2_tables,
} from './arm64-stage2.ts';
import { powerpc_radix_64k_tables, powerpc_radix_tables } from './powerpc-radix.ts';
import {
  riscv_sv39_tables,
  riscv_sv39x4_tables,
  riscv_sv48_tables,
  riscv_sv48x4_tables,
  riscv_sv57_tables,
} from './riscv.ts';
import { s390_r2_tables, s390_r3_tables, s390_tables } from './s390.ts';
import { ept5_tables, ept_tables } from './ept.ts';
import { npt_tables } from './npt.ts';
import { x86_pae_tables } from './x86-pae.ts';
import { x86_64_la57_tables, x86_64_tables } from './x86-64.ts';

/** Every kind of page table that we know, first-stage kinds first. */
export const TABLE_KINDS: readonly TableKind[] = [
  x86_64_tables,
  x86_64_la57_tables,
  x86_pae_tables,
  arm64_tables,
  arm64_16k_tables,
  arm64_64k_tables,
  arm64_lpa2_tables,
  arm64_16k_lpa2_tables,
  arm64_64k_lpa_tables,
  powerpc_radix_tables,
  powerpc_radix_64k_tables,
  s390_tables,
  s390_r2_tables,
  s390_r3_tables,
  riscv_sv39_tables,
  riscv_sv48_tables,
  riscv_sv57_tables,
  ept_tables,
  ept5_tables,
  npt_tables,
  arm64_s2_tables,
  arm64_s2_48_tables,
  arm64_s2_16k_tables,
  arm64_s2_64k_tables,
  riscv_sv39x4_tables,
  riscv_sv48x4_tables,
];

/** The kind that users call `name`. */
export function tableKindNamed(name: string): TableKind {
  const found = TABLE_KINDS.find((kind) => kind.name === name.replaceAll('-', '_').toLowerCase());
  if (found) return found;
  const names = TABLE_KINDS.map((kind) => kind.name);
  const near = suggest(name, names);
  throw new GracewalkError('E802', `no architecture '${name}'`, {
    notes: [`there are ${names.join(', ')}`],
    ...(near === null ? {} : { help: `did you mean ${near}?` }),
  });
}
