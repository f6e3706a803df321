import type { Machine } from '../machine/machine.ts';
import type { Page } from '../machine/memory.ts';
import { new_page } from './boot.ts';
import { PAGE_MAPPING_ANON, type AddressSpace } from './mm/filemap.ts';

/** Pages of particular kinds as a scenario finds them. As in boot.ts, nothing here is a step. */

function set_field(
  machine: Machine,
  page: Page,
  field: 'mapping' | 'PG_head',
  value: number,
): void {
  machine.cells.values[machine.memory.info(page.frame).fields[field].cell] = value;
}

/** An anonymous page that belongs to one process alone. */
export function new_anon_page(machine: Machine, name: string): Page {
  const page = new_page(machine, name);
  const { fields } = machine.memory.info(page.frame);
  set_field(machine, page, 'mapping', PAGE_MAPPING_ANON);
  machine.cells.values[fields.PG_anon_exclusive.cell] = 1;
  machine.cells.values[fields.PG_swapbacked.cell] = 1;
  return page;
}

/** A page that was anonymous memory and that madvise(MADV_FREE) has declared free to be thrown away. */
export function new_lazyfree_page(machine: Machine, name: string): Page {
  const page = new_anon_page(machine, name);
  machine.cells.values[machine.memory.info(page.frame).fields.PG_swapbacked.cell] = 0;
  return page;
}

/** The page of a file, clean and in its page cache, which holds a reference. */
export function new_page_of_file(machine: Machine, name: string, file: AddressSpace): Page {
  const page = new_page(machine, name);
  const { cells, memory } = machine;
  set_field(machine, page, 'mapping', file.mapping);
  memory.storeWide(file.slot, memory.entry(BigInt(page.frame), page.generation));
  const { refcount } = memory.info(page.frame);
  cells.values[refcount.cell] = (cells.values[refcount.cell] as number) + 1;
  return page;
}

/** A large folio: address spaces map it by one entry of the level above (`new_mm`, `huge`). */
export function new_huge_page(machine: Machine, name: string): Page {
  const page = new_page(machine, name);
  set_field(machine, page, 'PG_head', 1);
  return page;
}
