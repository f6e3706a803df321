import type { Machine } from '../machine/machine.ts';
import type { Page } from '../machine/memory.ts';
import { storeOnDisk } from '../machine/ops/disk.ts';
import { takeStructPage } from '../machine/struct-pages.ts';
import { keepStores } from '../machine/user-stores.ts';
import { new_page } from './boot.ts';
import type { Mm } from './mm/types.ts';

/** A pointer to an address_space: not null, and without PAGE_MAPPING_ANON. */
const ADDRESS_SPACE = 2;

/**
 * A page of a file, clean and on disk when the scenario begins. The page cache holds a reference on it. What
 * user code stores to it is checked: in the end it is on disk, or the page, or an entry that maps it, is dirty.
 */
export function new_file_page(machine: Machine, name: string): Page {
  const page = new_page(machine, name, 1);
  machine.cells.values[machine.memory.info(page.frame).fields.mapping.cell] = ADDRESS_SPACE;
  storeOnDisk(machine, page);
  return page;
}

/** A page of a file whose contents are on disk when the scenario begins: what is stored to it is checked as above. */
export function on_disk(machine: Machine, page: Page): Page {
  storeOnDisk(machine, page);
  return page;
}

/** Registers of a device, where a page would be: they have no struct page. */
export function new_device_frame(machine: Machine, name: string): Page {
  const frame = new_page(machine, name);
  takeStructPage(machine, frame);
  return frame;
}

/** What user code stores at the address is checked: nobody unmaps it, so in the end it shows the last store. */
export function keep_stores(machine: Machine, mm: Mm, addr: number): void {
  keepStores(machine, mm.pgd, addr);
}
